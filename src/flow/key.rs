//! Flow keys.

use crate::model::ServiceId;
use crate::seed::Seed;
use std::net::Ipv4Addr;

/// What identifies a flow within a worker's table.
pub trait Key: Copy + Eq {
    /// What stands in a slot without a connection: the key of no frame.
    const VACANT: Self;

    /// 64 bits that look random to whoever does not know the seed, whose words are odd; the two
    /// halves serve as two independent hashes.
    fn hash(self, seed: &Seed) -> u64;

    /// The virtual service that the flow is to.
    fn service(self) -> ServiceId;
}

/// A key that says whose flow it is.
pub trait FlowKey: Key {
    /// The flow.
    fn flow(self) -> Flow;
}

/// A flow, whatever key it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Flow {
    /// Client address.
    pub client: Ipv4Addr,
    /// Client port, host order.
    pub client_port: u16,
    /// Virtual service.
    pub service: ServiceId,
    /// The port that the client wrote to, host order; `None`: the service's own.
    pub port: Option<u16>,
}

/// An IPv4 flow: client address, client port and virtual service in eight bytes.
///
/// The service stands for VIP, port and protocol, so it must have a port. Address and port lie in it as they do in the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct V4Key(u64);

impl V4Key {
    /// The flow from `source`:`port` (host order) to `service`.
    #[inline]
    #[must_use]
    pub fn new(source: Ipv4Addr, port: u16, service: ServiceId) -> Self {
        let [source, port] = [u32::from_ne_bytes(source.octets()).into(), u64::from(port.to_be())];
        Self(source << 32 | port << 16 | u64::from(service.0))
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

    /// Virtual service.
    #[inline]
    #[must_use]
    pub fn service(self) -> ServiceId {
        ServiceId(self.0 as u16)
    }
}

impl Key for V4Key {
    /// No service has the last number.
    const VACANT: Self = Self(u64::MAX);

    #[inline]
    fn hash(self, seed: &Seed) -> u64 {
        seed.hash(self.0)
    }

    #[inline]
    fn service(self) -> ServiceId {
        V4Key::service(self)
    }
}

impl FlowKey for V4Key {
    #[inline]
    fn flow(self) -> Flow {
        Flow { client: self.source(), client_port: self.port(), service: self.service(), port: None }
    }
}

/// An IPv4 flow to a wildcard-port service, which the destination port belongs to: sixteen bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WildcardKey {
    flow: V4Key,
    port: u16,
}

impl WildcardKey {
    /// The flow of client and service that `flow` says, to `port` (host order).
    #[inline]
    #[must_use]
    pub fn new(flow: V4Key, port: u16) -> Self {
        Self { flow, port }
    }
}

impl Key for WildcardKey {
    const VACANT: Self = Self { flow: V4Key::VACANT, port: 0 };

    /// The port goes through both rounds before it meets the rest: who goes through all ports of a VIP
    /// from one of his own fills the table no less evenly than others.
    #[inline]
    fn hash(self, seed: &Seed) -> u64 {
        seed.hash(self.flow.0 ^ seed.hash(self.port.into()))
    }

    #[inline]
    fn service(self) -> ServiceId {
        self.flow.service()
    }
}

impl FlowKey for WildcardKey {
    #[inline]
    fn flow(self) -> Flow {
        Flow { port: Some(self.port), ..self.flow.flow() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_gives_back_what_it_was_made_of() {
        let key = V4Key::new(Ipv4Addr::new(198, 51, 100, 7), 40000, ServiceId(513));
        assert_eq!(key.source(), Ipv4Addr::new(198, 51, 100, 7));
        assert_eq!(key.port(), 40000);
        assert_eq!(key.service(), ServiceId(513));
        let flow =
            Flow { client: key.source(), client_port: 40000, service: key.service(), port: Some(8443) };
        assert_eq!(WildcardKey::new(key, 8443).flow(), flow);
        assert_eq!(key.flow(), Flow { port: None, ..flow });
    }

    #[test]
    fn the_destination_port_distinguishes_wildcard_flows() {
        let flow = |port| V4Key::new(Ipv4Addr::new(198, 51, 100, 7), port, ServiceId(1));
        let key = WildcardKey::new(flow(40000), 80);
        assert_eq!(key, WildcardKey::new(flow(40000), 80));
        assert_ne!(key, WildcardKey::new(flow(40000), 443));
        assert_ne!(key, WildcardKey::new(flow(40001), 80));
        let vacant = WildcardKey::new(V4Key::new(Ipv4Addr::BROADCAST, u16::MAX, ServiceId(u16::MAX - 1)), 0);
        assert_ne!(vacant, WildcardKey::VACANT, "no service has the last number");
    }

    #[test]
    fn neighbouring_keys_spread_evenly() {
        let client = |n: u32| Ipv4Addr::from_bits(0x0a00_0000 + n / 256);
        spread(|n| V4Key::new(client(n), 1024 + (n % 256) as u16, ServiceId(0)));
        let flow = |n, port| V4Key::new(client(n), port, ServiceId(0));
        spread(|n| WildcardKey::new(flow(n, 1024 + (n % 256) as u16), 80));
        spread(|n| WildcardKey::new(flow(n, 1024), (n % 256) as u16));
        spread(|n| WildcardKey::new(flow(0, 1024), n as u16));
    }

    fn spread<K: Key>(key: impl Fn(u32) -> K) {
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
