//! ARP: messages of IPv4 neighbors as packets (RFC 826, RFC 5227).

use crate::neighbor::message::{Content, NeighborMessage, Outgoing};
use crate::wire::MacAddr;
use crate::wire::arp::{ArpPacket, Operation};
use std::net::{IpAddr, Ipv4Addr};

/// Returns the message of a received packet.
///
/// A request from its own target is an announcement, and so is a broadcast reply of that kind (RFC 5227 §3).
#[must_use]
pub fn decode(packet: &ArpPacket) -> NeighborMessage {
    let ArpPacket { destination, source, operation, sender_mac: mac, sender_ip, target_ip, .. } = *packet;
    let gratuitous = sender_ip == target_ip;
    let content = match operation {
        Operation::Request if !gratuitous => Content::Solicitation { target: target_ip.into(), nonce: None },
        Operation::Reply if !gratuitous || destination.is_unicast() => Content::Answer,
        Operation::Request | Operation::Reply => Content::Announcement,
    };
    let sender = Some(IpAddr::V4(sender_ip)).filter(|sender| !sender.is_unspecified());
    NeighborMessage { destination, source, mac, sender, content, is_foreign: false, overrides: true }
}

/// Returns the packets of a message, sent from `own`; none for a message about an IPv6 address.
///
/// An announcement is two packets. The request is RFC 5227's form. The reply is for routers and firewalls that update
/// an entry from replies only; it costs one more small frame a minute.
#[must_use]
pub fn encode(message: &Outgoing, own: MacAddr) -> [Option<ArpPacket>; 2] {
    match *message {
        Outgoing::Probe { address: IpAddr::V4(address), station, .. } => {
            [Some(towards(ArpPacket::probe(own, address), station)), None]
        }
        Outgoing::Announce { address: IpAddr::V4(address), .. } => {
            [Some(ArpPacket::announcement(own, address)), Some(ArpPacket::announcement_reply(own, address))]
        }
        Outgoing::Answer { address: IpAddr::V4(address), station, to } => {
            [Some(ArpPacket::request(station, v4(to), address).reply(own)), None]
        }
        Outgoing::Solicit { address: IpAddr::V4(address), sender, station } => {
            [Some(towards(ArpPacket::request(own, v4(sender), address), station)), None]
        }
        _ => [None, None],
    }
}

fn towards(request: ArpPacket, station: Option<MacAddr>) -> ArpPacket {
    station.map_or(request, |station| request.unicast_to(station))
}

/// Returns the address as ARP writes it, unspecified if there is none.
fn v4(address: Option<IpAddr>) -> Ipv4Addr {
    match address {
        Some(IpAddr::V4(address)) => address,
        Some(IpAddr::V6(_)) | None => Ipv4Addr::UNSPECIFIED,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: MacAddr = MacAddr([2, 0, 0, 0, 0, 0xd]);
    const STATION: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
    const VIP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 80);
    const HOST: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

    fn content(packet: &ArpPacket) -> Content {
        decode(packet).content
    }

    #[test]
    fn a_request_is_a_solicitation_unless_gratuitous() {
        let asked = decode(&ArpPacket::request(STATION, HOST, VIP));
        assert_eq!((asked.mac, asked.sender), (STATION, Some(HOST.into())));
        assert_eq!((asked.target(), asked.is_probe()), (Some(VIP.into()), false));
        let probe = decode(&ArpPacket::probe(STATION, VIP));
        assert_eq!((probe.sender, probe.target(), probe.is_probe()), (None, Some(VIP.into()), true));
        let announcement = decode(&ArpPacket::announcement(STATION, VIP));
        assert_eq!((announcement.sender, announcement.content), (Some(VIP.into()), Content::Announcement));
        assert!(!announcement.is_probe());
    }

    #[test]
    fn a_reply_is_an_answer_unless_gratuitous() {
        let reply = ArpPacket::request(OWN, HOST, VIP).reply(STATION);
        assert_eq!(content(&reply), Content::Answer);
        assert_eq!(content(&ArpPacket { destination: MacAddr::BROADCAST, ..reply }), Content::Answer);
        let gratuitous = ArpPacket::announcement_reply(STATION, VIP);
        assert_eq!(content(&gratuitous), Content::Announcement);
        assert_eq!(
            content(&gratuitous.unicast_to(OWN)),
            Content::Answer,
            "an answer to a probe of some stacks"
        );
    }

    #[test]
    fn each_message_is_encoded_in_its_form() {
        let address = VIP.into();
        let encoded = |message| encode(&message, OWN);
        let probe = ArpPacket::probe(OWN, VIP);
        assert_eq!(encoded(Outgoing::Probe { address, station: None, nonce: None }), [Some(probe), None]);
        let to_one = Outgoing::Probe { address, station: Some(STATION), nonce: None };
        assert_eq!(encoded(to_one), [Some(probe.unicast_to(STATION)), None]);
        let both = [ArpPacket::announcement(OWN, VIP), ArpPacket::announcement_reply(OWN, VIP)];
        assert_eq!(encoded(Outgoing::Announce { address, is_first: true }), both.map(Some));
        let answer = Outgoing::Answer { address, station: STATION, to: Some(HOST.into()) };
        assert_eq!(encoded(answer), [Some(ArpPacket::request(STATION, HOST, VIP).reply(OWN)), None]);
        let to_probe = Outgoing::Answer { address, station: STATION, to: None };
        assert_eq!(encoded(to_probe), [Some(ArpPacket::probe(STATION, VIP).reply(OWN)), None]);
        let solicit = Outgoing::Solicit { address, sender: Some(HOST.into()), station: None };
        assert_eq!(encoded(solicit), [Some(ArpPacket::request(OWN, HOST, VIP)), None]);
        let nameless = Outgoing::Solicit { address, sender: None, station: Some(STATION) };
        assert_eq!(encoded(nameless), [Some(probe.unicast_to(STATION)), None]);
    }

    #[test]
    fn an_ipv6_address_has_no_packet() {
        let address = IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x80]);
        assert_eq!(encode(&Outgoing::Announce { address, is_first: false }, OWN), [None, None]);
    }
}
