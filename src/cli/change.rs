//! `reload`, `plan`, `save` and `drain`.

use super::input;
use super::number;
use super::output::{self, IfExists, print_all};
use super::status::{BAD_INPUT, finish, print_file_error};
use crate::control::api::request::ChangeRequest;
use crate::control::api::{self, Draft, path};
use crate::control::client::Blocking;
use crate::model::{
    Config, Diagnostic, DiagnosticKind, Diagnostics, Difference, FirewallMark, IpFamily, ServiceAddress,
    ServiceIdentity, restart_required,
};
use crate::wire::Protocol;
use nix::sys::signal::{SigSet, Signal};
use std::io::{self, Write};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Interval at which `drain` polls the director.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// State of a draining server in the director's listings.
const DRAINING: &str = "draining";

/// The arguments of `directrix plan`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Exit status:
  0  a reload would accept the file
  1  a reload would refuse it, with the reason on stderr; or no director answers
  2  the file has errors")]
pub(super) struct PlanArgs {
    /// Configuration file to compare with the running configuration; "-": standard input
    file: PathBuf,
}

/// The arguments of `directrix save`.
#[derive(Debug, clap::Args)]
pub(super) struct SaveArgs {
    /// Write to this file instead of standard output; an existing file is replaced as a whole and keeps its permissions
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// The arguments of `directrix drain`.
#[derive(Debug, clap::Args)]
pub(super) struct DrainArgs {
    /// The service, as in tcp:192.168.195.150:80; mark:7 for a group, mark:7:ipv6 for one of IPv6
    #[arg(value_parser = service)]
    service: ServiceIdentity,
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

/// Makes the director reload its configuration file, and prints the differences.
pub(super) fn reload(socket: &Path) -> ExitCode {
    with(socket, "reload", |director| {
        let changes = director.reload()?;
        print_all(&if changes.is_empty() { "nothing has changed\n".into() } else { text_of(&changes) })
    })
}

/// Prints the differences between the running configuration and a file, and whether a reload would accept it.
pub(super) fn plan(args: &PlanArgs, socket: &Path) -> ExitCode {
    let (draft, config) = match read_draft(&args.file) {
        Ok(read) => read,
        Err(errors) => {
            errors.0.iter().for_each(print_file_error);
            return ExitCode::from(BAD_INPUT);
        }
    };
    with(socket, "plan", |director| {
        let plan = match director.plan(&draft) {
            Err(error) if error.kind == DiagnosticKind::ReadOnly => compare(&config, &director.config()?),
            plan => plan?,
        };
        let (mut lines, restarts) = (plan.changes, plan.restarts);
        let unchanged = plan.refusal.is_none() && lines.is_empty();
        lines.extend(restarts.iter().map(|key| format!("! {}", restart_required(key))));
        if unchanged {
            lines.push("nothing would change".into());
        }
        print_all(&text_of(&lines))?;
        plan.refusal.map_or(Ok(()), |refusal| Err(reload_refused(refusal)))
    })
}

fn text_of(lines: &[String]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}

fn reload_refused(refusal: String) -> Diagnostic {
    Diagnostic::new(DiagnosticKind::RequestRefused, "a reload would refuse the whole file").cause(refusal)
}

/// Reads and parses a configuration file, or standard input for "-".
fn read_draft(file: &Path) -> Result<(Draft, Config), Diagnostics> {
    let (name, bytes) = input::read(file)?;
    let draft = Draft::of(name, &bytes)?;
    let config = draft.parse()?;
    Ok((draft, config))
}

/// Compares two configurations without the director: the part of a plan that needs no permission to change.
fn compare(config: &Config, running: &Config) -> api::Plan {
    eprintln!("directrix: not checked whether real servers are on-link: that needs permission to change");
    let restarts = running.director.restarts(&config.director);
    let changes = running.rules().differences(&config.rules());
    api::Plan {
        changes: changes.iter().map(ToString::to_string).collect(),
        refusal: config.check_restarts(&running.director).err().map(|errors| errors.to_string()),
        restarts: restarts.into_iter().map(Into::into).collect(),
    }
}

/// Writes the running configuration as a file.
pub(super) fn save(args: &SaveArgs, socket: &Path) -> ExitCode {
    with(socket, "save", |director| {
        let text = director.text(path::CONFIG)?;
        match &args.output {
            None => io::stdout()
                .write_all(text.as_bytes())
                .map_err(|error| output::unwritable("the output", &error)),
            Some(file) => {
                let included = included(file);
                output::write_file(file, &text, IfExists::Replace)?;
                warn_no_longer_included(file, &included);
                Ok(())
            }
        }
    })
}

/// The files that a configuration file includes, if it can be read.
fn included(file: &Path) -> Vec<String> {
    // A device or a FIFO is only written to.
    let config = file.is_file().then(|| Config::load(file).ok()).flatten();
    config.map(|config| config.places.included).unwrap_or_default()
}

/// Warns that the saved file replaces files that it included before.
fn warn_no_longer_included(file: &Path, included: &[String]) {
    if !included.is_empty() {
        eprintln!(
            "directrix: {} holds all services now and includes no file; no longer read: {}",
            file.display(),
            included.join(", ")
        );
    }
}

/// Removes a real server from a service once its connections have ended.
pub(super) fn drain(args: &DrainArgs, socket: &Path) -> ExitCode {
    let DrainArgs { service, server, deadline, no_wait } = *args;
    with(socket, "drain", |director| {
        let weight = find(director, service, server)?.map_or(1, |server| server.weight.max(1));
        director.change(&[ChangeRequest::Drain { service, server, deadline }])?;
        if no_wait {
            println!(
                "draining; if the configuration file has {server}, remove it there, too, or a reload brings it back"
            );
            return Ok(());
        }
        handle_interrupt(args, weight)
            .map_err(|error| Diagnostic::io("catching signals during the drain", &error))?;
        let open = watch(director, service, server, deadline)?;
        match open {
            0 => println!("removed"),
            1 => println!("removed at the deadline; 1 connection cut"),
            open => println!("removed at the deadline; {open} connections cut"),
        }
        warn_if_in_file(director, service, server);
        Ok(())
    })
}

/// Starts a thread that on SIGINT or SIGTERM prints how to end the drain, which continues, and exits.
/// The signals are blocked in this thread first, which must be the only one.
fn handle_interrupt(drain: &DrainArgs, weight: u16) -> io::Result<()> {
    let (service, server) = (drain.service, drain.server);
    let target = super::ipvsadm::target(service);
    let text = format!(
        "\ndirectrix: the drain continues: {server} gets no new connections and is removed once it has none; to end it: \
         directrix ipvsadm -e {target} -r {server} -g -w {weight}"
    );
    let signals = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM]);
    signals.thread_block()?;
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        let signal = signals.wait();
        eprintln!("{text}");
        std::process::exit(128 + signal.map_or(0, |signal| signal as i32)); // the shells' convention
    })?;
    Ok(())
}

