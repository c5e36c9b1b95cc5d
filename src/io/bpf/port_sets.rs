//! Sets of ports, for services of several: one bit for each port.

use super::errors;
use crate::model::{Diagnostic, PORT_SETS_MAX, PortRange};
use aya::Ebpf;
use aya::maps::Array;
use std::collections::{BTreeMap, BTreeSet};

/// Number of the set of every port, which takes no memory. Mirrors services.bpf.h.
pub(super) const EVERY_PORT: u32 = 0;
/// Entries of the map `port_sets`: an unused one, and [`PORT_SETS_MAX`] before a change and after. Mirrors services.bpf.h.
const ENTRIES: u32 = 129;

/// `struct port_set` of services.bpf.h: bit `port % 64` of word `port / 64`.
type Bits = [u64; 1024];

/// The sets in use, by their ports: sorted ranges with gaps between them. Services with the same ports share
/// a set.
#[derive(Debug, Default)]
pub(super) struct PortSets(BTreeMap<Vec<PortRange>, u32>);

impl PortSets {
    /// Checks the number of different sets.
    ///
    /// # Errors
    /// [`Diagnostic`] if there are too many.
    pub(super) fn check(sets: impl Iterator<Item = Vec<PortRange>>) -> Result<(), Diagnostic> {
        let different: BTreeSet<_> =
            sets.filter(|ports| !matches!(ports[..], [] | [PortRange::EVERY])).collect();
        if different.len() > PORT_SETS_MAX { Err(errors::too_many_port_sets(PORT_SETS_MAX)) } else { Ok(()) }
    }

    /// Returns the number of the set of these ports, which is written to the kernel's map if it is new.
    ///
    /// # Errors
    /// [`Diagnostic`] if the kernel refuses.
    ///
    /// # Panics
    /// With more sets than [`PortSets::check`] allows.
    pub(super) fn number(&mut self, ebpf: &mut Ebpf, ports: Vec<PortRange>) -> Result<u32, Diagnostic> {
        if let Some(number) = self.0.get(&ports) {
            return Ok(*number);
        }
        let is_free = |number: &u32| !self.0.values().any(|used| used == number);
        let number =
            (EVERY_PORT + 1..ENTRIES).find(is_free).expect("there is room for the sets of two updates");
        let map = ebpf.map_mut("port_sets").expect("services.bpf.h declares port_sets");
        let mut map = Array::<_, Bits>::try_from(map).expect("port_sets is an array of 8 KiB values");
        map.set(number, bits(&ports), 0).map_err(|error| errors::map_error("port_sets", &error))?;
        self.0.insert(ports, number);
        Ok(number)
    }

    /// Frees the sets whose numbers are not `used`. No key may refer to them.
    pub(super) fn retain(&mut self, used: impl Fn(u32) -> bool) {
        self.0.retain(|_, number| used(*number));
    }
}

fn bits(ports: &[PortRange]) -> Bits {
    let mut bits = [0; 1024];
    for port in ports.iter().flat_map(|range| range.first..=range.last) {
        bits[usize::from(port / 64)] |= 1 << (port % 64);
    }
    bits
}
