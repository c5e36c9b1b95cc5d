//! Health checks of the RIP: a service whose checks look at another port, so that its connections outlive the failure.

use crate::deployment::{Deployment, VIP};
use crate::director::{Config, Director, Home};
use crate::on_both_backends;
use crate::peers::{ECHO, EchoConnection, NAMES, PATIENCE, Peers};
use crate::support::netns::wait_until;
use directrix::control::api::checks::Checks;
use directrix::control::client::Blocking;
use std::collections::BTreeSet;
use std::fs::Permissions;
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

on_both_backends! {
    a_server_that_fails_its_check_gets_no_new_connections
    with_most_servers_down_all_are_in_use
    the_operator_wins_over_the_checks
    connections_of_a_server_that_is_down_are_cut
    a_server_is_used_after_its_first_success
    hooks_are_called_once_for_each_change
}

/// Fast, so that the test is short: down within half a second of the failure.
const CHECK: &str = "[[service.check]]\ntype = \"http\"\ntarget = \"rip\"\nport = 80\npath = \"/\"\nbody = \"real\"\n\
                     interval = 0.2\ntimeout = 0.2\nfall = 2\nrise = 2\ndown_interval = 0.2\n";

fn config(backend: &str, deployment: &Deployment, scheduler: &str) -> String {
    config_with(backend, deployment, &format!("scheduler = \"{scheduler}\"\npanic = 70\n"))
}

/// A configuration with these lines in the service.
fn config_with(backend: &str, deployment: &Deployment, keys: &str) -> String {
    let config = Config { weights: [1, 1], ..Config::new(backend) };
    let address: SocketAddr = (VIP, ECHO).into();
    let service = config.service(deployment, "tcp", address);
    // Two thirds of the weight may be down: a server of weight 2 beside one of weight 1.
    let header = format!("{keys}{CHECK}[[service.server]]\n");
    let service = service.replacen("[[service.server]]\n", &header, 1);
    format!("[director]\ninterface = \"eth0\"\n{}{service}", config.director)
}

struct Site {
    deployment: Deployment,
    peers: Peers,
    director: Director,
    client: Blocking,
}

impl Site {
    /// A director whose checks have found both servers up.
    fn start(backend: &str) -> Self {
        Self::start_with(backend, "scheduler = \"wlc\"\npanic = 70\n")
    }

    /// Likewise, with these lines in the service.
    fn start_with(backend: &str, keys: &str) -> Self {
        let deployment = Deployment::reference();
        let peers = Peers::start(&deployment);
        let text = config_with(backend, &deployment, keys);
        let director = Director::start_in(Home::new(), &deployment.director, &text);
        let client = director.client();
        let site = Self { deployment, peers, director, client };
        site.wait_for(["up", "up"]);
        site
    }

    fn checks(&self) -> Checks {
        self.client.checks().unwrap()
    }

    /// Waits until the checks of the servers are in these states.
    fn wait_for(&self, states: [&str; 2]) {
        wait_until(&format!("checks {states:?}"), PATIENCE, || {
            let checks = self.checks();
            let servers = checks.services.iter().flat_map(|service| &service.servers);
            servers.map(|server| server.checks[0].state.as_str()).collect::<Vec<_>>() == states
        });
    }

    /// The weight that `ipvsadm -Ln` lists for a server.
    fn weight(&self, server: usize) -> String {
        let (listing, rip) = (self.director.cli("ipvsadm -Ln"), self.deployment.rips[server]);
        let row = listing.lines().find(|line| line.contains(&format!("-> {rip}:"))).unwrap();
        row.split_whitespace().nth(3).unwrap().to_owned()
    }

    fn wait_for_weight(&self, server: usize, weight: &str) {
        wait_until(&format!("weight {weight}"), PATIENCE, || self.weight(server) == weight);
    }

    /// The servers that new connections get.
    fn servers_of_new(&self) -> BTreeSet<String> {
        (0..12).map(|_| EchoConnection::open(&self.deployment.client).server.clone()).collect()
    }
}

