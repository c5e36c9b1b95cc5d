//! Checks of a frame that opens a connection.

use super::context::Context;
use super::snapshot::Route;
use crate::model::ServerId;
use crate::stats::DropReason;
use crate::wire::packet::Packet;
use crate::wire::vlan::Vlans;
use crate::wire::{Protocol, checksum, fast_path, fast_path_v6, hop, sctp_checksum};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Frame that may open a connection, as received.
#[derive(Debug)]
pub(super) struct ReceivedFrame<'a> {
    pub(super) frame: &'a [u8],
    /// The transport protocol's checksum is completed on transmission.
    pub(super) completed: bool,
}

impl ReceivedFrame<'_> {
    /// Refuses impossible client addresses, and counts frames with a checksum that no server accepts.
    #[inline(always)]
    pub(super) fn admit(
        &self,
        context: &Context,
        client: IpAddr,
        protocol: Protocol,
    ) -> Result<(), DropReason> {
        if is_martian(client) || context.snapshot.reserved.contains(&client) && !is_within_vlan(self.frame) {
            return Err(DropReason::Martian);
        }
        let is_sound = fast_path::is_sound(self.frame) || fast_path_v6::is_sound(self.frame);
        if is_sound && protocol != Protocol::Sctp { Ok(()) } else { self.admit_slow(context, client) }
    }

    #[cold]
    fn admit_slow(&self, context: &Context, client: IpAddr) -> Result<(), DropReason> {
        let Ok(packet) = Packet::parse(self.frame) else { return Ok(()) };
        let vip = packet.destination();
        // An IPv4-mapped source has become an IPv4 client in its key.
        if vip == client || vip.is_ipv6() != client.is_ipv6() {
            return Err(DropReason::Martian);
        }
        if !self.completed && self.is_unfinished() {
            context.accounting.unfinished();
        }
        Ok(())
    }

    /// True if the checksum was left to a network card that did not compute it.
    fn is_unfinished(&self) -> bool {
        checksum::is_unfinished(self.frame) || sctp_checksum::is_missing(self.frame)
    }

    /// True if the frame would go back to the station that sent it: see [`hop::turns_back`].
    #[inline]
    pub(super) fn turns_back(&self, context: &Context, server: ServerId) -> bool {
        match context.snapshot.route(server) {
            Route::Via(_, addresses) | Route::Quiesced(_, addresses) => {
                hop::turns_back(self.frame, addresses)
            }
            Route::Removed | Route::Unresolved | Route::Cut => false,
        }
    }
}

/// True within a VLAN, whose networks are others than the director's.
#[cold]
fn is_within_vlan(frame: &[u8]) -> bool {
    Vlans::of_frame(frame).is_some_and(|vlans| !vlans.is_none())
}

/// True for a source address that Linux drops as martian on any host.
#[inline]
fn is_martian(source: IpAddr) -> bool {
    match source {
        IpAddr::V4(source) => is_martian_v4(source),
        IpAddr::V6(source) => is_martian_v6(source),
    }
}

/// `ip_route_input_slow` in net/ipv4/route.c: multicast, limited broadcast, 0.0.0.0/8, 127.0.0.0/8. Linux accepts
/// 240.0.0.0/4.
#[inline]
fn is_martian_v4(source: Ipv4Addr) -> bool {
    let [first, ..] = source.octets();
    let ordinary = (1..224).contains(&first) && first != 127;
    !ordinary && (first < 240 || source.is_broadcast())
}

/// `ip6_rcv_core` in net/ipv6/ip6_input.c: multicast, loopback, IPv4-mapped. The unspecified address has no
/// answer, either.
fn is_martian_v6(source: Ipv6Addr) -> bool {
    source.is_multicast()
        || source.is_loopback()
        || source.is_unspecified()
        || source.to_ipv4_mapped().is_some()
}
