//! Diagnostics of AF_XDP errors.

use super::bind::BindError;
use super::chunk::MTU_MAX;
use crate::io::veth::Checksums;
use crate::io::{Interface, bpf};
use crate::model::Diagnostic;
use crate::sys::rtnetlink::{self, LinkInfo};
use std::io;
use std::thread;
use std::time::{Duration, Instant};

/// Longest wait for the program of a process that is ending or hands over.
const OCCUPIED_MAX: Duration = Duration::from_millis(500);
const OCCUPIED_POLL: Duration = Duration::from_millis(1);

/// Refuses an interface that keeps an XDP program, be it another directrix's.
pub(super) fn wait_unoccupied(interface: &Interface) -> Result<(), Diagnostic> {
    let begin = Instant::now();
    loop {
        match bpf::attached_program(interface) {
            Ok(None) => return Ok(()),
            Ok(Some(_)) if begin.elapsed() < OCCUPIED_MAX => thread::sleep(OCCUPIED_POLL),
            Ok(Some(_)) => return Err(bpf::occupied(interface)),
            Err(error) => {
                return Err(Diagnostic::system(format!("looking for XDP programs on {}", interface.name))
                    .cause(crate::sys::errno(&error))
                    .remedy("see whether `ip link` works here; it sends the same request"));
            }
        }
    }
}

/// Refuses a master device, whose frames arrive on other interfaces.
pub(super) fn check_not_master(interface: &Interface) -> Result<(), Diagnostic> {
    // A failed request is no evidence against the interface.
    let link = rtnetlink::link(interface.index).ok().flatten();
    match link.and_then(|link| master(&link)) {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

/// The error for a master device, if it is one.
///
/// The kernel runs a bond's program on the bond's slaves, and delivers no frame to a socket of the bond
/// (`xsk_rcv_check` in net/xdp/xsk.c): opening succeeds, and no frame arrives.
fn master(link: &LinkInfo) -> Option<Diagnostic> {
    let kind = link.kind.as_deref().unwrap_or("master device");
    let is_one = link.is_master || matches!(kind, "bond" | "team");
    let name = &link.name;
    is_one.then(|| {
        Diagnostic::system(format!("opening AF_XDP on {name}"))
            .cause(format!(
                "it is a {kind}: its frames arrive on other interfaces, and AF_XDP takes frames only there"
            ))
            .remedy("use backend = \"packet\"")
    })
}

/// Refuses a veth whose frames may have unfinished checksums.
pub(super) fn check_checksums(interface: &Interface, checksums: &Checksums) -> Result<(), Diagnostic> {
    let name = &interface.name;
    let (state, peer) = match checksums {
        Checksums::Finished => return Ok(()),
        Checksums::Unfinished(peer) => ("have", peer.as_str()),
        Checksums::Unknown => ("may have", "PEER"),
    };
    Err(Diagnostic::system(format!("opening AF_XDP on {name}"))
        .cause(format!(
            "it is a veth, and frames from its peer {state} unfinished checksums, which XDP does not see"
        ))
        .remedy(format!(
            "for AF_XDP, at its peer: ethtool -K {peer} tx off; then start again, with backend = \"xdp\" \
             if the peer cannot be examined from here"
        )))
}

/// The error for an MTU that needs several buffers, which kernel or driver does not support.
fn mtu_error(interface: &Interface, max: u32, error: &io::Error) -> Diagnostic {
    let name = &interface.name;
    Diagnostic::system(format!("opening AF_XDP on {name}")).cause(format!(
            "its MTU is {}, and frames of at most {max} fit a buffer; several for a frame need Linux 6.6 and a driver \
             that can do it ({})",
            interface.mtu,
            crate::sys::errno(error)
        )).remedy(format!("lower it: ip link set dev {name} mtu {max}; or use backend = \"packet\""))
}

/// The reason for copy mode with this MTU.
pub(super) fn zero_copy_mtu_reason(interface: &Interface, max: u32) -> String {
    let Interface { name, mtu, .. } = interface;
    format!(
        "the MTU of {name} is {mtu}, and drivers may cut what is longer than {max}; with \
         `ip link set dev {name} mtu {max}` zero-copy is possible"
    )
}

/// True if copy mode may work after this error of zero-copy.
pub(super) fn may_work_with_copy(error: &io::Error) -> bool {
    !matches!(
        error.raw_os_error(),
        Some(libc::EPERM | libc::EACCES | libc::EBUSY | libc::ENOBUFS | libc::ENODEV | libc::EAFNOSUPPORT)
    )
}

/// True if other socket options may work.
pub(super) fn is_unsupported(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::EINVAL))
}

