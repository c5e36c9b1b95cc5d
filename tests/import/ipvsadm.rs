//! Import of ipvsadm rules.

use crate::{Files, config, imported, is_for_now, notices, refused, shown, source};
use directrix::import::{NoticeLevel, import};
use directrix::model::{RealServer, Scheduler, SchedulerFlags, ServiceAddress, VirtualService, Weight};
use directrix::wire::Protocol;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

fn services(text: &str) -> String {
    let import = imported("f", text, &Files::default());
    shown(&config(&import).services)
}

/// Returns the output of a command in a transcript.
fn printed<'t>(transcript: &'t str, command: &str) -> &'t str {
    let start = transcript.find(command).expect("the transcript has the command") + command.len();
    let rest = &transcript[start..];
    &rest[..rest.find("[exit status").expect("the command ended")]
}

#[test]
fn rules_saved_by_the_kernel_are_imported() {
    let saved = printed(include_str!("../golden/ipvs-6.1/formats"), "ipvsadm -Sn\n");
    let import = imported("rules", saved, &Files::default());
    assert_eq!(
        shown(&config(&import).services),
        "TCP 192.168.195.150:80 wlc: 192.168.195.160*1\n\
         TCP 192.168.195.150:443 sh: 192.168.195.171*0\n\
         UDP 192.168.195.150:53 wrr: 192.168.195.170*9\n\
         TCP [2001:db8::1]:80 lc: 2001:db8::2*1"
    );
    let messages = notices(&import);
    let messages: Vec<_> = messages.iter().filter(|line| !is_for_now(line)).collect();
    let begins: Vec<_> = messages.iter().map(|line| line.split([';', ',']).next().unwrap()).collect();
    assert_eq!(
        begins,
        [
            "rules:4: not carried over: 192.168.195.170 was reached by a tunnel (-i",
            "rules:8: not carried over: 192.168.195.171 was reached by masquerading (-m",
            "rules:11: not carried over: firewall mark 7: directrix takes frames before netfilter could mark them",
        ]
    );
    assert!(messages[1].contains("let it serve port 53 instead of 5353"), "{}", messages[1]);
    assert!(import.toml.contains("interface = \"lan0\"  # set by --interface\n"), "{}", import.toml);
    assert!(
        import.toml.contains("# rules:1: -A -t 192.168.195.150:80 -s wlc\n[[service]]\n"),
        "{}",
        import.toml
    );
    assert!(
        import.toml.contains("# [[service.server]]\n# address = \"192.168.195.171\"\n"),
        "{}",
        import.toml
    );
    assert_eq!((import.services, import.servers), (4, 4));
}

#[test]
fn a_mark_has_a_service_of_each_family() {
    let text = "-A -t 192.0.2.1:80\n-A -f 7 -s rr\n-a -f 7 -r 10.0.0.1\n\
                -A -f 7 -6 -s rr -p 60 -M 64\n-a -f 7 -6 -r [2001:db8::2]:0\n";
    let import = imported("f", text, &Files::default());
    let left_out: Vec<_> =
        notices(&import).into_iter().filter(|line| line.contains("not carried over")).collect();
    let marks =
        ["f:2: not carried over: firewall mark 7: ", "f:4: not carried over: firewall mark 7 of IPv6: "];
    assert_eq!(left_out.len(), 2, "{left_out:?}");
    assert!(left_out.iter().zip(marks).all(|(line, mark)| line.starts_with(mark)), "{left_out:?}");
    let (v4, v6) = import.toml.split_once("# f:4").unwrap();
    assert!(v4.contains("10.0.0.1") && !v4.contains("2001:db8::2"), "{}", import.toml);
    assert!(v6.contains("2001:db8::2") && v6.contains("prefix = 64"), "{}", import.toml);
}

