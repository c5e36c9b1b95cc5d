//! Health checks.

use super::*;
use crate::model::{
    BodyPattern, CheckKind, CheckTarget, CheckTiming, HealthCheck, HttpCheck, HttpMethod, HttpsCheck,
    PassiveMode, StatusRange, UdpCheck,
};
use crate::time::Span;

const HEAD: &str =
    "[director]\ninterface = \"eth0\"\n[[service]]\nprotocol = \"tcp\"\naddress = \"10.0.0.1:80\"\n";

fn parsed(rest: &str) -> Result<Config, String> {
    parse(Path::new("d.toml"), &format!("{HEAD}{rest}")).map_err(|errors| errors.to_string())
}

fn check(keys: &str) -> Result<HealthCheck, String> {
    parsed(&format!("[[service.check]]\n{keys}")).map(|config| config.services[0].checks[0].clone())
}

#[test]
fn a_check_has_defaults_by_its_interval() {
    let plain = check("type = \"tcp\"\n").unwrap();
    let timing = CheckTiming::default();
    assert_eq!(plain, HealthCheck { kind: CheckKind::Tcp, target: CheckTarget::Vip, port: None, timing });
    let slow = check("type = \"tcp\"\ntarget = \"rip\"\ninterval = 60\nfall = 2\n").unwrap();
    assert_eq!(slow.timing, CheckTiming { fall: 2, ..CheckTiming::every(Span::from_secs(60)) });
    let fast = check("type = \"tcp\"\ntarget = \"rip\"\ninterval = 0.25\n").unwrap();
    assert_eq!(fast.timing.timeout, Span::from_millis(250));
}

#[test]
fn a_service_probes_its_vip_unless_every_check_says_rip() {
    for (target, is_of_vip) in [("vip", true), ("both", true), ("rip", false)] {
        let keys = format!("type = \"tcp\"\ntarget = {target:?}\n");
        let of_server =
            format!("[[service.server]]\naddress = \"10.0.0.2\"\n[[service.server.check]]\n{keys}");
        for text in [format!("[[service.check]]\n{keys}"), of_server] {
            assert_eq!(parsed(&text).unwrap().services[0].probes_vip(), is_of_vip, "{text}");
        }
    }
    assert!(!parsed("").unwrap().services[0].probes_vip());
}

#[test]
fn every_key_of_a_check_is_read() {
    let http = check(
        "type = \"http\"\ntarget = \"rip\"\nport = 8080\npath = \"/alive?x=1\"\nhost = \"www.example.org\"\n\
         expect = \"200-204, 301\"\nbody = \"ok\"\nregex = \"^ok [0-9]\"\nmethod = \"POST\"\n\
         headers = { X-Probe = \"1\", Authorization = \"Basic eDp5\" }\n",
    );
    let expect = vec![StatusRange { first: 200, last: 204 }, StatusRange { first: 301, last: 301 }];
    let (path, host) = ("/alive?x=1".into(), Some("www.example.org".into()));
    let pairs = [("Authorization", "Basic eDp5"), ("X-Probe", "1")];
    let kind = CheckKind::Http(HttpCheck {
        method: HttpMethod::Post,
        path,
        host,
        headers: pairs.map(|(name, value)| (name.into(), value.into())).to_vec(),
        expect,
        body: Some("ok".into()),
        regex: Some(BodyPattern::new("^ok [0-9]").unwrap()),
    });
    let timing = CheckTiming::default();
    assert_eq!(http, Ok(HealthCheck { kind, target: CheckTarget::Rip, port: Some(8080), timing }));
    let https = check(
        "type = \"https\"\ntarget = \"rip\"\nsni = \"a.example.org\"\nca = \"/etc/ssl/own.pem\"\nexpiry_warning = 30\n",
    );
    let of = |check: Result<HealthCheck, String>| match check.unwrap().kind {
        CheckKind::Https(of) => of,
        other => panic!("{other}"),
    };
    let (http, sni, ca) =
        (HttpCheck::default(), Some("a.example.org".into()), Some("/etc/ssl/own.pem".into()));
    assert_eq!(of(https), HttpsCheck { http, sni, verify: true, ca, expiry_warning: 30 });
    let bare = of(check("type = \"https\"\ntarget = \"rip\"\nverify = false\n"));
    assert_eq!((bare.verify, bare.sni, bare.expiry_warning), (false, None, 14));
    let udp = check("type = \"udp\"\ntarget = \"rip\"\npayload = \"00fF\"\nreply = false\n").unwrap();
    assert_eq!(udp.kind, CheckKind::Udp(UdpCheck { payload: vec![0, 255], reply: false }));
}

