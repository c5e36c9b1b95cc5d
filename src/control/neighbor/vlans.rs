//! VLANs of VIPs and real servers: the edge between the neighbor machine, which knows none, and tagged frames.

use crate::audit::AuditFinding;
use crate::neighbor::{NeighborEvent, NeighborMessage, Outgoing};
use crate::wire::ethernet::TAG_LEN;
use crate::wire::vlan::{self, TAG_AT, Tags, Vlans};
use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr};
use tokio::sync::oneshot;

/// VLANs of addresses: of each VIP and real server.
pub type HostVlans = HashMap<IpAddr, Vlans>;

/// Input of the neighbor driver.
#[derive(Debug)]
pub enum NeighborCommand {
    /// An event for the machine.
    Event(NeighborEvent),
    /// These addresses are in these VLANs. The others stay.
    Vlans(HostVlans),
    /// The director's own IPv4 address on the client interface, from which the auditor asks.
    Sender(Option<Ipv4Addr>),
    /// The next hop of the default route on the client interface, whose entry for each VIP the auditor tests.
    Gateway(Option<Ipv4Addr>),
    /// Audits a VIP that is not claimed.
    Observe(IpAddr),
    /// Lists the auditor's findings.
    Findings(oneshot::Sender<Vec<AuditFinding>>),
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

/// The message, if it is about an address of `vlans`, in which it was received. Each VLAN is a network of its own: the
/// same address in another one is another host's.
///
/// A question is about its target, and may come from an address that is known in another VLAN. Any other message is
/// about the sender's address.
pub(super) fn admit(known: &HostVlans, message: NeighborMessage, vlans: Vlans) -> Option<NeighborMessage> {
    let is_elsewhere = |address: IpAddr| known.get(&address).is_some_and(|known| *known != vlans);
    let is_foreign = message.sender.is_some_and(is_elsewhere);
    let is_refused = message.target().map_or(is_foreign, is_elsewhere);
    (!is_refused).then_some(NeighborMessage { is_foreign, ..message })
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
        let admitted = |packet: &ArpPacket, ids: &[u16]| {
            let message = crate::neighbor::encoding::arp::decode(packet);
            admit(&known, message, vlans(ids)).map(|message| message.claimed())
        };
        let asked =
            |from: [u8; 4], target, ids: &[u16]| admitted(&ArpPacket::request(OWN, from.into(), target), ids);
        let (router, server) = (ROUTER.octets(), [192, 0, 2, 9]);
        assert_eq!(asked(router, VIP, &[100]), Some(Some(ROUTER.into())));
        assert_eq!([&[][..], &[7], &[100, 7]].map(|ids| asked(router, VIP, ids)), [None; 3]);
        assert_eq!(asked(server, ROUTER, &[]), Some(Some(server.into())));
        assert_eq!(
            asked(server, VIP, &[100]),
            Some(None),
            "another host with the address of a server elsewhere"
        );
        assert_eq!(asked(server, ROUTER, &[100]), Some(None));
        let announced = |ids: &[u16]| admitted(&ArpPacket::announcement(OWN, server.into()), ids);
        assert_eq!((announced(&[]), announced(&[100])), (Some(Some(server.into())), None));
        assert_eq!(outer(&known), BTreeSet::from([100]));
    }
}
