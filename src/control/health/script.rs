//! Scripts as health checks: a process of the operator's, judged by its exit status, as keepalived's MISC_CHECK.

use super::error::outcome_of;
use super::places::OwnedPlace;
use super::tasks::BlockingTasks;
use crate::control::program::secure;
use crate::health::{CheckKey, LocalError, ProbeFailure, ProbeOutcome, WeightChange};
use crate::model::ScriptCheck;
use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::process::{Child, Command};
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep, timeout, timeout_at};

/// Time from SIGTERM to SIGKILL for a script that ran too long.
const GRACE: Duration = Duration::from_secs(2);
/// Time for the last words of a script that has ended, whose pipe a process of its own may hold open.
const LAST_WORDS: Duration = Duration::from_millis(20);
/// Part of the output that is kept, in bytes.
const KEPT_MAX: usize = 1024;
/// Part of the output that is shown, in characters.
const SHOWN_MAX: usize = 100;
/// Programs that a script finds by name.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

const MISSING: LocalError = LocalError::Setup("there is no such script: correct command");
const NOT_EXECUTABLE: LocalError = LocalError::Setup(
    "the director's user may not run the script: chmod a+rx, and let it enter the directories",
);
const NO_PROGRAM: LocalError = LocalError::Setup("the script has no first line such as #!/bin/sh");
const INSECURE: LocalError = LocalError::Setup(
    "other users than root and the director's may change the script, a directory of its path or a link: chmod go-w, chown root",
);

/// Runs the script of `check` for the server of `key`. Returns what its exit status does to the weight.
///
/// # Errors
/// The outcome of the probe.
pub(super) async fn run(
    check: &ScriptCheck,
    key: &CheckKey,
    (place, tasks): (OwnedPlace, &BlockingTasks),
    deadline: Instant,
) -> Result<Option<WeightChange>, ProbeOutcome> {
    let waited = place.waited;
    let started = tasks.run(key, deadline, start(check, key, place)).await.and_then(|started| started);
    let (reader, mut process) = started.map_err(ProbeOutcome::Unknown)?;
    let reader =
        pipe::Receiver::from_owned_fd(reader).map_err(|error| ProbeOutcome::Unknown(local(&error)))?;
    let mut output = ScriptOutput { reader, kept: Vec::new() };
    let ended = timeout_at(deadline, async {
        tokio::select! {
            biased;
            status = process.wait() => status,
            () = output.read_forever() => unreachable!("it has no end"),
        }
    });
    match ended.await {
        Ok(Ok(status)) if status.success() => Ok(None),
        Ok(Ok(status)) => {
            if let Some(weight) = status.code().and_then(dynamic_weight).filter(|_| check.dynamic_weight) {
                return Ok(Some(weight));
            }
            let _ = timeout(LAST_WORDS, output.read()).await;
            Err(failed(format!("the script {}{}", ending(status), output.words())))
        }
        Ok(Err(error)) => Err(outcome_of(&error)),
        Err(_) if waited => Err(ProbeOutcome::Unknown(LocalError::Late)),
        Err(_) => Err(failed("the script ran longer than the timeout, and is ended".into())),
    }
}

/// As keepalived's MISC_CHECK (`misc_check_child_thread` in keepalived/check/check_misc.c).
fn dynamic_weight(code: i32) -> Option<WeightChange> {
    u16::try_from(code).ok()?.checked_sub(2).map(WeightChange::To)
}

fn failed(what: String) -> ProbeOutcome {
    ProbeOutcome::Failed(ProbeFailure::Answer(what))
}

fn ending(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with status {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => "ended".into(),
    }
}

/// The start of a script on its place. Blocks, as its file system may be slow.
fn start(
    check: &ScriptCheck,
    key: &CheckKey,
    place: OwnedPlace,
) -> impl FnOnce() -> Result<(OwnedFd, ScriptProcess), LocalError> + use<> {
    let (program, key) = (check.command.clone(), key.clone());
    move || {
        let path = secure(Path::new(&program[0])).map_err(|error| local(&error))?.ok_or(INSECURE)?;
        let (reader, child) = spawn(&path, &program, &key).map_err(|error| local(&error))?;
        Ok((reader, ScriptProcess { running: Some((child, place)) }))
    }
}

