//! `directrix lab bench`: throughput and latency, compared with reference forwarders.

use crate::bench_wire::device;
use crate::bench_wire::dut;
use crate::bench_wire::external::{self, ExternalTestbed, TesterPort};
use crate::bench_wire::plan::TrialPlan;
use crate::bench_wire::session::BenchRequest;
use crate::bench_wire::testbed::{self, TestbedOptions, VethTestbed};
use crate::bench_wire::trial::{Dut, Traffic, TrafficKind};
use crate::cli::exe::exe;
use crate::cli::number;
use crate::lab::runner::check_root;
use crate::lab::{Console, Interrupt, programs};
use crate::model::Diagnostic;
use crate::wire::MacAddr;
use std::path::PathBuf;
use std::process::ExitCode;

/// The subcommand's arguments.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Forwarders to compare, measured in turn [default: xdp,packet,l2fwd,hairpin,nft]
    #[arg(long, alias = "contenders", value_enum, value_name = "NAME", value_delimiter = ',')]
    duts: Vec<Dut>,
    /// Connections; several values are measured one after the other [default: 65536,1048576; with --quick
    /// 65536; with --external-generator the capacity of the connection table, 1048576]
    #[arg(long, value_name = "N", value_delimiter = ',', value_parser = number::within(1..=FLOWS_MAX))]
    flows: Vec<u32>,
    /// Real servers
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = number::within(1..=10_000_u16))]
    servers: u16,
    /// Frame length in bytes, without FCS
    #[arg(long, value_name = "BYTES", default_value_t = 60, value_parser = number::within(60..=1514_u16))]
    frame_len: u16,
    /// Kind of traffic
    #[arg(long, value_enum, default_value_t)]
    kind: TrafficKind,
    /// Rounds; each has one trial of every forwarder [default: 11; with --quick 3]
    #[arg(long, value_name = "N", value_parser = number::within(1..=1001_u32))]
    pairs: Option<u32>,
    /// Length of one trial in seconds [default: 1; with --quick 0.3; with --external-generator 10 and 3]
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    seconds: Option<f64>,
    /// Rate at which the latencies of all forwarders are compared, in frames per second
    #[arg(long, value_name = "RATE", default_value_t = 10_000, value_parser = number::within(1..=u64::MAX))]
    low_rate: u64,
    /// Output directory; one that holds a report is refused [default: directrix-bench, or
    /// directrix-bench-2 and so on where that exists]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Fewer and shorter trials, for a first look
    #[arg(long)]
    quick: bool,
    /// Measure a device behind this interface instead of forwarders in namespaces
    #[arg(long, value_name = "IF", requires = "peer_mac")]
    interface: Option<String>,
    /// Measure forwarders on that interface, one after the other, while another machine sends
    /// frames for 198.18.0.1:80 to it without a pause
    #[arg(long, requires = "interface", conflicts_with_all = ["frame_len", "kind", "low_rate"])]
    external_generator: bool,
    /// MAC address of that device; with --external-generator, of the station that receives the forwarded frames
    #[arg(long, value_name = "MAC", requires = "interface", value_parser = station)]
    peer_mac: Option<MacAddr>,
}

/// Default DUTs.
const DUTS: [Dut; 5] = [Dut::Xdp, Dut::Packet, Dut::L2fwd, Dut::Hairpin, Dut::Nft];

/// Half of the largest flow table; the other half is for a SYN flood.
const FLOWS_MAX: u32 = 134_217_728;

/// Permitted lengths of one trial. Shorter trials measure only start and end.
const SECONDS: std::ops::RangeInclusive<f64> = 0.05..=3600.0;

fn seconds(word: &str) -> Result<f64, String> {
    let time = word.parse().ok().filter(|time| SECONDS.contains(time));
    time.ok_or_else(|| format!("write seconds from {} to {}, as in 0.5", SECONDS.start(), SECONDS.end()))
}

fn station(word: &str) -> Result<MacAddr, String> {
    let mac = word.parse().ok().filter(|mac: &MacAddr| mac.is_unicast());
    mac.ok_or_else(|| "write the device's own address, as in 02:00:5e:10:00:01".into())
}

