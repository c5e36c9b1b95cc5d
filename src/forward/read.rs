//! The first pass: what is read of a frame before the table is asked, or why it is dropped.

use super::Batch;
use super::family::{Candidate, Family, Kind};
use super::services::ServiceMap;
use super::snapshot::INTERFACES_MAX;
use crate::flow::{Hint, Homes, Key, V4Key, WildcardKey};
use crate::model::{InterfaceIndex, ServiceId};
use crate::stats::DropReason;
use crate::wire::packet::{Packet, Protocol, V4Packet};
use crate::wire::transport::TcpFlags;
use crate::wire::{ethernet, glance};

/// Everything that the first pass of a batch needs.
pub(super) struct Reader<'a> {
    pub(super) services: &'a ServiceMap,
    /// The MAC addresses of the interfaces, as [`crate::wire::MacAddr::bits`] gives them.
    pub(super) stations: [u64; INTERFACES_MAX],
    pub(super) v4: &'a Family<V4Key>,
    pub(super) wildcard: Option<&'a Family<WildcardKey>>,
}

impl Candidate<V4Key> {
    /// What a place holds before its first candidate.
    pub(super) const NOBODY: Self = Self {
        key: V4Key::VACANT,
        homes: Homes::NOWHERE,
        bytes: 0,
        port: 0,
        protocol: Protocol::Tcp,
        flags: TcpFlags(0),
        hint: Hint::NONE,
        kind: Kind::Refused(DropReason::NoService),
    };

    const fn refused(reason: DropReason) -> Self {
        Self { kind: Kind::Refused(reason), ..Self::NOBODY }
    }
}

impl Reader<'_> {
    /// Reads one frame as far as it can be without the table, whose first line for it is then under way.
    #[inline]
    pub(super) fn stage<B: Batch + ?Sized>(&self, batch: &mut B, index: usize, place: &mut Candidate<V4Key>) {
        let frame = batch.frame(index);
        let (Some(packet), Some((ethernet, _))) = (glance::packet(frame), ethernet::split(frame)) else {
            return self.look_closer(batch, index, place);
        };
        if !may_go_on(&packet) || !self.may_admit(ethernet) {
            return self.look_closer(batch, index, place);
        }
        match self.service_of(&packet) {
            Some(service) => *place = self.candidate(&packet, service),
            None => self.look_closer(batch, index, place),
        }
    }

    /// Header by header: there may be options, a priority tag, or a wildcard-port service.
    #[cold]
    fn look_closer<B: Batch + ?Sized>(&self, batch: &mut B, index: usize, place: &mut Candidate<V4Key>) {
        let rest = batch.rest(index);
        *place = self.read(batch.frame(index), rest).unwrap_or_else(|reason| match reason {
            DropReason::Truncated if batch.may_be_cut(index) => Candidate::refused(DropReason::CutByDriver),
            reason => Candidate::refused(reason),
        });
    }

    /// Another `rest` bytes belong to the frame. If something is wrong, the outermost reason counts.
    fn read(&self, frame: &[u8], rest: usize) -> Result<Candidate<V4Key>, DropReason> {
        let (ethernet, payload) = ethernet::split(frame).ok_or(DropReason::Truncated)?;
        self.admit(ethernet)?;
        let Packet::V4(packet) = Packet::within(ethernet.ethertype(), payload, rest)?;
        let mut candidate = match self.service_of(&packet) {
            Some(service) => self.candidate(&packet, service),
            None => self.wildcard_candidate(&packet).ok_or(DropReason::NoService)?,
        };
        if matches!(candidate.kind, Kind::Of) && ethernet.ethertype() == ethernet::TAG {
            candidate.kind = Kind::Tagged;
        }
        may_go_on(&packet).then_some(candidate).ok_or(DropReason::TtlExceeded)
    }

    #[inline]
    fn service_of(&self, packet: &V4Packet) -> Option<ServiceId> {
        self.services.find(packet.protocol, packet.destination, packet.ports.destination)
    }

    /// Takes only frames for this station that it has not sent itself.
    fn admit(&self, ethernet: ethernet::Header<'_>) -> Result<(), DropReason> {
        if self.stations.contains(&ethernet.source_bits()) {
            return Err(DropReason::Looped);
        }
        let own = self.stations[usize::from(InterfaceIndex::CLIENT.0)] == ethernet.destination_bits();
        own.then_some(()).ok_or(DropReason::OtherHost)
    }

    /// False if [`Reader::admit`] may refuse the frame: its source ends as one of ours does.
    #[inline]
    fn may_admit(&self, ethernet: ethernet::Header<'_>) -> bool {
        let own = self.stations[usize::from(InterfaceIndex::CLIENT.0)] == ethernet.destination_bits();
        let end = ethernet.source_end();
        own && self.stations.iter().all(|station| (station >> 32) as u32 != end)
    }

    /// What the second pass needs of a packet; its first table line is called for.
    #[inline]
    fn candidate(&self, packet: &V4Packet, service: ServiceId) -> Candidate<V4Key> {
        let key = V4Key::new(packet.source, packet.ports.source, service);
        let homes = self.v4.call(key);
        let V4Packet { bytes, flags, protocol, .. } = *packet;
        Candidate { key, homes, bytes, port: 0, protocol, flags, hint: Hint::NONE, kind: Kind::Of }
    }

    /// The candidate for a wildcard-port service, if the VIP has one. Its homes are in the other table.
    fn wildcard_candidate(&self, packet: &V4Packet) -> Option<Candidate<V4Key>> {
        let V4Packet { protocol, destination, bytes, flags, ports, .. } = *packet;
        let service = self.services.find_wildcard(protocol, destination)?;
        let key = V4Key::new(packet.source, ports.source, service);
        if let Some(family) = self.wildcard {
            family.call(WildcardKey::new(key, ports.destination));
        }
        let (port, kind) = (ports.destination, Kind::Wildcard);
        Some(Candidate { key, bytes, port, protocol, flags, kind, ..Candidate::NOBODY })
    }
}

/// Whether a packet may make another hop (RFC 1812 section 5.3.1).
#[inline]
fn may_go_on(packet: &V4Packet) -> bool {
    packet.ttl > 1
}