#[test]
fn rules_of_marks_alone_are_written_to_be_completed() {
    let import = imported("f", "-A -f 7 -s rr\n-a -f 7 -r 10.0.0.1:80\n", &Files::default());
    assert_eq!((import.services, import.servers), (0, 0));
    assert!(import.toml.contains("# mark = 7\n# match = [\"tcp:VIP:port\"]\n"), "{}", import.toml);
    let said = notices(&import);
    let port = "f:2: note: 10.0.0.1 has port 80, and a firewall mark has none; IPVS sends to a client's port as well";
    assert!(said.iter().any(|line| line.starts_with(port)), "{said:?}");
    let completed = import.toml.replace("tcp:VIP:port", "tcp:192.0.2.1:80");
    let lines = completed.lines().map(|line| match line.strip_prefix("# ") {
        Some(live) if live.contains(" = ") || live.starts_with("[[") => live,
        _ => line,
    });
    let completed = lines.collect::<Vec<_>>().join("\n");
    assert_eq!(
        directrix::model::parse(std::path::Path::new("d.toml"), &completed).unwrap().services.len(),
        1,
        "{completed}"
    );
}

#[test]
fn comments_names_and_program_calls_are_read() {
    let text = "# ipvsadm.rules\n\n  -A -t vip.example:http   # the web\n-a -t vip.example:http -r 10.0.0.1:http -g -w 1\n\
                ipvsadm -A -u 192.0.2.10:53 -s rr\n/sbin/ipvsadm -a -u 192.0.2.10:53 -r 10.0.0.2\n";
    assert_eq!(services(text), "TCP 192.0.2.10:80 wlc: 10.0.0.1*1\nUDP 192.0.2.10:53 rr: 10.0.0.2*1");
}

#[test]
fn rules_are_applied_in_order() {
    let text = "--add-service --tcp-service=192.0.2.1:80 --scheduler=rr\n-At 192.0.2.2:80\n-A -t 192.0.2.3:80\n\
                -a -t 192.0.2.1:80 -r 10.0.0.1 -w 5\n-a -t 192.0.2.1:80 -r 10.0.0.2 -x 100 -y 50\n\
                -a -t 192.0.2.1:80 -r 10.0.0.3\n-e -t 192.0.2.1:80 -r 10.0.0.1 -w 7\n-d -t 192.0.2.1:80 -r 10.0.0.3\n\
                -E -t 192.0.2.1:80 -s mh -b flag-1,mh-port\n-D -t 192.0.2.2:80\n-Z\n--set 0 60 10\n";
    assert_eq!(
        services(text),
        "TCP 192.0.2.1:80 mh (mh-fallback,mh-port): 10.0.0.1*7 10.0.0.2*1(100,50)\nTCP 192.0.2.3:80 wlc:"
    );
    let cleared = format!("{text}-C\n-A -t 192.0.2.9:80\n");
    assert_eq!(services(&cleared), "TCP 192.0.2.9:80 wlc:");
    let timeouts = config(&imported("f", text, &Files::default())).director.timeouts;
    assert_eq!((timeouts.tcp.secs(), timeouts.tcp_fin.secs(), timeouts.udp.secs()), (900, 60, 10));
}

#[test]
fn wildcard_port_is_imported() {
    let text = "-A -t 192.0.2.1 -s rr -p 60 -M 255.255.255.0\n-a -t 192.0.2.1:0 -r 10.0.0.1\n-a -t 192.0.2.1:0 -r 10.0.0.2:0\n\
                -A -t 192.0.2.1:80\n-a -t 192.0.2.1:80 -r 10.0.0.2:80\n";
    let import = imported("f", text, &Files::default());
    assert_eq!(notices(&import), [""; 0]);
    let services = config(&import).services;
    assert_eq!(
        shown(&services),
        "TCP 192.0.2.1:0 rr: 10.0.0.1*1 10.0.0.2*1\nTCP 192.0.2.1:80 wlc: 10.0.0.2*1"
    );
    let persistence = services[0].persistence.unwrap();
    assert_eq!((persistence.timeout.secs(), persistence.prefix), (60, 24));
    let prepared = imported("f", &format!("{text}-a -t 192.0.2.1:0 -r 10.0.0.3:81 -m\n"), &Files::default());
    let messages = notices(&prepared);
    assert!(
        messages[0].contains("--vip 192.0.2.1), let it serve all ports, not 81 alone, and"),
        "{messages:?}"
    );
}

