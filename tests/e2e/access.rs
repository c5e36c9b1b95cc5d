//! Access rights to a running director: root, its own user, members of a group, other users.

use crate::deployment::{Deployment, VIP};
use crate::director::{Config, Director, Home};
use crate::on_both_backends;
use std::fs::{Permissions, set_permissions};
use std::os::unix::fs::{PermissionsExt, chown};

on_both_backends! {
    others_read_and_change_nothing
    others_are_refused
}

const OTHER: &str = "--reuid=65534 --regid=65534 --clear-groups";
/// Members of adm (4 on Debian), by the primary group and by a supplementary group.
const MEMBERS: [&str; 2] =
    ["--reuid=65534 --regid=4 --clear-groups", "--reuid=65534 --regid=65534 --groups=65533,4,65532"];
const ROOT: &str = "--clear-groups";
/// The user of these directors.
const DAEMON: &str = "--reuid=1 --regid=1 --clear-groups";

const REMEDY: &str =
    "root, user 1 (daemon) and members of group adm may: use sudo, or join that group and log in again\n";

fn config(backend: &str) -> Config {
    Config::new(backend).with("user = \"daemon\"").with("control_group = \"adm\"")
}

/// Weights of real1 and real2 in the web service.
fn weights(director: &Director) -> Vec<String> {
    let listing = director.cli(&format!("ipvsadm -Ln -t {VIP}:80"));
    let rows = listing.lines().filter(|line| line.contains("Route"));
    rows.map(|row| row.split_whitespace().nth(3).unwrap().to_owned()).collect()
}

#[track_caller]
fn reads_and_changes(deployment: &Deployment, director: &Director) {
    let rip = deployment.rips[0];
    for (number, user) in [ROOT, DAEMON, MEMBERS[0], MEMBERS[1]].into_iter().enumerate() {
        let weight = (10 + number).to_string();
        let listing = director.cli_as(user, "ipvsadm -Ln");
        assert!(listing.0 == Some(0) && listing.1.contains(&VIP.to_string()), "{user}: {listing:?}");
        let change = format!("ipvsadm -e -t {VIP}:80 -r {rip} -w {weight}");
        assert_eq!(director.cli_as(user, &change), (Some(0), String::new(), String::new()), "{user}");
        assert!(weights(director).contains(&weight), "{user}: {:?}", weights(director));
        let reloaded = director.cli_as(user, "reload");
        let back = format!("~ TCP {VIP}:80 -> {rip}: weight {weight} -> 1\n");
        assert_eq!(reloaded, (Some(0), back, String::new()), "{user}");
    }
}

fn others_read_and_change_nothing(backend: &str) {
    let deployment = Deployment::reference();
    let director = Director::start(&deployment, &config(backend).with("control_others = \"read\""));
    assert_eq!(director.logged("has no effect: others cannot enter"), 0, "the directory can be entered");
    reads_and_changes(&deployment, &director);
    for words in [
        "ipvsadm -Ln",
        "ipvsadm -Ln --stats",
        "ipvsadm -Lnc",
        "ipvsadm -S -n",
        "drops",
        "workers --json",
        "save",
    ] {
        let as_root = director.cli(words);
        let (status, listing, stderr) = director.cli_as(OTHER, words);
        assert_eq!((status, stderr), (Some(0), String::new()), "{words}");
        assert_eq!(listing.lines().count(), as_root.lines().count(), "{words}: {listing}");
    }
    let plan = director.cli_as(OTHER, &format!("plan {}", director.config().display()));
    let unchecked =
        "directrix: not checked whether real servers are on-link: that needs permission to change\n";
    assert_eq!(plan, (Some(0), "nothing would change\n".into(), unchecked.to_owned()));

    let before = director.cli("save");
    let refused = format!("user 65534 (nobody) may read but not change; {REMEDY}");
    let in_ipvsadm = format!("Permission denied (you must be root): {refused}");
    let in_directrix =
        format!("directrix: the director at {} refused: {refused}", director.socket().display());
    for (words, status, expected) in [
        (format!("ipvsadm -e -t {VIP}:80 -r {} -w 99", deployment.rips[0]), 255, &in_ipvsadm),
        ("ipvsadm -C".into(), 255, &in_ipvsadm),
        ("ipvsadm -Z".into(), 255, &in_ipvsadm),
        ("ipvsadm --set 1 1 1".into(), 255, &in_ipvsadm),
        ("reload".into(), 1, &in_directrix),
        (format!("drain tcp:{VIP}:80 {}", deployment.rips[0]), 1, &in_directrix),
    ] {
        assert_eq!(
            director.cli_as(OTHER, &words),
            (Some(status), String::new(), expected.clone()),
            "{words}"
        );
    }
    assert_eq!(director.cli("save"), before);

    let text = config(backend).with("control_others = \"nothing\"").text(&deployment);
    director.write_config(&text);
    let (status, _, stderr) = director.cli_as(ROOT, "reload");
    assert!(
        status == Some(1)
            && stderr
                .contains(": control_others: restart required; restart the director, or undo this change"),
        "{stderr}"
    );
    let (status, plan, _) = director.cli_as(ROOT, &format!("plan {}", director.config().display()));
    assert_eq!((status, plan.as_str()), (Some(1), "! control_others: restart required\n"));
}