/// Warns if the configuration file still has a removed server. Needs a director whose status lists unsaved changes.
fn warn_if_in_file(director: &Blocking, service: ServiceIdentity, server: IpAddr) {
    let removal = Difference::NoServer(service, server).to_string();
    if director.status().is_ok_and(|status| status.file.unsaved.contains(&removal)) {
        println!(
            "the configuration file still has {server}: a reload or restart brings it back; remove it there, or write \
             the running configuration with `directrix save -o FILE`"
        );
    }
}

/// Prints a server's connections until it is removed. Returns the number left at the deadline.
///
/// # Errors
/// Another change ended the drain, so the server will not be removed.
fn watch(
    director: &Blocking,
    service: ServiceIdentity,
    server: IpAddr,
    deadline: Option<u32>,
) -> Result<u64, Diagnostic> {
    let (start, mut last) = (Instant::now(), None);
    while let Some(listed) = find(director, service, server)? {
        if listed.state != DRAINING {
            let cause = format!("it has weight {} and stays", listed.weight);
            let what = format!("the drain of {server} was ended by another change");
            return Err(Diagnostic::system(what).cause(cause).remedy("drain it again if it shall go"));
        }
        let (active, inactive) = (listed.active, listed.inactive);
        if last.replace((active, inactive)) != Some((active, inactive)) {
            println!("{:>4} s  {active} active, {inactive} inactive connections", start.elapsed().as_secs());
        }
        sleep(POLL_INTERVAL);
    }
    let is_late = deadline.is_some_and(|seconds| start.elapsed() >= Duration::from_secs(seconds.into()));
    let open = last.map_or(0, |(active, inactive)| u64::from(active) + u64::from(inactive));
    Ok(if is_late { open } else { 0 })
}

