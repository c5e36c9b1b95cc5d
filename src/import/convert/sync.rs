//! Connection sync: lines of `[sync]`.

use crate::import::description::{At, Description};
use crate::import::notice::Notices;
use crate::import::validate;
use crate::model::Diagnostic;

/// Lines of the table. A value that this version refuses is left out, with a notice.
pub(super) fn lines(description: &Description, notices: &mut Notices) -> Vec<At<String>> {
    let Some(At { location, value: sync }) = &description.sync else { return Vec::new() };
    let written = |(key, value): &(&str, String)| match *key {
        "group" => validate::key(key, value),
        key => format!("{key} = {value}"),
    };
    let mut lines = vec![validate::key("interface", &sync.interface), "syncid = 0".to_owned()];
    for key in &sync.keys {
        let mut more = lines.clone();
        match key.0 {
            "syncid" => more[1] = written(key),
            _ => more.push(written(key)),
        }
        match validate::sync_error(&more) {
            None => lines = more,
            Some(Diagnostic { what, remedy, .. }) => {
                notices.warn(location, format!("of lvs_sync_daemon, {what}"), remedy);
            }
        }
    }
    if let Some(Diagnostic { what, remedy, .. }) = validate::sync_error(&lines) {
        notices.warn(location, format!("of lvs_sync_daemon, {what}"), remedy);
        return Vec::new();
    }
    lines.into_iter().map(|line| At::new(location, line)).collect()
}