fn a_server_that_fails_its_check_gets_no_new_connections(backend: &str) {
    let mut site = Site::start(backend);
    assert_eq!(site.servers_of_new(), BTreeSet::from(NAMES.map(str::to_owned)));
    let mut held: Vec<_> = (0..6).map(|_| EchoConnection::open(&site.deployment.client)).collect();
    assert!(held.iter().any(|connection| connection.server == NAMES[0]));

    site.peers.nginx[0].stop();
    site.wait_for(["down", "up"]);
    site.wait_for_weight(0, "0");
    assert_eq!(site.servers_of_new(), BTreeSet::from([NAMES[1].to_owned()]));
    held.iter_mut().for_each(|connection| connection.exchange("still there"));
    let rip = site.deployment.rips[0];
    let listing = site.director.cli("health");
    assert!(listing.contains(&format!("{rip}:80 is refused: start the service there")), "{listing}");
    assert_down_is_explained(&site);
    assert!(site.director.cli("ipvsadm -Sn").contains(&format!("-r {rip}:{ECHO} -g -w 1")));

    // Neither a reload nor a change of the weight brings it back.
    site.director.write_config(&config(backend, &site.deployment, "rr"));
    site.director.change("reload");
    assert_eq!(site.checks().services[0].servers[0].checks[0].state, "down");
    site.director.change(&format!("ipvsadm -e -t {VIP}:{ECHO} -r {rip} -g -w 2"));
    assert_eq!(site.weight(0), "0");
    assert_eq!(site.servers_of_new(), BTreeSet::from([NAMES[1].to_owned()]));
    assert_eq!(site.director.logged("health check is down"), 1);

    site.peers.nginx[0].restart(&site.deployment.real[0]);
    site.wait_for(["up", "up"]);
    site.wait_for_weight(0, "2");
    assert_eq!(site.servers_of_new(), BTreeSet::from(NAMES.map(str::to_owned)));
    held.iter_mut().for_each(|connection| connection.exchange("still there"));
}

