//! From an order to what the director is asked to change, and from its refusals to ipvsadm's words.

use super::Failure;
use super::args::{self, Order, Request as Asked, Target};
use crate::control::api::request::{ChangeRequest, Persistence, ServerSettings, ServiceSettings};
use crate::control::client::{Blocking, ClientError};
use crate::ipvsadm::{self, Command, Forward, Opt, Transport};
use crate::model::{self, SECONDS_MAX, ServiceAddress, read_input};
use crate::wire::Protocol;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr};

/// Has the director do what `order` says.
pub(super) fn carry_out(order: &Order, director: &Blocking) -> Result<(), Failure> {
    let request = request(order)?;
    director.change(&[request]).map(drop).map_err(|error| failure(order.command, error))
}

/// Has the director do what each line of `input` says: all of it, or nothing.
pub(super) fn restore(input: impl Read, director: &Blocking) -> Result<(), Failure> {
    let input = read_input(input).map_err(|unreadable| Failure::new(format!("stdin: {unreadable}"), 255))?;
    let (mut orders, mut requests) = (Vec::new(), Vec::new());
    for (line, number) in input.split(|byte| *byte == b'\n').zip(1..) {
        let line = String::from_utf8_lossy(line);
        if line.trim().is_empty() || line.trim_start().starts_with('#') {
            continue;
        }
        let order = order_of(&line).map_err(|failure| failure.on_line(number, &line))?;
        requests.push(request(&order).map_err(|failure| failure.on_line(number, &line))?);
        orders.push((order.command, number, line.into_owned()));
    }
    director.change(&requests).map(drop).map_err(|error| {
        let at = if let ClientError::Refused { at, .. } = &error { *at } else { None };
        match at.and_then(|at| orders.get(at)) {
            Some((command, number, line)) => failure(*command, error).on_line(*number, line),
            None => error.into(),
        }
    })
}

/// A line as `-S` writes it.
fn order_of(line: &str) -> Result<Order, Failure> {
    let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    match args::parse(&words)? {
        Asked::Do(order) if !matches!(order.command, Command::List | Command::Save | Command::Restore) => {
            Ok(order)
        }
        _ => Err(Failure::new("only commands that change something can be restored", 255)),
    }
}

fn request(order: &Order) -> Result<ChangeRequest, Failure> {
    let service = || service(order);
    Ok(match order.command {
        Command::AddService => {
            ChangeRequest::AddService { service: service()?, settings: service_settings(order)? }
        }
        Command::EditService => {
            ChangeRequest::EditService { service: service()?, settings: service_settings(order)? }
        }
        Command::DeleteService => ChangeRequest::DeleteService { service: service()? },
        Command::Clear => ChangeRequest::Clear {},
        Command::AddServer => ChangeRequest::AddServer {
            service: service()?,
            server: server(order)?,
            settings: server_settings(order)?,
        },
        Command::EditServer => ChangeRequest::EditServer {
            service: service()?,
            server: server(order)?,
            settings: server_settings(order)?,
        },
        Command::DeleteServer => ChangeRequest::DeleteServer { service: service()?, server: server(order)? },
        Command::SetTimeouts => {
            order.timeouts.into_iter().try_for_each(check_seconds)?;
            let [tcp, tcp_fin, udp] = order.timeouts;
            ChangeRequest::SetTimeouts { tcp, tcp_fin, udp }
        }
        Command::Zero => ChangeRequest::Zero { service: order.service.map(|_| service()).transpose()? },
        Command::StartDaemon | Command::StopDaemon => {
            return Err(Failure::new(
                "directrix has no sync daemon: it keeps its connections to itself",
                255,
            ));
        }
        Command::List | Command::Save | Command::Restore => {
            unreachable!("these change nothing by themselves")
        }
    })
}

/// The service that is meant. Those that directrix cannot have are never there, so only adding one
/// needs words of its own.
fn service(order: &Order) -> Result<ServiceAddress, Failure> {
    let cannot = match order.service {
        Some(Target::Address(Transport::Tcp, address)) => {
            return Ok(ServiceAddress { protocol: Protocol::Tcp, address });
        }
        Some(Target::Address(Transport::Udp, address)) => {
            return Ok(ServiceAddress { protocol: Protocol::Udp, address });
        }
        Some(Target::Mark(_)) => {
            "has no firewall marks, it sees frames before a firewall does: name VIP and port"
        }
        Some(Target::Address(Transport::Sctp, _)) | None => "has no SCTP services yet: TCP and UDP only",
    };
    let message = match order.command {
        Command::AddService => format!("directrix {cannot}"),
        command => missing_service(command).to_owned(),
    };
    Err(Failure::new(message, 255))
}

