//! Notices: merging of equal texts, bounds of values, remedies.

use crate::{Files, config, imported, notices, refused, shown};
use directrix::model::ServerRole;
use std::fmt::Write;

/// Seven servers with the same check, and one with a different check.
fn checked() -> String {
    let mut text = "virtual_server 192.0.2.1 80 {\nprotocol TCP\nlvs_method DR\n".to_owned();
    for server in 1..=8 {
        let check = if server == 8 { "HTTP_GET" } else { "TCP_CHECK" };
        let _ = writeln!(text, "real_server 10.0.0.{server} 80 {{\n{check} {{\n}}\n}}");
    }
    text + "}\n"
}

#[test]
fn equal_notices_are_merged() {
    let messages = notices(&imported("k", &checked(), &Files::default()));
    let begins: Vec<_> = messages.iter().map(|line| line.split([',', ';']).next().unwrap()).collect();
    assert_eq!(begins[0], "k:1: note: keepalived removes a server that is down");
    let merged = "k:5,9,13,17,21,25,29: note: health checks ask the RIP, as before";
    assert!(messages[1].starts_with(merged), "{messages:?}");
    assert_eq!(begins[2..], ["k:33: not carried over: HTTP_GET has no url"]);
}

#[test]
fn surplus_lines_of_a_notice_are_counted() {
    let servers: String =
        (0..40).map(|n| format!("real_server 10.0.0.{n} 80 {{\nTCP_CHECK {{\n}}\n}}\n")).collect();
    let text = format!("virtual_server 192.0.2.1 80 {{\nprotocol TCP\nlvs_method DR\n{servers}}}\n");
    let messages = notices(&imported("k", &text, &Files::default()));
    assert!(
        messages[1].starts_with("k:5,9,13,17,21,25,29,33,37,41 and 30 more: note: health checks ask the RIP"),
        "{messages:?}"
    );
}

#[test]
fn weights_out_of_range_are_clamped() {
    let text = "virtual_server 192.0.2.1 80 {\nprotocol TCP\nlvs_method DR\nweight 80000\n\
                real_server 10.0.0.1 80 {\nweight 70000\n}\nreal_server 10.0.0.2 80 {\nweight 300\n}\n\
                real_server 10.0.0.3 80 {\n}\nreal_server 10.0.0.4 80 {\nweight x\n}\n\
                real_server 10.0.0.5 80 {\nweight 99999999999999999999\n}\n}\n";
    let import = imported("k", text, &Files::default());
    assert_eq!(
        shown(&config(&import).services),
        "TCP 192.0.2.1:80 wlc: 10.0.0.1*65535 10.0.0.2*300 10.0.0.3*65535 10.0.0.4*65535 10.0.0.5*65535"
    );
    let instead =
        "65535 stands in its place; scale the weights of the service down, so that their shares stay";
    let messages = notices(&import);
    let about: Vec<_> = messages.iter().map(String::as_str).collect();
    assert_eq!(
        about,
        [
            format!("k:4: not carried over: weight 80000 is above 65535, the most that ipvsadm and directrix take; {instead}"),
            format!("k:6: not carried over: weight 70000 is above 65535, the most that ipvsadm and directrix take; {instead}"),
            "k:14: not carried over: weight is \"x\", not a number from 0 to 65535; write a right one into directrix.toml".to_owned(),
            format!("k:17: not carried over: weight 99999999999999999999 is above 65535, the most that ipvsadm and directrix take; {instead}"),
        ]
    );
}

#[test]
fn timeouts_out_of_range_are_clamped() {
    let text = "global_defs {\nlvs_timeouts tcp 2500000 udp 60\n}\n\
                virtual_server 192.0.2.1 80 {\nprotocol TCP\nlvs_method DR\npersistence_timeout 2600000\n\
                real_server 10.0.0.1 80 {\n}\n}\n";
    let import = imported("k", text, &Files::default());
    let config = config(&import);
    assert_eq!(config.director.timeouts.tcp.secs(), 2_147_483);
    assert_eq!(config.services[0].persistence.unwrap().timeout.secs(), 2_147_483);
    assert_eq!(
        notices(&import),
        [
            "k:2: not carried over: the timeout tcp is 2500000, out of range; 2147483 stands in its place, 24 days",
            "k:7: not carried over: persistence of 2600000 s is out of range; 2147483 s stand in its place, 24 days",
        ]
    );
}

