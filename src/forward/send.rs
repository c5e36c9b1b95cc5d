//! The second pass: each frame finds its connection or opens one, and is sent on.

use super::arrival::Arrival;
use super::decide::Tables;
use super::family::{Candidate, Context, Family, Kind};
use super::snapshot::Route;
use super::{Batch, Verdict};
use crate::flow::{Flow, FlowKey, Found, State, V4Key, WildcardKey};
use crate::model::ServerId;
use crate::stats::{DropReason, ServerCounters};
use crate::time::{Span, Tick};
use crate::wire::hop;

/// What the second pass asks for every frame, taken out of its place once for a batch.
pub(super) struct Sender<'a> {
    pub(super) context: &'a Context,
    /// By state.
    pub(super) lifetimes: &'a [Span; State::COUNT],
    /// By server; those of the counters are as many.
    pub(super) routes: &'a [Route],
    pub(super) counters: &'a [ServerCounters],
    pub(super) tables: &'a mut Tables,
    pub(super) now: Tick,
}

/// The second pass for the other frames: refused ones, those with a tag, those whose connection is not
/// there, does not stay as it is, has a server that not every frame goes to, or belongs to a wildcard-port
/// service.
struct Opener<'a> {
    context: &'a Context,
    tables: &'a mut Tables,
    now: Tick,
    /// The connection of the frame has been looked for in the table of IPv4 and is not there.
    absent: bool,
}

impl Sender<'_> {
    /// Sends a staged frame on, rewritten, or drops it; counts it.
    #[inline]
    pub(super) fn forward<B: Batch + ?Sized>(
        &mut self,
        candidate: &Candidate<V4Key>,
        batch: &mut B,
        index: usize,
    ) -> Verdict {
        let Self { context, now, .. } = *self;
        if !matches!(candidate.kind, Kind::Of) {
            return self.opener(false).forward(candidate, batch, index);
        }
        let Some(found) = self.tables.v4.find(candidate) else {
            return self.opener(true).forward(candidate, batch, index);
        };
        if !found.stays(candidate.flags, now) {
            return self.opener(false).forward(candidate, batch, index);
        }
        let Found { deadline, state, server, .. } = found;
        let (server, expires) = (usize::from(server.0), now.after(self.lifetimes[*state as usize]));
        let Some(Route::Via(interface, addresses)) = self.routes.get(server) else {
            return self.opener(false).forward(candidate, batch, index);
        };
        if !hop::forward_plain(batch.frame(index), addresses) {
            return context.tally.looped(batch.frame(index));
        }
        *deadline = expires;
        self.counters[server].forwarded(candidate.bytes);
        Verdict::Forward(*interface)
    }

    #[inline]
    fn opener(&mut self, absent: bool) -> Opener<'_> {
        Opener { context: self.context, tables: self.tables, now: self.now, absent }
    }
}

impl Opener<'_> {
    #[inline(never)]
    fn forward<B: Batch + ?Sized>(
        &mut self,
        candidate: &Candidate<V4Key>,
        batch: &mut B,
        index: usize,
    ) -> Verdict {
        let tally = &self.context.tally;
        if let Kind::Refused(reason) = candidate.kind {
            return tally.dropped(reason);
        }
        let arrival = Arrival { completed: batch.completes_checksum(index), frame: batch.frame(index) };
        let way = self.server_of(candidate, &arrival).and_then(|server| {
            let (interface, addresses) = self.context.snapshot.route(server).way()?;
            Ok((server, interface, addresses))
        });
        let (server, interface, addresses) = match way {
            Ok(way) => way,
            Err(DropReason::Looped) => return tally.looped(batch.frame(index)),
            Err(reason) => return tally.dropped(reason),
        };
        hop::forward(batch.frame(index), addresses);
        tally.forwarded(server, candidate.bytes);
        Verdict::Forward(interface)
    }

    /// The server of a frame that has not been refused.
    #[inline]
    fn server_of(
        &mut self,
        candidate: &Candidate<V4Key>,
        arrival: &Arrival<'_>,
    ) -> Result<ServerId, DropReason> {
        let Self { context, now, .. } = *self;
        let Tables { v4, wildcard } = &mut *self.tables;
        if matches!(candidate.kind, Kind::Wildcard) {
            let family = wildcard.as_mut().ok_or(DropReason::TableFull)?;
            let candidate = family.candidate(candidate, WildcardKey::new(candidate.key, candidate.port));
            return family.open_or_advance(context, &candidate, now, arrival);
        }
        if let Some(family) = wildcard
            && let Some(earlier) = earlier((context, family), candidate, now)
            && (self.absent || !v4.has(candidate))
        {
            return family.open_or_advance(context, &earlier, now, arrival);
        }
        if self.absent {
            return v4.open(context, candidate, now, arrival);
        }
        v4.open_or_advance(context, candidate, now, arrival)
    }
}

/// Candidate for a connection that a wildcard-port service opened before its port got a service of its own.
/// IPVS, too, looks up connections before services.
fn earlier(
    (context, family): (&Context, &mut Family<WildcardKey>),
    candidate: &Candidate<V4Key>,
    now: Tick,
) -> Option<Candidate<WildcardKey>> {
    let Flow { client, client_port, service, .. } = candidate.key.flow();
    let (port, service) = context.snapshot.services.wildcard_beside(service)?;
    let key = WildcardKey::new(V4Key::new(client, client_port, service), port);
    let earlier = family.candidate(candidate, key);
    family.goes_on(context, &earlier, now).then_some(earlier)
}
