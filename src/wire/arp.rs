//! ARP for IPv4 over Ethernet (RFC 826), with the packets of address conflict detection (RFC 5227).

use super::{MacAddr, ethernet};
use std::net::Ipv4Addr;

/// Length of emitted frames: the Ethernet minimum without the frame check sequence, in bytes.
pub const FRAME_LEN: usize = 60;
/// Length of an ARP packet with its Ethernet header, in bytes. The rest of a frame is padding.
pub const PACKET_LEN: usize = ethernet::HEADER_LEN + 28;

/// Hardware type Ethernet, protocol type IPv4, and the lengths of their addresses.
const ETHERNET_IPV4: [u8; 6] = [0, 1, 0x08, 0x00, 6, 4];

/// ARP packet with its Ethernet header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ArpPacket {
    /// Ethernet destination.
    pub destination: MacAddr,
    /// Ethernet source. Bridged and proxied packets differ from `sender_mac` here.
    pub source: MacAddr,
    /// Request or reply.
    pub operation: Operation,
    /// `ar$sha`: MAC address of the sender.
    pub sender_mac: MacAddr,
    /// `ar$spa`; unspecified in a probe.
    pub sender_ip: Ipv4Addr,
    /// `ar$tha`; zero in a request.
    pub target_mac: MacAddr,
    /// `ar$tpa`: the requested address; in a reply, the requester's.
    pub target_ip: Ipv4Addr,
}

/// `ar$op`, as far as IPv4 hosts use it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum Operation {
    /// Request for the MAC address of the target.
    Request = 1,
    /// Gives the sender's MAC address.
    Reply = 2,
}

/// Error for a frame that is not ARP for IPv4 over Ethernet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArpError {
    /// The frame ends before the packet does.
    Truncated,
    /// The EtherType is another.
    EtherType,
    /// Hardware type, protocol type or an address length is not that of IPv4 over Ethernet.
    Kind,
    /// Neither request nor reply.
    Operation,
}

impl ArpPacket {
    /// Parses an Ethernet frame. Padding after the packet is ignored.
    ///
    /// # Errors
    /// The reason of the outermost header that is wrong.
    pub fn parse(frame: &[u8]) -> Result<Self, ArpError> {
        if ethernet::ethertype(frame).ok_or(ArpError::Truncated)? != ethernet::ARP {
            return Err(ArpError::EtherType);
        }
        let packet: &[u8; PACKET_LEN] = frame.first_chunk().ok_or(ArpError::Truncated)?;
        if packet[14..20] != ETHERNET_IPV4 {
            return Err(ArpError::Kind);
        }
        let operation = match packet[20..22] {
            [0, 1] => Operation::Request,
            [0, 2] => Operation::Reply,
            _ => return Err(ArpError::Operation),
        };
        Ok(Self {
            destination: mac(packet, 0),
            source: mac(packet, 6),
            operation,
            sender_mac: mac(packet, 22),
            sender_ip: ip(packet, 28),
            target_mac: mac(packet, 32),
            target_ip: ip(packet, 38),
        })
    }

    /// Writes the frame, with zeros as padding.
    pub fn emit(&self, frame: &mut [u8; FRAME_LEN]) {
        frame[0..6].copy_from_slice(&self.destination.0);
        frame[6..12].copy_from_slice(&self.source.0);
        frame[12..14].copy_from_slice(&ethernet::ARP.to_be_bytes());
        frame[14..20].copy_from_slice(&ETHERNET_IPV4);
        frame[20..22].copy_from_slice(&(self.operation as u16).to_be_bytes());
        frame[22..28].copy_from_slice(&self.sender_mac.0);
        frame[28..32].copy_from_slice(&self.sender_ip.octets());
        frame[32..38].copy_from_slice(&self.target_mac.0);
        frame[38..42].copy_from_slice(&self.target_ip.octets());
        frame[PACKET_LEN..].fill(0);
    }

    /// ARP request for `target`, by broadcast.
    #[must_use]
    pub fn request(own_mac: MacAddr, own_ip: Ipv4Addr, target: Ipv4Addr) -> Self {
        Self {
            destination: MacAddr::BROADCAST,
            source: own_mac,
            operation: Operation::Request,
            sender_mac: own_mac,
            sender_ip: own_ip,
            target_mac: MacAddr::ZERO,
            target_ip: target,
        }
    }

    /// ARP Probe for `address` (RFC 5227 §1.1). Without a sender address it changes no ARP cache.
    #[must_use]
    pub fn probe(own_mac: MacAddr, address: Ipv4Addr) -> Self {
        Self::request(own_mac, Ipv4Addr::UNSPECIFIED, address)
    }

    /// ARP Announcement of `address` (RFC 5227 §1.1): gratuitous ARP as a request.
    #[must_use]
    pub fn announcement(own_mac: MacAddr, address: Ipv4Addr) -> Self {
        Self::request(own_mac, address, address)
    }

