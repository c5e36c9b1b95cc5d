//! What stands on a keyword's line and is not its own. keepalived reads a line up to a brace, takes its first word
//! for the keyword and as many values as that has, and passes over the rest; a brace where none belongs
//! it ignores (`read_line` and `process_stream` in its lib/parser.c).

use super::tree::Entry;
use crate::import::remark::Remarks;

/// Keywords without a value; so are health checks.
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
];
/// Keywords with two values: an address and a port, for most.
const WITH_TWO: &[&str] = &["virtual_server", "real_server", "sorry_server", "fwmark"];
/// Scripts, with the user and group that run them.
const SCRIPTS: &[&str] = &["quorum_up", "quorum_down", "notify_up", "notify_down"];
/// A tunnel's is followed by what it is made of.
const METHODS: &[&str] = &["lvs_method", "lb_kind", "sorry_server_lvs_method"];
/// Keywords with a block; so are health checks.
const WITH_BLOCK: &[&str] = &["virtual_server", "real_server"];

/// Says what of the line of a virtual server, of one of its keywords, or of a group's member gets lost.
pub(super) fn remark(entry: &Entry, remarks: &mut Remarks) {
    let (own, surplus) = entry.words.split_at(own(entry).min(entry.words.len()));
    let has_block = WITH_BLOCK.contains(&entry.keyword()) || is_check(entry);
    let strange_block = entry.block.is_some() && !(has_block && surplus.is_empty());
    if surplus.is_empty() && !strange_block {
        return;
    }
    let block = if strange_block { " { ... }" } else { "" };
    let surplus = format!("{}{block}", surplus.join(" "));
    let (own, surplus) = (own.join(" "), surplus.trim_start());
    let what = format!("{surplus:?} stands behind {own:?}, where keepalived passes over it, too");
    remarks.lost(&entry.place, what, "write each keyword on a line of its own, and import it again");
}

/// How many words the keyword and its values are.
fn own(entry: &Entry) -> usize {
    match entry.keyword() {
        keyword if BARE.contains(&keyword) || is_check(entry) => 1,
        keyword if WITH_TWO.contains(&keyword) => 3,
        keyword if SCRIPTS.contains(&keyword) => usize::MAX,
        keyword if METHODS.contains(&keyword) && entry.value() == Some("TUN") => usize::MAX,
        _ => 2,
    }
}

fn is_check(entry: &Entry) -> bool {
    entry.keyword().ends_with("_CHECK") || entry.keyword().ends_with("_GET")
}
