//! The carriers of the director's interfaces.

use crate::control::api;
use crate::control::log::limit::LogLimiter;
use crate::io::Interface;
use crate::model::InterfaceIndex;
use std::time::Instant;

/// The carrier state of every interface.
#[derive(Debug)]
pub(in crate::control) struct Carriers {
    /// In the order of [`crate::control::host::resolve::ResolvedHost::interfaces`].
    all: Vec<InterfaceCarrier>,
    /// Rate limit of messages, by interface index.
    limiter: LogLimiter<usize>,
}

#[derive(Debug)]
struct InterfaceCarrier {
    name: String,
    is_up: bool,
}

/// A change of an interface's carrier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::control) struct CarrierChange {
    pub(in crate::control) interface: InterfaceIndex,
    pub(in crate::control) is_up: bool,
}

impl Carriers {
    /// Takes every carrier as up, as the neighbor machine does until it receives an event.
    pub(in crate::control) fn new(interfaces: &[Interface]) -> Self {
        let all = interfaces.iter().map(|one| InterfaceCarrier { name: one.name.clone(), is_up: true });
        Self { all: all.collect(), limiter: LogLimiter::default() }
    }

    pub(in crate::control) fn are_up(&self) -> bool {
        self.all.iter().all(|interface| interface.is_up)
    }

    /// Returns the names of the interfaces without carrier.
    pub(in crate::control) fn down(&self) -> Vec<String> {
        self.all.iter().filter(|interface| !interface.is_up).map(|interface| interface.name.clone()).collect()
    }

    /// Returns the interfaces for the API.
    pub(in crate::control) fn list(&self) -> Vec<api::Interface> {
        self.all.iter().map(|one| api::Interface { name: one.name.clone(), up: one.is_up }).collect()
    }

    /// Stores the present states, in order, and returns the changes.
    pub(in crate::control) fn update(&mut self, up: &[bool]) -> Vec<CarrierChange> {
        let mut changes = Vec::new();
        for (index, (interface, is_up)) in self.all.iter_mut().zip(up.iter().copied()).enumerate() {
            if std::mem::replace(&mut interface.is_up, is_up) != is_up {
                changes.push(CarrierChange { interface: InterfaceIndex(index as u8), is_up }); // two at most
            }
        }
        changes
    }

    /// Logs a change on the interface of that name.
    pub(in crate::control) fn log(&mut self, change: CarrierChange, interface: &str) {
        self.limiter.log(usize::from(change.interface.0), Instant::now(), || {
            if change.is_up {
                tracing::info!(interface, "link up: probing for VIPs and resolving real servers again");
            } else {
                tracing::warn!(
                    interface,
                    "link down: no frame is received or sent there; see to the cable, the switch port, or `ip link`"
                );
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::host::next_hop::tests::eth0;

    #[test]
    fn each_change_is_reported_once() {
        let interfaces = [eth0(&[]), Interface { name: "eth1".into(), ..eth0(&[]) }];
        let mut carriers = Carriers::new(&interfaces);
        let mut update = |up: [bool; 2]| (carriers.update(&up), carriers.down());
        let change = |index, is_up| CarrierChange { interface: InterfaceIndex(index), is_up };
        assert_eq!(update([true, true]), (vec![], vec![]));
        assert_eq!(update([true, false]), (vec![change(1, false)], vec!["eth1".to_owned()]));
        assert_eq!(update([true, false]), (vec![], vec!["eth1".to_owned()]));
        assert_eq!(update([false, true]), (vec![change(0, false), change(1, true)], vec!["eth0".to_owned()]));
        assert_eq!(update([true, true]), (vec![change(0, true)], vec![]));
    }
}
