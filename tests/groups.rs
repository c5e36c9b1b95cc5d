//! Groups of matches, and FTP's data connections, from the rules to the verdict on a frame.
#![allow(missing_docs)]

mod support;

use directrix::control::api::Stats;
use directrix::control::state::registry::{Registry, VipState};
use directrix::forward::{Forwarder, Verdict};
use directrix::hash::Seed;
use directrix::model::{Rules, ServerId, parse};
use directrix::schedule::{Loads, Templates};
use directrix::stats::{DropReason, WorkerCounters};
use directrix::time::Tick;
use directrix::wire::MacAddr;
use proptest::prelude::*;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;
use support::frames::{self, ACK, FIN, SYN};

const SEED: Seed =
    Seed([0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344, 0xa409_3822_299f_31d0, 0x082e_fa98_ec4e_6c89]);
const VIP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 80);
const VIP_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x80);
const OTHER_VIP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 81);

/// A worker under rules with reachable servers.
struct Bench {
    registry: Registry,
    forwarder: Forwarder,
    loads: Arc<Loads>,
    counters: Arc<WorkerCounters>,
    now: Tick,
}

fn rules(services: &str) -> Rules {
    parse(Path::new("d.toml"), &format!("[director]\ninterface = \"eth0\"\n{services}")).unwrap().rules()
}

impl Bench {
    fn new(services: &str) -> Self {
        let (loads, counters) = (Arc::new(Loads::new(16)), Arc::new(WorkerCounters::new(16, 1)));
        let templates = Arc::new(Templates::new(100, 16, SEED));
        let mut forwarder = Forwarder::new(1000, SEED, Arc::clone(&loads), templates, Arc::clone(&counters));
        forwarder.set_wide_table(directrix::flow::FlowTable::new(1000, SEED));
        let registry = Registry::new(vec![MacAddr(frames::DIRECTOR)]);
        let mut bench = Self { registry, forwarder, loads, counters, now: Tick(1000) };
        bench.apply(&rules(services));
        bench
    }

    fn apply(&mut self, rules: &Rules) {
        assert_eq!(rules.check(), Ok(()));
        self.registry.apply(rules, &|_| Stats::default());
        for server in rules.services.iter().flat_map(|service| &service.servers) {
            self.registry.set_reachable(server.address, mac(server.address));
        }
        self.publish();
    }

    fn publish(&mut self) {
        let snapshot = self.registry.snapshot(&self.loads, Instant::now());
        self.forwarder.adopt(Arc::new(snapshot));
    }

    /// The last byte of the MAC address of the server that a frame goes to, or the drop reason.
    fn decide(&mut self, frame: &[u8]) -> Result<u8, DropReason> {
        let (mut batch, mut verdicts) = ([frame.to_vec()], Vec::new());
        self.forwarder.decide(&mut batch[..], self.now, &mut verdicts);
        match verdicts[0] {
            Verdict::Forward(_) => Ok(batch[0][5]),
            Verdict::Drop(reason) => Err(reason),
            other => panic!("{other:?}"),
        }
    }

    /// Opens a connection from a client of this number; returns its server.
    fn tcp(&mut self, client: u8, to: (Ipv4Addr, u16)) -> Result<u8, DropReason> {
        self.decide(&frames::tcp(from(client, 40_000), to, SYN, &[]))
    }

    fn udp(&mut self, client: u8, to: (Ipv4Addr, u16)) -> Result<u8, DropReason> {
        self.decide(&frames::udp(from(client, 40_000), to, b"data"))
    }

    fn udp_v6(&mut self, client: u8, port: u16) -> Result<u8, DropReason> {
        let client = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, client.into());
        self.decide(&frames::udp_v6((client, 40_000), (VIP_V6, port), b"data"))
    }
}

fn mac(rip: IpAddr) -> MacAddr {
    let last = match rip {
        IpAddr::V4(rip) => rip.octets()[3],
        IpAddr::V6(rip) => rip.octets()[15],
    };
    MacAddr([2, 1, 0, 0, 0, last])
}

