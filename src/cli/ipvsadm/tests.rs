//! Invalid arguments, and formats at their limits.

use super::args::{self, Invocation, UsageError};
use super::*;
use crate::control::api::Service;
use crate::control::api::{Forwarding, Handshakes, Persistence, Rates, Server, Stats};
use crate::model::{IpFamily, ServiceAddress};
use crate::wire::vlan::Vlans;
use std::num::NonZeroU32;

fn parse(line: &str) -> Result<Invocation, UsageError> {
    let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    args::parse(&words)
}

#[test]
fn wrong_arguments_get_ipvsadms_message_and_status() {
    let help = "Try `ipvsadm -h' or 'ipvsadm --help' for more information.";
    for (line, status, message) in [
        ("-X", 255, help),
        ("-n", 255, help),
        ("-q", 255, help),
        ("list", 255, help),
        ("--nosuch", 255, help),
        ("-t", 255, help),
        ("-Lq", 255, "-Lq: unknown option"),
        ("-L --nosuch", 255, "--nosuch: unknown option"),
        ("-L -t", 255, "-t: missing argument"),
        ("-L -A", 2, "multiple commands specified"),
        ("-AD", 2, "multiple commands specified"),
        ("-Lnn", 2, "multiple 'numeric' options specified"),
        ("-L -t 1.2.3.4:80 -u 1.2.3.4:80", 2, "multiple 'service-address' options specified"),
        ("-a -t 1.2.3.4:80 -r 1.2.3.5 -g -m", 2, "multiple 'forwarding-method' options specified"),
        ("-L -s rr", 2, "Illegal 'scheduler' option with the 'list' command"),
        ("-A -t 1.2.3.4:80 -n", 2, "Illegal 'numeric' option with the 'add-service' command"),
        ("-C -n", 2, "Illegal 'numeric' option with the 'flush' command"),
        ("-A", 2, "You need to supply the 'service-address' option for the 'add-service' command"),
        ("-a -t 1.2.3.4:80", 2, "You need to supply the 'real-server' option for the 'add-server' command"),
        (
            "-Lc --timeout",
            2,
            "The option 'timeout' conflicts with the 'connection' option in the 'list' command",
        ),
        (
            "-Lc -t 1.2.3.4:80",
            2,
            "The option 'service-address' conflicts with the 'connection' option in the 'list' command",
        ),
        ("-Lc --stats", 2, "options conflicts in the list command"),
        ("-L --timeout --rate", 2, "options conflicts in the list command"),
        ("-L --daemon --thresholds", 2, "options conflicts in the list command"),
        ("-L --timeout --persistent-conn", 2, "options conflicts in the list command"),
        ("-L stray", 2, "unexpected argument stray"),
        ("-L -t 80", 2, "illegal virtual server address[:port] specified"),
        ("-L -t 1.2.3.4:65536", 2, "illegal virtual server address[:port] specified"),
        ("-L -t 1.2.3.4:", 2, "illegal virtual server address[:port] specified"),
        ("-L -t [2001:db8::1]", 2, "illegal virtual server address[:port] specified"),
        ("-L -t [1.2.3.4]:80", 2, "illegal virtual server address[:port] specified"),
        ("-L -f 0", 2, "invalid fwmark value `0' specified"),
        ("-L -f x", 2, "invalid fwmark value `x' specified"),
        ("-L -6 -f 7", 2, "-6 used before -f"),
        ("-a -t 1.2.3.4:80 -r 80", 2, "illegal real server address[:port] specified"),
        ("-a -t 1.2.3.4:80 -r 1.2.3.5 -w -1", 2, "illegal weight specified"),
        ("-a -t 1.2.3.4:80 -r 1.2.3.5 -w 65536", 2, "illegal weight specified"),
        ("-a -t 1.2.3.4:80 -r 1.2.3.5 -x many", 2, "illegal u_threshold specified"),
        ("-a -t 1.2.3.4:80 -r 1.2.3.5 -y -2", 2, "illegal l_threshold specified"),
        ("-A -t 1.2.3.4:80 -p 0", 2, "invalid timeout value `0' specified"),
        ("-A -t 1.2.3.4:80 -p 2678401", 2, "invalid timeout value `2678401' specified"),
        ("-A -t 1.2.3.4:80 -M 24", 2, "illegal virtual server persistent mask specified"),
        ("-A -t [2001:db8::1]:80 -M 129", 2, "illegal ipv6 netmask specified"),
        ("-A -t 1.2.3.4", 2, "Zero port specified for non-persistent service"),
        ("-A -t 1.2.3.4:80 -o", 2, "One-Packet Scheduling is only for UDP virtual services"),
        ("--set 900 120", 2, "--set option requires 3 timeout values"),
        ("--set 900 120 x", 2, "invalid timeout value `x' specified"),
        ("--set 900 120 300 4", 2, "unexpected argument 4"),
        ("--start-daemon slave", 2, "illegal start-daemon parameter specified"),
        ("--start-daemon master --syncid 256", 2, "illegal syncid specified"),
    ] {
        assert_eq!(parse(line), Err(UsageError { message: message.to_owned(), status }), "{line}");
    }
}

