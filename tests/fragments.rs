//! Fragments: the server of their packet, whatever the order and the worker.
#![allow(missing_docs)]

mod support;

use directrix::forward::Verdict;
use directrix::model::{Policy, ServerId};
use directrix::stats::DropReason;
use directrix::time::Span;
use std::net::Ipv4Addr;
use support::bench::{Bench, DNS, VIP, WEB};
use support::frames::{self, SYN};

const CLIENT: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
const UDP: u8 = 17;
const TCP: u8 = 6;

fn bench() -> Bench {
    Bench::new(None, Policy::default())
}

/// A fragment of a UDP datagram of 3,000 bytes from `port` to the DNS service; `offset` in bytes.
fn fragment(port: u16, identification: u16, offset: usize) -> Vec<u8> {
    let whole = frames::udp((CLIENT, port), DNS, &[0x5a; 3000]);
    let segment = &whole[34..34 + 3008];
    let end = (offset + 1480).min(segment.len());
    frames::ipv4(CLIENT, VIP, UDP, &segment[offset..end], |ip| {
        ip.identification = identification;
        ip.more_fragments = end < segment.len();
        ip.fragment_offset = ((offset / 8) as u16).try_into().unwrap();
    })
}

/// Verdict on one frame.
fn verdict(bench: &mut Bench, frame: Vec<u8>) -> Verdict {
    let (mut batch, mut verdicts) = ([frame], Vec::new());
    bench.forwarder.decide(&mut batch[..], bench.now, &mut verdicts);
    verdicts[0]
}

#[test]
fn all_fragments_go_to_the_server_of_the_connection() {
    let mut bench = bench();
    let mut servers = [None; 2];
    for (n, server) in servers.iter_mut().enumerate() {
        let port = 4000 + n as u16;
        for offset in [0, 1480, 2960, 1480] {
            let to = bench.decide(fragment(port, 7 + n as u16, offset)).unwrap();
            assert_eq!(*server.get_or_insert(to), to);
        }
        let whole = frames::udp((CLIENT, port), DNS, b"small");
        assert_eq!(Some(bench.decide(whole).unwrap()), *server, "and whole datagrams of the same flow");
    }
    assert_ne!(servers[0], servers[1]);
}

#[test]
fn every_fragment_is_counted_and_changed_by_one_hop() {
    let mut bench = bench();
    for offset in [0, 1480, 2960] {
        let frame = fragment(4000, 7, offset);
        let (mut batch, mut verdicts) = ([frame.clone()], Vec::new());
        bench.forwarder.decide(&mut batch[..], bench.now, &mut verdicts);
        assert!(matches!(verdicts[0], Verdict::Forward(_)));
        assert_eq!(batch[0][12..], frames::one_hop_on(&frame)[12..]);
    }
    let counters = bench.counters.server(ServerId(2));
    assert_eq!((counters.connections.get(), counters.packets.get()), (1, 3));
    assert_eq!(counters.bytes.get(), 3008 + 3 * 20);
}

#[test]
fn a_later_fragment_waits_for_its_first_one() {
    let mut bench = bench();
    assert_eq!(verdict(&mut bench, fragment(4000, 7, 1480)), Verdict::Hold);
    assert!(bench.forwarder.takes_follow_up() && bench.forwarder.first_fragments().is_empty());
    let digest = bench.forwarder.packet_digest(&fragment(4000, 7, 1480)).unwrap();
    assert!(matches!(verdict(&mut bench, fragment(4000, 7, 0)), Verdict::Forward(_)));
    assert!(bench.forwarder.takes_follow_up());
    assert_eq!(bench.forwarder.first_fragments(), [digest]);
    assert!(matches!(verdict(&mut bench, fragment(4000, 7, 1480)), Verdict::Forward(_)));
}

