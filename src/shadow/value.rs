//! Value of an entry: one word, so that it changes at once.

use crate::flow::ConnState;
use crate::model::ServerId;
use crate::time::SecondTick;

/// Everything about a connection, or a persistence template, but its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShadowValue {
    /// Expires at this time unless it is refreshed.
    pub deadline: SecondTick,
    /// Worker whose table has the connection, below 255; `None` if no worker has it.
    pub owner: Option<u8>,
    /// Real server.
    pub server: ServerId,
    /// Connection state; [`ConnState::None`] for a template.
    pub state: ConnState,
    /// See [`FlowEntry::template`](crate::flow::FlowEntry::template).
    pub template: u8,
}

/// Entry of the shadow table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShadowEntry<K> {
    /// Flow key, or key of a template.
    pub key: K,
    /// Value.
    pub value: ShadowValue,
}

/// Owner of a connection that no worker has.
const UNOWNED: u8 = u8::MAX;

impl ShadowValue {
    /// From the highest bit down: deadline (24 bits), owner (8), server (16), state (8), template (8).
    #[must_use]
    pub fn to_word(self) -> u64 {
        let Self { deadline, owner, server, state, template } = self;
        let [owner, state] = [owner.unwrap_or(UNOWNED), state as u8];
        let high = deadline.count() << 8 | u32::from(owner);
        let low = u32::from(server.0) << 16 | u32::from(state) << 8 | u32::from(template);
        u64::from(high) << 32 | u64::from(low)
    }

    /// The value of a word; `None` if there is no such state.
    #[must_use]
    pub fn from_word(word: u64) -> Option<Self> {
        let [high, low] = [(word >> 32) as u32, word as u32];
        let state = *ConnState::ALL.get(usize::from((low >> 8) as u8))?;
        let owner = Some(high as u8).filter(|owner| *owner != UNOWNED);
        let deadline = SecondTick::new(high >> 8);
        Some(Self { deadline, owner, server: ServerId((low >> 16) as u16), state, template: low as u8 })
    }
}