#[test]
fn services_of_sctp_are_imported() {
    let rules = "-A --sctp-service 192.0.2.1:3868 -s rr -p 600\n-a --sctp-service 192.0.2.1:3868 -r 10.0.0.1:3868 -g -w 3\n";
    let import = imported("rules", rules, &Files::default());
    assert!(
        import.toml.contains("protocol = \"sctp\"\n") && import.toml.contains("timeout = 600"),
        "{}",
        import.toml
    );
    assert_eq!(shown(&config(&import).services), "SCTP 192.0.2.1:3868 rr: 10.0.0.1*3");
    assert!(notices(&import).iter().all(|line| is_for_now(line)), "{:?}", notices(&import));
}

/// Each text follows a valid service.
#[test]
fn unsupported_rules_are_reported_by_line() {
    let good = "-A -t 192.0.2.1:80\n-a -t 192.0.2.1:80 -r 10.0.0.1\n";
    for (rules, expected) in [
        (
            "--start-daemon master --mcast-interface eth0",
            "3: not carried over: a sync daemon is none of the rules",
        ),
        (
            "-A -t 192.0.2.2 -p\n-a -t 192.0.2.2 -r 10.0.0.2:8080",
            "4: note: 10.0.0.2 has port 8080, and the service the wildcard port",
        ),
        (
            "-A -t 192.0.2.2:0",
            "3: not carried over: TCP 192.0.2.2:0: address is \"192.0.2.2:0\", a wildcard port, in a service that is not persistent",
        ),
        (
            "-A -f 7",
            "3: not carried over: firewall mark 7: directrix takes frames before netfilter could mark them",
        ),
        (
            "-A -f 7 -6 -p 360 -M 64",
            "3: not carried over: firewall mark 7 of IPv6: directrix takes frames before netfilter could mark them",
        ),
        (
            "-A -t 224.0.0.1:80",
            "3: not carried over: TCP 224.0.0.1:80: address is \"224.0.0.1:80\", a multicast address",
        ),
        (
            "-A -t 192.0.2.2:80 -s lblcr",
            "3: not carried over: scheduler is \"lblcr\", IPVS's scheduler for caches, which directrix does not have",
        ),
        ("-A -t 192.0.2.2:80 -s rr -b flag-3", "3: note: flag-3 means nothing to the scheduler rr"),
        ("-A -t 192.0.2.2:80 -b flag-1", "3: note: flag-1 means nothing to the scheduler wlc"),
        (
            "-A -t 192.0.2.2:80 --pe sip",
            "3: not carried over: persistence engine \"sip\": directrix looks at addresses and ports only",
        ),
        (
            "-a -t 192.0.2.1:80 -r 192.0.2.1",
            "3: not carried over: 192.0.2.1 is a VIP, so this server is the director itself",
        ),
        (
            "-a -t 192.0.2.1:80 -r 10.0.0.1:8080",
            "3: not carried over: 10.0.0.1 is a server of TCP 192.0.2.1:80 already",
        ),
        ("-a -t 192.0.2.1:80 -r 10.0.0.2:8080", "3: note: 10.0.0.2 has port 8080, not the service's 80"),
        ("-a -t 192.0.2.1:80 -r 10.0.0.2 -y 5", "3: note: lower threshold 5 without an upper one"),
        (
            "-a -t 192.0.2.1:80 -r 10.0.0.2 -x 5 -y 9",
            "3: not carried over: lower_threshold 9 of 10.0.0.2: lower_threshold is 9, above upper_threshold = 5",
        ),
        (
            "-a -t 192.0.2.1:80 -r 127.0.0.1",
            "3: not carried over: 127.0.0.1 is a loopback address, so this server is the director itself",
        ),
        ("--set 2500000 0 0", "3: not carried over: the timeout tcp is 2500000, out of range"),
    ] {
        let text = format!("{good}{rules}\n");
        let import = imported("f", &text, &Files::default());
        let messages = notices(&import);
        assert_eq!(messages.len(), 1, "{rules}: {messages:?}");
        assert!(messages[0].starts_with(&format!("f:{expected}; ")), "{rules}: {messages:?}");
        assert!(
            shown(&config(&import).services).starts_with("TCP 192.0.2.1:80 wlc: 10.0.0.1*1"),
            "{}",
            import.toml
        );
        let is_warning = import.notices[0].level() == NoticeLevel::Warning;
        assert_eq!(is_warning, messages[0].contains("not carried over"));
    }
}

