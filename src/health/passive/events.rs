//! Samples into the machine of passive health, reports out of it, and its status.

use super::cause::PassingChecks;
use super::figures::{Figures, FloodFinding, PassiveFinding};
use crate::model::{PassiveMode, ServerId, ServiceIdentity, Weight};
use crate::stats::Handshakes;
use crate::time::Span;
use std::net::IpAddr;

/// A service at the moment of a sample.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceSample {
    /// The service.
    pub service: ServiceIdentity,
    /// Effect of a suspicion.
    pub mode: PassiveMode,
    /// Panic share in percent: no ejection brings more than this part of the configured weight out of use; 0: any may.
    pub panic: u8,
    /// Its real servers.
    pub servers: Vec<ServerSample>,
}

/// A real server of a service at the moment of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerSample {
    /// RIP.
    pub server: IpAddr,
    /// Number of its counters.
    pub id: ServerId,
    /// Configured weight.
    pub weight: Weight,
    /// Whether it gets no new connections for another reason than an ejection.
    pub out: bool,
    /// Whether the operator holds its health: it is not ejected.
    pub held: bool,
    /// Its health checks that pass.
    pub checks: PassingChecks,
    /// Totals of its handshakes, all workers together.
    pub handshakes: Handshakes,
}

/// A change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PassiveReport {
    /// Handshakes with a server fail, and those with the other servers of the service do not.
    Suspected {
        /// The service.
        service: ServiceIdentity,
        /// RIP.
        server: IpAddr,
        /// Its figures.
        finding: PassiveFinding,
    },
    /// Handshakes with a server fail, and there is no other server to compare it with.
    Warned {
        /// The service.
        service: ServiceIdentity,
        /// RIP.
        server: IpAddr,
        /// Its figures.
        finding: PassiveFinding,
    },
    /// Handshakes with the server no longer fail, or it gets none.
    Cleared {
        /// The service.
        service: ServiceIdentity,
        /// RIP.
        server: IpAddr,
    },
    /// A server gets no new connections for this time.
    Ejected {
        /// The service.
        service: ServiceIdentity,
        /// RIP.
        server: IpAddr,
        /// Its figures.
        finding: PassiveFinding,
        /// Time until it is tried again.
        span: Span,
    },
    /// The ejection of a server has ended: it gets a small share until clients complete handshakes with it.
    Returned {
        /// The service.
        service: ServiceIdentity,
        /// RIP.
        server: IpAddr,
    },
    /// Handshakes fail with most servers of a service at once, or no longer: nothing is said about its servers.
    Flood {
        /// The service.
        service: ServiceIdentity,
        /// Whether they fail.
        on: bool,
        /// Figures of the service.
        finding: FloodFinding,
    },
}

/// Effect on new connections to a server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PassiveEffect {
    /// None.
    #[default]
    None,
    /// It gets none.
    Ejected,
    /// It gets a small share, like a server that joins.
    Probation,
}

/// A server in the view of its handshakes at the last sample.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PassiveView {
    /// Effect on new connections to it.
    pub effect: PassiveEffect,
    /// Its handshakes in the window.
    pub figures: Figures,
    /// Its status, if there is something to say.
    pub status: Option<PassiveServerStatus>,
    /// Figures of its service while handshakes fail with most of its servers.
    pub flood: Option<FloodFinding>,
}

impl PassiveView {
    /// Returns true if the server gets no new connections.
    #[must_use]
    pub fn is_ejected(&self) -> bool {
        self.effect == PassiveEffect::Ejected
    }

    /// Returns true if handshakes with it fail, and those with other servers do not, or if it is ejected for that.
    #[must_use]
    pub fn is_suspected(&self) -> bool {
        let state = self.status.map(|status| status.state);
        matches!(state, Some(PassiveState::Suspected | PassiveState::Ejected))
    }
}

/// State of a server in the view of its handshakes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PassiveState {
    /// Handshakes fail, and there is no other server to compare it with.
    Warned,
    /// Handshakes fail, and those with other servers do not.
    Suspected,
    /// It gets no new connections.
    Ejected,
    /// It gets a small share after an ejection.
    Probation,
}

impl PassiveState {
    /// Name in listings.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Warned => "warned",
            Self::Suspected => "suspected",
            Self::Ejected => "ejected",
            Self::Probation => "probation",
        }
    }
}

/// Status of a service that handshakes say something about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassiveServiceStatus {
    /// The service.
    pub service: ServiceIdentity,
    /// Figures of the service while handshakes fail with most of its servers: they say nothing about one then.
    pub flood: Option<FloodFinding>,
    /// The servers with a state, in the order of the configuration.
    pub servers: Vec<PassiveServerStatus>,
}

/// Status of a server that handshakes say something about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PassiveServerStatus {
    /// RIP.
    pub server: IpAddr,
    /// Its state.
    pub state: PassiveState,
    /// Time in that state.
    pub since: Span,
    /// Time to the end of the ejection.
    pub left: Option<Span>,
    /// The figures that led to the state.
    pub finding: PassiveFinding,
}
