//! `setup --persist`: the unit, its effect, and its removal.

use crate::support::netns::Netns;
use crate::{Site, VIP, ended};
use std::process::Command;

/// The command in a unit.
fn command_of(unit: &str) -> &str {
    unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).expect("the unit starts something")
}

#[test]
fn a_persistent_setup_comes_back_after_a_reboot() {
    let site = Site::new();
    site.good(&format!("setup --vip {VIP} --persist"));
    let ready = site.settings();
    let check = site.good(&format!("check --vip {VIP}"));
    assert!(check.contains(&format!("ok: {VIP} is set up again after a reboot, by ")), "{check}");
    let unit = std::fs::read_to_string(site.unit()).unwrap();
    let verified =
        Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(site.unit()).output().unwrap();
    assert!(verified.status.success() && verified.stderr.is_empty(), "{}", ended(&verified).err);

    // A new namespace has the kernel's defaults, as a host after a reboot.
    let rebooted = Site { server: Netns::new("rb"), ..site };
    assert_eq!(rebooted.settings(), "0 0 0 0 | 127.0.0.1/8");
    rebooted.server.run(command_of(&unit));
    assert_eq!(rebooted.settings(), ready);
    let undone = rebooted.good(&format!("undo --vip {VIP}"));
    assert!(undone.contains("no setup after a reboot"), "{undone}");
    assert_eq!(rebooted.settings(), "0 0 0 0 | 127.0.0.1/8");
    assert!(!rebooted.unit().exists());
}

#[test]
fn the_command_of_a_unit_restores_removed_settings() {
    let site = Site::new();
    site.good(&format!("setup --vip {VIP} --persist"));
    let ready = site.settings();
    let unit = std::fs::read_to_string(site.unit()).unwrap();
    site.server.run(&format!(
        "ip address del {VIP}/32 dev lo; echo 0 > /proc/sys/net/ipv4/conf/all/arp_ignore
         echo 0 > /proc/sys/net/ipv4/conf/lo/arp_announce"
    ));
    assert_eq!(site.realserver(&format!("check --vip {VIP}")).status, 1);
    for _ in 0..2 {
        site.server.run(command_of(&unit));
        assert_eq!(site.settings(), ready);
    }
    assert!(!site.arping(VIP), "no ARP reply for the VIP");
    assert_eq!(site.realserver(&format!("check --vip {VIP}")).status, 0);
    site.good(&format!("undo --vip {VIP}"));
    assert_eq!(site.settings(), "0 0 0 0 | 127.0.0.1/8", "as before the first setup");
}

#[test]
fn undo_without_a_record_removes_the_unit() {
    let site = Site::new();
    site.good(&format!("setup --vip {VIP} --persist"));
    let elsewhere = Site { server: Netns::new("rb"), ..site };
    let undone = elsewhere.good(&format!("undo --vip {VIP}"));
    assert!(undone.contains("no other setup of these VIPs is recorded"), "{undone}");
    assert!(!elsewhere.unit().exists());
    assert_eq!(elsewhere.realserver(&format!("undo --vip {VIP}")).status, 1);
}

#[test]
fn print_changes_nothing_and_needs_no_privilege() {
    let site = Site::new();
    let unprivileged =
        "setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps=-all --bounding-set=-all";
    let run = site.realserver_as(unprivileged, &format!("setup --vip {VIP} --print"));
    assert_eq!((run.status, run.err.as_str()), (0, ""), "{run:?}");
    for part in ["ExecStart=", "sysctl.d", "Name=lo", "iface lo inet loopback", "ethernets:"] {
        assert!(run.out.contains(part), "{part}: {}", run.out);
    }
    assert!(!site.unit().exists());
    assert_eq!(site.settings(), "0 0 0 0 | 127.0.0.1/8");
}

#[test]
fn a_setup_that_cannot_persist_changes_nothing() {
    let site = Site::new();
    std::fs::remove_dir(site.root().join("etc/systemd/system")).unwrap();
    let run = site.realserver(&format!("setup --vip {VIP} --persist"));
    assert!(run.status == 1 && run.err.contains("this host has no systemd"), "{run:?}");
    assert_eq!(site.settings(), "0 0 0 0 | 127.0.0.1/8");
}
