//! Connections of removed and quiesced servers: listings, counts, and the switches of IPVS that end them.

use crate::deployment::{Deployment, VIP};
use crate::director::{Config, Director};
use crate::on_both_backends;
use crate::peers::{EchoConnection, Flow, NAMES, PATIENCE, Peers};
use crate::support::netns::wait_until;

on_both_backends! {
    connections_of_a_removed_server_are_listed
    expire_nodest_conn_moves_a_flow_to_another_server
    expire_quiescent_template_moves_persistent_clients
}

fn connections_of_a_removed_server_are_listed(backend: &str) {
    let deployment = Deployment::reference();
    let _peers = Peers::start(&deployment);
    let director = Director::start(&deployment, &Config::new(backend));
    let _conversations: Vec<_> = (0..9).map(|_| EchoConnection::open(&deployment.client)).collect();
    let [removed, _] = deployment.rips;
    let listed = || {
        let rows = director.connections("ESTABLISHED");
        (rows.len(), rows.iter().filter(|row| row.contains(&format!("{removed}:7"))).count())
    };
    let before = listed();
    assert_eq!((before.0, before.1 > 0), (9, true));
    director.change(&format!("ipvsadm -d -t {VIP}:7 -r {removed}"));
    assert_eq!(listed(), before);
    director.change(&format!("ipvsadm -D -t {VIP}:7"));
    assert_eq!(listed(), before, "also without the service");
}

fn expire_nodest_conn_moves_a_flow_to_another_server(backend: &str) {
    let deployment = Deployment::reference();
    let _peers = Peers::start(&deployment);
    let director = Director::start(&deployment, &Config::new(backend));
    let flows: Vec<_> = (0..6).map(|_| Flow::new(&deployment.client)).collect();
    let flow_of_removed =
        flows.iter().find(|flow| flow.exchange("first") == NAMES[0]).expect("one is on real1");
    director.change(&format!("ipvsadm -d -u {VIP}:7 -r {}", deployment.rips[0]));
    flow_of_removed.send("lost");
    wait_until("the drop", PATIENCE, || director.dropped("server_removed") > 0);

    let config = Config::new(backend).with("expire_nodest_conn = true");
    director.write_config(&config.text(&deployment));
    director.change("reload");
    director.change(&format!("ipvsadm -d -u {VIP}:7 -r {}", deployment.rips[0]));
    assert_eq!(flow_of_removed.exchange("second"), NAMES[1], "the next datagram is scheduled again");
    assert_eq!(director.dropped("server_removed"), 1);
}

fn expire_quiescent_template_moves_persistent_clients(backend: &str) {
    let deployment = Deployment::reference();
    let _peers = Peers::start(&deployment);
    let with = |lines: &str| {
        let text = Config::new(backend).with(lines).text(&deployment);
        text.replace(
            "address = \"192.168.195.150:7\"\n",
            "address = \"192.168.195.150:7\"\npersistence = { timeout = 300 }\n",
        )
    };
    let director = Director::start_in(crate::director::Home::new(), &deployment.director, &with(""));
    let first = EchoConnection::open(&deployment.client);
    let rip = deployment.rips[NAMES.iter().position(|name| *name == first.server).unwrap()];
    let quiesce = || director.change(&format!("ipvsadm -e -t {VIP}:7 -r {rip} -w 0"));
    quiesce();
    assert_eq!(EchoConnection::open(&deployment.client).server, first.server, "as in IPVS by default");
    director.write_config(&with("expire_quiescent_template = true"));
    director.change("reload");
    quiesce();
    assert_ne!(EchoConnection::open(&deployment.client).server, first.server);
}
