//! The words of a line of rules.

use crate::import::description::{Forward, Transport};
use crate::popt::{Switch, Takes};

/// What a line does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Command {
    AddService,
    EditService,
    DeleteService,
    Clear,
    AddServer,
    EditServer,
    DeleteServer,
    SetTimeouts,
    Daemon,
    Zero,
    /// Lists, saves, restores or explains: nothing for a file of rules.
    Other,
}

impl Command {
    /// Whether an option goes with it.
    pub(super) fn takes(self, option: Opt) -> bool {
        use Opt as O;
        match self {
            Self::AddService | Self::EditService => {
                matches!(option, O::Service | O::Scheduler | O::Persistent | O::Netmask)
                    || matches!(option, O::Engine | O::Flags | O::OnePacket)
            }
            Self::DeleteService | Self::Zero => option == O::Service,
            Self::AddServer | Self::EditServer => {
                matches!(option, O::Service | O::Server | O::Forward | O::Weight | O::Upper | O::Lower)
                    || option == O::TunnelDetail
            }
            Self::DeleteServer => matches!(option, O::Service | O::Server),
            Self::Daemon => option == O::DaemonDetail,
            Self::Clear | Self::SetTimeouts | Self::Other => false,
        }
    }
}

/// What a command is told besides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opt {
    Service,
    Server,
    Forward,
    Scheduler,
    Persistent,
    Netmask,
    Engine,
    Flags,
    OnePacket,
    Weight,
    Upper,
    Lower,
    TunnelDetail,
    DaemonDetail,
}

/// What a switch says.
#[derive(Clone, Copy, Debug)]
pub(super) enum Meaning {
    Command(Command),
    Service(Transport),
    Mark,
    /// The marked service is an IPv6 one.
    MarkV6,
    Forward(Forward),
    Option(Opt),
    /// Changes only how things are shown.
    Shown,
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

const fn value(long: &'static str, short: Option<char>, option: Opt) -> Switch<Meaning> {
    switch(long, short, Takes::Word, Meaning::Option(option))
}

const fn flag(long: &'static str, option: Opt) -> Switch<Meaning> {
    switch(long, None, Takes::Nothing, Meaning::Option(option))
}

/// Every switch.
pub(super) const SWITCHES: &[Switch<Meaning>] = &[
    command("add-service", 'A', Command::AddService),
    command("edit-service", 'E', Command::EditService),
    command("delete-service", 'D', Command::DeleteService),
    command("clear", 'C', Command::Clear),
    command("add-server", 'a', Command::AddServer),
    command("edit-server", 'e', Command::EditServer),
    command("delete-server", 'd', Command::DeleteServer),
    command("zero", 'Z', Command::Zero),
    command("list", 'L', Command::Other),
    command("list", 'l', Command::Other),
    command("save", 'S', Command::Other),
    command("restore", 'R', Command::Other),
    command("help", 'h', Command::Other),
    command("version", 'v', Command::Other),
    switch("set", None, Takes::Nothing, Meaning::Command(Command::SetTimeouts)),
    switch("start-daemon", None, Takes::Word, Meaning::Command(Command::Daemon)),
    switch("stop-daemon", None, Takes::Word, Meaning::Command(Command::Daemon)),
    service("tcp-service", Some('t'), Transport::Tcp),
    service("udp-service", Some('u'), Transport::Udp),
    service("sctp-service", None, Transport::Sctp),
    switch("fwmark-service", Some('f'), Takes::Word, Meaning::Mark),
    switch("ipv6", Some('6'), Takes::Nothing, Meaning::MarkV6),
    forward("gatewaying", 'g', Forward::Direct),
    forward("ipip", 'i', Forward::Tunnel),
    forward("masquerading", 'm', Forward::Masquerade),
    switch("persistent", Some('p'), Takes::MaybeWord, Meaning::Option(Opt::Persistent)),
    value("scheduler", Some('s'), Opt::Scheduler),
    value("netmask", Some('M'), Opt::Netmask),
    value("pe", None, Opt::Engine),
    value("sched-flags", Some('b'), Opt::Flags),
    switch("ops", Some('o'), Takes::Nothing, Meaning::Option(Opt::OnePacket)),
    value("real-server", Some('r'), Opt::Server),
    value("weight", Some('w'), Opt::Weight),
    value("u-threshold", Some('x'), Opt::Upper),
    value("l-threshold", Some('y'), Opt::Lower),
    value("tun-type", None, Opt::TunnelDetail),
    value("tun-port", None, Opt::TunnelDetail),
    flag("tun-nocsum", Opt::TunnelDetail),
    flag("tun-csum", Opt::TunnelDetail),
    flag("tun-remcsum", Opt::TunnelDetail),
    value("mcast-interface", None, Opt::DaemonDetail),
    value("syncid", None, Opt::DaemonDetail),
    value("sync-maxlen", None, Opt::DaemonDetail),
    value("mcast-group", None, Opt::DaemonDetail),
    value("mcast-port", None, Opt::DaemonDetail),
    value("mcast-ttl", None, Opt::DaemonDetail),
    switch("numeric", Some('n'), Takes::Nothing, Meaning::Shown),
    switch("exact", Some('X'), Takes::Nothing, Meaning::Shown),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chapter_on_migration_has_every_switch() {
        let chapter = include_str!("../../../docs/migration.md");
        for switch in SWITCHES {
            assert!(chapter.contains(&format!("--{}", switch.long)), "--{}", switch.long);
            let short = switch.short.map(|short| format!("`-{short}`"));
            assert!(short.is_none_or(|short| chapter.contains(&short)), "{:?}", switch.short);
        }
    }
}