/// The port is the service's, whatever is written, as ipvsadm has it with -g.
fn server(order: &Order) -> Result<IpAddr, Failure> {
    let text = order.value(Opt::Server).unwrap_or_default();
    let address = args::endpoint(text, Transport::Tcp).map(|address| address.ip());
    address.ok_or_else(|| Failure::new("illegal real server address[:port] specified", 2))
}

pub(super) fn service_settings(order: &Order) -> Result<ServiceSettings, Failure> {
    let default = ServiceSettings::default();
    let flags = ipvsadm::flags(order.value(Opt::SchedFlags).unwrap_or_default());
    let scheduler = order.value(Opt::Scheduler).map_or(default.scheduler, str::to_owned);
    match order.value(Opt::Engine) {
        Some(engine) if !order.options.has(Opt::Persistent) => return Err(no_engine(engine)),
        _ => {}
    }
    Ok(ServiceSettings {
        scheduler_flags: flags.filter_map(|flag| ipvsadm::flag_name(flag, &scheduler)).collect(),
        scheduler,
        persistence: order.options.has(Opt::Persistent).then(|| persistence(order)).transpose()?,
        one_packet: order.options.has(Opt::OnePacket),
        ..default
    })
}

/// ipvsadm takes up to 31 days, of which `--set` has the kernel refuse what is more than 2³¹ − 1 ms.
fn check_seconds(seconds: u32) -> Result<(), Failure> {
    let message = || format!("directrix keeps timeouts of at most {SECONDS_MAX} s, not of {seconds} s");
    (seconds <= SECONDS_MAX).then_some(()).ok_or_else(|| Failure::new(message(), 255))
}

/// Without `-p` the director would not hear of it. Its own words.
fn no_engine(engine: &str) -> Failure {
    Failure::new(format!("there is no persistence engine {engine:?}; leave it out"), 255)
}

fn persistence(order: &Order) -> Result<Persistence, Failure> {
    let timeout = order.value(Opt::Persistent).and_then(|text| text.trim_start().parse().ok());
    let timeout = timeout.unwrap_or(model::Persistence::TIMEOUT.secs());
    check_seconds(timeout)?;
    Ok(Persistence {
        timeout,
        prefix: Some(order.value(Opt::Netmask).map_or(Ok(32), prefix)?),
        engine: order.value(Opt::Engine).map(str::to_owned),
        ..Persistence::default()
    })
}

/// Of IPv4 a mask, of IPv6 a length.
fn prefix(mask: &str) -> Result<u8, Failure> {
    let bits = mask.parse::<Ipv4Addr>().map(Ipv4Addr::to_bits).ok();
    let without_gaps = bits.is_none_or(|bits| bits.leading_ones() == bits.count_ones());
    let length = bits.map(u32::leading_ones).or_else(|| mask.parse().ok()).filter(|_| without_gaps);
    let message = || format!("directrix tells clients apart by netmasks without gaps, not by {mask}");
    length.and_then(|length| u8::try_from(length).ok()).ok_or_else(|| Failure::new(message(), 255))
}

fn server_settings(order: &Order) -> Result<ServerSettings, Failure> {
    let other = match order.forward {
        Forward::Direct => None,
        Forward::Tunnel => Some("IP-in-IP (-i)"),
        Forward::Masquerade => Some("masquerading (-m)"),
    };
    if let Some(method) = other {
        let message = format!(
            "directrix forwards by direct routing alone (-g), not by {method}: the real server has the VIP on lo, \
             see `directrix realserver setup`"
        );
        return Err(Failure::new(message, 255));
    }
    let weight = order.value(Opt::Weight).and_then(|text| text.trim_start().parse().ok());
    let threshold = |option| order.value(option).and_then(|text| text.trim_start().parse().ok()).unwrap_or(0);
    let default = ServerSettings::default();
    Ok(ServerSettings {
        weight: weight.unwrap_or(default.weight),
        upper_threshold: threshold(Opt::UpperThreshold),
        lower_threshold: threshold(Opt::LowerThreshold),
        ..default
    })
}

/// What ipvsadm says when the kernel refuses.
fn failure(command: Command, error: ClientError) -> Failure {
    let ClientError::Refused { code: Some(code), error: words, .. } = &error else { return error.into() };
    let message = match code.as_str() {
        "service-exists" => "Service already exists",
        "no-such-service" => missing_service(command),
        "server-exists" => "Destination already exists",
        "no-such-server" => "No such destination",
        "out-of-range" => "Numerical result out of range",
        "no-such-scheduler" => "Scheduler or persistence engine not found",
        _ => words,
    };
    Failure::new(message, 255)
}

fn missing_service(command: Command) -> &'static str {
    match command {
        Command::AddServer | Command::EditServer | Command::DeleteServer => "Service not defined",
        _ => "No such service",
    }
}
