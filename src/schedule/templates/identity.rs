//! Identity of a template: client network and service.

use crate::model::{ServerId, ServiceId};
use crate::random::mix;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Key of a template: a network of clients of one service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TemplateKey {
    /// Network address: the client's address after masking.
    pub network: IpAddr,
    /// Virtual service.
    pub service: ServiceId,
    /// Generation of the service's persistence settings, below [`GENERATIONS`]. Templates of another
    /// generation are not found.
    pub generation: u8,
}

/// Generations of a service's templates. The numbers wrap.
pub const GENERATIONS: u8 = 4;

/// First word of an identity, with the server. From the lowest bit up: server (16 bits), service (16), an IPv4 network
/// or a digest of an IPv6 network (32).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct IdentityHead(pub(super) u64);

impl IdentityHead {
    fn new(network: u32, service: ServiceId) -> Self {
        Self(u64::from(network) << 32 | u64::from(service.0) << 16)
    }

    pub(super) fn with(self, server: ServerId) -> Self {
        Self(self.0 & !0xffff | u64::from(server.0))
    }

    fn network(self) -> u32 {
        (self.0 >> 32) as u32
    }

    fn service(self) -> ServiceId {
        ServiceId((self.0 >> 16) as u16)
    }

    pub(super) fn server(self) -> ServerId {
        ServerId(self.0 as u16)
    }
}

/// [`TemplateKey`] as slots hold it. `REST` is the number of words beside the head: none for an IPv4 network, two for
/// an IPv6 network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SlotKey<const REST: usize> {
    /// Its server has no meaning here.
    pub(super) head: IdentityHead,
    /// An IPv6 network, the upper half first.
    pub(super) rest: [u64; REST],
    pub(super) generation: u8,
}

impl SlotKey<0> {
    pub(super) fn v4(network: Ipv4Addr, service: ServiceId, generation: u8) -> Self {
        Self { head: IdentityHead::new(network.to_bits(), service), rest: [], generation }
    }
}

impl SlotKey<2> {
    /// The digest in the head needs no seed: a collision costs a comparison of the other words.
    pub(super) fn v6(network: Ipv6Addr, service: ServiceId, generation: u8) -> Self {
        let [high, low] = [(network.to_bits() >> 64) as u64, network.to_bits() as u64];
        let digest = (mix(high.rotate_left(32) ^ low) >> 32) as u32;
        Self { head: IdentityHead::new(digest, service), rest: [high, low], generation }
    }
}

impl<const REST: usize> SlotKey<REST> {
    /// True if `head` has this network, or a network of the same digest, and this service.
    #[inline]
    pub(super) fn has_head(&self, head: IdentityHead) -> bool {
        (head.0 ^ self.head.0) >> 16 == 0
    }

    /// The words to be hashed.
    pub(super) fn words(&self) -> impl Iterator<Item = u64> {
        self.rest.into_iter().chain([self.head.0 >> 16])
    }
}

impl<const REST: usize> From<SlotKey<REST>> for TemplateKey {
    fn from(key: SlotKey<REST>) -> Self {
        let network = match key.rest[..] {
            [high, low] => Ipv6Addr::from_bits(u128::from(high) << 64 | u128::from(low)).into(),
            _ => Ipv4Addr::from_bits(key.head.network()).into(),
        };
        Self { network, service: key.head.service(), generation: key.generation }
    }
}
