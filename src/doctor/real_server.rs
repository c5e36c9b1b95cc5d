//! The host as a real server: the findings of `realserver check`.

use super::finding::{Finding, FindingLevel, Remedy};
use super::list::REAL_SERVER;
use super::report::DoctorReport;
use crate::model::Diagnostic;
use crate::realserver::{self, HostFinding, RealServerOptions, Severity};

/// Examines this host as a real server.
///
/// # Errors
/// As [`realserver::check`].
pub fn real_server(options: &RealServerOptions) -> Result<DoctorReport, Diagnostic> {
    Ok(DoctorReport::new(realserver::check(options)?.into_iter().map(finding).collect()))
}

fn finding(found: HostFinding) -> Finding {
    let level = match found.severity {
        Severity::Right => FindingLevel::Ok,
        Severity::Note => FindingLevel::Hint,
        Severity::Wrong => FindingLevel::Error,
    };
    let Diagnostic { what, cause: effect, remedy, .. } = found.diagnostic;
    let remedy = (!remedy.is_empty()).then(|| remedy_of(remedy));
    Finding { id: REAL_SERVER, level, what, effect, remedy }
}

/// A remedy that is a line for the shell as it stands, without a word to replace and without prose, is a command.
fn remedy_of(text: String) -> Remedy {
    let is_command = is_line(&text);
    if is_command { Remedy::Command(text) } else { Remedy::Advice(text) }
}

fn is_line(text: &str) -> bool {
    let is_setting = text.strip_prefix("echo ").is_some_and(|rest| is_words(rest, 3));
    let is_address = text.strip_prefix("ip address add ").is_some_and(|rest| is_words(rest, 7));
    is_setting || is_address
}

/// At most so many words, none of which ends as in a sentence or stands for another.
fn is_words(text: &str, most: usize) -> bool {
    let is_plain =
        |word: &str| !word.ends_with([',', ';', ':']) && !word.chars().all(|c| c.is_ascii_uppercase());
    text.split_whitespace().count() <= most && text.split_whitespace().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lines_for_the_shell_are_commands() {
        for (text, wanted) in [
            ("echo 2 > /proc/sys/net/ipv4/conf/all/arp_announce", true),
            ("ip address add 10.0.0.9/32 dev lo", true),
            ("ip address add 2001:db8::9/128 dev lo preferred_lft 0", true),
            ("ip address del 10.0.0.9/24 dev eth0, and ip address add 10.0.0.9/32 dev lo", false),
            ("in that case: echo 2 > /proc/sys/net/ipv4/conf/eth0/rp_filter", false),
            ("ip route add default via GATEWAY, which must not be the director", false),
        ] {
            assert_eq!(matches!(remedy_of(text.into()), Remedy::Command(_)), wanted, "{text}");
        }
    }
}
