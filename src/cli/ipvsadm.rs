//! `directrix ipvsadm`: ipvsadm's grammar and output over the control socket.
//!
//! Exit statuses are ipvsadm's: 0 success, 1 the service to list does not exist, 2 the arguments are
//! wrong or no director answers, 255 wrong usage, or the operation failed.

mod args;
mod changes;
mod daemons;
mod error;
mod format;
mod grammar;
mod names;
#[cfg(test)]
mod tests;
mod usage;

use crate::control::api::{self, Services};
use crate::control::client::Blocking;
use crate::ipvsadm::{Command, Opt};
use crate::model::{Diagnostic, ServiceIdentity, Timeouts};
use args::{CommandLine, Invocation, Target};
use error::CommandError;
use format::{ListingView, Style};
use names::Names;
use std::ffi::OsString;
use std::io::{self, BufWriter, Write};
use std::ops::ControlFlow;
use std::path::Path;
use std::process::ExitCode;

/// The help text of `-h`, for the man page.
pub(super) const HELP: &str = usage::USAGE;

/// The subcommand's arguments, unparsed: ipvsadm's grammar is popt's, not clap's.
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true, override_usage = "directrix ipvsadm [IPVSADM ARGUMENTS]; -h explains")]
pub(super) struct Args {
    /// Arguments of ipvsadm
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENT")]
    words: Vec<OsString>,
}

/// Runs the subcommand.
pub(super) fn main(args: &Args, socket: &Path) -> ExitCode {
    run(&args.words, socket)
}

/// Runs ipvsadm with the words after the program's name.
pub(super) fn run(words: &[OsString], socket: &Path) -> ExitCode {
    let words: Vec<String> = words.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let mut out = BufWriter::new(io::stdout().lock());
    let result = execute(&words, socket, &mut out).and_then(|()| Ok(out.flush()?));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = out.flush();
            error.report()
        }
    }
}

fn execute(words: &[String], socket: &Path, out: &mut impl Write) -> Result<(), CommandError> {
    let invocation = match words {
        [] => Invocation::Run(CommandLine::new(Command::List)),
        words => args::parse(words)?,
    };
    match invocation {
        Invocation::Help => Ok(write!(out, "{}{}", usage::VERSION, usage::USAGE)?),
        Invocation::Version => Ok(write!(out, "{}", usage::VERSION)?),
        Invocation::Run(line) if matches!(line.command, Command::List | Command::Save) => {
            list(&line, &Blocking::new(socket)?, out)
        }
        Invocation::Run(line) if line.command == Command::Restore => {
            changes::restore(io::stdin().lock(), &named(socket)?)
        }
        Invocation::Run(line) if matches!(line.command, Command::StartDaemon | Command::StopDaemon) => {
            daemons::change(&line, &named(socket)?)
        }
        Invocation::Run(line) => changes::apply(&line, &named(socket)?),
    }
}

fn named(socket: &Path) -> Result<Blocking, Diagnostic> {
    Ok(Blocking::new(socket)?.named("ipvsadm"))
}

fn list(line: &CommandLine, director: &Blocking, out: &mut impl Write) -> Result<(), CommandError> {
    let style = style(line);
    let has = |option| line.options.has(option);
    match line.service {
        _ if has(Opt::Connection) => list_connections(director, &style.names, has(Opt::PersistentConn), out),
        Some(target) => list_one(target, sorted_services(director, line)?, &style, out),
        None if has(Opt::Timeout) => list_timeouts(director, out),
        None if has(Opt::Daemon) => daemons::list(director, out),
        None if line.command == Command::Save => {
            save_timeouts(director, out)?;
            Ok(list_all(&sorted_services(director, line)?, &style, out)?)
        }
        None => Ok(list_all(&sorted_services(director, line)?, &style, out)?),
    }
}

fn style(line: &CommandLine) -> Style {
    let views = [
        (Opt::Stats, ListingView::Stats),
        (Opt::Rate, ListingView::Rates),
        (Opt::Thresholds, ListingView::Thresholds),
        (Opt::PersistentConn, ListingView::Persistent),
    ];
    let chosen = views.into_iter().find(|(option, _)| line.options.has(*option));
    let view = match line.command {
        Command::Save => ListingView::Rules,
        _ => chosen.map_or(ListingView::Table, |(_, view)| view),
    };
    let numeric = line.options.has(Opt::Numeric);
    let names = if numeric { Names::none() } else { Names::of_this_host() };
    Style { view, exact: line.options.has(Opt::Exact), names }
}

/// Requests the services, and sorts them unless `--nosort` is given.
fn sorted_services(director: &Blocking, line: &CommandLine) -> Result<Services, Diagnostic> {
    let mut services = director.services()?;
    if !line.options.has(Opt::NoSort) {
        sort(&mut services);
    }
    Ok(services)
}

/// Sorts services by family, protocol, address and port, then groups by mark; and servers by address and port.
fn sort(services: &mut Services) {
    services.services.sort_by_key(|service| service.identity);
    for service in &mut services.services {
        service.servers.sort_by_key(|server| server.address);
    }
}

fn list_all(services: &Services, style: &Style, out: &mut impl Write) -> io::Result<()> {
    if style.view != ListingView::Rules {
        format::banner(out, services.capacity)?;
    }
    format::title(out, style.view)?;
    services.services.iter().try_for_each(|service| format::service(out, service, style))
}

fn list_one(
    target: Target,
    services: Services,
    style: &Style,
    out: &mut impl Write,
) -> Result<(), CommandError> {
    let found = services.services.iter().find(|service| changes::identity(target) == service.identity);
    let service = found.ok_or_else(|| CommandError::new("No such service", 1))?;
    format::title(out, style.view)?;
    Ok(format::service(out, service, style)?)
}

/// Options that name a service: "-t 192.0.2.1:80", "-f 7 -6".
pub(super) fn target(service: ServiceIdentity) -> String {
    format::switches(service, &Names::none())
}

fn list_connections(
    director: &Blocking,
    names: &Names,
    with_engine: bool,
    out: &mut impl Write,
) -> Result<(), CommandError> {
    let mut written = Ok(());
    let mut begun = false;
    director.connections(|connection| {
        written =
            begin(&mut begun, with_engine, out).and_then(|()| format::connection(out, &connection, names));
        if written.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    written?;
    Ok(begin(&mut begun, with_engine, out)?)
}

/// Writes the title once, and not before the director has answered.
fn begin(begun: &mut bool, with_engine: bool, out: &mut impl Write) -> io::Result<()> {
    if std::mem::replace(begun, true) { Ok(()) } else { format::connections_title(out, with_engine) }
}

/// Writes a `--set` line unless all timeouts have their defaults. ipvsadm does not save them.
fn save_timeouts(director: &Blocking, out: &mut impl Write) -> Result<(), CommandError> {
    let api::Timeouts { tcp, tcp_fin, udp } = director.timeouts()?;
    let default = Timeouts::default();
    if [tcp, tcp_fin, udp] == [default.tcp.secs(), default.tcp_fin.secs(), default.udp.secs()] {
        return Ok(());
    }
    Ok(writeln!(out, "--set {tcp} {tcp_fin} {udp}")?)
}

fn list_timeouts(director: &Blocking, out: &mut impl Write) -> Result<(), CommandError> {
    let timeouts = director.timeouts()?;
    let (tcp, tcp_fin, udp) = (timeouts.tcp, timeouts.tcp_fin, timeouts.udp);
    Ok(writeln!(out, "Timeout (tcp tcpfin udp): {tcp} {tcp_fin} {udp}")?)
}
