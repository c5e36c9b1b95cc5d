//! ICMP errors: the connection that they are about, and the worker that has it.
#![allow(missing_docs)]

mod support;

use directrix::flow::{FlowEntry, FlowTable};
use directrix::forward::{ServiceMap, Snapshot, Verdict};
use directrix::hash::Seed;
use directrix::model::{MatchId, Policy, Scheduler, ServerId, ServiceAddress, ServiceId};
use directrix::schedule::{Candidate, ClientAddr, Params, Pool};
use directrix::stats::DropReason;
use directrix::time::Span;
use directrix::wire::{MacAddr, Protocol};
use std::net::Ipv4Addr;
use support::bench::{Bench, VIP, WEB};
use support::frames::{self, ACK, DIRECTOR, End, FIN, SYN};

const CLIENT: End = (Ipv4Addr::new(198, 51, 100, 7), 40000);
/// An address without a service.
const OTHER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);

/// The IP packet in a frame.
fn packet(frame: Vec<u8>) -> Vec<u8> {
    frame[14..].to_vec()
}

/// An error about a segment from the web service to `client`.
fn about(client: End) -> Vec<u8> {
    frames::icmp_error(VIP, &packet(frames::tcp(WEB, client, ACK, &[0; 600]))[..28])
}

fn entries(bench: &Bench) -> Vec<FlowEntry<directrix::flow::Flow>> {
    (0..).map_while(|bucket| bench.forwarder.connections(bucket)).flatten().collect()
}

fn bench() -> Bench {
    Bench::new(None, Policy::default())
}

#[test]
fn an_error_goes_to_the_server_of_its_connection() {
    let mut bench = bench();
    let servers = [40000, 40001].map(|port| bench.web(port, SYN).unwrap());
    assert_eq!(servers, [0, 1], "wlc takes the servers in turn");
    for (port, server) in [(40001, 1), (40000, 0), (40001, 1)] {
        assert_eq!(bench.decide(about((CLIENT.0, port))), Ok(server));
    }
}

#[test]
fn an_error_is_counted_and_changes_no_state() {
    let mut bench = bench();
    bench.web(CLIENT.1, SYN).unwrap();
    bench.web(CLIENT.1, FIN | ACK).unwrap();
    let (before, counters) = (entries(&bench), &bench.counters.server(ServerId(0)));
    let (packets, bytes) = (counters.packets.get(), counters.bytes.get());
    bench.now = bench.now.after(Span::from_secs(5));
    let error = about(CLIENT);
    assert_eq!(bench.decide(error.clone()), Ok(0));
    let counters = &bench.counters.server(ServerId(0));
    assert_eq!(
        (counters.packets.get(), counters.bytes.get()),
        (packets + 1, bytes + error.len() as u64 - 14)
    );
    assert_eq!(entries(&bench), before);
}

#[test]
fn udp_and_tagged_errors_are_forwarded() {
    let mut bench = bench();
    let server = bench.dns(1).unwrap();
    let client = (Ipv4Addr::from_bits(0x0a00_0001), 1024);
    let error = frames::icmp_error(VIP, &packet(frames::udp((VIP, 53), client, &[0; 600]))[..28]);
    assert_eq!(bench.decide(error.clone()), Ok(server));
    assert_eq!(bench.decide(frames::tagged(&error, 0)), Ok(server));
}

#[test]
fn the_frame_changes_by_one_hop_only() {
    let mut bench = bench();
    bench.web(CLIENT.1, SYN).unwrap();
    let error = about(CLIENT);
    let (mut batch, mut verdicts) = ([error.clone()], Vec::new());
    bench.forwarder.decide(&mut batch[..], bench.now, &mut verdicts);
    assert_eq!(batch[0][12..], frames::one_hop_on(&error)[12..]);
}

#[test]
fn errors_without_a_connection_are_dropped() {
    let mut bench = bench();
    assert_eq!(bench.decide(about(CLIENT)), Err(DropReason::IcmpUnknown));
    bench.web(CLIENT.1, SYN).unwrap();
    let quote = packet(frames::tcp((VIP, 8080), CLIENT, ACK, &[]));
    assert_eq!(bench.decide(frames::icmp_error(VIP, &quote)), Err(DropReason::NoService));
    let other = packet(frames::tcp((OTHER, 80), CLIENT, ACK, &[]));
    assert_eq!(bench.decide(frames::icmp_error(VIP, &other)), Err(DropReason::IcmpQuote));
    assert_eq!(bench.decide(frames::with_ttl(&about(CLIENT), 1)), Err(DropReason::Looped));
    bench.now = bench.now.after(Span::from_secs(60));
    assert_eq!(bench.decide(about(CLIENT)), Err(DropReason::IcmpUnknown), "the connection has expired");
}

