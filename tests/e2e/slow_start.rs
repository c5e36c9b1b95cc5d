//! Slow start: the share of an added server rises to that of its weight.

use crate::deployment::{Deployment, VIP};
use crate::director::{Config, Director, Home};
use crate::http::{HTTP, assert_counts_match};
use crate::on_both_backends;
use crate::peers::{Peers, vip};
use directrix::control::api::Service;
use directrix::control::api::request::{ChangeRequest, ServiceSettings};
use directrix::control::client::Blocking;
use directrix::model::{DiagnosticKind, ServiceAddress};
use directrix::wire::Protocol;
use std::thread::sleep;
use std::time::Duration;

on_both_backends! {
    an_added_server_starts_with_a_small_share
}

/// Duration of the slow start, in seconds.
const SLOW_START: u64 = 5;
const WEB: ServiceAddress = ServiceAddress {
    protocol: Protocol::Tcp,
    address: std::net::SocketAddr::new(std::net::IpAddr::V4(VIP), 80),
};

/// A director with slow start in its web service, and servers of weight 1.
///
/// The client reuses its ports, and with `conn_reuse_mode = 3` each SYN on a closed connection counts.
fn director(backend: &str, deployment: &Deployment) -> Director {
    let text = Config { weights: [1, 1], ..Config::new(backend) }.text(deployment);
    let address = format!("address = \"{VIP}:80\"\n");
    let text = text.replace(&address, &format!("{address}slow_start = {SLOW_START}\n"));
    let text = text.replace("[director]\n", "[director]\nconn_reuse_mode = 3\n");
    Director::start_in(Home::new(), &deployment.director, &text)
}

fn an_added_server_starts_with_a_small_share(backend: &str) {
    let deployment = Deployment::reference();
    let _peers = Peers::start(&deployment);
    let director = director(backend, &deployment);
    let client = director.client();
    director.change(&format!("ipvsadm -d {HTTP} -r {}", deployment.rips[1]));
    std::thread::scope(|scope| {
        let load = scope.spawn(|| ab(&deployment));
        sleep(Duration::from_secs(SLOW_START + 2)); // until the end of the first server's slow start
        director.change(&format!("ipvsadm -a {HTTP} -r {} -w 1", deployment.rips[1]));
        let first = share(&director, Duration::from_secs(1));
        let early = web(&client);
        assert_eq!(early.servers[1].weight, 1);
        assert!(early.servers[1].slow_start_percent.is_some(), "{early:?}");
        sleep(Duration::from_secs(SLOW_START));
        let later = share(&director, Duration::from_secs(2));
        assert_eq!(web(&client).servers[1].slow_start_percent, None);
        println!("{first:.3} of the connections in the first second, {later:.3} after the slow start");
        assert!(first < 0.25 && (0.4..0.6).contains(&later), "{first:.3}, then {later:.3}");
        load.join().unwrap();
    });
    assert_counts_match(&deployment, &director);
}

/// Makes connections at full speed, four at a time.
fn ab(deployment: &Deployment) {
    let seconds = 2 * SLOW_START + 7;
    let url = format!("http://{}/", vip(80));
    let ab = format!("timeout 60 ab -q -s 20 -t {seconds} -n 1000000 -c 4 {url} 2>&1");
    let text = deployment.client.run(&ab);
    let failed = text.lines().find_map(|line| line.strip_prefix("Failed requests:"));
    assert_eq!(failed.map(str::trim), Some("0"), "{text}");
}

/// The second server's share of the connections that open within `time`.
fn share(director: &Director, time: Duration) -> f64 {
    let opened = || [1, 2].map(|row| director.stats(HTTP)[row][0]);
    let before = opened();
    sleep(time);
    let [first, second] = opened();
    let [first, second] = [first - before[0], second - before[1]];
    assert!(first + second > 100, "too few connections: {first} and {second}");
    second as f64 / (first + second) as f64
}

fn web(client: &Blocking) -> Service {
    client.services().unwrap().services.into_iter().find(|service| service.identity == WEB).unwrap()
}

#[test]
fn ipvsadm_keeps_slow_start_and_save_writes_it() {
    let deployment = Deployment::reference();
    let director = director("packet", &deployment);
    let client = director.client();
    let saved = || director.cli("save").contains(&format!("slow_start = {SLOW_START}\n"));
    let rules = director.cli("ipvsadm -S -n");
    assert!(
        saved() && rules.contains(&format!("-A {HTTP} -s wlc\n")),
        "not in the rules of ipvsadm: {rules}"
    );
    director.change(&format!("ipvsadm -E {HTTP} -s wrr"));
    assert!(saved() && web(&client).slow_start == Some(SLOW_START as u32));
    let (status, stderr) = director.cli_with_input(&format!("ipvsadm -E {HTTP} -s rr"), "");
    assert_eq!(status, Some(255));
    assert!(stderr.contains("slow_start does not go with rr, whose new connections"), "{stderr}");

    let edit = |seconds| {
        let settings = ServiceSettings { slow_start: seconds, ..ServiceSettings::default() };
        client.change(&[ChangeRequest::EditService { service: WEB.into(), settings }])
    };
    let refused = edit(Some(86_401)).unwrap_err();
    assert_eq!(refused.kind, DiagnosticKind::InvalidRules);
    edit(Some(9)).unwrap();
    assert_eq!(web(&client).slow_start, Some(9));
    edit(Some(0)).unwrap();
    assert_eq!(web(&client).slow_start, None);
    assert!(
        director.change("reload").starts_with(&format!("~ TCP {VIP}:80: slow_start none -> {SLOW_START}"))
    );
}
