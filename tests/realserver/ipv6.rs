//! IPv6 VIPs: the address on lo, its faults, and real solicitations for it.
//!
//! ```text
//!   gateway 2001:db8:77::1 ── veth ── 2001:db8:77::70 real server, VIP 2001:db8:77::150 on lo
//! ```

use crate::support::netns::{Process, wait_until};
use crate::{BINARY, Site, VIP, joined};
use std::fs::File;
use std::path::PathBuf;
use std::time::Duration;

const VIP6: &str = "2001:db8:77::150";
const VIP6_SECOND: &str = "2001:db8:77::151";
const GATEWAY6: &str = "2001:db8:77::1";
const RIP6: &str = "2001:db8:77::70";

impl Site {
    /// A site with both families.
    fn dual() -> Self {
        let site = Self::new();
        for (namespace, address) in [(&site.server, RIP6), (&site.gateway, GATEWAY6)] {
            namespace.run("sysctl -qw net.ipv6.conf.all.disable_ipv6=0 net.ipv6.conf.default.disable_ipv6=0");
            namespace.run(&format!("ip address add {address}/64 dev eth0 nodad"));
            let settled = || !namespace.run("ip -6 address show dev eth0").contains("tentative");
            wait_until("link-local addresses are usable", Duration::from_secs(10), settled);
        }
        site.server.run(&format!("ip -6 route add default via {GATEWAY6}"));
        site
    }

    /// IPv6 addresses of lo.
    fn ipv6_of_lo(&self) -> String {
        joined(&self.server.run("ip -6 -o address show dev lo | awk '{print $4}'"))
    }

    /// State of the VIP on lo.
    fn is_deprecated(&self, vip: &str) -> bool {
        self.server.run(&format!("ip -6 -o address show dev lo to {vip}")).contains(" deprecated ")
    }

    /// Solicitations of the gateway for the VIP within four seconds, and advertisements for it.
    fn solicited(&self, kind: Solicitation) -> Asked {
        let (log, errors) = (self.state.path().join("ndp"), self.state.path().join("ndp-errors"));
        // ICMPv6 at offset 40; types 135 and 136; the target is at offset 48.
        let filter = "icmp6 and (ip6[40]=135 or ip6[40]=136)";
        let mut sniff = self.gateway.command(&format!("exec tcpdump -lnn -i eth0 '{filter}'"));
        sniff.stdout(File::create(&log).unwrap()).stderr(File::create(&errors).unwrap());
        let _sniffer = Process(sniff.spawn().expect("tcpdump starts"));
        let read = |path: &PathBuf| std::fs::read_to_string(path).unwrap();
        wait_until("tcpdump listens", Duration::from_secs(10), || read(&errors).contains("listening on"));
        self.gateway.run(&format!("ip -6 neigh del {VIP6} dev eth0 2>/dev/null || true"));
        if kind == Solicitation::Unicast {
            let mac = self.server.run("cat /sys/class/net/eth0/address");
            self.gateway.run(&format!("ip -6 neigh add {VIP6} lladdr {} nud probe dev eth0", mac.trim()));
        } else {
            // The kernel solicits three times, a second apart; the ping itself may fail.
            let _ = self.gateway.command(&format!("ping -6 -c 1 -W 1 {VIP6}")).output();
        }
        std::thread::sleep(Duration::from_secs(4));
        let text = read(&log);
        let count = |message: &str| text.lines().filter(|line| line.contains(message)).count();
        Asked {
            solicitations: count(&format!("who has {VIP6}")),
            advertisements: count(&format!("tgt is {VIP6}")),
        }
    }
}

/// Destination of solicitations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Solicitation {
    /// The solicited-node group: a search for the MAC address.
    Group,
    /// The server's MAC address: a test whether it is still right.
    Unicast,
}

/// Messages on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Asked {
    solicitations: usize,
    advertisements: usize,
}