#[test]
fn a_packet_is_known_for_two_seconds() {
    let mut bench = bench();
    bench.decide(fragment(4000, 7, 0)).unwrap();
    bench.now = bench.now.after(Span::from_millis(1999));
    assert!(matches!(verdict(&mut bench, fragment(4000, 7, 1480)), Verdict::Forward(_)));
    bench.now = bench.now.after(Span::from_millis(1));
    assert_eq!(verdict(&mut bench, fragment(4000, 7, 1480)), Verdict::Hold);
}

#[test]
fn another_worker_may_know_the_connection() {
    let [mut first, mut second] = [bench(), bench()];
    let server = second.decide(frames::udp((CLIENT, 4000), DNS, b"small")).unwrap();
    first.forwarder.set_hand_over(true);
    // A later fragment waits here until its first one has been passed on, and follows it then.
    assert_eq!(verdict(&mut first, fragment(4000, 7, 1480)), Verdict::Hold);
    for offset in [0, 1480, 2960] {
        let mut frame = fragment(4000, 7, offset);
        assert_eq!(verdict(&mut first, frame.clone()), Verdict::HandOver);
        let verdict = second.forwarder.decide_handed(&mut frame, false, second.now);
        assert!(matches!(verdict, Verdict::Forward(_)), "{verdict:?}");
        assert_eq!(frame[5], server);
    }
    let mut early = fragment(6000, 10, 1480);
    assert_eq!(second.forwarder.decide_handed(&mut early, false, second.now), Verdict::HandOver, "passed on");
    assert_eq!(
        first.forwarder.decide_handed(&mut early, true, first.now),
        Verdict::Hold,
        "and held at its end"
    );
    // Without a connection anywhere, the worker that received the fragments opens one.
    for offset in [0, 1480, 2960] {
        let mut frame = fragment(5000, 8, offset);
        let last = first.forwarder.decide_handed(&mut frame, true, first.now);
        assert!(matches!(last, Verdict::Forward(_)), "{last:?}");
    }
    assert!(
        matches!(verdict(&mut first, fragment(5000, 9, 0)), Verdict::Forward(_)),
        "now it knows the flow"
    );
    assert!(matches!(verdict(&mut first, fragment(5000, 9, 1480)), Verdict::Forward(_)));
}

#[test]
fn a_tcp_connection_may_begin_with_a_fragment() {
    let mut bench = bench();
    let whole = frames::tcp((CLIENT, 4000), WEB, SYN, &[0; 100]);
    let part = |range: std::ops::Range<usize>, more| {
        frames::ipv4(CLIENT, VIP, TCP, &whole[34..][range.clone()], |ip| {
            ip.identification = 7;
            ip.more_fragments = more;
            ip.fragment_offset = ((range.start / 8) as u16).try_into().unwrap();
        })
    };
    assert_eq!(bench.decide(part(0..40, true)), Ok(0));
    assert_eq!(bench.decide(part(40..120, false)), Ok(0));
    assert_eq!(bench.decide(part(0..16, true)), Err(DropReason::TinyFragment), "half a TCP header");
    assert_eq!(bench.decide(part(8..40, true)), Err(DropReason::TinyFragment), "would overwrite the flags");
}

#[test]
fn fragments_without_a_server_are_dropped() {
    let mut bench = bench();
    let to_nowhere = frames::ipv4(CLIENT, VIP, UDP, &fragment(4000, 7, 0)[34..1514], |ip| {
        ip.more_fragments = true;
    });
    assert!(bench.decide(to_nowhere.clone()).is_ok());
    let mut other_port = to_nowhere;
    other_port[36..38].copy_from_slice(&5353_u16.to_be_bytes());
    assert_eq!(bench.decide(other_port), Err(DropReason::NoService));
    bench.weights = [Some(0); 4];
    bench.publish();
    assert_eq!(bench.decide(fragment(4001, 8, 0)), Err(DropReason::NoServer));
    assert_eq!(bench.decide(frames::with_ttl(&fragment(4000, 9, 1480), 1)), Err(DropReason::TtlExceeded));
}
