//! Writes the configuration as TOML, with a comment for the origin of each part.

use super::description::At;
use super::draft::{
    CheckDraft, ConfigDraft, SERVER, SERVER_CHECK, SERVICE_CHECK, SORRY_SERVER, ServerDraft, ServiceDraft,
};
use super::notice::printable;
use super::validate::key;

/// Interface of the VIP traffic, and the origin of its name.
pub(super) struct InterfaceChoice {
    pub(super) name: String,
    pub(super) origin: String,
}

/// Writes the configuration. `source` describes the input.
pub(super) fn config(source: &str, interface: &InterfaceChoice, draft: &ConfigDraft) -> String {
    let mut out = Writer(String::new());
    out.comment(&format!("Written by \"directrix import\" from {source}."));
    out.comment("All keys and their meaning: directrix.example.toml. To check this file:");
    out.comment("directrix run --check --config FILE");
    out.blank();
    out.line("[director]");
    out.commented(&key("interface", &interface.name), &interface.origin);
    draft.switches.iter().for_each(|switch| out.located(switch));
    out.table("[director.timeouts]", &draft.timeouts);
    out.table("[sync]", &draft.sync);
    draft.services.iter().for_each(|service| out.service(service));
    out.0
}

struct Writer(String);

impl Writer {
    fn line(&mut self, line: &str) {
        self.0 += line;
        self.0.push('\n');
    }

    fn blank(&mut self) {
        self.0.push('\n');
    }

    fn comment(&mut self, text: &str) {
        self.line(&format!("# {}", printable(text)));
    }

    fn commented(&mut self, line: &str, text: &str) {
        self.line(&format!("{line}  # {}", printable(text)));
    }

    fn table(&mut self, header: &str, lines: &[At<String>]) {
        if !lines.is_empty() {
            self.blank();
            self.line(header);
        }
        lines.iter().for_each(|line| self.located(line));
    }

    /// Writes a line with its origin.
    fn located(&mut self, line: &At<String>) {
        self.commented(&line.value, &line.location.to_string());
    }

    fn service(&mut self, service: &ServiceDraft) {
        self.blank();
        self.comment(&format!("{}: {}", service.origin.location, service.origin.value));
        if let Some(reason) = &service.left_out {
            self.comment(&format!("Not carried over: {reason}."));
        }
        let live = service.left_out.is_none();
        self.keys(&service.keys, live);
        service.checks.iter().for_each(|check| self.check(SERVICE_CHECK, check, live));
        service.servers.iter().for_each(|server| self.server(SERVER, server, live));
        service.sorry_server.iter().for_each(|server| self.server(SORRY_SERVER, server, live));
    }

    fn server(&mut self, header: &str, server: &ServerDraft, live: bool) {
        if live {
            self.blank();
        }
        self.comment(&server.location.to_string());
        if let Some(reason) = &server.left_out {
            self.comment(&format!("Not carried over: {reason}."));
        }
        let live = live && server.left_out.is_none();
        self.keys(&[header.to_owned()], live);
        self.keys(&server.keys, live);
        server.checks.iter().for_each(|check| self.check(SERVER_CHECK, check, live));
    }

    fn check(&mut self, header: &str, check: &CheckDraft, live: bool) {
        if live {
            self.blank();
        }
        self.comment(&check.location.to_string());
        self.keys(&[header.to_owned()], live);
        self.keys(&check.keys, live);
    }

    fn keys(&mut self, keys: &[String], live: bool) {
        let mark = if live { "" } else { "# " };
        keys.iter().for_each(|key| self.line(&format!("{mark}{key}")));
    }
}
