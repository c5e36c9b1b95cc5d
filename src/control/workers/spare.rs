//! Flow tables that are made before their workers: their memory takes tens of milliseconds.

use super::seed::random_seed;
use crate::flow::{FlowTable, V4Key};
use std::io;
use std::sync::{Mutex, PoisonError};

/// Flow tables without a worker yet.
#[derive(Default)]
pub struct SpareTables {
    tables: Mutex<Vec<FlowTable<V4Key>>>,
    /// Capacity of each.
    each: usize,
}

impl SpareTables {
    /// Makes the tables of so many workers, for `connections` in all.
    ///
    /// # Errors
    /// The system gives no random number.
    pub fn new(connections: usize, workers: usize) -> io::Result<Self> {
        let each = connections.div_ceil(workers.max(1));
        let tables = (0..workers).map(|_| Ok(FlowTable::new(each, random_seed()?)));
        Ok(Self { tables: Mutex::new(tables.collect::<io::Result<_>>()?), each })
    }

    /// Takes a table of this capacity; makes one if there is none.
    ///
    /// # Errors
    /// As for [`SpareTables::new`].
    pub fn take(&self, connections: usize) -> io::Result<FlowTable<V4Key>> {
        let spare = || self.tables.lock().unwrap_or_else(PoisonError::into_inner).pop();
        match Some(()).filter(|()| connections == self.each).and_then(|()| spare()) {
            Some(table) => Ok(table),
            None => Ok(FlowTable::new(connections, random_seed()?)),
        }
    }
}
