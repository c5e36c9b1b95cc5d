//! The guard program: suppression of the kernel's own copy of each frame.
//!
//! A packet socket only taps frames; the kernel processes them as well. It would answer for a local VIP, and
//! forward if routing is on. The guard, a TCX classifier right after the taps, drops the services' frames.
//! Without it directrix runs only where the kernel would drop them anyway: for an address that is not local,
//! with forwarding off.

use crate::io::Interface;
use crate::io::bpf::{self, BpfLink, Programs};
use crate::model::{Diagnostic, ServiceAddress};
use nix::ifaddrs::getifaddrs;
use std::net::IpAddr;

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

    /// Replaces the set of services.
    pub(super) fn set_services(&mut self, services: &[ServiceAddress]) -> Result<(), Diagnostic> {
        match self {
            Self::Attached { programs, .. } => programs.set_services(services),
            Self::Refused { interface, error } => check_host(interface, services, error),
        }
    }
}

/// Refuses services whose frames the kernel would answer or route.
fn check_host(
    interface: &Interface,
    services: &[ServiceAddress],
    why: &Diagnostic,
) -> Result<(), Diagnostic> {
    let name = &interface.name;
    let unguarded = |cause: String, remedy: String| {
        Diagnostic::system(format!("serving on {name} beside the kernel"))
            .cause(format!("{cause}, and it cannot be kept from it ({}: {})", why.what, why.cause))
            .remedy(remedy)
    };
    let own = local_addresses();
    if let Some(vip) = services.iter().map(|service| service.address.ip()).find(|ip| own.contains(ip)) {
        let remedy = format!("take the VIP off this host (`ip address del {vip}/32 …`); {}", why.remedy);
        return Err(unguarded(format!("the kernel owns {vip} and would answer for it"), remedy));
    }
    if !services.is_empty() && forwards(name) {
        let remedy = format!("set net.ipv4.conf.{name}.forwarding=0; {}", why.remedy);
        return Err(unguarded(format!("the kernel routes what arrives on {name}"), remedy));
    }
    Ok(())
}

/// All IPv4 addresses of this network namespace; none if they cannot be read.
fn local_addresses() -> Vec<IpAddr> {
    let all = getifaddrs().into_iter().flatten();
    all.filter_map(|entry| Some(IpAddr::V4(entry.address?.as_sockaddr_in()?.ip()))).collect()
}

/// True if the kernel forwards packets received on the interface (ip-sysctl.rst).
fn forwards(interface: &str) -> bool {
    // In a path of /proc/sys a dot of the name stays a dot; only `sysctl` takes a slash for it.
    let setting = std::fs::read_to_string(format!("/proc/sys/net/ipv4/conf/{interface}/forwarding"));
    setting.is_ok_and(|setting| setting.trim() != "0")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{MacAddr, Protocol};
    use nix::sched::{CloneFlags, unshare};
    use std::net::SocketAddr;

    fn refused() -> Guard {
        let mac = MacAddr([2, 0, 0, 0, 0, 1]);
        let interface =
            Interface { name: "lo".into(), index: 1, mac, mtu: 1500, queues: 1, addresses: Vec::new() };
        let error = Diagnostic::system("guarding").cause("EPERM").remedy("give it CAP_BPF");
        Guard::Refused { interface, error }
    }

    fn service(vip: [u8; 4]) -> [ServiceAddress; 1] {
        [ServiceAddress { protocol: Protocol::Tcp, address: SocketAddr::from((vip, 80)) }]
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
        let mut guard = refused();
        let text = guard.set_services(&service([127, 0, 0, 1])).unwrap_err().to_string();
        for part in ["owns 127.0.0.1", "guarding: EPERM", "ip address del 127.0.0.1/32", "give it CAP_BPF"] {
            assert!(text.contains(part), "{text}");
        }
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
