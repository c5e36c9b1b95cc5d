//! `directrix top` in a terminal emulator.

mod fake_director;
mod tmux;

use directrix::control::api::request::ChangeRequest;
use directrix::control::api::{Drops, Latency, Port, Worker};
use directrix::control::query::Query;
use directrix::wire::Protocol;
use fake_director::fixtures::{address, server, service};
use fake_director::{Answers, Director, directrix, run};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;
use std::thread::sleep;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tmux::Terminal;

fn answers() -> Answers {
    let servers = vec![server("10.0.0.1:80", 1, 60, 0), server("10.0.0.2:80", 3, 60, 0)];
    let drops = [("ring_full", 0), ("checksum", 40)].map(|(reason, frames)| Drops {
        reason: reason.to_owned(),
        frames,
        explanation: format!("What {reason} means."),
    });
    let mut answers = Answers { drops: drops.to_vec(), workers: vec![worker()], ..Answers::default() };
    answers.services.services = vec![service(Protocol::Tcp, "192.0.2.10:80", "wlc", servers)];
    answers
}

fn worker() -> Worker {
    let port = |interface: &str| Port {
        interface: interface.to_owned(),
        queue: 0,
        mode: "ring".to_owned(),
        receive: 1,
        transmit: 2,
        fill: 0,
    };
    Worker {
        worker: 0,
        core: Some(1),
        backend: "packet".to_owned(),
        ports: vec![port("eth0")],
        received: 25_495,
        forwarded: 25_455,
        dropped: 40,
        lost: 0,
        batches: 9000,
        sleeps: 12,
        entries: 120,
        expired: 0,
        evicted: 0,
        handed_over: 0,
        latency: Latency { samples: 100, p50_ns: 900, p90_ns: 1500, p99_ns: 3000, max_ns: 70_000 },
    }
}

/// A socket path for several directors, one after the other.
struct Socket(TempDir);

impl Socket {
    fn of(director: &Director) -> Self {
        let socket = Self(tempfile::tempdir().unwrap());
        symlink(director.socket(), socket.path()).unwrap();
        socket
    }

    fn pass_to(&self, director: &Director) {
        fs::remove_file(self.path()).unwrap();
        symlink(director.socket(), self.path()).unwrap();
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("control.sock")
    }
}

/// Runs `directrix top` in a terminal of 80 × 24, then prints its exit status.
fn top(socket: &Path) -> Terminal {
    let binary = env!("CARGO_BIN_EXE_directrix");
    let command = format!("{binary} --socket {} top --interval 0.1; echo status $?", socket.display());
    let terminal = Terminal::running(&command, (80, 24));
    terminal.wait_for("[Services]");
    terminal
}

#[test]
fn session_from_start_to_quit() {
    let director = Director::answering(answers());
    let terminal = top(&director.socket());
    let screen = terminal.wait_for("120 of 4096 entries");
    assert!(screen.contains(">TCP 192.0.2.10:80 wlc"), "{screen}");
    assert!(screen.contains("  10.0.0.1:80           1 ██│█▌         60     0"), "{screen}");
    assert!(screen.contains("  10.0.0.2:80           3 ████▌ │       60     0"), "{screen}");

    terminal.keys("Down");
    terminal.wait_for("> 10.0.0.1:80");
    terminal.keys("Enter");
    terminal.wait_for("50.0 % of the connections, 25.0 % of the weight");
    terminal.keys("Escape");
    terminal.wait_for("Enter zoom");

    terminal.keys("s s");
    terminal.wait_for("▼Share");
    terminal.keys("r");
    terminal.wait_for("▲Share");

    terminal.keys("Right");
    terminal.wait_for("eth0 queue 0, packet ring: receive 1  transmit 2");
    terminal.keys("Tab");
    terminal.wait_for("nothing dropped since this screen started");
    terminal.keys("a");
    terminal.wait_for("checksum");

    terminal.keys("?");
    terminal.wait_for("press any key to return");
    terminal.keys("x");
    terminal.wait_for("[Drops]");

    terminal.keys("q");
    let left = terminal.wait_for("status 0");
    assert!(!left.contains("[Drops]"), "the shell has its screen back: {left}");
    assert!(terminal.cursor_is_shown());
}

