//! First pass: parses a frame and stages it for the connection look-up, or gives the drop reason.

use super::Batch;
use super::conns::Connections;
use super::context::Context;
use super::services::ServiceMap;
use super::snapshot::INTERFACES_MAX;
use super::staged::{FrameSet, Staged, StagedKind, WideFrames};
use super::tables::Tables;
use super::vlans::VlanServices;
use crate::flow::{V4Key, WideKey};
use crate::model::{InterfaceIndex, MatchId};
use crate::stats::DropReason;
use crate::wire::ip_fragment::Fragment;
use crate::wire::packet::{IpPacket, Packet};
use crate::wire::vlan::{Tags, Vlans};
use crate::wire::{Malformed, ethernet, fast_path, fast_path_v6, icmp_error, ipv6};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Frame staged for one of the flow tables.
enum Keyed {
    V4(Staged<V4Key>),
    Wide(Staged<WideKey>),
}

/// Inputs of the first pass of a batch.
#[derive(Clone, Copy)]
pub(super) struct FirstPass<'a> {
    services: &'a ServiceMap,
    vlans: &'a VlanServices,
    /// MAC addresses of the interfaces, as [`crate::wire::MacAddr::bits`].
    own_macs: [u64; INTERFACES_MAX],
    v4: &'a Connections<V4Key>,
    wide: Option<&'a Connections<WideKey>>,
}

impl<'a> FirstPass<'a> {
    #[inline]
    pub(super) fn new(context: &'a Context, tables: &'a Tables, own_macs: [u64; INTERFACES_MAX]) -> Self {
        let (services, vlans) = (&context.snapshot.services, &context.snapshot.vlans);
        Self { services, vlans, own_macs, v4: &tables.v4, wide: tables.wide.as_ref() }
    }

    /// Parses the frames of plain IPv4 to matches of one port, and prefetches their first candidate buckets. Returns the
    /// other frames, which are left to [`FirstPass::stage_others`].
    #[inline]
    pub(super) fn stage_plain<B: Batch + ?Sized>(
        &self,
        batch: &mut B,
        staged: &mut [Staged<V4Key>],
    ) -> FrameSet {
        let mut others = FrameSet::default();
        for (index, place) in staged.iter_mut().enumerate() {
            if !self.stage_one(batch.frame(index), place) {
                others.insert(index);
            }
        }
        others
    }

    #[inline]
    fn stage_one(&self, frame: &[u8], place: &mut Staged<V4Key>) -> bool {
        let (Some(packet), Some((ethernet, _))) = (fast_path::parse(frame), ethernet::split(frame)) else {
            return false;
        };
        if !may_be_forwarded(&packet) || !self.may_admit(ethernet) {
            return false;
        }
        place.set_packet(&packet);
        let Some(service) = self.service_of(&packet) else { return false };
        self.v4.set_key(place, V4Key::new(packet.source, packet.ports.source, service));
        true
    }

    /// Stages the frames of `indexes`: those with wide keys in `wide`, the others in `staged`.
    #[inline(never)]
    pub(super) fn stage_others<B: Batch + ?Sized>(
        &self,
        batch: &mut B,
        indexes: FrameSet,
        staged: &mut [Staged<V4Key>],
        wide: &mut WideFrames,
    ) {
        wide.indexes = indexes;
        for index in indexes.iter() {
            if !self.stage_wide(batch.frame(index), &mut wide.staged[index]) {
                self.stage_slow(batch, index, &mut staged[index], wide);
            }
        }
    }

    /// Stages plain IPv6, or plain IPv4 to a match of several ports. Returns false for any other frame, which is left to
    /// the slow path.
    #[inline]
    fn stage_wide(&self, frame: &[u8], place: &mut Staged<WideKey>) -> bool {
        let (Some(conns), Some((ethernet, _))) = (self.wide, ethernet::split(frame)) else { return false };
        if !self.may_admit(ethernet) {
            return false;
        }
        match fast_path_v6::parse(frame) {
            Some(packet) => self.stage_v6(conns, &packet, place),
            None => self.stage_several(conns, frame, place),
        }
    }

