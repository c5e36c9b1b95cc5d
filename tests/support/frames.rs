//! Frames for tests, built by etherparse, which is independent of the code under test.

use etherparse::checksum::Sum16BitWords;
use etherparse::{
    EtherType, Ethernet2Header, Icmpv4Type, Icmpv6Type, IpNumber, Ipv4Header, Ipv6Header, PacketBuilder,
    PacketBuilderStep, TcpHeader, icmpv4,
};
use std::net::{Ipv4Addr, Ipv6Addr};

pub const DIRECTOR: [u8; 6] = [2, 0, 0, 0, 0, 0x0d];
pub const ROUTER: [u8; 6] = [2, 0, 0, 0, 0, 0x01];

/// TCP flags as in a header's thirteenth byte.
pub const FIN: u8 = 1;
pub const SYN: u8 = 2;
pub const RST: u8 = 4;
pub const ACK: u8 = 16;

/// One end of a flow.
pub type End = (Ipv4Addr, u16);
/// One end of an IPv6 flow.
pub type End6 = (Ipv6Addr, u16);

/// A TCP segment from the router to the director, padded to Ethernet's minimum.
pub fn tcp(from: End, to: End, flags: u8, payload: &[u8]) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2(ROUTER, DIRECTOR).ipv4(from.0.octets(), to.0.octets(), 64);
    finished(builder.tcp_header(tcp_header(from.1, to.1, flags)), payload)
}

/// A TCP segment over IPv6 from the router to the director.
pub fn tcp_v6(from: End6, to: End6, flags: u8, payload: &[u8]) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2(ROUTER, DIRECTOR).ipv6(from.0.octets(), to.0.octets(), 64);
    finished(builder.tcp_header(tcp_header(from.1, to.1, flags)), payload)
}

/// A UDP datagram over IPv6 from the router to the director.
pub fn udp_v6(from: End6, to: End6, payload: &[u8]) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2(ROUTER, DIRECTOR).ipv6(from.0.octets(), to.0.octets(), 64);
    let builder = builder.udp(from.1, to.1);
    let mut frame = Vec::with_capacity(builder.size(payload.len()));
    builder.write(&mut frame, payload).expect("the payload fits");
    frame
}

fn tcp_header(from: u16, to: u16, flags: u8) -> TcpHeader {
    let mut header = TcpHeader::new(from, to, 1000, 65535);
    header.fin = flags & FIN != 0;
    header.syn = flags & SYN != 0;
    header.rst = flags & RST != 0;
    header.ack = flags & ACK != 0;
    header
}

fn finished(builder: PacketBuilderStep<TcpHeader>, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(builder.size(payload.len()));
    builder.write(&mut frame, payload).expect("the payload fits");
    padded(frame)
}

/// A UDP datagram from the router to the director, padded to Ethernet's minimum.
pub fn udp(from: End, to: End, payload: &[u8]) -> Vec<u8> {
    let builder =
        PacketBuilder::ethernet2(ROUTER, DIRECTOR).ipv4(from.0.octets(), to.0.octets(), 64).udp(from.1, to.1);
    let mut frame = Vec::with_capacity(builder.size(payload.len()));
    builder.write(&mut frame, payload).expect("the payload fits");
    padded(frame)
}

/// An SCTP packet from one port to another, with chunks of these types and lengths, and a right checksum.
pub fn sctp_packet((from, to): (u16, u16), chunks: &[(u8, u16)]) -> Vec<u8> {
    let mut packet = [from.to_be_bytes(), to.to_be_bytes()].concat();
    packet.resize(12, 0);
    for (kind, length) in chunks {
        packet.extend([*kind, 0]);
        packet.extend(length.to_be_bytes());
        packet.extend(std::iter::repeat_n(0x5a, usize::from(length.next_multiple_of(4).max(4)) - 4));
    }
    let checksum = crc32c(&packet);
    packet[8..12].copy_from_slice(&checksum.to_le_bytes());
    packet
}

