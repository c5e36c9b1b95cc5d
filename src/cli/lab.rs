//! The reference deployment in network namespaces.

mod bench;

use crate::cli::number;
use crate::lab::{
    Arp, ClientLoad, Console, Deployment, Interrupt, LabBackend, LabError, LabHost, LabOptions, Layout,
    arp_query, capture, deployment, http_client, http_server, reference, shell,
};
use crate::wire::MacAddr;
use clap::Subcommand;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;

/// The subcommand's arguments.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, after_help = "Without a command: up, run, down.")]
pub(super) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    name: Name,
    #[command(flatten)]
    build: Build,
    #[command(flatten)]
    traffic: Traffic,
    #[command(flatten)]
    record: Record,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Build the deployment and leave it running
    Up {
        #[command(flatten)]
        name: Name,
        #[command(flatten)]
        build: Build,
    },
    /// Take the deployment down
    Down {
        #[command(flatten)]
        name: Name,
    },
    /// Send the connections, and compare all counters
    Run {
        #[command(flatten)]
        name: Name,
        #[command(flatten)]
        traffic: Traffic,
        #[command(flatten)]
        record: Record,
    },
    /// Open a shell, or run one command, on a host of the deployment
    Shell {
        #[command(flatten)]
        name: Name,
        host: LabHost,
        /// Command to run [default: an interactive shell]
        #[arg(last = true, value_name = "CMD")]
        command: Vec<String>,
    },
    /// Measure throughput and latency, compared with reference forwarders
    Bench(bench::Args),
    #[command(hide = true)]
    ServeHttp { name: String, addresses: Vec<SocketAddr> },
    #[command(hide = true)]
    Client {
        target: SocketAddr,
        #[command(flatten)]
        traffic: Traffic,
    },
    #[command(hide = true)]
    ArpQuery { interface: String, target: Ipv4Addr },
    #[command(hide = true)]
    Capture {
        #[arg(long)]
        pcap: Option<PathBuf>,
    },
    #[command(hide = true)]
    BenchL2fwd { interface: String, core: usize, server: MacAddr },
}

#[derive(Debug, clap::Args)]
struct Name {
    /// Prefix of the network namespaces; labs with different names run side by side
    #[arg(long, default_value = "directrix")]
    name: String,
}

#[derive(Debug, clap::Args)]
struct Build {
    /// Backend of the director
    #[arg(long, value_enum, default_value_t)]
    backend: LabBackend,
    /// ARP suppression on the real servers
    #[arg(long, value_enum, default_value_t)]
    arp: Arp,
    /// Subnets of the VIP and of the real servers
    #[arg(long, value_enum, default_value_t)]
    layout: Layout,
}

#[derive(Debug, clap::Args)]
struct Traffic {
    /// Connections that the client opens
    #[arg(long, value_name = "N", default_value_t = ClientLoad::default().connections, value_parser = number::within(1..=u64::MAX))]
    connections: u64,
    /// Concurrent connections
    #[arg(long, value_name = "N", default_value_t = ClientLoad::default().concurrency, value_parser = number::within(1..=1000_u16))]
    concurrency: u16,
}

#[derive(Debug, clap::Args)]
struct Record {
    /// Write every frame of the segment to this file (pcapng, for Wireshark and tcpdump), at the switch
    /// port where it comes in
    #[arg(long, value_name = "FILE")]
    pcap: Option<PathBuf>,
}

impl Record {
    fn check(&self) -> Result<(), LabError> {
        self.pcap.as_deref().map_or(Ok(()), reference::check_pcap)
    }
}

impl Traffic {
    fn load(&self) -> ClientLoad {
        ClientLoad { connections: self.connections, concurrency: self.concurrency }
    }
}

/// Runs the subcommand.
pub(super) fn main(args: &Args) -> ExitCode {
    let done = match &args.command {
        None => complete(args),
        Some(Command::Up { name, build }) => up(name, build),
        Some(Command::Down { name }) => down(name),
        Some(Command::Run { name, traffic, record }) => run(name, traffic, record),
        Some(Command::Shell { name, host, command }) => shell::enter(&name.name, *host, command),
        Some(Command::Bench(args)) => bench::main(args),
        Some(Command::ServeHttp { name, addresses }) => told(http_server::run(name, addresses)),
        Some(Command::Client { target, traffic }) => ask(*target, traffic),
        Some(Command::ArpQuery { interface, target }) => told(owners(interface, *target)),
        Some(Command::Capture { pcap }) => told(capture::run(pcap.as_deref())),
        Some(Command::BenchL2fwd { interface, core, server }) => {
            crate::bench_wire::dut::run_l2fwd(interface, *core, *server).map(|()| ExitCode::SUCCESS)
        }
    };
    done.unwrap_or_else(|error| {
        eprintln!("directrix lab: {error}");
        error.exit_code()
    })
}

fn complete(args: &Args) -> Result<ExitCode, LabError> {
    args.record.check()?;
    let options = options(&args.name, &args.build)?;
    let deployment = Deployment::up(options, Console::stdout(), Interrupt::install()?)?;
    let report = deployment.record(args.traffic.load(), args.record.pcap.as_deref())?;
    deployment.down()?;
    Ok(exit_code(report.is_good()))
}

fn up(name: &Name, build: &Build) -> Result<ExitCode, LabError> {
    let deployment = Deployment::up(options(name, build)?, Console::stdout(), Interrupt::install()?)?;
    println!("\n{}", shell::hints(&deployment));
    deployment.leave();
    Ok(ExitCode::SUCCESS)
}

fn down(name: &Name) -> Result<ExitCode, LabError> {
    let _signals = Interrupt::install()?;
    if !deployment::down(&name.name, &Console::stdout())? {
        println!("no lab '{}' is up", name.name);
    }
    Ok(ExitCode::SUCCESS)
}

fn run(name: &Name, traffic: &Traffic, record: &Record) -> Result<ExitCode, LabError> {
    record.check()?;
    let deployment = Deployment::attach(&name.name, Console::stdout(), Interrupt::install()?)?;
    Ok(exit_code(deployment.record(traffic.load(), record.pcap.as_deref())?.is_good()))
}

fn options(name: &Name, build: &Build) -> Result<LabOptions, LabError> {
    let (backend, arp, layout) = (build.backend, build.arp, build.layout);
    Ok(LabOptions { backend, arp, layout, ..LabOptions::new(name.name.clone(), exe()?) })
}

fn exe() -> Result<PathBuf, LabError> {
    std::env::current_exe()
        .map_err(|error| LabError::Failed(format!("cannot tell where this program is: {error}")))
}

fn exit_code(good: bool) -> ExitCode {
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn ask(target: SocketAddr, traffic: &Traffic) -> Result<ExitCode, LabError> {
    let answers = http_client::run(target, traffic.connections, traffic.concurrency)
        .map_err(|error| LabError::Failed(error.to_string()))?;
    let text = serde_json::to_string(&answers).map_err(|error| LabError::Failed(error.to_string()))?;
    println!("{text}");
    Ok(exit_code(answers.total() == traffic.connections))
}

fn owners(interface: &str, target: Ipv4Addr) -> io::Result<()> {
    for mac in arp_query::run(interface, target)? {
        println!("{target} is at {mac}");
    }
    Ok(())
}

fn told(done: io::Result<()>) -> Result<ExitCode, LabError> {
    done.map(|()| ExitCode::SUCCESS).map_err(|error| LabError::Failed(error.to_string()))
}
