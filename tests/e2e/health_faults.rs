//! Every kind of health check under every fault of a real server, of the VIP and of the RIP, in both families: its state,
//! its cause, new connections meanwhile and afterwards, and the times of detection.
//!
//! Each kind has a service of its own for each target and family. A fault is made at real1 for all of them at once. No host
//! has a resolver: the names of hosts in checks are never looked up.

use crate::deployment::{Deployment, VIP, VIP6, VIPS};
use crate::director::{Config, Director, Home};
use crate::health_servers::Servers;
use crate::on_both_backends;
use crate::support::certificates::{Authority, Issued};
use directrix::control::api::checks::{Check, Checks};
use directrix::control::client::Blocking;
use nix::sys::signal::Signal;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrStorage, connect, socket};
use std::fs::{self, Permissions};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

on_both_backends! {
    each_kind_of_check_finds_each_fault_and_its_end
}

/// Names of the kinds, and their keys. HOME stands for a directory.
const KINDS: [(&str, &str); 11] = [
    ("tcp", "type = \"tcp\"\nport = 8080\n"),
    ("http", "type = \"http\"\nport = 8080\nbody = \"alive\"\n"),
    (
        "https",
        "type = \"https\"\nport = 443\nhost = \"www.example.org\"\nca = \"HOME/ca.pem\"\nbody = \"alive\"\n",
    ),
    ("dns", "type = \"dns\"\nport = 53\nname = \"www.test\"\n"),
    ("dns over tcp", "type = \"dns\"\nport = 53\nname = \"www.test\"\ntransport = \"tcp\"\n"),
    // A query for the same name; any datagram is a good answer.
    (
        "udp",
        "type = \"udp\"\nport = 53\npayload = \"0001010000010000000000000377777704746573740000010001\"\n",
    ),
    ("ping", "type = \"ping\"\n"),
    ("smtp", "type = \"smtp\"\nport = 25\n"),
    ("script", "type = \"script\"\ncommand = [\"HOME/check\"]\n"),
    ("file", "type = \"file\"\npath = \"HOME/maintenance-{rip}\"\ngood = \"absent\"\n"),
    ("external", "type = \"external\"\nname = \"db\"\nmax_age = 3600\n"),
];
/// Kinds without a target.
const LOCAL: [&str; 3] = ["script", "file", "external"];
const NETWORK: [&str; 8] = ["tcp", "http", "https", "dns", "dns over tcp", "udp", "ping", "smtp"];

const SCRIPT: &str = "#!/bin/sh
case $RIP in *:*) host=\"[$RIP]\" ;; *) host=$RIP ;; esac
exec curl -sSg --fail --max-time 0.25 -o /dev/null \"http://$host:8080/\"
";

/// Checks that go down under a fault: their kinds, the cause, and a part of the sentence.
struct Down(&'static [&'static str], &'static str, &'static str);

/// A fault of real1.
struct Fault {
    name: &'static str,
    begin: fn(&mut Site),
    end: fn(&mut Site),
    /// All others stay up.
    down: &'static [Down],
    reach: Reach,
}

/// Part of real1 that still works under a fault.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// Checks of VIP and RIP fail.
    Host,
    /// Only checks of the VIP fail.
    Rip,
    /// The director finds no station: no service has new connections for it.
    Nothing,
}

