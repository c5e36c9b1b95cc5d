//! Access rights: connections of root, of members of a group, of other users.
#![allow(unsafe_code)] // one thread becomes another user, which the library does for whole processes only

use crate::fake_director::{Director, directrix, run};
use crate::{answers, get};
use directrix::control::api::path;
use directrix::control::host::access::Access;
use directrix::control::http::limits::{CLIENTS_MAX, READERS_MAX, REQUEST_TIMEOUT};
use directrix::control::query::Query;
use directrix::model::ControlOthers;
use std::fs::{Permissions, set_permissions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// User and group 65534, without privileges on Debian and most other systems.
const UNPRIVILEGED: u32 = 65534;
/// The control group of these tests. It has no name, which the kernel does not need.
const OPERATORS: u32 = 4711;
/// A user without a name.
const NAMELESS: u32 = 4712;

const GETS: [&str; 9] = [
    path::STATUS,
    path::HEALTH,
    path::SERVICES,
    path::CONNECTIONS,
    path::DROPS,
    path::WORKERS,
    path::TIMEOUTS,
    path::CONFIG,
    path::METRICS,
];

fn access(others: ControlOthers) -> Access {
    Access { group: Some((OPERATORS, "operators".into())), others }
}

/// Starts a director that answers, with the number of its change requests.
fn director(access: &Access) -> (Director, Arc<AtomicUsize>) {
    let (answers, changes) = (answers(), Arc::new(AtomicUsize::new(0)));
    let counter = Arc::clone(&changes);
    let director = Director::admitting(access, move |query| {
        if matches!(query, Query::Change(..) | Query::Reload(..)) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
        answers.answer(query);
    });
    (director, changes)
}

/// Connects on a thread that changes to `user`, drops its capabilities, and ends.
fn connect_as(socket: &Path, user: u32, group: u32, groups: &[u32]) -> io::Result<UnixStream> {
    let connect = || {
        // SAFETY: the list is readable for its whole length; the others take numbers only. These
        // system calls concern the calling thread, which ends with this closure.
        let returned = unsafe {
            [
                libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()),
                libc::syscall(libc::SYS_setresgid, group, group, group),
                libc::syscall(libc::SYS_setresuid, user, user, user),
            ]
        };
        assert_eq!(returned, [0; 3], "{}: these tests run as root", io::Error::last_os_error());
        UnixStream::connect(socket)
    };
    std::thread::scope(|scope| scope.spawn(connect).join().unwrap())
}

