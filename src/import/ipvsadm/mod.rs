//! ipvsadm's rules: what `ipvsadm -S` writes, /etc/ipvsadm.rules, or a plain list of ipvsadm calls.
//!
//! Lines are carried out in their order upon an empty table, as `ipvsadm -R` would do it.

mod line;

pub(super) use line::checked_mask;

use super::description::{At, Description, Place, Server, Service, Vip};
use super::host::Host;
use super::remark::{Fault, Remarks, excerpt};
use crate::ipvsadm::Command;
use line::Order;
use std::collections::HashMap;
use std::rc::Rc;

/// Reads a file of rules.
///
/// # Errors
/// Every line that ipvsadm would not take.
pub(super) fn read(
    file: &str,
    text: &str,
    host: &dyn Host,
    remarks: &mut Remarks,
) -> Result<Description, Vec<Fault>> {
    let file: Rc<str> = file.into();
    let (mut table, mut faults) = (Table::default(), Vec::new());
    for (number, line) in (1..).zip(text.lines()) {
        let place = Place { file: file.clone(), line: number };
        let words = words(line);
        if words.is_empty() {
            continue;
        }
        let done = line::read(&words, &place, host)
            .and_then(|order| table.carry_out(order, &At::new(&place, excerpt(line.trim())), remarks));
        if let Err(fault) = done {
            faults.push(Fault::at(&place, format!("ipvsadm would not take this line: {}", excerpt(&fault))));
        }
    }
    if faults.is_empty() { Ok(table.description) } else { Err(faults) }
}

/// The words up to a comment, without the program's name.
fn words(line: &str) -> Vec<String> {
    let words = line.split_whitespace().take_while(|word| !word.starts_with('#'));
    let mut words: Vec<_> = words.map(str::to_owned).collect();
    if words.first().is_some_and(|first| is_program(first)) {
        words.remove(0);
    }
    words
}

/// Whether a line's first word is ipvsadm itself, with or without its directory.
pub(super) fn is_program(word: &str) -> bool {
    word.rsplit('/').next() == Some("ipvsadm")
}

#[derive(Debug, Default)]
struct Table {
    description: Description,
    /// By what is shown of the service, for files with many.
    index: HashMap<String, usize>,
}

impl Table {
    fn carry_out(&mut self, order: Order, line: &At<String>, remarks: &mut Remarks) -> Result<(), String> {
        match order.command {
            Command::AddService => self.add_service(order, line)?,
            Command::EditService => {
                let position = self.position(&order)?;
                self.description.services[position].settings = order.settings;
            }
            Command::DeleteService => self.delete_service(&order)?,
            Command::Clear => {
                self.description.services.clear();
                self.index.clear();
            }
            Command::AddServer | Command::EditServer => self.put_server(&order, &line.place)?,
            Command::DeleteServer => self.delete_server(&order)?,
            Command::SetTimeouts => self.set_timeouts(order.timeouts.unwrap_or_default(), &line.place),
            Command::StartDaemon | Command::StopDaemon => {
                remarks.lost(&line.place, SYNC_DAEMON.0, SYNC_DAEMON.1)
            }
            Command::Zero | Command::List | Command::Save | Command::Restore => {}
        }
        Ok(())
    }

    fn add_service(&mut self, order: Order, line: &At<String>) -> Result<(), String> {
        let Some(vip) = order.vip else { return Ok(()) };
        if self.index.contains_key(&vip.to_string()) {
            return Err(format!("{vip} is a service already"));
        }
        self.index.insert(vip.to_string(), self.description.services.len());
        let (origin, settings) = (line.clone(), order.settings);
        self.description.services.push(Service { origin, vip, settings, servers: Vec::new() });
        Ok(())
    }

    fn position(&self, order: &Order) -> Result<usize, String> {
        let vip = order.vip.as_ref().map(Vip::to_string).unwrap_or_default();
        self.index.get(&vip).copied().ok_or_else(|| format!("{vip} is not a service up to here"))
    }

    fn service(&mut self, order: &Order) -> Result<&mut Service, String> {
        let position = self.position(order)?;
        Ok(&mut self.description.services[position])
    }

    fn delete_service(&mut self, order: &Order) -> Result<(), String> {
        let position = self.position(order)?;
        self.description.services.remove(position);
        let services = self.description.services.iter().enumerate();
        self.index = services.map(|(position, service)| (service.vip.to_string(), position)).collect();
        Ok(())
    }

    fn put_server(&mut self, order: &Order, place: &Place) -> Result<(), String> {
        let Some((address, port)) = order.server else { return Ok(()) };
        let service = self.service(order)?;
        let server = Server {
            place: place.clone(),
            address,
            port,
            forward: order.forward,
            weight: order.weight,
            upper: order.upper,
            lower: order.lower,
        };
        let known = service.servers.iter_mut().find(|known| (known.address, known.port) == (address, port));
        match (known, order.command) {
            (None, Command::AddServer) => service.servers.push(server),
            (Some(known), Command::EditServer) => *known = server,
            (None, _) => return Err(format!("{address} is not a server of this service up to here")),
            (Some(_), _) => return Err(format!("{address} is a server of this service already")),
        }
        Ok(())
    }

    fn delete_server(&mut self, order: &Order) -> Result<(), String> {
        let servers = &mut self.service(order)?.servers;
        let gone = |server: &Server| Some((server.address, server.port)) == order.server;
        let position = servers.iter().position(gone);
        servers.remove(position.ok_or("it names no server of this service")?);
        Ok(())
    }

    /// 0 leaves a timeout as it is.
    fn set_timeouts(&mut self, [tcp, tcp_fin, udp]: [u32; 3], place: &Place) {
        let timeouts = &mut self.description.timeouts;
        for (timeout, seconds) in
            [(&mut timeouts.tcp, tcp), (&mut timeouts.tcp_fin, tcp_fin), (&mut timeouts.udp, udp)]
        {
            if seconds > 0 {
                *timeout = Some(At::new(place, seconds));
            }
        }
    }
}

/// What is so, and what to do.
pub(super) const SYNC_DAEMON: (&str, &str) = (
    "connections are not synchronised with another director",
    "a director that takes over starts with an empty table, and drops packets of connections that it does not know",
);