pub(super) fn bind_error(failure: BindError, client: &Interface) -> Diagnostic {
    let BindError { what, error, in_huge_pages } = failure;
    if is_unsupported(&error) && client.mtu > MTU_MAX {
        return mtu_error(client, MTU_MAX, &error);
    }
    let (cause, remedy) = match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => ("CAP_NET_RAW or CAP_NET_ADMIN is missing", bpf::CAPABILITIES),
        Some(libc::EBUSY) => {
            ("another AF_XDP socket has the queue", "stop what uses it: `ss --xdp -p` names the process")
        }
        Some(libc::ENOMEM) if in_huge_pages => (
            "the host has not enough of them free (grep HugePages_Free /proc/meminfo)",
            "reserve more: sysctl vm.nr_hugepages=NUMBER; or remove huge_pages",
        ),
        Some(libc::ENOBUFS | libc::ENOMEM) => (
            "so much memory may not be locked",
            "run as root or give the binary CAP_IPC_LOCK, or raise the limit (ulimit -l unlimited)",
        ),
        Some(libc::EAFNOSUPPORT) => {
            ("this kernel has no AF_XDP", "use backend = \"packet\", or a kernel with CONFIG_XDP_SOCKETS")
        }
        Some(libc::EOPNOTSUPP | libc::EINVAL) => {
            ("the driver or the kernel refuses AF_XDP on this queue", "use backend = \"packet\"")
        }
        _ => ("the kernel refuses", "use backend = \"packet\""),
    };
    Diagnostic::system(what).cause(format!("{}: {cause}", crate::sys::errno(&error))).remedy(remedy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::MacAddr;

    fn eth0() -> Interface {
        let mac = MacAddr([2, 0, 0, 0, 0, 1]);
        Interface {
            name: "eth0".into(),
            index: 2,
            mac,
            mtu: 1500,
            queues: 1,
            addresses: Vec::new(),
            ipv6_addresses: Vec::new(),
        }
    }

    #[test]
    fn master_device_is_refused_with_its_kind() {
        let link = |kind: Option<&str>, is_master| LinkInfo {
            name: "x0".into(),
            kind: kind.map(str::to_owned),
            is_master,
            ..LinkInfo::default()
        };
        for (kind, is_master, refused) in [
            (Some("bond"), true, Some("it is a bond")),
            (Some("team"), false, Some("it is a team")),
            (Some("vrf"), true, Some("it is a vrf")),
            (None, true, Some("it is a master device")),
            (None, false, None),
            (Some("vlan"), false, None),
            (Some("veth"), false, None),
            (Some("bridge"), false, None),
        ] {
            let error = master(&link(kind, is_master)).map(|error| error.to_string());
            let contains = |part| error.as_ref().is_some_and(|error| error.contains(part));
            assert!(refused.map_or(error.is_none(), contains), "{kind:?}: {error:?}");
        }
    }

    #[test]
    fn mtu_for_several_buffers_names_the_largest_possible() {
        let refused = |mtu| {
            let (what, error) =
                ("binding to queue 0 of eth0".into(), io::Error::from_raw_os_error(libc::EINVAL));
            bind_error(BindError { what, error, in_huge_pages: false }, &Interface { mtu, ..eth0() })
                .to_string()
        };
        assert!(refused(9000).contains("9000") && refused(9000).contains("ip link set dev eth0 mtu 3818"));
        assert!(refused(1500).contains("binding to queue 0 of eth0"));
    }

    #[test]
    fn veth_needs_finished_checksums() {
        let interface = eth0();
        assert!(check_checksums(&interface, &Checksums::Finished).is_ok());
        let refused = |checksums| check_checksums(&interface, &checksums).unwrap_err().to_string();
        assert!(refused(Checksums::Unfinished("port7".into())).contains("ethtool -K port7 tx off"));
        assert!(refused(Checksums::Unknown).contains("may have unfinished checksums"));
    }
}
