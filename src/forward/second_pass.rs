//! Second pass: looks up or opens each frame's connection, and rewrites the frame.

use super::conns::Connections;
use super::context::Context;
use super::fragments::{Destination, TaggedFragment};
use super::received::ReceivedFrame;
use super::snapshot::Route;
use super::staged::{Staged, StagedKind, WideFrames};
use super::tables::{ConnectionKey, Tables};
use super::{Batch, Verdict};
use crate::flow::{ConnState, EntryMut, Flow, FlowKey, V4Key, WideKey};
use crate::model::{InterfaceIndex, ServerId};
use crate::stats::{DropReason, ServerCounters};
use crate::time::{Span, Tick};
use crate::wire::ethernet::Addresses;
use crate::wire::hop;

/// Fast path: frames that leave the state of their connection unchanged.
pub(super) struct SecondPass<'a> {
    decision: Decision<'a>,
    tables: &'a mut Tables,
}

/// Inputs that every frame reads, dereferenced once per batch.
struct Decision<'a> {
    context: &'a Context,
    /// By state.
    lifetimes: &'a [Span; ConnState::COUNT],
    /// By server; of the same length as `counters`, so that one bounds check serves both.
    routes: &'a [Route],
    counters: &'a [ServerCounters],
    now: Tick,
}

/// Slow path: refused or tagged frames, frames without a connection or that change its state, and servers that
/// are quiesced or not reachable.
struct SlowPath<'a> {
    context: &'a Context,
    tables: &'a mut Tables,
    now: Tick,
    /// The look-up has found no connection.
    absent: bool,
}

impl<'a> SecondPass<'a> {
    #[inline]
    pub(super) fn new(
        context: &'a Context,
        tables: &'a mut Tables,
        lifetimes: &'a [Span; ConnState::COUNT],
        now: Tick,
    ) -> Self {
        let (routes, counters) = (&context.snapshot.routes[..], context.accounting.servers());
        let servers = routes.len().min(counters.len());
        let (routes, counters) = (&routes[..servers], &counters[..servers]);
        Self { decision: Decision { context, lifetimes, routes, counters, now }, tables }
    }

    /// Rewrites a frame that [`FirstPass::stage_plain`](super::first_pass::FirstPass::stage_plain) has staged for
    /// transmission, or drops it; counts it.
    #[inline(always)]
    pub(super) fn forward_plain<B: Batch + ?Sized>(
        &mut self,
        staged: &Staged<V4Key>,
        batch: &mut B,
        index: usize,
    ) -> Verdict {
        let Some(entry) = self.tables.v4.find(staged) else {
            return self.forward_slow(true, staged, batch, index);
        };
        let forwarded = self.decision.forward(entry, staged, batch.frame(index), hop::forward_plain);
        forwarded.unwrap_or_else(|| self.forward_slow(false, staged, batch, index))
    }

    /// Likewise for all frames of a batch that `stage_plain` has not staged whole.
    #[inline(never)]
    pub(super) fn forward_mixed<B: Batch + ?Sized>(
        self,
        staged: &[Staged<V4Key>],
        wide: &WideFrames,
        batch: &mut B,
        verdicts: &mut Vec<Verdict>,
    ) {
        // Made anew, so that the lengths of its slices are known here, too.
        let Decision { context, lifetimes, now, .. } = self.decision;
        let mut pass = SecondPass::new(context, self.tables, lifetimes, now);
        for (run, is_wide) in wide.indexes.runs(staged.len()) {
            if is_wide {
                let frames = wide.staged[run.clone()].iter().zip(run);
                verdicts.extend(frames.map(|(staged, index)| pass.forward_wide(staged, batch, index)));
            } else {
                let frames = staged[run.clone()].iter().zip(run);
                verdicts.extend(frames.map(|(staged, index)| pass.forward_compact(staged, batch, index)));
            }
        }
    }

    #[inline]
    fn forward_compact<B: Batch + ?Sized>(
        &mut self,
        staged: &Staged<V4Key>,
        batch: &mut B,
        index: usize,
    ) -> Verdict {
        if matches!(staged.kind, StagedKind::Lookup) {
            self.forward_plain(staged, batch, index)
        } else {
            self.forward_slow(false, staged, batch, index)
        }
    }

    #[inline]
    fn forward_wide<B: Batch + ?Sized>(
        &mut self,
        staged: &Staged<WideKey>,
        batch: &mut B,
        index: usize,
    ) -> Verdict {
        if !matches!(staged.kind, StagedKind::Lookup | StagedKind::Tagged) {
            return self.forward_slow(false, staged, batch, index);
        }
        let found = self.tables.wide.as_mut().and_then(|conns| conns.find(staged));
        let Some(entry) = found else { return self.forward_slow(true, staged, batch, index) };
        let forwarded = self.decision.forward(entry, staged, batch.frame(index), hop::forward_onward);
        forwarded.unwrap_or_else(|| self.forward_slow(false, staged, batch, index))
    }