/// Returns the server's record in the director; `None` once it is removed.
fn find(
    director: &Blocking,
    service: ServiceIdentity,
    server: IpAddr,
) -> Result<Option<api::Server>, Diagnostic> {
    let services = director.services()?.services;
    let service = services.into_iter().find(|listed| listed.identity == service);
    Ok(service.and_then(|s| s.servers.into_iter().find(|listed| listed.address.ip() == server)))
}

/// Runs `act` with a client of the director that sends `command` as its name, and reports its error.
fn with(socket: &Path, command: &str, act: impl FnOnce(&Blocking) -> Result<(), Diagnostic>) -> ExitCode {
    finish(Blocking::new(socket).and_then(|director| act(&director.named(command))))
}

/// Parses a real server's address.
pub(super) fn rip(text: &str) -> Result<IpAddr, String> {
    text.parse().map_err(|_| match text.parse::<SocketAddr>() {
        Ok(address) => format!("write the RIP without a port: {}", address.ip()),
        Err(_) => match in_brackets(text) {
            Some(rip) => format!("write the RIP without brackets: {rip}"),
            None => "write the RIP, as in 192.168.195.170 or 2001:db8::170".into(),
        },
    })
}

/// An IPv6 address in brackets.
fn in_brackets(text: &str) -> Option<Ipv6Addr> {
    text.strip_prefix('[')?.strip_suffix(']')?.parse().ok()
}

/// Parses `tcp:VIP:port` and so on, or `mark:N` and `mark:N:ipv6`.
pub(super) fn service(text: &str) -> Result<ServiceIdentity, String> {
    let expected = || SERVICE.to_owned();
    let (protocol, address) = text.split_once(':').ok_or_else(expected)?;
    if protocol == "mark" {
        return mark(address).map(ServiceIdentity::from).ok_or_else(|| MARK.to_owned());
    }
    let protocol = Protocol::named(protocol).ok_or_else(expected)?;
    let address: SocketAddr = address
        .parse()
        .map_err(|_| bracketed(address).map_or_else(expected, |whole| remedy(protocol, whole)))?;
    Ok(ServiceAddress { protocol, address }.into())
}

const SERVICE: &str = "write protocol, VIP and port, as in tcp:192.168.195.150:80 or tcp:[2001:db8::150]:80, or mark:7 for a \
                       group";

const MARK: &str =
    "write a firewall mark from 1 to 4294967295, as in mark:7, or mark:7:ipv6 for a group of IPv6";

/// The address of an IPv6 service that was written without brackets.
fn bracketed(text: &str) -> Option<SocketAddr> {
    let (vip, port) = text.rsplit_once(':')?;
    Some(SocketAddr::new(vip.parse::<Ipv6Addr>().ok()?.into(), port.parse().ok()?))
}

fn remedy(protocol: Protocol, address: SocketAddr) -> String {
    format!("write an IPv6 address in brackets: {}:{address}", protocol.to_string().to_lowercase())
}

fn mark(text: &str) -> Option<FirewallMark> {
    let (mark, family) = match text.split_once(':') {
        Some((mark, "ipv4")) => (mark, IpFamily::Ipv4),
        Some((mark, "ipv6")) => (mark, IpFamily::Ipv6),
        Some(_) => return None,
        None => (text, IpFamily::Ipv4),
    };
    Some(FirewallMark { mark: mark.parse().ok()?, family })
}
