//! The director's interface: XDP, queues, offloads, bridges, MTUs.

use crate::SERVICE;
use crate::support::netns::{Netns, veth};
use crate::support::site::Site;
use std::path::Path;
use std::process::Command;

const XDP: &str = "backend = \"xdp\"\n";

/// A site whose veth has so many queues each way at most, one of them in use.
fn with_queues(most: u32) -> Site {
    let (director, peer) = (Netns::new("d"), Netns::new("p"));
    veth((&director, "eth0"), (&peer, "eth0"), most);
    for (netns, address) in [(&director, "10.0.0.1"), (&peer, "10.0.0.2")] {
        netns.run(&format!("ethtool -L eth0 rx 1 tx 1; ip address add {address}/24 dev eth0"));
    }
    Site { director, peer, place: tempfile::tempdir().unwrap() }
}

impl Site {
    /// Moves the director's address to a bridge with eth0 as its port.
    fn bridged(self) -> Self {
        self.director.run(
            "ip link add br0 type bridge && ip link set dev eth0 master br0 && ip link set dev br0 up
             ip address del 10.0.0.1/24 dev eth0; ip address add 10.0.0.1/24 dev br0",
        );
        self
    }
}

fn on_bridge(config: &str) -> String {
    format!("interface = \"br0\"\n{config}{SERVICE}")
}

#[test]
fn a_foreign_xdp_program_is_removed() {
    let site = Site::new();
    let object = foreign_program(site.place.path());
    for (backend, level) in [("xdp", "error"), ("auto", "warn"), ("packet", "warn")] {
        site.director.run(&format!("ip link set dev eth0 xdp obj {object} sec xdp"));
        let config = format!("backend = \"{backend}\"\n{SERVICE}");
        assert!(
            site.doctor(&config).finding("foreign-xdp")["what"].as_str().unwrap().contains("takes_frames")
        );
        site.mends(&config, ("foreign-xdp", level), "ip link set dev eth0 xdp off");
    }
}

fn foreign_program(directory: &Path) -> String {
    let (source, object) = (directory.join("foreign.c"), directory.join("foreign.o"));
    let text = "__attribute__((section(\"xdp\"), used)) int takes_frames(void *context) { return 2; }\n\
                char _license[] __attribute__((section(\"license\"), used)) = \"MIT\";\n";
    std::fs::write(&source, text).unwrap();
    let mut clang = Command::new("clang");
    clang.args(["-target", "bpf", "-O2", "-g", "-c"]).arg(&source).arg("-o").arg(&object);
    assert!(clang.status().unwrap().success());
    object.display().to_string()
}

#[test]
fn a_program_of_a_running_director_is_not_foreign() {
    let site = Site::new();
    let _director = site.start_and_wait(&format!("{XDP}connections = 1024\n{SERVICE}"), "");
    assert!(site.director.run("ip -details link show dev eth0").contains("directrix_steer"));
    let examined = site.doctor(&format!("{XDP}{SERVICE}"));
    assert_eq!((examined.status, examined.finding("foreign-xdp")["level"].as_str()), (Some(0), Some("ok")));
}

#[test]
fn more_workers_than_queues_get_more_queues() {
    let site = with_queues(2);
    let config = format!("{XDP}workers = 2\n{SERVICE}");
    site.doctor(&config);
    let (status, text) = site.check_host();
    assert!(status == Some(1) && text.contains("2 workers"), "{text}");
    site.mends(&config, ("worker-queues", "error"), "ethtool -L eth0 rx 2 tx 2");
    let (status, text) = site.check_host();
    assert_eq!(status, Some(0), "{text}");
}

#[test]
fn workers_of_all_receive_queues_need_as_many_to_send() {
    let site = with_queues(2);
    site.director.run("ethtool -L eth0 rx 2");
    site.mends(&format!("{XDP}{SERVICE}"), ("worker-queues", "error"), "ethtool -L eth0 rx 2 tx 2");
}

#[test]
fn queues_added_under_a_running_director_are_found() {
    let site = with_queues(2);
    let config = format!("{XDP}connections = 1024\n{SERVICE}");
    let _director = site.start_and_wait(&config, "");
    site.is_sound(&config, "unserved-queues");
    assert_eq!(site.doctor(&config).finding("unserved-queues")["level"], "ok", "it is examined");
    site.director.run("ethtool -L eth0 rx 2 tx 2");
    site.mends(&config, ("unserved-queues", "error"), "ethtool -L eth0 rx 1 tx 1");
}

#[test]
fn a_single_queue_of_several_is_a_warning() {
    let site = with_queues(2);
    let cores = std::thread::available_parallelism().unwrap().get();
    assert!(cores > 1, "this takes a machine with two cores");
    site.is_sound(&format!("workers = 1\n{SERVICE}"), "single-queue");
    site.mends(SERVICE, ("single-queue", "warn"), "ethtool -L eth0 rx 2 tx 2");
}

#[test]
fn a_peer_that_sends_on_more_queues_prevents_xdp() {
    let site = with_queues(2);
    site.peer.run("ethtool -L eth0 tx 2");
    let refused = site.start_and_wait(&format!("{XDP}connections = 1024\n{SERVICE}"), "");
    assert!(site.log().contains("generic"), "{}", site.log());
    drop(refused);
    site.mends(&format!("{XDP}{SERVICE}"), ("veth-queues", "warn"), "ethtool -L eth0 rx 2 tx 2");
    let _native = site.start_and_wait(&format!("{XDP}connections = 1024\n{SERVICE}"), "");
    assert!(site.log().contains("native"), "{}", site.log());
}

