//! Passive health: a real server without the VIP is found by the handshakes that clients cannot complete.

use crate::deployment::{CLIENT, Deployment, VIP, VIP6, VIPS, ipv6_beside};
use crate::director::{Config, Director, Home};
use crate::on_both_backends;
use crate::peers::{ECHO, EchoConnection, NAMES, Peers};
use crate::support::netns::{Netns, wait_until};
use directrix::control::client::Blocking;
use std::collections::BTreeSet;
use std::net::{IpAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{JoinHandle, sleep};
use std::time::Duration;

on_both_backends! {
    a_server_without_the_vip_is_ejected_and_returns
    a_suspect_is_probed_at_once
    a_firewall_against_clients_is_named_beside_passing_checks
}

/// For a suspicion, with time for a busy machine: eight seconds of failures, thirteen if there are few clients.
const SUSPICION: Duration = Duration::from_secs(40);
/// For the end of the first ejection.
const EJECTION: Duration = Duration::from_secs(60);

/// Clients that connect to the echo service of a VIP one after the other, until this is dropped.
struct Clients {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Clients {
    fn start(host: &Netns, vip: IpAddr) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        // Threads begin in the namespace of the thread that starts them.
        let threads = host.enter(|| (0..16).map(|_| client(vip, Arc::clone(&stop))).collect());
        Self { stop, threads }
    }
}

/// A client that waits for an answer longer than until the first repetition of its SYN.
fn client(vip: IpAddr, stop: Arc<AtomicBool>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        while !stop.load(Relaxed) {
            drop(TcpStream::connect_timeout(&(vip, ECHO).into(), Duration::from_millis(1500)));
            sleep(Duration::from_millis(100));
        }
    })
}

impl Drop for Clients {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        for thread in self.threads.drain(..) {
            assert!(thread.join().is_ok() || std::thread::panicking());
        }
    }
}

struct Site {
    deployment: Deployment,
    peers: Peers,
    director: Director,
    client: Blocking,
}

impl Site {
    /// A director with an echo service on each of these VIPs, which has these lines.
    fn start(backend: &str, vips: &[IpAddr], lines: &str) -> Self {
        let deployment = Deployment::reference().with_ipv6();
        let peers = Peers::start(&deployment);
        let config = Config { weights: [1, 1], ..Config::new(backend) };
        let mut text = format!("[director]\ninterface = \"eth0\"\n{}", config.director);
        for vip in vips {
            let service = config.service(&deployment, "tcp", (*vip, ECHO).into());
            let header = format!("scheduler = \"rr\"\n{lines}[[service.server]]\n");
            text += &service.replacen("[[service.server]]\n", &header, 1);
        }
        let director = Director::start_in(Home::new(), &deployment.director, &text);
        let client = director.client();
        Self { deployment, peers, director, client }
    }

    fn take_vips_from_the_first(&self) {
        self.deployment.real[0]
            .run(&format!("ip address del {VIP}/32 dev lo && ip address del {VIP6}/128 dev lo"));
    }

    fn give_vips_to_the_first(&self) {
        let real = &self.deployment.real[0];
        real.run(&format!(
            "ip address add {VIP}/32 dev lo && ip address add {VIP6}/128 dev lo preferred_lft 0"
        ));
    }

    /// The states of the first server in both services.
    fn states(&self) -> Vec<String> {
        let services = self.client.services().unwrap().services;
        services.iter().map(|service| service.servers[0].state.clone()).collect()
    }

    fn wait_for(&self, state: &str, timeout: Duration) {
        wait_until(state, timeout, || self.states() == [state; 2]);
    }

    /// The servers that new connections of both families get.
    fn servers_of_new(&self) -> BTreeSet<String> {
        let open = |vip: IpAddr| {
            (0..8).map(move |_| EchoConnection::open_to(&self.deployment.client, vip).server.clone())
        };
        open(VIP.into()).chain(open(VIP6.into())).collect()
    }
}

fn a_server_without_the_vip_is_ejected_and_returns(backend: &str) {
    let site = Site::start(backend, &VIPS, "passive = \"eject\"\n");
    let _clients = VIPS.map(|vip| Clients::start(&site.deployment.client, vip));
    assert_eq!(site.servers_of_new(), BTreeSet::from(NAMES.map(str::to_owned)));
    site.take_vips_from_the_first();
    site.wait_for("ejected", SUSPICION);
    assert_eq!(site.servers_of_new(), BTreeSet::from([NAMES[1].to_owned()]));
    let rip = site.deployment.rips[0];
    let listing = site.director.cli("health");
    let line = listing.lines().find(|line| line.contains(&format!("{rip} ")) && line.contains("ejected"));
    let line = line.unwrap_or_else(|| panic!("{listing}"));
    assert!(line.contains("handshakes not completed in 10 s, others 0 %; SYNs repeated: silent"), "{line}");
    let listing = site.director.cli("ipvsadm -Ln");
    let row = listing.lines().find(|line| line.contains(&format!("-> {rip}:"))).unwrap();
    assert_eq!(row.split_whitespace().nth(3), Some("0"), "weight: {row}");
    let (status, why) = site.director.cli_status(&format!("why-down {rip}"));
    assert!(status == Some(3) && why.contains("directrix realserver check"), "{why}");

    site.give_vips_to_the_first();
    site.wait_for("reachable", EJECTION);
    wait_until("the whole share", EJECTION, || !site.director.cli("health").contains("probation"));
    assert_eq!(site.servers_of_new(), BTreeSet::from(NAMES.map(str::to_owned)));
    for (event, times) in [("the real server is ejected", 2), ("is tried again after its ejection", 2)] {
        assert_eq!(site.director.logged(event), times, "{}", site.director.log());
    }
    assert!(!site.director.log().contains("passive health is off"));
}

