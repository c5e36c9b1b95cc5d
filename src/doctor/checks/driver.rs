//! Conditions of single drivers for AF_XDP, and virtual functions.
//!
//! A driver is in the list only with its source.

use crate::doctor::facts::DirectorFacts;
use crate::doctor::fault::{Fault, Judgement};
use crate::doctor::finding::FindingLevel;
use crate::doctor::interface_facts::InterfaceFacts;
use crate::sys::ethtool::Channels;

/// Linux in which AF_XDP of mlx5 has the queues from 0 on (commit 3db4c85cde7a, "xsk: Use queue indices starting from 0").
const MLX5_QUEUES_FROM_ZERO: (u32, u32) = (6, 1);

/// Conditions of the client side's driver.
pub(in crate::doctor) fn limits(facts: &DirectorFacts) -> Judgement {
    let Some(client) = facts.client().filter(|client| facts.may_use_xdp() && !client.is_master()) else {
        return Judgement::Moot;
    };
    let name = client.name();
    match client.nic.driver.as_str() {
        "ena" | "gve" => half_of_queues(facts, client).into(),
        "ixgbe" => Judgement::from((client.nic.functions > 0).then(|| {
            let what = format!("{name} has virtual functions, with which its driver ixgbe has no XDP");
            refused(facts, what).command(format!("echo 0 > /sys/class/net/{name}/device/sriov_numvfs"))
        })),
        "mlx5_core" => Judgement::from((facts.host.version < MLX5_QUEUES_FROM_ZERO).then(|| {
            let what = format!("{name} has the driver mlx5 of Linux before 6.1");
            let effect = "AF_XDP without a copy has other queues there than the NIC spreads frames to: no VIP may answer";
            Fault::new(FindingLevel::Warn, what, effect).advice("use backend = \"packet\", or Linux 6.1")
        })),
        "virtio_net" => Judgement::from(client.nic.is_merged_by_host.then(|| {
            let what = format!("the hypervisor merges frames for {name}, and the guest cannot switch that off");
            refused(facts, what).advice(
                "on the hypervisor, QEMU: -device virtio-net-pci,guest_tso4=off,guest_tso6=off,guest_ecn=off,guest_ufo=off,guest_csum=off; \
                 libvirt: <guest csum='off' tso4='off' tso6='off' ecn='off' ufo='off'/> in <driver>",
            )
        })),
        _ => Judgement::Moot,
    }
}

/// A driver that refuses XDP.
fn refused(facts: &DirectorFacts, what: String) -> Fault {
    if facts.needs_xdp() {
        let effect = "the driver refuses XDP, and backend \"xdp\" runs in the network stack (generic mode)";
        return Fault::new(FindingLevel::Warn, what, effect);
    }
    let effect = "the driver refuses XDP, and backend \"auto\" takes AF_PACKET";
    Fault::new(FindingLevel::Hint, what, effect)
}

/// Drivers with a transmit queue of XDP for each receive queue (`ena_xdp_legal_queue_count` in ena_xdp.h, `gve_verify_xdp_configuration`
/// and its precursors in gve_main.c): half of the queues at most. gve wants as many to send as to receive.
fn half_of_queues(facts: &DirectorFacts, client: &InterfaceFacts) -> Option<Fault> {
    let Channels { receive, transmit, receive_max, transmit_max, is_combined } = client.channels?;
    let (name, half) = (client.name(), (transmit_max / 2).max(1));
    let is_equal = receive == transmit;
    if receive <= half && transmit <= half && is_equal {
        return None;
    }
    let what = format!("{name} uses {receive} receive and {transmit} transmit queues of {transmit_max}");
    let count = receive.min(half).min(receive_max);
    let queues = if is_combined { format!("combined {count}") } else { format!("rx {count} tx {count}") };
    Some(refused(facts, what).command(format!("ethtool -L {name} {queues}")))
}