const FAULTS: [Fault; 10] = [
    Fault {
        name: "servers ended",
        begin: |site| site.stop(),
        end: |site| site.launch(),
        down: &[
            Down(
                &["tcp", "http", "https", "dns", "dns over tcp", "udp", "smtp"],
                "service_down",
                "start the service there",
            ),
            Down(&["script"], "wrong_answer", "the script ended with status 7"),
            Down(&["file"], "wrong_answer", " is there"),
            Down(&["external"], "wrong_answer", "reported as down: ended"),
        ],
        reach: Reach::Host,
    },
    Fault {
        name: "packets dropped",
        begin: |site| site.filter(DROP),
        end: |site| site.unfilter(),
        down: &[
            Down(&NETWORK, "silent", "does not answer: see whether the host runs"),
            Down(&["script"], "wrong_answer", "the script ended with status 28"),
        ],
        reach: Reach::Host,
    },
    Fault {
        name: "packets refused by a firewall",
        begin: |site| site.filter(&DROP.replace("drop", "reject with icmpx admin-prohibited")),
        end: |site| site.unfilter(),
        down: &[
            Down(&NETWORK, "rejected", "firewall"),
            Down(&["script"], "wrong_answer", "the script ended with status "),
        ],
        reach: Reach::Host,
    },
    Fault {
        name: "VIP missing",
        begin: |site| {
            site.run(&format!("ip address del {VIP}/32 dev lo && ip address del {VIP6}/128 dev lo"))
        },
        end: |site| {
            site.run(&format!(
                "ip address add {VIP}/32 dev lo && ip address add {VIP6}/128 dev lo preferred_lft 0"
            ))
        },
        down: &[Down(&NETWORK, "vip_missing", "there: ip address add ")],
        reach: Reach::Rip,
    },
    Fault {
        name: "connections accepted, no answer",
        begin: |site| site.servers[0].signal(Signal::SIGSTOP),
        end: |site| site.servers[0].signal(Signal::SIGCONT),
        down: &[
            Down(
                &["http", "https", "dns over tcp", "smtp"],
                "wrong_answer",
                "connected, but no whole answer within the timeout",
            ),
            Down(&["dns", "udp"], "silent", "does not answer"),
            Down(&["script"], "wrong_answer", "the script ended with status 28"),
        ],
        reach: Reach::Host,
    },
    Fault {
        name: "connections reset",
        begin: |site| site.filter(RESET),
        end: |site| site.unfilter(),
        down: &[
            Down(
                &["http", "https", "dns over tcp", "smtp"],
                "wrong_answer",
                "the connection ended before the answer",
            ),
            Down(&["script"], "wrong_answer", "the script ended with status 56"),
        ],
        reach: Reach::Host,
    },
    Fault {
        name: "answers wrong",
        begin: |site| site.servers[0].set("broken", true),
        end: |site| site.servers[0].set("broken", false),
        down: &[
            Down(&["http"], "wrong_answer", "HTTP status 503"),
            Down(&["https"], "wrong_answer", "the expected text is not in the body, which begins \"broken"),
            Down(&["dns", "dns over tcp"], "wrong_answer", "the DNS answer is NXDOMAIN, not NOERROR"),
            Down(&["smtp"], "wrong_answer", "the reply to EHLO is \"450 4.3.2 not now\", not 250"),
            Down(&["script"], "wrong_answer", "the script ended with status 22"),
        ],
        reach: Reach::Host,
    },
    Fault {
        name: "answers slow",
        begin: |site| site.servers[0].set("slow", true),
        end: |site| site.servers[0].set("slow", false),
        down: &[
            Down(
                &["http", "https", "smtp"],
                "wrong_answer",
                "connected, but no whole answer within the timeout",
            ),
            Down(&["script"], "wrong_answer", "the script ended with status 28"),
        ],
        reach: Reach::Host,
    },
    Fault {
        name: "certificate expired",
        begin: |site| site.servers[0].set_certificate(&site.certificates[1]),
        end: |site| site.servers[0].set_certificate(&site.certificates[0]),
        down: &[Down(&["https"], "certificate", "the certificate expired")],
        reach: Reach::Host,
    },
    Fault {
        name: "cable cut",
        begin: |site| drop(site.deployment.switch.run("ip link set real1 down")),
        end: |site| drop(site.deployment.switch.run("ip link set real1 up")),
        down: &[
            Down(&NETWORK, "host_down", "start the host"),
            Down(&["script"], "wrong_answer", "the script ended with status "),
        ],
        reach: Reach::Nothing,
    },
];

const DROP: &str = "tcp dport { 25, 53, 443, 8080 } drop
    udp dport 53 drop
    icmp type echo-request drop
    icmpv6 type echo-request drop";
/// The connection stands, and the first data is answered by a reset.
const RESET: &str = "tcp dport { 25, 53, 443, 8080 } tcp flags & psh == psh reject with tcp reset";

impl Fault {
    /// The failure of a kind of check of the VIP or of the RIP, if it goes down.
    fn failure(&self, place: &Place) -> Option<&Down> {
        let is_spared = self.reach == Reach::Rip && place.target == "rip";
        self.down.iter().filter(|_| !is_spared).find(|down| down.0.contains(&place.kind))
    }
}

/// Times of the checks.
#[derive(Clone, Copy)]
struct Pace {
    keys: &'static str,
    /// In milliseconds. A millisecond more or less makes other checks, without a past.
    timeout: u32,
    patience: Duration,
}

const INTERVAL: Duration = Duration::from_millis(400);
const FAST: Pace = Pace {
    keys: "interval = 0.4\nfall = 2\nrise = 1\ndown_interval = 0.4\n",
    timeout: 390,
    patience: Duration::from_secs(30),
};
/// Those of a check without keys of its own.
const DEFAULT: Pace = Pace { keys: "", timeout: 1_000, patience: Duration::from_secs(60) };

