//! ipvsadm's rules: what `ipvsadm -S` writes, /etc/ipvsadm.rules, or a plain list of ipvsadm calls.
//!
//! Lines are applied in order to an empty table, as `ipvsadm -R` does.

mod line;

use super::description::{At, Description, ImportedIdentity, ImportedServer, ImportedService, Place};
use super::environment::Environment;
use super::notice::{Notices, SYNC_DAEMON, SYNC_DAEMON_REMEDY, excerpt, printable, syntax_error};
use crate::ipvsadm::Command;
use crate::model::Diagnostics;
use line::RuleCommand;
use std::collections::HashMap;
use std::sync::Arc;

/// Reads a file of rules.
///
/// # Errors
/// Every line that ipvsadm would not accept.
pub(super) fn read(
    file: &str,
    text: &str,
    host: &dyn Environment,
    notices: &mut Notices,
) -> Result<Description, Diagnostics> {
    let file: Arc<str> = printable(file).into();
    let (mut table, mut faults) = (RuleTable::default(), Vec::new());
    for (number, line) in (1..).zip(text.lines()) {
        let location = Place { file: file.clone(), line: number };
        let words = words(line);
        if words.is_empty() {
            continue;
        }
        let done = line::read(&words, &location, host)
            .and_then(|rule| table.apply(rule, &At::new(&location, excerpt(line.trim())), notices));
        if let Err(fault) = done {
            let error = syntax_error("ipvsadm would not take this line", "").cause(excerpt(&fault));
            faults.push(error.at(location));
        }
    }
    if faults.is_empty() { Ok(table.description) } else { Err(Diagnostics(faults)) }
}

/// Splits a line up to its comment into words, without the name of the program.
fn words(line: &str) -> Vec<String> {
    let words = line.split_whitespace().take_while(|word| !word.starts_with('#'));
    let mut words: Vec<_> = words.map(str::to_owned).collect();
    if words.first().is_some_and(|first| is_program(first)) {
        words.remove(0);
    }
    words
}

/// Whether the first word of a line is ipvsadm, with or without a directory.
pub(super) fn is_program(word: &str) -> bool {
    word.rsplit('/').next() == Some("ipvsadm")
}

/// Services after the lines so far.
#[derive(Debug, Default)]
struct RuleTable {
    description: Description,
    /// Positions by the text of the key: files may have thousands of services.
    index: HashMap<String, usize>,
}

impl RuleTable {
    fn apply(&mut self, rule: RuleCommand, line: &At<String>, notices: &mut Notices) -> Result<(), String> {
        match rule.command {
            Command::AddService => self.add_service(rule, line)?,
            Command::EditService => {
                let position = self.position(&rule)?;
                self.description.services[position].settings = rule.settings;
            }
            Command::DeleteService => self.delete_service(&rule)?,
            Command::Clear => {
                self.description.services.clear();
                self.index.clear();
            }
            Command::AddServer | Command::EditServer => self.put_server(&rule, &line.location)?,
            Command::DeleteServer => self.delete_server(&rule)?,
            Command::SetTimeouts => self.set_timeouts(rule.timeouts.unwrap_or_default(), &line.location),
            Command::StartDaemon | Command::StopDaemon => {
                notices.warn(&line.location, SYNC_DAEMON, SYNC_DAEMON_REMEDY);
            }
            Command::Zero | Command::List | Command::Save | Command::Restore => {}
        }
        Ok(())
    }

    fn add_service(&mut self, rule: RuleCommand, line: &At<String>) -> Result<(), String> {
        let Some(vip) = rule.vip else { return Ok(()) };
        if self.index.contains_key(&vip.to_string()) {
            return Err(format!("{vip} is a service already"));
        }
        self.index.insert(vip.to_string(), self.description.services.len());
        let (origin, settings) = (line.clone(), rule.settings);
        let (health, servers) = (Vec::new(), Vec::new());
        let sorry_server = None;
        let service = ImportedService { origin, vip, settings, health, servers, sorry_server };
        self.description.services.push(service);
        Ok(())
    }

    fn position(&self, rule: &RuleCommand) -> Result<usize, String> {
        let vip = rule.vip.as_ref().map(ImportedIdentity::to_string).unwrap_or_default();
        self.index.get(&vip).copied().ok_or_else(|| format!("{vip} is not a service up to here"))
    }

    fn service(&mut self, rule: &RuleCommand) -> Result<&mut ImportedService, String> {
        let position = self.position(rule)?;
        Ok(&mut self.description.services[position])
    }

    fn delete_service(&mut self, rule: &RuleCommand) -> Result<(), String> {
        let position = self.position(rule)?;
        self.description.services.remove(position);
        let services = self.description.services.iter().enumerate();
        self.index = services.map(|(position, service)| (service.vip.to_string(), position)).collect();
        Ok(())
    }

    fn put_server(&mut self, rule: &RuleCommand, location: &Place) -> Result<(), String> {
        let Some((address, port)) = rule.server else { return Ok(()) };
        let service = self.service(rule)?;
        let server = ImportedServer {
            location: location.clone(),
            address,
            port,
            forward: rule.forward,
            weight: rule.weight,
            upper: rule.upper,
            lower: rule.lower,
            checks: Vec::new(),
        };
        let known = service.servers.iter_mut().find(|known| (known.address, known.port) == (address, port));
        match (known, rule.command) {
            (None, Command::AddServer) => service.servers.push(server),
            (Some(known), Command::EditServer) => *known = server,
            (None, _) => return Err(format!("{address} is not a server of this service up to here")),
            (Some(_), _) => return Err(format!("{address} is a server of this service already")),
        }
        Ok(())
    }

    fn delete_server(&mut self, rule: &RuleCommand) -> Result<(), String> {
        let servers = &mut self.service(rule)?.servers;
        let position = servers.iter().position(|server| Some((server.address, server.port)) == rule.server);
        servers.remove(position.ok_or("it names no server of this service")?);
        Ok(())
    }

    /// Sets timeouts; 0 keeps the current one.
    fn set_timeouts(&mut self, seconds: [u32; 3], location: &Place) {
        let [tcp, tcp_fin, udp] = seconds;
        let timeouts = &mut self.description.timeouts;
        for (timeout, seconds) in
            [(&mut timeouts.tcp, tcp), (&mut timeouts.tcp_fin, tcp_fin), (&mut timeouts.udp, udp)]
        {
            if seconds > 0 {
                *timeout = Some(At::new(location, seconds));
            }
        }
    }
}
