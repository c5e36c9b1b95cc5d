//! Identity of a check: server address and settings. Checks of several services that are equal are one.

use crate::model::{CheckKind, CheckTarget, CheckTiming, HealthCheck};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// Identity of a check. A reload that leaves it as it is loses no state.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CheckKey {
    /// RIP.
    pub server: IpAddr,
    /// VIP that the probe is sent to, or that a script is told; `None`: it is sent to the RIP.
    pub vip: Option<IpAddr>,
    /// Destination port, in host byte order.
    pub port: u16,
    /// Protocol and expected answer.
    pub kind: Arc<CheckKind>,
    /// Intervals and counts.
    pub timing: CheckTiming,
}

/// A check in use by a real server of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckUse {
    /// The check.
    pub key: CheckKey,
    /// Whether the server is down with it. If not, it only explains the failure of another.
    pub decides: bool,
    /// Whether its weight counts: one use of each configured check.
    pub weighs: bool,
}

impl CheckUse {
    /// The uses of a configured check by the server `server` of a service with these VIPs and this port: one for each VIP
    /// that is probed, and one for the RIP.
    #[must_use]
    pub fn of(check: &HealthCheck, server: IpAddr, vips: &[IpAddr], port: u16) -> Vec<Self> {
        let port = check.port.unwrap_or(port);
        let kind = Arc::new(check.kind.clone());
        let to = |vip, decides| Self {
            key: CheckKey { server, vip, port, kind: Arc::clone(&kind), timing: check.timing },
            decides,
            weighs: decides,
        };
        match check.kind {
            // A script is told the VIP.
            CheckKind::Script(_) if !vips.is_empty() => {
                let uses = vips.iter().map(|vip| to(Some(*vip), true)).enumerate();
                return uses.map(|(place, of)| Self { weighs: place == 0, ..of }).collect();
            }
            _ if check.kind.is_local() => return vec![to(None, true)],
            _ => {}
        }
        let mut uses = match check.target {
            CheckTarget::Rip => vec![to(None, true)],
            CheckTarget::Vip => Vec::new(),
            CheckTarget::Both => vec![to(None, false)],
        };
        if check.target != CheckTarget::Rip {
            uses.extend(vips.iter().map(|vip| to(Some(*vip), true)));
        }
        uses
    }
}

impl CheckKey {
    /// The destination of the probe.
    #[must_use]
    pub fn destination(&self) -> SocketAddr {
        SocketAddr::new(self.vip.unwrap_or(self.server), self.port)
    }

    /// The destination in a sentence: without a port where the check has none, and the server where there is no probe.
    #[must_use]
    pub(super) fn place(&self) -> String {
        match &*self.kind {
            kind if kind.is_local() => self.server.to_string(),
            kind if kind.has_port() => self.destination().to_string(),
            _ => self.destination().ip().to_string(),
        }
    }

    /// The same check of the RIP.
    #[must_use]
    pub(super) fn of_rip(&self) -> Self {
        Self { vip: None, ..self.clone() }
    }
}

impl fmt::Display for CheckKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, port, vip, .. } = self;
        write!(f, "{kind}")?;
        if kind.has_port() {
            write!(f, " port {port}")?;
        }
        vip.iter().try_for_each(|vip| write!(f, " of VIP {vip}"))
    }
}
