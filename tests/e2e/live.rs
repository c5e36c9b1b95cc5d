//! Live changes under load: other connections are unaffected.

use crate::deployment::{Deployment, VIP};
use crate::director::{Config, Director};
use crate::http::{ab, assert_counts_match};
use crate::on_both_backends;
use crate::peers::{EchoConnection, NAMES, PATIENCE, Peers, connect};
use crate::support::netns::wait_until;
use directrix::control::api::ErrorCode;
use directrix::control::api::request::{ChangeRequest, Persistence, ServerSettings, ServiceSettings};
use directrix::control::client::Blocking;
use directrix::model::{ServiceAddress, ServiceIdentity};
use directrix::wire::Protocol;
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, mkfifo};
use std::fs::File;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::symlink;
use std::time::Duration;

on_both_backends! {
    a_thousand_changes_under_load_break_nothing
    a_vip_is_added_and_removed_with_its_service
    clear_and_restore_under_load_keep_the_vip
    a_server_added_again_keeps_its_connections
    a_drained_server_is_removed_with_its_last_connection
    a_director_without_privileges_is_changed
}

/// Changes during the load.
const CHANGES: u32 = 1000;
/// A VIP that the configuration does not have.
const OTHER_VIP: Ipv4Addr = Ipv4Addr::new(192, 168, 195, 151);
/// An address without a host.
const ABSENT: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 168, 195, 199));

fn tcp(vip: Ipv4Addr, port: u16) -> ServiceIdentity {
    ServiceAddress { protocol: Protocol::Tcp, address: (vip, port).into() }.into()
}

fn weighted(weight: u16) -> ServerSettings {
    ServerSettings { weight, ..ServerSettings::default() }
}

fn a_thousand_changes_under_load_break_nothing(backend: &str) {
    let deployment = Deployment::reference();
    let _peers = Peers::start(&deployment);
    let director = Director::start(&deployment, &Config::new(backend));
    let mut connections: Vec<_> = (0..24).map(|_| EchoConnection::open(&deployment.client)).collect();
    let client = Blocking::new(&director.socket()).unwrap();
    std::thread::scope(|scope| {
        let load = scope.spawn(|| ab(&deployment, 30_000, "-c 20"));
        let mut random = 0x9e37_79b9_7f4a_7c15_u64;
        for number in 0..CHANGES {
            random = random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
            change(&client, &deployment, (random >> 33) as u32);
            if number % 50 == 0 {
                connections.iter_mut().for_each(|connection| connection.exchange("data"));
            }
        }
        load.join().unwrap();
    });
    connections.iter_mut().for_each(|connection| connection.exchange("data"));
    client.reload().unwrap();
    assert_eq!(director.load("-t 192.168.195.150:7").iter().map(|(active, _)| active).sum::<usize>(), 24);
    assert_counts_match(&deployment, &director);
}

