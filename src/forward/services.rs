//! Look-up of the match of a virtual service by destination address.

use crate::model::{Match, MatchId};
use crate::random::GOLDEN;
use crate::wire::Protocol;
use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The port of FTP's data connections from the server (RFC 959 section 3.2).
pub(super) const FTP_DATA: u16 = 20;
/// The lowest port that needs no privilege (`inet_prot_sock` in net/ipv4/af_inet.c, its default).
const UNPRIVILEGED: u16 = 1024;

/// Immutable map from (protocol, VIP, port) to the match of a service.
#[derive(Clone, Debug)]
pub struct ServiceMap {
    v4: FamilyMatches<V4Service>,
    v6: FamilyMatches<V6Service>,
    /// Matches of several ports, but for the wildcard port. Sorted; no two overlap.
    ranges: Box<[(Match, MatchId)]>,
    /// By [`MatchId`]. Empty unless a match gives way to others.
    beside: Box<[Option<Beside>]>,
    counts: MatchCounts,
}

/// Numbers of [`MatchId`]s by the flow table of their connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MatchCounts {
    /// IPv4 and one port: [`crate::flow::V4Key`].
    pub compact: usize,
    /// All others: [`crate::flow::WideKey`].
    pub wide: usize,
}

/// Matches of other ids that give way to those of an id, with the same VIP and protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beside {
    /// The port of the match, if its connections have compact keys.
    pub port: Option<u16>,
    /// FTP's data connections, and the wildcard port.
    pub others: [Option<MatchId>; 2],
}

/// The matches of an address family.
#[derive(Clone, Debug)]
struct FamilyMatches<K> {
    /// Of one port.
    fixed: AddressTable<K>,
    /// FTP's data connections, under port 0.
    ftp: AddressTable<K>,
    /// Wildcard ports, under port 0. Kept apart: fixed-port look-ups never match them.
    wildcard: AddressTable<K>,
}

/// Open addressing with linear probing at a load of at most one half: a look-up is one or two probes.
#[derive(Clone, Debug)]
struct AddressTable<K> {
    /// A power of two of them, at least 1.
    slots: Box<[AddressSlot<K>]>,
    /// One less than their number.
    mask: usize,
}

/// Address and number of a match. A vacant slot has key 0, which no address has: its protocol is not 0.
#[derive(Clone, Copy, Debug, Default)]
struct AddressSlot<K> {
    key: K,
    id: u16,
}

/// Protocol, VIP and port of a match. The default value is vacant.
trait AddressKey: Copy + Default + Eq {
    /// Home slot, modulo the table's size.
    fn home(self) -> usize;
}

/// IPv4 VIP, port and protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct V4Service(u64);

/// IPv6 VIP, and port and protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct V6Service {
    vip: u128,
    port: u64,
}

/// No match.
const NO_MATCH: u16 = u16::MAX;

impl Default for ServiceMap {
    fn default() -> Self {
        Self::new::<Match>(&[])
    }
}

impl ServiceMap {
    /// Builds a map of `matches`. Of equal ones the first wins; the model has none that overlap.
    ///
    /// # Panics
    /// If a match has the highest number, which stands for none (see [`crate::flow::V4Key`]).
    #[must_use]
    pub fn new<M: Into<Match> + Copy>(matches: &[(M, MatchId)]) -> Self {
        Self::with_ftp(matches, &[])
    }

