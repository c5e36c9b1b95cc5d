//! Clouds and hypervisors, by what the machine's firmware says.

use crate::doctor::facts::DirectorFacts;
use crate::doctor::fault::{Fault, Judgement};
use crate::doctor::finding::FindingLevel;
use crate::doctor::host_facts::Platform;

/// Asset tag of the chassis of Azure's virtual machines.
const AZURE: &str = "7783-7084-3265-9085-8269-3286-77";

/// Networks of clouds, and filters of hypervisors, which cannot be seen from within the machine.
pub(in crate::doctor) fn platform(facts: &DirectorFacts) -> Judgement {
    let hardware = facts.interfaces.iter().find(|one| one.is_hardware());
    let Some(one) = hardware.filter(|_| !facts.host.platform.vendor.is_empty()) else {
        return Judgement::Moot;
    };
    let name = one.name();
    if let Some(cloud) = cloud(&facts.host.platform) {
        let what = format!("this machine is in {cloud}, and {name} is an interface of its network");
        let effect = "such a network delivers by IP address and knows no VIP that it has not assigned: direct routing does not work there";
        let advice =
            "use the cloud's own load balancer, or an interface into an Ethernet segment of your own";
        return Fault::new(FindingLevel::Warn, what, effect).advice(advice).into();
    }
    filters(&facts.host.platform)
        .map(|(hypervisor, advice)| {
            let what = format!("this machine is a guest of {hypervisor}, which may filter the frames of {name}");
            let effect = "ARP for a VIP or a real server's replies, which have the VIP as their source, are dropped where nothing here counts them";
            Fault::new(FindingLevel::Hint, what, effect).advice(advice)
        })
        .into()
}

fn cloud(platform: &Platform) -> Option<&'static str> {
    match platform.vendor.as_str() {
        "Amazon EC2" => Some("Amazon EC2"),
        "Google" if platform.product == "Google Compute Engine" => Some("Google Compute Engine"),
        "Microsoft Corporation" if platform.chassis == AZURE => Some("Azure"),
        _ => None,
    }
}

/// The hypervisor, and the settings of director and real servers there.
fn filters(platform: &Platform) -> Option<(&'static str, &'static str)> {
    let libvirt = "for director and real servers: libvirt without the filter clean-traffic, Proxmox without the IP filter";
    match (platform.vendor.as_str(), platform.product.as_str()) {
        ("VMware, Inc.", _) => Some((
            "VMware",
            "the director sends from its own MAC address: the port group needs neither promiscuous mode nor forged transmits, \
             and with promiscuous mode and two uplinks frames may arrive twice",
        )),
        ("Microsoft Corporation", "Virtual Machine") => {
            Some(("Hyper-V", "for director and real servers: no router guard and no port ACL for the VIP"))
        }
        ("OpenStack Foundation", _) | (_, "OpenStack Nova" | "OpenStack Compute") => Some((
            "OpenStack",
            "openstack port set --allowed-address ip-address=VIP for the ports of director and real servers",
        )),
        ("QEMU" | "Red Hat", _) => Some(("QEMU", libvirt)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::sample;
    use FindingLevel::{Hint, Warn};

    #[test]
    fn clouds_and_hypervisors_are_told_apart() {
        let mut facts = sample::sound();
        assert_eq!(platform(&facts), Judgement::Moot);
        facts.interfaces[0].nic.device = Some("virtio0".into());
        for (vendor, product, chassis, wanted) in [
            ("Amazon EC2", "m5.large", "", Some(Warn)),
            ("Google", "Google Compute Engine", "", Some(Warn)),
            ("Google", "Chromebook", "", None),
            ("Microsoft Corporation", "Virtual Machine", AZURE, Some(Warn)),
            ("Microsoft Corporation", "Virtual Machine", "", Some(Hint)),
            ("VMware, Inc.", "VMware7,1", "", Some(Hint)),
            ("QEMU", "Standard PC", "", Some(Hint)),
            ("RDO", "OpenStack Compute", "", Some(Hint)),
            ("Dell Inc.", "PowerEdge", "", None),
        ] {
            let [vendor, product, chassis] = [vendor, product, chassis].map(str::to_owned);
            facts.host.platform = Platform { vendor: vendor.clone(), product, chassis };
            assert_eq!(sample::level(platform(&facts)), wanted, "{vendor}");
        }
        facts.interfaces[0].nic.device = None;
        facts.host.platform.vendor = "Amazon EC2".into();
        assert_eq!(platform(&facts), Judgement::Moot, "a veth leads into a network of its own");
    }
}