/// Part 1 of the transcript: errors in arguments end with status 2, or point to the help. All other lines can be parsed.
#[test]
fn arguments_of_sync_daemons_are_judged_as_by_ipvsadm() {
    let transcript = include_str!("../../../tests/golden/sync/transcript-6.1");
    let part = transcript.split("=== ").find(|part| part.starts_with("1. ")).unwrap();
    let (mut wrong, mut right) = (0, 0);
    for block in part.split("# ipvsadm ").skip(1) {
        let (line, rest) = block.split_once('\n').unwrap();
        let message = rest.lines().next().and_then(|line| line.strip_prefix("2> "));
        let status = if rest.contains("[exit status 2]\n") { 2 } else { 255 };
        match message.filter(|message| status == 2 || message.starts_with("Try")) {
            Some(message) => {
                let error = UsageError { message: message.to_owned(), status };
                assert_eq!(parse(line), Err(error), "{line}");
                wrong += 1;
            }
            None => {
                assert!(parse(line).is_ok(), "{line}");
                right += 1;
            }
        }
    }
    assert_eq!((wrong, right > 40), (21, true));
}

/// The expected messages are the output of ipvsadm 1.31.
#[test]
fn flags_of_another_scheduler_get_ipvsadms_message() {
    for (line, status, message) in [
        ("-A -t 1.2.3.4:80 -s rr -b sh-port", 2, "incompatible scheduler flag `sh-port'"),
        ("-A -t 1.2.3.4:80 -s sh -b mh-port", 2, "incompatible scheduler flag `mh-port'"),
        ("-A -t 1.2.3.4:80 -s nope -b sh-port", 2, "incompatible scheduler flag `sh-port'"),
        ("-E -t 1.2.3.4:80 -b sh-fallback", 2, "incompatible scheduler flag `sh-fallback'"),
        ("-A -t 1.2.3.4:80 -s mh -b flag-1,sh-port,foo", 2, "incompatible scheduler flag `sh-port'"),
        ("-A -t 1.2.3.4:80 -s rr -b foo", 2, "invalid scheduler flag `foo'"),
        ("-A -t 1.2.3.4:80 -s rr -b flag-4", 2, "invalid scheduler flag `flag-4'"),
        ("-A -t 1.2.3.4:80 -s sh -b SH-PORT", 2, "invalid scheduler flag `SH-PORT'"),
        ("-A -t 1.2.3.4:80 -s rr -b foo stray", 2, "unexpected argument stray"),
        ("-a -t 1.2.3.4:80 -r 1.2.3.5 -b foo", 2, "invalid scheduler flag `foo'"),
        ("-A -b foo", 2, "invalid scheduler flag `foo'"),
        ("-A -t 1.2.3.4 -s rr -b sh-port", 2, "incompatible scheduler flag `sh-port'"),
    ] {
        assert_eq!(parse(line), Err(UsageError { message: message.to_owned(), status }), "{line}");
    }
}

