//! Settings of host and interfaces that cost time or frames.
//!
//! Of what belongs to the whole machine the tests change no setting: within the mount namespace of the doctor's process
//! another file stands in place of the kernel's.

use crate::SERVICE;
use crate::support::netns::{Process, veth, wait_until};
use crate::support::site::{SOON, Site};
use serde_json::Value;
use std::fs;

const PING: &str = "[[service]]\nprotocol = \"tcp\"\naddress = \"10.0.0.100:80\"\n[[service.check]]\ntype = \"ping\"\n\
     [[service.server]]\naddress = \"10.0.0.2\"\n";
const XDP: &str = "backend = \"xdp\"\n";

impl Site {
    /// The finding of a doctor that reads `text` in place of a file of the kernel.
    fn finding_with(&self, config: &str, id: &str, (file, text): (&str, &str)) -> Value {
        let stand_in = self.file("stand-in");
        fs::write(&stand_in, text).unwrap();
        let wrapper = format!("mount --bind {} {file} && exec", stand_in.display());
        self.doctor_as(&wrapper, config, "--json").finding(id)
    }

    /// A process of this name in the director's network namespace.
    fn program(&self, name: &str) -> Process {
        let path = self.file(name);
        fs::copy("/bin/sleep", &path).unwrap();
        let mut command = self.director.command(&format!("exec {} 60", path.display()));
        let process = Process(command.spawn().unwrap());
        let comm = format!("/proc/{}/comm", process.0.id());
        let is_it = || fs::read_to_string(&comm).is_ok_and(|comm| name.starts_with(comm.trim()));
        wait_until("the program runs", SOON, is_it);
        process
    }
}

#[test]
fn ping_sockets_are_permitted_for_checks_that_ping() {
    let site = Site::new();
    let file = "/proc/sys/net/ipv4/ping_group_range";
    site.director.run(&format!("echo 1 0 > {file}"));
    assert_eq!(site.doctor(SERVICE).findings("ping-group"), [""; 0], "no check pings");
    site.mends(PING, ("ping-group", "warn"), &format!("echo \"0 2147483647\" > {file}"));
}

#[test]
fn a_check_that_pings_has_no_result_in_that_trap() {
    let site = Site::new();
    site.director.run("echo 1 0 > /proc/sys/net/ipv4/ping_group_range");
    let config = format!("backend = \"packet\"\nconnections = 1024\n{PING}");
    let _director = site.start_and_wait(&config, "");
    wait_until("the log names the setting", SOON, || site.log().contains("ping_group_range"));
    assert_eq!(site.doctor(&config).finding("ping-group")["level"], "warn");
}

#[test]
fn frames_that_the_kernel_spreads_are_left_to_the_workers() {
    let site = Site::new();
    site.director.run("ip link del eth0");
    veth((&site.director, "eth0"), (&site.peer, "eth0"), 2);
    site.director.run("ip address add 10.0.0.1/24 dev eth0");
    let queues = "/sys/class/net/eth0/queues/rx-*/rps_cpus";
    site.is_sound(SERVICE, "flow-steering");
    site.director.run("echo 1 > /sys/class/net/eth0/queues/rx-1/rps_cpus");
    let command = format!("for file in {queues}; do echo 0 > $file; done");
    site.mends(SERVICE, ("flow-steering", "hint"), &command);
}

#[test]
fn reports_of_impossible_sources_are_switched_off() {
    let site = Site::new();
    site.director.run("echo 1 > /proc/sys/net/ipv4/conf/eth0/log_martians");
    let conf = "/proc/sys/net/ipv4/conf";
    let command = format!("echo 0 > {conf}/all/log_martians && echo 0 > {conf}/eth0/log_martians");
    site.mends(SERVICE, ("log-martians", "hint"), &command);
}

