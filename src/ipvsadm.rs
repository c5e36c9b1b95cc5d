//! ipvsadm's words: its commands, options and switches, and which go together.

use crate::popt::{Switch, Takes};

/// Longest timeout in seconds: 31 days.
pub(crate) const TIMEOUT_MAX: u32 = 86_400 * 31;

/// The scheduler of a service that names none.
pub(crate) const DEFAULT_SCHEDULER: &str = "wlc";

/// Flags that every scheduler takes. Their meaning is the scheduler's: sh and mh have one for the first two.
const NUMBERED_FLAGS: &[&str] = &["flag-1", "flag-2", "flag-3"];
/// Flags that only the named scheduler takes.
const NAMED_FLAGS: &[(&str, &str)] =
    &[("sh-fallback", "sh"), ("sh-port", "sh"), ("mh-fallback", "mh"), ("mh-port", "mh")];

/// The flags of a list as `-b` takes it.
pub(crate) fn flags(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').filter(|flag| !flag.is_empty())
}

/// Checks a list of flags for a scheduler.
///
/// # Errors
/// ipvsadm's message about the first that the scheduler does not take.
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

/// The name that a scheduler has for a flag; none for a number that means nothing to it.
pub(crate) fn flag_name(flag: &str, scheduler: &str) -> Option<String> {
    match (flag, scheduler) {
        ("flag-1", "sh" | "mh") => Some(format!("{scheduler}-fallback")),
        ("flag-2", "sh" | "mh") => Some(format!("{scheduler}-port")),
        _ if NUMBERED_FLAGS.contains(&flag) => None,
        _ => Some(flag.to_owned()),
    }
}

/// What is to be done. The first switch says it.
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
    /// Its name in messages.
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
        /// What a command is told besides. Several switches may mean the same one (`-t`, `-u`).
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Opt {
            $($variant,)+
        }

        impl Opt {
            /// Every option, in the order in which they are checked against a command.
            pub(crate) const ALL: &'static [Opt] = &[$(Self::$variant,)+];

            /// Its name in messages.
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
    SyncDetail = "sync-maxlen",
}

/// How a service is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Tcp,
    Udp,
    Sctp,
}

impl Transport {
    /// As in /etc/services.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }
}

/// How packets get to a real server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Forward {
    Direct,
    Tunnel,
    Masquerade,
}

/// What a switch says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    Command(Command),
    Help,
    Version,
    /// Names a service by its address.
    Service(Transport),
    /// Names a service by its firewall mark.
    Mark,
    /// The marked service is an IPv6 one.
    MarkV6,
    /// Listings are sorted anyway.
    Sort,
    Forward(Forward),
    Option(Opt),
}

const fn switch(long: &'static str, short: Option<char>, takes: Takes, meaning: Meaning) -> Switch<Meaning> {
    Switch { long, short, takes, meaning }
}

const fn command(long: &'static str, short: char, command: Command) -> Switch<Meaning> {
    switch(long, Some(short), Takes::Nothing, Meaning::Command(command))
}

const fn service(long: &'static str, short: Option<char>, transport: Transport) -> Switch<Meaning> {
    switch(long, short, Takes::Word, Meaning::Service(transport))
}

const fn forward(long: &'static str, short: char, forward: Forward) -> Switch<Meaning> {
    switch(long, Some(short), Takes::Nothing, Meaning::Forward(forward))
}

const fn flag(long: &'static str, short: Option<char>, option: Opt) -> Switch<Meaning> {
    switch(long, short, Takes::Nothing, Meaning::Option(option))
}

const fn value(long: &'static str, short: Option<char>, option: Opt) -> Switch<Meaning> {
    switch(long, short, Takes::Word, Meaning::Option(option))
}

/// Every switch. Who reads words by them says which ones it has a use for.
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
    switch("set", None, Takes::Nothing, Meaning::Command(Command::SetTimeouts)),
    switch("start-daemon", None, Takes::Word, Meaning::Command(Command::StartDaemon)),
    switch("stop-daemon", None, Takes::Word, Meaning::Command(Command::StopDaemon)),
    switch("help", Some('h'), Takes::Nothing, Meaning::Help),
    switch("version", Some('v'), Takes::Nothing, Meaning::Version),
    service("tcp-service", Some('t'), Transport::Tcp),
    service("udp-service", Some('u'), Transport::Udp),
    service("sctp-service", None, Transport::Sctp),
    switch("fwmark-service", Some('f'), Takes::Word, Meaning::Mark),
    switch("ipv6", Some('6'), Takes::Nothing, Meaning::MarkV6),
    switch("sort", None, Takes::Nothing, Meaning::Sort),
    switch("persistent", Some('p'), Takes::MaybeWord, Meaning::Option(Opt::Persistent)),
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
    value("sync-maxlen", None, Opt::SyncDetail),
    value("mcast-group", None, Opt::SyncDetail),
    value("mcast-port", None, Opt::SyncDetail),
    value("mcast-ttl", None, Opt::SyncDetail),
];

/// Whether an option goes with a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    Needed,
    Allowed,
    /// Allowed, but only one of these.
    Exclusive,
    Illegal,
}

/// Whether `option` goes with `command`.
pub(crate) fn rule(command: Command, option: Opt) -> Rule {
    use Command as C;
    use Opt as O;
    match (command, option) {
        (C::List, O::Connection | O::Service | O::Timeout | O::Daemon) => Rule::Exclusive,
        (C::List, O::Numeric | O::Stats | O::Rate | O::Thresholds | O::PersistentConn) => Rule::Allowed,
        (C::List, O::NoSort | O::SyncId | O::Exact) => Rule::Allowed,
        (C::AddService | C::EditService | C::DeleteService, O::Service) => Rule::Needed,
        (C::AddService | C::EditService, O::Scheduler | O::Persistent | O::Netmask) => Rule::Allowed,
        (C::AddService | C::EditService, O::Engine | O::OnePacket | O::SchedFlags) => Rule::Allowed,
        (C::AddServer | C::EditServer | C::DeleteServer, O::Service | O::Server) => Rule::Needed,
        (C::AddServer | C::EditServer, O::Forward | O::Weight) => Rule::Allowed,
        (C::AddServer | C::EditServer, O::UpperThreshold | O::LowerThreshold) => Rule::Allowed,
        (C::AddServer | C::EditServer, O::TunnelDetail) | (C::StartDaemon, O::SyncDetail) => Rule::Allowed,
        (C::StartDaemon, O::McastInterface | O::SyncId) | (C::StopDaemon, O::SyncId) => Rule::Allowed,
        (C::Save, O::Numeric) | (C::Zero, O::Service) => Rule::Allowed,
        _ => Rule::Illegal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chapter_on_migration_has_every_switch() {
        let chapter = include_str!("../docs/migration.md");
        for switch in SWITCHES {
            assert!(chapter.contains(&format!("--{}", switch.long)), "--{}", switch.long);
            let short = switch.short.map(|short| format!("`-{short}`"));
            assert!(short.is_none_or(|short| chapter.contains(&short)), "{:?}", switch.short);
        }
    }
}
