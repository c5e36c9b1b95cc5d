//! `directrix save` and `directrix drain` as processes.
#![allow(missing_docs)]

mod fake_director;

use directrix::control::api::Server;
use directrix::control::query::Query;
use fake_director::{Answers, Director, directrix, fixtures, run};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::io::Read;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::process::Stdio;
use std::time::{Duration, Instant};

#[test]
fn save_writes_to_a_device_and_keeps_a_files_mode() {
    let director = Director::with(|query| match query {
        Query::Config(to) => drop(to.send("[director]\ninterface = \"eth0\"\n".into())),
        other => panic!("{other:?}"),
    });
    let (status, _, stderr) = run(&mut directrix(&director.socket(), "save -o /dev/full"));
    assert_eq!(
        (status, stderr.as_str()),
        (1, "directrix: /dev/full cannot be written: No space left on device (os error 28)\n")
    );
    assert!(fs::metadata("/dev/full").unwrap().file_type().is_char_device());
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("d.toml");
    fs::write(&path, "old").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let line = format!("save -o {}", path.display());
    assert_eq!(run(&mut directrix(&director.socket(), &line)), (0, String::new(), String::new()));
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
    assert_eq!(fs::read_to_string(&path).unwrap(), "[director]\ninterface = \"eth0\"\n");
}

/// A director that runs `edit` on its first service's servers at each query. Returns it with the drain's arguments.
fn draining(mut edit: impl FnMut(&mut Vec<Server>) + Send + 'static) -> (Director, String) {
    let mut services = fixtures::made_up();
    services.services.truncate(1);
    let service = services.services[0].identity.address().unwrap();
    let line = format!("drain tcp:{} {}", service.address, services.services[0].servers[0].address.ip());
    services.services[0].servers.truncate(1);
    let answers = Answers { services, ..Answers::default() };
    let director = Director::with(move |query| match query {
        Query::Services(to) => {
            let mut services = answers.services.clone();
            edit(&mut services.services[0].servers);
            drop(to.send(services));
        }
        Query::Change(_, _, to) => drop(to.send(Ok(Vec::new()))),
        other => answers.answer(other),
    });
    (director, line)
}

#[test]
fn drain_fails_if_another_change_ends_it() {
    let mut polls = 0;
    let (director, line) = draining(move |servers| {
        polls += 1;
        let (state, weight) = if polls < 3 { ("draining", 0) } else { ("reachable", 3) };
        servers[0] = Server { state: state.into(), weight, active: 2, inactive: 1, ..servers[0].clone() };
    });
    let (status, out, stderr) = run(&mut directrix(&director.socket(), &line));
    assert_eq!((status, out.as_str()), (1, "   0 s  2 active, 1 inactive connections\n"));
    assert!(
        stderr.contains(
            " was ended by another change: it has weight 3 and stays; drain it again if it shall go"
        ),
        "{stderr}"
    );
}

#[test]
fn drain_ends_when_the_server_is_removed() {
    let mut polls = 0;
    let (director, line) = draining(move |servers| {
        polls += 1;
        servers[0] = Server { state: "draining".into(), active: 3 - polls.min(3), ..servers[0].clone() };
        servers.truncate(usize::from(polls < 4)); // the first poll reads the weight before the drain
    });
    let (status, out, stderr) = run(&mut directrix(&director.socket(), &line));
    assert_eq!((status, stderr.as_str()), (0, ""));
    assert!(out.starts_with("   0 s  1 active") && out.ends_with("\nremoved\n"), "{out}");
}

#[test]
fn drain_deadline_cuts_connections_and_warns_of_the_file() {
    let mut answers = Answers { services: fixtures::made_up(), ..Answers::default() };
    answers.services.services.truncate(1);
    let service = &mut answers.services.services[0];
    service.servers.truncate(1);
    let (address, rip) = (service.identity.address().unwrap(), service.servers[0].address.ip());
    service.servers[0] =
        Server { state: "draining".into(), active: 19, inactive: 1, ..service.servers[0].clone() };
    answers.status.file.unsaved = vec![format!("- {address} -> {rip}")];
    let start = Instant::now();
    let director = Director::with(move |query| {
        if start.elapsed() > Duration::from_millis(1500) {
            answers.services.services[0].servers.clear();
        }
        match query {
            Query::Change(_, _, to) => drop(to.send(Ok(Vec::new()))),
            other => answers.answer(other),
        }
    });
    let line = format!("drain tcp:{} {rip} --deadline 1", address.address);
    let (status, out, stderr) = run(&mut directrix(&director.socket(), &line));
    assert_eq!((status, stderr.as_str()), (0, ""));
    assert!(out.contains("\nremoved at the deadline; 20 connections cut\n"), "{out}");
    assert!(out.contains(&format!("the configuration file still has {rip}: a reload")), "{out}");
}

#[test]
fn interrupted_drain_continues_with_a_message() {
    let (director, line) = draining(|servers| {
        servers[0] = Server { state: "draining".into(), weight: 0, active: 2, ..servers[0].clone() };
    });
    let mut command = directrix(&director.socket(), &line);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut first = [0; 1];
    child.stdout.as_mut().unwrap().read_exact(&mut first).unwrap(); // the drain is under way
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGINT).unwrap();
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(130), "{stderr}");
    assert!(
        stderr.contains("the drain continues: ") && stderr.contains("to end it: directrix ipvsadm -e -t "),
        "{stderr}"
    );
    assert!(stderr.ends_with(" -g -w 1\n"), "{stderr}");
}

#[test]
fn drain_explains_invalid_arguments() {
    for (arguments, message) in [
        (
            "tcp:10.9.0.100:80 10.9.0.12:80",
            "'10.9.0.12:80' for '<SERVER>': write the RIP without a port: 10.9.0.12",
        ),
        (
            "tcp:10.9.0.100:80 rs1",
            "'rs1' for '<SERVER>': write the RIP, as in 192.168.195.170 or 2001:db8::170",
        ),
        (
            "tcp:[2001:db8::80]:80 [2001:db8::9]",
            "'[2001:db8::9]' for '<SERVER>': write the RIP without brackets: 2001:db8::9",
        ),
        (
            "tcp:[2001:db8::80]:80 [2001:db8::9]:80",
            "'[2001:db8::9]:80' for '<SERVER>': write the RIP without a port: 2001:db8::9",
        ),
        (
            "tcp:2001:db8::80:80 2001:db8::9",
            "'tcp:2001:db8::80:80' for '<SERVICE>': write an IPv6 address in brackets: tcp:[2001:db8::80]:80",
        ),
        (
            "tcp:2001:db8:0:0:0:0:0:80 2001:db8::9",
            "write protocol, VIP and port, as in tcp:192.168.195.150:80 or tcp:[2001:db8::150]:80, or mark:7",
        ),
        ("tcp:10.9.0.100:80 10.9.0.12 --deadline 10m", "write whole seconds in digits: 600 is ten minutes"),
        ("mark:0 10.9.0.12", "write a firewall mark from 1 to 4294967295, as in mark:7, or mark:7:ipv6"),
        ("10.9.0.100:80 10.9.0.12", "write protocol, VIP and port, as in tcp:192.168.195.150:80"),
    ] {
        let (status, _, stderr) = run(&mut directrix("absent.sock".as_ref(), &format!("drain {arguments}")));
        assert_eq!(status, 2, "{stderr}");
        assert!(stderr.contains(message), "{stderr}");
    }
}
