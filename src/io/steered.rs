//! Services as the kernel selects their frames.

use crate::model::ServiceAddress;
use crate::wire::Protocol;
use std::net::IpAddr;

/// Ports from `first` to `last`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortRange {
    /// The lowest port.
    pub first: u16,
    /// The highest port, not below the first.
    pub last: u16,
}

impl PortRange {
    /// Every port.
    pub const EVERY: Self = Self { first: 0, last: u16::MAX };

    /// A range of one port.
    #[must_use]
    pub const fn one(port: u16) -> Self {
        Self { first: port, last: port }
    }

    /// True if it contains the port.
    #[must_use]
    pub const fn contains(self, port: u16) -> bool {
        self.first <= port && port <= self.last
    }
}

/// A service whose frames the kernel selects: a frame is selected if one service contains it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SteeredService {
    /// VIP.
    pub vip: IpAddr,
    /// Transport protocol.
    pub protocol: Protocol,
    /// Destination ports.
    pub ports: PortRange,
}

impl From<ServiceAddress> for SteeredService {
    fn from(service: ServiceAddress) -> Self {
        let (vip, protocol) = (service.address.ip(), service.protocol);
        let every = service.is_wildcard();
        let ports = if every { PortRange::EVERY } else { PortRange::one(service.address.port()) };
        Self { vip, protocol, ports }
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
