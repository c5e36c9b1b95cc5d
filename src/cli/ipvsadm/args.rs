//! Parser of ipvsadm's arguments, with ipvsadm's error messages.

use super::grammar::{self, OptionSet};
use crate::control::api::sync::SyncDaemonKind;
use crate::import::{Environment, ThisHost};
use crate::ipvsadm::{self, Command, DEFAULT_SCHEDULER, Forward, Meaning, Opt, SWITCHES, TIMEOUT_MAX};
use crate::model::IpFamily;
use crate::popt::SwitchParser;
use crate::wire::Protocol;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU32;

/// Parsed arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Invocation {
    Help,
    Version,
    Run(CommandLine),
}

/// A command with its options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CommandLine {
    pub(super) command: Command,
    pub(super) options: OptionSet,
    /// The service that the command applies to.
    pub(super) service: Option<Target>,
    /// Options with their values, which are all checked.
    values: Vec<(Opt, String)>,
    /// Forwarding method of the real server.
    pub(super) forward: Forward,
    /// Values of `--set` in seconds: tcp, tcpfin, udp.
    pub(super) timeouts: [u32; 3],
    /// Value of `--start-daemon` and `--stop-daemon`.
    pub(super) daemon: Option<SyncDaemonKind>,
}

/// A service as named on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Address(Protocol, SocketAddr),
    Mark(NonZeroU32, IpFamily),
}

/// Error in the arguments, with ipvsadm's message and exit status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct UsageError {
    pub(super) message: String,
    pub(super) status: u8,
}

impl UsageError {
    /// A word that cannot be parsed: ipvsadm's exit status -1.
    fn unparsed(message: impl Into<String>) -> Self {
        Self { message: message.into(), status: 255 }
    }
}

impl From<String> for UsageError {
    /// Words that can be parsed, but are not valid.
    fn from(message: String) -> Self {
        Self { message, status: 2 }
    }
}

/// Parses the words after the program's name.
///
/// # Errors
/// The first error in them, in the order of ipvsadm's own checks.
pub(super) fn parse(words: &[String]) -> Result<Invocation, UsageError> {
    let mut words = SwitchParser::new(words, SWITCHES, grammar::is_supported);
    let mut line = match words.next() {
        Ok(Some((Meaning::Help, _))) => return Ok(Invocation::Help),
        Ok(Some((Meaning::Version, _))) => return Ok(Invocation::Version),
        Ok(Some((Meaning::Command(command), value))) => begin(command, value)?,
        _ => return Err(UsageError::unparsed(TRY_HELP)),
    };
    while let Some((meaning, value)) = words.next().map_err(UsageError::unparsed)? {
        line.take(meaning, value.unwrap_or_default())?;
    }
    line.timeouts = check_arguments(line.command, &words.arguments())?;
    line.check_flags()?;
    grammar::check(line.command, line.options)?;
    line.check_service()?;
    line.check_listing()?;
    Ok(Invocation::Run(line))
}

/// Longest message of a sync daemon in bytes: the data of a UDP datagram over IPv4.
const SYNC_MAXLEN_MAX: i64 = 65_507;

const TRY_HELP: &str = "Try `ipvsadm -h' or 'ipvsadm --help' for more information.";

fn begin(command: Command, value: Option<&str>) -> Result<CommandLine, String> {
    let daemon = match (command, value) {
        (Command::StartDaemon | Command::StopDaemon, Some("master")) => Some(SyncDaemonKind::Master),
        (Command::StartDaemon | Command::StopDaemon, Some("backup")) => Some(SyncDaemonKind::Backup),
        (Command::StartDaemon, _) => return Err("illegal start-daemon parameter specified".to_owned()),
        (Command::StopDaemon, _) => return Err("illegal start_daemon specified".to_owned()),
        _ => None,
    };
    Ok(CommandLine { daemon, ..CommandLine::new(command) })
}

impl CommandLine {
    /// A command without options.
    pub(super) fn new(command: Command) -> Self {
        Self {
            command,
            options: OptionSet::default(),
            service: None,
            values: Vec::new(),
            forward: Forward::Direct,
            timeouts: [0; 3],
            daemon: None,
        }
    }

