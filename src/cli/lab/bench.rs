//! `directrix lab bench`: throughput and latency beside peers.

use super::exe;
use crate::lab::bench::arena::{self, Options, Veth};
use crate::lab::bench::external::{self, External, Place};
use crate::lab::bench::plan::Plan;
use crate::lab::bench::session::Request;
use crate::lab::bench::trial::{Contender, Kind, Traffic};
use crate::lab::runner::check_root;
use crate::lab::{Console, Interrupt, LabError};
use crate::wire::MacAddr;
use clap::value_parser;
use std::path::PathBuf;
use std::process::ExitCode;

/// The subcommand's arguments.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Who takes part, in turn
    #[arg(
        long, value_enum, value_name = "NAME", value_delimiter = ',',
        default_values_t = [Contender::Xdp, Contender::Packet, Contender::L2fwd, Contender::Hairpin, Contender::Nft],
    )]
    contenders: Vec<Contender>,
    /// Connections; several numbers are measured one after the other [default: 65536,1048576; with --quick 65536]
    #[arg(long, value_name = "N", value_delimiter = ',', value_parser = value_parser!(u32).range(1..=FLOWS_MAX))]
    flows: Vec<u32>,
    /// Real servers
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = value_parser!(u16).range(1..=10_000))]
    servers: u16,
    /// Length of a frame in bytes, without its check sequence
    #[arg(long, value_name = "BYTES", default_value_t = 60, value_parser = value_parser!(u16).range(60..=1514))]
    frame_len: u16,
    /// What the frames are
    #[arg(long, value_enum, default_value_t)]
    kind: Kind,
    /// Rounds of what is compared; each has a trial of every contender [default: 11; with --quick 3]
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..=1001))]
    pairs: Option<u32>,
    /// Length of one trial [default: 1; with --quick 0.3]
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    seconds: Option<f64>,
    /// Frames a second at which the latencies of all are compared
    #[arg(long, value_name = "RATE", default_value_t = 10_000, value_parser = value_parser!(u64).range(1..))]
    low_rate: u64,
    /// Folder of the report; one that holds a report is refused [default: directrix-bench, or
    /// directrix-bench-2 and so on where that is taken]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Fewer and shorter trials: a look, not a result
    #[arg(long)]
    quick: bool,
    /// Measure a device behind this interface instead of contenders in namespaces
    #[arg(long, value_name = "IF", requires = "peer_mac", conflicts_with = "contenders")]
    interface: Option<String>,
    /// MAC address of that device
    #[arg(long, value_name = "MAC", requires = "interface", value_parser = station)]
    peer_mac: Option<MacAddr>,
}

/// Half of the largest connection table: a flood needs room, too.
const FLOWS_MAX: i64 = 134_217_728;

/// The times of one trial that make sense: shorter ones are all start and end.
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
pub(super) fn main(args: &Args) -> Result<ExitCode, LabError> {
    let request = args.request();
    request.check()?;
    check_root()?;
    let interrupt = Interrupt::install()?;
    match args.place() {
        None => on_veth(&request, interrupt)?,
        Some(place) => behind(&place, &request, &interrupt)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// On veth pairs in network namespaces.
fn on_veth(request: &Request, interrupt: Interrupt) -> Result<(), LabError> {
    let options = Options::new(format!("bench{}", std::process::id()), exe()?, interrupt)?;
    let build = |contenders: &[_], traffic| Veth::up(options.clone(), contenders, traffic);
    request.run(&Console::stdout(), build).map(|_| ())
}

/// On a real interface, with a device behind it.
fn behind(place: &Place, request: &Request, interrupt: &Interrupt) -> Result<(), LabError> {
    place.check()?;
    let console = Console::stdout();
    let build = |_: &[_], traffic| {
        console.say(&external::instruction(place, &traffic));
        External::open(place, traffic, interrupt.clone())
    };
    request.run(&console, build).map(|_| ())
}

impl Args {
    fn place(&self) -> Option<Place> {
        let (interface, peer) = (self.interface.clone()?, self.peer_mac?);
        Some(Place { interface, peer })
    }

    fn request(&self) -> Request {
        let setting = match self.place() {
            None => arena::setting(),
            Some(Place { interface, peer }) => format!("interface {interface}, device {peer} behind it"),
        };
        Request { plan: self.plan(), traffics: self.traffics(), out: self.out.clone(), setting }
    }

    fn plan(&self) -> Plan {
        let (rounds, seconds, confirmations, resolution) =
            if self.quick { (3, 0.3, 3, 0.04) } else { (11, 1.0, 5, 0.01) };
        let rounds = self.pairs.unwrap_or(rounds);
        Plan {
            contenders: if self.interface.is_some() {
                vec![Contender::External]
            } else {
                self.contenders.clone()
            },
            rounds,
            curve_rounds: rounds.div_ceil(4),
            seconds: self.seconds.unwrap_or(seconds),
            resolution,
            tries: 3,
            confirmations,
            low_rate: self.low_rate,
        }
    }

    fn traffics(&self) -> Vec<Traffic> {
        let by_default: &[u32] = if self.quick { &[65_536] } else { &[65_536, 1_048_576] };
        let flows = if self.flows.is_empty() { by_default } else { &self.flows };
        let (servers, frame_len, kind) = (self.servers, self.frame_len, self.kind);
        flows.iter().map(|&flows| Traffic { flows, servers, frame_len, kind }).collect()
    }
}