    /// Gratuitous ARP as a broadcast reply.
    ///
    /// The target MAC address is the sender's: only then does Linux treat a reply as gratuitous
    /// (`arp_is_garp` in net/ipv4/arp.c).
    #[must_use]
    pub fn announcement_reply(own_mac: MacAddr, address: Ipv4Addr) -> Self {
        let announcement = Self::announcement(own_mac, address);
        Self { operation: Operation::Reply, target_mac: own_mac, ..announcement }
    }

    /// The same request, by unicast to `station`.
    #[must_use]
    pub fn unicast_to(self, station: MacAddr) -> Self {
        Self { destination: station, ..self }
    }

    /// Reply to this request, by unicast to the requester, that the requested address is at `own_mac`.
    #[must_use]
    pub fn reply(&self, own_mac: MacAddr) -> Self {
        Self {
            destination: self.sender_mac,
            source: own_mac,
            operation: Operation::Reply,
            sender_mac: own_mac,
            sender_ip: self.target_ip,
            target_mac: self.sender_mac,
            target_ip: self.sender_ip,
        }
    }

    /// True for an ARP Probe: the sender is about to use the target address.
    #[must_use]
    pub fn is_probe(&self) -> bool {
        self.operation == Operation::Request && self.sender_ip.is_unspecified()
    }
}

fn mac(packet: &[u8; PACKET_LEN], at: usize) -> MacAddr {
    MacAddr(std::array::from_fn(|i| packet[at + i]))
}