#[test]
fn drain_is_confirmed_and_shown() {
    let mut answers = answers();
    let director = Director::with(move |query| match query {
        Query::Change(requests, _, to) => {
            let drained = &mut answers.services.services[0].servers[0];
            let ChangeRequest::Drain { server, deadline: None, .. } = requests[0] else {
                panic!("{requests:?}")
            };
            assert_eq!((requests.len(), server), (1, drained.address.ip()));
            (drained.weight, drained.state) = (0, "draining".to_owned());
            drop(to.send(Ok(Vec::new())));
        }
        query => answers.answer(query),
    });
    let terminal = top(&director.socket());
    terminal.keys("Down d");
    terminal.wait_for("Drain 10.0.0.1:80 of TCP 192.0.2.10:80? y/n");
    terminal.keys("n");
    terminal.wait_for("Enter zoom");
    terminal.keys("d y");
    terminal.wait_for("10.0.0.1:80 gets no new connections, and is removed once it has none");
    let screen = terminal.wait_for("draining");
    assert!(screen.contains("> 10.0.0.1:80           0 "), "{screen}");
}

#[test]
fn drain_with_a_deadline() {
    let (answers, (sender, received)) = (answers(), channel());
    let director = Director::with(move |query| match query {
        Query::Change(requests, _, to) => {
            sender.send(requests).unwrap();
            drop(to.send(Ok(Vec::new())));
        }
        query => answers.answer(query),
    });
    let terminal = top(&director.socket());
    terminal.keys("Down d");
    terminal.wait_for("Drain 10.0.0.1:80 of TCP 192.0.2.10:80? y/n, or a deadline in seconds");
    terminal.keys("6 0 0 BSpace");
    terminal.wait_for("Drain 10.0.0.1:80 of TCP 192.0.2.10:80, in 60 s at the latest? y/n");
    terminal.keys("y");
    terminal.wait_for("removed once it has none, in 60 s at");
    let (service, server) = (address(Protocol::Tcp, "192.0.2.10:80"), [10, 0, 0, 1].into());
    assert_eq!(
        received.try_recv().unwrap(),
        [ChangeRequest::Drain { service: service.into(), server, deadline: Some(60) }]
    );
}

/// Each sample has 11 MB of JSON.
#[test]
fn three_thousand_services_are_shown() {
    let mut answers = answers();
    let services = (1..=3000_u16).map(|port| {
        let servers = (1..=10).map(|n| server(&format!("10.0.0.{n}:{port}"), n, 1, 0)).collect();
        service(Protocol::Tcp, &format!("192.0.2.10:{port}"), "wlc", servers)
    });
    answers.services.services = services.collect();
    let director = Director::answering(answers);
    let terminal = top(&director.socket());
    terminal.keys("End");
    terminal.wait_for("> 10.0.0.10:3000");
    terminal.keys("Enter");
    terminal.wait_for("10.0.0.10:3000: reachable");
    terminal.keys("q");
    terminal.wait_for("status 0");
    let (status, text, _) = run(&mut directrix(&director.socket(), "top --once --interval 0.1"));
    assert_eq!(status, 0);
    assert_eq!(text.lines().filter(|line| line.contains("reachable")).count(), 30_000);
}

#[test]
fn refused_drain_is_shown() {
    let answers = answers();
    let director = Director::with(move |query| match query {
        Query::Change(_, _, to) => {
            let nothing_there = Answers::default().change(&[removal()]).unwrap_err();
            drop(to.send(Err(nothing_there)));
        }
        query => answers.answer(query),
    });
    let terminal = top(&director.socket());
    terminal.keys("Down d y");
    terminal.wait_for("10.0.0.1:80 is not drained: the director at ");
    terminal.wait_for("[Services]");
}

/// A change that a director without services refuses.
fn removal() -> ChangeRequest {
    ChangeRequest::DeleteService { service: address(Protocol::Tcp, "192.0.2.10:80").into() }
}

