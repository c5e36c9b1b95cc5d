//! Configurations that are valid and probably a mistake.
//!
//! VIPs that are addresses of this host, VIPs outside the interface's networks, services whose servers all have weight 0.

use crate::control::host::resolve::ResolvedHost;
use crate::io::{Interface, OwnAddress};
use crate::model::{Config, ServiceIdentity, VirtualService};
use std::collections::BTreeSet;
use std::net::IpAddr;

/// VIPs or VLANs that one message lists.
const LISTED_MAX: usize = 5;

/// VIPs that are addresses of this host, as of the last update.
#[derive(Debug, Default)]
pub(in crate::control) struct LocalVips(BTreeSet<IpAddr>);

/// The changes of an update.
pub(in crate::control) struct LocalVipChanges<'a> {
    /// VIPs that have become addresses of this host.
    pub(in crate::control) added: Vec<&'a OwnAddress>,
    /// VIPs that no longer are.
    pub(in crate::control) removed: Vec<IpAddr>,
}

impl LocalVips {
    pub(in crate::control) fn list(&self) -> impl Iterator<Item = IpAddr> {
        self.0.iter().copied()
    }

    /// Compares the host's addresses with `vips`, which are sorted, and returns the changes.
    pub(in crate::control) fn update<'a>(
        &mut self,
        vips: &[IpAddr],
        all: &'a [OwnAddress],
    ) -> LocalVipChanges<'a> {
        let now: Vec<_> = all.iter().filter(|own| vips.binary_search(&own.address).is_ok()).collect();
        let before = std::mem::replace(&mut self.0, now.iter().map(|own| own.address).collect());
        let removed = before.difference(&self.0).copied().filter(|vip| vips.binary_search(vip).is_ok());
        let added = now.into_iter().filter(|own| !before.contains(&own.address));
        LocalVipChanges { added: added.collect(), removed: removed.collect() }
    }
}

/// Returns every hint about a configuration that does not run, one line each.
pub(in crate::control) fn config_hints(config: &Config, host: &ResolvedHost) -> Vec<String> {
    let all = Interface::own_addresses().unwrap_or_default();
    let local = LocalVips::default().update(&host.vips, &all).added.into_iter();
    let local = local.map(|OwnAddress { address, prefix, interface }| {
        format!(
            "the VIP {address} is an address of this host: ip address del {address}/{prefix} dev {interface}"
        )
    });
    let foreign = foreign_vips(&host.vips, host).map(|vips| {
        format!(
            "no network of {} holds {vips}: reached only by a route to this director",
            host.interfaces[0].name
        )
    });
    let weightless = weightless(&config.services)
        .map(|address| format!("every real server of {address} has weight 0: it takes no new connection"));
    let filtered = host.interfaces.iter().filter_map(|interface| {
        let vlans = filtered_vlans(interface, host)?;
        Some(format!(
            "{} drops frames of the VLANs {vlans}, as no VLAN device has them: {}",
            interface.name,
            pass_all(interface)
        ))
    });
    local.chain(foreign).chain(weightless).chain(filtered).collect()
}

/// Logs the VLANs whose frames an interface drops before the director.
pub(in crate::control) fn log_filtered_vlans(host: &ResolvedHost) {
    for interface in &host.interfaces {
        if let Some(vlans) = filtered_vlans(interface, host) {
            let (interface, remedy) = (&interface.name, pass_all(interface));
            tracing::warn!(
                interface,
                vlans,
                remedy,
                "the interface drops frames of VLANs that no VLAN device has"
            );
        }
    }
}

/// Returns the first such VLANs and the number of the others.
fn filtered_vlans(interface: &Interface, host: &ResolvedHost) -> Option<String> {
    let filtered = interface.filtered_vlans(&host.vlans.values().copied().collect());
    listed(filtered.iter().map(ToString::to_string).collect())
}

fn pass_all(interface: &Interface) -> String {
    format!("ethtool -K {} rx-vlan-filter off rx-vlan-stag-filter off", interface.name)
}

/// Returns the first elements and the number of the others; `None` if there are none.
fn listed(all: Vec<String>) -> Option<String> {
    match all.len() {
        0 => None,
        count if count > LISTED_MAX => {
            Some(format!("{} and {} more", all[..LISTED_MAX].join(" "), count - LISTED_MAX))
        }
        _ => Some(all.join(" ")),
    }
}

/// Logs the VIPs outside the networks of the client side's interface.
pub(in crate::control) fn log_foreign_vips(vips: &[IpAddr], host: &ResolvedHost) {
    if let Some(vips) = foreign_vips(vips, host) {
        tracing::info!(
            interface = host.interfaces[0].name,
            vips,
            "VIP outside the interface's networks: it is reached only by a route to this director"
        );
    }
}

/// Returns the first such VIPs and the number of the others. The networks within VLANs are not known.
fn foreign_vips(vips: &[IpAddr], host: &ResolvedHost) -> Option<String> {
    let client = &host.interfaces[0];
    let is_tagged = |vip: &IpAddr| host.vlans.get(vip).is_some_and(|vlans| !vlans.is_none());
    let foreign = vips.iter().filter(|vip| !is_tagged(vip) && !client.is_on_link(**vip));
    listed(foreign.map(ToString::to_string).collect())
}

/// Returns the services whose real servers all have weight 0. A running director logs them as without a server.
fn weightless(services: &[VirtualService]) -> impl Iterator<Item = ServiceIdentity> {
    services.iter().filter(|service| is_weightless(service)).map(|service| service.identity)
}

fn is_weightless(service: &VirtualService) -> bool {
    !service.servers.is_empty() && service.servers.iter().all(|server| server.weight.0 == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(last: u8, interface: &str) -> OwnAddress {
        OwnAddress { address: [192, 0, 2, last].into(), prefix: 32, interface: interface.into() }
    }

    #[test]
    fn each_change_of_a_local_vip_is_reported_once() {
        let vips = [80, 81].map(|last| IpAddr::from([192, 0, 2, last]));
        let mut known = LocalVips::default();
        let mut update = |vips: &[IpAddr], all: &[OwnAddress]| {
            let LocalVipChanges { added, removed } = known.update(vips, all);
            (added.iter().map(|own| own.address).collect::<Vec<_>>(), removed)
        };
        let (dip, eth0, lo) = (own(1, "eth0"), own(80, "eth0"), own(81, "lo"));
        assert_eq!(update(&vips, std::slice::from_ref(&dip)), (vec![], vec![]));
        assert_eq!(update(&vips, &[dip.clone(), eth0.clone()]), (vec![vips[0]], vec![]));
        assert_eq!(update(&vips, &[dip.clone(), eth0.clone(), lo.clone()]), (vec![vips[1]], vec![]));
        assert_eq!(update(&vips, &[dip.clone(), lo.clone()]), (vec![], vec![vips[0]]));
        assert_eq!(update(&vips[..1], &[dip.clone(), lo]), (vec![], vec![]), "it is no longer a VIP");
        assert_eq!(update(&vips[..1], &[dip, eth0]), (vec![vips[0]], vec![]));
    }
}
