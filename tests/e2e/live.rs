//! Changes while frames flow: no other connection notices them.

use crate::deployment::{Deployment, VIP};
use crate::director::{Config, Director};
use crate::http::{ab, everything_adds_up};
use crate::on_both_backends;
use crate::peers::{Conversation, NAMES, PATIENCE, Peers, connect};
use crate::support::netns::wait_until;
use directrix::control::api::request::{ChangeRequest, Persistence, ServerSettings, ServiceSettings};
use directrix::control::client::{Blocking, ClientError};
use directrix::model::ServiceAddress;
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
    a_service_comes_and_goes_with_its_vip
    rules_cleared_and_restored_under_load_keep_the_vip
    a_server_that_comes_back_finds_its_connections
    a_drained_server_leaves_with_its_last_connection
    a_director_that_has_given_up_its_privileges_can_be_changed
}

/// As many as the load has to outlive.
const CHANGES: u32 = 1000;
/// A VIP that only changes have.
const OTHER_VIP: Ipv4Addr = Ipv4Addr::new(192, 168, 195, 151);
/// A host that is not there.
const NOBODY: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 168, 195, 199));

fn tcp(vip: Ipv4Addr, port: u16) -> ServiceAddress {
    ServiceAddress { protocol: Protocol::Tcp, address: (vip, port).into() }
}

fn weighing(weight: u16) -> ServerSettings {
    ServerSettings { weight, ..ServerSettings::default() }
}

fn a_thousand_changes_under_load_break_nothing(backend: &str) {
    let deployment = Deployment::reference();
    let _peers = Peers::start(&deployment);
    let director = Director::start(&deployment, &Config::new(backend));
    let mut conversations: Vec<_> = (0..24).map(|_| Conversation::open(&deployment.client)).collect();
    let client = Blocking::new(&director.socket()).unwrap();
    std::thread::scope(|scope| {
        let load = scope.spawn(|| ab(&deployment, 30_000, "-c 20"));
        let mut random = 0x9e37_79b9_7f4a_7c15_u64;
        for number in 0..CHANGES {
            random = random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
            change(&client, &deployment, (random >> 33) as u32);
            if number % 50 == 0 {
                conversations.iter_mut().for_each(|conversation| conversation.go_on("still there?"));
            }
        }
        load.join().unwrap();
    });
    conversations.iter_mut().for_each(|conversation| conversation.go_on("and in the end?"));
    client.reload().unwrap();
    assert_eq!(director.load("-t 192.168.195.150:7").iter().map(|(active, _)| active).sum::<usize>(), 24);
    everything_adds_up(&deployment, &director);
}

/// One of many things that must not touch what goes on. Asked for twice, some are refused.
fn change(client: &Blocking, deployment: &Deployment, random: u32) {
    let [first, second] = deployment.rips.map(IpAddr::from);
    let (web, echo) = (tcp(VIP, 80), tcp(VIP, 7));
    let (spare, other) = (tcp(VIP, 8000 + (random >> 8) as u16 % 4), tcp(OTHER_VIP, 80));
    let settings = ServiceSettings::default();
    let weight = weighing(1 + (random >> 12) as u16 % 5);
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
            client.change(&[ChangeRequest::AddServer { service: web, server: NOBODY, settings: weighing(9) }])
        }
        9 => client.change(&[ChangeRequest::DeleteServer { service: web, server: NOBODY }]),
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
        assert!(matches!(error, ClientError::Refused { code: Some(_), .. }), "{error}");
    }
}

/// For clients apart, for all, or not at all.
fn persistent(random: u32) -> ServiceSettings {
    let prefix = [32, 24, 0][random as usize % 3];
    let persistence =
        Persistence { timeout: 1 + random % 300, prefix: Some(prefix), ..Persistence::default() };
    ServiceSettings { persistence: (prefix > 0).then_some(persistence), ..ServiceSettings::default() }
}

fn a_service_comes_and_goes_with_its_vip(backend: &str) {
    come_and_go(&Config::new(backend));
}

