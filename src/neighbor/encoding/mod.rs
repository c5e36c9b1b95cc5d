//! Encodings of neighbor messages: the edge between the machine and the protocols.

pub mod arp;
pub mod ndp;

use super::message::{NeighborMessage, Outgoing};
use crate::wire::arp::{ArpPacket, FRAME_LEN};
use crate::wire::ndp::{FRAME_LEN_MAX, NdpPacket};
use crate::wire::{MacAddr, ethernet};

/// Returns the message of a received frame; `None` if it is no valid ARP or neighbor discovery.
#[must_use]
pub fn decode(frame: &[u8]) -> Option<NeighborMessage> {
    match ethernet::ethertype(frame)? {
        ethernet::ARP => ArpPacket::parse(frame).ok().as_ref().map(arp::decode),
        ethernet::IPV6 => NdpPacket::parse(frame).ok().as_ref().map(ndp::decode),
        _ => None,
    }
}

/// Passes each frame of a message, sent from `own`, to `send`.
pub fn encode(message: &Outgoing, own: MacAddr, mut send: impl FnMut(&[u8])) {
    for packet in arp::encode(message, own).into_iter().flatten() {
        let mut frame = [0; FRAME_LEN];
        packet.emit(&mut frame);
        send(&frame);
    }
    for packet in ndp::encode(message, own).into_iter().flatten() {
        send(packet.emit(&mut [0; FRAME_LEN_MAX]));
    }
}
