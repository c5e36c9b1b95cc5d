//! An audit without a director: the driver with real servers and without claimed VIPs, for a bounded time.

use super::driver::{DriverReport, NeighborDriver};
use super::findings;
use super::sockets::NeighborSockets;
use super::vlans::NeighborCommand;
use crate::audit::{AuditFinding, AuditReport, AuditSettings, Auditor};
use crate::control::api::audit::Audit;
use crate::control::host::resolve::ResolvedHost;
use crate::model::{Config, Diagnostic, Diagnostics, InterfaceIndex};
use crate::neighbor::{NeighborEvent, NeighborSettings, Neighbors, Timing};
use crate::time::Span;
use std::net::IpAddr;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Questions a second.
const RATE: u64 = 20;
/// Time to find the real servers and to look into the last signs.
const MARGIN: Duration = Duration::from_secs(8);

/// An audit of this host's segment, ready to run.
#[derive(Debug)]
pub struct OwnAudit {
    host: ResolvedHost,
    settings: AuditSettings,
}

impl OwnAudit {
    /// Prepares an audit of the VIPs and real servers of `config`.
    ///
    /// # Errors
    /// Interfaces or real servers of the configuration that do not fit this host.
    pub fn new(config: &Config) -> Result<Self, Diagnostics> {
        let host = ResolvedHost::resolve(config).map_err(|error| error.errors)?;
        let seed = getrandom::u64().map_err(|error| {
            Diagnostics::from(Diagnostic::io("reading random numbers", &std::io::Error::other(error)))
        })?;
        let settings = AuditSettings {
            own_macs: host.interfaces.iter().map(|interface| interface.mac).collect(),
            peers: config.director.peers.clone(),
            interval: Span::from_secs(1),
            seed,
        };
        Ok(Self { host, settings })
    }

    /// Time in which every question is asked in both of its forms.
    #[must_use]
    pub fn duration(&self) -> Duration {
        let (vips, servers) = (self.host.vips.len() as u64, self.host.servers.len() as u64);
        let questions = 2 * (2 * vips + servers + vips * servers);
        Duration::from_secs(questions.div_ceil(RATE)) + MARGIN
    }

    /// Name of the interface on the clients' side.
    #[must_use]
    pub fn interface(&self) -> &str {
        &self.host.interfaces[0].name
    }

    /// Asks and listens for this time; `None`: without end. Passes each report to `report`, and returns the findings.
    ///
    /// # Errors
    /// [`Diagnostic`] if CAP_NET_RAW is missing, or an interface is gone or down.
    pub fn run(
        self,
        duration: Option<Duration>,
        report: impl FnMut(&AuditReport),
    ) -> Result<Audit, Diagnostic> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime =
            runtime.map_err(|error| Diagnostic::io("creating the event loop of the audit", &error))?;
        let found = runtime.block_on(self.ask(duration, report))?;
        Ok(findings::of(&found, 0))
    }

    async fn ask(
        self,
        duration: Option<Duration>,
        mut report: impl FnMut(&AuditReport),
    ) -> Result<Vec<AuditFinding>, Diagnostic> {
        let Self { host, settings } = self;
        let sockets = host.interfaces.iter().map(NeighborSockets::open).collect::<Result<Vec<_>, _>>()?;
        let machine = Neighbors::new(NeighborSettings {
            own_macs: settings.own_macs.clone(),
            on_conflict: crate::model::OnConflict::Standby,
            timing: Timing::default(),
            seed: settings.seed,
        });
        let failed = |error: &std::io::Error| Diagnostic::io("the event loop of the audit", error);
        let driver = NeighborDriver::new((machine, Auditor::new(settings)), sockets, Instant::now());
        let driver = driver.map_err(|error| failed(&error))?;
        let (commands, received) = mpsc::unbounded_channel();
        commands_for(&host).into_iter().for_each(|command| drop(commands.send(command)));
        let mut found = Vec::new();
        let run = driver.run(received, |one| {
            if let DriverReport::Audit(one) = one {
                report(&one);
                collect(&mut found, one);
            }
        });
        tokio::select! {
            ended = run => ended.map_err(|error| failed(&error))?,
            () = passed(duration) => {}
        }
        found.sort_by_key(|finding| std::cmp::Reverse(finding.level));
        Ok(found)
    }
}

/// Commands that start an audit on a host.
fn commands_for(host: &ResolvedHost) -> Vec<NeighborCommand> {
    let mut commands = vec![NeighborCommand::Vlans(host.vlans.clone())];
    let own = host.interfaces[0].addresses.iter().map(|(own, _)| *own);
    let sender = own.into_iter().find(|own| !host.vips.contains(&IpAddr::V4(*own)));
    commands.push(NeighborCommand::Sender(sender));
    let link_locals = host.interfaces.iter().enumerate().map(|(index, interface)| NeighborEvent::LinkLocal {
        interface: InterfaceIndex(index as u8),
        address: interface.link_local(),
    });
    commands.extend(link_locals.map(NeighborCommand::Event));
    commands
        .extend(host.servers.iter().map(|server| NeighborCommand::Event(NeighborEvent::AddServer(*server))));
    commands.extend(host.vips.iter().map(|vip| NeighborCommand::Observe(*vip)));
    commands
}

/// Adds an opened finding, and removes one that has ended while it was asked for. One that was only heard stays: it may
/// come again after a bounded audit.
fn collect(found: &mut Vec<AuditFinding>, report: AuditReport) {
    match report {
        AuditReport::Opened(finding) => found.push(finding),
        AuditReport::Closed(over) if over.asked => {
            let is_it = |one: &AuditFinding| {
                (one.misuse, one.address, one.mac) == (over.misuse, over.address, over.mac)
            };
            found.retain(|one| !is_it(one));
        }
        AuditReport::Closed(_) => {}
    }
}

async fn passed(duration: Option<Duration>) {
    match duration {
        Some(duration) => tokio::time::sleep(duration).await,
        None => std::future::pending().await,
    }
}