/// The program in a process group of its own, with an environment of its own, and with one pipe for its output.
fn spawn(path: &Path, program: &[String], key: &CheckKey) -> io::Result<(OwnedFd, Child)> {
    let (reader, writer) = io::pipe()?;
    let mut command = Command::new(path);
    command
        .arg0(&program[0])
        .args(&program[1..])
        .env_clear()
        .env("PATH", PATH)
        .current_dir("/")
        .process_group(0)
        .kill_on_drop(true);
    command.env("VIP", key.vip.map(|vip| vip.to_string()).unwrap_or_default());
    command.env("VPORT", key.port.to_string());
    command.env("RIP", key.server.to_string()).env("RPORT", key.port.to_string());
    command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
    Ok((reader.into(), command.spawn()?))
}

fn local(error: &io::Error) -> LocalError {
    match Errno::from_raw(error.raw_os_error().unwrap_or_default()) {
        Errno::ENOENT | Errno::ENOTDIR => MISSING,
        Errno::EACCES | Errno::EPERM => NOT_EXECUTABLE,
        Errno::ENOEXEC => NO_PROGRAM,
        _ => match outcome_of(error) {
            ProbeOutcome::Unknown(error) => error,
            _ => LocalError::Other(error.raw_os_error().unwrap_or_default()),
        },
    }
}

/// The output of a script. It is read to the end, lest the script wait, and its beginning is kept.
struct ScriptOutput {
    reader: pipe::Receiver,
    kept: Vec<u8>,
}

impl ScriptOutput {
    async fn read_forever(&mut self) {
        self.read().await;
        std::future::pending().await
    }

    async fn read(&mut self) {
        let mut buffer = [0; KEPT_MAX];
        while let Ok(length @ 1..) = self.reader.read(&mut buffer).await {
            let room = KEPT_MAX - self.kept.len();
            self.kept.extend_from_slice(&buffer[..length.min(room)]);
        }
    }

    /// The first line that is not empty, behind a colon.
    fn words(&self) -> String {
        let text = String::from_utf8_lossy(&self.kept);
        let line = text.lines().map(str::trim).find(|line| !line.is_empty());
        let shown = |line: &str| {
            line.chars().filter(|letter| !letter.is_control()).take(SHOWN_MAX).collect::<String>()
        };
        line.map(|line| format!(": {}", shown(line))).unwrap_or_default()
    }
}

/// A running script, and its place. Dropped before its end, its process group gets SIGTERM, and SIGKILL after [`GRACE`].
struct ScriptProcess {
    running: Option<(Child, OwnedPlace)>,
}

impl ScriptProcess {
    async fn wait(&mut self) -> io::Result<ExitStatus> {
        let Some((child, _)) = &mut self.running else { return Err(io::ErrorKind::NotFound.into()) };
        let status = child.wait().await?;
        self.running = None; // its group's number may belong to other processes from now on
        Ok(status)
    }
}

impl Drop for ScriptProcess {
    fn drop(&mut self) {
        let Some((child, place)) = self.running.take() else { return };
        let group = EndingGroup { child, _place: place };
        group.signal(Signal::SIGTERM);
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move {
                sleep(GRACE).await;
                drop(group);
            });
        }
    }
}

/// A process group to be ended for good when this is dropped. Its leader has not been waited for, so the number is its own.
struct EndingGroup {
    child: Child,
    _place: OwnedPlace,
}

impl EndingGroup {
    fn signal(&self, signal: Signal) {
        if let Some(leader) = self.child.id() {
            let _ = killpg(Pid::from_raw(leader as i32), signal); // it may have ended
        }
    }
}

impl Drop for EndingGroup {
    fn drop(&mut self) {
        self.signal(Signal::SIGKILL); // tokio reaps the leader
    }
}

