//! The reference run: ask who has the VIP, send the connections, read every counter, judge.

use super::LabError;
use super::capture::{Seen, counter_path};
use super::deployment::Deployment;
use super::host::{Host, PORT, VIP};
use super::http_client::Answers;
use super::measurements::{Measurements, Table};
use super::runner::execute;
use super::running::Running;
use super::topology::Step;
use super::verdict::{EXPECTED_MEANS, Finding, Outcome, judge};
use crate::control::client::{Blocking, ClientError};
use crate::wire::MacAddr;
use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

/// What the client does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Connections in all, at least 1.
    pub connections: u64,
    /// How many at a time, at least 1.
    pub concurrency: u16,
}

impl Default for Load {
    /// The reference run's.
    fn default() -> Self {
        Self { connections: 5091, concurrency: 1 }
    }
}

/// A run and what it shows.
#[derive(Clone, Debug)]
pub struct Report {
    /// The figures.
    pub measurements: Measurements,
    /// What they show.
    pub findings: Vec<Finding>,
}

impl Report {
    /// Whether nothing is otherwise than it should be.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.findings.iter().all(|finding| matches!(finding.outcome, Outcome::Ok | Outcome::Shown))
    }
}

/// Looks whether a capture can be written to `file`, before anything is built.
///
/// # Errors
/// [`LabError::Input`] if it cannot.
pub fn check_pcap(file: &Path) -> Result<(), LabError> {
    let opened = OpenOptions::new().append(true).create(true).open(file); // one that is there stays for now
    opened.map(|_| ()).map_err(|error| unwritable(file, &error.to_string()))
}

fn unwritable(file: &Path, cause: &str) -> LabError {
    LabError::Input(format!("{} cannot be written: {cause}; name another file with --pcap", file.display()))
}

/// The last acknowledgements are on their way when the client ends.
const SETTLE: Duration = Duration::from_millis(300);

impl Deployment {
    /// Sends the connections of `load` from the client to the VIP; prints the director's tables and
    /// what was shown.
    ///
    /// # Errors
    /// [`LabError::Failed`] if a measurement cannot be made; [`LabError::Interrupted`]. A
    /// deployment that is not as it should be is no error but a [`Report`].
    pub fn run(&self, load: Load) -> Result<Report, LabError> {
        self.record(load, None)
    }

    /// [`Deployment::run`], with every frame of the segment in the file `pcap`, in pcapng.
    ///
    /// # Errors
    /// As there, and [`LabError::Input`] if the file cannot be written.
    pub fn record(&self, load: Load, pcap: Option<&Path>) -> Result<Report, LabError> {
        let console = self.runner().console;
        console.heading("router: who has the VIP?");
        let owners = self.owners()?;
        console.heading(&format!("client: {} connections to http://{VIP}/", load.connections));
        let before = (self.table()?, self.director_frames()?);
        let capture = Running::start(&self.capture(pcap)?, self.interrupt())?;
        let answers = self.client(load)?;
        self.interrupt().sleep(SETTLE)?;
        let seen: Seen = capture.finish()?;
        let (received, sent) = self.director_frames()?;
        let measurements = Measurements {
            arp: self.options().arp,
            asked: load.connections,
            concurrency: load.concurrency,
            answers,
            owners,
            router_entry: self.router_entry()?,
            seen,
            director_frames: (received - before.1.0, sent - before.1.1),
            table: self.table()?.since(&before.0),
        };
        self.show_tables()?;
        let findings = judge(&measurements);
        console.heading("what was shown");
        findings.iter().for_each(|finding| console.say(&finding.to_string()));
        if findings.iter().any(|finding| finding.outcome == Outcome::Expected) {
            console.say(&format!("\n{EXPECTED_MEANS}"));
        }
        Ok(Report { measurements, findings })
    }

    fn capture(&self, pcap: Option<&Path>) -> Result<Step, LabError> {
        let Some(file) = pcap else { return Ok(self.own(Host::Switch, &["capture"])) };
        let name = file.to_str().ok_or_else(|| unwritable(file, "its name is not UTF-8"))?;
        Ok(self.own(Host::Switch, &["capture", "--pcap", name]))
    }

