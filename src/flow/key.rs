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
}

/// An IPv4 flow: client address, client port and virtual service in eight bytes.
///
/// The service stands for VIP, port and protocol. Address and port lie in it as they do in the frame.
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
    }

    #[test]
    fn neighbouring_keys_spread_evenly() {
        let seed = Seed([
            0x243f_6a88_85a3_08d3,
            0x1319_8a2e_0370_7344,
            0xa409_3822_299f_31d0,
            0x082e_fa98_ec4e_6c89,
        ]);
        let mut buckets = [0u32; 256];
        for n in 0..65536u32 {
            let key =
                V4Key::new(Ipv4Addr::from_bits(0x0a00_0000 + n / 256), 1024 + (n % 256) as u16, ServiceId(0));
            buckets[(key.hash(&seed) >> 56) as usize] += 1;
        }
        let (least, most) = (buckets.iter().min().unwrap(), buckets.iter().max().unwrap());
        assert!(*least > 128 && *most < 512, "256 expected in each, seen {least} to {most}");
    }
}