#[test]
fn right_arguments_name_their_command_and_service() {
    use crate::wire::Protocol::{Sctp, Tcp, Udp};
    let at = |transport, address: &str| Some(Target::Address(transport, address.parse().unwrap()));
    let mark = |mark, family| Some(Target::Mark(NonZeroU32::new(mark).unwrap(), family));
    for (line, command, service) in [
        ("-Ln", Command::List, None),
        ("-L -t 1.2.3.4:80", Command::List, at(Tcp, "1.2.3.4:80")),
        ("-L -u 1.2.3.4", Command::List, at(Udp, "1.2.3.4:0")),
        ("-L -u localhost:53", Command::List, at(Udp, "127.0.0.1:53")),
        ("-L --sctp-service [2001:db8::1]:9", Command::List, at(Sctp, "[2001:db8::1]:9")),
        ("-L -t 2001:db8::1", Command::List, at(Tcp, "[2001:db8::1]:0")),
        ("-L -f 7 -6", Command::List, mark(7, IpFamily::Ipv6)),
        ("-At 1.2.3.4:80 -s wlc -p -M 255.255.255.0", Command::AddService, at(Tcp, "1.2.3.4:80")),
        ("-A -t 1.2.3.4 -p 300", Command::AddService, at(Tcp, "1.2.3.4:0")),
        ("-E -u 1.2.3.4:53 -o -b sh-port -s sh", Command::EditService, at(Udp, "1.2.3.4:53")),
        ("-A -t 1.2.3.4:80 -s wlc -b flag-1,flag-2", Command::AddService, at(Tcp, "1.2.3.4:80")),
        ("-A -t 1.2.3.4:80 -s sh -b flag-1,,sh-port,", Command::AddService, at(Tcp, "1.2.3.4:80")),
        ("-E -t 1.2.3.4:80 -b flag-3", Command::EditService, at(Tcp, "1.2.3.4:80")),
        ("-a -t 1.2.3.4:80 -r 1.2.3.5 -g -w 0 -x 9 -y 8", Command::AddServer, at(Tcp, "1.2.3.4:80")),
        ("-e -f 7 -r 1.2.3.5:80 -i", Command::EditServer, mark(7, IpFamily::Ipv4)),
        ("--set 900 120 300", Command::SetTimeouts, None),
        ("-Z", Command::Zero, None),
        ("-C", Command::Clear, None),
        ("-R", Command::Restore, None),
        ("-Sn", Command::Save, None),
        ("--stop-daemon backup --syncid 3", Command::StopDaemon, None),
    ] {
        match parse(line) {
            Ok(Invocation::Run(order)) => {
                assert_eq!((order.command, order.service), (command, service), "{line}")
            }
            other => panic!("{line}: {other:?}"),
        }
    }
}

/// Numbered flags have a meaning only for sh and mh.
#[test]
fn flags_without_a_meaning_are_ignored() {
    for (line, scheduler, expected) in [
        ("-A -t 1.2.3.4:80 -s wlc -b flag-1,flag-2,flag-3", "wlc", &[][..]),
        ("-A -t 1.2.3.4:80 -b flag-1", "wlc", &[]),
        ("-A -t 1.2.3.4:80 -s sh -b flag-1,flag-3", "sh", &["sh-fallback"]),
        ("-A -t 1.2.3.4:80 -b flag-2,mh-fallback -s mh", "mh", &["mh-port", "mh-fallback"]),
        ("-A -t 1.2.3.4:80 -s sh -b flag-1,,sh-port,", "sh", &["sh-fallback", "sh-port"]),
    ] {
        let Ok(Invocation::Run(order)) = parse(line) else { panic!("{line}") };
        let Ok(settings) = changes::service_settings(&order) else { panic!("{line}") };
        assert_eq!(
            (settings.scheduler.as_str(), settings.scheduler_flags),
            (scheduler, expected.iter().map(|flag| (*flag).to_owned()).collect()),
            "{line}"
        );
    }
}

fn server(address: &str) -> Server {
    Server {
        address: address.parse().unwrap(),
        forwarding: Forwarding::Local,
        weight: 65_535,
        effective_weight: None,
        listed: true,
        sorry_server: false,
        slow_start_percent: None,
        upper_threshold: 0,
        lower_threshold: 0,
        active: u32::MAX,
        inactive: u32::MAX,
        persistent: 0,
        state: String::new(),
        suspected: false,
        handshakes: Handshakes::default(),
        mac: None,
        stats: Stats::default(),
        rates: Rates::default(),
    }
}

fn service(address: &str, servers: Vec<Server>) -> Service {
    let address = ServiceAddress { protocol: crate::wire::Protocol::Tcp, address: address.parse().unwrap() };
    Service {
        identity: address.into(),
        matches: Vec::new(),
        vlan: Vlans::NONE,
        scheduler: "wlc".to_owned(),
        scheduler_flags: Vec::new(),
        persistence: None,
        one_packet: false,
        slow_start: None,
        state: String::new(),
        available: 0,
        stats: Stats::default(),
        rates: Rates::default(),
        servers,
    }
}

