//! `directrix lab`: the reference deployment in network namespaces.

mod bench;

use super::exe::exe;
use super::status::fail_as;
use crate::cli::number;
use crate::lab::{
    Arp, ClientLoad, Console, Deployment, Family, Interrupt, LabBackend, LabHost, LabOptions, Layout,
    arp_query, capture, deployment, ha, http_client, http_server, ndp_query, reference, shell,
};
use crate::model::Diagnostic;
use crate::wire::MacAddr;
use clap::Subcommand;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;

/// The subcommand's arguments.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, after_help = "Without a command: up, run, down.")]
pub(super) struct Args {
    #[command(subcommand)]
    command: Option<LabCommand>,
    #[command(flatten)]
    name: NameArgs,
    #[command(flatten)]
    build: BuildArgs,
    #[command(flatten)]
    traffic: TrafficArgs,
    #[command(flatten)]
    record: CaptureArgs,
}

#[derive(Debug, Subcommand)]
enum LabCommand {
    /// Build the deployment and leave it running
    Up {
        #[command(flatten)]
        name: NameArgs,
        #[command(flatten)]
        build: BuildArgs,
    },
    /// Take the deployment down
    Down {
        #[command(flatten)]
        name: NameArgs,
    },
    /// Open the connections and compare all counters
    Run {
        #[command(flatten)]
        name: NameArgs,
        #[command(flatten)]
        traffic: TrafficArgs,
        #[command(flatten)]
        record: CaptureArgs,
    },
    /// Open a shell, or run one command, on a host of the deployment
    Shell {
        #[command(flatten)]
        name: NameArgs,
        host: LabHost,
        /// Command to run [default: an interactive shell]
        #[arg(last = true, value_name = "CMD")]
        command: Vec<String>,
    },
    /// Drill: two directors with keepalived and connection sync; what is lost when the master is switched, killed, cut off, restarted, upgraded
    Ha(HaArgs),
    /// Measure throughput and latency, compared with reference forwarders
    Bench(bench::Args),
    #[command(hide = true)]
    ServeHttp { name: String, addresses: Vec<SocketAddr> },
    #[command(hide = true)]
    ServeEcho { addresses: Vec<SocketAddr> },
    #[command(hide = true)]
    Hold { target: SocketAddr },
    #[command(hide = true)]
    Client {
        target: SocketAddr,
        #[command(flatten)]
        traffic: TrafficArgs,
    },
    #[command(hide = true)]
    ArpQuery { interface: String, target: IpAddr },
    #[command(hide = true)]
    Capture {
        #[arg(long)]
        pcap: Option<PathBuf>,
    },
    #[command(hide = true)]
    BenchL2fwd { interface: String, core: usize, server: MacAddr },
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Exit status: 0 if a planned switch, a restart and an upgrade lose no connection, and a kill and a pulled link one in a thousand at most; else 1.")]
struct HaArgs {
    /// Prefix of the network namespaces
    #[arg(long, default_value = "directrix-ha")]
    name: String,
    /// Backend of both directors
    #[arg(long, value_enum, default_value_t)]
    backend: LabBackend,
    /// Connections over IPv6
    #[arg(long)]
    ipv6: bool,
    /// Connections that the client holds
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = number::within(1..=20_000_u16))]
    connections: u16,
    /// Times that the master is killed by SIGKILL
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = number::within(1..=1000_u16))]
    kills: u16,
    /// Times that a new process takes over from the master's
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = number::within(1..=1000_u16))]
    upgrades: u16,
}

#[derive(Debug, clap::Args)]
struct NameArgs {
    /// Prefix of the network namespaces; labs with different names run side by side
    #[arg(long, default_value = "directrix")]
    name: String,
}

#[derive(Debug, clap::Args)]
struct BuildArgs {
    /// Backend of the director
    #[arg(long, value_enum, default_value_t)]
    backend: LabBackend,
    /// ARP suppression on the real servers
    #[arg(long, value_enum, default_value_t)]
    arp: Arp,
    /// Subnets of the VIP and of the real servers
    #[arg(long, value_enum, default_value_t)]
    layout: Layout,
    /// Address families of the hosts and of the virtual services
    #[arg(long, value_enum, default_value_t)]
    family: Family,
}

#[derive(Debug, clap::Args)]
struct TrafficArgs {
    /// Connections that the client opens
    #[arg(long, value_name = "N", default_value_t = ClientLoad::default().connections, value_parser = number::within(1..=u64::MAX))]
    connections: u64,
    /// Concurrent connections
    #[arg(long, value_name = "N", default_value_t = ClientLoad::default().concurrency, value_parser = number::within(1..=1000_u16))]
    concurrency: u16,
}

#[derive(Debug, clap::Args)]
struct CaptureArgs {
    /// Capture all frames of the segment to this file (pcapng, for Wireshark and tcpdump), each at the
    /// switch port where it arrives
    #[arg(long, value_name = "FILE")]
    pcap: Option<PathBuf>,
}

impl CaptureArgs {
    fn check(&self) -> Result<(), Diagnostic> {
        if let Some(pcap) = &self.pcap {
            reference::check_pcap(pcap)?;
        }
        Ok(())
    }
}

