//! ipvsadm's commands and options, and which go together.

use crate::popt::{Switch, Takes};

/// What is to be done. The first switch says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Command {
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
    pub(super) fn name(self) -> &'static str {
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
        pub(super) enum Opt {
            $($variant,)+
        }

        impl Opt {
            /// Every option, in the order in which they are checked against a command.
            pub(super) const ALL: &'static [Opt] = &[$(Self::$variant,)+];

            /// Its name in messages.
            pub(super) fn name(self) -> &'static str {
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
}

/// A set of options.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Options(u32);

impl Options {
    pub(super) fn has(self, option: Opt) -> bool {
        self.0 & 1 << option as u32 != 0
    }

    pub(super) fn has_any(self, options: &[Opt]) -> bool {
        options.iter().any(|&option| self.has(option))
    }

    pub(super) fn add(&mut self, option: Opt) {
        self.0 |= 1 << option as u32;
    }
}

/// How a service is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    Tcp,
    Udp,
    Sctp,
}

/// What a switch says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
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
    /// How packets reach the real server, if not by direct routing.
    Forwarding(Option<&'static str>),
    Option(Opt),
}

const fn switch(long: &'static str, short: Option<char>, takes: Takes, meaning: Meaning) -> Switch<Meaning> {
    Switch { long, short, takes, meaning }
}

const fn command(long: &'static str, short: char, command: Command) -> Switch<Meaning> {
    switch(long, Some(short), Takes::Nothing, Meaning::Command(command))
}

const fn flag(long: &'static str, short: Option<char>, option: Opt) -> Switch<Meaning> {
    switch(long, short, Takes::Nothing, Meaning::Option(option))
}

const fn value(long: &'static str, short: Option<char>, option: Opt) -> Switch<Meaning> {
    switch(long, short, Takes::Word, Meaning::Option(option))
}

/// Every switch.
pub(super) const SWITCHES: &[Switch<Meaning>] = &[
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
    switch("tcp-service", Some('t'), Takes::Word, Meaning::Service(Transport::Tcp)),
    switch("udp-service", Some('u'), Takes::Word, Meaning::Service(Transport::Udp)),
    switch("sctp-service", None, Takes::Word, Meaning::Service(Transport::Sctp)),
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
    switch("masquerading", Some('m'), Takes::Nothing, Meaning::Forwarding(Some("masquerading (-m)"))),
    switch("ipip", Some('i'), Takes::Nothing, Meaning::Forwarding(Some("IP-in-IP (-i)"))),
    switch("gatewaying", Some('g'), Takes::Nothing, Meaning::Forwarding(None)),
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
];

/// Whether an option goes with a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    Needed,
    Allowed,
    /// Allowed, but only one of these.
    Exclusive,
    Illegal,
}

fn rule(command: Command, option: Opt) -> Rule {
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
        (C::StartDaemon, O::McastInterface | O::SyncId) | (C::StopDaemon, O::SyncId) => Rule::Allowed,
        (C::Save, O::Numeric) | (C::Zero, O::Service) => Rule::Allowed,
        _ => Rule::Illegal,
    }
}

/// Checks that `options` go with `command`.
///
/// # Errors
/// ipvsadm's message about the first option that does not.
pub(super) fn check(command: Command, options: Options) -> Result<(), String> {
    let mut exclusive = None;
    for &option in Opt::ALL {
        let (name, command_name) = (option.name(), command.name());
        match (rule(command, option), options.has(option)) {
            (Rule::Needed, false) => {
                return Err(format!(
                    "You need to supply the '{name}' option for the '{command_name}' command"
                ));
            }
            (Rule::Illegal, true) => {
                return Err(format!("Illegal '{name}' option with the '{command_name}' command"));
            }
            (Rule::Exclusive, true) => exclude(command_name, exclusive.replace(name), name)?,
            _ => {}
        }
    }
    Ok(())
}

fn exclude(command: &str, earlier: Option<&str>, name: &str) -> Result<(), String> {
    earlier.map_or(Ok(()), |earlier| {
        Err(format!("The option '{name}' conflicts with the '{earlier}' option in the '{command}' command"))
    })
}