/// A service with one check.
struct Place {
    kind: &'static str,
    target: &'static str,
    keys: &'static str,
    service: SocketAddr,
}

/// Services for each kind, target and family.
fn places() -> Vec<Place> {
    let of_kind = |(kind, keys): &'static (&str, &str)| {
        let targets = if LOCAL.contains(kind) { &[""][..] } else { &["vip", "rip"] };
        targets.iter().flat_map(move |target| VIPS.map(|vip| (*kind, *target, *keys, vip)))
    };
    let numbered = KINDS.iter().flat_map(of_kind).zip(1_000..);
    numbered
        .map(|((kind, target, keys, vip), port)| Place { kind, target, keys, service: (vip, port).into() })
        .collect()
}

/// Changes of checks: the shortest and the longest time to one.
#[derive(Debug)]
struct Spans {
    shortest: Duration,
    longest: Duration,
}

struct Site {
    backend: &'static str,
    pace: Pace,
    /// Number of the configuration.
    version: u32,
    places: Vec<Place>,
    deployment: Deployment,
    servers: [Servers; 2],
    /// A valid one, and one that has expired.
    certificates: [Issued; 2],
    _authority: Authority,
    home: Home,
    director: Director,
    client: Blocking,
}

impl Site {
    /// A director whose checks have found everything up.
    fn start(backend: &'static str, pace: Pace) -> Self {
        let (deployment, authority, home) =
            (Deployment::reference().with_ipv6(), Authority::new(), Home::new());
        let certificates = ["20480101000000Z", "20200201000000Z"]
            .map(|end| authority.issue("www.example.org", ("20200101000000Z", end)));
        let servers = [0, 1].map(|server| Servers::start(&deployment.real[server], &certificates[0]));
        for real in &deployment.real {
            // A host sends one ICMP error a second to each other; probes in between would find silence.
            real.run("sysctl -qw net.ipv4.icmp_ratelimit=0 net.ipv6.icmp.ratelimit=0");
        }
        deployment.director.run("sysctl -qw net.ipv4.ping_group_range='0 2147483647'");
        fs::copy(authority.certificate(), home.path().join("ca.pem")).unwrap();
        fs::write(home.path().join("check"), SCRIPT).unwrap();
        fs::set_permissions(home.path().join("check"), Permissions::from_mode(0o755)).unwrap();
        let places = places();
        let text = config(&deployment, &places, &home, (backend, pace, 0));
        let director = Director::start_in(home.clone(), &deployment.director, &text);
        let client = director.client();
        let site = Self {
            backend,
            pace,
            version: 0,
            places,
            deployment,
            servers,
            certificates,
            _authority: authority,
            home,
            director,
            client,
        };
        site.report("up");
        site.wait_for(None);
        site
    }

    fn run(&self, command: &str) {
        self.deployment.real[0].run(command);
    }

    fn filter(&self, rules: &str) {
        self.run(&format!(
            "nft -f - <<'END'\ntable inet fault {{\nchain c {{\ntype filter hook input priority -10\n{rules}\n}}\n}}\nEND"
        ));
    }

    fn unfilter(&self) {
        self.run("nft delete table inet fault");
    }

    /// Ends the programs of real1, and says so by a file and by a report.
    fn stop(&mut self) {
        self.servers[0].stop();
        for vip in VIPS {
            fs::write(self.maintenance(vip), "").unwrap();
        }
        self.report("down --reason ended");
    }

    fn launch(&mut self) {
        for vip in VIPS {
            fs::remove_file(self.maintenance(vip)).unwrap();
        }
        self.report("up");
        self.servers[0].launch(&self.deployment.real[0]);
    }

    fn maintenance(&self, vip: IpAddr) -> std::path::PathBuf {
        self.home.path().join(format!("maintenance-{}", self.deployment.rips_of(vip)[0]))
    }

    /// Reports a result for real1; of real2, too, if it is up.
    fn report(&self, result: &str) {
        let servers = if result == "up" { 2 } else { 1 };
        for rip in VIPS.iter().flat_map(|vip| self.deployment.rips_of(*vip).into_iter().take(servers)) {
            self.director.cli(&format!("health report {rip} db {result}"));
        }
    }

    /// Replaces every check by one without a past, and waits until all are up.
    fn renew(&mut self) {
        self.version += 1;
        let variant = (self.backend, self.pace, self.version);
        let text = config(&self.deployment, &self.places, &self.home, variant);
        self.director.write_config(&text);
        self.director.change("reload");
        self.wait_for(None);
    }