    /// `absent` if the look-up has found no connection.
    #[inline(never)]
    fn forward_slow<K: ConnectionKey, B: Batch + ?Sized>(
        &mut self,
        absent: bool,
        staged: &Staged<K>,
        batch: &mut B,
        index: usize,
    ) -> Verdict {
        let Decision { context, now, .. } = self.decision;
        SlowPath { context, tables: self.tables, now, absent }.forward(staged, batch, index)
    }
}

impl Decision<'_> {
    /// Forwards a frame that leaves the state of its connection unchanged; `None` if the slow path has to decide.
    ///
    /// `rewrite` returns false for a frame in a loop.
    #[inline]
    fn forward<K: FlowKey>(
        &self,
        entry: EntryMut<'_>,
        staged: &Staged<K>,
        frame: &mut [u8],
        rewrite: impl FnOnce(&mut [u8], &Addresses) -> bool,
    ) -> Option<Verdict> {
        if !entry.stays(staged.flags, self.now) {
            return None;
        }
        let EntryMut { deadline, state, server, .. } = entry;
        let (server, expires) = (usize::from(server.0), self.now.after(self.lifetimes[*state as usize]));
        let Some(Route::Via(interface, addresses)) = self.routes.get(server) else { return None };
        if !rewrite(frame, addresses) {
            return Some(self.context.accounting.looped(frame));
        }
        *deadline = expires;
        self.counters[server].forwarded(staged.bytes);
        Some(Verdict::Forward(*interface))
    }
}

