//! Other programs: managers of interfaces, other balancers.

use crate::doctor::facts::DirectorFacts;
use crate::doctor::fault::{Fault, Judgement};
use crate::doctor::finding::FindingLevel;
use std::net::IpAddr;

/// Addresses that another program may change: of a lease, and random MAC addresses.
pub(in crate::doctor) fn leases(facts: &DirectorFacts) -> Judgement {
    if facts.interfaces.is_empty() {
        return Judgement::Moot;
    }
    let mut faults = Vec::new();
    for one in &facts.interfaces {
        let name = one.name();
        faults.extend(one.leased.first().map(|address| {
            let what = format!("the address {address} of {name} has a limited lifetime, as of a DHCP lease");
            let effect = "when it ends or changes, real servers no longer find the director by it, nor does the director them";
            Fault::new(FindingLevel::Warn, what, effect).advice("give the interface a fixed address")
        }));
        faults.extend(one.nic.has_random_mac.then(|| {
            let what = format!("the MAC address {} of {name} is a random one", one.interface.mac);
            let effect =
                "it is another one after the next start of the host: switches and neighbors learn it anew";
            Fault::new(FindingLevel::Hint, what, effect).advice("give the interface a fixed MAC address")
        }));
    }
    faults.into()
}

/// Programs that manage an interface.
pub(in crate::doctor) fn managers(facts: &DirectorFacts) -> Judgement {
    if facts.interfaces.is_empty() {
        return Judgement::Moot;
    }
    let managed =
        facts.interfaces.iter().flat_map(|one| one.managers.iter().map(move |by| (one.name(), *by)));
    let mut faults = hidden(facts, &["NetworkManager", "systemd-network"]);
    faults.extend(managed.map(|(name, by)| {
        let what = format!("{by} manages {name}");
        let effect = "a restart or a new profile of it may take the link down or change addresses: the director loses its VIPs meanwhile";
        let fault = Fault::new(FindingLevel::Hint, what, effect);
        match by {
            "NetworkManager" => fault.command(format!("nmcli device set {name} managed no")),
            _ => fault.advice("Unmanaged=yes in [Link] of its .network file, and set the interface up by a unit of its own"),
        }
    }));
    faults.into()
}

/// Programs that may have the VIP as well, and IPVS of this kernel.
pub(in crate::doctor) fn balancers(facts: &DirectorFacts) -> Judgement {
    if facts.wanted.vips.is_empty() {
        return Judgement::Moot;
    }
    let programs =
        ["keepalived", "kube-proxy"].into_iter().filter(|name| facts.host.programs.contains(*name));
    let mut faults: Vec<_> = programs
        .map(|name| {
            let what = format!("{name} runs in this network namespace");
            let effect = "if it has a VIP of this director, both answer for it, or both forward its frames";
            Fault::new(FindingLevel::Hint, what, effect)
                .advice(format!("see that the configuration of {name} has none of the director's VIPs"))
        })
        .collect();
    faults.extend(hidden(facts, &["keepalived", "kube-proxy"]));
    let kernel = facts.host.ipvs.iter().find(|service| {
        let address = address_of(service);
        address.is_some_and(|address| facts.wanted.vips.contains(&address))
    });
    faults.extend(kernel.and_then(|service| address_of(service)).map(|vip| {
        let what = format!("IPVS of this kernel has a service at the VIP {vip}");
        let effect = "frames that reach the kernel are forwarded by it as well, to servers of its own";
        Fault::new(FindingLevel::Warn, what, effect)
            .advice("look at it with ipvsadm of the package ipvsadm: -Ln; -D removes a service")
    }));
    faults.into()
}

/// Programs of unknown network namespaces.
fn hidden(facts: &DirectorFacts, names: &[&str]) -> Vec<Fault> {
    let hidden = names.iter().filter(|name| facts.host.hidden_programs.contains(**name));
    let fault = |name| {
        let what = format!("whether {name} runs in this network namespace");
        Fault::unknown(what, "its process may not be read").advice("run the doctor as root")
    };
    hidden.map(fault).collect()
}

/// The address of "0A000064:0050" or "[2001:0DB8:0000:0000:0000:0000:0000:0080]:0050".
fn address_of(service: &str) -> Option<IpAddr> {
    let (address, _) = service.rsplit_once(':')?;
    match address.strip_prefix('[') {
        Some(v6) => v6.trim_end_matches(']').parse().ok().map(IpAddr::V6),
        None => u32::from_str_radix(address, 16).ok().map(|bits| IpAddr::V4(bits.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::sample;
    use FindingLevel::{Hint, Warn};

    #[test]
    fn leased_and_random_addresses_are_found() {
        let mut facts = sample::sound();
        assert_eq!(sample::level(leases(&facts)), None);
        facts.interfaces[0].nic.has_random_mac = true;
        assert_eq!(sample::level(leases(&facts)), Some(Hint));
        facts.interfaces[0].leased = vec![[10, 0, 0, 1].into()];
        assert_eq!(sample::level(leases(&facts)), Some(Warn));
    }

    #[test]
    fn managers_are_named_with_their_interface() {
        let mut facts = sample::sound();
        assert_eq!(sample::level(managers(&facts)), None);
        facts.interfaces[0].managers = vec!["NetworkManager", "systemd-networkd"];
        assert_eq!(sample::level(managers(&facts)), Some(Hint));
        assert_eq!(sample::commands(managers(&facts)), ["nmcli device set eth0 managed no"]);
        facts.interfaces[0].managers.clear();
        facts.host.hidden_programs.insert("NetworkManager".into());
        assert_eq!(sample::level(managers(&facts)), Some(FindingLevel::Unknown));
    }

    #[test]
    fn ipvs_counts_with_a_vip_of_the_director_only() {
        let mut facts = sample::sound();
        facts.wanted.vips.push("2001:db8::80".parse().unwrap());
        for (service, wanted) in [
            ("0A000064:0050", Some(Warn)),
            ("0A000065:0050", None),
            ("[2001:0db8:0000:0000:0000:0000:0000:0080]:0050", Some(Warn)),
            ("garbage", None),
        ] {
            facts.host.ipvs = vec![service.into()];
            assert_eq!(sample::level(balancers(&facts)), wanted, "{service}");
        }
        facts.host.programs.insert("keepalived".into());
        assert_eq!(sample::level(balancers(&facts)), Some(Hint));
        facts.wanted.vips.clear();
        assert_eq!(balancers(&facts), Judgement::Moot);
    }
}
