//! Second pass: looks up or opens each frame's connection, and rewrites the frame.

use super::conns::Connections;
use super::context::Context;
use super::received::ReceivedFrame;
use super::snapshot::Route;
use super::staged::{Staged, StagedKind};
use super::tables::Tables;
use super::{Batch, Verdict};
use crate::flow::{ConnState, EntryMut, Flow, FlowKey, V4Key, WideKey};
use crate::model::{InterfaceIndex, ServerId};
use crate::stats::{DropReason, ServerCounters};
use crate::time::{Span, Tick};
use crate::wire::ethernet::Addresses;
use crate::wire::hop;

/// Fast path: frames that leave the state of their connection unchanged. Holds what every frame reads,
/// dereferenced once per batch.
pub(super) struct SecondPass<'a> {
    context: &'a Context,
    /// By state.
    lifetimes: &'a [Span; ConnState::COUNT],
    /// By server; of the same length as `counters`, so that one bounds check serves both.
    routes: &'a [Route],
    counters: &'a [ServerCounters],
    tables: &'a mut Tables,
    now: Tick,
}

/// Slow path: refused or tagged frames, frames without a connection or that change its state, servers that
/// are quiesced or not reachable, and wildcard-port services.
struct SlowPath<'a> {
    context: &'a Context,
    tables: &'a mut Tables,
    now: Tick,
    /// The look-up in the IPv4 table has found no connection.
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
        Self { context, lifetimes, routes, counters, tables, now }
    }

    /// Rewrites a staged frame for transmission, or drops it; counts it.
    #[inline]
    pub(super) fn forward<B: Batch + ?Sized>(
        &mut self,
        staged: &Staged<V4Key>,
        batch: &mut B,
        index: usize,
    ) -> Verdict {
        let Self { context, now, .. } = *self;
        if !matches!(staged.kind, StagedKind::Lookup) {
            return self.slow_path(false).forward(staged, batch, index);
        }
        let Some(entry) = self.tables.v4.find(staged) else {
            return self.slow_path(true).forward(staged, batch, index);
        };
        if !entry.stays(staged.flags, now) {
            return self.slow_path(false).forward(staged, batch, index);
        }
        let EntryMut { deadline, state, server, .. } = entry;
        let (server, expires) = (usize::from(server.0), now.after(self.lifetimes[*state as usize]));
        let Some(Route::Via(interface, addresses)) = self.routes.get(server) else {
            return self.slow_path(false).forward(staged, batch, index);
        };
        if !hop::forward_plain(batch.frame(index), addresses) {
            return context.accounting.looped(batch.frame(index));
        }
        *deadline = expires;
        self.counters[server].forwarded(staged.bytes);
        Verdict::Forward(*interface)
    }

    #[inline]
    fn slow_path(&mut self, absent: bool) -> SlowPath<'_> {
        SlowPath { context: self.context, tables: self.tables, now: self.now, absent }
    }
}

impl SlowPath<'_> {
    #[inline(never)]
    fn forward<B: Batch + ?Sized>(&mut self, staged: &Staged<V4Key>, batch: &mut B, index: usize) -> Verdict {
        let accounting = &self.context.accounting;
        match staged.kind {
            StagedKind::Refused(reason) => return accounting.dropped(reason),
            StagedKind::Looped => return accounting.looped(batch.frame(index)),
            _ => {}
        }
        let received =
            ReceivedFrame { completed: batch.completes_checksum(index), frame: batch.frame(index) };
        let (server, interface, addresses) = match self.route_frame(staged, &received) {
            Ok(route) => route,
            Err(DropReason::Looped) => return accounting.looped(batch.frame(index)),
            Err(reason) => return accounting.dropped(reason),
        };
        hop::forward(batch.frame(index), addresses);
        accounting.forwarded(server, staged.bytes);
        Verdict::Forward(interface)
    }

    /// The server of a frame, and the interface and addresses to send it with.
    #[inline]
    fn route_frame(
        &mut self,
        staged: &Staged<V4Key>,
        received: &ReceivedFrame<'_>,
    ) -> Result<(ServerId, InterfaceIndex, &Addresses), DropReason> {
        let server = self.server_of(staged, received)?;
        let (interface, addresses) = self.context.snapshot.route(server).egress()?;
        Ok((server, interface, addresses))
    }

    #[inline]
    fn server_of(
        &mut self,
        staged: &Staged<V4Key>,
        received: &ReceivedFrame<'_>,
    ) -> Result<ServerId, DropReason> {
        let Self { context, now, .. } = *self;
        let Tables { v4, wildcard } = &mut *self.tables;
        if matches!(staged.kind, StagedKind::Wildcard) {
            let conns = wildcard.as_mut().ok_or(DropReason::TableFull)?;
            let staged = conns.restage(staged, WideKey::from_v4(staged.key, staged.port));
            return conns.open_or_advance(context, &staged, now, received);
        }
        if let Some(conns) = wildcard
            && let Some(earlier) = earlier(context, conns, staged, now)
            && (self.absent || !v4.has(staged))
        {
            return conns.open_or_advance(context, &earlier, now, received);
        }
        if self.absent {
            return v4.open(context, staged, now, received);
        }
        v4.open_or_advance(context, staged, now, received)
    }
}

/// Restages a frame for a connection that a wildcard-port service opened before its port got a service of
/// its own. IPVS, too, looks up connections before services.
fn earlier(
    context: &Context,
    conns: &mut Connections<WideKey>,
    staged: &Staged<V4Key>,
    now: Tick,
) -> Option<Staged<WideKey>> {
    let Flow { client, client_port, service, .. } = staged.key.flow();
    let (port, service) = context.snapshot.services.wildcard_beside(service)?;
    let key = WideKey::from_v4(V4Key::new(client, client_port, service), port);
    let earlier = conns.restage(staged, key);
    conns.continues(context, &earlier, now).then_some(earlier)
}
