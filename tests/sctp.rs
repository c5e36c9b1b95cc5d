//! SCTP through the decision: which packets open a connection, and which server gets the others.
#![allow(missing_docs)]

mod support;

use directrix::flow::{ConnState, FlowEntry};
use directrix::forward::{Batch, Verdict};
use directrix::model::{ConnReuseMode, Persistence, Policy, ServerId};
use directrix::schedule::ServerLoad;
use directrix::stats::DropReason;
use directrix::time::Span;
use std::net::Ipv4Addr;
use support::bench::{Bench, SIGNALLING, VIP};
use support::frames::{self, End};

const CLIENT: End = (Ipv4Addr::new(198, 51, 100, 7), 40000);
const PERSISTENT: Option<Persistence> = Some(Persistence { timeout: Persistence::TIMEOUT, prefix: 32 });

/// Chunk types (RFC 9260 section 3.2).
const DATA: u8 = 0;
const INIT: u8 = 1;
const SACK: u8 = 3;
const HEARTBEAT: u8 = 4;
const ABORT: u8 = 6;
const SHUTDOWN: u8 = 7;
const SHUTDOWN_ACK: u8 = 8;
const COOKIE_ECHO: u8 = 10;
const SHUTDOWN_COMPLETE: u8 = 14;

fn bench() -> Bench {
    Bench::new(None, Policy::default())
}

fn entries(bench: &Bench) -> Vec<FlowEntry<directrix::flow::Flow>> {
    (0..).map_while(|bucket| bench.forwarder.connections(bucket)).flatten().collect()
}

/// The states of all connections.
fn states(bench: &Bench) -> Vec<&'static str> {
    entries(bench).into_iter().map(|entry| entry.state.name()).collect()
}

#[test]
fn only_an_init_opens_a_connection() {
    for kind in 0..=255 {
        let (mut strict, mut sloppy) =
            (bench(), Bench::new(None, Policy { sloppy_sctp: true, ..Policy::default() }));
        let expected = if kind == INIT { Ok(0) } else { Err(DropReason::NoConnection) };
        assert_eq!(strict.signalling(7, &[kind]), expected, "{kind}");
        let expected = if kind == ABORT { Err(DropReason::NoConnection) } else { Ok(0) };
        assert_eq!(sloppy.signalling(7, &[kind]), expected, "{kind}, with sloppy_sctp");
    }
    let mut sloppy = Bench::new(None, Policy { sloppy_sctp: true, ..Policy::default() });
    assert_eq!(sloppy.signalling(7, &[COOKIE_ECHO, ABORT]), Err(DropReason::NoConnection));
    assert_eq!(sloppy.signalling(7, &[DATA, ABORT]), Ok(0), "the first chunk counts");
    assert_eq!(states(&sloppy), ["ESTABLISHED"]);
}

#[test]
fn sloppy_tcp_is_not_for_sctp_nor_the_reverse() {
    let mut tcp = Bench::new(None, Policy { sloppy_tcp: true, ..Policy::default() });
    assert_eq!(tcp.signalling(7, &[DATA]), Err(DropReason::NoConnection));
    let mut sctp = Bench::new(None, Policy { sloppy_sctp: true, ..Policy::default() });
    assert_eq!(sctp.web(7, frames::ACK), Err(DropReason::NoConnection));
}

#[test]
fn an_association_is_active_while_it_is_established() {
    let mut bench = bench();
    let load = |active, inactive| ServerLoad { active, inactive };
    let life = [
        (INIT, "INIT1", load(0, 1)),
        (INIT, "INIT", load(0, 1)),
        (COOKIE_ECHO, "ESTABLISHED", load(1, 0)),
        (SACK, "ESTABLISHED", load(1, 0)),
        (INIT, "ESTABLISHED", load(1, 0)),
        (SHUTDOWN, "S-RECEIVED", load(0, 1)),
        (SHUTDOWN_COMPLETE, "CLOSED", load(0, 1)),
    ];
    for (kind, state, expected) in life {
        assert_eq!(bench.signalling(7, &[kind]), Ok(0), "{state}");
        assert_eq!((states(&bench), bench.loads.get(ServerId(0))), (vec![state], expected), "{kind}");
    }
    assert_eq!(bench.opened(0), 1);
}

