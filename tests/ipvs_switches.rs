//! IPVS's sysctls for connections, by name: conn_reuse_mode, expire_nodest_conn, expire_quiescent_template and
//! sloppy_tcp, as in `ip_vs_in_hook`, `ip_vs_check_template` and `tcp_conn_schedule`.
#![allow(missing_docs)]

mod support;

use directrix::model::{ConnReuseMode, Persistence, Policy, ServerId};
use directrix::schedule::ServerLoad;
use directrix::stats::DropReason;
use directrix::time::Span;
use support::bench::Bench;
use support::frames::{ACK, FIN, RST, SYN};

const PERSISTENT: Option<Persistence> = Some(Persistence { timeout: Persistence::TIMEOUT, prefix: 32 });

/// Number of connections opened by a SYN on a connection that the client has closed by `ends`.
fn opened_again(bench: &mut Bench, ends: &[u8]) -> u64 {
    let opened = |bench: &Bench| bench.opened(0) + bench.opened(1);
    for flags in [SYN, ACK].iter().chain(ends) {
        bench.web(7, *flags).unwrap();
    }
    let before = opened(bench);
    bench.web(7, SYN).unwrap();
    opened(bench) - before
}

const FIN_WAIT: &[u8] = &[FIN | ACK];
const CLOSE: &[u8] = &[RST | ACK];
/// FIN before the handshake has ended.
const TIME_WAIT: &[u8] = &[FIN | ACK, SYN, FIN | ACK];

#[test]
fn conn_reuse_mode_decides_on_closed_connections() {
    let by = |mode, ends: &[u8]| {
        let policy = Policy { conn_reuse_mode: ConnReuseMode(mode), ..Policy::default() };
        opened_again(&mut Bench::new(None, policy), ends)
    };
    assert_eq!(Policy::default().conn_reuse_mode, ConnReuseMode(1), "as in the kernel");
    assert_eq!([0, 1, 2, 3].map(|mode| by(mode, FIN_WAIT)), [0, 0, 1, 1]);
    assert_eq!([0, 1, 2, 3].map(|mode| by(mode, CLOSE)), [0, 1, 1, 1]);
    assert_eq!([0, 1].map(|mode| by(mode, TIME_WAIT)), [0, 1]);
    assert_eq!([0, 1, 2, 3].map(|mode| by(mode, &[])), [0; 4], "an open connection stays");
}

#[test]
fn persistent_connections_are_never_reused() {
    for mode in 0..4 {
        for ends in [FIN_WAIT, CLOSE, TIME_WAIT] {
            let policy = Policy { conn_reuse_mode: ConnReuseMode(mode), ..Policy::default() };
            assert_eq!(opened_again(&mut Bench::new(PERSISTENT, policy), ends), 0, "{mode}");
        }
    }
}

#[test]
fn sloppy_tcp_lets_any_segment_but_a_reset_open_a_connection() {
    let by = |sloppy_tcp, flags| {
        let mut bench = Bench::new(None, Policy { sloppy_tcp, ..Policy::default() });
        (bench.web(7, flags), bench.loads.get(ServerId(0)))
    };
    let load = |active, inactive| ServerLoad { active, inactive };
    for flags in [ACK, FIN | ACK, 0] {
        assert_eq!(by(false, flags), (Err(DropReason::NoConnection), load(0, 0)), "{flags}");
    }
    assert_eq!(by(true, ACK), (Ok(0), load(1, 0)), "ESTABLISHED");
    assert_eq!(by(true, FIN | ACK), (Ok(0), load(0, 1)), "CLOSE");
    assert_eq!(by(true, 0), (Ok(0), load(0, 1)), "CLOSE");
    assert_eq!(by(true, SYN), (Ok(0), load(1, 0)), "SYN_RECV");
    for flags in [RST, RST | ACK, RST | SYN] {
        assert_eq!(by(true, flags), (Err(DropReason::NoConnection), load(0, 0)), "{flags}");
    }
}