    #[inline]
    fn stage_v6(
        &self,
        conns: &Connections<WideKey>,
        packet: &IpPacket<Ipv6Addr>,
        place: &mut Staged<WideKey>,
    ) -> bool {
        if !may_be_forwarded(packet) {
            return false;
        }
        place.set_packet(packet);
        let Some(service) = self.service_of_v6(packet) else { return false };
        conns.set_key(place, wide_key(packet, service));
        true
    }

    /// Parses the frame again, which [`FirstPass::stage_plain`] refuses only if no match of one port takes it.
    #[inline]
    fn stage_several(&self, conns: &Connections<WideKey>, frame: &[u8], place: &mut Staged<WideKey>) -> bool {
        let Some(packet) = fast_path::parse(frame).filter(may_be_forwarded) else { return false };
        place.set_packet(&packet);
        let Some(service) = self.several(&packet) else { return false };
        conns.set_key(place, wide_key(&packet, service));
        true
    }

    /// Slow path: options, tags, fragments, ICMP errors, or a frame to be dropped.
    #[cold]
    fn stage_slow<B: Batch + ?Sized>(
        &self,
        batch: &mut B,
        index: usize,
        place: &mut Staged<V4Key>,
        wide: &mut WideFrames,
    ) {
        let rest = batch.rest(index);
        let staged = match self.parse_slow(batch.frame(index), rest) {
            Ok(Keyed::Wide(staged)) => {
                wide.staged[index] = staged;
                return;
            }
            Ok(Keyed::V4(staged)) => staged,
            Err(DropReason::Truncated) if batch.may_be_cut(index) => Staged::refused(DropReason::CutByDriver),
            Err(reason) => Staged::refused(reason),
        };
        *place = staged;
        wide.indexes.remove(index);
    }

    /// Parses header by header. Another `rest` bytes belong to the frame. Of several reasons to drop it, the
    /// outermost header's is returned.
    fn parse_slow(&self, frame: &[u8], rest: usize) -> Result<Keyed, DropReason> {
        let (ethernet, payload) = ethernet::split(frame).ok_or(DropReason::Truncated)?;
        self.admit(ethernet)?;
        let ethertype = ethernet.ethertype();
        if ethernet::is_tag(ethertype) {
            return self.within_vlans(frame)?.parse_packet(ethertype, payload, rest);
        }
        self.parse_packet(ethertype, payload, rest)
    }

    /// The first pass with the services of the frame's VLANs.
    fn within_vlans(&self, frame: &[u8]) -> Result<Self, DropReason> {
        let tags = Tags::of(frame).ok_or(DropReason::Truncated)?;
        let vlans = Vlans::of(&tags).ok_or(DropReason::Tags)?;
        if vlans.is_none() {
            return Ok(*self);
        }
        let services = self.vlans.find(vlans).ok_or(DropReason::Vlan)?;
        Ok(Self { services, ..*self })
    }

    /// Parses what follows the Ethernet addresses, see [`FirstPass::parse_slow`].
    fn parse_packet(&self, ethertype: u16, payload: &[u8], rest: usize) -> Result<Keyed, DropReason> {
        match Packet::within(ethertype, payload, rest) {
            Err(Malformed::Protocol) => {
                let packet = icmp_error::parse(ethertype, payload, rest)?;
                self.keyed(&packet, StagedKind::Quoted)
            }
            Err(Malformed::Fragment) => {
                let fragment = Fragment::within(ethertype, payload, rest)?.ok_or(DropReason::Fragment)?;
                self.fragment(&fragment)
            }
            packet if ethernet::is_tag(ethertype) => self.keyed(&packet?, StagedKind::Tagged),
            packet => self.keyed(&packet?, StagedKind::Lookup),
        }
    }

    /// Stages a fragment: a first one as the packet that it begins.
    fn fragment(&self, fragment: &Fragment) -> Result<Keyed, DropReason> {
        let first = match fragment {
            Fragment::V4(fragment) => IpPacket::of_first(fragment).map(Packet::V4),
            Fragment::V6(fragment) => IpPacket::of_first(fragment).map(Packet::V6),
        };
        let hops_left = fragment.ttl() > 1;
        match first {
            Some(packet) => self.keyed(&packet, StagedKind::First),
            None if hops_left => Ok(Keyed::V4(Staged::LATER)),
            None => Err(DropReason::TtlExceeded),
        }
    }

