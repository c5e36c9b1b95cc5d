use super::*;
use crate::model::*;
use crate::time::Span;
use crate::wire::Protocol;
use proptest::prelude::*;
use std::net::SocketAddr;

const EXAMPLE: &str = include_str!("../../../tools/directrix.example.toml");

fn check(text: &str) -> Result<Config, ConfigErrors> {
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
    let director = Director {
        interface: "eth0".into(),
        server_interface: None,
        backend: BackendChoice::Auto,
        workers: Workers::Auto,
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
        metrics: None,
        policy: Policy {
            conn_reuse_mode: ConnReuseMode(1),
            expire_nodest_conn: false,
            expire_quiescent_template: false,
        },
        timeouts: Timeouts::default(),
        user: None,
    };
    let address = ServiceAddress { protocol: Protocol::Tcp, address: SocketAddr::from(([10, 0, 0, 1], 80)) };
    let servers = vec![RealServer {
        address: [10, 0, 0, 2].into(),
        weight: Weight(1),
        mac: None,
        upper_threshold: 0,
        lower_threshold: 0,
    }];
    let services = vec![VirtualService {
        address,
        scheduler: Scheduler::Wlc,
        scheduler_flags: SchedulerFlags { fallback: false, port: false },
        persistence: None,
        one_packet: false,
        slow_start: None,
        servers,
    }];
    let at = |line| Place { file: "d.toml".into(), line };
    let places = Places {
        file: "d.toml".into(),
        interface: 2,
        control_group: 1,
        server_interface: 1,
        services: vec![at(5)],
        servers: vec![at(7)],
        included: Vec::new(),
        user: 1,
    };
    assert_eq!(config, Config { director, services, places });
}

/// A file in which no key has its default.
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
on_conflict = "claim"
on_server_claim = "ignore"
conn_reuse_mode = 3
expire_nodest_conn = true
expire_quiescent_template = true
metrics = "[::1]:9310"
user = "directrix"
timeouts = { tcp = 1, tcpfin = 2147483, udp = 3 }
[[service]]
protocol = "udp"
address = "10.0.0.1:53"
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
    let director = Director {
        interface: "eth0".into(),
        server_interface: Some("eth1".into()),
        backend: BackendChoice::Packet,
        workers: Workers::Count(3),
        connections: 2048,
        wait: Wait::Busy,
        huge_pages: true,
        control_group: Some("adm".into()),
        control_others: ControlOthers::Read,
        announce_interval: Span::from_secs(5),
        arp_refresh: Span::from_secs(7),
        arp_attempts: 100,
        on_conflict: OnConflict::Claim,
        on_server_claim: OnServerClaim::Ignore,
        metrics: Some("[::1]:9310".parse().unwrap()),
        policy: Policy {
            conn_reuse_mode: ConnReuseMode(3),
            expire_nodest_conn: true,
            expire_quiescent_template: true,
        },
        timeouts,
        user: Some("directrix".into()),
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
    let service = VirtualService::new(address, servers);
    assert_eq!(
        config.services,
        [VirtualService { scheduler: Scheduler::Sh, scheduler_flags, one_packet: true, ..service }]
    );
}

#[test]
fn a_slow_start_is_in_seconds() {
    let text = service("[[service]]\nprotocol = \"tcp\"\naddress = \"10.0.0.1:80\"\nslow_start = 86_400\n");
    assert_eq!(check(&text).unwrap().services[0].slow_start, Some(Span::from_secs(86_400)));
}

#[test]
fn a_service_without_servers_one_vip_with_two_ports_and_one_server_in_two_services_are_fine() {
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
        config.services.iter().map(|service| (service.address.to_string(), service.servers.len())).collect();
    let wanted =
        [("TCP 192.168.195.150:80", 2), ("UDP 192.168.195.150:53", 1), ("TCP 192.168.195.150:443", 2)];
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
    assert_eq!(check(&spelled_out.join("\n")), check(EXAMPLE));
}

#[test]
fn every_documented_key_is_accepted_and_shown_in_the_example_file() {
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
        "conn_reuse_mode",
        "expire_nodest_conn",
        "expire_quiescent_template",
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
    let lines: Vec<_> = EXAMPLE.lines().map(uncommented).collect();
    for key in keys {
        assert!(lines.iter().any(|line| line.starts_with(&format!("{key} = "))), "{key}");
    }
}

