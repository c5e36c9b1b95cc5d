//! A director's role: a machine of (input of the source, now) → role, without I/O.
//!
//! Invariants:
//! - The role changes by the configured source alone, and by each change once: the same role again changes nothing.
//! - Without evidence of a living source the role is not master: at the start it is backup, unless keepalived lives and
//!   has told an earlier process of this director another role.
//! - keepalived's end makes the role fault ([`OnWriterDeath::Stop`]), as its peer becomes master without its adverts.

#![forbid(unsafe_code)]

mod line;

use crate::model::{OnWriterDeath, Role, RoleSource};
use crate::time::{Span, Tick};
use line::{LineEvent, LineReader, RoleLine, Speaker};
use std::collections::{BTreeSet, VecDeque};

/// Number of inputs that are listed.
const RECENT_MAX: usize = 16;
/// Most other instances that are named.
const OTHERS_MAX: usize = 8;

/// Least time between two [`RoleAction::Announce`]; each starts a round of five seconds.
const ANNOUNCE_GAP: Span = Span::from_secs(1);

/// Input of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoleInput<'a> {
    /// Bytes from the FIFO; lines may be cut anywhere.
    Bytes(&'a [u8]),
    /// The FIFO is open and has a writer.
    WriterLives,
    /// The FIFO's writer has ended, or the FIFO has been removed or replaced.
    WriterGone,
    /// Content of the role file; `None` if there is none.
    File(Option<&'a str>),
    /// `directrix role`, with the user that typed it.
    Command(Role, &'a str),
}

/// Output of the machine, to be carried out in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RoleAction {
    /// The role has changed.
    Change {
        /// The role before.
        from: Role,
        /// The present role.
        to: Role,
        /// The input that changed it.
        cause: String,
    },
    /// Announce every VIP again.
    Announce,
    /// Report to the operator.
    Report(RoleReport),
}

/// Report about a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RoleReport {
    /// keepalived has ended without a word.
    WriterGone {
        /// The role stays as it is.
        stays: bool,
    },
    /// A line that is none of keepalived's, or a role file with another word.
    Unknown(String),
    /// A line of another instance, the first of it, while none is configured.
    OtherInstance {
        /// The instance or group that is heard.
        heard: String,
        /// The one that is ignored.
        ignored: String,
    },
}

/// Numbers of inputs since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RoleCounts {
    /// Changes of the role.
    pub transitions: u64,
    /// Lines of the instance.
    pub heard: u64,
    /// Lines of others, and of health checks.
    pub ignored: u64,
    /// Lines and words without a meaning.
    pub unknown: u64,
    /// Ends of keepalived without a word.
    pub deaths: u64,
}

/// The machine of one source.
#[derive(Debug)]
pub struct RoleMachine {
    source: RoleSource,
    /// Role of an earlier process, until the source has spoken.
    kept: Option<Role>,
    role: Role,
    since: Tick,
    cause: String,
    counts: RoleCounts,
    recent: VecDeque<(Tick, String)>,
    lines: LineReader,
    /// The FIFO has a writer.
    has_writer: bool,
    /// The instance that is heard, if none is configured.
    speaker: Option<Speaker>,
    others: BTreeSet<Speaker>,
    /// Time of the last [`RoleAction::Announce`].
    announced: Option<Tick>,
}

impl RoleMachine {
    /// Creates the machine of `source`. `kept`: the role that an earlier process of this director has kept.
    #[must_use]
    pub fn new(source: RoleSource, kept: Option<Role>, now: Tick) -> Self {
        let (role, cause) = match (&source, kept) {
            (RoleSource::Standalone, _) => (Role::Standalone, "no source of a role is configured".to_owned()),
            (RoleSource::Command, Some(kept)) => (kept, KEPT.to_owned()),
            (RoleSource::Command, None) => (Role::Backup, "no command yet".to_owned()),
            (RoleSource::Fifo(_), _) => (Role::Backup, "no line of keepalived yet".to_owned()),
            (RoleSource::File { .. }, _) => (Role::Backup, "the role file has not been read yet".to_owned()),
        };
        Self {
            source,
            kept,
            role,
            since: now,
            cause,
            counts: RoleCounts::default(),
            recent: VecDeque::new(),
            lines: LineReader::default(),
            has_writer: false,
            speaker: None,
            others: BTreeSet::new(),
            announced: None,
        }
    }

    /// Gives a new machine the role of the process that it takes over from, if its source has roles.
    pub fn carry_on(&mut self, role: Role) {
        if self.source != RoleSource::Standalone && role != Role::Standalone {
            (self.role, self.kept) = (role, Some(role));
            self.cause = KEPT.to_owned();
        }
    }

    /// The role.
    #[must_use]
    pub fn role(&self) -> Role {
        self.role
    }

    /// The source.
    #[must_use]
    pub fn source(&self) -> &RoleSource {
        &self.source
    }

    /// Time of the last change, or of the start.
    #[must_use]
    pub fn since(&self) -> Tick {
        self.since
    }

    /// The input that led to the role.
    #[must_use]
    pub fn cause(&self) -> &str {
        &self.cause
    }

    /// Numbers of inputs.
    #[must_use]
    pub fn counts(&self) -> RoleCounts {
        self.counts
    }

    /// The latest inputs with their times, the latest last.
    pub fn recent(&self) -> impl Iterator<Item = (Tick, &str)> {
        self.recent.iter().map(|(at, text)| (*at, text.as_str()))
    }

