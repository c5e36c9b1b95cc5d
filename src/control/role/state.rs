//! The director's role with its surroundings: when it came, which hosts have a VIP as well, what still arrives.

use super::kept::KeptRole;
use crate::control::api::role::{RoleMoment, RoleStatus, SplitBrain};
use crate::model::{HaConfig, Role};
use crate::role::RoleMachine;
use crate::time::{Span, Tick};
use crate::wire::MacAddr;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

/// The role, and what belongs to it.
#[derive(Debug)]
pub(in crate::control) struct RoleState {
    pub(in crate::control) machine: RoleMachine,
    kept: Arc<Mutex<KeptRole>>,
    linger: Span,
    since: SystemTime,
    /// Hosts that answer for a VIP while this director is master.
    rivals: BTreeSet<(IpAddr, MacAddr)>,
    /// Split brains since the start.
    split_brains: u64,
    stale: StaleTraffic,
}

/// Frames that still arrive although the role is not master.
#[derive(Debug, Default)]
struct StaleTraffic {
    /// Frames forwarded at the last look.
    forwarded: Option<u64>,
    /// Time of the last look that found some more.
    last: Option<Tick>,
}

/// A role that is to be kept over a restart. Writing a file takes milliseconds on a busy disk.
#[must_use]
pub(in crate::control) struct PendingStore {
    kept: Arc<Mutex<KeptRole>>,
    role: Role,
}

impl PendingStore {
    /// Writes the file.
    pub(in crate::control) fn store(self) {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).store(self.role);
    }
}

/// Time after which a lack of frames ends the warning.
const QUIET: Span = Span::from_secs(60);

impl RoleState {
    /// Creates the state of a director that starts at `now`.
    pub(in crate::control) fn new(ha: &HaConfig, kept: KeptRole, now: Tick) -> Self {
        let machine = RoleMachine::new(ha.role.clone(), kept.load(), now);
        let (rivals, stale) = (BTreeSet::new(), StaleTraffic::default());
        let kept = Arc::new(Mutex::new(kept));
        Self { machine, kept, linger: ha.linger, since: SystemTime::now(), rivals, split_brains: 0, stale }
    }

    pub(in crate::control) fn role(&self) -> Role {
        self.machine.role()
    }

    /// Follows a change of the role. Returns what is left to do once the VIPs are claimed or released.
    pub(in crate::control) fn changed(&mut self) -> PendingStore {
        self.since = SystemTime::now();
        self.rivals.clear();
        self.stale = StaleTraffic::default();
        PendingStore { kept: Arc::clone(&self.kept), role: self.machine.role() }
    }

    /// Records a host that answers for a VIP while this director is master. True if it is new.
    pub(in crate::control) fn add_rival(&mut self, vip: IpAddr, mac: MacAddr) -> bool {
        let is_new = self.role() == Role::Master && self.rivals.insert((vip, mac));
        self.split_brains += u64::from(is_new);
        is_new
    }

    /// Removes such a host. True if it was one.
    pub(in crate::control) fn remove_rival(&mut self, vip: IpAddr, mac: MacAddr) -> bool {
        self.rivals.remove(&(vip, mac))
    }

    /// Removes the hosts that have this VIP.
    pub(in crate::control) fn forget_rivals(&mut self, vip: IpAddr) {
        self.rivals.retain(|(of, _)| *of != vip);
    }

    /// Hosts that have a VIP as well.
    pub(in crate::control) fn rivals(&self) -> impl Iterator<Item = &(IpAddr, MacAddr)> {
        self.rivals.iter()
    }

    /// Takes the number of forwarded frames of all workers. True at the first that arrive after the linger time.
    pub(in crate::control) fn sample(&mut self, forwarded: u64, now: Tick) -> bool {
        if self.role().claims() || !now.reached(self.machine.since().after(self.linger)) {
            return false;
        }
        let before = self.stale.forwarded.replace(forwarded).unwrap_or(forwarded);
        let was_stale = self.is_stale(now);
        if forwarded > before {
            self.stale.last = Some(now);
        }
        !was_stale && self.is_stale(now)
    }

