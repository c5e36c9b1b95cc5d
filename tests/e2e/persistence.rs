//! Persistent services: a client keeps its server on all workers.

use crate::deployment::{Deployment, Plan, VIP};
use crate::director::{Config, Director};
use crate::http::assert_counts_match_but_drops;
use crate::on_both_backends;
use crate::peers::{EchoConnection, NAMES, Peers};
use std::net::Ipv4Addr;

on_both_backends! {
    clients_keep_their_servers_on_all_workers
    a_drain_moves_persistent_clients
    a_netmask_binds_a_network
    a_client_of_a_wildcard_service_reaches_one_server
    wildcard_services_are_added_and_removed
}

/// Further client addresses, by their last byte.
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

/// The server of a client, which opens twenty connections at once; panics unless all have the same server.
fn server_of(deployment: &Deployment, client: Ipv4Addr) -> String {
    let options = "-sS --fail --max-time 20 -Z --parallel-immediate --parallel-max 20 -H 'Connection: close'";
    let text = deployment.client.run(&format!("curl {options} --interface {client} 'http://{VIP}/[1-20]'"));
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 20, "{text}");
    assert!(lines.iter().all(|line| *line == lines[0]), "{client}: {text}");
    lines[0].to_owned()
}

fn clients_keep_their_servers_on_all_workers(backend: &str) {
    let deployment = with_clients(Plan { queues: 2, ..Plan::REFERENCE });
    let _peers = Peers::start(&deployment);
    let director = Director::start(&deployment, &Config::new(backend).with("workers = 2"));
    director.change(&format!("ipvsadm -E -t {VIP}:80 -s wrr -p 300"));
    let servers: Vec<_> = CLIENTS.map(|client| server_of(&deployment, address(client))).collect();
    let of = |name: &str| servers.iter().filter(|server| *server == name).count();
    // For a client's first connections both workers may pick a server; one pick is used, and the shares deviate.
    let [first, second] = NAMES.map(of);
    assert!((2..=6).contains(&first) && first + second == 12, "{first} and {second} for weights 1 to 2");
    let again: Vec<_> = CLIENTS.map(|client| server_of(&deployment, address(client))).collect();
    assert_eq!(again, servers);

    let listing = director.cli(&format!("ipvsadm -Ln -t {VIP}:80 --persistent-conn"));
    let bound: Vec<u32> =
        listing.lines().filter_map(|line| line.split_whitespace().nth(3)?.parse().ok()).collect();
    assert_eq!(bound, [first as u32, second as u32], "{listing}");
    assert!(listing.contains(&format!("TCP  {VIP}:80 wrr persistent 300\n")), "{listing}");
    let templates = director.connections("ASSURED");
    assert_eq!(templates.len(), CLIENTS.len(), "{}", director.cli("ipvsadm -Lnc"));
    assert!(templates[0].contains(":0  192.168.195.150:80 "), "{templates:?}");
    assert_counts_match_but_drops(&deployment, &director);
}

fn a_drain_moves_persistent_clients(backend: &str) {
    let deployment = with_clients(Plan::REFERENCE);
    let _peers = Peers::start(&deployment);
    let director = Director::start(&deployment, &Config::new(backend).with("workers = 1"));
    let [first, _] = deployment.rips;
    director.change(&format!("ipvsadm -E -t {VIP}:80 -s rr -p"));
    let clients = [201, 202, 203, 204].map(address);
    let servers = clients.map(|client| server_of(&deployment, client));
    assert_eq!(servers.each_ref().map(String::as_str), ["real2", "real1", "real2", "real1"]);
    director.change(&format!("ipvsadm -e -t {VIP}:80 -r {first} -w 0"));
    assert_eq!(
        clients.map(|client| server_of(&deployment, client)),
        servers,
        "a quiesced server keeps its clients"
    );
    assert_eq!(server_of(&deployment, address(205)), "real2", "and gets no new ones");
    director.change(&format!("drain tcp:{VIP}:80 {first} --no-wait"));
    assert_eq!(clients.map(|client| server_of(&deployment, client)), ["real2"; 4]);
}

fn a_netmask_binds_a_network(backend: &str) {
    let deployment = with_clients(Plan::REFERENCE);
    let _peers = Peers::start(&deployment);
    let director = Director::start(&deployment, &Config::new(backend).with("workers = 1"));
    director.change(&format!("ipvsadm -E -t {VIP}:80 -s rr -p 300 -M 255.255.255.248"));
    let servers = [201, 207, 208, 212, 202].map(|host| server_of(&deployment, address(host)));
    assert_eq!(servers.each_ref().map(String::as_str), ["real2", "real2", "real1", "real1", "real2"]);
    let saved = director.cli("ipvsadm -S -n");
    assert!(saved.contains(&format!("-A -t {VIP}:80 -s rr -p 300 -M 255.255.255.248\n")), "{saved}");
    director.change(&format!("ipvsadm -E -t {VIP}:7 -s rr -p 300"));
    let same = EchoConnection::open(&deployment.client).server;
    assert!((0..5).all(|_| EchoConnection::open(&deployment.client).server == same));
    director.change(&format!("ipvsadm -E -t {VIP}:7 -s rr"));
    let others: Vec<_> = (0..2).map(|_| EchoConnection::open(&deployment.client).server).collect();
    assert_ne!(others[0], others[1], "no longer persistent");
}

