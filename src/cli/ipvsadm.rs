//! ipvsadm's grammar and output over the control socket.
//!
//! Exit statuses are ipvsadm's: 0 done, 1 the listed service is not there, 2 the arguments are
//! wrong or no director answers, 255 usage, or it failed.

mod args;
mod changes;
mod format;
mod grammar;
mod names;
#[cfg(test)]
mod tests;
mod usage;

use crate::control::api::{self, Service, Services};
use crate::control::client::{Blocking, ClientError};
use crate::import::excerpt;
use crate::ipvsadm::{Command, Opt, Transport};
use crate::model::Timeouts;
use crate::wire::Protocol;
use args::{Order, Request, Target, Wrong};
use format::{Style, View};
use names::Names;
use std::ffi::OsString;
use std::io::{self, BufWriter, Write};
use std::ops::ControlFlow;
use std::path::Path;
use std::process::ExitCode;

/// What `-h` says, for the man page.
pub(super) const HELP: &str = usage::USAGE;

/// The subcommand's arguments, which are not clap's to read: ipvsadm's grammar is popt's.
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true, override_usage = "directrix ipvsadm [IPVSADM ARGUMENTS]; -h explains")]
pub(super) struct Args {
    /// As ipvsadm takes them
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENT")]
    words: Vec<OsString>,
}

/// Runs the subcommand.
pub(super) fn main(args: &Args, socket: &Path) -> ExitCode {
    run(&args.words, socket)
}

/// Runs ipvsadm with the words after its name.
pub(super) fn run(words: &[OsString], socket: &Path) -> ExitCode {
    let words: Vec<String> = words.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let mut out = BufWriter::new(io::stdout().lock());
    let result = respond(&words, socket, &mut out).and_then(|()| Ok(out.flush()?));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let _ = out.flush();
            failure.report()
        }
    }
}

/// What goes to stderr, and the exit status.
struct Failure {
    message: String,
    status: u8,
}

impl Failure {
    fn new(message: impl Into<String>, status: u8) -> Self {
        Self { message: message.into(), status }
    }

    /// The same of a line that was to be restored.
    fn on_line(self, number: usize, line: &str) -> Self {
        // What is wrong may be a word of the line, however long.
        let message = if self.message.len() > line.len() { self.message } else { excerpt(&self.message) };
        Self { message: format!("line {number}: {message}: {}", excerpt(line.trim())), ..self }
    }

    /// Nothing is said where nobody is left to hear it: stderr may be closed too.
    fn report(&self) -> ExitCode {
        if !self.message.is_empty() {
            let _ = writeln!(io::stderr(), "{}", self.message);
        }
        ExitCode::from(self.status)
    }
}

impl From<Wrong> for Failure {
    fn from(wrong: Wrong) -> Self {
        Self::new(wrong.message, wrong.status)
    }
}

impl From<ClientError> for Failure {
    /// No director is to us what a missing kernel module is to ipvsadm.
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::NotRunning(_)
            | ClientError::Elsewhere(_)
            | ClientError::NoSocket(_)
            | ClientError::TooLong(_)
            | ClientError::Permission(_) => Self::new(format!("Can't initialize ipvs: {error}"), 2),
            ClientError::Forbidden { error, may_read, .. } => {
                let words = format!("Permission denied (you must be root): {error}");
                // Who may do nothing is refused by the kernel before ipvsadm gets to its command.
                if may_read {
                    Self::new(words, 255)
                } else {
                    Self::new(format!("Can't initialize ipvs: {words}"), 2)
                }
            }
            _ => Self::new(error.to_string(), 255),
        }
    }
}

impl From<io::Error> for Failure {
    /// A reader that has seen enough (`| head -1`) is no failure.
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::new("", 0),
            _ => Self::new(format!("cannot write the listing: {error}"), 255),
        }
    }
}

fn respond(words: &[String], socket: &Path, out: &mut impl Write) -> Result<(), Failure> {
    let request = match words {
        [] => Request::Do(Order::new(Command::List)),
        words => args::parse(words)?,
    };
    match request {
        Request::Help => Ok(write!(out, "{}{}", usage::VERSION, usage::USAGE)?),
        Request::Version => Ok(write!(out, "{}", usage::VERSION)?),
        Request::Do(order) if matches!(order.command, Command::List | Command::Save) => {
            list(&order, &Blocking::new(socket)?, out)
        }
        Request::Do(order) if order.command == Command::Restore => {
            changes::restore(io::stdin().lock(), &named(socket)?)
        }
        Request::Do(order) => changes::carry_out(&order, &named(socket)?),
    }
}

