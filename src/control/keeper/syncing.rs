//! Connection sync as a part of the keeper: sockets and the machine of [`crate::sync`] over the shadow table.

use super::keeping::KeptConnections;
use super::sync_report::SyncReport;
use crate::control::state::sync_names::SyncNames;
use crate::control::sync::{SyncListener, SyncTransmitter};
use crate::sync::{
    GroupSet, SyncCounts, SyncDigest, SyncFacts, SyncHost, SyncMachine, SyncRecord, SyncRefusals, SyncRole,
    SyncSettings,
};
use crate::sys::{Sleeper, poll};
use crate::time::Tick;
use crossbeam::queue::SegQueue;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Interval of reports.
const REPORT_EVERY: Duration = Duration::from_millis(200);

/// Everything that connection sync is started with.
pub struct SyncStart {
    /// Settings of the machine.
    pub settings: SyncSettings,
    /// Facts for hellos.
    pub facts: SyncFacts,
    /// Sending end, if messages are sent.
    pub transmitter: Option<SyncTransmitter>,
    /// Receiving end, if they are received.
    pub listener: Option<SyncListener>,
    /// Names of services and real servers.
    pub names: Arc<SyncNames>,
}

/// Order of control to the keeper.
pub enum SyncOrder {
    /// Begins, in place of what runs.
    Start(Box<SyncStart>),
    /// Ends.
    Stop,
    /// Other facts for hellos.
    Facts(SyncFacts),
    /// Other services or real servers.
    Names(Arc<SyncNames>),
}

/// Control's end of connection sync.
#[derive(Clone)]
pub struct SyncHandle {
    orders: Arc<SegQueue<SyncOrder>>,
    report: Arc<Mutex<SyncReport>>,
    sleeper: Arc<Sleeper>,
}

impl SyncHandle {
    /// Gives the keeper an order.
    pub fn order(&self, order: SyncOrder) {
        self.orders.push(order);
        self.sleeper.wake();
    }