#[test]
fn service_without_direct_servers_becomes_a_comment() {
    let text = "-A -t 192.0.2.1:80\n-A -t 192.0.2.2:80\n-a -t 192.0.2.2:80 -r 10.0.0.1:8080 -m\n";
    let import = imported("f", text, &Files::default());
    assert_eq!(shown(&config(&import).services), "TCP 192.0.2.1:80 wlc:");
    let uncommented = import.toml.replace("\n# [[", "\n[[").replace("\n# protocol", "\nprotocol");
    let uncommented = ["address", "scheduler", "weight"]
        .iter()
        .fold(uncommented, |text, key| text.replace(&format!("\n# {key} ="), &format!("\n{key} =")));
    let again = directrix::model::parse(std::path::Path::new("d.toml"), &uncommented).unwrap();
    assert_eq!(shown(&again.services), "TCP 192.0.2.1:80 wlc:\nTCP 192.0.2.2:80 wlc: 10.0.0.1*1");
}

/// A setting is either imported or reported, never both or neither.
#[test]
fn persistence_and_ops_are_imported_or_reported() {
    let text = "-A -u 192.0.2.1:53 -o\n-A -t 192.0.2.1:443 -p 600 -M 255.255.255.0\n-A -t 192.0.2.1:80 -p\n";
    let import = imported("f", text, &Files::default());
    let services = config(&import).services;
    let has_warning = |line| {
        notices(&import).iter().any(|messages| messages.starts_with(&format!("f:{line}: not carried over: ")))
    };
    assert_ne!(services[0].one_packet, has_warning(1), "{}", import.toml);
    for (service, line, timeout, prefix) in [(&services[1], 2, 600, 24), (&services[2], 3, 360, 32)] {
        assert_ne!(service.persistence.is_some(), has_warning(line), "{}", import.toml);
        let kept = service.persistence.map(|persistence| (persistence.timeout.secs(), persistence.prefix));
        assert!(kept.is_none_or(|kept| kept == (timeout, prefix)), "{kept:?}");
    }
}

#[test]
fn direct_option_imports_other_methods() {
    let text = "-A -t 192.0.2.1:80\n-a -t 192.0.2.1:80 -r 10.0.0.1:8080 -m -w 3\n-a -t 192.0.2.1:80 -r 10.0.0.2 -i\n\
                -a -t 192.0.2.1:80 -r 10.0.0.1:8081 -m\n";
    let direct = directrix::import::ImportSource { direct: true, ..source("f", text) };
    let import = import(&direct, &Files::default()).unwrap();
    assert_eq!(shown(&config(&import).services), "TCP 192.0.2.1:80 wlc: 10.0.0.1*3 10.0.0.2*1");
    let messages = notices(&import);
    assert!(
        messages[0].starts_with("f:2: note: 10.0.0.1 was reached by masquerading (-m, NAT), "),
        "{messages:?}"
    );
    assert!(messages[0].contains("let it serve port 80 instead of 8080, "), "{messages:?}");
    assert!(
        messages[2].starts_with("f:4: not carried over: 10.0.0.1 is a server of TCP 192.0.2.1:80 already; "),
        "{messages:?}"
    );
}

