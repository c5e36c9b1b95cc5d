//! A VIP's route follows the carrier of the TUN device, by the real BIRD and the real FRR on director and router.

use crate::deployment::{DIP, Deployment, VIPS};
use crate::director::{Config, Director};
use crate::on_both_backends;
use crate::peers::{EchoConnection, PATIENCE};
use crate::routing::{CONVERGENCE, RoutedSite, Routing};
use crate::support::netns::{Netns, wait_until};
use nix::sys::signal::Signal;
use std::process::Command;
use std::time::{Duration, Instant};

on_both_backends! {
    bird_announces_a_director_that_is_ready
    frr_announces_a_director_that_is_ready
}

/// Time for the loss of all real servers and their return.
const CHANGE: Duration = Duration::from_secs(30);

pub(crate) const HA: &str = "[ha]\nvips = \"routed\"\ntun = \"dx0\"\nready_needs_servers = true\n";

fn bird_announces_a_director_that_is_ready(backend: &str) {
    announces_a_director_that_is_ready(Routing::Bird, backend);
}

fn frr_announces_a_director_that_is_ready(backend: &str) {
    announces_a_director_that_is_ready(Routing::Frr, backend);
}

fn announces_a_director_that_is_ready(routing: Routing, backend: &str) {
    let site = RoutedSite::new();
    let _daemons = site.start_routing(routing, 1);
    let config = Config { tables: HA.to_owned(), ..Config::new(backend) }.text(&site.deployment);
    let host = &site.deployment.director;
    let mut director =
        Director::start(&site.deployment, &Config { tables: HA.to_owned(), ..Config::new(backend) });
    site.wait_for_routes(&[DIP], CONVERGENCE);
    exchange(&site.client);

    set_servers(&site.deployment, "down");
    site.wait_for_routes(&[], CHANGE);
    set_servers(&site.deployment, "up");
    site.wait_for_routes(&[DIP], CHANGE);
    wait_until("both servers in both families", CHANGE, || director.logged("real server reachable") == 8);
    exchange(&site.client);

    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        let mut connection = EchoConnection::open(&site.client);
        let told = Instant::now();
        director.signal(signal);
        if signal == Signal::SIGTERM {
            connection.exchange("data"); // whatever the router knows by now
        }
        site.wait_for_routes(&[], PATIENCE);
        println!("{routing:?}, {backend}: withdrawn {:?} after {signal}", told.elapsed());
        let (_, home) = director.end(signal);
        director = Director::start_in(home, host, &config);
        site.wait_for_routes(&[DIP], CHANGE);
        exchange(&site.client);
    }
}

/// Takes the real servers from the segment, or gives them back.
fn set_servers(deployment: &Deployment, state: &str) {
    deployment.switch.run(&format!("ip link set real1 {state} && ip link set real2 {state}"));
}

/// Asserts that connections of both families pass.
fn exchange(client: &Netns) {
    for vip in VIPS {
        EchoConnection::open_to(client, vip).exchange("data");
    }
}

#[test]
fn the_example_files_are_valid() {
    let directory = tempfile::tempdir().unwrap();
    let examples = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/examples");
    let check = |command: &str| {
        let out = Command::new("sh").args(["-c", command]).output().unwrap();
        assert!(out.status.success(), "{command}: {}", String::from_utf8_lossy(&out.stderr));
    };
    for file in ["bird", "bird-router"] {
        check(&format!("bird -p -c {examples}/{file}.conf"));
    }
    for file in ["frr", "frr-router"] {
        check(&format!("vtysh --config_dir {} -C -f {examples}/{file}.conf", directory.path().display()));
    }
}