    /// The latest report, some tenths of a second old at most.
    #[must_use]
    pub fn report(&self) -> SyncReport {
        self.report.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The keeper's end of connection sync.
pub(super) struct Syncing {
    orders: Arc<SegQueue<SyncOrder>>,
    report: Arc<Mutex<SyncReport>>,
    running: Option<RunningSync>,
    reported_at: Tick,
}

struct RunningSync {
    machine: SyncMachine,
    transmitter: Option<SyncTransmitter>,
    listener: Option<SyncListener>,
}

impl Syncing {
    /// Nothing runs until the first order.
    pub(super) fn new(sleeper: &Arc<Sleeper>) -> (Self, SyncHandle) {
        let (orders, report) = (Arc::<SegQueue<_>>::default(), Arc::<Mutex<_>>::default());
        let handle = SyncHandle {
            orders: Arc::clone(&orders),
            report: Arc::clone(&report),
            sleeper: Arc::clone(sleeper),
        };
        (Self { orders, report, running: None, reported_at: Tick(0) }, handle)
    }

    /// True if an order waits.
    pub(super) fn has_order(&self) -> bool {
        !self.orders.is_empty()
    }

    /// Sleeps until the sleeper is woken, a datagram comes or something is due, at most for `pause`.
    pub(super) fn sleep(&self, sleeper: &Sleeper, pause: Duration, now: Tick) {
        let Some(RunningSync { machine, listener, .. }) = &self.running else {
            let _ = poll::readable([sleeper], pause); // an error ends the wait early
            return;
        };
        let until =
            machine.deadline().map_or(pause, |at| Duration::from_millis(at.since(now).millis().into()));
        let sockets = listener.iter().flat_map(SyncListener::fds).map(poll::for_input);
        let mut entries: Vec<_> = [poll::for_input(sleeper)].into_iter().chain(sockets).collect();
        let _ = poll::wait(&mut entries, pause.min(until));
    }

    /// Follows orders, receives and sends what is due.
    pub(super) fn turn(&mut self, kept: &mut KeptConnections, now: Tick) {
        while let Some(order) = self.orders.pop() {
            self.follow(order, kept, now);
        }
        let Some(running) = &mut self.running else { return };
        running.turn(kept, now);
        if Duration::from_millis(now.since(self.reported_at).millis().into()) >= REPORT_EVERY {
            self.publish(kept, now);
        }
    }

    fn follow(&mut self, order: SyncOrder, kept: &mut KeptConnections, now: Tick) {
        match order {
            SyncOrder::Start(start) => {
                self.end(kept, now);
                kept.open_book(start.names, start.settings.sends);
                let machine = SyncMachine::new(start.settings, start.facts, now);
                let SyncStart { transmitter, listener, facts, .. } = *start;
                self.running = Some(RunningSync { machine, transmitter, listener });
                follow_role(kept, facts.role);
                self.publish(kept, now);
            }
            SyncOrder::Stop => {
                self.end(kept, now);
                kept.close_book();
                self.publish(kept, now);
            }
            SyncOrder::Facts(facts) => {
                self.running.iter_mut().for_each(|running| running.machine.set_facts(facts));
                follow_role(kept, facts.role);
            }
            SyncOrder::Names(names) => kept.set_names(names),
        }
    }

    /// Sends what waits, and ends.
    pub(super) fn end(&mut self, kept: &mut KeptConnections, now: Tick) {
        if let Some(mut running) = self.running.take() {
            running.push_due(kept, now);
            let RunningSync { machine, transmitter, .. } = &mut running;
            let refusals = Arc::clone(machine.refusals());
            machine.flush(&mut KeptHost { kept, transmitter: transmitter.as_ref(), refusals, now });
        }
    }

    fn publish(&mut self, kept: &KeptConnections, now: Tick) {
        self.reported_at = now;
        let report = self.running.as_ref().map(|running| running.report(kept, now)).unwrap_or_default();
        *self.report.lock().unwrap_or_else(PoisonError::into_inner) = report;
    }
}

/// A director that is not master does not tell connections again.
fn follow_role(kept: &mut KeptConnections, role: SyncRole) {
    kept.tell_again(!matches!(role, SyncRole::Backup | SyncRole::Fault));
}

impl RunningSync {
    fn turn(&mut self, kept: &mut KeptConnections, now: Tick) {
        self.push_due(kept, now);
        let Self { machine, transmitter, listener } = self;
        let refusals = Arc::clone(machine.refusals());
        let mut host = KeptHost { kept, transmitter: transmitter.as_ref(), refusals, now };
        if let Some(listener) = listener {
            // Of an interface that is down; the messages after that are received.
            let _ = listener.receive(|datagram, source| machine.receive(datagram, source, now, &mut host));
        }
        machine.turn(now, &mut host);
    }

    fn push_due(&mut self, kept: &mut KeptConnections, now: Tick) {
        let due = kept.take_due();
        let Self { machine, transmitter, .. } = self;
        let refusals = Arc::clone(machine.refusals());
        let mut host = KeptHost { kept, transmitter: transmitter.as_ref(), refusals, now };
        due.iter().for_each(|record| machine.push(record, now, &mut host));
    }

    fn report(&self, kept: &KeptConnections, now: Tick) -> SyncReport {
        let counts = kept.sync_counts();
        let ends = self.transmitter.as_ref();
        let (sent, failed) = ends.map_or((0, 0), |of| (of.sent.get(), of.failed.get()));
        SyncReport::new(&self.machine, counts, (sent, failed), now)
    }
}

/// The shadow table and the sockets, as the machine uses them.
struct KeptHost<'a> {
    kept: &'a mut KeptConnections,
    transmitter: Option<&'a SyncTransmitter>,
    /// Counters of refused records.
    refusals: Arc<SyncRefusals>,
    now: Tick,
}

impl SyncHost for KeptHost<'_> {
    fn send(&mut self, message: &[u8]) {
        self.transmitter.iter().for_each(|transmitter| transmitter.send(message));
    }

    fn accept(&mut self, _: IpAddr, record: &SyncRecord) {
        if let Err(refusal) = self.kept.receive(record, self.now) {
            self.refusals.count(refusal);
        }
    }

    fn digest(&self) -> &SyncDigest {
        self.kept.digest().expect("a machine runs over a book")
    }

    fn counts(&self) -> SyncCounts {
        self.kept.sync_counts()
    }

    fn walk(
        &mut self,
        groups: GroupSet,
        from: u64,
        budget: usize,
        found: &mut Vec<SyncRecord>,
    ) -> Option<u64> {
        self.kept.walk(groups, (from, budget), self.now, found)
    }
}
