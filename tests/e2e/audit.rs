//! The address auditor against real offenders: each is named with its remedy, and forgotten once the remedy is typed.

use crate::deployment::{CLIENT, Deployment, VIP, VIP6, VIPS, mac};
use crate::director::{Config, Director, Home};
use crate::support::netns::{Netns, Process, wait_until};
use directrix::control::api::audit::Finding;
use directrix::control::client::Blocking;
use std::fs::File;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

const EXE: &str = env!("CARGO_BIN_EXE_directrix");
/// A finding is verified each second, and heard ones are over after five.
const SOON: Duration = Duration::from_secs(30);
const OTHER: Ipv4Addr = Ipv4Addr::new(192, 168, 195, 60);

struct Site {
    deployment: Deployment,
    director: Director,
    client: Blocking,
}

impl Site {
    /// A director that serves a VIP of each family, and asks everything once a second.
    fn start(backend: &str) -> Self {
        let deployment = Deployment::reference().with_ipv6();
        let config = Config::new(backend).with("audit_interval = 1").with("on_server_claim = \"ignore\"");
        let director = Director::start(&deployment, &config);
        let client = Blocking::new(&director.socket()).unwrap();
        let site = Self { deployment, director, client };
        assert_eq!(site.audit().status.code(), Some(0));
        site
    }

    fn findings(&self) -> Vec<Finding> {
        self.client.audit().unwrap().findings
    }

    /// Waits for a finding about a host.
    #[track_caller]
    fn wait_for(&self, misuse: &str, address: IpAddr, mac: &str) -> Finding {
        let is_it =
            |one: &Finding| (one.misuse.as_str(), one.address, one.mac.as_str()) == (misuse, address, mac);
        let find = || self.findings().into_iter().find(is_it);
        wait_until(&format!("{misuse} of {address} by {mac}: {:?}", self.findings()), SOON, || {
            find().is_some()
        });
        find().unwrap()
    }

    /// Waits until there is no finding.
    #[track_caller]
    fn wait_for_quiet(&self) {
        wait_until(&format!("no finding: {:?}", self.findings()), 2 * SOON, || self.findings().is_empty());
    }

    /// Runs `directrix audit`.
    fn audit(&self) -> Output {
        Command::new(EXE).arg("--socket").arg(self.director.socket()).arg("audit").output().unwrap()
    }

    /// Starts `directrix audit --watch`, with its output in a file.
    fn watch(&self, output: &Path) -> Process {
        let mut command = Command::new(EXE);
        command.arg("--socket").arg(self.director.socket()).args(["audit", "--watch"]);
        Process(command.stdout(File::create(output).unwrap()).spawn().unwrap())
    }

