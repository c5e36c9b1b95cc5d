//! Sessions that are silent for long, as those of ssh, over both families.

use crate::deployment::{Deployment, VIPS};
use crate::director::{Config, Director};
use crate::on_both_backends;
use crate::peers::{EchoConnection, NAMES, PATIENCE, Peers};
use crate::support::netns::wait_until;
use nix::sys::socket::{setsockopt, sockopt};
use std::io::ErrorKind;
use std::time::{Duration, Instant};

on_both_backends! {
    a_session_goes_on_after_silence_within_its_timeout
    a_session_beyond_its_timeout_goes_on_with_sloppy_tcp
}

/// Timeout of established connections, in seconds.
const TIMEOUT: u32 = 4;
/// Longest time from an entry's deadline to its removal.
const SWEEP: Duration = Duration::from_secs(2);

fn start(backend: &str) -> (Deployment, Peers, Director, Config) {
    let deployment = Deployment::reference().with_ipv6();
    let peers = Peers::start(&deployment);
    let config = Config { weights: [1, 0], ..Config::new(backend).timeouts(TIMEOUT, 2, 2) };
    let director = Director::start(&deployment, &config);
    (deployment, peers, director, config)
}

/// Sends keepalives each second, as ssh does with `TCPKeepAlive` (the intervals are the client's sysctls).
fn keep_alive(session: &EchoConnection) {
    setsockopt(session.stream(), sockopt::KeepAlive, &true).unwrap();
    setsockopt(session.stream(), sockopt::TcpKeepIdle, &1).unwrap();
    setsockopt(session.stream(), sockopt::TcpKeepInterval, &1).unwrap();
}

fn a_session_goes_on_after_silence_within_its_timeout(backend: &str) {
    let (deployment, _peers, director, _) = start(backend);
    let open = || VIPS.map(|vip| EchoConnection::open_to(&deployment.client, vip));
    let [mut spoken, mut kept, silent] = [open(), open(), open()];
    kept.iter().for_each(keep_alive);
    let start = Instant::now();
    for _ in 0..3 {
        std::thread::sleep(Duration::from_millis(2500)); // more than half of the timeout
        spoken.iter_mut().for_each(|session| session.exchange("command"));
    }
    assert!(start.elapsed() > Duration::from_secs(TIMEOUT.into()) + SWEEP);
    for (vip, sessions) in VIPS.iter().zip(spoken.iter_mut().zip(&mut kept)) {
        let listed = director.connections(&vip.to_string());
        assert_eq!(listed.len(), 2, "the silent one has expired: {listed:?}");
        assert!(listed.iter().all(|row| row.contains("ESTABLISHED")), "{listed:?}");
        sessions.0.exchange("after silence");
        sessions.1.exchange("after keepalives alone");
    }
    assert_eq!(director.dropped("no_connection"), 0);
    drop(silent);
    wait_until("its FIN is dropped", PATIENCE, || director.dropped("no_connection") >= VIPS.len() as u64);
}

/// As with IPVS: a segment without a connection reaches no server, unless sloppy_tcp is on.
fn a_session_beyond_its_timeout_goes_on_with_sloppy_tcp(backend: &str) {
    let (deployment, _peers, director, config) = start(backend);
    let mut sessions = VIPS.map(|vip| EchoConnection::open_to(&deployment.client, vip));
    sessions.iter_mut().for_each(|session| session.exchange("command"));
    wait_until("an empty table", PATIENCE, || director.connections("").is_empty());
    for session in &mut sessions {
        session.send("too late");
        session.stream().set_read_timeout(Some(Duration::from_millis(500))).unwrap();
        let silence = session.stream().peek(&mut [0]).unwrap_err();
        assert_eq!(silence.kind(), ErrorKind::WouldBlock, "neither an answer nor a reset");
        session.stream().set_read_timeout(Some(PATIENCE)).unwrap();
    }
    assert!(director.dropped("no_connection") >= VIPS.len() as u64);
    director.write_config(&config.with("sloppy_tcp = true").text(&deployment));
    director.change("reload");
    for session in &mut sessions {
        assert_eq!(session.receive(), "too late", "retransmitted");
        session.exchange("at the same server");
        assert_eq!(session.server, NAMES[0]);
    }
    assert_eq!(director.connections("ESTABLISHED").len(), VIPS.len());
}
