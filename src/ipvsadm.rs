//! ipvsadm's command line: its commands, options and switches, and their combinations.

use crate::popt::{Switch, ValueArity};
use crate::wire::Protocol;

/// Longest timeout in seconds: 31 days.
pub(crate) const TIMEOUT_MAX: u32 = 86_400 * 31;

/// Default scheduler.
pub(crate) const DEFAULT_SCHEDULER: &str = "wlc";

/// Flags that all schedulers accept. Only sh and mh use them, and only the first two.
const NUMBERED_FLAGS: &[&str] = &["flag-1", "flag-2", "flag-3"];
/// Flags that only the named scheduler accepts.
const NAMED_FLAGS: &[(&str, &str)] =
    &[("sh-fallback", "sh"), ("sh-port", "sh"), ("mh-fallback", "mh"), ("mh-port", "mh")];

/// Splits the flags of `-b`.
pub(crate) fn flags(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').filter(|flag| !flag.is_empty())
}

/// Checks a list of flags for a scheduler.
///
/// # Errors
/// ipvsadm's message about the first flag that the scheduler does not accept.
pub(crate) fn check_flags(list: &str, scheduler: &str) -> Result<(), String> {
    for flag in flags(list).filter(|flag| !NUMBERED_FLAGS.contains(flag)) {
        match NAMED_FLAGS.iter().find(|(name, _)| *name == flag) {
            Some((_, owner)) if *owner == scheduler => {}
            Some(_) => return Err(format!("incompatible scheduler flag `{flag}'")),
            None => return Err(format!("invalid scheduler flag `{flag}'")),
        }
    }
    Ok(())
}

/// The scheduler's name for a flag; `None` for a number without meaning for it.
pub(crate) fn flag_name(flag: &str, scheduler: &str) -> Option<String> {
    match (flag, scheduler) {
        ("flag-1", "sh" | "mh") => Some(format!("{scheduler}-fallback")),
        ("flag-2", "sh" | "mh") => Some(format!("{scheduler}-port")),
        _ if NUMBERED_FLAGS.contains(&flag) => None,
        _ => Some(flag.to_owned()),
    }
}

/// ipvsadm's commands. The first switch names the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    AddService,
    EditService,
    DeleteService,
    Clear,
    List,
    AddServer,
    DeleteServer,
    EditServer,
    SetTimeouts,
    StartDaemon,
    StopDaemon,
    Restore,
    Save,
    Zero,
}

impl Command {
    /// Name in messages.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::AddService => "add-service",
            Self::EditService => "edit-service",
            Self::DeleteService => "delete-service",
            Self::Clear => "flush",
            Self::List => "list",
            Self::AddServer => "add-server",
            Self::DeleteServer => "delete-server",
            Self::EditServer => "edit-server",
            Self::SetTimeouts => "set",
            Self::StartDaemon => "start-daemon",
            Self::StopDaemon => "stop-daemon",
            Self::Restore => "restore",
            Self::Save => "save",
            Self::Zero => "zero",
        }
    }
}

macro_rules! options {
    ($($variant:ident = $name:literal,)+) => {
        /// ipvsadm's options. Several switches may set the same option (`-t`, `-u`).
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Opt {
            $($variant,)+
        }

        impl Opt {
            /// All options, in the order in which they are checked against a command.
            pub(crate) const ALL: &'static [Opt] = &[$(Self::$variant,)+];

            /// Name in messages.
            pub(crate) fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }
        }
    };
}

options! {
    Numeric = "numeric",
    Connection = "connection",
    Service = "service-address",
    Scheduler = "scheduler",
    Persistent = "persistent",
    Netmask = "netmask",
    Server = "real-server",
    Forward = "forwarding-method",
    Weight = "weight",
    UpperThreshold = "u-threshold",
    LowerThreshold = "l-threshold",
    McastInterface = "mcast-interface",
    Timeout = "timeout",
    Daemon = "daemon",
    Stats = "stats",
    Rate = "rate",
    Thresholds = "thresholds",
    PersistentConn = "persistent-conn",
    NoSort = "nosort",
    SyncId = "syncid",
    Exact = "exact",
    OnePacket = "ops",
    Engine = "pe",
    SchedFlags = "sched-flags",
    TunnelDetail = "tun-type",
    SyncMaxlen = "sync-maxlen",
    McastGroup = "mcast-group",
    McastPort = "mcast-port",
    McastTtl = "mcast-ttl",
}

