//! State of connection sync in the director.

use super::{SyncDaemons, SyncEnding};
use crate::model::DirectorConfig;
use crate::sync::SyncFacts;

/// Connection sync as it is to run.
pub(in crate::control) struct SyncState {
    /// Daemons of the configuration or of commands.
    pub(in crate::control) daemons: SyncDaemons,
    /// Sockets that were opened before privileges were dropped.
    pub(in crate::control) ending: Option<SyncEnding>,
    /// The reason for which it does not run.
    pub(in crate::control) failure: Option<String>,
    /// Facts for hellos, with a random number of the start of the daemons.
    pub(in crate::control) facts: SyncFacts,
}

impl SyncState {
    /// Nothing is to run.
    pub(in crate::control) fn none() -> Self {
        Self { daemons: SyncDaemons::none(), ending: None, failure: None, facts: SyncFacts::default() }
    }

    /// Opens the sockets of a configuration. An interface that is not there yet is tried again later.
    pub(in crate::control) fn open(config: &DirectorConfig) -> Self {
        Self::of(SyncDaemons::configured(config))
    }

    /// Opens the sockets of these daemons.
    pub(in crate::control) fn of(daemons: SyncDaemons) -> Self {
        let opened = daemons.is_any().then(|| daemons.open()).transpose();
        let (ending, failure) = match opened {
            Ok(ending) => (ending, None),
            Err(error) => (None, Some(error.to_string())),
        };
        Self { daemons, ending, failure, ..Self::none() }
    }
}
