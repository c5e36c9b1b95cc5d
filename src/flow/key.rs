//! Flow keys.

use crate::hash::Seed;
use crate::model::MatchId;
use std::fmt::Debug;
use std::net::{IpAddr, Ipv4Addr};

/// Key of a flow in a worker's table, stored in two parts.
pub trait TableKey: Copy + Eq {
    /// Part in a bucket's first cache line, which each look-up compares. Two keys rarely have the same tag.
    type Tag: Copy + Eq + Debug;
    /// Part in a bucket's second line, which verifies the tag; `()` if the tag is the whole key.
    type Rest: Copy + Eq + Debug;

    /// Marks a vacant slot. No frame has this tag.
    const VACANT: Self::Tag;
    /// Content of a vacant slot.
    const NO_REST: Self::Rest;

    /// The two parts.
    fn parts(self) -> (Self::Tag, Self::Rest);

    /// The key of two parts.
    fn from_parts(tag: Self::Tag, rest: Self::Rest) -> Self;

    /// Hashes the key to 64 bits that look random without the seed, whose words must be odd. The two
    /// halves serve as two independent hashes.
    fn hash(self, seed: &Seed) -> u64;

    /// Match of the flow.
    fn match_id(self) -> MatchId;
}

/// Key that can be converted back to its flow.
pub trait FlowKey: TableKey {
    /// The flow.
    fn flow(self) -> Flow;
}

/// Flow, independent of the type of its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Flow {
    /// Client address.
    pub client: IpAddr,
    /// Client port, host order.
    pub client_port: u16,
    /// Match of a virtual service.
    pub match_id: MatchId,
    /// Destination port, host order; `None`: that of the match.
    pub port: Option<u16>,
}

/// Key of an IPv4 flow: client address, client port and match in eight bytes.
///
/// The match stands for VIP, port and protocol, so it must have a fixed port. Address and port are
/// in network byte order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct V4Key(u64);

impl V4Key {
    /// Key of no flow, as a placeholder.
    pub const NONE: Self = Self(u64::MAX);

    /// Key of the flow from `source`:`port` (host order) to the match `id`.
    #[inline]
    #[must_use]
    pub fn new(source: Ipv4Addr, port: u16, id: MatchId) -> Self {
        let [source, port] = [u32::from_ne_bytes(source.octets()).into(), u64::from(port.to_be())];
        Self(source << 32 | port << 16 | u64::from(id.0))
    }

    /// Client address.
    #[must_use]
    pub fn source(self) -> Ipv4Addr {
        Ipv4Addr::from(((self.0 >> 32) as u32).to_ne_bytes())
    }

    /// Client port, host order.
    #[must_use]
    pub fn port(self) -> u16 {
        u16::from_be((self.0 >> 16) as u16)
    }

    /// Match of a virtual service.
    #[inline]
    #[must_use]
    pub fn match_id(self) -> MatchId {
        MatchId(self.0 as u16)
    }
}

/// All of the key, in the byte order of this host.
impl From<V4Key> for u64 {
    #[inline]
    fn from(key: V4Key) -> Self {
        key.0
    }
}

impl From<u64> for V4Key {
    #[inline]
    fn from(word: u64) -> Self {
        Self(word)
    }
}

impl TableKey for V4Key {
    type Tag = Self;
    type Rest = ();

    /// No match has the highest number.
    const VACANT: Self = Self::NONE;
    const NO_REST: () = ();

    #[inline]
    fn parts(self) -> (Self, ()) {
        (self, ())
    }

    #[inline]
    fn from_parts(tag: Self, (): ()) -> Self {
        tag
    }

    #[inline]
    fn hash(self, seed: &Seed) -> u64 {
        seed.hash(self.0)
    }

    #[inline]
    fn match_id(self) -> MatchId {
        V4Key::match_id(self)
    }
}

impl FlowKey for V4Key {
    #[inline]
    fn flow(self) -> Flow {
        Flow { client: self.source().into(), client_port: self.port(), match_id: self.match_id(), port: None }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    #[test]
    fn a_key_round_trips() {
        let key = V4Key::new(Ipv4Addr::new(198, 51, 100, 7), 40000, MatchId(513));
        assert_eq!(key.source(), Ipv4Addr::new(198, 51, 100, 7));
        assert_eq!(key.port(), 40000);
        assert_eq!(key.match_id(), MatchId(513));
        let flow =
            Flow { client: key.source().into(), client_port: 40000, match_id: key.match_id(), port: None };
        assert_eq!(key.flow(), flow);
    }

    #[test]
    fn consecutive_keys_spread_evenly() {
        let client = |n: u32| Ipv4Addr::from_bits(0x0a00_0000 + n / 256);
        spread(|n| V4Key::new(client(n), 1024 + (n % 256) as u16, MatchId(0)));
    }

    /// Asserts that 65,536 keys spread evenly over 256 buckets.
    pub(in crate::flow) fn spread<K: TableKey>(key: impl Fn(u32) -> K) {
        let seed = Seed([
            0x243f_6a88_85a3_08d3,
            0x1319_8a2e_0370_7344,
            0xa409_3822_299f_31d0,
            0x082e_fa98_ec4e_6c89,
        ]);
        let mut buckets = [0u32; 256];
        for n in 0..65536 {
            buckets[(key(n).hash(&seed) >> 56) as usize] += 1;
        }
        let (least, most) = (buckets.iter().min().unwrap(), buckets.iter().max().unwrap());
        assert!(*least > 128 && *most < 512, "256 expected in each, seen {least} to {most}");
    }
}
