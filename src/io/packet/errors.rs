//! Diagnostics of packet socket errors.

use crate::io::bpf::CAPABILITIES;
use crate::model::Diagnostic;
use crate::sys::errno;
use std::io;

/// Describes an error of a packet socket's system call, with its remedy.
pub(super) fn socket_error(what: String, error: &io::Error) -> Diagnostic {
    let (cause, remedy) = match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => ("CAP_NET_RAW is missing", CAPABILITIES),
        Some(libc::EAFNOSUPPORT | libc::EPROTONOSUPPORT) => (
            "this kernel has no packet sockets, or they are forbidden to this process",
            "load them with `modprobe af_packet`; under systemd allow AF_PACKET in RestrictAddressFamilies",
        ),
        Some(libc::ENODEV | libc::ENXIO) => ("the interface is gone", "start again once `ip link` shows it"),
        Some(libc::ENETDOWN) => ("the interface is down", "set it up: ip link set dev INTERFACE up"),
        Some(libc::ENOMEM | libc::ENOBUFS) => {
            ("the kernel has no memory for the ring", "use fewer workers, or give the machine more memory")
        }
        Some(libc::EMFILE | libc::ENFILE) => {
            ("too many files are open", "raise the limit (ulimit -n) or use fewer workers")
        }
        Some(libc::EINVAL | libc::ENOPROTOOPT) => {
            ("this kernel lacks the requested function", "use Linux 5.10 or newer")
        }
        _ => ("not expected here", "see the system log"),
    };
    Diagnostic::system(what).cause(format!("{}: {cause}", errno(error))).remedy(remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_capability_names_itself_and_the_remedy() {
        let error = io::Error::from_raw_os_error(libc::EPERM);
        let text = socket_error("opening a packet socket on eth0".into(), &error).to_string();
        for part in ["opening a packet socket on eth0", "EPERM", "CAP_NET_RAW", "setcap"] {
            assert!(text.contains(part), "{text}");
        }
    }
}