/// Makes a change that must not affect connections. Some are refused when repeated.
fn change(client: &Blocking, deployment: &Deployment, random: u32) {
    let [first, second] = deployment.rips.map(IpAddr::from);
    let (web, echo) = (tcp(VIP, 80), tcp(VIP, 7));
    let (spare, other) = (tcp(VIP, 8000 + (random >> 8) as u16 % 4), tcp(OTHER_VIP, 80));
    let settings = ServiceSettings::default();
    let weight = weighted(1 + (random >> 12) as u16 % 5);
    let outcome = match random % 14 {
        0 => client.change(&[ChangeRequest::AddService { service: spare, settings }]),
        1 => client.change(&[ChangeRequest::DeleteService { service: spare }]),
        2 => client.change(&[ChangeRequest::AddServer { service: spare, server: first, settings: weight }]),
        3 => client.change(&[ChangeRequest::DeleteServer { service: spare, server: first }]),
        4 => client.change(&[
            ChangeRequest::AddService { service: other, settings },
            ChangeRequest::AddServer { service: other, server: second, settings: weight },
        ]),
        5 => client.change(&[ChangeRequest::DeleteService { service: other }]),
        6 => client.change(&[ChangeRequest::EditServer { service: web, server: first, settings: weight }]),
        7 => client.change(&[ChangeRequest::EditServer { service: echo, server: second, settings: weight }]),
        8 => {
            client.change(&[ChangeRequest::AddServer { service: web, server: ABSENT, settings: weighted(9) }])
        }
        9 => client.change(&[ChangeRequest::DeleteServer { service: web, server: ABSENT }]),
        10 => {
            client.change(&[ChangeRequest::EditService { service: web, settings: persistent(random >> 12) }])
        }
        11 => {
            client.change(&[ChangeRequest::EditService { service: echo, settings: persistent(random >> 12) }])
        }
        12 => client.change(&[ChangeRequest::SetTimeouts { tcp: 900 + random % 7, tcp_fin: 0, udp: 300 }]),
        _ => client.reload(),
    };
    if let Err(error) = outcome {
        let forbidden = [ErrorCode::ReadOnly, ErrorCode::NoAccess];
        assert!(ErrorCode::of(error.kind).is_some_and(|code| !forbidden.contains(&code)), "{error}");
    }
}

/// Settings with persistence per client, per network, or none.
fn persistent(random: u32) -> ServiceSettings {
    let prefix = [32, 24, 0][random as usize % 3];
    let persistence =
        Persistence { timeout: 1 + random % 300, prefix: Some(prefix), ..Persistence::default() };
    ServiceSettings { persistence: (prefix > 0).then_some(persistence), ..ServiceSettings::default() }
}

fn a_vip_is_added_and_removed_with_its_service(backend: &str) {
    add_and_remove_vip(&Config::new(backend));
}

fn a_director_without_privileges_is_changed(backend: &str) {
    add_and_remove_vip(&Config::new(backend).with("user = \"nobody\""));
}

fn add_and_remove_vip(config: &Config) {
    let deployment = Deployment::reference();
    let _peers = Peers::start(&deployment);
    let director = Director::start(&deployment, config);
    let connects = || {
        deployment.client.enter(|| {
            std::net::TcpStream::connect_timeout(&(OTHER_VIP, 80).into(), Duration::from_millis(300))
        })
    };
    deployment.real.iter().for_each(|real| drop(real.run(&format!("ip address add {OTHER_VIP}/32 dev lo"))));
    assert!(connects().is_err());

    director.change("ipvsadm -A -t 192.168.195.151:80 -s wlc");
    director.change(&format!("ipvsadm -a -t 192.168.195.151:80 -r {} -g -w 3", deployment.rips[0]));
    wait_until("the new VIP is claimed", PATIENCE, || {
        director.logged("VIP claimed vip=192.168.195.151") == 1
    });
    wait_until("a connection", PATIENCE, || connects().is_ok());
    let saved = director.cli("ipvsadm -S -n");
    assert!(saved.contains("-A -t 192.168.195.151:80 -s wlc\n"), "{saved}");

    director.change("ipvsadm -D -t 192.168.195.151:80");
    wait_until("the release", PATIENCE, || director.logged("VIP released") == 1);
    deployment.client.run("ip neighbor flush dev eth0");
    assert!(connects().is_err(), "no ARP reply");
    assert_eq!(connect(&deployment.client, 6).iter().sum::<usize>(), 6, "the other services are unaffected");
    assert_eq!(director.workers("dropped").iter().sum::<u64>(), 0, "{}", director.cli("drops"));
}

