//! Files that include others.

use super::*;
use crate::model::Config;
use nix::sys::stat::Mode;
use std::fs;
use tempfile::{TempDir, tempdir};

const DIRECTOR: &str = "[director]\ninterface = \"eth0\"\n";

/// A service with one server.
fn service(vip: &str, rip: &str) -> String {
    format!("[[service]]\nprotocol = \"tcp\"\naddress = \"{vip}\"\n[[service.server]]\naddress = \"{rip}\"\n")
}

/// A folder with `d.toml`, with this `include` line, and with these files.
fn folder(include: &str, files: &[(&str, &str)]) -> TempDir {
    let dir = tempdir().unwrap();
    fs::create_dir(dir.path().join("conf.d")).unwrap();
    fs::write(dir.path().join("d.toml"), format!("include = {include}\n{DIRECTOR}")).unwrap();
    for (name, text) in files {
        fs::write(dir.path().join(name), text).unwrap();
    }
    dir
}

fn load(dir: &TempDir) -> Result<Config, String> {
    Config::load(&dir.path().join("d.toml"))
        .map_err(|errors| errors.to_string().replace(&format!("{}/", dir.path().display()), ""))
}

/// The services, and the files that they came from.
fn loaded(dir: &TempDir) -> String {
    let config = load(dir).unwrap_or_else(|errors| panic!("{errors}"));
    let services =
        config.services.iter().map(|service| service.identity.address().unwrap().address.to_string());
    services.collect::<Vec<_>>().join(" ")
}

#[test]
fn included_services_come_sorted_behind_those_of_the_file() {
    let [a, b, c, own] = [1, 2, 3, 9].map(|vip| service(&format!("192.0.2.{vip}:80"), "192.0.2.50"));
    let dir = folder(
        "[\"conf.d/*.toml\", \"more.toml\"]",
        &[("conf.d/b.toml", &b), ("conf.d/a.toml", &a), ("more.toml", &c)],
    );
    for stray in ["conf.d/.c.toml", "conf.d/a.toml~", "conf.d/c.txt"] {
        fs::write(dir.path().join(stray), "nonsense").unwrap();
    }
    let main = format!("include = [\"conf.d/*.toml\", \"more.toml\"]\n{DIRECTOR}{own}");
    fs::write(dir.path().join("d.toml"), main).unwrap();
    assert_eq!(loaded(&dir), "192.0.2.9:80 192.0.2.1:80 192.0.2.2:80 192.0.2.3:80");
    let places = load(&dir).unwrap().places;
    let shown: Vec<_> = places
        .servers
        .iter()
        .map(|place| format!("{}:{}", place.file.rsplit('/').next().unwrap(), place.line))
        .collect();
    assert_eq!(shown, ["d.toml:8", "a.toml:5", "b.toml:5", "more.toml:5"]);
}

#[test]
fn an_empty_folder_includes_nothing_and_a_file_is_read_once() {
    let dir = folder("[\"conf.d/*.toml\"]", &[]);
    assert_eq!(loaded(&dir), "");
    let a = service("192.0.2.1:80", "192.0.2.50");
    let dir = folder("[\"conf.d/*.toml\", \"conf.d/a*\", \"conf.d/a.toml\"]", &[("conf.d/a.toml", &a)]);
    assert_eq!(loaded(&dir), "192.0.2.1:80");
    let absolute = format!("[\"{}/conf.d/*.toml\"]", dir.path().display());
    fs::write(dir.path().join("d.toml"), format!("include = {absolute}\n{DIRECTOR}")).unwrap();
    assert_eq!(loaded(&dir), "192.0.2.1:80");
}

#[test]
fn a_folder_with_wildcards_in_its_name_is_taken_literally() {
    let dir = tempdir().unwrap();
    let folder = dir.path().join("[a]*");
    fs::create_dir_all(folder.join("conf.d")).unwrap();
    fs::write(folder.join("conf.d/a.toml"), service("192.0.2.1:80", "192.0.2.50")).unwrap();
    fs::write(folder.join("d.toml"), format!("include = [\"conf.d/*.toml\"]\n{DIRECTOR}")).unwrap();
    assert_eq!(Config::load(&folder.join("d.toml")).unwrap().services.len(), 1);
}

#[test]
fn errors_name_the_included_file_and_its_line() {
    let a = service("192.0.2.1:80", "192.0.2.50");
    let b = format!("{}weight = 70000\n", service("192.0.2.2:80", "192.0.2.50"));
    let include = "[\"conf.d/*.toml\"]";
    for (second, expected) in [
        (b.as_str(), "conf.d/b.toml:6: weight is 70000, out of range; write a number from 0 to 65535"),
        (
            a.as_str(),
            "conf.d/b.toml:3: address tcp 192.0.2.1:80 is a service already, at conf.d/a.toml:3; remove one of the two, or merge their servers",
        ),
        ("[[service]\n", "conf.d/b.toml:1: not TOML: unclosed array table; TOML expects `]` here"),
        (
            "[director]\n",
            "conf.d/b.toml:1: \"director\" is not a key of an included file; move director to the file that includes this one, or write [[service]]",
        ),
        (
            "include = [\"c.toml\"]\n",
            "conf.d/b.toml:1: \"include\" is not a key of an included file; move include to the file that includes this one, or write [[service]]",
        ),
        (
            &service("192.0.2.3:80", "192.0.2.1"),
            "conf.d/b.toml:5: address is 192.0.2.1, the VIP of a service; write the real server's own address, its RIP",
        ),
    ] {
        let dir = folder(include, &[("conf.d/a.toml", &a), ("conf.d/b.toml", second)]);
        let error = load(&dir).unwrap_err().replace("TCP", "tcp");
        assert_eq!(error, expected, "{second}");
    }
    let mac = |vip, mac| format!("{}mac = \"02:00:00:00:00:0{mac}\"\n", service(vip, "192.0.2.50"));
    let dir = folder(
        include,
        &[("conf.d/a.toml", &mac("192.0.2.1:80", 1)), ("conf.d/b.toml", &mac("192.0.2.2:80", 2))],
    );
    let error = load(&dir).unwrap_err();
    assert!(error.starts_with("conf.d/b.toml:6: mac is 02:00:00:00:00:02, but 192.0.2.50 has 02:00:00:00:00:01 at conf.d/a.toml:6; "), "{error}");
}