    /// Makes a fault and its end, and waits for what follows from each.
    fn walk(&mut self, fault: &Fault) -> [Spans; 2] {
        let began = Instant::now();
        (fault.begin)(self);
        let down = self.wait_for(Some(fault));
        self.assert_connections(Some(fault));
        let ended = Instant::now();
        (fault.end)(self);
        let up = self.wait_for(None);
        self.assert_connections(None);
        [self.spans(fault, &down, began), self.spans(fault, &up, ended)]
    }

    /// Times from `since` to the latest change of each check of real1 that the fault concerns.
    fn spans(&self, fault: &Fault, (checks, answered): &(Checks, Instant), since: Instant) -> Spans {
        let places = self.places.iter().filter(|place| fault.failure(place).is_some());
        let changed = places.map(|place| {
            let age = Duration::from_millis(self.check(checks, place, 0).0.since_ms.into());
            answered.duration_since(since).saturating_sub(age)
        });
        let changed: Vec<_> = changed.collect();
        Spans { shortest: *changed.iter().min().unwrap(), longest: *changed.iter().max().unwrap() }
    }

    /// The check of a server, and whether the server is out.
    fn check<'a>(&self, checks: &'a Checks, place: &Place, server: usize) -> (&'a Check, bool) {
        let rip = self.deployment.rips_of(place.service.ip())[server];
        let is_ours = |address: SocketAddr| address == place.service;
        let service =
            checks.services.iter().find(|of| of.identity.address().is_some_and(|of| is_ours(of.address)));
        let server = service.unwrap().servers.iter().find(|of| of.address == rip).unwrap();
        (&server.checks[0], server.out)
    }

    /// Waits until every check is in the state that follows from the fault of real1, or up without one.
    #[track_caller]
    fn wait_for(&self, fault: Option<&Fault>) -> (Checks, Instant) {
        let mut last = None;
        let name = fault.map_or("no fault", |fault| fault.name);
        self.until_none(name, || {
            let checks = serde_json::from_str(&self.director.cli("health --json")).unwrap();
            let differences = self.differences(&checks, fault);
            last = Some((checks, Instant::now()));
            differences
        });
        last.unwrap()
    }

    fn differences(&self, checks: &Checks, fault: Option<&Fault>) -> Vec<String> {
        let mut found = Vec::new();
        for (place, server) in self.places.iter().flat_map(|place| [(place, 0), (place, 1)]) {
            let (check, out) = self.check(checks, place, server);
            let failure = fault.filter(|_| server == 0).and_then(|fault| fault.failure(place));
            let is_so = match failure {
                None => check.state == "up" && !out,
                Some(Down(_, cause, sentence)) => {
                    let reason = check.reason.as_deref().unwrap_or_default();
                    let explains = check.cause.as_deref() == Some(*cause) && reason.contains(sentence);
                    check.state == "down" && out && explains
                }
            };
            if !is_so {
                found.push(format!(
                    "{} {} real{} out {out}: {check:?}",
                    place.kind,
                    place.target,
                    server + 1
                ));
            }
        }
        found
    }

    /// Polls until `differences` finds none; panics with the last ones.
    #[track_caller]
    fn until_none(&self, what: &str, mut differences: impl FnMut() -> Vec<String>) {
        let end = Instant::now() + self.pace.patience;
        loop {
            let found = differences();
            if found.is_empty() {
                return;
            }
            assert!(Instant::now() < end, "{what}: {} differences:\n{}", found.len(), found.join("\n"));
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Asserts that new connections of each service get real2, and real1 unless it is out.
    #[track_caller]
    fn assert_connections(&self, fault: Option<&Fault>) {
        let name = fault.map_or("no fault", |fault| fault.name);
        self.until_none(&format!("new connections, {name}"), || {
            let before = self.connections();
            let _sockets = self.connect();
            let all = || {
                self.connections().into_iter().zip(&before).map(|(of, was)| [0, 1].map(|i| of[i] - was[i]))
            };
            let end = Instant::now() + Duration::from_secs(1);
            while all().any(|of| of[0] + of[1] < CONNECTIONS) && Instant::now() < end {
                std::thread::sleep(Duration::from_millis(10));
            }
            let is_out = |place| {
                fault.is_some_and(|fault| fault.reach == Reach::Nothing || fault.failure(place).is_some())
            };
            let wrong = |of: [u64; 2], place| of[1] == 0 || (of[0] == 0) != is_out(place);
            let found = all().zip(&self.places).filter(|(of, place)| wrong(*of, place));
            found.map(|(of, place)| format!("{} {}: {of:?}", place.kind, place.target)).collect()
        });
    }

    /// Connections of each server in each service, ever.
    fn connections(&self) -> Vec<[u64; 2]> {
        let services = self.client.services().unwrap().services;
        let of = |place: &Place| {
            let is_ours = |address: SocketAddr| address == place.service;
            let service =
                services.iter().find(|of| of.identity.address().is_some_and(|of| is_ours(of.address)));
            self.deployment.rips_of(place.service.ip()).map(|rip| {
                let servers = &service.unwrap().servers;
                servers.iter().find(|of| of.address.ip() == rip).unwrap().stats.connections
            })
        };
        self.places.iter().map(of).collect()
    }

    /// Sends SYNs to each service. Nothing listens there, and none needs an answer.
    fn connect(&self) -> Vec<OwnedFd> {
        let one = |to: SocketAddr| {
            let family = if to.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
            let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
            let socket = socket(family, SockType::Stream, flags, None).unwrap();
            let _ = connect(socket.as_raw_fd(), &SockaddrStorage::from(to)); // in progress, or refused
            socket
        };
        let each = self.places.iter().flat_map(|place| (0..CONNECTIONS).map(move |_| place.service));
        self.deployment.client.enter(|| each.map(one).collect())
    }

    /// Asserts that the way back up is longer after each further change to down.
    fn assert_that_flaps_are_damped(&mut self) {
        let dropped = FAULTS.iter().find(|fault| fault.name == "packets dropped").unwrap();
        for round in 1..=3 {
            (dropped.begin)(self);
            self.wait_for(Some(dropped));
            let ended = Instant::now();
            (dropped.end)(self);
            let up = self.wait_for(None);
            let of_fault = self.places.iter().filter(|place| dropped.failure(place).is_some());
            for check in of_fault.map(|place| self.check(&up.0, place, 0).0) {
                assert!(check.downs >= round, "{check:?}");
            }
            // A success is needed, then two, then four.
            let Spans { shortest, .. } = self.spans(dropped, &up, ended);
            let least = INTERVAL * ((1 << (round - 1)) - 1);
            assert!(shortest >= least, "up again after {shortest:?}, at least {least:?} are due");
        }
    }
}

/// New connections of each service at a time.
const CONNECTIONS: u64 = 3;

/// Times of the checks of a target. Equal checks of several services are one: with another timeout, none of the RIP
/// explains one of the VIP.
fn times(pace: Pace, version: u32, target: &str) -> String {
    let timeout = pace.timeout - 2 * version - u32::from(target == "rip");
    format!("{}timeout = {}\n", pace.keys, f64::from(timeout) / 1000.0)
}

fn config(
    deployment: &Deployment,
    places: &[Place],
    home: &Home,
    (backend, pace, version): (&str, Pace, u32),
) -> String {
    let config = Config { weights: [1, 1], ..Config::new(backend) };
    let service = |Place { target, keys, service, .. }: &Place| {
        let keys = keys.replace("HOME", &home.path().display().to_string()) + &times(pace, version, target);
        let target = if target.is_empty() { String::new() } else { format!("target = {target:?}\n") };
        let header = format!(
            "scheduler = \"rr\"\npanic = 0\npassive = \"off\"\n[[service.check]]\n{target}{keys}[[service.server]]"
        );
        config.service(deployment, "tcp", *service).replacen("[[service.server]]", &header, 1)
    };
    let services: String = places.iter().map(service).collect();
    format!("[director]\ninterface = \"eth0\"\n{}{services}", config.director)
}

fn each_kind_of_check_finds_each_fault_and_its_end(backend: &'static str) {
    let start = Instant::now();
    let mut site = Site::start(backend, FAST);
    println!("started after {:?}", start.elapsed());
    for fault in &FAULTS {
        println!("{}: {:?}, at {:?}", fault.name, site.walk(fault), start.elapsed());
        site.renew();
    }
    site.assert_that_flaps_are_damped();
    println!("ended after {:?}", start.elapsed());
}

/// Prints the table of docs/health.md.
#[test]
#[ignore = "measures for minutes; the tests above assert the same"]
fn detection_times() {
    let mut site = Site::start("xdp", DEFAULT);
    println!("| fault of the real server | down after | up after |\n|---|---|---|");
    for fault in &FAULTS {
        let [down, up] = site.walk(fault).map(|Spans { shortest, longest }| {
            format!("{:.1} to {:.1} s", shortest.as_secs_f64(), longest.as_secs_f64())
        });
        println!("| {} | {down} | {up} |", fault.name);
        site.renew();
    }
}