fn clear_and_restore_under_load_keep_the_vip(backend: &str) {
    let deployment = Deployment::reference();
    let _peers = Peers::start(&deployment);
    let director = Director::start(&deployment, &Config::new(backend));
    let mut connection = EchoConnection::open(&deployment.client);
    std::thread::scope(|scope| {
        let load = scope.spawn(|| ab(&deployment, 5_000, "-c 4"));
        for _ in 0..5 {
            let saved = director.cli("ipvsadm -S -n");
            director.cli("ipvsadm -C");
            assert_eq!(
                deployment.client.run(&format!("arping -r -i eth0 -c 1 -w 2 {VIP}")).lines().count(),
                1
            );
            assert_eq!(director.cli_with_input("ipvsadm -R", &saved), (Some(0), String::new()));
            assert!(director.cli("ipvsadm -Ln").contains(&format!("TCP  {VIP}:80")));
            connection.exchange("data");
        }
        load.join().unwrap();
    });
    assert_eq!(
        (director.logged("VIP claimed"), director.logged("VIP released")),
        (1, 0),
        "{}",
        director.log()
    );
    director.change("ipvsadm -C");
    wait_until("the release", PATIENCE, || director.logged("VIP released") == 1);
}

fn a_server_added_again_keeps_its_connections(backend: &str) {
    let deployment = Deployment::reference();
    let _peers = Peers::start(&deployment);
    let director = Director::start(&deployment, &Config::new(backend));
    let mut connections: Vec<_> = (0..9).map(|_| EchoConnection::open(&deployment.client)).collect();
    director.change(&format!("ipvsadm -d -t {VIP}:7 -r {}", deployment.rips[0]));
    let (mut interrupted, mut others): (Vec<_>, Vec<_>) =
        connections.drain(..).partition(|connection| connection.server == NAMES[0]);
    interrupted.iter_mut().for_each(|connection| connection.send("data"));
    others.iter_mut().for_each(|connection| connection.exchange("data"));
    wait_until("its frames are dropped", PATIENCE, || director.dropped("server_removed") > 0);
    assert!((0..6).all(|_| EchoConnection::open(&deployment.client).server == NAMES[1]));
    director.change(&format!("ipvsadm -a -t {VIP}:7 -r {} -w 1", deployment.rips[0]));
    // TCP retransmits until the server is back.
    interrupted.iter_mut().for_each(|connection| assert_eq!(connection.receive(), "data"));
    let [service, again, other] = director.stats(&format!("-t {VIP}:7"))[..] else { panic!("two servers") };
    assert_eq!(again[0], interrupted.len() as u64, "its count continues");
    assert_eq!((service[0], other[0]), (15, 15 - again[0]));
}

fn a_drained_server_is_removed_with_its_last_connection(backend: &str) {
    let deployment = Deployment::reference();
    let _peers = Peers::start(&deployment);
    let director = Director::start(&deployment, &Config::new(backend).timeouts(900, 1, 1));
    let mut connections: Vec<_> = (0..9).map(|_| EchoConnection::open(&deployment.client)).collect();
    director.change(&format!("drain tcp:{VIP}:7 {} --no-wait", deployment.rips[1]));
    assert!((0..6).all(|_| EchoConnection::open(&deployment.client).server == NAMES[0]));
    connections.iter_mut().for_each(|connection| connection.exchange("data"));
    assert_eq!(director.load(&format!("-t {VIP}:7")).len(), 2);
    connections.retain(|connection| connection.server == NAMES[0]);
    wait_until("it is removed", PATIENCE, || director.load(&format!("-t {VIP}:7")).len() == 1);
    connections.iter_mut().for_each(|connection| connection.exchange("data"));

    // A new weight ends the drain.
    let (service, server) = (tcp(VIP, 7), IpAddr::from(deployment.rips[0]));
    let client = Blocking::new(&director.socket()).unwrap();
    let drain = ChangeRequest::Drain { service, server, deadline: Some(0) };
    client.change(&[drain, ChangeRequest::EditServer { service, server, settings: weighted(3) }]).unwrap();
    std::thread::sleep(Duration::from_secs(3)); // longer than the interval of drain checks
    assert_eq!(director.load(&format!("-t {VIP}:7")).len(), 1);

    // A server with connections at the deadline.
    let progress = director.cli(&format!("drain tcp:{VIP}:7 {} --deadline 1", deployment.rips[0]));
    assert!(progress.contains("active") && progress.contains("\nremoved at the deadline; "), "{progress}");
    assert!(progress.ends_with("directrix save -o FILE`\n"), "a hint at the file: {progress}");
}

