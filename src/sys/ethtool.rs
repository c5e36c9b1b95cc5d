//! The ethtool ioctl (SIOCETHTOOL of linux/sockios.h), in the calling thread's network namespace.
//!
//! Commands and structures are those of linux/ethtool.h.

#![allow(unsafe_code)]

mod features;
mod request;
mod tuning;

use super::uapi::{
    ETH_FLAG_RXVLAN, ETHTOOL_GCHANNELS, ETHTOOL_GDRVINFO, ETHTOOL_GFLAGS, ETHTOOL_GGRO, ETHTOOL_GRXCSUM,
    ETHTOOL_GTXCSUM, ETHTOOL_SGRO,
};
use crate::wire::ethernet::TAG;
use request::{Request, ioctl};
use std::io;
pub(crate) use tuning::{
    FlowKind, PauseFrames, ReceiveRing, flow_rules, hashes_ports, pause_frames, receive_delay, receive_ring,
};

/// Queues in use, by direction (`struct ethtool_channels`; combined queues count in both).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Channels {
    pub(crate) receive: u32,
    pub(crate) transmit: u32,
    /// The most receive queues that the driver has.
    pub(crate) receive_max: u32,
    /// The most transmit queues.
    pub(crate) transmit_max: u32,
    /// Queues for both directions: `ethtool -L` takes `combined`.
    pub(crate) is_combined: bool,
}

/// Queue counts of the interface `name` (ETHTOOL_GCHANNELS); `None` if the driver does not report them.
pub(crate) fn channels(name: &str) -> Option<Channels> {
    let mut request = ChannelsRequest { command: ETHTOOL_GCHANNELS, ..ChannelsRequest::default() };
    ioctl(name, &mut request).ok()?;
    let ChannelsRequest { max, receive, transmit, combined, .. } = request;
    let [receive_max, transmit_max, _, combined_max] = max;
    Some(Channels {
        receive: receive + combined,
        transmit: transmit + combined,
        receive_max: receive_max.max(combined_max),
        transmit_max: transmit_max.max(combined_max),
        is_combined: combined_max > 0,
    })
}

/// Driver name of the interface `name` (ETHTOOL_GDRVINFO).
pub(crate) fn driver(name: &str) -> Option<String> {
    let mut request = DriverRequest { command: ETHTOOL_GDRVINFO, ..DriverRequest::default() };
    ioctl(name, &mut request).ok()?;
    let end = request.driver.iter().position(|byte| *byte == 0)?;
    Some(String::from_utf8_lossy(&request.driver[..end]).into_owned())
}

/// Receive checksum offload of the interface `name` (ETHTOOL_GRXCSUM).
pub(crate) fn receive_checksums(name: &str) -> Option<bool> {
    flag(name, ETHTOOL_GRXCSUM)
}

/// Transmit checksum offload of the interface `name` (ETHTOOL_GTXCSUM).
pub(crate) fn transmit_checksums(name: &str) -> Option<bool> {
    flag(name, ETHTOOL_GTXCSUM)
}

/// True if the interface `name` takes the VLAN tag out of each received frame (ETHTOOL_GFLAGS). A veth only passes on
/// what the other end's transmission has left beside the frame.
pub(crate) fn strips_tags(name: &str) -> bool {
    let mut value = ValueRequest { command: ETHTOOL_GFLAGS, value: 0 };
    let reads = ioctl(name, &mut value).is_ok();
    reads && value.value & ETH_FLAG_RXVLAN != 0 && driver(name).as_deref() != Some("veth")
}

/// True if the interface `name` drops frames of VLANs that no VLAN device above it has (NETIF_F_HW_VLAN_CTAG_FILTER and
/// NETIF_F_HW_VLAN_STAG_FILTER). `protocol` identifies the outer tag.
pub(crate) fn filters_tags(name: &str, protocol: u16) -> bool {
    let feature = if protocol == TAG { "rx-vlan-filter" } else { "rx-vlan-stag-filter" };
    features::is_active(name, feature) == Some(true)
}

/// Whether the feature called `feature` is on, as `ethtool -k` shows it; `None` if it is unknown there.
pub(crate) fn feature(name: &str, feature: &str) -> Option<bool> {
    features::is_active(name, feature)
}

/// Whether the feature is on and cannot be switched off: "on [fixed]" of `ethtool -k`; `None` if it is unknown there.
pub(crate) fn is_forced(name: &str, feature: &str) -> Option<bool> {
    features::is_forced(name, feature)
}

/// A boolean setting; `None` if the driver does not report it.
fn flag(name: &str, command: u32) -> Option<bool> {
    let mut value = ValueRequest { command, value: 0 };
    ioctl(name, &mut value).ok()?;
    Some(value.value != 0)
}

/// GRO switched off on one interface (ETHTOOL_SGRO); dropping it switches GRO on again.
#[derive(Debug)]
pub(crate) struct GroOff(String);

impl GroOff {
    /// Switches GRO off; `None` if ETHTOOL_GGRO reports it off already.
    pub(crate) fn new(name: &str) -> io::Result<Option<Self>> {
        if flag(name, ETHTOOL_GGRO) == Some(false) {
            return Ok(None);
        }
        ioctl(name, &mut ValueRequest { command: ETHTOOL_SGRO, value: 0 })?;
        Ok(Some(Self(name.to_owned())))
    }
}

impl Drop for GroOff {
    fn drop(&mut self) {
        // The setting of a removed interface needs no restoring.
        let _ = ioctl(&self.0, &mut ValueRequest { command: ETHTOOL_SGRO, value: 1 });
    }
}

/// `struct ethtool_value`.
#[repr(C)]
struct ValueRequest {
    command: u32,
    value: u32,
}

// SAFETY: two u32, as in linux/ethtool.h for ETHTOOL_GFLAGS, ETHTOOL_GGRO, ETHTOOL_SGRO, ETHTOOL_GRXCSUM and ETHTOOL_GTXCSUM.
unsafe impl Request for ValueRequest {}

/// `struct ethtool_drvinfo`.
#[repr(C)]
struct DriverRequest {
    command: u32,
    driver: [u8; 32],
    rest: [u8; 160],
}

impl Default for DriverRequest {
    fn default() -> Self {
        Self { command: 0, driver: [0; 32], rest: [0; 160] }
    }
}

// SAFETY: 196 bytes, as in linux/ethtool.h for ETHTOOL_GDRVINFO: after command and driver come version, firmware
// version and bus (32 bytes each), ROM version (32), 12 reserved bytes, and five u32, which are 160 bytes together
// at an offset that is a multiple of four.
unsafe impl Request for DriverRequest {}

/// `struct ethtool_channels`.
#[repr(C)]
#[derive(Default)]
struct ChannelsRequest {
    command: u32,
    max: [u32; 4],
    receive: u32,
    transmit: u32,
    other: u32,
    combined: u32,
}

// SAFETY: nine u32, as in linux/ethtool.h for ETHTOOL_GCHANNELS.
unsafe impl Request for ChannelsRequest {}
