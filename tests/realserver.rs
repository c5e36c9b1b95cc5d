//! `directrix realserver` in network namespaces: the settings, and their effect on the wire.
//!
//! ```text
//!   gateway 10.77.0.1 ── veth ── 10.77.0.70 real server, VIP 10.77.0.150 on lo
//! ```

mod support;

#[path = "realserver/ipv6.rs"]
mod ipv6;
#[path = "realserver/persist.rs"]
mod persist;

use std::fs::{Permissions, set_permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::Duration;
use support::netns::{Netns, Process, veth, wait_until};
use tempfile::TempDir;

const BINARY: &str = env!("CARGO_BIN_EXE_directrix");
const VIP: &str = "10.77.0.150";
const VIP2: &str = "10.77.0.151";
const GATEWAY: &str = "10.77.0.1";
const RIP: &str = "10.77.0.70";

/// A real server, its gateway, and a directory for its state.
struct Site {
    server: Netns,
    gateway: Netns,
    state: TempDir,
}

/// Result of a command.
#[derive(Debug)]
struct Run {
    status: i32,
    out: String,
    err: String,
}

impl Site {
    fn new() -> Self {
        let (server, gateway) = (Netns::new("rs"), Netns::new("gw"));
        veth((&server, "eth0"), (&gateway, "eth0"), 1);
        server.run(&format!("ip address add {RIP}/24 dev eth0; ip route add default via {GATEWAY}"));
        gateway.run(&format!("ip address add {GATEWAY}/24 dev eth0"));
        let site = Self { server, gateway, state: tempfile::tempdir().unwrap() };
        set_permissions(site.state.path(), Permissions::from_mode(0o755)).unwrap();
        std::fs::create_dir_all(site.root().join("etc/systemd/system")).unwrap();
        site
    }

    /// Runs `directrix realserver` with `arguments` on the real server.
    fn realserver(&self, arguments: &str) -> Run {
        self.realserver_as("", arguments)
    }

    /// Likewise, by a command that changes the privileges of the process.
    fn realserver_as(&self, wrapper: &str, arguments: &str) -> Run {
        let (state, root) = (self.state.path().join("state"), self.root());
        let command = format!(
            "{wrapper} {BINARY} realserver {arguments} --state-dir {} --root {}",
            state.display(),
            root.display()
        );
        let output = self.server.command(&command).output().expect("ip netns exec starts");
        ended(&output)
    }

    /// Root directory of the site, in place of the host's.
    fn root(&self) -> PathBuf {
        self.state.path().join("root")
    }

    fn unit(&self) -> PathBuf {
        self.root().join(format!("etc/systemd/system/directrix-realserver-{VIP}.service"))
    }

    fn good(&self, arguments: &str) -> String {
        let run = self.realserver(arguments);
        assert_eq!((run.status, run.err.as_str()), (0, ""), "{arguments}: {run:?}");
        run.out
    }

    /// arp_ignore and arp_announce of all, then of lo, then the addresses of lo.
    fn settings(&self) -> String {
        let conf =
            "cd /proc/sys/net/ipv4/conf; cat all/arp_ignore all/arp_announce lo/arp_ignore lo/arp_announce";
        let settings = self.server.run(conf);
        let addresses = self.server.run("ip -4 -o address show dev lo | awk '{print $4}'");
        format!("{} | {}", joined(&settings), joined(&addresses))
    }

    fn state_files(&self) -> usize {
        let files = std::fs::read_dir(self.state.path().join("state")).map(Iterator::count);
        files.unwrap_or(1) - 1 // without the lock file, which stays
    }

    /// True if an ARP request from the gateway for `address` is answered.
    fn arping(&self, address: &str) -> bool {
        let output = self.gateway.command(&format!("arping -q -c 3 -w 1 -i eth0 {address}")).output();
        output.expect("arping starts").status.success()
    }
}

fn ended(output: &Output) -> Run {
    Run {
        status: output.status.code().expect("the command exits"),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

fn joined(lines: &str) -> String {
    lines.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn setup_is_idempotent_and_undo_restores() {
    let site = Site::new();
    let before = site.settings();
    assert_eq!(before, "0 0 0 0 | 127.0.0.1/8");

    let out = site.good(&format!("setup --vip {VIP}"));
    let ready = format!("1 2 1 2 | 127.0.0.1/8 {VIP}/32");
    assert_eq!(site.settings(), ready);
    assert!(out.contains("echo 1 > /proc/sys/net/ipv4/conf/all/arp_ignore "), "{out}");
    assert!(out.contains("echo 2 > /proc/sys/net/ipv4/conf/lo/arp_announce "), "{out}");
    assert!(out.contains(&format!("ip address add {VIP}/32 dev lo label lo:dr0 ")), "{out}");
    assert!(site.server.run("ip -o address show dev lo").contains("lo:dr0"));

    let out = site.good(&format!("setup --vip {VIP}"));
    assert_eq!(site.settings(), ready);
    assert!(out.lines().all(|line| line.starts_with("# ") && line.contains("already")), "{out}");

    site.good(&format!("undo --vip {VIP}"));
    assert_eq!(site.settings(), before);
    assert_eq!(site.state_files(), 0);
}

#[test]
fn printed_commands_have_the_same_effect_in_a_shell() {
    let (site, by_hand) = (Site::new(), Site::new());
    let script = site.good(&format!("setup --vip {VIP} --vip {VIP2}"));
    by_hand.server.run(&script);
    assert_eq!(site.settings(), by_hand.settings());
    let undone = site.good(&format!("undo --vip {VIP} --vip {VIP2}"));
    by_hand.server.run(&undone);
    assert_eq!(site.settings(), by_hand.settings());
}

#[test]
fn undo_restores_settings_and_keeps_existing_address() {
    let site = Site::new();
    site.server.run(&format!(
        "cd /proc/sys/net/ipv4/conf; echo 2 > all/arp_ignore; echo 1 > all/arp_announce; echo 8 > lo/arp_ignore
         ip address add {VIP}/32 dev lo"
    ));
    let before = site.settings();
    assert_eq!(before, format!("2 1 8 0 | 127.0.0.1/8 {VIP}/32"));
    site.good(&format!("setup --vip {VIP}"));
    assert_eq!(site.settings(), format!("1 2 1 2 | 127.0.0.1/8 {VIP}/32"));
    let out = site.good(&format!("undo --vip {VIP}"));
    assert!(out.contains("it was there before"), "{out}");
    assert_eq!(site.settings(), before);
}

#[test]
fn the_settings_stay_until_the_last_vip_is_undone() {
    let site = Site::new();
    site.good(&format!("setup --vip {VIP}"));
    site.good(&format!("setup --vip {VIP2}"));
    assert_eq!(site.settings(), format!("1 2 1 2 | 127.0.0.1/8 {VIP}/32 {VIP2}/32"));
    let out = site.good(&format!("undo --vip {VIP}"));
    assert!(out.contains(&format!("for the remaining VIPs: {VIP2}")), "{out}");
    assert_eq!(site.settings(), format!("1 2 1 2 | 127.0.0.1/8 {VIP2}/32"));
    let run = site.realserver(&format!("undo --vip {VIP} --vip {VIP2}"));
    assert_eq!(run.status, 1);
    assert!(run.err.contains(&format!("{VIP}: it was not set up")) && run.err.contains(VIP2), "{run:?}");
    assert_eq!(site.settings(), format!("1 2 1 2 | 127.0.0.1/8 {VIP2}/32"));
    site.good(&format!("undo --vip {VIP2}"));
    assert_eq!(site.settings(), "0 0 0 0 | 127.0.0.1/8");
}

#[test]
fn undo_without_a_record_fails_and_changes_nothing() {
    let site = Site::new();
    site.server
        .run(&format!("ip address add {VIP}/32 dev lo; echo 1 > /proc/sys/net/ipv4/conf/all/arp_ignore"));
    let before = site.settings();
    let run = site.realserver(&format!("undo --vip {VIP}"));
    assert_eq!((run.status, run.out.as_str()), (1, ""));
    assert!(run.err.contains("no record of a setup") && run.err.contains("nothing was changed"), "{run:?}");
    assert_eq!(site.settings(), before);
}

#[test]
fn a_record_is_ignored_if_none_of_its_settings_is_left() {
    let site = Site::new();
    site.good(&format!("setup --vip {VIP}"));
    // As in another namespace with the same inode, or after a manual removal.
    site.server.run(&format!(
        "ip address del {VIP}/32 dev lo
         cd /proc/sys/net/ipv4/conf; echo 2 > all/arp_ignore; echo 1 | tee all/arp_announce lo/arp_announce; echo 0 > lo/arp_ignore"
    ));
    let by_hand = site.settings();
    site.good(&format!("setup --vip {VIP2}"));
    site.good(&format!("undo --vip {VIP2}"));
    assert_eq!(site.settings(), by_hand);
}

#[test]
fn an_interrupted_setup_can_be_repeated_and_undone() {
    let site = Site::new();
    site.good(&format!("setup --vip {VIP} --vip {VIP2}"));
    // As if setup had ended before its last changes.
    site.server
        .run(&format!("ip address del {VIP2}/32 dev lo; echo 0 > /proc/sys/net/ipv4/conf/lo/arp_announce"));
    site.good(&format!("setup --vip {VIP} --vip {VIP2}"));
    assert_eq!(site.settings(), format!("1 2 1 2 | 127.0.0.1/8 {VIP}/32 {VIP2}/32"));
    site.server.run(&format!("ip address del {VIP2}/32 dev lo"));
    let out = site.good(&format!("undo --vip {VIP} --vip {VIP2}"));
    assert!(out.contains(&format!("{VIP2} is not on lo any more")), "{out}");
    assert_eq!(site.settings(), "0 0 0 0 | 127.0.0.1/8");
}

#[test]
fn the_record_is_written_before_the_first_change() {
    let site = Site::new();
    // ip netns exec has a mount namespace, so the mount ends with the command.
    let read_only = "mount --bind /proc/sys /proc/sys && mount -o remount,ro,bind /proc/sys &&";
    let run = site.realserver_as(read_only, &format!("setup --vip {VIP}"));
    assert_eq!((run.status, run.out.as_str()), (1, ""));
    assert!(run.err.contains("/all/arp_ignore") && run.err.contains("read-only"), "{run:?}");
    assert_eq!((site.settings().as_str(), site.state_files()), ("0 0 0 0 | 127.0.0.1/8", 1));
    let out = site.good(&format!("undo --vip {VIP}"));
    assert!(out.contains("the setup no longer exists"), "{out}");
    assert_eq!((site.settings().as_str(), site.state_files()), ("0 0 0 0 | 127.0.0.1/8", 0));
}

#[test]
fn each_namespace_has_its_own_record_in_one_directory() {
    let (one, mut two) = (Site::new(), Site::new());
    two.state = tempfile::tempdir_in(one.state.path()).unwrap();
    let shared = one.state.path().join("state");
    std::fs::create_dir(&shared).unwrap();
    std::os::unix::fs::symlink(&shared, two.state.path().join("state")).unwrap();
    one.good(&format!("setup --vip {VIP}"));
    assert_eq!(two.realserver(&format!("undo --vip {VIP}")).status, 1);
    two.good(&format!("setup --vip {VIP}"));
    assert_eq!(one.state_files(), 2);
    one.good(&format!("undo --vip {VIP}"));
    assert_eq!(two.settings(), format!("1 2 1 2 | 127.0.0.1/8 {VIP}/32"));
    two.good(&format!("undo --vip {VIP}"));
}

#[test]
fn setup_refuses_conflicting_addresses_and_interfaces() {
    let site = Site::new();
    site.server.run(&format!("ip address add {VIP}/24 dev lo; ip address add {VIP2}/32 dev eth0"));
    let before = site.settings();
    let cases = [
        (format!("--vip {VIP}"), format!("ip address del {VIP}/24 dev lo")),
        (format!("--vip {VIP2}"), format!("ip address del {VIP2}/32 dev eth0")),
        ("--vip 10.77.0.152 --interface eth0".to_owned(), "lo is right".to_owned()),
        ("--vip 10.77.0.152 --interface eth9".to_owned(), "these can take it: lo".to_owned()),
    ];
    for (arguments, remedy) in cases {
        let run = site.realserver(&format!("setup {arguments}"));
        assert_eq!(run.status, 1, "{run:?}");
        assert!(run.err.contains(&remedy), "{run:?}");
    }
    assert_eq!(site.settings(), before);
}

#[test]
fn setup_of_the_own_address_does_not_advise_its_removal() {
    let site = Site::new();
    for command in ["setup", "check"] {
        let run = site.realserver(&format!("{command} --vip {RIP}"));
        let text = run.out + &run.err;
        assert!(run.status == 1 && text.contains("not the RIP") && !text.contains("address del"), "{text}");
    }
    let other = "ip link add other0 type veth peer name other1";
    site.server.run(&format!("{other}; ip address add {VIP}/24 dev other0"));
    for command in ["setup", "check"] {
        let run = site.realserver(&format!("{command} --vip {VIP}"));
        let text = run.out + &run.err;
        let removal = format!("ip address del {VIP}/24 dev other0");
        assert!(run.status == 1 && text.contains("if it is the RIP") && text.contains(&removal), "{text}");
    }
}

#[test]
fn another_interface_without_arp_can_carry_the_vip() {
    let site = Site::new();
    site.server.run("ip link add quiet0 type ifb");
    site.good(&format!("setup --vip {VIP} --interface quiet0"));
    assert!(site.server.run("ip -4 -o address show dev quiet0").contains(&format!("{VIP}/32")));
    assert!(!site.arping(VIP) && site.arping(RIP));
    site.good(&format!("undo --vip {VIP}"));
    assert_eq!(site.server.run("ip -4 -o address show dev quiet0"), "");
}

#[test]
fn check_explains_errors_and_needs_no_privilege() {
    let site = Site::new();
    let unprivileged =
        "setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps=-all --bounding-set=-all";
    let run = site.realserver_as(unprivileged, &format!("check --vip {VIP}"));
    assert_eq!((run.status, run.err.as_str()), (1, ""), "{run:?}");
    for part in [
        &format!("wrong: {VIP} is not on this host"),
        "black hole",
        "wrong: arp_ignore is 0 on eth0",
        "wrong: arp_announce is 0 on eth0",
        &format!(
            "ok: replies leave by the default route via {GATEWAY} on eth0; that must not be the director"
        ),
    ] {
        assert!(run.out.contains(part), "{part}: {run:?}");
    }
    site.good(&format!("setup --vip {VIP}"));
    let run = site.realserver_as(unprivileged, &format!("check --vip {VIP}"));
    assert_eq!((run.status, run.err.as_str()), (0, ""), "{run:?}");
    let mut others = run.out.lines().filter(|line| !line.starts_with("ok: "));
    let note = format!("note: no known configuration sets {VIP} up again after a reboot");
    assert!(others.next().is_some_and(|line| line.starts_with(&note)) && others.next().is_none(), "{run:?}");
    site.server.run("ip route del default; echo 3 > /proc/sys/net/ipv4/conf/eth0/arp_ignore");
    let run = site.realserver(&format!("check --vip {VIP}"));
    assert_eq!(run.status, 1);
    assert!(run.out.contains("wrong: there is no default route"), "{run:?}");
    assert!(run.out.contains("wrong: arp_ignore is 3 on eth0"), "{run:?}");
    assert!(site.arping(VIP), "arp_ignore is the larger value of all and eth0: 3 answers for the VIP");
}

#[test]
fn without_privilege_setup_and_undo_name_the_capability() {
    let site = Site::new();
    for action in ["setup", "undo"] {
        let run = site.realserver_as(
            "setpriv --bounding-set=-net_admin --inh-caps=-net_admin",
            &format!("{action} --vip {VIP}"),
        );
        assert_eq!((run.status, run.out.as_str()), (1, ""), "{run:?}");
        assert!(run.err.contains("CAP_NET_ADMIN"), "{run:?}");
    }
    assert_eq!(site.settings(), "0 0 0 0 | 127.0.0.1/8");
    assert_eq!(site.state_files(), 0);
}

#[test]
fn only_the_director_answers_arp_for_the_vip() {
    let site = Site::new();
    site.server.run(&format!("ip address add {VIP}/32 dev lo"));
    assert!(site.arping(VIP), "by default the kernel answers for a VIP on lo");
    site.good(&format!("setup --vip {VIP}"));
    assert!(!site.arping(VIP), "not after setup");
    assert!(site.arping(RIP), "still for the RIP");
    // Sends frames for the VIP to the server's MAC address, as a director does. The VIP has only the kernel's
    // local route, and replies have it as their source.
    let mac = site.server.run("cat /sys/class/net/eth0/address");
    site.gateway.run(&format!("ip neighbor replace {VIP} lladdr {} dev eth0", mac.trim()));
    assert!(!site.server.run("ip route show").contains(VIP));
    site.gateway.run(&format!("ping -c 1 -W 2 {VIP}"));
}

#[test]
fn arp_request_for_the_gateway_has_the_rip_as_sender() {
    let site = Site::new();
    site.server.run(&format!("ip address add {VIP}/32 dev lo"));
    assert_eq!(site.arp_sender(), VIP, "by default the sender is the VIP");
    site.good(&format!("setup --vip {VIP}"));
    assert_eq!(site.arp_sender(), RIP);
}

impl Site {
    /// The sender address of the server's ARP request for its gateway, for a packet from the VIP.
    fn arp_sender(&self) -> String {
        self.server.run("ip neighbor flush all");
        let sniff = format!(
            "exec tcpdump -lnn -i eth0 -c 1 arp and arp[7]=1 and arp[24:4]={:#x}",
            GATEWAY.parse::<std::net::Ipv4Addr>().unwrap().to_bits()
        );
        let log = self.state.path().join("tcpdump");
        let file = std::fs::File::create(&log).unwrap();
        let errors = self.state.path().join("tcpdump-errors");
        let mut command = self.gateway.command(&sniff);
        command.stdout(Stdio::from(file)).stderr(Stdio::from(std::fs::File::create(&errors).unwrap()));
        let _sniffer = Process(command.spawn().expect("tcpdump starts"));
        let read = |path| std::fs::read_to_string(path).unwrap();
        wait_until("tcpdump listens", Duration::from_secs(10), || read(&errors).contains("listening on"));
        // The ping itself gets no reply.
        let _ = self.server.command(&format!("ping -c 1 -W 1 -I {VIP} 192.0.2.1")).output();
        wait_until("an ARP request for the gateway", Duration::from_secs(10), || read(&log).contains("tell"));
        let line = read(&log);
        let (_, sender) = line.split_once(" tell ").expect("tcpdump prints the sender");
        sender.split(',').next().unwrap().to_owned()
    }
}

#[test]
fn invalid_arguments_end_with_status_2_and_a_remedy() {
    let cases = [
        ("setup", "--vip <IP>"),
        ("undo", "--vip <IP>"),
        ("check --vip 10.0.0.256", "write an IP address"),
        ("setup --vip www.example.org", "write an IP address"),
        ("setup --vip 10.0.0.1/32", "write an IP address"),
        ("setup --vip ::1", "this is a loopback address"),
        ("setup --vip fe80::1", "this is a link-local address"),
        ("setup --vip ::ffff:192.0.2.1", "this is an IPv4-mapped address"),
        ("setup --vip 2001:db8::80/128", "write an IP address"),
        ("setup --vip 224.0.0.1", "this is a multicast address"),
        ("setup --vip 127.0.0.1", "this is a loopback address"),
        ("setup --vip 0.0.0.0", "this is the unspecified address"),
        ("setup --vip 255.255.255.255", "this is the broadcast address"),
        ("tidy --vip 10.0.0.1", "unrecognized subcommand"),
        ("", "Usage"),
    ];
    for (arguments, part) in cases {
        let output =
            Command::new(BINARY).arg("realserver").args(arguments.split_whitespace()).output().unwrap();
        let run = ended(&output);
        assert_eq!((run.status, run.out.as_str()), (2, ""), "{arguments}: {run:?}");
        assert!(run.err.contains(part), "{arguments}: {run:?}");
    }
}
