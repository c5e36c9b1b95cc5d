//! Flow tables that are made before their workers: their memory takes tens of milliseconds.

use super::seed::random_seed;
use crate::flow::{FlowTable, TableKey, V4Key, WideKey};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

/// Flow tables without a worker yet. Its clones share them.
#[derive(Clone, Default)]
pub struct SpareTables {
    /// Tables of compact keys.
    pub compact: SpareOf<V4Key>,
    /// Tables for IPv6 and wildcard-port services.
    pub wide: SpareOf<WideKey>,
}

/// Tables with one kind of key.
#[derive(Clone)]
pub struct SpareOf<K: TableKey> {
    tables: Arc<Mutex<Vec<FlowTable<K>>>>,
    /// Capacity of each.
    each: usize,
}

impl SpareTables {
    /// Makes the tables of so many workers, for `connections` in all; wide ones if there will be services for them.
    ///
    /// # Errors
    /// The system gives no random number.
    pub fn new(connections: usize, workers: usize, has_wide: bool) -> io::Result<Self> {
        let each = connections.div_ceil(workers.max(1));
        let wide = if has_wide { workers } else { 0 };
        Ok(Self { compact: SpareOf::new(each, workers)?, wide: SpareOf::new(each, wide)? })
    }
}

impl<K: TableKey> SpareOf<K> {
    fn new(each: usize, count: usize) -> io::Result<Self> {
        let tables = (0..count).map(|_| Ok(FlowTable::new(each, random_seed()?)));
        Ok(Self { tables: Arc::new(Mutex::new(tables.collect::<io::Result<_>>()?)), each })
    }

    /// Takes a table of this capacity; makes one if there is none.
    ///
    /// # Errors
    /// The system gives no random number.
    pub fn take(&self, connections: usize) -> io::Result<FlowTable<K>> {
        let spare = || self.tables.lock().unwrap_or_else(PoisonError::into_inner).pop();
        match Some(()).filter(|()| connections == self.each).and_then(|()| spare()) {
            Some(table) => Ok(table),
            None => Ok(FlowTable::new(connections, random_seed()?)),
        }
    }
}

impl<K: TableKey> Default for SpareOf<K> {
    fn default() -> Self {
        Self { tables: Arc::default(), each: 0 }
    }
}