#[test]
fn a_peer_with_more_queues_than_here_gets_fewer() {
    let site = with_queues(1);
    let peer = site.peer.name();
    site.director.run(&format!(
        "ip link del eth0; ip link add eth0 numrxqueues 1 numtxqueues 1 type veth peer name eth0 netns {peer} numrxqueues 2 numtxqueues 2
         ip link set dev eth0 up; ip address add 10.0.0.1/24 dev eth0"
    ));
    site.peer.run("ip link set dev eth0 up; ethtool -L eth0 tx 2; ethtool -K eth0 tx off");
    let command = format!("nsenter --net=/run/netns/{peer} ethtool -L eth0 tx 1");
    site.mends(SERVICE, ("veth-queues", "hint"), &command);
}

#[test]
fn unfinished_checksums_of_a_peer_are_finished() {
    let site = Site::new();
    for (backend, level) in [("xdp", "error"), ("auto", "hint")] {
        site.peer.run("ethtool -K eth0 tx on");
        let config = format!("backend = \"{backend}\"\n{SERVICE}");
        let command = format!("nsenter --net=/run/netns/{} ethtool -K eth0 tx off", site.peer.name());
        site.mends(&config, ("veth-checksums", level), &command);
    }
}

#[test]
fn features_that_merge_datagrams_are_switched_off() {
    let site = Site::new();
    for feature in ["rx-gro-list", "rx-udp-gro-forwarding"] {
        site.director.run(&format!("ethtool -K eth0 {feature} on"));
        let command = format!("ethtool -K eth0 {feature} off");
        site.mends(SERVICE, ("merged-frames", "warn"), &command);
    }
}

#[test]
fn a_bridge_has_no_native_xdp() {
    let site = Site::new().bridged();
    for (backend, level) in [("xdp", "warn"), ("auto", "hint")] {
        let found = site.doctor(&on_bridge(&format!("backend = \"{backend}\"\n"))).finding("native-xdp");
        assert_eq!(found["level"], level, "{found}");
    }
    assert_eq!(site.doctor(&on_bridge("backend = \"packet\"\n")).findings("native-xdp"), [""; 0]);
}

#[test]
fn a_veth_has_no_zero_copy() {
    let found = Site::new().doctor(&format!("{XDP}{SERVICE}")).finding("zero-copy");
    assert_eq!(found["level"], "hint", "{found}");
}

#[test]
fn frames_too_long_for_a_buffer_need_a_smaller_mtu() {
    let site = Site::new();
    site.peer.run("ip link set dev eth0 mtu 9000");
    site.director.run("ip link set dev eth0 mtu 9000");
    site.is_sound(&format!("{XDP}{SERVICE}"), "xdp-mtu");
    let site = site.bridged();
    site.mends(&on_bridge(XDP), ("xdp-mtu", "error"), "ip link set dev br0 mtu 3494");
}

#[test]
fn a_peer_with_a_larger_mtu_is_found() {
    let site = Site::new();
    site.peer.run("ip link set dev eth0 mtu 2000");
    let pings = |of| {
        site.peer
            .command(&format!("ping -q -c 1 -W 1 -M do -s {of} 10.0.0.1"))
            .output()
            .unwrap()
            .status
            .success()
    };
    assert!(pings(1400) && !pings(1900), "longer frames are lost");
    site.mends(SERVICE, ("mtu", "warn"), "ip link set dev eth0 mtu 2000");
    assert!(pings(1900));
}

#[test]
fn a_server_side_with_a_smaller_mtu_is_found() {
    let site = Site::new();
    veth((&site.director, "eth1"), (&site.peer, "eth1"), 1);
    site.peer.run("ip link set dev eth1 mtu 1400");
    site.director.run("ip address add 10.1.0.1/24 dev eth1; ip link set dev eth1 mtu 1400");
    let config = format!("server_interface = \"eth1\"\n{}", SERVICE.replace("10.0.0.2", "10.1.0.2"));
    site.mends(&config, ("mtu", "warn"), "ip link set dev eth1 mtu 1500");
}

#[test]
fn a_port_of_a_bridge_names_the_bridge() {
    let site = Site::new().bridged();
    let found = site.doctor(SERVICE).finding("bridge-port");
    assert_eq!(found["level"], "warn", "{found}");
    assert!(found["remedy"]["advice"].as_str().unwrap().contains("interface = \"br0\""), "{found}");
    site.is_sound(&on_bridge(""), "bridge-port");
    site.director.run("ip link set dev eth0 nomaster");
    site.is_sound(SERVICE, "bridge-port");
}

#[test]
fn filters_of_bridged_frames_are_switched_off() {
    let site = Site::new().bridged();
    let file = "/proc/sys/net/bridge/bridge-nf-call";
    site.director
        .run(&format!("echo 0 > {file}-ip6tables; echo 0 > {file}-arptables; echo 1 > {file}-iptables"));
    site.is_sound(&format!("interface = \"eth7\"\n{SERVICE}"), "bridge-netfilter");
    site.mends(&on_bridge(""), ("bridge-netfilter", "warn"), &format!("echo 0 > {file}-iptables"));
}
