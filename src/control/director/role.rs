//! The director's role: inputs of its source, and what follows from a change.

use super::Director;
use crate::control::api::events::EventSource;
use crate::control::api::role::RoleStatus;
use crate::control::log::audit::Origin;
use crate::control::role::RoleSignal;
use crate::control::state::events::EventSubject;
use crate::model::{Diagnostic, Role, RoleSource};
use crate::neighbor::{NeighborEvent, NeighborReport};
use crate::role::{RoleAction, RoleInput, RoleReport};

impl Director {
    /// Handles an input of the role's source.
    pub(super) fn handle_role_signal(&mut self, signal: &RoleSignal) {
        self.handle_role_input(signal.input());
    }

    /// Sets the role by a command.
    ///
    /// # Errors
    /// If the role has another source.
    pub(super) fn set_role(&mut self, role: Role, origin: &Origin) -> Result<(), Diagnostic> {
        let remedy = match self.role.machine.source() {
            RoleSource::Command if role != Role::Standalone => {
                self.handle_role_input(RoleInput::Command(role, &origin.to_string()));
                return Ok(());
            }
            RoleSource::Command => "name master, backup or fault",
            RoleSource::Standalone => {
                "add [ha] with role = \"command\" to the configuration, and restart the director"
            }
            RoleSource::Fifo(_) => "tell keepalived, as by its priority or a track_file",
            RoleSource::File { .. } => "write the word into the role file",
        };
        let what =
            format!("the role is not set by a command: its source is {}", self.role.machine.source().name());
        Err(Diagnostic::invalid_rules(what, remedy))
    }

    fn handle_role_input(&mut self, input: RoleInput<'_>) {
        let (now, mut actions) = (self.now(), Vec::new());
        self.role.machine.handle(input, now, &mut actions);
        for action in actions {
            match action {
                RoleAction::Change { from, to, cause } => self.change_role(from, to, &cause),
                RoleAction::Announce => {
                    tracing::warn!(
                        "another master of lower priority was heard: the VIPs are announced again"
                    );
                    self.send_neighbor_event(NeighborEvent::Announce);
                }
                RoleAction::Report(report) => log_report(&report),
            }
        }
    }

    fn change_role(&mut self, from: Role, to: Role, cause: &str) {
        self.send_neighbor_event(NeighborEvent::Role(to)); // first: what follows takes time
        self.renew_sync_facts();
        tracing::info!(role = %to, before = %from, cause, "role changed");
        // The task runs when the neighbor driver has sent the announcements; one after the other.
        let pending = self.role.changed();
        tokio::spawn(async move { pending.store() });
        self.record_role(format!("role {to}, before {from}: {cause}"));
        self.hasten_stop();
    }

    /// Records an event of the role, and calls the program `notify` of every service, each program once.
    fn record_role(&mut self, text: String) {
        self.events.add(EventSource::Role, EventSubject::default(), text);
        self.notify_all();
    }

    /// Follows a report about a VIP: another master, and its end.
    pub(super) fn follow_split_brain(&mut self, report: &NeighborReport) {
        match *report {
            NeighborReport::Held { vip, mac, server: None } if self.role.add_rival(vip, mac) => {
                tracing::error!(
                    %vip, %mac,
                    "split brain: this director is master, and another host answers for the VIP, too; see whether the \
                     directors hear each other's adverts"
                );
                self.record_role(format!("split brain: {mac} answers for the VIP {vip}, too"));
            }
            NeighborReport::ConflictOver { vip, mac, .. }
            | NeighborReport::Conflict { vip, mac, server: Some(_) }
                if self.role.remove_rival(vip, mac) =>
            {
                tracing::info!(%vip, %mac, "split brain is over: the VIP is announced again");
                self.record_role(format!("split brain is over: {mac} no longer answers for the VIP {vip}"));
            }
            NeighborReport::Released { vip } => self.role.forget_rivals(vip),
            _ => {}
        }
    }

    /// Looks whether frames still arrive long after the role is no longer master.
    pub(super) fn look_for_stale_frames(&mut self) {
        let workers = self.backend.workers.handles().iter();
        let forwarded = workers.map(|worker| worker.counters.forwarded.get()).sum();
        let now = self.now();
        if self.role.sample(forwarded, now) {
            tracing::warn!(
                "frames for the VIPs still arrive although this director is not master: they are forwarded"
            );
        }
    }

    /// Returns the role as clients see it.
    pub(super) fn role_status(&self) -> RoleStatus {
        self.role.status(self.now())
    }

    /// Returns a warning about frames that still arrive.
    pub(super) fn stale_warning(&self) -> Option<&'static str> {
        self.role.is_stale(self.now()).then_some(STALE)
    }
}

/// Warning about frames that still arrive.
const STALE: &str = "frames for the VIPs still arrive although this director is not master, and are forwarded: a host or \
                     switch on the way has not taken the master's announcement";

fn log_report(report: &RoleReport) {
    match report {
        RoleReport::WriterGone { stays: false } => {
            tracing::error!(
                "keepalived has died: the role becomes fault, as another director becomes master"
            );
        }
        RoleReport::WriterGone { stays: true } => {
            tracing::error!(
                "keepalived has died: the role stays, as configured; another director may become master"
            );
        }
        RoleReport::Unknown(text) => {
            tracing::warn!(text, "the source of the role says what is none of its words: the role stays");
        }
        RoleReport::OtherInstance { heard, ignored } => tracing::error!(
            heard,
            ignored,
            "several instances of keepalived speak: only the first is heard; add instance to [ha]"
        ),
    }
}
