//! Health checks.

use super::*;
use crate::model::{CheckKind, CheckTarget, CheckTiming, HealthCheck, HttpCheck, StatusRange, UdpCheck};
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
    let plain = check("type = \"tcp\"\ntarget = \"rip\"\n").unwrap();
    let timing = CheckTiming::default();
    assert_eq!(plain, HealthCheck { kind: CheckKind::Tcp, target: CheckTarget::Rip, port: None, timing });
    let slow = check("type = \"tcp\"\ntarget = \"rip\"\ninterval = 60\nfall = 2\n").unwrap();
    assert_eq!(slow.timing, CheckTiming { fall: 2, ..CheckTiming::every(Span::from_secs(60)) });
    let fast = check("type = \"tcp\"\ntarget = \"rip\"\ninterval = 0.25\n").unwrap();
    assert_eq!(fast.timing.timeout, Span::from_millis(250));
}

#[test]
fn every_key_of_a_check_is_read() {
    let http = check(
        "type = \"http\"\ntarget = \"rip\"\nport = 8080\npath = \"/alive?x=1\"\nhost = \"www.example.org\"\n\
         expect = \"200-204, 301\"\nbody = \"ok\"\n",
    );
    let expect = vec![StatusRange { first: 200, last: 204 }, StatusRange { first: 301, last: 301 }];
    let (path, host) = ("/alive?x=1".into(), Some("www.example.org".into()));
    let kind = CheckKind::Http(HttpCheck { path, host, expect, body: Some("ok".into()) });
    let timing = CheckTiming::default();
    assert_eq!(http, Ok(HealthCheck { kind, target: CheckTarget::Rip, port: Some(8080), timing }));
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
fn wrong_checks_are_refused_with_line_and_remedy() {
    for (keys, error) in [
        ("target = \"rip\"\n", "d.toml:6: [[service.check]] has no type; add type = \"tcp\""),
        ("type = \"tcp\"\n", "d.toml:6: [[service.check]] has no target; add target = \"rip\""),
        (
            "type = \"tcp\"\ntarget = \"vip\"\n",
            "d.toml:8: target is \"vip\": this version cannot probe the VIP on a real server; write \"rip\", which does not \
             show whether the server has the VIP",
        ),
        (
            "type = \"ping\"\ntarget = \"rip\"\n",
            "d.toml:7: type is \"ping\"; write \"tcp\" or \"http\" or \"udp\"",
        ),
        (
            "type = \"tcp\"\ntarget = \"rip\"\npath = \"/\"\n",
            "d.toml:9: path stands in a check of type tcp, which has no use for it; remove it, or write type = \"http\"",
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
    ] {
        assert_eq!(check(keys).unwrap_err(), error);
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
