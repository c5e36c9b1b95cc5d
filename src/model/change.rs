//! Changes of what is directed: each of ipvsadm's commands as a step on the model, without I/O.

use super::{Policy, RealServer, ServiceAddress, Timeouts, VirtualService};
use crate::time::Span;
use std::net::IpAddr;

/// What `ipvsadm -S` saves, and the timeouts and switches, which it loses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// In the order in which they were added. No address twice.
    pub services: Vec<VirtualService>,
    /// Connection timeouts.
    pub timeouts: Timeouts,
    /// What becomes of connections where IPVS leaves the choice.
    pub policy: Policy,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Scheduler, Weight};
    use crate::wire::Protocol;

    fn service(port: u16) -> ServiceAddress {
        ServiceAddress { protocol: Protocol::Tcp, address: ([192, 0, 2, 1], port).into() }
    }

    fn server(host: u8, weight: u16) -> RealServer {
        RealServer::new([192, 0, 2, host].into(), Weight(weight))
    }

    fn rules() -> Rules {
        let servers = vec![server(10, 1), server(11, 2)];
        let services =
            vec![VirtualService::new(service(80), servers), VirtualService::new(service(443), vec![])];
        Rules { services, ..Rules::default() }
    }

    fn after(change: Change) -> Rules {
        let mut rules = rules();
        rules.change(&change).unwrap();
        rules
    }

    #[test]
    fn each_change_does_what_it_says_and_no_more() {
        let added = after(Change::AddService(VirtualService::new(service(53), vec![server(12, 1)])));
        assert_eq!((added.services.len(), &added.services[..2]), (3, &rules().services[..]));
        let new = VirtualService { scheduler: Scheduler::Sed, ..VirtualService::new(service(80), vec![]) };
        let edited = after(Change::EditService(new));
        assert_eq!(edited.services[0].scheduler, Scheduler::Sed);
        assert_eq!(edited.services[0].servers, rules().services[0].servers, "its servers stay");
        assert_eq!(after(Change::DeleteService(service(80))).services, rules().services[1..]);
        assert_eq!(after(Change::Clear).services, []);
        assert_eq!(
            after(Change::AddServer(service(443), server(10, 5))).services[1].servers,
            [server(10, 5)]
        );
        let weighed = after(Change::EditServer(service(80), server(11, 9)));
        assert_eq!(weighed.services[0].servers, [server(10, 1), server(11, 9)]);
        let gone = after(Change::DeleteServer(service(80), [192, 0, 2, 10].into()));
        assert_eq!(gone.services[0].servers, [server(11, 2)]);
        let timeouts =
            after(Change::SetTimeouts([Span::from_secs(7), Span::default(), Span::from_secs(9)])).timeouts;
        let expected = Timeouts { tcp: Span::from_secs(7), udp: Span::from_secs(9), ..Timeouts::default() };
        assert_eq!(timeouts, expected);
    }

    #[test]
    fn a_fixed_mac_address_outlives_a_change_of_weight() {
        let mac = Some(crate::wire::MacAddr([2, 0, 0, 0, 0, 9]));
        let mut rules = rules();
        rules.services[0].servers[0].mac = mac;
        rules.change(&Change::EditServer(service(80), server(10, 7))).unwrap();
        assert_eq!(rules.services[0].servers[0], RealServer { mac, ..server(10, 7) });
    }

    #[test]
    fn what_does_not_go_is_refused_and_changes_nothing() {
        let (here, nowhere, rip) = (service(80), service(81), [192, 0, 2, 10].into());
        let cases = [
            (Change::AddService(VirtualService::new(here, vec![])), Refusal::ServiceExists(here)),
            (Change::EditService(VirtualService::new(nowhere, vec![])), Refusal::NoSuchService(nowhere)),
            (Change::DeleteService(nowhere), Refusal::NoSuchService(nowhere)),
            (Change::AddServer(here, server(10, 1)), Refusal::ServerExists(here, rip)),
            (Change::AddServer(nowhere, server(10, 1)), Refusal::NoSuchService(nowhere)),
            (Change::EditServer(service(443), server(10, 1)), Refusal::NoSuchServer(service(443), rip)),
            (Change::DeleteServer(service(443), rip), Refusal::NoSuchServer(service(443), rip)),
        ];
        for (change, refusal) in cases {
            let mut changed = rules();
            assert_eq!(changed.change(&change), Err(refusal));
            assert_eq!(changed, rules());
        }
    }
}
