//! Services with IPv6 addresses.

use super::*;
use crate::model::VirtualService;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;

/// A host without names and files.
struct Bare;

impl Environment for Bare {
    fn address(&self, _: &str) -> Option<IpAddr> {
        None
    }

    fn port(&self, _: &str, _: &str) -> Option<u16> {
        None
    }

    fn name(&self) -> Option<String> {
        None
    }

    fn files(&self, _: &str) -> Vec<PathBuf> {
        Vec::new()
    }

    fn read(&self, _: &Path) -> io::Result<Vec<u8>> {
        Err(io::ErrorKind::NotFound.into())
    }
}

/// The imported services as lines, and the notices.
#[track_caller]
fn imported(file: &str, text: &str) -> (Vec<String>, Vec<String>) {
    let source = ImportSource {
        file,
        bytes: text.as_bytes(),
        format: None,
        interface: Some("eth0"),
        direct: false,
        config_id: None,
    };
    let import = import(&source, &Bare).unwrap_or_else(|error| panic!("{error}"));
    let config = model::parse(Path::new("d.toml"), &import.toml)
        .unwrap_or_else(|errors| panic!("{errors}\n{}", import.toml));
    let notices = import.notices.iter().map(ToString::to_string).collect();
    (config.services.iter().map(line).collect(), notices)
}

fn line(service: &VirtualService) -> String {
    let servers = service.servers.iter().map(|server| format!(" {}*{}", server.address, server.weight.0));
    let persistence =
        service.persistence.map(|of| format!(" persistent {}/{}", of.timeout.secs(), of.prefix));
    let scheduler = service.scheduler.name();
    let servers: String = servers.collect();
    format!("{} {scheduler}{}:{servers}", service.identity, persistence.unwrap_or_default())
}

#[test]
fn saved_ipv6_rules_are_converted() {
    let (services, notices) = imported(
        "rules",
        "-A -t [2001:db8::80]:80 -s mh -b mh-fallback,mh-port\n\
         -a -t [2001:db8::80]:80 -r [2001:db8:1::1]:80 -g -w 1\n\
         -a -t [2001:db8::80]:80 -r [2001:db8:1::2]:80 -g -w 100\n\
         -A -u [2001:db8::80]:53 -s wlc -p 360 -M 64\n\
         -a -u [2001:db8::80]:53 -r 2001:db8:1::1 -g -w 1\n\
         -A -t [2001:db8::80]:443 -s rr -p 60\n",
    );
    assert_eq!(
        services,
        [
            "TCP [2001:db8::80]:80 mh: 2001:db8:1::1*1 2001:db8:1::2*100",
            "UDP [2001:db8::80]:53 wlc persistent 360/64: 2001:db8:1::1*1",
            "TCP [2001:db8::80]:443 rr persistent 60/128:",
        ]
    );
    assert!(notices.iter().all(|notice| !notice.contains("not carried over")), "{notices:#?}");
}

#[test]
fn unusable_ipv6_rules_are_left_out_with_a_reason() {
    let (services, notices) = imported(
        "rules",
        "-A -t [2001:db8::80]:80 -s rr\n-a -t [2001:db8::80]:80 -r [fe80::1]:80 -g -w 1\n\
         -a -t [2001:db8::80]:80 -r 192.0.2.1:80 -g -w 1\n-a -t [2001:db8::80]:80 -r [2001:db8::1]:80 -g -w 1\n\
         -A -t [fe80::80]:80 -s rr\n",
    );
    assert_eq!(services, ["TCP [2001:db8::80]:80 rr: 2001:db8::1*1"]);
    for part in ["a link-local address", "direct routing cannot change the family", "TCP [fe80::80]:80"] {
        assert!(notices.iter().any(|notice| notice.contains(part)), "{part}: {notices:#?}");
    }
    assert!(notices.iter().all(|notice| !notice.contains("until directrix has IPv6")), "{notices:#?}");
}

