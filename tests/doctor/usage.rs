//! Options, exit statuses, and the forms of the report.

use crate::SERVICE;
use crate::support::site::Site;

#[test]
fn wrong_usage_ends_with_status_2() {
    let site = Site::new();
    for (arguments, part) in [
        ("--config /nonexistent/d.toml", "/nonexistent/d.toml"),
        ("--config a --interface b", "cannot be used with"),
        ("--role real-server", "--vip"),
        ("--role real-server --vip 10.0.0.0.1", "write an IP address"),
        ("--interface eth0 --vip 10.0.0.100", "--role real-server"),
        ("--interface eth0 --json --fix", "cannot be used with"),
    ] {
        let examined = site.run_doctor("", arguments);
        assert_eq!((examined.status, examined.out.as_str()), (Some(2), ""), "{arguments}: {examined:?}");
        assert!(examined.err.contains(part), "{arguments}: {examined:?}");
    }
    let examined = site.doctor("backend = \"fast\"\n");
    assert!(examined.status == Some(2) && examined.err.contains("doctor.toml:3"), "{examined:?}");
}

#[test]
fn an_interface_suffices_and_says_nothing_of_vips() {
    let site = Site::new();
    let examined = site.run_doctor("", "--interface eth0 --json");
    assert_eq!((examined.status, examined.at("error")), (Some(0), vec![]), "{examined:?}");
    assert_eq!(examined.finding("native-xdp")["level"], "ok");
    for id in ["vip-local", "vip-local-route", "server-off-link"] {
        assert_eq!(examined.findings(id), [""; 0], "{id}");
    }
}

#[test]
fn an_interface_that_is_down_or_absent_is_an_error() {
    let site = Site::new();
    site.director.run("ip link set dev eth0 down");
    site.mends(SERVICE, ("start", "error"), "ip link set dev eth0 up");
    let examined = site.run_doctor("", "--interface eth7 --json");
    let found = examined.finding("start");
    assert!(
        examined.status == Some(1) && found["remedy"]["advice"].as_str().unwrap().contains("eth0"),
        "{found}"
    );
}

#[test]
fn an_interface_without_carrier_is_an_error() {
    let site = Site::new();
    site.peer.run("ip link set dev eth0 down");
    let found = site.doctor(SERVICE).finding("start");
    assert_eq!(found["what"], "eth0 has no carrier");
    site.peer.run("ip link set dev eth0 up");
    site.is_sound(SERVICE, "start");
}

#[test]
fn the_script_mends_several_traps_at_once() {
    let site = Site::new();
    let config = format!("backend = \"xdp\"\n{SERVICE}");
    site.director.run("ip address add 10.0.0.100/32 dev lo; ethtool -K eth0 rx-gro-list on");
    site.peer.run("ethtool -K eth0 tx on");
    let before = site.director.run("ip address; ethtool -k eth0");
    let script = site.doctor_as("", &config, "--fix");
    assert_eq!(script.status, Some(1));
    assert_eq!(site.director.run("ip address; ethtool -k eth0"), before, "the doctor itself changes nothing");
    site.director.run(&script.out);
    let examined = site.doctor(&config);
    assert_eq!([examined.at("error"), examined.at("warn")], [vec![""; 0], vec![]], "{}", script.out);
}

#[test]
fn the_text_has_the_most_urgent_findings_first() {
    let site = Site::new();
    site.director.run("ip address add 10.0.0.100/32 dev lo; nft add table arp shield");
    site.director.run("nft add chain arp shield in '{ type filter hook input priority 0; policy drop; }'");
    let text = site.doctor_as("", SERVICE, "").out;
    let lines: Vec<_> = text.lines().filter(|line| !line.starts_with("        ")).collect();
    assert!(lines[0].starts_with("error   frame-filters: the nftables chain arp shield in "), "{text}");
    assert_eq!(lines[1], "warn    vip-local: the VIP 10.0.0.100 is an address of this host, on lo", "{text}");
    assert!(text.contains("\n        remedy: ip address del 10.0.0.100/32 dev lo\n"), "{text}");
    assert!(
        lines[2].starts_with("hint    ") && lines.iter().any(|line| line.starts_with("ok      ")),
        "{text}"
    );
}

#[test]
fn a_start_logs_errors_and_starts_all_the_same() {
    let site = Site::new();
    site.director.run("nft add table arp shield; ip address add 10.0.0.100/32 dev lo");
    site.director.run("nft add chain arp shield in '{ type filter hook input priority 0; policy drop; }'");
    let _director = site.start_and_wait(&format!("backend = \"packet\"\nconnections = 1024\n{SERVICE}"), "");
    let log = site.log();
    let lines: Vec<_> = log.lines().filter(|line| line.contains("a trap of this host")).collect();
    assert_eq!(lines.len(), 1, "warnings are not logged: {log}");
    assert!(
        lines[0].contains("trap=\"frame-filters\"") && lines[0].contains("nft delete chain arp shield in"),
        "{log}"
    );
}
