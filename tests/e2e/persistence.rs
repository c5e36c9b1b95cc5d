//! Persistent services: a client stays with its server, whichever worker its connections come to.

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