fn written(service: &Service, view: ListingView, exact: bool, hosts: &str) -> String {
    let style = Style { view, exact, names: Names::from_texts(hosts, "") };
    let mut out = Vec::new();
    format::service(&mut out, service, &style).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn large_numbers_lose_digits_at_ipvsadms_limits() {
    let mut service = service("192.0.2.1:80", Vec::new());
    for (number, short, exact) in [
        (99_999_999, " 99999999", " 99999999"),
        (100_000_000, "  100000K", " 100000000"),
        (999_999_999, "  999999K", " 999999999"),
        (1_000_000_000, "    1000M", " 1000000000"),
        (99_999_999_999, "   99999M", " 99999999999"),
        (100_000_000_000, "     100G", " 100000000000"),
        (99_999_999_999_999, "   99999G", " 99999999999999"),
        (100_000_000_000_000, "     100T", " 100000000000000"),
        (u64::MAX, "18446744T", " 18446744073709551615"),
    ] {
        service.stats = Stats { connections: number, ..Stats::default() };
        let line =
            |number: &str| format!("TCP  192.0.2.1:80                {number}{}\n", "        0".repeat(4));
        assert_eq!(written(&service, ListingView::Stats, false, ""), line(short));
        assert_eq!(written(&service, ListingView::Stats, true, ""), line(exact));
    }
}

#[test]
fn the_widest_numbers_of_a_server_push_the_columns() {
    let wide = Server { rates: Rates { connections: 1 << 40, ..Rates::default() }, ..server("192.0.2.2:80") };
    let service = service("192.0.2.1:80", vec![wide]);
    assert_eq!(
        written(&service, ListingView::Table, false, ""),
        "TCP  192.0.2.1:80 wlc\n  -> 192.0.2.2:80                 Local   65535  4294967295 4294967295\n"
    );
    let rates = written(&service, ListingView::Rates, false, "");
    let server = "  -> 192.0.2.2:80                 1099511627776        0        0        0        0\n";
    assert!(rates.ends_with(server), "{rates}");
}

#[test]
fn long_ipv4_names_are_truncated_ipv6_are_not() {
    let hosts = format!("192.0.2.1 {}\n192.0.2.2 {}\n", "v".repeat(40), "s".repeat(40));
    let v4 =
        written(&service("192.0.2.1:80", vec![server("192.0.2.2:80")]), ListingView::Table, false, &hosts);
    let (vip, rip) = ("v".repeat(28), "s".repeat(28));
    assert!(v4.starts_with(&format!("TCP  {vip} wlc\n  -> {rip} Local ")), "{v4}");
    let long = "[2001:db8:1111:2222:3333:4444:5555:6666]:65535";
    let v6 = written(&service(long, vec![server(long)]), ListingView::Stats, false, "");
    assert!(
        v6.starts_with(&format!("TCP  {long}        0")) && v6.contains(&format!("  -> {long} ")),
        "{v6}"
    );
}

#[test]
fn masks_are_dotted_for_ipv4_and_lengths_for_ipv6() {
    for (address, prefix, expected) in [
        ("192.0.2.1:80", 32, "persistent 300"),
        ("192.0.2.1:80", 20, "persistent 300 mask 255.255.240.0"),
        ("192.0.2.1:80", 0, "persistent 300 mask 0.0.0.0"),
        ("[2001:db8::1]:80", 128, "persistent 300"),
        ("[2001:db8::1]:80", 64, "persistent 300 mask 64"),
    ] {
        let persistence = Some(Persistence { timeout: 300, prefix, engine: None });
        let service = Service { persistence, ..service(address, Vec::new()) };
        let line = written(&service, ListingView::Table, false, "");
        assert!(line.ends_with(&format!(" wlc {expected}\n")), "{line}");
    }
}

#[test]
fn all_settings_of_a_service_are_listed_and_saved() {
    let service = Service {
        scheduler_flags: vec!["sh-port".to_owned()],
        persistence: Some(Persistence { timeout: 60, prefix: 24, engine: Some("sip".to_owned()) }),
        one_packet: true,
        ..service("192.0.2.1:80", Vec::new())
    };
    assert_eq!(
        written(&service, ListingView::Table, false, ""),
        "TCP  192.0.2.1:80 wlc (sh-port) persistent 60 mask 255.255.255.0 pe sip ops\n"
    );
    assert_eq!(
        written(&service, ListingView::Rules, false, ""),
        "-A -t 192.0.2.1:80 -s wlc -p 60 -M 255.255.255.0 --pe sip -o -b sh-port\n"
    );
}

#[test]
fn connections_with_engines_have_wider_titles() {
    let mut out = Vec::new();
    format::connections_title(&mut out, true).unwrap();
    let title = String::from_utf8(out).unwrap();
    assert_eq!(
        title.lines().nth(1).unwrap(),
        "pro expire state       source             virtual            destination        pe name          pe_data"
    );
}