#[test]
fn a_server_has_those_of_the_service_and_its_own() {
    let config = parsed(
        "panic = 0\n[[service.check]]\ntype = \"tcp\"\ntarget = \"rip\"\n[[service.server]]\naddress = \"10.0.0.2\"\n\
         [[service.server.check]]\ntype = \"tcp\"\ntarget = \"rip\"\nport = 22\n",
    );
    let service = &config.unwrap().services[0];
    let ports: Vec<_> = service.checks_of(&service.servers[0]).map(|check| check.port).collect();
    assert_eq!((ports, service.panic), (vec![None, Some(22)], 0));
}

#[test]
fn handshakes_are_watched_where_there_are_some() {
    for (mode, expected) in
        [("off", PassiveMode::Off), ("watch", PassiveMode::Watch), ("eject", PassiveMode::Eject)]
    {
        let config = parsed(&format!("passive = \"{mode}\"\n")).unwrap();
        assert_eq!(config.services[0].passive, expected);
    }
    assert_eq!(parsed("").unwrap().services[0].passive, PassiveMode::Watch);
    let refused = parsed("passive = \"on\"\n").unwrap_err();
    assert_eq!(refused, "d.toml:6: passive is \"on\"; write \"off\" or \"watch\" or \"eject\"");
    for (protocol, name) in [("udp", "UDP"), ("sctp", "SCTP")] {
        let text = format!(
            "[director]\ninterface = \"eth0\"\n[[service]]\nprotocol = \"{protocol}\"\naddress = \"10.0.0.1:80\"\n\
             passive = \"eject\"\n"
        );
        let refused = parse(Path::new("d.toml"), &text).unwrap_err().to_string();
        assert_eq!(
            refused,
            format!(
                "d.toml:6: passive watches handshakes of TCP, and this service is of {name}; remove it, and add a [[service.check]]"
            )
        );
    }
}

/// Keys of a check, and the error.
const WRONG: &[(&str, &str)] = &[
    ("target = \"rip\"\n", "d.toml:6: [[service.check]] has no type; add type = \"tcp\""),
    (
        "type = \"tcp\"\ntarget = \"VIP\"\n",
        "d.toml:8: target is \"VIP\"; write \"vip\" or \"rip\" or \"both\"",
    ),
    (
        "type = \"ldap\"\ntarget = \"rip\"\n",
        "d.toml:7: type is \"ldap\"; write \"tcp\" or \"http\" or \"https\" or \"udp\" or \"dns\" or \"smtp\" or \"ping\" \
         or \"script\" or \"file\" or \"external\"",
    ),
    (
        "type = \"tcp\"\ntarget = \"rip\"\npath = \"/\"\n",
        "d.toml:9: path stands in a check of type tcp, which has no use for it; remove it, or write type = \"http\" \
         or \"https\" or \"file\"",
    ),
    (
        "type = \"http\"\ntarget = \"rip\"\nverify = true\n",
        "d.toml:9: verify stands in a check of type http, which has no use for it; remove it, or write type = \"https\"",
    ),
    (
        "type = \"https\"\ntarget = \"rip\"\n",
        "d.toml:6: [[service.check]] of type https has no name that the certificate must be valid for; add host = \
         \"www.example.org\", or verify = false",
    ),
    (
        "type = \"https\"\ntarget = \"rip\"\nsni = \"192.0.2.1\"\nverify = false\n",
        "d.toml:9: sni is \"192.0.2.1\", no name of a host; write the name in the certificate, as in \
         \"www.example.org\"",
    ),
    (
        "type = \"https\"\ntarget = \"rip\"\nhost = \"a.example\"\nca = \"ca.pem\"\n",
        "d.toml:10: ca is \"ca.pem\", no absolute path; write the whole path from \"/\" on",
    ),
    (
        "type = \"https\"\ntarget = \"rip\"\nverify = false\nca = \"/ca.pem\"\n",
        "d.toml:10: ca is \"/ca.pem\", but verify = false trusts any certificate; remove one of the two",
    ),
    (
        "type = \"http\"\ntarget = \"rip\"\nmethod = \"HEAD\"\nregex = \"ok\"\n",
        "d.toml:10: regex is of no use with method = \"HEAD\", whose answer has no body; remove it, or write method = \
         \"GET\"",
    ),
    (
        "type = \"http\"\ntarget = \"rip\"\nregex = \"(\"\n",
        "d.toml:9: regex is \"(\", no regular expression: unclosed group; write an expression as on docs.rs/regex, which \
         has no look-around and no backreferences",
    ),
    (
        "type = \"http\"\ntarget = \"rip\"\nheaders = { Host = \"a\" }\n",
        "d.toml:9: headers has \"Host\"; write host = \"www.example.org\" instead",
    ),
    (
        "type = \"http\"\ntarget = \"rip\"\nheaders = \"X: 1\"\n",
        "d.toml:9: headers is \"X: 1\"; write a table of texts, as in { \"X-Probe\" = \"1\" }",
    ),
    (
        "type = \"http\"\ntarget = \"rip\"\nheader = { a = \"1\" }\n",
        "d.toml:9: \"header\" is not a key of [[service.check]]; did you mean headers?",
    ),
    (
        "type = \"tcp\"\ntarget = \"rip\"\ntimeout = 3\n",
        "d.toml:9: timeout is 3 s, longer than interval; write at most 2 s, or a longer interval",
    ),
    (
        "type = \"tcp\"\ntarget = \"rip\"\ninterval = 0\n",
        "d.toml:9: interval is 0, out of range; write 0.1 to 3600: seconds",
    ),
    (
        "type = \"udp\"\ntarget = \"rip\"\n",
        "d.toml:6: [[service.check]] of type udp has no payload; add payload = \"00ff…\": the datagram in hexadecimal",
    ),
    (
        "type = \"http\"\ntarget = \"rip\"\npath = \"alive\"\n",
        "d.toml:9: path is \"alive\", no path; write a path that begins with \"/\", in ASCII without spaces, as in \"/alive\"",
    ),
    (
        "type = \"http\"\ntarget = \"rip\"\nexpect = \"20\"\n",
        "d.toml:9: expect is \"20\", no list of status codes; write status codes, as in \"200-299,404\"",
    ),
];

