//! Echo requests (ping) of ICMP (RFC 792) and ICMPv6 (RFC 4443 section 4), and their replies.

use super::icmp::{HEADER_LEN, ICMP, ICMPV6, kind, kind_v6};
use super::ipv4::{self, Ipv4};
use super::ipv6::{self, Ipv6};
use super::{Malformed, checksum, ethernet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Time to live and hop limit of a reply.
const REPLY_TTL: u8 = 64;
/// Least length of a frame in bytes, which Ethernet pads it to.
const FRAME_MIN: usize = 60;

/// Echo request that may be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EchoRequest {
    /// Address of the host that asks.
    pub source: IpAddr,
    /// Address that is to answer.
    pub destination: IpAddr,
    /// Offset of the IP header in the frame.
    ip: usize,
    /// Length of the frame in bytes, with padding up to Ethernet's minimum at most.
    len: usize,
}

impl EchoRequest {
    /// Parses an Ethernet frame. The checksum is verified.
    ///
    /// # Errors
    /// [`Malformed::Protocol`] for any other message, and for requests with IPv4 options or IPv6 extension headers.
    /// [`Malformed::Header`] for addresses of more than one host (RFC 1122 section 3.2.2.6 lets hosts ignore these) or
    /// of none. Otherwise the reason of the outermost header that is wrong.
    pub fn parse(frame: &[u8]) -> Result<Self, Malformed> {
        let (header, payload) = ethernet::split(frame).ok_or(Malformed::Truncated)?;
        let (ethertype, packet) =
            ethernet::untagged(header.ethertype(), payload).ok_or(Malformed::Truncated)?;
        let (source, destination, bytes) = match ethertype {
            ethernet::IPV4 => ends_v4(packet)?,
            ethernet::IPV6 => ends_v6(packet)?,
            _ => return Err(Malformed::EtherType),
        };
        let ip = frame.len() - packet.len();
        let len = frame.len().min(FRAME_MIN.max(ip + usize::from(bytes)));
        Ok(Self { source, destination, ip, len })
    }

    /// Turns the frame of this request into its reply, to the station that it came from. Returns the reply.
    ///
    /// Identifier, sequence number and data stay, and so does a priority tag. `None`, with the frame in no defined
    /// state, if `frame` is another one and too short.
    pub fn reply<'a>(&self, frame: &'a mut [u8]) -> Option<&'a [u8]> {
        let frame = frame.get_mut(..self.len)?;
        let (destination, source) = frame.first_chunk_mut::<12>()?.split_at_mut(6);
        destination.swap_with_slice(source);
        let packet = frame.get_mut(self.ip..)?;
        if self.source.is_ipv4() {
            reply_v4(packet)?
        } else {
            reply_v6(packet)?
        }
        Some(frame)
    }
}

/// Source, destination and length of a packet.
type Ends = (IpAddr, IpAddr, u16);

fn ends_v4(packet: &[u8]) -> Result<Ends, Malformed> {
    let ip = Ipv4::new(packet)?;
    if !ip.checksum_holds() {
        return Err(Malformed::Checksum);
    }
    if ip.protocol() != ICMP || ip.header_len() > ipv4::MIN_HEADER_LEN {
        return Err(Malformed::Protocol);
    }
    if ip.is_fragment() {
        return Err(Malformed::Fragment);
    }
    is_request(ip.payload(), kind::ECHO_REQUEST)?;
    let (source, destination) = (ip.source(), ip.destination());
    if !checksum::holds(ip.payload()) {
        return Err(Malformed::Checksum);
    }
    if !is_host_v4(source) || !is_host_v4(destination) || source == destination {
        return Err(Malformed::Header);
    }
    Ok((source.into(), destination.into(), ip.total_len()))
}

fn ends_v6(packet: &[u8]) -> Result<Ends, Malformed> {
    let ip = Ipv6::new(packet)?;
    let upper = ip.upper()?;
    if upper.is_fragment() {
        return Err(Malformed::Fragment);
    }
    if upper.protocol != ICMPV6 || upper.payload_len + ipv6::HEADER_LEN < usize::from(ip.bytes()) {
        return Err(Malformed::Protocol);
    }
    is_request(upper.payload, kind_v6::ECHO_REQUEST)?;
    let (source, destination) = (ip.source(), ip.destination());
    if !checksum::holds_v6((source, destination), ICMPV6, upper.payload) {
        return Err(Malformed::Checksum);
    }
    if !is_host_v6(source) || !is_host_v6(destination) || source == destination {
        return Err(Malformed::Header);
    }
    Ok((source.into(), destination.into(), ip.bytes()))
}

/// True for a whole message of this type with code 0.
fn is_request(message: &[u8], kind: u8) -> Result<(), Malformed> {
    let header: &[u8; HEADER_LEN] = message.first_chunk().ok_or(Malformed::Header)?;
    if header[..2] == [kind, 0] { Ok(()) } else { Err(Malformed::Protocol) }
}