impl TrafficArgs {
    fn load(&self) -> ClientLoad {
        ClientLoad { connections: self.connections, concurrency: self.concurrency }
    }
}

/// Runs the subcommand.
pub(super) fn main(args: &Args) -> ExitCode {
    let done = match &args.command {
        None => complete(args),
        Some(LabCommand::Up { name, build }) => up(name, build),
        Some(LabCommand::Down { name }) => down(name),
        Some(LabCommand::Run { name, traffic, record }) => run(name, traffic, record),
        Some(LabCommand::Shell { name, host, command }) => shell::enter(&name.name, *host, command),
        Some(LabCommand::Ha(args)) => drill(args),
        Some(LabCommand::Bench(args)) => bench::main(args),
        Some(LabCommand::ServeEcho { addresses }) => exit_status(ha::echo::run(addresses)),
        Some(LabCommand::Hold { target }) => exit_status(ha::holder::run(*target)),
        Some(LabCommand::ServeHttp { name, addresses }) => exit_status(http_server::run(name, addresses)),
        Some(LabCommand::Client { target, traffic }) => connect(*target, traffic),
        Some(LabCommand::ArpQuery { interface, target }) => exit_status(owners(interface, *target)),
        Some(LabCommand::Capture { pcap }) => exit_status(capture::run(pcap.as_deref())),
        Some(LabCommand::BenchL2fwd { interface, core, server }) => {
            crate::bench_wire::dut::run_l2fwd(interface, *core, *server).map(|()| ExitCode::SUCCESS)
        }
    };
    done.unwrap_or_else(|error| fail_as("directrix lab", &error))
}

fn complete(args: &Args) -> Result<ExitCode, Diagnostic> {
    args.record.check()?;
    let options = options(&args.name, &args.build)?;
    let deployment = Deployment::up(options, Console::stdout(), Interrupt::install()?)?;
    let mut report = deployment.record(args.traffic.load(), args.record.pcap.as_deref())?;
    report.findings.extend(deployment.show_fault()?);
    deployment.down()?;
    Ok(exit_code(report.is_good()))
}

fn drill(args: &HaArgs) -> Result<ExitCode, Diagnostic> {
    let HaArgs { name, backend, ipv6, connections, kills, upgrades } = args;
    let options = ha::DrillOptions {
        name: name.clone(),
        exe: exe()?,
        backend: *backend,
        is_ipv6: *ipv6,
        connections: usize::from(*connections),
        kills: usize::from(*kills),
        upgrades: usize::from(*upgrades),
    };
    let console = Console::stdout();
    let report = ha::run(&options, &console, &Interrupt::install()?)?;
    console.heading("What was lost");
    console.print(report.to_string().trim_end());
    Ok(exit_code(report.is_good()))
}

fn up(name: &NameArgs, build: &BuildArgs) -> Result<ExitCode, Diagnostic> {
    let deployment = Deployment::up(options(name, build)?, Console::stdout(), Interrupt::install()?)?;
    println!("\n{}", shell::hints(&deployment));
    deployment.leave();
    Ok(ExitCode::SUCCESS)
}

fn down(name: &NameArgs) -> Result<ExitCode, Diagnostic> {
    let _signals = Interrupt::install()?;
    if !deployment::down(&name.name, &Console::stdout())? {
        println!("no lab '{}' is up", name.name);
    }
    Ok(ExitCode::SUCCESS)
}

fn run(name: &NameArgs, traffic: &TrafficArgs, record: &CaptureArgs) -> Result<ExitCode, Diagnostic> {
    record.check()?;
    let deployment = Deployment::attach(&name.name, Console::stdout(), Interrupt::install()?)?;
    Ok(exit_code(deployment.record(traffic.load(), record.pcap.as_deref())?.is_good()))
}

fn options(name: &NameArgs, build: &BuildArgs) -> Result<LabOptions, Diagnostic> {
    let BuildArgs { backend, arp, layout, family } = *build;
    Ok(LabOptions { backend, arp, layout, family, ..LabOptions::new(name.name.clone(), exe()?) })
}

fn exit_code(good: bool) -> ExitCode {
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn connect(target: SocketAddr, traffic: &TrafficArgs) -> Result<ExitCode, Diagnostic> {
    let answers = http_client::run(target, traffic.connections, traffic.concurrency)
        .map_err(|error| Diagnostic::system(error.to_string()))?;
    let text = serde_json::to_string(&answers).map_err(|error| Diagnostic::system(error.to_string()))?;
    println!("{text}");
    Ok(exit_code(answers.total() == traffic.connections))
}

fn owners(interface: &str, target: IpAddr) -> io::Result<()> {
    let found = match target {
        IpAddr::V4(target) => arp_query::run(interface, target)?,
        IpAddr::V6(target) => ndp_query::run(interface, target)?,
    };
    for mac in found {
        println!("{target} is at {mac}");
    }
    Ok(())
}

fn exit_status(done: io::Result<()>) -> Result<ExitCode, Diagnostic> {
    done.map(|()| ExitCode::SUCCESS).map_err(|error| Diagnostic::system(error.to_string()))
}
