//! Warm restart: a process takes over from the running director.

use crate::deployment::{Deployment, VIP};
use crate::director::{Config, Director};
use crate::on_both_backends;
use crate::peers::{EchoConnection, PATIENCE, Peers};
use crate::support::netns::{Process, wait_until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::Read;
use std::process::Stdio;
use std::time::Duration;

on_both_backends! {
    the_next_process_has_connections_counters_rules_and_states
    the_vip_is_answered_for_throughout
    a_changed_file_applies_at_a_takeover
    a_next_process_that_fails_changes_nothing
    a_next_process_that_dies_costs_no_connection
    there_has_to_be_a_director_to_take_over_from
    the_command_upgrade_starts_the_next_process
    ab_runs_through_upgrades_and_kills
}

const ECHO_SERVICE: &str = "-t 192.168.195.150:7";
const CONNECTIONS: usize = 40;

fn active(director: &Director) -> usize {
    director.load(ECHO_SERVICE).iter().map(|(active, _)| active).sum()
}

/// State of the first server of the echo service.
fn state_of_first(director: &Director) -> String {
    let services = director.client().services().unwrap().services;
    let echo = services.iter().find(|service| service.identity.to_string() == "TCP 192.168.195.150:7");
    echo.unwrap().servers[0].state.to_string()
}

/// Waits until the keeper has the last events.
fn settle() {
    std::thread::sleep(Duration::from_millis(100));
}

fn the_next_process_has_connections_counters_rules_and_states(backend: &str) {
    let deployment = Deployment::reference();
    let _peers = Peers::start(&deployment);
    let mut director = Director::start(&deployment, &Config::new(backend));
    let mut connections: Vec<_> =
        (0..CONNECTIONS).map(|_| EchoConnection::open(&deployment.client)).collect();
    director.change("ipvsadm -A -t 192.168.195.150:8080 -s rr");
    director.change("ipvsadm -a -t 192.168.195.150:8080 -r 192.168.195.170 -g -w 7");
    director.change("drain tcp:192.168.195.150:7 192.168.195.170 --no-wait --deadline 600");
    director.cli("ipvsadm --start-daemon backup --mcast-interface eth0 --syncid 7");
    let daemons = director.cli("ipvsadm -L --daemon");
    let rules = director.cli("ipvsadm -Sn");
    for round in 1..=3 {
        settle();
        let before = director.stats(ECHO_SERVICE);
        let (next, status) = director.followed(&deployment.director);
        director = next;
        assert!(status.success(), "{status}");
        assert_eq!(director.cli("ipvsadm -Sn"), rules, "rules by commands stay: {}", director.log());
        assert_eq!(director.cli("ipvsadm -L --daemon"), daemons, "{}", director.log());
        let after = director.stats(ECHO_SERVICE);
        let is_more = after.iter().zip(&before).all(|(after, before)| after[1] >= before[1]);
        assert!(is_more && after[0][0] == CONNECTIONS as u64, "{before:?} {after:?}");
        connections.iter_mut().for_each(|connection| connection.exchange("data"));
        wait_until("the loads", PATIENCE, || active(&director) == CONNECTIONS);
        let frames = CONNECTIONS as u64;
        wait_until("counters that go on", PATIENCE, || {
            director.stats(ECHO_SERVICE)[0][1] >= after[0][1] + frames
        });
        assert_eq!(state_of_first(&director), "draining", "round {round}");
    }
}

fn the_vip_is_answered_for_throughout(backend: &str) {
    let deployment = Deployment::reference();
    let _peers = Peers::start(&deployment);
    let mut director = Director::start(&deployment, &Config::new(backend));
    let arping = format!("exec arping -i eth0 -c 100 -W 0.05 {VIP}");
    let mut command = deployment.client.command(&arping);
    let arping = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    for _ in 0..2 {
        let (next, status) = director.followed(&deployment.director);
        assert!(status.success());
        director = next;
        assert_eq!(director.metric("directrix_neighbor_probed_total"), 1, "{}", director.log());
    }
    let output = String::from_utf8(arping.wait_with_output().unwrap().stdout).unwrap();
    assert!(output.contains("100 packets transmitted") && output.contains("  0% unanswered"), "{output}");
}

fn a_changed_file_applies_at_a_takeover(backend: &str) {
    let deployment = Deployment::reference();
    let _peers = Peers::start(&deployment);
    let director = Director::start(&deployment, &Config::new(backend));
    director.change("ipvsadm -A -t 192.168.195.150:8080 -s rr");
    let mut connection = EchoConnection::open(&deployment.client);
    settle();
    let config = Config { weights: [5, 2], ..Config::new(backend) }.with("announce_interval = 33");
    director.write_config(&config.text(&deployment));
    let (director, status) = director.followed(&deployment.director);
    assert!(status.success());
    let saved = director.cli("save");
    assert!(saved.contains("weight = 5") && saved.contains("announce_interval = 33"), "{saved}");
    assert!(!saved.contains(":8080"), "the file's rules apply: {saved}");
    connection.exchange("data");
}

fn a_next_process_that_fails_changes_nothing(backend: &str) {
    let deployment = Deployment::reference();
    let _peers = Peers::start(&deployment);
    let config = Config::new(backend);
    let director = Director::start(&deployment, &config);
    let mut connection = EchoConnection::open(&deployment.client);
    director.write_config("[director]\ninterface = 7\n");
    assert_eq!(director.spawn_next(&deployment.director).failure().0, Some(2));
    let other = config.text(&deployment).replace("interface = \"eth0\"", "interface = \"eth7\"");
    director.write_config(&other);
    let mut next = director.spawn_next(&deployment.director);
    wait_until("its wait", PATIENCE, || next.log().contains("waiting for the network") || next.has_ended());
    drop(next);
    connection.exchange("data");
    director.write_config(&config.text(&deployment));
    let (director, status) = director.followed(&deployment.director);
    assert!(status.success(), "a later one takes over: {}", director.log());
    connection.exchange("data");
}

fn a_next_process_that_dies_costs_no_connection(backend: &str) {
    let deployment = Deployment::reference();
    let _peers = Peers::start(&deployment);
    let config = Config::new(backend).text(&deployment);
    let director = Director::start_in(crate::director::Home::new(), &deployment.director, &config);
    let mut connection = EchoConnection::open(&deployment.client);
    settle();
    let next = director.spawn_next(&deployment.director);
    wait_until("the switch", PATIENCE, || director.log().contains("handed over"));
    let (_, home) = next.end(Signal::SIGKILL);
    let (status, log) = director.failure();
    assert!(
        status == Some(0) || (status == Some(1) && log.contains("has ended before it had taken over")),
        "{status:?}: {log}"
    );
    let _director = Director::start_in(home, &deployment.director, &config);
    connection.exchange("data");
}

fn there_has_to_be_a_director_to_take_over_from(backend: &str) {
    let deployment = Deployment::reference();
    let director = Director::start(&deployment, &Config::new(backend));
    let (_, home) = director.end(Signal::SIGTERM);
    let config = Config::new(backend).text(&deployment);
    let (status, log) = Director::spawn_takeover(home, &deployment.director, &config).failure();
    assert_eq!(status, Some(1));
    assert!(log.contains("there is no running director to take over from"), "{log}");
}

/// A process that this test has started indirectly. Dropping it ends it.
struct Orphan(Pid);

impl Drop for Orphan {
    fn drop(&mut self) {
        let _ = kill(self.0, Signal::SIGTERM);
        let ended = || kill(self.0, None).is_err();
        (0..500).take_while(|_| !ended()).for_each(|_| std::thread::sleep(Duration::from_millis(10)));
        let _ = kill(self.0, Signal::SIGKILL); // ended by now, as a rule
    }
}

fn the_command_upgrade_starts_the_next_process(backend: &str) {
    let deployment = Deployment::reference();
    let _peers = Peers::start(&deployment);
    let director = Director::start(&deployment, &Config::new(backend));
    let mut connection = EchoConnection::open(&deployment.client);
    settle();
    let upgrade = |option: &str| {
        let socket = director.socket();
        let program = env!("CARGO_BIN_EXE_directrix");
        let mut command = deployment
            .director
            .command(&format!("exec {program} --socket {} upgrade {option}", socket.display()));
        let output = command.stderr(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "{output:?} {}", director.log());
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(upgrade("--if-needed"), "nothing has changed\n", "this program runs: a reload suffices");
    let said = upgrade("");
    let pid = director.client().status().unwrap().pid;
    let _next = Orphan(Pid::from_raw(pid.cast_signed()));
    assert!(said.starts_with(&format!("process {pid} (")) && pid != director.pid(), "{said}");
    let main = format!("MAINPID={pid}");
    wait_until("the notification of the service manager", PATIENCE, || {
        director.notification().is_some_and(|text| text.contains(&main))
    });
    let (status, log) = director.failure();
    assert_eq!(status, Some(0), "{log}");
    connection.exchange("data");
}

/// Events of each kind.
const EVENTS: usize = 5;
/// Clients of ab.
const CLIENTS: usize = 100;

/// A request in its handshake at the moment of an event may fail, and no other.
fn ab_runs_through_upgrades_and_kills(backend: &str) {
    let deployment = Deployment::reference();
    let _peers = Peers::start(&deployment);
    let config = Config::new(backend).with("conn_reuse_mode = 3").text(&deployment);
    let mut director = Director::start_in(crate::director::Home::new(), &deployment.director, &config);
    let ab = format!("exec ab -q -r -t 300 -n 10000000 -c {CLIENTS} http://{VIP}/");
    let mut command = deployment.client.command(&ab);
    let mut ab = Process(command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap());
    let pause = || std::thread::sleep(Duration::from_millis(700));
    for _ in 0..EVENTS {
        pause();
        let (next, status) = director.followed(&deployment.director);
        assert!(status.success());
        director = next;
    }
    for _ in 0..EVENTS {
        pause();
        let (_, home) = director.end(Signal::SIGKILL);
        director = Director::start_in(home, &deployment.director, &config);
    }
    pause();
    // At SIGINT ab prints its counts.
    kill(Pid::from_raw(ab.0.id().cast_signed()), Signal::SIGINT).unwrap();
    let mut text = String::new();
    ab.0.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    let count = |name: &str| -> usize {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("{name}: {text}")).trim().parse().unwrap()
    };
    let (complete, failed) = (count("Complete requests:"), count("Failed requests:"));
    println!("{backend}: {complete} requests over {EVENTS} upgrades and {EVENTS} kills, {failed} failed");
    assert!(complete > 1000 && failed <= 2 * EVENTS * CLIENTS / 10, "{text}");
}
