//! The `[[mark]]` tables: matches of marks that have no service yet.

use super::readers::vlan;
use super::report::invalid;
use super::section::Section;
use super::service::mark_and_matches;
use crate::model::{FirewallMark, KnownGroup, Place, Places, ServiceIdentity, VirtualService, first_clash};
use std::collections::{BTreeMap, HashMap};

/// Reads all marks of all files. Each that is wrong, or that another table has, is reported.
pub(super) fn read(
    roots: &[Section<'_, '_>],
    services: &[VirtualService],
    places: &Places,
) -> BTreeMap<FirewallMark, KnownGroup> {
    let services = services.iter().map(|service| service.identity).zip(places.services.iter().cloned());
    let mut places: HashMap<ServiceIdentity, Place> = services.collect();
    let sections = roots.iter().filter_map(|root| root.tables("mark", "[[mark]]")).flatten();
    let marks = sections.filter_map(|section| {
        let (mark, known) = mark(&section)?;
        if let Some(first) = places.insert(mark.into(), section.at("mark")) {
            let what =
                format!("is {}: {mark} has matches already, {}", mark.mark, section.seen_from_here(&first));
            section.object("mark", invalid(what, "remove one of the two tables"));
        }
        matches_clash(&section, &known);
        Some((mark, known))
    });
    marks.collect()
}

/// Reports two matches of a mark that would take the same frames.
fn matches_clash(section: &Section<'_, '_>, known: &KnownGroup) {
    let matches: Vec<_> = known.matches.iter().map(|of| (*of, ())).collect();
    if let Some([(first, ()), (second, ())]) = first_clash(&matches) {
        let what = format!("has {second}, which overlaps {first}");
        section.object("match", invalid(what, "write one range for both, or remove one"));
    }
}

fn mark(section: &Section<'_, '_>) -> Option<(FirewallMark, KnownGroup)> {
    let of = mark_and_matches(section);
    let vlan = section.get("vlan", vlan).unwrap_or_default();
    section.close();
    let (mark, matches) = of?;
    Some((mark, KnownGroup { matches, vlan }))
}