/// Switch in front of a service of this protocol.
pub(crate) fn service_switch(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "-t",
        Protocol::Udp => "-u",
        Protocol::Sctp => "--sctp-service",
    }
}

/// Forwarding method of a real server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Forward {
    Direct,
    Tunnel,
    Masquerade,
}

/// Meaning of a switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    Command(Command),
    Help,
    Version,
    /// A service by its address.
    Service(Protocol),
    /// A service by its firewall mark.
    Mark,
    /// The service by firewall mark is an IPv6 service.
    MarkV6,
    /// Sort the listing, which is the default.
    Sort,
    Forward(Forward),
    Option(Opt),
}

const fn switch(
    long: &'static str,
    short: Option<char>,
    value: ValueArity,
    meaning: Meaning,
) -> Switch<Meaning> {
    Switch { long, short, value, meaning }
}

const fn command(long: &'static str, short: char, command: Command) -> Switch<Meaning> {
    switch(long, Some(short), ValueArity::None, Meaning::Command(command))
}

const fn service(long: &'static str, short: Option<char>, transport: Protocol) -> Switch<Meaning> {
    switch(long, short, ValueArity::Required, Meaning::Service(transport))
}

const fn forward(long: &'static str, short: char, forward: Forward) -> Switch<Meaning> {
    switch(long, Some(short), ValueArity::None, Meaning::Forward(forward))
}

const fn flag(long: &'static str, short: Option<char>, option: Opt) -> Switch<Meaning> {
    switch(long, short, ValueArity::None, Meaning::Option(option))
}

const fn value(long: &'static str, short: Option<char>, option: Opt) -> Switch<Meaning> {
    switch(long, short, ValueArity::Required, Meaning::Option(option))
}

/// All switches of ipvsadm. Each parser supports a subset.
pub(crate) const SWITCHES: &[Switch<Meaning>] = &[
    command("add-service", 'A', Command::AddService),
    command("edit-service", 'E', Command::EditService),
    command("delete-service", 'D', Command::DeleteService),
    command("clear", 'C', Command::Clear),
    command("list", 'L', Command::List),
    command("list", 'l', Command::List),
    command("zero", 'Z', Command::Zero),
    command("add-server", 'a', Command::AddServer),
    command("edit-server", 'e', Command::EditServer),
    command("delete-server", 'd', Command::DeleteServer),
    command("restore", 'R', Command::Restore),
    command("save", 'S', Command::Save),
    switch("set", None, ValueArity::None, Meaning::Command(Command::SetTimeouts)),
    switch("start-daemon", None, ValueArity::Required, Meaning::Command(Command::StartDaemon)),
    switch("stop-daemon", None, ValueArity::Required, Meaning::Command(Command::StopDaemon)),
    switch("help", Some('h'), ValueArity::None, Meaning::Help),
    switch("version", Some('v'), ValueArity::None, Meaning::Version),
    service("tcp-service", Some('t'), Protocol::Tcp),
    service("udp-service", Some('u'), Protocol::Udp),
    service("sctp-service", None, Protocol::Sctp),
    switch("fwmark-service", Some('f'), ValueArity::Required, Meaning::Mark),
    switch("ipv6", Some('6'), ValueArity::None, Meaning::MarkV6),
    switch("sort", None, ValueArity::None, Meaning::Sort),
    switch("persistent", Some('p'), ValueArity::Optional, Meaning::Option(Opt::Persistent)),
    value("scheduler", Some('s'), Opt::Scheduler),
    value("netmask", Some('M'), Opt::Netmask),
    value("real-server", Some('r'), Opt::Server),
    value("weight", Some('w'), Opt::Weight),
    value("u-threshold", Some('x'), Opt::UpperThreshold),
    value("l-threshold", Some('y'), Opt::LowerThreshold),
    value("mcast-interface", None, Opt::McastInterface),
    value("syncid", None, Opt::SyncId),
    value("pe", None, Opt::Engine),
    value("sched-flags", Some('b'), Opt::SchedFlags),
    forward("gatewaying", 'g', Forward::Direct),
    forward("ipip", 'i', Forward::Tunnel),
    forward("masquerading", 'm', Forward::Masquerade),
    flag("numeric", Some('n'), Opt::Numeric),
    flag("connection", Some('c'), Opt::Connection),
    flag("timeout", None, Opt::Timeout),
    flag("daemon", None, Opt::Daemon),
    flag("stats", None, Opt::Stats),
    flag("rate", None, Opt::Rate),
    flag("thresholds", None, Opt::Thresholds),
    flag("persistent-conn", None, Opt::PersistentConn),
    flag("nosort", None, Opt::NoSort),
    flag("exact", Some('X'), Opt::Exact),
    flag("ops", Some('o'), Opt::OnePacket),
    value("tun-type", None, Opt::TunnelDetail),
    value("tun-port", None, Opt::TunnelDetail),
    flag("tun-nocsum", None, Opt::TunnelDetail),
    flag("tun-csum", None, Opt::TunnelDetail),
    flag("tun-remcsum", None, Opt::TunnelDetail),
    value("sync-maxlen", None, Opt::SyncMaxlen),
    value("mcast-group", None, Opt::McastGroup),
    value("mcast-port", None, Opt::McastPort),
    value("mcast-ttl", None, Opt::McastTtl),
];

