//! Writes directrix's configuration, with comments that say where each part comes from.

use super::description::At;
use super::fit::{Draft, SERVER, ServerDraft, ServiceDraft};
use super::judge::key;
use super::remark::printable;

/// Where VIP traffic arrives, and where that comes from.
pub(super) struct Interface {
    pub(super) name: String,
    pub(super) origin: String,
}

/// The whole file. `source` says what it was made of.
pub(super) fn write(source: &str, interface: &Interface, draft: &Draft) -> String {
    let mut out = Writer(String::new());
    out.comment(&format!("Written by \"directrix import\" from {source}."));
    out.comment(
        "What each key means, and those that are not here: directrix.example.toml. To check this file:",
    );
    out.comment("directrix run --check --config FILE");
    out.blank();
    out.line("[director]");
    out.commented(&key("interface", &interface.name), &interface.origin);
    out.timeouts(&draft.timeouts);
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

    fn timeouts(&mut self, timeouts: &[At<String>]) {
        if !timeouts.is_empty() {
            self.blank();
            self.line("[director.timeouts]");
        }
        for timeout in timeouts {
            self.commented(&timeout.value, &timeout.place.to_string());
        }
    }

    fn service(&mut self, service: &ServiceDraft) {
        self.blank();
        self.comment(&format!("{}: {}", service.origin.place, service.origin.value));
        if let Some(why) = &service.left_out {
            self.comment(&format!("Not carried over: {why}."));
        }
        let live = service.left_out.is_none();
        self.keys(&service.keys, live);
        service.servers.iter().for_each(|server| self.server(server, live));
    }

    fn server(&mut self, server: &ServerDraft, live: bool) {
        if live {
            self.blank();
        }
        self.comment(&server.place.to_string());
        if let Some(why) = &server.left_out {
            self.comment(&format!("Not carried over: {why}."));
        }
        let live = live && server.left_out.is_none();
        self.keys(&[SERVER.to_owned()], live);
        self.keys(&server.keys, live);
    }

    fn keys(&mut self, keys: &[String], live: bool) {
        let mark = if live { "" } else { "# " };
        keys.iter().for_each(|key| self.line(&format!("{mark}{key}")));
    }
}
