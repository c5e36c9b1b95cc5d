//! Check of the parser of neighbor solicitations and advertisements: against etherparse, and RFC 4861 §7.1 read naively.

use directrix::wire::ndp::{FRAME_LEN_MAX, NdpKind, NdpPacket};
use etherparse::{EtherType, Icmpv6Slice, IpNumber, NetSlice, SlicedPacket, TransportSlice};
use std::net::Ipv6Addr;

const ETHERNET: usize = 14;
const MESSAGE: usize = ETHERNET + 40;

/// Builds a frame; the bits of the first byte make fields right, which random bytes rarely are.
pub fn check_dressed(input: &[u8]) {
    let Some((&dress, bytes)) = input.split_first() else { return };
    let mut frame = bytes.to_vec();
    if frame.len() > MESSAGE + 2 {
        frame[12..14].copy_from_slice(&EtherType::IPV6.0.to_be_bytes());
        frame[14] = 0x60;
        let len = (frame.len() - MESSAGE) as u16;
        frame[18..20].copy_from_slice(&len.to_be_bytes());
        (frame[20], frame[21]) = (58, 255);
        (frame[54], frame[55]) = (135 + (frame[54] & 1), 0);
    }
    if dress & 1 != 0 && frame.len() > MESSAGE {
        frame[22..38].fill(0);
        frame[38..51].copy_from_slice(&[0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff]);
    }
    if dress & 2 != 0
        && let Some([kind, len, ..]) = frame.get_mut(MESSAGE + 24..)
    {
        (*kind, *len) = ([1, 2, 14, 9][usize::from(*kind & 3)], 1);
    }
    if dress & 4 == 0 {
        make_checksum_right(&mut frame);
    }
    check(&frame);
}

/// Checks one frame.
pub fn check(frame: &[u8]) {
    let parsed = NdpPacket::parse(frame);
    assert_eq!(parsed.is_ok(), is_valid(frame) == Some(true), "{parsed:?}: {frame:02x?}");
    let Ok(packet) = parsed else { return };
    let mut buffer = [0xee; FRAME_LEN_MAX];
    let emitted = packet.emit(&mut buffer);
    assert_eq!(NdpPacket::parse(emitted), Ok(packet), "{frame:02x?}");
    assert_eq!(is_valid(emitted), Some(true), "{emitted:02x?}");
    assert_eq!(packet.source_ip.octets(), frame[22..38]);
    assert_eq!(packet.destination_ip.octets(), frame[38..54]);
    assert_eq!(packet.target.octets(), frame[62..78]);
    assert_eq!(matches!(packet.kind, NdpKind::Solicitation { .. }), frame[54] == 135);
}

/// Validity of a frame; `None` if it ends before it could be known.
fn is_valid(frame: &[u8]) -> Option<bool> {
    let sliced = SlicedPacket::from_ethernet(frame).ok()?;
    let Some(NetSlice::Ipv6(ip)) = &sliced.net else { return Some(false) };
    let header = ip.header();
    let plain = sliced.link_exts.is_empty() && header.next_header() == IpNumber::IPV6_ICMP;
    let Some(TransportSlice::Icmpv6(icmp)) = &sliced.transport else { return Some(false) };
    let (source, destination) = (header.source_addr(), header.destination_addr());
    let target = Ipv6Addr::from(<[u8; 16]>::try_from(icmp.slice().get(8..24)?).ok()?);
    let has_sum = icmp.is_checksum_valid(source.octets(), destination.octets());
    // etherparse takes a payload length of 0 for all that follows; the RFCs do not.
    let sound = plain && header.payload_length() > 0 && header.hop_limit() == 255 && has_sum;
    let options = options(&icmp.slice()[24..])?;
    let fits = match (icmp.type_u8(), icmp.code_u8()) {
        (135, 0) => {
            let group = destination.octets()[..13] == [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff];
            !source.is_unspecified() || group && !options.contains(&(1, 1))
        }
        (136, 0) => {
            let to_group = is_solicited(icmp) && destination.is_multicast();
            !source.is_unspecified() && !to_group
        }
        _ => false,
    };
    Some(sound && fits && !target.is_multicast() && !source.is_multicast())
}

fn is_solicited(icmp: &Icmpv6Slice<'_>) -> bool {
    icmp.slice()[4] & 0x40 != 0
}

/// Kinds and lengths of options; `None` if one is broken.
fn options(mut rest: &[u8]) -> Option<Vec<(u8, u8)>> {
    let mut found = Vec::new();
    while !rest.is_empty() {
        let (kind, len) = (rest[0], *rest.get(1)?);
        rest = rest.get(usize::from(len) * 8..).filter(|_| len > 0)?;
        found.push((kind, len));
    }
    Some(found)
}

fn make_checksum_right(frame: &mut [u8]) {
    if frame.len() < MESSAGE + 4 {
        return;
    }
    frame[56..58].fill(0);
    let mut bytes = frame[22..54].to_vec();
    bytes.extend(((frame.len() - MESSAGE) as u32).to_be_bytes());
    bytes.extend([0, 0, 0, 58]);
    bytes.extend(&frame[MESSAGE..]);
    let pairs = bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)));
    let mut sum = pairs.sum::<u32>();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    frame[56..58].copy_from_slice(&(!(sum as u16)).to_be_bytes());
}
