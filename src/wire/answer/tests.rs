use super::*;
use etherparse::{
    Icmpv4Type, Icmpv6Type, NetSlice, PacketBuilder, SlicedPacket, TcpHeader, TransportSlice, icmpv4, icmpv6,
};
use std::net::{Ipv4Addr, Ipv6Addr};

const CLIENT: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
const VIP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);
const CLIENT6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 7, 0, 0, 0, 0, 1);
const VIP6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x80);
const ROUTER: [u8; 6] = [2, 0, 0, 0, 0, 1];
const OWN: [u8; 6] = [2, 0, 0, 0, 0, 0xd];

fn segment(v6: bool, adjust: impl FnOnce(&mut TcpHeader), payload: &[u8]) -> Vec<u8> {
    let mut header = TcpHeader::new(40_000, 80, 1000, 65_535);
    adjust(&mut header);
    let ethernet = PacketBuilder::ethernet2(ROUTER, OWN);
    let mut frame = Vec::new();
    if v6 {
        let builder = ethernet.ipv6(CLIENT6.octets(), VIP6.octets(), 64).tcp_header(header);
        builder.write(&mut frame, payload).unwrap();
    } else {
        let builder = ethernet.ipv4(CLIENT.octets(), VIP.octets(), 64).tcp_header(header);
        builder.write(&mut frame, payload).unwrap();
    }
    frame
}

fn answered(kind: Answer, head: &[u8]) -> Option<Vec<u8>> {
    let mut answer = [0xee; ANSWER_MAX];
    write(kind, head, &mut answer).map(|written| answer[..written.len].to_vec())
}

