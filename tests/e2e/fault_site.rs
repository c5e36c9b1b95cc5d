//! Faults of a real server, and a director that checks it by every kind of check.

use crate::deployment::{Deployment, VIPS};
use crate::director::{Config, Director, Home};
use crate::health_servers::Servers;
use crate::support::certificates::{Authority, Issued};
use directrix::control::api::checks::{Check, Checks};
use directrix::control::client::Blocking;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrStorage, connect, socket};
use std::fs::{self, Permissions};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

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

const SCRIPT: &str = "#!/bin/sh
case $RIP in *:*) host=\"[$RIP]\" ;; *) host=$RIP ;; esac
exec curl -sSg --fail --max-time 0.25 -o /dev/null \"http://$host:8080/\"
";

/// New connections of each service at a time.
const CONNECTIONS: u64 = 3;

/// Checks that go down under a fault: their kinds, the cause, and a part of the sentence.
pub(crate) struct Down(pub(crate) &'static [&'static str], pub(crate) &'static str, pub(crate) &'static str);

/// A fault of real1.
pub(crate) struct Fault {
    pub(crate) name: &'static str,
    pub(crate) begin: fn(&mut Site),
    pub(crate) end: fn(&mut Site),
    /// All others stay up.
    pub(crate) down: &'static [Down],
    pub(crate) reach: Reach,
}

/// Part of real1 that still works under a fault.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Checks of VIP and RIP fail.
    Host,
    /// Only checks of the VIP fail.
    Rip,
    /// The director finds no station: no service has new connections for it.
    Nothing,
}

impl Fault {
    /// The failure of a kind of check of the VIP or of the RIP, if it goes down.
    pub(crate) fn failure(&self, place: &Place) -> Option<&Down> {
        let is_spared = self.reach == Reach::Rip && place.target == "rip";
        self.down.iter().filter(|_| !is_spared).find(|down| down.0.contains(&place.kind))
    }
}

/// Times of the checks.
#[derive(Clone, Copy)]
pub(crate) struct Pace {
    keys: &'static str,
    /// In milliseconds. A millisecond more or less makes other checks, without a past.
    timeout: u32,
    patience: Duration,
}

pub(crate) const INTERVAL: Duration = Duration::from_millis(400);
pub(crate) const FAST: Pace = Pace {
    keys: "interval = 0.4\nfall = 2\nrise = 1\ndown_interval = 0.4\n",
    timeout: 390,
    patience: Duration::from_secs(30),
};
/// Those of a check without keys of its own.
pub(crate) const DEFAULT: Pace = Pace { keys: "", timeout: 1_000, patience: Duration::from_secs(60) };

/// A service with one check.
pub(crate) struct Place {
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
pub(crate) struct Spans {
    pub(crate) shortest: Duration,
    pub(crate) longest: Duration,
}

pub(crate) struct Site {
    backend: &'static str,
    pace: Pace,
    /// Number of the configuration.
    version: u32,
    pub(crate) places: Vec<Place>,
    pub(crate) deployment: Deployment,
    pub(crate) servers: [Servers; 2],
    /// A valid one, and one that has expired.
    pub(crate) certificates: [Issued; 2],
    _authority: Authority,
    home: Home,
    director: Director,
    client: Blocking,
}

impl Site {
    /// A director whose checks have found everything up.
    pub(crate) fn start(backend: &'static str, pace: Pace) -> Self {
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

    pub(crate) fn run(&self, command: &str) {
        self.deployment.real[0].run(command);
    }

    pub(crate) fn filter(&self, rules: &str) {
        self.run(&format!(
            "nft -f - <<'END'\ntable inet fault {{\nchain c {{\ntype filter hook input priority -10\n{rules}\n}}\n}}\nEND"
        ));
    }

    pub(crate) fn unfilter(&self) {
        self.run("nft delete table inet fault");
    }

    /// Ends the programs of real1, and says so by a file and by a report.
    pub(crate) fn stop(&mut self) {
        self.servers[0].stop();
        for vip in VIPS {
            fs::write(self.maintenance(vip), "").unwrap();
        }
        self.report("down --reason ended");
    }

    pub(crate) fn launch(&mut self) {
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
    pub(crate) fn renew(&mut self) {
        self.version += 1;
        let variant = (self.backend, self.pace, self.version);
        let text = config(&self.deployment, &self.places, &self.home, variant);
        self.director.write_config(&text);
        self.director.change("reload");
        self.wait_for(None);
    }

    /// Makes a fault and its end, and waits for what follows from each.
    pub(crate) fn walk(&mut self, fault: &Fault) -> [Spans; 2] {
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
    pub(crate) fn spans(
        &self,
        fault: &Fault,
        (checks, answered): &(Checks, Instant),
        since: Instant,
    ) -> Spans {
        let places = self.places.iter().filter(|place| fault.failure(place).is_some());
        let changed = places.map(|place| {
            let age = Duration::from_millis(self.check(checks, place, 0).0.since_ms.into());
            answered.duration_since(since).saturating_sub(age)
        });
        let changed: Vec<_> = changed.collect();
        Spans { shortest: *changed.iter().min().unwrap(), longest: *changed.iter().max().unwrap() }
    }

    /// The check of a server, and whether the server is out.
    pub(crate) fn check<'a>(&self, checks: &'a Checks, place: &Place, server: usize) -> (&'a Check, bool) {
        let rip = self.deployment.rips_of(place.service.ip())[server];
        let is_ours = |address: SocketAddr| address == place.service;
        let service =
            checks.services.iter().find(|of| of.identity.address().is_some_and(|of| is_ours(of.address)));
        let server = service.unwrap().servers.iter().find(|of| of.address == rip).unwrap();
        (&server.checks[0], server.out)
    }

    /// Waits until every check is in the state that follows from the fault of real1, or up without one.
    #[track_caller]
    pub(crate) fn wait_for(&self, fault: Option<&Fault>) -> (Checks, Instant) {
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
}

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
    // Root refuses scripts.
    format!("[director]\ninterface = \"eth0\"\nuser = \"nobody\"\n{}{services}", config.director)
}
