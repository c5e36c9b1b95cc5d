//! Scheduler keys of the configuration file, down to the pick; sh, dh and mh against a naive model.
#![allow(missing_docs)]

use directrix::control::api::Stats;
use directrix::control::state::registry::Registry;
use directrix::model::{Scheduler, SchedulerFlags, ServerId, ServiceId, parse};
use directrix::schedule::{Candidate, ClientAddr, Loads, Params, Pool};
use directrix::wire::MacAddr;
use proptest::prelude::*;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

/// Servers 0, 1 and 2 with weights 1, 3 and 2; IPVS's list starts with the last one. `keys` are of the
/// service, `limit` of the server with weight 3.
fn service(keys: &str, limit: &str) -> (Pool, Loads) {
    let server = |last: u8, weight: u8, keys: &str| {
        format!("[[service.server]]\naddress = \"192.0.2.{last}\"\nweight = {weight}\n{keys}\n")
    };
    let text = format!(
        "[director]\ninterface = \"eth0\"\n[[service]]\nprotocol = \"udp\"\naddress = \"192.0.2.1:53\"\n{keys}\n{}{}{}",
        server(10, 1, ""),
        server(11, 3, limit),
        server(12, 2, ""),
    );
    let config = parse(Path::new("d.toml"), &text).unwrap();
    let own_macs = vec![MacAddr([2, 0, 0, 0, 0, 1])];
    let mut registry = Registry::new(own_macs);
    let rules = config.rules();
    registry.apply(&rules, &|_| Stats::default());
    let loads = Loads::new(3);
    for last in [10, 11, 12] {
        registry.set_reachable(IpAddr::from([192, 0, 2, last]), MacAddr([2, 0, 0, 0, 0, last]));
    }
    (registry.snapshot(&loads, std::time::Instant::now()).pool(ServiceId(0)).unwrap().clone(), loads)
}

/// Servers of the connections of a few clients, all of which stay open.
fn picks<const N: usize>((pool, loads): &(Pool, Loads)) -> [Option<u16>; N] {
    std::array::from_fn(|client| {
        let client = ClientAddr::new(IpAddr::from([198, 51, 100, client as u8]), 1000 + client as u16);
        let server = pool.pick(loads, client)?;
        loads.add(server, true);
        pool.changed(server, loads);
        Some(server.0)
    })
}

#[test]
fn configured_schedulers_pick() {
    let cases: [(&str, [u16; 7]); 7] = [
        ("rr", [2, 1, 0, 2, 1, 0, 2]),
        ("wrr", [2, 1, 0, 1, 2, 1, 2]),
        ("lc", [2, 1, 0, 2, 1, 0, 2]),
        ("wlc", [2, 1, 0, 1, 2, 1, 2]),
        ("sed", [1, 2, 1, 2, 1, 0, 1]),
        ("nq", [2, 1, 0, 1, 2, 1, 1]),
        ("fo", [1; 7]),
    ];
    for (scheduler, expected) in cases {
        let service = service(&format!("scheduler = \"{scheduler}\""), "");
        assert_eq!(picks(&service), expected.map(Some), "{scheduler}");
    }
}

#[test]
fn sh_uses_the_port_only_with_sh_port() {
    for scheduler in ["sh", "mh"] {
        let distinct = |flags: &str| {
            let keys = format!("scheduler = \"{scheduler}\"\nscheduler_flags = [{flags}]");
            let (pool, loads) = service(&keys, "");
            let client = |port| ClientAddr::new(IpAddr::from([198, 51, 100, 7]), port);
            let mut servers: Vec<_> = (0..100).map(|port| pool.pick(&loads, client(port)).unwrap()).collect();
            servers.sort();
            servers.dedup();
            servers.len()
        };
        assert_eq!((distinct(""), distinct(&format!("\"{scheduler}-port\""))), (1, 3), "{scheduler}");
    }
}

#[test]
fn configured_thresholds_hold() {
    for scheduler in ["fo", "rr", "wrr", "wlc", "sed", "twos", "ovf"] {
        let keys = format!("scheduler = \"{scheduler}\"");
        let limited = service(&keys, "upper_threshold = 2\nlower_threshold = 1");
        picks::<3>(&limited);
        let loads = &limited.1;
        (loads.get(ServerId(1)).active..2).for_each(|_| loads.add(ServerId(1), true));
        limited.0.changed(ServerId(1), loads);
        assert!(picks::<20>(&limited).iter().all(|picked| *picked != Some(1)), "{scheduler}");
    }
}

#[test]
fn one_packet_scheduling_is_per_service() {
    assert!(service("one_packet = true", "").0.one_packet());
    assert!(!service("", "").0.one_packet());
}

#[test]
fn every_scheduler_can_be_configured() {
    for scheduler in Scheduler::NAMES {
        let service = service(&format!("scheduler = \"{scheduler}\""), "");
        assert!(picks::<5>(&service)[0].is_some(), "{scheduler}");
    }
}

