//! IPVS's sysctls: sysctl.conf(5), files of /etc/sysctl.d, or the output of `sysctl -a`.

use super::description::{At, Description, Place};
use super::notice::{Notices, SYNC_BY_CHANGES, excerpt, printable, syntax_error};
use crate::model::{ConnReuseMode, Diagnostic, Diagnostics};
use std::sync::Arc;

/// Prefix of IPVS's sysctls, with dots.
const PREFIX: &str = "net.ipv4.vs.";

/// Switches that are on or off, and have the same name in `[director]`.
const SWITCHES: [&str; 5] =
    ["expire_nodest_conn", "expire_quiescent_template", "sloppy_tcp", "sloppy_sctp", "schedule_icmp"];

const FULL_TABLE: &str =
    "the defence is built in: a full table evicts half-open connections and flows of one datagram";
const FIXED_TABLE: &str = "the table does not grow: its capacity is connections in [director]";
const CACHES_ONLY: &str = "only for lblc and lblcr, schedulers for caches, which directrix does not have";
const NAT_ONLY: &str = "only for NAT, and directrix forwards by direct routing";
const NO_CONNTRACK: &str = "no frame of a service passes netfilter";
const NO_TUNNELS: &str = "only for tunnels, and directrix forwards by direct routing";
const NO_ESTIMATION: &str = "rates are always estimated, by the control thread";

/// Sysctls without a counterpart, and the reason.
const MEANINGLESS: [(&str, &str); 29] = [
    ("am_droprate", FULL_TABLE),
    ("amemthresh", FULL_TABLE),
    ("backup_only", "a loop of directors is detected by its frames"),
    ("cache_bypass", "only for transparent caches behind firewall marks"),
    ("conn_lfactor", FIXED_TABLE),
    ("conntrack", NO_CONNTRACK),
    ("debug_level", "it belongs to debug kernels"),
    ("drop_entry", FULL_TABLE),
    ("drop_packet", FULL_TABLE),
    ("est_cpulist", NO_ESTIMATION),
    ("est_nice", NO_ESTIMATION),
    ("ignore_tunneled", NO_TUNNELS),
    ("lblc_expiration", CACHES_ONLY),
    ("lblcr_expiration", CACHES_ONLY),
    ("nat_icmp_send", NAT_ONLY),
    ("pmtu_disc", NO_TUNNELS),
    ("run_estimation", NO_ESTIMATION),
    ("secure_tcp", FULL_TABLE),
    ("snat_reroute", NAT_ONLY),
    ("svc_lfactor", FIXED_TABLE),
    ("sync_persist_mode", SYNC_BY_CHANGES),
    ("sync_ports", SYNC_BY_CHANGES),
    ("sync_qlen_max", SYNC_BY_CHANGES),
    ("sync_refresh_period", SYNC_BY_CHANGES),
    ("sync_retries", SYNC_BY_CHANGES),
    ("sync_sock_size", SYNC_BY_CHANGES),
    ("sync_threshold", SYNC_BY_CHANGES),
    ("sync_version", SYNC_BY_CHANGES),
    ("sync_period", SYNC_BY_CHANGES),
];

/// A key of the configuration, or the reason for none.
enum Converted {
    Key(String),
    Meaningless(&'static str),
}

/// Whether `text` has a line for IPVS.
pub(super) fn is_sysctl(text: &str) -> bool {
    text.lines().any(|line| setting(line).is_some() || is_malformed(line))
}

/// Reads sysctls. Those of other parts of the kernel stay where they are, and are skipped.
///
/// # Errors
/// Every line for a sysctl of IPVS that is not known, has a value that the kernel would not accept, or sets nothing.
pub(super) fn read(file: &str, text: &str, notices: &mut Notices) -> Result<Description, Diagnostics> {
    let file: Arc<str> = printable(file).into();
    let (mut description, mut faults) = (Description::default(), Vec::new());
    for (number, line) in (1..).zip(text.lines()) {
        let location = Place { file: file.clone(), line: number };
        if is_malformed(line) {
            faults.push(not_a_setting(line).at(location));
            continue;
        }
        let Some((name, value)) = setting(line) else { continue };
        match convert(&name, value) {
            Ok(Converted::Key(key)) => set(&mut description.switches, At::new(&location, key)),
            Ok(Converted::Meaningless(reason)) => {
                notices.note(&location, format!("{name} has no meaning for directrix"), reason);
            }
            Err(error) => faults.push(error.at(location)),
        }
    }
    if faults.is_empty() { Ok(description) } else { Err(Diagnostics(faults)) }
}

/// Name below net.ipv4.vs and value of a line, if it sets a sysctl of IPVS. A leading "-" lets sysctl(8) ignore errors.
fn setting(line: &str) -> Option<(String, &str)> {
    let line = line.trim_start();
    if line.starts_with(['#', ';']) {
        return None;
    }
    let (name, value) = line.trim_start_matches('-').split_once('=')?;
    let name = name.trim().replace('/', ".");
    Some((name.strip_prefix(PREFIX)?.to_owned(), value.trim()))
}

/// Whether a line names a sysctl of IPVS and sets nothing. With a leading "-" that has a meaning: sysctl.d(5) keeps it from
/// being set by a pattern.
fn is_malformed(line: &str) -> bool {
    let line = line.trim().replace('/', ".");
    line.starts_with(PREFIX) && !line.contains('=')
}

fn not_a_setting(line: &str) -> Diagnostic {
    let what = format!("\"{}\" sets nothing", excerpt(line.trim()));
    syntax_error(&what, "write NAME = VALUE, or remove the line")
}

fn convert(name: &str, value: &str) -> Result<Converted, Diagnostic> {
    if let Some((_, reason)) = MEANINGLESS.iter().find(|(of, _)| *of == name) {
        return Ok(Converted::Meaningless(reason));
    }
    if name != "conn_reuse_mode" && !SWITCHES.contains(&name) {
        let what = format!("IPVS has no sysctl {}", excerpt(name));
        return Err(syntax_error(&what, "correct the name, or remove the line"));
    }
    let number: u32 = value.parse().map_err(|_| {
        let what = format!("{name} is \"{}\", not a whole number", excerpt(value));
        syntax_error(&what, "write 0 or 1, or for conn_reuse_mode 0 to 3")
    })?;
    Ok(Converted::Key(if name == "conn_reuse_mode" {
        // The kernel looks at the second bit, and at whether it is 0.
        format!("{name} = {}", if number > u32::from(ConnReuseMode::MAX.0) { number & 2 | 1 } else { number })
    } else {
        format!("{name} = {}", number != 0)
    }))
}

/// Adds a key. The last line for a sysctl counts.
fn set(switches: &mut Vec<At<String>>, key: At<String>) {
    let name = |of: &At<String>| of.value.split(' ').next().map(str::to_owned);
    switches.retain(|other| name(other) != name(&key));
    switches.push(key);
}
