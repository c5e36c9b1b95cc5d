//! Identity of the rows of all views.

use crate::model::ServiceIdentity;
use std::net::SocketAddr;

/// Identity of a row, independent of its position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum RowId {
    Service(ServiceIdentity),
    Server(ServiceIdentity, SocketAddr),
    Worker(usize),
    Drop(String),
}