/// Whether a command takes an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OptionRule {
    Needed,
    Allowed,
    /// At most one exclusive option is allowed.
    Exclusive,
    Illegal,
}

/// Returns whether `command` takes `option`.
pub(crate) fn rule(command: Command, option: Opt) -> OptionRule {
    use Command as C;
    use Opt as O;
    match (command, option) {
        (C::List, O::Connection | O::Service | O::Timeout | O::Daemon) => OptionRule::Exclusive,
        (C::List, O::Numeric | O::Stats | O::Rate | O::Thresholds | O::PersistentConn) => OptionRule::Allowed,
        (C::List, O::NoSort | O::SyncId | O::Exact) => OptionRule::Allowed,
        (C::AddService | C::EditService | C::DeleteService, O::Service) => OptionRule::Needed,
        (C::AddService | C::EditService, O::Scheduler | O::Persistent | O::Netmask) => OptionRule::Allowed,
        (C::AddService | C::EditService, O::Engine | O::OnePacket | O::SchedFlags) => OptionRule::Allowed,
        (C::AddServer | C::EditServer | C::DeleteServer, O::Service | O::Server) => OptionRule::Needed,
        (C::AddServer | C::EditServer, O::Forward | O::Weight) => OptionRule::Allowed,
        (C::AddServer | C::EditServer, O::UpperThreshold | O::LowerThreshold) => OptionRule::Allowed,
        (C::AddServer | C::EditServer, O::TunnelDetail) => OptionRule::Allowed,
        (C::StartDaemon, O::SyncMaxlen | O::McastGroup | O::McastPort | O::McastTtl) => OptionRule::Allowed,
        (C::StartDaemon, O::McastInterface | O::SyncId) | (C::StopDaemon, O::SyncId) => OptionRule::Allowed,
        (C::Save, O::Numeric) | (C::Zero, O::Service) => OptionRule::Allowed,
        _ => OptionRule::Illegal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn migration_chapter_has_every_switch() {
        let chapter = include_str!("../docs/migration.md");
        for switch in SWITCHES {
            assert!(chapter.contains(&format!("--{}", switch.long)), "--{}", switch.long);
            let short = switch.short.map(|short| format!("`-{short}`"));
            assert!(short.is_none_or(|short| chapter.contains(&short)), "{:?}", switch.short);
        }
    }
}
