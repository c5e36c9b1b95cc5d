//! The kernel's route to a real server, by which its probes leave.

use crate::sys::rtnetlink;
use std::io;
use std::net::IpAddr;

/// Route to a real server on a network of this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ServerRoute {
    /// Index of the interface: a VLAN or bridge device, where the address is on that.
    pub interface: u32,
    /// Source address that the kernel would choose.
    pub own: IpAddr,
}

impl ServerRoute {
    /// Looks up the route to a RIP in the calling thread's network namespace. `None` if there is none without a gateway, or
    /// none with an own address: no frame would reach the server then. A link-local address is looked for at the interface
    /// `link_local` alone.
    ///
    /// # Errors
    /// Errors of rtnetlink(7).
    pub fn of(rip: IpAddr, link_local: u32) -> io::Result<Option<Self>> {
        let is_link_local = matches!(rip, IpAddr::V6(rip) if rip.is_unicast_link_local());
        let route = rtnetlink::route(rip, is_link_local.then_some(link_local))?;
        let direct = route.filter(|route| route.is_unicast && !route.has_gateway);
        Ok(direct.and_then(|route| Some(Self { interface: route.interface?, own: route.source? })))
    }
}