#[test]
fn a_broken_director_table_is_refused() {
    refused("", &["1: the file has no [director]; add [director] with interface = \"eth0\" below it"]);
    refused(
        "director = 1\n[[service]]\nprotocol = \"tcp\"\naddress = \"10.0.0.1:80\"",
        &["1: [director] is an integer; write it as a table that begins with [director]"],
    );
    refused(
        "[director]\n[[service]]\nprotocol = \"tcp\"\naddress = \"10.0.0.1:80\"",
        &["1: [director] has no interface; add interface = \"eth0\", where VIP traffic arrives"],
    );
    assert_eq!(check("[director]\ninterface = \"eth0\"\n").unwrap().services, [], "they can be added later");
}

/// Line 3 of a file, and what is said of it.
const DIRECTOR_CASES: &[(&str, &str)] = &[
    ("backend = \"xpd\"", r#"3: backend is "xpd"; write "auto" or "xdp" or "packet""#),
    ("backend = 1", r#"3: backend is 1; write "auto" or "xdp" or "packet""#),
    ("workers = 0", r#"3: workers is 0, out of range; write a number from 1 to 65535 or "auto""#),
    (
        "workers = \"two\"",
        r#"3: workers is "two", not a whole number; write a number from 1 to 65535 or "auto""#,
    ),
    ("workers = 1.5", r#"3: workers is 1.5, not a whole number; write a number from 1 to 65535 or "auto""#),
    ("connections = 1023", "3: connections is 1023, out of range; write a number from 1024 to 268435456"),
    (
        "connections = 268_435_457",
        "3: connections is 268435457, out of range; write a number from 1024 to 268435456",
    ),
    ("connections = -0x", "3: not TOML: integers with a radix cannot be signed; correct this line"),
    ("wait = \"never\"", r#"3: wait is "never"; write "adaptive" or "busy""#),
    (
        "control_group = \"\"",
        "3: control_group is empty; name a group that `getent group` shows, or remove the key",
    ),
    ("control_others = \"write\"", r#"3: control_others is "write"; write "nothing" or "read""#),
    ("control_others = true", r#"3: control_others is true; write "nothing" or "read""#),
    ("user = 7", r#"3: user is 7; write a user's name, as in "directrix", in quotes"#),
    ("user = \"\"", r#"3: user is empty; write a user's name, as in "directrix""#),
    ("user = \"0\"", r#"3: user is "0", a number and no name; write a user's name, as in "directrix""#),
    (
        "user = \"a:b\"",
        r#"3: user is "a:b": a name has no space, slash or colon in it; write a user's name, as in "directrix""#,
    ),
    ("conn_reuse_mode = 4", "3: conn_reuse_mode is 4, out of range; write a number from 0 to 3"),
    ("conn_reuse_mode = true", "3: conn_reuse_mode is true, not a whole number; write a number from 0 to 3"),
    ("expire_nodest_conn = 1", "3: expire_nodest_conn is 1; write true or false"),
    ("expire_quiescent_template = 1", "3: expire_quiescent_template is 1; write true or false"),
    ("huge_pages = \"yes\"", r#"3: huge_pages is "yes"; write true or false"#),
    ("wait = true", r#"3: wait is true; write "adaptive" or "busy""#),
    (
        "announce_interval = 0",
        "3: announce_interval is 0, out of range; write a number from 1 to 2147483: seconds",
    ),
    (
        "announce_interval = \"60s\"",
        "3: announce_interval is \"60s\", not a whole number; write a number from 1 to 2147483: seconds",
    ),
    ("arp_refresh = 0", "3: arp_refresh is 0, out of range; write a number from 1 to 2147483: seconds"),
    ("arp_attempts = 1", "3: arp_attempts is 1, out of range; write a number from 2 to 100"),
    ("on_conflict = \"ignore\"", r#"3: on_conflict is "ignore"; write "standby" or "claim""#),
    ("on_server_claim = 1", r#"3: on_server_claim is 1; write "exclude" or "ignore""#),
    (
        "metrics = true",
        "3: metrics is true; write an address of this host and a port, as in \"127.0.0.1:9310\", in quotes",
    ),
    ("metrics = \"127.0.0.1\"", r#"3: metrics is "127.0.0.1", without a port; write "127.0.0.1:9310""#),
    ("metrics = \"::1\"", r#"3: metrics is "::1", without a port; write "[::1]:9310""#),
    (
        "metrics = \":9310\"",
        r#"3: metrics is ":9310", not an IP address and port; write an address of this host and a port, as in "127.0.0.1:9310""#,
    ),
    (
        "metrics = \"localhost:9310\"",
        r#"3: metrics is "localhost:9310", not an IP address and port; write an address of this host and a port, as in "127.0.0.1:9310""#,
    ),
    (
        "metrics = \"127.0.0.1:0\"",
        r#"3: metrics is "127.0.0.1:0": port 0 cannot be listened on; write an address of this host and a port, as in "127.0.0.1:9310""#,
    ),
    (
        "metrics = \"224.0.0.1:9310\"",
        r#"3: metrics is "224.0.0.1:9310", not an address of one host; write an address of this host and a port, as in "127.0.0.1:9310""#,
    ),
    ("[director.timeouts]\ntcp = 0", "4: tcp is 0, out of range; write a number from 1 to 2147483: seconds"),
    (
        "[director.timeouts]\ntcpfin = 2147484",
        "4: tcpfin is 2147484, out of range; write a number from 1 to 2147483: seconds",
    ),
    (
        "[director.timeouts]\nudp = 99999999999999999999",
        "4: udp is 99999999999999999999, out of range; write a number from 1 to 2147483: seconds",
    ),
    (
        "timeouts = 5",
        "3: [director.timeouts] is an integer; write it as a table that begins with [director.timeouts]",
    ),
    (
        "[director.timeouts]\ntcp_fin = 1",
        r#"4: "tcp_fin" is not a key of [director.timeouts]; did you mean tcpfin?"#,
    ),
    (
        "server_interface = \"eth0\"",
        "3: server_interface is the same as interface; remove it: without it the real servers are behind interface",
    ),
    (
        "server_interface = \"\"",
        r#"3: server_interface is empty; write a name that "ip link" shows, as in "eth0""#,
    ),
    (
        "server_interface = \"abcdefghijklmnop\"",
        r#"3: server_interface is "abcdefghijklmnop", 16 bytes: Linux allows 15; write a name that "ip link" shows, as in "eth0""#,
    ),
    (
        "server_interface = \"a/b\"",
        r#"3: server_interface is "a/b": a name has no space, slash or colon in it; write a name that "ip link" shows, as in "eth0""#,
    ),
    (
        "server_interface = \"a b\"",
        r#"3: server_interface is "a b": a name has no space, slash or colon in it; write a name that "ip link" shows, as in "eth0""#,
    ),
    (
        "server_interface = \"..\"",
        r#"3: server_interface is "..", which is not an interface name; write a name that "ip link" shows, as in "eth0""#,
    ),
    (
        "server_interface = 0",
        r#"3: server_interface is 0; write an interface's name, as in "eth0", in quotes"#,
    ),
    ("backnd = \"xdp\"", r#"3: "backnd" is not a key of [director]; did you mean backend?"#),
    (
        "colour = 1",
        "3: \"colour\" is not a key of [director]; its keys are interface, server_interface, backend, workers, connections, wait, huge_pages, control_group, control_others, announce_interval, arp_refresh, arp_attempts, on_conflict, on_server_claim, metrics, conn_reuse_mode, expire_nodest_conn, expire_quiescent_template, timeouts, user",
    ),
];

#[test]
fn values_of_the_director_table_are_checked() {
    for (extra, wanted) in DIRECTOR_CASES {
        refused(&director(extra), &[wanted]);
    }
}

#[test]
fn broken_service_tables_are_refused() {
    refused(
        &service("[[service]]\n"),
        &[
            "3: [[service]] has no protocol; add protocol = \"tcp\"",
            "3: [[service]] has no address; add address = \"VIP:port\"",
        ],
    );
    refused(
        &service("[service]\nprotocol = \"tcp\""),
        &["3: service is a table; write [[service]], once for each"],
    );
    refused(&service("[[services]]\n"), &["3: \"services\" is not a key of the file; did you mean service?"]);
    refused(
        "service = [1]\n[director]\ninterface = \"eth0\"",
        &["1: [[service]] is an integer; write it as a table that begins with [[service]]"],
    );
}

#[test]
fn a_services_address_is_vip_and_port() {
    let cases = [
        ("\"10.0.0.1\"", r#"is "10.0.0.1", without a port; write "10.0.0.1:80""#),
        (
            "\"10.0.0.1:0\"",
            r#"is "10.0.0.1:0", every port of the VIP, in a service that is not persistent; add persistence = {}, or write a port"#,
        ),
        (
            "\"10.0.0.1:65536\"",
            r#"is "10.0.0.1:65536": the port is not a number from 1 to 65535; write VIP and port, as in "192.168.195.150:80""#,
        ),
        (
            "\"10.0.0.1:http\"",
            r#"is "10.0.0.1:http": the port is not a number from 1 to 65535; write VIP and port, as in "192.168.195.150:80""#,
        ),
        (
            "\"10.0.0.256:80\"",
            r#"is "10.0.0.256:80", not an IPv4 address; write VIP and port, as in "192.168.195.150:80""#,
        ),
        (
            "\"www.example.org:80\"",
            r#"is "www.example.org:80", not an IPv4 address; write VIP and port, as in "192.168.195.150:80""#,
        ),
        ("\"\"", r#"is "", not an IPv4 address and port; write VIP and port, as in "192.168.195.150:80""#),
        (
            "\"[2001:db8::1]:80\"",
            r#"is "[2001:db8::1]:80": IPv6 is not there yet; write VIP and port, as in "192.168.195.150:80""#,
        ),
        (
            "\"2001:db8::1\"",
            r#"is "2001:db8::1": IPv6 is not there yet; write VIP and port, as in "192.168.195.150:80""#,
        ),
        (
            "\"0.0.0.0:80\"",
            r#"is "0.0.0.0:80", the unspecified address; write VIP and port, as in "192.168.195.150:80""#,
        ),
        (
            "\"0.1.2.3:80\"",
            r#"is "0.1.2.3:80", an address of network 0, which no host has; write VIP and port, as in "192.168.195.150:80""#,
        ),
        (
            "\"127.0.0.1:80\"",
            r#"is "127.0.0.1:80", a loopback address; write VIP and port, as in "192.168.195.150:80""#,
        ),
        (
            "\"224.0.0.1:80\"",
            r#"is "224.0.0.1:80", a multicast address; write VIP and port, as in "192.168.195.150:80""#,
        ),
        (
            "\"255.255.255.255:80\"",
            r#"is "255.255.255.255:80", the broadcast address; write VIP and port, as in "192.168.195.150:80""#,
        ),
        (
            "\"10.0.0.1:80\\n\"",
            r#"is "10.0.0.1:80\n": the port is not a number from 1 to 65535; write VIP and port, as in "192.168.195.150:80""#,
        ),
        ("80", r#"is 80; write VIP and port, as in "192.168.195.150:80", in quotes"#),
    ];
    for (address, wanted) in cases {
        let text = service(&format!("[[service]]\nprotocol = \"tcp\"\naddress = {address}\n"));
        refused(&text, &[&format!("5: address {wanted}")]);
    }
}

#[test]
fn a_services_other_keys_are_checked() {
    let cases = [
        ("protocol = \"sctp\"", r#"4: protocol is "sctp"; write "tcp" or "udp""#),
        ("protocol = \"TCP\"", r#"4: protocol is "TCP"; write "tcp" or "udp""#),
        ("protocol = 6", r#"4: protocol is 6; write "tcp" or "udp""#),
        (
            "protocol = \"tcp\"\nscheduler = \"lblcr\"",
            r#"5: scheduler is "lblcr", IPVS's scheduler for caches, which directrix does not have; write "mh" for clients that stay with their server"#,
        ),
        (
            "protocol = \"tcp\"\nscheduler = \"wcr\"",
            r#"5: scheduler is "wcr", which is not a scheduler; did you mean "wrr"?"#,
        ),
        (
            "protocol = \"tcp\"\nscheduler = \"leastconn\"",
            r#"5: scheduler is "leastconn", which is not a scheduler; write one of rr, wrr, lc, wlc, sed, nq, sh, dh, mh, fo, ovf, twos"#,
        ),
        (
            "protocol = \"tcp\"\nscheduler = 1",
            r#"5: scheduler is 1; write a scheduler's name, as in "wlc", in quotes"#,
        ),
        (
            "protocol = \"tcp\"\nport = 80",
            r#"5: "port" is not a key of [[service]]; write it into address, as in "192.168.195.150:80""#,
        ),
        (
            "protocol = \"tcp\"\nsheduler = \"wlc\"",
            r#"5: "sheduler" is not a key of [[service]]; did you mean scheduler?"#,
        ),
        (
            "protocol = \"tcp\"\nserver = \"10.0.0.2\"",
            "5: server is a string; write [[service.server]], once for each",
        ),
    ];
    for (lines, wanted) in cases {
        refused(&service(&format!("[[service]]\n{lines}\naddress = \"10.0.0.1:80\"\n")), &[wanted]);
    }
}

/// Lines 4 and on of a file, and what is said of them.
const RULE_CASES: &[(&str, &str)] = &[
    (
        "scheduler = \"mh\"\nscheduler_flags = [\"mh-port\", \"sh-fallback\"]",
        r#"6: scheduler_flags has "sh-fallback", a flag of sh; did you mean "mh-fallback"?"#,
    ),
    (
        "scheduler_flags = [\"mh-port\"]",
        r#"5: scheduler_flags has "mh-port", a flag of mh; remove it: wlc has no flags"#,
    ),
    (
        "scheduler = \"sh\"\nscheduler_flags = [\"flag-1\"]",
        r#"6: scheduler_flags has "flag-1", which is not a scheduler flag; the flags of sh are sh-fallback, sh-port"#,
    ),
    (
        "scheduler_flags = \"sh-port\"",
        r#"5: scheduler_flags is "sh-port"; write a list of flags, as in ["mh-fallback"]"#,
    ),
    ("scheduler_flags = [1]", r#"5: scheduler_flags is 1; write each flag in quotes"#),
    ("one_packet = true", "5: one_packet is only for UDP: a connection of TCP has many packets; remove it"),
    ("one_packet = 1", "5: one_packet is 1; write true or false"),
    ("slow_start = 0", "5: slow_start is 0, out of range; write a number from 1 to 86400: seconds"),
    (
        "slow_start = \"30s\"",
        "5: slow_start is \"30s\", not a whole number; write a number from 1 to 86400: seconds",
    ),
    (
        "scheduler = \"lc\"\nslow_start = 30",
        "6: slow_start does not go with lc, whose new connections are not shared out by weight; remove it, or take one \
         of the schedulers wrr, wlc, sed, nq, twos",
    ),
    ("persistence = true", "5: persistence is a boolean; write persistence = { timeout = 360 }"),
    ("persistence = 300", "5: persistence is an integer; write persistence = { timeout = 300 }"),
    ("persistence = 0", "5: persistence is an integer; write persistence = { timeout = 360 }"),
    (
        "persistence = false",
        "5: persistence is a boolean; remove it: a service is not persistent unless it has this table",
    ),
    ("scheduler = \"WLC\"", "5: scheduler is \"WLC\", which is not a scheduler; did you mean \"wlc\"?"),
];

#[test]
fn the_rule_of_a_service_is_checked() {
    for (lines, wanted) in RULE_CASES {
        let text = format!("[[service]]\nprotocol = \"tcp\"\n{lines}\naddress = \"10.0.0.1:80\"\n");
        refused(&service(&text), &[wanted]);
    }
}

#[test]
fn persistence_has_a_timeout_and_a_netmask() {
    let example = r#"write a netmask, as in "255.255.255.0""#;
    let cases = [
        ("netmask = \"255.0.255.0\"", format!(r#"7: netmask is "255.0.255.0", which has gaps; {example}"#)),
        (
            "netmask = \"0.0.0.0\"",
            format!(r#"7: netmask is "0.0.0.0", which would take all clients for one; {example}"#),
        ),
        ("netmask = \"24\"", format!(r#"7: netmask is "24", not an IPv4 netmask; {example}"#)),
        ("netmask = 24", format!("7: netmask is 24; {example}, in quotes")),
        (
            "timeout = 0",
            "7: timeout is 0, out of range; write a number from 1 to 2147483: seconds".to_owned(),
        ),
        ("time = 1", "7: \"time\" is not a key of persistence; did you mean timeout?".into()),
    ];
    let text = |line: &str| {
        let address = "[[service]]\nprotocol = \"tcp\"\naddress = \"10.0.0.1:80\"";
        service(&format!("{address}\n[service.persistence]\n{line}\n"))
    };
    for (line, wanted) in cases {
        refused(&text(line), &[&wanted]);
    }
    let read = |lines: &str| {
        let config = parse(Path::new("d.toml"), &text(lines)).unwrap();
        config.services[0].persistence.map(|of| (of.timeout.secs(), of.prefix))
    };
    assert_eq!(read("timeout = 60\nnetmask = \"255.255.255.0\""), Some((60, 24)));
    assert_eq!(read(""), Some((360, 32)));
}

#[test]
fn a_table_of_mh_has_places_for_so_many_servers() {
    let rows: String =
        (0..4094u32).map(|n| format!("{{address = \"10.1.{}.{}\"}},\n", n >> 8, n & 255)).collect();
    let text = |scheduler: &str| {
        service(&format!(
            "[[service]]\nprotocol = \"tcp\"\naddress = \"10.0.0.1:80\"\nscheduler = \"{scheduler}\"\nserver = [{rows}]"
        ))
    };
    assert!(check(&text("sh")).is_ok());
    refused(
        &text("mh"),
        &[
            "3: [[service]] has 4094 real servers, more than mh has places for; write at most 4093, or another scheduler",
        ],
    );
}

#[test]
fn broken_servers_are_refused() {
    let rip = r#"write the RIP alone, as in "192.168.195.170""#;
    refused(&server("weight = 1\n"), &["6: [[service.server]] has no address; add address = \"RIP\""]);
    let cases = [
        ("\"10.0.0.2:81\"", r#"is "10.0.0.2:81", another port than the service's: direct routing cannot change the port; write "10.0.0.2""#.to_owned()),
        ("\"web1\"", format!("is \"web1\", not an IPv4 address; {rip}")),
        ("\"10.0.0.0/24\"", format!("is \"10.0.0.0/24\", not an IPv4 address; {rip}")),
        ("\"2001:db8::2\"", format!("is \"2001:db8::2\": IPv6 is not there yet; {rip}")),
        ("\"[2001:db8::2]:80\"", format!("is \"[2001:db8::2]:80\": IPv6 is not there yet; {rip}")),
        (
            "\"127.0.0.1\"",
            "is \"127.0.0.1\", a loopback address; name a server on another host: directrix hands no frames to its own".into(),
        ),
        ("\"239.1.1.1\"", format!("is \"239.1.1.1\", a multicast address; {rip}")),
        ("\"255.255.255.255:80\"", format!("is \"255.255.255.255:80\", the broadcast address; {rip}")),
        ("\"0.0.0.0\"", format!("is \"0.0.0.0\", the unspecified address; {rip}")),
        ("[\"10.0.0.2\"]", "is of type array; write the RIP alone, as in \"192.168.195.170\", in quotes".into()),
        ("\"10.0.0.1\"", "is 10.0.0.1, the VIP of a service; write the real server's own address, its RIP".into()),
    ];
    for (address, wanted) in cases {
        refused(&server(&format!("address = {address}\n")), &[&format!("7: address {wanted}")]);
    }
}

#[test]
fn a_servers_other_keys_are_checked() {
    let own = r#"write the server's own address, as in "02:00:5e:10:00:01""#;
    let cases = [
        ("weight = 65536", "weight is 65536, out of range; write a number from 0 to 65535".to_owned()),
        ("weight = -1", "weight is -1, out of range; write a number from 0 to 65535".into()),
        ("weight = 1_a", "weight is 1a, not a whole number; write a number from 0 to 65535".into()),
        ("weight = 1_0\u{7}0", "weight is \"10\\u{7}0\", not a whole number; write a number from 0 to 65535".into()),
        ("weight = \"2\"", "weight is \"2\", not a whole number; write a number from 0 to 65535".into()),
        ("weight = 2.0", "weight is 2.0, not a whole number; write a number from 0 to 65535".into()),
        ("mac = \"01:00:5e:00:00:01\"", format!("mac is \"01:00:5e:00:00:01\", which is not one station's address; {own}")),
        ("mac = \"ff:ff:ff:ff:ff:ff\"", format!("mac is \"ff:ff:ff:ff:ff:ff\", which is not one station's address; {own}")),
        ("mac = \"00:00:00:00:00:00\"", format!("mac is \"00:00:00:00:00:00\", which is not one station's address; {own}")),
        ("mac = \"02-00-00-00-00-01\"", format!("mac is \"02-00-00-00-00-01\", not a MAC address; {own}")),
        ("mac = 2", "mac is 2; write a MAC address, as in \"02:00:5e:10:00:01\", in quotes".into()),
        ("port = 80", "\"port\" is not a key of [[service.server]]; remove it: the port is the service's, direct routing cannot change it".into()),
        ("wieght = 1", "\"wieght\" is not a key of [[service.server]]; did you mean weight?".into()),
        ("upper_threshold = -1", "upper_threshold is -1, out of range; write a number from 0 to 2147483647".into()),
        ("lower_threshold = 3", "lower_threshold is 3, but there is no upper_threshold; add upper_threshold, with which the server takes no new connections until it is below the lower one".into()),
        ("lower_threshold = 3\nupper_threshold = 2", "lower_threshold is 3, above upper_threshold = 2; write a number from 0 to 2".into()),
    ];
    for (line, wanted) in cases {
        refused(&located(line), &[&format!("8: {wanted}")]);
    }
}

/// The keys that an error names for a table without the key `zz`.
fn known_keys(text: &str) -> Vec<String> {
    let error = errors(text).into_iter().find(|error| error.contains("\"zz\" is not a key")).unwrap();
    let (_, keys) = error.split_once("its keys are ").unwrap();
    keys.split(", ").map(str::to_owned).collect()
}

#[test]
fn a_service_s_key_below_a_server_is_sent_to_its_place() {
    let of_server = known_keys(&located("zz = 1"));
    let of_service =
        known_keys(&service("[[service]]\nprotocol = \"tcp\"\naddress = \"10.0.0.1:80\"\nzz = 1"));
    let misplaced: Vec<_> =
        of_service.iter().filter(|key| !of_server.contains(key) && *key != "server").collect();
    assert!(misplaced.len() > 3, "{misplaced:?}");
    for key in misplaced {
        let wanted = format!(
            "8: {key:?} is not a key of [[service.server]]; it is a key of [[service]]; write it above the service's \
             first [[service.server]]"
        );
        refused(&located(&format!("{key} = 1")), &[&wanted]);
    }
}

#[test]
fn what_stands_twice_is_named_with_the_first_place() {
    refused(
        &located("[[service.server]]\naddress = \"10.0.0.2:80\""),
        &[
            "9: address 10.0.0.2 is a server of this service already, on line 7; remove one of the two; weight gives it a larger share",
        ],
    );
    refused(
        &located("[[service]]\naddress = \"10.0.0.1:80\"\nprotocol = \"tcp\""),
        &[
            "9: address TCP 10.0.0.1:80 is a service already, on line 5; remove one of the two, or merge their servers",
        ],
    );
}

#[test]
fn services_must_agree_on_their_servers() {
    let other = "[[service]]\nprotocol = \"tcp\"\naddress = \"10.0.0.9:80\"\n[[service.server]]\n";
    refused(
        &located(&format!(
            "mac = \"02:00:00:00:00:02\"\n{other}address = \"10.0.0.2\"\nmac = \"02:00:00:00:00:03\""
        )),
        &[
            "14: mac is 02:00:00:00:00:03, but 10.0.0.2 has 02:00:00:00:00:02 on line 8; write the same address in both places",
        ],
    );
    refused(
        &located(&format!("{other}address = \"10.0.0.1\"")),
        &["12: address is 10.0.0.1, the VIP of a service; write the real server's own address, its RIP"],
    );
}

#[test]
fn broken_toml_is_told_line_by_line() {
    refused(
        "[director]\ninterface = eth0\n",
        &["2: not TOML: string values must be quoted; write the value in quotes, as in \"eth0\""],
    );
    refused("[director\ninterface = 5\n", &["1: not TOML: unclosed table; TOML expects `]` here"]);
    refused(
        &director("wait = \"busy\"\nwait = \"busy\""),
        &["4: not TOML: duplicate key; keep one of the two"],
    );
    refused(&director("[director]"), &["3: not TOML: duplicate key; keep one of the two"]);
    refused(&located("weight 2"), &["8: not TOML: key with no value; TOML expects `=` here"]);
    refused(&located("mac = \"02:00"), &["8: not TOML: invalid basic string; TOML expects `\"` here"]);
}

#[test]
fn an_error_at_the_end_of_the_file_is_on_its_last_line() {
    refused(
        "[director]\n\n\n\"\"\"\n",
        &[
            "4: not TOML: keys cannot be multi-line basic strings; TOML expects basic string, literal string here",
            "4: not TOML: key with no value; TOML expects `=` here",
            "4: not TOML: invalid multi-line basic string; TOML expects `\"` here",
        ],
    );
}

#[test]
fn other_errors_are_told_beside_broken_lines() {
    refused(
        &located("weight = two\nmac = \"no\"\n[[service]]\nprotocol = udp\n"),
        &[
            "8: not TOML: invalid boolean; write true or false, or a text in quotes",
            "9: mac is \"no\", not a MAC address; write the server's own address, as in \"02:00:5e:10:00:01\"",
            "11: not TOML: string values must be quoted; write the value in quotes, as in \"eth0\"",
        ],
    );
}

#[test]
fn all_errors_come_in_file_order() {
    let text = concat!(
        "[[service]]\nprotocol = \"icmp\"\n[[service.server]]\nweight = 70000\naddress = \"x\"\n",
        "[director]\nwait = 1\nfoo = 1\ninterface = \"\"\n",
    );
    let lines: Vec<_> =
        errors(text).iter().map(|error| error.split(':').next().unwrap().to_owned()).collect();
    assert_eq!(lines, ["1", "2", "4", "5", "7", "8", "9"]);
}

#[test]
fn more_servers_than_there_are_numbers_are_refused() {
    let rows: String = (0..65536u32)
        .map(|n| format!("{{address = \"10.{}.{}.{}\"}},\n", 1 + (n >> 16), (n >> 8) & 255, n & 255))
        .collect();
    let text =
        service(&format!("[[service]]\nprotocol = \"tcp\"\naddress = \"10.0.0.1:80\"\nserver = [{rows}]"));
    refused(&text, &["1: the file has 65536 real servers; write at most 65535"]);
}

#[test]
fn a_file_that_cannot_be_read_is_named_with_a_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("directrix.toml");
    let load = || Config::load(&path).map_err(|errors| errors.to_string());
    let named = path.display();
    assert_eq!(load(), Err(format!("{named}: there is no such file; write one, or name another")));
    std::fs::write(&path, b"[director]\n# caf\xe9\n").unwrap();
    assert_eq!(load(), Err(format!("{named}:2: this is not UTF-8 text; save the file in UTF-8")));
    std::fs::write(&path, EXAMPLE).unwrap();
    assert_eq!(load().map(|config| config.services.len()), Ok(3));
    let error = Config::load(dir.path()).unwrap_err().to_string();
    assert!(error.ends_with(": this is not a regular file; name a regular file"), "{error}");
}

/// Pieces that make texts which get further than random letters would.
const PIECES: &[&str] = &[
    "[director]",
    "[[service]]",
    "[[service.server]]",
    "[director.timeouts]",
    "\n",
    "\n",
    "\n",
    " = ",
    "interface",
    "address",
    "protocol",
    "mac",
    "weight",
    "server",
    "service",
    "\"10.0.0.1:80\"",
    "\"tcp\"",
    "\"eth0\"",
    "7",
    "-",
    "{",
    "}",
    "[",
    "]",
    ",",
    "\"",
    "'",
    "#",
    ".",
    "\\",
    "\u{fe}",
    "\r",
    "1e9",
    "inf",
    "1979-05-27",
    "true",
];

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in any::<String>()) {
        let _ = check(&text);
    }

    #[test]
    fn no_arrangement_of_pieces_makes_it_panic(
        pieces in prop::collection::vec(prop::sample::select(PIECES), 0..60)
    ) {
        if let Err(errors) = check(&pieces.concat()) {
            prop_assert!(!errors.0.is_empty());
            prop_assert!(errors.0.is_sorted_by_key(|error| error.line));
        }
    }
}