/// A service over IPv6 with servers 0, 1 and 2 in list order, of weights 1, 3 and 2, on port 80.
fn ipv6_service(scheduler: Scheduler, flags: SchedulerFlags, vip: &str) -> (Pool, Loads) {
    let servers = ["2001:db8:1::10", "2001:db8:1::11", "2001:db8:1::12"].map(|of| of.parse().unwrap());
    hashing(scheduler, flags, vip.parse().unwrap(), &[(servers[0], 1), (servers[1], 3), (servers[2], 2)])
}

fn hashing(
    scheduler: Scheduler,
    flags: SchedulerFlags,
    vip: IpAddr,
    servers: &[(IpAddr, u16)],
) -> (Pool, Loads) {
    let loads = Loads::new(servers.len());
    let candidates = servers.iter().zip(0..).map(|((address, weight), id)| Candidate {
        address: (*address, 80).into(),
        ..Candidate::new(ServerId(id), *weight)
    });
    let params = Params { scheduler, flags, vip, ..Params::default() };
    (Pool::new([]).successor(params, candidates, &loads), loads)
}

/// Picks for the clients 2001:db8::6f1, ::de2 and so on, from ports 1001, 1002 and so on. The values are from a model of
/// ip_vs_sh.c, ip_vs_dh.c and ip_vs_mh.c in another language.
#[test]
fn ipv6_picks_have_known_values() {
    let by = |scheduler, port| {
        let flags = SchedulerFlags { port, ..SchedulerFlags::default() };
        let (pool, loads) = ipv6_service(scheduler, flags, "2001:db8::80");
        (1..=16_u16)
            .map(|n| {
                let client = IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1777 * n]);
                pool.pick(&loads, ClientAddr::new(client, 1000 + n)).unwrap().0
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(by(Scheduler::Mh, false), [2, 2, 2, 0, 2, 1, 1, 0, 1, 2, 1, 0, 1, 2, 1, 2]);
    assert_eq!(by(Scheduler::Mh, true), [1, 2, 1, 2, 1, 1, 1, 2, 2, 1, 1, 2, 1, 1, 0, 0]);
    assert_eq!(by(Scheduler::Sh, false), [1, 0, 1, 1, 2, 1, 2, 0, 2, 1, 2, 2, 2, 1, 2, 1]);
    assert_eq!(by(Scheduler::Sh, true), [1, 1, 0, 2, 1, 1, 2, 2, 0, 2, 0, 1, 2, 2, 1, 1]);
    let by_vip = (1..=16).map(|n| {
        let vip = format!("2001:db8:{n:x}::80");
        let (pool, loads) = ipv6_service(Scheduler::Dh, SchedulerFlags::default(), &vip);
        pool.pick(&loads, ClientAddr::default()).unwrap().0
    });
    assert_eq!(by_vip.collect::<Vec<_>>(), [0, 2, 1, 0, 1, 0, 2, 1, 2, 1, 0, 2, 1, 2, 1, 0]);
}

/// Naive sh, dh and mh, from the kernel's files.
struct NaiveHashing<'a> {
    scheduler: Scheduler,
    flags: SchedulerFlags,
    vip: IpAddr,
    servers: &'a [(IpAddr, u16)],
}

