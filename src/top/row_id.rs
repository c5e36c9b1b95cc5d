//! Identity of the rows of all views.

use crate::model::ServiceAddress;
use std::net::SocketAddr;

/// Identity of a row, independent of its position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum RowId {
    Service(ServiceAddress),
    Server(ServiceAddress, SocketAddr),
    Worker(usize),
    Drop(String),
}
