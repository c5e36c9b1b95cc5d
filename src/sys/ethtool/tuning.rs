//! Rings, interrupt coalescing, pause frames, and the choice of the receive queue.

#![allow(unsafe_code)]

use super::request::{Request, ioctl};
use crate::sys::uapi::{
    ETHTOOL_GCOALESCE, ETHTOOL_GPAUSEPARAM, ETHTOOL_GRINGPARAM, ETHTOOL_GRXCLSRLCNT, ETHTOOL_GRXFH,
};

/// RXH_L4_B_0_1 and RXH_L4_B_2_3 of linux/ethtool.h: both ports.
const PORTS: u64 = 1 << 6 | 1 << 7;
/// Words of `struct ethtool_coalesce`, `struct ethtool_ringparam` and `struct ethtool_pauseparam`.
const COALESCE_WORDS: usize = 23;
/// Place of `use_adaptive_rx_coalesce`.
const ADAPTIVE: usize = 10;
const RING_WORDS: usize = 9;
const PAUSE_WORDS: usize = 4;

/// Frames of a receive ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReceiveRing {
    pub(crate) frames: u32,
    pub(crate) frames_max: u32,
}

/// Ethernet flow control (IEEE 802.3, annex 31B).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PauseFrames {
    /// The NIC stops sending while the switch tells it to.
    pub(crate) receive: bool,
    /// The NIC stops the switch while its receive ring is full.
    pub(crate) transmit: bool,
}

/// A kind of flow whose receive queue is chosen by the same fields (linux/ethtool.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FlowKind {
    /// UDP_V4_FLOW.
    UdpV4 = 2,
    /// UDP_V6_FLOW.
    UdpV6 = 6,
}

/// Receive ring of the interface `name` (ETHTOOL_GRINGPARAM); `None` if the driver does not report it.
pub(crate) fn receive_ring(name: &str) -> Option<ReceiveRing> {
    let [_, frames_max, _, _, _, frames, ..] = words::<RING_WORDS>(name, ETHTOOL_GRINGPARAM)?;
    Some(ReceiveRing { frames, frames_max })
}

/// Microseconds from a received frame to the interrupt, at most (ETHTOOL_GCOALESCE); `None` also if the driver adapts them.
pub(crate) fn receive_delay(name: &str) -> Option<u32> {
    let settings = words::<COALESCE_WORDS>(name, ETHTOOL_GCOALESCE)?;
    (settings[ADAPTIVE] == 0).then_some(settings[1])
}

/// Pause frames of the interface `name` (ETHTOOL_GPAUSEPARAM).
pub(crate) fn pause_frames(name: &str) -> Option<PauseFrames> {
    let [_, _, receive, transmit] = words::<PAUSE_WORDS>(name, ETHTOOL_GPAUSEPARAM)?;
    Some(PauseFrames { receive: receive != 0, transmit: transmit != 0 })
}

/// Whether the ports of a flow count for its receive queue (ETHTOOL_GRXFH); `None` if the driver does not report that.
pub(crate) fn hashes_ports(name: &str, kind: FlowKind) -> Option<bool> {
    let mut request = FlowRequest { command: ETHTOOL_GRXFH, kind: kind as u32, ..FlowRequest::default() }; // 2, 6
    ioctl(name, &mut request).ok()?;
    Some(request.data & PORTS == PORTS)
}

/// Number of rules that choose a receive queue (ETHTOOL_GRXCLSRLCNT; `ethtool -n` lists them).
pub(crate) fn flow_rules(name: &str) -> Option<u32> {
    let mut request = FlowRequest { command: ETHTOOL_GRXCLSRLCNT, ..FlowRequest::default() };
    ioctl(name, &mut request).ok()?;
    Some(request.rules)
}

/// A structure of `N` words after which the kernel writes nothing.
fn words<const N: usize>(name: &str, command: u32) -> Option<[u32; N]> {
    let mut request = WordsRequest([0; N]);
    request.0[0] = command;
    ioctl(name, &mut request).ok()?;
    Some(request.0)
}

/// `struct ethtool_coalesce`, `struct ethtool_ringparam` or `struct ethtool_pauseparam`.
#[repr(C)]
struct WordsRequest<const N: usize>([u32; N]);

// SAFETY: the structures of ETHTOOL_GCOALESCE, ETHTOOL_GRINGPARAM and ETHTOOL_GPAUSEPARAM in linux/ethtool.h are 23, 9 and 4
// u32; `words` is called with the number of its command alone.
unsafe impl<const N: usize> Request for WordsRequest<N> {}

/// `struct ethtool_rxnfc` without rule locations.
#[repr(C)]
#[derive(Default)]
struct FlowRequest {
    command: u32,
    kind: u32,
    data: u64,
    /// `struct ethtool_rx_flow_spec`.
    specification: [u64; 21],
    /// Number of rules, in a union with the RSS context.
    rules: u32,
    padding: u32,
}

// SAFETY: 192 bytes, as in linux/ethtool.h for ETHTOOL_GRXFH and ETHTOOL_GRXCLSRLCNT: two u32, a u64, the specification of 168
// bytes (u32, unions of 52, 20, 52 and 20 bytes, u64 at 152, u32 and padding), a u32 and padding. Neither command writes
// beyond them: only ETHTOOL_GRXCLSRLALL has rule locations.
unsafe impl Request for FlowRequest {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::offset_of;

    #[test]
    fn the_flow_request_has_the_layout_of_the_kernel() {
        assert_eq!(size_of::<FlowRequest>(), 192);
        assert_eq!([offset_of!(FlowRequest, data), offset_of!(FlowRequest, rules)], [8, 184]);
    }

    #[test]
    fn an_interface_without_such_settings_reports_none() {
        assert_eq!(receive_ring("lo"), None);
        assert_eq!((receive_delay("lo"), pause_frames("lo"), flow_rules("lo")), (None, None, None));
        assert_eq!(hashes_ports("lo", FlowKind::UdpV4), None);
    }
}
