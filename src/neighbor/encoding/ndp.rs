//! NDP: messages of IPv6 neighbors as solicitations and advertisements (RFC 4861).

use crate::neighbor::message::{Content, NeighborMessage, Outgoing};
use crate::wire::MacAddr;
use crate::wire::ndp::{NdpKind, NdpPacket, Nonce};
use std::net::{IpAddr, Ipv6Addr};

/// Returns the message of a received packet.
///
/// An advertisement to one station is an answer, one to all nodes an announcement. The answer to a probe goes to all
/// nodes: it is an announcement by its form.
#[must_use]
pub fn decode(packet: &NdpPacket) -> NeighborMessage {
    let NdpPacket { destination, source, target, .. } = *packet;
    let mac = packet.link_layer.unwrap_or(source);
    let (sender, content, overrides) = match packet.kind {
        NdpKind::Solicitation { nonce } => {
            (packet.source_ip, Content::Solicitation { target: target.into(), nonce }, true)
        }
        NdpKind::Advertisement(flags) if packet.destination_ip.is_multicast() => {
            (target, Content::Announcement, flags.overrides)
        }
        NdpKind::Advertisement(flags) => (target, Content::Answer, flags.overrides),
    };
    let sender = Some(IpAddr::V6(sender)).filter(|sender| !sender.is_unspecified());
    NeighborMessage { destination, source, mac, sender, content, is_foreign: false, overrides }
}

/// Returns the packets of a message, sent from `own`; none for a message about an IPv4 address, and for a solicitation
/// without a sender, which would be a probe.
///
/// The first announcement of an address is two packets: routers may create an entry from the second one (RFC 9131).
#[must_use]
pub fn encode(message: &Outgoing, own: MacAddr) -> [Option<NdpPacket>; 2] {
    match *message {
        Outgoing::Probe { address: IpAddr::V6(address), station, nonce } => {
            let probe = NdpPacket::probe(own, address, nonce.unwrap_or(Nonce([0; 6])));
            [Some(towards(probe, station)), None]
        }
        Outgoing::Announce { address: IpAddr::V6(address), is_first } => [
            Some(NdpPacket::announcement(own, address)),
            is_first.then(|| NdpPacket::introduction(own, address)),
        ],
        Outgoing::Answer { address: IpAddr::V6(address), station, to } => {
            [Some(answer(own, address, station, to)), None]
        }
        Outgoing::Solicit { address: IpAddr::V6(address), sender: Some(IpAddr::V6(sender)), station } => {
            [Some(towards(NdpPacket::solicitation(own, sender, address), station)), None]
        }
        _ => [None, None],
    }
}

fn answer(own: MacAddr, address: Ipv6Addr, station: MacAddr, to: Option<IpAddr>) -> NdpPacket {
    match to {
        Some(IpAddr::V6(to)) => NdpPacket::answer(own, address, station, to),
        Some(IpAddr::V4(_)) | None => NdpPacket::announcement(own, address),
    }
}

fn towards(solicitation: NdpPacket, station: Option<MacAddr>) -> NdpPacket {
    station.map_or(solicitation, |station| solicitation.unicast_to(station))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::ndp::{ALL_NODES, ALL_ROUTERS};

    const OWN: MacAddr = MacAddr([2, 0, 0, 0, 0, 0xd]);
    const STATION: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
    const VIP: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x80);
    const HOST: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
    const NONCE: Nonce = Nonce([1, 2, 3, 4, 5, 6]);

    #[test]
    fn a_solicitation_names_its_sender_unless_it_is_a_probe() {
        let asked = decode(&NdpPacket::solicitation(STATION, HOST, VIP));
        assert_eq!((asked.mac, asked.sender), (STATION, Some(HOST.into())));
        assert_eq!((asked.target(), asked.is_probe()), (Some(VIP.into()), false));
        let probe = decode(&NdpPacket::probe(STATION, VIP, NONCE));
        let content = Content::Solicitation { target: VIP.into(), nonce: Some(NONCE) };
        assert_eq!((probe.mac, probe.sender, probe.content), (STATION, None, content));
        assert!(probe.is_probe());
    }

    #[test]
    fn the_option_s_mac_address_precedes_the_frame_s() {
        let solicitation = NdpPacket::solicitation(STATION, HOST, VIP);
        assert_eq!(decode(&NdpPacket { source: OWN, ..solicitation }).mac, STATION);
        assert_eq!(decode(&NdpPacket { source: OWN, link_layer: None, ..solicitation }).mac, OWN);
    }

    #[test]
    fn an_advertisement_is_its_target_s() {
        let answer = NdpPacket::answer(STATION, VIP, OWN, HOST);
        let read = decode(&NdpPacket { source_ip: HOST, ..answer });
        assert_eq!((read.sender, read.content, read.overrides), (Some(VIP.into()), Content::Answer, true));
        let announcement = decode(&NdpPacket::announcement(STATION, VIP));
        assert_eq!((announcement.content, announcement.overrides), (Content::Announcement, true));
        assert!(!decode(&NdpPacket::introduction(STATION, VIP)).overrides);
    }

    #[test]
    fn each_message_is_encoded_in_its_form() {
        let address = VIP.into();
        let encoded = |message| encode(&message, OWN);
        let probe = NdpPacket::probe(OWN, VIP, NONCE);
        assert_eq!(
            encoded(Outgoing::Probe { address, station: None, nonce: Some(NONCE) }),
            [Some(probe), None]
        );
        let to_one = Outgoing::Probe { address, station: Some(STATION), nonce: Some(NONCE) };
        assert_eq!(encoded(to_one), [Some(probe.unicast_to(STATION)), None]);
        let destinations = |is_first| {
            let packets = encoded(Outgoing::Announce { address, is_first });
            packets.map(|packet| packet.map(|packet| packet.destination_ip))
        };
        assert_eq!(destinations(true), [Some(ALL_NODES), Some(ALL_ROUTERS)]);
        assert_eq!(destinations(false), [Some(ALL_NODES), None]);
        let answer = Outgoing::Answer { address, station: STATION, to: Some(HOST.into()) };
        assert_eq!(encoded(answer), [Some(NdpPacket::answer(OWN, VIP, STATION, HOST)), None]);
        let to_probe = Outgoing::Answer { address, station: STATION, to: None };
        assert_eq!(encoded(to_probe), [Some(NdpPacket::announcement(OWN, VIP)), None]);
        let solicit = |sender| Outgoing::Solicit { address, sender, station: Some(STATION) };
        let near = NdpPacket::solicitation(OWN, HOST, VIP).unicast_to(STATION);
        assert_eq!(encoded(solicit(Some(HOST.into()))), [Some(near), None]);
        assert_eq!(encoded(solicit(None)), [None, None], "never from the unspecified address");
    }
}
