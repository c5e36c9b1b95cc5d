//! The decision: one pass over a batch to read headers and call for the table, one to decide.

use super::family::{Candidate, Context, Family, Kind};
use super::snapshot::{ARMS_MAX, ArmIndex, Route, Snapshot};
use super::tally::Tally;
use super::{BATCH, Batch, Verdict};
use crate::flow::{Entry, EveryPortKey, Flow, FlowKey, FlowTable, Found, Hint, Homes, Key, State, V4Key};
use crate::model::{ServerId, ServiceId};
use crate::schedule::{Loads, Templates};
use crate::seed::Seed;
use crate::stats::{DropReason, WorkerCounters};
use crate::time::{Span, Tick};
use crate::wire::ethernet::Addresses;
use crate::wire::packet::{Packet, V4Packet};
use crate::wire::transport::TcpFlags;
use crate::wire::{ethernet, glance};
use std::sync::Arc;

/// What no MAC address is as a number.
const NO_STATION: u64 = u64::MAX;

/// One worker's decisions: its own connection tables, the shared loads, the current snapshot.
pub struct Forwarder {
    flows: Flows,
    staged: Box<[Candidate<V4Key>; BATCH]>,
}

/// Everything that a frame is decided by.
struct Flows {
    context: Context,
    /// The MAC addresses of the arms, as [`crate::wire::MacAddr::bits`] gives them.
    stations: [u64; ARMS_MAX],
    v4: Family<V4Key>,
    /// Of the services of every port, once there has been one.
    every_port: Option<Family<EveryPortKey>>,
}

impl Forwarder {
    /// A forwarder with an empty table for `connections` flows.
    #[must_use]
    pub fn new(connections: usize, seed: Seed, loads: Arc<Loads>, counters: Arc<WorkerCounters>) -> Self {
        let context = Context {
            snapshot: Arc::default(),
            lifetimes: [Span::default(); State::COUNT],
            tally: Tally::new(loads, counters),
        };
        let v4 = Family::new(FlowTable::new(connections, seed));
        let flows = Flows { context, stations: [NO_STATION; ARMS_MAX], v4, every_port: None };
        Self { flows, staged: Box::new([Candidate::NOBODY; BATCH]) }
    }

    /// Binds the clients of persistent services by `templates`, which all workers share. To be called
    /// before the first of them comes: without, none has a template.
    #[must_use]
    pub fn sharing(mut self, templates: Arc<Templates>) -> Self {
        self.flows.context.tally.share(templates);
        self
    }

    /// Keeps the connections of services of every port in `table` from now on. Until then, nobody can
    /// open one: it would be dropped as [`DropReason::TableFull`]. A second table is not taken.
    pub fn serve_every_port(&mut self, table: FlowTable<EveryPortKey>) {
        self.flows.every_port.get_or_insert_with(|| Family::new(table));
        self.flows.share_tables();
    }

    /// Decides by `snapshot` from now on.
    pub fn adopt(&mut self, snapshot: Arc<Snapshot>) {
        self.flows.context.lifetimes = State::ALL.map(|state| state.timeout(&snapshot.timeouts));
        self.flows.stations =
            std::array::from_fn(|arm| snapshot.arms.get(arm).map_or(NO_STATION, |arm| arm.mac.bits()));
        self.flows.context.snapshot = snapshot;
        self.flows.share_tables();
    }

    /// Decides about every frame of `batch`; `verdicts` then holds one for each, in order.
    ///
    /// Frames to be forwarded have their addresses rewritten, nothing else is changed. Dropped
    /// ones are counted here; so are connections, packets and bytes for each server.
    ///
    /// # Panics
    /// If the batch holds more than [`BATCH`] frames.
    pub fn decide<B: Batch + ?Sized>(&mut self, batch: &mut B, now: Tick, verdicts: &mut Vec<Verdict>) {
        verdicts.clear();
        self.flows.begin();
        let staged = &mut self.staged[..batch.len()];
        for (index, place) in staged.iter_mut().enumerate() {
            self.flows.stage(batch, index, place);
        }
        for candidate in &mut *staged {
            candidate.hint = self.flows.v4.locate(candidate.key, candidate.homes);
        }
        let decided =
            staged.iter().enumerate().map(|(index, candidate)| match self.flows.way_for(candidate, now) {
                Ok((arm, addresses)) => {
                    addresses.write(batch.frame(index));
                    Verdict::Forward(arm)
                }
                Err(reason) => self.flows.context.tally.dropped(reason),
            });
        verdicts.extend(decided);
        self.flows.count_entries();
    }

