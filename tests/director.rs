//! The director as a process: how it starts, and how it ends. Needs root.

mod support;

#[path = "director/audit.rs"]
mod audit;
#[path = "director/availability.rs"]
mod availability;
#[path = "director/debug.rs"]
mod debug;
#[path = "director/socket.rs"]
mod socket;
#[path = "director/status.rs"]
mod status;

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use support::netns::{Process, wait_until};
use support::site::{EXE, SOON, Site, end};

/// Serves 10.0.0.100:80 by the peer.
fn config(backend: &str, connections: u32) -> String {
    format!(
        "backend = \"{backend}\"\nconnections = {connections}\n\
         [[service]]\nprotocol = \"tcp\"\naddress = \"10.0.0.100:80\"\n\
         [[service.server]]\naddress = \"10.0.0.2\"\n"
    )
}

impl Site {
    /// `directrix WORDS` about this director: its exit status and all that it prints.
    fn run(&self, words: &str) -> (Option<i32>, String) {
        let mut command = Command::new(EXE);
        command.arg("--socket").arg(self.socket()).args(words.split_whitespace()).stdin(Stdio::null());
        let output = command.output().expect("it is built");
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(text).expect("it prints text"))
    }

    fn run_ok(&self, words: &str) -> String {
        let (status, text) = self.run(words);
        assert_eq!(status, Some(0), "{words}: {text}");
        text
    }

    /// The director's services, line by line.
    fn rules(&self) -> String {
        self.run_ok("ipvsadm -S -n")
    }

    /// Adds to the configuration file.
    fn append(&self, text: &str) {
        let path = self.file("director.toml");
        let before = fs::read_to_string(&path).expect("it is there");
        fs::write(path, before + text).expect("the place is writable");
    }
}

fn terminate(process: &Process) {
    let pid = nix::unistd::Pid::from_raw(process.0.id().cast_signed());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).expect("it is a child of this process");
}

#[test]
fn a_termination_while_it_starts_leaves_nothing_behind() {
    for backend in ["xdp", "packet"] {
        let site = Site::new();
        // So many that setting up takes a while after the socket is there.
        let mut director = site.start(&config(backend, 1 << 22), "");
        wait_until("the socket", SOON, || site.socket().exists());
        terminate(&director);
        assert_eq!(end(&mut director), Some(0), "{}", site.log());
        assert!(!site.socket().exists(), "{backend}");
    }
}

#[test]
fn removed_interface_ends_the_director_with_an_error() {
    for backend in ["xdp", "packet"] {
        let site = Site::new();
        let mut director = site.start_and_wait(&config(backend, 1024), "");
        site.peer.run("ip link delete eth0");
        assert_eq!(end(&mut director), Some(1), "{}", site.log());
        let log = site.log();
        assert!(log.contains("eth0") && log.contains("is gone"), "{log}");
        assert!(!site.socket().exists());
    }
}

#[test]
fn changed_mac_address_ends_the_director_with_an_error() {
    let site = Site::new();
    let mut director = site.start_and_wait(&config("packet", 1024), "");
    site.director.run("ip link set dev eth0 address 02:00:00:00:00:77");
    assert_eq!(end(&mut director), Some(1), "{}", site.log());
    let log = site.log();
    assert!(log.contains("eth0") && log.contains("02:00:00:00:00:77"), "{log}");
}

#[test]
fn a_large_empty_table_is_listed_at_once() {
    let site = Site::new();
    let _director = site.start_and_wait(&config("packet", 1 << 23), "");
    let start = Instant::now();
    let socket = site.socket().display().to_string();
    let listed = site.director.run(&format!("{EXE} --socket {socket} ipvsadm -Lnc"));
    assert!(listed.starts_with("IPVS connection entries"), "{listed}");
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
}

#[test]
fn a_lost_address_refuses_no_other_change() {
    let site = Site::new();
    let _director = site.start_and_wait(&config("packet", 1024), "");
    site.run_ok("ipvsadm -A -t 10.0.0.101:80");
    site.run_ok("ipvsadm -a -t 10.0.0.101:80 -r 10.0.0.3 -g -w 1");
    site.director.run("ip address del 10.0.0.1/24 dev eth0");

    site.run_ok("ipvsadm -e -t 10.0.0.101:80 -r 10.0.0.3 -g -w 7");
    let rules = site.rules();
    assert!(rules.contains("-r 10.0.0.3:80 -g -w 7\n"), "{rules}");

    let complaint = "real server 10.0.0.4 is not on-link: eth0 has no IPv4 address";
    let (status, text) = site.run("ipvsadm -a -t 10.0.0.101:80 -r 10.0.0.4 -g");
    assert!(status != Some(0) && text.contains(complaint), "{text}");
    site.append("[[service.server]]\naddress = \"10.0.0.4\"\n");
    let (status, text) = site.run("reload");
    assert!(status != Some(0) && text.contains(complaint) && text.contains("director.toml:11"), "{text}");
    assert_eq!(site.rules(), rules, "nothing has changed");

    site.append(
        "mac = \"02:00:00:00:00:04\"\n[[service]]\nprotocol = \"udp\"\naddress = \"10.0.0.100:53\"\n",
    );
    site.run_ok("reload");
    let rules = site.rules();
    assert!(rules.contains("-u 10.0.0.100:53") && !rules.contains("10.0.0.101"), "{rules}");
    site.director.run("ip address add 10.0.0.1/24 dev eth0");
    site.run_ok("ipvsadm -a -u 10.0.0.100:53 -r 10.0.0.5 -g");
}

#[test]
fn disabled_ipv6_is_the_cause_and_its_remedy_works() {
    let site = Site::new();
    let _director = site.start_and_wait(&config("packet", 1024), "");
    site.director.run("sysctl -qw net.ipv6.conf.eth0.disable_ipv6=1");
    site.run_ok("ipvsadm -A -t [2001:db8::80]:80");
    let add = "ipvsadm -a -t [2001:db8::80]:80 -r 2001:db8::9 -g";
    let (status, text) = site.run(add);
    let (cause, remedy) = ("as its sysctl disable_ipv6 is 1", "sysctl net/ipv6/conf/eth0/disable_ipv6=0");
    assert!(status != Some(0) && text.contains(cause) && text.contains(remedy), "{text}");
    site.director.run(&format!("{remedy} && ip address add 2001:db8::1/64 dev eth0 nodad"));
    site.run_ok(add);
}