fn named(socket: &Path) -> io::Result<Blocking> {
    Ok(Blocking::new(socket)?.named("ipvsadm"))
}

fn list(order: &Order, director: &Blocking, out: &mut impl Write) -> Result<(), Failure> {
    let style = style(order);
    let has = |option| order.options.has(option);
    match order.service {
        _ if has(Opt::Connection) => list_connections(director, &style.names, has(Opt::PersistentConn), out),
        Some(target) => list_one(target, prepared(director, order)?, &style, out),
        None if has(Opt::Timeout) => list_timeouts(director, out),
        // A director has no sync daemons, so a running one lists none.
        None if has(Opt::Daemon) => Ok(director.timeouts().map(drop)?),
        None if order.command == Command::Save => {
            save_timeouts(director, out)?;
            Ok(list_all(&prepared(director, order)?, &style, out)?)
        }
        None => Ok(list_all(&prepared(director, order)?, &style, out)?),
    }
}

fn style(order: &Order) -> Style {
    let views = [
        (Opt::Stats, View::Stats),
        (Opt::Rate, View::Rates),
        (Opt::Thresholds, View::Thresholds),
        (Opt::PersistentConn, View::Persistent),
    ];
    let asked = views.into_iter().find(|(option, _)| order.options.has(*option));
    let view = match order.command {
        Command::Save => View::Rules,
        _ => asked.map_or(View::Table, |(_, view)| view),
    };
    let numeric = order.options.has(Opt::Numeric);
    let names = if numeric { Names::none() } else { Names::of_this_host() };
    Style { view, exact: order.options.has(Opt::Exact), names }
}

/// The director's services, sorted unless they shall not be.
fn prepared(director: &Blocking, order: &Order) -> Result<Services, ClientError> {
    let mut services = director.services()?;
    if !order.options.has(Opt::NoSort) {
        sort(&mut services);
    }
    Ok(services)
}

/// Services by family, protocol, address and port; servers by address and port.
fn sort(services: &mut Services) {
    services.services.sort_by_key(|service| service.address);
    for service in &mut services.services {
        service.servers.sort_by_key(|server| server.address);
    }
}

fn list_all(services: &Services, style: &Style, out: &mut impl Write) -> io::Result<()> {
    if style.view != View::Rules {
        format::banner(out, services.capacity)?;
    }
    format::title(out, style.view)?;
    services.services.iter().try_for_each(|service| format::service(out, service, style))
}

fn list_one(target: Target, services: Services, style: &Style, out: &mut impl Write) -> Result<(), Failure> {
    let found = services.services.iter().find(|service| is_target(service, target));
    let service = found.ok_or_else(|| Failure::new("No such service", 1))?;
    format::title(out, style.view)?;
    Ok(format::service(out, service, style)?)
}

/// Services by firewall mark or over SCTP do not exist, so none is ever found.
fn is_target(service: &Service, target: Target) -> bool {
    let protocol = match service.address.protocol {
        Protocol::Tcp => Transport::Tcp,
        Protocol::Udp => Transport::Udp,
    };
    target == Target::Address(protocol, service.address.address)
}

fn list_connections(
    director: &Blocking,
    names: &Names,
    with_engine: bool,
    out: &mut impl Write,
) -> Result<(), Failure> {
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

/// ipvsadm forgets them; where they are the defaults, nothing needs to be said.
fn save_timeouts(director: &Blocking, out: &mut impl Write) -> Result<(), Failure> {
    let api::Timeouts { tcp, tcp_fin, udp } = director.timeouts()?;
    let default = Timeouts::default();
    if [tcp, tcp_fin, udp] == [default.tcp.secs(), default.tcp_fin.secs(), default.udp.secs()] {
        return Ok(());
    }
    Ok(writeln!(out, "--set {tcp} {tcp_fin} {udp}")?)
}

fn list_timeouts(director: &Blocking, out: &mut impl Write) -> Result<(), Failure> {
    let timeouts = director.timeouts()?;
    let (tcp, tcp_fin, udp) = (timeouts.tcp, timeouts.tcp_fin, timeouts.udp);
    Ok(writeln!(out, "Timeout (tcp tcpfin udp): {tcp} {tcp_fin} {udp}")?)
}
