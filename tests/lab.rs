//! The lab: small reference runs in all combinations, and complete removal.

use directrix::lab::verdict::{RunFinding, RunOutcome};
use directrix::lab::{
    Arp, ClientLoad, Console, Deployment, Family, Interrupt, LabBackend, LabHost, LabOptions, Layout,
    RunReport,
};
use directrix::model::DiagnosticKind;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

const EXE: &str = env!("CARGO_BIN_EXE_directrix");

/// Options with a name that no other lab has, so that tests run in parallel.
fn options() -> LabOptions {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    LabOptions::new(format!("dl{}n{number}", std::process::id()), EXE)
}

fn run(options: LabOptions) -> RunReport {
    run_load(options, ClientLoad { connections: 60, concurrency: 1 })
}

fn run_load(options: LabOptions, load: ClientLoad) -> RunReport {
    let name = options.name.clone();
    let deployment = Deployment::up(options, Console::silent(), Interrupt::never()).unwrap();
    let report = deployment.run(load).unwrap();
    deployment.down().unwrap();
    assert_nothing_left(&name);
    report
}

#[track_caller]
fn assert_good(report: &RunReport) {
    let bad: Vec<String> =
        report.findings.iter().filter(|f| f.outcome == RunOutcome::Failed).map(ToString::to_string).collect();
    assert!(report.is_good(), "{bad:#?}");
}

#[track_caller]
fn assert_nothing_left(name: &str) {
    for host in LabHost::ALL {
        let netns = format!("/run/netns/{name}-{host}");
        assert!(!Path::new(&netns).exists(), "{netns} is left");
    }
    assert!(!Path::new("/run/directrix-lab").join(name).exists(), "the state directory of {name} is left");
    assert_eq!(processes_of(name), Vec::<String>::new());
}

/// Processes with the lab's name in their command line or environment (`NOTIFY_SOCKET`, [`MARK`]).
fn processes_of(name: &str) -> Vec<String> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
    let others = entries.filter(|path| !path.ends_with(std::process::id().to_string()));
    let texts = others.filter_map(|path| {
        let line = std::fs::read(path.join("cmdline")).ok()?;
        let environment = std::fs::read(path.join("environ")).ok()?;
        Some(text(&[line, environment].concat()).replace('\0', " "))
    });
    let marks = [format!("/{name}/"), format!("{name}-"), format!("{MARK}={name} ")];
    texts.filter(|text| marks.iter().any(|mark| text.contains(mark))).collect()
}

/// Environment variable inherited by all processes of the lab.
const MARK: &str = "LAB_UNDER_TEST";

