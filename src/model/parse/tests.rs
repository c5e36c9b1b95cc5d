mod checks;
mod director;
mod files;
mod ha;
mod services;
mod sync;

use super::*;
use crate::model::*;
use crate::time::Span;
use crate::wire::Protocol;
use crate::wire::vlan::Vlans;
use std::net::SocketAddr;

const EXAMPLE: &str = include_str!("../../../tools/directrix.example.toml");

fn check(text: &str) -> Result<Config, Diagnostics> {
    parse(Path::new("d.toml"), text)
}

/// The errors without their file's name: "3: what; remedy".
fn errors(text: &str) -> Vec<String> {
    let lines = match check(text) {
        Ok(_) => String::new(),
        Err(errors) => errors.to_string(),
    };
    lines.lines().map(|line| line.strip_prefix("d.toml:").expect("starts with the file").into()).collect()
}

/// Good lines 1 to 5; `extra` begins on line 3, so lines of the service move down by its length.
fn director(extra: &str) -> String {
    format!(
        "[director]\ninterface = \"eth0\"\n{extra}\n[[service]]\nprotocol = \"tcp\"\naddress = \"10.0.0.1:80\"\n"
    )
}

/// A good `[director]` on lines 1 and 2; `rest` begins on line 3.
fn service(rest: &str) -> String {
    format!("[director]\ninterface = \"eth0\"\n{rest}")
}

/// A good service on lines 1 to 5, a server on line 6; `rest` begins on line 7.
fn server(rest: &str) -> String {
    service(&format!(
        "[[service]]\nprotocol = \"tcp\"\naddress = \"10.0.0.1:80\"\n[[service.server]]\n{rest}"
    ))
}

/// `server` with a good address on line 7; `rest` begins on line 8.
fn located(rest: &str) -> String {
    server(&format!("address = \"10.0.0.2\"\n{rest}"))
}

#[track_caller]
fn refused(text: &str, wanted: &[&str]) {
    assert_eq!(errors(text), wanted, "for this file:\n{text}");
}

#[test]
fn the_least_that_can_be_written_gets_the_defaults() {
    let config = check(&located("")).unwrap();
    let director = DirectorConfig {
        interface: "eth0".into(),
        server_interface: None,
        backend: BackendChoice::Auto,
        workers: WorkerCount::Auto,
        connections: 1_048_576,
        wait: Wait::Adaptive,
        huge_pages: false,
        control_group: None,
        control_others: ControlOthers::Nothing,
        announce_interval: Span::from_secs(60),
        arp_refresh: Span::from_secs(1),
        arp_attempts: 3,
        on_conflict: OnConflict::Standby,
        on_server_claim: OnServerClaim::Exclude,
        audit_interval: Span::from_secs(300),
        peers: Vec::new(),
        metrics: None,
        policy: Policy {
            conn_reuse_mode: ConnReuseMode(1),
            expire_nodest_conn: false,
            expire_quiescent_template: false,
            sloppy_tcp: false,
            sloppy_sctp: false,
            schedule_icmp: false,
            reject: Reject::Icmp,
            ping: Ping::Answer,
        },
        timeouts: Timeouts::default(),
        user: None,
        ha: HaConfig::default(),
        sync: None,
    };
    let address = ServiceAddress { protocol: Protocol::Tcp, address: SocketAddr::from(([10, 0, 0, 1], 80)) };
    let servers = vec![RealServer {
        address: [10, 0, 0, 2].into(),
        weight: Weight(1),
        mac: None,
        upper_threshold: 0,
        lower_threshold: 0,
        checks: Vec::new(),
        role: ServerRole::Regular,
    }];
    let services = vec![VirtualService {
        identity: address.into(),
        group: Vec::new(),
        vlan: Vlans::NONE,
        scheduler: Scheduler::Wlc,
        scheduler_flags: SchedulerFlags { fallback: false, port: false },
        persistence: None,
        one_packet: false,
        slow_start: None,
        checks: Vec::new(),
        panic: 50,
        effects: HealthEffects::default(),
        passive: PassiveMode::Watch,
        servers,
    }];
    let at = |line| Place { file: "d.toml".into(), line };
    let places = Places {
        file: "d.toml".into(),
        director: 1,
        director_keys: [("interface".to_owned(), 2)].into(),
        services: vec![at(5)],
        servers: vec![at(7)],
        included: Vec::new(),
    };
    assert_eq!(config, Config { director, services, marks: Default::default(), places });
}

