//! keepalived.conf(5): its virtual servers, and what there is to say about the rest.

mod global;
mod group;
mod keywords;
mod lines;
mod parameters;
mod service;
mod surplus;
mod tree;

use super::description::Description;
use super::host::Host;
use super::remark::{Fault, Remarks};
use keywords::ROOT;

/// Reads a configuration and what it includes. `id` is keepalived's `--config-id`.
///
/// # Errors
/// What keeps it from being read as keepalived's: braces, quotes, endless parameters.
pub(super) fn read(
    file: &str,
    text: &str,
    id: &str,
    host: &dyn Host,
    remarks: &mut Remarks,
) -> Result<Description, Vec<Fault>> {
    let lines = lines::read(file, text, id, host, remarks).map_err(|fault| vec![fault])?;
    let entries = tree::read(&lines).map_err(|fault| vec![fault])?;
    let groups = group::read(&entries, remarks);
    let (mut services, mut room) = (Vec::new(), service::COUNT_MAX);
    for entry in &entries {
        match entry.keyword() {
            "virtual_server" => services.extend(service::read(entry, &groups, &mut room, remarks)),
            "virtual_server_group" | "global_defs" => {}
            _ => keywords::remark(ROOT, entry, remarks),
        }
    }
    let timeouts = global::timeouts(&entries, remarks);
    Ok(Description { interface: global::interface(&entries, &services), timeouts, services })
}

/// Whether a file's first word is one of keepalived's.
pub(super) fn is_keyword(word: &str) -> bool {
    let own = ["virtual_server", "virtual_server_group", "global_defs"];
    let known = own.contains(&word) || ROOT.iter().any(|(keywords, _)| keywords.contains(&word));
    known || word.starts_with("include") || word.starts_with(['@', '$', '~', '!'])
}
