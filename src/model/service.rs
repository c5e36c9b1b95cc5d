//! Virtual services and their real servers.

use super::{
    CheckTarget, HealthCheck, HealthEffects, IpFamily, Match, MatchDestination, PassiveMode, PortRange,
};
use super::{Scheduler, SchedulerFlags, ServerRole, ServiceIdentity};
use crate::time::Span;
use crate::wire::vlan::Vlans;
use crate::wire::{MacAddr, Protocol};
use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A virtual service's place in the tables: stable while the service exists, reused afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceId(pub u16);

/// The place in the tables of a [`MatchDestination`] of a virtual service: stable while the service has a match with this
/// destination, or a connection to it exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MatchId(pub u16);

/// A real server's place in the tables, one per (service, server) pair: stable while the server
/// or a connection to it exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerId(pub u16);

/// A server's share of new connections relative to its siblings; 0 quiesces it. 0..=65535.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Weight(pub u16);

impl Default for Weight {
    fn default() -> Self {
        Weight(1)
    }
}

/// A virtual service as configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VirtualService {
    /// Address, or the firewall mark of a group.
    pub identity: ServiceIdentity,
    /// Matches of a group in the order of the file, at least one; empty for a service by address.
    pub group: Vec<Match>,
    /// VLANs of the VIPs and of the real servers, the same in all services of a VIP.
    pub vlan: Vlans,
    /// Scheduler of new connections.
    pub scheduler: Scheduler,
    /// Flags of the scheduler; none that it does not have.
    pub scheduler_flags: SchedulerFlags,
    /// Whether a client's later connections follow its first one.
    pub persistence: Option<Persistence>,
    /// Whether each datagram is scheduled by itself. UDP only; of a group, the datagrams alone.
    pub one_packet: bool,
    /// Duration of slow start: time until a new server has its whole weight. Whole seconds, 1 to
    /// [`SLOW_START_MAX`](super::SLOW_START_MAX); only with a scheduler that
    /// [`starts_slowly`](Scheduler::starts_slowly).
    pub slow_start: Option<Span>,
    /// Health checks of each of its servers; all must pass.
    pub checks: Vec<HealthCheck>,
    /// Panic share, 0..=100: when more than this part of the weight of its servers is down, in percent, health is
    /// ignored; 0: never.
    pub panic: u8,
    /// Effects of health.
    pub effects: HealthEffects,
    /// Effect of handshakes with one of its servers that clients cannot complete. TCP only.
    pub passive: PassiveMode,
    /// In the order of the file, and one sorry server at most. No address twice.
    pub servers: Vec<RealServer>,
}

/// The port of FTP's control connections (RFC 959 section 8).
pub const FTP: u16 = 21;
/// Ports of FTP's data connections in passive mode.
const UNPRIVILEGED: PortRange = PortRange { first: 1024, last: u16::MAX };

impl VirtualService {
    /// A service with defaults: wlc, no persistence.
    #[must_use]
    pub fn new(identity: impl Into<ServiceIdentity>, servers: Vec<RealServer>) -> Self {
        Self {
            identity: identity.into(),
            group: Vec::new(),
            vlan: Vlans::NONE,
            scheduler: Scheduler::default(),
            scheduler_flags: SchedulerFlags::default(),
            persistence: None,
            one_packet: false,
            slow_start: None,
            checks: Vec::new(),
            panic: Self::PANIC,
            effects: HealthEffects::default(),
            passive: PassiveMode::default(),
            servers,
        }
    }

    /// Default panic share: half.
    pub const PANIC: u8 = 50;

    /// The checks of a server: those of the service, then its own; none of the sorry server.
    pub fn checks_of<'a>(&'a self, server: &'a RealServer) -> impl Iterator<Item = &'a HealthCheck> {
        self.checks.iter().chain(&server.checks).filter(|_| !server.role.is_sorry())
    }

    /// True if a check of it, or of one of its servers, probes the VIP.
    #[must_use]
    pub fn probes_vip(&self) -> bool {
        let own = self.servers.iter().flat_map(|server| &server.checks);
        self.checks.iter().chain(own).any(|check| check.target != CheckTarget::Rip)
    }