/// Without the suspicion, the next probe of the check would come 24 seconds after the last one at the earliest.
fn a_suspect_is_probed_at_once(backend: &str) {
    let check = "passive = \"watch\"\n[[service.check]]\ntype = \"http\"\ntarget = \"rip\"\nport = 80\nfall = 1\n\
                 interval = 30\nfast_interval = 0.2\n";
    let mut site = Site::start(backend, &[VIP.into()], check);
    let state = |site: &Site| site.client.checks().unwrap().services[0].servers[0].checks[0].state.clone();
    let _clients = Clients::start(&site.deployment.client, VIP.into());
    wait_until("a check", Duration::from_secs(40), || state(&site) == "up");
    site.peers.nginx[0].stop();
    site.take_vips_from_the_first();
    let suspected = || site.director.logged("clients cannot complete their handshakes with the real server");
    wait_until("suspicions", SUSPICION, || suspected() == 1);
    wait_until("a check that fails", Duration::from_secs(3), || state(&site) == "down");
    assert_eq!(site.director.logged("the real server is ejected"), 0);
    let rip = site.deployment.rips[0];
    let why = site.director.cli_status(&format!("why-down {rip}")).1;
    assert!(why.contains("suspected: ") && why.contains("handshakes not completed"), "{why}");
}

/// The checks of the VIP reach the director, and no SYN-ACK reaches the clients: of one server, then of both.
fn a_firewall_against_clients_is_named_beside_passing_checks(backend: &str) {
    let site = Site::start(backend, &VIPS, "[[service.check]]\ntype = \"tcp\"\ninterval = 0.5\n");
    let checks = |server: usize| {
        let services = site.client.checks().unwrap().services;
        services.iter().map(|service| service.servers[server].checks[0].state.clone()).collect::<Vec<_>>()
    };
    let passive = || {
        let services = site.client.checks().unwrap().services;
        services.into_iter().map(|mut service| service.servers.remove(0).passive).collect::<Vec<_>>()
    };
    wait_until("checks", Duration::from_secs(40), || checks(0) == ["up"; 2] && checks(1) == ["up"; 2]);
    let _clients = VIPS.map(|vip| Clients::start(&site.deployment.client, vip));
    drop_answers_to_clients(&site.deployment.real[0]);
    wait_until("suspicions", SUSPICION, || passive().iter().all(Option::is_some));
    for found in passive().into_iter().flatten() {
        assert_eq!(found.state, "suspected");
        assert!(found.reason.contains("SYNs repeated: silent"), "{}", found.reason);
        assert!(found.reason.contains("its health checks of the VIP do not fail"), "{}", found.reason);
    }
    assert_eq!(checks(0), ["up"; 2]);
    let (status, why) = site.director.cli_status(&format!("why-down {}", site.deployment.rips[0]));
    assert!(status == Some(0) && why.contains("nft list ruleset"), "{status:?} {why}");
    assert!(why.contains("suspected: "), "an event with the cause: {why}");

    drop_answers_to_clients(&site.deployment.real[1]);
    let flood = || site.client.checks().unwrap().services.into_iter().map(|service| service.flood_reason);
    wait_until("the way back", SUSPICION, || flood().all(|reason| reason.is_some()));
    for reason in flood().flatten() {
        assert!(reason.contains("the gateway of the real servers"), "{reason}");
    }
    assert_eq!((checks(0), checks(1)), (vec!["up".to_owned(); 2], vec!["up".to_owned(); 2]));
    let why = site.director.cli_status(&format!("why-down {}", site.deployment.rips[1])).1;
    assert!(why.contains("no SYN-ACK reaches the clients"), "{why}");
    assert!(site.director.cli("health").contains("handshakes fail with most servers, "));
}

fn drop_answers_to_clients(server: &Netns) {
    server.run("nft add table inet fw && nft 'add chain inet fw o { type filter hook output priority 0; }'");
    server.run(&format!("nft add rule inet fw o ip daddr {CLIENT} tcp sport {ECHO} drop"));
    server.run(&format!("nft add rule inet fw o ip6 daddr {} tcp sport {ECHO} drop", ipv6_beside(CLIENT)));
}
