//! Start, idling, and end.

use crate::deployment::Deployment;
use crate::deployment::{DIP, VIP};
use crate::director::{Config, Director};
use crate::http::HTTP;
use crate::on_both_backends;
use crate::peers::{PATIENCE, Peers, connect, vip};
use crate::support::netns::{Netns, wait_until};
use nix::sys::signal::Signal;
use std::io::ErrorKind;
use std::net::TcpStream;
use std::time::Duration;

on_both_backends! {
    a_signal_ends_a_director_and_restores_the_host
    a_killed_director_leaves_a_working_host
    an_idle_director_sleeps
}

fn a_signal_ends_a_director_and_restores_the_host(backend: &str) {
    let deployment = Deployment::reference();
    let _peers = Peers::start(&deployment);
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let director = Director::start(&deployment, &Config::new(backend));
        assert_eq!(steering(&deployment.director), backend == "xdp");
        connect(&deployment.client, 5);
        let (status, home) = director.end(signal);
        assert_eq!(status.code(), Some(0), "{signal}");
        assert!(!home.socket().exists());
        assert!(!steering(&deployment.director));
    }
    assert_kernel_receives(&deployment);
}

fn a_killed_director_leaves_a_working_host(backend: &str) {
    let deployment = Deployment::reference();
    let _peers = Peers::start(&deployment);
    let director = Director::start(&deployment, &Config::new(backend));
    let (status, home) = director.end(Signal::SIGKILL);
    assert_eq!(status.code(), None);
    wait_until("the end of the program", PATIENCE, || !steering(&deployment.director));
    assert_kernel_receives(&deployment);
    deployment.director.run(&format!("ip address del {VIP}/32 dev lo"));
    assert!(home.socket().exists(), "a stale socket");

    let text = Config::new(backend).text(&deployment);
    let director = Director::start_in(home, &deployment.director, &text);
    assert_eq!(connect(&deployment.client, 30).iter().sum::<usize>(), 30);
    assert_eq!(director.stats(HTTP)[0][0], 30);
}

/// Checks that the kernel receives frames for the former service: with the VIP on lo it sends a RST.
pub(crate) fn assert_kernel_receives(deployment: &Deployment) {
    deployment.client.run(&format!("ping -c 2 -i 0.02 -W 2 {DIP}"));
    deployment.director.run(&format!("ip address add {VIP}/32 dev lo"));
    let refused = deployment.client.enter(|| TcpStream::connect_timeout(&vip(80), PATIENCE)).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
}

/// True while an XDP program is on the director's interface.
pub(crate) fn steering(host: &Netns) -> bool {
    host.run("ip -details link show dev eth0").contains("prog/xdp")
}

fn an_idle_director_sleeps(backend: &str) {
    let deployment = Deployment::reference();
    let director = Director::start(&deployment, &Config::new(backend));
    let span = Duration::from_secs(3);
    let before = cpu_time(director.pid());
    std::thread::sleep(span);
    let busy = cpu_time(director.pid()) - before;
    // 2 % of a core; a debug build sweeps more slowly.
    let bound = if cfg!(debug_assertions) { span / 12 } else { span / 50 };
    assert!(busy < bound, "busy for {busy:?} of {span:?}");
}

/// CPU time of all threads of a process (proc_pid_schedstat(5)).
fn cpu_time(pid: u32) -> Duration {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
    let run = |thread: std::fs::DirEntry| -> u64 {
        let text = std::fs::read_to_string(thread.path().join("schedstat")).unwrap();
        text.split_whitespace().next().unwrap().parse().unwrap()
    };
    Duration::from_nanos(threads.map(run).sum())
}