/// An SCTP packet over IPv4 from the router to the director, padded to Ethernet's minimum.
pub fn sctp(from: End, to: End, chunks: &[(u8, u16)]) -> Vec<u8> {
    ipv4(from.0, to.0, 132, &sctp_packet((from.1, to.1), chunks), |_| ())
}

/// An SCTP packet over IPv6 from the router to the director.
pub fn sctp_v6(from: End6, to: End6, chunks: &[(u8, u16)]) -> Vec<u8> {
    let packet = sctp_packet((from.1, to.1), chunks);
    let ip = Ipv6Header {
        payload_length: packet.len() as u16,
        next_header: IpNumber::SCTP,
        hop_limit: 64,
        source: from.0.octets(),
        destination: to.0.octets(),
        ..Ipv6Header::default()
    };
    let mut frame = Vec::new();
    let ethernet = Ethernet2Header { destination: DIRECTOR, source: ROUTER, ether_type: EtherType::IPV6 };
    ethernet.write(&mut frame).expect("a vector takes all");
    ip.write(&mut frame).expect("a vector takes all");
    frame.extend_from_slice(&packet);
    padded(frame)
}

/// An unfragmented frame in two fragments: `cut` bytes behind the IP header, and the rest.
pub fn fragmented(frame: &[u8], cut: usize, identification: u16) -> [Vec<u8>; 2] {
    if frame[14] >> 4 == 4 {
        let end = 14 + usize::from(u16::from_be_bytes([frame[16], frame[17]]));
        [(34..34 + cut, true), (34 + cut..end, false)].map(|(part, more)| {
            let [source, destination] = [26, 30].map(|at| std::array::from_fn::<u8, 4, _>(|n| frame[at + n]));
            ipv4(source.into(), destination.into(), frame[23], &frame[part.clone()], |ip| {
                ip.identification = identification;
                ip.more_fragments = more;
                ip.fragment_offset = ((part.start as u16 - 34) / 8).try_into().expect("13 bits");
            })
        })
    } else {
        let end = 54 + usize::from(u16::from_be_bytes([frame[18], frame[19]]));
        [(54..54 + cut, 1), (54 + cut..end, 0)].map(|(part, more)| {
            let [a, b] = ((part.start as u16 - 54) | more).to_be_bytes();
            let [c, d] = identification.to_be_bytes();
            let header = [frame[20], 0, a, b, 0, 0, c, d];
            let mut fragment = [&frame[..54], &header, &frame[part.clone()]].concat();
            fragment[18..20].copy_from_slice(&(part.len() as u16 + 8).to_be_bytes());
            fragment[20] = 44;
            fragment
        })
    }
}

/// CRC32c bit by bit (RFC 9260 appendix A).
pub fn crc32c(bytes: &[u8]) -> u32 {
    let shifted = |crc: u32| (crc >> 1) ^ if crc & 1 == 1 { 0x82f6_3b78 } else { 0 };
    !bytes.iter().fold(u32::MAX, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), |crc, _| shifted(crc)))
}

/// An IPv4 datagram of any protocol, with its header adjusted by `adjust` before the checksum.
pub fn ipv4(
    from: Ipv4Addr,
    to: Ipv4Addr,
    protocol: u8,
    payload: &[u8],
    adjust: impl FnOnce(&mut Ipv4Header),
) -> Vec<u8> {
    let mut ip = Ipv4Header::new(payload.len() as u16, 64, IpNumber(protocol), from.octets(), to.octets())
        .expect("the payload fits");
    adjust(&mut ip);
    ip.header_checksum = ip.calc_header_checksum();
    let mut frame = Vec::new();
    let ethernet = Ethernet2Header { destination: DIRECTOR, source: ROUTER, ether_type: EtherType::IPV4 };
    ethernet.write(&mut frame).expect("a vector takes all");
    ip.write_raw(&mut frame).expect("a vector takes all");
    frame.extend_from_slice(payload);
    padded(frame)
}

