//! Exclusive claim on an interface: one director each, whatever its backend.

use super::Interface;
use crate::model::Diagnostic;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Exclusive right to serve an interface. It ends with this value, and with the process.
///
/// It is an abstract Unix socket named after the interface's index (unix(7)): such names belong to
/// one network namespace, exactly as the index does, and the kernel forgets them with the process.
#[derive(Debug)]
pub struct Claim {
    _socket: UnixDatagram,
}

impl Claim {
    /// Claims `interface`.
    ///
    /// # Errors
    /// [`Diagnostic`] if another directrix has claimed it.
    pub fn take(interface: &Interface) -> Result<Self, Diagnostic> {
        bind(interface.index).map(|_socket| Self { _socket }).map_err(|error| refusal(interface, &error))
    }

    /// True if another directrix has claimed it.
    #[must_use]
    pub fn is_taken(interface: &Interface) -> bool {
        bind(interface.index).is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse)
    }
}

/// True if /proc/net/unix shows a claim on any interface of this network namespace.
#[must_use]
pub fn is_any_served() -> bool {
    let is_claim =
        |line: &str| line.split_whitespace().last().is_some_and(|name| name.starts_with("@directrix/"));
    std::fs::read_to_string("/proc/net/unix").is_ok_and(|sockets| sockets.lines().any(is_claim))
}

fn bind(index: u32) -> io::Result<UnixDatagram> {
    UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(format!("directrix/{index}"))?)
}

fn refusal(interface: &Interface, error: &io::Error) -> Diagnostic {
    let what = format!("claiming {}", interface.name);
    match error.kind() {
        io::ErrorKind::AddrInUse => Diagnostic::system(what)
            .cause("another directrix serves this interface")
            .remedy("stop it first, or give this one another interface"),
        _ => Diagnostic::system(what)
            .cause(error.to_string())
            .remedy("allow Unix sockets to this process (systemd: RestrictAddressFamilies=… AF_UNIX)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::MacAddr;

    fn interface(index: u32) -> Interface {
        let (name, mac) = (format!("test{index}"), MacAddr([2, 0, 0, 0, 0, 1]));
        Interface {
            name,
            index,
            mac,
            mtu: 1500,
            queues: 1,
            addresses: Vec::new(),
            ipv6_addresses: Vec::new(),
        }
    }

    #[test]
    fn an_interface_has_one_director_at_a_time() {
        // No interface has an index this large; the process id keeps parallel test runs apart.
        let interface = interface(0x7000_0000 | std::process::id());
        let claim = Claim::take(&interface).unwrap();
        assert!(is_any_served());
        let refused = Claim::take(&interface).unwrap_err().to_string();
        assert!(refused.contains(&interface.name) && refused.contains("another directrix"), "{refused}");
        drop(claim);
        Claim::take(&interface).unwrap();
    }
}
