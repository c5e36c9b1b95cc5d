//! Diagnostics of BPF and XDP errors.

use crate::io::Interface;
use crate::model::Diagnostic;
use crate::sys::errno;
use crate::sys::rtnetlink;
use aya::EbpfError;
use aya::maps::MapError;
use aya::programs::{ProgramError, ProgramInfo, loaded_programs};
use nix::errno::Errno;
use std::error::Error;
use std::fmt;
use std::io;

/// Remedy for missing capabilities. CAP_PERFMON is needed to step over IP options and extension headers: without it the verifier
/// rejects variable offsets to packet pointers.
pub(in crate::io) const CAPABILITIES: &str = "run as root, or give the binary its capabilities: \
    setcap cap_net_admin,cap_net_raw,cap_bpf,cap_perfmon,cap_ipc_lock+ep";
/// Kernel name of the XDP program of steer.bpf.c.
const STEER: &str = "directrix_steer";

/// Returns id and name of the XDP program on an interface. Reading the name takes CAP_SYS_ADMIN; otherwise it
/// is "of unknown name".
///
/// # Errors
/// Errors of rtnetlink.
pub fn attached_program(interface: &Interface) -> io::Result<Option<(u32, String)>> {
    let Some(id) = rtnetlink::link(interface.index)?.and_then(|link| link.xdp_program) else {
        return Ok(None);
    };
    let info = loaded_programs().filter_map(Result::ok).find(|program| program.id() == id);
    let name = info.as_ref().and_then(ProgramInfo::name_as_str).unwrap_or("of unknown name");
    Ok(Some((id, name.to_owned())))
}

pub(super) fn load_error(interface: &str, error: &EbpfError) -> Diagnostic {
    let what = format!("loading the steering maps for {interface}");
    from_chain(what, error)
}

pub(super) fn program_error(interface: &Interface, error: ProgramError) -> Diagnostic {
    tracing::debug!(interface = %interface.name, %error, "the verifier refused the steering program");
    from_chain(format!("loading the steering program for {}", interface.name), &error)
}

pub(super) fn map_error(name: &str, error: &MapError) -> Diagnostic {
    let mut failure = from_chain(format!("changing the steering map {name}"), error);
    if os_error(error).and_then(io::Error::raw_os_error) == Some(libc::E2BIG) {
        failure.remedy = "configure fewer services".into();
    }
    failure
}

pub(super) fn too_many_services(count: usize, max: usize) -> Diagnostic {
    Diagnostic::system("changing the steered services")
        .cause(format!(
            "those of one family need {count} keys (one each, and up to five per VIP and protocol), {max} fit"
        ))
        .remedy("configure fewer services")
}

pub(super) fn too_many_port_sets(max: usize) -> Diagnostic {
    Diagnostic::system("changing the steered services")
        .cause(format!(
            "their port ranges make more than {max} different sets of ports for a VIP and protocol"
        ))
        .remedy("use the same ranges for several VIPs, or one range instead of many")
}

pub(super) fn queue_out_of_range(queue: u32, max: u32) -> Diagnostic {
    Diagnostic::system(format!("steering receive queue {queue}"))
        .cause(format!("only queues below {max} can be served"))
        .remedy(format!("have at most {max} receive queues: ethtool -L INTERFACE combined {max}"))
}

/// The steering program cannot be attached in any mode.
pub(super) fn attach_error(interface: &Interface, error: &io::Error) -> Diagnostic {
    let name = &interface.name;
    let what = format!("attaching the steering program to {name}");
    match error.raw_os_error() {
        Some(libc::EBUSY | libc::EEXIST) => occupied(interface),
        Some(libc::EPERM | libc::EACCES) => not_allowed(what, errno(error)),
        Some(libc::ENODEV) => Diagnostic::system(what)
            .cause(format!("{}: the interface is gone", errno(error)))
            .remedy("start again once `ip link` shows it"),
        _ => Diagnostic::system(what)
            .cause(format!("{}: neither its driver nor the network stack takes it", errno(error)))
            .remedy("use backend = \"packet\"; BPF links for XDP need Linux 5.9"),
    }
}

