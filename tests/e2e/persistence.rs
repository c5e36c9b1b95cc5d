//! Persistent services: a client stays with its server, on any worker.

use crate::deployment::{Deployment, Plan, VIP};
use crate::director::{Config, Director};
use crate::http::everything_but_dropped_adds_up;
use crate::on_both_backends;
use crate::peers::{Conversation, NAMES, Peers};
use std::net::Ipv4Addr;

on_both_backends! {
    clients_stay_with_their_servers_on_every_worker
    a_server_that_drains_gives_its_clients_away
    a_netmask_binds_a_whole_network
    a_client_of_a_wildcard_service_reaches_one_server
    wildcard_services_come_and_go_beside_others
}

/// Clients besides the one that the deployment has.
const CLIENTS: std::ops::Range<u8> = 201..213;

fn address(host: u8) -> Ipv4Addr {
    Ipv4Addr::new(192, 168, 195, host)
}

fn with_clients(plan: Plan) -> Deployment {
    let deployment = Deployment::new(plan);
    for host in CLIENTS {
        deployment.client.run(&format!("ip address add {}/24 dev eth0", address(host)));
    }
    deployment
}

/// The one server that answers twenty connections of a client, which come all at once.
fn server_of(deployment: &Deployment, client: Ipv4Addr) -> String {
    let options = "-sS --fail --max-time 20 -Z --parallel-immediate --parallel-max 20 -H 'Connection: close'";
    let text = deployment.client.run(&format!("curl {options} --interface {client} 'http://{VIP}/[1-20]'"));
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 20, "{text}");
    assert!(lines.iter().all(|line| *line == lines[0]), "{client}: {text}");
    lines[0].to_owned()
}

fn clients_stay_with_their_servers_on_every_worker(backend: &str) {
    let deployment = with_clients(Plan { queues: 2, ..Plan::REFERENCE });
    let _peers = Peers::start(&deployment);
    let director = Director::start(&deployment, &Config::new(backend).with("workers = 2"));
    director.ask(&format!("ipvsadm -E -t {VIP}:80 -s wrr -p 300"));
    let servers: Vec<_> = CLIENTS.map(|client| server_of(&deployment, address(client))).collect();
    let of = |name: &str| servers.iter().filter(|server| *server == name).count();
    // Workers that meet at a client's first connections pick for themselves, and one pick counts.
    let [first, second] = NAMES.map(of);
    assert!((2..=6).contains(&first) && first + second == 12, "{first} and {second} for weights 1 to 2");
    let again: Vec<_> = CLIENTS.map(|client| server_of(&deployment, address(client))).collect();
    assert_eq!(again, servers);

    let listing = director.ask(&format!("ipvsadm -Ln -t {VIP}:80 --persistent-conn"));
    let bound: Vec<u32> =
        listing.lines().filter_map(|line| line.split_whitespace().nth(3)?.parse().ok()).collect();
    assert_eq!(bound, [first as u32, second as u32], "{listing}");
    assert!(listing.contains(&format!("TCP  {VIP}:80 wrr persistent 300\n")), "{listing}");
    let templates = director.connections("ASSURED");
    assert_eq!(templates.len(), CLIENTS.len(), "{}", director.ask("ipvsadm -Lnc"));
    assert!(templates[0].contains(":0  192.168.195.150:80 "), "{templates:?}");
    everything_but_dropped_adds_up(&deployment, &director);
}

fn a_server_that_drains_gives_its_clients_away(backend: &str) {
    let deployment = with_clients(Plan::REFERENCE);
    let _peers = Peers::start(&deployment);
    let director = Director::start(&deployment, &Config::new(backend).with("workers = 1"));
    let [first, _] = deployment.rips;
    director.ask(&format!("ipvsadm -E -t {VIP}:80 -s rr -p"));
    let clients = [201, 202, 203, 204].map(address);
    let servers = clients.map(|client| server_of(&deployment, client));
    assert_eq!(servers.each_ref().map(String::as_str), ["real2", "real1", "real2", "real1"]);
    director.ask(&format!("ipvsadm -e -t {VIP}:80 -r {first} -w 0"));
    assert_eq!(clients.map(|client| server_of(&deployment, client)), servers, "quiesced, it keeps them");
    assert_eq!(server_of(&deployment, address(205)), "real2", "and gets no others");
    director.ask(&format!("drain tcp:{VIP}:80 {first} --no-wait"));
    assert_eq!(clients.map(|client| server_of(&deployment, client)), ["real2"; 4]);
}

fn a_netmask_binds_a_whole_network(backend: &str) {
    let deployment = with_clients(Plan::REFERENCE);
    let _peers = Peers::start(&deployment);
    let director = Director::start(&deployment, &Config::new(backend).with("workers = 1"));
    director.ask(&format!("ipvsadm -E -t {VIP}:80 -s rr -p 300 -M 255.255.255.248"));
    let servers = [201, 207, 208, 212, 202].map(|host| server_of(&deployment, address(host)));
    assert_eq!(servers.each_ref().map(String::as_str), ["real2", "real2", "real1", "real1", "real2"]);
    let saved = director.ask("ipvsadm -S -n");
    assert!(saved.contains(&format!("-A -t {VIP}:80 -s rr -p 300 -M 255.255.255.248\n")), "{saved}");
    director.ask(&format!("ipvsadm -E -t {VIP}:7 -s rr -p 300"));
    let same = Conversation::open(&deployment.client).server;
    assert!((0..5).all(|_| Conversation::open(&deployment.client).server == same));
    director.ask(&format!("ipvsadm -E -t {VIP}:7 -s rr"));
    let others: Vec<_> = (0..2).map(|_| Conversation::open(&deployment.client).server).collect();
    assert_ne!(others[0], others[1], "no longer persistent");
}