    /// Stages a packet by the key of its connection.
    fn keyed(&self, packet: &Packet, kind: StagedKind) -> Result<Keyed, DropReason> {
        let packet = match packet {
            Packet::V4(packet) => packet,
            Packet::V6(packet) => return self.keyed_v6(packet, kind).map(Keyed::Wide),
        };
        let Some(service) = self.service_of(packet) else {
            return self.staged_several(packet, kind).map(Keyed::Wide);
        };
        if packet.source == packet.destination {
            return Err(DropReason::Martian);
        }
        let staged = self.staged(packet, service);
        let kind = if may_be_forwarded(packet) { kind } else { expired(self.v4.contains(staged.key)) };
        Ok(Keyed::V4(Staged { kind, ..staged }))
    }

    fn keyed_v6(&self, packet: &IpPacket<Ipv6Addr>, kind: StagedKind) -> Result<Staged<WideKey>, DropReason> {
        // The key of an IPv4-mapped address is that of an IPv4 client.
        if ipv6::is_ipv4_mapped(packet.source) {
            return Err(DropReason::Martian);
        }
        match self.service_of_v6(packet) {
            Some(service) => self.staged_wide(packet, service, kind),
            None => self.staged_several(packet, kind),
        }
    }

    #[inline]
    fn service_of_v6(&self, packet: &IpPacket<Ipv6Addr>) -> Option<MatchId> {
        self.services.find_v6(packet.protocol, packet.destination, packet.ports.destination)
    }

    #[inline]
    fn service_of(&self, packet: &IpPacket<Ipv4Addr>) -> Option<MatchId> {
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
    fn staged(&self, packet: &IpPacket<Ipv4Addr>, service: MatchId) -> Staged<V4Key> {
        let mut staged = Staged::UNSET;
        staged.set_packet(packet);
        self.v4.set_key(&mut staged, V4Key::new(packet.source, packet.ports.source, service));
        staged
    }

    /// Stages a packet of a match of several ports, if there is one.
    fn staged_several<A: Into<IpAddr> + Copy + PartialEq>(
        &self,
        packet: &IpPacket<A>,
        kind: StagedKind,
    ) -> Result<Staged<WideKey>, DropReason> {
        let service = self.several(packet).ok_or(DropReason::NoService)?;
        self.staged_wide(packet, service, kind)
    }

    #[inline]
    fn several<A: Into<IpAddr> + Copy>(&self, packet: &IpPacket<A>) -> Option<MatchId> {
        let (vip, port) = (packet.destination.into(), packet.ports.destination);
        self.services.find_several(packet.protocol, vip, port)
    }

    /// Stages a packet of a service in the table of wide keys.
    fn staged_wide<A: Into<IpAddr> + Copy + PartialEq>(
        &self,
        packet: &IpPacket<A>,
        service: MatchId,
        kind: StagedKind,
    ) -> Result<Staged<WideKey>, DropReason> {
        if packet.source == packet.destination {
            return Err(DropReason::Martian);
        }
        let conns = self.wide.ok_or(DropReason::TableFull)?;
        let mut staged = Staged::UNSET_WIDE;
        staged.set_packet(packet);
        conns.set_key(&mut staged, wide_key(packet, service));
        staged.kind = if may_be_forwarded(packet) { kind } else { expired(conns.contains(staged.key)) };
        Ok(staged)
    }
}

#[inline]
fn wide_key<A: Into<IpAddr> + Copy>(packet: &IpPacket<A>, service: MatchId) -> WideKey {
    WideKey::new(packet.source.into(), packet.ports.source, service, packet.ports.destination)
}

/// Processing of a frame whose time to live has expired. traceroute sends its shortest-lived frames first, so
/// one of a known connection has passed here before: other directors forward it in a loop.
fn expired(is_known: bool) -> StagedKind {
    if is_known { StagedKind::Looped } else { StagedKind::Refused(DropReason::TtlExceeded) }
}

/// True if the time to live allows another hop (RFC 1812 section 5.3.1).
#[inline]
fn may_be_forwarded<A>(packet: &IpPacket<A>) -> bool {
    packet.ttl > 1
}
