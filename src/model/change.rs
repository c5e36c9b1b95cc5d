//! Changes of the rules: each command of ipvsadm as a step on the model, without I/O.

use super::{Diagnostic, DiagnosticKind, RealServer, Rules, ServiceAddress, Subject, VirtualService};
use crate::time::Span;
use crate::wire::vlan::Vlans;
use std::net::IpAddr;

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

/// Remedy for a missing service or server.
const ADD_OR_NAME: &str = "add it first, or name one that `directrix ipvsadm -Ln` lists";

fn service_exists(service: ServiceAddress) -> Diagnostic {
    let what = format!("there is a virtual service {service} already");
    let error = Diagnostic::new(DiagnosticKind::ServiceExists, what);
    error.remedy("edit it, or delete it first").about([Subject::Service(service)])
}

fn no_such_service(service: ServiceAddress) -> Diagnostic {
    let what = format!("there is no virtual service {service}");
    let error = Diagnostic::new(DiagnosticKind::NoSuchService, what);
    error.remedy(ADD_OR_NAME).about([Subject::Service(service)])
}

fn server_exists(service: ServiceAddress, rip: IpAddr) -> Diagnostic {
    let what = format!("virtual service {service} has the real server {rip} already");
    let error = Diagnostic::new(DiagnosticKind::ServerExists, what);
    error.remedy("edit it, or delete it first").about([Subject::Server(service, rip)])
}

fn no_such_server(service: ServiceAddress, rip: IpAddr) -> Diagnostic {
    let what = format!("virtual service {service} has no real server {rip}");
    let error = Diagnostic::new(DiagnosticKind::NoSuchServer, what);
    error.remedy(ADD_OR_NAME).about([Subject::Server(service, rip)])
}

impl Rules {
    /// The service at `address`.
    ///
    /// # Errors
    /// [`DiagnosticKind::NoSuchService`].
    pub fn service(&self, address: ServiceAddress) -> Result<&VirtualService, Diagnostic> {
        let found = self.services.iter().find(|service| service.address == address);
        found.ok_or_else(|| no_such_service(address))
    }

    /// The VLANs of a VIP; none without a service.
    #[must_use]
    pub fn vlan(&self, vip: IpAddr) -> Vlans {
        let of_vip = self.services.iter().find(|service| service.address.address.ip() == vip);
        of_vip.map_or(Vlans::NONE, |service| service.vlan)
    }

    /// The server at `rip` of the service at `address`.
    ///
    /// # Errors
    /// [`DiagnosticKind::NoSuchService`], [`DiagnosticKind::NoSuchServer`].
    pub fn server(&self, address: ServiceAddress, rip: IpAddr) -> Result<&RealServer, Diagnostic> {
        let found = self.service(address)?.servers.iter().find(|server| server.address == rip);
        found.ok_or_else(|| no_such_server(address, rip))
    }

    /// Applies one change.
    ///
    /// # Errors
    /// [`Diagnostic`]; nothing has changed then.
    pub fn change(&mut self, change: &Change) -> Result<(), Diagnostic> {
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

    fn add_service(&mut self, service: &VirtualService) -> Result<(), Diagnostic> {
        if self.service(service.address).is_ok() {
            return Err(service_exists(service.address));
        }
        self.services.push(service.clone());
        Ok(())
    }

    fn add_server(&mut self, address: ServiceAddress, server: &RealServer) -> Result<(), Diagnostic> {
        if self.server(address, server.address).is_ok() {
            return Err(server_exists(address, server.address));
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

    fn service_mut(&mut self, address: ServiceAddress) -> Result<&mut VirtualService, Diagnostic> {
        let found = self.services.iter_mut().find(|service| service.address == address);
        found.ok_or_else(|| no_such_service(address))
    }

    fn server_mut(&mut self, address: ServiceAddress, rip: IpAddr) -> Result<&mut RealServer, Diagnostic> {
        let found = self.service_mut(address)?.servers.iter_mut().find(|server| server.address == rip);
        found.ok_or_else(|| no_such_server(address, rip))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Timeouts;
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
    fn each_change_changes_its_target_only() {
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
        let rest = after(Change::DeleteServer(service(80), [192, 0, 2, 10].into()));
        assert_eq!(rest.services[0].servers, [server(11, 2)]);
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
    fn invalid_change_is_refused_without_effect() {
        let (here, nowhere, rip) = (service(80), service(81), [192, 0, 2, 10].into());
        let cases = [
            (Change::AddService(VirtualService::new(here, vec![])), service_exists(here)),
            (Change::EditService(VirtualService::new(nowhere, vec![])), no_such_service(nowhere)),
            (Change::DeleteService(nowhere), no_such_service(nowhere)),
            (Change::AddServer(here, server(10, 1)), server_exists(here, rip)),
            (Change::AddServer(nowhere, server(10, 1)), no_such_service(nowhere)),
            (Change::EditServer(service(443), server(10, 1)), no_such_server(service(443), rip)),
            (Change::DeleteServer(service(443), rip), no_such_server(service(443), rip)),
        ];
        for (change, refusal) in cases {
            let mut changed = rules();
            assert_eq!(changed.change(&change), Err(refusal));
            assert_eq!(changed, rules());
        }
    }
}