#[test]
fn announcements_come_before_switches_forget() {
    let site = Site::new();
    site.is_sound(&format!("announce_interval = 600\n{SERVICE}"), "announce-interval");
    veth((&site.director, "eth1"), (&site.peer, "eth1"), 1);
    site.director.run("ip address add 10.1.0.1/24 dev eth1");
    let service = SERVICE.replace("10.0.0.2", "10.1.0.2");
    let of = |seconds: u32| format!("server_interface = \"eth1\"\nannounce_interval = {seconds}\n{service}");
    assert_eq!(site.doctor(&of(301)).finding("announce-interval")["level"], "warn");
    site.is_sound(&of(300), "announce-interval");
}

#[test]
fn a_port_that_waits_for_the_spanning_tree_is_named() {
    let site = Site::new();
    site.director.run(
        "ip link add br0 type bridge stp_state 1 forward_delay 200 && ip link set dev br0 up
         ip address del 10.0.0.1/24 dev eth0; ip address add 10.0.0.1/24 dev br0
         ip link set dev eth0 master br0",
    );
    let config = format!("interface = \"br0\"\n{SERVICE}");
    let found = site.doctor(&config).finding("spanning-tree");
    assert_eq!(found["level"], "warn", "{found}");
    assert!(
        found["what"].as_str().unwrap().contains("br0 has a spanning tree, and its port eth0 is l"),
        "{found}"
    );
    assert_eq!(found["remedy"]["command"], "ip link set dev br0 type bridge stp_state 0");
    site.director.run("ip link set dev br0 type bridge stp_state 0");
    wait_until("the port forwards", SOON, || site.doctor(&config).finding("spanning-tree")["level"] == "ok");
    assert!(site.answers("10.0.0.1"));
}

#[test]
fn an_address_with_a_lifetime_is_a_lease() {
    let site = Site::new();
    site.is_sound(SERVICE, "address-lease");
    site.director.run("ip address change 10.0.0.1/24 dev eth0 valid_lft 3600 preferred_lft 1800");
    let found = site.doctor(SERVICE).finding("address-lease");
    assert!(
        found["level"] == "warn" && found["what"].as_str().unwrap().contains("10.0.0.1 of eth0"),
        "{found}"
    );
    site.director.run("ip address change 10.0.0.1/24 dev eth0 valid_lft forever preferred_lft forever");
    site.is_sound(SERVICE, "address-lease");
}

#[test]
fn a_manager_of_the_interface_is_named() {
    let site = Site::new();
    let managed = |name: &str, state: &str, directory: &str| {
        let wrapper = format!(
            "mount -t tmpfs none /run && mkdir -p {directory} && \
             echo {state} > {directory}/$(cat /sys/class/net/eth0/ifindex) && exec"
        );
        let examined = site.doctor_as(&wrapper, SERVICE, "--json");
        let found = examined.finding("interface-manager");
        (found["level"] == "hint").then(|| found["what"].as_str().unwrap().contains(name))
    };
    for (name, state, unmanaged, directory) in [
        ("systemd-networkd", "ADMIN_STATE=configured", "ADMIN_STATE=unmanaged", "/run/systemd/netif/links"),
        ("NetworkManager", "managed=true", "managed=false", "/run/NetworkManager/devices"),
    ] {
        assert_eq!(managed(name, state, directory), None, "{name} does not run here");
        let _process = site.program(name);
        assert_eq!(managed(name, state, directory), Some(true), "{name}");
        assert_eq!(managed(name, unmanaged, directory), None, "{name} leaves it alone");
    }
}

#[test]
fn another_balancer_beside_the_director_is_named() {
    let site = Site::new();
    site.is_sound(SERVICE, "other-balancer");
    let process = site.program("keepalived");
    let found = site.doctor(SERVICE).finding("other-balancer");
    assert!(found["level"] == "hint" && found["what"].as_str().unwrap().contains("keepalived"), "{found}");
    drop(process);
    site.is_sound(SERVICE, "other-balancer");
}

