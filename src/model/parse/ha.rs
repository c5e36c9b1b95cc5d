//! The `[ha]` table.

use super::check_kinds::absolute;
use super::readers::{choice, seconds, text};
use super::report::invalid;
use super::section::Section;
use crate::model::{
    Diagnostic, DirectorConfig, HaConfig, OnConflict, OnWriterDeath, Places, RoleFifo, RoleSource,
};
use std::collections::BTreeMap;
use toml::de::DeValue;

const FIFO: &str = r#"add fifo = "/run/directrix/vrrp.fifo", with the path of keepalived's vrrp_notify_fifo"#;
const FILE: &str = r#"add file = "/run/directrix/role", a file with the word master, backup or fault"#;

/// A value of `role`, before its other keys are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Kind {
    #[default]
    Standalone,
    Fifo,
    File,
    Command,
}

const KINDS: &[(&str, Kind)] = &[
    ("standalone", Kind::Standalone),
    ("fifo", Kind::Fifo),
    ("file", Kind::File),
    ("command", Kind::Command),
];

/// Keys that only one source has.
const OF_ONE_SOURCE: [(&str, Kind, &str); 4] = [
    ("fifo", Kind::Fifo, "fifo"),
    ("instance", Kind::Fifo, "fifo"),
    ("on_writer_death", Kind::Fifo, "fifo"),
    ("file", Kind::File, "file"),
];

/// Reads the table, and notes the lines of its keys as "ha.KEY".
pub(super) fn read(
    root: &Section<'_, '_>,
    director: Option<&DirectorConfig>,
    places: &mut Places,
) -> HaConfig {
    let Some(section) = root.table("ha", "[ha]") else { return HaConfig::default() };
    let kind = section.get("role", choice(KINDS));
    let ha = HaConfig {
        role: source(&section, kind.unwrap_or_default()),
        linger: section.get("linger", seconds).unwrap_or(HaConfig::LINGER),
    };
    // A wrong word is reported; the other keys may be those of the right one.
    if kind.is_some() || !section.has("role") {
        refuse_keys_of_others(&section, kind.unwrap_or_default());
    }
    let claims = director.is_some_and(|director| director.on_conflict == OnConflict::Claim);
    if !ha.is_standalone() && claims {
        let what = r#"has no meaning beside on_conflict = "claim" of [director]"#;
        section.object(
            "role",
            invalid(what, "remove on_conflict: by its role the director claims all VIPs or none"),
        );
    }
    let lines: BTreeMap<_, _> = section.lines().1;
    places.director_keys.extend(lines.into_iter().map(|(key, line)| (format!("ha.{key}"), line)));
    section.close();
    ha
}

fn source(section: &Section<'_, '_>, kind: Kind) -> RoleSource {
    let lacks = |key, remedy| {
        if !section.has(key) {
            section.lacks(&format!("has role = \"{key}\" and no {key}"), remedy);
        }
    };
    // All are read for every source, so that they are known keys.
    let (fifo, file) = (section.get("fifo", absolute), section.get("file", absolute));
    let instance = section.get("instance", instance);
    let on_writer_death = section.get("on_writer_death", choice(OnWriterDeath::NAMES)).unwrap_or_default();
    match kind {
        Kind::Standalone => RoleSource::Standalone,
        Kind::Command => RoleSource::Command,
        Kind::File => {
            lacks("file", FILE);
            RoleSource::File { path: file.unwrap_or_default() }
        }
        Kind::Fifo => {
            lacks("fifo", FIFO);
            RoleSource::Fifo(RoleFifo { path: fifo.unwrap_or_default(), instance, on_writer_death })
        }
    }
}

fn refuse_keys_of_others(section: &Section<'_, '_>, kind: Kind) {
    for (key, of, name) in OF_ONE_SOURCE {
        if kind != of && section.has(key) {
            section
                .object(key, invalid("has no meaning here", format!("add role = \"{name}\", or remove it")));
        }
    }
    if kind == Kind::Standalone && section.has("linger") {
        let remedy = r#"add role = "fifo", "file" or "command", or remove it"#;
        section.object("linger", invalid("has no meaning here", remedy));
    }
}

/// The name of a VRRP instance or group, as keepalived writes it between quotes.
fn instance(value: &DeValue<'_>) -> Result<String, Diagnostic> {
    let name = text(value, r#"the name of keepalived's instance, as in "VI_1","#)?;
    if name.is_empty() || name.contains(|c: char| c == '"' || c.is_control()) {
        let remedy =
            r#"write the name of a vrrp_instance or vrrp_sync_group of keepalived.conf, as in "VI_1""#;
        return Err(invalid(format!("is {name:?}, no name of an instance"), remedy));
    }
    Ok(name.to_owned())
}
