//! Services within VLANs: which frames they get, and what stays of a frame.
#![allow(missing_docs)]

mod support;

use directrix::flow::FlowTable;
use directrix::forward::{Forwarder, NextHop, Route, ServiceMap, Snapshot, Verdict, VlanServices};
use directrix::hash::Seed;
use directrix::model::{InterfaceIndex, MatchId, ServerId, ServiceAddress, ServiceId};
use directrix::schedule::{Candidate, Loads, Pool, Templates};
use directrix::stats::{DropReason, WorkerCounters};
use directrix::time::Tick;
use directrix::wire::answer::{self, ANSWER_MAX, Answer};
use directrix::wire::vlan::Vlans;
use directrix::wire::{MacAddr, Protocol};
use etherparse::{LinkExtSlice, SlicedPacket};
use std::net::Ipv4Addr;
use std::sync::Arc;
use support::frames::{self, ACK, DIRECTOR, End, End6, FIN, SYN, service_tagged, tagged};

const CLIENT: End = (Ipv4Addr::new(198, 51, 100, 7), 40000);
/// An address of the director's network, which no untagged client has.
const RESERVED: End = (Ipv4Addr::new(10, 0, 0, 255), 40000);
const CLIENT_V6: End6 = (std::net::Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 7), 40000);
const VIP_V6: std::net::Ipv6Addr = std::net::Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x80);
/// The VIP of each service number: 0 without a VLAN, 1 in 100, 2 in 100.10, 3 every port in 100, 5 in 100.10 by two
/// 802.1Q tags.
const VIPS: [Ipv4Addr; 6] = [
    Ipv4Addr::new(192, 0, 2, 80),
    Ipv4Addr::new(192, 0, 2, 81),
    Ipv4Addr::new(192, 0, 2, 82),
    Ipv4Addr::new(192, 0, 2, 83),
    Ipv4Addr::UNSPECIFIED,
    Ipv4Addr::new(192, 0, 2, 85),
];
const SEED: Seed = Seed([1, 3, 5, 7]);

struct Bench {
    forwarder: Forwarder,
    counters: Arc<WorkerCounters>,
}

impl Bench {
    /// Each service has the server of its number, the IPv6 service in VLAN 100 number 4, service 5 that server, too.
    fn new() -> Self {
        let (loads, counters) = (Arc::new(Loads::new(5)), Arc::new(WorkerCounters::new(5, 1)));
        let templates = Arc::new(Templates::new(64, 5, SEED));
        let mut forwarder = Forwarder::new(64, SEED, loads, templates, Arc::clone(&counters));
        forwarder.set_wide_table(FlowTable::new(64, SEED));
        let service = |id: u16, port| {
            let address =
                ServiceAddress { protocol: Protocol::Tcp, address: (VIPS[usize::from(id)], port).into() };
            (address, MatchId(id))
        };
        let v6 = (ServiceAddress { protocol: Protocol::Udp, address: (VIP_V6, 53).into() }, MatchId(4));
        let own_macs = vec![MacAddr(DIRECTOR)];
        let route = |id: u8| {
            let mac = Some(MacAddr([2, 1, 0, 0, 0, id]));
            Route::new(&own_macs, Some(NextHop { interface: InterfaceIndex(0), mac }))
        };
        let vlans = [
            (vlans(&[100]), ServiceMap::new(&[service(1, 80), service(3, 0), v6])),
            (vlans(&[100, 10]), ServiceMap::new(&[service(2, 80)])),
            (Vlans::q_in_q(100, 10).unwrap(), ServiceMap::new(&[(service(5, 80).0, MatchId(4))])),
        ];
        forwarder.adopt(Arc::new(Snapshot {
            routes: (0..5).map(route).collect(),
            services: ServiceMap::new(&[service(0, 80)]),
            vlans: VlanServices::new(vlans),
            matches: (0..5).map(ServiceId).collect(),
            pools: (0..5).map(|id| Pool::new([Candidate::new(ServerId(id), 1)])).collect(),
            own_macs: own_macs.clone(),
            reserved: vec![RESERVED.0.into()],
            ..Snapshot::default()
        }));
        Self { forwarder, counters }
    }

    /// The frame as it is sent on, or the reason of its drop.
    fn decide(&mut self, frame: &[u8]) -> Result<Vec<u8>, DropReason> {
        let (mut batch, mut verdicts) = ([frame.to_vec()], Vec::new());
        self.forwarder.decide(&mut batch[..], Tick(1), &mut verdicts);
        let [sent] = batch;
        match verdicts[0] {
            Verdict::Forward(_) => Ok(sent),
            Verdict::Drop(reason) => {
                assert_eq!(sent, frame, "a dropped frame stays");
                Err(reason)
            }
            other => panic!("{other:?}"),
        }
    }