#[test]
fn wrong_checks_are_refused_with_line_and_remedy() {
    for (keys, error) in WRONG {
        assert_eq!(check(keys).unwrap_err(), *error);
    }
}

#[test]
fn a_wildcard_port_service_needs_the_port_of_a_check() {
    let text = "[director]\ninterface = \"eth0\"\n[[service]]\nprotocol = \"tcp\"\naddress = \"10.0.0.1:0\"\n\
                persistence = {}\n[[service.check]]\ntype = \"tcp\"\ntarget = \"rip\"\n";
    let refused = parse(Path::new("d.toml"), text).unwrap_err().to_string();
    assert!(
        refused.starts_with("d.toml:7: [[service.check]] has no port, and neither has its service"),
        "{refused}"
    );
    assert!(parse(Path::new("d.toml"), &format!("{text}port = 80\n")).is_ok());
}

#[test]
fn each_kind_has_its_keys_and_defaults() {
    let kind = |keys: &str| check(keys).unwrap().kind;
    let dns = |name: &str, query, rcode, transport| {
        CheckKind::Dns(DnsCheck { name: name.into(), query, rcode, transport })
    };
    assert_eq!(
        kind("type = \"dns\"\ntarget = \"rip\"\nname = \".\"\n"),
        dns(".", DnsQueryType::A, vec![DnsRcode::NO_ERROR], DnsTransport::Udp)
    );
    assert_eq!(
        kind(
            "type = \"dns\"\ntarget = \"rip\"\nname = \"_sip._udp.example.\"\nquery = \"SRV\"\ntransport = \"tcp\"\n\
             rcode = \"noerror, NXDOMAIN\"\n"
        ),
        dns("_sip._udp.example.", DnsQueryType::SRV, vec![DnsRcode(0), DnsRcode(3)], DnsTransport::Tcp)
    );
    let smtp = |hello: &str| CheckKind::Smtp(SmtpCheck { hello: hello.into() });
    assert_eq!(kind("type = \"smtp\"\ntarget = \"rip\"\n"), smtp("localhost"));
    assert_eq!(kind("type = \"smtp\"\ntarget = \"rip\"\nhello = \"[192.0.2.1]\"\n"), smtp("[192.0.2.1]"));
    assert_eq!(kind("type = \"ping\"\ntarget = \"rip\"\n"), CheckKind::Ping);
    let script = check("type = \"script\"\ncommand = [\"/bin/x\", \"a b\"]\nport = 25\n").unwrap();
    assert_eq!(
        script.kind,
        CheckKind::Script(ScriptCheck {
            command: vec!["/bin/x".into(), "a b".into()],
            dynamic_weight: false
        })
    );
    assert_eq!((script.port, script.target), (Some(25), CheckTarget::Rip));
    let file = |good| CheckKind::File(FileCheck { path: "/run/{rip}".into(), good, weight: None });
    assert_eq!(kind("type = \"file\"\npath = \"/run/{rip}\"\n"), file(GoodFile::Zero));
    assert_eq!(kind("type = \"file\"\npath = \"/run/{rip}\"\ngood = \"absent\"\n"), file(GoodFile::Absent));
    let external =
        |seconds| CheckKind::External(ExternalCheck { name: "db".into(), max_age: Span::from_secs(seconds) });
    assert_eq!(kind("type = \"external\"\nname = \"db\"\n"), external(60));
    assert_eq!(kind("type = \"external\"\nname = \"db\"\nmax_age = 5\n"), external(5));
}

