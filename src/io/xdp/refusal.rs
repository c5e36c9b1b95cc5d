//! Why AF_XDP cannot be had, and what to do about it.

#![allow(unsafe_code)]

use super::bind::BindError;
use crate::io::{Interface, IoError, bpf};
use std::io;

/// An XDP program of somebody else's, or of another directrix, holds the interface.
pub(super) fn if_occupied(interface: &Interface) -> Result<(), IoError> {
    match bpf::attached_program(interface) {
        Ok(None) => Ok(()),
        Ok(Some(_)) => Err(bpf::occupied(interface)),
        Err(error) => Err(IoError {
            what: format!("looking for XDP programs on {}", interface.name),
            cause: bpf::errno(&error),
            remedy: "see whether `ip link` works here; it asks the same question".into(),
        }),
    }
}

pub(super) fn mtu(interface: &Interface, max: u32) -> IoError {
    let name = &interface.name;
    IoError {
        what: format!("opening AF_XDP on {name}"),
        cause: format!("its MTU is {}, and frames of at most {max} fit", interface.mtu),
        remedy: format!("lower it: ip link set dev {name} mtu {max}; or use backend = \"packet\""),
    }
}

/// Why frames of this interface are copied.
pub(super) fn zero_copy_mtu(interface: &Interface, max: u32) -> String {
    let Interface { name, mtu, .. } = interface;
    format!(
        "the MTU of {name} is {mtu}, and drivers may cut what is longer than {max}; with \
         `ip link set dev {name} mtu {max}` zero-copy is possible"
    )
}

/// True if copying may work where zero-copy was refused.
pub(super) fn is_about_zero_copy(error: &io::Error) -> bool {
    !matches!(
        error.raw_os_error(),
        Some(libc::EPERM | libc::EACCES | libc::EBUSY | libc::ENOBUFS | libc::ENODEV | libc::EAFNOSUPPORT)
    )
}

pub(super) fn binding(failure: BindError) -> IoError {
    let BindError { what, error } = failure;
    let (cause, remedy) = match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => ("CAP_NET_RAW or CAP_NET_ADMIN is missing", bpf::CAPABILITIES),
        Some(libc::EBUSY) => {
            ("another AF_XDP socket has the queue", "stop what uses it: `ss --xdp -p` names the process")
        }
        Some(libc::ENOMEM) if what.contains("huge pages") => (
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
    IoError { what, cause: format!("{}: {cause}", bpf::errno(&error)), remedy: remedy.into() }
}

/// Asks for unlimited locked memory. A refusal is not fatal: CAP_IPC_LOCK does as well, and the
/// kernel says so later if neither does.
pub(super) fn raise_memory_limit() {
    let limit = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: setrlimit reads one rlimit, which lives until after the call.
    let _ = unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const limit) };
}