/// Refusal of native mode by kernel or driver.
pub(super) struct NativeRefusal<'a> {
    pub(super) interface: &'a Interface,
    pub(super) error: &'a io::Error,
    /// Text of the extended acknowledgement.
    pub(super) words: Option<&'a str>,
}

impl NativeRefusal<'_> {
    /// True if the driver lacks XDP. The kernel reports that only by this text (`dev_xdp_attach` in
    /// net/core/dev.c, Linux 6.18); the errno, EOPNOTSUPP, is also the driver's.
    fn has_no_xdp(&self) -> bool {
        self.words.is_some_and(|words| words.to_lowercase().contains("does not support xdp in native mode"))
    }

    /// As the error of a caller that accepts no other mode.
    pub(super) fn into_error(self) -> Diagnostic {
        let name = &self.interface.name;
        let remedy = if self.has_no_xdp() {
            "backend = \"xdp\" would run it in the network stack (generic mode)".to_owned()
        } else {
            format!("if native mode is wanted, change that on {name} and start again")
        };
        Diagnostic::system(format!("running XDP in the driver of {name}"))
            .cause(self.to_string())
            .remedy(remedy)
    }
}

impl fmt::Display for NativeRefusal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { interface: Interface { name, mtu, .. }, error, words } = self;
        let errno = errno(error);
        match words {
            Some(_) if self.has_no_xdp() => write!(f, "the driver of {name} has no XDP ({errno})")?,
            Some(words) => {
                write!(f, "the driver of {name} refuses XDP as it is set up now: {words} ({errno})")?
            }
            None => {
                write!(f, "the driver of {name} has no XDP, or refuses it as it is set up now ({errno})")?
            }
        }
        let is_about_size = matches!(error.raw_os_error(), Some(libc::ERANGE | libc::EINVAL | libc::E2BIG));
        if *mtu > 1500 && is_about_size {
            write!(
                f,
                "; the MTU is {mtu}: with `ip link set dev {name} mtu 1500` native mode may be possible"
            )?;
        }
        Ok(())
    }
}

pub(super) fn guard_error(interface: &Interface, error: &io::Error) -> Diagnostic {
    let what = format!("attaching the guard program to {}", interface.name);
    tcx_error(what, interface, error, "use a newer kernel, or backend = \"xdp\"")
}

pub(super) fn probe_attach_error(interface: &Interface, error: &io::Error) -> Diagnostic {
    let what = format!("attaching the probe programs to {}", interface.name);
    tcx_error(what, interface, error, "use a newer kernel, or check the real servers' own addresses only")
}

pub(super) fn probe_switch_error(error: &io::Error) -> Diagnostic {
    Diagnostic::system("switching the probe programs")
        .cause(errno(error))
        .remedy("restart the director: something has detached them")
}

/// A classifier cannot be attached; `instead` is the remedy on a kernel without TCX.
fn tcx_error(what: String, interface: &Interface, error: &io::Error, instead: &str) -> Diagnostic {
    match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => not_allowed(what, errno(error)),
        Some(libc::EINVAL) => Diagnostic::system(what)
            .cause(format!("{}: this kernel has no TCX, which came with Linux 6.6", errno(error)))
            .remedy(instead),
        _ => Diagnostic::system(what)
            .cause(errno(error))
            .remedy(format!("see what else is attached: bpftool net show dev {}", interface.name)),
    }
}

