//! Kinds of health checks against real servers, of the VIP and of the RIP, of both families: nginx with TLS, dnsmasq, aiosmtpd, scripts, files, reports.

use crate::deployment::{Deployment, VIPS};
use crate::director::{Config, Director, Home};
use crate::health_servers::spawn;
use crate::peers::{ECHO, PATIENCE};
use crate::support::certificates::{Authority, Issued};
use crate::support::netns::{Netns, Process, wait_until};
use directrix::control::api::checks::Check;
use directrix::control::client::Blocking;
use std::fs::{self, Permissions};
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use tempfile::TempDir;

const TIMES: &str = "interval = 0.2\ntimeout = 0.2\nfall = 2\nrise = 1\ndown_interval = 0.2\n";
/// Certificates of now, and of once.
const VALID: (&str, &str) = ("20200101000000Z", "20480101000000Z");
const EXPIRED: (&str, &str) = ("20200101000000Z", "20200201000000Z");

/// A director with one service for each VIP, each with the same checks of both real servers.
struct Site {
    deployment: Deployment,
    director: Director,
    client: Blocking,
    home: Home,
}

impl Site {
    fn start(deployment: Deployment, home: Home, checks: &[&str]) -> Self {
        // Ping sockets are for the groups of this range, by default for none.
        deployment.director.run("sysctl -qw net.ipv4.ping_group_range='0 2147483647'");
        let config = Config { weights: [1, 1], ..Config::new("packet") };
        // Root refuses scripts.
        let has_script = checks.iter().any(|keys| keys.contains("\"script\""));
        let user = if has_script { "user = \"nobody\"\n" } else { "" };
        let mut text = format!("[director]\ninterface = \"eth0\"\n{user}{}", config.director);
        let checks: String = checks.iter().map(|keys| format!("[[service.check]]\n{keys}{TIMES}")).collect();
        for vip in VIPS {
            let service = config.service(&deployment, "tcp", (vip, ECHO).into());
            text += &service.replacen("[[service.server]]", &format!("{checks}[[service.server]]"), 1);
        }
        let director = Director::start_in(home.clone(), &deployment.director, &text);
        let client = director.client();
        Self { deployment, director, client, home }
    }

    /// The checks of a real server, of the services of both VIPs.
    fn checks(&self, server: usize) -> Vec<Check> {
        let checks = self.client.checks().unwrap();
        checks.services.into_iter().flat_map(|mut service| service.servers.remove(server).checks).collect()
    }

    /// Waits until the checks of a server whose name begins so are in `state`, for both VIPs; returns them.
    #[track_caller]
    fn wait_for(&self, server: usize, name: &str, state: &str) -> Vec<Check> {
        let mut found = Vec::new();
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            wait_until(&format!("{name} {state}"), PATIENCE, || {
                found = self.checks(server);
                found.retain(|check| check.check.starts_with(name));
                found.len() >= 2 && found.iter().all(|check| check.state == state)
            });
        }));
        assert!(result.is_ok(), "{name} is not {state}: {found:#?}\n{}", self.director.log());
        found
    }
}

