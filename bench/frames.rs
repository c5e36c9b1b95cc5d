//! Clients' frames, by kind.

use directrix::wire::Protocol;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

pub const DIRECTOR: [u8; 6] = [2, 0, 0, 0, 0, 0x0d];
/// MAC address whose last bytes no server's address has.
const ROUTER: [u8; 6] = [2, 0, 0, 1, 0, 0x01];
pub const VIP: Ipv4Addr = Ipv4Addr::new(192, 168, 195, 150);
/// VIP of the wildcard-port service.
const WILDCARD_VIP: Ipv4Addr = Ipv4Addr::new(192, 168, 195, 151);
const VIP_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x80);
/// Client ports per client address.
const PORTS: u32 = 1 << 14;

pub const SYN: u8 = 0x02;

/// Kind of a client's frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// IPv4 TCP segment to port 80 without payload: 60 bytes, padding included.
    Tcp,
    /// IPv4 UDP datagram to port 53.
    Udp,
    /// IPv4 TCP segment to a port of the wildcard-port service.
    Wildcard,
    /// IPv6 TCP segment to port 80 without payload: 74 bytes.
    TcpV6,
    /// First fragment of an IPv4 UDP datagram to port 53.
    FirstFragment,
    /// Second fragment of the same datagram, which has no ports.
    LaterFragment,
    /// IPv4 ICMP error, "fragmentation needed", about a reply of the service at port 80.
    IcmpError,
}

impl Kind {
    /// The service of the frame. For an ICMP error, that of the quoted reply.
    pub fn service(self) -> (Protocol, SocketAddr) {
        match self {
            Self::Tcp | Self::IcmpError => (Protocol::Tcp, (VIP, 80).into()),
            Self::Udp | Self::FirstFragment | Self::LaterFragment => (Protocol::Udp, (VIP, 53).into()),
            Self::Wildcard => (Protocol::Tcp, (WILDCARD_VIP, 0).into()),
            Self::TcpV6 => (Protocol::Tcp, (VIP_V6, 80).into()),
        }
    }

    /// Writes the frame of the client with this number.
    pub fn write(self, frame: &mut Vec<u8>, flow: u32, flags: u8) {
        frame.clear();
        frame.extend_from_slice(&DIRECTOR);
        frame.extend_from_slice(&ROUTER);
        let (port, client) = (1024 + (flow % PORTS) as u16, flow / PORTS);
        match self {
            Self::Tcp => ipv4(frame, client, VIP, 6, &tcp(port, 80, flags)),
            Self::Wildcard => {
                ipv4(frame, client, WILDCARD_VIP, 6, &tcp(port, 2000 + (flow % 977) as u16, flags))
            }
            Self::Udp => ipv4(frame, client, VIP, 17, &udp(port)),
            Self::TcpV6 => ipv6(frame, client, &tcp(port, 80, flags)),
            Self::FirstFragment => {
                ipv4(frame, client, VIP, 17, &udp(port));
                self.fragment(frame, flow, 0x2000);
            }
            Self::LaterFragment => {
                ipv4(frame, client, VIP, 17, &[0; 8]);
                self.fragment(frame, flow, 1);
            }
            Self::IcmpError => icmp_error(frame, client, port),
        }
        frame.resize(frame.len().max(60), 0);
    }

    /// Sets identification and fragment offset.
    fn fragment(self, frame: &mut [u8], flow: u32, offset: u16) {
        frame[18..20].copy_from_slice(&(flow as u16).to_be_bytes());
        frame[20..22].copy_from_slice(&offset.to_be_bytes());
        set_checksum(&mut frame[14..34]);
    }
}

fn tcp(source: u16, destination: u16, flags: u8) -> [u8; 20] {
    let mut segment = [0; 20];
    segment[..2].copy_from_slice(&source.to_be_bytes());
    segment[2..4].copy_from_slice(&destination.to_be_bytes());
    (segment[12], segment[13]) = (0x50, flags);
    segment
}

fn udp(source: u16) -> [u8; 16] {
    let mut datagram = [0; 16];
    datagram[..2].copy_from_slice(&source.to_be_bytes());
    datagram[2..6].copy_from_slice(&[0, 53, 0, 16]);
    datagram
}

fn ipv4(frame: &mut Vec<u8>, client: u32, vip: Ipv4Addr, protocol: u8, payload: &[u8]) {
    frame.extend_from_slice(&[0x08, 0x00]);
    append_ipv4(frame, Ipv4Addr::from_bits(0x0a00_0000 + client), vip, protocol, payload);
}

fn append_ipv4(frame: &mut Vec<u8>, source: Ipv4Addr, destination: Ipv4Addr, protocol: u8, payload: &[u8]) {
    let start = frame.len();
    let length = (20 + payload.len() as u16).to_be_bytes();
    frame.extend_from_slice(&[0x45, 0, length[0], length[1], 0, 0, 0x40, 0, 64, protocol, 0, 0]);
    frame.extend_from_slice(&source.octets());
    frame.extend_from_slice(&destination.octets());
    set_checksum(&mut frame[start..]);
    frame.extend_from_slice(payload);
}

fn ipv6(frame: &mut Vec<u8>, client: u32, segment: &[u8]) {
    let length = (segment.len() as u16).to_be_bytes();
    frame.extend_from_slice(&[0x86, 0xdd, 0x60, 0, 0, 0, length[0], length[1], 6, 64]);
    frame.extend_from_slice(&Ipv6Addr::from_bits(0x2001_0db8_0001 << 80 | u128::from(client)).octets());
    frame.extend_from_slice(&VIP_V6.octets());
    frame.extend_from_slice(segment);
}

/// Error of a router at 203.0.113.1, which quotes the first bytes of a reply from the VIP to the client.
fn icmp_error(frame: &mut Vec<u8>, client: u32, port: u16) {
    let mut message = vec![3, 4, 0, 0, 0, 0, 0x05, 0x14];
    append_ipv4(&mut message, VIP, Ipv4Addr::from_bits(0x0a00_0000 + client), 6, &tcp(80, port, 0x10));
    set_checksum_at(&mut message, 2);
    frame.extend_from_slice(&[0x08, 0x00]);
    append_ipv4(frame, Ipv4Addr::new(203, 0, 113, 1), VIP, 1, &message);
}

/// Sets the checksum of an IPv4 header.
fn set_checksum(header: &mut [u8]) {
    set_checksum_at(&mut header[..20], 10);
}

/// Sets the Internet checksum of `bytes`, which lies at `at`.
fn set_checksum_at(bytes: &mut [u8], at: usize) {
    bytes[at..at + 2].fill(0);
    let words =
        bytes.chunks(2).map(|word| u32::from(u16::from_be_bytes([word[0], *word.get(1).unwrap_or(&0)])));
    let sum: u32 = words.sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    bytes[at..at + 2].copy_from_slice(&(!((folded & 0xffff) + (folded >> 16)) as u16).to_be_bytes());
}
