//! Features of an interface, as `ethtool -k` shows them.
//!
//! A feature has a name and no fixed number: its position among the names is that of its bit.

#![allow(unsafe_code)]

use super::request::{Request, ioctl};
use crate::sys::uapi::{
    ETH_GSTRING_LEN, ETH_SS_FEATURES, ETHTOOL_GFEATURES, ETHTOOL_GSSET_INFO, ETHTOOL_GSTRINGS,
};

/// Most features: Linux 6.18 has fewer than 64.
const FEATURES_MAX: usize = 128;
const BLOCKS: usize = FEATURES_MAX / 32;

/// Whether the feature called `feature` works on the interface `name`; `None` if it is unknown there.
pub(super) fn is_active(name: &str, feature: &str) -> Option<bool> {
    state(name, feature).map(|state| state.is_active)
}

/// Whether it works and cannot be changed; `None` if it is unknown there.
pub(super) fn is_forced(name: &str, feature: &str) -> Option<bool> {
    state(name, feature).map(|state| state.is_active && !state.is_available)
}

/// State of one feature.
struct FeatureState {
    is_active: bool,
    /// It can be changed.
    is_available: bool,
}

fn state(name: &str, feature: &str) -> Option<FeatureState> {
    let position = position(name, feature)?;
    let mut request =
        FeaturesRequest { command: ETHTOOL_GFEATURES, size: BLOCKS as u32, blocks: [[0; 4]; BLOCKS] }; // 4
    ioctl(name, &mut request).ok()?;
    let [available, _, active, _] = request.blocks[position / 32];
    let has = |bits: u32| bits & 1 << (position % 32) != 0;
    Some(FeatureState { is_active: has(active), is_available: has(available) })
}

/// Position of the feature's name.
fn position(name: &str, feature: &str) -> Option<usize> {
    let mut set =
        SetRequest { command: ETHTOOL_GSSET_INFO, reserved: 0, sets: 1 << ETH_SS_FEATURES, count: 0 };
    ioctl(name, &mut set).ok()?;
    let count = set.count as usize;
    if set.sets == 0 || count > FEATURES_MAX {
        return None;
    }
    let mut request = StringsRequest {
        command: ETHTOOL_GSTRINGS,
        set: ETH_SS_FEATURES,
        count: set.count,
        names: [[0; ETH_GSTRING_LEN]; FEATURES_MAX],
    };
    ioctl(name, &mut request).ok()?;
    let is_it = |one: &[u8; ETH_GSTRING_LEN]| one.split(|byte| *byte == 0).next() == Some(feature.as_bytes());
    request.names[..count].iter().position(is_it)
}

/// `struct ethtool_sset_info` with room for one set.
#[repr(C)]
struct SetRequest {
    command: u32,
    reserved: u32,
    sets: u64,
    count: u32,
}

// SAFETY: two u32 and a u64, as in linux/ethtool.h for ETHTOOL_GSSET_INFO, then a u32 for the number of strings of each set
// in `sets`: of one.
unsafe impl Request for SetRequest {}

/// `struct ethtool_gstrings`.
#[repr(C)]
struct StringsRequest {
    command: u32,
    set: u32,
    count: u32,
    names: [[u8; ETH_GSTRING_LEN]; FEATURES_MAX],
}

// SAFETY: three u32, as in linux/ethtool.h for ETHTOOL_GSTRINGS, then a name for each string of the set, whose number is
// constant in a kernel and has been compared with the room.
unsafe impl Request for StringsRequest {}

/// `struct ethtool_gfeatures`.
#[repr(C)]
struct FeaturesRequest {
    command: u32,
    size: u32,
    blocks: [[u32; 4]; BLOCKS],
}

// SAFETY: two u32, as in linux/ethtool.h for ETHTOOL_GFEATURES, then as many blocks of four u32 (available, requested, active,
// never changed) as `size` says.
unsafe impl Request for FeaturesRequest {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_are_found_by_name() {
        // The loopback interface has both fixed (`gen_lo_setup` in drivers/net/loopback.c).
        assert_eq!(is_active("lo", "loopback"), Some(true));
        assert_eq!(is_active("lo", "rx-vlan-filter"), Some(false));
        assert_eq!(is_forced("lo", "loopback"), Some(true));
        assert_eq!(is_forced("lo", "rx-vlan-filter"), Some(false));
        assert_eq!(is_active("lo", "no such feature"), None);
        assert_eq!(is_active("no-such-if", "loopback"), None);
    }
}