#[test]
fn sloppy_tcp_changes_nothing_for_known_connections() {
    let mut bench = Bench::new(None, Policy { sloppy_tcp: true, ..Policy::default() });
    assert_eq!([1, 2].map(|port| bench.web(port, ACK)), [Ok(0), Ok(1)]);
    assert_eq!([1, 2].map(|port| bench.web(port, ACK)), [Ok(0), Ok(1)]);
    assert_eq!((bench.opened(0), bench.opened(1)), (1, 1));
    assert_eq!([FIN | ACK, ACK].map(|flags| bench.web(1, flags)), [Ok(0); 2]);
    assert_eq!(opened_again(&mut bench, FIN_WAIT), 0, "only a SYN is scheduled again, and not on FIN_WAIT");
}

#[test]
fn a_template_of_a_sloppy_connection_is_assured() {
    let mut bench = Bench::new(PERSISTENT, Policy { sloppy_tcp: true, ..Policy::default() });
    bench.web(7, ACK).unwrap();
    let assured: Vec<_> = bench.templates.list(bench.now).map(|of| of.assured).collect();
    assert_eq!(assured, [true], "its connection is established");
}

/// Servers of the frames before and after their server is removed.
fn removed(expire_nodest_conn: bool) -> Bench {
    let mut bench = Bench::new(None, Policy { expire_nodest_conn, ..Policy::default() });
    assert_eq!([1, 2].map(|client| bench.dns(client)), [Ok(2), Ok(3)]);
    assert_eq!([1, 2].map(|client| bench.dns(client)), [Ok(2), Ok(3)]);
    for flags in [SYN, ACK] {
        assert_eq!([1, 2].map(|port| bench.web(port, flags)), [Ok(0), Ok(1)]);
    }
    (bench.weights[0], bench.weights[2]) = (None, None);
    bench.publish();
    bench
}

#[test]
fn frames_of_a_removed_server_are_dropped() {
    let mut bench = removed(false);
    for _ in 0..3 {
        bench.wait(Span::from_secs(99));
        assert_eq!(
            (bench.dns(1), bench.web(1, SYN)),
            (Err(DropReason::ServerRemoved), Err(DropReason::ServerRemoved))
        );
    }
    bench.wait(Span::from_secs(4));
    assert_eq!(bench.dns(1), Ok(3), "300 s after the flow's last forwarded datagram");
}

#[test]
fn expire_nodest_conn_ends_connections() {
    let mut bench = removed(true);
    assert_eq!(bench.dns(1), Ok(3), "the first datagram is rescheduled");
    assert_eq!(bench.web(1, ACK), Err(DropReason::ServerRemoved), "the first segment ends its connection");
    assert_eq!(bench.web(1, ACK), Err(DropReason::NoConnection));
    assert_eq!(bench.web(1, SYN), Ok(1));
    assert_eq!((bench.dns(2), bench.web(2, ACK)), (Ok(3), Ok(1)), "other connections continue");
    assert_eq!(bench.counters.expired.get(), 2);
    assert_eq!(bench.counters.entries.get(), 4);
}

#[test]
fn expire_nodest_conn_reschedules_from_weight_0() {
    for (expire_nodest_conn, persistence, then) in
        [(false, None, 0), (true, None, 1), (false, PERSISTENT, 0), (true, PERSISTENT, 1)]
    {
        // A persistent client follows its template, which binds with weight 0 by default.
        let expire_quiescent_template = persistence.is_some() && expire_nodest_conn;
        let policy = Policy { expire_nodest_conn, expire_quiescent_template, ..Policy::default() };
        let mut bench = Bench::new(persistence, policy);
        assert_eq!([SYN, ACK].map(|flags| bench.web(1, flags)), [Ok(0); 2]);
        bench.weights[0] = Some(0);
        bench.publish();
        assert_eq!(bench.web(1, ACK), Ok(0), "the connection continues");
        assert_eq!(bench.web(1, SYN), Ok(then));
    }
}

#[test]
fn expire_quiescent_template_moves_clients() {
    for (expire_quiescent_template, then) in [(false, 0), (true, 1)] {
        let mut bench = Bench::new(PERSISTENT, Policy { expire_quiescent_template, ..Policy::default() });
        assert_eq!([SYN, ACK].map(|flags| bench.web(1, flags)), [Ok(0); 2]);
        bench.weights[0] = Some(0);
        bench.publish();
        assert_eq!((bench.web(2, SYN), bench.web(1, ACK)), (Ok(then), Ok(0)));
        bench.weights[0] = Some(1);
        bench.publish();
        assert_eq!(bench.web(3, SYN), Ok(then), "the template stays");
    }
}