#[cfg(test)]
mod tests {
    use super::super::places::owned_place;
    use super::*;
    use crate::model::{CheckKind, CheckTiming};
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;
    use std::sync::Arc;
    use tempfile::TempDir;
    use tokio::sync::Semaphore;

    /// A directory with a script.
    struct Place(TempDir);

    impl Place {
        fn with(text: &str) -> Self {
            let place = Self(tempfile::tempdir().unwrap());
            fs::write(place.file("script"), text).unwrap();
            fs::set_permissions(place.file("script"), Permissions::from_mode(0o755)).unwrap();
            place
        }

        fn file(&self, name: &str) -> std::path::PathBuf {
            self.0.path().join(name)
        }

        fn check(&self) -> ScriptCheck {
            let script = self.file("script").display().to_string();
            let command = vec![script, "a b".into(), self.0.path().display().to_string()];
            ScriptCheck { command, dynamic_weight: false }
        }
    }

    fn key(check: &ScriptCheck) -> CheckKey {
        CheckKey {
            server: [192, 0, 2, 7].into(),
            vip: Some([192, 0, 2, 80].into()),
            port: 443,
            kind: Arc::new(CheckKind::Script(check.clone())),
            timing: CheckTiming::default(),
        }
    }

    /// Runs the script with this timeout, and goes on for as long.
    fn run_for(place: &Place, limit: u64, after: u64) -> Result<(), ProbeOutcome> {
        let check = place.check();
        let key = key(&check);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let deadline = Instant::now() + Duration::from_millis(limit);
            let place = owned_place(&Arc::new(Semaphore::new(1)), deadline).await.unwrap();
            let outcome = run(&check, &key, (place, &BlockingTasks::default()), deadline).await;
            sleep(Duration::from_millis(after)).await;
            outcome.map(|change| assert_eq!(change, None))
        })
    }

    fn failure(text: &str) -> String {
        match run_for(&Place::with(text), 5_000, 0) {
            Err(ProbeOutcome::Failed(failure)) => failure.to_string(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_exit_status_is_the_result() {
        assert_eq!(run_for(&Place::with("#!/bin/sh\nexit 0\n"), 5_000, 0), Ok(()));
        assert_eq!(failure("#!/bin/sh\nexit 3\n"), "the script ended with status 3");
        assert_eq!(failure("#!/bin/sh\nkill -9 $$\n"), "the script was ended by signal 9");
        assert_eq!(
            failure("#!/bin/sh\necho; echo ' the replica lags\x07' >&2; echo more; exit 1\n"),
            "the script ended with status 1: the replica lags"
        );
    }

    #[test]
    fn a_dynamic_weight_is_the_exit_status_less_two() {
        let found = [0, 1, 2, 3, 255].map(dynamic_weight);
        let expected = [None, None, Some(0), Some(1), Some(253)];
        assert_eq!(found, expected.map(|weight| weight.map(WeightChange::To)));
    }

    #[test]
    fn much_output_does_not_stop_a_script() {
        let text = "#!/bin/sh\nhead -c 1000000 /dev/zero | tr '\\0' x; exit 1\n";
        assert_eq!(failure(text), format!("the script ended with status 1: {}", "x".repeat(SHOWN_MAX)));
    }

    #[test]
    fn a_script_gets_its_server_and_nothing_of_the_director() {
        let place = Place::with(
            "#!/bin/sh\nenv | sort >$2/env; echo \"$1\" >$2/argument; ls -l /proc/self/fd >$2/fds\n",
        );
        assert_eq!(run_for(&place, 5_000, 0), Ok(()));
        let read = |name| fs::read_to_string(place.file(name)).unwrap();
        let of_the_shell = |line: &&str| !line.starts_with("PWD=") && !line.starts_with("_=");
        let environment = read("env");
        let environment: Vec<_> = environment.lines().filter(of_the_shell).collect();
        let path = format!("PATH={PATH}");
        assert_eq!(environment, [path.as_str(), "RIP=192.0.2.7", "RPORT=443", "VIP=192.0.2.80", "VPORT=443"]);
        assert_eq!(read("argument"), "a b\n");
        let inherited = ["socket:", "anon_inode:", "/dev/net"].map(|kind| read("fds").contains(kind));
        assert_eq!(inherited, [false; 3], "{}", read("fds"));
    }

    #[test]
    fn a_script_that_runs_too_long_is_ended_with_its_children() {
        let place = Place::with(
            "#!/bin/sh\ntrap 'echo got >$2/term' TERM\nsleep 60 & echo $! >$2/child; echo $$ >$2/leader\nwhile :; do wait; done\n",
        );
        let outcome = run_for(&place, 300, 2_500);
        let what = "the script ran longer than the timeout, and is ended";
        assert_eq!(outcome, Err(ProbeOutcome::Failed(ProbeFailure::Answer(what.into()))));
        assert_eq!(fs::read_to_string(place.file("term")).unwrap(), "got\n");
        for name in ["leader", "child"] {
            let process = fs::read_to_string(place.file(name)).unwrap();
            let state = fs::read_to_string(format!("/proc/{}/stat", process.trim()));
            assert!(state.as_ref().is_err() || state.as_ref().unwrap().contains(") Z "), "{name}: {state:?}");
        }
    }

    #[test]
    fn a_script_that_waited_for_its_place_fails_not_by_time() {
        let place = Place::with("#!/bin/sh\nsleep 1.2\n");
        let (check, places) = (place.check(), Arc::new(Semaphore::new(1)));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let outcomes = runtime.block_on(async {
            let deadline = Instant::now() + Duration::from_secs(2);
            let each = async || {
                let place = owned_place(&places, deadline).await.unwrap();
                run(&check, &key(&check), (place, &BlockingTasks::default()), deadline).await
            };
            tokio::join!(each(), each())
        });
        assert_eq!(outcomes, (Ok(None), Err(ProbeOutcome::Unknown(LocalError::Late))));
    }

    #[test]
    fn a_script_has_its_place_until_its_group_is_ended() {
        let place = Place::with("#!/bin/sh\ntrap '' TERM\nwhile :; do sleep 0.1; done\n");
        let (check, places) = (place.check(), Arc::new(Semaphore::new(1)));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let deadline = Instant::now() + Duration::from_millis(300);
            let place = owned_place(&places, deadline).await.unwrap();
            let outcome = run(&check, &key(&check), (place, &BlockingTasks::default()), deadline).await;
            assert!(matches!(outcome, Err(ProbeOutcome::Failed(_))), "{outcome:?}");
            assert_eq!(places.available_permits(), 0, "it ignores SIGTERM");
            let next = owned_place(&places, Instant::now() + GRACE * 5).await.unwrap();
            assert!(deadline.elapsed() >= GRACE && next.waited);
        });
    }

    #[test]
    fn a_script_that_cannot_run_is_the_hosts_fault() {
        let outcome = |place: &Place| run_for(place, 5_000, 0).unwrap_err();
        let place = Place::with("#!/bin/sh\n");
        let set = |mode| fs::set_permissions(place.file("script"), Permissions::from_mode(mode)).unwrap();
        set(0o775);
        assert_eq!(outcome(&place), ProbeOutcome::Unknown(INSECURE));
        set(0o644);
        assert_eq!(outcome(&place), ProbeOutcome::Unknown(NOT_EXECUTABLE));
        set(0o755);
        fs::set_permissions(place.0.path(), Permissions::from_mode(0o777)).unwrap();
        assert_eq!(outcome(&place), ProbeOutcome::Unknown(INSECURE));
        fs::remove_file(place.file("script")).unwrap();
        assert_eq!(outcome(&place), ProbeOutcome::Unknown(MISSING));
        assert_eq!(outcome(&Place::with("exit 0\n")), ProbeOutcome::Unknown(NO_PROGRAM));
    }
}