/// directrix delivers no frames to its own host.
#[test]
fn sorry_server_on_the_director_has_its_own_remedy() {
    for (address, what) in [
        ("127.0.0.1", "is a loopback address, so this server is the director itself"),
        ("192.0.2.1", "is a VIP, so this server is the director itself"),
        ("::1", "is a loopback address, so this server is the director itself"),
    ] {
        let text = format!(
            "virtual_server 192.0.2.1 80 {{\nprotocol TCP\nlvs_method DR\nsorry_server {address} 80\nreal_server 10.0.0.1 80 {{\n}}\n}}\n"
        );
        let messages = notices(&imported("k", &text, &Files::default()));
        assert_eq!(messages.len(), 1, "{messages:?}");
        let expected = format!("k:4: not carried over: {address} {what}; ");
        assert!(messages[0].starts_with(&expected), "{messages:?}");
    }
}

#[test]
fn sorry_server_is_carried_over() {
    for (lines, role, notice) in [
        ("sorry_server 10.0.0.99 80", Some(false), None),
        ("sorry_server_inhibit\nsorry_server 10.0.0.99", Some(true), None),
        (
            "sorry_server 10.0.0.99 81",
            Some(false),
            Some("k:4: note: 10.0.0.99 has port 81, not the service's 80; "),
        ),
        (
            "sorry_server 10.0.0.1 80",
            None,
            Some("k:4: not carried over: sorry server of TCP 192.0.2.1:80: address 10.0.0.1 is a server"),
        ),
        (
            "sorry_server 10.0.0.99 80\nsorry_server_lvs_method NAT",
            None,
            Some("k:4: not carried over: 10.0.0.99 was reached by masquerading"),
        ),
    ] {
        let text = format!(
            "virtual_server 192.0.2.1 80 {{\nprotocol TCP\nlvs_method DR\n{lines}\nreal_server 10.0.0.1 80 {{\n}}\n}}\n"
        );
        let import = imported("k", &text, &Files::default());
        let messages = notices(&import);
        assert_eq!(messages.len(), usize::from(notice.is_some()), "{messages:?}");
        assert!(notice.is_none_or(|notice| messages[0].starts_with(notice)), "{messages:?}");
        let service = &config(&import).services[0];
        let sorry = service.servers.iter().find(|server| server.role.is_sorry());
        assert_eq!(
            sorry.map(|server| server.role),
            role.map(|inhibit| ServerRole::Sorry { inhibit }),
            "{lines}"
        );
        assert_eq!(
            (service.panic, service.servers.len()),
            (if role.is_some() { 0 } else { 50 }, 1 + usize::from(role.is_some()))
        );
    }
}

#[test]
fn loopback_server_has_its_own_remedy() {
    let text =
        "-A -t 192.0.2.1:80\n-a -t 192.0.2.1:80 -r 10.0.0.1\n-a -t 192.0.2.1:80 -r 127.0.0.1:80 -w 0\n";
    let messages = notices(&imported("f", text, &Files::default()));
    assert_eq!(
        messages,
        ["f:3: not carried over: 127.0.0.1 is a loopback address, so this server is the director itself; \
          directrix delivers no frames to its own host: run it, or the page that stands in for the servers, on another \
          host of the network, prepared by \"directrix realserver setup\""]
    );
}

#[test]
fn binary_input_is_refused() {
    let no_text = "this is not text, so it is neither a keepalived configuration nor ipvsadm rules; \
                   give keepalived.conf, or the output of \"ipvsadm -S -n\"";
    for bytes in [
        "\u{7f}ELF\u{2}\u{1}\0\0\0\u{3}\0>\0",
        "virtual_server 192.0.2.1 80 {\n\0\n}\n",
        "-A -t 192.0.2.1:80\0",
    ] {
        assert_eq!(refused(bytes, &Files::default()), format!("f: {no_text}"), "{bytes:?}");
    }
    let long = format!("upstream {}", "x".repeat(10_000));
    let error = refused(&long, &Files::default());
    assert!(error.contains(&format!("\"upstream {}…\" begins neither", "x".repeat(111))), "{error:.300}");
}