    /// The value of an option, if it was given.
    pub(super) fn value(&self, option: Opt) -> Option<&str> {
        self.values.iter().find(|(given, _)| *given == option).map(|(_, value)| value.as_str())
    }

    fn take(&mut self, meaning: Meaning, value: &str) -> Result<(), String> {
        match meaning {
            Meaning::Command(_) => Err("multiple commands specified".to_owned()),
            Meaning::Help => Err("invalid option `-h'".to_owned()),
            Meaning::Version => Err("invalid option `-v'".to_owned()),
            Meaning::Sort => Ok(()),
            Meaning::Service(transport) => {
                self.mark(Opt::Service)?;
                self.service = Some(Target::Address(transport, service(value, transport)?));
                Ok(())
            }
            Meaning::Mark => {
                self.mark(Opt::Service)?;
                self.service = Some(Target::Mark(mark(value)?, IpFamily::Ipv4));
                Ok(())
            }
            Meaning::MarkV6 => match &mut self.service {
                Some(Target::Mark(_, family)) => {
                    *family = IpFamily::Ipv6;
                    Ok(())
                }
                _ => Err("-6 used before -f".to_owned()),
            },
            Meaning::Forward(forward) => {
                self.forward = forward;
                self.mark(Opt::Forward)
            }
            Meaning::Option(option) => {
                self.mark(option)?;
                self.check_value(option, value)?;
                self.values.push((option, value.to_owned()));
                Ok(())
            }
        }
    }

    fn mark(&mut self, option: Opt) -> Result<(), String> {
        if self.options.has(option) {
            return Err(format!("multiple '{}' options specified", option.name()));
        }
        self.options.add(option);
        Ok(())
    }

    fn check_value(&self, option: Opt, value: &str) -> Result<(), String> {
        let illegal = |what: &str| Err(format!("illegal {what} specified"));
        let within = |max| number(value, 0, max).is_some();
        match option {
            Opt::Persistent if !value.is_empty() => timeout(value, 1).map(drop),
            Opt::Netmask if self.is_v6() && number(value, 1, 128).is_none() => illegal("ipv6 netmask"),
            Opt::Netmask if !self.is_v6() && value.parse::<Ipv4Addr>().is_err() => {
                illegal("virtual server persistent mask")
            }
            Opt::Server if endpoint(value, self.transport()).is_none() => {
                illegal("real server address[:port]")
            }
            Opt::Weight if !within(65_535) => illegal("weight"),
            Opt::UpperThreshold if !within(i64::from(i32::MAX)) => illegal("u_threshold"),
            Opt::LowerThreshold if !within(i64::from(i32::MAX)) => illegal("l_threshold"),
            Opt::SyncId if !within(255) => illegal("syncid"),
            Opt::SyncMaxlen if number(value, 1, SYNC_MAXLEN_MAX).is_none() => illegal("sync-maxlen"),
            Opt::McastPort if number(value, 1, 65_535).is_none() => illegal("mcast-port"),
            Opt::McastTtl if number(value, 1, 255).is_none() => illegal("mcast-ttl"),
            Opt::McastGroup => multicast_group(value),
            _ => Ok(()),
        }
    }

    /// Checks the flags after all words are parsed: the scheduler may follow its flags.
    fn check_flags(&self) -> Result<(), String> {
        let Some(flags) = self.value(Opt::SchedFlags) else { return Ok(()) };
        ipvsadm::check_flags(flags, self.value(Opt::Scheduler).unwrap_or(DEFAULT_SCHEDULER))
    }

    fn is_v6(&self) -> bool {
        match self.service {
            Some(Target::Address(_, address)) => address.is_ipv6(),
            Some(Target::Mark(_, family)) => family == IpFamily::Ipv6,
            None => false,
        }
    }

    /// The protocol for port names of a real server.
    fn transport(&self) -> Protocol {
        match self.service {
            Some(Target::Address(transport, _)) => transport,
            _ => Protocol::Tcp,
        }
    }

    /// Checks the options of a new or changed service.
    fn check_service(&self) -> Result<(), String> {
        let changes = matches!(self.command, Command::AddService | Command::EditService);
        let (true, Some(Target::Address(transport, address))) = (changes, self.service) else {
            return Ok(());
        };
        if address.port() == 0 && !self.options.has(Opt::Persistent) {
            return Err("Zero port specified for non-persistent service".to_owned());
        }
        if self.options.has(Opt::OnePacket) && transport != Protocol::Udp {
            return Err("One-Packet Scheduling is only for UDP virtual services".to_owned());
        }
        Ok(())
    }

