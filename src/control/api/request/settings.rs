//! Requested settings as parts of the model.

use super::{Persistence, ServerSettings, ServiceSettings, within};
use crate::model::{
    self, Diagnostic, DiagnosticKind, IpFamily, Match, RealServer, Scheduler, SchedulerFlags,
    ServiceIdentity, VirtualService, Weight,
};
use crate::time::Span;
use crate::wire::MacAddr;
use std::net::{IpAddr, Ipv4Addr};

fn no_such_scheduler(name: &str) -> Diagnostic {
    let error = Diagnostic::new(DiagnosticKind::NoSuchScheduler, format!("there is no scheduler {name:?}"));
    error.remedy(format!("there are {}", Scheduler::NAMES.join(", ")))
}

impl ServiceSettings {
    pub(super) fn service(&self, identity: ServiceIdentity) -> Result<VirtualService, Diagnostic> {
        let scheduler = self.scheduler.parse().map_err(|()| no_such_scheduler(&self.scheduler))?;
        Ok(VirtualService {
            scheduler,
            scheduler_flags: self.flags(scheduler)?,
            persistence: self
                .persistence
                .as_ref()
                .map(|of| persistence(of, identity.family()))
                .transpose()?,
            one_packet: self.one_packet,
            slow_start: self.slow_start.filter(|seconds| *seconds > 0).map(Span::from_secs),
            group: self.matches.iter().map(|of| of.parse()).collect::<Result<Vec<Match>, _>>()?,
            ..VirtualService::new(identity, Vec::new())
        })
    }

    fn flags(&self, scheduler: Scheduler) -> Result<SchedulerFlags, Diagnostic> {
        let mut flags = SchedulerFlags::default();
        for name in &self.scheduler_flags {
            let known = || scheduler.flag_names().join(" and ");
            let remedy =
                || if known().is_empty() { "it has none".into() } else { format!("it has {}", known()) };
            let fault =
                |_| Diagnostic::invalid_rules(format!("{} has no flag {name:?}", scheduler.name()), remedy());
            flags.set(scheduler, name).map_err(fault)?;
        }
        Ok(flags)
    }
}

pub(super) fn persistence(
    requested: &Persistence,
    family: IpFamily,
) -> Result<model::Persistence, Diagnostic> {
    within("persistence", requested.timeout)?;
    if let Some(engine) = &requested.engine {
        return Err(Diagnostic::invalid_rules(
            format!("there is no persistence engine {engine:?}"),
            "leave it out",
        ));
    }
    let prefix = match (requested.prefix, requested.netmask) {
        (Some(_), Some(_)) => {
            return Err(Diagnostic::invalid_rules(
                "persistence has both prefix and netmask",
                "leave out one of them",
            ));
        }
        (prefix, None) => prefix.unwrap_or(model::Persistence::prefix_max(family)),
        (None, Some(mask)) if family == IpFamily::Ipv4 => length(mask)?,
        (None, Some(mask)) => {
            return Err(Diagnostic::invalid_rules(
                format!("netmask {mask} for clients with IPv6 addresses"),
                "give a prefix",
            ));
        }
    };
    Ok(model::Persistence { timeout: Span::from_secs(requested.timeout), prefix })
}

fn length(mask: Ipv4Addr) -> Result<u8, Diagnostic> {
    let bits = mask.to_bits();
    let gaps =
        || Diagnostic::invalid_rules(format!("netmask {mask} has gaps"), "write one like 255.255.255.0");
    (bits.leading_ones() == bits.count_ones()).then_some(bits.leading_ones() as u8).ok_or_else(gaps) // at most 32
}

impl ServerSettings {
    pub(super) fn server(&self, address: IpAddr) -> Result<RealServer, Diagnostic> {
        let mac = self.mac.as_deref().map(mac).transpose()?;
        let Self { upper_threshold, lower_threshold, .. } = *self;
        let weight = Weight(self.weight);
        Ok(RealServer { mac, upper_threshold, lower_threshold, ..RealServer::new(address, weight) })
    }

    /// Checks the thresholds as `ip_vs_add_dest` and `ip_vs_edit_dest` do (net/netfilter/ipvs/ip_vs_ctl.c).
    pub(super) fn thresholds(&self) -> Result<(), Diagnostic> {
        let Self { lower_threshold: lower, upper_threshold: upper, .. } = *self;
        if lower <= upper {
            return Ok(());
        }
        let what = format!("the lower threshold {lower} is above the upper one, {upper}");
        Err(Diagnostic::new(DiagnosticKind::OutOfRange, what).remedy("give at most that"))
    }
}

fn mac(text: &str) -> Result<MacAddr, Diagnostic> {
    let mac: Option<MacAddr> = text.parse().ok().filter(|mac: &MacAddr| mac.is_unicast());
    let remedy = "give the server's own, as in 02:00:5e:10:00:01";
    mac.ok_or_else(|| Diagnostic::invalid_rules(format!("{text:?} is not one station's MAC address"), remedy))
}