#[test]
fn wrong_keys_of_a_kind_are_refused_with_line_and_remedy() {
    for (keys, error) in [
        (
            "type = \"dns\"\ntarget = \"rip\"\n",
            "d.toml:6: [[service.check]] of type dns has no name; add name = \"www.example.org\": the name that is asked for",
        ),
        (
            "type = \"dns\"\ntarget = \"rip\"\nname = \"a..b\"\n",
            "d.toml:9: name is \"a..b\", no name in DNS; write a name in DNS, as in \"www.example.org\", or \".\" for the root",
        ),
        (
            "type = \"dns\"\ntarget = \"rip\"\nname = \".\"\nrcode = \"OK\"\n",
            "d.toml:10: rcode is \"OK\", no list of response codes; write one or several of NOERROR, FORMERR, SERVFAIL, \
             NXDOMAIN, NOTIMP, REFUSED, YXDOMAIN, YXRRSET, NXRRSET, NOTAUTH, NOTZONE",
        ),
        (
            "type = \"ping\"\ntarget = \"rip\"\nport = 7\n",
            "d.toml:9: port stands in a check of type ping, which has no use for it; remove it",
        ),
        (
            "type = \"file\"\npath = \"/x\"\ntarget = \"rip\"\n",
            "d.toml:9: target stands in a check of type file, which has no use for it; remove it",
        ),
        (
            "type = \"file\"\n",
            "d.toml:6: [[service.check]] of type file has no path; add path = \"/run/checks/{rip}\": {rip} \
             stands for the server",
        ),
        (
            "type = \"script\"\n",
            "d.toml:6: [[service.check]] has no command; add command = [\"/usr/local/lib/check-web\", \"--fast\"]",
        ),
        (
            "type = \"script\"\ncommand = \"/bin/x -a\"\n",
            "d.toml:8: command is \"/bin/x -a\", no list; write the path of a program and its arguments, as in \
             [\"/usr/local/lib/check-web\", \"--fast\"]",
        ),
        (
            "type = \"script\"\ncommand = [\"check\"]\n",
            "d.toml:8: command begins with \"check\", no absolute path; write the path of a program and its arguments, as in \
             [\"/usr/local/lib/check-web\", \"--fast\"]",
        ),
        (
            "type = \"external\"\nname = \"a b\"\n",
            "d.toml:8: name is \"a b\"; write up to 64 letters, digits, hyphens, dots and underscores",
        ),
    ] {
        assert_eq!(check(keys).unwrap_err(), error);
    }
}

#[test]
fn keys_of_dynamic_weights_are_read() {
    let kind = |keys: &str| {
        let text = format!("{HEAD}[[service.check]]\n{keys}[[service.server]]\naddress = \"10.0.0.2\"\n");
        super::check(&text)
            .map(|config| config.services[0].checks[0].kind.clone())
            .map_err(|errors| errors.to_string())
    };
    let script = "type = \"script\"\ncommand = [\"/bin/x\"]\n";
    let of =
        |dynamic_weight| CheckKind::Script(ScriptCheck { command: vec!["/bin/x".into()], dynamic_weight });
    assert_eq!(kind(script), Ok(of(false)));
    assert_eq!(kind(&format!("{script}dynamic_weight = true\n")), Ok(of(true)));
    let file = |keys: &str| kind(&format!("type = \"file\"\npath = \"/x\"\n{keys}\n"));
    for weight in [-254, -1, 1, 254] {
        let of = FileCheck { path: "/x".into(), good: GoodFile::Zero, weight: Some(weight) };
        assert_eq!(file(&format!("weight = {weight}")), Ok(CheckKind::File(of)));
    }
    for keys in
        ["weight = 0", "weight = 255", "weight = -255", "weight = 1.5", "weight = 1\ngood = \"absent\""]
    {
        assert!(file(keys).is_err_and(|error| error.contains("weight ")), "{keys}");
    }
}

