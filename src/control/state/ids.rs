//! The 16-bit numbers that services and servers have in the tables.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Numbers from 0 to 65,534, the lowest free one first; the last 16-bit number stands for none.
#[derive(Debug, Default)]
pub(in crate::control) struct Ids {
    /// Every number from here on is free.
    next: u16,
    returned: BinaryHeap<Reverse<u16>>,
}

impl Ids {
    /// A number that nobody has; `None` if there is none.
    pub(in crate::control) fn take(&mut self) -> Option<u16> {
        if let Some(Reverse(id)) = self.returned.pop() {
            return Some(id);
        }
        let id = self.next;
        self.next = id.checked_add(1)?;
        Some(id)
    }

    /// Gives back a number that was taken.
    pub(in crate::control) fn give_back(&mut self, id: u16) {
        self.returned.push(Reverse(id));
    }

    /// How many can be taken.
    pub(in crate::control) fn free(&self) -> usize {
        usize::from(u16::MAX - self.next) + self.returned.len()
    }

    /// All numbers that were ever taken are below this.
    pub(in crate::control) fn end(&self) -> usize {
        self.next.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_but_the_last_is_taken_once_and_again_when_it_was_given_back() {
        let mut ids = Ids::default();
        assert!((0..u16::MAX).all(|id| ids.take() == Some(id)));
        assert_eq!((ids.take(), ids.free()), (None, 0));
        [7, 3, 9].into_iter().for_each(|id| ids.give_back(id));
        assert_eq!(ids.free(), 3);
        assert_eq!([(); 4].map(|()| ids.take()), [Some(3), Some(7), Some(9), None]);
    }
}
