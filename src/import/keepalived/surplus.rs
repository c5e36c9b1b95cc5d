//! Words on a keyword's line beyond its values.
//!
//! keepalived reads a line up to a brace: the keyword, then as many values as it has. It ignores the rest, and
//! unexpected braces (`read_line` and `process_stream` in its lib/parser.c).

use super::statement::Statement;
use crate::import::notice::Notices;

/// Keywords without a value, besides health checks.
const BARE: &[&str] = &[
    "ops",
    "hashed",
    "flag-1",
    "flag-2",
    "flag-3",
    "sh-port",
    "sh-fallback",
    "mh-port",
    "mh-fallback",
    "sorry_server_inhibit",
    "url",
    "host",
];
/// Keywords with two values: an address and a port, for most.
const WITH_TWO: &[&str] = &["virtual_server", "real_server", "sorry_server", "fwmark"];
/// Scripts, with the user and group that run them.
const SCRIPTS: &[&str] = &["quorum_up", "quorum_down", "notify_up", "notify_down"];
/// Forwarding methods; the type and port of a tunnel follow.
const METHODS: &[&str] = &["lvs_method", "lb_kind", "sorry_server_lvs_method"];
/// Keywords of health checks with any number of values.
const LISTS: &[&str] =
    &["status_code", "misc_path", "payload", "require_reply", "regex", "regex_options", "user"];
/// Keywords with a block, besides health checks.
const WITH_BLOCK: &[&str] = &["virtual_server", "real_server", "url", "host"];

/// Adds a notice for words and blocks that keepalived ignores.
pub(super) fn add_notice(statement: &Statement, notices: &mut Notices) {
    let (own, surplus) = statement.words.split_at(own_words(statement).min(statement.words.len()));
    let has_block = WITH_BLOCK.contains(&statement.keyword()) || is_check(statement);
    let unexpected_block = statement.block.is_some() && !(has_block && surplus.is_empty());
    if surplus.is_empty() && !unexpected_block {
        return;
    }
    let block = if unexpected_block { " { ... }" } else { "" };
    let surplus = format!("{}{block}", surplus.join(" "));
    let (own, surplus) = (own.join(" "), surplus.trim_start());
    let what = format!("{surplus:?} follows {own:?}, and keepalived ignores it, too");
    notices.warn(&statement.location, what, "write each keyword on a line of its own, and import it again");
}

/// Counts the words of the keyword and its values.
fn own_words(statement: &Statement) -> usize {
    match statement.keyword() {
        keyword if BARE.contains(&keyword) || is_check(statement) => 1,
        keyword if WITH_TWO.contains(&keyword) => 3,
        keyword if SCRIPTS.contains(&keyword) || LISTS.contains(&keyword) => usize::MAX,
        "weight" if matches!(statement.words.get(2).map(String::as_str), Some("reverse" | "noreverse")) => 3,
        keyword if METHODS.contains(&keyword) && statement.value() == Some("TUN") => usize::MAX,
        _ => 2,
    }
}

/// Whether a statement is a health check.
pub(super) fn is_check(statement: &Statement) -> bool {
    statement.keyword().ends_with("_CHECK") || statement.keyword().ends_with("_GET")
}
