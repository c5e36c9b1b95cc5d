//! Changes of what is directed: each of ipvsadm's commands as a step on the model, without I/O.

use super::{RealServer, ServiceAddress, Timeouts, VirtualService};
use crate::time::Span;
use std::net::IpAddr;

/// What `ipvsadm -S` saves, and the timeouts, which it loses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// In the order in which they were added. No address twice.
    pub services: Vec<VirtualService>,
    /// Connection timeouts.
    pub timeouts: Timeouts,
}

/// One step from rules to other rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// `-A`: the service and its servers, if it has any.
    AddService(VirtualService),
    /// `-E`: everything but its address and its servers.
    EditService(VirtualService),
    /// `-D`
    DeleteService(ServiceAddress),
    /// `-C`
    Clear,
    /// `-a`
    AddServer(ServiceAddress, RealServer),
    /// `-e`: everything but its address. A fixed MAC address stays if the new one has none.
    EditServer(ServiceAddress, RealServer),
    /// `-d`
    DeleteServer(ServiceAddress, IpAddr),
    /// `--set`: TCP, TCP after a FIN, UDP; [`Span::default`] leaves one as it is.
    SetTimeouts([Span; 3]),
}

/// Why a change cannot be made. The rules are as they were.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Its address is taken.
    #[error("there is a virtual service {0} already; edit it, or delete it first")]
    ServiceExists(ServiceAddress),
    /// It is not there.
    #[error("there is no virtual service {0}; add it first, or name one that `directrix ipvsadm -Ln` lists")]
    NoSuchService(ServiceAddress),
    /// The service has it already.
    #[error("virtual service {0} has the real server {1} already; edit it, or delete it first")]
    ServerExists(ServiceAddress, IpAddr),
    /// The service does not have it.
    #[error(
        "virtual service {0} has no real server {1}; add it first, or name one that `directrix ipvsadm -Ln` lists"
    )]
    NoSuchServer(ServiceAddress, IpAddr),
}

impl Rules {
    /// The service at `address`.
    ///
    /// # Errors
    /// [`Refusal::NoSuchService`].
    pub fn service(&self, address: ServiceAddress) -> Result<&VirtualService, Refusal> {
        let found = self.services.iter().find(|service| service.address == address);
        found.ok_or(Refusal::NoSuchService(address))
    }

    /// The server at `rip` of the service at `address`.
    ///
    /// # Errors
    /// [`Refusal::NoSuchService`], [`Refusal::NoSuchServer`].
    pub fn server(&self, address: ServiceAddress, rip: IpAddr) -> Result<&RealServer, Refusal> {
        let found = self.service(address)?.servers.iter().find(|server| server.address == rip);
        found.ok_or(Refusal::NoSuchServer(address, rip))
    }

    /// Makes one change.
    ///
    /// # Errors
    /// [`Refusal`]; nothing has changed then.
    pub fn change(&mut self, change: &Change) -> Result<(), Refusal> {
        match change {
            Change::AddService(service) => self.add_service(service),
            Change::EditService(service) => {
                let old = self.service_mut(service.address)?;
                let servers = std::mem::take(&mut old.servers);
                *old = VirtualService { servers, ..service.clone() };
                Ok(())
            }
            Change::DeleteService(address) => {
                self.service(*address)?;
                self.services.retain(|service| service.address != *address);
                Ok(())
            }
            Change::Clear => {
                self.services.clear();
                Ok(())
            }
            Change::AddServer(address, server) => self.add_server(*address, server),
            Change::EditServer(address, server) => {
                let old = self.server_mut(*address, server.address)?;
                *old = RealServer { mac: server.mac.or(old.mac), ..server.clone() };
                Ok(())
            }
            Change::DeleteServer(address, rip) => {
                self.server(*address, *rip)?;
                self.service_mut(*address)?.servers.retain(|server| server.address != *rip);
                Ok(())
            }
            Change::SetTimeouts(timeouts) => {
                self.set_timeouts(*timeouts);
                Ok(())
            }
        }
    }

    fn add_service(&mut self, service: &VirtualService) -> Result<(), Refusal> {
        if self.service(service.address).is_ok() {
            return Err(Refusal::ServiceExists(service.address));
        }
        self.services.push(service.clone());
        Ok(())
    }

    fn add_server(&mut self, address: ServiceAddress, server: &RealServer) -> Result<(), Refusal> {
        if self.server(address, server.address).is_ok() {
            return Err(Refusal::ServerExists(address, server.address));
        }
        self.service_mut(address)?.servers.push(server.clone());
        Ok(())
    }

    fn set_timeouts(&mut self, [tcp, tcp_fin, udp]: [Span; 3]) {
        let set = |timeout: &mut Span, new: Span| {
            if new > Span::default() {
                *timeout = new;
            }
        };
        set(&mut self.timeouts.tcp, tcp);
        set(&mut self.timeouts.tcp_fin, tcp_fin);
        set(&mut self.timeouts.udp, udp);
    }

    fn service_mut(&mut self, address: ServiceAddress) -> Result<&mut VirtualService, Refusal> {
        let found = self.services.iter_mut().find(|service| service.address == address);
        found.ok_or(Refusal::NoSuchService(address))
    }

    fn server_mut(&mut self, address: ServiceAddress, rip: IpAddr) -> Result<&mut RealServer, Refusal> {
        let found = self.service_mut(address)?.servers.iter_mut().find(|server| server.address == rip);
        found.ok_or(Refusal::NoSuchServer(address, rip))
    }
}
