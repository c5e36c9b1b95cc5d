//! One line of rules, read as ipvsadm reads its arguments.

use crate::import::description::{At, Forward, Persistence, Place, Settings, Transport, Vip};
use crate::import::host::Host;
use crate::ipvsadm::{self, Command, DEFAULT_SCHEDULER, Meaning, Opt, SWITCHES, TIMEOUT_MAX};
use crate::model;
use crate::popt::SwitchParser;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Seconds of `-p` without a number.
const PERSISTENT_DEFAULT: u32 = model::Persistence::TIMEOUT.secs();

/// A command and what it was told.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) command: Command,
    pub(super) vip: Option<Vip>,
    /// RIP, and the port or 0.
    pub(super) server: Option<(IpAddr, u16)>,
    pub(super) forward: Forward,
    pub(super) settings: Settings,
    pub(super) weight: u32,
    pub(super) upper: u32,
    pub(super) lower: u32,
    /// tcp, tcpfin, udp.
    pub(super) timeouts: Option<[u32; 3]>,
    netmask: Option<String>,
    /// As written.
    flags: String,
    given: Vec<Opt>,
}

/// Reads the words of a line.
///
/// # Errors
/// What is wrong with it.
pub(super) fn read(words: &[String], place: &Place, host: &dyn Host) -> Result<Order, String> {
    let mut words = SwitchParser::new(words, SWITCHES, knows);
    let Some(command) = words.next()?.and_then(|(meaning, _)| command(meaning)) else {
        return Err("it does not begin with a command of ipvsadm, as in \"-A\" or \"-a\"".into());
    };
    let mut order = Order::new(command);
    while let Some((meaning, value)) = words.next()? {
        order.take(meaning, value, place, host)?;
    }
    order.finish(&words.arguments())?;
    Ok(order)
}

/// Whether it is a switch here: what narrows a listing is none.
fn knows(meaning: Meaning) -> bool {
    use Opt as O;
    match meaning {
        Meaning::Sort => false,
        Meaning::Option(O::Connection | O::Timeout | O::Daemon | O::Stats | O::Rate) => false,
        Meaning::Option(option) => !matches!(option, O::Thresholds | O::PersistentConn | O::NoSort),
        _ => true,
    }
}

/// What a line does. To explain is as good as to list.
fn command(meaning: Meaning) -> Option<Command> {
    match meaning {
        Meaning::Command(command) => Some(command),
        Meaning::Help | Meaning::Version => Some(Command::List),
        _ => None,
    }
}

/// Whether an option goes with a command, or at least with nothing that would be carried out.
fn takes(command: Command, option: Opt) -> bool {
    match command {
        Command::List | Command::Save | Command::Restore => false,
        Command::StartDaemon | Command::StopDaemon => is_of_daemon(option),
        _ => ipvsadm::rule(command, option) != ipvsadm::OptionRule::Illegal,
    }
}

fn is_of_daemon(option: Opt) -> bool {
    matches!(option, Opt::McastInterface | Opt::SyncId | Opt::SyncDetail)
}

impl Order {
    fn new(command: Command) -> Self {
        Self {
            command,
            vip: None,
            server: None,
            forward: Forward::Direct,
            settings: Settings::default(),
            weight: 1,
            upper: 0,
            lower: 0,
            timeouts: None,
            netmask: None,
            flags: String::new(),
            given: Vec::new(),
        }
    }

    fn take(
        &mut self,
        meaning: Meaning,
        value: Option<&str>,
        place: &Place,
        host: &dyn Host,
    ) -> Result<(), String> {
        let text = value.unwrap_or_default();
        match meaning {
            Meaning::Command(_) | Meaning::Help | Meaning::Version => {
                return Err("it has two commands".into());
            }
            Meaning::Service(transport) => {
                self.once(Opt::Service)?;
                self.vip = Some(Vip::Address(transport, endpoint(text, transport, host)?));
            }
            Meaning::Mark => {
                self.once(Opt::Service)?;
                self.vip = Some(Vip::Mark(number(text, 1..=u32::MAX, "firewall mark")?));
            }
            Meaning::MarkV6 if matches!(self.vip, Some(Vip::Mark(_))) => {}
            Meaning::MarkV6 => return Err("-6 stands before -f".into()),
            Meaning::Forward(forward) => {
                self.once(Opt::Forward)?;
                self.forward = forward;
            }
            // Those change only how things are shown.
            Meaning::Sort | Meaning::Option(Opt::Numeric | Opt::Exact) => {}
            Meaning::Option(option) => return self.option(option, value, place, host),
        }
        Ok(())
    }

