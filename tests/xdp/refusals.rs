//! Refused starts: each names its cause and leaves the interface unchanged.

use crate::harness::{Net, PATIENCE, Setup, VIP, bounced, datagram, next, udp, with_director};
use crate::support::netns::{Netns, Process, wait_until};
use directrix::io::xdp;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};

fn has_program(net: &Netns) -> bool {
    net.run("ip -details link show dev eth0").contains("prog/xdp")
}

/// A process that another test's thread is just starting holds a copy of the link for a moment.
fn wait_until_detached(net: &Netns) {
    wait_until("the program is gone", PATIENCE, || !has_program(net));
}

/// The refusal of a plan, as a user reads it.
fn refusal(net: &Net, setup: &Setup) -> String {
    let open = || xdp::open(&setup.plan()).map(|_| ()).expect_err("it is refused").to_string();
    net.director.enter(open)
}

#[test]
fn the_program_is_there_while_it_steers_and_not_after() {
    let net = Net::new(1);
    let wire = net.peer_wire();
    let setup = Setup::new(&[udp(VIP, 53)]);
    let frame = datagram((VIP, 53), 9, b"again");
    for _ in 0..3 {
        with_director(&net.director, &setup, || {
            assert!(has_program(&net.director));
            wire.send(&frame);
            assert_eq!(next(&wire, PATIENCE), Some(bounced(&frame)));
        });
        wait_until_detached(&net.director);
    }
    net.peer.run("ping -c 1 -W 2 10.0.0.1");
}

#[test]
fn stopping_detaches_and_starting_again_attaches() {
    let net = Net::new(1);
    net.director.enter(|| {
        let mut opened = xdp::open(&Setup::new(&[]).plan()).unwrap();
        opened.steering.start().unwrap();
        opened.steering.stop();
        wait_until_detached(&net.director);
        opened.steering.start().unwrap();
        assert!(has_program(&net.director));
        drop(opened.steering);
        wait_until_detached(&net.director);
    });
}

#[test]
fn a_second_director_is_refused_by_name() {
    let net = Net::new(1);
    let setup = Setup::new(&[]);
    with_director(&net.director, &setup, || {
        let refusal = refusal(&net, &setup);
        assert!(refusal.contains("EBUSY") && refusal.contains("another directrix"), "{refusal}");
    });
}

#[test]
fn a_foreign_program_is_named_and_stays() {
    let net = Net::new(1);
    let directory = tempfile::tempdir().unwrap();
    let object = compile(directory.path(), "int somebody_else(void *context) { return 2; }");
    net.director.run(&format!("ip link set dev eth0 xdp obj {object} sec xdp"));
    let refusal = refusal(&net, &Setup::new(&[]));
    for part in ["EBUSY", "somebody_else", "ip link set dev eth0 xdp off"] {
        assert!(refusal.contains(part), "{part}: {refusal}");
    }
    assert!(has_program(&net.director), "it was not touched");
    net.director.run("ip link set dev eth0 xdp off");
    with_director(&net.director, &Setup::new(&[]), || ());
}

fn compile(directory: &Path, function: &str) -> String {
    let (source, object) = (directory.join("foreign.c"), directory.join("foreign.o"));
    let text = format!("__attribute__((section(\"xdp\"), used)) {function}\n");
    let license = "char _license[] __attribute__((section(\"license\"), used)) = \"MIT\";\n";
    std::fs::write(&source, text + license).unwrap();
    let status = Command::new("clang")
        .args(["-target", "bpf", "-O2", "-g", "-c"])
        .arg(&source)
        .arg("-o")
        .arg(&object)
        .status();
    assert!(status.unwrap().success());
    object.to_str().unwrap().to_owned()
}

#[test]
fn more_workers_than_queues_are_refused() {
    let (net, _server) = Net::with_server(1);
    let three = Setup { workers: Some(3), ..Setup::new(&[]) };
    let refused = refusal(&net, &three);
    assert!(refused.contains("eth0 has 1 receive queue") && refused.contains("workers = 1"), "{refused}");
}

#[test]
fn a_worker_without_a_queue_to_the_server_is_refused() {
    let (net, _server) = Net::with_server(2);
    net.director.run("ethtool -L eth1 rx 2 tx 1");
    let two = Setup { interfaces: vec!["eth0", "eth1"], workers: Some(2), ..Setup::new(&[]) };
    let refused = refusal(&net, &two);
    assert!(refused.contains("eth1 has 1 transmit queue"), "{refused}");
}

const CHILD: &str = "DIRECTRIX_TEST_CHILD";

/// Not a test of its own: a director in a process of its own, for the tests below.
#[test]
#[ignore = "runs as the child of other tests"]
fn child() {
    assert!(std::env::var_os(CHILD).is_some(), "only as a child");
    let mut opened = xdp::open(&Setup::new(&[]).plan()).unwrap();
    opened.steering.start().unwrap();
    opened.steering.update(&[udp(VIP, 53)]).unwrap();
    std::thread::sleep(PATIENCE * 6);
}

fn start_child(net: &Net, prefix: &str) -> Process {
    let itself = std::env::current_exe().unwrap();
    let command = format!("exec {prefix} {} --exact refusals::child --ignored", itself.display());
    let mut command = net.director.command(&command);
    command.env(CHILD, "1").env("RUST_BACKTRACE", "0").stdout(Stdio::piped()).stderr(Stdio::null());
    Process(command.spawn().unwrap())
}

/// Runs what follows as root, but with these capabilities only.
fn with_capabilities(list: &str) -> String {
    format!("setpriv --bounding-set {list} --inh-caps {list}")
}

#[test]
fn the_named_capabilities_are_enough() {
    let net = Net::new(1);
    let named = "-all,+net_admin,+net_raw,+bpf,+perfmon,+ipc_lock";
    let mut child = start_child(&net, &with_capabilities(named));
    wait_until("the child steers", PATIENCE, || {
        assert!(child.0.try_wait().unwrap().is_none(), "the child has failed");
        has_program(&net.director)
    });
}

#[test]
fn missing_capabilities_are_named() {
    let net = Net::new(1);
    for list in ["-all", "-all,+net_raw,+ipc_lock", "-all,+net_admin,+net_raw,+bpf,+ipc_lock"] {
        let mut child = start_child(&net, &with_capabilities(list));
        let mut output = String::new();
        child.0.stdout.take().unwrap().read_to_string(&mut output).unwrap();
        let named = output.contains("EPERM") || output.contains("EACCES");
        assert!(named && output.contains("cap_net_raw,cap_bpf,cap_perfmon"), "{list}: {output}");
    }
}

#[test]
fn a_killed_director_leaves_nothing_behind() {
    let net = Net::new(1);
    let wire = net.peer_wire();
    let mut child = start_child(&net, "");
    wait_until("the child steers", PATIENCE, || has_program(&net.director));
    child.0.kill().unwrap(); // SIGKILL
    child.0.wait().unwrap();
    wait_until_detached(&net.director);
    net.peer.run("ping -c 1 -W 2 10.0.0.1");
    let frame = datagram((VIP, 53), 9, b"a new director");
    with_director(&net.director, &Setup::new(&[udp(VIP, 53)]), || {
        wire.send(&frame);
        assert_eq!(next(&wire, PATIENCE), Some(bounced(&frame)));
    });
}
