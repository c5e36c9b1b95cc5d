//! Directives of ldirectord.cf: where they may stand, and the notices for those without a counterpart.

use super::lines::{FileLines, Setting};
use crate::import::notice::{NoticeLevel, Notices};
use crate::model::Diagnostic;

/// A directive.
struct Directive {
    names: &'static [&'static str],
    place: Allowed,
    /// Level, statement that follows the directive, and remedy.
    notice: Option<(NoticeLevel, &'static str, &'static str)>,
}

/// Part of the file where a directive may stand.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Allowed {
    Global,
    Service,
    Both,
}

const MAIL: &str = "belongs to e-mail, which directrix does not have";
const MAIL_REMEDY: &str = "alert on the director's metrics, which Prometheus can read";
const ITSELF: &str = "is about ldirectord's own process";
const NOTHING: &str = "there is nothing to do for it";
const LOG: &str = "is a log of ldirectord";
const LOG_REMEDY: &str = "directrix logs to standard error, which systemd has in the journal";
const PROGRAM: &str = "is a program that nothing runs any more";
const PROGRAM_REMEDY: &str = "write quorum = 1 and quorum_up, quorum_down into [[service]]: programs without arguments, which read JSON and never run as root";

const DIRECTIVES: &[Directive] = &[
    Directive {
        names: &["checktimeout", "negotiatetimeout", "checkinterval", "failurecount", "quiescent"],
        place: Allowed::Both,
        notice: None,
    },
    Directive { names: &["fallback", "fallback6"], place: Allowed::Both, notice: None },
    Directive { names: &["maintenancedir", "fork"], place: Allowed::Global, notice: None },
    Directive {
        names: &["real", "real6", "checktype", "service", "checkcommand", "checkport", "request", "receive"],
        place: Allowed::Service,
        notice: None,
    },
    Directive {
        names: &["httpmethod", "virtualhost", "scheduler", "persistent", "netmask", "protocol", "ops"],
        place: Allowed::Service,
        notice: None,
    },
    Directive {
        names: &["login", "passwd", "database", "secret"],
        place: Allowed::Service,
        notice: Some((
            NoticeLevel::Warning,
            "belongs to a service that no check of directrix logs in to",
            "write a check of type \"script\" that logs in",
        )),
    },
    Directive {
        names: &["load"],
        place: Allowed::Service,
        notice: Some((NoticeLevel::Note, "has no effect in ldirectord either", NOTHING)),
    },
    Directive {
        names: &["checkcount"],
        place: Allowed::Both,
        notice: Some((
            NoticeLevel::Note,
            "is the number of pings of one check, of which directrix sends one",
            "fall is the number of checks in a row that fail; write a larger one",
        )),
    },
    Directive {
        names: &["emailalert", "emailalertfreq", "emailalertstatus", "smtp"],
        place: Allowed::Both,
        notice: Some((NoticeLevel::Note, MAIL, MAIL_REMEDY)),
    },
    Directive {
        names: &["emailalertfrom"],
        place: Allowed::Global,
        notice: Some((NoticeLevel::Note, MAIL, MAIL_REMEDY)),
    },
    Directive {
        names: &["logfile"],
        place: Allowed::Global,
        notice: Some((NoticeLevel::Note, LOG, LOG_REMEDY)),
    },
    Directive {
        names: &["monitorfile"],
        place: Allowed::Service,
        notice: Some((NoticeLevel::Note, LOG, LOG_REMEDY)),
    },
    Directive {
        names: &["supervised", "readdquiescent"],
        place: Allowed::Global,
        notice: Some((NoticeLevel::Note, ITSELF, NOTHING)),
    },
    Directive {
        names: &["autoreload"],
        place: Allowed::Global,
        notice: Some((
            NoticeLevel::Note,
            "lets a changed file be read",
            "call \"directrix reload\" after a change",
        )),
    },
    Directive {
        names: &["cleanstop"],
        place: Allowed::Both,
        notice: Some((
            NoticeLevel::Note,
            "is about the services after the end",
            "services of directrix end with its process",
        )),
    },
    Directive {
        names: &["fallbackcommand"],
        place: Allowed::Both,
        notice: Some((NoticeLevel::Warning, PROGRAM, PROGRAM_REMEDY)),
    },
    Directive {
        names: &["callback", "execute"],
        place: Allowed::Global,
        notice: Some((
            NoticeLevel::Warning,
            "calls a program or a second ldirectord, which directrix does not",
            "import the other file, too, and call the program from where files are deployed",
        )),
    },
];

/// Checks that each line has a directive, and adds the notices for those without a counterpart.
pub(super) fn check(lines: &FileLines, notices: &mut Notices, faults: &mut Vec<Diagnostic>) {
    for setting in &lines.globals {
        one(setting, Allowed::Global, notices, faults);
    }
    for setting in lines.services.iter().flat_map(|service| &service.settings) {
        one(setting, Allowed::Service, notices, faults);
    }
}

fn one(setting: &Setting, place: Allowed, notices: &mut Notices, faults: &mut Vec<Diagnostic>) {
    let found = DIRECTIVES.iter().find(|of| of.names.contains(&setting.keyword.as_str()));
    let Some(directive) = found else {
        return faults.push(setting.error("ldirectord has no such directive", "correct or remove it"));
    };
    if directive.place != Allowed::Both && directive.place != place {
        let (what, remedy) = match place {
            Allowed::Global => ("it belongs to a virtual", "write it below one, indented by a tab"),
            _ => ("it does not belong to a virtual", "write it without a space before it"),
        };
        faults.push(setting.error(what, remedy));
    } else if let Some((level, what, remedy)) = directive.notice {
        let what = format!("{} {what}", setting.keyword);
        notices.add(&setting.location, level, what, remedy.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn migration_guide_lists_every_directive() {
        let guide = include_str!("../../../docs/migration.md");
        for name in DIRECTIVES.iter().flat_map(|directive| directive.names) {
            assert!(guide.contains(&format!("`{name}`")), "{name}");
        }
    }
}
