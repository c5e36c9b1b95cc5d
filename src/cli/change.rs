//! `reload`, `plan`, `save` and `drain`.

use super::number;
use super::output::{self, IfThere};
use super::status::{BAD_INPUT, fail};
use crate::control::api::request::ChangeRequest;
use crate::control::api::{self, Draft, path};
use crate::control::client::{Blocking, ClientError};
use crate::model::{Config, Diagnostics, Difference, Rules, ServiceAddress, read_file, read_input};
use crate::wire::Protocol;
use anyhow::Context;
use nix::sys::signal::{SigSet, Signal};
use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How often progress is looked at.
const LOOK: Duration = Duration::from_millis(500);

/// The state of a server that drains, in listings.
const DRAINING: &str = "draining";

/// The arguments of `directrix plan`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Exit status:
  0  a reload would accept the file
  1  a reload would refuse it, with the reason on stderr; or no director answers
  2  the file has errors")]
pub(super) struct Plan {
    /// Configuration file to compare with the running configuration; "-": standard input
    file: PathBuf,
}

/// The arguments of `directrix save`.
#[derive(Debug, clap::Args)]
pub(super) struct Save {
    /// Write to this file instead of standard output; an existing file is replaced as a whole and keeps its permissions
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// The arguments of `directrix drain`.
#[derive(Debug, clap::Args)]
pub(super) struct Drain {
    /// The service, as in tcp:192.168.195.150:80
    #[arg(value_parser = service)]
    service: ServiceAddress,
    /// The real server's RIP
    #[arg(value_parser = rip)]
    server: IpAddr,
    /// Remove the server after this time, even if it still has connections
    #[arg(long, value_name = "SECONDS", value_parser = number::seconds)]
    deadline: Option<u32>,
    /// Return at once; the drain continues in the director
    #[arg(long)]
    no_wait: bool,
}

/// Has the director read its configuration file again, and prints what became different.
pub(super) fn reload(socket: &Path) -> ExitCode {
    with(socket, "reload", |director| {
        let changes = director.reload()?;
        changes.iter().for_each(|change| println!("{change}"));
        if changes.is_empty() {
            println!("nothing has changed");
        }
        Ok(())
    })
}

/// Prints what would become different if the director went by a file, and whether it would.
pub(super) fn plan(args: &Plan, socket: &Path) -> ExitCode {
    let (draft, config) = match read(&args.file) {
        Ok(read) => read,
        Err(errors) => {
            eprintln!("{errors}");
            return ExitCode::from(BAD_INPUT);
        }
    };
    with(socket, "plan", |director| {
        let plan = match director.plan(&draft) {
            Err(ClientError::Forbidden { may_read: true, .. }) => compare(&config, &director.config()?),
            plan => plan?,
        };
        plan.changes.iter().for_each(|change| println!("{change}"));
        plan.restarts.iter().for_each(|key| println!("! {key}: only a new start changes that"));
        match plan.refusal {
            Some(refusal) => anyhow::bail!("a reload would refuse the whole file: {refusal}"),
            None if plan.changes.is_empty() => println!("nothing would change"),
            None => {}
        }
        Ok(())
    })
}

/// What is in a file, or at standard input.
fn read(file: &Path) -> Result<(Draft, Config), Diagnostics> {
    let (name, bytes) = match file.to_str() {
        Some("-") => (Path::new("stdin"), read_input(std::io::stdin().lock())),
        _ => (file, read_file(file)),
    };
    let draft = Draft::of(name, &bytes.map_err(|error| error.in_file(name))?)?;
    let config = draft.parse()?;
    Ok((draft, config))
}

/// As much of a plan as somebody can be told who may not change: the director does not judge for them.
fn compare(config: &Config, running: &Config) -> api::Plan {
    eprintln!("directrix: whether real servers are on-link is told only to those who may change");
    let restarts = running.director.restarts(&config.director);
    let changes = rules(running).differences(&rules(config));
    api::Plan {
        changes: changes.iter().map(ToString::to_string).collect(),
        refusal: (!restarts.is_empty())
            .then(|| format!("{}: only a new start changes that", restarts.join(", "))),
        restarts: restarts.into_iter().map(Into::into).collect(),
    }
}

/// Writes the running configuration as a file.
pub(super) fn save(args: &Save, socket: &Path) -> ExitCode {
    with(socket, "save", |director| {
        let text = director.text(path::CONFIG)?;
        match &args.output {
            None => std::io::stdout().write_all(text.as_bytes())?,
            Some(file) => {
                let included = included(file);
                output::write(file, &text, IfThere::Replace)
                    .with_context(|| format!("{} cannot be written", file.display()))?;
                tell_no_longer_included(file, &included);
            }
        }
        Ok(())
    })
}

/// The files that a configuration file includes, if it can be read.
fn included(file: &Path) -> Vec<String> {
    // What is no regular file is written to, not read.
    let config = file.is_file().then(|| Config::load(file).ok()).flatten();
    config.map(|config| config.places.included).unwrap_or_default()
}

/// What is saved is one file, whatever it was before.
fn tell_no_longer_included(file: &Path, included: &[String]) {
    if !included.is_empty() {
        eprintln!(
            "directrix: {} holds all services now and includes no file; no longer read: {}",
            file.display(),
            included.join(", ")
        );
    }
}

/// Takes a real server out of a service once its connections have ended.
pub(super) fn drain(args: &Drain, socket: &Path) -> ExitCode {
    let Drain { service, server, deadline, no_wait } = *args;
    with(socket, "drain", |director| {
        let weight = find(director, service, server)?.map_or(1, |server| server.weight.max(1));
        director.change(&[ChangeRequest::Drain { service, server, deadline }])?;
        if no_wait {
            println!(
                "draining; remove {server} from the configuration file, too, or a reload brings it back"
            );
            return Ok(());
        }
        tell_when_interrupted(args, weight)?;
        let open = watch(director, service, server, deadline)?;
        match open {
            0 => println!("removed"),
            1 => println!("removed at the deadline; 1 connection cut"),
            open => println!("removed at the deadline; {open} connections cut"),
        }
        tell_if_in_file(director, service, server);
        Ok(())
    })
}

/// On Ctrl-C or SIGTERM, says that the drain goes on and how to end it, and ends the process. No other thread runs yet.
fn tell_when_interrupted(drain: &Drain, weight: u16) -> anyhow::Result<()> {
    let (service, server) = (drain.service, drain.server);
    let protocol = if service.protocol == Protocol::Tcp { "-t" } else { "-u" };
    let vip = service.address;
    let text = format!(
        "\ndirectrix: the drain goes on: {server} gets no new connections and is removed once it has none; to end it: \
         directrix ipvsadm -e {protocol} {vip} -r {server} -g -w {weight}"
    );
    let signals = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM]);
    signals.thread_block()?;
    let tell = move || {
        let signal = signals.wait();
        eprintln!("{text}");
        std::process::exit(128 + signal.map_or(0, |signal| signal as i32)); // as shells tell signals
    };
    std::thread::Builder::new().name("signals".into()).spawn(tell)?;
    Ok(())
}