#[test]
fn a_restore_applies_all_lines_or_none() {
    let deployment = Deployment::reference();
    let director = Director::start(&deployment, &Config::new("xdp"));
    director.cli("ipvsadm --set 100 50 20");
    let (saved, file) = (director.cli("ipvsadm -S -n"), director.cli("save"));
    assert!(saved.starts_with("--set 100 50 20\n-A ") && file.contains("tcp = 100\n"), "{saved}{file}");
    assert_eq!(saved.lines().count(), 10, "{saved}");
    let restore = |text: &str| director.cli_with_input("ipvsadm -R", text);
    director.change("ipvsadm -C");
    director.cli("ipvsadm --set 900 120 300");
    assert_eq!(director.cli("ipvsadm -S -n"), "");
    let bad = saved
        .replace("-u 192.168.195.150:7 -r 192.168.195.171:7", "-u 192.168.195.150:9 -r 192.168.195.171:9");
    let (status, message) = restore(&bad);
    assert_eq!(status, Some(255));
    assert!(message.starts_with("line ") && message.contains("Service not defined: -a -u"), "{message}");
    assert_eq!(director.cli("ipvsadm -S -n"), "", "all or nothing");
    assert_eq!(restore(&saved), (Some(0), String::new()));
    assert_eq!(director.cli("ipvsadm -S -n"), saved);
    director.change("reload");
    assert!(director.cli("save").contains("tcp = 900\n"), "the file has the defaults");
}

/// Lists with one line that fails on this host or with the present services.
#[test]
fn the_error_of_a_restore_names_its_line() {
    let deployment = Deployment::reference();
    let director = Director::start(&deployment, &Config::new("packet"));
    let before = director.cli("save");
    let web = "-A -t 192.168.195.152:80 -s rr";
    let server = "-a -t 192.168.195.152:80 -r 192.168.195.170 -g -w 1";
    let others = "-A -t 192.168.195.150:443 -s wlc\n-E -t 192.168.195.152:80 -s wrr\n";
    for (lines, at, message) in [
        (vec![web, "-a -t 192.168.195.152:80 -r 10.9.9.9 -g"], 3, "real server 10.9.9.9 is not on-link"),
        (vec![web, server, "-a -t 192.168.195.152:80 -r 192.168.195.149 -g"], 4, "is this host"),
        (vec![web, "-a -t 192.168.195.152:80 -r 192.168.195.152"], 3, "is the VIP of a service"),
        (vec![web, server, "-A -u 192.168.195.170:53"], 4, "real server 192.168.195.170 is the VIP"),
        (vec!["-A -t 127.0.0.1:80", web], 2, "this is a loopback address"),
        (vec![web, "-A -t [fe80::1]:80"], 3, "this is a link-local address"),
        (
            vec![web, "-a -t 192.168.195.152:80 -r 192.168.195.170 -y 5"],
            3,
            "Numerical result out of range: -a",
        ),
        (
            vec![web, server, "-e -t 192.168.195.152:80 -r 192.168.195.170 -x 1 -y 2"],
            4,
            "Numerical result out of",
        ),
        (vec![web, "-A -t 192.168.195.255:80"], 3, "it is the broadcast address of 192.168.195.0/24 on eth0"),
        (vec![web, "-A -u 192.168.195.0:53"], 3, "it is the network address of 192.168.195.0/24 on eth0"),
    ] {
        let (status, stderr) =
            director.cli_with_input("ipvsadm -R", &format!("-C\n{}\n{others}", lines.join("\n")));
        assert_eq!(status, Some(255), "{lines:?}: {stderr}");
        assert!(
            stderr.starts_with(&format!("line {at}: ")) && stderr.contains(message),
            "{lines:?}: {stderr}"
        );
    }
    let request =
        ChangeRequest::AddService { service: tcp(OTHER_VIP, 81), settings: ServiceSettings::default() };
    let far = ChangeRequest::AddServer {
        service: tcp(OTHER_VIP, 81),
        server: [10, 9, 9, 9].into(),
        settings: weighted(1),
    };
    let list = [ChangeRequest::Clear {}, request, far, ChangeRequest::Zero { service: None }];
    let refused = Blocking::new(&director.socket()).unwrap().change(&list).unwrap_err();
    assert_eq!(refused.request(), Some(2), "{refused}");
    assert_eq!(director.cli("save"), before, "all or nothing");
}