    /// Likewise, with the matches of FTP's data connections to these VIPs: of TCP port 20 and the unprivileged ports
    /// that no other match but a wildcard port has (`ip_vs_service_find` in net/netfilter/ipvs/ip_vs_ctl.c).
    ///
    /// # Panics
    /// As [`ServiceMap::new`].
    #[must_use]
    pub fn with_ftp<M: Into<Match> + Copy>(matches: &[(M, MatchId)], ftp: &[(IpAddr, MatchId)]) -> Self {
        let matches: Vec<(Match, MatchId)> = matches.iter().map(|(of, id)| ((*of).into(), *id)).collect();
        let of_several = |of: &Match| of.port().is_none() && !of.is_wildcard();
        let mut ranges: Vec<_> = matches.iter().copied().filter(|(of, _)| of_several(of)).collect();
        ranges.sort_unstable();
        let compact = matches.iter().filter(|(of, _)| of.is_compact()).count();
        let wide = matches.iter().filter(|(of, _)| !of.is_compact()).map(|(_, id)| id);
        let wide: HashSet<_> = wide.chain(ftp.iter().map(|(_, id)| id)).collect();
        let mut map = Self {
            v4: FamilyMatches::of(&matches, ftp, v4_key),
            v6: FamilyMatches::of(&matches, ftp, v6_key),
            ranges: ranges.into(),
            beside: Box::default(),
            counts: MatchCounts { compact, wide: wide.len() },
        };
        if !ftp.is_empty() || matches.iter().any(|(of, _)| of.is_wildcard()) {
            map.beside = map.beside_each(&matches, ftp);
        }
        map
    }

    /// Numbers of matches by flow table.
    #[must_use]
    pub fn counts(&self) -> MatchCounts {
        self.counts
    }

    /// The match of one port at this address; `port` in host order. It has precedence over all others
    /// (`ip_vs_service_find` in net/netfilter/ipvs/ip_vs_ctl.c).
    #[inline]
    #[must_use]
    pub fn find(&self, protocol: Protocol, vip: Ipv4Addr, port: u16) -> Option<MatchId> {
        self.v4.fixed.find(V4Service::new(protocol, vip, port))
    }

    /// Likewise, for an IPv6 address.
    #[inline]
    #[must_use]
    pub fn find_v6(&self, protocol: Protocol, vip: Ipv6Addr, port: u16) -> Option<MatchId> {
        self.v6.fixed.find(V6Service::new(protocol, vip, port))
    }

    /// The match of several ports that takes this one, if no match of one port does: a range, then FTP's data
    /// connections, then the wildcard port.
    #[inline]
    #[must_use]
    pub fn find_several(&self, protocol: Protocol, vip: IpAddr, port: u16) -> Option<MatchId> {
        let range = || self.find_range(protocol, vip, port);
        let ftp = || self.find_ftp(protocol, vip).filter(|_| port == FTP_DATA || port >= UNPRIVILEGED);
        range().or_else(ftp).or_else(|| self.find_wildcard(protocol, vip))
    }

    /// The matches that give way to those of `id`, if there are any.
    #[must_use]
    pub fn beside(&self, id: MatchId) -> Option<Beside> {
        *self.beside.get(usize::from(id.0))?
    }

    #[inline]
    fn find_range(&self, protocol: Protocol, vip: IpAddr, port: u16) -> Option<MatchId> {
        if self.ranges.is_empty() { None } else { self.search_ranges(protocol, vip, port) }
    }

    fn search_ranges(&self, protocol: Protocol, vip: IpAddr, port: u16) -> Option<MatchId> {
        let before =
            |(of, _): &(Match, MatchId)| (of.protocol, of.vip, of.ports.first) <= (protocol, vip, port);
        let (of, id) = self.ranges.get(self.ranges.partition_point(before).checked_sub(1)?)?;
        let contains = (of.protocol, of.vip) == (protocol, vip) && of.ports.contains(port);
        contains.then_some(*id)
    }

    #[inline]
    fn find_ftp(&self, protocol: Protocol, vip: IpAddr) -> Option<MatchId> {
        match vip {
            IpAddr::V4(vip) => self.v4.ftp.find(V4Service::new(protocol, vip, 0)),
            IpAddr::V6(vip) => self.v6.ftp.find(V6Service::new(protocol, vip, 0)),
        }
    }

    #[inline]
    fn find_wildcard(&self, protocol: Protocol, vip: IpAddr) -> Option<MatchId> {
        match vip {
            IpAddr::V4(vip) => self.v4.wildcard.find(V4Service::new(protocol, vip, 0)),
            IpAddr::V6(vip) => self.v6.wildcard.find(V6Service::new(protocol, vip, 0)),
        }
    }

