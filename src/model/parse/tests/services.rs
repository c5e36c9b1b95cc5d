//! Services and real servers: each wrong value with its line, what is wrong and the remedy.

use super::*;

#[test]
fn broken_service_tables_are_refused() {
    refused(
        &service("[[service]]\n"),
        &[
            "3: [[service]] has no protocol; add protocol = \"tcp\"",
            "3: [[service]] has no address; add address = \"VIP:port\"",
        ],
    );
    refused(
        &service("[service]\nprotocol = \"tcp\""),
        &["3: service is a table; write [[service]], once for each"],
    );
    refused(&service("[[services]]\n"), &["3: \"services\" is not a key of the file; did you mean service?"]);
    refused(
        "service = [1]\n[director]\ninterface = \"eth0\"",
        &["1: [[service]] is an integer; write it as a table that begins with [[service]]"],
    );
}

#[test]
fn a_services_address_is_vip_and_port() {
    let cases = [
        ("\"10.0.0.1\"", r#"is "10.0.0.1", without a port; write "10.0.0.1:80""#),
        (
            "\"10.0.0.1:0\"",
            r#"is "10.0.0.1:0", a wildcard port, in a service that is not persistent; add persistence = {}, or write a port"#,
        ),
        (
            "\"10.0.0.1:65536\"",
            r#"is "10.0.0.1:65536": the port is not a number from 1 to 65535; write VIP and port, as in "192.168.195.150:80""#,
        ),
        (
            "\"10.0.0.1:http\"",
            r#"is "10.0.0.1:http": the port is not a number from 1 to 65535; write VIP and port, as in "192.168.195.150:80""#,
        ),
        (
            "\"10.0.0.256:80\"",
            r#"is "10.0.0.256:80", not an IP address; write VIP and port, as in "192.168.195.150:80""#,
        ),
        (
            "\"www.example.org:80\"",
            r#"is "www.example.org:80", not an IP address; write VIP and port, as in "192.168.195.150:80""#,
        ),
        ("\"\"", r#"is "", not an IP address and port; write VIP and port, as in "192.168.195.150:80""#),
        (
            "\"0.0.0.0:80\"",
            r#"is "0.0.0.0:80", the unspecified address; write VIP and port, as in "192.168.195.150:80""#,
        ),
        (
            "\"0.1.2.3:80\"",
            r#"is "0.1.2.3:80", an address of network 0, which no host has; write VIP and port, as in "192.168.195.150:80""#,
        ),
        (
            "\"127.0.0.1:80\"",
            r#"is "127.0.0.1:80", a loopback address; write VIP and port, as in "192.168.195.150:80""#,
        ),
        (
            "\"224.0.0.1:80\"",
            r#"is "224.0.0.1:80", a multicast address; write VIP and port, as in "192.168.195.150:80""#,
        ),
        (
            "\"255.255.255.255:80\"",
            r#"is "255.255.255.255:80", the broadcast address; write VIP and port, as in "192.168.195.150:80""#,
        ),
        (
            "\"10.0.0.1:80\\n\"",
            r#"is "10.0.0.1:80\n": the port is not a number from 1 to 65535; write VIP and port, as in "192.168.195.150:80""#,
        ),
        ("80", r#"is 80; write VIP and port, as in "192.168.195.150:80", in quotes"#),
    ];
    for (address, wanted) in cases {
        let text = service(&format!("[[service]]\nprotocol = \"tcp\"\naddress = {address}\n"));
        refused(&text, &[&format!("5: address {wanted}")]);
    }
}

#[test]
fn an_ipv6_vip_is_in_brackets() {
    let cases = [
        ("\"2001:DB8::1\"", r#"is "2001:DB8::1", without a port; write "[2001:db8::1]:80""#),
        ("\"[2001:db8::1]\"", r#"is "[2001:db8::1]", without a port; write "[2001:db8::1]:80""#),
        (
            "\"2001:db8:0:0:0:0:0:1:80\"",
            r#"is "2001:db8:0:0:0:0:0:1:80", an IPv6 address without brackets; write VIP and port, as in "[2001:db8::150]:80""#,
        ),
        (
            "\"[2001:db8::1%2]:80\"",
            r#"is "[2001:db8::1%2]:80", not an IP address; write VIP and port, as in "[2001:db8::150]:80""#,
        ),
        (
            "\"[10.0.0.1]:80\"",
            r#"is "[10.0.0.1]:80", not an IP address; write VIP and port, as in "192.168.195.150:80""#,
        ),
        (
            "\"[fe80::1]:80\"",
            r#"is "[fe80::1]:80", a link-local address, which is valid on one link only; write VIP and port, as in "[2001:db8::150]:80""#,
        ),
        (
            "\"[ff02::1]:80\"",
            r#"is "[ff02::1]:80", a multicast address; write VIP and port, as in "[2001:db8::150]:80""#,
        ),
        (
            "\"[::ffff:10.0.0.1]:80\"",
            r#"is "[::ffff:10.0.0.1]:80", an IPv4-mapped address, which never is on the wire; write VIP and port, as in "[2001:db8::150]:80""#,
        ),
    ];
    for (address, wanted) in cases {
        let text = service(&format!("[[service]]\nprotocol = \"tcp\"\naddress = {address}\n"));
        refused(&text, &[&format!("5: address {wanted}")]);
    }
}

#[test]
fn a_services_other_keys_are_checked() {
    let cases = [
        ("protocol = \"dccp\"", r#"4: protocol is "dccp"; write "tcp" or "udp" or "sctp""#),
        ("protocol = \"TCP\"", r#"4: protocol is "TCP"; write "tcp" or "udp" or "sctp""#),
        ("protocol = 6", r#"4: protocol is 6; write "tcp" or "udp" or "sctp""#),
        (
            "protocol = \"tcp\"\nscheduler = \"lblcr\"",
            r#"5: scheduler is "lblcr", IPVS's scheduler for caches, which directrix does not have; write "mh" for clients that stay with their server"#,
        ),
        (
            "protocol = \"tcp\"\nscheduler = \"wcr\"",
            r#"5: scheduler is "wcr", which is not a scheduler; did you mean "wrr"?"#,
        ),
        (
            "protocol = \"tcp\"\nscheduler = \"leastconn\"",
            r#"5: scheduler is "leastconn", which is not a scheduler; write one of rr, wrr, lc, wlc, sed, nq, sh, dh, mh, fo, ovf, twos"#,
        ),
        (
            "protocol = \"tcp\"\nscheduler = 1",
            r#"5: scheduler is 1; write a scheduler's name, as in "wlc", in quotes"#,
        ),
        (
            "protocol = \"tcp\"\nport = 80",
            r#"5: "port" is not a key of [[service]]; write it into address, as in "192.168.195.150:80""#,
        ),
        (
            "protocol = \"tcp\"\nsheduler = \"wlc\"",
            r#"5: "sheduler" is not a key of [[service]]; did you mean scheduler?"#,
        ),
        (
            "protocol = \"tcp\"\nserver = \"10.0.0.2\"",
            "5: server is a string; write [[service.server]], once for each",
        ),
    ];
    for (lines, wanted) in cases {
        refused(&service(&format!("[[service]]\n{lines}\naddress = \"10.0.0.1:80\"\n")), &[wanted]);
    }
}

/// Lines from 4 on of a file, and the expected error.
const RULE_CASES: &[(&str, &str)] = &[
    (
        "scheduler = \"mh\"\nscheduler_flags = [\"mh-port\", \"sh-fallback\"]",
        r#"6: scheduler_flags has "sh-fallback", a flag of sh; did you mean "mh-fallback"?"#,
    ),
    (
        "scheduler_flags = [\"mh-port\"]",
        r#"5: scheduler_flags has "mh-port", a flag of mh; remove it: wlc has no flags"#,
    ),
    (
        "scheduler = \"sh\"\nscheduler_flags = [\"flag-1\"]",
        r#"6: scheduler_flags has "flag-1", which is not a scheduler flag; the flags of sh are sh-fallback, sh-port"#,
    ),
    (
        "scheduler_flags = \"sh-port\"",
        r#"5: scheduler_flags is "sh-port"; write a list of flags, as in ["mh-fallback"]"#,
    ),
    ("scheduler_flags = [1]", r#"5: scheduler_flags is 1; write each flag in quotes"#),
    ("one_packet = true", "5: one_packet is only for UDP: a connection of TCP has many packets; remove it"),
    ("one_packet = 1", "5: one_packet is 1; write true or false"),
    ("vlan = 0", VLAN_FAULTS[0]),
    ("vlan = [100, 4095]", VLAN_FAULTS[1]),
    ("vlan = \"100\"", VLAN_FAULTS[2]),
    ("vlan = []", VLAN_FAULTS[3]),
    ("vlan = [1, 2, 3]", VLAN_FAULTS[4]),
    ("vlan = [\"802.1x\", 1, 2]", VLAN_FAULTS[5]),
    ("vlan = [\"802.1q\", 1]", VLAN_FAULTS[6]),
    ("vlan = [\"802.1q\", 1, 4095]", VLAN_FAULTS[7]),
    ("slow_start = 0", "5: slow_start is 0, out of range; write a number from 1 to 86400: seconds"),
    (
        "slow_start = \"30s\"",
        "5: slow_start is \"30s\", not a whole number; write a number from 1 to 86400: seconds",
    ),
    (
        "scheduler = \"lc\"\nslow_start = 30",
        "6: slow_start does not go with lc, whose new connections are not shared out by weight; remove it, or take one \
         of the schedulers wrr, wlc, sed, nq, twos",
    ),
    ("persistence = true", "5: persistence is a boolean; write persistence = { timeout = 360 }"),
    ("persistence = 300", "5: persistence is an integer; write persistence = { timeout = 300 }"),
    ("persistence = 0", "5: persistence is an integer; write persistence = { timeout = 360 }"),
    (
        "persistence = false",
        "5: persistence is a boolean; remove it: a service is not persistent unless it has this table",
    ),
    ("scheduler = \"WLC\"", "5: scheduler is \"WLC\", which is not a scheduler; did you mean \"wlc\"?"),
];

const VLAN_FAULTS: [&str; 8] = [
    "5: vlan is 0, out of range; write a number from 1 to 4094, or two, the outer tag's first: vlan = [100, 10]",
    "5: vlan is 4095, out of range; write a number from 1 to 4094, or two, the outer tag's first: vlan = [100, 10]",
    "5: vlan is \"100\", not a whole number; write a number from 1 to 4094, or two, the outer tag's first: vlan = [100, 10]",
    "5: vlan has 0 numbers; write a number from 1 to 4094, or two, the outer tag's first: vlan = [100, 10]",
    "5: vlan has 3 numbers; write a number from 1 to 4094, or two, the outer tag's first: vlan = [100, 10]",
    "5: vlan has the outer tag \"802.1x\" and 2 numbers; write \"802.1q\" or \"802.1ad\" and two numbers, the outer tag's \
     first: vlan = [\"802.1q\", 100, 10]",
    "5: vlan has the outer tag \"802.1q\" and 1 numbers; write \"802.1q\" or \"802.1ad\" and two numbers, the outer tag's \
     first: vlan = [\"802.1q\", 100, 10]",
    "5: vlan is 4095, out of range; write \"802.1q\" or \"802.1ad\" and two numbers, the outer tag's first: \
     vlan = [\"802.1q\", 100, 10]",
];

#[test]
fn a_vlan_is_one_number_or_two() {
    let read = |value: &str| {
        let text = format!("[[service]]\nprotocol = \"tcp\"\naddress = \"10.0.0.1:80\"\nvlan = {value}\n");
        check(&service(&text)).unwrap().services[0].vlan.to_string()
    };
    assert_eq!(["1", "4094", "[7]", "[4094, 10]"].map(read), ["1", "4094", "7", "4094.10"]);
    let tags = ["[\"802.1q\", 100, 10]", "[\"802.1ad\", 100, 10]"];
    assert_eq!(tags.map(read), ["802.1q 100.10", "100.10"]);
}

#[test]
fn a_host_is_in_one_vlan() {
    let text = |second: &str| {
        let first = "[[service]]\nprotocol = \"tcp\"\naddress = \"10.0.0.1:80\"\nvlan = 100\n";
        let server = "[[service.server]]\naddress = \"10.0.0.9\"\n";
        service(&format!("{first}{server}[[service]]\nprotocol = \"udp\"\n{second}"))
    };
    let remedy = "a host is in one VLAN: write the same vlan for all services with this address, or give one another \
                  address";
    let cases = [
        ("address = \"10.0.0.1:53\"", 9, "none, but 10.0.0.1 has vlan 100"),
        ("address = \"10.0.0.1:53\"\nvlan = [100, 7]", 12, "100.7, but 10.0.0.1 has vlan 100"),
        (
            "address = \"10.0.0.2:53\"\nvlan = 7\nserver = [{ address = \"10.0.0.9\" }]",
            12,
            "7, but 10.0.0.9 has vlan 100",
        ),
    ];
    for (second, line, clash) in cases {
        refused(&text(second), &[&format!("{line}: vlan is {clash} on line 5; {remedy}")]);
    }
    assert!(check(&text("address = \"10.0.0.1:53\"\nvlan = 100")).is_ok());
}

#[test]
fn the_rule_of_a_service_is_checked() {
    for (lines, wanted) in RULE_CASES {
        let text = format!("[[service]]\nprotocol = \"tcp\"\n{lines}\naddress = \"10.0.0.1:80\"\n");
        refused(&service(&text), &[wanted]);
    }
}

#[test]
fn persistence_has_a_timeout_and_a_netmask() {
    let example = r#"write a netmask, as in "255.255.255.0""#;
    let cases = [
        ("netmask = \"255.0.255.0\"", format!(r#"7: netmask is "255.0.255.0", which has gaps; {example}"#)),
        (
            "netmask = \"0.0.0.0\"",
            format!(r#"7: netmask is "0.0.0.0", which would take all clients for one; {example}"#),
        ),
        ("netmask = \"24\"", format!(r#"7: netmask is "24", not an IPv4 netmask; {example}"#)),
        ("netmask = 24", format!("7: netmask is 24; {example}, in quotes")),
        (
            "timeout = 0",
            "7: timeout is 0, out of range; write a number from 1 to 2147483: seconds".to_owned(),
        ),
        ("prefix = 33", "7: prefix is 33, out of range; write a number from 1 to 32".into()),
        (
            "prefix = 24\nnetmask = \"255.255.255.0\"",
            "8: netmask stands beside a prefix; remove one of the two".into(),
        ),
        ("time = 1", "7: \"time\" is not a key of persistence; did you mean timeout?".into()),
    ];
    let text = |line: &str| {
        let address = "[[service]]\nprotocol = \"tcp\"\naddress = \"10.0.0.1:80\"";
        service(&format!("{address}\n[service.persistence]\n{line}\n"))
    };
    for (line, wanted) in cases {
        refused(&text(line), &[&wanted]);
    }
    let read = |lines: &str| {
        let config = parse(Path::new("d.toml"), &text(lines)).unwrap();
        config.services[0].persistence.map(|of| (of.timeout.secs(), of.prefix))
    };
    assert_eq!(read("timeout = 60\nnetmask = \"255.255.255.0\""), Some((60, 24)));
    assert_eq!(read("prefix = 20"), Some((360, 20)));
    assert_eq!(read(""), Some((360, 32)));
}

#[test]
fn ipv6_persistence_has_a_prefix_and_no_netmask() {
    let file = |lines: &str| {
        let address = "[[service]]\nprotocol = \"tcp\"\naddress = \"[2001:db8::1]:80\"";
        service(&format!("{address}\n[service.persistence]\n{lines}\n"))
    };
    let what = "netmask is for clients with IPv4 addresses";
    refused(&file("netmask = \"255.0.0.0\""), &[&format!("7: {what}; write prefix = 64")]);
    let both = file("prefix = 56\nnetmask = \"255.0.0.0\"");
    refused(&both, &[&format!("8: {what}; remove it: prefix is there")]);
}

#[test]
fn a_table_of_mh_has_places_for_so_many_servers() {
    let rows: String =
        (0..4094u32).map(|n| format!("{{address = \"10.1.{}.{}\"}},\n", n >> 8, n & 255)).collect();
    let text = |scheduler: &str| {
        service(&format!(
            "[[service]]\nprotocol = \"tcp\"\naddress = \"10.0.0.1:80\"\nscheduler = \"{scheduler}\"\nserver = [{rows}]"
        ))
    };
    assert!(check(&text("sh")).is_ok());
    refused(
        &text("mh"),
        &[
            "3: [[service]] has 4094 real servers, more than mh has places for; write at most 4093, or another scheduler",
        ],
    );
}

#[test]
fn ipv6_service_is_read_and_written_canonically() {
    let text = service(
        "[[service]]\nprotocol = \"tcp\"\naddress = \"[2001:DB8:0:0:1:0:0:80]:443\"\npersistence = {}\n\
         [[service.server]]\naddress = \"2001:db8:0:0:1:0:0:9\"\n\
         [[service.server]]\naddress = \"[fd00::A]:443\"\n",
    );
    let config = check(&text).unwrap();
    let persistence = config.services[0].persistence.map(|of| of.prefix);
    assert_eq!(persistence, Some(128), "each client for itself");
    let written = config.to_string();
    for part in [
        "address = \"[2001:db8::1:0:0:80]:443\"\n",
        "persistence = { timeout = 360, prefix = 128 }\n",
        "address = \"2001:db8::1:0:0:9\"\n",
        "address = \"fd00::a\"\n",
    ] {
        assert!(written.contains(part), "{part}: {written}");
    }
}

#[test]
fn broken_servers_of_ipv6_are_refused() {
    let rip = r#"write the RIP of one host, as in "2001:db8::170""#;
    let alone = r#"write the RIP alone, as in "2001:db8::170""#;
    let other = r#"write an address of the VIP's family that the server has, as in "2001:db8::170""#;
    let cases = [
        ("10.0.0.2", format!(r#"is "10.0.0.2", an IPv4 address, and the VIP is one of IPv6: direct routing cannot change the family; {other}"#)),
        ("fe80::2", format!(r#"is "fe80::2", a link-local address, which is valid on one link only; {rip}"#)),
        ("[fe80::2%2]:80", format!(r#"is "[fe80::2%2]:80", not an IP address; {alone}"#)),
        ("ff02::2", format!(r#"is "ff02::2", a multicast address; {rip}"#)),
        ("::", format!(r#"is "::", the unspecified address; {rip}"#)),
        ("::ffff:10.0.0.2", format!(r#"is "::ffff:10.0.0.2", an IPv4-mapped address, which never is on the wire; {rip}"#)),
        ("::1", r#"is "::1", a loopback address; name a server on another host: directrix sends no frames to its own"#.into()),
        ("[2001:db8::2]:81", r#"is "[2001:db8::2]:81", another port than the service's: direct routing cannot change the port; write "2001:db8::2""#.into()),
        ("2001:db8::0:80", "is 2001:db8::80, the VIP of a service; write the real server's own address, its RIP".into()),
    ];
    for (address, wanted) in cases {
        let text = service(&format!(
            "[[service]]\nprotocol = \"tcp\"\naddress = \"[2001:db8::80]:80\"\n[[service.server]]\naddress = \"{address}\"\n"
        ));
        refused(&text, &[&format!("7: address {wanted}")]);
    }
}

#[test]
fn broken_servers_are_refused() {
    let rip = r#"write the RIP of one host, as in "192.168.195.170""#;
    let alone = r#"write the RIP alone, as in "192.168.195.170""#;
    let other = r#"write an address of the VIP's family that the server has, as in "192.168.195.170""#;
    refused(&server("weight = 1\n"), &["6: [[service.server]] has no address; add address = \"RIP\""]);
    let cases = [
        ("\"10.0.0.2:81\"", r#"is "10.0.0.2:81", another port than the service's: direct routing cannot change the port; write "10.0.0.2""#.to_owned()),
        ("\"web1\"", format!("is \"web1\", not an IP address; {alone}")),
        ("\"10.0.0.0/24\"", format!("is \"10.0.0.0/24\", not an IP address; {alone}")),
        ("\"2001:db8::2\"", format!("is \"2001:db8::2\", an IPv6 address, and the VIP is one of IPv4: direct routing cannot change the family; {other}")),
        ("\"[2001:db8::2]:80\"", format!("is \"[2001:db8::2]:80\", an IPv6 address, and the VIP is one of IPv4: direct routing cannot change the family; {other}")),
        (
            "\"127.0.0.1\"",
            "is \"127.0.0.1\", a loopback address; name a server on another host: directrix sends no frames to its own".into(),
        ),
        ("\"239.1.1.1\"", format!("is \"239.1.1.1\", a multicast address; {rip}")),
        ("\"255.255.255.255:80\"", format!("is \"255.255.255.255:80\", the broadcast address; {rip}")),
        ("\"0.0.0.0\"", format!("is \"0.0.0.0\", the unspecified address; {rip}")),
        ("[\"10.0.0.2\"]", "is of type array; write the RIP alone, as in \"192.168.195.170\", in quotes".into()),
        ("\"10.0.0.1\"", "is 10.0.0.1, the VIP of a service; write the real server's own address, its RIP".into()),
    ];
    for (address, wanted) in cases {
        refused(&server(&format!("address = {address}\n")), &[&format!("7: address {wanted}")]);
    }
}

#[test]
fn a_servers_other_keys_are_checked() {
    let own = r#"write the server's own address, as in "02:00:5e:10:00:01""#;
    let cases = [
        ("weight = 65536", "weight is 65536, out of range; write a number from 0 to 65535".to_owned()),
        ("weight = -1", "weight is -1, out of range; write a number from 0 to 65535".into()),
        ("weight = 1_a", "weight is 1a, not a whole number; write a number from 0 to 65535".into()),
        ("weight = 1_0\u{7}0", "weight is \"10\\u{7}0\", not a whole number; write a number from 0 to 65535".into()),
        ("weight = \"2\"", "weight is \"2\", not a whole number; write a number from 0 to 65535".into()),
        ("weight = 2.0", "weight is 2.0, not a whole number; write a number from 0 to 65535".into()),
        ("mac = \"01:00:5e:00:00:01\"", format!("mac is \"01:00:5e:00:00:01\", which is not one station's address; {own}")),
        ("mac = \"ff:ff:ff:ff:ff:ff\"", format!("mac is \"ff:ff:ff:ff:ff:ff\", which is not one station's address; {own}")),
        ("mac = \"00:00:00:00:00:00\"", format!("mac is \"00:00:00:00:00:00\", which is not one station's address; {own}")),
        ("mac = \"02-00-00-00-00-01\"", format!("mac is \"02-00-00-00-00-01\", not a MAC address; {own}")),
        ("mac = 2", "mac is 2; write a MAC address, as in \"02:00:5e:10:00:01\", in quotes".into()),
        ("port = 80", "\"port\" is not a key of [[service.server]]; remove it: the port is the service's, direct routing cannot change it".into()),
        ("wieght = 1", "\"wieght\" is not a key of [[service.server]]; did you mean weight?".into()),
        ("upper_threshold = -1", "upper_threshold is -1, out of range; write a number from 0 to 2147483647".into()),
        ("lower_threshold = 3", "lower_threshold is 3, but there is no upper_threshold; add upper_threshold, with which the server takes no new connections until it is below the lower one".into()),
        ("lower_threshold = 3\nupper_threshold = 2", "lower_threshold is 3, above upper_threshold = 2; write a number from 0 to 2".into()),
    ];
    for (line, wanted) in cases {
        refused(&located(line), &[&format!("8: {wanted}")]);
    }
}

/// The keys that an error names for a table without the key `zz`.
fn known_keys(text: &str) -> Vec<String> {
    let error = errors(text).into_iter().find(|error| error.contains("\"zz\" is not a key")).unwrap();
    let (_, keys) = error.split_once("its keys are ").unwrap();
    keys.split(", ").map(str::to_owned).collect()
}

#[test]
fn a_service_s_key_below_a_server_is_sent_to_its_place() {
    let of_server = known_keys(&located("zz = 1"));
    let of_service =
        known_keys(&service("[[service]]\nprotocol = \"tcp\"\naddress = \"10.0.0.1:80\"\nzz = 1"));
    let misplaced: Vec<_> =
        of_service.iter().filter(|key| !of_server.contains(key) && *key != "server").collect();
    assert!(misplaced.len() > 3, "{misplaced:?}");
    for key in misplaced {
        let wanted = format!(
            "8: {key:?} is not a key of [[service.server]]; it is a key of [[service]]; write it above the service's \
             first [[service.server]]"
        );
        refused(&located(&format!("{key} = 1")), &[&wanted]);
    }
}

#[test]
fn what_stands_twice_is_named_with_the_first_place() {
    refused(
        &located("[[service.server]]\naddress = \"10.0.0.2:80\""),
        &[
            "9: address 10.0.0.2 is a server of this service already, on line 7; remove one of the two; weight gives it a larger share",
        ],
    );
    refused(
        &located("[[service]]\naddress = \"10.0.0.1:80\"\nprotocol = \"tcp\""),
        &[
            "9: address TCP 10.0.0.1:80 is a service already, on line 5; remove one of the two, or merge their servers",
        ],
    );
}

#[test]
fn services_must_agree_on_their_servers() {
    let other = "[[service]]\nprotocol = \"tcp\"\naddress = \"10.0.0.9:80\"\n[[service.server]]\n";
    refused(
        &located(&format!(
            "mac = \"02:00:00:00:00:02\"\n{other}address = \"10.0.0.2\"\nmac = \"02:00:00:00:00:03\""
        )),
        &[
            "14: mac is 02:00:00:00:00:03, but 10.0.0.2 has 02:00:00:00:00:02 on line 8; write the same address in both places",
        ],
    );
    refused(
        &located(&format!("{other}address = \"10.0.0.1\"")),
        &["12: address is 10.0.0.1, the VIP of a service; write the real server's own address, its RIP"],
    );
}

/// A group on line 3; `rest` begins on line 4.
fn group(rest: &str) -> String {
    service(&format!("[[service]]\n{rest}"))
}

#[test]
fn a_group_has_a_mark_and_matches() {
    let text = "mark = 7\nmatch = [\"tcp:10.0.0.1:80\", \"udp:10.0.0.2:5060-5080\", \"tcp:10.0.0.3:*\"]\none_packet = true\n";
    let services = check(&group(text)).unwrap().services;
    assert_eq!(services[0].identity.to_string(), "FWM 7");
    let matches: Vec<_> = services[0].matches().map(|of| of.to_string()).collect();
    assert_eq!(matches, ["tcp:10.0.0.1:80", "udp:10.0.0.2:5060-5080", "tcp:10.0.0.3:*"]);
    let v6 = check(&group("mark = 7\nmatch = [\"tcp:[2001:db8::1]:80\"]\n")).unwrap().services;
    assert_eq!(v6[0].identity.to_string(), "FWM 7 IPv6");
}

#[test]
fn mark_and_matches_need_each_other_and_no_address() {
    let write = r#"write a list of matches, as in ["tcp:192.0.2.10:80", "udp:192.0.2.10:5060-5080"]"#;
    let one = r#"write protocol, VIP and port, as in "tcp:192.0.2.10:80", "udp:[2001:db8::10]:5060-5080", "tcp:192.0.2.10:*""#;
    for (rest, wanted) in [
        ("mark = 7", r#"3: [[service]] has no match; add match = ["tcp:VIP:port"]"#.to_owned()),
        (r#"match = ["tcp:10.0.0.1:80"]"#, "3: [[service]] has no mark; add mark = 1".to_owned()),
        (
            "mark = 0\nmatch = [\"tcp:10.0.0.1:80\"]",
            "4: mark is 0, out of range; write a number from 1 to 4294967295".to_owned(),
        ),
        ("mark = 7\nmatch = []", format!("5: match is empty; {write}")),
        ("mark = 7\nmatch = \"tcp:10.0.0.1:80\"", format!("5: match is \"tcp:10.0.0.1:80\"; {write}")),
        ("mark = 7\nmatch = [80]", "5: match is 80; write each match in quotes".to_owned()),
        (
            "mark = 7\nmatch = [\"tcp:10.0.0.1\"]",
            format!("5: match has \"tcp:10.0.0.1\", which is no match: it has no port; {one}"),
        ),
        (
            "mark = 7\nmatch = [\"tcp:10.0.0.1:80\"]\naddress = \"10.0.0.1:80\"",
            "6: address stands in a group, whose matches have protocol and address; remove it, or mark and match"
                .to_owned(),
        ),
        (
            "mark = 7\nmatch = [\"tcp:10.0.0.1:80\", \"tcp:[2001:db8::1]:80\"]",
            "5: match has tcp:[2001:db8::1]:80 beside tcp:10.0.0.1:80: a group is of one family; write a second \
             table like this one, with the same mark, for the other one"
                .to_owned(),
        ),
        (
            "mark = 7\nmatch = [\"tcp:10.0.0.1:80\", \"tcp:10.0.0.2:80\"]\nscheduler = \"dh\"",
            "6: scheduler is \"dh\", which chooses by the VIP, for several VIPs; write another scheduler, or a \
             [[service]] for each VIP"
                .to_owned(),
        ),
        (
            "mark = 7\nmatch = [\"tcp:10.0.0.1:80\"]\n[[service.server]]\naddress = \"2001:db8::9\"",
            "7: address is \"2001:db8::9\", an IPv6 address, and the VIP is one of IPv4: direct routing cannot change \
             the family; write an address of the VIP's family that the server has, as in \"192.168.195.170\""
                .to_owned(),
        ),
    ] {
        refused(&group(rest), &[&wanted]);
    }
}

#[test]
fn marks_without_a_service_have_matches_and_a_vlan() {
    let marks = "[[mark]]\nmark = 8\nmatch = [\"tcp:10.0.0.1:80\", \"udp:10.0.0.2:5-9\"]\nvlan = 100\n\
                 [[mark]]\nmark = 7\nmatch = [\"tcp:[2001:db8::1]:80\"]\n";
    let config = check(&group(&format!("mark = 7\nmatch = [\"tcp:10.0.0.1:80\"]\n{marks}"))).unwrap();
    let known: Vec<_> = config.marks.iter().map(|(mark, known)| format!("{mark} {known}")).collect();
    assert_eq!(
        known,
        ["FWM 7 IPv6 match tcp:[2001:db8::1]:80", "FWM 8 match tcp:10.0.0.1:80,udp:10.0.0.2:5-9, vlan 100"]
    );
    assert_eq!(config.rules().marks, config.marks);
}

#[test]
fn a_mark_has_its_matches_in_one_place() {
    let table = "[[mark]]\nmark = 7\nmatch = [\"tcp:10.0.0.1:81\"]\n";
    let remedy = "remove one of the two tables";
    refused(
        &group(&format!("mark = 7\nmatch = [\"tcp:10.0.0.1:80\"]\n{table}")),
        &[&format!("7: mark is 7: FWM 7 has matches already, on line 5; {remedy}")],
    );
    refused(
        &service(&format!("{table}{table}")),
        &[&format!("7: mark is 7: FWM 7 has matches already, on line 4; {remedy}")],
    );
    for (rest, wanted) in [
        ("mark = 7", r#"3: [[mark]] has no match; add match = ["tcp:VIP:port"]"#),
        ("match = [\"tcp:10.0.0.1:80\"]", "3: [[mark]] has no mark; add mark = 1"),
        (
            "mark = 7\nmatch = [\"tcp:10.0.0.1:80\"]\nscheduler = \"rr\"",
            "6: \"scheduler\" is not a key of [[mark]]; its keys are mark, match, vlan",
        ),
    ] {
        refused(&service(&format!("[[mark]]\n{rest}")), &[wanted]);
    }
}

#[test]
fn a_mark_that_could_not_be_added_is_refused() {
    let table = "[[mark]]\nmark = 8\nmatch = [\"tcp:10.0.0.1:80-90\", \"tcp:10.0.0.1:85\"]\n";
    refused(
        &service(table),
        &[
            "5: match has tcp:10.0.0.1:85, which overlaps tcp:10.0.0.1:80-90; write one range for both, or remove one",
        ],
    );
}

#[test]
fn overlapping_matches_are_refused_with_both_services() {
    let ranges = "mark = 7\nmatch = [\"tcp:10.0.0.1:70-90\"]\n";
    let web = "[[service]]\nprotocol = \"tcp\"\naddress = \"10.0.0.1:80\"\n";
    let remedy = "leave the ports to one of the two";
    refused(
        &group(&format!("{ranges}{web}")),
        &[&format!(
            "8: address has tcp:10.0.0.1:80, which overlaps tcp:10.0.0.1:70-90 of FWM 7, on line 5; {remedy}"
        )],
    );
    let other = "[[service]]\nmark = 8\nmatch = [\"tcp:10.0.0.1:90\", \"tcp:10.0.0.1:*\"]\n";
    refused(
        &group(&format!("{ranges}{other}")),
        &[&format!(
            "8: match has tcp:10.0.0.1:90, which overlaps tcp:10.0.0.1:70-90 of FWM 7, on line 5; {remedy}"
        )],
    );
    refused(
        &group(&format!("{ranges}[[service]]\nmark = 7\nmatch = [\"tcp:10.0.0.1:91\"]\n")),
        &["7: mark FWM 7 is a service already, on line 4; remove one of the two, or merge their servers"],
    );
}