#[test]
fn resize_fills_the_terminal() {
    let director = Director::answering(answers());
    let terminal = top(&director.socket());
    for (width, height) in [(120, 30), (40, 10), (80, 24)] {
        terminal.resize((width, height));
        terminal.wait_until("keys in the last line", |screen| {
            let lines: Vec<_> = screen.lines().collect();
            lines.len() == height
                && lines[height - 1].starts_with("↑↓ select")
                && lines[1].trim_end().chars().count() == width
        });
    }
    terminal.resize((5, 2));
    terminal.resize((80, 24));
    terminal.wait_for("Enter zoom");
}

#[test]
fn director_stops_and_returns() {
    let mut first = Director::answering(answers());
    let socket = Socket::of(&first);
    let terminal = top(&socket.path());
    first.stop();
    let screen = terminal.wait_for("THE DIRECTOR IS GONE: no director is running");
    assert!(screen.contains("10.0.0.1:80"), "the last figures stay: {screen}");
    terminal.keys("Right");
    terminal.wait_for("[Workers]");
    let second = Director::answering(answers());
    socket.pass_to(&second);
    terminal.wait_until("no alarm", |screen| screen.contains("[Workers]") && !screen.contains("GONE"));
}

#[test]
fn signals_restore_the_terminal() {
    let director = Director::answering(answers());
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        let terminal = top(&director.socket());
        kill(terminal.child(), signal).unwrap();
        terminal.wait_for("status 0");
        assert!(terminal.cursor_is_shown(), "{signal}");
        terminal.keys("e c h o Space e c h o e d Enter");
        terminal.wait_for("\nechoed"); // the shell reads lines again, and shows what is typed
    }
    let terminal = top(&director.socket());
    terminal.keys("C-c");
    terminal.wait_for("status 0");
}

/// Whether a process runs; false for a zombie, too.
fn is_running(process: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"));
    stat.is_ok_and(|stat| !stat.contains(") Z "))
}

/// Also with SIGHUP ignored, as by nohup.
#[test]
fn closed_terminal_ends_the_program() {
    let director = Director::answering(answers());
    let binary = env!("CARGO_BIN_EXE_directrix");
    for before in ["", "trap '' HUP; "] {
        let command = format!("{before}{binary} --socket {} top", director.socket().display());
        let terminal = Terminal::running(&command, (80, 24));
        terminal.wait_for("[Services]");
        let child = terminal.child();
        drop(terminal);
        let end = Instant::now() + Duration::from_secs(20);
        while is_running(child) {
            assert!(Instant::now() < end, "still running after {before:?}");
            sleep(Duration::from_millis(20));
        }
    }
}

#[test]
fn once_needs_no_terminal() {
    let director = Director::answering(answers());
    let (status, text, stderr) = run(&mut directrix(&director.socket(), "top --once --interval 0.1"));
    assert_eq!((status, stderr.as_str()), (0, ""));
    for part in ["120 of 4096 entries", " 10.0.0.2:80 ", " 0 core 1 ", "checksum", "What ring_full means."] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains('\u{1b}'), "{text:?}");
}

#[test]
fn errors_take_one_line() {
    let director = Director::answering(answers());
    let cases = [
        (
            director.socket(),
            "top",
            2,
            "directrix: keys and screen need a terminal; use --once for one frame of text\n",
        ),
        ("/nonexistent/control.sock".into(), "top --once", 1, "directrix: no director is running at "),
        (director.socket(), "top --interval 0", 2, "error: invalid value '0' for '--interval <SECONDS>'"),
    ];
    for (socket, arguments, expected, message) in cases {
        let (status, stdout, stderr) = run(&mut directrix(&socket, arguments));
        assert_eq!((status, stdout.as_str()), (expected, ""), "{arguments}");
        assert!(stderr.starts_with(message), "{arguments}: {stderr}");
    }
    let terminal = Terminal::running(
        &format!("{} --socket /nonexistent top; echo status $?", env!("CARGO_BIN_EXE_directrix")),
        (120, 24),
    );
    terminal.wait_until("the line and the status", |screen| {
        screen.starts_with("directrix: no director is running at /nonexistent;")
            && screen.contains("status 1")
    });
}
