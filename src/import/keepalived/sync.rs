//! `lvs_sync_daemon` of `global_defs`: the `[sync]` table.

use super::statement::Statement;
use crate::import::description::{At, ImportedSync};
use crate::import::notice::Notices;

/// Options with a value, and the key of each.
const OPTIONS: [(&str, &str); 5] =
    [("id", "syncid"), ("maxlen", "maxlen"), ("port", "port"), ("ttl", "ttl"), ("group", "group")];

/// Reads `lvs_sync_daemon INTERFACE [[inst] INSTANCE] [id ID] [maxlen BYTES] [port PORT] [ttl TTL] [group ADDRESS]`. Without an id the
/// syncid is the virtual_router_id of the instance, or 0.
pub(super) fn read(statements: &[Statement], notices: &mut Notices) -> Option<At<ImportedSync>> {
    let globals = statements.iter().filter(|statement| statement.keyword() == "global_defs");
    let mut all = globals.flat_map(Statement::statements).filter(|of| of.keyword() == "lvs_sync_daemon");
    let statement = all.next()?;
    let location = &statement.location;
    let interface = statement.value()?.to_owned();
    let (mut keys, mut instance, mut words) = (Vec::new(), None, statement.words[2..].iter());
    while let Some(word) = words.next() {
        let key = OPTIONS.iter().find(|(option, _)| option == word).map(|(_, key)| *key);
        match (key, word.as_str()) {
            (Some(key), _) => keys.push((key, words.next().cloned().unwrap_or_default())),
            (None, "inst") => instance = words.next(),
            (None, _) => instance = Some(word),
        }
    }
    if !keys.iter().any(|(key, _)| *key == "syncid") {
        let router = instance.and_then(|name| router_id(statements, name));
        keys.insert(0, ("syncid", router.unwrap_or_else(|| "0".into())));
    }
    if let Some(name) = instance {
        let what = format!(
            "lvs_sync_daemon sends as master of {name}, and receives else; directrix always does both"
        );
        notices.note(location, what, "a director that has just become master still hears the other one");
    }
    Some(At::new(location, ImportedSync { interface, keys }))
}

/// The virtual_router_id of an instance.
fn router_id(statements: &[Statement], name: &str) -> Option<String> {
    let mut instances = statements.iter().filter(|statement| statement.keyword() == "vrrp_instance");
    let instance = instances.find(|instance| instance.value() == Some(name))?;
    let id = instance.statements().iter().find(|statement| statement.keyword() == "virtual_router_id")?;
    id.value().map(str::to_owned)
}
