//! Packets of the two families, as hosts of the simulation send and read them.

use super::{DIRECTOR, FORGER};
use directrix::neighbor::encoding::{arp, ndp};
use directrix::neighbor::{NeighborMessage, Outgoing};
use directrix::wire::MacAddr;
use directrix::wire::arp::{ArpPacket, Operation};
use directrix::wire::ndp::{AdvertisementFlags, NdpKind, NdpPacket};
use std::fmt::Debug;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A packet of ARP or of neighbor discovery.
pub(super) trait Packet: Copy + Debug + PartialEq {
    /// The link-local address of the director; ARP has none.
    const LINK_LOCAL: Option<Ipv6Addr>;

    /// The address of the segment's host with this number.
    fn address(host: u8) -> IpAddr;

    /// The packets of the director's message.
    fn encode(message: &Outgoing) -> Vec<Self>;

    fn decode(&self) -> NeighborMessage;

    fn request(from: MacAddr, sender: IpAddr, target: IpAddr) -> Self;

    /// The same request to one station.
    fn unicast_to(self, station: MacAddr) -> Self;

    /// The answer of a station; `None` if this is no request.
    fn reply(&self, from: MacAddr) -> Option<Self>;

    /// The forger's claims of an address.
    fn claims(address: IpAddr) -> [Self; 4];

    /// The sender of requests to real servers.
    fn asker() -> IpAddr {
        Self::LINK_LOCAL.map_or(Self::address(super::DIP), IpAddr::V6)
    }
}

fn v4(address: IpAddr) -> Ipv4Addr {
    let IpAddr::V4(address) = address else { unreachable!("a host of IPv4") };
    address
}

fn v6(address: IpAddr) -> Ipv6Addr {
    let IpAddr::V6(address) = address else { unreachable!("a host of IPv6") };
    address
}

impl Packet for ArpPacket {
    const LINK_LOCAL: Option<Ipv6Addr> = None;

    fn address(host: u8) -> IpAddr {
        [10, 0, 0, host].into()
    }

    fn encode(message: &Outgoing) -> Vec<Self> {
        arp::encode(message, DIRECTOR).into_iter().flatten().collect()
    }

    fn decode(&self) -> NeighborMessage {
        arp::decode(self)
    }

    fn request(from: MacAddr, sender: IpAddr, target: IpAddr) -> Self {
        Self::request(from, v4(sender), v4(target))
    }

    fn unicast_to(self, station: MacAddr) -> Self {
        self.unicast_to(station)
    }

    fn reply(&self, from: MacAddr) -> Option<Self> {
        (self.operation == Operation::Request).then(|| self.reply(from))
    }

    fn claims(address: IpAddr) -> [Self; 4] {
        let [claimed, director, gateway] = [address, Self::asker(), Self::address(super::GATEWAY)].map(v4);
        [
            Self::request(DIRECTOR, director, claimed).reply(FORGER),
            Self::request(FORGER, claimed, gateway),
            Self::announcement(FORGER, claimed),
            Self::announcement_reply(FORGER, claimed),
        ]
    }
}

impl Packet for NdpPacket {
    const LINK_LOCAL: Option<Ipv6Addr> = Some(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0xd));

    fn address(host: u8) -> IpAddr {
        [0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(host)].into()
    }

    fn encode(message: &Outgoing) -> Vec<Self> {
        ndp::encode(message, DIRECTOR).into_iter().flatten().collect()
    }

    fn decode(&self) -> NeighborMessage {
        ndp::decode(self)
    }

    fn request(from: MacAddr, sender: IpAddr, target: IpAddr) -> Self {
        Self::solicitation(from, v6(sender), v6(target))
    }

    fn unicast_to(self, station: MacAddr) -> Self {
        self.unicast_to(station)
    }

    /// A probe is answered to all nodes (RFC 4861 section 7.2.4).
    fn reply(&self, from: MacAddr) -> Option<Self> {
        let NdpKind::Solicitation { .. } = self.kind else { return None };
        let answer = Self::answer(from, self.target, self.link_layer.unwrap_or(self.source), self.source_ip);
        Some(if self.is_probe() { Self::announcement(from, self.target) } else { answer })
    }

    /// The last one leaves the address that neighbors know.
    fn claims(address: IpAddr) -> [Self; 4] {
        let [claimed, director, gateway] = [address, Self::asker(), Self::address(super::GATEWAY)].map(v6);
        let unsolicited = Self::announcement(FORGER, claimed);
        [
            Self::answer(FORGER, claimed, DIRECTOR, director),
            Self::solicitation(FORGER, claimed, gateway),
            unsolicited,
            Self { kind: NdpKind::Advertisement(AdvertisementFlags::default()), ..unsolicited },
        ]
    }
}