fn directrix(words: &[&str]) -> Output {
    Command::new(EXE).args(words).stdin(Stdio::null()).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn af_xdp_with_arp_sysctls() {
    assert_good(&run(LabOptions { backend: LabBackend::Xdp, ..options() }));
}

#[test]
fn af_packet_with_arp_sysctls() {
    assert_good(&run(LabOptions { backend: LabBackend::Packet, ..options() }));
}

/// The third finding fails unless the fault is there and the auditor names it.
#[test]
fn a_fault_on_purpose_is_named_and_mended() {
    for layout in [Layout::OneSubnet, Layout::TwoSubnets] {
        let options = LabOptions { layout, backend: LabBackend::Packet, family: Family::Both, ..options() };
        let name = options.name.clone();
        let deployment = Deployment::up(options, Console::silent(), Interrupt::never()).unwrap();
        let findings = deployment.show_fault().unwrap();
        let outcomes: Vec<_> = findings.iter().map(|finding| finding.outcome).collect();
        assert_eq!(outcomes, [RunOutcome::Ok; 3], "{layout:?} {findings:#?}");
        let value = deployment
            .command(LabHost::Rs2, ["sysctl", "-n", "net.ipv4.conf.all.arp_ignore"])
            .output()
            .unwrap();
        assert_eq!(text(&value.stdout).trim(), "1", "mended");
        deployment.down().unwrap();
        assert_nothing_left(&name);
    }
}

#[test]
fn arptables_on_the_real_servers() {
    assert_good(&run(LabOptions { arp: Arp::Arptables, ..options() }));
}

#[test]
fn a_static_entry_on_the_router() {
    let report = run(LabOptions { arp: Arp::Static, ..options() });
    assert_good(&report);
    let owners = &report.measurements[0].owners;
    assert!(owners.contains(&LabHost::Rs1.mac()), "real servers are unprotected here: {owners:?}");
}

#[test]
fn static_entries_of_ipv6() {
    for layout in [Layout::OneSubnet, Layout::TwoSubnets] {
        let family = Family::V6;
        let report = run(LabOptions { arp: Arp::Static, family, layout, ..options() });
        assert_good(&report);
        let owners = &report.measurements[0].owners;
        assert!(owners.contains(&LabHost::Rs1.mac()), "real servers answer for the VIP here: {owners:?}");
    }
}

#[test]
fn real_servers_in_a_private_subnet() {
    for backend in [LabBackend::Xdp, LabBackend::Packet] {
        assert_good(&run(LabOptions { layout: Layout::TwoSubnets, backend, ..options() }));
    }
}

/// With one worker the split is exact: two take the last frame of a connection and the first of the next in no order.
#[test]
fn the_reference_run_over_ipv6_is_exact() {
    for backend in [LabBackend::Xdp, LabBackend::Packet] {
        let director = vec![("workers".to_owned(), "1".to_owned())];
        let options = LabOptions { family: Family::V6, backend, director, ..options() };
        let report = run_load(options, ClientLoad::default());
        assert_good(&report);
        let [run] = &report.measurements[..] else { panic!("one run") };
        assert!(run.vip.is_ipv6());
        assert_eq!((run.answers.total(), run.table.service.connections), (5091, 5091));
        assert_eq!(["rs1", "rs2"].map(|name| run.answers.by_server[name]), [1697, 3394]);
        let servers = LabHost::REAL_SERVERS.map(|host| run.table.servers[&host].connections);
        assert_eq!(servers, [1697, 3394]);
        let director = LabHost::Director.mac();
        assert_eq!((&run.owners, run.router_entry), (&[director].into(), Some(director)));
        assert_eq!(run.sent_by(LabHost::Director).from_vip.frames, 0, "replies bypass the director");
        assert!(run.replies().frames > 5091, "{:?}", run.replies());
    }
}

#[test]
fn both_families_are_served_side_by_side() {
    for layout in [Layout::OneSubnet, Layout::TwoSubnets] {
        let report = run(LabOptions { family: Family::Both, layout, ..options() });
        assert_good(&report);
        assert_eq!(
            report.measurements.iter().map(|run| run.vip.is_ipv6()).collect::<Vec<_>>(),
            [false, true]
        );
    }
}

/// Answer of a web server of the lab to the client or the router.
fn page_for(deployment: &Deployment, host: LabHost, url: &str) -> String {
    let output = deployment.command(host, ["curl", "-sg", "--max-time", "5", url]).output().unwrap();
    text(&output.stdout).lines().next().unwrap_or_default().to_owned()
}

#[test]
fn ipv6_topology_delivers_to_real_servers() {
    for layout in [Layout::OneSubnet, Layout::TwoSubnets] {
        let options = LabOptions { family: Family::Both, layout, directs: false, ..options() };
        let deployment = Deployment::up(options, Console::silent(), Interrupt::never()).unwrap();
        let director = deployment.command(LabHost::Director, ["ip", "-6", "address"]).output().unwrap();
        assert!(!text(&director.stdout).contains("::150"), "the director has no VIP");
        for (server, name) in [(LabHost::Rs1, "rs1"), (LabHost::Rs2, "rs2")] {
            let own = server.ipv6_address(layout).unwrap();
            wait_until("the web server answers", || {
                page_for(&deployment, LabHost::Client, &format!("http://[{own}]/")) == name
            });
            // As from a director: frames for the VIP with the server's MAC address; replies have the VIP as source.
            let (mac, vip) = (server.mac().to_string(), "2001:db8:195::150");
            let words =
                ["ip", "-6", "neigh", "replace", vip, "lladdr", &mac, "dev", "eth0", "nud", "permanent"];
            assert!(deployment.command(LabHost::Router, words).status().unwrap().success());
            assert_eq!(page_for(&deployment, LabHost::Client, &format!("http://[{vip}]/")), name);
        }
        deployment.down().unwrap();
    }
}

#[test]
fn ipv6_vip_is_answered_by_no_real_server_on_lo() {
    for (arp, owners) in [(Arp::Sysctl, 0), (Arp::None, 2)] {
        let options = LabOptions { family: Family::V6, arp, directs: false, ..options() };
        let deployment = Deployment::up(options, Console::silent(), Interrupt::never()).unwrap();
        let usable = || {
            let addresses = deployment.command(LabHost::Router, ["ip", "-6", "address"]).output().unwrap();
            !text(&addresses.stdout).contains("tentative")
        };
        wait_until("the router's addresses are usable", usable);
        let words = [EXE, "lab", "arp-query", "eth0", "2001:db8:195::150"];
        let found = deployment.command(LabHost::Router, words).output().unwrap();
        assert_eq!(text(&found.stdout).lines().count(), owners, "{}", text(&found.stderr));
        deployment.down().unwrap();
    }
}

#[test]
fn real_servers_that_answer_arp_for_the_vip_are_reported() {
    let report = run(LabOptions { arp: Arp::None, ..options() });
    assert!(!report.is_good());
    let arp = report.findings.iter().find(|finding| finding.what.contains("ARP")).unwrap();
    assert!(
        arp.outcome == RunOutcome::Expected && arp.figures.contains("rs1") && arp.figures.contains("rs2"),
        "{arp}"
    );
}

#[test]
fn real_servers_that_advertise_the_vip_fail_as_expected() {
    let report = run(LabOptions { arp: Arp::None, family: Family::V6, ..options() });
    assert!(!report.is_good());
    let failed = |finding: &&RunFinding| finding.outcome == RunOutcome::Failed;
    let failed: Vec<_> = report.findings.iter().filter(failed).map(ToString::to_string).collect();
    assert_eq!(failed, Vec::<String>::new());
    let owners = &report.measurements[0].owners;
    assert!(owners.contains(&LabHost::Rs1.mac()) && owners.contains(&LabHost::Rs2.mac()), "{owners:?}");
}

#[test]
fn lab_of_both_families_shows_both() {
    let name = options().name;
    let up = directrix(&["lab", "up", "--name", &name, "--family", "both"]);
    let guard = Down(name.clone());
    let shown = text(&up.stdout);
    assert!(up.status.success(), "{}", text(&up.stderr));
    for part in [
        "VIP 192.168.195.150 on lo, weight 1",
        "VIP 2001:db8:195::150 on lo, weight 1",
        "client -- curl http://192.168.195.150:80/",
        "client -- curl 'http://[2001:db8:195::150]:80/'",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    drop(guard);
    assert_nothing_left(&name);
}

#[test]
fn many_connections_at_a_time_are_all_answered() {
    let deployment = Deployment::up(options(), Console::silent(), Interrupt::never()).unwrap();
    let report = deployment.run(ClientLoad { connections: 600, concurrency: 20 }).unwrap();
    assert_good(&report);
    // wlc: a server that closes its connections sooner gets more, so the shares only approximate the weights.
    let first = report.measurements[0].answers.by_server["rs1"];
    assert!((100..300).contains(&first), "{first} of 600 on the server of weight 1 of 3");
}

#[test]
fn failed_director_shows_its_log_and_is_removed() {
    let options = LabOptions { director: vec![("interface".into(), "\"nosuch0\"".into())], ..options() };
    let name = options.name.clone();
    let error = Deployment::up(options, Console::silent(), Interrupt::never()).err().unwrap();
    assert!(error.kind == DiagnosticKind::System && error.what.contains("nosuch0"), "{error}");
    assert_nothing_left(&name);
}

#[test]
fn up_shell_run_and_down_work_together() {
    let name = options().name;
    let up = directrix(&["lab", "up", "--name", &name]);
    let guard = Down(name.clone());
    assert!(up.status.success(), "{}", text(&up.stderr));
    assert!(text(&up.stdout).contains(&format!("ip netns add {name}-rs2")));

    let again = directrix(&["lab", "up", "--name", &name]);
    assert_eq!(again.status.code(), Some(2));
    assert!(
        text(&again.stderr).contains(&format!("directrix lab down --name {name}")),
        "{}",
        text(&again.stderr)
    );

    let address = directrix(&["lab", "shell", "--name", &name, "rs1", "--", "ip", "-4", "-o", "address"]);
    assert!(text(&address.stdout).contains("192.168.195.150/32"), "{}", text(&address.stderr));
    let table =
        directrix(&["lab", "shell", "--name", &name, "director", "--", "directrix", "ipvsadm", "-Ln"]);
    assert!(text(&table.stdout).contains("TCP  192.168.195.150:80 wlc"), "{}", text(&table.stderr));

    for _ in 0..2 {
        let run = directrix(&["lab", "run", "--name", &name, "--connections", "30"]);
        assert!(run.status.success(), "{}\n{}", text(&run.stdout), text(&run.stderr));
        assert!(text(&run.stdout).contains("30 of 30"));
    }
    drop(guard);
    assert_nothing_left(&name);

    let down = directrix(&["lab", "down", "--name", &name]);
    assert!(down.status.success() && text(&down.stdout).contains("is up"), "{}", text(&down.stderr));
    for words in [vec!["lab", "run", "--name", &name], vec!["lab", "shell", "--name", &name, "rs1"]] {
        let output = directrix(&words);
        assert_eq!(output.status.code(), Some(2));
        assert!(text(&output.stderr).contains("not up"), "{}", text(&output.stderr));
    }
}

#[test]
fn a_run_without_its_director_fails_with_the_log() {
    let deployment = Deployment::up(options(), Console::silent(), Interrupt::never()).unwrap();
    let director = deployment.process("director").unwrap();
    director.signal(nix::sys::signal::Signal::SIGKILL);
    wait_until("the end of the director", || !director.is_alive());
    let error = deployment.run(ClientLoad { connections: 3, concurrency: 1 }).unwrap_err();
    assert!(error.to_string().contains("director"), "{error}");
    assert!(error.to_string().contains("has ended; its log"), "{error}");
    let name = deployment.options().name.clone();
    deployment.down().unwrap();
    assert_nothing_left(&name);
}

#[test]
fn a_panic_removes_the_lab() {
    let options = options();
    let name = options.name.clone();
    let panicked = std::panic::catch_unwind(|| {
        let _deployment = Deployment::up(options, Console::silent(), Interrupt::never()).unwrap();
        assert!(Path::new(&format!("/run/netns/{name}-director")).exists());
        std::panic::resume_unwind(Box::new("on purpose"));
    });
    assert_eq!(panicked.unwrap_err().downcast_ref(), Some(&"on purpose"));
    assert_nothing_left(&name);
}

#[test]
fn ctrl_c_at_any_moment_leaves_nothing() {
    for milliseconds in [20, 150, 400, 900, 2500] {
        let name = options().name;
        let mut lab = Command::new(EXE);
        lab.args(["lab", "--name", &name, "--connections", "500000"]);
        let mut child = lab.env(MARK, &name).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(milliseconds));
        let pid = nix::unistd::Pid::from_raw(child.id().cast_signed());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
        let mut status = None;
        wait_until("the end of the lab", || {
            status = child.try_wait().unwrap();
            status.is_some()
        });
        // Before the signal handlers are installed the default action ends it; nothing is built yet.
        let code = status.and_then(|status| status.code());
        assert!(
            code == Some(130) || (code.is_none() && milliseconds == 20),
            "{status:?} after {milliseconds} ms"
        );
        assert_nothing_left(&name);
    }
}

#[test]
fn capture_has_each_frame_before_and_after_the_director() {
    let name = options().name;
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("run.pcapng");
    let output =
        directrix(&["lab", "--name", &name, "--connections", "3", "--pcap", &file.display().to_string()]);
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    let filter = "tcp[tcpflags] == tcp-syn and dst host 192.168.195.150";
    let read = Command::new("tcpdump").args(["-nttt", "-er"]).arg(&file).arg(filter).output().unwrap();
    let syns = text(&read.stdout);
    let to = |mac: &str| syns.lines().filter(|line| line.contains(&format!("> {mac}"))).count();
    assert_eq!(syns.lines().count(), 6, "{syns}{}", text(&read.stderr));
    assert_eq!(to("02:00:00:00:00:05"), 3, "from the router to the director: {syns}");
    assert_eq!(to("02:00:00:00:01:7"), 3, "from the director to the real servers: {syns}");
    assert_nothing_left(&name);
}

/// Runs `script` as an unprivileged user, as root of a user namespace of its own.
fn unshared(script: &str) -> Output {
    let words =
        ["--reuid", "65534", "--regid", "65534", "--clear-groups", "unshare", "-Urnm", "sh", "-c", script];
    Command::new("setpriv").args(words).stdin(Stdio::null()).output().unwrap()
}

#[test]
fn an_unprivileged_user_runs_a_lab_in_a_user_namespace() {
    if !unshared("true").status.success() {
        eprintln!("skipped: this kernel permits no unprivileged user namespaces");
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let exe = place.path().join("directrix");
    std::fs::copy(EXE, &exe).unwrap();
    std::fs::set_permissions(place.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let output = unshared(&format!("mount -t tmpfs tmpfs /run && {} lab --connections 6", exe.display()));
    let report = text(&output.stdout);
    assert!(output.status.success(), "{report}{}", text(&output.stderr));
    assert!(report.contains("6 of 6"), "{report}");
}

#[test]
fn invalid_options_are_refused_before_anything_is_built() {
    for (words, message) in [
        (vec!["lab", "--name", "a/b"], "cannot name a lab"),
        (vec!["lab", "--name", ""], "cannot name a lab"),
        (vec!["lab", "--connections", "0"], "write 1 or more"),
        (vec!["lab", "--concurrency", "1001"], "write a number from 1 to 1000"),
        (vec!["lab", "--backend", "dpdk"], "possible values: auto, xdp, packet"),
        (vec!["lab", "--arp", "off"], "possible values: sysctl, arptables, static, none"),
        (vec!["lab", "--layout", "three"], "possible values: one-subnet, two-subnets"),
        (vec!["lab", "--family", "5"], "possible values: 4, 6, both"),
        (vec!["lab", "--pcap", "/nowhere/x"], "/nowhere/x cannot be written: No such file or directory"),
        (vec!["lab", "shell", "rs3"], "possible values: client, router, switch, director, rs1, rs2"),
        (vec!["lab", "--backend", "xdp", "up"], "cannot be used with"),
    ] {
        let output = directrix(&words);
        assert_eq!(output.status.code(), Some(2), "{words:?}");
        assert!(text(&output.stderr).contains(message), "{words:?}: {}", text(&output.stderr));
    }
}

/// Removes a lab by `directrix lab down` on drop, also when the test fails.
struct Down(String);

impl Drop for Down {
    fn drop(&mut self) {
        let output = directrix(&["lab", "down", "--name", &self.0]);
        assert!(output.status.success() || std::thread::panicking(), "{}", text(&output.stderr));
    }
}

#[track_caller]
fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !done() {
        assert!(Instant::now() < end, "not within 30 s: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Runs `lab ha` with these options, and returns its report.
fn drill(words: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let name = format!("dh{}n{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let mut command = Command::new(EXE);
    command.args(["lab", "ha", "--connections", "100", "--name", &name]).args(words.split_whitespace());
    let output = command.stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let left = std::fs::read_dir("/run/netns").unwrap().flatten();
    let left: Vec<_> = left.filter(|entry| entry.file_name().to_string_lossy().starts_with(&name)).collect();
    assert!(left.is_empty() && !Path::new(&format!("/run/directrix-lab-ha-{name}")).exists(), "{left:?}");
    assert_eq!(processes_of(&name), Vec::<String>::new());
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{text}{error}");
    text.rsplit_once("# What was lost\n").unwrap().1.to_owned()
}

#[test]
fn two_directors_lose_no_connection_of_ipv4_over_af_xdp() {
    assert_drill(&drill("--backend xdp"));
}

#[test]
fn two_directors_lose_no_connection_of_ipv6_over_af_packet() {
    assert_drill(&drill("--backend packet --ipv6 --kills 2"));
}

/// Each event has its line. That too much was lost is the exit status.
#[track_caller]
fn assert_drill(report: &str) {
    for event in ["planned switch", "kill -9", "link pulled", "restart", "upgrade"] {
        assert_eq!(report.lines().filter(|line| line.starts_with(event)).count(), 1, "{event}: {report}");
    }
}
