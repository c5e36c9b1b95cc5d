//! Start, rest and end.

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
    told_to_stop_it_ends_well_and_leaves_the_host_as_it_was
    killed_it_leaves_the_host_working_and_the_next_one_starts
    a_director_with_nothing_to_do_sleeps
}

fn told_to_stop_it_ends_well_and_leaves_the_host_as_it_was(backend: &str) {
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
    the_kernel_has_its_frames(&deployment);
}

fn killed_it_leaves_the_host_working_and_the_next_one_starts(backend: &str) {
    let deployment = Deployment::reference();
    let _peers = Peers::start(&deployment);
    let director = Director::start(&deployment, &Config::new(backend));
    let (status, home) = director.end(Signal::SIGKILL);
    assert_eq!(status.code(), None);
    wait_until("the program is gone", PATIENCE, || !steering(&deployment.director));
    the_kernel_has_its_frames(&deployment);
    deployment.director.run(&format!("ip address del {VIP}/32 dev lo"));
    assert!(home.socket().exists(), "it is stale now");

    let text = Config::new(backend).text(&deployment);
    let director = Director::start_in(home, &deployment.director, &text);
    assert_eq!(connect(&deployment.client, 30).iter().sum::<usize>(), 30);
    assert_eq!(director.stats(HTTP)[0][0], 30);
}

/// With the VIP on its lo, the director's host refuses a connection to a port that was a service.
pub(crate) fn the_kernel_has_its_frames(deployment: &Deployment) {
    deployment.client.run(&format!("ping -c 2 -i 0.02 -W 2 {DIP}"));
    deployment.director.run(&format!("ip address add {VIP}/32 dev lo"));
    let refused = deployment.client.enter(|| TcpStream::connect_timeout(&vip(80), PATIENCE)).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
}

/// True while an XDP program is on the director's interface.
pub(crate) fn steering(host: &Netns) -> bool {
    host.run("ip -details link show dev eth0").contains("prog/xdp")
}

fn a_director_with_nothing_to_do_sleeps(backend: &str) {
    let deployment = Deployment::reference();
    let director = Director::start(&deployment, &Config::new(backend));
    let span = Duration::from_secs(3);
    let before = cpu_time(director.pid());
    std::thread::sleep(span);
    let busy = cpu_time(director.pid()) - before;
    // 2 % of a core; a build that is not optimised sweeps its table more slowly.
    let bound = if cfg!(debug_assertions) { span / 20 } else { span / 50 };
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