    fn option(
        &mut self,
        option: Opt,
        value: Option<&str>,
        place: &Place,
        host: &dyn Host,
    ) -> Result<(), String> {
        self.once(option)?;
        let text = value.unwrap_or_default();
        match option {
            Opt::Scheduler => self.settings.scheduler = Some(At::new(place, text.to_owned())),
            Opt::Engine => self.settings.engine = Some(At::new(place, text.to_owned())),
            Opt::SchedFlags => {
                self.flags = text.to_owned();
                self.settings.flags =
                    ipvsadm::flags(text).map(|flag| At::new(place, flag.to_owned())).collect();
            }
            Opt::OnePacket => self.settings.one_packet = Some(place.clone()),
            Opt::Persistent => {
                let seconds = |text| number(text, 1..=TIMEOUT_MAX, "timeout");
                let timeout = value.map_or(Ok(PERSISTENT_DEFAULT), seconds)?;
                self.settings.persistence = Some(At::new(place, Persistence { timeout, netmask: None }));
            }
            Opt::Netmask => self.netmask = Some(text.to_owned()),
            Opt::Weight => self.weight = number(text, 0..=65_535, "weight")?,
            Opt::UpperThreshold => self.upper = number(text, 0..=i32::MAX as u32, "upper threshold")?,
            Opt::LowerThreshold => self.lower = number(text, 0..=i32::MAX as u32, "lower threshold")?,
            Opt::Server => {
                let address = endpoint(text, self.transport(), host)?;
                self.server = Some((address.ip(), address.port()));
            }
            _ => {} // what is said of it, or that it is there, is all
        }
        Ok(())
    }

    /// What stands twice is a slip of the hand, but for the details of a tunnel or daemon.
    fn once(&mut self, option: Opt) -> Result<(), String> {
        if !takes(self.command, option) {
            return Err("it has an option that does not go with its command".into());
        }
        let detail = option == Opt::TunnelDetail || is_of_daemon(option);
        if self.given.contains(&option) && !detail {
            return Err("it has an option twice".into());
        }
        self.given.push(option);
        Ok(())
    }

    /// What port names of a real server mean.
    fn transport(&self) -> Transport {
        match self.vip {
            Some(Vip::Address(transport, _)) => transport,
            _ => Transport::Tcp,
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
        self.needs()?;
        self.mask()
    }

    fn needs(&self) -> Result<(), String> {
        use Command as C;
        if self.vip.is_none() && takes(self.command, Opt::Service) && self.command != C::Zero {
            return Err("it names no service: write -t, -u or -f".into());
        }
        let server = matches!(self.command, C::AddServer | C::EditServer | C::DeleteServer);
        if server && self.server.is_none() {
            return Err("it names no real server: write -r".into());
        }
        Ok(())
    }

    /// A mask says how wide persistence reaches; without persistence it says nothing.
    fn mask(&mut self) -> Result<(), String> {
        let Some(mask) = self.netmask.take() else { return Ok(()) };
        let v6 = matches!(self.vip, Some(Vip::Address(_, address)) if address.is_ipv6());
        let netmask = checked_mask(&mask, v6)?;
        if let Some(persistence) = &mut self.settings.persistence {
            persistence.value.netmask = netmask;
        }
        Ok(())
    }
}

/// The mask, unless it leaves each address for itself.
pub(in crate::import) fn checked_mask(mask: &str, v6: bool) -> Result<Option<String>, String> {
    if v6 {
        let length = number(mask, 1..=128, "netmask")?;
        return Ok((length < 128).then(|| length.to_string()));
    }
    let dotted: Ipv4Addr = mask.parse().map_err(|_| format!("{mask:?} is not a netmask of IPv4"))?;
    Ok((dotted != Ipv4Addr::BROADCAST).then(|| dotted.to_string()))
}

fn number(text: &str, range: std::ops::RangeInclusive<u32>, what: &str) -> Result<u32, String> {
    let fault = || format!("{text:?} is not a valid {what} ({} to {})", range.start(), range.end());
    text.parse().ok().filter(|number| range.contains(number)).ok_or_else(fault)
}

/// `host[:port]`, `[IPv6]:port` or a bare IPv6 address; hosts and ports may be names.
fn endpoint(text: &str, transport: Transport, host: &dyn Host) -> Result<SocketAddr, String> {
    let port = |text: &str| {
        let numeric = text.parse().ok();
        let unknown = || format!("this host knows no port {text:?}: use the output of \"ipvsadm -S -n\"");
        numeric.or_else(|| host.port(text, transport.name())).ok_or_else(unknown)
    };
    if let Ok(address) = text.parse::<Ipv6Addr>() {
        return Ok(SocketAddr::new(address.into(), 0));
    }
    if let Some((address, service)) = text.strip_prefix('[').and_then(|rest| rest.split_once("]:")) {
        let address: Ipv6Addr =
            address.parse().map_err(|_| format!("{text:?} is not an address and port"))?;
        return Ok(SocketAddr::new(address.into(), port(service)?));
    }
    match text.rsplit_once(':') {
        Some((name, service)) => Ok(SocketAddr::new(address(name, host)?, port(service)?)),
        None => Ok(SocketAddr::new(address(text, host)?, 0)),
    }
}

/// A lone number is a mistake, not a host.
fn address(name: &str, host: &dyn Host) -> Result<IpAddr, String> {
    if let Ok(address) = name.parse::<Ipv4Addr>() {
        return Ok(address.into());
    }
    let is_name = name.bytes().any(|byte| !byte.is_ascii_digit());
    let found = is_name.then(|| host.address(name)).flatten();
    found
        .ok_or_else(|| format!("this host knows no address of {name:?}: use the output of \"ipvsadm -S -n\""))
}