/// A file in which no key has its default, but for `on_conflict` and `vips`: others are refused beside a role.
const EVERYTHING: &str = r#"
[director]
interface = "eth0"
server_interface = "eth1"
backend = "packet"
workers = 3
connections = 2048
wait = "busy"
huge_pages = true
control_group = "adm"
control_others = "read"
announce_interval = 5
arp_refresh = 7
arp_attempts = 100
on_conflict = "standby"
on_server_claim = "ignore"
audit_interval = 0
peers = ["10.0.0.5", "02:00:00:00:00:05"]
conn_reuse_mode = 3
expire_nodest_conn = true
expire_quiescent_template = true
sloppy_tcp = true
sloppy_sctp = true
schedule_icmp = true
reject = "reset"
ping = "if-healthy"
metrics = "[::1]:9310"
user = "directrix"
timeouts = { tcp = 1, tcpfin = 2147483, udp = 3 }
[ha]
role = "fifo"
fifo = "/run/directrix/vrrp.fifo"
instance = "VI_1"
on_writer_death = "keep"
linger = 7
vips = "claimed"
ready_file = "/run/directrix/ready"
tun = "dx0"
ready_needs_servers = true
keep = "none"
[sync]
interface = "eth2"
group = "239.1.2.3"
port = 8849
ttl = 2
syncid = 51
maxlen = 9000
peers = ["10.0.0.5", "fe80::5"]
unicast = true
direction = "receive"
hello = 5
[[service]]
protocol = "udp"
address = "10.0.0.1:53"
vlan = [100, 10]
scheduler = "sh"
scheduler_flags = ["sh-port", "sh-fallback"]
one_packet = true
server = [
  { address = "10.0.0.3:53", weight = 0, mac = "02:00:00:00:00:03", upper_threshold = 7, lower_threshold = 5 },
  { address = "10.0.0.2", weight = 65535, upper_threshold = 2147483647 },
]
"#;

#[test]
fn everything_that_is_set_arrives() {
    let config = check(EVERYTHING).unwrap();
    let timeouts =
        Timeouts { tcp: Span::from_secs(1), tcp_fin: Span::from_secs(2_147_483), udp: Span::from_secs(3) };
    let director = DirectorConfig {
        interface: "eth0".into(),
        server_interface: Some("eth1".into()),
        backend: BackendChoice::Packet,
        workers: WorkerCount::Count(3),
        connections: 2048,
        wait: Wait::Busy,
        huge_pages: true,
        control_group: Some("adm".into()),
        control_others: ControlOthers::Read,
        announce_interval: Span::from_secs(5),
        arp_refresh: Span::from_secs(7),
        arp_attempts: 100,
        on_conflict: OnConflict::Standby,
        on_server_claim: OnServerClaim::Ignore,
        audit_interval: Span::default(),
        peers: vec![
            PeerAddress::Ip([10, 0, 0, 5].into()),
            PeerAddress::Mac("02:00:00:00:00:05".parse().unwrap()),
        ],
        metrics: Some("[::1]:9310".parse().unwrap()),
        policy: Policy {
            conn_reuse_mode: ConnReuseMode(3),
            expire_nodest_conn: true,
            expire_quiescent_template: true,
            sloppy_tcp: true,
            sloppy_sctp: true,
            schedule_icmp: true,
            reject: Reject::Reset,
            ping: Ping::IfHealthy,
        },
        timeouts,
        user: Some("directrix".into()),
        ha: all_of_ha(),
        sync: Some(all_of_sync()),
    };
    assert_eq!(config.director, director);
    let address = ServiceAddress { protocol: Protocol::Udp, address: SocketAddr::from(([10, 0, 0, 1], 53)) };
    let mac = Some("02:00:00:00:00:03".parse().unwrap());
    let servers = vec![
        RealServer {
            mac,
            upper_threshold: 7,
            lower_threshold: 5,
            ..RealServer::new([10, 0, 0, 3].into(), Weight(0))
        },
        RealServer { upper_threshold: 2_147_483_647, ..RealServer::new([10, 0, 0, 2].into(), Weight(65535)) },
    ];
    let scheduler_flags = SchedulerFlags { fallback: true, port: true };
    let vlan = Vlans::new(&[100, 10]).unwrap();
    let service = VirtualService { vlan, ..VirtualService::new(address, servers) };
    assert_eq!(
        config.services,
        [VirtualService { scheduler: Scheduler::Sh, scheduler_flags, one_packet: true, ..service }]
    );
}

fn all_of_ha() -> HaConfig {
    HaConfig {
        role: RoleSource::Fifo(RoleFifo {
            path: "/run/directrix/vrrp.fifo".into(),
            instance: Some("VI_1".into()),
            on_writer_death: OnWriterDeath::Keep,
        }),
        linger: Span::from_secs(7),
        vips: VipReach::Claimed,
        ready_file: Some("/run/directrix/ready".into()),
        tun: Some("dx0".into()),
        ready_needs_servers: true,
        keep: KeepConnections::None,
    }
}