    /// True while frames arrive after the linger time.
    pub(in crate::control) fn is_stale(&self, now: Tick) -> bool {
        self.stale.last.is_some_and(|last| !now.reached(last.after(QUIET)))
    }

    /// The state as clients see it.
    pub(in crate::control) fn status(&self, now: Tick) -> RoleStatus {
        let counts = self.machine.counts();
        let wall = millis(SystemTime::now());
        let moment = |(at, text): (Tick, &str)| RoleMoment {
            time_ms: wall.saturating_sub(u64::from(now.since(at).millis())),
            text: text.to_owned(),
        };
        RoleStatus {
            role: self.role(),
            source: self.machine.source().name().into(),
            since_ms: millis(self.since),
            cause: self.machine.cause().into(),
            source_lives: self.machine.has_writer(),
            transitions: counts.transitions,
            heard: counts.heard,
            ignored: counts.ignored,
            unknown: counts.unknown,
            deaths: counts.deaths,
            split_brains: self.split_brains,
            split_brain: self
                .rivals
                .iter()
                .map(|(vip, mac)| SplitBrain { vip: *vip, mac: mac.to_string() })
                .collect(),
            recent: self.machine.recent().map(moment).collect(),
        }
    }
}

fn millis(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::RoleSource;
    use crate::role::RoleInput;

    const RIVAL: MacAddr = MacAddr([2, 0, 0, 0, 0, 9]);

    /// A director that takes commands, at this time after its start.
    fn state(directory: &std::path::Path) -> RoleState {
        let ha = HaConfig { role: RoleSource::Command, ..HaConfig::default() };
        RoleState::new(&ha, KeptRole::beside(&directory.join("control.sock")), Tick(0))
    }

    fn command(state: &mut RoleState, role: Role, now: Tick) {
        let mut actions = Vec::new();
        state.machine.handle(RoleInput::Command(role, "a test"), now, &mut actions);
        assert_eq!(actions.len(), 1);
        state.changed().store();
    }

    #[test]
    fn a_rival_counts_while_the_role_is_master() {
        let directory = tempfile::tempdir().unwrap();
        let (mut state, vip) = (state(directory.path()), IpAddr::from([192, 0, 2, 1]));
        assert!(!state.add_rival(vip, RIVAL), "a backup has no rival");
        command(&mut state, Role::Master, Tick(1));
        assert!(state.add_rival(vip, RIVAL) && !state.add_rival(vip, RIVAL));
        assert_eq!(state.status(Tick(2)).split_brain.len(), 1);
        assert!(state.remove_rival(vip, RIVAL) && !state.remove_rival(vip, RIVAL));
        state.add_rival(vip, RIVAL);
        command(&mut state, Role::Backup, Tick(3));
        let status = state.status(Tick(3));
        assert_eq!((status.split_brain.len(), status.split_brains, status.transitions), (0, 2, 2));
        assert_eq!(state.kept.lock().unwrap().load(), Some(Role::Backup));
    }

    #[test]
    fn frames_after_the_linger_time_are_found_once() {
        let directory = tempfile::tempdir().unwrap();
        let mut state = state(directory.path());
        let mut sample = |at, forwarded| (state.sample(forwarded, Tick(at)), state.is_stale(Tick(at)));
        assert_eq!(sample(10_000, 100), (false, false), "they are expected");
        assert_eq!(sample(31_000, 200), (false, false), "the first look after it");
        assert_eq!(sample(33_000, 200), (false, false));
        assert_eq!(sample(35_000, 201), (true, true));
        assert_eq!(sample(37_000, 300), (false, true), "once");
        assert_eq!(sample(96_000, 300), (false, true));
        assert_eq!(sample(97_000, 300), (false, false), "quiet for a minute");
        command(&mut state, Role::Master, Tick(98_000));
        assert!(!state.sample(900, Tick(200_000)), "a master's frames are its own");
    }
}