    fn check_listing(&self) -> Result<(), String> {
        let options = self.options;
        let numbers = options.has_any(&[Opt::Stats, Opt::Rate, Opt::Thresholds]);
        let clash = numbers && options.has_any(&[Opt::Connection, Opt::Timeout, Opt::Daemon])
            || options.has(Opt::PersistentConn) && options.has_any(&[Opt::Timeout, Opt::Daemon]);
        if self.command == Command::List && clash {
            return Err("options conflicts in the list command".to_owned());
        }
        Ok(())
    }
}

/// Parses the three timeouts of `--set`. Other commands have no arguments.
fn check_arguments(command: Command, arguments: &[&str]) -> Result<[u32; 3], String> {
    let (timeouts, rest) = match (command, arguments) {
        (Command::SetTimeouts, [tcp, tcp_fin, udp, rest @ ..]) => {
            ([timeout(tcp, 0)?, timeout(tcp_fin, 0)?, timeout(udp, 0)?], rest)
        }
        (Command::SetTimeouts, _) => return Err("--set option requires 3 timeout values".to_owned()),
        _ => ([0; 3], arguments),
    };
    match rest.first() {
        Some(word) => Err(format!("unexpected argument {word}")),
        None => Ok(timeouts),
    }
}

fn service(text: &str, transport: Protocol) -> Result<SocketAddr, String> {
    let found = endpoint(text, transport);
    found.ok_or_else(|| "illegal virtual server address[:port] specified".to_owned())
}

fn mark(text: &str) -> Result<NonZeroU32, String> {
    let mark =
        number(text, 1, i64::from(u32::MAX)).and_then(|mark| NonZeroU32::new(u32::try_from(mark).ok()?));
    mark.ok_or_else(|| format!("invalid fwmark value `{text}' specified"))
}

fn timeout(text: &str, min: i64) -> Result<u32, String> {
    let within = number(text, min, TIMEOUT_MAX.into()).and_then(|seconds| u32::try_from(seconds).ok());
    within.ok_or_else(|| format!("invalid timeout value `{text}' specified"))
}

/// Checks that `text` is a multicast address. With a colon it is one of IPv6.
fn multicast_group(text: &str) -> Result<(), String> {
    let (family, is_group) = match text.contains(':') {
        true => ("IPv6", text.parse().is_ok_and(|address: Ipv6Addr| address.is_multicast())),
        false => ("IPv4", text.parse().is_ok_and(|address: Ipv4Addr| address.is_multicast())),
    };
    if is_group { Ok(()) } else { Err(format!("invalid {family} mcast-group `{text}'")) }
}

fn number(text: &str, min: i64, max: i64) -> Option<i64> {
    text.trim_start().parse().ok().filter(|number| (min..=max).contains(number))
}

/// Parses `host[:port]`, `[IPv6]:port` or a bare IPv6 address. The port is 0 if missing; host and port may be
/// names. A number alone is not a host.
pub(super) fn endpoint(text: &str, transport: Protocol) -> Option<SocketAddr> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    if let Ok(address) = text.parse::<Ipv6Addr>() {
        return Some(SocketAddr::new(address.into(), 0));
    }
    if let Some(bracketed) = text.strip_prefix('[') {
        let (address, service) = bracketed.split_once("]:")?;
        let address = address.parse::<Ipv6Addr>().ok()?;
        return Some(SocketAddr::new(address.into(), port(service, transport)?));
    }
    match text.rsplit_once(':') {
        Some((name, service)) => Some(SocketAddr::new(host(name)?, port(service, transport)?)),
        None => Some(SocketAddr::new(host(text)?, 0)),
    }
}

fn host(name: &str) -> Option<IpAddr> {
    if let Ok(address) = name.parse::<Ipv4Addr>() {
        return Some(address.into());
    }
    ThisHost.address(name)
}

fn port(text: &str, transport: Protocol) -> Option<u16> {
    let numeric = number(text, 0, 65_535).and_then(|port| u16::try_from(port).ok());
    numeric.or_else(|| ThisHost.port(text, transport.name()))
}
