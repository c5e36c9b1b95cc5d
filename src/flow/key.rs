//! Flow keys.

use crate::hash::Seed;
use crate::model::ServiceId;
use std::net::Ipv4Addr;

/// Key of a flow in a worker's table.
pub trait TableKey: Copy + Eq {
    /// Marks a vacant slot. No frame has this key.
    const VACANT: Self;

    /// Hashes the key to 64 bits that look random without the seed, whose words must be odd. The two
    /// halves serve as two independent hashes.
    fn hash(self, seed: &Seed) -> u64;

    /// Virtual service of the flow.
    fn service(self) -> ServiceId;
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
    pub client: Ipv4Addr,
    /// Client port, host order.
    pub client_port: u16,
    /// Virtual service.
    pub service: ServiceId,
    /// Destination port, host order; `None`: that of the service.
    pub port: Option<u16>,
}

/// Key of an IPv4 flow: client address, client port and virtual service in eight bytes.
///
/// The service stands for VIP, port and protocol, so it must be a fixed-port service. Address and port are
/// in network byte order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct V4Key(u64);

impl V4Key {
    /// Key of the flow from `source`:`port` (host order) to `service`.
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

impl TableKey for V4Key {
    /// No service has the highest number.
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

/// Key of an IPv4 flow to a wildcard-port service: also has the destination port, in sixteen bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WildcardKey {
    flow: V4Key,
    port: u16,
}

impl WildcardKey {
    /// Key of the flow with client and service of `flow`, to `port` (host order).
    #[inline]
    #[must_use]
    pub fn new(flow: V4Key, port: u16) -> Self {
        Self { flow, port }
    }
}

impl TableKey for WildcardKey {
    const VACANT: Self = Self { flow: V4Key::VACANT, port: 0 };

    /// Hashes the port before it is combined with the rest: a scan of all ports of a VIP from one client
    /// port fills the table no less evenly than other flows.
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
    fn a_key_round_trips() {
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
        assert_ne!(vacant, WildcardKey::VACANT, "no service has the highest number");
    }

    #[test]
    fn consecutive_keys_spread_evenly() {
        let client = |n: u32| Ipv4Addr::from_bits(0x0a00_0000 + n / 256);
        spread(|n| V4Key::new(client(n), 1024 + (n % 256) as u16, ServiceId(0)));
        let flow = |n, port| V4Key::new(client(n), port, ServiceId(0));
        spread(|n| WildcardKey::new(flow(n, 1024 + (n % 256) as u16), 80));
        spread(|n| WildcardKey::new(flow(n, 1024), (n % 256) as u16));
        spread(|n| WildcardKey::new(flow(0, 1024), n as u16));
    }

    fn spread<K: TableKey>(key: impl Fn(u32) -> K) {
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