fn a_director_that_has_given_up_its_privileges_can_be_changed(backend: &str) {
    come_and_go(&Config::new(backend).with("user = \"nobody\""));
}

fn come_and_go(config: &Config) {
    let deployment = Deployment::reference();
    let _peers = Peers::start(&deployment);
    let director = Director::start(&deployment, config);
    let asks = || {
        deployment.client.enter(|| {
            std::net::TcpStream::connect_timeout(&(OTHER_VIP, 80).into(), Duration::from_millis(300))
        })
    };
    deployment.real.iter().for_each(|real| drop(real.run(&format!("ip address add {OTHER_VIP}/32 dev lo"))));
    assert!(asks().is_err());

    director.ask("ipvsadm -A -t 192.168.195.151:80 -s wlc");
    director.ask(&format!("ipvsadm -a -t 192.168.195.151:80 -r {} -g -w 3", deployment.rips[0]));
    wait_until("the new VIP is claimed", PATIENCE, || {
        director.logged("VIP claimed vip=192.168.195.151") == 1
    });
    wait_until("it is served", PATIENCE, || asks().is_ok());
    let saved = director.ask("ipvsadm -S -n");
    assert!(saved.contains("-A -t 192.168.195.151:80 -s wlc\n"), "{saved}");

    director.ask("ipvsadm -D -t 192.168.195.151:80");
    wait_until("its release", PATIENCE, || director.logged("VIP released") == 1);
    deployment.client.run("ip neighbor flush dev eth0");
    assert!(asks().is_err(), "nobody answers ARP for it");
    assert_eq!(connect(&deployment.client, 6).iter().sum::<usize>(), 6, "the others go on");
    assert_eq!(director.workers("dropped").iter().sum::<u64>(), 0, "{}", director.ask("drops"));
}

fn rules_cleared_and_restored_under_load_keep_the_vip(backend: &str) {
    let deployment = Deployment::reference();
    let _peers = Peers::start(&deployment);
    let director = Director::start(&deployment, &Config::new(backend));
    let mut conversation = Conversation::open(&deployment.client);
    std::thread::scope(|scope| {
        let load = scope.spawn(|| ab(&deployment, 5_000, "-c 4"));
        for _ in 0..5 {
            let saved = director.ask("ipvsadm -S -n");
            director.ask("ipvsadm -C");
            assert_eq!(
                deployment.client.run(&format!("arping -r -i eth0 -c 1 -w 2 {VIP}")).lines().count(),
                1
            );
            assert_eq!(director.fed("ipvsadm -R", &saved), (Some(0), String::new()));
            assert!(director.ask("ipvsadm -Ln").contains(&format!("TCP  {VIP}:80")));
            conversation.go_on("not for long");
        }
        load.join().unwrap();
    });
    assert_eq!(
        (director.logged("VIP claimed"), director.logged("VIP released")),
        (1, 0),
        "{}",
        director.log()
    );
    director.ask("ipvsadm -C");
    wait_until("its release", PATIENCE, || director.logged("VIP released") == 1);
}

fn a_server_that_comes_back_finds_its_connections(backend: &str) {
    let deployment = Deployment::reference();
    let _peers = Peers::start(&deployment);
    let director = Director::start(&deployment, &Config::new(backend));
    let mut conversations: Vec<_> = (0..9).map(|_| Conversation::open(&deployment.client)).collect();
    director.ask(&format!("ipvsadm -d -t {VIP}:7 -r {}", deployment.rips[0]));
    let (mut stranded, mut others): (Vec<_>, Vec<_>) =
        conversations.drain(..).partition(|conversation| conversation.server == NAMES[0]);
    stranded.iter_mut().for_each(|conversation| conversation.say("hello?"));
    others.iter_mut().for_each(|conversation| conversation.go_on("and you?"));
    wait_until("its frames are dropped", PATIENCE, || director.dropped("server_removed") > 0);
    assert!((0..6).all(|_| Conversation::open(&deployment.client).server == NAMES[1]));
    director.ask(&format!("ipvsadm -a -t {VIP}:7 -r {} -w 1", deployment.rips[0]));
    // TCP says it again and again.
    stranded.iter_mut().for_each(|conversation| assert_eq!(conversation.hear(), "hello?"));
    let [service, again, other] = director.stats(&format!("-t {VIP}:7"))[..] else { panic!("two servers") };
    assert_eq!(again[0], stranded.len() as u64, "it counts on");
    assert_eq!((service[0], other[0]), (15, 15 - again[0]));
}