fn ip(packet: &[u8; PACKET_LEN], at: usize) -> Ipv4Addr {
    Ipv4Addr::from(std::array::from_fn::<u8, 4, _>(|i| packet[at + i]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ROUTER: MacAddr = MacAddr([0x02, 0, 0, 0, 0, 0x01]);
    const DIRECTOR: MacAddr = MacAddr([0x02, 0, 0, 0, 0, 0x0d]);
    const GATEWAY: Ipv4Addr = Ipv4Addr::new(192, 168, 195, 2);
    const VIP: Ipv4Addr = Ipv4Addr::new(192, 168, 195, 150);

    /// Reply of the director to a request of the router.
    #[rustfmt::skip]
    const FRAME: [u8; FRAME_LEN] = [
        0x02, 0, 0, 0, 0, 0x01,  0x02, 0, 0, 0, 0, 0x0d,  0x08, 0x06,
        0, 1,  0x08, 0x00,  6,  4,  0, 2,
        0x02, 0, 0, 0, 0, 0x0d,  192, 168, 195, 150,
        0x02, 0, 0, 0, 0, 0x01,  192, 168, 195, 2,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    ];

    const PACKET: ArpPacket = ArpPacket {
        destination: ROUTER,
        source: DIRECTOR,
        operation: Operation::Reply,
        sender_mac: DIRECTOR,
        sender_ip: VIP,
        target_mac: ROUTER,
        target_ip: GATEWAY,
    };

    fn emitted(packet: ArpPacket) -> [u8; FRAME_LEN] {
        let mut frame = [0xa5; FRAME_LEN];
        packet.emit(&mut frame);
        frame
    }

    #[test]
    fn deconstruct() {
        let changed = |at: usize| {
            let mut frame = FRAME;
            frame[at] ^= 0x40;
            ArpPacket::parse(&frame)
        };
        for at in 0..FRAME_LEN {
            let flip_mac = |mac: MacAddr, at: usize| {
                let mut mac = mac;
                mac.0[at] ^= 0x40;
                mac
            };
            let flip_ip =
                |ip: Ipv4Addr, at: usize| Ipv4Addr::from_bits(ip.to_bits() ^ (0x40 << (24 - 8 * at)));
            let expected = match at {
                0..6 => Ok(ArpPacket { destination: flip_mac(ROUTER, at), ..PACKET }),
                6..12 => Ok(ArpPacket { source: flip_mac(DIRECTOR, at - 6), ..PACKET }),
                12..14 => Err(ArpError::EtherType),
                14..20 => Err(ArpError::Kind),
                20..22 => Err(ArpError::Operation),
                22..28 => Ok(ArpPacket { sender_mac: flip_mac(DIRECTOR, at - 22), ..PACKET }),
                28..32 => Ok(ArpPacket { sender_ip: flip_ip(VIP, at - 28), ..PACKET }),
                32..38 => Ok(ArpPacket { target_mac: flip_mac(ROUTER, at - 32), ..PACKET }),
                38..42 => Ok(ArpPacket { target_ip: flip_ip(GATEWAY, at - 38), ..PACKET }),
                _ => Ok(PACKET),
            };
            assert_eq!(changed(at), expected, "byte {at}");
        }
    }

    #[test]
    fn construct_a_reply() {
        let request = ArpPacket::request(ROUTER, GATEWAY, VIP);
        assert_eq!(request.reply(DIRECTOR), PACKET);
    }

    #[test]
    fn parse() {
        assert_eq!(ArpPacket::parse(&FRAME), Ok(PACKET));
        assert_eq!(ArpPacket::parse(&FRAME[..PACKET_LEN]), Ok(PACKET));
        let mut long = FRAME.to_vec();
        long.extend([0xee; 100]);
        assert_eq!(ArpPacket::parse(&long), Ok(PACKET));
    }

    #[test]
    fn emit() {
        assert_eq!(emitted(PACKET), FRAME);
    }

    #[test]
    fn short_frames_are_truncated() {
        for len in 0..PACKET_LEN {
            assert_eq!(ArpPacket::parse(&FRAME[..len]), Err(ArpError::Truncated), "{len} bytes");
        }
    }

    #[test]
    fn other_operations_are_refused() {
        for operation in [0u16, 3, 4, 8, 9, 0x0100, 0x0200, u16::MAX] {
            let mut frame = FRAME;
            frame[20..22].copy_from_slice(&operation.to_be_bytes());
            assert_eq!(ArpPacket::parse(&frame), Err(ArpError::Operation), "{operation}");
        }
    }

    #[test]
    fn a_vlan_tag_is_not_skipped() {
        let mut tagged = FRAME.to_vec();
        tagged.splice(12..12, [0x81, 0x00, 0x00, 0x07]);
        assert_eq!(ArpPacket::parse(&tagged), Err(ArpError::EtherType));
    }

    #[test]
    fn probes_and_announcements_follow_rfc_5227() {
        let probe = ArpPacket::probe(DIRECTOR, VIP);
        assert!(probe.is_probe());
        assert_eq!((probe.destination, probe.source), (MacAddr::BROADCAST, DIRECTOR));
        assert_eq!((probe.sender_mac, probe.sender_ip), (DIRECTOR, Ipv4Addr::UNSPECIFIED));
        assert_eq!((probe.target_mac, probe.target_ip), (MacAddr::ZERO, VIP));
        let announcement = ArpPacket::announcement(DIRECTOR, VIP);
        assert_eq!(announcement, ArpPacket { sender_ip: VIP, ..probe });
        assert!(!announcement.is_probe());
        let reply = ArpPacket::announcement_reply(DIRECTOR, VIP);
        assert_eq!((reply.operation, reply.target_mac), (Operation::Reply, DIRECTOR));
        assert_eq!((reply.sender_ip, reply.target_ip), (VIP, VIP));
        assert_eq!(reply.destination, MacAddr::BROADCAST);
    }

    #[test]
    fn a_request_can_be_unicast() {
        let request = ArpPacket::request(DIRECTOR, GATEWAY, VIP);
        assert_eq!(request.unicast_to(ROUTER), ArpPacket { destination: ROUTER, ..request });
    }

    fn packets() -> impl Strategy<Value = ArpPacket> {
        let operation = prop_oneof![Just(Operation::Request), Just(Operation::Reply)];
        let end = || (any::<[u8; 6]>(), any::<u32>());
        (any::<[u8; 6]>(), any::<[u8; 6]>(), operation, end(), end()).prop_map(
            |(destination, source, operation, sender, target)| ArpPacket {
                destination: MacAddr(destination),
                source: MacAddr(source),
                operation,
                sender_mac: MacAddr(sender.0),
                sender_ip: Ipv4Addr::from_bits(sender.1),
                target_mac: MacAddr(target.0),
                target_ip: Ipv4Addr::from_bits(target.1),
            },
        )
    }

    proptest! {
        #[test]
        fn emitted_packets_parse(packet in packets()) {
            prop_assert_eq!(ArpPacket::parse(&emitted(packet)), Ok(packet));
        }

        #[test]
        fn an_independent_parser_agrees(packet in packets()) {
            let frame = emitted(packet);
            let seen = etherparse::PacketHeaders::from_ethernet_slice(&frame).unwrap();
            let Some(etherparse::LinkHeader::Ethernet2(ethernet)) = seen.link else { panic!("no Ethernet header") };
            prop_assert_eq!(MacAddr(ethernet.destination), packet.destination);
            prop_assert_eq!(MacAddr(ethernet.source), packet.source);
            let Some(etherparse::NetHeaders::Arp(arp)) = seen.net else { panic!("not ARP") };
            let arp = arp.try_eth_ipv4().unwrap();
            prop_assert_eq!(arp.operation.0, packet.operation as u16);
            prop_assert_eq!(MacAddr(arp.sender_mac), packet.sender_mac);
            prop_assert_eq!(Ipv4Addr::from(arp.sender_ipv4), packet.sender_ip);
            prop_assert_eq!(MacAddr(arp.target_mac), packet.target_mac);
            prop_assert_eq!(Ipv4Addr::from(arp.target_ipv4), packet.target_ip);
        }

        #[test]
        fn no_frame_panics_the_parser(frame in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = ArpPacket::parse(&frame);
        }

        #[test]
        fn no_modified_packet_panics_the_parser(at in 0..FRAME_LEN, byte: u8, len in 0..=FRAME_LEN) {
            let mut frame = FRAME;
            frame[at] = byte;
            if let Ok(packet) = ArpPacket::parse(&frame[..len]) {
                prop_assert_eq!(&emitted(packet)[..PACKET_LEN], &frame[..PACKET_LEN]);
            }
        }
    }
}
