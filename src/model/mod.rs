//! Model: virtual services, real servers, validated configuration, diagnostics.
//!
//! A [`Config`] has passed every check that needs only the file. `control` resolves it on the host (interfaces,
//! on-link servers).

#![forbid(unsafe_code)]

mod address;
mod change;
mod check;
mod check_kinds;
mod config;
mod diagnostic;
mod difference;
mod dns_check;
mod file;
mod ha;
mod health_check;
mod health_effects;
mod health_mode;
mod identity;
mod interface;
mod load;
mod local_checks;
mod matches;
mod parse;
mod passive;
mod place;
mod policy;
mod port_sets;
mod role;
mod rules;
mod scheduler;
mod server_role;
mod service;
mod service_address;
mod sources;
mod sync;
mod write;

pub use address::host_address;
pub use change::Change;
pub use check::{COUNT_MAX, SLOW_START_MAX, THRESHOLD_MAX};
pub use check_kinds::{BodyPattern, HttpCheck, HttpMethod, HttpsCheck, SmtpCheck, StatusRange, UdpCheck};
pub use config::BackendChoice;
pub use config::{Config, ControlOthers, DirectorConfig, OnConflict, OnServerClaim, PeerAddress};
pub use config::{Wait, WorkerCount, restart_required};
pub use diagnostic::{Diagnostic, DiagnosticKind, Diagnostics, Subject};
pub use difference::Difference;
pub use dns_check::{DnsCheck, DnsQueryType, DnsRcode, DnsTransport};
pub use file::{FILE_MAX, read_file, read_input};
pub use ha::{HaConfig, KeepConnections, OnWriterDeath, RoleFifo, RoleSource, VipReach};
pub use health_check::{CheckKind, CheckTarget, CheckTiming, HealthCheck, TimingFault};
pub use health_effects::{HealthEffects, Hooks, OnDown, Quorum};
pub use health_mode::HealthMode;
pub use identity::{FirewallMark, IpFamily, ServiceIdentity};
pub use interface::InterfaceIndex;
pub use local_checks::{ExternalCheck, FileCheck, GoodFile, ScriptCheck};
pub use matches::{Match, MatchDestination, PortRange, first_clash};
pub use parse::{SECONDS_MAX, parse, parse_bytes};
pub use passive::PassiveMode;
pub use place::{Place, Places};
pub use policy::{ConnReuseMode, Ping, Policy, Reject, Timeouts};
pub use port_sets::{PORT_SETS_MAX, merged_ports};
pub use role::Role;
pub use rules::{KnownGroup, Rules};
pub use scheduler::{BadFlag, Scheduler, SchedulerFlags};
pub use server_role::ServerRole;
pub use service::{FTP, MatchId, Persistence, RealServer, ServerId, ServiceId, VirtualService, Weight};
pub use service_address::ServiceAddress;
pub use sources::{INCLUDED_MAX, SourceFile, Sources};
pub use sync::{SyncConfig, SyncDirection};