#[test]
fn a_check_without_a_port_suits_a_service_without_one() {
    let text = "[director]\ninterface = \"eth0\"\n[[service]]\nmark = 7\nmatch = [\"tcp:10.0.0.1:80\"]\n[[service.check]]\n";
    for keys in [
        "type = \"ping\"\ntarget = \"rip\"\n",
        "type = \"script\"\ncommand = [\"/bin/x\"]\n",
        "type = \"file\"\npath = \"/x\"\n",
        "type = \"external\"\nname = \"db\"\n",
    ] {
        assert!(parse(Path::new("d.toml"), &format!("{text}{keys}")).is_ok(), "{keys}");
    }
    assert!(parse(Path::new("d.toml"), &format!("{text}type = \"smtp\"\ntarget = \"rip\"\n")).is_err());
}

#[test]
fn effects_that_contradict_each_other_are_refused() {
    let service = |keys: &str| {
        format!(
            "[director]\ninterface = \"eth0\"\n[[service]]\nprotocol = \"tcp\"\naddress = \"10.0.0.1:80\"\n{keys}\n\
             [[service.server]]\naddress = \"10.0.0.2\"\nweight = 3\n"
        )
    };
    for (keys, error) in [
        ("quorum = 2\npanic = 50", "7: panic is 50 beside a quorum"),
        ("quorum = 2\nhysteresis = 2", "7: hysteresis is 2, not below quorum = 2"),
        ("hysteresis = 1", "6: hysteresis stands without a quorum"),
        ("quorum_up = \"/bin/true\"", "6: quorum_up stands without a quorum"),
        ("quorum = 4", "6: quorum is 4, out of reach: all servers together have weight 3; write at most 3"),
        ("quorum = 0", "6: quorum is 0, out of range"),
        ("notify = \"notify\"", "6: notify is \"notify\"; write the absolute path"),
        ("notify = \"/bin/notify up\"", "6: notify is \"/bin/notify up\"; write the absolute path"),
        ("on_down = \"drop\"", "6: on_down is \"drop\"; write \"keep\" or \"cut\""),
        ("alpha = 1", "6: alpha is 1; write true or false"),
    ] {
        let found = errors(&service(keys));
        assert!(found.len() == 1 && found[0].starts_with(error), "{keys}: {found:?}");
    }
    let with_sorry = |keys: &str| service(keys) + "[service.sorry_server]\naddress = \"10.0.0.9\"\n";
    for (text, error) in [
        (with_sorry("panic = 50"), "6: panic is 50 beside a sorry server"),
        (with_sorry("hysteresis = 1"), "6: hysteresis stands without a quorum"),
        (with_sorry("quorum = 4"), "6: quorum is 4, out of reach: all servers together have weight 3"),
        (with_sorry("") + "port = 80\n", "12: \"port\" is not a key of [service.sorry_server]"),
        (with_sorry("") + "[[service.sorry_server.check]]\ntype = \"tcp\"\n", "12: \"check\" is not a key"),
        (
            with_sorry("").replace("10.0.0.9", "10.0.0.2"),
            "11: address 10.0.0.2 is a server of this service already",
        ),
    ] {
        let found = errors(&text);
        assert!(found.len() == 1 && found[0].starts_with(error), "{error}: {found:?}");
    }
    let mut config = super::check(&with_sorry("quorum_up = \"/bin/true\"")).unwrap();
    let read = config.services[0].clone();
    assert_eq!((read.panic, read.effects.quorum, read.servers.len()), (0, None, 2));
    assert_eq!(read.servers[1].role, ServerRole::Sorry { inhibit: false });
    assert_eq!(read.effects.quorum_beside(true), Some(Quorum { weight: 1, hysteresis: 0 }));
    config.services[0].servers.pop();
    let saved = super::check(&config.to_string()).unwrap();
    assert_eq!(saved.services[0].effects.quorum, Some(Quorum { weight: 1, hysteresis: 0 }), "it was implied");
    let read = super::check(&service("quorum = 2\nhysteresis = 1\nalpha = true\non_down = \"cut\"")).unwrap();
    let read = &read.services[0];
    assert_eq!((read.panic, read.effects.alpha, read.effects.on_down), (0, true, OnDown::Cut));
    assert_eq!(read.effects.quorum, Some(Quorum { weight: 2, hysteresis: 1 }));
}