    /// True if the source lives: for a FIFO, that it has a writer.
    #[must_use]
    pub fn has_writer(&self) -> bool {
        self.has_writer
    }

    /// Handles an input. Appends to `actions`.
    pub fn handle(&mut self, input: RoleInput<'_>, now: Tick, actions: &mut Vec<RoleAction>) {
        match input {
            RoleInput::Bytes(bytes) => {
                self.has_writer = true;
                let mut lines = Vec::new();
                self.lines.push(bytes, |line| lines.push(line.to_owned()));
                lines.iter().for_each(|line| self.hear(line, now, actions));
            }
            RoleInput::WriterLives => {
                self.has_writer = true;
                self.take_kept(now, actions);
            }
            RoleInput::WriterGone => self.writer_gone(now, actions),
            RoleInput::File(word) => self.read_word(word, now, actions),
            RoleInput::Command(role, by) => self.change(role, &format!("{role}, by {by}"), now, actions),
        }
    }

    /// Takes the role that keepalived told an earlier process: it says nothing until its state changes.
    fn take_kept(&mut self, now: Tick, actions: &mut Vec<RoleAction>) {
        if let Some(kept) = self.kept.take() {
            self.change(kept, KEPT, now, actions);
        }
    }

    fn hear(&mut self, line: &str, now: Tick, actions: &mut Vec<RoleAction>) {
        let (speaker, event) = match RoleLine::of(line) {
            RoleLine::Of(speaker, event) => (speaker, event),
            RoleLine::HealthCheck => {
                self.counts.ignored += 1;
                return;
            }
            RoleLine::Unknown => return self.unknown(line, now, actions),
        };
        if !self.hears(&speaker, actions) {
            self.counts.ignored += 1;
            return;
        }
        self.counts.heard += 1;
        self.kept = None;
        match event {
            LineEvent::Role(role) => self.change(role, line, now, actions),
            LineEvent::Stopped => self.change(Role::Fault, line, now, actions),
            LineEvent::LowerMaster => self.announce(line, now, actions),
            LineEvent::Priority => self.record(line, now),
        }
    }

    /// Has the VIPs announced again. Such a line may come with every advert of the other master, 100 times a second.
    fn announce(&mut self, line: &str, now: Tick, actions: &mut Vec<RoleAction>) {
        if self.announced.is_none_or(|last| now.reached(last.after(ANNOUNCE_GAP))) {
            self.announced = Some(now);
            self.record(line, now);
            actions.push(RoleAction::Announce);
        }
    }

    /// True if lines of the instance or group count. Without a configured one, those of the first one that is heard.
    fn hears(&mut self, speaker: &Speaker, actions: &mut Vec<RoleAction>) -> bool {
        let RoleSource::Fifo(fifo) = &self.source else { return false };
        if let Some(instance) = &fifo.instance {
            return *instance == speaker.name;
        }
        let heard = self.speaker.get_or_insert_with(|| speaker.clone());
        if heard == speaker {
            return true;
        }
        if self.others.len() < OTHERS_MAX && self.others.insert(speaker.clone()) {
            let (heard, ignored) = (heard.name.clone(), speaker.name.clone());
            actions.push(RoleAction::Report(RoleReport::OtherInstance { heard, ignored }));
        }
        false
    }

    fn writer_gone(&mut self, now: Tick, actions: &mut Vec<RoleAction>) {
        self.lines.reset();
        if !std::mem::take(&mut self.has_writer) {
            return;
        }
        let RoleSource::Fifo(fifo) = &self.source else { return };
        // After its STOP the end is expected.
        if self.role == Role::Fault {
            return self.record("keepalived has ended", now);
        }
        let stays = fifo.on_writer_death == OnWriterDeath::Keep;
        self.counts.deaths += 1;
        actions.push(RoleAction::Report(RoleReport::WriterGone { stays }));
        if stays {
            self.record(DIED, now);
        } else {
            self.change(Role::Fault, DIED, now, actions);
        }
    }

    fn read_word(&mut self, word: Option<&str>, now: Tick, actions: &mut Vec<RoleAction>) {
        let Some(text) = word else {
            return self.change(Role::Backup, "there is no role file", now, actions);
        };
        match Role::settable(text.trim()) {
            Some(role) => self.change(role, &format!("{role} in the role file"), now, actions),
            None => self.unknown(text, now, actions),
        }
    }

    fn unknown(&mut self, text: &str, now: Tick, actions: &mut Vec<RoleAction>) {
        const SHOWN: usize = 80;
        let shown: String = text.trim_end().chars().take(SHOWN).collect();
        self.counts.unknown += 1;
        self.record(&format!("unknown: {shown:?}"), now);
        actions.push(RoleAction::Report(RoleReport::Unknown(shown)));
    }

    fn change(&mut self, to: Role, cause: &str, now: Tick, actions: &mut Vec<RoleAction>) {
        self.record(cause, now);
        self.cause = cause.to_owned();
        let from = std::mem::replace(&mut self.role, to);
        if from != to {
            self.since = now;
            self.counts.transitions += 1;
            actions.push(RoleAction::Change { from, to, cause: cause.to_owned() });
        }
    }

    fn record(&mut self, text: &str, now: Tick) {
        if self.recent.len() >= RECENT_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back((now, text.to_owned()));
    }
}

/// Cause of a role that an earlier process has kept.
const KEPT: &str = "kept from before the restart of this director";
/// Cause of a fault.
const DIED: &str = "keepalived has died";

#[cfg(test)]
mod tests;
