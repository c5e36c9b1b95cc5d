//! What is allowed and mostly a mistake: VIPs that the host has as addresses of its own or that no network of the
//! interface holds, services whose real servers all have weight 0.

use crate::control::director::Director;
use crate::control::host::resolve::ResolvedHost;
use crate::io::{Interface, OwnAddress};
use crate::model::{Config, ServiceAddress, VirtualService};
use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::Instant;

/// VIPs that one line names.
const NAMED: usize = 5;

/// VIPs that are addresses of this host, as far as the log has said so.
#[derive(Debug, Default)]
pub(in crate::control) struct LocalVips(BTreeSet<Ipv4Addr>);

impl LocalVips {
    pub(in crate::control) fn list(&self) -> impl Iterator<Item = Ipv4Addr> {
        self.0.iter().copied()
    }

    /// Takes what there is now: the addresses that have become a VIP's, and the VIPs that are none any more.
    fn update<'a>(
        &mut self,
        vips: &[Ipv4Addr],
        all: &'a [OwnAddress],
    ) -> (Vec<&'a OwnAddress>, Vec<Ipv4Addr>) {
        let now: Vec<_> = all.iter().filter(|own| vips.binary_search(&own.address).is_ok()).collect();
        let before = std::mem::replace(&mut self.0, now.iter().map(|own| own.address).collect());
        let gone = before.difference(&self.0).copied().filter(|vip| vips.binary_search(vip).is_ok());
        let gone = gone.collect();
        (now.into_iter().filter(|own| !before.contains(&own.address)).collect(), gone)
    }
}

impl<F: FnMut()> Director<F> {
    /// Warns of VIPs that this host has, or has got meanwhile. A host that cannot be asked gives no warning.
    pub(in crate::control) fn look_at_addresses(&mut self) {
        let Ok(all) = Interface::own_addresses() else { return };
        let (come, gone) = self.own_vips.update(&self.host.vips, &all);
        for OwnAddress { address: vip, prefix, interface } in come {
            let remedy = format!("ip address del {vip}/{prefix} dev {interface}");
            self.limiter.log(*vip, Instant::now(), || {
                tracing::warn!(
                    %vip, interface, remedy,
                    "the VIP is an address of this host: whenever directrix does not serve it, this host answers"
                );
            });
        }
        for vip in gone {
            self.limiter.log(
                vip,
                Instant::now(),
                || tracing::info!(%vip, "the VIP is no longer an address of this host"),
            );
        }
    }
}

/// All of it about a configuration that does not run, as lines.
pub(in crate::control) fn of(config: &Config, host: &ResolvedHost) -> Vec<String> {
    let all = Interface::own_addresses().unwrap_or_default();
    let (own, _) = LocalVips::default().update(&host.vips, &all);
    let own = own.into_iter().map(|OwnAddress { address, prefix, interface }| {
        format!(
            "the VIP {address} is an address of this host: ip address del {address}/{prefix} dev {interface}"
        )
    });
    let foreign = outside(&host.vips, &host.arms[0]).map(|vips| {
        format!("no network of {} holds {vips}: reached only by a route to this director", host.arms[0].name)
    });
    let weightless = weightless(&config.services)
        .map(|address| format!("every real server of {address} has weight 0: it takes no new connection"));
    own.chain(foreign).chain(weightless).collect()
}

/// Says which of `vips` no network of the client side holds.
pub(in crate::control) fn tell_foreign(vips: &[Ipv4Addr], client: &Interface) {
    if let Some(vips) = outside(vips, client) {
        tracing::info!(
            interface = client.name,
            vips,
            "VIP outside the interface's networks: it is reached only by a route to this director"
        );
    }
}

/// The first few of them, and how many more there are.
fn outside(vips: &[Ipv4Addr], client: &Interface) -> Option<String> {
    let outside: Vec<_> = vips.iter().filter(|vip| client.address_towards(**vip).is_none()).collect();
    let named: Vec<_> = outside.iter().take(NAMED).map(ToString::to_string).collect();
    match outside.len() {
        0 => None,
        count if count > NAMED => Some(format!("{} and {} more", named.join(" "), count - NAMED)),
        _ => Some(named.join(" ")),
    }
}

/// Services that take no new connection, as each of their real servers has weight 0. A running director logs them as
/// without a server.
fn weightless(services: &[VirtualService]) -> impl Iterator<Item = ServiceAddress> {
    let is_weightless = |service: &&VirtualService| {
        !service.servers.is_empty() && service.servers.iter().all(|server| server.weight.0 == 0)
    };
    services.iter().filter(is_weightless).map(|service| service.address)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(last: u8, interface: &str) -> OwnAddress {
        OwnAddress { address: [192, 0, 2, last].into(), prefix: 32, interface: interface.into() }
    }

    #[test]
    fn an_address_that_becomes_a_vip_or_stops_is_told_once() {
        let vips = [80, 81].map(|last| Ipv4Addr::new(192, 0, 2, last));
        let mut known = LocalVips::default();
        let mut told = |vips: &[Ipv4Addr], all: &[OwnAddress]| {
            let (come, gone) = known.update(vips, all);
            (come.iter().map(|own| own.address).collect::<Vec<_>>(), gone)
        };
        let (dip, eth0, lo) = (own(1, "eth0"), own(80, "eth0"), own(81, "lo"));
        assert_eq!(told(&vips, std::slice::from_ref(&dip)), (vec![], vec![]));
        assert_eq!(told(&vips, &[dip.clone(), eth0.clone()]), (vec![vips[0]], vec![]));
        assert_eq!(told(&vips, &[dip.clone(), eth0.clone(), lo.clone()]), (vec![vips[1]], vec![]));
        assert_eq!(told(&vips, &[dip.clone(), lo.clone()]), (vec![], vec![vips[0]]));
        assert_eq!(told(&vips[..1], &[dip.clone(), lo]), (vec![], vec![]), "it is no VIP any more");
        assert_eq!(told(&vips[..1], &[dip, eth0]), (vec![vips[0]], vec![]));
    }
}
