//! Commands that change the rules: requests to the director, and its errors in ipvsadm's words.

use super::args::{self, CommandLine, Invocation, Target};
use super::error::CommandError;
use crate::control::api::request::{ChangeRequest, Persistence, ServerSettings, ServiceSettings};
use crate::control::client::Blocking;
use crate::ipvsadm::{self, Command, Forward, Opt};
use crate::model::{
    self, Diagnostic, DiagnosticKind, FirewallMark, SECONDS_MAX, ServiceAddress, ServiceIdentity, read_input,
};
use crate::wire::Protocol;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr};

/// Applies the command in the director.
pub(super) fn apply(line: &CommandLine, director: &Blocking) -> Result<(), CommandError> {
    let request = request(line)?;
    director.change(&[request]).map(drop).map_err(|error| command_error(line.command, error))
}

/// Applies the commands of `input`, one a line: all of them, or none.
pub(super) fn restore(input: impl Read, director: &Blocking) -> Result<(), CommandError> {
    let input =
        read_input(input).map_err(|unreadable| CommandError::new(format!("stdin: {unreadable}"), 255))?;
    let (mut lines, mut requests) = (Vec::new(), Vec::new());
    for (text, number) in input.split(|byte| *byte == b'\n').zip(1..) {
        let text = String::from_utf8_lossy(text);
        if text.trim().is_empty() || text.trim_start().starts_with('#') {
            continue;
        }
        let line = parse_line(&text).map_err(|error| error.on_line(number, &text))?;
        requests.push(request(&line).map_err(|error| error.on_line(number, &text))?);
        lines.push((line.command, number, text.into_owned()));
    }
    director.change(&requests).map(drop).map_err(|error| {
        match error.request().and_then(|index| lines.get(index)) {
            Some((command, number, line)) => command_error(*command, error).on_line(*number, line),
            None => error.into(),
        }
    })
}

/// Parses a line in the format of `-S`.
fn parse_line(text: &str) -> Result<CommandLine, CommandError> {
    let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
    match args::parse(&words)? {
        Invocation::Run(line)
            if !matches!(line.command, Command::List | Command::Save | Command::Restore) =>
        {
            Ok(line)
        }
        _ => Err(CommandError::new("only commands that change something can be restored", 255)),
    }
}

fn request(line: &CommandLine) -> Result<ChangeRequest, CommandError> {
    let service = || service(line);
    Ok(match line.command {
        Command::AddService => {
            ChangeRequest::AddService { service: service()?, settings: service_settings(line)? }
        }
        Command::EditService => {
            ChangeRequest::EditService { service: service()?, settings: service_settings(line)? }
        }
        Command::DeleteService => ChangeRequest::DeleteService { service: service()? },
        Command::Clear => ChangeRequest::Clear {},
        Command::AddServer => ChangeRequest::AddServer {
            service: service()?,
            server: server(line)?,
            settings: server_settings(line)?,
        },
        Command::EditServer => ChangeRequest::EditServer {
            service: service()?,
            server: server(line)?,
            settings: server_settings(line)?,
        },
        Command::DeleteServer => ChangeRequest::DeleteServer { service: service()?, server: server(line)? },
        Command::SetTimeouts => {
            line.timeouts.into_iter().try_for_each(check_seconds)?;
            let [tcp, tcp_fin, udp] = line.timeouts;
            ChangeRequest::SetTimeouts { tcp, tcp_fin, udp }
        }
        Command::Zero => ChangeRequest::Zero { service: line.service.map(|_| service()).transpose()? },
        // A line of -R.
        Command::StartDaemon | Command::StopDaemon => {
            return Err(CommandError::new(
                "a sync daemon is started and stopped by a command of its own",
                255,
            ));
        }
        Command::List | Command::Save | Command::Restore => {
            unreachable!("these change nothing by themselves")
        }
    })
}

/// The service that the command applies to.
fn service(line: &CommandLine) -> Result<ServiceIdentity, CommandError> {
    line.service.map(identity).ok_or_else(|| CommandError::new(missing_service(line.command), 255))
}

pub(super) fn identity(target: Target) -> ServiceIdentity {
    match target {
        Target::Address(protocol, address) => ServiceAddress { protocol, address }.into(),
        Target::Mark(mark, family) => FirewallMark { mark, family }.into(),
    }
}

/// The RIP of the command. Its port is ignored, as ipvsadm does with -g.
fn server(line: &CommandLine) -> Result<IpAddr, CommandError> {
    let text = line.value(Opt::Server).unwrap_or_default();
    let address = args::endpoint(text, Protocol::Tcp).map(|address| address.ip());
    address.ok_or_else(|| CommandError::new("illegal real server address[:port] specified", 2))
}

