//! Keywords that nothing can be made of: what they mean for traffic, and what to do instead.

use super::tree::Entry;
use crate::import::ipvsadm::SYNC_DAEMON;
use crate::import::remark::{Grade, Remarks};

/// Keywords of one place in a file.
pub(super) type Table = &'static [(&'static [&'static str], Option<Fate>)];

/// What becomes of a keyword.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fate {
    grade: Grade,
    /// The sentence after the keyword.
    what: &'static str,
    instead: &'static str,
}

const fn lost(what: &'static str, instead: &'static str) -> Option<Fate> {
    Some(Fate { grade: Grade::Lost, what, instead })
}

const fn note(what: &'static str, instead: &'static str) -> Option<Fate> {
    Some(Fate { grade: Grade::Note, what, instead })
}

/// Says of an entry what its keyword means, by the table for its place.
pub(super) fn remark(table: Table, entry: &Entry, remarks: &mut Remarks) {
    let keyword = entry.keyword();
    let fate = table.iter().find(|(keywords, _)| keywords.contains(&keyword)).map(|(_, fate)| *fate);
    match fate {
        Some(None) => {}
        Some(Some(Fate { grade, what, instead })) => {
            let name = entry.value().filter(|_| entry.block.is_some()).map(|name| format!(" {name}"));
            let what = format!("{keyword}{} {what}", name.unwrap_or_default());
            remarks.add(&entry.place, grade, what, instead.to_owned());
        }
        None => {
            let what = format!("{keyword:?} is not a known keyword");
            remarks.lost(&entry.place, what, "look it up in keepalived.conf(5) and see whether it matters");
        }
    }
}

/// What to do where keepalived looked after something.
const BY_IPVSADM: &str = "check servers by a program of your own, which calls \
                          \"directrix ipvsadm -e ... -w 0\" for one that fails and sets its weight again when it is back";
const NO_CHECKS: &str = "belongs to health checks, which directrix does not make";
const NO_CHECKS_INSTEAD: &str = "see what is said of the checks themselves";
const NO_SCRIPT: &str = "is a script that nobody runs any more";
const NO_SCRIPT_INSTEAD: &str = "run it from whatever checks the servers now";
const NO_MAIL: &str = "belongs to e-mail and SNMP, which directrix does not speak";
const NO_MAIL_INSTEAD: &str = "alert on the director's metrics, which Prometheus can read";
const KEEPALIVED_ITSELF: &str = "is about keepalived's own processes";
const NOTHING_INSTEAD: &str = "there is nothing to do for it";
const VRRP: &str = "is about VRRP, which directrix does not speak: it claims each VIP on its own interface and answers ARP for it";
const VRRP_INSTEAD: &str = "with one director, drop it and take the VIPs off the interface; with two, let keepalived \
                            keep the VRRP instance without the VIPs, and start and stop directrix by notify_master and notify_backup";
const VRRP_PART: &str = "belongs to VRRP, which directrix does not speak";
const VRRP_PART_INSTEAD: &str = "leave it in keepalived if that goes on to do VRRP";
const STATIC: &str = "sets up the host's own network, which directrix leaves alone";
const STATIC_INSTEAD: &str = "set it up where the host's network is configured";

/// At the top of a file.
pub(super) const ROOT: Table = &[
    (&["vrrp_instance"], lost(VRRP, VRRP_INSTEAD)),
    (
        &[
            "vrrp_sync_group",
            "vrrp_script",
            "vrrp_track_process",
            "vrrp_track_file",
            "track_file",
            "track_group",
            "static_track_group",
            "garp_group",
            "interface_up_down_delays",
            "linkbeat_interfaces",
        ],
        note(VRRP_PART, VRRP_PART_INSTEAD),
    ),
    (
        &["bfd_instance"],
        note("watches a neighbour by BFD, which directrix does not speak", "run a BFD daemon for it"),
    ),
    (&["static_ipaddress", "static_routes", "static_rules"], note(STATIC, STATIC_INSTEAD)),
    (&["SSL"], note(NO_CHECKS, NO_CHECKS_INSTEAD)),
    (
        &["net_namespace", "net_namespace_ipvs"],
        note(
            "puts keepalived into a network namespace",
            "start directrix in it: ip netns exec NAME directrix run",
        ),
    ),
    (
        &[
            "linkbeat_use_polling",
            "namespace_with_ipsets",
            "instance",
            "use_pid_dir",
            "child_wait_time",
            "include_check",
            "garp_lower_prio_delay",
            "config_id",
        ],
        note(KEEPALIVED_ITSELF, NOTHING_INSTEAD),
    ),
];

