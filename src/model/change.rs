//! Changes of the rules: each command of ipvsadm as a step on the model, without I/O.

use super::{
    Diagnostic, DiagnosticKind, FirewallMark, IpFamily, KnownGroup, Match, RealServer, Rules,
    ServiceIdentity, Subject, VirtualService,
};
use crate::time::Span;
use crate::wire::vlan::Vlans;
use std::net::IpAddr;

/// One step from rules to other rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// `-A`: the service and its servers, if it has any. A group without matches gets the known ones of its mark.
    AddService(VirtualService),
    /// `-E`: everything but its identity, its servers and its health checks. A group without matches keeps its own.
    EditService(VirtualService),
    /// `-D`
    DeleteService(ServiceIdentity),
    /// `-C`
    Clear,
    /// `-a`
    AddServer(ServiceIdentity, RealServer),
    /// `-e`: everything but its address, its health checks and its role. A fixed MAC address stays if the new one has
    /// none.
    EditServer(ServiceIdentity, RealServer),
    /// `-d`
    DeleteServer(ServiceIdentity, IpAddr),
    /// `--set`: TCP, TCP after a FIN, UDP; [`Span::default`] leaves one as it is.
    SetTimeouts([Span; 3]),
}

/// Remedy for a missing service or server.
const ADD_OR_NAME: &str = "add it first, or name one that `directrix ipvsadm -Ln` lists";

fn service_exists(service: ServiceIdentity) -> Diagnostic {
    let what = format!("there is a virtual service {service} already");
    let error = Diagnostic::new(DiagnosticKind::ServiceExists, what);
    error.remedy("edit it, or delete it first").about([Subject::Service(service)])
}

fn unknown_mark(mark: FirewallMark) -> Diagnostic {
    let what =
        format!("no matches are known for {mark}: the director takes frames before a firewall can mark them");
    let vip = if mark.family == IpFamily::Ipv4 { "192.0.2.10" } else { "[2001:db8::10]" };
    let remedy = format!(
        "add a table [[mark]] with mark = {} and match = [\"tcp:{vip}:80\", \"tcp:{vip}:443\"] to the configuration file, \
         reload it, then add the service again",
        mark.mark
    );
    Diagnostic::new(DiagnosticKind::UnknownMark, what).remedy(remedy).about([Subject::Service(mark.into())])
}

fn no_such_service(service: ServiceIdentity) -> Diagnostic {
    let what = format!("there is no virtual service {service}");
    let error = Diagnostic::new(DiagnosticKind::NoSuchService, what);
    error.remedy(ADD_OR_NAME).about([Subject::Service(service)])
}

fn server_exists(service: ServiceIdentity, rip: IpAddr) -> Diagnostic {
    let what = format!("virtual service {service} has the real server {rip} already");
    let error = Diagnostic::new(DiagnosticKind::ServerExists, what);
    error.remedy("edit it, or delete it first").about([Subject::Server(service, rip)])
}

fn no_such_server(service: ServiceIdentity, rip: IpAddr) -> Diagnostic {
    let what = format!("virtual service {service} has no real server {rip}");
    let error = Diagnostic::new(DiagnosticKind::NoSuchServer, what);
    error.remedy(ADD_OR_NAME).about([Subject::Server(service, rip)])
}

impl Rules {
    /// The service of this identity.
    ///
    /// # Errors
    /// [`DiagnosticKind::NoSuchService`].
    pub fn service(&self, identity: ServiceIdentity) -> Result<&VirtualService, Diagnostic> {
        let found = self.services.iter().find(|service| service.identity == identity);
        found.ok_or_else(|| no_such_service(identity))
    }

    /// The VLANs of a new service: those of the other services of its VIPs, or else of its own known group, or else of
    /// the known groups of its VIPs.
    /// `group` has the matches of a new group, if a command names them.
    #[must_use]
    pub fn vlan(&self, service: ServiceIdentity, group: &[Match]) -> Vlans {
        let own = service.mark().and_then(|mark| self.marks.get(&mark)).filter(|_| group.is_empty());
        let vips: Vec<_> = match (&service, own) {
            (ServiceIdentity::Address(of), _) => vec![of.address.ip()],
            (ServiceIdentity::Mark(_), Some(own)) => own.matches.iter().map(|of| of.vip).collect(),
            (ServiceIdentity::Mark(_), None) => group.iter().map(|of| of.vip).collect(),
        };
        let shares = |of: &Match| vips.contains(&of.vip);
        let other = self.services.iter().find(|service| service.matches().any(|of| shares(&of)));
        let known = || own.or_else(|| self.marks.values().find(|known| known.matches.iter().any(shares)));
        other.map(|of| of.vlan).or_else(|| known().map(|of| of.vlan)).unwrap_or_default()
    }

    /// The server at `rip` of a service.
    ///
    /// # Errors
    /// [`DiagnosticKind::NoSuchService`], [`DiagnosticKind::NoSuchServer`].
    pub fn server(&self, identity: ServiceIdentity, rip: IpAddr) -> Result<&RealServer, Diagnostic> {
        let found = self.service(identity)?.servers.iter().find(|server| server.address == rip);
        found.ok_or_else(|| no_such_server(identity, rip))
    }

