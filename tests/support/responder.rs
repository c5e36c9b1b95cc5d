//! A neighbor machine with its driver, on a thread in a namespace; tcpdump as a witness.

use super::netns::{Netns, Process, wait_until};
use directrix::audit::{AuditReport, AuditSettings, Auditor};
use directrix::control::neighbor::driver::{DriverReport, NeighborDriver};
use directrix::control::neighbor::sockets::NeighborSockets;
use directrix::control::neighbor::vlans::NeighborCommand;
use directrix::io::Interface;
use directrix::model::OnConflict;
use directrix::neighbor::{
    NeighborCounters, NeighborEvent, NeighborReport, NeighborSettings, Neighbors, Timing,
};
use directrix::time::Span;
use directrix::wire::MacAddr;
use nix::time::{ClockId, clock_gettime};
use std::net::IpAddr;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

pub const WAIT: Duration = Duration::from_secs(10);

/// A responder that runs on a thread of its own in the director's namespace.
pub struct Director {
    commands: Option<UnboundedSender<NeighborCommand>>,
    reports: Arc<Mutex<Vec<NeighborReport>>>,
    audited: Arc<Mutex<Vec<AuditReport>>>,
    pub counters: Arc<NeighborCounters>,
    thread: Option<JoinHandle<Duration>>,
}

impl Director {
    pub fn start(
        namespace: &Arc<Netns>,
        interfaces: &[&str],
        on_conflict: OnConflict,
        timing: Timing,
    ) -> Self {
        Self::auditing(namespace, interfaces, (on_conflict, timing), Span::default())
    }

    /// Starts one whose auditor asks everything once in `interval`.
    pub fn auditing(
        namespace: &Arc<Netns>,
        interfaces: &[&str],
        (on_conflict, timing): (OnConflict, Timing),
        interval: Span,
    ) -> Self {
        let (namespace, names) = (Arc::clone(namespace), interfaces.join(" "));
        let (commands, inbox) = unbounded_channel();
        let reports = Arc::<Mutex<Vec<NeighborReport>>>::default();
        let own_macs: Vec<_> = namespace.enter(|| names.split(' ').map(|name| interface(name).mac).collect());
        let settings = AuditSettings { own_macs: own_macs.clone(), peers: Vec::new(), interval, seed: 1 };
        let machine = Neighbors::new(NeighborSettings { own_macs, on_conflict, timing, seed: 1 });
        let audited = Arc::<Mutex<Vec<AuditReport>>>::default();
        let (counters, reported) = (machine.counters(), Arc::clone(&reports));
        let audit_reported = Arc::clone(&audited);
        let live = move || {
            let sockets =
                names.split(' ').map(|name| NeighborSockets::open(&interface(name)).unwrap()).collect();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let responder =
                    NeighborDriver::new((machine, Auditor::new(settings)), sockets, Instant::now()).unwrap();
                let each = |report| match report {
                    DriverReport::Neighbor(report) => reported.lock().unwrap().push(report),
                    DriverReport::Audit(report) => audit_reported.lock().unwrap().push(report),
                };
                responder.run(inbox, each).await.unwrap();
            });
            Duration::from(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap())
        };
        let thread = Some(std::thread::spawn(move || namespace.enter(live)));
        Self { commands: Some(commands), reports, audited, counters, thread }
    }

    pub fn send(&self, command: impl Into<NeighborCommand>) {
        self.commands.as_ref().unwrap().send(command.into()).unwrap();
    }

    pub fn reports(&self) -> Vec<NeighborReport> {
        self.reports.lock().unwrap().clone()
    }

    pub fn audit_reports(&self) -> Vec<AuditReport> {
        self.audited.lock().unwrap().clone()
    }

    pub fn wait_for(&self, report: NeighborReport) {
        wait_until(&format!("{report:?}"), WAIT, || self.reports().contains(&report));
    }

    /// Adds the VIP and waits for its claim.
    pub fn claim(&self, vip: impl Into<IpAddr>) {
        let vip = vip.into();
        self.send(NeighborEvent::AddVip(vip));
        self.wait_for(NeighborReport::Claimed { vip });
    }

    /// Ends it. Returns the CPU time of its thread.
    pub fn stop(mut self) -> Duration {
        self.commands = None;
        self.thread.take().expect("not stopped yet").join().expect("the responder failed")
    }
}

impl Drop for Director {
    fn drop(&mut self) {
        self.commands = None;
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(std::thread::panicking() || !matches!(ended, Some(Err(_))), "the responder failed");
    }
}

pub fn interface(name: &str) -> Interface {
    Interface::lookup(name).unwrap()
}

pub fn mac_of(namespace: &Netns) -> MacAddr {
    namespace.enter(|| interface("eth0").mac)
}

/// Production timing, with shorter intervals where a test would wait.
pub fn quick() -> Timing {
    Timing {
        standby_interval: Span::from_millis(400),
        verify_interval: Span::from_millis(100),
        watch_interval: Span::from_millis(300),
        refresh: Span::from_millis(300),
        retry: Span::from_millis(300),
        unreachable_retry: Span::from_millis(300),
        ..Timing::default()
    }
}

/// tcpdump of the frames of a filter on a host's interface, as text.
pub struct Dump {
    _process: Process,
    path: tempfile::TempPath,
}

impl Dump {
    pub fn on(namespace: &Netns, filter: &str) -> Self {
        Self::with("-lnne", namespace, filter)
    }

    /// With the flags of neighbor advertisements and checked checksums; a frame has several lines.
    pub fn verbose(namespace: &Netns, filter: &str) -> Self {
        Self::with("-lnnev", namespace, filter)
    }

    fn with(options: &str, namespace: &Netns, filter: &str) -> Self {
        let file = tempfile::NamedTempFile::new().unwrap();
        let (file, path) = file.into_parts();
        let mut command =
            namespace.command(&format!("exec tcpdump {options} --immediate-mode -i eth0 '{filter}'"));
        command.stdout(file.try_clone().unwrap()).stderr(file);
        let dump = Self { _process: Process(command.stdin(Stdio::null()).spawn().unwrap()), path };
        wait_until("tcpdump listens", WAIT, || dump.text().contains("listening on"));
        dump
    }

    pub fn text(&self) -> String {
        std::fs::read_to_string(&self.path).unwrap()
    }

    pub fn lines(&self, part: &str) -> usize {
        self.text().lines().filter(|line| line.contains(part)).count()
    }
}