#[test]
fn all_invalid_lines_are_reported() {
    let text =
        "-A -t 192.0.2.1:80\n-a -t 192.0.2.1:81 -r 10.0.0.1\n-A -t 192.0.2.1:80\n-q\n-a -t 192.0.2.1:80\n";
    let line = |number, what: &str| format!("f:{number}: ipvsadm would not take this line: {what}");
    let expected = [
        line(2, "TCP 192.0.2.1:81 is not a service up to here"),
        line(3, "TCP 192.0.2.1:80 is a service already"),
        line(4, "-q: unknown option"),
        line(5, "it names no real server: write -r"),
    ];
    assert_eq!(refused(text, &Files::default()), expected.join("\n"));
    for (rules, what) in [
        ("-A", "it names no service: write -t, -u or -f"),
        ("-A -t 80", "this host cannot resolve \"80\": use the output of \"ipvsadm -S -n\""),
        (
            "-A -t 192.0.2.1:nosuch",
            "this host has no service named \"nosuch\": use the output of \"ipvsadm -S -n\"",
        ),
        ("-A -t nosuch:80", "this host cannot resolve \"nosuch\": use the output of \"ipvsadm -S -n\""),
        ("-A -t [2001:db8::g]:80", "\"[2001:db8::g]:80\" is not an address and port"),
        ("-A -t 192.0.2.1:80 -D", "it has two commands"),
        ("-A -t 192.0.2.1:80 -w 1", "it has an option that does not go with its command"),
        ("-A -t 192.0.2.1:80 -u 192.0.2.1:80", "it has an option twice"),
        ("-A -t 192.0.2.1:80 -s rr -b sh-port", "incompatible scheduler flag `sh-port'"),
        ("-A -t 192.0.2.1:80 -b foo", "invalid scheduler flag `foo'"),
        ("-A -t 192.0.2.1:80 -p 0", "\"0\" is not a valid timeout (1 to 2678400)"),
        ("-A -t 192.0.2.1:80 -p 5 -M 24", "\"24\" is not a netmask of IPv4"),
        ("-A -t 192.0.2.1:80 stray", "\"stray\" is not an option of ipvsadm"),
        ("-A -6 -f 7", "-6 stands before -f"),
        ("-Ln", "it lists, saves or restores, which has no place among rules"),
        ("-t 192.0.2.1:80", "it does not begin with a command of ipvsadm, as in \"-A\" or \"-a\""),
        ("--set 1 2", "--set needs three timeouts"),
        ("-d -t 192.0.2.9:80 -r 10.0.0.1", "TCP 192.0.2.9:80 is not a service up to here"),
    ] {
        assert_eq!(refused(rules, &Files::default()), line(1, what), "{rules}");
    }
}

#[test]
fn rules_after_a_duplicate_service_are_read() {
    let web = "-A -t 192.0.2.1:80\n";
    let server = "-a -t 192.0.2.1:80 -r 10.0.0.1\n";
    let twice = "f:2: ipvsadm would not take this line: TCP 192.0.2.1:80 is a service already";
    let rest =
        ["-E -t 192.0.2.1:80 -s lc\n", server, "-e -t 192.0.2.1:80 -r 10.0.0.1\n", "-D -t 192.0.2.1:80\n"];
    let error = refused(&[&[web, web], &rest[..]].concat().concat(), &Files::default());
    assert!(error.starts_with(twice) && error.lines().count() == 1, "{error}");
}

#[test]
fn other_formats_are_recognized() {
    for (text, expected) in [
        ("", "f: it is empty; give the output of \"ipvsadm -S -n\", or keepalived.conf"),
        ("# nothing\n\n", "f: it is empty; give the output of \"ipvsadm -S -n\", or keepalived.conf"),
        (
            "IP Virtual Server version 1.2.1 (size=4096)\n",
            "f: this is a listing (ipvsadm -L); give the output of \"ipvsadm -S -n\"",
        ),
        ("[director]\n", "f: this is a configuration of directrix already; use it as it is"),
        (
            "upstream web {\n",
            "f: \"upstream web {\" begins neither rules of ipvsadm nor a configuration of keepalived, and no line is a \
             virtual of ldirectord or a sysctl of IPVS; give --from ipvsadm, --from keepalived or --from ldirectord if it is one of these",
        ),
        ("-C\n", "f: there is no virtual service in it"),
        (
            "-A -t 1.2.3.4:\u{7}x\n",
            "f:1: ipvsadm would not take this line: this host has no service named \"\\u{7}x\": use the output of \"ipvsadm -S -n\"",
        ),
    ] {
        assert_eq!(refused(text, &Files::default()), expected, "{text}");
    }
    let bad =
        directrix::import::ImportSource { interface: Some("a/b"), ..source("f", "-A -t 192.0.2.1:80\n") };
    let failure = import(&bad, &Files::default()).unwrap_err().to_string();
    assert!(
        failure.starts_with("--interface is \"a/b\": a name has no space, slash or colon in it; "),
        "{failure}"
    );
}

