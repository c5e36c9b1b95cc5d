//! Keywords without a counterpart in directrix: their effect on traffic, and the remedy.

use super::statement::Statement;
use crate::import::notice::{NoticeLevel, Notices};

/// Keywords of one kind of block. `None`: no notice.
pub(super) type KeywordTable = &'static [(&'static [&'static str], Option<KeywordNotice>)];

/// Notice for a keyword.
#[derive(Clone, Copy, Debug)]
pub(super) struct KeywordNotice {
    level: NoticeLevel,
    /// Statement that follows the keyword.
    what: &'static str,
    instead: &'static str,
}

const fn warn(what: &'static str, instead: &'static str) -> Option<KeywordNotice> {
    Some(KeywordNotice { level: NoticeLevel::Warning, what, instead })
}

const fn note(what: &'static str, instead: &'static str) -> Option<KeywordNotice> {
    Some(KeywordNotice { level: NoticeLevel::Note, what, instead })
}

/// Adds the notice for a keyword, by the table of its block.
pub(super) fn add_notice(table: KeywordTable, statement: &Statement, notices: &mut Notices) {
    let keyword = statement.keyword();
    let found = table.iter().find(|(keywords, _)| keywords.contains(&keyword)).map(|(_, notice)| *notice);
    match found {
        Some(None) => {}
        Some(Some(KeywordNotice { level, what, instead })) => {
            let name = statement.value().filter(|_| statement.block.is_some()).map(|name| format!(" {name}"));
            let what = format!("{keyword}{} {what}", name.unwrap_or_default());
            notices.add(&statement.location, level, what, instead.to_owned());
        }
        None => {
            let what = format!("{keyword:?} is not a known keyword");
            notices.warn(
                &statement.location,
                what,
                "look it up in keepalived.conf(5) and see whether it matters",
            );
        }
    }
}

const NO_SCRIPT: &str = "is a script that nothing runs any more";
const NO_SCRIPT_INSTEAD: &str = "write quorum_up, quorum_down or notify into [[service]]: a program without arguments, which reads JSON and never runs as root";
const UNCHECKED_INSTEAD: &str = "write checks, and quorum into [[service]]";
const NO_MAIL: &str = "belongs to e-mail and SNMP, which directrix does not have";
const NO_MAIL_INSTEAD: &str = "alert on the director's metrics, which Prometheus can read";
const KEEPALIVED_ITSELF: &str = "is about keepalived's own processes";
const NOTHING_INSTEAD: &str = "there is nothing to do for it";
const VRRP: &str = "is about VRRP, which directrix does not have: it claims each VIP on its own interface and answers for it";
const VRRP_INSTEAD: &str = "with one director, drop it and take the VIPs off the interface; with two, let keepalived \
                            keep the VRRP instance without the VIPs, and start and stop directrix by notify_master and notify_backup";
const VRRP_PART: &str = "belongs to VRRP, which directrix does not have";
const VRRP_PART_INSTEAD: &str = "leave it in keepalived if that goes on to do VRRP";
const STATIC: &str = "sets up the host's own network, which directrix leaves alone";
const STATIC_INSTEAD: &str = "set it up where the host's network is configured";

/// Keywords at the top of a file.
pub(super) const ROOT: KeywordTable = &[
    (&["vrrp_instance"], warn(VRRP, VRRP_INSTEAD)),
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
        note("watches a neighbor by BFD, which directrix does not have", "run a BFD daemon for it"),
    ),
    (&["static_ipaddress", "static_routes", "static_rules"], note(STATIC, STATIC_INSTEAD)),
    (
        &["SSL"],
        note(
            "has keys and certificates of health checks, which have none",
            "verify none, or write ca into the check",
        ),
    ),
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

/// Keywords in `global_defs`. All others concern keepalived itself, its mails or VRRP.
pub(super) const GLOBAL: KeywordTable = &[
    (&["lvs_sync_daemon"], None),
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
        warn(NO_SCRIPT, "run it from directrix.service by ExecStartPre= or ExecStopPost="),
    ),
    (
        &["nftables_ipvs"],
        note(
            "lets keepalived gather services by firewall marks",
            "directrix has each address and port as a service",
        ),
    ),
];

/// Settings of health checks, in a service or a server: they are read with the checks.
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

/// Keywords in `virtual_server`.
pub(super) const SERVICE: KeywordTable = &[
    (CHECKING, None),
    (
        &["ha_suspend"],
        note("stops checks where the VIP is not, and directrix checks always", NOTHING_INSTEAD),
    ),
    (
        &["omega"],
        note("runs scripts at the end, which directrix does not", "use ExecStopPost= of directrix.service"),
    ),
    (&["quorum"], warn("is a minimum weight of live servers, of which none is checked", UNCHECKED_INSTEAD)),
    (&["hysteresis"], note("belongs to the quorum of servers, of which none is checked", UNCHECKED_INSTEAD)),
    (&["quorum_up", "quorum_down"], warn(NO_SCRIPT, NO_SCRIPT_INSTEAD)),
    (&["smtp_alert", "snmp_name"], note(NO_MAIL, NO_MAIL_INSTEAD)),
    (&["ip_family", "hashed", "sorry_server_inhibit", "sorry_server_lvs_method"], None),
];

/// Keywords in `real_server`.
pub(super) const SERVER: KeywordTable = &[
    (CHECKING, None),
    (&["notify_up", "notify_down"], warn(NO_SCRIPT, NO_SCRIPT_INSTEAD)),
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
        None,
    ),
];

const SOURCE: &str = "sets the source of a health check, which the host's routes choose";
const SOURCE_INSTEAD: &str = "give the director an address on the network of the real servers";

/// Keywords in a checker. The readers of the types read those without a notice.
pub(super) const CHECKER: KeywordTable = &[
    (CHECKING, None),
    (&["nb_get_retry", "log_all_failures", "connect_ip", "connect_port"], None),
    (&["url", "fast_recovery", "enable_sni", "sni_name", "tls_compliant", "http_protocol"], None),
    (&["type", "name", "helo_name", "host"], None),
    (&["misc_path", "misc_timeout", "misc_dynamic", "user"], None),
    (&["payload", "require_reply", "track_file", "weight"], None),
    (&["bindto", "bind_port", "bind_if"], warn(SOURCE, SOURCE_INSTEAD)),
    (&["fwmark"], warn("marks the packets of a health check, which directrix does not", SOURCE_INSTEAD)),
    (
        &["min_reply_length", "max_reply_length"],
        note("bounds a reply whose content is not compared", "any reply is good"),
    ),
];

/// Keywords in `url`.
pub(super) const URL: KeywordTable = &[
    (&["path", "status_code", "virtualhost", "regex", "regex_no_match", "regex_options"], None),
    (&["enable_sni", "sni_name", "regex_stack"], None),
    (
        &["digest"],
        warn(
            "is the MD5 sum of a page, which directrix does not compare",
            "write body or regex into the check",
        ),
    ),
    (
        &["regex_min_offset", "regex_max_offset"],
        warn(
            "bounds the place of a match, which directrix does not",
            "the first 64 KiB of the body are searched",
        ),
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn migration_guide_lists_every_keyword() {
        let guide = include_str!("../../../docs/migration.md");
        for keyword in
            [SERVICE, SERVER, CHECKER, URL].into_iter().flatten().flat_map(|(keywords, _)| *keywords)
        {
            assert!(guide.contains(&format!("`{keyword}`")), "{keyword}");
        }
    }
}
