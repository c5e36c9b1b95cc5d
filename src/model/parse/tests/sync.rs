//! The `[sync]` table: its defaults, and each wrong value with its line, what is wrong and the remedy.

use super::*;

/// A good file with a `[sync]` on line 3; `rest` begins on line 4.
fn sync(rest: &str) -> String {
    service(&format!("[sync]\n{rest}\n"))
}

#[test]
fn the_defaults_are_those_of_ipvs() {
    assert_eq!(check(&service("")).unwrap().director.sync, None);
    let read = check(&sync("interface = \"eth1\"\nsyncid = 7")).unwrap().director.sync.unwrap();
    assert_eq!(read, SyncConfig::new("eth1".into(), 7));
    assert_eq!((read.group.to_string(), read.port, read.ttl), ("224.0.0.81".into(), 8848, 1));
    assert_eq!((read.direction, read.hello.secs(), read.maxlen), (SyncDirection::Both, 1, None));
}

/// Lines from 6 on, and the expected error.
const CASES: &[(&str, &str)] = &[
    (
        "group = \"192.0.2.1\"",
        r#"6: group is "192.0.2.1", no multicast group; write a multicast address, as in "224.0.0.81" or "ff02::81""#,
    ),
    ("port = 0", "6: port is 0, out of range; write a number from 1 to 65535"),
    ("ttl = 0", "6: ttl is 0, out of range; write a number from 1 to 255"),
    ("maxlen = 79", "6: maxlen is 79, out of range; write a number from 80 to 65507"),
    (
        "peers = [\"224.0.0.81\"]",
        r#"6: peers has "224.0.0.81", no address of a host; write a list of addresses, as in ["192.0.2.12"]"#,
    ),
    (
        "unicast = true",
        r#"6: unicast has no meaning without peers; add peers = ["192.0.2.12"], with the addresses of the other directors, or remove it"#,
    ),
    ("direction = \"up\"", r#"6: direction is "up"; write "both" or "send" or "receive""#),
    ("hello = 61", "6: hello is 61, out of range; write a number from 0 to 60: seconds, 0 for no hellos"),
    ("helo = 1", r#"6: "helo" is not a key of [sync]; did you mean hello?"#),
];

#[test]
fn each_wrong_value_is_refused_with_its_remedy() {
    for (lines, error) in CASES {
        refused(&sync(&format!("interface = \"eth1\"\nsyncid = 7\n{lines}")), &[error]);
    }
    let lacks = [
        r#"3: [sync] has no interface; add interface = "eth1", with the interface that the other directors are reached by"#,
        "3: [sync] has no syncid; add syncid = 51, a number that all directors of this group have and no others",
    ];
    refused(&sync(""), &lacks);
    let range = "5: syncid is 256, out of range; write a number from 0 to 255";
    refused(&sync("interface = \"eth1\"\nsyncid = 256"), &[range]);
}

#[test]
fn a_restart_that_sync_needs_names_the_line() {
    let running = check(&sync("interface = \"eth1\"\nsyncid = 7")).unwrap().director;
    let new = check(&sync("interface = \"eth1\"\nsyncid = 8")).unwrap();
    let error = new.check_restarts(&running).unwrap_err().to_string();
    assert!(error.starts_with("d.toml:5: sync.syncid: restart required"), "{error}");
}