/// Formats services as `ipvsadm -S` does, with thresholds.
fn saved(services: &[VirtualService]) -> String {
    let lines = services.iter().map(|service| {
        let ServiceAddress { protocol, address } = service.identity.address().unwrap();
        let flag = if protocol == Protocol::Tcp { "-t" } else { "-u" };
        let flags: Vec<_> = service.scheduler_flags.names(service.scheduler).collect();
        let flags = if flags.is_empty() { String::new() } else { format!(" -b {}", flags.join(",")) };
        let servers = service.servers.iter().map(|server| {
            let limit = |switch, limit| if limit > 0 { format!(" {switch} {limit}") } else { String::new() };
            let limits = limit("-x", server.upper_threshold) + &limit("-y", server.lower_threshold);
            let port = address.port();
            format!("-a {flag} {address} -r {}:{port} -g -w {}{limits}\n", server.address, server.weight.0)
        });
        format!("-A {flag} {address} -s {}{flags}\n{}", service.scheduler.name(), servers.collect::<String>())
    });
    lines.collect()
}

/// A real server in 10.2.0.0/16 and its port.
fn server() -> impl Strategy<Value = (u16, RealServer)> {
    (any::<u16>(), any::<u16>(), 0u32..=i32::MAX as u32, any::<bool>()).prop_map(
        |(host, weight, upper, lower)| {
            let [high, low] = host.to_be_bytes();
            let mut server = RealServer::new(Ipv4Addr::new(10, 2, high, low).into(), Weight(weight));
            server.upper_threshold = upper;
            server.lower_threshold = if lower { upper / 2 } else { 0 };
            (host, server)
        },
    )
}

fn flags(scheduler: Scheduler, [fallback, port]: [bool; 2]) -> SchedulerFlags {
    let mut flags = SchedulerFlags::default();
    for (name, set) in scheduler.flag_names().iter().zip([fallback, port]) {
        if set {
            flags.set(scheduler, name).unwrap();
        }
    }
    flags
}

/// A service with a VIP in 10.1.0.0/16.
fn service() -> impl Strategy<Value = (ServiceAddress, VirtualService)> {
    let servers = prop::collection::vec(server(), 0..6);
    let protocol = prop_oneof![Just(Protocol::Tcp), Just(Protocol::Udp)];
    let scheduler = (prop::sample::select(Scheduler::ALL), any::<[bool; 2]>());
    (protocol, 0u8..4, 1u16.., scheduler, servers).prop_map(
        |(protocol, host, port, (scheduler, set), servers)| {
            let address = ServiceAddress { protocol, address: SocketAddr::from(([10, 1, 0, host], port)) };
            let servers: BTreeMap<_, _> = servers.into_iter().collect();
            let service = VirtualService::new(address, servers.into_values().collect());
            (address, VirtualService { scheduler, scheduler_flags: flags(scheduler, set), ..service })
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn saved_rules_are_imported_unchanged(services in prop::collection::vec(service(), 1..8)) {
        let services: BTreeMap<_, _> = services.into_iter().collect();
        let services: Vec<_> = services.into_values().collect();
        let import = imported("f", &saved(&services), &Files::default());
        prop_assert_eq!(config(&import).services, services);
        prop_assert!(import.notices.is_empty(), "{:?}", import.notices);
    }
}
