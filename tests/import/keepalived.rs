//! Import of keepalived.conf.

use crate::{Files, config, imported, is_for_now, notices, refused, shown, source};
use directrix::import::import;
use directrix::model::SyncConfig;
use std::collections::BTreeMap;
use std::fmt::Write;

/// A typical file: VRRP, mails, two services, health checks.
const PAIR: &str = r#"! Configuration File for keepalived

global_defs {
    notification_email {
        ops@example.org
    }
    router_id LVS_ONE          # not its host name
    lvs_timeouts tcp 1800 udp 60
    lvs_sync_daemon bond0 VI_1
    vrrp_garp_master_refresh 60
}

vrrp_script chk_director {
    script "/usr/local/bin/check # not a comment"
    interval 2
}

vrrp_instance VI_9 {
    interface mgmt0
    virtual_ipaddress {
        198.51.100.1/24 dev mgmt0
    }
}

vrrp_instance VI_1 {
    state MASTER
    interface bond0
    virtual_router_id 51
    priority 150
    virtual_ipaddress {
        192.0.2.10/24 dev bond0 label bond0:1
    }
}

virtual_server 192.0.2.10 80 {
    delay_loop 6
    lb_algo wrr
    lb_kind DR
    persistence_timeout 50
    protocol TCP
    sorry_server 10.0.0.99 80
    quorum 2

    real_server 10.0.0.1 80 {
        weight 3
        TCP_CHECK { connect_timeout 3 }
        notify_down "/usr/bin/logger -t lvs { down"
    }
    real_server 10.0.0.2 80
    {
        uthreshold 1000
        lthreshold 800
        inhibit_on_failure
        HTTP_GET
        {
            url {
                path /health
                status_code 200
            }
            connect_timeout 3
        }
    }
}

virtual_server 192.0.2.10 53 {
    lvs_sched rr
    lvs_method NAT
    ops
    protocol udp
    real_server 10.0.0.3 53 { weight 1
        lvs_method DR }
    real_server 10.0.0.4 5353 {
    }
}
"#;

#[test]
fn typical_file_is_imported() {
    let import = imported("k.conf", PAIR, &Files::default());
    let config = config(&import);
    assert_eq!(
        shown(&config.services),
        "TCP 192.0.2.10:80 wrr: 10.0.0.1*3 10.0.0.2*1(1000,800) 10.0.0.99*1\nUDP 192.0.2.10:53 rr: 10.0.0.3*1"
    );
    let timeouts = config.director.timeouts;
    assert_eq!((timeouts.tcp.secs(), timeouts.tcp_fin.secs(), timeouts.udp.secs()), (1800, 120, 60));
    assert!(import.toml.contains("\ntcp = 1800  # k.conf:8\n"), "{}", import.toml);
    assert!(
        import.toml.contains("\n# k.conf:35: virtual_server 192.0.2.10 80\n[[service]]\n"),
        "{}",
        import.toml
    );
    assert!(import.toml.contains("\n# k.conf:44\n[[service.server]]\n"), "{}", import.toml);
}

#[test]
fn a_sync_daemon_becomes_the_table_sync() {
    let service = "virtual_server 192.0.2.1 80 {\n lvs_method DR\n real_server 10.0.0.1 80 {\n }\n}\n";
    let instance = "vrrp_instance VI_1 {\n interface eth0\n virtual_router_id 51\n}\n";
    let sync = |words: &str| {
        let text = format!("global_defs {{\n lvs_sync_daemon {words}\n}}\n{instance}{service}");
        let import = imported("k.conf", &text, &Files::default());
        (config(&import).director.sync, notices(&import))
    };
    let of = |interface: &str, syncid| Some(SyncConfig::new(interface.into(), syncid));
    assert_eq!(sync("bond0").0, of("bond0", 0));
    assert_eq!(sync("bond0 VI_1").0, of("bond0", 51), "the virtual_router_id");
    assert_eq!(sync("bond0 inst VI_1 id 7").0, of("bond0", 7));
    let all = SyncConfig {
        maxlen: Some(9000),
        port: 8849,
        ttl: 2,
        group: [239, 1, 2, 3].into(),
        ..SyncConfig::new("eth1".into(), 3)
    };
    assert_eq!(sync("eth1 id 3 maxlen 9000 port 8849 ttl 2 group 239.1.2.3").0, Some(all));
    let (read, notices) = sync("eth1 id 3 maxlen 1");
    assert_eq!(read, of("eth1", 3));
    assert!(
        notices.iter().any(|line| line.contains("of lvs_sync_daemon, maxlen is 1, out of range")),
        "{notices:?}"
    );
}