    /// Takes out expired connections, a bounded number of them at a time.
    ///
    /// Returns true if more is due at once. Called at least every few seconds, it keeps every
    /// connection from outliving its deadline by more than two seconds.
    pub fn keep_house(&mut self, now: Tick) -> bool {
        let Flows { context, v4, every_port, .. } = &mut self.flows;
        let others = every_port.as_mut().is_some_and(|family| family.keep_house(context, now));
        let owing = v4.keep_house(context, now) | others;
        self.flows.count_entries();
        owing
    }

    /// Takes out every connection that has expired by `now`, however long that takes.
    pub fn sweep_all(&mut self, now: Tick) {
        let Flows { context, v4, every_port, .. } = &mut self.flows;
        v4.sweep_all(context, now);
        every_port.iter_mut().for_each(|family| family.sweep_all(context, now));
        self.flows.count_entries();
    }

    /// The connections of bucket `bucket`, for listings; `None` past the last bucket. Those of the
    /// services of every port come last.
    pub fn connections(&self, bucket: usize) -> Option<impl Iterator<Item = Entry<Flow>>> {
        let Flows { v4, every_port, .. } = &self.flows;
        let others = every_port.as_ref().map_or(0, Family::buckets);
        let other = bucket.checked_sub(v4.buckets());
        let of_others = other.zip(every_port.as_ref()).map(|(bucket, family)| family.listed(bucket));
        let listed = v4.listed(bucket).chain(of_others.into_iter().flatten());
        (bucket < v4.buckets() + others).then_some(listed)
    }
}

impl Candidate<V4Key> {
    /// What a place holds before its first candidate.
    const NOBODY: Self = Self {
        key: V4Key::VACANT,
        homes: Homes::NOWHERE,
        bytes: 0,
        flags: TcpFlags(0),
        hint: Hint::NONE,
        kind: Kind::Refused(DropReason::NoService),
    };

    const fn refused(reason: DropReason) -> Self {
        Self { kind: Kind::Refused(reason), ..Self::NOBODY }
    }
}

impl Flows {
    #[inline]
    fn begin(&mut self) {
        self.v4.begin();
        self.every_port.iter_mut().for_each(Family::begin);
    }

    /// Says which of the tables several services share.
    fn share_tables(&mut self) {
        let [single, every_port] = self.context.snapshot.services.counts();
        self.v4.set_shared(single > 1);
        self.every_port.iter_mut().for_each(|family| family.set_shared(every_port > 1));
    }

    /// Notes how many connections there are.
    #[inline]
    fn count_entries(&self) {
        self.context.tally.entries(self.v4.len() + self.every_port.as_ref().map_or(0, Family::len));
    }

    /// Reads one frame as far as it can be without the table, whose first line for it is then under way.
    #[inline]
    fn stage<B: Batch + ?Sized>(&self, batch: &mut B, index: usize, place: &mut Candidate<V4Key>) {
        match self.glance(batch.frame(index)) {
            Some((packet, service)) => *place = self.candidate(&packet, service),
            None => self.look_closer(batch, index, place),
        }
    }

    /// What nearly every frame needs.
    #[inline]
    fn glance(&self, frame: &[u8]) -> Option<(V4Packet, ServiceId)> {
        let packet = glance::packet(frame)?;
        self.admit(ethernet::split(frame)?.0).ok()?;
        Some((packet, self.service_of(&packet)?))
    }

    /// Header by header: there may be options, or a service of every port.
    #[cold]
    fn look_closer<B: Batch + ?Sized>(&self, batch: &mut B, index: usize, place: &mut Candidate<V4Key>) {
        let rest = batch.rest(index);
        *place = self.read(batch.frame(index), rest).unwrap_or_else(|reason| match reason {
            DropReason::Truncated if batch.may_be_cut(index) => Candidate::refused(DropReason::CutByDriver),
            reason => Candidate::refused(reason),
        });
    }

    /// Another `rest` bytes belong to the frame. If something is wrong, the outermost reason counts.
    fn read(&self, frame: &[u8], rest: usize) -> Result<Candidate<V4Key>, DropReason> {
        let (ethernet, payload) = ethernet::split(frame).ok_or(DropReason::Truncated)?;
        self.admit(ethernet)?;
        let Packet::V4(packet) = Packet::within(ethernet.ethertype(), payload, rest)?;
        match self.service_of(&packet) {
            Some(service) => Ok(self.candidate(&packet, service)),
            None => self.of_every_port(&packet).ok_or(DropReason::NoService),
        }
    }

    #[inline]
    fn service_of(&self, packet: &V4Packet) -> Option<ServiceId> {
        self.context.snapshot.services.find(packet.protocol, packet.destination, packet.ports.destination)
    }

