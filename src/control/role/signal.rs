//! Inputs of the role's source on their way to the machine.

use crate::role::RoleInput;

/// An input of the source, with its own bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::control) enum RoleSignal {
    Bytes(Vec<u8>),
    WriterLives,
    WriterGone,
    File(Option<String>),
}

impl RoleSignal {
    pub(in crate::control) fn input(&self) -> RoleInput<'_> {
        match self {
            Self::Bytes(bytes) => RoleInput::Bytes(bytes),
            Self::WriterLives => RoleInput::WriterLives,
            Self::WriterGone => RoleInput::WriterGone,
            Self::File(word) => RoleInput::File(word.as_deref()),
        }
    }
}