/// False for 0.0.0.0/8, loopback, multicast, and everything above: no host on a network has these.
fn is_host_v4(address: Ipv4Addr) -> bool {
    let [first, ..] = address.octets();
    first != 0 && !address.is_loopback() && first < 224
}

fn is_host_v6(address: Ipv6Addr) -> bool {
    !address.is_unspecified() && !address.is_loopback() && !address.is_multicast()
}

fn reply_v4(packet: &mut [u8]) -> Option<()> {
    let (header, message) = packet.split_first_chunk_mut::<{ ipv4::MIN_HEADER_LEN }>()?;
    let (source, destination) = header[12..].split_at_mut(4);
    source.swap_with_slice(destination);
    let [.., ttl, protocol, high, low, _, _, _, _, _, _, _, _] = header;
    checksum::update([high, low], [*ttl, *protocol], [REPLY_TTL, *protocol]);
    *ttl = REPLY_TTL;
    let len = usize::from(u16::from_be_bytes([header[2], header[3]]));
    // Without the padding.
    answer(message.get_mut(..len.checked_sub(ipv4::MIN_HEADER_LEN)?)?, kind::ECHO_REPLY)
}

fn reply_v6(packet: &mut [u8]) -> Option<()> {
    let (header, message) = packet.split_first_chunk_mut::<{ ipv6::HEADER_LEN }>()?;
    let (source, destination) = header[8..].split_at_mut(16);
    source.swap_with_slice(destination);
    header[7] = REPLY_TTL;
    answer(message, kind_v6::ECHO_REPLY)
}