#[test]
fn huge_pages_that_are_off_or_taken_are_found() {
    let site = Site::new();
    let (file, line) = ("/sys/kernel/mm/transparent_hugepage/enabled", "echo madvise > ");
    let found = site.finding_with(SERVICE, "huge-pages", (file, "always madvise [never]\n"));
    assert_eq!(
        (found["level"].as_str(), &found["remedy"]["command"]),
        (Some("hint"), &Value::from(format!("{line}{file}")))
    );
    let found = site.finding_with(SERVICE, "huge-pages", (file, "always [madvise] never\n"));
    assert_eq!(found["level"], "ok");
    let taken = ("/proc/meminfo", "HugePages_Total: 4\nHugePages_Free: 0\nHugePages_Rsvd: 0\n");
    for (backend, level) in [("xdp", "error"), ("auto", "warn")] {
        let config = format!("backend = \"{backend}\"\nhuge_pages = true\n{SERVICE}");
        let found = site.finding_with(&config, "huge-pages", taken);
        assert_eq!(found["level"], level, "{found}");
    }
}

#[test]
fn tables_of_the_kernel_that_fill_are_found() {
    let site = Site::new();
    let file = "/proc/sys/net/netfilter/nf_conntrack_count";
    let max = site.director.run("cat /proc/sys/net/netfilter/nf_conntrack_max");
    let max: u64 = max.trim().parse().unwrap();
    let found = site.finding_with(SERVICE, "conntrack", (file, &max.to_string()));
    let command = format!("echo {} > /proc/sys/net/netfilter/nf_conntrack_max", 2 * max);
    assert_eq!(
        (found["level"].as_str(), found["remedy"]["command"].as_str()),
        (Some("warn"), Some(command.as_str()))
    );
    site.is_sound(SERVICE, "conntrack");
    let full = "0eccaa94 00000000 00000021\n02d7f90e 0000000b 00000004\n";
    fs::write(site.file("softnet"), full).unwrap();
    // A file of this directory is looked up anew each time, which ends a mount.
    let stand_in = site.file("softnet").display().to_string();
    let wrapper =
        format!("mount -t tmpfs none /proc/$$/net && cp {stand_in} /proc/$$/net/softnet_stat && exec");
    let found = site.doctor_as(&wrapper, SERVICE, "--json").finding("backlog");
    assert!(found["level"] == "hint" && found["what"].as_str().unwrap().contains("dropped 11 "), "{found}");
    assert_eq!(site.doctor(&format!("{XDP}{SERVICE}")).findings("backlog"), [""; 0]);
}

#[test]
fn time_that_workers_do_not_get_is_found() {
    let site = Site::new();
    let found = site.finding_with(SERVICE, "steal-time", ("/proc/stat", "cpu  50 0 0 40 0 0 0 10 0 0\n"));
    assert!(found["level"] == "hint" && found["what"].as_str().unwrap().contains("10.0 %"), "{found}");
    let found = site.finding_with(SERVICE, "steal-time", ("/proc/stat", "cpu  50 0 0 50 0 0 0 0 0 0\n"));
    assert_eq!(found["level"], "ok", "{found}");
}

#[test]
fn deep_sleep_of_cores_is_found() {
    let site = Site::new();
    let state = "/sys/devices/system/cpu/cpu0/cpuidle/state1";
    if !std::path::Path::new(state).exists() {
        eprintln!("skipped: this kernel has no idle states");
        return;
    }
    let found = site.finding_with(SERVICE, "power-saving", (&format!("{state}/latency"), "133\n"));
    assert!(found["level"] == "hint" && found["what"].as_str().unwrap().contains("133 µs"), "{found}");
    let config = format!("wait = \"busy\"\n{SERVICE}");
    let found = site.finding_with(&config, "power-saving", (&format!("{state}/latency"), "133\n"));
    assert_eq!(found["level"], "ok", "{found}");
}
