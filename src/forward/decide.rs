//! The decision: one pass over a batch to read headers and call for the table, one to decide.

use super::family::{Candidate, Context, Family};
use super::read::Reader;
use super::send::Sender;
use super::snapshot::{INTERFACES_MAX, Snapshot};
use super::tally::Tally;
use super::{BATCH, Batch, Verdict};
use crate::flow::{Entry, Flow, FlowTable, State, V4Key, WildcardKey};
use crate::schedule::{Loads, Templates};
use crate::seed::Seed;
use crate::stats::WorkerCounters;
use crate::time::{Span, Tick};
use std::sync::Arc;

/// What no MAC address is as a number.
const NO_STATION: u64 = u64::MAX;

/// One worker's decisions: its own connection tables, the shared loads, the current snapshot.
pub struct Forwarder {
    context: Context,
    /// The MAC addresses of the interfaces, as [`crate::wire::MacAddr::bits`] gives them.
    stations: [u64; INTERFACES_MAX],
    tables: Tables,
    staged: Box<[Candidate<V4Key>; BATCH]>,
}

/// The connections.
pub(super) struct Tables {
    pub(super) v4: Family<V4Key>,
    /// Of the wildcard-port services, once there has been one.
    pub(super) wildcard: Option<Family<WildcardKey>>,
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
        let tables = Tables { v4: Family::new(FlowTable::new(connections, seed)), wildcard: None };
        let staged = Box::new([Candidate::NOBODY; BATCH]);
        Self { context, stations: [NO_STATION; INTERFACES_MAX], tables, staged }
    }

    /// Binds the clients of persistent services by `templates`, which all workers share. To be called
    /// before the first of them comes: without, none has a template.
    #[must_use]
    pub fn sharing(mut self, templates: Arc<Templates>) -> Self {
        self.context.tally.share(templates);
        self
    }

    /// Keeps the connections of wildcard-port services in `table` from now on. Until then, nobody can
    /// open one: it would be dropped as [`TableFull`](crate::stats::DropReason::TableFull). A second table is not taken.
    pub fn set_wildcard_table(&mut self, table: FlowTable<WildcardKey>) {
        self.tables.wildcard.get_or_insert_with(|| Family::new(table));
        self.tables.share(&self.context.snapshot);
    }

    /// Decides by `snapshot` from now on.
    pub fn adopt(&mut self, snapshot: Arc<Snapshot>) {
        self.context.lifetimes = State::ALL.map(|state| state.timeout(&snapshot.timeouts));
        self.stations =
            std::array::from_fn(|index| snapshot.own_macs.get(index).map_or(NO_STATION, |mac| mac.bits()));
        self.tables.share(&snapshot);
        self.context.snapshot = snapshot;
    }

    /// Decides about every frame of `batch`; `verdicts` then holds one for each, in order.
    ///
    /// Frames to be forwarded get other MAC addresses, a lower time to live and the header checksum
    /// that goes with it ([`crate::wire::hop::forward`]); nothing else is changed. Dropped ones are counted here; so
    /// are connections, packets and bytes for each server.
    ///
    /// # Panics
    /// If the batch holds more than [`BATCH`] frames.
    pub fn decide<B: Batch + ?Sized>(&mut self, batch: &mut B, now: Tick, verdicts: &mut Vec<Verdict>) {
        verdicts.clear();
        self.tables.begin();
        let staged = &mut self.staged[..batch.len()];
        let reader = self.tables.reader(&self.context, self.stations);
        for (index, place) in staged.iter_mut().enumerate() {
            reader.stage(batch, index, place);
        }
        self.tables.v4.locate_all(staged);
        let lifetimes = self.context.lifetimes;
        let mut sender = self.tables.sender(&self.context, &lifetimes, now);
        let decided = staged.iter().enumerate();
        let decided = decided.map(|(index, candidate)| sender.forward(candidate, batch, index));
        verdicts.extend(decided);
        self.count_entries();
    }

    /// Takes out expired connections, a bounded number of them at a time.
    ///
    /// Returns true if more is due at once. Called at least every few seconds, it keeps every
    /// connection from outliving its deadline by more than two seconds.
    pub fn keep_house(&mut self, now: Tick) -> bool {
        let Self { context, tables: Tables { v4, wildcard }, .. } = self;
        let others = wildcard.as_mut().is_some_and(|family| family.keep_house(context, now));
        let owing = v4.keep_house(context, now) | others;
        self.count_entries();
        owing
    }

    /// Takes out every connection that has expired by `now`, however long that takes.
    pub fn sweep_all(&mut self, now: Tick) {
        let Self { context, tables: Tables { v4, wildcard }, .. } = self;
        v4.sweep_all(context, now);
        wildcard.iter_mut().for_each(|family| family.sweep_all(context, now));
        self.count_entries();
    }

    /// The connections of bucket `bucket`, for listings; `None` past the last bucket. Those of the
    /// wildcard-port services come last.
    pub fn connections(&self, bucket: usize) -> Option<impl Iterator<Item = Entry<Flow>>> {
        let Tables { v4, wildcard } = &self.tables;
        let others = wildcard.as_ref().map_or(0, Family::buckets);
        let other = bucket.checked_sub(v4.buckets());
        let of_others = other.zip(wildcard.as_ref()).map(|(bucket, family)| family.listed(bucket));
        let listed = v4.listed(bucket).chain(of_others.into_iter().flatten());
        (bucket < v4.buckets() + others).then_some(listed)
    }

    /// Notes how many connections there are.
    #[inline]
    fn count_entries(&self) {
        let Tables { v4, wildcard } = &self.tables;
        self.context.tally.entries(v4.len() + wildcard.as_ref().map_or(0, Family::len));
    }
}

impl Tables {
    #[inline]
    fn begin(&mut self) {
        self.v4.begin();
        self.wildcard.iter_mut().for_each(Family::begin);
    }

    /// Says which of the tables several services share.
    fn share(&mut self, snapshot: &Snapshot) {
        let [single, wildcard] = snapshot.services.counts();
        self.v4.set_shared(single > 1);
        self.wildcard.iter_mut().for_each(|family| family.set_shared(wildcard > 1));
    }

    #[inline]
    fn reader<'a>(&'a self, context: &'a Context, stations: [u64; INTERFACES_MAX]) -> Reader<'a> {
        let services = &context.snapshot.services;
        Reader { services, stations, v4: &self.v4, wildcard: self.wildcard.as_ref() }
    }

    #[inline]
    fn sender<'a>(
        &'a mut self,
        context: &'a Context,
        lifetimes: &'a [Span; State::COUNT],
        now: Tick,
    ) -> Sender<'a> {
        let (routes, counters) = (&context.snapshot.routes[..], context.tally.servers());
        // Of one length, so that what is found in one need not be looked for in the other.
        let servers = routes.len().min(counters.len());
        let (routes, counters) = (&routes[..servers], &counters[..servers]);
        Sender { context, lifetimes, routes, counters, tables: self, now }
    }
}
