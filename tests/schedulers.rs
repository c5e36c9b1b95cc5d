//! Scheduler keys of the configuration file, down to the pick.
#![allow(missing_docs)]

use directrix::control::api::Stats;
use directrix::control::state::registry::Registry;
use directrix::model::{Scheduler, ServerId, ServiceId, parse};
use directrix::schedule::{ClientAddr, Loads, Pool};
use directrix::wire::MacAddr;
use std::net::IpAddr;
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