#[test]
fn typical_file_has_notices_by_line() {
    let messages = notices(&imported("k.conf", PAIR, &Files::default()));
    let messages = messages.iter().map(|line| line.split(';').next().unwrap());
    let messages: Vec<_> = messages.filter(|line| !is_for_now(line)).collect();
    let expected = [
        "4: note: notification_email belongs to e-mail and SNMP, which directrix does not have",
        "9: note: lvs_sync_daemon sends as master of VI_1, and receives else",
        "13: note: vrrp_script chk_director belongs to VRRP, which directrix does not have",
        "18: not carried over: vrrp_instance VI_9 is about VRRP, which directrix does not have: it claims each VIP on its own interface and answers for it",
        "25: not carried over: vrrp_instance VI_1 is about VRRP, which directrix does not have: it claims each VIP on its own interface and answers for it",
        "35: note: inhibit_on_failure is set for some servers of a service",
        "46,56: note: health checks ask the RIP, as before: a server without the VIP passes them",
        "47: not carried over: notify_down is a script that nothing runs any more",
        "54: note: connect_timeout of HTTP_GET is for each of its steps",
        "72: not carried over: 10.0.0.4 was reached by masquerading (-m, NAT), and directrix supports direct routing only",
    ];
    assert_eq!(messages, expected.map(|line| format!("k.conf:{line}")));
}

/// Returns the notices of a file without their remedies.
fn statements(text: &str) -> Vec<String> {
    let messages = notices(&imported("k", text, &Files::default()));
    messages.iter().map(|line| line.split(';').next().unwrap().to_owned()).collect()
}

#[test]
fn surplus_words_are_reported() {
    let one_line =
        "virtual_server 10.0.0.102 53 { protocol UDP lb_kind DR real_server 10.0.0.3 53 { weight 1 } }";
    assert_eq!(
        statements(one_line),
        [
            "k:1: not carried over: \"lb_kind DR real_server 10.0.0.3 53 { ... }\" follows \"protocol UDP\", \
             and keepalived ignores it, too",
            "k:1: note: virtual_server 10.0.0.102 53 has no real server, so that nothing answers",
        ]
    );
    let checked = "virtual_server 10.0.0.102 80 {
        protocol TCP
        lvs_method DR
        ops mh-port
        delay_loop 6 lb_algo rr
        quorum_down \"/bin/a b\" nobody nogroup
        real_server 10.0.0.3 80 { weight 5 TCP_CHECK { connect_timeout 3 } }
        real_server 10.0.0.4 80 inhibit_on_failure {
            TCP_CHECK connect_timeout {
            }
        }
    }";
    let passed_over: Vec<_> = statements(checked)
        .iter()
        .filter_map(|line| Some(line.split_once(" follows ")?.0.replace(": not carried over: ", " ")))
        .collect();
    assert_eq!(
        passed_over,
        [
            "k:4 \"mh-port\"",
            "k:5 \"lb_algo rr\"",
            "k:7 \"TCP_CHECK { ... }\"",
            "k:8 \"inhibit_on_failure { ... }\"",
            "k:9 \"connect_timeout { ... }\"",
        ]
    );
}

#[test]
fn values_of_keywords_are_not_surplus() {
    let text = "virtual_server_group G {
        10.0.0.101 80
        fwmark 3 inet6
    }
    virtual_server group G {
        protocol TCP
        lvs_method TUN type gue port 6080
        ops
        alpha true
        persistence_timeout
        real_server 10.0.0.3 80 { lvs_method DR }
        sorry_server 10.0.0.9 80
    }";
    let surplus: Vec<_> = statements(text).into_iter().filter(|line| line.contains("follows")).collect();
    assert_eq!(surplus, [""; 0]);
}

#[test]
fn service_without_servers_is_imported_with_a_note() {
    let import = imported("k", "virtual_server 10.0.0.101 80 {\nprotocol TCP\n}", &Files::default());
    assert_eq!(shown(&config(&import).services), "TCP 10.0.0.101:80 wlc:");
    assert_eq!(
        notices(&import),
        ["k:1: note: virtual_server 10.0.0.101 80 has no real server, so that nothing answers; \
          write a [[service.server]]; keepalived leaves out such a service"]
    );
}