    /// The number of the server that gets the frame, which changes by one hop only.
    fn server(&mut self, frame: &[u8]) -> u8 {
        let sent = self.decide(frame).unwrap();
        assert_eq!(sent[12..], frames::one_hop_on(frame)[12..], "tags and priority stay");
        assert_eq!((&sent[..5], &sent[6..12]), (&[2, 1, 0, 0, 0][..], &DIRECTOR[..]));
        sent[5]
    }
}

fn vlans(ids: &[u16]) -> Vlans {
    Vlans::new(ids).unwrap()
}

fn segment(service: usize, flags: u8) -> Vec<u8> {
    frames::tcp(CLIENT, (VIPS[service], 80), flags, b"GET /")
}

/// With tags of VLAN 10 and, outside, 100.
fn twice_tagged(frame: &[u8]) -> Vec<u8> {
    service_tagged(&tagged(frame, 10), 100)
}

#[test]
fn a_client_within_a_vlan_may_have_any_address() {
    let mut bench = Bench::new();
    let syn = |service: usize| frames::tcp(RESERVED, (VIPS[service], 80), SYN, &[]);
    assert_eq!(bench.decide(&syn(0)), Err(DropReason::Martian));
    assert_eq!(bench.decide(&tagged(&syn(0), 0)), Err(DropReason::Martian), "a priority tag is no VLAN");
    assert_eq!(bench.server(&tagged(&syn(1), 100)), 1);
    assert_eq!(bench.server(&twice_tagged(&syn(2))), 2);
}

#[test]
fn a_tagged_frame_goes_to_a_service_of_its_vlan() {
    let mut bench = Bench::new();
    for flags in [SYN, ACK, FIN | ACK, ACK] {
        assert_eq!(bench.server(&segment(0, flags)), 0);
        assert_eq!(bench.server(&tagged(&segment(1, flags), 100)), 1);
        assert_eq!(bench.server(&twice_tagged(&segment(2, flags))), 2);
        assert_eq!(bench.server(&tagged(&segment(3, flags), 100)), 3);
    }
    assert_eq!(bench.counters.entries.get(), 4);
    assert_eq!(bench.counters.server(ServerId(2)).packets.get(), 4);
    let query = frames::udp_v6(CLIENT_V6, (VIP_V6, 53), b"query");
    assert_eq!(bench.server(&tagged(&query, 100)), 4);
}

#[test]
fn tags_of_other_standards_are_of_other_networks() {
    let mut bench = Bench::new();
    let q_in_q = |service| tagged(&tagged(&segment(service, SYN), 10), 100);
    assert_eq!(bench.server(&q_in_q(5)), 4);
    for (frame, reason) in [
        (q_in_q(2), DropReason::NoService),
        (twice_tagged(&segment(5, SYN)), DropReason::NoService),
        (service_tagged(&segment(1, SYN), 100), DropReason::Tags),
        (service_tagged(&segment(0, SYN), 0), DropReason::Tags),
        (tagged(&service_tagged(&segment(2, SYN), 10), 100), DropReason::Tags),
        (service_tagged(&service_tagged(&segment(2, SYN), 10), 100), DropReason::Tags),
        (tagged(&tagged(&segment(5, SYN), 11), 100), DropReason::Vlan),
    ] {
        assert_eq!(bench.decide(&frame), Err(reason), "{frame:02x?}");
    }
}

#[test]
fn a_frame_of_another_vlan_is_dropped() {
    let mut bench = Bench::new();
    let (alien, none) = (Err(DropReason::Vlan), Err(DropReason::NoService));
    let thrice = tagged(&twice_tagged(&segment(2, SYN)), 100);
    for (frame, expected) in [
        (tagged(&segment(1, SYN), 101), alien.clone()),
        (tagged(&segment(0, SYN), 101), alien.clone()),
        (tagged(&tagged(&segment(1, SYN), 11), 100), alien.clone()),
        (tagged(&segment(2, SYN), 10), alien),
        (tagged(&segment(0, SYN), 100), none.clone()),
        (tagged(&segment(2, SYN), 100), none.clone()),
        (twice_tagged(&segment(1, SYN)), none.clone()),
        (segment(1, SYN), none.clone()),
        (tagged(&segment(1, SYN), 0), none),
        (thrice, Err(DropReason::Tags)),
    ] {
        assert_eq!(bench.decide(&frame), expected, "{frame:02x?}");
    }
    assert_eq!(bench.counters.entries.get(), 0);
}