    /// Takes only frames for this station that it has not sent itself.
    #[inline]
    fn admit(&self, ethernet: ethernet::Header<'_>) -> Result<(), DropReason> {
        if self.stations.contains(&ethernet.source_bits()) {
            return Err(DropReason::Looped);
        }
        let own = self.stations[usize::from(ArmIndex::CLIENT.0)] == ethernet.destination_bits();
        own.then_some(()).ok_or(DropReason::OtherHost)
    }

    /// What the second pass needs of a packet; its first table line is called for.
    #[inline]
    fn candidate(&self, packet: &V4Packet, service: ServiceId) -> Candidate<V4Key> {
        let key = V4Key::new(packet.source, packet.ports.source, service);
        let homes = self.v4.call(key);
        let V4Packet { bytes, flags, protocol, .. } = *packet;
        Candidate { key, homes, bytes, flags, hint: Hint::NONE, kind: Kind::Of(protocol) }
    }

    /// The candidate for a service of every port, if the VIP has one. Its homes are in the other table.
    fn of_every_port(&self, packet: &V4Packet) -> Option<Candidate<V4Key>> {
        let V4Packet { protocol, destination, bytes, flags, ports, .. } = *packet;
        let service = self.context.snapshot.services.find_every_port(protocol, destination)?;
        let key = V4Key::new(packet.source, ports.source, service);
        if let Some(family) = &self.every_port {
            family.call(EveryPortKey::new(key, ports.destination));
        }
        let kind = Kind::EveryPort(protocol, ports.destination);
        Some(Candidate { key, bytes, flags, kind, ..Candidate::NOBODY })
    }

    /// Where a frame that has been staged goes, and with which addresses. It is counted as if it were
    /// there. A frame for a removed server is dropped without a trace, so that its connection ends in
    /// its time (`ip_vs_in` in net/netfilter/ipvs/ip_vs_core.c, without expire_nodest_conn).
    #[inline]
    fn way_for(
        &mut self,
        candidate: &Candidate<V4Key>,
        now: Tick,
    ) -> Result<(ArmIndex, &Addresses), DropReason> {
        if let Kind::Refused(reason) = candidate.kind {
            return Err(reason);
        }
        let found = match candidate.kind {
            Kind::Of(_) => self.v4.unchanged(candidate, now),
            _ => None,
        };
        let Some(Found { deadline, state, server }) = found else {
            let server = self.open_or_advance(candidate, now)?;
            let way = self.context.snapshot.route(server).way()?;
            self.context.tally.forwarded(server, candidate.bytes);
            return Ok(way);
        };
        let route = self.context.snapshot.route(server);
        if *route == Route::Gone {
            return Err(DropReason::ServerGone);
        }
        *deadline = now.after(self.context.lifetimes[*state as usize]);
        let way = route.way()?;
        self.context.tally.forwarded(server, candidate.bytes);
        Ok(way)
    }

    /// The server of a frame whose connection is not there, does not stay as it is, or is one to a
    /// service of every port.
    #[inline(never)]
    fn open_or_advance(&mut self, candidate: &Candidate<V4Key>, now: Tick) -> Result<ServerId, DropReason> {
        let Self { context, v4, every_port, .. } = self;
        if let Kind::EveryPort(_, port) = candidate.kind {
            let family = every_port.as_mut().ok_or(DropReason::TableFull)?;
            let candidate = family.candidate(candidate, EveryPortKey::new(candidate.key, port));
            return family.open_or_advance(context, &candidate, now);
        }
        if let Some(family) = every_port
            && let Some(earlier) = earlier((context, family), candidate, now)
            && v4.state_of(candidate).is_none()
        {
            return family.open_or_advance(context, &earlier, now);
        }
        v4.open_or_advance(context, candidate, now)
    }
}

/// What a connection is by that began when its port was one of every port, and has a service of its
/// own by now: IPVS, too, looks for connections first and for services then.
fn earlier(
    (context, family): (&Context, &mut Family<EveryPortKey>),
    candidate: &Candidate<V4Key>,
    now: Tick,
) -> Option<Candidate<EveryPortKey>> {
    let Flow { client, client_port, service, .. } = candidate.key.flow();
    let (port, service) = context.snapshot.services.every_port_beside(service)?;
    let key = EveryPortKey::new(V4Key::new(client, client_port, service), port);
    let earlier = family.candidate(candidate, key);
    let (state, deadline) = family.state_of(&earlier)?;
    let goes_on = !now.reached(deadline) && !state.gives_way_to(candidate.flags);
    goes_on.then_some(earlier)
}
