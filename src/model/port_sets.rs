//! Sets of ports that services of several ports take of a VIP. The kernel selects their frames by one bitmap a set.

use super::{PortRange, VirtualService};
use std::collections::BTreeMap;

/// The most different sets of ports in all services. Every port is none of them.
pub const PORT_SETS_MAX: usize = 64;

/// Returns the same ports as sorted ranges with gaps between them.
pub fn merged_ports(ranges: impl IntoIterator<Item = PortRange>) -> Vec<PortRange> {
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

/// The number of different sets of ports, and the first service for which there are too many.
pub(super) fn port_sets(services: &[VirtualService]) -> (usize, Option<&VirtualService>) {
    let mut of_vips = BTreeMap::new();
    for (index, service) in services.iter().enumerate() {
        for of in service.all_matches().filter(|of| of.port().is_none()) {
            let (_, ranges) =
                of_vips.entry((service.vlan, of.vip, of.protocol as u8)).or_insert((index, Vec::new()));
            ranges.push(of.ports);
        }
    }
    let mut first_uses = BTreeMap::new();
    for (index, ranges) in of_vips.into_values() {
        let ports = merged_ports(ranges);
        if ports != [PortRange::EVERY] {
            let first = first_uses.entry(ports).or_insert(index);
            *first = index.min(*first);
        }
    }
    let mut first_uses: Vec<_> = first_uses.into_values().collect();
    first_uses.sort_unstable();
    (first_uses.len(), first_uses.get(PORT_SETS_MAX).map(|index| &services[*index]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{FirewallMark, IpFamily};
    use proptest::prelude::*;

    fn group(mark: u32, matches: &[String]) -> VirtualService {
        let mark = FirewallMark { mark: mark.try_into().unwrap(), family: IpFamily::Ipv4 };
        let group = matches.iter().map(|of| of.parse().unwrap()).collect();
        VirtualService { group, ..VirtualService::new(mark, Vec::new()) }
    }

    #[test]
    fn different_sets_are_counted_and_equal_ones_shared() {
        let of = |mark: u32, last: u32| group(mark, &[format!("tcp:192.0.2.{mark}:80-{last}")]);
        let mut services: Vec<_> = (1..=64).map(|mark| of(mark, 90 + mark)).collect();
        assert_eq!(port_sets(&services), (64, None));
        services.push(of(65, 91));
        services.push(group(66, &["udp:192.0.2.66:*".into(), "tcp:192.0.2.66:7".into()]));
        assert_eq!(port_sets(&services), (64, None), "a set again, every port, and one port");
        // The ranges of a VIP and protocol are one set together.
        services.push(group(67, &["tcp:192.0.2.67:80-85".into(), "tcp:192.0.2.67:86-91".into()]));
        assert_eq!(port_sets(&services), (64, None));
        services.push(of(68, 5000));
        let (count, first) = port_sets(&services);
        assert_eq!((count, first.map(|service| service.identity)), (65, Some(services[67].identity)));
    }

    proptest! {
        #[test]
        fn merged_ranges_have_the_same_ports_and_gaps(
            ranges in prop::collection::vec((0u16..50, 0u16..9), 0..9),
            edge in any::<bool>(),
        ) {
            let mut ranges: Vec<_> =
                ranges.into_iter().map(|(first, more)| PortRange { first, last: first + more }).collect();
            ranges.extend(edge.then_some(PortRange { first: 60, last: u16::MAX }));
            let merged = merged_ports(ranges.clone());
            for port in (0..70).chain([u16::MAX]) {
                let contained = |ranges: &[PortRange]| ranges.iter().any(|range| range.contains(port));
                prop_assert_eq!(contained(&merged), contained(&ranges), "port {}", port);
            }
            prop_assert!(merged.windows(2).all(|pair| u32::from(pair[0].last) + 1 < u32::from(pair[1].first)));
        }
    }
}