#[test]
fn interface_is_that_of_the_vrrp_instance() {
    let unnamed = directrix::import::ImportSource { interface: None, ..source("k.conf", PAIR) };
    let import = import(&unnamed, &Files::default()).unwrap();
    assert_eq!(config(&import).director.interface, "bond0");
    assert!(
        import.toml.contains("interface = \"bond0\"  # k.conf:27: where VRRP held the VIPs\n"),
        "{}",
        import.toml
    );
    let text =
        "virtual_server 192.0.2.1 80 {\nlvs_method DR\nprotocol TCP\nreal_server 10.0.0.1 80 {\n}\n}\n";
    let unnamed = directrix::import::ImportSource { interface: None, ..source("k.conf", text) };
    let import = directrix::import::import(&unnamed, &Files::default()).unwrap();
    assert_eq!(config(&import).director.interface, "eth0");
    assert_eq!(
        notices(&import),
        [
            "k.conf: note: it does not name the interface of VIP traffic, so interface = \"eth0\" is a guess; give --interface NAME, or correct the line"
        ]
    );
}

#[test]
fn groups_expand_to_their_addresses() {
    let text = "virtual_server group WEB {\nlvs_sched mh\nmh-port\nlvs_method DR\nprotocol TCP\nweight 4\n\
                real_server 10.0.0.1 {\n}\n}\n\
                virtual_server_group WEB {\n192.0.2.1 80 # one\n192.0.2.7-8 443\n192.0.2.16/31 81\nfwmark 3\nnonsense 5\n}\n";
    let import = imported("k", text, &Files::default());
    let vips = ["192.0.2.1:80", "192.0.2.7:443", "192.0.2.8:443", "192.0.2.16:81", "192.0.2.17:81"];
    let expected: Vec<_> = vips.iter().map(|vip| format!("TCP {vip} mh (mh-port): 10.0.0.1*4")).collect();
    assert_eq!(shown(&config(&import).services), expected.join("\n"));
    let messages = notices(&import);
    assert_eq!(messages.len(), 2, "{messages:?}");
    assert!(messages[0].starts_with("k:1: not carried over: firewall mark 3: "), "{messages:?}");
    assert!(
        messages[1].starts_with("k:15: not carried over: \"nonsense\" is not an address"),
        "{messages:?}"
    );
    assert!(import.toml.contains("# k:1: virtual_server group WEB, its member of k:12\n"), "{}", import.toml);
    let group = "# [[service]]\n# mark = 3\n# match = [\"tcp:VIP:port\"]\n# scheduler = \"mh\"\n";
    assert!(import.toml.contains(group) && messages[0].contains("into its match"), "{}", import.toml);
}

#[test]
fn a_mark_of_no_packet_is_not_carried_over() {
    for mark in ["0", "-1", "4294967296", "x", ""] {
        let text = format!(
            "virtual_server group WEB {{\nprotocol TCP\n}}\nvirtual_server_group WEB {{\n192.0.2.1 80\nfwmark {mark}\n}}\n\
             virtual_server fwmark {mark} {{\nprotocol TCP\n}}\n"
        );
        let import = imported("k", &text, &Files::default());
        let refused = |at: &str| {
            let is = |line: &String| line.starts_with(at) && line.contains("no number from 1 to 4294967295");
            notices(&import).iter().any(is)
        };
        assert!(refused("k:6: ") && refused("k:8: "), "{mark}: {:?}", notices(&import));
        assert!(!import.toml.contains("mark = "), "{}", import.toml);
    }
}

/// Without a port, keepalived makes a persistent wildcard-port service.
#[test]
fn virtual_server_without_port_is_a_wildcard() {
    let text = "virtual_server 192.0.2.1 {\nlvs_sched rr\nlvs_method DR\nprotocol TCP\nreal_server 10.0.0.1 {\n}\n}\n\
                virtual_server group ALL {\nlvs_sched rr\nlvs_method DR\nprotocol UDP\npersistence_timeout 60\nreal_server 10.0.0.1 {\n}\n}\n\
                virtual_server_group ALL {\n192.0.2.2\n192.0.2.3 53\n}\n";
    let import = imported("k", text, &Files::default());
    assert_eq!(notices(&import), [""; 0]);
    let services = config(&import).services;
    let timeouts: Vec<_> =
        services.iter().map(|service| service.persistence.unwrap().timeout.secs()).collect();
    assert_eq!(
        shown(&services),
        "TCP 192.0.2.1:0 rr: 10.0.0.1*1\nUDP 192.0.2.2:0 rr: 10.0.0.1*1\nUDP 192.0.2.3:53 rr: 10.0.0.1*1"
    );
    assert_eq!(timeouts, [360, 60, 60]);
}