    /// Types the remedy of a finding on its host.
    fn type_remedy(finding: &Finding, host: &Netns) {
        host.run(&finding.command.as_ref().expect("a command").replace("IF", "eth0"));
    }
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn a_server_that_answers_is_named() {
    for backend in ["packet", "xdp"] {
        let site = Site::start(backend);
        let (server, rip) = (&site.deployment.real[1], IpAddr::from(site.deployment.rips[1]));
        let watched = site.director.socket().with_file_name("watched");
        let _watch = site.watch(&watched);
        server.run("sysctl -qw net.ipv4.conf.all.arp_ignore=0");
        let found = site.wait_for("answers", VIP.into(), &mac(server));
        assert_eq!((found.server, found.level.as_str(), found.seen.as_str()), (Some(rip), "error", "asked"));
        let output = site.audit();
        assert_eq!(output.status.code(), Some(1));
        let (status, screen) = site.director.cli_status("status");
        let warning = format!("an audit finding is open: real server {rip}");
        assert!(status == Some(3) && screen.contains(&warning), "{screen}");
        assert!(screen.contains("see directrix audit"), "{screen}");
        let table = text(&output);
        assert!(
            table.contains(&format!("real server {rip} ({}) answers ARP for the VIP {VIP}", mac(server)))
        );
        assert!(table.contains("type there: sysctl -w net.ipv4.conf.all.arp_ignore=1"), "{table}");
        let sample = format!("directrix_neighbor_offenders{{address=\"{VIP}\",server=\"{rip}\"}}");
        assert_eq!(site.director.metric(&sample), 1);
        Site::type_remedy(&found, server);
        site.wait_for_quiet();
        assert_eq!(site.director.logged("a host misuses an address"), 1, "{}", site.director.log());
        assert_eq!(site.director.logged("audit finding is over"), 1);
        assert_eq!(site.audit().status.code(), Some(0));
        assert!(!site.director.cli("status").contains("directrix audit"), "the warning is over");
        let sentence = format!("real server {rip} ({}) answers ARP for the VIP {VIP}", mac(server));
        let lines = [format!("error: {sentence}"), format!("over: {sentence}")];
        wait_until("the end on the watch", SOON, || {
            let text = std::fs::read_to_string(&watched).unwrap();
            lines.iter().all(|line| text.lines().filter(|one| one == line).count() == 1)
        });
    }
}

#[test]
fn a_server_with_the_ipv6_vip_on_its_interface_is_named() {
    let site = Site::start("packet");
    let server = &site.deployment.real[0];
    server.run(&format!("ip address flush dev lo to {VIP6}/128"));
    server.run(&format!("ip address add {VIP6}/64 dev eth0 nodad"));
    let found = site.wait_for("answers", VIP6.into(), &mac(server));
    assert_eq!(found.level, "error");
    assert!(found.text.contains("answers neighbor solicitations for the VIP"), "{}", found.text);
    let rips = site.deployment.rips_of(VIP6.into());
    assert_eq!(found.server, Some(rips[0]), "the address of the VIP's family");
    Site::type_remedy(&found, server);
    site.wait_for_quiet();
    assert!(server.run("ip -6 address show dev lo").contains(&VIP6.to_string()));
}

#[test]
fn a_server_that_asks_as_the_vip_is_named() {
    let site = Site::start("packet");
    let server = &site.deployment.real[0];
    let ask = || drop(server.run(&format!("ip neighbor flush all; ping -c1 -W1 -I {VIP} {CLIENT} || true")));
    ask();
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(site.findings(), [], "with arp_announce = 2 it asks as itself");
    server.run("sysctl -qw net.ipv4.conf.all.arp_announce=0");
    ask();
    let found = site.wait_for("leaks", VIP.into(), &mac(server));
    assert_eq!((found.level.as_str(), found.seen.as_str()), ("error", "heard"));
    assert!(found.text.contains(&format!("asks for {CLIENT} as the VIP {VIP}")), "{}", found.text);
    Site::type_remedy(&found, server);
    ask();
    site.wait_for_quiet();
}

#[test]
fn a_server_that_announces_the_vips_is_named() {
    let site = Site::start("packet");
    let server = &site.deployment.real[1];
    server.run("sysctl -qw net.ipv4.conf.eth0.arp_notify=1 net.ipv6.conf.eth0.ndisc_notify=1");
    server.run(&format!("ip address add {VIP}/24 dev eth0 && ip address add {VIP6}/64 dev eth0 nodad"));
    server.run(&format!("ip link set eth0 address {}", mac(server))); // the kernel announces its addresses
    for vip in VIPS {
        let found = site.wait_for("announces", vip, &mac(server));
        assert_eq!((found.level.as_str(), found.seen.as_str()), ("error", "heard"));
        Site::type_remedy(&found, server);
    }
    site.wait_for_quiet();
}

#[test]
fn two_hosts_with_the_address_of_a_server_are_named() {
    let site = Site::start("packet");
    let (server, rip) = (&site.deployment.real[0], site.deployment.rips[0]);
    let twin = site.deployment.plug("twin", rip);
    let is_known = |one: &Finding| one.misuse == "duplicate" && one.address == IpAddr::from(rip);
    wait_until("the duplicate", SOON, || site.findings().iter().any(is_known));
    let found = site.findings().into_iter().find(is_known).unwrap();
    for part in [mac(server), mac(&twin)] {
        assert!(found.text.contains(&part), "{part}: {}", found.text);
    }
    Site::type_remedy(&found, &twin);
    site.wait_for_quiet();
}

#[test]
fn proxy_arp_is_named_as_such() {
    let site = Site::start("packet");
    let router = site.deployment.plug("proxy", OTHER);
    router.run(
        "ip link add other0 type veth peer name other1 && ip link set other0 up && ip link set other1 up",
    );
    router
        .run("sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.eth0.rp_filter=0");
    // A wrong netmask: it takes the segment for one behind its other interface.
    router.run("ip route add 192.168.195.0/25 dev other0 && ip route add 192.168.195.128/25 dev other0");
    router.run("sysctl -qw net.ipv4.conf.eth0.proxy_arp=1");
    let found = site.wait_for("proxy-arp", VIP.into(), &mac(&router));
    assert_eq!((found.server, found.level.as_str()), (None, "error"));
    assert!(found.text.contains("as for any address"), "{}", found.text);
    let others = site.findings().into_iter().filter(|one| one.misuse != "proxy-arp");
    assert_eq!(others.collect::<Vec<_>>(), [], "also for the addresses of the real servers");
    Site::type_remedy(&found, &router);
    site.wait_for_quiet();
}

#[test]
fn a_virtual_router_is_named_and_no_fault() {
    let site = Site::start("packet");
    let router = site.deployment.plug("vrrp", OTHER);
    router.run("ip link set eth0 address 00:00:5e:00:01:33");
    router.run(&format!("ip address add {VIP}/32 dev eth0"));
    let found = site.wait_for("answers", VIP.into(), "00:00:5e:00:01:33");
    assert_eq!(found.level, "info");
    assert!(found.text.contains("VRRP or CARP group 51"), "{}", found.text);
    assert_eq!((site.audit().status.code(), site.director.logged("a host misuses an address")), (Some(0), 0));
    router.run(&format!("ip address del {VIP}/32 dev eth0"));
    site.wait_for_quiet();
}

#[test]
fn a_second_interface_of_a_server_is_told_by_its_answers() {
    let site = Site::start("packet");
    let server = &site.deployment.real[0];
    // Another link to the segment without an address of its own, and answers for all addresses.
    let (host, switch) = (server, &site.deployment.switch);
    host.run(&format!(
        "ip link add eth1 type veth peer name second netns {} && ip link set eth1 up",
        switch.name()
    ));
    switch.run("ip link set second master br0 up");
    host.run("sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.eth1.rp_filter=0");
    host.run("sysctl -qw net.ipv4.conf.all.arp_ignore=0 net.ipv4.conf.eth0.arp_ignore=1");
    let second = host.run("cat /sys/class/net/eth1/address").trim().to_owned();
    let found = site.wait_for("answers", VIP.into(), &second);
    assert_eq!((found.server, found.other_interface), (Some(site.deployment.rips[0].into()), true));
    assert!(found.text.contains("by another of its interfaces"), "{}", found.text);
    Site::type_remedy(&found, host);
    site.wait_for_quiet();
}

#[test]
fn an_audit_without_a_director_ends_with_its_findings() {
    let deployment = Deployment::reference().with_ipv6();
    let home = Home::new();
    let file = home.path().join("audit.toml");
    std::fs::write(&file, Config::new("packet").text(&deployment)).unwrap();
    let audit = |words: &str| {
        let command = format!("{EXE} audit --config {} {words}", file.display());
        deployment.director.command(&command).output().unwrap()
    };
    let quiet = audit("");
    assert_eq!(quiet.status.code(), Some(0), "{}", text(&quiet));
    assert!(text(&quiet).starts_with("No host misuses"), "{}", text(&quiet));
    let server = &deployment.real[1];
    server.run("sysctl -qw net.ipv4.conf.all.arp_ignore=0");
    let found = audit("--json");
    assert_eq!(found.status.code(), Some(1), "{}", text(&found));
    let found: directrix::control::api::audit::Audit = serde_json::from_str(&text(&found)).unwrap();
    let found = &found.findings[0];
    assert_eq!((found.misuse.as_str(), found.mac.as_str()), ("answers", mac(server).as_str()));
    assert_eq!(found.server, Some(deployment.rips[1].into()));
}