    fn beside_each(&self, matches: &[(Match, MatchId)], ftp: &[(IpAddr, MatchId)]) -> Box<[Option<Beside>]> {
        let ids = matches.iter().map(|(_, id)| id).chain(ftp.iter().map(|(_, id)| id));
        let mut beside = vec![None; ids.map(|id| usize::from(id.0) + 1).max().unwrap_or_default()];
        for (of, id) in matches.iter().filter(|(of, _)| !of.is_wildcard()) {
            let others = [self.find_ftp(of.protocol, of.vip), self.find_wildcard(of.protocol, of.vip)];
            let others = others.map(|other| other.filter(|other| other != id));
            let of_id = Beside { port: of.destination().port, others };
            beside[usize::from(id.0)] = Some(of_id).filter(Beside::has_any);
        }
        for (vip, id) in ftp {
            let wildcard = self.find_wildcard(Protocol::Tcp, *vip).filter(|other| other != id);
            beside[usize::from(id.0)] = wildcard.map(|of| Beside { port: None, others: [None, Some(of)] });
        }
        beside.into()
    }
}

impl Beside {
    fn has_any(&self) -> bool {
        self.others.iter().any(Option::is_some)
    }
}

impl<K: AddressKey> FamilyMatches<K> {
    /// The matches whose VIP `key` takes.
    fn of(
        matches: &[(Match, MatchId)],
        ftp: &[(IpAddr, MatchId)],
        key: impl Fn(Protocol, SocketAddr) -> Option<K>,
    ) -> Self {
        let fixed = matches.iter().filter(|(of, _)| of.port().is_some());
        let fixed = fixed.filter_map(|(of, id)| Some((key(of.protocol, of.address())?, *id)));
        let wildcard = matches.iter().filter(|(of, _)| of.is_wildcard());
        let wildcard = wildcard.filter_map(|(of, id)| Some((key(of.protocol, of.address())?, *id)));
        let ftp = ftp.iter().filter_map(|(vip, id)| Some((key(Protocol::Tcp, (*vip, 0).into())?, *id)));
        let [fixed, ftp, wildcard] =
            [fixed.collect::<Vec<_>>(), ftp.collect(), wildcard.collect()].map(|of| AddressTable::of(&of));
        Self { fixed, ftp, wildcard }
    }
}

impl<K: AddressKey> AddressTable<K> {
    fn of(matches: &[(K, MatchId)]) -> Self {
        let slots = (matches.len() * 2).next_power_of_two();
        let mut table = Self { slots: vec![AddressSlot::default(); slots].into(), mask: slots - 1 };
        for (key, id) in matches {
            assert_ne!(id.0, NO_MATCH, "the highest number stands for no match");
            table.insert(*key, *id);
        }
        table
    }

    #[inline]
    fn find(&self, key: K) -> Option<MatchId> {
        let found = &self.slots[key.home() & self.mask];
        let id = if found.key == key {
            found.id
        } else if found.key == K::default() {
            NO_MATCH
        } else {
            self.find_displaced(key)
        };
        (id != NO_MATCH).then_some(MatchId(id))
    }

    /// Slow path: probes from the home slot on. Returns [`NO_MATCH`] if the key is not there.
    #[inline(never)]
    fn find_displaced(&self, key: K) -> u16 {
        let mut slot = key.home();
        loop {
            let found = self.slots[slot & self.mask];
            if found.key == key {
                return found.id;
            }
            if found.key == K::default() {
                return NO_MATCH;
            }
            slot += 1;
        }
    }

    fn insert(&mut self, key: K, id: MatchId) {
        let mut slot = key.home();
        while ![K::default(), key].contains(&self.slots[slot & self.mask].key) {
            slot += 1;
        }
        let slot = &mut self.slots[slot & self.mask];
        if slot.key == K::default() {
            *slot = AddressSlot { key, id: id.0 };
        }
    }
}

impl V4Service {
    #[inline]
    fn new(protocol: Protocol, vip: Ipv4Addr, port: u16) -> Self {
        // In network byte order, as in the frame: nothing has to be swapped.
        let [vip, port] = [u32::from_ne_bytes(vip.octets()).into(), u64::from(port.to_be())];
        Self(vip | (protocol as u64) << 32 | port << 48)
    }
}