/// Runs the subcommand.
pub(super) fn main(args: &Args) -> Result<ExitCode, Diagnostic> {
    match args.place() {
        Some(place) if args.external_generator => from_outside(&args.device(place)?)?,
        place => from_here(args, place)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Measures with the generator on this machine.
fn from_here(args: &Args, place: Option<TesterPort>) -> Result<(), Diagnostic> {
    args.check()?;
    let mut request = args.request();
    request.check()?;
    check_root()?;
    programs::check(testbed::PROGRAMS.iter().copied().filter(|_| place.is_none()))?;
    (request.plan.duts, request.left_out) = dut::available(&request.plan.duts, &programs::search_path())?;
    let interrupt = Interrupt::install()?;
    match place {
        None => on_veth(&request, interrupt),
        Some(place) => behind(&place, &request, &interrupt),
    }
}

/// Measures on veth pairs in network namespaces.
fn on_veth(request: &BenchRequest, interrupt: Interrupt) -> Result<(), Diagnostic> {
    let options = TestbedOptions::new(format!("bench{}", std::process::id()), exe()?, interrupt)?;
    request
        .run(&Console::stdout(), |duts, traffic| VethTestbed::up(options.clone(), duts, traffic))
        .map(|_| ())
}

/// Measures a device behind a real interface.
fn behind(place: &TesterPort, request: &BenchRequest, interrupt: &Interrupt) -> Result<(), Diagnostic> {
    place.check()?;
    let console = Console::stdout();
    let report = request.run(&console, |_, traffic| {
        console.print(&external::instruction(place, &traffic));
        ExternalTestbed::open(place, traffic, interrupt.clone())
    });
    report.map(|_| ())
}

/// Measures DUTs on a real interface, with a generator behind it.
fn from_outside(request: &device::DeviceRequest) -> Result<(), Diagnostic> {
    check_root()?;
    request.run(exe()?, &Console::stdout(), Interrupt::install()?).map(|_| ())
}

impl Args {
    fn check(&self) -> Result<(), Diagnostic> {
        if self.interface.is_none() || self.duts.is_empty() {
            return Ok(());
        }
        Err(Diagnostic::invalid_argument("--interface measures the device behind it, not --duts")
            .remedy("leave them out, or add --external-generator to measure them on this interface"))
    }

    fn place(&self) -> Option<TesterPort> {
        let (interface, peer) = (self.interface.clone()?, self.peer_mac?);
        Some(TesterPort { interface, peer })
    }

    fn request(&self) -> BenchRequest {
        let setting = match self.place() {
            None => testbed::setting(),
            Some(TesterPort { interface, peer }) => format!("interface {interface}, device {peer} behind it"),
        };
        let (plan, traffics, left_out) = (self.plan(), self.traffics(), Vec::new());
        BenchRequest { plan, traffics, out: self.out.clone(), setting, left_out }
    }

    fn plan(&self) -> TrialPlan {
        let (rounds, seconds, confirmations, resolution) =
            if self.quick { (3, 0.3, 3, 0.04) } else { (11, 1.0, 5, 0.01) };
        let rounds = self.pairs.unwrap_or(rounds);
        TrialPlan {
            duts: if self.interface.is_some() { vec![Dut::External] } else { self.duts() },
            rounds,
            curve_rounds: rounds.div_ceil(4),
            seconds: self.seconds.unwrap_or(seconds),
            resolution,
            tries: 3,
            confirmations,
            low_rate: self.low_rate,
        }
    }

    fn duts(&self) -> Vec<Dut> {
        if self.duts.is_empty() { DUTS.to_vec() } else { self.duts.clone() }
    }

    /// The request for `--external-generator`.
    fn device(&self, place: TesterPort) -> Result<device::DeviceRequest, Diagnostic> {
        let (rounds, seconds) = if self.quick { (3, 3.0) } else { (11, 10.0) };
        let (duts, left_out) = dut::available(&self.duts(), &programs::search_path())?;
        let plan = device::plan::DevicePlan {
            duts,
            rounds: self.pairs.unwrap_or(rounds),
            seconds: self.seconds.unwrap_or(seconds),
            flows: self.room()?,
            servers: self.servers,
        };
        let port = device::interface::DutPort { interface: place.interface, station: place.peer };
        Ok(device::DeviceRequest { port, plan, out: self.out.clone(), left_out })
    }

    fn room(&self) -> Result<u32, Diagnostic> {
        match self.flows[..] {
            [] => Ok(1_048_576),
            [flows] => Ok(flows),
            _ => Err(Diagnostic::invalid_argument(
                "--flows names several numbers, and the generator's cannot be changed from here",
            )
            .remedy("name one")),
        }
    }

    fn traffics(&self) -> Vec<Traffic> {
        let by_default: &[u32] = if self.quick { &[65_536] } else { &[65_536, 1_048_576] };
        let flows = if self.flows.is_empty() { by_default } else { &self.flows };
        let (servers, frame_len, kind) = (self.servers, self.frame_len, self.kind);
        flows.iter().map(|&flows| Traffic { flows, servers, frame_len, kind }).collect()
    }
}