#[test]
fn ipv6_setup_is_idempotent_and_undo_restores() {
    let site = Site::dual();
    let arp = site.settings();
    let out = site.good(&format!("setup --vip {VIP6}"));
    assert!(out.contains(&format!("ip address add {VIP6}/128 dev lo preferred_lft 0 ")), "{out}");
    assert_eq!((site.ipv6_of_lo(), site.is_deprecated(VIP6)), (format!("{VIP6}/128 ::1/128"), true));
    assert_eq!(site.settings(), arp, "IPv6 needs no ARP settings");
    let again = site.good(&format!("setup --vip {VIP6}"));
    assert!(again.lines().all(|line| line.starts_with("# ") && line.contains("already")), "{again}");
    site.good(&format!("undo --vip {VIP6}"));
    assert_eq!((site.ipv6_of_lo().as_str(), site.state_files()), ("::1/128", 0));
}

#[test]
fn printed_commands_of_ipv6_work_in_a_shell() {
    let (site, by_hand) = (Site::dual(), Site::dual());
    let script = site.good(&format!("setup --vip {VIP6} --vip {VIP6_SECOND}"));
    by_hand.server.run(&script);
    assert_eq!(site.ipv6_of_lo(), by_hand.ipv6_of_lo());
    assert!(by_hand.is_deprecated(VIP6));
    by_hand.server.run(&site.good(&format!("undo --vip {VIP6} --vip {VIP6_SECOND}")));
    assert_eq!((site.ipv6_of_lo().as_str(), by_hand.ipv6_of_lo().as_str()), ("::1/128", "::1/128"));
}

#[test]
fn both_families_share_one_command_and_one_record() {
    let site = Site::dual();
    site.good(&format!("setup --vip {VIP} --vip {VIP6}"));
    let ready = format!("1 2 1 2 | 127.0.0.1/8 {VIP}/32");
    assert_eq!(site.settings(), ready);
    site.good(&format!("check --vip {VIP} --vip {VIP6}"));
    let out = site.good(&format!("undo --vip {VIP6}"));
    assert!(out.contains(&format!("for the remaining VIPs: {VIP}")), "{out}");
    assert_eq!((site.settings(), site.ipv6_of_lo().as_str()), (ready, "::1/128"));
    site.good(&format!("setup --vip {VIP6}"));
    site.good(&format!("undo --vip {VIP}"));
    assert_eq!(site.settings(), "0 0 0 0 | 127.0.0.1/8", "with the last IPv4 VIP");
    site.good(&format!("undo --vip {VIP6}"));
    assert_eq!((site.ipv6_of_lo().as_str(), site.state_files()), ("::1/128", 0));
}

#[test]
fn present_preferred_vip_is_deprecated_until_undo() {
    let site = Site::dual();
    site.server.run(&format!("ip address add {VIP6}/128 dev lo"));
    let note = site.good(&format!("check --vip {VIP6}"));
    assert!(note.contains(&format!("note: {VIP6}/128 is on lo, and is not deprecated")), "{note}");
    let out = site.good(&format!("setup --vip {VIP6}"));
    assert!(out.contains(&format!("ip address change {VIP6}/128 dev lo preferred_lft 0")), "{out}");
    assert!(site.is_deprecated(VIP6));
    let out = site.good(&format!("undo --vip {VIP6}"));
    assert!(out.contains("preferred_lft forever"), "{out}");
    assert!(!site.is_deprecated(VIP6) && site.ipv6_of_lo().contains(VIP6));
}

