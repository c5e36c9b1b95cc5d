//! The addresses of real servers, to recognise one as the client of its own service.

use crate::model::ServiceId;
use crate::random::GOLDEN;
use std::net::IpAddr;

/// Bits of the filter for each address: one of sixteen is set by another address.
const BITS_EACH: usize = 16;
/// Most bits of the filter: 8 KiB.
const BITS_MAX: usize = 1 << 16;

/// The addresses of real servers, by service.
///
/// Nearly every other client is told from them by one bit of a filter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RealServerAddresses {
    /// A bit for each digest of an address; a power of two of them, or none.
    filter: Box<[u64]>,
    /// Sorted.
    addresses: Box<[(ServiceId, IpAddr)]>,
}

impl RealServerAddresses {
    /// The set of these servers.
    #[must_use]
    pub fn new(servers: impl IntoIterator<Item = (ServiceId, IpAddr)>) -> Self {
        let mut addresses: Vec<_> = servers.into_iter().collect();
        addresses.sort_unstable();
        let bits = (addresses.len() * BITS_EACH).next_power_of_two().clamp(u64::BITS as usize, BITS_MAX);
        let words = if addresses.is_empty() { 0 } else { bits / u64::BITS as usize };
        let mut set = Self { filter: vec![0; words].into(), addresses: Vec::new().into() };
        for (_, address) in &addresses {
            let (word, bit) = set.place(*address);
            set.filter[word] |= 1 << bit;
        }
        set.addresses = addresses.into();
        set
    }

    /// True if `address` is a real server of `service`.
    #[inline]
    #[must_use]
    pub fn contains(&self, service: ServiceId, address: IpAddr) -> bool {
        let (word, bit) = self.place(address);
        self.filter.get(word).is_some_and(|word| word >> bit & 1 == 1) && self.has(service, address)
    }

    #[inline(never)]
    fn has(&self, service: ServiceId, address: IpAddr) -> bool {
        self.addresses.binary_search(&(service, address)).is_ok()
    }

    /// The word and the bit of an address in the filter. One without words has none of them.
    #[inline]
    fn place(&self, address: IpAddr) -> (usize, u32) {
        let digest = digest(address);
        // The upper bits of a product depend on all bits of the address.
        ((digest >> 32) as usize & self.filter.len().wrapping_sub(1), (digest >> 58) as u32)
    }
}

#[inline]
fn digest(address: IpAddr) -> u64 {
    let bits = match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => {
            let bits = address.to_bits();
            (bits >> 64) as u64 ^ (bits as u64).rotate_left(32)
        }
    };
    bits.wrapping_mul(GOLDEN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    fn v4(n: u32) -> IpAddr {
        Ipv4Addr::from_bits(0x0a00_0000 + n).into()
    }

    fn v6(n: u32) -> IpAddr {
        Ipv6Addr::from_bits(0x2001_0db8 << 96 | u128::from(n)).into()
    }

    #[test]
    fn a_server_belongs_to_its_services_alone() {
        let set =
            RealServerAddresses::new([(ServiceId(1), v4(7)), (ServiceId(3), v4(7)), (ServiceId(1), v6(9))]);
        for (service, address, expected) in [
            (1, v4(7), true),
            (3, v4(7), true),
            (2, v4(7), false),
            (1, v4(8), false),
            (1, v6(9), true),
            (3, v6(9), false),
        ] {
            assert_eq!(set.contains(ServiceId(service), address), expected, "{service} {address}");
        }
        assert!(!RealServerAddresses::default().contains(ServiceId(0), v4(0)));
        assert_eq!(RealServerAddresses::new([]), RealServerAddresses::default());
    }

    #[test]
    fn the_filter_spares_nearly_all_searches() {
        for (count, address) in [(1, v4 as fn(u32) -> IpAddr), (10, v4), (1000, v4), (1000, v6), (60_000, v4)]
        {
            let set = RealServerAddresses::new((0..count).map(|n| (ServiceId(0), address(n))));
            assert!((0..count).all(|n| set.contains(ServiceId(0), address(n))));
            let passes = |n: &u32| {
                let (word, bit) = set.place(address(*n));
                set.filter[word] >> bit & 1 == 1
            };
            let passed = (1 << 20..(1 << 20) + 10_000).filter(passes).count();
            let most = if count > 10_000 { 9000 } else { 2500 };
            assert!(passed < most, "{passed} of 10000 beside {count}");
        }
    }
}