/// Parses an answer with etherparse: checks addresses and checksums. Returns the transport part.
fn checked<T>(answer: &[u8], read: impl FnOnce(TransportSlice<'_>) -> T) -> T {
    let sliced = SlicedPacket::from_ethernet(answer).unwrap();
    assert_eq!((&answer[..6], &answer[6..12]), (&ROUTER[..], &OWN[..]));
    let transport = sliced.transport.unwrap();
    match sliced.net.unwrap() {
        NetSlice::Ipv4(ip) => {
            let header = ip.header().to_header();
            assert_eq!(header.header_checksum, header.calc_header_checksum());
            assert_eq!((header.source, header.destination), (VIP.octets(), CLIENT.octets()));
            assert_eq!(header.time_to_live, 64);
            if let TransportSlice::Tcp(tcp) = &transport {
                assert_eq!(
                    tcp.checksum(),
                    tcp.to_header().calc_checksum_ipv4(&header, tcp.payload()).unwrap()
                );
            }
            if let TransportSlice::Icmpv4(icmp) = &transport {
                assert_eq!(icmp.checksum(), icmp.icmp_type().calc_checksum(icmp.payload()));
            }
        }
        NetSlice::Ipv6(ip) => {
            let header = ip.header().to_header();
            assert_eq!((header.source, header.destination), (VIP6.octets(), CLIENT6.octets()));
            if let TransportSlice::Tcp(tcp) = &transport {
                assert_eq!(
                    tcp.checksum(),
                    tcp.to_header().calc_checksum_ipv6(&header, tcp.payload()).unwrap()
                );
            }
            if let TransportSlice::Icmpv6(icmp) = &transport {
                assert!(icmp.is_checksum_valid(header.source, header.destination));
            }
        }
        NetSlice::Arp(_) => panic!("an IP packet"),
    }
    read(transport)
}

#[test]
fn a_port_is_unreachable() {
    let syn = segment(false, |tcp| tcp.syn = true, b"");
    let answer = answered(Answer::PortUnreachable, &syn).unwrap();
    checked(&answer, |transport| {
        let TransportSlice::Icmpv4(icmp) = transport else { panic!("ICMP") };
        let port = icmpv4::DestUnreachableHeader::Port;
        assert_eq!(icmp.icmp_type(), Icmpv4Type::DestinationUnreachable(port));
        assert_eq!(icmp.payload(), &syn[14..]);
    });
    let syn = segment(true, |tcp| tcp.syn = true, b"");
    let answer = answered(Answer::PortUnreachable, &syn).unwrap();
    checked(&answer, |transport| {
        let TransportSlice::Icmpv6(icmp) = transport else { panic!("ICMPv6") };
        assert_eq!(icmp.icmp_type(), Icmpv6Type::DestinationUnreachable(icmpv6::DestUnreachableCode::Port));
        assert_eq!(icmp.payload(), &syn[14..]);
    });
}

#[test]
fn the_time_is_exceeded() {
    for v6 in [false, true] {
        let answer = answered(Answer::TimeExceeded, &segment(v6, |_| {}, b"data")).unwrap();
        checked(&answer, |transport| match transport {
            TransportSlice::Icmpv4(icmp) => {
                let code = icmpv4::TimeExceededCode::TtlExceededInTransit;
                assert_eq!(icmp.icmp_type(), Icmpv4Type::TimeExceeded(code));
            }
            TransportSlice::Icmpv6(icmp) => {
                let code = icmpv6::TimeExceededCode::HopLimitExceeded;
                assert_eq!(icmp.icmp_type(), Icmpv6Type::TimeExceeded(code));
            }
            other => panic!("{other:?}"),
        });
    }
}

#[test]
fn a_long_packet_is_answered_with_the_mtu() {
    let (short, long) = ([7; 100], [7; 1400]);
    for v6 in [false, true] {
        let answer = answered(Answer::TooBig { mtu: 1300 }, &segment(v6, |_| {}, &long)[..256]).unwrap();
        checked(&answer, |transport| match transport {
            TransportSlice::Icmpv4(icmp) => {
                let needed = icmpv4::DestUnreachableHeader::FragmentationNeeded { next_hop_mtu: 1300 };
                assert_eq!(icmp.icmp_type(), Icmpv4Type::DestinationUnreachable(needed));
            }
            TransportSlice::Icmpv6(icmp) => {
                assert_eq!(icmp.icmp_type(), Icmpv6Type::PacketTooBig { mtu: 1300 });
            }
            other => panic!("{other:?}"),
        });
        assert_eq!(answered(Answer::TooBig { mtu: 1300 }, &segment(v6, |_| {}, &short)), None, "it fits");
    }
}

#[test]
fn a_reset_acknowledges_what_has_no_acknowledgment() {
    for v6 in [false, true] {
        let reset = |adjust: fn(&mut TcpHeader), payload: &[u8]| {
            let answer = answered(Answer::Reset, &segment(v6, adjust, payload)).unwrap();
            checked(&answer, |transport| {
                let TransportSlice::Tcp(tcp) = transport else { panic!("TCP") };
                assert_eq!((tcp.source_port(), tcp.destination_port()), (80, 40_000));
                assert!(tcp.rst() && !tcp.syn() && !tcp.fin());
                (tcp.sequence_number(), tcp.ack(), tcp.acknowledgment_number())
            })
        };
        assert_eq!(reset(|tcp| tcp.syn = true, b""), (0, true, 1001));
        assert_eq!(reset(|tcp| (tcp.syn, tcp.fin) = (true, true), b"four"), (0, true, 1006));
        let acknowledging = |tcp: &mut TcpHeader| (tcp.ack, tcp.acknowledgment_number) = (true, 777);
        assert_eq!(reset(acknowledging, b"data"), (777, false, 0));
    }
    assert_eq!(answered(Answer::Reset, &segment(false, |tcp| tcp.rst = true, b"")), None);
}

#[test]
fn other_protocols_get_an_icmp_error_instead_of_a_reset() {
    let mut datagram = Vec::new();
    let ethernet = PacketBuilder::ethernet2(ROUTER, OWN);
    let builder = ethernet.ipv4(CLIENT.octets(), VIP.octets(), 64).udp(40_000, 53);
    builder.write(&mut datagram, &[7; 1000]).unwrap();
    let answer = answered(Answer::Reset, &datagram[..256]).unwrap();
    checked(&answer, |transport| {
        let TransportSlice::Icmpv4(icmp) = transport else { panic!("ICMP") };
        assert_eq!(icmp.payload(), &datagram[14..256], "as much as there is of it");
    });
    let answer = answered(Answer::PortUnreachable, &datagram).unwrap();
    assert_eq!(answer.len(), 14 + 576, "and no more than the minimum datagram");
}

#[test]
fn a_priority_tag_is_kept() {
    let syn = segment(false, |tcp| tcp.syn = true, b"");
    let tagged = [&syn[..12], &[0x81, 0, 0xa0, 0], &syn[12..]].concat();
    let answer = answered(Answer::Reset, &tagged).unwrap();
    assert_eq!(answer[12..18], [0x81, 0, 0xa0, 0, 8, 0]);
    let untagged = [&answer[..12], &answer[16..]].concat();
    assert_eq!(Some(untagged), answered(Answer::Reset, &syn));
}

#[test]
fn packets_that_must_not_be_answered_are_not() {
    let good = segment(false, |tcp| tcp.syn = true, b"");
    let edit = |at: usize, bytes: &[u8]| {
        let mut frame = good.clone();
        frame[at..at + bytes.len()].copy_from_slice(bytes);
        answered(Answer::PortUnreachable, &frame)
    };
    assert!(edit(26, &[198]).is_some());
    assert_eq!(edit(26, &[224, 0, 0, 1]), None, "from a multicast address");
    assert_eq!(edit(26, &[255; 4]), None, "from the broadcast address");
    assert_eq!(edit(26, &[0; 4]), None, "from no address");
    assert_eq!(edit(20, &[0, 1]), None, "a later fragment");
    assert_eq!(edit(23, &[1]), None, "ICMP");
    assert_eq!(edit(12, &[8, 6]), None, "ARP");
    for at in 0..good.len() {
        let _ = answered(Answer::Reset, &good[..at]);
    }
}
