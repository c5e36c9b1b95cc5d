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
    /// Claims `interface`; `None` while another directrix has claimed it.
    ///
    /// # Errors
    /// [`Diagnostic`] if the system refuses.
    pub fn try_take(interface: &Interface) -> Result<Option<Self>, Diagnostic> {
        match bind(interface.index) {
            Ok(_socket) => Ok(Some(Self { _socket })),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => Ok(None),
            Err(error) => Err(Diagnostic::system(format!("claiming {}", interface.name))
                .cause(error.to_string())
                .remedy("allow Unix sockets to this process (systemd: RestrictAddressFamilies=… AF_UNIX)")),
        }
    }

    /// Error that another directrix has claimed `interface`.
    #[must_use]
    pub fn refused(interface: &Interface) -> Diagnostic {
        Diagnostic::system(format!("claiming {}", interface.name))
            .cause("another directrix serves this interface")
            .remedy("stop it first, or give this one another interface")
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::freed::when_free;
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
        let claim = Claim::try_take(&interface).unwrap();
        assert!(claim.is_some() && is_any_served() && Claim::is_taken(&interface));
        assert!(Claim::try_take(&interface).unwrap().is_none());
        drop(claim);
        when_free(|| Claim::try_take(&interface).unwrap());
    }
}
