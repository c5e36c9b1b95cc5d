//! A `virtual` of ldirectord.cf as a virtual service.

use super::checks;
use super::lines::Setting;
use super::reader::{ServiceReader, number};
use super::real::{self, Real};
use crate::import::description::{
    At, ImportedIdentity, ImportedPersistence, ImportedServer, ImportedService, ImportedSettings,
    ImportedSorryServer,
};
use crate::import::netmask;
use crate::import::notice::{Notices, excerpt};
use crate::ipvsadm::TIMEOUT_MAX;
use crate::model::{Diagnostic, IpFamily};
use crate::wire::Protocol;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;

/// Bound of the servers of all services in a file.
pub(super) const COUNT_MAX: usize = u16::MAX as usize;

/// Scheduler of ldirectord unless written.
const SCHEDULER: &str = "wrr";

impl ServiceReader<'_> {
    /// Reads the service. `room`: servers that may still be added.
    pub(super) fn read(
        &self,
        room: &mut usize,
        notices: &mut Notices,
    ) -> Result<ImportedService, Vec<Diagnostic>> {
        let protocol = self.protocol().map_err(|fault| vec![fault])?;
        let vip = self.vip(protocol).map_err(|fault| vec![fault])?;
        let mut faults = Vec::new();
        let settings = self.settings(vip, protocol).map_err(|fault| faults.push(fault)).unwrap_or_default();
        let plan =
            checks::CheckPlan::read(self, vip, protocol, notices).map_err(|fault| faults.push(fault)).ok();
        let mut servers = Vec::new();
        for line in self.of.settings.iter().filter(|of| matches!(of.keyword.as_str(), "real" | "real6")) {
            match real::read(line, protocol, *room, self.host) {
                Ok(real) => {
                    *room = room.saturating_sub(real.addresses.len());
                    servers.extend(server(line, &real, plan.as_ref(), notices));
                }
                Err(fault) => faults.push(fault),
            }
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        let sorry_server = self.sorry_server(vip, protocol, notices);
        let health = self.health(&servers, notices);
        let heading = &self.of.heading;
        let origin = At::new(&heading.location, excerpt(&format!("{} = {}", heading.keyword, heading.value)));
        Ok(ImportedService { origin, vip, settings, health, servers, sorry_server })
    }

    /// Returns the protocol: UDP for port 53, else TCP, unless written. A firewall mark has "fwm".
    fn protocol(&self) -> Result<Protocol, Diagnostic> {
        let value = &self.of.heading.value;
        let usual =
            if value.ends_with(":53") || value.ends_with(":domain") { Protocol::Udp } else { Protocol::Tcp };
        let Some(setting) = self.own("protocol") else { return Ok(usual) };
        match setting.text() {
            "tcp" => Ok(Protocol::Tcp),
            "udp" => Ok(Protocol::Udp),
            "fwm" if self.mark().is_some() => Ok(usual),
            _ => Err(setting.error("it is neither tcp nor udp", "write one of these, or remove it")),
        }
    }

    fn mark(&self) -> Option<NonZeroU32> {
        self.of.heading.value.parse().ok()
    }

    fn vip(&self, protocol: Protocol) -> Result<ImportedIdentity, Diagnostic> {
        let heading = &self.of.heading;
        if let Some(mark) = self.mark() {
            let family = if heading.keyword == "virtual6" { IpFamily::Ipv6 } else { IpFamily::Ipv4 };
            return Ok(ImportedIdentity::Mark(mark.get(), family));
        }
        match real::endpoint(&heading.value, protocol, self.host) {
            Ok(address) => Ok(ImportedIdentity::Address(protocol, address)),
            Err(what) => Err(heading.error(&what, "write it as in \"virtual = 192.0.2.1:80\"")),
        }
    }

    fn settings(&self, vip: ImportedIdentity, protocol: Protocol) -> Result<ImportedSettings, Diagnostic> {
        let scheduler = match self.own("scheduler") {
            Some(setting) => At::new(&setting.location, setting.text().to_owned()),
            None => At::new(&self.of.heading.location, SCHEDULER.to_owned()),
        };
        let one_packet = match self.own("ops") {
            Some(setting) if self.is_yes(setting)? && protocol == Protocol::Udp => {
                Some(setting.location.clone())
            }
            _ => None,
        };
        let scheduler = Some(scheduler);
        let persistence = self.persistence(vip)?;
        Ok(ImportedSettings { scheduler, persistence, one_packet, ..ImportedSettings::default() })
    }

    /// The netmask counts with `persistent` only.
    fn persistence(&self, vip: ImportedIdentity) -> Result<Option<At<ImportedPersistence>>, Diagnostic> {
        let Some(setting) = self.own("persistent") else { return Ok(None) };
        let timeout = number(setting, 1, TIMEOUT_MAX)?;
        let netmask = match self.own("netmask") {
            Some(mask) => netmask::parse(mask.text(), vip.is_ipv6())
                .map_err(|what| mask.error(&what, "write 255.255.255.0, or for IPv6 a number as 64"))?,
            None => None,
        };
        Ok(Some(At::new(&setting.location, ImportedPersistence { timeout, netmask })))
    }

    /// The effects of health: lines of `[[service]]`. ldirectord begins with servers that are down.
    fn health(&self, servers: &[ImportedServer], notices: &mut Notices) -> Vec<At<String>> {
        if servers.iter().all(|server| server.checks.is_empty()) {
            return Vec::new();
        }
        let location = &self.of.heading.location;
        let mut lines = vec!["panic = 0", "alpha = true"];
        if self.find("quiescent").is_none_or(|setting| setting.text() != "yes") {
            lines.push("inhibit_on_failure = false");
            notices.note(
                location,
                "ldirectord removes a server that is down unless quiescent = yes, and its connections hang; directrix lets them go on",
                "write on_down = \"cut\" into [[service]] to end them by a reset",
            );
        }
        lines.into_iter().map(|line| At::new(location, line.to_owned())).collect()
    }

    /// Reads the server that takes over when no other is left.
    fn sorry_server(
        &self,
        vip: ImportedIdentity,
        protocol: Protocol,
        notices: &mut Notices,
    ) -> Option<ImportedSorryServer> {
        let line = self.find(if vip.is_ipv6() { "fallback6" } else { "fallback" })?;
        match real::read_fallback(line, protocol, self.host) {
            Ok(real) => {
                let server = server(line, &real, None, notices).into_iter().next()?;
                Some(ImportedSorryServer { server, inhibit: false })
            }
            Err(Diagnostic { what, remedy, .. }) => {
                notices.warn(&line.location, what, remedy);
                None
            }
        }
    }
}

fn server(
    line: &Setting,
    real: &Real,
    plan: Option<&checks::CheckPlan>,
    notices: &mut Notices,
) -> Vec<ImportedServer> {
    let server = |address: &IpAddr| {
        let at = SocketAddr::new(*address, real.port);
        ImportedServer {
            location: line.location.clone(),
            address: *address,
            port: real.port,
            forward: real.forward,
            weight: if plan.is_some_and(|plan| plan.is_off) { 0 } else { real.weight },
            upper: 0,
            lower: 0,
            checks: plan.map(|plan| plan.checks(line, at, real.talk.as_ref(), notices)).unwrap_or_default(),
        }
    };
    real.addresses.iter().map(server).collect()
}
