//! Parses one line of rules by ipvsadm's own grammar.

use crate::import::description::{
    At, Forward, ImportedIdentity, ImportedPersistence, ImportedSettings, Place,
};
use crate::import::environment::Environment;
use crate::import::netmask::{self, number};
use crate::ipvsadm::{self, Command, DEFAULT_SCHEDULER, Meaning, Opt, SWITCHES, TIMEOUT_MAX};
use crate::model::{self, IpFamily};
use crate::popt::SwitchParser;
use crate::wire::Protocol;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Timeout of `-p` without a number, in seconds.
const PERSISTENT_DEFAULT: u32 = model::Persistence::TIMEOUT.secs();

/// A command with its options.
#[derive(Debug)]
pub(super) struct RuleCommand {
    pub(super) command: Command,
    pub(super) vip: Option<ImportedIdentity>,
    /// RIP and port, 0 for none.
    pub(super) server: Option<(IpAddr, u16)>,
    pub(super) forward: Forward,
    pub(super) settings: ImportedSettings,
    pub(super) weight: u32,
    pub(super) upper: u32,
    pub(super) lower: u32,
    /// Seconds: tcp, tcpfin, udp.
    pub(super) timeouts: Option<[u32; 3]>,
    netmask: Option<String>,
    /// As written, for the check against the scheduler.
    flags: String,
    given: Vec<Opt>,
}

/// Parses the words of a line.
///
/// # Errors
/// ipvsadm would not accept the line.
pub(super) fn read(
    words: &[String],
    location: &Place,
    host: &dyn Environment,
) -> Result<RuleCommand, String> {
    let mut words = SwitchParser::new(words, SWITCHES, is_rule_switch);
    let Some(command) = words.next()?.and_then(|(meaning, _)| command(meaning)) else {
        return Err("it does not begin with a command of ipvsadm, as in \"-A\" or \"-a\"".into());
    };
    let mut rule = RuleCommand::new(command);
    while let Some((meaning, value)) = words.next()? {
        rule.apply(meaning, value, location, host)?;
    }
    rule.finish(&words.arguments())?;
    Ok(rule)
}

/// Whether a switch is valid in rules: those of listings are not.
fn is_rule_switch(meaning: Meaning) -> bool {
    use Opt as O;
    match meaning {
        Meaning::Sort => false,
        Meaning::Option(O::Connection | O::Timeout | O::Daemon | O::Stats | O::Rate) => false,
        Meaning::Option(option) => !matches!(option, O::Thresholds | O::PersistentConn | O::NoSort),
        _ => true,
    }
}

/// Returns the command of a switch; help and version count as listings, which `finish` rejects.
fn command(meaning: Meaning) -> Option<Command> {
    match meaning {
        Meaning::Command(command) => Some(command),
        Meaning::Help | Meaning::Version => Some(Command::List),
        _ => None,
    }
}

/// Whether a command accepts an option.
fn accepts(command: Command, option: Opt) -> bool {
    match command {
        Command::List | Command::Save | Command::Restore => false,
        Command::StartDaemon | Command::StopDaemon => is_of_daemon(option),
        _ => ipvsadm::rule(command, option) != ipvsadm::OptionRule::Illegal,
    }
}

fn is_of_daemon(option: Opt) -> bool {
    use Opt::{McastGroup, McastInterface, McastPort, McastTtl, SyncId, SyncMaxlen};
    matches!(option, McastInterface | SyncId | SyncMaxlen | McastGroup | McastPort | McastTtl)
}

impl RuleCommand {
    fn new(command: Command) -> Self {
        Self {
            command,
            vip: None,
            server: None,
            forward: Forward::Direct,
            settings: ImportedSettings::default(),
            weight: 1,
            upper: 0,
            lower: 0,
            timeouts: None,
            netmask: None,
            flags: String::new(),
            given: Vec::new(),
        }
    }

    fn apply(
        &mut self,
        meaning: Meaning,
        value: Option<&str>,
        location: &Place,
        host: &dyn Environment,
    ) -> Result<(), String> {
        let text = value.unwrap_or_default();
        match meaning {
            Meaning::Command(_) | Meaning::Help | Meaning::Version => {
                return Err("it has two commands".into());
            }
            Meaning::Service(transport) => {
                self.once(Opt::Service)?;
                self.vip = Some(ImportedIdentity::Address(transport, endpoint(text, transport, host)?));
            }
            Meaning::Mark => {
                self.once(Opt::Service)?;
                let mark = number(text, 1..=u32::MAX, "firewall mark")?;
                self.vip = Some(ImportedIdentity::Mark(mark, IpFamily::Ipv4));
            }
            Meaning::MarkV6 => match &mut self.vip {
                Some(ImportedIdentity::Mark(_, family)) => *family = IpFamily::Ipv6,
                _ => return Err("-6 stands before -f".into()),
            },
            Meaning::Forward(forward) => {
                self.once(Opt::Forward)?;
                self.forward = forward;
            }
            // These affect only the output of listings.
            Meaning::Sort | Meaning::Option(Opt::Numeric | Opt::Exact) => {}
            Meaning::Option(option) => return self.option(option, value, location, host),
        }
        Ok(())
    }

