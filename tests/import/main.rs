//! `directrix import`: conversion of ipvsadm rules and keepalived.conf, and its notices.
#![allow(missing_docs)]

mod command;
mod definitions;
mod golden;
mod ipvsadm;
mod keepalived;
mod notices;

use directrix::import::{Environment, Import, ImportError, ImportSource, import};
use directrix::model::{self, Config, VirtualService};
use glob::{MatchOptions, Pattern};
use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// An environment with these files and two names.
#[derive(Debug, Default)]
pub struct Files(pub BTreeMap<&'static str, &'static str>);

impl Environment for Files {
    fn address(&self, name: &str) -> Option<IpAddr> {
        (name == "vip.example").then(|| IpAddr::from([192, 0, 2, 10]))
    }

    fn port(&self, name: &str, protocol: &str) -> Option<u16> {
        (name == "http" && protocol == "tcp").then_some(80)
    }

    fn name(&self) -> Option<String> {
        Some("main".into())
    }

    fn files(&self, pattern: &str) -> Vec<PathBuf> {
        let options = MatchOptions { require_literal_separator: true, ..MatchOptions::new() };
        let wanted = Pattern::new(pattern).unwrap();
        self.0.keys().filter(|file| wanted.matches_with(file, options)).map(PathBuf::from).collect()
    }

    fn read(&self, file: &Path) -> io::Result<Vec<u8>> {
        let text = self.0.get(file.to_str().unwrap()).ok_or(io::ErrorKind::NotFound)?;
        Ok(text.as_bytes().to_vec())
    }
}

pub fn source<'a>(file: &'a str, text: &'a str) -> ImportSource<'a> {
    ImportSource {
        file,
        bytes: text.as_bytes(),
        format: None,
        interface: Some("lan0"),
        direct: false,
        config_id: None,
    }
}

/// Imports a valid text.
#[track_caller]
pub fn imported(file: &str, text: &str, host: &Files) -> Import {
    import(&source(file, text), host).unwrap_or_else(|error| panic!("{error}"))
}

/// Parses the configuration of an import.
#[track_caller]
pub fn config(import: &Import) -> Config {
    model::parse(Path::new("d.toml"), &import.toml)
        .unwrap_or_else(|errors| panic!("{errors}\n{}", import.toml))
}

/// Returns the notices as text.
pub fn notices(import: &Import) -> Vec<String> {
    import.notices.iter().map(ToString::to_string).collect()
}

/// Whether a notice is about a setting that a later version may accept.
pub fn is_for_now(line: &str) -> bool {
    line.contains(": persistence of ") || line.contains(": one-packet scheduling ")
}

/// Imports an invalid text; returns its errors.
#[track_caller]
pub fn refused(text: &str, host: &Files) -> String {
    match import(&source("f", text), host) {
        Err(ImportError::BadInput(errors)) => errors.to_string(),
        other => panic!("{other:?}"),
    }
}

/// Formats each service as "TCP 192.0.2.10:80 wlc: 10.0.0.1*1 10.0.0.2*3".
pub fn shown(services: &[VirtualService]) -> String {
    let lines = services.iter().map(|service| {
        let flags: Vec<_> = service.scheduler_flags.names(service.scheduler).collect();
        let servers = service.servers.iter().map(|server| {
            let limits = match (server.upper_threshold, server.lower_threshold) {
                (0, 0) => String::new(),
                (upper, lower) => format!("({upper},{lower})"),
            };
            format!(" {}*{}{limits}", server.address, server.weight.0)
        });
        let flags = if flags.is_empty() { String::new() } else { format!(" ({})", flags.join(",")) };
        format!("{} {}{flags}:{}", service.identity, service.scheduler.name(), servers.collect::<String>())
    });
    lines.collect::<Vec<_>>().join("\n")
}