#[test]
fn connections_live_as_long_as_in_ipvs() {
    for (chunks, seconds) in [
        (&[INIT][..], 4),
        (&[INIT, INIT], 61),
        (&[INIT, COOKIE_ECHO], 900),
        (&[INIT, COOKIE_ECHO, SHUTDOWN_ACK], 61),
    ] {
        let mut bench = bench();
        chunks.iter().for_each(|kind| assert_eq!(bench.signalling(7, &[*kind]), Ok(0)));
        bench.wait(Span::from_millis(seconds * 1000 - 1));
        assert_eq!(entries(&bench).len(), 1, "{chunks:?}");
        bench.wait(Span::from_millis(1));
        assert_eq!(entries(&bench).len(), 0, "{chunks:?}");
    }
    let mut bench = bench();
    [INIT, COOKIE_ECHO].iter().for_each(|kind| assert_eq!(bench.signalling(7, &[*kind]), Ok(0)));
    for _ in 0..10 {
        bench.wait(Span::from_secs(600));
        assert_eq!(bench.signalling(7, &[HEARTBEAT]), Ok(0), "heartbeats keep it");
    }
}

#[test]
fn an_init_replaces_a_closed_association() {
    for (mode, persistence, renewed) in
        [(0, None, 0), (1, None, 1), (2, None, 1), (3, None, 1), (3, PERSISTENT, 0)]
    {
        let policy = Policy { conn_reuse_mode: ConnReuseMode(mode), ..Policy::default() };
        let mut bench = Bench::new(persistence, policy);
        for kind in [INIT, COOKIE_ECHO, SHUTDOWN, SHUTDOWN_COMPLETE] {
            bench.signalling(7, &[kind]).unwrap();
        }
        bench.signalling(7, &[SHUTDOWN_ACK]).unwrap();
        let before = bench.opened(0) + bench.opened(1);
        bench.signalling(7, &[INIT]).unwrap();
        assert_eq!(bench.opened(0) + bench.opened(1) - before, renewed, "conn_reuse_mode {mode}");
    }
}

/// The numbers of SHUTDOWN ACK and SHUTDOWN COMPLETE have the bits of SYN and RST.
#[test]
fn only_an_init_leaves_a_quiesced_server() {
    let mut bench = Bench::new(None, Policy { expire_nodest_conn: true, ..Policy::default() });
    [INIT, COOKIE_ECHO].iter().for_each(|kind| assert_eq!(bench.signalling(7, &[*kind]), Ok(0)));
    bench.weights[0] = Some(0);
    bench.publish();
    for kind in [DATA, SACK, HEARTBEAT, COOKIE_ECHO, SHUTDOWN, SHUTDOWN_ACK, SHUTDOWN_COMPLETE] {
        assert_eq!(bench.signalling(7, &[kind]), Ok(0), "{kind}");
    }
    assert_eq!(bench.signalling(7, &[INIT]), Ok(1));
}

#[test]
fn an_established_association_assures_its_template() {
    let mut bench = Bench::new(PERSISTENT, Policy::default());
    let assured = |bench: &Bench| bench.templates.list(bench.now).map(|of| of.assured).collect::<Vec<_>>();
    bench.signalling(7, &[INIT]).unwrap();
    assert_eq!(assured(&bench), [false]);
    bench.signalling(7, &[COOKIE_ECHO]).unwrap();
    assert_eq!(assured(&bench), [true]);
    bench.web(9, frames::SYN).unwrap();
    for port in 8..20 {
        assert_eq!(bench.signalling(port, &[INIT]), Ok(0), "all associations of the client");
    }
}

/// An error about a packet from the signalling service to `client`.
fn about(client: End) -> Vec<u8> {
    let packet = frames::sctp(SIGNALLING, client, &[(DATA, 600)]);
    frames::icmp_error(VIP, &packet[14..42])
}

#[test]
fn an_icmp_error_goes_to_the_server_of_its_association() {
    let mut bench = bench();
    let servers = [40000, 40001].map(|port| bench.signalling(port, &[INIT]).unwrap());
    assert_eq!(servers, [0, 1]);
    let before = states(&bench);
    for (port, server) in [(40001, 1), (40000, 0)] {
        assert_eq!(bench.decide(about((CLIENT.0, port))), Ok(server));
    }
    assert_eq!(states(&bench), before);
    assert_eq!(bench.decide(about((CLIENT.0, 40002))), Err(DropReason::IcmpUnknown));
}