#[test]
fn keepalived_ipv6_services_are_converted() {
    let (services, _) = imported(
        "keepalived.conf",
        "virtual_server_group six {\n  2001:db8::9-a 80\n  2001:db8::80 443\n}\n\
         virtual_server group six {\n  lb_algo wlc\n  lb_kind DR\n  protocol TCP\n  persistence_timeout 60\n  \
         persistence_granularity 64\n  real_server 2001:db8:1::1 80 {\n    weight 3\n  }\n}\n\
         virtual_server 2001:db8::53 53 {\n  lb_algo rr\n  lb_kind DR\n  protocol UDP\n  \
         real_server 2001:db8:1::1 53 {\n  }\n}\n",
    );
    assert_eq!(
        services,
        [
            "TCP [2001:db8::9]:80 wlc persistent 60/64: 2001:db8:1::1*3",
            "TCP [2001:db8::a]:80 wlc persistent 60/64: 2001:db8:1::1*3",
            "TCP [2001:db8::80]:443 wlc persistent 60/64: 2001:db8:1::1*3",
            "UDP [2001:db8::53]:53 rr: 2001:db8:1::1*1",
        ]
    );
}

#[test]
fn sysctls_of_ipvs_become_keys_of_the_director() {
    let text = "kernel.panic = 10\n; comment\nnet.ipv4.vs.conn_reuse_mode=2\n-net/ipv4/vs/sloppy_tcp = 1\n\
                net.ipv4.vs.expire_nodest_conn = 1\nnet.ipv4.vs.expire_nodest_conn = 0\nnet.ipv4.vs.schedule_icmp = 1\n";
    let source = ImportSource {
        file: "sysctl.conf",
        bytes: text.as_bytes(),
        format: None,
        interface: Some("eth0"),
        direct: false,
        config_id: None,
    };
    let imported = import(&source, &Bare).unwrap();
    let policy = model::parse(Path::new("d.toml"), &imported.toml).unwrap().director.policy;
    let switches = policy.switches().map(|(_, value)| value);
    assert_eq!(switches, ["2", "false", "false", "true", "false", "true"]);
    assert!(imported.notices.is_empty(), "{:?}", imported.notices);
    assert!(imported.toml.contains("sloppy_tcp = true  # sysctl.conf:4"), "{}", imported.toml);
}

#[test]
fn sysctls_without_meaning_are_named_and_unknown_ones_refused() {
    let of = |text: &str| {
        let source = ImportSource {
            file: "s",
            bytes: text.as_bytes(),
            format: Some(ImportFormat::Sysctl),
            interface: Some("eth0"),
            direct: false,
            config_id: None,
        };
        match import(&source, &Bare) {
            Ok(import) => import.notices.iter().map(Notice::to_string).collect::<Vec<_>>().join("\n"),
            Err(error) => error.to_string(),
        }
    };
    let notices = of("net.ipv4.vs.sloppy_tcp = 0\nnet.ipv4.vs.conntrack = 1\nnet.ipv4.vs.drop_entry = 3\n");
    let expected = "s:2: note: conntrack has no meaning for directrix; no frame of a service passes netfilter\n\
                    s:3: note: drop_entry has no meaning for directrix; the defence is built in";
    assert!(notices.starts_with(expected), "{notices}");
    for schedulers in ["lblc_expiration", "lblcr_expiration", "conn_lfactor", "svc_lfactor"] {
        let notice = of(&format!("net.ipv4.vs.{schedulers} = 4\n"));
        assert!(
            notice.starts_with(&format!("s:1: note: {schedulers} has no meaning for directrix; ")),
            "{notice}"
        );
    }
    let only = of("net.ipv4.vs.snat_reroute = 1\n");
    assert_eq!(
        only,
        "s:1: note: snat_reroute has no meaning for directrix; only for NAT, and directrix forwards by direct routing"
    );
    for (line, error) in [
        ("net.ipv4.vs.slopy_tcp = 1", "IPVS has no sysctl slopy_tcp"),
        ("net.ipv4.vs.sloppy_tcp = yes", "sloppy_tcp is \"yes\", not a whole number"),
        ("net.ipv4.vs.conn_reuse_mode = -1", "conn_reuse_mode is \"-1\", not a whole number"),
        ("net.ipv4.vs.sloppy_tcp 1", "s:1: \"net.ipv4.vs.sloppy_tcp 1\" sets nothing; write NAME = VALUE"),
        ("net/ipv4/vs/sloppy_tcp", "s:1: \"net/ipv4/vs/sloppy_tcp\" sets nothing"),
        ("kernel.panic = 1", "there is no sysctl of IPVS (net.ipv4.vs) in it"),
        ("-net.ipv4.vs.sloppy_tcp", "there is no sysctl of IPVS (net.ipv4.vs) in it"),
    ] {
        let got = of(line);
        assert!(got.contains(error), "{line}: {got}");
    }
}
