//! `run --check=host`: checks of the host, without a start.

use crate::CONFIG;
use crate::support::site::{EXE, Site};

impl Site {
    /// Exit status and output of `directrix run --check WHAT` of a file with `config`.
    fn check(&self, config: &str, what: &str) -> (i32, String) {
        let file = self.file("director.toml");
        std::fs::write(&file, format!("[director]\ninterface = \"eth0\"\n{config}")).unwrap();
        let output =
            self.director.run(&format!("{EXE} run --config {} {what} 2>&1; echo $?", file.display()));
        let (output, status) = output.trim_end().rsplit_once('\n').unwrap_or(("", output.trim_end()));
        (status.parse().unwrap(), output.to_owned())
    }
}

#[test]
fn a_correct_host_passes() {
    let site = Site::new();
    let (status, output) = site.check(CONFIG, "--check=host");
    assert!(
        status == 0 && output.ends_with("1 service, no errors; this host has what it names"),
        "{status}: {output}"
    );
    assert!(!site.socket().exists(), "no director was started");
}

#[test]
fn errors_of_the_host_give_status_1() {
    let with = |line: &str| format!("{line}\n{CONFIG}");
    let cases = [
        (
            "true",
            with("user = \"no-such-user\""),
            "director.toml:3: user \"no-such-user\": there is no such user",
        ),
        ("true", with("control_group = \"no-such-group\""), "this host has no such group"),
        ("true", with("server_interface = \"eth7\""), "there is no interface of that name here"),
        (
            "true",
            CONFIG.replace("packet", "xdp").replace("connections", "workers = 99\nconnections"),
            "99 workers",
        ),
        ("true", CONFIG.replace("connections", "workers = 999\nconnections"), "999 workers"),
        (
            "true",
            CONFIG.replace("10.0.0.100", "10.0.0.255"),
            "it is the broadcast address of 10.0.0.0/24 on eth0",
        ),
        (
            "true",
            CONFIG.replace("10.0.0.2\"", "10.0.0.0\""),
            "it is the network address of 10.0.0.0/24 on eth0",
        ),
        ("true", CONFIG.replace("10.0.0.2\"", "10.9.9.9\""), "real server 10.9.9.9 is not on-link"),
        ("ip link set eth0 down", CONFIG.to_owned(), "it is down"),
        ("ip address flush dev eth0", CONFIG.to_owned(), "eth0 has no IPv4 address"),
    ];
    for (change, config, words) in cases {
        let site = Site::new();
        site.director.run(change);
        let (status, output) = site.check(&config, "--check=host");
        assert!(status == 1 && output.contains(words), "{words}: {status}: {output}");
        let (status, output) = site.check(&config, "--check");
        assert!(
            status == 0 && output.ends_with("1 service, no errors"),
            "the file has no errors: {status}: {output}"
        );
    }
    let site = Site::new();
    site.peer.run("ip link set eth0 down");
    let (status, output) = site.check(CONFIG, "--check=host");
    assert!(status == 1 && output.contains("eth0 has no carrier"), "{status}: {output}");
}

#[test]
fn errors_of_the_file_give_status_2() {
    let site = Site::new();
    for what in ["--check", "--check=file", "--check=host"] {
        let (status, output) = site.check("interfaces = 1\n", what);
        assert!(status == 2 && output.contains("director.toml:3"), "{status}: {output}");
    }
    let (status, output) = site.check(CONFIG, "--check=hots");
    assert!(status == 2 && output.contains("host"), "{status}: {output}");
}

#[test]
fn likely_mistakes_give_notes() {
    let site = Site::new();
    site.director.run("ip address add 10.0.0.100/32 dev eth0");
    let more = "weight = 0\n[[service]]\nprotocol = \"udp\"\naddress = \"10.8.0.2:53\"\n";
    let (status, output) = site.check(&format!("{CONFIG}{more}"), "--check=host");
    assert_eq!(status, 0, "{output}");
    for note in [
        "note: the VIP 10.0.0.100 is an address of this host: ip address del 10.0.0.100/32 dev eth0",
        "note: no network of eth0 holds 10.8.0.2",
        "note: every real server of TCP 10.0.0.100:80 has weight 0",
    ] {
        assert!(output.contains(note), "{note}: {output}");
    }
}

#[test]
fn a_check_leaves_a_running_director_alone() {
    let site = Site::new();
    let _director = site.start_and_wait(CONFIG, "");
    let before = site.log();
    let (status, output) = site.check(CONFIG, "--check=host");
    assert!(
        status == 0 && output.contains("note: eth0 is served by a running directrix"),
        "{status}: {output}"
    );
    assert_eq!(site.log(), before);
    assert_eq!(site.run("ipvsadm -Ln").0, Some(0));
}
