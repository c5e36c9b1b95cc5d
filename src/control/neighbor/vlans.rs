//! VLANs of VIPs and real servers: the edge between the neighbor machine, which knows none, and tagged frames.

use crate::neighbor::{NeighborEvent, NeighborMessage, Outgoing};
use crate::wire::ethernet::TAG_LEN;
use crate::wire::vlan::{self, TAG_AT, Tags, Vlans};
use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

/// VLANs of addresses: of each VIP and real server.
pub type HostVlans = HashMap<IpAddr, Vlans>;

/// Input of the neighbor driver.
#[derive(Clone, Debug)]
pub enum NeighborCommand {
    /// An event for the machine.
    Event(NeighborEvent),
    /// These addresses are in these VLANs. The others stay.
    Vlans(HostVlans),
}

impl From<NeighborEvent> for NeighborCommand {
    fn from(event: NeighborEvent) -> Self {
        Self::Event(event)
    }
}

/// The outer VLANs of addresses.
pub(in crate::control) fn outer(vlans: &HostVlans) -> BTreeSet<u16> {
    vlans.values().filter(|vlans| !vlans.is_none()).map(|vlans| vlans.outer()).collect()
}

/// True if no address in `message` is known to be in other VLANs than `vlans`, in which it was received. Each VLAN is a
/// network of its own: the same address in another one is another host's.
pub(super) fn belongs(known: &HostVlans, message: &NeighborMessage, vlans: Vlans) -> bool {
    let addresses = [message.sender, message.target()];
    addresses.into_iter().flatten().filter_map(|address| known.get(&address)).all(|known| *known == vlans)
}

/// VLANs in which `message` is sent.
pub(super) fn of(known: &HostVlans, message: &Outgoing) -> Vlans {
    let (Outgoing::Probe { address, .. }
    | Outgoing::Announce { address, .. }
    | Outgoing::Answer { address, .. }
    | Outgoing::Solicit { address, .. }) = message;
    known.get(address).copied().unwrap_or_default()
}

/// Takes the tags out of a frame. Returns its VLANs and the rest; `None` if it is too short, or has tags that exclude
/// each other.
pub(super) fn take_tags(frame: &mut [u8]) -> Option<(Vlans, &[u8])> {
    let tags = Tags::of(frame)?;
    let vlans = Vlans::of(&tags)?;
    let len = tags.as_slice().len() * TAG_LEN;
    frame.copy_within(..TAG_AT, len);
    Some((vlans, &frame[len..]))
}

/// Passes `frame` with the tags of `vlans` to `send`. A frame that has no room for them is not sent.
pub(super) fn with_tags(frame: &[u8], vlans: Vlans, send: impl FnOnce(&[u8])) {
    const ROOM: usize = 256;
    let mut buffer = [0; ROOM];
    let Some(plain) = buffer.get_mut(..frame.len()) else { return };
    plain.copy_from_slice(frame);
    let longer = vlans.tags().rev().try_fold(frame.len(), |len, tag| vlan::insert(&mut buffer, len, tag));
    if let Some(len) = longer {
        send(&buffer[..len]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::MacAddr;
    use crate::wire::arp::{ArpPacket, FRAME_LEN};
    use crate::wire::ethernet;
    use std::net::Ipv4Addr;

    const OWN: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
    const VIP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 80);
    const ROUTER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

    fn vlans(ids: &[u16]) -> Vlans {
        Vlans::new(ids).unwrap()
    }

    #[test]
    fn tags_that_are_put_on_come_off_again() {
        let mut frame = [0; FRAME_LEN];
        ArpPacket::request(OWN, ROUTER, VIP).emit(&mut frame);
        for (ids, ethertype) in [(&[][..], ethernet::ARP), (&[100], 0x8100), (&[100, 10], 0x88a8)] {
            let mut sent = Vec::new();
            with_tags(&frame, vlans(ids), |frame| sent = frame.to_vec());
            assert_eq!(
                (sent.len(), ethernet::ethertype(&sent)),
                (FRAME_LEN + 4 * ids.len(), Some(ethertype))
            );
            assert_eq!(take_tags(&mut sent), Some((vlans(ids), &frame[..])));
        }
        let mut alien = [&frame[..12], &[0x81, 0, 0, 0, 0x81, 0, 0, 7], &frame[12..]].concat();
        assert_eq!(take_tags(&mut alien), None);
    }

    #[test]
    fn a_message_belongs_to_the_vlan_of_its_addresses() {
        let known = HostVlans::from([(VIP.into(), vlans(&[100])), ([192, 0, 2, 9].into(), Vlans::NONE)]);
        let asked = |from: [u8; 4], target: Ipv4Addr, ids: &[u16]| {
            let message =
                crate::neighbor::encoding::arp::decode(&ArpPacket::request(OWN, from.into(), target));
            belongs(&known, &message, vlans(ids))
        };
        let router = ROUTER.octets();
        assert!(asked(router, VIP, &[100]) && !asked(router, VIP, &[]) && !asked(router, VIP, &[100, 7]));
        assert!(asked([192, 0, 2, 9], ROUTER, &[]) && !asked([192, 0, 2, 9], ROUTER, &[100]));
        assert!(!asked([192, 0, 2, 9], VIP, &[100]), "the same address, of another network");
        assert_eq!(outer(&known), BTreeSet::from([100]));
    }
}