#[test]
fn errors_and_fragments_keep_their_tags() {
    let mut bench = Bench::new();
    bench.server(&tagged(&segment(1, SYN), 100));
    let quote = frames::tcp((VIPS[1], 80), CLIENT, ACK, &[0; 600]);
    let error = frames::icmp_error(VIPS[1], &quote[14..42]);
    assert_eq!(bench.server(&tagged(&error, 100)), 1);
    assert_eq!(bench.decide(&error), Err(DropReason::NoService));
    let whole = frames::tcp((CLIENT.0, 7), (VIPS[2], 80), SYN, &[0; 600]);
    let part = |fragment: [u8; 2], payload: &[u8]| {
        let edit = |ip: &mut etherparse::Ipv4Header| {
            ip.more_fragments = fragment[0] & 0x20 != 0;
            ip.fragment_offset = etherparse::IpFragOffset::try_new(u16::from(fragment[1])).unwrap();
        };
        twice_tagged(&frames::ipv4(CLIENT.0, VIPS[2], 6, payload, edit))
    };
    assert_eq!(bench.server(&part([0x20, 0], &whole[34..434])), 2);
    assert_eq!(bench.server(&part([0, 50], &whole[434..])), 2);
}

#[test]
fn a_fragment_follows_the_first_one_of_its_vlan_alone() {
    let mut bench = Bench::new();
    let whole = frames::tcp(CLIENT, (VIPS[1], 80), SYN, &[0; 600]);
    let part = |more_fragments, offset: u16, payload: &[u8]| {
        let edit = |ip: &mut etherparse::Ipv4Header| {
            ip.more_fragments = more_fragments;
            ip.fragment_offset = etherparse::IpFragOffset::try_new(offset).unwrap();
        };
        frames::ipv4(CLIENT.0, VIPS[1], 6, payload, edit)
    };
    assert_eq!(bench.server(&tagged(&part(true, 0, &whole[34..434]), 100)), 1);
    let later = part(false, 50, &whole[434..]);
    for alien in [twice_tagged(&later), tagged(&tagged(&later, 10), 100), later.clone()] {
        let (mut batch, mut verdicts) = ([alien], Vec::new());
        bench.forwarder.decide(&mut batch[..], Tick(1), &mut verdicts);
        assert!(matches!(verdicts[0], Verdict::Hold), "{:?}", verdicts[0]);
    }
    assert_eq!(bench.server(&tagged(&later, 100)), 1);
}

#[test]
fn a_packet_that_fits_without_its_tags_alone_is_too_big() {
    let told = |frame: &[u8]| {
        let mut buffer = [0; ANSWER_MAX];
        let written = answer::write(Answer::TooBig { mtu: 1500 }, &frame[..256], &mut buffer)?;
        Some(written.kind)
    };
    let packet = |len: usize| frames::tcp(CLIENT, (VIPS[2], 80), ACK, &vec![0; len - 40]);
    assert_eq!((told(&packet(1500)), told(&twice_tagged(&packet(1492)))), (None, None));
    assert_eq!(told(&twice_tagged(&packet(1493))), Some(Answer::TooBig { mtu: 1492 }));
    assert_eq!(told(&tagged(&packet(1497), 100)), Some(Answer::TooBig { mtu: 1496 }));
    assert_eq!(told(&twice_tagged(&packet(1501))), Some(Answer::TooBig { mtu: 1500 }));
}

#[test]
fn an_answer_has_the_tags_of_its_packet() {
    for frame in [tagged(&segment(1, SYN), 100), twice_tagged(&segment(2, SYN))] {
        for kind in [Answer::PortUnreachable, Answer::TimeExceeded, Answer::Reset] {
            let mut buffer = [0; ANSWER_MAX];
            let written = answer::write(kind, &frame, &mut buffer).unwrap();
            let (seen, of) = [&buffer[..written.len], &frame]
                .map(|bytes| SlicedPacket::from_ethernet(bytes).unwrap())
                .into();
            let vlans = |packet: &SlicedPacket<'_>| {
                let tag = |tag: &LinkExtSlice<'_>| match tag {
                    LinkExtSlice::Vlan(tag) => (tag.vlan_identifier(), tag.priority_code_point()),
                    other => panic!("{other:?}"),
                };
                packet.link_exts.iter().map(tag).collect::<Vec<_>>()
            };
            assert_eq!(vlans(&seen), vlans(&of));
            assert_eq!((&buffer[..6], &buffer[6..12]), (&frame[6..12], &frame[..6]));
        }
    }
}