/// nginx with TLS on port 443, which says on /echo what it was asked.
fn start_nginx(host: &Netns, Issued { certificate, key }: &Issued) -> (Process, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().display();
    let uses = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let temporary: String = uses.iter().map(|of| format!("{of}_temp_path {place}/{of};\n")).collect();
    let text = format!(
        "daemon off; master_process off; pid {place}/pid; error_log {place}/errors;
         events {{ }}
         http {{
             access_log off; {temporary}
             server {{
                 listen 443 ssl; listen [::]:443 ssl; listen 8080; listen [::]:8080; server_name www.example.org;
                 ssl_certificate {}; ssl_certificate_key {};
                 location / {{ return 200 \"alive\\n\"; }}
                 location /echo {{ return 200 \"$request_method $http_x_probe on $host\\n\"; }}
             }}
         }}",
        certificate.display(),
        key.display(),
    );
    fs::write(directory.path().join("nginx.conf"), text).unwrap();
    let process = spawn(host, &format!("nginx -p {place} -c {place}/nginx.conf -e {place}/errors"));
    wait_until("nginx listens", PATIENCE, || host.run("ss -Hltn 'sport = :443'").lines().count() == 2);
    (process, directory)
}

#[test]
fn https_is_up_by_a_certificate_that_a_client_accepts() {
    let (deployment, authority) = (Deployment::reference().with_ipv6(), Authority::new());
    let of = |times| authority.issue("www.example.org", times);
    let mut servers =
        [(0, VALID), (1, EXPIRED)].map(|(server, times)| start_nginx(&deployment.real[server], &of(times)));
    let ca = authority.certificate();
    let home = Home::new();
    fs::copy(ca, home.path().join("ca.pem")).unwrap();
    let ca = home.path().join("ca.pem").display().to_string();
    let checks = [
        &format!(
            "type = \"https\"\nport = 443\nhost = \"www.example.org\"\nca = \"{ca}\"\nbody = \"alive\"\n"
        ),
        "type = \"https\"\nport = 443\npath = \"/unverified\"\nverify = false\nexpiry_warning = 0\n",
        "type = \"https\"\ntarget = \"rip\"\nport = 443\npath = \"/strict\"\nsni = \"www.example.org\"\nexpiry_warning = 0\n",
        "type = \"https\"\ntarget = \"rip\"\nport = 8080\npath = \"/plain\"\nverify = false\n",
    ];
    let site = Site::start(deployment, home, &checks);

    let good = site.wait_for(0, "https www.example.org/", "up");
    assert!(good.iter().all(|check| check.certificate.as_ref().unwrap().days > 7_000), "{good:?}");
    let expired = site.wait_for(1, "https www.example.org/", "down");
    for check in &expired {
        let reason = check.reason.as_ref().unwrap();
        assert!(
            reason.contains("the certificate expired") && reason.contains("on 2020-02-01: renew it"),
            "{reason}"
        );
        assert_eq!(check.cause.as_deref(), Some("certificate"));
        assert!(check.certificate.as_ref().unwrap().days < -2_000);
    }
    assert_eq!(site.director.logged("certificate expires soon"), 2, "once for each family");
    site.wait_for(1, "https /unverified", "up");
    // The authorities of the host do not have this one.
    let strict = site.wait_for(0, "https /strict", "down");
    assert!(strict[0].reason.as_ref().unwrap().contains("the issuer of the certificate is not trusted"));
    let plain = site.wait_for(0, "https /plain", "down");
    assert!(plain[0].reason.as_ref().unwrap().contains("speaks no TLS"), "{plain:?}");
    let listing = site.director.cli("health");
    assert!(listing.contains("the certificate expires in"), "{listing}");
    let metrics = site.director.cli("health --json");
    assert!(metrics.contains("\"certificate\":{\"expires\":2461449600,"), "{metrics}");

    // The certificate is renewed under the running director.
    servers[1].0.0.kill().unwrap();
    servers[1].0.0.wait().unwrap();
    servers[1] = start_nginx(&site.deployment.real[1], &authority.issue("www.example.org", VALID));
    site.wait_for(1, "https www.example.org/", "up");
    wait_until("the renewal is logged", PATIENCE, || site.director.logged("certificate is renewed") == 2);
}

#[test]
fn http_sends_method_and_headers_and_searches_by_an_expression() {
    let (deployment, authority) = (Deployment::reference().with_ipv6(), Authority::new());
    let issued = authority.issue("www.example.org", VALID);
    let _servers = [0, 1].map(|server| start_nginx(&deployment.real[server], &issued));
    let http = |name: &str, keys: &str| {
        format!("type = \"http\"\ntarget = \"rip\"\nport = 8080\npath = \"/echo?{name}\"\n{keys}\n")
    };
    let checks = [
        http(
            "post",
            "method = \"POST\"\nheaders = { X-Probe = \"yes\" }\nregex = \"^POST yes on \"\nbody = \"yes\"",
        ),
        http("host", "host = \"a.example.org:8080\"\nregex = '^GET  on a\\.example\\.org\\n$'"),
        http("head", "method = \"HEAD\"\nexpect = \"200\""),
        http("wrong", "regex = \"^POST\""),
        http("both", "body = \"GET\"\nregex = \"POST\""),
    ];
    let checks: Vec<_> = checks.iter().map(String::as_str).collect();
    let site = Site::start(deployment, Home::new(), &checks);
    for name in ["http POST /echo?post", "http a.example.org:8080/echo?host", "http HEAD /echo?head"] {
        site.wait_for(0, name, "up");
    }
    let wrong = site.wait_for(0, "http /echo?wrong", "down");
    let reason = wrong[0].reason.as_ref().unwrap();
    assert!(reason.contains("the expected text is not in the body, which begins \"GET  on "), "{reason}");
    site.wait_for(0, "http /echo?both", "down");
}

fn start_dnsmasq(host: &Netns) -> Process {
    let process = spawn(
        host,
        "dnsmasq --keep-in-foreground --conf-file=/dev/null --pid-file= --user=root --no-resolv --no-hosts \
         --local=/test/ --host-record=www.test,192.0.2.1,2001:db8::1",
    );
    wait_until("dnsmasq listens", PATIENCE, || host.run("ss -Hltn 'sport = :53'").lines().count() == 2);
    process
}

#[test]
fn dns_is_judged_by_its_response_code() {
    let deployment = Deployment::reference().with_ipv6();
    let mut servers = [0, 1].map(|server| start_dnsmasq(&deployment.real[server]));
    // A host sends one ICMP error a second to each other; probes in between would find silence.
    deployment.real[0].run("sysctl -qw net.ipv4.icmp_ratelimit=0 net.ipv6.icmp.ratelimit=0");
    let dns = |keys: &str| format!("type = \"dns\"\nport = 53\n{keys}");
    let checks = [
        dns("name = \"www.test\"\n"),
        dns("name = \"www.test\"\nquery = \"AAAA\"\ntransport = \"tcp\"\n"),
        dns("target = \"rip\"\nname = \"none.test\"\nrcode = \"NXDOMAIN\"\n"),
        dns("name = \"missing.test\"\n"),
    ];
    let checks: Vec<_> = checks.iter().map(String::as_str).collect();
    let site = Site::start(deployment, Home::new(), &checks);
    for name in ["dns www.test A", "dns www.test AAAA over TCP", "dns none.test A"] {
        [0, 1].into_iter().for_each(|server| drop(site.wait_for(server, name, "up")));
    }
    let missing = site.wait_for(0, "dns missing.test A", "down");
    assert!(
        missing[0].reason.as_ref().unwrap().ends_with("the DNS answer is NXDOMAIN, not NOERROR"),
        "{missing:?}"
    );
    servers[0].0.kill().unwrap();
    servers[0].0.wait().unwrap();
    for name in ["dns www.test A", "dns www.test AAAA over TCP"] {
        let down = site.wait_for(0, name, "down");
        assert!(down.iter().all(|check| check.cause.as_deref() == Some("service_down")), "{down:?}");
        site.wait_for(1, name, "up");
    }
}

#[test]
fn ping_and_smtp_are_up_and_down() {
    let deployment = Deployment::reference().with_ipv6();
    let mail = |host: &Netns, address: &str| spawn(host, &format!("/usr/bin/aiosmtpd -n -l {address}:25"));
    let mut servers: Vec<_> = deployment
        .real
        .iter()
        .flat_map(|host| ["0.0.0.0", "::"].map(|address| mail(host, address)))
        .collect();
    for host in &deployment.real {
        wait_until("aiosmtpd listens", PATIENCE, || host.run("ss -Hltn 'sport = :25'").lines().count() == 2);
    }
    let smtp = "type = \"smtp\"\nport = 25\nhello = \"director.example.org\"\n";
    let to_the_wrong_port = "type = \"smtp\"\ntarget = \"rip\"\nport = 7\n";
    let site = Site::start(
        deployment,
        Home::new(),
        &["type = \"ping\"\ntarget = \"both\"\n", smtp, to_the_wrong_port],
    );
    for (server, name) in [(0, "ping"), (1, "ping"), (0, "smtp port 25"), (1, "smtp port 25")] {
        site.wait_for(server, name, "up");
    }
    site.wait_for(0, "smtp port 7", "down");
    let real = &site.deployment.real[0];
    real.run("sysctl -qw net.ipv4.icmp_echo_ignore_all=1 net.ipv6.icmp.echo_ignore_all=1");
    let down = site.wait_for(0, "ping", "down");
    assert!(down.iter().all(|check| check.cause.as_deref() == Some("silent")), "{down:?}");
    assert!(down.iter().any(|check| check.check == "ping") && down.len() == 4, "{down:?}");
    let reason = down[0].reason.as_ref().unwrap();
    assert!(reason.contains("its firewall drops echo requests") && !reason.contains(":0"), "{reason}");
    site.wait_for(0, "smtp port 25", "up");
    servers.drain(..2).for_each(|mut server| {
        server.0.kill().unwrap();
        server.0.wait().unwrap();
    });
    site.wait_for(0, "smtp port 25", "down");
    site.wait_for(1, "smtp port 25", "up");
}

fn write_script(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn a_script_sets_the_weight_by_its_exit_status() {
    let (deployment, home) = (Deployment::reference().with_ipv6(), Home::new());
    let place = home.path().display().to_string();
    write_script(
        &home.path().join("weigh"),
        "#!/bin/sh\nexit \"$(cat \"$1/status-$RIP\" 2>/dev/null || echo 0)\"\n",
    );
    let script =
        format!("type = \"script\"\ncommand = [\"{place}/weigh\", \"{place}\"]\ndynamic_weight = true\n");
    let site = Site::start(deployment, home, &[&script]);
    site.wait_for(0, "script ", "up");
    let rips = VIPS.map(|vip| site.deployment.rips_of(vip)[0]);
    let set = |status: u8| {
        let write =
            |rip| fs::write(site.home.path().join(format!("status-{rip}")), status.to_string()).unwrap();
        rips.iter().for_each(write);
    };
    let wait_for = |weight: &str| {
        wait_until(&format!("weight {weight}"), PATIENCE, || {
            let listing = site.director.cli("ipvsadm -Ln");
            let has = |rip: &IpAddr| {
                let row = listing.lines().find(|line| line.contains(&rip.to_string()));
                row.and_then(|row| row.split_whitespace().nth(3)) == Some(weight)
            };
            rips.iter().all(has)
        });
    };
    wait_for("1");
    set(9);
    wait_for("7");
    assert!(site.director.cli("health").contains("weight 7"), "{}", site.director.cli("health"));
    assert!(!site.director.cli("ipvsadm -Sn").contains("-w 7"), "the configured weight is saved");
    set(2);
    wait_for("0");
    let (status, text) = site.director.cli_status(&format!("why-down {}", rips[0]));
    assert!(status == Some(3) && text.contains("its health checks have set its weight to 0"), "{text}");
    set(0);
    wait_for("1");
    set(1);
    site.wait_for(0, "script ", "down");
    wait_for("0");
}

#[test]
fn scripts_files_and_reports_decide() {
    let (deployment, home) = (Deployment::reference().with_ipv6(), Home::new());
    let place = home.path().display().to_string();
    fs::create_dir(home.path().join("out")).unwrap();
    fs::set_permissions(home.path().join("out"), Permissions::from_mode(0o777)).unwrap();
    // The names of files have no colons here, so that one script serves both families.
    write_script(
        &home.path().join("check"),
        "#!/bin/sh\nplace=$1\nls -l /proc/self/fd >\"$place/out/fds\"\n[ \"$RPORT $VPORT\" = '7 7' ] || exit 9\n\
         [ ! -e \"$place/bad-$RIP-$VIP\" ] || { echo \"$RIP is bad\"; exit 2; }\n",
    );
    let file = format!("type = \"file\"\npath = \"{place}/maintenance-{{rip}}\"\ngood = \"absent\"\n");
    let number = format!("type = \"file\"\npath = \"{place}/number-{{rip}}\"\n");
    let checks = [
        format!("type = \"script\"\ncommand = [\"{place}/check\", \"{place}\"]\n"),
        file,
        number,
        "type = \"external\"\nname = \"db\"\nmax_age = 2\n".into(),
    ];
    let checks: Vec<_> = checks.iter().map(String::as_str).collect();
    let site = Site::start(deployment, home, &checks);
    let rips: Vec<_> = VIPS.iter().map(|vip| (*vip, site.deployment.rips_of(*vip)[0])).collect();
    let each = |write: &dyn Fn(String)| rips.iter().for_each(|(_, rip)| write(rip.to_string()));
    let at = |name: String| site.home.path().join(name);

    site.wait_for(0, "script ", "up");
    let fds = fs::read_to_string(at("out/fds".into())).unwrap();
    assert!(
        !fds.contains("socket:") && !fds.contains("anon_inode:"),
        "no socket, program or map of the director's: {fds}"
    );
    for (vip, rip) in &rips {
        fs::write(at(format!("bad-{rip}-{vip}")), "").unwrap();
    }
    let bad = site.wait_for(0, "script ", "down");
    let reason = bad[0].reason.as_ref().unwrap();
    assert!(reason.ends_with(&format!("the script ended with status 2: {} is bad", rips[0].1)), "{reason}");
    site.wait_for(1, "script ", "up");

    site.wait_for(0, &format!("file {place}/maintenance"), "up");
    each(&|rip| fs::write(at(format!("maintenance-{rip}")), "").unwrap());
    site.wait_for(0, &format!("file {place}/maintenance"), "down");
    site.wait_for(1, &format!("file {place}/maintenance"), "up");

    let number = format!("file {place}/number");
    let unknown = site.wait_for(0, &number, "unknown");
    assert!(
        unknown[0].error.as_ref().is_none_or(|error| error.contains("there is no such file")),
        "{unknown:?}"
    );
    each(&|rip| fs::write(at(format!("number-{rip}")), "3\n").unwrap());
    site.wait_for(0, &number, "down");
    each(&|rip| fs::write(at(format!("number-{rip}")), "0\n").unwrap());
    site.wait_for(0, &number, "up");

    let report =
        |words: &str| each(&|rip| drop(site.director.cli(&format!("health report {rip} db {words}"))));
    site.wait_for(0, "external db", "unknown");
    report("down --reason lag");
    let down = site.wait_for(0, "external db", "down");
    assert!(down[0].reason.as_ref().unwrap().ends_with("reported as down: lag"), "{down:?}");
    report("up");
    site.wait_for(0, "external db", "up");
    wait_until("the report is too old", PATIENCE, || {
        let checks = site.checks(0);
        let db = checks.iter().find(|check| check.check == "external db").unwrap();
        assert_eq!(db.state, "up", "an old report changes nothing");
        db.error.as_ref().is_some_and(|error| error.contains("older than max_age"))
    });
    let (status, _) = site.director.cli_status(&format!("health report {} nosuch up", rips[0].1));
    assert_eq!(status, Some(1));
}