#[test]
fn schedule_icmp_opens_an_association_in_none() {
    let mut bench = Bench::new(None, Policy { schedule_icmp: true, ..Policy::default() });
    assert_eq!(bench.decide(about(CLIENT)), Ok(0));
    assert_eq!(entries(&bench)[0].state, ConnState::SctpNone);
    assert_eq!(bench.signalling(CLIENT.1, &[COOKIE_ECHO]), Ok(0), "it has a connection");
    assert_eq!(states(&bench), ["ESTABLISHED"]);
}

/// A fragment of an INIT of 3,000 bytes; `offset` in bytes.
fn fragment(port: u16, offset: usize, len: usize) -> Vec<u8> {
    let packet = frames::sctp_packet((port, SIGNALLING.1), &[(INIT, 2988)]);
    let end = (offset + len).min(packet.len());
    frames::ipv4(CLIENT.0, VIP, 132, &packet[offset..end], |ip| {
        ip.identification = port;
        ip.more_fragments = end < packet.len();
        ip.fragment_offset = ((offset / 8) as u16).try_into().unwrap();
    })
}

#[test]
fn fragments_follow_the_first_one() {
    let mut bench = bench();
    for (port, server) in [(4000, 0), (4001, 1)] {
        for offset in [0, 1480, 2960] {
            assert_eq!(bench.decide(fragment(port, offset, 1480)), Ok(server), "{offset}");
        }
    }
    assert_eq!(states(&bench), ["INIT1"; 2]);
    assert_eq!(bench.decide(fragment(4002, 0, 16)), Ok(0), "with the header of the first chunk");
    assert_eq!(bench.decide(fragment(4003, 0, 8)), Err(DropReason::TinyFragment));
    assert_eq!(
        bench.decide(fragment(4003, 8, 1480)),
        Err(DropReason::TinyFragment),
        "would overwrite the chunk's type"
    );
}

#[test]
fn packets_without_a_chunk_are_malformed() {
    let packet = frames::sctp_packet((CLIENT.1, SIGNALLING.1), &[(INIT, 20)]);
    for len in 0..packet.len() {
        let frame = frames::ipv4(CLIENT.0, VIP, 132, &packet[..len], |_| ());
        let expected = if len < 16 { Err(DropReason::Malformed) } else { Ok(0) };
        assert_eq!(bench().decide(frame), expected, "{len}");
    }
}

/// One frame whose checksum the backend completes, or not.
struct Completing(Vec<u8>, bool);

impl Batch for Completing {
    fn len(&self) -> usize {
        1
    }

    fn frame(&mut self, _: usize) -> &mut [u8] {
        &mut self.0
    }

    fn completes_checksum(&mut self, _: usize) -> bool {
        self.1
    }
}

#[test]
fn a_missing_checksum_is_counted_when_it_opens_a_connection() {
    let mut unfinished = frames::sctp(CLIENT, SIGNALLING, &[(INIT, 20)]);
    unfinished[42..46].fill(0);
    let wrong = frames::sctp(CLIENT, SIGNALLING, &[(INIT, 20)]);
    for (frame, completes, counted) in
        [(unfinished.clone(), false, 1), (unfinished, true, 0), (wrong, false, 0)]
    {
        let (mut bench, mut verdicts) = (bench(), Vec::new());
        for _ in 0..2 {
            bench.forwarder.decide(&mut Completing(frame.clone(), completes), bench.now, &mut verdicts);
            assert!(matches!(verdicts[0], Verdict::Forward(_)));
        }
        assert_eq!(bench.counters.unfinished.get(), counted);
    }
}

#[test]
fn nothing_but_the_next_hop_is_written() {
    for frame in [
        frames::sctp(CLIENT, SIGNALLING, &[(INIT, 20), (3, 4)]),
        frames::tagged(&frames::sctp(CLIENT, SIGNALLING, &[(INIT, 1000)]), 0),
    ] {
        let (mut bench, mut batch, mut verdicts) = (bench(), [frame.clone()], Vec::new());
        bench.forwarder.decide(&mut batch[..], bench.now, &mut verdicts);
        assert!(matches!(verdicts[0], Verdict::Forward(_)));
        assert_eq!(batch[0][12..], frames::one_hop_on(&frame)[12..]);
    }
}
