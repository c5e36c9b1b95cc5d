//! Frames between the two passes of a batch.

use crate::flow::{ConnState, Hint, TableKey, V4Key};
use crate::hash::BucketPair;
use crate::stats::DropReason;
use crate::wire::Protocol;
use crate::wire::transport::TcpFlags;

/// Result of the first pass for one frame.
#[derive(Clone, Copy, Debug)]
pub(super) struct Staged<K> {
    pub(super) key: K,
    pub(super) buckets: BucketPair,
    pub(super) bytes: u16,
    /// Destination port, for [`StagedKind::Wildcard`] only.
    pub(super) port: u16,
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
    /// Likewise, for a frame with a priority tag.
    Tagged,
    /// Likewise, in the table of the wildcard-port services.
    Wildcard,
    /// Drop it as looped: its time to live has expired, and its connection passed here before.
    Looped,
    /// Drop it.
    Refused(DropReason),
}

impl Staged<V4Key> {
    /// Placeholder.
    pub(super) const UNSET: Self = Self {
        key: V4Key::VACANT,
        buckets: BucketPair::UNSET,
        bytes: 0,
        port: 0,
        protocol: Protocol::Tcp,
        flags: TcpFlags(0),
        hint: Hint::NONE,
        kind: StagedKind::Refused(DropReason::NoService),
    };

    /// A frame to be dropped.
    pub(super) const fn refused(reason: DropReason) -> Self {
        Self { kind: StagedKind::Refused(reason), ..Self::UNSET }
    }
}

impl<K> Staged<K> {
    /// The first state of a connection that this frame opens (`tcp_conn_schedule` in
    /// net/netfilter/ipvs/ip_vs_proto_tcp.c).
    ///
    /// # Errors
    /// [`DropReason::NoConnection`] if the frame may not open one.
    pub(super) fn first_state(&self) -> Result<ConnState, DropReason> {
        match self.protocol {
            Protocol::Udp => Ok(ConnState::UdpNew),
            Protocol::Tcp => {
                let opens = self.flags.any(TcpFlags::SYN) && !self.flags.any(TcpFlags::RST);
                opens.then(|| ConnState::None.after(self.flags)).ok_or(DropReason::NoConnection)
            }
        }
    }
}