fn a_drained_server_leaves_with_its_last_connection(backend: &str) {
    let deployment = Deployment::reference();
    let _peers = Peers::start(&deployment);
    let director = Director::start(&deployment, &Config::new(backend).timeouts(900, 1, 1));
    let mut conversations: Vec<_> = (0..9).map(|_| Conversation::open(&deployment.client)).collect();
    director.ask(&format!("drain tcp:{VIP}:7 {} --no-wait", deployment.rips[1]));
    assert!((0..6).all(|_| Conversation::open(&deployment.client).server == NAMES[0]));
    conversations.iter_mut().for_each(|conversation| conversation.go_on("you too?"));
    assert_eq!(director.load(&format!("-t {VIP}:7")).len(), 2);
    conversations.retain(|conversation| conversation.server == NAMES[0]);
    wait_until("it is removed", PATIENCE, || director.load(&format!("-t {VIP}:7")).len() == 1);
    conversations.iter_mut().for_each(|conversation| conversation.go_on("still there?"));

    // A weight that is given at once ends the drain.
    let (service, server) = (tcp(VIP, 7), IpAddr::from(deployment.rips[0]));
    let client = Blocking::new(&director.socket()).unwrap();
    let drain = ChangeRequest::Drain { service, server, deadline: Some(0) };
    client.change(&[drain, ChangeRequest::EditServer { service, server, settings: weighing(3) }]).unwrap();
    std::thread::sleep(Duration::from_secs(3)); // longer than it takes to look
    assert_eq!(director.load(&format!("-t {VIP}:7")).len(), 1);

    // One that has connections for longer than it may.
    let progress = director.ask(&format!("drain tcp:{VIP}:7 {} --deadline 1", deployment.rips[0]));
    assert!(progress.contains("active") && progress.contains("\nremoved at the deadline; "), "{progress}");
    assert!(progress.ends_with("directrix save -o FILE`\n"), "the file still has it: {progress}");
}

#[test]
fn saved_rules_are_restored_and_a_bad_line_restores_nothing() {
    let deployment = Deployment::reference();
    let director = Director::start(&deployment, &Config::new("xdp"));
    director.ask("ipvsadm --set 100 50 20");
    let (saved, file) = (director.ask("ipvsadm -S -n"), director.ask("save"));
    assert!(saved.starts_with("--set 100 50 20\n-A ") && file.contains("tcp = 100\n"), "{saved}{file}");
    assert_eq!(saved.lines().count(), 10, "{saved}");
    let restore = |text: &str| director.fed("ipvsadm -R", text);
    director.ask("ipvsadm -C");
    director.ask("ipvsadm --set 900 120 300");
    assert_eq!(director.ask("ipvsadm -S -n"), "");
    let bad = saved
        .replace("-u 192.168.195.150:7 -r 192.168.195.171:7", "-u 192.168.195.150:9 -r 192.168.195.171:9");
    let (status, complaint) = restore(&bad);
    assert_eq!(status, Some(255));
    assert!(
        complaint.starts_with("line ") && complaint.contains("Service not defined: -a -u"),
        "{complaint}"
    );
    assert_eq!(director.ask("ipvsadm -S -n"), "", "all or nothing");
    assert_eq!(restore(&saved), (Some(0), String::new()));
    assert_eq!(director.ask("ipvsadm -S -n"), saved);
    director.ask("reload");
    assert!(director.ask("save").contains("tcp = 900\n"), "the file does not say otherwise");
}

