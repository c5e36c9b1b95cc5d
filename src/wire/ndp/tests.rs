use super::*;
use proptest::prelude::*;

const ROUTER_MAC: MacAddr = MacAddr([0x02, 0, 0, 0, 0, 0x01]);
const OWN: MacAddr = MacAddr([0x02, 0, 0, 0, 0, 0x0d]);
const VIP: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0xabcd, 0x0080);
const LINK_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
const UNTOLD: Ipv6Addr = Ipv6Addr::UNSPECIFIED;

/// Solicitation of the VIP by a router, to its group.
#[rustfmt::skip]
const SOLICITED_FRAME: [u8; 86] = [
    0x33, 0x33, 0xff, 0xcd, 0x00, 0x80,  0x02, 0, 0, 0, 0, 0x01,  0x86, 0xdd,
    0x60, 0, 0, 0,  0, 32,  58, 255,
    0xfe, 0x80, 0, 0, 0, 0, 0, 0,  0, 0, 0, 0, 0, 0, 0, 1,
    0xff, 0x02, 0, 0, 0, 0, 0, 0,  0, 0, 0, 1, 0xff, 0xcd, 0, 0x80,
    135, 0,  0x9d, 0xc8,  0, 0, 0, 0,
    0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0,  0, 0, 0, 0, 0xab, 0xcd, 0, 0x80,
    1, 1,  0x02, 0, 0, 0, 0, 0x01,
];

const SOLICITATION_PACKET: NdpPacket = NdpPacket {
    destination: MacAddr([0x33, 0x33, 0xff, 0xcd, 0x00, 0x80]),
    source: ROUTER_MAC,
    source_ip: LINK_LOCAL,
    destination_ip: Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xffcd, 0x80),
    target: VIP,
    link_layer: Some(ROUTER_MAC),
    kind: NdpKind::Solicitation { nonce: None },
};

fn emitted(packet: NdpPacket) -> Vec<u8> {
    packet.emit(&mut [0xa5; FRAME_LEN_MAX]).to_vec()
}

