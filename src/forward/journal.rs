//! Journal of a worker: confirmed connections that were opened, changed or refreshed, for the thread that keeps a copy of them.
//!
//! A worker adds an event when a connection is confirmed, when its state changes after that, when the worker takes it over
//! from the copy, and once in each refresh pass over its table; never for a frame that leaves the state as it is. A full
//! journal loses the event, which is counted. The next refresh repairs it.

use crate::flow::{AnyKey, ConnState, FlowEntry, FlowKey};
use crate::model::ServerId;
use crate::sys::Sleeper;
use crate::time::Tick;
use crossbeam::queue::ArrayQueue;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Connections to be given up that wait for a worker. The keeper tries again if there is no room.
const GIVEN_UP: usize = 1024;

/// Occasion of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JournalKind {
    /// The connection was confirmed, or its state has changed since.
    Changed,
    /// The connection stands as it was.
    Refreshed,
    /// The worker has taken the connection over from the copy.
    Adopted,
    /// The worker has closed the connection, for a new one of the same flow.
    Ended,
}

/// A confirmed connection of a worker, at the time of the event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JournalEvent {
    /// Occasion.
    pub kind: JournalKind,
    /// Key in the worker's table.
    pub key: AnyKey,
    /// Expires at this time unless a frame arrives.
    pub deadline: Tick,
    /// Real server.
    pub server: ServerId,
    /// Connection state.
    pub state: ConnState,
    /// See [`FlowEntry::template`].
    pub template: u8,
}

/// Journal of one worker. Its clones share the events.
#[derive(Clone, Debug)]
pub struct Journal(Arc<JournalQueues>);

#[derive(Debug)]
struct JournalQueues {
    events: ArrayQueue<JournalEvent>,
    /// Connections that another worker has taken over.
    given_up: ArrayQueue<AnyKey>,
    lost: AtomicU64,
    /// The keeper's.
    sleeper: Arc<Sleeper>,
}

impl Journal {
    /// Events for which there is room: 10 ms of 800,000 connections opened and closed a second.
    pub const CAPACITY: usize = 16_384;

    /// Creates the journals of `workers` workers, and the sleeper of the thread that reads them.
    ///
    /// # Errors
    /// Errors of eventfd(2).
    pub fn of_workers(workers: usize) -> io::Result<(Vec<Self>, Arc<Sleeper>)> {
        let sleeper = Arc::new(Sleeper::new()?);
        let journal = |_| {
            let (events, given_up) = (ArrayQueue::new(Self::CAPACITY), ArrayQueue::new(GIVEN_UP));
            let sleeper = Arc::clone(&sleeper);
            Self(Arc::new(JournalQueues { events, given_up, lost: AtomicU64::new(0), sleeper }))
        };
        Ok(((0..workers).map(journal).collect(), sleeper))
    }

    /// Adds an event of a confirmed connection, and wakes the keeper if it sleeps.
    pub(super) fn add<K: FlowKey + Into<AnyKey>>(&self, kind: JournalKind, entry: &FlowEntry<K>) {
        let FlowEntry { key, deadline, server, state, template } = *entry;
        let event = JournalEvent { kind, key: key.into(), deadline, server, state, template };
        if self.0.events.push(event).is_err() {
            self.0.lost.fetch_add(1, Relaxed);
        }
        self.0.sleeper.wake();
    }

    /// Takes the next event.
    #[must_use]
    pub fn take(&self) -> Option<JournalEvent> {
        self.0.events.pop()
    }

    /// True if no event waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.events.is_empty()
    }

    /// Number of events lost, so far.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.0.lost.load(Relaxed)
    }

    /// Makes the worker remove a connection that another one has taken over. Returns false if it has too many to remove.
    #[must_use]
    pub fn give_up(&self, key: AnyKey) -> bool {
        self.0.given_up.push(key).is_ok()
    }

    /// Takes the next connection to be removed.
    pub(super) fn take_given_up(&self) -> Option<AnyKey> {
        self.0.given_up.pop()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::V4Key;
    use crate::model::MatchId;
    use std::net::Ipv4Addr;

    fn entry(port: u16) -> FlowEntry<V4Key> {
        let key = V4Key::new(Ipv4Addr::new(198, 51, 100, 7), port, MatchId(3));
        FlowEntry { key, deadline: Tick(9), server: ServerId(2), state: ConnState::Established, template: 1 }
    }

    #[test]
    fn events_are_taken_in_order_and_lost_ones_counted() {
        let (journals, _) = Journal::of_workers(2).unwrap();
        for port in 0..=Journal::CAPACITY as u16 {
            journals[0].add(JournalKind::Changed, &entry(port));
        }
        assert_eq!((journals[0].lost(), journals[1].is_empty()), (1, true));
        let taken: Vec<_> = std::iter::from_fn(|| journals[0].take()).map(|event| event.key).collect();
        assert_eq!(
            taken,
            (0..Journal::CAPACITY as u16).map(|port| AnyKey::from(entry(port).key)).collect::<Vec<_>>()
        );
    }

    #[test]
    fn connections_to_be_given_up_wait_until_the_list_is_full() {
        let (journals, _) = Journal::of_workers(1).unwrap();
        let key = AnyKey::from(entry(1).key);
        assert!((0..GIVEN_UP).all(|_| journals[0].give_up(key)) && !journals[0].give_up(key));
        assert_eq!(std::iter::from_fn(|| journals[0].take_given_up()).count(), GIVEN_UP);
    }
}
