//! First pass: parses a frame and stages it for the connection look-up, or gives the drop reason.

use super::Batch;
use super::conns::Connections;
use super::context::Context;
use super::services::ServiceMap;
use super::snapshot::INTERFACES_MAX;
use super::staged::{Staged, StagedKind};
use super::tables::Tables;
use crate::flow::{Hint, V4Key, WideKey};
use crate::model::{InterfaceIndex, ServiceId};
use crate::stats::DropReason;
use crate::wire::packet::{IpPacket, Packet};
use crate::wire::{ethernet, fast_path};
use std::net::Ipv4Addr;

/// Inputs of the first pass of a batch.
pub(super) struct FirstPass<'a> {
    services: &'a ServiceMap,
    /// MAC addresses of the interfaces, as [`crate::wire::MacAddr::bits`].
    own_macs: [u64; INTERFACES_MAX],
    v4: &'a Connections<V4Key>,
    wildcard: Option<&'a Connections<WideKey>>,
}

impl<'a> FirstPass<'a> {
    #[inline]
    pub(super) fn new(context: &'a Context, tables: &'a Tables, own_macs: [u64; INTERFACES_MAX]) -> Self {
        let services = &context.snapshot.services;
        Self { services, own_macs, v4: &tables.v4, wildcard: tables.wildcard.as_ref() }
    }

    /// Parses one frame and prefetches its first candidate bucket.
    #[inline]
    pub(super) fn stage<B: Batch + ?Sized>(&self, batch: &mut B, index: usize, place: &mut Staged<V4Key>) {
        let frame = batch.frame(index);
        let (Some(packet), Some((ethernet, _))) = (fast_path::parse(frame), ethernet::split(frame)) else {
            return self.stage_slow(batch, index, place);
        };
        if !may_be_forwarded(&packet) || !self.may_admit(ethernet) {
            return self.stage_slow(batch, index, place);
        }
        match self.service_of(&packet) {
            Some(service) => *place = self.staged(&packet, service),
            None => self.stage_slow(batch, index, place),
        }
    }

    /// Slow path: options, a priority tag, a wildcard-port service, or a frame to be dropped.
    #[cold]
    fn stage_slow<B: Batch + ?Sized>(&self, batch: &mut B, index: usize, place: &mut Staged<V4Key>) {
        let rest = batch.rest(index);
        *place = self.parse_slow(batch.frame(index), rest).unwrap_or_else(|reason| match reason {
            DropReason::Truncated if batch.may_be_cut(index) => Staged::refused(DropReason::CutByDriver),
            reason => Staged::refused(reason),
        });
    }

    /// Parses header by header. Another `rest` bytes belong to the frame. Of several reasons to drop it, the
    /// outermost header's is returned.
    fn parse_slow(&self, frame: &[u8], rest: usize) -> Result<Staged<V4Key>, DropReason> {
        let (ethernet, payload) = ethernet::split(frame).ok_or(DropReason::Truncated)?;
        self.admit(ethernet)?;
        let Packet::V4(packet) = Packet::within(ethernet.ethertype(), payload, rest)?;
        let mut staged = match self.service_of(&packet) {
            Some(service) => self.staged(&packet, service),
            None => self.staged_wildcard(&packet).ok_or(DropReason::NoService)?,
        };
        if matches!(staged.kind, StagedKind::Lookup) && ethernet.ethertype() == ethernet::TAG {
            staged.kind = StagedKind::Tagged;
        }
        if !may_be_forwarded(&packet) {
            staged.kind = self.expired(&staged);
        }
        Ok(staged)
    }

    /// Processing of a frame whose time to live has expired. traceroute sends its shortest-lived frames first, so
    /// one of a known connection has passed here before: other directors forward it in a loop.
    fn expired(&self, staged: &Staged<V4Key>) -> StagedKind {
        let is_known = match (staged.kind, self.wildcard) {
            (StagedKind::Wildcard, Some(wildcard)) => {
                wildcard.contains(WideKey::from_v4(staged.key, staged.port))
            }
            _ => self.v4.contains(staged.key),
        };
        if is_known { StagedKind::Looped } else { StagedKind::Refused(DropReason::TtlExceeded) }
    }

    #[inline]
    fn service_of(&self, packet: &IpPacket<Ipv4Addr>) -> Option<ServiceId> {
        self.services.find(packet.protocol, packet.destination, packet.ports.destination)
    }

    /// Admits frames for the client interface's own MAC address that do not come from the director.
    fn admit(&self, ethernet: ethernet::Header<'_>) -> Result<(), DropReason> {
        if self.own_macs.contains(&ethernet.source_bits()) {
            return Err(DropReason::Looped);
        }
        if self.is_for_us(ethernet) { Ok(()) } else { Err(DropReason::OtherHost) }
    }

    /// False if [`FirstPass::admit`] may refuse the frame. Compares only the last four bytes of the source
    /// address.
    #[inline]
    fn may_admit(&self, ethernet: ethernet::Header<'_>) -> bool {
        let end = ethernet.source_end();
        self.is_for_us(ethernet) && self.own_macs.iter().all(|own| (own >> 32) as u32 != end)
    }

    #[inline]
    fn is_for_us(&self, ethernet: ethernet::Header<'_>) -> bool {
        self.own_macs[usize::from(InterfaceIndex::CLIENT.0)] == ethernet.destination_bits()
    }

    /// Stages a packet of a fixed-port service.
    #[inline]
    fn staged(&self, packet: &IpPacket<Ipv4Addr>, service: ServiceId) -> Staged<V4Key> {
        let key = V4Key::new(packet.source, packet.ports.source, service);
        let buckets = self.v4.prefetch(key);
        let IpPacket { bytes, flags, protocol, .. } = *packet;
        Staged { key, buckets, bytes, port: 0, protocol, flags, hint: Hint::NONE, kind: StagedKind::Lookup }
    }

    /// Stages a packet of a wildcard-port service, if its VIP has one. Its candidate buckets are in the
    /// wildcard table.
    fn staged_wildcard(&self, packet: &IpPacket<Ipv4Addr>) -> Option<Staged<V4Key>> {
        let IpPacket { protocol, destination, bytes, flags, ports, .. } = *packet;
        let service = self.services.find_wildcard(protocol, destination)?;
        let key = V4Key::new(packet.source, ports.source, service);
        if let Some(wildcard) = self.wildcard {
            wildcard.prefetch(WideKey::from_v4(key, ports.destination));
        }
        let (port, kind) = (ports.destination, StagedKind::Wildcard);
        Some(Staged { key, bytes, port, protocol, flags, kind, ..Staged::UNSET })
    }
}

/// True if the time to live allows another hop (RFC 1812 section 5.3.1).
#[inline]
fn may_be_forwarded(packet: &IpPacket<Ipv4Addr>) -> bool {
    packet.ttl > 1
}
