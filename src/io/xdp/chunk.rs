//! Lengths of UMEM chunks, by MTU and copy mode.
//!
//! A frame longer than a chunk takes several, where kernel and driver support it.

use super::copy_mode::CopyMode;
use crate::io::bpf::Buffers;

/// Lengths that a UMEM chunk may have, in bytes: half a page, and a page, which is the most that drivers
/// without multi-buffer support have. In shorter ones, packet memory takes fewer sets of the caches.
const CHUNK_LENS: [u32; 2] = [2048, 4096];
/// XDP_PACKET_HEADROOM of linux/bpf.h: the kernel keeps so much of a chunk free, in bytes.
pub(super) const HEADROOM: u32 = 256;
/// Ethernet header and two VLAN tags, in bytes.
const LINK_HEADERS: u32 = 14 + 2 * 4;
/// Coarsest unit in which NICs count a receive buffer, in bytes. A buffer that is no multiple of it is used
/// up to the multiple below, and longer frames are cut or dropped there.
///
/// igb, igc and ixgbe for the 82599 shift the buffer's length right by 10 for SRRCTL.BSIZEPKT
/// (`igb_configure_rx_ring`, `igc_configure_rx_ring`, `ixgbe_configure_srrctl`, Linux 6.18). Of a chunk of
/// 2048 bytes, less the headroom, that leaves 1024.
pub(super) const GRANULE: u32 = 1024;

/// Part of a page that drivers reserve for a frame in a single buffer, in bytes: `struct skb_shared_info` on 64-bit
/// hosts, and the frame's checksum.
const DRIVER_ROOM: u32 = 320 + 4;

/// Largest MTU, in bytes, at which every driver with XDP takes a program for frames in one buffer: 3494. mlx5 takes
/// 3498, veth refuses above 3506 (`veth_xdp_set`, Linux 6.18).
pub const ONE_BUFFER_MTU_MAX: u32 = room(CHUNK_LENS[1]) - LINK_HEADERS - DRIVER_ROOM;
/// Largest MTU whose frames fit a chunk that the kernel copies into, in bytes.
pub const MTU_MAX: u32 = room(CHUNK_LENS[1]) - LINK_HEADERS;
/// Largest MTU whose frames fit the usable part of a chunk with every NIC, in bytes.
pub(super) const ZERO_COPY_MTU_MAX: u32 = room(CHUNK_LENS[1]) / GRANULE * GRANULE - LINK_HEADERS;

/// Returns the longest frame that a socket of an interface with this MTU takes, both in bytes.
pub(super) fn frame_max(copy_mode: CopyMode, mtu: u32, buffers: Buffers) -> u32 {
    match buffers {
        Buffers::One => room(chunk_len(copy_mode, mtu)),
        Buffers::Several => u32::MAX,
    }
}

/// Returns how many buffers a frame of an interface with this MTU, in bytes, may take: what to try, in order.
///
/// Frames that fit a chunk need several buffers with drivers that keep more of a page for themselves.
pub(super) fn buffers(mtu: u32) -> &'static [Buffers] {
    if mtu <= ONE_BUFFER_MTU_MAX {
        &[Buffers::One]
    } else if mtu <= MTU_MAX {
        &[Buffers::Several, Buffers::One]
    } else {
        &[Buffers::Several]
    }
}

/// Room for a frame in a chunk, both in bytes.
pub(super) const fn room(chunk_len: u32) -> u32 {
    chunk_len - HEADROOM
}

/// Returns the length of the chunks for an interface with this MTU, both in bytes: the shortest that frames
/// fit where the kernel copies, and a page where the NIC writes.
pub(in crate::io) fn chunk_len(copy_mode: CopyMode, mtu: u32) -> u32 {
    let [half, page] = CHUNK_LENS;
    match copy_mode {
        CopyMode::Copy if mtu <= room(half) - LINK_HEADERS => half,
        CopyMode::Copy | CopyMode::Zero => page,
    }
}

/// True if a frame of `len` bytes ends where a NIC's buffer in a chunk of `chunk_len` may end: the frame then
/// may have been longer.
pub(super) fn may_end_at(len: usize, chunk_len: usize) -> bool {
    let granule = GRANULE as usize;
    len >= granule && (len.is_multiple_of(granule) || len + HEADROOM as usize == chunk_len)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nic_never_gets_room_that_it_rounds_below_a_frame() {
        for mtu in [68, 1002, 1003, 1500, 1770, 1771, ZERO_COPY_MTU_MAX] {
            let frame_max = mtu + LINK_HEADERS;
            for granule in [1, 128, 1024] {
                let used = room(chunk_len(CopyMode::Zero, mtu)) / granule * granule;
                assert!(used >= frame_max, "MTU {mtu}, counted in {granule}: {used}");
            }
        }
        assert_eq!(ZERO_COPY_MTU_MAX, 3050);
    }

    #[test]
    fn several_buffers_are_tried_where_drivers_refuse_one() {
        let (one, several) = (Buffers::One, Buffers::Several);
        assert_eq!((buffers(3494), buffers(3819)), (&[one][..], &[several][..]));
        assert_eq!((buffers(3495), buffers(3818)), (&[several, one][..], &[several, one][..]));
    }

    #[test]
    fn a_frame_that_ends_with_a_buffer_may_be_cut() {
        for (len, cut) in
            [(60, false), (1023, false), (1024, true), (1514, false), (3072, true), (3840, true)]
        {
            assert_eq!(may_end_at(len, 4096), cut, "{len}");
        }
    }

    #[test]
    fn copied_frames_lie_in_the_shortest_chunk_that_they_fit() {
        assert_eq!(MTU_MAX, 3818);
        for (mtu, len) in [(68, 2048), (1500, 2048), (1770, 2048), (1771, 4096), (MTU_MAX, 4096)] {
            assert_eq!(chunk_len(CopyMode::Copy, mtu), len, "MTU {mtu}");
            assert!(room(len) >= mtu + LINK_HEADERS);
        }
    }
}