fn all_of_sync() -> SyncConfig {
    SyncConfig {
        interface: "eth2".into(),
        group: [239, 1, 2, 3].into(),
        port: 8849,
        ttl: 2,
        syncid: 51,
        maxlen: Some(9000),
        peers: vec![[10, 0, 0, 5].into(), "fe80::5".parse().unwrap()],
        unicast: true,
        direction: SyncDirection::Receive,
        hello: Span::from_secs(5),
    }
}

#[test]
fn a_slow_start_is_in_seconds() {
    let text = service("[[service]]\nprotocol = \"tcp\"\naddress = \"10.0.0.1:80\"\nslow_start = 86_400\n");
    assert_eq!(check(&text).unwrap().services[0].slow_start, Some(Span::from_secs(86_400)));
}

#[test]
fn valid_combinations_of_services_and_servers() {
    let text = located(concat!(
        "[[service]]\nprotocol = \"tcp\"\naddress = \"10.0.0.1:443\"\n",
        "[[service]]\nprotocol = \"udp\"\naddress = \"10.0.0.1:80\"\n",
        "[[service.server]]\naddress = \"10.0.0.2\"\nmac = \"02:00:00:00:00:02\"\n",
    ));
    let config = check(&text).unwrap();
    let servers: Vec<_> = config.services.iter().map(|service| service.servers.len()).collect();
    assert_eq!(servers, [1, 0, 1]);
}

#[test]
fn the_example_file_is_right() {
    let config = check(EXAMPLE).unwrap();
    assert_eq!(config.director.server_interface.as_deref(), Some("eth1"));
    let shape: Vec<_> =
        config.services.iter().map(|service| (service.identity.to_string(), service.servers.len())).collect();
    let wanted =
        [("TCP 192.168.195.150:80", 2), ("UDP 192.168.195.150:53", 1), ("TCP 192.168.195.150:443", 3)];
    assert_eq!(shape, wanted.map(|(address, servers)| (address.to_owned(), servers)));
}

/// `# key = value   # …` becomes `key = value   # …`.
fn uncommented(line: &str) -> &str {
    match line.strip_prefix("# ") {
        Some(code) if code.split_once(" = ").is_some_and(|(key, _)| !key.contains(' ')) => code,
        _ => line,
    }
}

#[test]
fn a_saved_file_of_an_earlier_version_is_still_read() {
    let config = check(&director("on_conflict = \"refuse\"")).unwrap();
    assert_eq!(config.director.on_conflict, OnConflict::Standby);
    assert!(config.to_string().contains("on_conflict = \"standby\""));
}

#[test]
fn what_the_example_file_calls_the_defaults_are_the_defaults() {
    let spelled_out: Vec<_> = EXAMPLE.lines().map(uncommented).collect();
    let differing = spelled_out.iter().zip(EXAMPLE.lines()).filter(|(new, old)| *new != old).count();
    assert!(differing > 18, "{differing}");
    let config = |text: &str| check(text).map(|config| Config { places: Places::default(), ..config });
    assert_eq!(config(&spelled_out.join("\n")), config(EXAMPLE));
}

#[test]
fn documented_keys_are_accepted_and_in_the_example() {
    let keys = [
        "interface",
        "server_interface",
        "backend",
        "workers",
        "connections",
        "wait",
        "huge_pages",
        "control_group",
        "control_others",
        "announce_interval",
        "arp_refresh",
        "arp_attempts",
        "on_conflict",
        "on_server_claim",
        "audit_interval",
        "peers",
        "conn_reuse_mode",
        "expire_nodest_conn",
        "expire_quiescent_template",
        "sloppy_tcp",
        "sloppy_sctp",
        "schedule_icmp",
        "reject",
        "ping",
        "metrics",
        "user",
        "tcp",
        "tcpfin",
        "udp",
        "protocol",
        "address",
        "scheduler",
        "scheduler_flags",
        "one_packet",
        "timeout",
        "netmask",
        "slow_start",
        "weight",
        "mac",
        "upper_threshold",
        "lower_threshold",
    ];
    assert!(EXAMPLE.contains("vlan = 100, or") && EXAMPLE.contains("vlan = [100, 10]"), "not a default");
    let lines: Vec<_> = EXAMPLE.lines().map(uncommented).collect();
    for key in keys {
        assert!(lines.iter().any(|line| line.starts_with(&format!("{key} = "))), "{key}");
    }
}