/// The line is found without a restore of each prefix of the list.
#[test]
fn an_error_among_twelve_thousand_lines_names_its_line() {
    let deployment = Deployment::reference();
    let director = Director::start(&deployment, &Config::new("packet"));
    let service = |n: u32| format!("-t 192.168.195.150:{}", 10_000 + n);
    let lines =
        |n| format!("-A {0} -s rr\n-a {0} -r 192.168.195.170\n-a {0} -r 192.168.195.171\n", service(n));
    let text: String = (0..4000).map(lines).collect();
    let bad = text.replace(
        &format!("-a {} -r 192.168.195.170", service(1234)),
        &format!("-a {} -r 10.9.9.9", service(1234)),
    );
    let started = std::time::Instant::now();
    assert_eq!(director.cli_with_input("ipvsadm -R", &text), (Some(0), String::new()));
    let good = started.elapsed();
    let (status, stderr) = director.cli_with_input("ipvsadm -R", &format!("-C\n{bad}"));
    assert_eq!(status, Some(255), "{stderr}");
    assert!(stderr.starts_with(&format!("line {}: ", 1 + 1234 * 3 + 2)), "{stderr}");
    let duration = started.elapsed() - good;
    assert!(duration < good * 3 + Duration::from_secs(1), "{duration:?}, and {good:?} for a good list");
}

#[test]
fn sighup_reloads_and_an_invalid_file_changes_nothing() {
    let deployment = Deployment::reference();
    let config = Config::new("xdp");
    let director = Director::start(&deployment, &config);
    let reload = |text: &str| {
        director.write_config(text);
        kill(Pid::from_raw(director.pid().cast_signed()), Signal::SIGHUP).unwrap();
    };
    let text = config.text(&deployment);
    reload(&text.replace("weight = 2", "weight = 7"));
    wait_until("the new weight", PATIENCE, || director.cli("ipvsadm -Ln").contains("Route   7"));
    let before = director.cli("save");
    reload(&text.replace("weight = 1", "weight = one"));
    wait_until("a syntax error", PATIENCE, || director.logged("the configuration stays as it was") == 1);
    reload(&text.replace("[director]\n", "[director]\nwait = \"busy\"\n"));
    wait_until("a key that needs a restart", PATIENCE, || {
        director.logged("config.toml:2: wait: restart required; restart the director, or undo") == 1
    });
    reload(&text.replace("192.168.195.150:80", "192.168.195.255:80"));
    wait_until("an error of the host", PATIENCE, || {
        director.logged("the VIP 192.168.195.255 cannot be a host address") == 1
    });
    assert_eq!(director.cli("save"), before);
    director.write_config(&text);
    let plan = director.cli(&format!("plan {}", director.config().display()));
    assert_eq!(plan.lines().filter(|line| line.ends_with("weight 7 -> 2")).count(), 3, "{plan}");
    assert!(director.cli("ipvsadm -Ln").contains("Route   7"), "a plan changes nothing");
    assert_eq!(director.change("reload").lines().count(), 3);
    assert_eq!(director.change("reload"), "nothing has changed\n");
}

