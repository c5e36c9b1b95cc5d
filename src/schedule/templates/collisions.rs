//! IPv6 networks whose digests are equal.

use std::net::Ipv6Addr;

/// Five networks of one digest, found by inverting the hash. The third has the upper half of the first and the lower
/// half of the second: a reader that mixes those two sees it.
pub(super) const OF_ONE_DIGEST: [Ipv6Addr; 5] = [
    Ipv6Addr::from_bits(0x2001_0db8_0000_0001_9d6f_a362_2fae_55c4),
    Ipv6Addr::from_bits(0xfa21_516d_52b4_29af_b314_5ee0_3d4b_17da),
    Ipv6Addr::from_bits(0x2001_0db8_0000_0001_b314_5ee0_3d4b_17da),
    Ipv6Addr::from_bits(0x2001_0db8_0000_000d_d33e_8e6f_7976_d785),
    Ipv6Addr::from_bits(0x2001_0db8_0000_000e_336d_0ab7_4a17_7834),
];
