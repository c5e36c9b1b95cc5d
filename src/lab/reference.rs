//! Reference run: asks for the VIP by ARP or neighbor discovery, opens connections, reads all counters and evaluates them.

use super::capture::{FramesByHost, counter_path};
use super::deployment::Deployment;
use super::helper::HelperProcess;
use super::host::{LabHost, PORT};
use super::http_client::Answers;
use super::measurements::{DirectorTable, Measurements};
use super::runner::execute;
use super::step::Step;
use super::verdict::{RunFinding, RunOutcome, evaluate, expected_means};
use crate::control::client::Blocking;
use crate::model::Diagnostic;
use crate::wire::MacAddr;
use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

/// Load of the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientLoad {
    /// Number of connections, at least 1.
    pub connections: u64,
    /// Concurrent connections, at least 1.
    pub concurrency: u16,
}

impl Default for ClientLoad {
    /// Load of the reference run.
    fn default() -> Self {
        Self { connections: 5091, concurrency: 1 }
    }
}

/// Report of a run.
#[derive(Clone, Debug)]
pub struct RunReport {
    /// Figures, for each VIP in turn.
    pub measurements: Vec<Measurements>,
    /// Findings from all figures.
    pub findings: Vec<RunFinding>,
}

impl RunReport {
    /// Whether no finding is a failure.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.findings.iter().all(|finding| matches!(finding.outcome, RunOutcome::Ok | RunOutcome::Shown))
    }
}

/// Checks that a capture can be written to `file`, before the lab is built.
///
/// # Errors
/// `InvalidArgument` if it is not writable.
pub fn check_pcap(file: &Path) -> Result<(), Diagnostic> {
    let opened = OpenOptions::new().append(true).create(true).open(file); // keeps the content of an existing file
    opened.map(|_| ()).map_err(|error| unwritable(file, &error.to_string()))
}

fn unwritable(file: &Path, cause: &str) -> Diagnostic {
    Diagnostic::invalid_argument(format!("{} cannot be written", file.display()))
        .cause(cause)
        .remedy("name another file with --pcap")
}

/// Time after the client's end for the last acknowledgements to arrive.
const LAST_FRAMES: Duration = Duration::from_millis(300);

impl Deployment {
    /// Opens the connections of `load` from the client to each VIP. Prints the director's tables and the findings.
    ///
    /// # Errors
    /// `System` if a measurement fails; `Interrupted`. A faulty deployment is not an error but a
    /// finding of the [`RunReport`].
    pub fn run(&self, load: ClientLoad) -> Result<RunReport, Diagnostic> {
        self.record(load, None)
    }

    /// Like [`Deployment::run`], and writes every frame of the segment to the file `pcap` (pcapng).
    ///
    /// # Errors
    /// Like [`Deployment::run`]; `InvalidArgument` if the file cannot be written, or would have to hold two runs.
    pub fn record(&self, load: ClientLoad, pcap: Option<&Path>) -> Result<RunReport, Diagnostic> {
        let vips = self.options().family.vips();
        if pcap.is_some() && vips.len() > 1 {
            let what = Diagnostic::invalid_argument(
                "--pcap records one run, and this lab makes one for each family",
            );
            return Err(what.remedy("build the lab with --family 4 or --family 6"));
        }
        let mut report = RunReport { measurements: Vec::new(), findings: Vec::new() };
        for vip in vips {
            let measurements = self.measure(*vip, load, pcap)?;
            report.findings.extend(self.judge(&measurements));
            report.measurements.push(measurements);
        }
        Ok(report)
    }

    fn measure(
        &self,
        vip: IpAddr,
        load: ClientLoad,
        pcap: Option<&Path>,
    ) -> Result<Measurements, Diagnostic> {
        let (console, target) = (self.runner().console, SocketAddr::new(vip, PORT));
        let question = if vip.is_ipv4() { "ARP request" } else { "neighbor solicitation" };
        console.heading(&format!("router: {question} for the VIP"));
        let owners = self.owners(vip)?;
        console.heading(&format!("client: {} connections to http://{target}/", load.connections));
        let before = (self.table(target)?, self.director_frames()?);
        let capture = HelperProcess::start(&self.capture(pcap)?, self.interrupt())?;
        let answers = self.client(target, load)?;
        self.interrupt().sleep(LAST_FRAMES)?;
        let seen: FramesByHost = capture.finish()?;
        let (received, sent) = self.director_frames()?;
        let measurements = Measurements {
            vip,
            arp: self.options().arp,
            requested: load.connections,
            concurrency: load.concurrency,
            answers,
            owners,
            router_entry: self.router_entry(vip)?,
            seen,
            director_frames: (received - before.1.0, sent - before.1.1),
            table: self.table(target)?.since(&before.0),
        };
        self.show_tables()?;
        Ok(measurements)
    }

    /// Evaluates figures, and prints the findings.
    fn judge(&self, measurements: &Measurements) -> Vec<RunFinding> {
        let (console, findings) = (self.runner().console, evaluate(measurements));
        console.heading("findings");
        for finding in &findings {
            console.print(&finding.to_string());
        }
        if findings.iter().any(|finding| finding.outcome == RunOutcome::Expected) {
            console.print(&format!("\n{}", expected_means(measurements.vip)));
        }
        findings
    }