#[test]
fn misplaced_ipv6_vip_is_refused_and_named() {
    for (place, remedy, wrong) in [
        (
            format!("{VIP6}/64 dev lo"),
            format!("ip address del {VIP6}/64 dev lo"),
            "routes that whole network to lo",
        ),
        (
            format!("{VIP6}/128 dev eth0 nodad"),
            format!("ip address del {VIP6}/128 dev eth0"),
            "past the director",
        ),
    ] {
        let site = Site::dual();
        site.server.run(&format!("ip address add {place}"));
        let run = site.realserver(&format!("setup --vip {VIP6}"));
        assert!(run.status == 1 && run.err.contains(&remedy), "{place}: {run:?}");
        let run = site.realserver(&format!("check --vip {VIP6}"));
        assert!(run.status == 1 && run.out.contains(wrong) && run.out.contains(&remedy), "{place}: {run:?}");
    }
}

#[test]
fn vip_that_failed_detection_is_named() {
    let site = Site::dual();
    // The gateway has the VIP, as the director would.
    site.gateway.run(&format!("ip address add {VIP6}/128 dev eth0 nodad"));
    site.server.run(&format!("ip address add {VIP6}/128 dev eth0"));
    let failed = || site.server.run("ip -6 address show dev eth0").contains("dadfailed");
    wait_until("duplicate address detection fails", Duration::from_secs(10), failed);
    let run = site.realserver(&format!("check --vip {VIP6}"));
    let line = format!("wrong: {VIP6}/128 is on eth0 with dadfailed");
    assert!(run.status == 1 && run.out.contains(&line) && run.out.contains("drops the frames"), "{run:?}");
}

#[test]
fn disabled_ipv6_is_refused_with_its_remedy() {
    let site = Site::new();
    let remedy = "echo 0 > /proc/sys/net/ipv6/conf/lo/disable_ipv6";
    let run = site.realserver(&format!("setup --vip {VIP} --vip {VIP6}"));
    assert_eq!((run.status, run.out.as_str()), (1, ""), "{run:?}");
    assert!(run.err.contains("disable_ipv6 is 1") && run.err.contains(remedy), "{run:?}");
    assert_eq!(site.settings(), "0 0 0 0 | 127.0.0.1/8", "not the IPv4 VIP either");
    let run = site.realserver(&format!("check --vip {VIP6}"));
    assert!(run.status == 1 && run.out.contains("wrong: disable_ipv6 is 1 on lo"), "{run:?}");
    assert!(run.out.contains("note: IPv6 is off on eth0"), "{run:?}");
    // The remedy of the missing VIP is a command line in two parts.
    let line = run.out.lines().find(|line| line.contains("is not on this host")).unwrap();
    let remedy = line.rsplit_once("; ").unwrap().1.replace(", and ", " && ");
    site.server.run(&remedy);
    assert!(site.is_deprecated(VIP6));
}

#[test]
fn proxy_entry_for_the_vip_is_named() {
    let site = Site::dual();
    site.good(&format!("setup --vip {VIP6}"));
    site.server.run(&format!("ip -6 neigh add proxy {VIP6} dev eth0"));
    let out = site.good(&format!("check --vip {VIP6}"));
    assert!(out.contains(&format!("note: there is a proxy neighbor entry for {VIP6} on eth0")), "{out}");
    site.server.run("sysctl -qw net.ipv6.conf.all.forwarding=1 net.ipv6.conf.eth0.proxy_ndp=1");
    let run = site.realserver(&format!("check --vip {VIP6}"));
    assert!(run.status == 1 && run.out.contains("wrong: there is a proxy neighbor entry"), "{run:?}");
    assert!(site.solicited(Solicitation::Group).advertisements > 0);
    site.server.run(&format!("ip -6 neigh del proxy {VIP6} dev eth0"));
    assert_eq!(site.solicited(Solicitation::Group).advertisements, 0);
}