impl SlowPath<'_> {
    #[inline]
    fn forward<K: ConnectionKey, B: Batch + ?Sized>(
        &mut self,
        staged: &Staged<K>,
        batch: &mut B,
        index: usize,
    ) -> Verdict {
        let accounting = &self.context.accounting;
        match staged.kind {
            StagedKind::Refused(reason) => return accounting.dropped(reason),
            StagedKind::Looped => return accounting.looped(batch.frame(index)),
            StagedKind::Quoted => return self.forward_error(staged, batch.frame(index)),
            StagedKind::Later => {
                let fragment = fragment(batch, index);
                return self.forward_later(batch.frame(index), fragment.as_ref());
            }
            StagedKind::First => {
                if let Some(verdict) = self.leave_first(staged, fragment(batch, index).as_ref()) {
                    return verdict;
                }
            }
            StagedKind::Lookup | StagedKind::Tagged => {}
        }
        let received =
            ReceivedFrame { completed: batch.completes_checksum(index), frame: batch.frame(index) };
        let (server, interface, addresses) = match self.route_frame(staged, &received) {
            Ok(route) => route,
            Err(DropReason::Looped) => return accounting.looped(batch.frame(index)),
            Err(reason) => return accounting.dropped(reason),
        };
        let addresses = *addresses;
        if matches!(staged.kind, StagedKind::First) {
            self.pass_first(Destination::Server(server), fragment(batch, index).as_ref());
        }
        hop::forward(batch.frame(index), &addresses);
        accounting.forwarded(server, staged.bytes);
        Verdict::Forward(interface)
    }

    /// Leaves a first fragment of an unknown connection to another worker, which may know it. `None` if this worker has
    /// to decide.
    fn leave_first<K: ConnectionKey>(
        &mut self,
        staged: &Staged<K>,
        fragment: Option<&TaggedFragment>,
    ) -> Option<Verdict> {
        if !self.context.may_hand_over || self.known_server(staged).is_some() {
            return None;
        }
        self.pass_first(Destination::OtherWorker, fragment);
        Some(self.context.accounting.handed_over())
    }

    /// Records the destination of a first fragment for the others of its packet.
    fn pass_first(&mut self, destination: Destination, fragment: Option<&TaggedFragment>) {
        let Some(fragment) = fragment else { return };
        let fragments = &mut self.tables.fragments;
        let digest = fragments.digest(fragment);
        fragments.put(digest, destination, self.now);
        fragments.record_first(digest);
        self.context.accounting.follow_up();
    }

    /// Forwards a later fragment to the server of its packet's first fragment. If that is unknown, holds the fragment
    /// until the first one arrives; one from another worker is passed on.
    fn forward_later(&mut self, frame: &mut [u8], fragment: Option<&TaggedFragment>) -> Verdict {
        let Self { context, now, .. } = *self;
        let accounting = &context.accounting;
        let Some(fragment) = fragment else { return accounting.dropped(DropReason::Fragment) };
        let fragments = &self.tables.fragments;
        let server = match fragments.get(fragments.digest(fragment), now) {
            Some(Destination::Server(server)) => server,
            Some(Destination::OtherWorker) if context.may_hand_over => return accounting.handed_over(),
            None if context.is_handed && context.may_hand_over => return accounting.handed_over(),
            Some(Destination::OtherWorker) | None => return accounting.held(),
        };
        let (interface, addresses) = match context.snapshot.route(server).egress() {
            Ok(egress) => egress,
            Err(reason) => return accounting.dropped(reason),
        };
        if !hop::forward_onward(frame, addresses) {
            return accounting.looped(frame);
        }
        accounting.forwarded(server, fragment.fragment.bytes());
        Verdict::Forward(interface)
    }

    /// Forwards an ICMP error to the server of the connection that it is about. The state of the connection stays
    /// (`ip_vs_in_icmp` in net/netfilter/ipvs/ip_vs_core.c).
    fn forward_error<K: ConnectionKey>(&mut self, staged: &Staged<K>, frame: &mut [u8]) -> Verdict {
        let known = self.known_server(staged);
        let Self { context, .. } = *self;
        let accounting = &context.accounting;
        if known.is_none() && context.may_hand_over {
            return accounting.handed_over();
        }
        let server = match known.or_else(|| context.derived_server(staged.key.flow())) {
            Some(server) => Ok(server),
            None => self.schedule_error(staged, frame),
        };
        let server = match server {
            Ok(server) => server,
            Err(reason) => return accounting.dropped(reason),
        };
        let (interface, addresses) = match context.snapshot.route(server).egress() {
            Ok(egress) => egress,
            Err(reason) => return accounting.dropped(reason),
        };
        if !hop::forward_onward(frame, addresses) {
            return accounting.looped(frame);
        }
        accounting.forwarded(server, staged.bytes);
        Verdict::Forward(interface)
    }

    /// Opens a connection for an ICMP error that is about none, if `schedule_icmp` is set.
    fn schedule_error<K: ConnectionKey>(
        &mut self,
        staged: &Staged<K>,
        frame: &[u8],
    ) -> Result<ServerId, DropReason> {
        if !self.context.snapshot.policy.schedule_icmp {
            return Err(DropReason::IcmpUnknown);
        }
        let received = ReceivedFrame { completed: false, frame };
        K::connections(self.tables)?.open_or_advance(self.context, staged, self.now, &received)
    }

    /// The server of the frame's connection, if this worker or the shadow table has it.
    fn known_server<K: ConnectionKey>(&mut self, staged: &Staged<K>) -> Option<ServerId> {
        let Self { context, now, .. } = *self;
        let server = K::connections(self.tables).ok()?.server(staged, now);
        let server = server.or_else(|| {
            let conns = self.tables.wide.as_mut()?;
            let earlier = earlier(context, conns, staged, now)?;
            conns.server(&earlier, now)
        });
        server.or_else(|| context.shadowed(staged.key, now).map(|entry| entry.server))
    }

    /// The server of a frame, and the interface and addresses to send it with.
    #[inline]
    fn route_frame<K: ConnectionKey>(
        &mut self,
        staged: &Staged<K>,
        received: &ReceivedFrame<'_>,
    ) -> Result<(ServerId, InterfaceIndex, &Addresses), DropReason> {
        let server = self.server_of(staged, received)?;
        let (interface, addresses) = self.context.snapshot.route(server).egress()?;
        Ok((server, interface, addresses))
    }

    #[inline]
    fn server_of<K: ConnectionKey>(
        &mut self,
        staged: &Staged<K>,
        received: &ReceivedFrame<'_>,
    ) -> Result<ServerId, DropReason> {
        let Self { context, now, .. } = *self;
        if let Some(conns) = &mut self.tables.wide
            && let Some(earlier) = earlier(context, conns, staged, now)
            && (self.absent || !K::connections(self.tables)?.has(staged))
        {
            return WideKey::connections(self.tables)?.open_or_advance(context, &earlier, now, received);
        }
        let conns = K::connections(self.tables)?;
        if self.absent {
            return conns.adopt_or_open(context, staged, now, received);
        }
        conns.open_or_advance(context, staged, now, received)
    }
}

/// Restages a frame for a connection that a match of several ports opened before its port got a match of
/// its own. IPVS, too, looks up connections before services.
fn earlier<K: FlowKey>(
    context: &Context,
    conns: &mut Connections<WideKey>,
    staged: &Staged<K>,
    now: Tick,
) -> Option<Staged<WideKey>> {
    let Flow { client, client_port, match_id, port } = staged.key.flow();
    let beside = context.snapshot.beside(match_id)?;
    let port = beside.port.or(port)?;
    beside.others.iter().flatten().find_map(|other| {
        let earlier = conns.restage(staged, WideKey::new(client, client_port, *other, port));
        conns.continues(context, &earlier, now).then_some(earlier)
    })
}

/// Parses a fragment again, of which the first pass knows that it is one.
fn fragment<B: Batch + ?Sized>(batch: &mut B, index: usize) -> Option<TaggedFragment> {
    let rest = batch.rest(index);
    TaggedFragment::of(batch.frame(index), rest)
}