/// The first server is down, the second one is up.
fn assert_down_is_explained(site: &Site) {
    let rips = site.deployment.rips;
    let (status, text) = site.director.cli_status(&format!("why-down {}", rips[0]));
    assert_eq!(status, Some(3), "{text}");
    let verdict = format!("{} gets no new connections of TCP {VIP}:{ECHO}:\n", rips[0]);
    assert!(text.starts_with(&verdict), "{text}");
    for part in [
        "its health check http / port 80 has been down for",
        "start the service there",
        "health    out: no new connections for it",
        "arp       reachable at",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let (status, text) = site.director.cli_status(&format!("why-down {} tcp:{VIP}:{ECHO}", rips[1]));
    assert_eq!(status, Some(0), "{text}");
    assert!(text.starts_with(&format!("{} gets new connections of TCP {VIP}:{ECHO}.\n", rips[1])), "{text}");
    let (_, json) = site.director.cli_status(&format!("why-down {} --json", rips[0]));
    let answer: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(answer["services"][0]["reasons"][0]["code"], "down", "{json}");
    assert_eq!(site.director.cli_status("why-down 192.0.2.250").0, Some(1));
}

fn with_most_servers_down_all_are_in_use(backend: &str) {
    let mut site = Site::start(backend);
    site.peers.nginx[1].stop();
    site.wait_for(["up", "down"]);
    site.wait_for_weight(1, "0");
    site.peers.nginx[0].stop();
    site.wait_for(["down", "down"]);
    site.wait_for_weight(1, "1");
    assert_eq!(site.servers_of_new(), BTreeSet::from(NAMES.map(str::to_owned)));
    assert!(site.checks().services[0].panic);
    assert_eq!(site.director.logged("too much weight is down"), 1);
    site.peers.nginx[0].restart(&site.deployment.real[0]);
    site.wait_for(["up", "down"]);
    site.wait_for_weight(1, "0");
}

fn the_operator_wins_over_the_checks(backend: &str) {
    let mut site = Site::start(backend);
    let rips = site.deployment.rips;
    let changed = site.director.change(&format!("health force-down {} tcp:{VIP}:{ECHO}", rips[1]));
    assert_eq!(changed, format!("~ TCP {VIP}:{ECHO} -> {}: health forced-down\n", rips[1]));
    site.wait_for_weight(1, "0");
    assert_eq!(site.servers_of_new(), BTreeSet::from([NAMES[0].to_owned()]));
    let (status, text) = site.director.cli_status(&format!("why-down {}", rips[1]));
    assert!(status == Some(3) && text.contains("the operator has forced its health down"), "{text}");

    // The last one fails as well: the panic share does not bring back the one that is forced down.
    site.peers.nginx[0].stop();
    site.wait_for(["down", "up"]);
    site.wait_for_weight(0, "1");
    assert_eq!(site.servers_of_new(), BTreeSet::from([NAMES[0].to_owned()]));

    // Holds survive a reload.
    site.director.write_config(&config(backend, &site.deployment, "rr"));
    site.director.change("reload");
    assert_eq!(site.weight(1), "0");
    site.director.change("health resume");
    site.wait_for_weight(0, "0");
    site.wait_for_weight(1, "1");
    site.director.change(&format!("health force-up {}", rips[0]));
    site.wait_for_weight(0, "1");
    let listing = site.director.cli("health");
    assert!(listing.contains("down, forced up"), "{listing}");

    // While the checks are paused, a server that fails stays in use.
    site.director.change("health pause");
    site.wait_for_weight(0, "0");
    site.peers.nginx[0].restart(&site.deployment.real[0]);
    site.peers.nginx[1].stop();
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!([0, 1].map(|server| site.weight(server)), ["0", "1"]);
    assert_eq!(site.director.metric("directrix_health_holds"), 2);
    site.director.change("health resume");
    site.wait_for(["up", "down"]);
    site.wait_for_weight(0, "1");
    site.wait_for_weight(1, "0");

    assert_eq!(site.director.cli_status("health force-down").0, Some(1), "every server at once");
    assert_eq!(site.director.cli_status("health pause 192.0.2.250").0, Some(1));
    let (status, body) = site.director.post_changes(r#"[{"do": "set-health", "mode": "broken"}]"#);
    assert!(status == 422 && body["error"].as_str().unwrap().contains("forced-down"), "{body}");
}

/// True if the client's next data is answered by a reset.
fn is_reset(connection: &EchoConnection) -> bool {
    let mut stream = connection.stream();
    let _ = stream.write_all(b"data\n"); // the second time, the connection is closed already
    stream.read(&mut [0; 64]).is_err_and(|error| error.kind() == ErrorKind::ConnectionReset)
}

fn connections_of_a_server_that_is_down_are_cut(backend: &str) {
    let mut site = Site::start_with(backend, "on_down = \"cut\"\ninhibit_on_failure = false\npanic = 70\n");
    let held: Vec<_> = (0..6).map(|_| EchoConnection::open(&site.deployment.client)).collect();
    let (mut cut, mut kept): (Vec<_>, Vec<_>) =
        held.into_iter().partition(|connection| connection.server == NAMES[0]);
    assert!(!cut.is_empty() && !kept.is_empty());
    cut.iter_mut().chain(&mut kept).for_each(|connection| connection.exchange("before"));

    site.peers.nginx[0].stop();
    site.wait_for(["down", "up"]);
    let rips = site.deployment.rips;
    let rows = |words: &str| {
        let listing = site.director.cli(words);
        rips.map(|rip| listing.lines().any(|line| line.contains(&rip.to_string())))
    };
    wait_until("the listing without it", PATIENCE, || rows("ipvsadm -Ln") == [false, true]);
    assert_eq!(rows("ipvsadm -Ln --stats"), [false, true], "as keepalived removes it");
    assert_eq!(rows("ipvsadm -Sn"), [true, true], "what is saved can be restored");
    wait_until("adoption", PATIENCE, || is_reset(&cut[0]));
    assert!(cut[1..].iter().all(is_reset));
    kept.iter_mut().for_each(|connection| connection.exchange("still there"));
    assert!(site.director.dropped("server_down") >= cut.len() as u64);
    assert_eq!(site.servers_of_new(), BTreeSet::from([NAMES[1].to_owned()]));

    site.peers.nginx[0].restart(&site.deployment.real[0]);
    wait_until("the listing with it", PATIENCE, || rows("ipvsadm -Ln") == [true, true]);
    assert!(site.servers_of_new().contains(NAMES[0]), "wlc may give it all of them");
}

fn a_server_is_used_after_its_first_success(backend: &str) {
    let deployment = Deployment::reference();
    let mut peers = Peers::start(&deployment);
    peers.nginx[0].stop();
    let text = config_with(backend, &deployment, "alpha = true\npanic = 70\n");
    let director = Director::start_in(Home::new(), &deployment.director, &text);
    let client = director.client();
    let mut site = Site { deployment, peers, director, client };
    site.wait_for(["down", "up"]);
    site.wait_for_weight(1, "1");
    assert_eq!([0, 1].map(|server| site.weight(server)), ["0", "1"]);
    assert_eq!(site.servers_of_new(), BTreeSet::from([NAMES[1].to_owned()]));
    // A server that is added is down at once, and the present ones keep their state.
    let (vip, rip) = (format!("{VIP}:{ECHO}"), site.deployment.rips[1]);
    site.director.change(&format!("ipvsadm -d -t {vip} -r {rip}"));
    site.director.change(&format!("ipvsadm -a -t {vip} -r {rip} -g"));
    site.wait_for_weight(1, "1");
    site.peers.nginx[0].restart(&site.deployment.real[0]);
    site.wait_for_weight(0, "1");
}

/// A program in `home` that appends the facts to the file `calls` there.
fn recorder(home: &Path) -> String {
    let path = home.join("hook");
    let text = format!("#!/bin/sh\nexec cat >> {}/calls\n", home.display());
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
    path.to_str().unwrap().to_owned()
}

fn hooks_are_called_once_for_each_change(backend: &str) {
    let folder = tempfile::tempdir().unwrap();
    // Others may create files there, but not exchange the program.
    std::fs::set_permissions(folder.path(), Permissions::from_mode(0o1777)).unwrap();
    let program = recorder(folder.path());
    let deployment = Deployment::reference();
    let peers = Peers::start(&deployment);
    let keys = format!(
        "quorum = 2\nquorum_up = \"{program}\"\nquorum_down = \"{program}\"\nnotify = \"{program}\"\n"
    );
    let text = config_with(backend, &deployment, &keys);
    let (status, error) = Director::refusal(&deployment.director, &text, "");
    assert!(status == Some(1) && error.contains("the director runs as root"), "{error}");
    let text = text.replacen("[director]\n", "[director]\nuser = \"nobody\"\n", 1);
    let director = Director::start_in(Home::new(), &deployment.director, &text);
    let client = director.client();
    let mut site = Site { deployment, peers, director, client };
    site.wait_for(["up", "up"]);

    let calls = || -> Vec<serde_json::Value> {
        let text = std::fs::read_to_string(folder.path().join("calls")).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let quorums = || -> Vec<bool> { calls().iter().filter_map(|call| call["quorum_up"].as_bool()).collect() };
    wait_until("the quorum at the start", PATIENCE, || quorums() == [true]);
    site.peers.nginx[0].stop();
    wait_until("the loss of the quorum", PATIENCE, || quorums() == [true, false]);
    site.peers.nginx[0].restart(&site.deployment.real[0]);
    wait_until("the quorum again", PATIENCE, || quorums() == [true, false, true]);
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(quorums(), [true, false, true], "each change once");
    let rip = site.deployment.rips[0].to_string();
    let of_server =
        || calls().iter().filter(|call| call["server"] == rip.as_str() && call["by"] == "health").count();
    assert_eq!(of_server(), 2, "out, and in use again: {:?}", calls());
    assert_eq!(site.director.logged("the quorum of the service is lost"), 1);
    assert_eq!(site.director.logged("hook"), 0, "{}", site.director.log());
}
