//! The guard program: suppression of the kernel's own copy of each frame.
//!
//! A packet socket only taps frames; the kernel processes them as well. It would answer for a local VIP, and
//! forward if routing is on. The guard, a TCX classifier right after the taps, drops the services' frames.
//! Without it directrix runs only where the kernel would drop them anyway: for an address that is not local,
//! with forwarding off.

use crate::io::bpf::{self, BpfLink, Programs};
use crate::io::interface::local_addresses;
use crate::io::vlan_devices::Receivers;
use crate::io::{Interface, SteeredService};
use crate::model::Diagnostic;
use std::collections::BTreeSet;

/// State of the guard program.
pub(super) enum Guard {
    /// Attached; ends with this value or the process.
    Attached {
        /// Detaches first.
        _link: BpfLink,
        /// Holds the set of services. Boxed because it is large.
        programs: Box<Programs>,
    },
    /// Not attached: the host must not need it.
    Refused {
        /// The interface.
        interface: Interface,
        /// The reason.
        error: Diagnostic,
    },
}

impl Guard {
    /// Attaches the classifier without services, if the kernel permits.
    pub(super) fn attach(interface: &Interface) -> Self {
        let attached = Programs::load(interface).and_then(|mut programs| {
            bpf::attach_guard(&mut programs, interface).map(|link| (link, Box::new(programs)))
        });
        match attached {
            Ok((_link, programs)) => Self::Attached { _link, programs },
            Err(error) => {
                tracing::warn!(interface = %interface.name, %error, "no guard program: the kernel still gets a copy of each frame");
                Self::Refused { interface: interface.clone(), error }
            }
        }
    }

    /// Checks that the kernel can be kept from these services.
    pub(super) fn check(&self, services: &[SteeredService]) -> Result<(), Diagnostic> {
        match self {
            Self::Attached { .. } => Ok(()),
            Self::Refused { interface, error } => check_host(interface, services, error),
        }
    }

    /// Replaces the set of services.
    pub(super) fn set_services(&mut self, services: &[SteeredService]) -> Result<(), Diagnostic> {
        match self {
            Self::Attached { programs, .. } => programs.set_services(services),
            Self::Refused { interface, error } => check_host(interface, services, error),
        }
    }
}

/// Refuses services whose frames the kernel would answer or route. It drops those of a VLAN that it has no device for.
fn check_host(
    interface: &Interface,
    services: &[SteeredService],
    why: &Diagnostic,
) -> Result<(), Diagnostic> {
    let name = &interface.name;
    let unguarded = |cause: String, remedy: String| {
        Diagnostic::system(format!("serving on {name} beside the kernel"))
            .cause(format!("{cause}, and it cannot be kept from it ({}: {})", why.what, why.cause))
            .remedy(remedy)
    };
    let (own, receivers) = (local_addresses(), Receivers::of(interface));
    let vips: BTreeSet<_> = services.iter().map(|service| (service.vlan, service.vip)).collect();
    let received: Vec<_> =
        vips.into_iter().filter_map(|(vlan, vip)| Some((receivers.name(vlan)?, vip))).collect();
    if let Some((_, vip)) = received.iter().find(|(_, vip)| own.contains(vip)) {
        let length = if vip.is_ipv4() { 32 } else { 128 };
        let remedy =
            format!("take the VIP off this host (`ip address del {vip}/{length} …`); {}", why.remedy);
        return Err(unguarded(format!("the kernel owns {vip} and would answer for it"), remedy));
    }
    let receivers: BTreeSet<_> = received.iter().map(|(name, vip)| (*name, vip.is_ipv4())).collect();
    for (name, is_v4) in receivers {
        if let Some(setting) = routing(name, is_v4) {
            let remedy = format!("set {setting}=0; {}", why.remedy);
            return Err(unguarded(format!("the kernel routes what arrives on {name}"), remedy));
        }
    }
    Ok(())
}

