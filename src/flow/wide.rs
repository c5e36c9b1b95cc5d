//! Wide flow keys: IPv6 clients and matches of many ports.

use super::key::{Flow, FlowKey, TableKey};
use crate::hash::{Seed, fold};
use crate::model::MatchId;
use crate::random::GOLDEN;
use std::net::{IpAddr, Ipv6Addr};

/// Key of a flow whose client address or destination port does not fit a [`V4Key`](super::V4Key).
///
/// The tag has eight bytes: a digest of the client address, both ports, and the match. The client address, an IPv4
/// one as IPv4-mapped IPv6 address (RFC 4291 §2.5.5.2), lies in the second cache line of the bucket and verifies it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WideKey {
    tag: u64,
    /// Client address in network byte order.
    client: [u64; 2],
}

impl WideKey {
    /// Key of no flow, as a placeholder.
    pub const NONE: Self = Self { tag: u64::MAX, client: [0; 2] };

    /// Key of the flow from `client`:`client_port` to `port` of the match `id`; ports in host order.
    #[inline]
    #[must_use]
    pub fn new(client: IpAddr, client_port: u16, id: MatchId, port: u16) -> Self {
        let client = match client {
            IpAddr::V4(client) => words(client.to_ipv6_mapped()),
            IpAddr::V6(client) => words(client),
        };
        let ports = u64::from(port) << 32 | u64::from(client_port) << 16;
        Self { tag: digest(client) << 48 | ports | u64::from(id.0), client }
    }

    /// Client address.
    #[must_use]
    pub fn client(self) -> IpAddr {
        let mut octets = [0; 16];
        let (high, low) = octets.split_at_mut(8);
        high.copy_from_slice(&self.client[0].to_ne_bytes());
        low.copy_from_slice(&self.client[1].to_ne_bytes());
        Ipv6Addr::from(octets).to_canonical()
    }
}

#[inline]
fn words(address: Ipv6Addr) -> [u64; 2] {
    let bits = u128::from_ne_bytes(address.octets());
    let [low, high] = [bits as u64, (bits >> 64) as u64];
    if cfg!(target_endian = "little") { [low, high] } else { [high, low] }
}

/// Sixteen bits of a client address. A collision costs a comparison with the address: no seed is needed. They are from the
/// middle of the folded product, which all bits of the address reach.
#[inline]
fn digest([high, low]: [u64; 2]) -> u64 {
    fold(high.rotate_left(32) ^ low, GOLDEN) >> 24 & 0xffff
}

impl TableKey for WideKey {
    type Tag = u64;
    type Rest = [u64; 2];

    /// No match has the highest number.
    const VACANT: u64 = u64::MAX;
    const NO_REST: [u64; 2] = [0; 2];

    #[inline]
    fn parts(self) -> (u64, [u64; 2]) {
        (self.tag, self.client)
    }

    #[inline]
    fn from_parts(tag: u64, client: [u64; 2]) -> Self {
        Self { tag, client }
    }

    /// Hashes all parts: a scan of all ports of a VIP from one client port fills the table no less evenly than other
    /// flows.
    #[inline]
    fn hash(self, seed: &Seed) -> u64 {
        seed.hash_wide(self.client, self.tag)
    }

    #[inline]
    fn match_id(self) -> MatchId {
        MatchId(self.tag as u16)
    }
}

impl FlowKey for WideKey {
    #[inline]
    fn flow(self) -> Flow {
        let [port, client_port] = [(self.tag >> 32) as u16, (self.tag >> 16) as u16];
        Flow { client: self.client(), client_port, match_id: self.match_id(), port: Some(port) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::key::tests::spread;
    use super::*;
    use std::collections::HashSet;
    use std::net::Ipv4Addr;

    fn v6(n: u128) -> IpAddr {
        Ipv6Addr::from_bits(0x2001_0db8_u128 << 96 | n).into()
    }

    #[test]
    fn a_key_round_trips() {
        let key = WideKey::new(v6(7), 40000, MatchId(513), 8443);
        assert_eq!((key.client(), key.match_id()), (v6(7), MatchId(513)));
        let (tag, client) = key.parts();
        assert_eq!(WideKey::from_parts(tag, client), key);
        let v4 = IpAddr::from(Ipv4Addr::new(198, 51, 100, 7));
        let flow = Flow { client: v4, client_port: 40000, match_id: MatchId(513), port: Some(8443) };
        assert_eq!(WideKey::new(v4, 40000, MatchId(513), 8443).flow(), flow);
    }

    #[test]
    fn every_part_distinguishes_flows() {
        let keys: HashSet<_> = [
            WideKey::new(v6(7), 40000, MatchId(1), 80),
            WideKey::new(v6(8), 40000, MatchId(1), 80),
            WideKey::new(v6(7 << 64), 40000, MatchId(1), 80),
            WideKey::new(v6(7), 40001, MatchId(1), 80),
            WideKey::new(v6(7), 40000, MatchId(2), 80),
            WideKey::new(v6(7), 40000, MatchId(1), 81),
        ]
        .into();
        assert_eq!(keys.len(), 6);
        let highest =
            WideKey::new(Ipv6Addr::from(u128::MAX).into(), u16::MAX, MatchId(u16::MAX - 1), u16::MAX);
        assert_ne!(highest.parts().0, WideKey::VACANT, "no match has the highest number");
    }

    #[test]
    fn digests_of_consecutive_addresses_differ() {
        for step in [1, 1 << 16, 1 << 32, 1 << 64, 1 << 80] {
            let digests: HashSet<_> =
                (0..4096).map(|n| digest(words(Ipv6Addr::from_bits(n * step)))).collect();
            assert!(digests.len() > 3900, "{} of 4096 with a step of {step}", digests.len());
        }
    }

    #[test]
    fn consecutive_keys_spread_evenly() {
        let id = MatchId(0);
        let ports = |n: u32| 1024 + (n % 256) as u16;
        spread(|n| WideKey::new(v6(u128::from(n / 256)), ports(n), id, 80));
        spread(|n| WideKey::new(v6(u128::from(n / 256) << 64), ports(n), id, 80));
        spread(|n| WideKey::new(v6(u128::from(n / 256)), 1024, id, (n % 256) as u16));
        spread(|n| WideKey::new(v6(0), 1024, id, n as u16));
        let v4 = |n: u32| Ipv4Addr::from_bits(0x0a00_0000 + n / 256);
        spread(|n| WideKey::new(v4(n).into(), ports(n), id, 80));
    }
}
