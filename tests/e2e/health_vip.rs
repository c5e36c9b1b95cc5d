//! Health checks of the VIP on each real server: the cause of every fault, and what clients see of it.

use crate::deployment::{Deployment, VIP, join};
use crate::director::{Config, Director, Home};
use crate::on_both_backends;
use crate::peers::{ECHO, EchoConnection, NAMES, PATIENCE, Peers};
use crate::stopped_thread::StoppedThread;
use crate::support::netns::{Netns, wait_until};
use aya::programs::{SchedClassifier, TcAttachType};
use directrix::control::api::checks::{Check, Checks};
use directrix::control::client::Blocking;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::net::{IpAddr, Ipv4Addr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

on_both_backends! {
    every_fault_has_its_cause_and_remedy
    a_server_that_loses_its_vip_fails_few_clients
    the_first_check_of_the_vip_comes_by_a_reload
    trouble_of_the_director_takes_no_server_down
}

const WEB: u16 = 80;
/// Short, and slow enough for a loaded machine.
const FAST: &str = "interval = 0.4\ntimeout = 0.4\nfall = 2\nrise = 1\ndown_interval = 0.4\n";

fn start(deployment: &Deployment, text: &str) -> (Director, Blocking) {
    let director = Director::start_in(Home::new(), &deployment.director, text);
    let client = director.client();
    (director, client)
}

/// A service with these checks at each VIP.
fn config(backend: &str, deployment: &Deployment, port: u16, checks: &str) -> String {
    let config = Config { weights: [1, 1], ..Config::new(backend) };
    let service = |vip: &IpAddr| {
        let service = config.service(deployment, "tcp", (*vip, port).into());
        service.replacen("[[service.server]]\n", &format!("{checks}[[service.server]]\n"), 1)
    };
    let services: String = deployment.vips().iter().map(service).collect();
    format!("[director]\ninterface = \"eth0\"\n{}{services}", config.director)
}

/// The check of a server, in the service of a family.
fn check_of(checks: &Checks, family: usize, server: usize) -> &Check {
    &checks.services[family].servers[server].checks[0]
}

/// Waits until the checks of real1 have this state and cause in each family.
fn wait_for(client: &Blocking, families: usize, state: &str, cause: Option<&str>) -> Checks {
    let mut checks = client.checks().unwrap();
    let is_so = |checks: &Checks| {
        (0..families).all(|family| {
            let check = check_of(checks, family, 0);
            check.state == state && (state == "up" || check.cause.as_deref() == cause)
        })
    };
    let end = Instant::now() + PATIENCE;
    while !is_so(&checks) {
        assert!(Instant::now() < end, "not {state} for {cause:?}: {checks:#?}");
        std::thread::sleep(Duration::from_millis(50));
        checks = client.checks().unwrap();
    }
    checks
}

/// A fault of real1: what makes it, the cause that is named, a part of the sentence, and what mends it. VIP4, RIP6 and so on
/// stand for addresses.
struct Fault(&'static str, &'static str, &'static str, &'static str);

const REMOVE_VIPS: &str = "ip address del VIP4/32 dev lo; ip address del VIP6/128 dev lo";
const ADD_VIPS: &str = "ip address add VIP4/32 dev lo; ip address add VIP6/128 dev lo preferred_lft 0";
const ROUTE: &str = "sysctl -qw net.ipv4.icmp_ratelimit=0 net.ipv6.icmp.ratelimit=0
    sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1";
const STOP_ROUTING: &str = "sysctl -qw net.ipv4.ip_forward=0 net.ipv6.conf.all.forwarding=0";
const UNFILTER: &str = "nft delete table inet fault";

const FAULTS: [Fault; 8] = [
    Fault(REMOVE_VIPS, "vip_missing", "there: ip address add ", ""),
    Fault(ROUTE, "vip_missing_and_routed", "forward", STOP_ROUTING),
    Fault(ADD_VIPS, "", "", ""),
    Fault("INPUT tcp dport 80 drop", "silent", "whether its firewall drops port 80", UNFILTER),
    Fault(
        "INPUT ip daddr VIP4 reject with icmp admin-prohibited; ip6 daddr VIP6 reject with icmpv6 admin-prohibited",
        "rejected",
        "administratively prohibited): permit port 80 there",
        UNFILTER,
    ),
    Fault(
        "INPUT ip daddr VIP4 tcp dport 80 reject with tcp reset; ip6 daddr VIP6 tcp dport 80 reject with tcp reset",
        "bound_to_rip",
        "let the service listen on the VIP",
        UNFILTER,
    ),
    Fault(
        "PREROUTING ip daddr VIP4 ip daddr set RIP4; ip6 daddr VIP6 ip6 daddr set RIP6",
        "answered_as_rip",
        "remove the address translation there",
        UNFILTER,
    ),
    Fault(
        "ip -4 route add 192.168.195.0/24 dev eth1 table 7; ip -4 rule add pref 1 from all lookup 7
         ip -6 route add NET6 dev eth1 table 7; ip -6 rule add pref 1 from all lookup 7",
        "foreign_mac",
        "the server's second interface",
        "ip -4 rule del pref 1; ip -6 rule del pref 1",
    ),
];

/// The commands of a fault in a deployment.
fn commands(text: &str, deployment: &Deployment) -> String {
    let [vip4, vip6] = deployment.vips() else { panic!("both families") };
    let [rip4, rip6] = [vip4, vip6].map(|vip| deployment.rips_of(*vip)[0].to_string());
    let network = format!("{}::/64", vip6.to_string().split_once("::").unwrap().0);
    let chain = |hook: &str, rules: &str| {
        let rules = rules.replace("; ", "\n");
        format!(
            "nft -f - <<'END'\ntable inet fault {{\nchain c {{\ntype filter hook {hook}\n{rules}\n}}\n}}\nEND"
        )
    };
    let text = match text.split_once(' ') {
        Some(("INPUT", rules)) => chain("input priority -10", rules),
        Some(("PREROUTING", rules)) => chain("prerouting priority -300", rules),
        _ => text.to_owned(),
    };
    let words = [
        ("VIP4", vip4.to_string()),
        ("VIP6", vip6.to_string()),
        ("RIP4", rip4),
        ("RIP6", rip6),
        ("NET6", network),
    ];
    words.iter().fold(text, |text, (word, value)| text.replace(word, value))
}

fn every_fault_has_its_cause_and_remedy(backend: &str) {
    let deployment = Deployment::reference().with_ipv6();
    let mut peers = Peers::start(&deployment);
    join(&deployment.real[0], ("eth1", Ipv4Addr::new(192, 168, 195, 172)), (&deployment.switch, "real1b"), 1);
    deployment.real[0].run("sysctl -qw net.ipv6.conf.eth1.disable_ipv6=0");
    deployment.real[0].run("ip address add 2001:db8:168:195::172/64 dev eth1 nodad");
    // The second interface answers no ARP for the first one's addresses.
    deployment.real[0].run("sysctl -qw net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2");
    let checks = format!("[[service.check]]\ntype = \"tcp\"\n{FAST}");
    let (director, client) = start(&deployment, &config(backend, &deployment, WEB, &checks));
    let real = &deployment.real[0];
    wait_for(&client, 2, "up", None);
    for Fault(makes, cause, remedy, mends) in &FAULTS {
        real.run(&commands(makes, &deployment));
        if cause.is_empty() {
            wait_for(&client, 2, "up", None);
            continue;
        }
        assert_cause(&wait_for(&client, 2, "down", Some(cause)), remedy);
        real.run(&commands(mends, &deployment));
        let is_mended = !["vip_missing", "vip_missing_and_routed"].contains(cause);
        if is_mended {
            wait_for(&client, 2, "up", None);
        }
    }
    peers.nginx[0].stop();
    assert_cause(&wait_for(&client, 2, "down", Some("service_down")), "start the service there");
    peers.nginx[0].restart(real);
    wait_for(&client, 2, "up", None);
    deployment.switch.run("ip link set real1 down");
    assert_cause(&wait_for(&client, 2, "down", Some("host_down")), "start the host");
    for family in 0..2 {
        assert_eq!(
            check_of(&client.checks().unwrap(), family, 1).state,
            "up",
            "the other server is not concerned"
        );
    }
    assert!(director.log().contains("cause=\"vip_missing\""), "{}", director.log());
}

fn assert_cause(checks: &Checks, remedy: &str) {
    for family in 0..2 {
        let reason = check_of(checks, family, 0).reason.as_deref().unwrap();
        assert!(reason.contains(remedy), "{reason}");
    }
}

/// Clients that connect again and again, and the moments at which connections began that failed.
fn load(client: &Netns, clients: usize, during: impl FnOnce()) -> (usize, Vec<Instant>) {
    let is_over = AtomicBool::new(false);
    let one = || {
        let (mut opened, mut failed) = (0, Vec::new());
        client.enter(|| {
            while !is_over.load(Ordering::Relaxed) {
                let began = Instant::now();
                match TcpStream::connect_timeout(&(VIP, ECHO).into(), Duration::from_secs(2)) {
                    Ok(_) => opened += 1,
                    Err(_) => failed.push(began),
                }
                std::thread::sleep(Duration::from_millis(200));
            }
        });
        (opened, failed)
    };
    std::thread::scope(|scope| {
        let all: Vec<_> = (0..clients).map(|_| scope.spawn(one)).collect();
        let during = std::panic::catch_unwind(std::panic::AssertUnwindSafe(during)); // the clients end in any case
        is_over.store(true, Ordering::Relaxed);
        let ends = all.into_iter().map(|client| client.join().unwrap());
        let sum = ends
            .fold((0, Vec::new()), |(opened, all), (more, failed)| (opened + more, [all, failed].concat()));
        during.unwrap();
        sum
    })
}

/// With the default times. A check of the RIP beside it sees nothing of the fault.
fn a_server_that_loses_its_vip_fails_few_clients(backend: &str) {
    const DETECTION: Duration = Duration::from_millis(5_400);
    const ADOPTION: Duration = Duration::from_millis(500);
    let deployment = Deployment::reference();
    let _peers = Peers::start(&deployment);
    let checks = "[[service.check]]\ntype = \"tcp\"\n";
    let of_rip = "[[service.check]]\ntype = \"http\"\ntarget = \"rip\"\n";
    let web = config(backend, &deployment, WEB, of_rip);
    let services = web.split_once("[[service]]").unwrap().1;
    let text = format!("{}[[service]]{services}", config(backend, &deployment, ECHO, checks));
    let (_director, client) = start(&deployment, &text);
    wait_until("both up", PATIENCE, || {
        let checks = client.checks().unwrap();
        checks.services.iter().flat_map(|of| &of.servers).all(|server| server.checks[0].state == "up")
    });
    let lost = Instant::now();
    let mut down = lost;
    let (opened, failed) = load(&deployment.client, 100, || {
        deployment.real[0].run(&format!("ip address del {VIP}/32 dev lo"));
        wait_for(&client, 1, "down", Some("vip_missing"));
        down = Instant::now();
        std::thread::sleep(Duration::from_secs(3));
    });
    eprintln!("{opened} connections opened, {} failed; down after {:?}", failed.len(), down - lost);
    assert!(!failed.is_empty() && opened > failed.len(), "{opened} opened, {} failed", failed.len());
    // The workers adopt the state soon after the listing shows it.
    let late: Vec<_> =
        failed.iter().filter_map(|began| began.checked_duration_since(down + ADOPTION)).collect();
    assert!(late.is_empty(), "clients were sent to the server so long after it was down: {late:?}");
    assert!(down - lost < DETECTION + Duration::from_secs(2), "{:?}", down - lost);
    let checks = client.checks().unwrap();
    assert_eq!(check_of(&checks, 1, 0).state, "up", "the RIP answers all the time");
    deployment.real[0].run(&format!("ip address add {VIP}/32 dev lo"));
    wait_until("the server is back", Duration::from_secs(20), || {
        let opened: Vec<_> = (0..4).map(|_| EchoConnection::open(&deployment.client)).collect();
        opened.iter().any(|connection| connection.server == NAMES[0])
    });
}

fn the_first_check_of_the_vip_comes_by_a_reload(backend: &str) {
    let deployment = Deployment::reference();
    let _peers = Peers::start(&deployment);
    let check = |target: &str| format!("[[service.check]]\ntype = \"tcp\"\ntarget = {target:?}\n{FAST}");
    let text = |target: &str| config(backend, &deployment, WEB, &check(target));
    let (director, client) = start(&deployment, &text("rip"));
    let programs = || {
        let of = |hook| SchedClassifier::query_tcx("eth0", hook).unwrap().1;
        let hooks = [TcAttachType::Ingress, TcAttachType::Egress];
        let names =
            |hook| of(hook).iter().filter_map(|one| one.name_as_str().map(str::to_owned)).collect::<Vec<_>>();
        deployment.director.enter(|| hooks.map(names).concat())
    };
    let translating = |programs: &[String]| programs.iter().filter(|name| name.contains("_vip")).count();
    let idle = programs();
    assert_eq!(
        (idle.iter().filter(|name| *name == "probe_idle").count(), translating(&idle)),
        (2, 0),
        "{idle:?}"
    );
    let states = || {
        client.checks().unwrap().services[0].servers[1]
            .checks
            .iter()
            .map(|check| check.state.clone())
            .collect::<Vec<_>>()
    };
    // Of the service, and of one server alone.
    let own = config(backend, &deployment, WEB, "").replacen(
        "[[service.server]]\n",
        &format!("{}[[service.server]]\n", check("rip")),
        1,
    );
    let own = own + &check("vip").replace("service.check", "service.server.check");
    for both in [text("both"), own] {
        director.write_config(&both);
        let (status, printed) = director.cli_with_input("reload", "");
        assert_eq!(status, Some(0), "{printed}");
        assert_eq!(translating(&programs()), 2, "{:?}", programs());
        wait_until("the VIP is checked, too", PATIENCE, || states() == ["up", "up"]);
        director.write_config(&text("rip"));
        director.cli_with_input("reload", "");
        assert_eq!(programs(), idle);
        wait_until("the RIP alone is checked", PATIENCE, || states() == ["up"]);
    }
    director.end(Signal::SIGKILL);
    wait_until("the programs are gone", PATIENCE, || programs().is_empty());
}

/// The director has no file descriptor for probes for a while; it is stopped for longer than servers may be silent, then
/// its thread of the checks alone.
fn trouble_of_the_director_takes_no_server_down(backend: &str) {
    let deployment = Deployment::reference().with_ipv6();
    let _peers = Peers::start(&deployment);
    let checks = format!("[[service.check]]\ntype = \"tcp\"\ntarget = \"both\"\n{FAST}");
    let (director, client) = start(&deployment, &config(backend, &deployment, WEB, &checks));
    wait_for(&client, 2, "up", None);
    let limit = |files: u32| {
        let (pid, limit) = (director.pid(), format!("--nofile={files}:1024"));
        let status = std::process::Command::new("prlimit").args(["--pid", &pid.to_string(), &limit]).status();
        assert!(status.unwrap().success());
    };
    limit(3);
    wait_until("checks find nothing out", PATIENCE, || director.logged("health check finds nothing out") > 0);
    limit(1024);
    wait_until("checks have results again", PATIENCE, || {
        director.logged("health check has results again") > 0
    });
    let pid = Pid::from_raw(director.pid().cast_signed());
    kill(pid, Signal::SIGSTOP).unwrap();
    std::thread::sleep(Duration::from_secs(3));
    kill(pid, Signal::SIGCONT).unwrap();
    std::thread::sleep(Duration::from_secs(2));
    let stopped = StoppedThread::stop(director.pid(), "health");
    assert_that_clients_connect_for(Duration::from_secs(3), &deployment.client);
    drop(stopped);
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(director.logged("health check is down"), 0, "{}", director.log());
    for service in client.checks().unwrap().services {
        assert!(service.servers.iter().all(|server| !server.out), "{service:?}");
        assert!(service.servers.iter().flat_map(|server| &server.checks).all(|check| check.state == "up"));
    }
}

/// Clients that ask for the MAC address of the VIP each time.
fn assert_that_clients_connect_for(span: Duration, client: &Netns) {
    let end = Instant::now() + span;
    while Instant::now() < end {
        client.run("ip neighbor flush dev eth0");
        let connected = client.enter(|| TcpStream::connect_timeout(&(VIP, WEB).into(), PATIENCE));
        assert!(connected.is_ok(), "{connected:?}");
        std::thread::sleep(Duration::from_millis(200));
    }
}
