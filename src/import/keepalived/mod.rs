//! Reader of keepalived.conf(5): virtual servers, and notices for all other keywords.

mod check_kinds;
mod checker;
mod checks;
mod global;
mod group;
mod keywords;
mod parameters;
mod preprocess;
mod service;
mod statement;
mod surplus;
mod sync;

use super::description::Description;
use super::environment::Environment;
use super::notice::Notices;
use crate::model::Diagnostics;
use keywords::ROOT;

/// Reads a configuration and its includes. `id` is keepalived's `--config-id`.
///
/// # Errors
/// Unbalanced braces or quotes, and parameters or includes without end.
pub(super) fn read(
    file: &str,
    text: &str,
    id: &str,
    host: &dyn Environment,
    notices: &mut Notices,
) -> Result<Description, Diagnostics> {
    let lines = preprocess::read(file, text, id, host, notices)?;
    let statements = statement::read(&lines)?;
    let groups = group::read(&statements, notices);
    let file = service::File { statements: &statements, groups: &groups };
    let (mut services, mut room) = (Vec::new(), service::COUNT_MAX);
    for statement in &statements {
        match statement.keyword() {
            "virtual_server" => services.extend(service::read(statement, &file, &mut room, notices)),
            "virtual_server_group" | "global_defs" => {}
            _ => keywords::add_notice(ROOT, statement, notices),
        }
    }
    let timeouts = global::timeouts(&statements, notices);
    let sync = sync::read(&statements, notices);
    let interface = global::interface(&statements, &services);
    Ok(Description { interface, timeouts, sync, services, ..Description::default() })
}

/// Whether the first word of a file belongs to keepalived.conf.
pub(super) fn is_keyword(word: &str) -> bool {
    let own = ["virtual_server", "virtual_server_group", "global_defs"];
    let known = own.contains(&word) || ROOT.iter().any(|(keywords, _)| keywords.contains(&word));
    known || word.starts_with("include") || word.starts_with(['@', '$', '~', '!'])
}
