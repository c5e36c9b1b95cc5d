//! The `[ha]` table.

use super::check_kinds::absolute;
use super::readers::{boolean, choice, interface, seconds, text};
use super::report::invalid;
use super::section::Section;
use crate::model::{
    Diagnostic, DirectorConfig, HaConfig, KeepConnections, OnConflict, OnWriterDeath, Places, RoleFifo,
    RoleSource, VipReach,
};
use std::collections::BTreeMap;
use toml::de::DeValue;

const FIFO: &str = r#"add fifo = "/run/directrix/vrrp.fifo", with the path of keepalived's vrrp_notify_fifo"#;
const FILE: &str = r#"add file = "/run/directrix/role", a file with the word master, backup or fault"#;

/// A value of `role`, before its other keys are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum RoleWord {
    #[default]
    Standalone,
    Fifo,
    File,
    Command,
}

const ROLE_WORDS: &[(&str, RoleWord)] = &[
    ("standalone", RoleWord::Standalone),
    ("fifo", RoleWord::Fifo),
    ("file", RoleWord::File),
    ("command", RoleWord::Command),
];

/// Keys that only one source has.
const OF_ONE_SOURCE: [(&str, RoleWord, &str); 4] = [
    ("fifo", RoleWord::Fifo, "fifo"),
    ("instance", RoleWord::Fifo, "fifo"),
    ("on_writer_death", RoleWord::Fifo, "fifo"),
    ("file", RoleWord::File, "file"),
];

/// Reads the table, and notes the lines of its keys as "ha.KEY".
pub(super) fn read(
    root: &Section<'_, '_>,
    director: Option<&DirectorConfig>,
    places: &mut Places,
) -> HaConfig {
    let Some(section) = root.table("ha", "[ha]") else { return HaConfig::default() };
    let kind = section.get("role", choice(ROLE_WORDS));
    let ha = HaConfig {
        role: source(&section, kind.unwrap_or_default()),
        linger: section.get("linger", seconds).unwrap_or(HaConfig::LINGER),
        vips: section.get("vips", choice(VipReach::NAMES)).unwrap_or_default(),
        ready_file: section.get("ready_file", absolute),
        tun: section.get("tun", interface),
        ready_needs_servers: section.get("ready_needs_servers", boolean).unwrap_or_default(),
        keep: section.get("keep", choice(KeepConnections::NAMES)).unwrap_or_default(),
    };
    // A wrong word is reported; the other keys may be those of the right one.
    if kind.is_some() || !section.has("role") {
        refuse_keys_of_others(&section, kind.unwrap_or_default());
    }
    refuse_contradictions(&section, &ha, director);
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

fn source(section: &Section<'_, '_>, kind: RoleWord) -> RoleSource {
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
        RoleWord::Standalone => RoleSource::Standalone,
        RoleWord::Command => RoleSource::Command,
        RoleWord::File => {
            lacks("file", FILE);
            RoleSource::File { path: file.unwrap_or_default() }
        }
        RoleWord::Fifo => {
            lacks("fifo", FIFO);
            RoleSource::Fifo(RoleFifo { path: fifo.unwrap_or_default(), instance, on_writer_death })
        }
    }
}

fn refuse_keys_of_others(section: &Section<'_, '_>, kind: RoleWord) {
    for (key, of, name) in OF_ONE_SOURCE {
        if kind != of && section.has(key) {
            section
                .object(key, invalid("has no meaning here", format!("add role = \"{name}\", or remove it")));
        }
    }
    if kind == RoleWord::Standalone && section.has("linger") {
        let remedy = r#"add role = "fifo", "file" or "command", or remove it"#;
        section.object("linger", invalid("has no meaning here", remedy));
    }
}

/// Refuses readiness that is told nowhere, VIPs both routed and claimed by role, and a device that is there already.
fn refuse_contradictions(section: &Section<'_, '_>, ha: &HaConfig, director: Option<&DirectorConfig>) {
    if ha.ready_needs_servers && ha.ready_file.is_none() && ha.tun.is_none() {
        section.object(
            "ready_needs_servers",
            invalid("has no meaning here", "add ready_file or tun, which tell others, or remove it"),
        );
    }
    if ha.vips == VipReach::Routed && !ha.is_standalone() {
        let what = format!(r#"is "routed" beside role = "{}""#, ha.role.name());
        let remedy = "remove one of the two: with routes every director has the VIPs, and none a role";
        section.object("vips", invalid(what, remedy));
    }
    let is_own = |director: &DirectorConfig| {
        let own = [Some(&director.interface), director.server_interface.as_ref()];
        own.into_iter().flatten().any(|name| ha.tun.as_ref() == Some(name))
    };
    if director.is_some_and(is_own) {
        let remedy = r#"write another name, as in "dx0": directrix makes this device itself"#;
        section.object("tun", invalid("is an interface of [director]", remedy));
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