/// Lines that go together with a service that is there, one of which cannot be.
#[test]
fn a_line_that_does_not_fit_is_named() {
    let deployment = Deployment::reference();
    let director = Director::start(&deployment, &Config::new("packet"));
    let before = director.ask("save");
    let web = "-A -t 192.168.195.152:80 -s rr";
    let server = "-a -t 192.168.195.152:80 -r 192.168.195.170 -g -w 1";
    let others = "-A -t 192.168.195.150:443 -s wlc\n-E -t 192.168.195.152:80 -s wrr\n";
    for (lines, at, complaint) in [
        (vec![web, "-a -t 192.168.195.152:80 -r 10.9.9.9 -g"], 3, "real server 10.9.9.9 is not on-link"),
        (vec![web, server, "-a -t 192.168.195.152:80 -r 192.168.195.149 -g"], 4, "is this host"),
        (vec![web, "-a -t 192.168.195.152:80 -r 192.168.195.152"], 3, "is the VIP of a service"),
        (vec![web, server, "-A -u 192.168.195.170:53"], 4, "real server 192.168.195.170 is the VIP"),
        (vec!["-A -t 127.0.0.1:80", web], 2, "this is a loopback address"),
        (vec![web, "-A -t [2001:db8::1]:80"], 3, "IPv6 is not there yet"),
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
        let (status, told) = director.fed("ipvsadm -R", &format!("-C\n{}\n{others}", lines.join("\n")));
        assert_eq!(status, Some(255), "{lines:?}: {told}");
        assert!(told.starts_with(&format!("line {at}: ")) && told.contains(complaint), "{lines:?}: {told}");
    }
    let request =
        ChangeRequest::AddService { service: tcp(OTHER_VIP, 81), settings: ServiceSettings::default() };
    let far = ChangeRequest::AddServer {
        service: tcp(OTHER_VIP, 81),
        server: [10, 9, 9, 9].into(),
        settings: weighing(1),
    };
    let list = [ChangeRequest::Clear {}, request, far, ChangeRequest::Zero { service: None }];
    let refused = Blocking::new(&director.socket()).unwrap().change(&list).unwrap_err();
    assert!(matches!(refused, ClientError::Refused { at: Some(2), .. }), "{refused}");
    assert_eq!(director.ask("save"), before, "all or nothing");
}

/// A list as long as a large site's: the line at fault is found at once.
#[test]
fn one_line_of_twelve_thousand_is_named() {
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
    assert_eq!(director.fed("ipvsadm -R", &text), (Some(0), String::new()));
    let good = started.elapsed();
    let (status, told) = director.fed("ipvsadm -R", &format!("-C\n{bad}"));
    assert_eq!(status, Some(255), "{told}");
    assert!(told.starts_with(&format!("line {}: ", 1 + 1234 * 3 + 2)), "{told}");
    let took = started.elapsed() - good;
    assert!(took < good * 3 + Duration::from_secs(1), "{took:?}, and {good:?} for a good list");
}

#[test]
fn a_file_is_read_again_on_sighup_and_a_bad_one_changes_nothing() {
    let deployment = Deployment::reference();
    let config = Config::new("xdp");
    let director = Director::start(&deployment, &config);
    let again = |text: &str| {
        director.write_config(text);
        kill(Pid::from_raw(director.pid().cast_signed()), Signal::SIGHUP).unwrap();
    };
    let text = config.text(&deployment);
    again(&text.replace("weight = 2", "weight = 7"));
    wait_until("the new weight", PATIENCE, || director.ask("ipvsadm -Ln").contains("Route   7"));
    let before = director.ask("save");
    again(&text.replace("weight = 1", "weight = one"));
    wait_until("a complaint", PATIENCE, || director.logged("the configuration stays as it was") == 1);
    again(&text.replace("[director]\n", "[director]\nwait = \"busy\"\n"));
    wait_until("another", PATIENCE, || director.logged("wait: restart required") == 1);
    again(&text.replace("192.168.195.150:80", "192.168.195.255:80"));
    wait_until("a third", PATIENCE, || director.logged("the VIP 192.168.195.255 can be no host's") == 1);
    assert_eq!(director.ask("save"), before);
    director.write_config(&text);
    let plan = director.ask(&format!("plan {}", director.config().display()));
    assert_eq!(plan.lines().filter(|line| line.ends_with("weight 7 -> 2")).count(), 3, "{plan}");
    assert!(director.ask("ipvsadm -Ln").contains("Route   7"), "a plan changes nothing");
    assert_eq!(director.ask("reload").lines().count(), 3);
    assert_eq!(director.ask("reload"), "nothing has changed\n");
}