/// Sum of the pseudo-header and the message, computed byte by byte as RFC 1071 writes it.
fn naive_checksum(frame: &[u8]) -> u16 {
    let mut bytes = frame[22..54].to_vec();
    bytes.extend([0, 0, frame[18], frame[19], 0, 0, 0, 58]);
    bytes.extend(&frame[54..]);
    bytes[40 + 2..40 + 4].fill(0);
    if bytes.len() % 2 == 1 {
        bytes.push(0);
    }
    let mut sum = bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum::<u32>();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// The frame after an edit, with the payload length and the checksum made right again.
fn edited(edit: impl Fn(&mut Vec<u8>)) -> Vec<u8> {
    let mut frame = SOLICITED_FRAME.to_vec();
    edit(&mut frame);
    let len = (frame.len() - MESSAGE_AT) as u16;
    frame[18..20].copy_from_slice(&len.to_be_bytes());
    let sum = naive_checksum(&frame);
    frame[56..58].copy_from_slice(&sum.to_be_bytes());
    frame
}

fn parsed(edit: impl Fn(&mut Vec<u8>)) -> Result<NdpPacket, NdpError> {
    NdpPacket::parse(&edited(edit))
}

#[test]
fn deconstruct() {
    for at in 0..SOLICITED_FRAME.len() {
        let mut frame = SOLICITED_FRAME;
        frame[at] ^= 0x10;
        let expected = match at {
            0..12 => {
                let mut packet = SOLICITATION_PACKET;
                let mac = if at < 6 { &mut packet.destination } else { &mut packet.source };
                mac.0[at % 6] ^= 0x10;
                Ok(packet)
            }
            12..14 => Err(NdpError::EtherType),
            14 => Err(NdpError::Header),
            15..18 => Ok(SOLICITATION_PACKET), // traffic class and flow label
            18..20 => Err(NdpError::Truncated), // a longer payload
            20 => Err(NdpError::NextHeader),
            21 => Err(NdpError::HopLimit),
            54..56 => Err(NdpError::Kind),
            _ => Err(NdpError::Checksum),
        };
        assert_eq!(NdpPacket::parse(&frame), expected, "byte {at}");
    }
}

#[test]
fn construct() {
    assert_eq!(NdpPacket::solicitation(ROUTER_MAC, LINK_LOCAL, VIP), SOLICITATION_PACKET);
}

#[test]
fn parse() {
    assert_eq!(NdpPacket::parse(&SOLICITED_FRAME), Ok(SOLICITATION_PACKET));
    let padded = [&SOLICITED_FRAME[..], &[0xee; 30]].concat();
    assert_eq!(NdpPacket::parse(&padded), Ok(SOLICITATION_PACKET));
}

#[test]
fn emit() {
    assert_eq!(emitted(SOLICITATION_PACKET), SOLICITED_FRAME);
}

#[test]
fn short_frames_are_truncated() {
    for len in 0..SOLICITED_FRAME.len() {
        assert_eq!(NdpPacket::parse(&SOLICITED_FRAME[..len]), Err(NdpError::Truncated), "{len} bytes");
    }
}

#[test]
fn a_payload_shorter_than_a_message_is_refused() {
    let mut frame = SOLICITED_FRAME;
    frame[19] = 23;
    assert_eq!(NdpPacket::parse(&frame), Err(NdpError::Header));
}

#[test]
fn each_message_has_the_fields_of_the_rfcs() {
    let nonce = Nonce([1, 2, 3, 4, 5, 6]);
    let group = solicited_node(VIP);
    let probe = NdpPacket::probe(OWN, VIP, nonce);
    assert!(probe.is_probe());
    assert_eq!((probe.source_ip, probe.destination_ip, probe.link_layer), (UNTOLD, group, None));
    assert_eq!(probe.kind, NdpKind::Solicitation { nonce: Some(nonce) });
    let near = probe.unicast_to(ROUTER_MAC);
    assert_eq!(near, NdpPacket { destination: ROUTER_MAC, ..probe }, "the destination stays the group");
    let refresh = NdpPacket::solicitation(OWN, LINK_LOCAL, VIP).unicast_to(ROUTER_MAC);
    assert_eq!((refresh.destination, refresh.destination_ip), (ROUTER_MAC, VIP));
    assert_eq!(refresh.link_layer, Some(OWN));
    let flags = |packet: NdpPacket| {
        let NdpKind::Advertisement(AdvertisementFlags { router, solicited, overrides }) = packet.kind else {
            panic!("{packet:?}")
        };
        [router, solicited, overrides]
    };
    let answer = NdpPacket::answer(OWN, VIP, ROUTER_MAC, LINK_LOCAL);
    assert_eq!((answer.destination, answer.destination_ip), (ROUTER_MAC, LINK_LOCAL));
    assert_eq!((flags(answer), answer.source_ip, answer.link_layer), ([false, true, true], VIP, Some(OWN)));
    let announcement = NdpPacket::announcement(OWN, VIP);
    assert_eq!(announcement.destination, MacAddr([0x33, 0x33, 0, 0, 0, 1]));
    assert_eq!((announcement.destination_ip, flags(announcement)), (ALL_NODES, [false, false, true]));
    let introduction = NdpPacket::introduction(OWN, VIP);
    assert_eq!(introduction.destination, MacAddr([0x33, 0x33, 0, 0, 0, 2]));
    assert_eq!((introduction.destination_ip, flags(introduction)), (ALL_ROUTERS, [false; 3]));
    for packet in [probe, near, refresh, answer, announcement, introduction] {
        assert_eq!(emitted(packet).len(), 86);
        assert_eq!(NdpPacket::parse(&emitted(packet)), Ok(packet));
    }
}

#[test]
fn addresses_that_contradict_each_other_are_refused() {
    let refused = Err(NdpError::Addresses);
    let source = |frame: &mut Vec<u8>, ip: Ipv6Addr| frame[22..38].copy_from_slice(&ip.octets());
    let destination = |frame: &mut Vec<u8>, ip: Ipv6Addr| frame[38..54].copy_from_slice(&ip.octets());
    assert_eq!(parsed(|frame| frame[62] = 0xff), refused, "a multicast target");
    assert_eq!(parsed(|frame| source(frame, UNTOLD)), refused, "a probe with a link-layer address");
    assert_eq!(parsed(|frame| source(frame, ALL_NODES)), refused, "from a group");
    let without_option = |frame: &mut Vec<u8>| {
        frame.truncate(78);
        source(frame, UNTOLD);
    };
    assert!(parsed(without_option).unwrap().is_probe());
    let to_all = |frame: &mut Vec<u8>| {
        without_option(frame);
        destination(frame, ALL_NODES);
    };
    assert_eq!(parsed(to_all), refused, "a probe to all nodes");
    let advertisement = |flags: u8, to: Ipv6Addr| {
        move |frame: &mut Vec<u8>| {
            (frame[54], frame[58], frame[78]) = (kind_v6::NEIGHBOR_ADVERTISEMENT, flags, TARGET_LINK_LAYER);
            destination(frame, to);
        }
    };
    assert_eq!(parsed(advertisement(0x60, ALL_NODES)), refused, "solicited by a group");
    assert!(parsed(advertisement(0x20, ALL_NODES)).is_ok());
    assert!(parsed(advertisement(0xe0, LINK_LOCAL)).is_ok());
    let nameless = |frame: &mut Vec<u8>| {
        advertisement(0x20, ALL_NODES)(frame);
        source(frame, UNTOLD);
    };
    assert_eq!(parsed(nameless), refused, "an advertisement from no address");
}

#[test]
fn options_are_read_and_unknown_ones_ignored() {
    let options = |bytes: &'static [u8]| {
        parsed(move |frame| {
            frame.truncate(78);
            frame.extend(bytes);
        })
    };
    let read = |bytes| options(bytes).map(|packet| (packet.link_layer, packet.kind));
    let nonce = |nonce: Option<[u8; 6]>| NdpKind::Solicitation { nonce: nonce.map(Nonce) };
    let mac = Some(MacAddr([2, 3, 4, 5, 6, 7]));
    const LINK: &[u8] = &[1, 1, 2, 3, 4, 5, 6, 7];
    assert_eq!(read(LINK), Ok((mac, nonce(None))));
    assert_eq!(read(&[14, 1, 9, 8, 7, 6, 5, 4]), Ok((None, nonce(Some([9, 8, 7, 6, 5, 4])))));
    assert_eq!(read(&[200, 1, 0, 0, 0, 0, 0, 0, 1, 1, 2, 3, 4, 5, 6, 7]), Ok((mac, nonce(None))));
    assert_eq!(read(&[2, 1, 2, 3, 4, 5, 6, 7]), Ok((None, nonce(None))), "the target's, of an advertisement");
    assert_eq!(
        read(&[1, 1, 2, 3, 4, 5, 6, 7, 1, 1, 9, 9, 9, 9, 9, 9]),
        Ok((mac, nonce(None))),
        "the first one counts"
    );
    assert_eq!(
        read(&[1, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        Ok((None, nonce(None))),
        "no Ethernet"
    );
    for broken in [&[1, 0, 2, 3, 4, 5, 6, 7][..], &[1, 2, 2, 3, 4, 5, 6, 7], &[1, 1, 2, 3], &[9]] {
        assert_eq!(options(broken), Err(NdpError::Option), "{broken:?}");
    }
}

#[test]
fn fragments_and_tags_are_refused() {
    let fragment = edited(|frame| {
        frame.splice(54..54, [58, 0, 0, 0, 0, 0, 0, 9]);
        frame[20] = 44;
    });
    assert_eq!(NdpPacket::parse(&fragment), Err(NdpError::NextHeader), "even an atomic one");
    let mut tagged = SOLICITED_FRAME.to_vec();
    tagged.splice(12..12, [0x81, 0x00, 0x00, 0x07]);
    assert_eq!(NdpPacket::parse(&tagged), Err(NdpError::EtherType));
}

#[test]
fn groups_and_their_mac_addresses_follow_the_rfcs() {
    // The example of RFC 4291 §2.7.1.
    let address = "4037::1:800:200e:8c6c".parse().unwrap();
    let group: Ipv6Addr = "ff02::1:ff0e:8c6c".parse().unwrap();
    assert_eq!(solicited_node(address), group);
    assert_eq!(multicast_mac(group), MacAddr([0x33, 0x33, 0xff, 0x0e, 0x8c, 0x6c]));
    assert_eq!(multicast_mac(ALL_NODES), MacAddr([0x33, 0x33, 0, 0, 0, 1]));
}

/// Packets that are valid.
fn packets() -> impl Strategy<Value = NdpPacket> {
    let address = || any::<u128>().prop_map(|bits| Ipv6Addr::from_bits(bits >> 1)); // no multicast
    let mac = || any::<[u8; 6]>().prop_map(MacAddr);
    let nonce = proptest::option::of(any::<[u8; 6]>().prop_map(Nonce));
    let kind = prop_oneof![
        nonce.prop_map(|nonce| NdpKind::Solicitation { nonce }),
        any::<[bool; 3]>().prop_map(|[router, solicited, overrides]| NdpKind::Advertisement(
            AdvertisementFlags { router, solicited, overrides }
        )),
    ];
    let ends = (mac(), mac(), address(), address());
    (ends, address(), proptest::option::of(mac()), kind).prop_map(
        |((destination, source, source_ip, destination_ip), target, link_layer, kind)| NdpPacket {
            destination,
            source,
            source_ip,
            destination_ip,
            target,
            link_layer,
            kind,
        },
    )
}

proptest! {
    #[test]
    fn emitted_packets_parse(packet in packets()) {
        prop_assert_eq!(NdpPacket::parse(&emitted(packet)), Ok(packet));
    }

    #[test]
    fn an_independent_parser_agrees(packet in packets()) {
        let frame = emitted(packet);
        let seen = etherparse::SlicedPacket::from_ethernet(&frame).unwrap();
        let Some(etherparse::NetSlice::Ipv6(ip)) = &seen.net else { panic!("no IPv6") };
        prop_assert_eq!(ip.header().source_addr(), packet.source_ip);
        prop_assert_eq!(ip.header().destination_addr(), packet.destination_ip);
        prop_assert_eq!(ip.header().hop_limit(), 255);
        let Some(etherparse::TransportSlice::Icmpv6(icmp)) = &seen.transport else { panic!("no ICMPv6") };
        prop_assert!(icmp.is_checksum_valid(packet.source_ip.octets(), packet.destination_ip.octets()));
        let kind = if matches!(packet.kind, NdpKind::Solicitation { .. }) { 135 } else { 136 };
        prop_assert_eq!((icmp.type_u8(), icmp.code_u8()), (kind, 0));
        prop_assert_eq!(naive_checksum(&frame).to_be_bytes(), [frame[56], frame[57]]);
    }

    #[test]
    fn no_frame_panics_the_parser(frame in proptest::collection::vec(any::<u8>(), 0..120)) {
        let _ = NdpPacket::parse(&frame);
    }

    #[test]
    fn an_edited_packet_parses_to_what_it_says(at in 22..86usize, byte: u8) {
        let frame = edited(|frame| frame[at] = byte);
        if let Ok(packet) = NdpPacket::parse(&frame) {
            let again = emitted(packet);
            prop_assert_eq!(NdpPacket::parse(&again), Ok(packet));
        }
    }
}