    fn option(
        &mut self,
        option: Opt,
        value: Option<&str>,
        location: &Place,
        host: &dyn Environment,
    ) -> Result<(), String> {
        self.once(option)?;
        let text = value.unwrap_or_default();
        match option {
            Opt::Scheduler => self.settings.scheduler = Some(At::new(location, text.to_owned())),
            Opt::Engine => self.settings.engine = Some(At::new(location, text.to_owned())),
            Opt::SchedFlags => {
                self.flags = text.to_owned();
                self.settings.flags =
                    ipvsadm::flags(text).map(|flag| At::new(location, flag.to_owned())).collect();
            }
            Opt::OnePacket => self.settings.one_packet = Some(location.clone()),
            Opt::Persistent => {
                let timeout = match value {
                    Some(text) => number(text, 1..=TIMEOUT_MAX, "timeout")?,
                    None => PERSISTENT_DEFAULT,
                };
                self.settings.persistence =
                    Some(At::new(location, ImportedPersistence { timeout, netmask: None }));
            }
            Opt::Netmask => self.netmask = Some(text.to_owned()),
            Opt::Weight => self.weight = number(text, 0..=65_535, "weight")?,
            Opt::UpperThreshold => self.upper = number(text, 0..=i32::MAX as u32, "upper threshold")?,
            Opt::LowerThreshold => self.lower = number(text, 0..=i32::MAX as u32, "lower threshold")?,
            Opt::Server => {
                let address = endpoint(text, self.transport(), host)?;
                self.server = Some((address.ip(), address.port()));
            }
            _ => {} // no effect on the converted service
        }
        Ok(())
    }

    /// Records an option and rejects a second one, except for details of a tunnel or sync daemon.
    fn once(&mut self, option: Opt) -> Result<(), String> {
        if !accepts(self.command, option) {
            return Err("it has an option that does not go with its command".into());
        }
        let detail = option == Opt::TunnelDetail || is_of_daemon(option);
        if self.given.contains(&option) && !detail {
            return Err("it has an option twice".into());
        }
        self.given.push(option);
        Ok(())
    }

    /// Returns the protocol by which port names of a real server are resolved.
    fn transport(&self) -> Protocol {
        match self.vip {
            Some(ImportedIdentity::Address(transport, _)) => transport,
            _ => Protocol::Tcp,
        }
    }

    fn finish(&mut self, arguments: &[&str]) -> Result<(), String> {
        let rest = match (self.command, arguments) {
            (Command::List | Command::Save | Command::Restore, _) => {
                return Err("it lists, saves or restores, which has no place among rules".into());
            }
            (Command::SetTimeouts, [tcp, tcp_fin, udp, rest @ ..]) => {
                let seconds = |text: &str| number(text, 0..=TIMEOUT_MAX, "timeout");
                self.timeouts = Some([seconds(tcp)?, seconds(tcp_fin)?, seconds(udp)?]);
                rest
            }
            (Command::SetTimeouts, _) => return Err("--set needs three timeouts".into()),
            _ => arguments,
        };
        if let [stray, ..] = rest {
            return Err(format!("{stray:?} is not an option of ipvsadm"));
        }
        let scheduler = self.settings.scheduler.as_ref().map_or(DEFAULT_SCHEDULER, |name| &name.value);
        ipvsadm::check_flags(&self.flags, scheduler)?;
        self.require_addresses()?;
        self.apply_netmask()
    }

    fn require_addresses(&self) -> Result<(), String> {
        use Command as C;
        if self.vip.is_none() && accepts(self.command, Opt::Service) && self.command != C::Zero {
            return Err("it names no service: write -t, -u or -f".into());
        }
        let server = matches!(self.command, C::AddServer | C::EditServer | C::DeleteServer);
        if server && self.server.is_none() {
            return Err("it names no real server: write -r".into());
        }
        Ok(())
    }

    /// Parses the mask, which has an effect only with persistence.
    fn apply_netmask(&mut self) -> Result<(), String> {
        let Some(mask) = self.netmask.take() else { return Ok(()) };
        let netmask = netmask::parse(&mask, self.vip.is_some_and(ImportedIdentity::is_ipv6))?;
        if let Some(persistence) = &mut self.settings.persistence {
            persistence.value.netmask = netmask;
        }
        Ok(())
    }
}

/// Parses `host[:port]`, `[IPv6]:port` or a bare IPv6 address; resolves names of hosts and ports.
fn endpoint(text: &str, transport: Protocol, host: &dyn Environment) -> Result<SocketAddr, String> {
    if let Ok(address) = text.parse::<Ipv6Addr>() {
        return Ok(SocketAddr::new(address.into(), 0));
    }
    if let Some((address, service)) = text.strip_prefix('[').and_then(|rest| rest.split_once("]:")) {
        let address: Ipv6Addr =
            address.parse().map_err(|_| format!("{text:?} is not an address and port"))?;
        return Ok(SocketAddr::new(address.into(), port(service, transport, host)?));
    }
    match text.rsplit_once(':') {
        Some((name, service)) => Ok(SocketAddr::new(address(name, host)?, port(service, transport, host)?)),
        None => Ok(SocketAddr::new(address(text, host)?, 0)),
    }
}

/// Parses or resolves a port.
fn port(text: &str, transport: Protocol, host: &dyn Environment) -> Result<u16, String> {
    let numeric = text.parse().ok();
    let port = numeric.or_else(|| host.port(text, transport.name()));
    port.ok_or_else(|| {
        format!("this host has no service named {text:?}: use the output of \"ipvsadm -S -n\"")
    })
}

/// Parses or resolves an address; a bare number is not a host name.
fn address(name: &str, host: &dyn Environment) -> Result<IpAddr, String> {
    if let Ok(address) = name.parse::<Ipv4Addr>() {
        return Ok(address.into());
    }
    let is_name = name.bytes().any(|byte| !byte.is_ascii_digit());
    let found = is_name.then(|| host.address(name)).flatten();
    found.ok_or_else(|| format!("this host cannot resolve {name:?}: use the output of \"ipvsadm -S -n\""))
}
