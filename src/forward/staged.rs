//! Frames between the two passes of a batch.

use super::BATCH;
use crate::flow::{ConnState, Hint, V4Key, WideKey};
use crate::hash::BucketPair;
use crate::model::Policy;
use crate::stats::DropReason;
use crate::wire::Protocol;
use crate::wire::transport::TcpFlags;

/// Result of the first pass for one frame.
#[derive(Clone, Copy, Debug)]
pub(super) struct Staged<K> {
    pub(super) key: K,
    pub(super) buckets: BucketPair,
    pub(super) bytes: u16,
    pub(super) protocol: Protocol,
    pub(super) flags: TcpFlags,
    pub(super) hint: Hint,
    pub(super) kind: StagedKind,
}

/// Processing of a staged frame in the second pass.
#[derive(Clone, Copy, Debug)]
pub(super) enum StagedKind {
    /// Look up or open its connection.
    Lookup,
    /// Likewise, for a tagged frame.
    Tagged,
    /// Process the frame in [`WideFrames`].
    Wide,
    /// Send the error to the server of the quoted packet's connection.
    Quoted,
    /// Look up or open the connection of a first fragment.
    First,
    /// Send the fragment to the server of its packet's first fragment.
    Later,
    /// Drop it as looped: its time to live has expired, and its connection passed here before.
    Looped,
    /// Drop it.
    Refused(DropReason),
}

/// The frames of a batch whose connections have wide keys.
pub(super) struct WideFrames {
    /// By index in the batch.
    staged: Box<[Staged<WideKey>; BATCH]>,
    /// A bit for each index that is set.
    indexes: u64,
}

const _: () = assert!(BATCH <= u64::BITS as usize, "a bit for each frame");

impl WideFrames {
    pub(super) fn new() -> Self {
        Self { staged: Box::new([Staged::new(WideKey::NONE); BATCH]), indexes: 0 }
    }

    /// Removes all frames.
    #[inline]
    pub(super) fn clear(&mut self) {
        self.indexes = 0;
    }

    /// True if there is none.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.indexes == 0
    }

    /// Sets frame `index`.
    #[inline]
    pub(super) fn set(&mut self, index: usize, staged: Staged<WideKey>) {
        self.staged[index] = staged;
        self.indexes |= 1 << index;
    }

    /// Frame `index`, which has been set.
    #[inline]
    pub(super) fn get(&self, index: usize) -> &Staged<WideKey> {
        &self.staged[index]
    }

    /// All frames, in order.
    #[inline]
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Staged<WideKey>> {
        let indexes = self.indexes;
        let staged = self.staged.iter_mut().enumerate();
        staged.filter(move |(index, _)| indexes >> index & 1 == 1).map(|(_, staged)| staged)
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

    /// A frame with a key in [`WideFrames`].
    pub(super) const WIDE: Self = Self { kind: StagedKind::Wide, ..Self::UNSET };
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
