//! What an interface counts.

use crate::lab::LabError;
use std::collections::BTreeMap;

/// Losses by the names of the report, and the counters of ABI/testing/sysfs-class-net-statistics.
/// Before a DUT sees the frame: no room in the device, no room in its queue.
const BEFORE: [(&str, &str); 2] = [("missed", "rx_missed_errors"), ("dropped", "rx_dropped")];
/// After: the device did not take what was to be sent.
const AFTER: [(&str, &str); 2] = [("return_full", "tx_dropped"), ("return_failed", "tx_errors")];

/// What one interface has counted at some moment, in frames.
///
/// Some drivers note their counts only every second or two: a trial should be long beside that.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InterfaceCounters {
    /// Received (`rx_packets`).
    pub received: u64,
    /// Sent (`tx_packets`).
    pub sent: u64,
    /// Not received, by cause. A driver may count here what a DUT's socket had no room for.
    pub before: BTreeMap<String, u64>,
    /// Not sent, by cause.
    pub after: BTreeMap<String, u64>,
}

impl InterfaceCounters {
    /// Those of `interface` in this process's network namespace.
    ///
    /// # Errors
    /// [`LabError::Failed`] if it is gone.
    pub fn read(interface: &str) -> Result<Self, LabError> {
        let each = |names: [(&str, &str); 2]| {
            let pair = |(cause, file): (&str, &str)| Ok((cause.to_owned(), count(interface, file)?));
            names.into_iter().map(pair).collect::<Result<_, LabError>>()
        };
        Ok(Self {
            received: count(interface, "rx_packets")?,
            sent: count(interface, "tx_packets")?,
            before: each(BEFORE)?,
            after: each(AFTER)?,
        })
    }
}

fn count(interface: &str, name: &str) -> Result<u64, LabError> {
    let file = format!("/sys/class/net/{interface}/statistics/{name}");
    let text = std::fs::read_to_string(&file).map_err(|error| LabError::io(&file, &error))?;
    text.trim().parse().map_err(|_| LabError::Failed(format!("{file}: {} is not a number", text.trim())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_receives_what_it_sends() {
        let counters = InterfaceCounters::read("lo").unwrap();
        assert!(counters.before.contains_key("missed") && counters.after.contains_key("return_full"));
        let gone = InterfaceCounters::read("nosuchif").unwrap_err().to_string();
        assert!(gone.starts_with("/sys/class/net/nosuchif/statistics/"), "{gone}");
    }
}