#[test]
fn too_large_groups_are_refused_early() {
    let server = |n| format!("real_server 10.0.0.{n} {{\n}}\n");
    let (one, servers) = (server(100), (1..100).map(server).collect::<String>());
    let text = format!(
        "virtual_server 192.0.2.1 80 {{\nprotocol TCP\nlvs_method DR\n{one}}}\nvirtual_server_group A {{\n10.0.0.0/8 80\n10.1.0.0/17 80\n}}\n\
         virtual_server group A {{\nprotocol TCP\nlvs_method DR\n{servers}}}\n"
    );
    let import = imported("k", &text, &Files::default());
    assert_eq!(shown(&config(&import).services), "TCP 192.0.2.1:80 wlc: 10.0.0.100*1");
    let messages = notices(&import);
    assert!(
        messages[0].starts_with("k:8: not carried over: the range 10.0.0.0/8 has more than 65536 addresses"),
        "{messages:?}"
    );
    assert!(
        messages[1]
            .starts_with("k:11: not carried over: virtual_server group A makes more than 65535 services"),
        "{messages:?}"
    );
}

#[test]
fn defaults_are_those_of_keepalived() {
    let text = "virtual_server 192.0.2.1 80 {\nreal_server 10.0.0.1 80 {\nlvs_method DR\n}\n}\n\
                virtual_server 192.0.2.2 80 {\nprotocol TCP\nreal_server 10.0.0.1 80 {\n}\n}\n";
    let import = imported("k", text, &Files::default());
    assert_eq!(shown(&config(&import).services), "UDP 192.0.2.1:80 wlc: 10.0.0.1*1");
    let messages = notices(&import);
    let begins: Vec<_> = messages.iter().map(|line| line.split([';', '(']).next().unwrap()).collect();
    assert_eq!(
        begins,
        [
            "k:1: note: there is no protocol, so it is UDP, as for keepalived",
            "k:6: note: there is no lvs_method for its servers, so it is NAT, as for keepalived",
            "k:6: not carried over: TCP 192.0.2.2:80: none of its servers is carried over",
            "k:8: not carried over: 10.0.0.1 was reached by masquerading ",
        ]
    );
}

#[test]
fn includes_are_relative_to_their_file() {
    let files = BTreeMap::from([
        ("/etc/k/conf.d/a.conf", "virtual_server 192.0.2.1 80 {\ninclude ../rs/*.conf\n}\n"),
        ("/etc/k/conf.d/../rs/1.conf", "protocol TCP\nlvs_method DR\nreal_server 10.0.0.1 {\nweight x\n}\n"),
        ("/etc/k/loop.conf", "include loop.conf\n"),
    ]);
    let files = Files(files);
    let import = imported("/etc/k/k.conf", "includer conf.d/*.conf\ninclude none.conf\n", &files);
    assert_eq!(shown(&config(&import).services), "TCP 192.0.2.1:80 wlc: 10.0.0.1*1");
    let messages = notices(&import);
    assert_eq!(messages.len(), 2, "{messages:?}");
    assert!(messages[0].starts_with(
        "/etc/k/k.conf:2: not carried over: /etc/k/none.conf is not a file, so nothing is included; "
    ));
    assert!(messages[1].starts_with(
        "/etc/k/conf.d/../rs/1.conf:4: not carried over: weight is \"x\", not a number from 0 to 65535; "
    ));
    assert_eq!(
        refused("include /etc/k/loop.conf\n", &files),
        "/etc/k/loop.conf:1: files include each other without end; remove this line"
    );
}

#[test]
fn unbalanced_braces_are_reported_by_line() {
    for (text, expected) in [
        (
            "virtual_server 1.2.3.4 80 {\nreal_server 1.2.3.5 80 {\n}\n",
            "f:1: the block of virtual_server has no \"}\"; add one where it ends",
        ),
        ("virtual_server 1.2.3.4 80 {\n}\n}\n", "f:3: \"}\" closes nothing; remove it"),
        ("global_defs {\n} {\n}\n", "f:2: \"{\" follows no keyword; remove it, or write one before it"),
        ("global_defs {\n}\nvirtual_server \"1.2.3.4 80 {\n", "f:3: a quote has no end; add the second \""),
    ] {
        assert_eq!(refused(text, &Files::default()), expected, "{text}");
    }
}

