//! The carrier of the director's interfaces: looked after, logged, and told to ARP.

use crate::control::api;
use crate::control::director::Director;
use crate::control::log::limit::LogLimiter;
use crate::io::Interface;
use crate::model::{Diagnostic, InterfaceIndex};
use crate::neighbor::ArpEvent;
use std::time::Instant;

/// What is known of the interfaces.
#[derive(Debug)]
pub(in crate::control) struct Carriers {
    /// In the order of [`crate::control::host::resolve::ResolvedHost::arms`].
    all: Vec<InterfaceCarrier>,
    /// What may be logged about each, by its place.
    limiter: LogLimiter<usize>,
}

#[derive(Debug)]
struct InterfaceCarrier {
    name: String,
    has_carrier: bool,
}

impl Carriers {
    /// All up, as ARP takes them to be until it is told otherwise.
    pub(in crate::control) fn new(arms: &[Interface]) -> Self {
        let link = |arm: &Interface| InterfaceCarrier { name: arm.name.clone(), has_carrier: true };
        Self { all: arms.iter().map(link).collect(), limiter: LogLimiter::default() }
    }

    pub(in crate::control) fn are_up(&self) -> bool {
        self.all.iter().all(|link| link.has_carrier)
    }

    /// Those without carrier, by name.
    pub(in crate::control) fn down(&self) -> Vec<String> {
        self.all.iter().filter(|link| !link.has_carrier).map(|link| link.name.clone()).collect()
    }

    /// As the control socket tells them.
    pub(in crate::control) fn list(&self) -> Vec<api::Interface> {
        let of = |link: &InterfaceCarrier| api::Interface { name: link.name.clone(), up: link.has_carrier };
        self.all.iter().map(of).collect()
    }

    /// Takes what there is now; what that is for ARP, where it is something else than before.
    fn update(&mut self, carriers: &[bool]) -> Vec<(usize, ArpEvent)> {
        let mut changes = Vec::new();
        for (index, (link, now)) in self.all.iter_mut().zip(carriers).enumerate() {
            let number = InterfaceIndex(index as u8); // at most two
            if std::mem::replace(&mut link.has_carrier, *now) != *now {
                changes.push((
                    index,
                    if *now { ArpEvent::InterfaceUp(number) } else { ArpEvent::InterfaceDown(number) },
                ));
            }
        }
        changes
    }
}

impl<F: FnMut()> Director<F> {
    /// Looks whether the interfaces are the ones that were there at the start, and have a carrier.
    ///
    /// # Errors
    /// If one is gone, or has another MAC address.
    pub(in crate::control) fn look_at_links(&mut self) -> Result<(), Diagnostic> {
        let carriers: Vec<_> =
            self.host.arms.iter().map(Interface::check_carrier).collect::<Result<_, _>>()?;
        for (index, command) in self.links.update(&carriers) {
            let interface = &self.host.arms[index].name;
            self.links.limiter.log(index, Instant::now(), || log(interface, command));
            self.command(command);
        }
        Ok(())
    }
}

fn log(interface: &str, command: ArpEvent) {
    match command {
        ArpEvent::InterfaceDown(_) => tracing::warn!(
            interface,
            "link down: no frame is received or sent there; see to the cable, the switch port, or `ip link`"
        ),
        _ => tracing::info!(interface, "link up: probing, announcing and asking for real servers again"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::host::next_hop::tests::eth0;

    #[test]
    fn each_change_of_a_carrier_is_told_once() {
        let arms = [eth0(&[]), Interface { name: "eth1".into(), ..eth0(&[]) }];
        let mut links = Carriers::new(&arms);
        let mut told = |carriers: [bool; 2]| {
            let commands: Vec<_> = links.update(&carriers).into_iter().map(|(_, command)| command).collect();
            (commands, links.down())
        };
        let (client, server) = (InterfaceIndex(0), InterfaceIndex(1));
        assert_eq!(told([true, true]), (vec![], vec![]));
        assert_eq!(told([true, false]), (vec![ArpEvent::InterfaceDown(server)], vec!["eth1".to_owned()]));
        assert_eq!(told([true, false]), (vec![], vec!["eth1".to_owned()]));
        let both = vec![ArpEvent::InterfaceDown(client), ArpEvent::InterfaceUp(server)];
        assert_eq!(told([false, true]), (both, vec!["eth0".to_owned()]));
        assert_eq!(told([true, true]), (vec![ArpEvent::InterfaceUp(client)], vec![]));
    }
}