/// A virtual function, whose physical function decides on its frames.
pub(in crate::doctor) fn function(facts: &DirectorFacts) -> Judgement {
    let functions = facts.interfaces.iter().filter_map(|one| Some((one, one.nic.function.as_ref()?)));
    let functions: Vec<_> = functions.collect();
    if functions.is_empty() {
        return Judgement::Moot;
    }
    let has_groups = facts.wanted.vips.iter().any(std::net::IpAddr::is_ipv6);
    let faults = functions.into_iter().filter_map(|(one, function)| {
        let name = one.name();
        let Some((physical, settings)) = &function.physical else {
            let what = format!("{name} is a virtual function, and its physical function is out of reach");
            let effect = "a VLAN or missing trust that is set there takes frames, without a counter here";
            let advice = "on its host look at: ip link show dev PF; set: ip link set dev PF vf N vlan 0 trust on";
            return Some(Fault::new(FindingLevel::Hint, what, effect).advice(advice));
        };
        let number = settings.number;
        if settings.vlan > 0 {
            let what = format!("{physical} puts all frames of its virtual function {name} into VLAN {}", settings.vlan);
            let effect = "clients, routers and real servers outside of that VLAN do not hear the director";
            let fault = Fault::new(FindingLevel::Hint, what, effect);
            return Some(fault.command(format!("ip link set dev {physical} vf {number} vlan 0")));
        }
        (has_groups && !settings.is_trusted).then(|| {
            let what = format!("{physical} does not trust its virtual function {name}");
            let effect = "many drivers let it receive a few multicast groups only: solicitations for IPv6 VIPs may not arrive";
            let fault = Fault::new(FindingLevel::Hint, what, effect);
            fault.command(format!("ip link set dev {physical} vf {number} trust on"))
        })
    });
    faults.collect::<Vec<_>>().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::nic_facts::Function;
    use crate::doctor::sample;
    use crate::model::BackendChoice;
    use crate::sys::rtnetlink::VirtualFunction;
    use FindingLevel::{Hint, Warn};

    #[test]
    fn some_drivers_need_half_of_their_queues_for_xdp() {
        let mut facts = sample::sound();
        let of = |receive, transmit, is_combined| {
            Some(Channels { receive, transmit, receive_max: 8, transmit_max: 8, is_combined })
        };
        for (driver, channels, wanted) in [
            ("ena", of(4, 4, true), vec![]),
            ("ena", of(8, 8, true), vec!["ethtool -L eth0 combined 4"]),
            ("gve", of(2, 4, false), vec!["ethtool -L eth0 rx 2 tx 2"]),
            ("ena", None, vec![]),
        ] {
            (facts.interfaces[0].nic.driver, facts.interfaces[0].channels) = (driver.into(), channels);
            assert_eq!(sample::commands(limits(&facts)), wanted, "{driver} {channels:?}");
        }
        facts.interfaces[0].nic.driver = "igb".into();
        assert_eq!(limits(&facts), Judgement::Moot, "nothing is known of it");
    }

    #[test]
    fn conditions_of_single_drivers_weigh_by_the_backend() {
        let mut facts = sample::sound();
        facts.interfaces[0].nic.driver = "virtio_net".into();
        assert_eq!(sample::level(limits(&facts)), None);
        facts.interfaces[0].nic.is_merged_by_host = true;
        assert_eq!(sample::level(limits(&facts)), Some(Hint));
        facts.wanted.backend = BackendChoice::Xdp;
        assert_eq!(sample::level(limits(&facts)), Some(Warn));
        (facts.interfaces[0].nic.driver, facts.interfaces[0].nic.functions) = ("ixgbe".into(), 4);
        assert_eq!(sample::commands(limits(&facts)), ["echo 0 > /sys/class/net/eth0/device/sriov_numvfs"]);
        facts.interfaces[0].nic.functions = 0;
        assert_eq!(sample::level(limits(&facts)), None);
        facts.wanted.backend = BackendChoice::Packet;
        assert_eq!(limits(&facts), Judgement::Moot);
    }

    #[test]
    fn old_kernels_count_queues_of_mlx5_otherwise() {
        let mut facts = sample::sound();
        facts.interfaces[0].nic.driver = "mlx5_core".into();
        for (version, wanted) in [((5, 15), Some(Warn)), ((6, 0), Some(Warn)), ((6, 1), None), ((7, 0), None)]
        {
            facts.host.version = version;
            assert_eq!(sample::level(limits(&facts)), wanted, "{version:?}");
        }
    }

    #[test]
    fn a_virtual_function_is_judged_by_its_physical_one() {
        let mut facts = sample::sound();
        assert_eq!(function(&facts), Judgement::Moot);
        facts.interfaces[0].nic.function = Some(Function { physical: None });
        assert_eq!(sample::level(function(&facts)), Some(Hint));
        let settings = VirtualFunction { number: 3, ..VirtualFunction::default() };
        let mut with = |settings| {
            facts.interfaces[0].nic.function = Some(Function { physical: Some(("pf0".into(), settings)) });
            sample::commands(function(&facts))
        };
        assert_eq!(with(settings), [""; 0], "IPv4 needs no trust");
        assert_eq!(with(VirtualFunction { vlan: 7, ..settings }), ["ip link set dev pf0 vf 3 vlan 0"]);
        facts.wanted.vips.push("2001:db8::80".parse().unwrap());
        assert_eq!(sample::commands(function(&facts)).len(), 1);
        facts.interfaces[0].nic.function = Some(Function { physical: Some(("pf0".into(), settings)) });
        assert_eq!(sample::commands(function(&facts)), ["ip link set dev pf0 vf 3 trust on"]);
    }
}
