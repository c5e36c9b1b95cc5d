//! Settings of the whole director: `global_defs` and the interfaces of VRRP instances.

use super::keywords::{self, GLOBAL};
use super::statement::Statement;
use crate::import::description::{At, ImportedIdentity, ImportedService, ImportedTimeouts};
use crate::import::notice::Notices;
use std::net::IpAddr;

/// Reads `global_defs`: timeouts, and notices for the keywords in [`GLOBAL`].
pub(super) fn timeouts(statements: &[Statement], notices: &mut Notices) -> ImportedTimeouts {
    let mut timeouts = ImportedTimeouts::default();
    let globals = statements.iter().filter(|statement| statement.keyword() == "global_defs");
    for statement in globals.flat_map(Statement::statements) {
        match statement.keyword() {
            "lvs_timeouts" => lvs_timeouts(statement, &mut timeouts, notices),
            keyword if GLOBAL.iter().any(|(keywords, _)| keywords.contains(&keyword)) => {
                keywords::add_notice(GLOBAL, statement, notices);
            }
            _ => {}
        }
    }
    timeouts
}

/// Reads `lvs_timeouts [tcp SECONDS] [tcpfin SECONDS] [udp SECONDS]`.
fn lvs_timeouts(statement: &Statement, timeouts: &mut ImportedTimeouts, notices: &mut Notices) {
    for pair in statement.words[1..].chunks(2) {
        let seconds = pair.get(1).and_then(|seconds| seconds.parse().ok());
        let timeout = match pair[0].as_str() {
            "tcp" => Some(&mut timeouts.tcp),
            "tcpfin" => Some(&mut timeouts.tcp_fin),
            "udp" => Some(&mut timeouts.udp),
            _ => None,
        };
        match (timeout, seconds) {
            (Some(_), Some(0)) => {}
            (Some(timeout), Some(seconds)) => *timeout = Some(At::new(&statement.location, seconds)),
            _ => {
                let what = format!("lvs_timeouts has {:?}, which is not a timeout", pair.join(" "));
                notices.warn(
                    &statement.location,
                    what,
                    "write it as in \"lvs_timeouts tcp 900 tcpfin 120 udp 300\"",
                );
            }
        }
    }
}

/// Returns the interface of the VRRP instance with most VIPs of services; of several, the first.
pub(super) fn interface(statements: &[Statement], services: &[ImportedService]) -> Option<At<String>> {
    let instances = statements.iter().filter(|statement| statement.keyword() == "vrrp_instance");
    let candidates = instances.filter_map(|instance| {
        let interface = find(instance, "interface")?;
        let name = At::new(&interface.location, interface.value()?.to_owned());
        Some(InstanceInterface { name, services: service_count(instance, services) })
    });
    let best = candidates.reduce(|best, other| if other.services > best.services { other } else { best });
    best.map(|instance| instance.name)
}

/// The interface of a VRRP instance, and the number of services with a VIP of it.
struct InstanceInterface {
    name: At<String>,
    services: usize,
}

/// Counts the services with a VIP of an instance.
fn service_count(instance: &Statement, services: &[ImportedService]) -> usize {
    let blocks = ["virtual_ipaddress", "virtual_ipaddress_excluded"];
    let addresses: Vec<IpAddr> = blocks
        .iter()
        .filter_map(|keyword| find(instance, keyword))
        .flat_map(Statement::statements)
        .filter_map(|statement| statement.keyword().split('/').next()?.parse().ok())
        .collect();
    let vips = services.iter().filter_map(|service| match service.vip {
        ImportedIdentity::Address(_, address) => Some(address.ip()),
        _ => None,
    });
    vips.filter(|vip| addresses.contains(vip)).count()
}

fn find<'e>(statement: &'e Statement, keyword: &str) -> Option<&'e Statement> {
    statement.statements().iter().find(|statement| statement.keyword() == keyword)
}
