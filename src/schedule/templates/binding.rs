//! Arguments and results of the template table.

use super::identity::TemplateKey;
use crate::model::ServerId;
use crate::time::{Span, Tick};

/// Template, as shown in listings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Template {
    /// Client network and service.
    pub key: TemplateKey,
    /// Real server.
    pub server: ServerId,
    /// Expires at this time unless it is renewed or has connections.
    pub deadline: Tick,
    /// Number of connections.
    pub connections: u32,
    /// True once a connection has been established; for UDP, once a second datagram has arrived.
    pub assured: bool,
}

/// Parameters of [`super::Templates::bind`].
#[derive(Clone, Copy, Debug)]
pub struct Binding {
    /// Client network and service.
    pub key: TemplateKey,
    /// Time of opening.
    pub now: Tick,
    /// Timeout of the template, from `now` on.
    pub timeout: Span,
    /// True for UDP, where the client's second connection assures the template.
    pub datagram: bool,
}

/// Result of [`super::Templates::bind`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    /// Real server.
    pub server: ServerId,
    /// True if a template counts the connection, which must be released at its end.
    pub counts: bool,
}
