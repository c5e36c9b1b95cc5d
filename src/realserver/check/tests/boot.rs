//! Findings about the state after a reboot.

use super::*;
use std::path::Path;

const VIP6: &str = "2001:db8::80";
const NETWORKD: &str = "etc/systemd/network/10-vip.network";

/// Findings about a host with these files.
fn at_boot(vip: IpAddr, files: &[(&str, &str)]) -> Vec<String> {
    let root = tempfile::tempdir().unwrap();
    for (file, text) in files {
        let path = root.path().join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let mut facts = facts();
    facts.addresses.push(address(1, VIP6.parse().unwrap(), 128));
    let options = RealServerOptions { vips: vec![vip], root: root.path().into(), ..options() };
    let found = super::super::boot::findings(&options, &facts);
    found.iter().map(|finding| relative(&finding.to_string(), root.path())).collect()
}

/// A finding with the paths of its files below the root.
fn relative(finding: &str, root: &Path) -> String {
    finding.replace(&format!("{}/", root.display()), "")
}

#[track_caller]
fn finds(vip: &str, files: &[(&str, &str)], wanted: &[&[&str]]) {
    check_complaints(&at_boot(vip.parse().unwrap(), files), wanted);
}

#[test]
fn vip_in_the_host_configuration_is_found() {
    for (file, text) in [
        ("etc/network/interfaces", "iface lo:0 inet static\n  address 192.168.195.150/32\n"),
        (NETWORKD, "[Address]\nAddress=192.168.195.150/32\n"),
        ("etc/netplan/lo.yaml", "addresses: [127.0.0.1/8,192.168.195.150/32]\n"),
    ] {
        let ok = format!("ok: 192.168.195.150 is configured in {file}");
        assert_eq!(at_boot(VIP, &[(file, text)]), [ok]);
    }
    for (file, text) in [
        ("etc/network/interfaces", "  # address 192.168.195.150/32\n  address 192.168.195.15\n"),
        ("etc/hosts", "192.168.195.150 www\n"),
    ] {
        finds(
            "192.168.195.150",
            &[(file, text)],
            &[&["note: no known configuration sets 192.168.195.150 up"]],
        );
    }
}

#[test]
fn ipv6_vip_is_found_in_every_spelling() {
    for (text, found) in [
        ("    up ip address replace 2001:db8::80/128 dev lo preferred_lft 0\n", true),
        ("Address=2001:DB8:0::80/128\n", true),
        ("addresses: [\"::1/128\", \"2001:db8::80/128\": {lifetime: 0}]\n", true),
        ("# Address=2001:db8::80/128\n", false),
        ("Address=2001:db8::800/128\n", false),
    ] {
        let lines = at_boot(VIP6.parse().unwrap(), &[("etc/network/interfaces", text)]);
        assert_eq!(lines[0].starts_with("ok: 2001:db8::80 is configured in "), found, "{text}");
    }
}

#[test]
fn configured_network_is_wrong() {
    let file = (NETWORKD, "[Match]\nName=lo\n[Address]\nAddress=2001:db8::80/64\n");
    let line = [
        "wrong: etc/systemd/network/10-vip.network sets up 2001:db8::80/64 at boot: ",
        "routes that whole network to lo: ",
        "; write 2001:db8::80/128 there",
    ];
    finds(VIP6, &[file], &[&line]);
    let file = ("etc/rc.local", "ip address add 192.168.195.150/24 dev lo\n");
    finds(
        "192.168.195.150",
        &[file],
        &[&["wrong: etc/rc.local sets up 192.168.195.150/24", "this host's own"]],
    );
}

#[test]
fn configured_interface_that_answers_is_wrong() {
    let file = |name: &str| format!("[Match]\nName={name}\n[Address]\nAddress=2001:db8::80/128\n");
    let wrong =
        ["wrong: ", " puts 2001:db8::80 on eth0 at boot: eth0 uses neighbor discovery", "on lo instead"];
    finds(VIP6, &[(NETWORKD, &file("eth0"))], &[&wrong]);
    let unknown =
        ["note: ", " puts 2001:db8::80 on ens9 at boot: if ens9 uses neighbor discovery, it answers"];
    finds(VIP6, &[(NETWORKD, &file("ens9"))], &[&unknown]);
    finds(VIP6, &[(NETWORKD, &file("ens9 lo eth0"))], &[&wrong]);
    let network = file("ens9").replace("/128", "/64");
    finds(VIP6, &[(NETWORKD, &network)], &[&["wrong: ", "sets up 2001:db8::80/64 at boot"]]);
    let right = ("etc/rc.local", "ip address add 2001:db8::80/128 dev lo preferred_lft 0\n");
    finds(
        VIP6,
        &[right, (NETWORKD, &file("eth0"))],
        &[&["ok: 2001:db8::80 is configured in etc/rc.local"], &wrong],
    );
}

#[test]
fn interfaces_of_a_pattern_are_those_of_the_host() {
    let file = |names: &str| format!("[Match]\nName={names}\n[Address]\nAddress=2001:db8::80/128\n");
    let wrong = ["wrong: ", " puts 2001:db8::80 on eth0 at boot: eth0 uses neighbor discovery"];
    let ok = ["ok: 2001:db8::80 is configured in etc/systemd/network/10-vip.network"];
    for names in ["eth*", "e[t]h0", "eth?", "*", "!lo", "!ens* lo"] {
        finds(VIP6, &[(NETWORKD, &file(names))], &[&wrong]);
    }
    for names in ["l*", "!eth*", "!eth0 eth1", "ens*", "[", "!*"] {
        finds(VIP6, &[(NETWORKD, &file(names))], &[&ok]);
    }
}

#[test]
fn sourced_files_of_ifupdown_are_read() {
    let vip =
        ("etc/network/interfaces.d/vip.cfg", "iface eth0:1 inet static\n  address 192.168.195.150/32\n");
    let lists = |main| [("etc/network/interfaces", main), vip];
    let wrong = ["wrong: etc/network/interfaces.d/vip.cfg puts 192.168.195.150 on eth0 at boot"];
    finds("192.168.195.150", &lists("source /etc/network/interfaces.d/*\n"), &[&wrong]);
    let none = ["note: no known configuration sets 192.168.195.150 up"];
    finds("192.168.195.150", &lists("source-directory /etc/network/interfaces.d\n"), &[&none]);
    finds("192.168.195.150", &lists("auto lo\n"), &[&none]);
}

#[test]
fn vip_without_netmask_in_ifupdown_is_a_network() {
    let wrong = [
        "wrong: etc/network/interfaces sets up 192.168.195.150/24 at boot",
        "write 192.168.195.150/32 there",
    ];
    for text in [
        "iface lo:0 inet static\n  address 192.168.195.150\n",
        "iface eth0 inet dhcp\n  up ifconfig lo:0 192.168.195.150 up\n",
    ] {
        finds("192.168.195.150", &[("etc/network/interfaces", text)], &[&wrong]);
    }
}

#[test]
fn ipv6_that_is_off_after_a_reboot_is_named() {
    let vip = ("etc/rc.local", "ip address add 2001:db8::80/128 dev lo preferred_lft 0\n");
    let ok = ["ok: 2001:db8::80 is configured in"];
    let sysctls = "etc/sysctl.d/99-no-ipv6.conf";
    let wrong = [
        "wrong: etc/sysctl.d/99-no-ipv6.conf sets disable_ipv6 on lo, eth0, eth1 at boot: lo then cannot have the VIP",
        "; set it to 0 for lo and eth0 and eth1, in a file of a later name",
    ];
    finds(VIP6, &[vip, (sysctls, "net.ipv6.conf.all.disable_ipv6 = 1\n")], &[&ok, &wrong]);
    let note =
        ["note: etc/sysctl.d/99-no-ipv6.conf sets disable_ipv6 on eth1 at boot: if the director sends"];
    finds(VIP6, &[vip, (sysctls, "net.ipv6.conf.eth1.disable_ipv6 = 1\n")], &[&ok, &note]);
    let last = [
        "wrong: etc/sysctl.conf sets disable_ipv6 on lo at boot",
        "; set it to 0 for lo, in that file, at its end",
    ];
    finds(VIP6, &[vip, ("etc/sysctl.conf", "net.ipv6.conf.lo.disable_ipv6 = 1\n")], &[&ok, &last]);
    let ipv4 = ("etc/rc.local", "ip address add 192.168.195.150/32 dev lo\n");
    finds(
        "192.168.195.150",
        &[ipv4, (sysctls, "net.ipv6.conf.all.disable_ipv6 = 1\n")],
        &[&["ok: 192.168.195.150 is configured in"]],
    );
}