pub(super) fn service_settings(line: &CommandLine) -> Result<ServiceSettings, CommandError> {
    let default = ServiceSettings::default();
    let flags = ipvsadm::flags(line.value(Opt::SchedFlags).unwrap_or_default());
    let scheduler = line.value(Opt::Scheduler).map_or(default.scheduler, str::to_owned);
    match line.value(Opt::Engine) {
        Some(engine) if !line.options.has(Opt::Persistent) => return Err(no_engine(engine)),
        _ => {}
    }
    Ok(ServiceSettings {
        scheduler_flags: flags.filter_map(|flag| ipvsadm::flag_name(flag, &scheduler)).collect(),
        scheduler,
        persistence: line.options.has(Opt::Persistent).then(|| persistence(line)).transpose()?,
        one_packet: line.options.has(Opt::OnePacket),
        ..default
    })
}

/// Checks a timeout against the kernel's limit of 2³¹ − 1 ms. ipvsadm's own limit is 31 days.
fn check_seconds(seconds: u32) -> Result<(), CommandError> {
    if seconds <= SECONDS_MAX {
        return Ok(());
    }
    let message = format!("directrix keeps timeouts of at most {SECONDS_MAX} s, not of {seconds} s");
    Err(CommandError::new(message, 255))
}

/// The director's error about a persistence engine, for commands without `-p`, which do not send it.
fn no_engine(engine: &str) -> CommandError {
    CommandError::new(format!("there is no persistence engine {engine:?}; leave it out"), 255)
}

fn persistence(line: &CommandLine) -> Result<Persistence, CommandError> {
    let timeout = line.value(Opt::Persistent).and_then(|text| text.trim_start().parse().ok());
    let timeout = timeout.unwrap_or(model::Persistence::TIMEOUT.secs());
    check_seconds(timeout)?;
    Ok(Persistence {
        timeout,
        prefix: line.value(Opt::Netmask).map(prefix).transpose()?,
        engine: line.value(Opt::Engine).map(str::to_owned),
        ..Persistence::default()
    })
}

/// Parses the client network: a netmask for IPv4, a prefix length for IPv6.
fn prefix(mask: &str) -> Result<u8, CommandError> {
    let bits = mask.parse::<Ipv4Addr>().map(Ipv4Addr::to_bits).ok();
    let without_gaps = bits.is_none_or(|bits| bits.leading_ones() == bits.count_ones());
    let length = bits.map(u32::leading_ones).or_else(|| mask.parse().ok()).filter(|_| without_gaps);
    length.and_then(|length| u8::try_from(length).ok()).ok_or_else(|| {
        let message = format!("directrix groups clients by netmasks without gaps, not by {mask}");
        CommandError::new(message, 255)
    })
}

fn server_settings(line: &CommandLine) -> Result<ServerSettings, CommandError> {
    let other = match line.forward {
        Forward::Direct => None,
        Forward::Tunnel => Some("IP-in-IP (-i)"),
        Forward::Masquerade => Some("masquerading (-m)"),
    };
    if let Some(method) = other {
        let message = format!(
            "directrix forwards by direct routing alone (-g), not by {method}: the real server has the VIP on lo, \
             see `directrix realserver setup`"
        );
        return Err(CommandError::new(message, 255));
    }
    let weight = line.value(Opt::Weight).and_then(|text| text.trim_start().parse().ok());

    let default = ServerSettings::default();
    Ok(ServerSettings {
        weight: weight.unwrap_or(default.weight),
        upper_threshold: threshold(line, Opt::UpperThreshold),
        lower_threshold: threshold(line, Opt::LowerThreshold),
        ..default
    })
}

/// The value of a threshold; 0 if it is not given.
fn threshold(line: &CommandLine, option: Opt) -> u32 {
    line.value(option).and_then(|text| text.trim_start().parse().ok()).unwrap_or(0)
}

/// ipvsadm's message for an error of the director.
fn command_error(command: Command, error: Diagnostic) -> CommandError {
    let message = match error.kind {
        DiagnosticKind::ServiceExists => "Service already exists",
        DiagnosticKind::NoSuchService => missing_service(command),
        DiagnosticKind::ServerExists => "Destination already exists",
        DiagnosticKind::NoSuchServer => "No such destination",
        DiagnosticKind::OutOfRange => "Numerical result out of range",
        DiagnosticKind::NoSuchScheduler => "Scheduler or persistence engine not found",
        _ if error.request().is_some() => &error.cause,
        _ => return error.into(),
    };
    CommandError::new(message, 255)
}

fn missing_service(command: Command) -> &'static str {
    match command {
        Command::AddServer | Command::EditServer | Command::DeleteServer => "Service not defined",
        _ => "No such service",
    }
}
