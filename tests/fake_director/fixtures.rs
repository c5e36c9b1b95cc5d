//! Services of the recorded listings.

use directrix::control::api::{
    Connection, Forwarding, Handshakes, Persistence, Rates, Server, Service, Services, Stats,
};
use directrix::model::{FirewallMark, IpFamily, ServiceAddress};
use directrix::wire::Protocol;
use directrix::wire::vlan::Vlans;
use std::num::NonZeroU32;

pub(crate) fn address(protocol: Protocol, address: &str) -> ServiceAddress {
    ServiceAddress { protocol, address: address.parse().unwrap() }
}

pub(crate) fn service(protocol: Protocol, at: &str, scheduler: &str, servers: Vec<Server>) -> Service {
    Service {
        identity: address(protocol, at).into(),
        matches: Vec::new(),
        vlan: Vlans::NONE,
        scheduler: scheduler.to_owned(),
        scheduler_flags: Vec::new(),
        persistence: None,
        one_packet: false,
        slow_start: None,
        state: "claimed".to_owned(),
        available: servers.iter().filter(|server| server.weight > 0).count(),
        stats: Stats::default(),
        rates: Rates::default(),
        servers,
    }
}

pub(crate) fn server(at: &str, weight: u16, active: u32, inactive: u32) -> Server {
    Server {
        address: at.parse().unwrap(),
        forwarding: Forwarding::Route,
        weight,
        effective_weight: None,
        listed: true,
        sorry_server: false,
        slow_start_percent: None,
        upper_threshold: 0,
        lower_threshold: 0,
        active,
        inactive,
        persistent: 0,
        state: "reachable".to_owned(),
        suspected: false,
        handshakes: Handshakes::default(),
        mac: None,
        stats: Stats::default(),
        rates: Rates::default(),
    }
}

fn stats([connections, in_packets, in_bytes]: [u64; 3]) -> Stats {
    Stats { connections, in_packets, in_bytes, ..Stats::default() }
}

fn rates([connections, in_packets, in_bytes]: [u64; 3]) -> Rates {
    Rates { connections, in_packets, in_bytes, ..Rates::default() }
}

/// Connections, packets and bytes of a service and of each of its servers.
struct Numbers {
    totals: [u64; 3],
    averages: [u64; 3],
    server_totals: [u64; 3],
    server_averages: [u64; 3],
}

const USUAL: Numbers = Numbers {
    totals: [150_000, 2_400_000, 192_000_000],
    averages: [150, 2400, 192_000],
    server_totals: [75_000, 1_200_000, 96_000_000],
    server_averages: [75, 1200, 96_000],
};
const LARGE: Numbers = Numbers {
    totals: [99_999_999, 123_456_789, 9_876_543_210],
    averages: [99_999, 123_456, 9_876_543],
    server_totals: [49_999_999, 61_728_394, 4_938_271_605],
    server_averages: [49_999, 61_728, 4_938_271],
};
const SMALL: Numbers =
    Numbers { totals: [1, 1, 64], averages: [0; 3], server_totals: [0, 0, 32], server_averages: [0; 3] };

fn busy(service: Service, numbers: &Numbers) -> Service {
    let servers = service.servers.into_iter().map(|server| Server {
        stats: stats(numbers.server_totals),
        rates: rates(numbers.server_averages),
        ..server
    });
    let servers = servers.collect();
    Service { stats: stats(numbers.totals), rates: rates(numbers.averages), servers, ..service }
}

/// Two servers with fixed numbers, in descending order.
fn pair(first: &str, second: &str) -> Vec<Server> {
    let limited =
        Server { upper_threshold: 1000, lower_threshold: 800, persistent: 1, ..server(second, 100, 13, 346) };
    vec![limited, server(first, 1, 12, 345)]
}

fn persistence(timeout: u32, prefix: u8) -> Option<Persistence> {
    Some(Persistence { timeout, prefix, engine: None })
}

/// Services of ipvsadm-1.31.txt, unsorted.
pub(crate) fn made_up() -> Services {
    let http = service(Protocol::Tcp, "192.0.2.10:80", "wlc", pair("10.0.0.1:80", "10.0.0.2:80"));
    let https = Service {
        persistence: persistence(360, 24),
        ..service(Protocol::Tcp, "192.0.2.10:443", "wrr", pair("10.0.0.1:443", "10.0.0.2:443"))
    };
    let dns = Service {
        one_packet: true,
        ..service(Protocol::Udp, "192.0.2.10:53", "rr", pair("10.0.0.1:53", "10.0.0.2:53"))
    };
    let six = Service {
        scheduler_flags: vec!["mh-fallback".to_owned(), "mh-port".to_owned()],
        ..service(Protocol::Tcp, "[2001:db8::80]:80", "mh", pair("[2001:db8:1::1]:80", "[2001:db8:1::2]:80"))
    };
    let services = vec![busy(six, &USUAL), busy(dns, &SMALL), busy(https, &LARGE), busy(http, &USUAL)];
    Services { capacity: 4096, interfaces: Vec::new(), services }
}