fn from(client: u8, port: u16) -> (Ipv4Addr, u16) {
    (Ipv4Addr::new(203, 0, 113, client), port)
}

const SERVERS: &str = "
[[service.server]]
address = \"192.0.2.11\"
[[service.server]]
address = \"192.0.2.12\"
";

fn group(matches: &str, settings: &str) -> String {
    format!("[[service]]\nmark = 7\nmatch = [{matches}]\nscheduler = \"rr\"\n{settings}\n{SERVERS}")
}

const SHOP: &str = r#""tcp:192.0.2.80:80", "tcp:192.0.2.80:443", "udp:192.0.2.81:5060-5080""#;

#[test]
fn a_client_has_one_server_on_all_matches_of_a_group() {
    let mut bench = Bench::new(&group(SHOP, "persistence = {}"));
    for client in 1..20 {
        let first = bench.tcp(client, (VIP, 80)).unwrap();
        assert_eq!(bench.tcp(client, (VIP, 443)), Ok(first));
        for port in [5060, 5072, 5080] {
            assert_eq!(bench.udp(client, (OTHER_VIP, port)), Ok(first), "{port}");
        }
    }
    let servers = [1, 2, 3, 4].map(|client| bench.tcp(client, (VIP, 443)).unwrap());
    assert_eq!(servers, [12, 11, 12, 11], "clients in turn, the last added server first");
}

#[test]
fn frames_of_no_match_are_not_taken() {
    let mut bench = Bench::new(&group(SHOP, ""));
    for reason in [
        bench.tcp(1, (VIP, 81)),
        bench.tcp(1, (OTHER_VIP, 80)),
        bench.tcp(1, (OTHER_VIP, 5060)),
        bench.udp(1, (OTHER_VIP, 5059)),
        bench.udp(1, (OTHER_VIP, 5081)),
        bench.udp(1, (VIP, 5060)),
    ] {
        assert_eq!(reason, Err(DropReason::NoService));
    }
}

#[test]
fn a_group_has_one_pool_and_one_set_of_loads() {
    let mut bench = Bench::new(&group(SHOP, ""));
    let to = [(VIP, 80), (VIP, 443), (VIP, 80), (VIP, 443)];
    let servers = (1..).zip(to).map(|(client, to)| bench.tcp(client, to).unwrap()).collect::<Vec<_>>();
    assert_eq!(servers, [12, 11, 12, 11], "in turn, whatever the match");
    bench.udp(9, (OTHER_VIP, 5061)).unwrap();
    let loads = [0, 1].map(|id| bench.loads.get(ServerId(id)));
    assert_eq!(loads.map(|load| (load.active, load.inactive)), [(2, 0), (2, 1)]);
    bench.decide(&frames::tcp(from(1, 40_000), (VIP, 80), FIN | ACK, &[])).unwrap();
    assert_eq!(bench.loads.get(ServerId(1)).active, 1);
    let connections: u64 =
        [0, 1].map(|id| bench.counters.server(ServerId(id)).connections.get()).iter().sum();
    assert_eq!(connections, 5);
}