/// "Fragmentation needed" for `destination` from a router on the way to a client, about the IPv4 packet that begins
/// with `quote`.
pub fn icmp_error(destination: Ipv4Addr, quote: &[u8]) -> Vec<u8> {
    let header = icmpv4::DestUnreachableHeader::FragmentationNeeded { next_hop_mtu: 1400 };
    let builder = PacketBuilder::ethernet2(ROUTER, DIRECTOR)
        .ipv4([203, 0, 113, 1], destination.octets(), 60)
        .icmpv4(Icmpv4Type::DestinationUnreachable(header));
    let mut frame = Vec::new();
    builder.write(&mut frame, quote).expect("a vector takes all");
    padded(frame)
}

/// "Packet too big" for `destination` from a router on the way to a client, about the IPv6 packet that begins with
/// `quote`.
pub fn icmp_error_v6(destination: Ipv6Addr, quote: &[u8]) -> Vec<u8> {
    let router = Ipv6Addr::new(0x2001, 0xdb8, 0xff, 0, 0, 0, 0, 1);
    let builder = PacketBuilder::ethernet2(ROUTER, DIRECTOR)
        .ipv6(router.octets(), destination.octets(), 60)
        .icmpv6(Icmpv6Type::PacketTooBig { mtu: 1280 });
    let mut frame = Vec::new();
    builder.write(&mut frame, quote).expect("a vector takes all");
    frame
}

/// The frame with its IPv4 header checksum recomputed.
pub fn rechecksummed(mut frame: Vec<u8>) -> Vec<u8> {
    let length = usize::from(frame[14] & 0x0f) * 4;
    frame[24..26].fill(0);
    let sum: u32 =
        frame[14..14 + length].chunks(2).map(|word| u32::from(word[0]) << 8 | u32::from(word[1])).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let folded = (folded & 0xffff) + (folded >> 16);
    frame[24..26].copy_from_slice(&(!(folded as u16)).to_be_bytes());
    frame
}

/// The frame after one more hop, without new MAC addresses. IPv4's checksum is etherparse's.
pub fn one_hop_on(frame: &[u8]) -> Vec<u8> {
    let mut after = frame.to_vec();
    let tags = (12..).step_by(4).take_while(|at| matches!(frame[*at..*at + 2], [0x81, 0] | [0x88, 0xa8]));
    let at = 14 + 4 * tags.count();
    if frame[at] >> 4 == 6 {
        after[at + 7] = frame[at + 7].min(64) - 1;
        return after;
    }
    after[at + 8] = frame[at + 8].min(64) - 1;
    let end = at + usize::from(after[at] & 0xf) * 4;
    after[at + 10..at + 12].fill(0);
    // In the bytes: etherparse's header has no reserved flag.
    let sum = Sum16BitWords::new().add_slice(&after[at..end]).ones_complement();
    after[at + 10..at + 12].copy_from_slice(&sum.to_ne_bytes());
    after
}

/// The frame with a tag of priority 5 and this VLAN; 0: none.
pub fn tagged(frame: &[u8], vlan: u16) -> Vec<u8> {
    [&frame[..12], &[0x81, 0x00], &(0xa000 | vlan).to_be_bytes(), &frame[12..]].concat()
}

/// The frame with another tag outside, of a service provider's VLAN.
pub fn service_tagged(frame: &[u8], vlan: u16) -> Vec<u8> {
    [&frame[..12], &[0x88, 0xa8], &vlan.to_be_bytes(), &frame[12..]].concat()
}

/// The frame with this time to live.
pub fn with_ttl(frame: &[u8], ttl: u8) -> Vec<u8> {
    let mut frame = frame.to_vec();
    frame[22] = ttl;
    rechecksummed(frame)
}

fn padded(mut frame: Vec<u8>) -> Vec<u8> {
    frame.resize(frame.len().max(60), 0xee);
    frame
}