#[test]
fn a_fifo_or_device_as_file_is_refused_at_once() {
    let deployment = Deployment::reference();
    let director = Director::start(&deployment, &Config::new("xdp"));
    let (path, before) = (director.config(), director.ask("save"));
    let client = Blocking::new(&director.socket()).unwrap();
    let become_fifo = || mkfifo(&path, Mode::S_IRWXU).unwrap();
    let others: [(&dyn Fn(), &str); 3] = [
        (&become_fifo, "this is not a regular file"),
        (&|| symlink("/dev/zero", &path).unwrap(), "this is not a regular file"),
        (&|| File::create(&path).unwrap().set_len(1 << 30).unwrap(), "this has more than 16 MiB"),
    ];
    for (become_it, complaint) in others {
        std::fs::remove_file(&path).unwrap();
        become_it();
        let refused = client.reload().unwrap_err().to_string();
        assert!(refused.contains(complaint), "{refused}");
        assert_eq!(director.ask("save"), before);
    }
}

#[test]
fn a_plan_says_what_a_reload_would_refuse() {
    let deployment = Deployment::reference();
    let config = Config::new("xdp");
    let director = Director::start(&deployment, &config);
    let text = config.text(&deployment);
    let [first, second] = deployment.rips.map(|rip| rip.to_string());
    let off_link = text.replace(&first, "203.0.113.9");
    let (status, said) = director.fed("plan -", &off_link);
    assert_eq!(status, Some(1));
    let line = off_link.lines().position(|line| line.contains("203.0.113.9")).unwrap() + 1;
    let wanted = format!(
        "directrix: a reload would refuse the whole file: stdin:{line}: real server 203.0.113.9 is not on-link"
    );
    assert!(said.starts_with(&wanted), "{said}");
    director.write_config(&off_link);
    let (status, refused) = director.fed("reload", "");
    assert!(status == Some(1) && refused.contains("203.0.113.9 is not on-link"), "{refused}");

    let (status, said) =
        director.fed("plan -", &text.replace("[director]\n", "[director]\nwait = \"busy\"\n"));
    assert_eq!(
        (status, said.as_str()),
        (Some(1), "directrix: a reload would refuse the whole file: wait: restart required\n")
    );
    assert_eq!(director.fed("plan -", &text.replace(&second, "192.168.195.9")), (Some(0), String::new()));
}

/// Two files of 40,000 real servers each fit the ids one by one, but not one after the other: those of removed servers
/// are not free yet.
#[test]
fn plan_and_reload_refuse_a_file_without_free_ids() {
    let deployment = Deployment::reference();
    let config = Config::new("packet");
    let director = Director::start(&deployment, &config);
    let text = config.text(&deployment);
    let with_servers = |network: u8| {
        let servers = (0..40_000_u16).map(|host| {
            let [high, low] = host.to_be_bytes();
            format!("[[service.server]]\naddress = \"10.{network}.{high}.{low}\"\nmac = \"02:00:00:00:{high:02x}:{low:02x}\"\n")
        });
        format!("{text}\n{}", servers.collect::<String>())
    };
    director.write_config(&with_servers(1));
    assert_eq!(director.fed("reload", "").0, Some(0));
    let others = with_servers(2);
    let (status, said) = director.fed("plan -", &others);
    let refusal = "all ids for services and servers are taken";
    assert!(status == Some(1) && said.contains(refusal), "{status:?}: {said}");
    director.write_config(&others);
    let (status, said) = director.fed("reload", "");
    assert!(status == Some(1) && said.contains(refusal), "{status:?}: {said}");
}