#[test]
fn an_error_about_another_workers_connection_is_handed_over() {
    let [mut first, mut second] = [bench(), bench()];
    second.web(CLIENT.1, SYN).unwrap();
    first.forwarder.set_hand_over(true);
    let (mut batch, mut verdicts) = ([about(CLIENT)], Vec::new());
    first.forwarder.decide(&mut batch[..], first.now, &mut verdicts);
    assert_eq!((verdicts[0], &batch[0]), (Verdict::HandOver, &about(CLIENT)));
    assert!(first.forwarder.takes_follow_up());
    let [mut frame] = batch;
    let verdict = second.forwarder.decide_handed(&mut frame, false, second.now);
    assert!(matches!(verdict, Verdict::Forward(_)), "{verdict:?}");
    let verdict = first.forwarder.decide_handed(&mut about(CLIENT), true, first.now);
    assert_eq!(verdict, Verdict::Drop(DropReason::IcmpUnknown), "it has been at every worker");
}

#[test]
fn connections_of_a_wildcard_service_are_found() {
    let mut bench = bench();
    bench.forwarder.set_wide_table(FlowTable::new(100, Seed([1, 3, 5, 7])));
    let service =
        |end: End, id| (ServiceAddress { protocol: Protocol::Tcp, address: end.into() }, MatchId(id));
    let own_macs = vec![MacAddr(DIRECTOR)];
    let route = |id| {
        let hop = directrix::forward::NextHop {
            interface: directrix::model::InterfaceIndex(0),
            mac: Some(MacAddr([2, 1, 0, 0, 0, id])),
        };
        directrix::forward::Route::new(&own_macs, Some(hop))
    };
    let snapshot = |services: &[(ServiceAddress, MatchId)]| Snapshot {
        routes: vec![route(0), route(1)],
        own_macs: own_macs.clone(),
        services: ServiceMap::new(services),
        matches: [0, 1].map(ServiceId).into(),
        pools: [0, 1].map(|id| Pool::new([Candidate::new(ServerId(id), 1)])).into(),
        ..Snapshot::default()
    };
    bench.forwarder.adopt(snapshot(&[service((VIP, 0), 1)]).into());
    assert_eq!(bench.web(CLIENT.1, SYN), Ok(1));
    assert_eq!(bench.decide(about(CLIENT)), Ok(1));
    // The port gets a service of its own: the earlier connection goes on.
    bench.forwarder.adopt(snapshot(&[service((VIP, 0), 1), service(WEB, 0)]).into());
    assert_eq!(bench.decide(about(CLIENT)), Ok(1));
    assert_eq!(bench.web(50_000, SYN), Ok(0));
    assert_eq!(bench.decide(about((CLIENT.0, 50_000))), Ok(0));
}

#[test]
fn hash_schedulers_know_the_server_without_a_connection() {
    let mut bench = bench();
    let params = Params { scheduler: Scheduler::Sh, ..Params::default() };
    let candidates = [0, 1].map(|id| Candidate::new(ServerId(id), 1));
    let pool = Pool::new([]).successor(params, candidates, &bench.loads);
    bench.set_web_pool(pool.clone());
    for host in 1..20 {
        let client = Ipv4Addr::new(198, 51, 100, host);
        let expected = pool.pick(&bench.loads, ClientAddr::new(client.into(), 40000)).unwrap();
        assert_eq!(bench.decide(about((client, 40000))), Ok(expected.0 as u8));
    }
}

#[test]
fn schedule_icmp_opens_a_connection() {
    let mut bench = Bench::new(None, Policy { schedule_icmp: true, ..Policy::default() });
    assert_eq!(bench.decide(about(CLIENT)), Ok(0));
    assert_eq!(bench.decide(about((CLIENT.0, 40001))), Ok(1), "as any new connection");
    assert_eq!(bench.opened(0), 1);
    assert_eq!(bench.web(CLIENT.1, ACK), Ok(0), "it is there for the client");
    bench.wait(Span::from_secs(2));
    assert_eq!(entries(&bench).len(), 1, "without a packet of the client it expires");
    let query = packet(frames::udp((VIP, 53), (CLIENT.0, 1024), &[0; 600]));
    assert_eq!(bench.decide(frames::icmp_error(VIP, &query[..28])), Ok(2));
}