fn exchange(mut stream: UnixStream, request: &str) -> String {
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let _ = stream.write_all(request.as_bytes()); // it may have been sent away
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

fn request(method: &str, path: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "{method} {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    )
}

const CHANGE: (&str, &str, &str) = ("POST", path::CHANGES, r#"[{"do": "clear"}]"#);

fn change(stream: UnixStream) -> String {
    exchange(stream, &request(CHANGE.0, CHANGE.1, CHANGE.2))
}

#[test]
fn root_and_members_of_the_group_change_whatever_others_may() {
    for others in [ControlOthers::Nothing, ControlOthers::Read] {
        let (director, changes) = director(&access(others));
        let socket = director.socket();
        let people = [
            ("root", 0, 0, vec![]),
            ("primary group", UNPRIVILEGED, OPERATORS, vec![]),
            ("supplementary group", UNPRIVILEGED, UNPRIVILEGED, vec![5, OPERATORS, 7]),
            ("the last of many groups", NAMELESS, NAMELESS, (OPERATORS - 300..=OPERATORS).collect()),
        ];
        for (number, (who, user, group, groups)) in people.iter().enumerate() {
            let connect = || connect_as(&socket, *user, *group, groups).unwrap();
            let read = exchange(connect(), &request("GET", path::DROPS, ""));
            assert!(read.starts_with("HTTP/1.1 200 "), "{who}, {others:?}: {read}");
            let changed = change(connect());
            assert!(changed.starts_with("HTTP/1.1 200 "), "{who}, {others:?}: {changed}");
            assert_eq!(changes.load(Ordering::Relaxed), number + 1, "{who}, {others:?}");
        }
    }
}

#[test]
fn others_read_everything_and_each_change_is_refused() {
    let (director, changes) = director(&access(ControlOthers::Read));
    let socket = director.socket();
    let nobody = || connect_as(&socket, UNPRIVILEGED, UNPRIVILEGED, &[UNPRIVILEGED, 0]).unwrap();
    for path in GETS {
        let read = exchange(nobody(), &request("GET", path, ""));
        assert!(read.starts_with("HTTP/1.1 200 "), "{path}: {read}");
        let head = exchange(nobody(), &request("HEAD", path, ""));
        assert!(head.starts_with("HTTP/1.1 200 "), "{path}: {head}");
    }
    assert!(exchange(nobody(), &request("GET", "/v1/service", "")).starts_with("HTTP/1.1 404 "));
    let words = "user 65534 (nobody) may read but not change; root and members of group operators may: \
                 use sudo, or join that group and log in again";
    for (method, path, body) in [
        CHANGE,
        ("POST", path::CHANGES, "no JSON"),
        ("POST", path::RELOAD, ""),
        ("POST", path::PLAN, "{}"),
        ("POST", path::SERVICES, ""),
        ("POST", "/v1/new", ""),
        ("PUT", path::CHANGES, ""),
        ("DELETE", path::SERVICES, ""),
        ("BREW", path::RELOAD, ""),
    ] {
        let refused = exchange(nobody(), &request(method, path, body));
        assert!(refused.starts_with("HTTP/1.1 403 Forbidden\r\n"), "{method} {path}: {refused}");
        let problem = format!(r#"{{"error":"{words}","code":"read-only"}}"#);
        assert!(refused.ends_with(&problem), "{method} {path}: {refused}");
    }
    let nameless = change(connect_as(&socket, NAMELESS, NAMELESS, &[]).unwrap());
    assert!(nameless.contains(r#""error":"user 4712 may read but not change; "#), "{nameless}");
    assert_eq!(changes.load(Ordering::Relaxed), 0, "the control thread received none");
}

#[test]
fn others_may_do_nothing_even_past_the_files_mode() {
    let (director, changes) = director(&access(ControlOthers::Nothing));
    let socket = director.socket();
    let outside = connect_as(&socket, UNPRIVILEGED, UNPRIVILEGED, &[]).unwrap_err();
    assert_eq!(outside.kind(), ErrorKind::PermissionDenied);
    set_permissions(&socket, Permissions::from_mode(0o666)).unwrap(); // a mode that was opened by hand
    let words = r#"{"error":"user 65534 (nobody) may neither read nor change; root and members of group operators may: use sudo, or join that group and log in again","code":"no-access"}"#;
    let gets = GETS.map(|path| ("GET", path, ""));
    for (method, path, body) in gets.into_iter().chain([CHANGE, ("POST", path::RELOAD, ""), ("GET", "/", "")])
    {
        let refused = exchange(
            connect_as(&socket, UNPRIVILEGED, UNPRIVILEGED, &[]).unwrap(),
            &request(method, path, body),
        );
        assert!(refused.starts_with("HTTP/1.1 403 Forbidden\r\n"), "{method} {path}: {refused}");
        assert!(refused.ends_with(words), "{method} {path}: {refused}");
    }
    assert_eq!(changes.load(Ordering::Relaxed), 0);
}

/// A descriptor that is passed on keeps the rights of the connecting process, more or less than the holder's: the
/// thread that uses these connections is root's.
#[test]
fn rights_are_those_of_the_connecting_process() {
    let (director, changes) = director(&Access { group: None, others: ControlOthers::Read });
    let refused = change(connect_as(&director.socket(), UNPRIVILEGED, OPERATORS, &[]).unwrap());
    assert!(refused.contains("root may: use sudo, or set control_group in [director]"), "{refused}");
    assert_eq!(changes.load(Ordering::Relaxed), 0);
    let of_root = Mutex::new(Some(UnixStream::connect(director.socket()).unwrap()));
    let by_nobody = || {
        // SAFETY: takes numbers only, and concerns the calling thread, which ends with this closure.
        let set = unsafe { libc::syscall(libc::SYS_setresuid, UNPRIVILEGED, UNPRIVILEGED, UNPRIVILEGED) };
        assert_eq!(set, 0);
        change(of_root.lock().unwrap().take().unwrap())
    };
    let changed = std::thread::scope(|scope| scope.spawn(by_nobody).join().unwrap());
    assert!(changed.starts_with("HTTP/1.1 200 "), "{changed}");
}

#[test]
fn readers_cannot_keep_those_out_who_may_change() {
    let (director, changes) = director(&access(ControlOthers::Read));
    let socket = director.socket();
    let nobody = || connect_as(&socket, UNPRIVILEGED, UNPRIVILEGED, &[]).unwrap();
    let begun = Instant::now();
    let mut idle: Vec<_> = (0..READERS_MAX).map(|_| nobody()).collect();
    let turned_away = exchange(nobody(), &request("GET", path::DROPS, ""));
    let words =
        format!("{READERS_MAX} clients without the right to change are being served; try again later");
    assert!(turned_away.starts_with("HTTP/1.1 503 ") && turned_away.contains(&words), "{turned_away}");
    idle.extend((0..CLIENTS_MAX).map(|_| nobody())); // more than there is room for, too
    let member = connect_as(&socket, UNPRIVILEGED, OPERATORS, &[]).unwrap();
    assert!(change(member).starts_with("HTTP/1.1 200 "));
    assert!(get(&socket, path::DROPS).starts_with("HTTP/1.1 200 "));
    assert!(
        begun.elapsed() < REQUEST_TIMEOUT,
        "they have not waited for the idle ones: {:?}",
        begun.elapsed()
    );
    assert_eq!(changes.load(Ordering::Relaxed), 1);
    drop(idle);
    let again = || exchange(nobody(), &request("GET", path::DROPS, "")).starts_with("HTTP/1.1 200 ");
    while !again() {
        assert!(begun.elapsed() < Duration::from_secs(30), "their places are free again");
    }
}

/// A client of the own binary, run by `setpriv` with the arguments in `user`.
fn client(user: &str, socket: &Path, words: &str) -> Command {
    let inner = directrix(socket, words);
    let mut command = Command::new("setpriv");
    command.args(user.split_whitespace()).arg(inner.get_program()).args(inner.get_args());
    command.env_remove("DIRECTRIX_SOCKET").stdin(Stdio::null());
    command
}

#[test]
fn refusal_is_one_line_on_the_command_line() {
    const OTHER_USER: &str = "--reuid=65534 --regid=65534 --clear-groups";
    let past_the_mode = format!("{OTHER_USER} --inh-caps=+dac_override --ambient-caps=+dac_override");
    let remedy = "root may: use sudo, or set control_group in [director]";
    let read_only = format!("user 65534 (nobody) may read but not change; {remedy}\n");
    let no_access = format!("user 65534 (nobody) may neither read nor change; {remedy}\n");
    let root = "Permission denied (you must be root)";
    let (reading, _) = director(&Access { group: None, others: ControlOthers::Read });
    let (silent, _) = director(&Access::default());
    let [open, closed] = [reading.socket(), silent.socket()];
    let refused = |socket: &Path, words: &str| {
        format!("directrix: the director at {} refused: {words}", socket.display())
    };
    for (user, socket, words, status, message) in [
        (OTHER_USER, &open, "ipvsadm -Ln", 0, String::new()),
        (OTHER_USER, &open, "drops", 0, String::new()),
        (OTHER_USER, &open, "ipvsadm -C", 255, format!("{root}: {read_only}")),
        (OTHER_USER, &open, "reload", 1, refused(&open, &read_only)),
        (OTHER_USER, &open, "drain tcp:192.0.2.10:80 10.0.0.1", 1, refused(&open, &read_only)),
        (
            OTHER_USER,
            &closed,
            "ipvsadm -Ln",
            2,
            format!("Can't initialize ipvs: {root} for {}\n", closed.display()),
        ),
        (&past_the_mode, &closed, "ipvsadm -Ln", 2, format!("Can't initialize ipvs: {root}: {no_access}")),
        (&past_the_mode, &closed, "ipvsadm -C", 2, format!("Can't initialize ipvs: {root}: {no_access}")),
        (&past_the_mode, &closed, "workers", 1, refused(&closed, &no_access)),
        (&past_the_mode, &closed, "reload", 1, refused(&closed, &no_access)),
    ] {
        let (ended, _, complaint) = run(&mut client(user, socket, words));
        assert_eq!((ended, complaint), (status, message), "{user}: {words}");
    }
}

/// The part of the running configuration that a reader receives.
#[test]
fn plan_lists_changes_for_readers() {
    let running = "[director]\ninterface = \"eth0\"\n";
    let director =
        Director::admitting(&Access { group: None, others: ControlOthers::Read }, |query| match query {
            Query::Config(to) => drop(to.send(running.into())),
            other => panic!("{other:?}"),
        });
    let plan = |file: &str| {
        let mut command = client("--reuid=65534 --regid=65534 --clear-groups", &director.socket(), "plan -");
        let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = pipes.spawn().unwrap();
        child.stdin.take().unwrap().write_all(file.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let limit = "directrix: not checked whether real servers are on-link: that needs permission to change\n";
    let more = format!("{running}[director.timeouts]\ntcp = 60\n");
    assert_eq!(plan(&more), (Some(0), "~ timeouts: tcp 900 -> 60\n".into(), limit.into()));
    let other = running.replace("eth0", "eth1");
    let refusal = "directrix: a reload would refuse the whole file: stdin:2: interface: restart required; restart the \
                   director, or undo this change: until then a reload changes nothing\n";
    let restarts = "! interface: restart required\n";
    assert_eq!(plan(&other), (Some(1), restarts.into(), format!("{limit}{refusal}")));
}

/// The server answers before it has read the list, and closes.
#[test]
fn a_long_list_is_refused_in_the_same_words() {
    let (director, changes) = director(&Access { group: None, others: ControlOthers::Read });
    let lines = "-A -t 192.0.2.10:80 -s wlc\n".repeat(60_000);
    let mut command = client("--reuid=65534 --regid=65534 --clear-groups", &director.socket(), "ipvsadm -R");
    let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert!(
        complaint.starts_with("Permission denied (you must be root): user 65534 (nobody) may"),
        "{complaint}"
    );
    assert_eq!((output.status.code(), changes.load(Ordering::Relaxed)), (Some(255), 0));
}
