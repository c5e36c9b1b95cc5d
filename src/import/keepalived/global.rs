//! What concerns the whole director: `global_defs` and the interfaces of VRRP instances.

use super::keywords::{self, GLOBAL};
use super::tree::Entry;
use crate::import::description::{At, Service, Timeouts, Vip};
use crate::import::remark::Remarks;
use std::net::IpAddr;

/// Reads `global_defs`. Only what LVS is told there matters; of the rest nothing is said but for
/// what somebody may miss.
pub(super) fn timeouts(entries: &[Entry], remarks: &mut Remarks) -> Timeouts {
    let mut timeouts = Timeouts::default();
    let globals = entries.iter().filter(|entry| entry.keyword() == "global_defs");
    for entry in globals.flat_map(Entry::entries) {
        match entry.keyword() {
            "lvs_timeouts" => lvs_timeouts(entry, &mut timeouts, remarks),
            keyword if GLOBAL.iter().any(|(keywords, _)| keywords.contains(&keyword)) => {
                keywords::remark(GLOBAL, entry, remarks);
            }
            _ => {}
        }
    }
    timeouts
}

/// `lvs_timeouts [tcp SECONDS] [tcpfin SECONDS] [udp SECONDS]`
fn lvs_timeouts(entry: &Entry, timeouts: &mut Timeouts, remarks: &mut Remarks) {
    for pair in entry.words[1..].chunks(2) {
        let seconds = pair.get(1).and_then(|seconds| seconds.parse().ok());
        let timeout = match pair[0].as_str() {
            "tcp" => Some(&mut timeouts.tcp),
            "tcpfin" => Some(&mut timeouts.tcp_fin),
            "udp" => Some(&mut timeouts.udp),
            _ => None,
        };
        match (timeout, seconds) {
            (Some(_), Some(0)) => {}
            (Some(timeout), Some(seconds)) => *timeout = Some(At::new(&entry.place, seconds)),
            _ => {
                let what = format!("lvs_timeouts has {:?}, which is not a timeout", pair.join(" "));
                remarks.lost(
                    &entry.place,
                    what,
                    "write it as in \"lvs_timeouts tcp 900 tcpfin 120 udp 300\"",
                );
            }
        }
    }
}

/// The interface of the VRRP instance that holds most of the services' VIPs, or else of the first.
pub(super) fn interface(entries: &[Entry], services: &[Service]) -> Option<At<String>> {
    let instances = entries.iter().filter(|entry| entry.keyword() == "vrrp_instance");
    let named = instances.filter_map(|instance| {
        let interface = find(instance, "interface")?;
        Some((holds(instance, services), At::new(&interface.place, interface.value()?.to_owned())))
    });
    let best = named.reduce(|best, other| if other.0 > best.0 { other } else { best });
    best.map(|(_, interface)| interface)
}

/// How many services have a VIP of this instance.
fn holds(instance: &Entry, services: &[Service]) -> usize {
    let blocks = ["virtual_ipaddress", "virtual_ipaddress_excluded"];
    let addresses: Vec<IpAddr> = blocks
        .iter()
        .filter_map(|keyword| find(instance, keyword))
        .flat_map(Entry::entries)
        .filter_map(|entry| entry.keyword().split('/').next()?.parse().ok())
        .collect();
    let held = |vip: Vip| matches!(vip, Vip::Address(_, address) if addresses.contains(&address.ip()));
    services.iter().filter(|service| held(service.vip)).count()
}

fn find<'e>(entry: &'e Entry, keyword: &str) -> Option<&'e Entry> {
    entry.entries().iter().find(|entry| entry.keyword() == keyword)
}