/// In `global_defs`. What is not here is about keepalived itself, its mails or VRRP.
pub(super) const GLOBAL: Table = &[
    (
        &["lvs_sync_daemon", "lvs_sync_daemon_interface"],
        lost(
            "starts a sync daemon, which directrix does not have: another director does not know these connections",
            SYNC_DAEMON.1,
        ),
    ),
    (&["lvs_flush", "lvs_flush_on_stop"], None),
    (
        &[
            "notification_email",
            "notification_email_from",
            "smtp_server",
            "smtp_helo_name",
            "smtp_connect_timeout",
            "smtp_alert",
            "smtp_alert_checker",
            "smtp_alert_vrrp",
            "enable_snmp_checker",
            "enable_snmp_vrrp",
        ],
        note(NO_MAIL, NO_MAIL_INSTEAD),
    ),
    (
        &["startup_script", "shutdown_script"],
        lost(NO_SCRIPT, "run it from directrix.service by ExecStartPre= or ExecStopPost="),
    ),
    (
        &["nftables_ipvs"],
        note(
            "lets keepalived gather services by firewall marks",
            "directrix has each address and port as a service",
        ),
    ),
];

/// How servers are checked, for all of a service or for one.
const CHECKING: &[&str] = &[
    "delay_loop",
    "retry",
    "delay_before_retry",
    "connect_timeout",
    "warmup",
    "alpha",
    "inhibit_on_failure",
    "virtualhost",
];

/// In `virtual_server`.
pub(super) const SERVICE: Table = &[
    (CHECKING, note(NO_CHECKS, NO_CHECKS_INSTEAD)),
    (&["hysteresis", "omega", "ha_suspend"], note(NO_CHECKS, NO_CHECKS_INSTEAD)),
    (
        &["quorum"],
        lost("asks for so much weight of living servers, which nobody counts any more", BY_IPVSADM),
    ),
    (&["quorum_up", "quorum_down"], lost(NO_SCRIPT, NO_SCRIPT_INSTEAD)),
    (&["smtp_alert", "snmp_name"], note(NO_MAIL, NO_MAIL_INSTEAD)),
    (&["ip_family", "hashed", "sorry_server_inhibit", "sorry_server_lvs_method"], None),
];

/// In `real_server`, besides the health checks.
pub(super) const SERVER: Table = &[
    (CHECKING, note(NO_CHECKS, NO_CHECKS_INSTEAD)),
    (&["notify_up", "notify_down"], lost(NO_SCRIPT, NO_SCRIPT_INSTEAD)),
    (&["smtp_alert", "snmp_name"], note(NO_MAIL, NO_MAIL_INSTEAD)),
    (
        &[
            "TCP_CHECK",
            "HTTP_GET",
            "SSL_GET",
            "SMTP_CHECK",
            "DNS_CHECK",
            "MISC_CHECK",
            "BFD_CHECK",
            "UDP_CHECK",
            "PING_CHECK",
            "FILE_CHECK",
        ],
        lost(
            "is a health check, and directrix makes none: a server that is down goes on getting connections",
            BY_IPVSADM,
        ),
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chapter_on_migration_has_every_keyword_of_a_virtual_server() {
        let chapter = include_str!("../../../docs/migration.md");
        for keyword in [SERVICE, SERVER].into_iter().flatten().flat_map(|(keywords, _)| *keywords) {
            assert!(chapter.contains(&format!("`{keyword}`")), "{keyword}");
        }
    }
}