#[test]
fn deep_blocks_are_refused() {
    let deep = refused(
        &format!("global_defs {{\n{}", "a {".repeat(500_000).replace("{a", "{\na")),
        &Files::default(),
    );
    assert_eq!(deep, "f:33: blocks are nested more than 32 deep; is a \"}\" missing above?");
}

#[test]
fn the_warm_up_of_a_check_is_carried_over() {
    let text = "virtual_server 10.0.0.102 80 {
        protocol TCP
        lvs_method DR
        delay_loop 6
        warmup 30
        real_server 10.0.0.3 80 {
            TCP_CHECK {
            }
        }
        real_server 10.0.0.4 80 {
            TCP_CHECK {
                warmup 0
            }
        }
        real_server 10.0.0.5 80 {
            TCP_CHECK {
                warmup 6
            }
        }
    }";
    let config = config(&imported("k", text, &Files::default()));
    let servers = &config.services[0].servers;
    let warm_ups: Vec<_> = servers.iter().map(|server| server.checks[0].timing.warm_up.millis()).collect();
    assert_eq!(warm_ups, [30_000, 0, 6_000]);
}

/// No keyword of a virtual server in keepalived.conf(5) is reported as unknown.
#[test]
fn all_keywords_of_the_manual_are_known() {
    let service = "ip_family inet,retry 3,delay_before_retry 1,warmup 0,connect_timeout 3,delay_loop 5,inhibit_on_failure,\
                   lvs_sched wlc,lb_algo wlc,hashed,ops,flag-1,flag-2,flag-3,sh-port,sh-fallback,mh-port,mh-fallback,\
                   lb_kind DR,lvs_method DR,persistence_engine sip,persistence_timeout,persistence_granularity 255.255.255.0,\
                   protocol TCP,ha_suspend,smtp_alert true,virtualhost x,snmp_name x,alpha,omega,quorum_up x,quorum_down x,\
                   quorum 1,hysteresis 0,weight 1,sorry_server 10.9.9.9 80,sorry_server_inhibit,sorry_server_lvs_method DR";
    let server = "weight 1,lvs_method DR,uthreshold 9,lthreshold 5,inhibit_on_failure,notify_up x,notify_down x,alpha,retry 1,\
                  delay_before_retry 1,warmup 0,connect_timeout 1,delay_loop 1,smtp_alert,virtualhost x,snmp_name x,\
                  TCP_CHECK { },HTTP_GET { url { path / } },SSL_GET { },SMTP_CHECK { },DNS_CHECK { },MISC_CHECK { },\
                  BFD_CHECK { },UDP_CHECK { },PING_CHECK { },FILE_CHECK { }";
    let lines = |list: &str| {
        list.split(',').fold(String::new(), |mut text, line| {
            let _ = writeln!(text, "{}", line.trim());
            text
        })
    };
    let text = format!(
        "virtual_server 192.0.2.1 80 {{\n{}real_server 10.0.0.1 80 {{\n{}}}\n}}\n",
        lines(service),
        lines(server)
    );
    let import = imported("k", &text, &Files::default());
    let unknown: Vec<_> =
        notices(&import).into_iter().filter(|line| line.contains("is not a known keyword")).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
    assert_eq!(shown(&config(&import).services), "TCP 192.0.2.1:80 wlc: 10.0.0.1*1(9,5) 10.9.9.9*1");
    let unknown = imported("k", &text.replace("omega", "omege"), &Files::default());
    assert!(
        notices(&unknown).iter().any(|line| line.contains("\"omege\" is not a known keyword; look it up"))
    );
}

#[test]
fn virtual_servers_of_sctp_are_imported() {
    let text = "virtual_server 192.0.2.1 3868 {\n lb_algo wlc\n lb_kind DR\n protocol SCTP\n real_server 10.0.0.1 3868 { weight 2 }\n}\n";
    let import = imported("keepalived.conf", text, &Files::default());
    assert_eq!(shown(&config(&import).services), "SCTP 192.0.2.1:3868 wlc: 10.0.0.1*2");
}
