//! Allocation of the 16-bit ids of services and servers.

use crate::shadow::Digest;
use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashMap};

/// Allocates ids from 0 to 65,534, the lowest free one first; 65,535 stands for none.
#[derive(Debug, Default)]
pub(in crate::control) struct Ids {
    /// First id that was never allocated.
    next: u16,
    returned: BinaryHeap<Reverse<u16>>,
}

/// Ids by name, in the shadow memory.
#[derive(Clone, Debug, Default)]
pub struct NamedIds {
    /// Of services.
    pub services: HashMap<Digest, u16>,
    /// Of matches.
    pub matches: HashMap<Digest, u16>,
    /// Of real servers.
    pub servers: HashMap<Digest, u16>,
}

impl Ids {
    /// Creates an allocator that counts `taken` as allocated.
    pub(in crate::control) fn with_taken(taken: &BTreeSet<u16>) -> Self {
        let next = taken.last().map_or(0, |last| last.saturating_add(1));
        let returned = (0..next).filter(|id| !taken.contains(id)).map(Reverse).collect();
        Self { next, returned }
    }

    /// Allocates an id; `None` if all are taken.
    pub(in crate::control) fn allocate(&mut self) -> Option<u16> {
        if let Some(Reverse(id)) = self.returned.pop() {
            return Some(id);
        }
        let id = self.next;
        self.next = id.checked_add(1)?;
        Some(id)
    }

    /// Releases an allocated id.
    pub(in crate::control) fn release(&mut self, id: u16) {
        self.returned.push(Reverse(id));
    }

    /// Returns the number of free ids.
    pub(in crate::control) fn free(&self) -> usize {
        usize::from(u16::MAX - self.next) + self.returned.len()
    }

    /// Returns the exclusive upper bound of all ids allocated so far.
    pub(in crate::control) fn end(&self) -> usize {
        self.next.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_id_but_the_last_is_allocated_and_reused() {
        let mut ids = Ids::default();
        assert!((0..u16::MAX).all(|id| ids.allocate() == Some(id)));
        assert_eq!((ids.allocate(), ids.free()), (None, 0));
        [7, 3, 9].into_iter().for_each(|id| ids.release(id));
        assert_eq!(ids.free(), 3);
        assert_eq!([(); 4].map(|()| ids.allocate()), [Some(3), Some(7), Some(9), None]);
    }

    #[test]
    fn taken_ids_are_not_allocated() {
        let mut ids = Ids::with_taken(&[0, 2, 5].into());
        assert_eq!((ids.end(), ids.free()), (6, 65_535 - 3));
        assert_eq!([(); 4].map(|()| ids.allocate().unwrap()), [1, 3, 4, 6]);
    }
}