    /// The matches: that of its address, or those of the group.
    pub fn matches(&self) -> impl Iterator<Item = Match> + Clone + '_ {
        let own = self.identity.address().map(Match::from);
        own.into_iter().chain(self.group.iter().copied())
    }

    /// The match of FTP's data connections, which a persistent service of TCP port 21 by address has
    /// (`ip_vs_service_find` in net/netfilter/ipvs/ip_vs_ctl.c).
    #[must_use]
    pub fn ftp_data(&self) -> Option<Match> {
        let address = self.identity.address().filter(|_| self.persistence.is_some())?;
        let is_ftp = address.protocol == Protocol::Tcp && address.address.port() == FTP;
        is_ftp.then(|| Match { ports: UNPRIVILEGED, ..address.into() })
    }

    /// All matches, with that of FTP's data connections.
    pub fn all_matches(&self) -> impl Iterator<Item = Match> + '_ {
        self.matches().chain(self.ftp_data())
    }

    /// The destinations of all matches, each of which needs a [`MatchId`].
    #[must_use]
    pub fn destinations(&self) -> HashSet<MatchDestination> {
        self.all_matches().map(|of| of.destination()).collect()
    }

    /// The VIPs of all matches, each once, sorted.
    #[must_use]
    pub fn vips(&self) -> Vec<IpAddr> {
        let mut vips: Vec<_> = self.matches().map(|of| of.vip).collect();
        vips.sort_unstable();
        vips.dedup();
        vips
    }

    /// The VIPs, and the addresses of the real servers.
    pub fn hosts(&self) -> impl Iterator<Item = IpAddr> {
        self.vips().into_iter().chain(self.servers.iter().map(|server| server.address))
    }
}

/// Persistence (`ipvsadm -p`, `-M`): later connections of a client network go to the server of the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Persistence {
    /// Since the last connection was opened, and extended while one exists; ipvsadm's default is
    /// [`Persistence::TIMEOUT`]. At least a second.
    pub timeout: Span,
    /// Prefix length of a client network, 1 to [`Persistence::prefix_max`] of the service's family.
    pub prefix: u8,
}

impl Persistence {
    /// Default timeout: 360 s (`IP_VS_TEMPLATE_TIMEOUT` in ipvsadm).
    pub const TIMEOUT: Span = Span::from_secs(360);

    /// The longest prefix, which is the default: each client is a network of its own.
    #[must_use]
    pub const fn prefix_max(family: IpFamily) -> u8 {
        match family {
            IpFamily::Ipv4 => 32,
            IpFamily::Ipv6 => 128,
        }
    }

    /// The prefix as an IPv4 netmask.
    #[must_use]
    pub fn netmask(&self) -> Ipv4Addr {
        let zeros = 32_u32.saturating_sub(self.prefix.into());
        Ipv4Addr::from_bits(u32::MAX.checked_shl(zeros).unwrap_or(0))
    }

    /// Address of the network of `client` (`ip_vs_sched_persist` in net/netfilter/ipvs/ip_vs_core.c).
    #[inline]
    #[must_use]
    pub fn network(&self, client: IpAddr) -> IpAddr {
        match client {
            IpAddr::V4(client) => (client & self.netmask()).into(),
            IpAddr::V6(client) => {
                let zeros = 128_u32.saturating_sub(self.prefix.into());
                (client & Ipv6Addr::from_bits(u128::MAX.checked_shl(zeros).unwrap_or(0))).into()
            }
        }
    }
}

/// A real server as configured. Its port is the one that the client wrote to: direct routing cannot change
/// it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RealServer {
    /// RIP, of the VIP's address family.
    pub address: IpAddr,
    /// Share of new connections.
    pub weight: Weight,
    /// A fixed MAC address; otherwise ARP finds it.
    pub mac: Option<MacAddr>,
    /// With so many connections, active and inactive, it is overloaded and gets no new ones; 0: never.
    pub upper_threshold: u32,
    /// Below so many connections it gets new ones again; 0: below three quarters of the upper
    /// threshold. Never above that.
    pub lower_threshold: u32,
    /// Health checks beside those of the service.
    pub checks: Vec<HealthCheck>,
    /// Part in the service.
    pub role: ServerRole,
}

impl RealServer {
    /// A server found by solicitation, without thresholds.
    #[must_use]
    pub fn new(address: IpAddr, weight: Weight) -> Self {
        Self {
            address,
            weight,
            mac: None,
            upper_threshold: 0,
            lower_threshold: 0,
            checks: Vec::new(),
            role: ServerRole::Regular,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_s_network_is_what_the_netmask_leaves() {
        let network = |client: &str, prefix| {
            let persistence = Persistence { timeout: Persistence::TIMEOUT, prefix };
            persistence.network(client.parse().unwrap()).to_string()
        };
        assert_eq!(
            [32, 24, 26, 1].map(|prefix| network("198.51.100.77", prefix)),
            ["198.51.100.77", "198.51.100.0", "198.51.100.64", "128.0.0.0"]
        );
        assert_eq!(
            [128, 127, 64, 61, 4, 1].map(|prefix| network("fdb8:1:2:3f:4:5:6:7", prefix)),
            [
                "fdb8:1:2:3f:4:5:6:7",
                "fdb8:1:2:3f:4:5:6:6",
                "fdb8:1:2:3f::",
                "fdb8:1:2:38::",
                "f000::",
                "8000::"
            ]
        );
    }
}
