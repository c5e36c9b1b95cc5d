//! The parts of the configuration that the checks need.

use super::facts::WantedSetup;
use crate::model::{CheckKind, Config, DirectorConfig, VirtualService, Wait, WorkerCount};
use crate::wire::Protocol;
use nix::unistd::{User, getgrouplist};
use std::collections::BTreeSet;
use std::ffi::CString;

/// Takes them from a configuration.
pub(super) fn wanted(config: &Config) -> WantedSetup {
    let vips: BTreeSet<_> = config.services.iter().flat_map(VirtualService::vips).collect();
    let servers = config.services.iter().flat_map(|service| &service.servers);
    let servers: BTreeSet<_> = servers.map(|server| server.address).collect();
    let DirectorConfig { backend, workers, wait, huge_pages, announce_interval, arp_refresh, .. } =
        config.director;
    WantedSetup {
        backend,
        workers: match workers {
            WorkerCount::Auto => None,
            WorkerCount::Count(count) => Some(count.into()),
        },
        vips: vips.into_iter().collect(),
        servers: servers.into_iter().collect(),
        has_vlans: config.services.iter().any(|service| !service.vlan.is_none()),
        has_datagrams: config.services.iter().any(has_datagrams),
        has_pings: config.services.iter().any(has_pings),
        is_busy: wait == Wait::Busy,
        huge_pages,
        announce_seconds: announce_interval.secs(),
        refresh_seconds: arp_refresh.secs(),
        groups: groups(config.director.user.as_deref()),
    }
}

fn has_datagrams(service: &VirtualService) -> bool {
    service.matches().any(|of| of.protocol == Protocol::Udp)
}

fn has_pings(service: &VirtualService) -> bool {
    let mut checks = service.servers.iter().flat_map(|server| service.checks_of(server));
    checks.any(|check| check.kind == CheckKind::Ping)
}

/// Groups of a user; of this process without one. None if they are unknown.
fn groups(user: Option<&str>) -> Vec<u32> {
    let Some(name) = user else { return vec![nix::unistd::getegid().as_raw()] };
    let known = User::from_name(name).ok().flatten().zip(CString::new(name).ok());
    let groups = known.and_then(|(user, name)| getgrouplist(&name, user.gid).ok());
    groups.into_iter().flatten().map(nix::unistd::Gid::as_raw).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::parse;
    use std::path::Path;

    #[test]
    fn datagrams_and_pings_are_found_in_the_services() {
        let of = |protocol: &str, check: &str| {
            let text = format!(
                "[director]\ninterface = \"eth0\"\n[[service]]\nprotocol = \"{protocol}\"\naddress = \"10.0.0.100:80\"\n\
                 {check}[[service.server]]\naddress = \"10.0.0.2\"\n"
            );
            let wanted = wanted(&parse(Path::new("test"), &text).unwrap());
            (wanted.has_datagrams, wanted.has_pings)
        };
        assert_eq!(of("tcp", ""), (false, false));
        assert_eq!(of("udp", "[[service.check]]\ntype = \"ping\"\n"), (true, true));
        assert_eq!(of("tcp", "[[service.check]]\ntype = \"tcp\"\n"), (false, false));
    }

    #[test]
    fn groups_of_an_unknown_user_are_unknown() {
        assert_eq!(groups(Some("no-such-user-here")), Vec::<u32>::new());
        assert_eq!(groups(Some("root")), [0]);
    }
}