#[test]
fn a_file_that_is_not_regular_is_refused_at_once() {
    let deployment = Deployment::reference();
    let director = Director::start(&deployment, &Config::new("xdp"));
    let (path, before) = (director.config(), director.cli("save"));
    let client = Blocking::new(&director.socket()).unwrap();
    let make_fifo = || mkfifo(&path, Mode::S_IRWXU).unwrap();
    let others: [(&dyn Fn(), &str); 3] = [
        (&make_fifo, "this is not a regular file"),
        (&|| symlink("/dev/zero", &path).unwrap(), "this is not a regular file"),
        (&|| File::create(&path).unwrap().set_len(1 << 30).unwrap(), "this has more than 16 MiB"),
    ];
    for (replace, message) in others {
        std::fs::remove_file(&path).unwrap();
        replace();
        let refused = client.reload().unwrap_err().to_string();
        assert!(refused.contains(message), "{refused}");
        assert_eq!(director.cli("save"), before);
    }
}

#[test]
fn plan_reports_the_errors_of_a_reload() {
    let deployment = Deployment::reference();
    let config = Config::new("xdp");
    let director = Director::start(&deployment, &config);
    let text = config.text(&deployment);
    let [first, second] = deployment.rips.map(|rip| rip.to_string());
    let off_link = text.replace(&first, "203.0.113.9");
    let (status, stderr) = director.cli_with_input("plan -", &off_link);
    assert_eq!(status, Some(1));
    let line = off_link.lines().position(|line| line.contains("203.0.113.9")).unwrap() + 1;
    let expected = format!(
        "directrix: a reload would refuse the whole file: stdin:{line}: real server 203.0.113.9 is not on-link"
    );
    assert!(stderr.starts_with(&expected), "{stderr}");
    director.write_config(&off_link);
    let (status, refused) = director.cli_with_input("reload", "");
    assert!(status == Some(1) && refused.contains("203.0.113.9 is not on-link"), "{refused}");

    let (status, stderr) =
        director.cli_with_input("plan -", &text.replace("[director]\n", "[director]\nwait = \"busy\"\n"));
    let refusal = "directrix: a reload would refuse the whole file: stdin:2: wait: restart required; ";
    assert!(status == Some(1) && stderr.starts_with(refusal), "{stderr}");
    assert_eq!(
        director.cli_with_input("plan -", &text.replace(&second, "192.168.195.9")),
        (Some(0), String::new())
    );
}

/// The ids are enough for each of two files with 40,000 real servers, but not for both: after the reload the ids
/// of the removed servers are not yet free.
#[test]
fn plan_and_reload_refuse_a_file_without_free_ids() {
    let deployment = Deployment::reference();
    let config = Config::new("packet");
    let director = Director::start(&deployment, &config);
    let text = config.text(&deployment);
    let with_servers = |network: u8| {
        let servers = (0..33_000_u16).map(|host| {
            let [high, low] = host.to_be_bytes();
            format!("[[service.server]]\naddress = \"10.{network}.{high}.{low}\"\nmac = \"02:00:00:00:{high:02x}:{low:02x}\"\n")
        });
        format!("{text}\n{}", servers.collect::<String>())
    };
    director.write_config(&with_servers(1));
    assert_eq!(director.cli_with_input("reload", "").0, Some(0));
    let others = with_servers(2);
    let (status, stderr) = director.cli_with_input("plan -", &others);
    let refusal = "all ids for services and servers are taken";
    assert!(status == Some(1) && stderr.contains(refusal), "{status:?}: {stderr}");
    director.write_config(&others);
    let (status, stderr) = director.cli_with_input("reload", "");
    assert!(status == Some(1) && stderr.contains(refusal), "{status:?}: {stderr}");
}
