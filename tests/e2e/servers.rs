//! Real servers that become unreachable, return, or are quiesced.

use crate::deployment::{Deployment, VIP, VIP6, mac};
use crate::director::{Config, Director, Home};
use crate::http::{assert_by_weight, connect_in_turn};
use crate::on_both_backends;
use crate::peers::{ECHO, EchoConnection, NAMES, Peers, connect};
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

on_both_backends! {
    an_unreachable_server_gets_no_new_connections
    a_server_of_weight_zero_gets_no_connection
    a_changed_mac_address_is_logged_and_used
    arp_keys_set_how_soon_a_dead_link_is_noticed
    a_real_server_is_a_client_of_other_services_alone
}

/// A dead link and a changed MAC address are noticed within 3 s (docs/operations.md, ARP).
const NOTICED: Duration = Duration::from_secs(3);
/// An unreachable server is requested every 5 s.
const RETURNED: Duration = Duration::from_secs(5);
/// Delay that is not the director's: its threads wait for a processor while others compile.
const NOISE: Duration = Duration::from_secs(1);
const SILENT: &str = "real server does not answer ARP";
const CHANGED: &str = "real server changed its MAC address";

/// Runs `command`, then waits for a log line with `message` within `limit` and [`NOISE`] after it began.
fn logs_within(limit: Duration, director: &Director, message: &str, command: impl FnOnce()) {
    let (before, start) = (director.logged(message), Instant::now());
    command();
    while director.logged(message) == before {
        assert!(start.elapsed() < limit + NOISE, "not within {limit:?} and {NOISE:?}: {message}");
        std::thread::sleep(Duration::from_millis(5));
    }
    println!("{message}: {:?}, at most {limit:?}", start.elapsed());
}

fn an_unreachable_server_gets_no_new_connections(backend: &str) {
    let deployment = Deployment::reference();
    let _peers = Peers::start(&deployment);
    let director = Director::start(&deployment, &Config::new(backend));
    let mut both: Vec<_> = (0..2).map(|_| EchoConnection::open(&deployment.client)).collect();
    both.sort_by(|a, b| a.server.cmp(&b.server));
    assert_eq!([both[0].server.as_str(), &both[1].server], ["real1", "real2"]);

    let set_link = |state| deployment.switch.run(&format!("ip link set real2 {state}"));
    logs_within(NOTICED, &director, SILENT, || drop(set_link("down")));
    assert_eq!(connect(&deployment.client, 30), [30, 0]);
    both[0].exchange("data");
    std::thread::sleep(RETURNED + NOISE); // one more request, without an answer

    let reachable = "real server reachable";
    assert_eq!(director.logged(reachable), 2, "both at the start");
    logs_within(RETURNED, &director, reachable, || drop(set_link("up")));
    let [_, second] = connect(&deployment.client, 30);
    assert!(second >= 15, "{second} of 30 to the server of weight 2");
    both[1].exchange("data");
    assert_eq!(
        (director.logged(SILENT), director.logged(reachable)),
        (1, 3),
        "once each: {}",
        director.log()
    );
}

fn a_server_of_weight_zero_gets_no_connection(backend: &str) {
    let deployment = Deployment::reference();
    let _peers = Peers::start(&deployment);
    let _director = Director::start(&deployment, &Config { weights: [1, 0], ..Config::new(backend) });
    assert_eq!(connect(&deployment.client, 30), [30, 0]);
}

/// The server's kernel announces the new address only with `arp_notify`, which is off: the director must find it.
fn a_changed_mac_address_is_logged_and_used(backend: &str) {
    let deployment = Deployment::reference();
    let _peers = Peers::start(&deployment);
    let director = Director::start(&deployment, &Config::new(backend));
    let (old, new) = (mac(&deployment.real[0]), "02:00:00:00:17:00");
    logs_within(NOTICED, &director, CHANGED, || {
        deployment.real[0].run(&format!("ip link set dev eth0 address {new}"));
    });
    let log = director.log();
    let line = log.lines().find(|line| line.contains(CHANGED)).unwrap();
    for part in ["WARN", &format!("rip={}", deployment.rips[0]), &format!("old={old}"), &format!("new={new}")]
    {
        assert!(line.contains(part), "{part}: {line}");
    }
    assert_eq!(director.logged("real server reachable"), 2, "both at the start only: {log}");
    assert_by_weight(connect_in_turn(&deployment, &director, 30));
}

fn arp_keys_set_how_soon_a_dead_link_is_noticed(backend: &str) {
    let deployment = Deployment::reference();
    let config = Config::new(backend).with("arp_refresh = 600").with("arp_attempts = 2");
    let director = Director::start(&deployment, &config);
    deployment.switch.run("ip link set real2 down");
    std::thread::sleep(NOTICED + NOISE); // longer than by default
    assert_eq!(director.logged(SILENT), 0, "no request yet");
}

/// The first real server has lost the VIPs, so that its packets to them leave it. It is part of the echo services, and not
/// of those of the web.
fn a_real_server_is_a_client_of_other_services_alone(backend: &str) {
    let deployment = Deployment::reference().with_ipv6();
    let _peers = Peers::start(&deployment);
    let config = Config::new(backend);
    let mut text = format!("[director]\ninterface = \"eth0\"\n{}", config.director);
    for vip in deployment.vips() {
        text += &config.service(&deployment, "tcp", (*vip, ECHO).into());
        let web = config.service(&deployment, "tcp", (*vip, 80).into());
        let first =
            format!("[[service.server]]\naddress = \"{}\"\nweight = 1\n", deployment.rips_of(*vip)[0]);
        text += &web.replacen(&first, "", 1);
    }
    let director = Director::start_in(Home::new(), &deployment.director, &text);
    let real = &deployment.real[0];
    real.run(&format!("ip address del {VIP}/32 dev lo && ip address del {VIP6}/128 dev lo"));
    for (count, vip) in (1..).zip(deployment.vips()) {
        let page = SocketAddr::new(*vip, 80);
        assert_eq!(real.run(&format!("curl -sS --fail --max-time 20 'http://{page}/'")).trim(), NAMES[1]);
        let dial = || TcpStream::connect_timeout(&SocketAddr::new(*vip, ECHO), Duration::from_millis(500));
        assert_eq!(real.enter(dial).unwrap_err().kind(), ErrorKind::TimedOut);
        assert_eq!(director.dropped("real_server"), count);
    }
}