    fn capture(&self, pcap: Option<&Path>) -> Result<Step, Diagnostic> {
        let Some(file) = pcap else { return Ok(self.helper(LabHost::Switch, &["capture"])) };
        let name = file.to_str().ok_or_else(|| unwritable(file, "its name is not UTF-8"))?;
        Ok(self.helper(LabHost::Switch, &["capture", "--pcap", name]))
    }

    fn owners(&self, vip: IpAddr) -> Result<BTreeSet<MacAddr>, Diagnostic> {
        let step = self.helper(LabHost::Router, &["arp-query", "eth0", &vip.to_string()]);
        let text = self.runner().output(&step)?;
        self.runner().console.quote(&text);
        let macs = text.lines().filter_map(|line| line.split_whitespace().last());
        macs.map(|mac| mac.parse().map_err(|_| Diagnostic::system(format!("{step} printed: {text}"))))
            .collect()
    }

    fn client(&self, target: SocketAddr, load: ClientLoad) -> Result<Answers, Diagnostic> {
        let [connections, concurrency] =
            [load.connections, u64::from(load.concurrency)].map(|n| n.to_string());
        let target = target.to_string();
        let words = ["client", &target, "--connections", &connections, "--concurrency", &concurrency];
        let step = self.helper(LabHost::Client, &words);
        self.runner().console.print(&step.to_string());
        let mut client = HelperProcess::spawn(&step)?;
        while !client.has_ended()? {
            self.interrupt().sleep(Duration::from_millis(20))?;
        }
        client.finish()
    }

    /// Frames received and sent by the director's interface.
    fn director_frames(&self) -> Result<(u64, u64), Diagnostic> {
        let [received, sent] = ["rx_packets", "tx_packets"].map(|name| {
            let step = self.step(LabHost::Director, ["cat", &counter_path("eth0", name)]);
            let text = execute(&step)?;
            text.trim().parse().map_err(|_| Diagnostic::system(format!("{step} printed: {text}")))
        });
        Ok((received?, sent?))
    }

    fn router_entry(&self, vip: IpAddr) -> Result<Option<MacAddr>, Diagnostic> {
        let netns = self.options().namespace(LabHost::Router);
        let text = execute(&Step::new(&format!("ip -n {netns} neigh show {vip} dev eth0")))?;
        let mut words = text.split_whitespace().skip_while(|word| *word != "lladdr");
        Ok(words.nth(1).and_then(|mac| mac.parse().ok()))
    }

    fn table(&self, vip: SocketAddr) -> Result<DirectorTable, Diagnostic> {
        let service = self
            .query(Blocking::services)?
            .services
            .into_iter()
            .find(|one| one.identity.address().is_some_and(|of| of.address == vip));
        let service =
            service.ok_or_else(|| Diagnostic::system(format!("the director has no service {vip}")))?;
        let host = |address: IpAddr| {
            let layout = self.options().layout;
            LabHost::REAL_SERVERS
                .into_iter()
                .find(|host| host.address_beside(vip.ip(), layout) == Some(address))
        };
        let mut table =
            DirectorTable { state: service.state, service: service.stats, ..DirectorTable::default() };
        for server in service.servers {
            if let Some(host) = host(server.address.ip()) {
                table.servers.insert(host, server.stats);
            }
        }
        Ok(table)
    }

    fn show_tables(&self) -> Result<(), Diagnostic> {
        self.runner().console.heading("director: its tables");
        self.show(&["ipvsadm", "-Ln"])?;
        self.show(&["ipvsadm", "-Ln", "--stats"])?;
        let drops = self.query(Blocking::drops)?;
        if drops.iter().any(|drop| drop.frames > 0) {
            self.show(&["drops"])?;
        }
        Ok(())
    }

    /// Prints the output of `directrix words`.
    fn show(&self, words: &[&str]) -> Result<(), Diagnostic> {
        let (exe, socket) = (self.options().exe.display().to_string(), self.socket().display().to_string());
        let all = [exe.as_str(), "--socket", &socket].into_iter().chain(words.iter().copied());
        let text = self.runner().output(&self.step(LabHost::Director, all))?;
        self.runner().console.print(&text);
        Ok(())
    }

    fn query<T>(&self, request: impl FnOnce(&Blocking) -> Result<T, Diagnostic>) -> Result<T, Diagnostic> {
        let client = Blocking::new(&self.socket())?;
        request(&client).map_err(|error| match self.process("director") {
            Ok(process) if process.is_alive() => {
                Diagnostic::system("querying the director").cause(error.to_string())
            }
            _ => Diagnostic::system(format!("the director has ended; its log:\n{}", self.log())),
        })
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.file("director.log")).unwrap_or_default()
    }

    /// Hidden subcommand of `directrix lab` in the namespace of `host`.
    fn helper(&self, host: LabHost, words: &[&str]) -> Step {
        let exe = self.options().exe.display().to_string();
        self.step(host, [exe.as_str(), "lab"].iter().chain(words).map(|word| (*word).to_owned()))
    }
}
