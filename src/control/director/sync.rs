//! Connection sync of the director: its start, and what the keeper is told of changes.

use super::Director;
use crate::control::keeper::syncing::{SyncOrder, SyncStart};
use crate::control::sync::{SyncDaemons, SyncEnding, SyncSocketError, SyncState};
use crate::model::{Role, Rules, Scheduler, VirtualService};
use crate::shadow::Digest;
use crate::sync::{SyncFacts, SyncRole};
use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Interval of looks whether the connections of another director have come.
const LOOK_EVERY: Duration = Duration::from_millis(100);

impl Director {
    /// Starts what the configuration has.
    pub(super) fn begin_sync(&mut self, state: SyncState) {
        self.sync = state;
        if let Some(failure) = &self.sync.failure {
            tracing::warn!(reason = failure, "connection sync does not run: it is tried again");
        }
        if let Some(ending) = self.sync.ending.take() {
            self.start_sync(ending);
        }
    }

    /// Replaces the daemons, all or none.
    ///
    /// # Errors
    /// If their sockets cannot be opened. The present ones then go on.
    pub(super) fn set_sync_daemons(&mut self, daemons: SyncDaemons) -> Result<(), SyncSocketError> {
        let ending = daemons.open()?;
        (self.sync.daemons, self.sync.failure) = (daemons, None);
        if self.sync.daemons.is_any() {
            self.start_sync(ending);
        } else {
            self.keeper.sync.order(SyncOrder::Stop);
            tracing::info!("connection sync has ended");
        }
        Ok(())
    }

    /// Tries again what has failed.
    pub(super) fn retry_sync(&mut self) {
        if self.sync.failure.is_none() {
            return;
        }
        match self.sync.daemons.open() {
            Ok(ending) => {
                self.sync.failure = None;
                self.start_sync(ending);
            }
            Err(error) => self.sync.failure = Some(error.to_string()),
        }
    }

    fn start_sync(&mut self, ending: SyncEnding) {
        // Another director is not to take this start for the one before.
        let random = [getrandom::u64(), getrandom::u64()].map(|half| half.unwrap_or_default().to_ne_bytes());
        let boot_id = &mut self.sync.facts.boot_id.0;
        random.into_iter().flatten().zip(boot_id).for_each(|(byte, of)| *of = byte);
        self.sync.facts = self.sync_facts();
        let SyncEnding { transmitter, listener } = ending;
        let (sends, receives) = (transmitter.is_some(), listener.is_some());
        let start = SyncStart {
            settings: self.sync.daemons.settings(),
            facts: self.sync.facts,
            transmitter,
            listener,
            names: Arc::new(self.registry.sync_names()),
        };
        self.keeper.sync.order(SyncOrder::Start(Box::new(start)));
        tracing::info!(sends, receives, "connection sync runs");
    }

    /// Tells the keeper of other services, real servers or timeouts.
    pub(super) fn renew_sync_names(&mut self) {
        if self.sync.daemons.is_any() {
            self.keeper.sync.order(SyncOrder::Names(Arc::new(self.registry.sync_names())));
            self.renew_sync_facts();
        }
    }

    /// Tells the keeper of another role, or other rules.
    pub(super) fn renew_sync_facts(&mut self) {
        if self.sync.daemons.is_any() {
            self.sync.facts = self.sync_facts();
            self.keeper.sync.order(SyncOrder::Facts(self.sync.facts));
        }
    }

    /// True while the connections of another director are awaited, at most for some seconds after the start.
    pub(super) fn awaits_sync(&self) -> bool {
        let receives = self.sync.daemons.backup.is_some() && self.sync.failure.is_none();
        receives && !self.keeper.sync.report().is_complete
    }

    /// Time of the next look at [`Director::awaits_sync`].
    pub(super) fn sync_look_at(&self) -> Option<Instant> {
        let awaits = !self.ready.readiness.has_started() && self.awaits_sync();
        awaits.then(|| Instant::now() + LOOK_EVERY)
    }

    fn sync_facts(&self) -> SyncFacts {
        let rules = self.registry.rules();
        SyncFacts {
            boot_id: self.sync.facts.boot_id,
            epoch: 0,
            role: sync_role(self.role.role()),
            config_hash: config_hash(&rules),
            mh_hash: mh_hash(&rules),
        }
    }
}

fn sync_role(role: Role) -> SyncRole {
    match role {
        Role::Standalone => SyncRole::Standalone,
        Role::Master => SyncRole::Master,
        Role::Backup => SyncRole::Backup,
        Role::Fault => SyncRole::Fault,
    }
}

/// Hash of the names of services and real servers, in whatever order.
fn config_hash(rules: &Rules) -> u64 {
    hash_of(rules.services.iter(), |text, service| {
        for of in service.all_matches() {
            let _ = write!(text, " {of}"); // a String takes everything
        }
        let mut servers: Vec<_> = service.servers.iter().map(|server| server.address).collect();
        servers.sort_unstable();
        let _ = write!(text, " {servers:?}");
    })
}

/// Hash of what the tables of scheduler mh are made of.
fn mh_hash(rules: &Rules) -> u64 {
    let services = rules.services.iter().filter(|service| service.scheduler == Scheduler::Mh);
    hash_of(services, |text, service| {
        let mut servers: Vec<_> =
            service.servers.iter().map(|server| (server.address, server.weight.0)).collect();
        servers.sort_unstable();
        let _ = write!(text, " {:?} {servers:?}", service.scheduler_flags);
    })
}

fn hash_of<'a>(
    services: impl Iterator<Item = &'a VirtualService>,
    describe: impl Fn(&mut String, &VirtualService),
) -> u64 {
    let line = |service: &VirtualService| {
        let mut text = service.identity.to_string();
        describe(&mut text, service);
        text
    };
    let mut lines: Vec<_> = services.map(line).collect();
    lines.sort_unstable();
    Digest::of(&lines.join("\n")).lower()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::parse;
    use std::path::Path;

    fn rules(services: &[(&str, &[&str])]) -> Rules {
        let mut text = "[director]\ninterface = \"eth0\"\n".to_owned();
        for (address, servers) in services {
            let _ = write!(
                text,
                "[[service]]\nscheduler = \"mh\"\nprotocol = \"tcp\"\naddress = \"{address}\"\n"
            );
            for server in *servers {
                let _ = write!(text, "[[service.server]]\n{server}\n");
            }
        }
        parse(Path::new("d.toml"), &text).unwrap().rules()
    }

    #[test]
    fn hashes_are_those_of_names_in_any_order() {
        let (one, two) = ("address = \"192.0.2.10\"", "address = \"192.0.2.11\"");
        let first = rules(&[("192.0.2.80:80", &[one, two]), ("192.0.2.80:81", &[one])]);
        let other = rules(&[("192.0.2.80:81", &[one]), ("192.0.2.80:80", &[two, one])]);
        assert_eq!((config_hash(&first), mh_hash(&first)), (config_hash(&other), mh_hash(&other)));
        let fewer = rules(&[("192.0.2.80:80", &[one, two])]);
        assert_ne!(config_hash(&first), config_hash(&fewer));
        let heavy = rules(&[
            ("192.0.2.80:80", &[one, "address = \"192.0.2.11\"\nweight = 2"]),
            ("192.0.2.80:81", &[one]),
        ]);
        assert_eq!(config_hash(&first), config_hash(&heavy), "weights are each director's own");
        assert_ne!(mh_hash(&first), mh_hash(&heavy));
    }
}
