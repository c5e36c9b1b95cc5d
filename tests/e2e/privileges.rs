//! User and capabilities of each thread of a running director.

use crate::deployment::{DIP, Deployment};
use crate::director::{Config, Director, Home};
use crate::http::{ab, assert_counts_match};
use crate::lifecycle::{assert_kernel_receives, steering};
use crate::on_both_backends;
use crate::peers::{Peers, connect};
use nix::sys::signal::Signal;
use std::collections::BTreeMap;
use std::os::unix::fs::chown;

on_both_backends! {
    root_changes_to_the_configured_user
    root_without_user_keeps_dac_override
    ambient_capabilities_are_dropped
    an_impossible_user_is_refused
}

/// The user `nobody` and the group `nogroup`, on Debian and most other systems.
const NOBODY: u32 = 65534;
const NET_ADMIN: u64 = 1 << 12;
const DAC_OVERRIDE: u64 = 1 << 1;
/// Capabilities in the unit: cap_net_admin, cap_net_raw, cap_ipc_lock, cap_perfmon, cap_bpf.
const UNIT: u64 = NET_ADMIN | 1 << 13 | 1 << 14 | 1 << 38 | 1 << 39;

fn root_changes_to_the_configured_user(backend: &str) {
    let deployment = Deployment::reference();
    let _peers = Peers::start(&deployment);
    let config = Config::new(backend).with("user = \"nobody\"").with("workers = 1");
    let director = Director::start(&deployment, &config);
    assert_every_thread(&director, NOBODY, 0, 0);
    ab(&deployment, 500, "-c 8");
    assert_counts_match(&deployment, &director);
    assert_eq!(director.logged("privileges dropped user=\"nobody\" capabilities_kept=\"none\""), 1);
    assert_ends_cleanly(director, &deployment);
}

fn root_without_user_keeps_dac_override(backend: &str) {
    let deployment = Deployment::reference();
    let _peers = Peers::start(&deployment);
    let director = Director::start(&deployment, &Config::new(backend));
    assert_every_thread(&director, 0, DAC_OVERRIDE, DAC_OVERRIDE);
    assert_eq!(connect(&deployment.client, 30).iter().sum::<usize>(), 30);
    assert_ends_cleanly(director, &deployment);
}

fn ambient_capabilities_are_dropped(backend: &str) {
    let deployment = Deployment::reference();
    let _peers = Peers::start(&deployment);
    let home = Home::new();
    chown(home.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    let caps = "-all,+net_admin,+net_raw,+ipc_lock,+perfmon,+bpf";
    let as_systemd = format!(
        "setpriv --reuid={NOBODY} --regid={NOBODY} --clear-groups --no-new-privs \
         --inh-caps={caps} --ambient-caps={caps} --bounding-set={caps}"
    );
    // The file is the same as for a start as root.
    let text = Config::new(backend).with("user = \"nobody\"").text(&deployment);
    let mut director = Director::spawn(home, &deployment.director, &text, &as_systemd);
    director.wait_ready();
    assert_every_thread(&director, NOBODY, 0, UNIT);
    assert_eq!(connect(&deployment.client, 30).iter().sum::<usize>(), 30);
    assert_ends_cleanly(director, &deployment);
}

fn an_impossible_user_is_refused(backend: &str) {
    let deployment = Deployment::reference();
    let text = |user: &str| Config::new(backend).with(&format!("user = \"{user}\"")).text(&deployment);
    let (status, log) = Director::refusal(&deployment.director, &text("nosuchuser"), "");
    assert_eq!(status, Some(1), "{log}");
    assert!(log.contains("config.toml:4: user \"nosuchuser\": there is no such user"), "{log}");
    assert!(log.contains("useradd --system nosuchuser"), "{log}");
    let command = format!("setpriv --reuid={NOBODY} --regid={NOBODY} --clear-groups");
    let (status, log) = Director::refusal(&deployment.director, &text("daemon"), &command);
    assert_eq!(status, Some(1), "{log}");
    assert!(
        log.contains("user \"daemon\": this process has user id 65534 and may not become another"),
        "{log}"
    );
}

/// A bridge has generic XDP only, for which GRO is switched off while the director runs.
#[test]
fn an_unprivileged_director_restores_gro() {
    let deployment = Deployment::reference();
    let _peers = Peers::start(&deployment);
    deployment.director.run(&format!(
        "ip link add br0 type bridge mcast_snooping 0 && ip link set br0 address $(cat /sys/class/net/eth0/address) &&
         ip address flush dev eth0 && ip link set eth0 master br0 && ip link set br0 up &&
         ip address add {DIP}/24 dev br0"
    ));
    let gro = || deployment.director.run("ethtool -k br0 | grep generic-receive-offload");
    let before = gro();
    assert!(before.contains(": on"), "{before}");
    let text = Config::new("xdp").with("user = \"nobody\"").text(&deployment).replace("eth0", "br0");
    let director = Director::start_in(Home::new(), &deployment.director, &text);
    assert!(gro().contains(": off"), "{}", gro());
    assert_every_thread(&director, NOBODY, NET_ADMIN, NET_ADMIN);
    assert_eq!(connect(&deployment.client, 30).iter().sum::<usize>(), 30);
    let (status, _) = director.end(Signal::SIGTERM);
    assert_eq!(status.code(), Some(0));
    assert_eq!(gro(), before);
}

/// Checks user, capabilities and bounding set of all threads. Needs Linux 5.19: with an older kernel CAP_BPF is
/// kept.
#[track_caller]
fn assert_every_thread(director: &Director, user: u32, capabilities: u64, bound: u64) {
    director.cli("workers"); // starts the thread of listings
    let threads = threads(director.pid());
    assert!(threads.len() >= 3, "control, a worker and a listing: {}", threads.len());
    let [none, capabilities, bound] = [0, capabilities, bound].map(|set| format!("{set:016x}"));
    let ids = [user; 4].map(|id| id.to_string()).join("\t");
    for thread in threads {
        for (field, expected) in [
            ("Uid", ids.as_str()),
            ("Gid", &ids),
            ("CapEff", &capabilities),
            ("CapPrm", &capabilities),
            ("CapInh", &none),
            ("CapAmb", &none),
            ("CapBnd", &bound),
            ("NoNewPrivs", "1"),
        ] {
            assert_eq!(thread[field], expected, "{field} of {}", thread["Name"]);
        }
    }
}

/// Each thread's /proc/PID/task/TID/status (proc_pid_status(5)).
fn threads(pid: u32) -> Vec<BTreeMap<String, String>> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let status = |task: std::io::Result<std::fs::DirEntry>| {
        let text = std::fs::read_to_string(task.unwrap().path().join("status")).unwrap();
        let fields = text.lines().filter_map(|line| line.split_once(":\t"));
        fields.map(|(field, value)| (field.to_owned(), value.to_owned())).collect()
    };
    tasks.map(status).collect()
}

fn assert_ends_cleanly(director: Director, deployment: &Deployment) {
    let (status, home) = director.end(Signal::SIGTERM);
    assert_eq!(status.code(), Some(0));
    assert!(!home.socket().exists());
    assert!(!steering(&deployment.director));
    assert_kernel_receives(deployment);
}