/// Writes the type of a reply. The pseudo-header of IPv6 has the same sum in both directions.
fn answer(message: &mut [u8], reply: u8) -> Option<()> {
    let [kind, code, high, low, ..] = message.first_chunk_mut::<HEADER_LEN>()?;
    checksum::update([high, low], [*kind, *code], [reply, *code]);
    *kind = reply;
    if message.iter().all(|byte| *byte == 0) {
        message[2..4].fill(0xff); // the update gives 0, but the checksum of zeros alone is its complement
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use etherparse::{Icmpv4Type, Icmpv6Type, NetSlice, PacketBuilder, SlicedPacket, TransportSlice};

    const ROUTER: [u8; 6] = [2, 0, 0, 0, 0, 1];
    const OWN: [u8; 6] = [2, 0, 0, 0, 0, 0xd];
    const CLIENT: [u8; 4] = [198, 51, 100, 7];
    const VIP: [u8; 4] = [192, 0, 2, 10];
    const CLIENT_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 7, 0, 0, 0, 0, 1);
    const VIP_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x80);

    fn request(version: u8, id: u16, ttl: u8, data: &[u8]) -> Vec<u8> {
        let (builder, mut frame) = (PacketBuilder::ethernet2(ROUTER, OWN), Vec::new());
        match version {
            4 => {
                builder.ipv4(CLIENT, VIP, ttl).icmpv4_echo_request(id, 7).write(&mut frame, data).unwrap();
            }
            _ => {
                let builder = builder.ipv6(CLIENT_V6.octets(), VIP_V6.octets(), ttl);
                builder.icmpv6_echo_request(id, 7).write(&mut frame, data).unwrap();
            }
        }
        frame.resize(frame.len().max(60), 0);
        frame
    }

    /// The reply, with its checksums verified by etherparse.
    fn reply(request: &[u8]) -> Vec<u8> {
        let mut frame = request.to_vec();
        let reply = EchoRequest::parse(request).unwrap().reply(&mut frame).unwrap().to_vec();
        let seen = SlicedPacket::from_ethernet(&reply).unwrap();
        match (seen.net.unwrap(), seen.transport.unwrap()) {
            (NetSlice::Ipv4(ip), TransportSlice::Icmpv4(icmp)) => {
                let header = ip.header().to_header();
                assert_eq!(header.header_checksum, header.calc_header_checksum());
                assert_eq!((header.source, header.destination, header.time_to_live), (VIP, CLIENT, 64));
                assert!(matches!(icmp.icmp_type(), Icmpv4Type::EchoReply(_)));
                assert_eq!(icmp.checksum(), icmp.icmp_type().calc_checksum(icmp.payload()));
            }
            (NetSlice::Ipv6(ip), TransportSlice::Icmpv6(icmp)) => {
                let header = ip.header();
                assert_eq!((header.source_addr(), header.destination_addr()), (VIP_V6, CLIENT_V6));
                assert_eq!(header.hop_limit(), 64);
                assert!(matches!(icmp.icmp_type(), Icmpv6Type::EchoReply(_)));
                assert!(icmp.is_checksum_valid(header.source(), header.destination()));
            }
            other => panic!("no echo: {other:?}"),
        }
        reply.clone()
    }

    #[test]
    fn a_reply_has_the_data_of_its_request() {
        for (version, data_at) in [(4, 42), (6, 62)] {
            let request = request(version, 0xbeef, 61, b"as long as Ethernet's minimum at least");
            let reply = reply(&request);
            assert_eq!((&reply[..6], &reply[6..12]), (&ROUTER[..], &OWN[..]));
            assert_eq!(reply[data_at - 4..], request[data_at - 4..], "identifier, sequence number, data");
        }
    }

    /// Katran's addition without the carry is wrong once in 65,536 times.
    #[test]
    fn checksums_are_right_for_every_identifier_and_ttl() {
        for id in 0..=u16::MAX {
            for version in [4, 6] {
                reply(&request(version, id, id as u8, b""));
            }
        }
    }

    /// Found by fuzzing: the request's checksum is that of its type alone, and an update of it gives 0.
    #[test]
    fn a_reply_of_zeros_has_a_checksum_of_ones() {
        let mut request = request(4, 0, 64, &[0; 4]);
        request[36..42].copy_from_slice(&[0xf7, 0xff, 0, 0, 0, 0]);
        request[46..].fill(0xee);
        let mut frame = request.clone();
        let reply = EchoRequest::parse(&request).unwrap().reply(&mut frame).unwrap();
        assert_eq!(reply[34..46], [0, 0, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn a_priority_tag_stays_and_padding_is_cut() {
        let plain = request(4, 1, 64, b"");
        let tagged = [&plain[..12], &[0x81, 0, 0xa0, 0], &plain[12..]].concat();
        let mut frame = tagged.clone();
        let reply = EchoRequest::parse(&tagged).unwrap().reply(&mut frame).unwrap();
        assert_eq!((&reply[12..18], reply.len()), (&tagged[12..18], 60));
        let mut frame = [&plain[..], &[0xee; 40]].concat();
        assert_eq!(EchoRequest::parse(&frame).unwrap().reply(&mut frame).unwrap().len(), 60);
    }

    #[test]
    fn what_must_not_be_answered_is_refused() {
        let plain = request(4, 1, 64, b"data");
        let edited = |at: usize, bytes: &[u8]| {
            let mut frame = plain.clone();
            frame[at..at + bytes.len()].copy_from_slice(bytes);
            let header = etherparse::Ipv4Header::from_slice(&frame[14..]).map(|(header, _)| header);
            if let Ok(header) = header {
                frame[24..26].copy_from_slice(&header.calc_header_checksum().to_be_bytes());
            }
            EchoRequest::parse(&frame).err()
        };
        assert_eq!(edited(0, &[2]), None);
        assert_eq!(edited(42, b"D"), Some(Malformed::Checksum));
        assert_eq!(edited(34, &[0]), Some(Malformed::Protocol), "a reply");
        assert_eq!(edited(35, &[1]), Some(Malformed::Protocol), "a code");
        assert_eq!(edited(23, &[17]), Some(Malformed::Protocol), "UDP");
        assert_eq!(edited(14, &[0x46]), Some(Malformed::Protocol), "options");
        assert_eq!(edited(20, &[0x20]), Some(Malformed::Fragment));
        assert_eq!(edited(12, &[0x08, 0x06]), Some(Malformed::EtherType));
        assert_eq!(edited(26, &[224, 0, 0, 1]), Some(Malformed::Header), "from a group");
        assert_eq!(edited(26, &[127, 0, 0, 1]), Some(Malformed::Header));
        assert_eq!(edited(26, &[0, 0, 0, 0]), Some(Malformed::Header));
        assert_eq!(edited(30, &[255; 4]), Some(Malformed::Header), "to all hosts");
        assert_eq!(edited(26, &VIP), Some(Malformed::Header), "from itself");
        assert_eq!(edited(16, &[0, 27]), Some(Malformed::Header), "seven bytes of ICMP");
        assert_eq!(EchoRequest::parse(&plain[..45]).err(), Some(Malformed::Truncated));
    }

    #[test]
    fn ipv6_that_must_not_be_answered_is_refused() {
        let plain = request(6, 1, 64, b"data");
        let edited = |at: usize, bytes: &[u8]| {
            let mut frame = plain.clone();
            frame[at..at + bytes.len()].copy_from_slice(bytes);
            EchoRequest::parse(&frame).err()
        };
        assert_eq!(edited(0, &[2]), None);
        assert_eq!(edited(62, b"D"), Some(Malformed::Checksum));
        assert_eq!(edited(54, &[129]), Some(Malformed::Protocol), "a reply");
        assert_eq!(edited(20, &[17]), Some(Malformed::Protocol), "UDP");
        assert_eq!(edited(20, &[44]), Some(Malformed::Fragment));
        let with_options = [&plain[..54], &[58, 0, 1, 4, 0, 0, 0, 0], &plain[54..]].concat();
        let mut extended = with_options;
        (extended[19], extended[20]) = (extended[19] + 8, 60);
        assert_eq!(EchoRequest::parse(&extended), Err(Malformed::Protocol), "extension headers");
    }
}