impl AddressKey for V4Service {
    /// Fibonacci hashing: the high bits of the product mix all bits of the key.
    #[inline]
    fn home(self) -> usize {
        (self.0.wrapping_mul(GOLDEN) >> 40) as usize
    }
}

impl V6Service {
    #[inline]
    fn new(protocol: Protocol, vip: Ipv6Addr, port: u16) -> Self {
        let port = (protocol as u64) << 32 | u64::from(port.to_be());
        Self { vip: u128::from_ne_bytes(vip.octets()), port }
    }
}

impl AddressKey for V6Service {
    #[inline]
    fn home(self) -> usize {
        let [low, high] = [self.vip as u64, (self.vip >> 64) as u64];
        ((low ^ high.rotate_left(32) ^ self.port.rotate_left(24)).wrapping_mul(GOLDEN) >> 40) as usize
    }
}

fn v4_key(protocol: Protocol, address: SocketAddr) -> Option<V4Service> {
    let IpAddr::V4(vip) = address.ip() else { return None };
    Some(V4Service::new(protocol, vip, address.port()))
}

fn v6_key(protocol: Protocol, address: SocketAddr) -> Option<V6Service> {
    let IpAddr::V6(vip) = address.ip() else { return None };
    Some(V6Service::new(protocol, vip, address.port()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{PortRange, ServiceAddress};
    use proptest::prelude::*;

    #[test]
    fn only_listed_services_are_found() {
        let vip = |n: u16| Ipv4Addr::from_bits(0xc0a8_0000 + u32::from(n / 7));
        let services: Vec<_> = (0..1000u16)
            .map(|n| {
                let protocol = if n % 3 == 0 { Protocol::Udp } else { Protocol::Tcp };
                (ServiceAddress { protocol, address: SocketAddr::from((vip(n), 1000 + n)) }, MatchId(n))
            })
            .collect();
        let map = ServiceMap::new(&services);
        for (service, id) in &services {
            let (n, protocol) = (id.0, service.protocol);
            assert_eq!(map.find(protocol, vip(n), 1000 + n), Some(*id));
            let other = if protocol == Protocol::Tcp { Protocol::Udp } else { Protocol::Tcp };
            assert_eq!(map.find(other, vip(n), 1000 + n), None);
            assert_eq!(map.find(protocol, vip(n), 999 - (n % 999)), None);
        }
    }

    #[test]
    fn wildcard_services_are_found_beside_fixed_ports() {
        let vips = [Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(192, 0, 2, 2)];
        let service = |protocol, vip: usize, port, id| {
            (ServiceAddress { protocol, address: SocketAddr::from((vips[vip], port)) }, MatchId(id))
        };
        let (tcp, udp) = (Protocol::Tcp, Protocol::Udp);
        let map = ServiceMap::new(&[
            service(tcp, 0, 0, 4),
            service(tcp, 0, 80, 2),
            service(udp, 0, 53, 3),
            service(tcp, 1, 80, 5),
        ]);
        assert_eq!(map.find(tcp, vips[0], 80), Some(MatchId(2)));
        assert_eq!([0, 81].map(|port| map.find(tcp, vips[0], port)), [None; 2]);
        assert_eq!(map.find_wildcard(tcp, vips[0].into()), Some(MatchId(4)));
        assert_eq!(map.counts(), MatchCounts { compact: 3, wide: 1 });
        assert_eq!(
            [map.find_wildcard(udp, vips[0].into()), map.find_wildcard(tcp, vips[1].into())],
            [None; 2]
        );
        let beside = |id| map.beside(MatchId(id));
        assert_eq!(beside(2), Some(Beside { port: Some(80), others: [None, Some(MatchId(4))] }));
        assert_eq!([1, 3, 4, 5, 6].map(beside), [None; 5], "other protocols, other VIPs, and itself");
    }

    #[test]
    fn ftp_data_gives_way_to_all_but_the_wildcard_port() {
        let vip = IpAddr::from([192, 0, 2, 1]);
        let tcp = |first, last, id| {
            (Match { protocol: Protocol::Tcp, vip, ports: PortRange { first, last } }, MatchId(id))
        };
        let matches = [tcp(21, 21, 0), tcp(8080, 8080, 1), tcp(9000, 9009, 2), tcp(0, u16::MAX, 3)];
        let map = ServiceMap::with_ftp(&matches, &[(vip, MatchId(4))]);
        let found = |port| map.find_several(Protocol::Tcp, vip, port).map(|id| id.0);
        assert_eq!([20, 1024, 8999, 9010, u16::MAX].map(found), [Some(4); 5]);
        assert_eq!([22, 80, 1023].map(found), [Some(3); 3]);
        assert_eq!([9000, 9009].map(found), [Some(2); 2]);
        assert_eq!(map.find_several(Protocol::Udp, vip, 9000), None);
        let beside = |id| map.beside(MatchId(id));
        let both = [Some(MatchId(4)), Some(MatchId(3))];
        assert_eq!(beside(2), Some(Beside { port: None, others: both }));
        assert_eq!(beside(1), Some(Beside { port: Some(8080), others: both }));
        assert_eq!(beside(4), Some(Beside { port: None, others: [None, Some(MatchId(3))] }));
        assert_eq!(beside(3), None);
        assert_eq!(map.counts(), MatchCounts { compact: 2, wide: 3 });
    }

    /// Small numbers, so that ranges meet: two protocols, three VIPs, ports to 40.
    fn a_match() -> impl Strategy<Value = Match> {
        (any::<bool>(), 0..3u8, prop_oneof![3 => 1..=32u16, 1 => Just(0)], 0..8u16).prop_map(
            |(udp, vip, first, more)| {
                let vip = match vip {
                    2 => Ipv6Addr::from_bits(0x2001_0db8_u128 << 96 | 1).into(),
                    last => IpAddr::from([192, 0, 2, last]),
                };
                let ports =
                    if first == 0 { PortRange::EVERY } else { PortRange { first, last: first + more } };
                Match { protocol: if udp { Protocol::Udp } else { Protocol::Tcp }, vip, ports }
            },
        )
    }

    proptest! {
        #[test]
        fn matches_are_found_as_in_a_list(drawn in prop::collection::vec(a_match(), 0..24)) {
            let mut matches: Vec<(Match, MatchId)> = Vec::new();
            for of in drawn {
                if matches.iter().all(|(other, _)| !of.clashes(other)) {
                    matches.push((of, MatchId(matches.len() as u16)));
                }
            }
            let map = ServiceMap::new(&matches);
            let vips = [[192, 0, 2, 0].into(), [192, 0, 2, 1].into(), Ipv6Addr::from_bits(0x2001_0db8_u128 << 96 | 1).into()];
            for (protocol, vip) in [Protocol::Tcp, Protocol::Udp].into_iter().flat_map(|of| vips.map(|vip| (of, vip))) {
                for port in (1..42).chain([u16::MAX]) {
                    let of_vip = |of: &Match| (of.protocol, of.vip) == (protocol, vip) && of.ports.contains(port);
                    let named = matches.iter().find(|(of, _)| of_vip(of) && !of.is_wildcard());
                    let expected = named.or_else(|| matches.iter().find(|(of, _)| of_vip(of)));
                    let fixed = match vip {
                        IpAddr::V4(vip) => map.find(protocol, vip, port),
                        IpAddr::V6(vip) => map.find_v6(protocol, vip, port),
                    };
                    let found = fixed.or_else(|| map.find_several(protocol, vip, port));
                    prop_assert_eq!(found, expected.map(|(_, id)| *id), "{} {} {}", protocol, vip, port);
                }
            }
        }
    }

    #[test]
    fn an_empty_map_finds_nothing() {
        assert_eq!(ServiceMap::default().find(Protocol::Tcp, Ipv4Addr::LOCALHOST, 80), None);
        assert_eq!(ServiceMap::default().find(Protocol::Tcp, Ipv4Addr::LOCALHOST, 80), None);
        assert_eq!(ServiceMap::default().find_several(Protocol::Tcp, Ipv4Addr::LOCALHOST.into(), 80), None);
    }
}