impl NaiveHashing<'_> {
    fn pick(&self, client: IpAddr, port: u16) -> Option<u16> {
        let port = if self.flags.port && self.scheduler != Scheduler::Dh { port } else { 0 };
        let hashed = if self.scheduler == Scheduler::Dh { self.vip } else { client };
        let table = self.table();
        let slot = |offset: usize| match self.scheduler {
            Scheduler::Mh => self.maglev(hashed, port, offset as u32, 2_654_435_761) as usize % 4093,
            _ => (fibonacci(folded(hashed).wrapping_add(port.into())) as usize + offset) % 256,
        };
        let usable = |server: usize| self.servers[server].1 > 0;
        let home = slot(0);
        let first = *table.get(home)?;
        if usable(first?) {
            return first.map(|server| server as u16);
        }
        if !self.flags.fallback || self.scheduler == Scheduler::Dh {
            return None;
        }
        for step in 0..table.len() {
            let server = table[slot((home + step) % table.len())]?;
            if usable(server) {
                return Some(server as u16);
            }
        }
        None
    }

    fn table(&self) -> Vec<Option<usize>> {
        if self.servers.is_empty() {
            return Vec::new();
        }
        match self.scheduler {
            Scheduler::Mh => self.maglev_table(),
            Scheduler::Dh => (0..256).map(|slot| Some(slot % self.servers.len())).collect(),
            _ => {
                let (mut table, mut server, mut taken) = (Vec::new(), 0, 0);
                while table.len() < 256 {
                    table.push(Some(server));
                    taken += 1;
                    if taken >= self.servers[server].1 {
                        (server, taken) = ((server + 1) % self.servers.len(), 0);
                    }
                }
                table
            }
        }
    }

    fn maglev_table(&self) -> Vec<Option<usize>> {
        let weights: Vec<_> = self.servers.iter().map(|of| u32::from(of.1)).collect();
        let common = weights.iter().fold(0, |a, b| gcd(a, *b));
        let mut table = vec![None; 4093];
        if common == 0 {
            return table;
        }
        let most = weights.iter().max().unwrap() / common;
        let shift = (32 - most.leading_zeros()).saturating_sub(6);
        let place = |of: &(IpAddr, u16), key, range| self.maglev(of.0, 80, 0, key) as usize % range;
        let mut at: Vec<_> = self.servers.iter().map(|of| place(of, 2_654_435_761, 4093)).collect();
        let skip: Vec<_> = self.servers.iter().map(|of| place(of, 2_654_446_892, 4092) + 1).collect();
        let mut filled = 0;
        loop {
            for server in 0..weights.len() {
                let turns = ((weights[server] / common) >> shift).max(u32::from(weights[server] > 0));
                for _ in 0..turns {
                    while table[at[server]].is_some() {
                        at[server] = (at[server] + skip[server]) % 4093;
                    }
                    table[at[server]] = Some(server);
                    filled += 1;
                    if filled == 4093 {
                        return table;
                    }
                }
            }
        }
    }

    fn maglev(&self, address: IpAddr, port: u16, offset: u32, key: u64) -> u32 {
        siphash_1_3(offset.wrapping_add(port.into()).wrapping_add(folded(address)), key)
    }
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// The words of an address, combined by XOR.
fn folded(address: IpAddr) -> u32 {
    let octets = match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    octets.chunks(4).map(|word| u32::from_be_bytes(word.try_into().unwrap())).fold(0, |a, b| a ^ b)
}

/// `hash_32` with eight bits.
fn fibonacci(number: u32) -> u32 {
    ((u64::from(number) * 0x61c8_8647) as u32) >> 24
}

/// SipHash-1-3 of four bytes, from the paper.
fn siphash_1_3(number: u32, key: u64) -> u32 {
    let constants = [b"somepseu", b"dorandom", b"lygenera", b"tedbytes"];
    let mut v = constants.map(|text| u64::from_be_bytes(*text) ^ key);
    let round = |v: &mut [u64; 4], times| {
        for _ in 0..times {
            for (a, b, turn, half) in
                [(0, 1, 13, true), (2, 3, 16, false), (0, 3, 21, false), (2, 1, 17, true)]
            {
                v[a] = v[a].wrapping_add(v[b]);
                v[b] = v[b].rotate_left(turn) ^ v[a];
                if half {
                    v[a] = v[a].rotate_left(32);
                }
            }
        }
    };
    let word = u64::from(number) | 4 << 56;
    v[3] ^= word;
    round(&mut v, 1);
    v[0] ^= word;
    v[2] ^= 0xff;
    round(&mut v, 3);
    (v[0] ^ v[1] ^ v[2] ^ v[3]) as u32
}

fn address(ipv6: bool) -> BoxedStrategy<IpAddr> {
    if ipv6 {
        any::<Ipv6Addr>().prop_map(IpAddr::V6).boxed()
    } else {
        any::<Ipv4Addr>().prop_map(IpAddr::V4).boxed()
    }
}

/// A VIP, servers with their weights, and clients, of one address family.
type Site = (IpAddr, Vec<(IpAddr, u16)>, Vec<(IpAddr, u16)>);

fn site() -> impl Strategy<Value = Site> {
    any::<bool>().prop_flat_map(|ipv6| {
        let weight = prop_oneof![1 => Just(0), 4 => 1..6_u16, 1 => any::<u16>()];
        let servers = prop::collection::vec((address(ipv6), weight), 0..9);
        (address(ipv6), servers, prop::collection::vec((address(ipv6), any::<u16>()), 1..200))
    })
}

proptest! {
    #[test]
    fn hashing_matches_the_naive_model(
        scheduler in prop::sample::select(&[Scheduler::Sh, Scheduler::Dh, Scheduler::Mh][..]),
        [fallback, port] in any::<[bool; 2]>(),
        (vip, servers, clients) in site(),
    ) {
        let flags = SchedulerFlags { fallback, port };
        let (pool, loads) = hashing(scheduler, flags, vip, &servers);
        let naive = NaiveHashing { scheduler, flags, vip, servers: &servers };
        for (client, port) in clients {
            let picked = pool.pick(&loads, ClientAddr::new(client, port)).map(|server| server.0);
            prop_assert_eq!(picked, naive.pick(client, port), "{} port {}", client, port);
        }
    }
}
