//! Frames between the two passes of a batch.

use super::BATCH;
use crate::flow::{ConnState, Hint, V4Key, WideKey};
use crate::hash::BucketPair;
use crate::model::Policy;
use crate::stats::DropReason;
use crate::wire::Protocol;
use crate::wire::packet::IpPacket;
use crate::wire::sctp::SctpEvent;
use crate::wire::transport::TcpFlags;
use std::ops::Range;

/// Result of the first pass for one frame.
#[derive(Clone, Copy, Debug)]
#[repr(C)] // `hint` and `kind`, both constants at first, are written in one piece
pub(super) struct Staged<K> {
    pub(super) key: K,
    pub(super) buckets: BucketPair,
    pub(super) bytes: u16,
    pub(super) protocol: Protocol,
    pub(super) flags: TcpFlags,
    pub(super) kind: StagedKind,
    pub(super) hint: Hint,
}

/// Processing of a staged frame in the second pass. With `Lookup` first an established frame with a wide key takes four
/// more instructions, as there are 32 drop reasons before it in the same byte.
#[derive(Clone, Copy, Debug)]
pub(super) enum StagedKind {
    /// Send the error to the server of the quoted packet's connection.
    Quoted,
    /// Look up or open its connection.
    Lookup,
    /// Likewise, for a tagged frame.
    Tagged,
    /// Look up or open the connection of a first fragment.
    First,
    /// Send the fragment to the server of its packet's first fragment.
    Later,
    /// Drop it as looped: its time to live has expired, and its connection passed here before.
    Looped,
    /// Drop it.
    Refused(DropReason),
}

/// Set of frames, by index in their batch.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct FrameSet(u64);

const _: () = assert!(BATCH <= u64::BITS as usize, "a bit for each frame");

impl FrameSet {
    #[inline]
    pub(super) fn is_empty(self) -> bool {
        self.0 == 0
    }

    #[inline]
    pub(super) fn insert(&mut self, index: usize) {
        self.0 |= 1 << index;
    }

    #[inline]
    pub(super) fn remove(&mut self, index: usize) {
        self.0 &= !(1 << index);
    }

    /// All indexes, in order.
    #[inline]
    pub(super) fn iter(self) -> impl Iterator<Item = usize> {
        let mut left = self.0;
        std::iter::from_fn(move || {
            let index = (left != 0).then(|| left.trailing_zeros() as usize);
            left &= left.wrapping_sub(1);
            index
        })
    }

    /// Splits a batch of `len` frames into runs of consecutive frames that are all in the set (`true`), or all not.
    #[inline]
    pub(super) fn runs(self, len: usize) -> impl Iterator<Item = (Range<usize>, bool)> {
        let (bits, mut start) = (self.0, 0);
        std::iter::from_fn(move || {
            if start >= len {
                return None;
            }
            let is_in = bits >> start & 1 == 1;
            let others = if is_in { !bits } else { bits } >> start;
            let run = start..len.min(start + others.trailing_zeros() as usize);
            start = run.end;
            Some((run, is_in))
        })
    }
}

/// The frames of a batch whose connections have wide keys.
pub(super) struct WideFrames {
    /// By index in the batch.
    pub(super) staged: Box<[Staged<WideKey>; BATCH]>,
    /// The indexes of frames with wide keys. The others are not set.
    pub(super) indexes: FrameSet,
}

impl WideFrames {
    pub(super) fn new() -> Self {
        Self { staged: Box::new([Staged::UNSET_WIDE; BATCH]), indexes: FrameSet::default() }
    }
}

impl Staged<V4Key> {
    /// Placeholder.
    pub(super) const UNSET: Self = Self::new(V4Key::NONE);

    /// A frame to be dropped.
    pub(super) const fn refused(reason: DropReason) -> Self {
        Self { kind: StagedKind::Refused(reason), ..Self::UNSET }
    }

    /// A fragment without ports.
    pub(super) const LATER: Self = Self { kind: StagedKind::Later, ..Self::UNSET };
}

impl Staged<WideKey> {
    /// Placeholder.
    pub(super) const UNSET_WIDE: Self = Self::new(WideKey::NONE);
}

impl<K> Staged<K> {
    /// Sets what the packet itself says. Called before its match and its buckets are computed, as its fields would take
    /// registers from that.
    #[inline]
    pub(super) fn set_packet<A>(&mut self, packet: &IpPacket<A>) {
        let &IpPacket { bytes, flags, protocol, .. } = packet;
        (self.bytes, self.flags, self.protocol) = (bytes, flags, protocol);
        (self.kind, self.hint) = (StagedKind::Lookup, Hint::NONE);
    }
}

impl<K: Copy> Staged<K> {
    /// A frame to be dropped, with this key.
    const fn new(key: K) -> Self {
        Self {
            key,
            buckets: BucketPair::UNSET,
            bytes: 0,
            protocol: Protocol::Tcp,
            flags: TcpFlags(0),
            hint: Hint::NONE,
            kind: StagedKind::Refused(DropReason::NoService),
        }
    }
}

impl<K> Staged<K> {
    /// True if the frame may belong to a connection that was confirmed before: it is neither a SYN nor an INIT.
    pub(super) fn may_continue(&self) -> bool {
        match self.protocol {
            Protocol::Udp => true,
            Protocol::Tcp => !self.flags.any(TcpFlags::SYN),
            Protocol::Sctp => self.flags != SctpEvent::Init.flags(),
        }
    }

    /// The first state of a connection that this frame opens.
    ///
    /// # Errors
    /// [`DropReason::NoConnection`] if the frame may not open one.
    pub(super) fn first_state(&self, policy: &Policy) -> Result<ConnState, DropReason> {
        let state = match self.protocol {
            Protocol::Udp => Some(ConnState::UdpNew),
            // Of an ICMP error, whose quote has no control bits.
            Protocol::Tcp if matches!(self.kind, StagedKind::Quoted) => Some(ConnState::None),
            Protocol::Tcp => ConnState::opened_by_tcp(self.flags, policy.sloppy_tcp),
            Protocol::Sctp if matches!(self.kind, StagedKind::Quoted) => Some(ConnState::SctpNone),
            Protocol::Sctp => ConnState::opened_by_sctp(self.flags, policy.sloppy_sctp),
        };
        state.ok_or(DropReason::NoConnection)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(indexes: &[usize]) -> FrameSet {
        let mut set = FrameSet::default();
        indexes.iter().for_each(|index| set.insert(*index));
        set
    }

    #[test]
    fn a_set_has_its_indexes_in_order() {
        for indexes in [&[][..], &[0], &[63], &[0, 1, 31, 32, 62, 63]] {
            assert_eq!(set(indexes).iter().collect::<Vec<_>>(), indexes);
            assert_eq!(set(indexes).is_empty(), indexes.is_empty());
        }
    }

    #[test]
    fn runs_cover_a_batch() {
        let runs = |indexes: &[usize], len| set(indexes).runs(len).collect::<Vec<_>>();
        let all: Vec<usize> = (0..BATCH).collect();
        assert_eq!(runs(&[], 0), []);
        assert_eq!(runs(&[], BATCH), [(0..BATCH, false)]);
        assert_eq!(runs(&all, BATCH), [(0..BATCH, true)]);
        assert_eq!(runs(&all, 1), [(0..1, true)]);
        assert_eq!(runs(&[1, 2, 63], BATCH), [(0..1, false), (1..3, true), (3..63, false), (63..64, true)]);
        assert_eq!(runs(&[0, 4], 5), [(0..1, true), (1..4, false), (4..5, true)]);
    }
}
