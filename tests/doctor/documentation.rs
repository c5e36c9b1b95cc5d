//! docs/doctor.md and the list of checks agree.

use directrix::doctor::documented;

const PAGE: &str = include_str!("../../docs/doctor.md");

#[test]
fn the_page_has_the_table_of_all_checks() {
    let rows: Vec<_> = documented().map(|(id, sound)| format!("| [`{id}`](#{id}) | {sound} |")).collect();
    let written: Vec<_> = PAGE.lines().filter(|line| line.starts_with("| [`")).collect();
    assert_eq!(written, rows, "the table of docs/doctor.md should be:\n{}", rows.join("\n"));
}

#[test]
fn each_trap_has_a_section_with_effect_and_remedy() {
    let sections: Vec<_> = PAGE.split("\n## ").skip(1).collect();
    let titles: Vec<_> = sections.iter().map(|section| section.lines().next().unwrap()).collect();
    let first = titles.iter().position(|title| *title == "start").expect("the first trap has a section");
    let ids: Vec<_> = documented().map(|(id, _)| id).collect();
    assert_eq!(titles[first..], ids, "in the order of the table");
    for section in &sections[first..] {
        assert!(section.contains("**Effect**") && section.contains("**Remedy**"), "{section}");
    }
}
