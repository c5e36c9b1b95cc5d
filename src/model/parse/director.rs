//! The `[director]` table.

use super::readers::{
    audit_interval, boolean, choice, group, interface, listener, number, peers, seconds, user, workers,
};
use super::report::invalid;
use super::section::Section;
use crate::model::{
    BackendChoice, ConnReuseMode, ControlOthers, Diagnostic, DirectorConfig, HaConfig, OnConflict,
    OnServerClaim, Ping, Places, Policy, Reject, Timeouts, Wait,
};
use crate::time::Span;
use toml::de::DeValue;

/// Range of `connections`. More than 2²⁸ (4 GiB of table) is taken for a typing error.
const CONNECTIONS: std::ops::RangeInclusive<u32> = 1024..=1 << 28;
const CONNECTIONS_DEFAULT: u32 = 1 << 20;
/// Between announcements: well below the 300 s after which switches forget an address.
const ANNOUNCE_DEFAULT: Span = Span::from_secs(60);

/// Below the time after which Linux's routers ask again for an idle neighbor, and little load.
const AUDIT_DEFAULT: Span = Span::from_secs(300);

/// With one request a real server that has a new MAC address would count as unreachable first.
const ARP_ATTEMPTS: std::ops::RangeInclusive<u32> = 2..=100;
/// With [`ARP_ATTEMPTS_DEFAULT`]: a dead link is noticed within three seconds.
const ARP_REFRESH_DEFAULT: Span = Span::from_secs(1);
const ARP_ATTEMPTS_DEFAULT: u32 = 3;

/// Reads the table, and notes the lines of its keys; `None` if it cannot stand even with defaults.
pub(super) fn read(root: &Section<'_, '_>, places: &mut Places) -> Option<DirectorConfig> {
    if !root.has("director") {
        root.lacks("has no [director]", "add [director] with interface = \"eth0\" below it");
    }
    let section = root.table("director", "[director]")?;
    let own = section.require("interface", r#""eth0", where VIP traffic arrives"#, interface);
    let director = DirectorConfig {
        server_interface: section.get("server_interface", interface),
        backend: section.get("backend", choice(BACKENDS)).unwrap_or_default(),
        workers: section.get("workers", workers).unwrap_or_default(),
        connections: section.get("connections", number(CONNECTIONS)).unwrap_or(CONNECTIONS_DEFAULT),
        wait: section.get("wait", choice(WAITS)).unwrap_or_default(),
        huge_pages: section.get("huge_pages", boolean).unwrap_or_default(),
        control_group: section.get("control_group", group),
        control_others: section.get("control_others", choice(CONTROL_OTHERS)).unwrap_or_default(),
        announce_interval: section.get("announce_interval", seconds).unwrap_or(ANNOUNCE_DEFAULT),
        arp_refresh: section.get("arp_refresh", seconds).unwrap_or(ARP_REFRESH_DEFAULT),
        arp_attempts: section.get("arp_attempts", number(ARP_ATTEMPTS)).unwrap_or(ARP_ATTEMPTS_DEFAULT) as u8,
        on_conflict: section.get("on_conflict", on_conflict).unwrap_or_default(),
        on_server_claim: section.get("on_server_claim", choice(ON_SERVER_CLAIM)).unwrap_or_default(),
        audit_interval: section.get("audit_interval", audit_interval).unwrap_or(AUDIT_DEFAULT),
        peers: section.get("peers", peers).unwrap_or_default(),
        metrics: section.get("metrics", listener),
        policy: policy(&section),
        timeouts: timeouts(&section),
        user: section.get("user", user),
        interface: own.clone().unwrap_or_default(),
        ha: HaConfig::default(), // tables of their own
        sync: None,
    };
    if own.is_some() && own == director.server_interface {
        let remedy = "remove it: without it the real servers are behind interface";
        section.object("server_interface", invalid("is the same as interface", remedy));
    }
    (places.director, places.director_keys) = section.lines();
    section.close();
    Some(director)
}

fn policy(director: &Section<'_, '_>) -> Policy {
    let mode = director.get("conn_reuse_mode", number(0..=ConnReuseMode::MAX.0.into()));
    Policy {
        conn_reuse_mode: mode.map(|mode| ConnReuseMode(mode as u8)).unwrap_or_default(),
        expire_nodest_conn: director.get("expire_nodest_conn", boolean).unwrap_or_default(),
        expire_quiescent_template: director.get("expire_quiescent_template", boolean).unwrap_or_default(),
        sloppy_tcp: director.get("sloppy_tcp", boolean).unwrap_or_default(),
        sloppy_sctp: director.get("sloppy_sctp", boolean).unwrap_or_default(),
        schedule_icmp: director.get("schedule_icmp", boolean).unwrap_or_default(),
        reject: director.get("reject", choice(Reject::NAMES)).unwrap_or_default(),
        ping: director.get("ping", choice(Ping::NAMES)).unwrap_or_default(),
    }
}

fn timeouts(director: &Section<'_, '_>) -> Timeouts {
    let default = Timeouts::default();
    let Some(section) = director.table("timeouts", "[director.timeouts]") else { return default };
    let timeouts = Timeouts {
        tcp: section.get("tcp", seconds).unwrap_or(default.tcp),
        tcp_fin: section.get("tcpfin", seconds).unwrap_or(default.tcp_fin),
        udp: section.get("udp", seconds).unwrap_or(default.udp),
    };
    section.close();
    timeouts
}

const BACKENDS: &[(&str, BackendChoice)] =
    &[("auto", BackendChoice::Auto), ("xdp", BackendChoice::Xdp), ("packet", BackendChoice::Packet)];
const WAITS: &[(&str, Wait)] = &[("adaptive", Wait::Adaptive), ("busy", Wait::Busy)];
const CONTROL_OTHERS: &[(&str, ControlOthers)] =
    &[("nothing", ControlOthers::Nothing), ("read", ControlOthers::Read)];
const ON_CONFLICT: &[(&str, OnConflict)] = &[("standby", OnConflict::Standby), ("claim", OnConflict::Claim)];
const ON_SERVER_CLAIM: &[(&str, OnServerClaim)] =
    &[("exclude", OnServerClaim::Exclude), ("ignore", OnServerClaim::Ignore)];

/// "refuse" is what files saved by earlier versions call "standby".
fn on_conflict(value: &DeValue<'_>) -> Result<OnConflict, Diagnostic> {
    match value.as_str() {
        Some("refuse") => Ok(OnConflict::Standby),
        _ => choice(ON_CONFLICT)(value),
    }
}