/// Adds a wildcard-port service with both servers, or another one.
fn add(deployment: &Deployment, director: &Director, service: &str) {
    director.ask(&format!("ipvsadm -A -t {service}"));
    let target = service.split_whitespace().next().unwrap();
    for rip in deployment.rips {
        director.ask(&format!("ipvsadm -a -t {target} -r {rip}"));
    }
}

fn remove(director: &Director, port: u16) {
    director.ask(&format!("ipvsadm -D -t {VIP}:{port}"));
}

fn a_client_of_a_wildcard_service_reaches_one_server(backend: &str) {
    let deployment = with_clients(Plan { queues: 2, ..Plan::REFERENCE });
    let _peers = Peers::start(&deployment);
    let director = Director::start(&deployment, &Config::new(backend).with("workers = 2"));
    [80, 7].into_iter().for_each(|port| remove(&director, port));
    add(&deployment, &director, &format!("{VIP} -s rr -p"));
    let servers: Vec<_> = CLIENTS.map(|client| server_of(&deployment, address(client))).collect();
    assert!(NAMES.iter().all(|name| servers.iter().any(|server| server == name)), "{servers:?}");
    let from = |client| Conversation::open_from(&deployment.client, address(client));
    let mut conversations: Vec<_> = CLIENTS.map(from).collect();
    assert!(conversations.iter().map(|with| &with.server).eq(&servers), "another server on another port");
    conversations.iter_mut().for_each(|conversation| conversation.go_on("still there?"));

    let [first, second] = deployment.rips;
    let listing = director.ask(&format!("ipvsadm -Ln -t {VIP}"));
    assert!(listing.contains(&format!("\nTCP  {VIP}:0 rr persistent 360\n  -> {first}:0 ")), "{listing}");
    assert!(listing.contains(&format!("\n  -> {second}:0 ")), "{listing}");
    let rip = if servers[0] == NAMES[0] { first } else { second };
    let rows = director.connections(&format!(" {}:", address(CLIENTS.start)));
    let of = |end: &str| rows.iter().filter(|row| row.ends_with(end)).count();
    let found = [80, 7, 0].map(|port| of(&format!(" {:<18} {rip}:{port}", format!("{VIP}:{port}"))));
    assert_eq!(found, [20, 1, 1], "{rows:?}");
    let rules = format!("-A -t {VIP}:0 -s rr -p 360\n-a -t {VIP}:0 -r {first}:0 -g -w 1\n");
    assert!(director.ask("ipvsadm -S -n").contains(&rules));
    let saved = director.ask("save");
    assert!(
        saved.contains(&format!("\naddress = \"{VIP}:0\"\nscheduler = \"rr\"\npersistence = ")),
        "{saved}"
    );
    let metrics = format!("curl -sS --unix-socket {} http://localhost/metrics", director.socket().display());
    let bound =
        format!("directrix_server_persistent_connections{{protocol=\"tcp\",vip=\"{VIP}\",port=\"0\",");
    assert!(deployment.director.run(&metrics).contains(&bound));
    let bare = director.fed("ipvsadm -R", &format!("-A -t {VIP}:0\n"));
    assert!(bare.1.contains("Zero port specified for non-persistent service"), "{bare:?}");
    everything_but_dropped_adds_up(&deployment, &director);
}

/// Connections of the echo service, when it has a service of its own.
fn active(director: &Director) -> usize {
    director.load(&format!("-t {VIP}:7")).iter().map(|(active, _)| active).sum()
}

fn wildcard_services_come_and_go_beside_others(backend: &str) {
    let deployment = with_clients(Plan::REFERENCE);
    let _peers = Peers::start(&deployment);
    let director = Director::start(&deployment, &Config::new(backend));
    let mut before = Conversation::open(&deployment.client);
    add(&deployment, &director, &format!("{VIP}:0 -s rr -p 300"));
    before.go_on("is this yours?");
    remove(&director, 80);
    assert_eq!([201, 202].map(|host| server_of(&deployment, address(host))), ["real2", "real1"]);
    before.go_on("and still?");
    assert_eq!(active(&director), 1);
    let refused = director.fed("ipvsadm -R", &format!("-E -t {VIP}:0 -s rr\n"));
    assert_eq!(refused.0, Some(2), "{refused:?}");
    remove(&director, 0);
    before.go_on("and without it?");

    remove(&director, 7);
    add(&deployment, &director, &format!("{VIP}:0 -s rr -p 300"));
    let mut early = Conversation::open_from(&deployment.client, address(203));
    add(&deployment, &director, &format!("{VIP}:7 -s rr"));
    early.go_on("although the port has a service of its own?");
    let mut late: Vec<_> =
        (0..2).map(|_| Conversation::open_from(&deployment.client, address(203))).collect();
    assert_ne!(late[0].server, late[1].server, "the new service is not persistent");
    early.go_on("and still?");
    before.go_on("your service is there again");
    assert_eq!(active(&director), 3, "without the early one");
    remove(&director, 0);
    late.iter_mut().for_each(|conversation| conversation.go_on("without the other?"));
    assert_eq!(active(&director), 3);
}
