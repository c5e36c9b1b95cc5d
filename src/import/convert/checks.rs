//! Health checks: one that all servers of a service have becomes a check of the service.

use super::Converter;
use crate::import::check::{CheckReach, ImportedCheck, timing_keys};
use crate::import::description::{At, Forward, ImportedServer};
use crate::import::draft::{CheckDraft, SERVICE_CHECK};
use crate::import::notice::NoticeLevel;
use crate::import::validate::key;
use crate::model::Diagnostic;

impl Converter<'_> {
    /// Converts the checks of a server. `service`: valid lines of a service with the port of this one.
    pub(super) fn checks(
        &mut self,
        server: &ImportedServer,
        service: &[String],
        port: u16,
    ) -> Vec<CheckDraft> {
        let mut drafts: Vec<CheckDraft> = Vec::new();
        for check in &server.checks {
            let draft = self.check(check, service, own_port(check, server, port));
            drafts.extend(draft.filter(|draft| !drafts.iter().any(|other| other.keys == draft.keys)));
        }
        drafts
    }

    fn check(&mut self, check: &ImportedCheck, service: &[String], port: Option<u16>) -> Option<CheckDraft> {
        let ImportedCheck { location, name, .. } = check;
        let mut keys = check.keys.clone();
        if check.reach != CheckReach::Local {
            keys.insert(1, key("target", "rip"));
            self.note_target(check);
        }
        keys.extend(port.map(|port| format!("port = {port}")));
        keys.extend(timing_keys(&check.timing));
        let Diagnostic { what, remedy, .. } = match self.check_error(&keys, service) {
            None => return Some(CheckDraft { location: location.clone(), keys }),
            Some(error) => error,
        };
        // An expression of another grammar: the rest of the check is better than none.
        let rest: Vec<_> = keys.iter().filter(|line| !line.starts_with("regex = ")).cloned().collect();
        let is_valid = rest.len() < keys.len() && self.check_error(&rest, service).is_none();
        let left_out = if is_valid { "its expression is left out" } else { "it is left out" };
        self.notices.warn(location, format!("{name}: {what}, so {left_out}"), remedy);
        is_valid.then(|| CheckDraft { location: location.clone(), keys: rest })
    }

    fn check_error(&mut self, keys: &[String], service: &[String]) -> Option<Diagnostic> {
        let keys = keys.join("\n");
        self.validator.error(&[service.join("\n"), SERVICE_CHECK.to_owned(), keys])
    }

    fn note_target(&mut self, check: &ImportedCheck) {
        let what = "health checks ask the RIP, as before: a server without the VIP passes them".to_owned();
        let instead =
            "write target = \"vip\" in place of \"rip\", with Linux 6.6 or later, to find that, too";
        self.notices.add(&check.location, NoticeLevel::Note, what, instead.to_owned());
    }

    /// Appends the keys of a service about the effects of health. `below`: the tables of its checks and servers.
    pub(super) fn health(&mut self, health: &[At<String>], keys: &mut Vec<String>, below: &str) {
        // The reason is reported with the service.
        let is_valid = self.validator.error(&[keys.join("\n"), below.to_owned()]).is_none();
        for At { location, value } in health {
            let more = [keys.join("\n"), value.clone(), below.to_owned()];
            match self.validator.error(&more).filter(|_| is_valid) {
                None => keys.push(value.clone()),
                Some(Diagnostic { what, remedy, .. }) => {
                    self.notices.warn(location, format!("{value}: {what}"), remedy);
                }
            }
        }
    }
}

/// The port to write: none if it is that of the service. A server that is prepared for direct routing gets the service's.
fn own_port(check: &ImportedCheck, server: &ImportedServer, service: u16) -> Option<u16> {
    let CheckReach::Port(own) = check.reach else { return None };
    let direct = server.forward == Forward::Direct && server.port != 0;
    own.or(direct.then_some(server.port)).filter(|port| *port != service)
}