/// Name of the setting by which the kernel forwards packets of the family that the interface receives; none if it
/// does not (ip-sysctl.rst). With IPv6 only the setting for all interfaces counts (`ip6_forward` in
/// net/ipv6/ip6_output.c); since Linux 6.17 another one forces it.
fn routing(interface: &str, is_v4: bool) -> Option<String> {
    let settings = match is_v4 {
        true => vec![("ipv4", interface, "forwarding")],
        false => vec![("ipv6", "all", "forwarding"), ("ipv6", interface, "force_forwarding")],
    };
    let on = settings.into_iter().find(|(family, interface, name)| {
        // In a path of /proc/sys a dot of the name stays a dot; only `sysctl` takes a slash for it.
        let setting = std::fs::read_to_string(format!("/proc/sys/net/{family}/conf/{interface}/{name}"));
        setting.is_ok_and(|setting| setting.trim() != "0")
    });
    on.map(|(family, interface, name)| format!("net.{family}.conf.{interface}.{name}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::PortRange;
    use crate::wire::vlan::Vlans;
    use crate::wire::{MacAddr, Protocol};
    use nix::sched::{CloneFlags, unshare};
    use std::net::{IpAddr, Ipv6Addr};

    fn refused() -> Guard {
        let mac = MacAddr([2, 0, 0, 0, 0, 1]);
        let interface = Interface {
            name: "lo".into(),
            index: 1,
            mac,
            mtu: 1500,
            queues: 1,
            addresses: Vec::new(),
            ipv6_addresses: Vec::new(),
        };
        let error = Diagnostic::system("guarding").cause("EPERM").remedy("give it CAP_BPF");
        Guard::Refused { interface, error }
    }

    fn service(vip: impl Into<IpAddr>) -> [SteeredService; 1] {
        [SteeredService {
            vlan: Vlans::NONE,
            vip: vip.into(),
            protocol: Protocol::Tcp,
            ports: PortRange::one(80),
        }]
    }

    #[test]
    fn the_kernel_drops_frames_of_a_vlan_without_a_device() {
        elsewhere(|| {
            std::fs::write("/proc/sys/net/ipv4/conf/lo/forwarding", "1").unwrap();
            let [one] = service([127, 0, 0, 1]);
            let tagged = [SteeredService { vlan: Vlans::new(&[100]).unwrap(), ..one }];
            refused().set_services(&tagged).unwrap();
            for refusal in [refused().check(&[one]), refused().set_services(&[tagged[0], one])] {
                let text = refusal.unwrap_err().to_string();
                assert!(text.contains("net.ipv4.conf.lo.forwarding=0"), "{text}");
            }
        });
    }

    /// Runs `f` on a thread in a network namespace of its own, where lo is the only interface.
    fn elsewhere(f: impl FnOnce() + Send) {
        let inside = || {
            unshare(CloneFlags::CLONE_NEWNET).expect("tests run as root");
            f();
        };
        std::thread::scope(|scope| scope.spawn(inside).join()).unwrap();
    }

    #[test]
    fn without_a_guard_a_local_vip_is_refused() {
        for (vip, length) in [(IpAddr::from([127, 0, 0, 1]), 32), (Ipv6Addr::LOCALHOST.into(), 128)] {
            let text = refused().set_services(&service(vip)).unwrap_err().to_string();
            let address = format!("ip address del {vip}/{length}");
            for part in [&format!("owns {vip}"), "guarding: EPERM", &address, "give it CAP_BPF"] {
                assert!(text.contains(part), "{text}");
            }
        }
    }

    #[test]
    fn without_a_guard_a_host_that_routes_ipv6_is_refused() {
        elsewhere(|| {
            let vip = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x80);
            let forwarding = "/proc/sys/net/ipv6/conf/all/forwarding";
            std::fs::write(forwarding, "0").unwrap();
            refused().set_services(&service(vip)).unwrap();
            std::fs::write(forwarding, "1").unwrap();
            refused().set_services(&service([192, 0, 2, 1])).unwrap();
            let text = refused().set_services(&service(vip)).unwrap_err().to_string();
            assert!(text.contains("set net.ipv6.conf.all.forwarding=0"), "{text}");
        });
    }

    #[test]
    fn without_a_guard_a_routing_host_is_refused() {
        elsewhere(|| {
            let forwarding = "/proc/sys/net/ipv4/conf/lo/forwarding";
            std::fs::write(forwarding, "0").unwrap();
            refused().set_services(&service([192, 0, 2, 1])).unwrap();
            std::fs::write(forwarding, "1").unwrap();
            refused().set_services(&[]).unwrap();
            let text = refused().set_services(&service([192, 0, 2, 1])).unwrap_err().to_string();
            for part in ["routes what arrives on lo", "net.ipv4.conf.lo.forwarding=0", "EPERM"] {
                assert!(text.contains(part), "{text}");
            }
        });
    }
}