#[test]
fn errors_of_all_files_come_at_once() {
    let dir =
        folder("[\"conf.d/*.toml\"]", &[("conf.d/a.toml", "x = 1\n"), ("conf.d/b.toml", "[[service]]\n")]);
    fs::write(dir.path().join("d.toml"), "include = [\"conf.d/*.toml\"]\n[director]\n").unwrap();
    let places: Vec<_> = load(&dir)
        .unwrap_err()
        .lines()
        .map(|line| line.splitn(3, ':').take(2).collect::<Vec<_>>().join(":"))
        .collect();
    assert_eq!(places, ["d.toml:2", "conf.d/a.toml:1", "conf.d/b.toml:1", "conf.d/b.toml:1"]);
}

#[test]
fn invalid_include_is_reported() {
    for (include, expected) in [
        ("[\"none.toml\"]", "none.toml: there is no such file; write one, or name another"),
        ("[\"conf.d\"]", "conf.d: this is not a regular file; name a regular file"),
        (
            "[\"none.d/*.toml\"]",
            "d.toml:1: include has \"none.d/*.toml\", and there is no folder none.d; make it, or remove the pattern",
        ),
        (
            "[\"*.toml\"]",
            "d.toml:1: include has \"*.toml\", which matches this file itself; give the included files a folder of their own, as in \"conf.d/*.toml\"",
        ),
        (
            "[\"d.toml\"]",
            "d.toml:1: include has \"d.toml\", which matches this file itself; give the included files a folder of their own, as in \"conf.d/*.toml\"",
        ),
        (
            "[\"conf.d/[\"]",
            "d.toml:1: include has \"conf.d/[\", which is not a pattern: Pattern syntax error near position 7: invalid range pattern; see glob(7)",
        ),
        (
            "[\"**/x.toml\"]",
            "d.toml:1: include has \"**/x.toml\": \"**\" searches whole trees; name each folder, as in \"conf.d/*.toml\"",
        ),
        ("[\"\"]", "d.toml:1: include has an empty name; write a list of files, as in [\"conf.d/*.toml\"]"),
        (
            "\"conf.d/*.toml\"",
            "d.toml:1: include is \"conf.d/*.toml\"; write a list of files, as in [\"conf.d/*.toml\"]",
        ),
        ("[7]", "d.toml:1: include is 7; write a list of files, as in [\"conf.d/*.toml\"] in quotes"),
    ] {
        let dir = folder(include, &[]);
        let error = load(&dir).unwrap_err().replace(&dir.path().display().to_string(), "");
        let error = error.replace("Pattern syntax error near position ", "near ");
        let near = |text: &str| text.split("near ").next().unwrap().to_owned();
        if include.contains("d/[\"") {
            assert!(
                error.starts_with(&near(&expected.replace("Pattern syntax error near position ", "near ")))
                    && error.ends_with("see glob(7)"),
                "{error}"
            );
        } else {
            assert_eq!(error, expected, "{include}");
        }
    }
    let dir = tempdir().unwrap();
    fs::write(dir.path().join("d.toml"), format!("{DIRECTOR}include = [\"x\"]\n")).unwrap();
    assert_eq!(
        load(&dir).unwrap_err(),
        "d.toml:3: \"include\" is not a key of [director]; write it above all tables, as the first line"
    );
}

#[test]
fn non_regular_include_does_not_block() {
    let dir = folder("[\"conf.d/*.toml\"]", &[]);
    nix::unistd::mkfifo(&dir.path().join("conf.d/a.toml"), Mode::S_IRWXU).unwrap();
    assert_eq!(load(&dir).unwrap_err(), "conf.d/a.toml: this is not a regular file; name a regular file");
}

#[test]
fn files_together_are_not_larger_than_one_may_be() {
    let dir = folder("[\"conf.d/*.toml\"]", &[]);
    let half = fs::File::create(dir.path().join("conf.d/a.toml")).unwrap();
    half.set_len(FILE_MAX as u64 / 2).unwrap();
    fs::copy(dir.path().join("conf.d/a.toml"), dir.path().join("conf.d/b.toml")).unwrap();
    assert_eq!(
        load(&dir).unwrap_err(),
        "d.toml:1: with the files that it includes this has more than 16 MiB; leave out what is not needed"
    );
}
