//! Control's record of services and real servers.

pub mod availability;
pub(in crate::control) mod entry;
pub(in crate::control) mod events;
mod health_mode;
pub mod ids;
pub(in crate::control) mod quorum;
pub mod rates;
pub(in crate::control) mod reasons;
pub(in crate::control) mod recovered;
pub mod registry;
mod removed;
mod reserved;
mod slow_start;
pub(in crate::control) mod snapshot;
pub(in crate::control) mod steered;
pub mod sync_names;