    fn owners(&self) -> Result<BTreeSet<MacAddr>, LabError> {
        let step = self.own(Host::Router, &["who-has", "eth0", &VIP.to_string()]);
        let text = self.runner().output(&step)?;
        self.runner().console.quote(&text);
        let macs = text.lines().filter_map(|line| line.split_whitespace().last());
        macs.map(|mac| mac.parse().map_err(|_| LabError::Failed(format!("{step} said: {text}")))).collect()
    }

    fn client(&self, load: Load) -> Result<Answers, LabError> {
        let [connections, concurrency] =
            [load.connections, u64::from(load.concurrency)].map(|n| n.to_string());
        let target = format!("{VIP}:{PORT}");
        let words = ["client", &target, "--connections", &connections, "--concurrency", &concurrency];
        let step = self.own(Host::Client, &words);
        self.runner().console.say(&step.to_string());
        let mut client = Running::spawn(&step)?;
        while !client.is_over()? {
            self.interrupt().sleep(Duration::from_millis(20))?;
        }
        client.finish()
    }

    /// Frames into and out of the director's interface.
    fn director_frames(&self) -> Result<(u64, u64), LabError> {
        let [received, sent] = ["rx_packets", "tx_packets"].map(|name| {
            let step = self.step(Host::Director, ["cat", &counter_path("eth0", name)]);
            let text = execute(&step)?;
            text.trim().parse().map_err(|_| LabError::Failed(format!("{step} said: {text}")))
        });
        Ok((received?, sent?))
    }

    fn router_entry(&self) -> Result<Option<MacAddr>, LabError> {
        let netns = self.options().namespace(Host::Router);
        let text = execute(&Step::new(&format!("ip -n {netns} neigh show {VIP} dev eth0")))?;
        let mut words = text.split_whitespace().skip_while(|word| *word != "lladdr");
        Ok(words.nth(1).and_then(|mac| mac.parse().ok()))
    }

    fn table(&self) -> Result<Table, LabError> {
        let vip = SocketAddr::from((VIP, PORT));
        let service =
            self.ask(Blocking::services)?.services.into_iter().find(|one| one.address.address == vip);
        let service =
            service.ok_or_else(|| LabError::Failed(format!("the director has no service {vip}")))?;
        let host = |address: IpAddr| {
            let layout = self.options().layout;
            Host::REAL_SERVERS.into_iter().find(|host| host.address(layout).map(IpAddr::V4) == Some(address))
        };
        let mut table = Table { state: service.state, service: service.stats, ..Table::default() };
        for server in service.servers {
            if let Some(host) = host(server.address.ip()) {
                table.servers.insert(host, server.stats);
            }
        }
        Ok(table)
    }

    fn show_tables(&self) -> Result<(), LabError> {
        self.runner().console.heading("director: its tables");
        self.show(&["ipvsadm", "-Ln"])?;
        self.show(&["ipvsadm", "-Ln", "--stats"])?;
        let drops = self.ask(Blocking::drops)?;
        if drops.iter().any(|drop| drop.frames > 0) {
            self.show(&["drops"])?;
        }
        Ok(())
    }

    /// Prints what `directrix words` says of the director.
    fn show(&self, words: &[&str]) -> Result<(), LabError> {
        let (exe, socket) = (self.options().exe.display().to_string(), self.socket().display().to_string());
        let all = [exe.as_str(), "--socket", &socket].into_iter().chain(words.iter().copied());
        let text = self.runner().output(&self.step(Host::Director, all))?;
        self.runner().console.say(&text);
        Ok(())
    }

    fn ask<T>(&self, question: impl FnOnce(&Blocking) -> Result<T, ClientError>) -> Result<T, LabError> {
        let client =
            Blocking::new(&self.socket()).map_err(|error| LabError::io("asking the director", &error))?;
        question(&client).map_err(|error| match self.process("director") {
            Ok(process) if process.is_alive() => LabError::Failed(format!("asking the director: {error}")),
            _ => LabError::Failed(format!("the director has ended; its log:\n{}", self.log())),
        })
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.file("director.log")).unwrap_or_default()
    }

    /// A hidden subcommand of `directrix lab` in the namespace of `host`.
    fn own(&self, host: Host, words: &[&str]) -> Step {
        let exe = self.options().exe.display().to_string();
        self.step(host, [exe.as_str(), "lab"].iter().chain(words).map(|word| (*word).to_owned()))
    }
}