fn others_are_refused(backend: &str) {
    let deployment = Deployment::reference();
    let director = Director::start(&deployment, &config(backend));
    reads_and_changes(&deployment, &director);
    let before = director.cli("save");
    assert!(before.contains("control_group = \"adm\"\ncontrol_others = \"nothing\"\n"), "{before}");
    let with_dac_override = format!("{OTHER} --inh-caps=+dac_override --ambient-caps=+dac_override");
    let socket = director.socket().display().to_string();
    let refused = format!("user 65534 (nobody) may neither read nor change; {REMEDY}");
    let denied = "Permission denied (you must be root)";
    for (user, words, status, expected) in [
        (OTHER, "ipvsadm -Ln", 2, format!("Can't initialize ipvs: {denied} for {socket}\n")),
        (OTHER, "ipvsadm -C", 2, format!("Can't initialize ipvs: {denied} for {socket}\n")),
        (OTHER, "reload", 1, format!("directrix: {denied} for {socket}\n")),
        (&with_dac_override, "ipvsadm -Ln", 2, format!("Can't initialize ipvs: {denied}: {refused}")),
        (&with_dac_override, "ipvsadm -C", 2, format!("Can't initialize ipvs: {denied}: {refused}")),
        (&with_dac_override, "drops", 1, format!("directrix: the director at {socket} refused: {refused}")),
        (&with_dac_override, "reload", 1, format!("directrix: the director at {socket} refused: {refused}")),
    ] {
        assert_eq!(director.cli_as(user, words), (Some(status), String::new(), expected), "{user}: {words}");
    }
    assert_eq!(director.cli("save"), before);
}

#[test]
fn a_directory_closed_to_others_is_logged_at_the_start() {
    let (deployment, home) = (Deployment::reference(), Home::new());
    set_permissions(home.path(), Permissions::from_mode(0o700)).unwrap();
    let text = Config::new("packet").with("control_others = \"read\"").text(&deployment);
    let director = Director::start_in(home.clone(), &deployment.director, &text);
    let place = home.path().display();
    let warning = format!("enter the socket's directory remedy=\"chmod o+x {place}, or use --socket\"");
    assert_eq!(director.logged(&warning), 1, "{}", director.log());
}

/// A start as by systemd, without CAP_CHOWN.
#[test]
fn an_unprivileged_user_needs_membership_in_control_group() {
    let deployment = Deployment::reference();
    let text = Config::new("packet").with("control_group = \"adm\"").text(&deployment);
    let caps = "-all,+net_admin,+net_raw,+ipc_lock,+perfmon,+bpf";
    let caps = format!("--inh-caps={caps} --ambient-caps={caps} --bounding-set={caps}");
    let home = Home::new();
    chown(home.path(), Some(65534), Some(65534)).unwrap();
    let start = |user: &str| {
        Director::spawn(home.clone(), &deployment.director, &text, &format!("setpriv {user} {caps}"))
    };
    let (status, log) = start(OTHER).failure();
    let remedy = "make the user that starts the director a member of it (systemd: SupplementaryGroups=adm)";
    assert!(status == Some(1) && log.contains(remedy), "{log}");

    let mut director = start(MEMBERS[1]);
    director.wait_ready();
    let (status, _, stderr) = director.cli_as("--reuid=1 --regid=4 --clear-groups", "reload");
    assert_eq!((status, stderr.as_str()), (Some(0), ""));
    let (status, ..) = director.cli_as("--reuid=1 --regid=1 --clear-groups", "reload");
    assert_eq!(status, Some(1));
}