#[test]
fn ports_of_a_range_are_connections_of_their_own() {
    let mut bench = Bench::new(&group(r#""udp:192.0.2.80:5060-5080""#, ""));
    let servers = [5060, 5061, 5062].map(|port| bench.udp(1, (VIP, port)).unwrap());
    assert_eq!(servers, [12, 11, 12]);
    let again = [5062, 5061, 5060].map(|port| bench.udp(1, (VIP, port)).unwrap());
    assert_eq!(again, [12, 11, 12]);
    assert_eq!(bench.counters.entries.get(), 3);
}

/// As in IPVS, whose flag has an effect on UDP alone (`ip_vs_sched_persist` and `ip_vs_schedule` in ip_vs_core.c).
#[test]
fn one_packet_scheduling_is_for_the_datagrams_of_a_group() {
    let mut bench = Bench::new(&group(SHOP, "one_packet = true"));
    let turns = [0; 4].map(|_| bench.udp(1, (OTHER_VIP, 5060)).unwrap());
    assert_eq!(turns, [12, 11, 12, 11]);
    let first = bench.tcp(1, (VIP, 80)).unwrap();
    let later = [0; 4].map(|_| bench.decide(&frames::tcp(from(1, 40_000), (VIP, 80), ACK, b"data")));
    assert_eq!(later, [Ok(first); 4], "a connection of TCP stays");
    assert_eq!(bench.counters.entries.get(), 1);
}

#[test]
fn marks_of_two_families_are_two_services() {
    let v6 = "[[service]]\nmark = 7\nmatch = [\"tcp:[2001:db8::80]:80\", \"tcp:[2001:db8::80]:443\"]\n\
              persistence = {}\n[[service.server]]\naddress = \"2001:db8::21\"\n";
    let mut bench = Bench::new(&(group(SHOP, "") + v6));
    let client = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 1);
    for port in [80, 443] {
        assert_eq!(bench.decide(&frames::tcp_v6((client, 40_000), (VIP_V6, port), SYN, &[])), Ok(0x21));
    }
    assert!(bench.tcp(1, (VIP, 80)).is_ok_and(|server| server < 20));
    let names: Vec<_> =
        bench.registry.rules().services.iter().map(|service| service.identity.to_string()).collect();
    assert_eq!(names, ["FWM 7", "FWM 7 IPv6"]);
}

#[test]
fn connections_continue_when_their_match_returns() {
    let mut bench = Bench::new(&group(SHOP, ""));
    let server = bench.tcp(1, (VIP, 443)).unwrap();
    let data = frames::tcp(from(1, 40_000), (VIP, 443), ACK, b"data");
    bench.apply(&rules(&group(r#""tcp:192.0.2.80:80", "tcp:192.0.2.80:8443""#, "")));
    assert_eq!(bench.decide(&data), Err(DropReason::NoService));
    assert!(bench.tcp(2, (VIP, 8443)).is_ok(), "a match of its own, with an id of its own");
    bench.apply(&rules(&group(SHOP, "")));
    assert_eq!(bench.decide(&data), Ok(server));
    assert_eq!(bench.tcp(2, (VIP, 8443)), Err(DropReason::NoService));
}

/// Matches of a group of mark 7 or 8, as first and last ports; no two overlap.
type Ranges = Vec<(u16, u16)>;

/// Random ports of a group from twelve, as up to twelve runs, which are one match each or some of which are none.
fn a_set_of_ranges() -> impl Strategy<Value = [Ranges; 2]> {
    prop::collection::vec(0..5u8, 12).prop_map(|kinds| {
        let mut groups = [Ranges::new(), Ranges::new()];
        let mut last = None;
        for (port, kind) in (5060..).zip(kinds) {
            // 0: no match; 1: a new match of the first group; 2: the same one goes on; 3, 4: likewise of the second.
            let (group, goes_on) = match kind {
                0 => (None, false),
                kind => (Some(usize::from((kind - 1) / 2)), kind % 2 == 0),
            };
            match group {
                Some(group) if goes_on && last == Some(group) => {
                    groups[group].last_mut().expect("it has begun").1 = port;
                }
                Some(group) => groups[group].push((port, port)),
                None => {}
            }
            last = group;
        }
        groups
    })
}

/// The groups that have matches, each with two real servers.
fn groups_of(ranges: &[Ranges; 2], vip: &str) -> String {
    let one = |(index, ranges): (usize, &Ranges)| {
        let matches: Vec<_> =
            ranges.iter().map(|(first, last)| format!("\"udp:{vip}:{first}-{last}\"")).collect();
        let rip = vip.trim_matches(['[', ']']).trim_end_matches("80");
        let server = |n: usize| format!("[[service.server]]\naddress = \"{rip}{}\"\n", index * 10 + n);
        let servers = [11, 12].map(server).concat();
        let mark = 7 + index;
        format!("[[service]]\nmark = {mark}\nmatch = [{}]\nscheduler = \"rr\"\n{servers}", matches.join(", "))
    };
    ranges.iter().enumerate().filter(|(_, ranges)| !ranges.is_empty()).map(one).collect()
}

/// Connections by group, client, port, and whether a match of one port and IPv4 took it; each with its server.
type NaiveConnections = HashMap<(usize, u8, u16, bool), u8>;

proptest! {
    /// Against a list: a connection goes on while a match of its group takes its port, and after a match has returned.
    #[test]
    fn connections_survive_each_change_of_their_ranges(
        is_v6 in any::<bool>(),
        steps in prop::collection::vec((a_set_of_ranges(), prop::collection::vec((1..5u8, 5059..5073u16), 0..30)), 1..12),
    ) {
        let (mut bench, mut naive) = (Bench::new(""), NaiveConnections::new());
        for (ranges, packets) in steps {
            bench.apply(&rules(&groups_of(&ranges, if is_v6 { "[2001:db8::80]" } else { "192.0.2.80" })));
            for (client, port) in packets {
                let verdict = if is_v6 { bench.udp_v6(client, port) } else { bench.udp(client, (VIP, port)) };
                let of = |group: usize| ranges[group].iter().find(|(first, last)| (*first..=*last).contains(&port));
                let Some((group, range)) = (0..2).find_map(|group| Some((group, of(group)?))) else {
                    prop_assert_eq!(verdict, Err(DropReason::NoService));
                    continue;
                };
                let server = verdict.unwrap();
                let is_compact = !is_v6 && range.0 == range.1;
                let known = *naive.entry((group, client, port, is_compact)).or_insert(server);
                prop_assert_eq!(server, known, "client {} of port {} in {:?}", client, port, &ranges);
            }
            prop_assert_eq!(bench.counters.entries.get(), naive.len() as u64);
        }
    }
}

#[test]
fn a_range_that_is_divided_and_joined_keeps_its_connections() {
    let mut bench = Bench::new(&group(r#""udp:192.0.2.80:5060-5080""#, ""));
    let open = |bench: &mut Bench| [5060, 5070, 5080].map(|port| bench.udp(1, (VIP, port)));
    let servers = open(&mut bench);
    for matches in [
        r#""udp:192.0.2.80:5050-5090""#,
        r#""udp:192.0.2.80:5050-5069", "udp:192.0.2.80:5070-5090""#,
        r#""udp:192.0.2.80:5070-5090", "tcp:192.0.2.80:5060-5069", "udp:192.0.2.80:5050-5069""#,
        r#""udp:192.0.2.80:*""#,
        r#""udp:192.0.2.80:1-5074", "udp:192.0.2.80:5075-65535""#,
    ] {
        bench.apply(&rules(&group(matches, "")));
        assert_eq!(open(&mut bench), servers, "{matches}");
    }
    bench.apply(&rules(&group(r#""udp:192.0.2.80:5061-5080""#, "")));
    assert_eq!(open(&mut bench), [Err(DropReason::NoService), servers[1], servers[2]], "5060 has left");
    assert_eq!(bench.counters.entries.get(), 3);
}

#[test]
fn a_connection_of_a_wildcard_port_goes_on_in_a_range() {
    let mut bench = Bench::new(&group(r#""tcp:192.0.2.80:*""#, ""));
    let server = bench.tcp(1, (VIP, 8443)).unwrap();
    bench.apply(&rules(&group(r#""tcp:192.0.2.80:8000-8999", "tcp:192.0.2.80:*""#, "")));
    let data = frames::tcp(from(1, 40_000), (VIP, 8443), ACK, b"data");
    assert_eq!(bench.decide(&data), Ok(server));
}

#[test]
fn the_wildcard_port_of_a_group_gives_way() {
    let all = r#""tcp:192.0.2.80:*""#;
    let web = format!(
        "[[service]]\nprotocol = \"tcp\"\naddress = \"192.0.2.80:80\"\n{}",
        SERVERS.replace(".1", ".3")
    );
    let mut bench = Bench::new(&(group(all, "") + &web));
    assert!(bench.tcp(1, (VIP, 80)).is_ok_and(|server| server > 30));
    assert!(bench.tcp(1, (VIP, 81)).is_ok_and(|server| server < 20));
}

#[test]
fn each_vip_of_a_group_is_served_once_claimed() {
    let mut bench = Bench::new(&group(SHOP, ""));
    assert_eq!(bench.registry.served(), []);
    bench.registry.set_vip(OTHER_VIP.into(), VipState::Claimed);
    let served: Vec<_> = bench.registry.served().iter().map(|of| (of.vip, of.ports.first)).collect();
    assert_eq!(served, [(OTHER_VIP.into(), 5060)]);
    bench.registry.set_vip(VIP.into(), VipState::Claimed);
    assert_eq!(bench.registry.served().len(), 3);
}

fn ftp(settings: &str) -> String {
    format!(
        "[[service]]\nprotocol = \"tcp\"\naddress = \"192.0.2.80:21\"\nscheduler = \"rr\"\n{settings}\n{SERVERS}"
    )
}

#[test]
fn data_of_persistent_ftp_follows_the_control_connection() {
    let mut bench = Bench::new(&ftp("persistence = {}"));
    for client in 1..10 {
        let control = bench.tcp(client, (VIP, 21)).unwrap();
        assert_eq!(
            [1024, 40_000, 65_535].map(|port| bench.tcp(client, (VIP, port))),
            [Ok(control); 3],
            "passive"
        );
        // In active mode the server connects from port 20, and the director sees the client's answer first.
        let answer = frames::tcp(from(client, 50_000), (VIP, 20), SYN | ACK, &[]);
        assert_eq!(bench.decide(&answer), Ok(control), "active");
    }
    assert_eq!(bench.tcp(1, (VIP, 1023)), Err(DropReason::NoService));
    assert_eq!(bench.udp(1, (VIP, 2000)), Err(DropReason::NoService));
}

#[test]
fn ftp_without_persistence_has_no_data_connections() {
    let mut bench = Bench::new(&ftp(""));
    assert!(bench.tcp(1, (VIP, 21)).is_ok());
    assert_eq!([20, 40_000].map(|port| bench.tcp(1, (VIP, port))), [Err(DropReason::NoService); 2]);
}

#[test]
fn a_service_of_a_high_port_is_not_ftp_s() {
    let web = format!(
        "[[service]]\nprotocol = \"tcp\"\naddress = \"192.0.2.80:8080\"\n{}",
        SERVERS.replace(".1", ".3")
    );
    let mut bench = Bench::new(&ftp("persistence = {}"));
    let earlier = bench.tcp(1, (VIP, 8080)).unwrap();
    bench.apply(&rules(&(ftp("persistence = {}") + &web)));
    assert!(bench.tcp(2, (VIP, 8080)).is_ok_and(|server| server > 30));
    let data = frames::tcp(from(1, 40_000), (VIP, 8080), ACK, b"data");
    assert_eq!(bench.decide(&data), Ok(earlier), "the data connection that FTP opened goes on");
}

#[test]
fn packets_from_port_20_open_no_connection() {
    let mut bench =
        Bench::new(&(ftp("persistence = {}") + &group(SHOP, "").replace("192.0.2.80:", "192.0.2.82:")));
    let other = Ipv4Addr::new(192, 0, 2, 82);
    let tcp = frames::tcp(from(1, 20), (other, 80), SYN, &[]);
    assert_eq!(bench.decide(&tcp), Err(DropReason::NoConnection));
    let udp = frames::udp(from(1, 20), (OTHER_VIP, 5060), b"data");
    assert_eq!(bench.decide(&udp), Err(DropReason::NoConnection));
}