pub(super) fn probe_load_error(interface: &Interface, error: &(dyn Error + 'static)) -> Diagnostic {
    tracing::debug!(interface = %interface.name, error, "the kernel refused the probe programs");
    from_chain(format!("loading the probe programs for {}", interface.name), error)
}

/// The interface has another XDP program.
pub(in crate::io) fn occupied(interface: &Interface) -> Diagnostic {
    let what = format!("attaching the steering program to {}", interface.name);
    let name = &interface.name;
    let (cause, remedy) = match attached_program(interface) {
        Ok(Some((id, program))) if program == STEER => (
            format!("another directrix runs there (its XDP program {program} has id {id})"),
            "stop it, or give this one another interface".to_owned(),
        ),
        Ok(Some((id, program))) => (
            format!("the XDP program {program} (id {id}) is attached there"),
            format!("stop whatever attached it, or remove it: ip link set dev {name} xdp off"),
        ),
        _ => (
            "another XDP program or AF_XDP socket is there".to_owned(),
            format!("see `ip -details link show dev {name}` and stop what uses it"),
        ),
    };
    Diagnostic::system(what).cause(format!("{}: {cause}", Errno::EBUSY)).remedy(remedy)
}

fn not_allowed(what: String, errno: String) -> Diagnostic {
    Diagnostic::system(what)
        .cause(format!("{errno}: CAP_NET_ADMIN, CAP_BPF or CAP_PERFMON is missing"))
        .remedy(CAPABILITIES)
}

/// Describes an aya error by the errno at its root, or else by its whole chain.
fn from_chain(what: String, error: &(dyn Error + 'static)) -> Diagnostic {
    match os_error(error) {
        Some(os) if matches!(os.raw_os_error(), Some(libc::EPERM | libc::EACCES)) => {
            not_allowed(what, errno(os))
        }
        Some(os) => Diagnostic::system(what)
            .cause(errno(os))
            .remedy("needs Linux 5.9 with CONFIG_BPF_SYSCALL and CONFIG_XDP_SOCKETS"),
        None => Diagnostic::system(what)
            .cause(error.to_string())
            .remedy("this is a fault of this build; please report it"),
    }
}

/// The error of the system call at the root of an aya error.
pub(in crate::io) fn os_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a io::Error> {
    std::iter::successors(Some(error), |error: &&(dyn Error + 'static)| (*error).source())
        .find_map(|error| error.downcast_ref::<io::Error>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::MacAddr;

    #[test]
    fn a_kernel_without_tcx_is_named() {
        let interface = Interface {
            name: "eth7".into(),
            index: 7,
            mac: MacAddr([2, 0, 0, 0, 0, 1]),
            mtu: 1500,
            queues: 1,
            addresses: Vec::new(),
            ipv6_addresses: Vec::new(),
        };
        let error = io::Error::from_raw_os_error(libc::EINVAL);
        for (refusal, program, remedy) in [
            (guard_error(&interface, &error), "the guard program to eth7", "backend = \"xdp\""),
            (probe_attach_error(&interface, &error), "the probe programs to eth7", "own addresses only"),
        ] {
            let text = refusal.to_string();
            for part in [program, "no TCX, which came with Linux 6.6", remedy] {
                assert!(text.contains(part), "{text}");
            }
        }
    }

    #[test]
    fn a_refusal_of_native_mode_names_its_true_cause() {
        let mac = MacAddr([2, 0, 0, 0, 0, 1]);
        let interface = Interface {
            name: "eth7".into(),
            index: 7,
            mac,
            mtu: 1500,
            queues: 1,
            addresses: Vec::new(),
            ipv6_addresses: Vec::new(),
        };
        let (unsupported, range) = (libc::EOPNOTSUPP, libc::ERANGE);
        let virtio = "Can't set XDP while host is implementing GRO_HW/CSUM, disable GRO_HW/CSUM first";
        for (mtu, errno, words, expected) in [
            (
                1500,
                unsupported,
                Some("Underlying driver does not support XDP in native mode"),
                "has no XDP (",
            ),
            (
                1500,
                unsupported,
                Some("underlying driver does not support XDP in native mode"),
                "has no XDP (",
            ),
            (1500, unsupported, Some(virtio), "refuses XDP as it is set up now: Can't set XDP while host is"),
            (1500, unsupported, None, "has no XDP, or refuses it as it is set up now (EOPNOTSUPP"),
            (9000, range, Some("Peer MTU is too large to set XDP"), "mtu 1500` native mode may be possible"),
        ] {
            let (interface, error) =
                (&Interface { mtu, ..interface.clone() }, &io::Error::from_raw_os_error(errno));
            let text = NativeRefusal { interface, error, words }.to_string();
            assert!(text.contains(expected), "{text}");
            assert!(NativeRefusal { interface, error, words }.into_error().to_string().contains("eth7"));
        }
    }
}
