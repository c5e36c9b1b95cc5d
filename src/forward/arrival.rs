//! What is looked at only in a frame that opens a connection.

use super::family::Context;
use super::snapshot::Route;
use crate::model::ServerId;
use crate::stats::DropReason;
use crate::wire::packet::Packet;
use crate::wire::{checksum, glance, hop};
use std::net::Ipv4Addr;

/// A frame that may open a connection, as it arrived.
#[derive(Debug)]
pub(super) struct Arrival<'a> {
    pub(super) frame: &'a [u8],
    /// Whether the TCP or UDP checksum will be finished on the way out.
    pub(super) completed: bool,
}

impl Arrival<'_> {
    /// Refuses what no client can have sent, and counts what no server will take.
    #[inline]
    pub(super) fn admit(&self, context: &Context, client: Ipv4Addr) -> Result<(), DropReason> {
        if is_martian(client) || context.snapshot.reserved.contains(&client) {
            return Err(DropReason::Martian);
        }
        if glance::is_plainly_sound(self.frame) { Ok(()) } else { self.look_closer(context, client) }
    }

    #[cold]
    fn look_closer(&self, context: &Context, client: Ipv4Addr) -> Result<(), DropReason> {
        let Ok(Packet::V4(packet)) = Packet::parse(self.frame) else { return Ok(()) };
        if packet.destination == client {
            return Err(DropReason::Martian);
        }
        if !self.completed && checksum::is_unfinished(self.frame) {
            context.tally.unfinished();
        }
        Ok(())
    }

    /// Whether the frame would go back to the station that it came from: see [`hop::turns_back`].
    #[inline]
    pub(super) fn turns_back(&self, context: &Context, server: ServerId) -> bool {
        match context.snapshot.route(server) {
            Route::Via(_, addresses) | Route::Quiesced(_, addresses) => {
                hop::turns_back(self.frame, addresses)
            }
            Route::Gone | Route::Unresolved => false,
        }
    }
}

/// True for a source that Linux drops as martian on any host (`ip_route_input_slow` in
/// net/ipv4/route.c): multicast, limited broadcast, 0.0.0.0/8, 127.0.0.0/8. It takes 240.0.0.0/4 for
/// ordinary addresses.
#[inline]
fn is_martian(source: Ipv4Addr) -> bool {
    let [first, ..] = source.octets();
    let ordinary = (1..224).contains(&first) && first != 127;
    !ordinary && (first < 240 || source.is_broadcast())
}