    /// Applies one change.
    ///
    /// # Errors
    /// [`Diagnostic`]; nothing has changed then.
    pub fn change(&mut self, change: &Change) -> Result<(), Diagnostic> {
        match change {
            Change::AddService(service) => self.add_service(service),
            Change::EditService(service) => {
                let old = self.service_mut(service.identity)?;
                let (group, servers) = (std::mem::take(&mut old.group), std::mem::take(&mut old.servers));
                let group = if service.group.is_empty() { group } else { service.group.clone() };
                let (checks, panic) = (std::mem::take(&mut old.checks), old.panic);
                let (effects, passive) = (old.effects.clone(), old.passive);
                *old = VirtualService { group, servers, checks, panic, effects, passive, ..service.clone() };
                Ok(())
            }
            Change::DeleteService(identity) => {
                self.service(*identity)?;
                self.remove_services(|service| service.identity == *identity);
                Ok(())
            }
            Change::Clear => {
                self.remove_services(|_| true);
                Ok(())
            }
            Change::AddServer(identity, server) => self.add_server(*identity, server),
            Change::EditServer(identity, server) => {
                let old = self.server_mut(*identity, server.address)?;
                let checks = std::mem::take(&mut old.checks);
                let (mac, role) = (server.mac.or(old.mac), old.role);
                *old = RealServer { mac, checks, role, ..server.clone() };
                Ok(())
            }
            Change::DeleteServer(identity, rip) => {
                self.server(*identity, *rip)?;
                self.service_mut(*identity)?.servers.retain(|server| server.address != *rip);
                Ok(())
            }
            Change::SetTimeouts(timeouts) => {
                self.set_timeouts(*timeouts);
                Ok(())
            }
        }
    }

    fn add_service(&mut self, service: &VirtualService) -> Result<(), Diagnostic> {
        if self.service(service.identity).is_ok() {
            return Err(service_exists(service.identity));
        }
        let mut service = service.clone();
        if let ServiceIdentity::Mark(mark) = service.identity {
            let known = self.marks.remove(&mark);
            if service.group.is_empty() {
                service.group = known.ok_or_else(|| unknown_mark(mark))?.matches;
            }
        }
        self.services.push(service);
        Ok(())
    }

    /// Removes services. The matches of a removed group stay known, so that `-A` can add it again.
    fn remove_services(&mut self, is_removed: impl Fn(&VirtualService) -> bool) {
        for service in self.services.extract_if(.., |service| is_removed(service)) {
            if let ServiceIdentity::Mark(mark) = service.identity {
                self.marks.insert(mark, KnownGroup { matches: service.group, vlan: service.vlan });
            }
        }
    }

    fn add_server(&mut self, identity: ServiceIdentity, server: &RealServer) -> Result<(), Diagnostic> {
        if self.server(identity, server.address).is_ok() {
            return Err(server_exists(identity, server.address));
        }
        self.service_mut(identity)?.servers.push(server.clone());
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

    fn service_mut(&mut self, identity: ServiceIdentity) -> Result<&mut VirtualService, Diagnostic> {
        let found = self.services.iter_mut().find(|service| service.identity == identity);
        found.ok_or_else(|| no_such_service(identity))
    }

    fn server_mut(&mut self, identity: ServiceIdentity, rip: IpAddr) -> Result<&mut RealServer, Diagnostic> {
        let found = self.service_mut(identity)?.servers.iter_mut().find(|server| server.address == rip);
        found.ok_or_else(|| no_such_server(identity, rip))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Timeouts;
    use crate::model::{Scheduler, ServiceAddress, Weight};
    use crate::wire::Protocol;

    fn service(port: u16) -> ServiceIdentity {
        ServiceAddress { protocol: Protocol::Tcp, address: ([192, 0, 2, 1], port).into() }.into()
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

    fn group(mark: u32, family: IpFamily, matches: &[&str]) -> VirtualService {
        let mark = FirewallMark { mark: mark.try_into().unwrap(), family };
        let group = matches.iter().map(|of| of.parse().unwrap()).collect();
        VirtualService { group, ..VirtualService::new(mark, Vec::new()) }
    }

    #[test]
    fn matches_of_a_removed_group_stay_known() {
        let whole = group(7, IpFamily::Ipv4, &["tcp:192.0.2.1:80", "tcp:192.0.2.1:8080-8089"]);
        let bare = group(7, IpFamily::Ipv4, &[]);
        let mut rules = rules();
        for removal in [Change::DeleteService(whole.identity), Change::Clear] {
            rules.change(&Change::AddService(whole.clone())).unwrap();
            rules.change(&removal).unwrap();
            rules.change(&Change::AddService(bare.clone())).unwrap();
            assert_eq!(rules.services.last(), Some(&whole));
            let edited = VirtualService { scheduler: Scheduler::Sed, ..bare.clone() };
            rules.change(&Change::EditService(edited)).unwrap();
            assert_eq!(rules.services.last().unwrap().group, whole.group, "an edit leaves them");
            rules.change(&Change::DeleteService(whole.identity)).unwrap();
        }
    }

    #[test]
    fn a_mark_without_known_matches_is_refused_with_a_remedy() {
        for (family, vip) in [(IpFamily::Ipv4, "192.0.2.10"), (IpFamily::Ipv6, "[2001:db8::10]")] {
            let mut rules = rules();
            rules.change(&Change::AddService(group(8, family, &[]))).unwrap_err();
            let error = rules.change(&Change::AddService(group(7, family, &[]))).unwrap_err();
            assert_eq!(error.kind, DiagnosticKind::UnknownMark);
            assert!(error.remedy.contains(&format!("mark = 7 and match = [\"tcp:{vip}:80\"")), "{error}");
            assert_eq!(rules, self::rules());
        }
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
