//! Counters of an interface (Documentation/ABI/testing/sysfs-class-net-statistics).

use crate::model::Diagnostic;
use std::collections::BTreeMap;

/// Causes of loss before the DUT, with the kernel's counters: no room in the device or in its queue.
const BEFORE: [(&str, &str); 2] = [("missed", "rx_missed_errors"), ("dropped", "rx_dropped")];
/// Causes of loss after the DUT, with the kernel's counters: the device did not accept a frame for transmission.
const AFTER: [(&str, &str); 2] = [("return_full", "tx_dropped"), ("return_failed", "tx_errors")];

/// Counters of one interface, in frames.
///
/// Some drivers update them every one or two seconds only. Trials should be long in comparison.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InterfaceCounters {
    /// Frames received (`rx_packets`).
    pub received: u64,
    /// Frames sent (`tx_packets`).
    pub sent: u64,
    /// Frames not received, by cause. A driver may include frames for which the DUT's socket had no room.
    pub before: BTreeMap<String, u64>,
    /// Frames not sent, by cause.
    pub after: BTreeMap<String, u64>,
}

impl InterfaceCounters {
    /// Reads the counters of `interface` in this network namespace.
    ///
    /// # Errors
    /// `System` if the interface does not exist.
    pub fn read(interface: &str) -> Result<Self, Diagnostic> {
        Ok(Self {
            received: count(interface, "rx_packets")?,
            sent: count(interface, "tx_packets")?,
            before: by_cause(interface, BEFORE)?,
            after: by_cause(interface, AFTER)?,
        })
    }
}

/// Reads counters, given as causes and file names.
fn by_cause(interface: &str, counters: [(&str, &str); 2]) -> Result<BTreeMap<String, u64>, Diagnostic> {
    counters.into_iter().map(|(cause, file)| Ok((cause.to_owned(), count(interface, file)?))).collect()
}

fn count(interface: &str, name: &str) -> Result<u64, Diagnostic> {
    let file = format!("/sys/class/net/{interface}/statistics/{name}");
    let text = std::fs::read_to_string(&file).map_err(|error| Diagnostic::io(&file, &error))?;
    text.trim().parse().map_err(|_| Diagnostic::system(format!("{file}: {} is not a number", text.trim())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_has_counters() {
        let counters = InterfaceCounters::read("lo").unwrap();
        assert!(counters.before.contains_key("missed") && counters.after.contains_key("return_full"));
        let error = InterfaceCounters::read("nosuchif").unwrap_err().to_string();
        assert!(error.starts_with("/sys/class/net/nosuchif/statistics/"), "{error}");
    }
}