/// A group of mark 7, or of mark 7 and IPv6.
pub(crate) fn group(family: IpFamily, scheduler: &str, servers: Vec<Server>) -> Service {
    let mark = FirewallMark { mark: NonZeroU32::new(7).unwrap(), family };
    let matches = vec!["tcp:192.0.2.20:80".to_owned(), "udp:192.0.2.20:5060-5080".to_owned()];
    Service { identity: mark.into(), matches, ..service(Protocol::Tcp, "192.0.2.20:80", scheduler, servers) }
}

/// Services of ipvsadm-1.31.txt with its group, unsorted.
pub(crate) fn made_up_with_group() -> Services {
    let mut all = made_up();
    let group = group(IpFamily::Ipv4, "sh", pair("10.0.0.1:0", "10.0.0.2:0"));
    all.services.insert(0, busy(group, &USUAL));
    all
}

/// A wildcard-port service.
pub(crate) fn wildcard() -> Services {
    let wildcard = Service {
        persistence: persistence(360, 32),
        ..service(Protocol::Tcp, "192.0.2.10:0", "rr", pair("10.0.0.1:0", "10.0.0.2:0"))
    };
    Services { capacity: 4096, interfaces: Vec::new(), services: vec![wildcard] }
}

/// Services of ipvs-6.1/formats, unsorted.
pub(crate) fn formats() -> Services {
    let limited =
        Server { upper_threshold: 1000, lower_threshold: 500, ..server("192.168.195.171:443", 0, 0, 0) };
    let tunnel = Server { forwarding: Forwarding::Tunnel, ..server("192.168.195.170:443", 1, 0, 0) };
    let masq = Server { forwarding: Forwarding::Masq, ..server("192.168.195.171:5353", 1, 0, 0) };
    let services = vec![
        service(
            Protocol::Udp,
            "192.168.195.150:53",
            "wrr",
            vec![masq, server("192.168.195.170:53", 9, 0, 0)],
        ),
        Service {
            persistence: persistence(600, 24),
            ..service(Protocol::Tcp, "192.168.195.150:443", "sh", vec![limited, tunnel])
        },
        Service {
            scheduler_flags: vec!["mh-fallback".to_owned(), "mh-port".to_owned()],
            ..group(IpFamily::Ipv4, "mh", vec![server("192.168.195.170:0", 1, 0, 0)])
        },
        service(Protocol::Tcp, "[2001:db8::1]:80", "lc", vec![server("[2001:db8::2]:80", 1, 0, 0)]),
        service(Protocol::Tcp, "192.168.195.150:80", "wlc", vec![server("192.168.195.160:80", 1, 0, 0)]),
    ];
    Services { capacity: 4096, interfaces: Vec::new(), services }
}

/// The reference deployment, with totals and averages of the service and its two servers, and the servers'
/// inactive connections.
pub(crate) fn reference(totals: [[u64; 3]; 3], averages: [[u64; 3]; 3], inactive: [u32; 2]) -> Services {
    let server = |index: usize, at: &str, weight| Server {
        stats: stats(totals[index]),
        rates: rates(averages[index]),
        ..self::server(at, weight, 0, inactive[index - 1])
    };
    let servers = vec![server(1, "192.168.195.170:80", 1), server(2, "192.168.195.171:80", 2)];
    let service = Service {
        stats: stats(totals[0]),
        rates: rates(averages[0]),
        ..service(Protocol::Tcp, "192.168.195.150:80", "wlc", servers)
    };
    Services { capacity: 4096, interfaces: Vec::new(), services: vec![service] }
}

/// Parses a row of `ipvsadm -Lnc`.
pub(crate) fn connection(row: &str) -> Connection {
    let fields: Vec<&str> = row.split_whitespace().collect();
    let (minutes, seconds) = fields[1].split_once(':').unwrap();
    let protocol = if fields[0] == "UDP" { Protocol::Udp } else { Protocol::Tcp };
    Connection {
        service: address(protocol, fields[4]).into(),
        group: None,
        expires: minutes.parse::<u32>().unwrap() * 60 + seconds.parse::<u32>().unwrap(),
        state: fields[2].to_owned(),
        client: fields[3].parse().unwrap(),
        server: fields[5].parse().unwrap(),
    }
}

/// `count` different connections.
pub(crate) fn connections(count: u32) -> Vec<Connection> {
    let connection = |number: u32| Connection {
        service: address(Protocol::Tcp, "192.0.2.10:80").into(),
        group: None,
        expires: number % 900,
        state: "ESTABLISHED".to_owned(),
        client: format!("198.51.{}.{}:{}", number >> 24, number >> 16 & 255, number & 65_535)
            .parse()
            .unwrap(),
        server: "10.0.0.1:80".parse().unwrap(),
    };
    (0..count).map(connection).collect()
}