/// Says so if the next reload would bring a removed server back. An older director does not tell.
fn tell_if_in_file(director: &Blocking, service: ServiceAddress, server: IpAddr) {
    let removal = Difference::NoServer(service, server).to_string();
    if director.status().is_ok_and(|status| status.file.unsaved.contains(&removal)) {
        println!(
            "the configuration file still has {server}: a reload or restart brings it back; remove it there, or write \
             what runs with `directrix save -o FILE`"
        );
    }
}

/// Prints how many connections a server still has, until it is gone. Returns how many it had left at the deadline.
///
/// # Errors
/// Somebody else ended the drain: it would not be removed, however long this waited.
fn watch(
    director: &Blocking,
    service: ServiceAddress,
    server: IpAddr,
    deadline: Option<u32>,
) -> anyhow::Result<u64> {
    let (start, mut last) = (Instant::now(), None);
    while let Some(listed) = find(director, service, server)? {
        if listed.state != DRAINING {
            anyhow::bail!(
                "the drain of {server} was ended by another change: it has weight {} and stays; drain it again if it \
                 shall go",
                listed.weight
            );
        }
        let (active, inactive) = (listed.active, listed.inactive);
        if last.replace((active, inactive)) != Some((active, inactive)) {
            println!("{:>4} s  {active} active, {inactive} inactive connections", start.elapsed().as_secs());
        }
        sleep(LOOK);
    }
    let is_late = deadline.is_some_and(|seconds| start.elapsed() >= Duration::from_secs(seconds.into()));
    let open = last.map_or(0, |(active, inactive)| u64::from(active) + u64::from(inactive));
    Ok(if is_late { open } else { 0 })
}

/// The server as it stands; `None` once it is gone.
fn find(
    director: &Blocking,
    service: ServiceAddress,
    server: IpAddr,
) -> Result<Option<api::Server>, ClientError> {
    let services = director.services()?.services;
    let service = services.into_iter().find(|listed| listed.address == service);
    Ok(service.and_then(|s| s.servers.into_iter().find(|listed| listed.address.ip() == server)))
}

fn rules(config: &Config) -> Rules {
    config.rules()
}

/// Does something with the director, by a client that calls itself `command`.
fn with(socket: &Path, command: &str, act: impl FnOnce(&Blocking) -> anyhow::Result<()>) -> ExitCode {
    let director = Blocking::new(socket).map(|client| client.named(command));
    match director.map_err(anyhow::Error::from).and_then(|director| act(&director)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let bad_input = matches!(error.downcast_ref(), Some(ClientError::TooLong(_)));
            fail(if bad_input { BAD_INPUT } else { 1 }, &format!("{error:#}"))
        }
    }
}

/// A real server's address.
fn rip(text: &str) -> Result<IpAddr, String> {
    let with_port = |address: SocketAddr| format!("write the RIP without a port: {}", address.ip());
    let wrong = || text.parse().map_or_else(|_| "write the RIP, as in 192.168.195.170".into(), with_port);
    text.parse().map_err(|_| wrong())
}

/// `tcp:VIP:port` or `udp:VIP:port`.
fn service(text: &str) -> Result<ServiceAddress, String> {
    let wanted = || "write protocol, VIP and port, as in tcp:192.168.195.150:80".to_owned();
    let (protocol, address) = text.split_once(':').ok_or_else(wanted)?;
    let protocol = match protocol {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        _ => return Err(wanted()),
    };
    let address: SocketAddr = address.parse().map_err(|_| wanted())?;
    Ok(ServiceAddress { protocol, address })
}
