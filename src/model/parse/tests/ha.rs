//! The `[ha]` table: its sources, and each wrong value with its line, what is wrong and the remedy.

use super::*;

/// A good file with a `[ha]` on line 3; `rest` begins on line 4.
fn ha(rest: &str) -> String {
    service(&format!("[ha]\n{rest}\n"))
}

#[track_caller]
fn read(rest: &str) -> HaConfig {
    check(&ha(rest)).unwrap_or_else(|errors| panic!("{rest}: {errors}")).director.ha
}

#[test]
fn without_a_table_a_director_stands_alone() {
    assert_eq!(check(&service("")).unwrap().director.ha, HaConfig::default());
    assert_eq!(read("role = \"standalone\""), HaConfig::default());
    assert_eq!(read(""), HaConfig::default());
    assert_eq!(HaConfig::default().linger, Span::from_secs(30));
}

#[test]
fn each_source_has_its_keys() {
    let of = |role| HaConfig { role, ..HaConfig::default() };
    assert_eq!(read("role = \"command\""), of(RoleSource::Command));
    let file = RoleSource::File { path: "/run/role".into() };
    assert_eq!(read("role = \"file\"\nfile = \"/run/role\""), of(file));
    let fifo = RoleFifo { path: "/f".into(), instance: None, on_writer_death: OnWriterDeath::Stop };
    assert_eq!(read("fifo = \"/f\"\nrole = \"fifo\""), of(RoleSource::Fifo(fifo)));
}

#[test]
fn readiness_is_told_without_a_role_too() {
    let routed = HaConfig {
        vips: VipReach::Routed,
        tun: Some("dx0".into()),
        ready_needs_servers: true,
        ..HaConfig::default()
    };
    let unkept = HaConfig { keep: KeepConnections::None, ..HaConfig::default() };
    assert_eq!(read("keep = \"none\""), unkept);
    assert_eq!(read("keep = \"shm\""), HaConfig::default());
    assert_eq!(read("vips = \"routed\"\ntun = \"dx0\"\nready_needs_servers = true"), routed);
    let ready_file = Some("/run/ready".into());
    assert_eq!(read("ready_file = \"/run/ready\""), HaConfig { ready_file, ..HaConfig::default() });
}

/// Lines from 4 on, and the expected error.
const CASES: &[(&str, &str)] = &[
    ("role = \"vrrp\"", r#"4: role is "vrrp"; write "standalone" or "fifo" or "file" or "command""#),
    (
        "role = \"vrrp\"\nfifo = \"/f\"",
        r#"4: role is "vrrp"; write "standalone" or "fifo" or "file" or "command""#,
    ),
    (
        "role = \"fifo\"",
        "3: [ha] has role = \"fifo\" and no fifo; add fifo = \"/run/directrix/vrrp.fifo\", with the path of \
         keepalived's vrrp_notify_fifo",
    ),
    (
        "role = \"file\"",
        "3: [ha] has role = \"file\" and no file; add file = \"/run/directrix/role\", a file with the word \
         master, backup or fault",
    ),
    (
        "role = \"fifo\"\nfifo = \"vrrp.fifo\"",
        r#"5: fifo is "vrrp.fifo", no absolute path; write the whole path from "/" on"#,
    ),
    (
        "role = \"fifo\"\nfifo = \"/f\"\ninstance = \"VI\\\"1\"",
        "6: instance is \"VI\\\"1\", no name of an instance; write the name of a vrrp_instance or \
         vrrp_sync_group of keepalived.conf, as in \"VI_1\"",
    ),
    (
        "role = \"fifo\"\nfifo = \"/f\"\non_writer_death = \"die\"",
        r#"6: on_writer_death is "die"; write "stop" or "keep""#,
    ),
    (
        "role = \"command\"\nlinger = 0",
        "5: linger is 0, out of range; write a number from 1 to 2147483: seconds",
    ),
    ("fifo = \"/f\"", r#"4: fifo has no meaning here; add role = "fifo", or remove it"#),
    ("role = \"command\"\nfile = \"/f\"", r#"5: file has no meaning here; add role = "file", or remove it"#),
    (
        "role = \"file\"\nfile = \"/f\"\ninstance = \"VI_1\"",
        r#"6: instance has no meaning here; add role = "fifo", or remove it"#,
    ),
    ("linger = 5", r#"4: linger has no meaning here; add role = "fifo", "file" or "command", or remove it"#),
    (
        "ready_file = \"ready\"",
        r#"4: ready_file is "ready", no absolute path; write the whole path from "/" on"#,
    ),
    (
        "tun = \"dx 0\"",
        "4: tun is \"dx 0\": a name has no space, slash or colon in it; write a name that \"ip link\" shows, as in \"eth0\"",
    ),
    (
        "tun = \"eth0\"",
        "4: tun is an interface of [director]; write another name, as in \"dx0\": directrix makes this device itself",
    ),
    (
        "ready_needs_servers = true",
        "4: ready_needs_servers has no meaning here; add ready_file or tun, which tell others, or remove it",
    ),
    ("vips = \"anycast\"", r#"4: vips is "anycast"; write "claimed" or "routed""#),
    (
        "role = \"command\"\nvips = \"routed\"",
        "5: vips is \"routed\" beside role = \"command\"; remove one of the two: with routes every director has the VIPs, \
         and none a role",
    ),
    ("role = \"command\"\nlingers = 5", r#"5: "lingers" is not a key of [ha]; did you mean linger?"#),
];

#[test]
fn each_wrong_value_is_refused_with_its_remedy() {
    for (lines, error) in CASES {
        refused(&ha(lines), &[error]);
    }
}

#[test]
fn a_role_excludes_the_claim_by_force() {
    let text = director("on_conflict = \"claim\"\n[ha]\nrole = \"command\"");
    let what = "5: role has no meaning beside on_conflict = \"claim\" of [director]; remove on_conflict: by its role \
                the director claims all VIPs or none";
    refused(&text, &[what]);
}

#[test]
fn a_restart_that_the_role_needs_names_the_line() {
    let running = check(&ha("role = \"command\"\nlinger = 5")).unwrap().director;
    let new = check(&ha("role = \"command\"\nlinger = 6")).unwrap();
    let error = new.check_restarts(&running).unwrap_err().to_string();
    assert!(error.starts_with("d.toml:5: ha.linger: restart required"), "{error}");
}