/// Adds a service with both servers. `service` is its address with options of ipvsadm.
fn add(deployment: &Deployment, director: &Director, service: &str) {
    director.change(&format!("ipvsadm -A -t {service}"));
    let target = service.split_whitespace().next().unwrap();
    for rip in deployment.rips {
        director.change(&format!("ipvsadm -a -t {target} -r {rip}"));
    }
}

fn remove(director: &Director, port: u16) {
    director.change(&format!("ipvsadm -D -t {VIP}:{port}"));
}

fn a_client_of_a_wildcard_service_reaches_one_server(backend: &str) {
    let deployment = with_clients(Plan { queues: 2, ..Plan::REFERENCE });
    let _peers = Peers::start(&deployment);
    let director = Director::start(&deployment, &Config::new(backend).with("workers = 2"));
    [80, 7].into_iter().for_each(|port| remove(&director, port));
    add(&deployment, &director, &format!("{VIP} -s rr -p"));
    let servers: Vec<_> = CLIENTS.map(|client| server_of(&deployment, address(client))).collect();
    assert!(NAMES.iter().all(|name| servers.iter().any(|server| server == name)), "{servers:?}");
    let from = |client| EchoConnection::open_from(&deployment.client, address(client));
    let mut connections: Vec<_> = CLIENTS.map(from).collect();
    assert!(connections.iter().map(|with| &with.server).eq(&servers), "another server on another port");
    connections.iter_mut().for_each(|connection| connection.exchange("data"));

    let [first, second] = deployment.rips;
    let listing = director.cli(&format!("ipvsadm -Ln -t {VIP}"));
    assert!(listing.contains(&format!("\nTCP  {VIP}:0 rr persistent 360\n  -> {first}:0 ")), "{listing}");
    assert!(listing.contains(&format!("\n  -> {second}:0 ")), "{listing}");
    let rip = if servers[0] == NAMES[0] { first } else { second };
    let rows = director.connections(&format!(" {}:", address(CLIENTS.start)));
    let of = |end: &str| rows.iter().filter(|row| row.ends_with(end)).count();
    let found = [80, 7, 0].map(|port| of(&format!(" {:<18} {rip}:{port}", format!("{VIP}:{port}"))));
    assert_eq!(found, [20, 1, 1], "{rows:?}");
    let rules = format!("-A -t {VIP}:0 -s rr -p 360\n-a -t {VIP}:0 -r {first}:0 -g -w 1\n");
    assert!(director.cli("ipvsadm -S -n").contains(&rules));
    let saved = director.cli("save");
    assert!(
        saved.contains(&format!("\naddress = \"{VIP}:0\"\nscheduler = \"rr\"\npersistence = ")),
        "{saved}"
    );
    let metrics = format!("curl -sS --unix-socket {} http://localhost/metrics", director.socket().display());
    let bound =
        format!("directrix_server_persistent_connections{{protocol=\"tcp\",vip=\"{VIP}\",port=\"0\",");
    assert!(deployment.director.run(&metrics).contains(&bound));
    let bare = director.cli_with_input("ipvsadm -R", &format!("-A -t {VIP}:0\n"));
    assert!(bare.1.contains("Zero port specified for non-persistent service"), "{bare:?}");
    assert_counts_match_but_drops(&deployment, &director);
}

/// Active connections of the fixed-port service on port 7.
fn active(director: &Director) -> usize {
    director.load(&format!("-t {VIP}:7")).iter().map(|(active, _)| active).sum()
}

fn wildcard_services_are_added_and_removed(backend: &str) {
    let deployment = with_clients(Plan::REFERENCE);
    let _peers = Peers::start(&deployment);
    let director = Director::start(&deployment, &Config::new(backend).with("workers = 1")); // picks in order
    let mut before = EchoConnection::open(&deployment.client);
    add(&deployment, &director, &format!("{VIP}:0 -s rr -p 300"));
    before.exchange("data");
    remove(&director, 80);
    assert_eq!([201, 202].map(|host| server_of(&deployment, address(host))), ["real2", "real1"]);
    before.exchange("data");
    assert_eq!(active(&director), 1);
    let refused = director.cli_with_input("ipvsadm -R", &format!("-E -t {VIP}:0 -s rr\n"));
    assert_eq!(refused.0, Some(2), "{refused:?}");
    remove(&director, 0);
    before.exchange("data");

    remove(&director, 7);
    add(&deployment, &director, &format!("{VIP}:0 -s rr -p 300"));
    let mut early = EchoConnection::open_from(&deployment.client, address(203));
    add(&deployment, &director, &format!("{VIP}:7 -s rr"));
    early.exchange("data");
    let mut late: Vec<_> =
        (0..2).map(|_| EchoConnection::open_from(&deployment.client, address(203))).collect();
    assert_ne!(late[0].server, late[1].server, "the new service is not persistent");
    early.exchange("data");
    before.exchange("data");
    assert_eq!(active(&director), 3, "without the connection of the wildcard-port service");
    remove(&director, 0);
    late.iter_mut().for_each(|connection| connection.exchange("data"));
    assert_eq!(active(&director), 3);
}
