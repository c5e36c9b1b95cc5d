//! Services as the kernel selects their frames.

use crate::model::{Match, PortRange, ServiceAddress};
use crate::wire::Protocol;
use crate::wire::vlan::Vlans;
use std::net::IpAddr;

/// A service whose frames the kernel selects: a frame is selected if one service contains it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SteeredService {
    /// VLANs of the frames.
    pub vlan: Vlans,
    /// VIP.
    pub vip: IpAddr,
    /// Transport protocol.
    pub protocol: Protocol,
    /// Destination ports.
    pub ports: PortRange,
}

impl SteeredService {
    /// VLANs, VIP and protocol.
    #[must_use]
    pub fn target(&self) -> (Vlans, IpAddr, Protocol) {
        (self.vlan, self.vip, self.protocol)
    }

    /// The frames of both; `None` if there are none.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Option<Self> {
        let first = self.ports.first.max(other.ports.first);
        let last = self.ports.last.min(other.ports.last);
        let ports = PortRange { first, last };
        (self.target() == other.target() && first <= last).then_some(Self { ports, ..*self })
    }
}

impl From<Match> for SteeredService {
    fn from(Match { protocol, vip, ports }: Match) -> Self {
        Self { vlan: Vlans::NONE, vip, protocol, ports }
    }
}

impl From<ServiceAddress> for SteeredService {
    fn from(service: ServiceAddress) -> Self {
        Match::from(service).into()
    }
}

/// Returns the same ports as sorted ranges with gaps between them.
pub(in crate::io) fn merged(ranges: impl IntoIterator<Item = PortRange>) -> Vec<PortRange> {
    let mut sorted: Vec<_> = ranges.into_iter().collect();
    sorted.sort_unstable();
    let mut merged: Vec<PortRange> = Vec::new();
    for range in sorted {
        match merged.last_mut() {
            Some(before) if range.first <= before.last.saturating_add(1) => {
                before.last = before.last.max(range.last)
            }
            _ => merged.push(range),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn merged_ranges_have_the_same_ports_and_gaps(
            ranges in prop::collection::vec((0u16..50, 0u16..9), 0..9),
            edge in any::<bool>(),
        ) {
            let mut ranges: Vec<_> =
                ranges.into_iter().map(|(first, more)| PortRange { first, last: first + more }).collect();
            ranges.extend(edge.then_some(PortRange { first: 60, last: u16::MAX }));
            let merged = merged(ranges.clone());
            for port in (0..70).chain([u16::MAX]) {
                let contained = |ranges: &[PortRange]| ranges.iter().any(|range| range.contains(port));
                prop_assert_eq!(contained(&merged), contained(&ranges), "port {}", port);
            }
            prop_assert!(merged.windows(2).all(|pair| u32::from(pair[0].last) + 1 < u32::from(pair[1].first)));
        }
    }
}