#[test]
fn solicitations_for_a_vip_on_lo_stay_unanswered() {
    let site = Site::dual();
    site.good(&format!("setup --vip {VIP6}"));
    for kind in [Solicitation::Group, Solicitation::Unicast] {
        let asked = site.solicited(kind);
        assert!(asked.solicitations >= 2 && asked.advertisements == 0, "{kind:?}: {asked:?}");
    }
    // With the server's MAC address, as from a director, packets to the VIP are accepted and answered.
    let mac = site.server.run("cat /sys/class/net/eth0/address");
    site.gateway.run(&format!("ip -6 neigh replace {VIP6} lladdr {} dev eth0", mac.trim()));
    site.gateway.run(&format!("ping -6 -c 1 -W 2 {VIP6}"));
}

#[test]
fn solicitations_for_a_vip_on_the_segment_are_answered() {
    let site = Site::dual();
    site.server.run(&format!("ip address add {VIP6}/128 dev eth0 nodad"));
    for kind in [Solicitation::Group, Solicitation::Unicast] {
        let asked = site.solicited(kind);
        assert!(asked.solicitations >= 1 && asked.advertisements >= 1, "{kind:?}: {asked:?}");
    }
}

#[test]
fn server_never_chooses_the_vip_as_source() {
    let site = Site::dual();
    // Out by an interface without a global address, to an address that resembles the VIP more than the RIP.
    site.server.run(&format!(
        "ip link add out0 type ifb; ip link set dev out0 up; ip -6 route add {VIP6_SECOND} dev out0"
    ));
    let source = || site.server.run(&format!("ip -6 route get {VIP6_SECOND}"));
    site.server.run(&format!("ip address add {VIP6}/128 dev lo"));
    assert!(source().contains(&format!("src {VIP6}")), "a preferred VIP is chosen: {}", source());
    site.good(&format!("setup --vip {VIP6}"));
    assert!(source().contains(&format!("src {RIP6}")), "{}", source());
}

#[test]
fn ipv6_setup_comes_back_after_a_reboot() {
    let site = Site::dual();
    site.good(&format!("setup --vip {VIP6} --persist"));
    let name = format!("etc/systemd/system/directrix-realserver-{}.service", VIP6.replace(':', "-"));
    let unit = site.root().join(name);
    let verified =
        std::process::Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&unit).output();
    let verified = verified.unwrap();
    assert!(verified.status.success() && verified.stderr.is_empty(), "{}", crate::ended(&verified).err);
    let text = std::fs::read_to_string(&unit).unwrap();
    let command = text.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap();
    assert!(command.starts_with(BINARY), "{command}");
    site.server.run(&format!("ip address del {VIP6}/128 dev lo"));
    site.server.run(command);
    assert!(site.is_deprecated(VIP6));
    site.good(&format!("undo --vip {VIP6}"));
    assert!(!unit.exists());
}

#[test]
fn files_that_break_the_server_after_a_reboot_are_named() {
    let site = Site::dual();
    site.good(&format!("setup --vip {VIP6}"));
    let network = site.root().join("etc/systemd/network/10-vip.network");
    std::fs::create_dir_all(network.parent().unwrap()).unwrap();
    for (name, prefix, part) in
        [("lo", 64, "routes that whole network to lo"), ("eth0", 128, "past the director")]
    {
        let text = format!("[Match]\nName={name}\n[Network]\nAddress={VIP6}/{prefix}\n");
        std::fs::write(&network, text).unwrap();
        let run = site.realserver(&format!("check --vip {VIP6}"));
        let wrong = |line: &str| {
            line.starts_with("wrong: ") && line.contains("10-vip.network") && line.contains(part)
        };
        assert!(run.status == 1 && run.out.lines().any(wrong), "{run:?}");
    }
    let sysctls = site.root().join("etc/sysctl.d/no-ipv6.conf");
    std::fs::create_dir_all(sysctls.parent().unwrap()).unwrap();
    std::fs::write(sysctls, "net.ipv6.conf.all.disable_ipv6 = 1\n").unwrap();
    let run = site.realserver(&format!("check --vip {VIP6}"));
    assert!(run.out.contains("no-ipv6.conf sets disable_ipv6 on lo, eth0 at boot: lo then"), "{run:?}");
}
