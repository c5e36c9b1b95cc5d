//! Connections of servers that have been removed or quiesced: listed, counted, and ended as IPVS's
//! switches say.

use crate::deployment::{Deployment, VIP};
use crate::director::{Config, Director};
use crate::on_both_backends;
use crate::peers::{Conversation, Flow, NAMES, PATIENCE, Peers};
use crate::support::netns::wait_until;

on_both_backends! {
    connections_of_a_removed_server_are_listed_with_its_address
    a_flow_leaves_a_removed_server_by_expire_nodest_conn
    clients_leave_a_quiesced_server_by_expire_quiescent_template
}

fn connections_of_a_removed_server_are_listed_with_its_address(backend: &str) {
    let deployment = Deployment::reference();
    let _peers = Peers::start(&deployment);
    let director = Director::start(&deployment, &Config::new(backend));
    let _conversations: Vec<_> = (0..9).map(|_| Conversation::open(&deployment.client)).collect();
    let [gone, _] = deployment.rips;
    let listed = || {
        let rows = director.connections("ESTABLISHED");
        (rows.len(), rows.iter().filter(|row| row.contains(&format!("{gone}:7"))).count())
    };
    let before = listed();
    assert_eq!((before.0, before.1 > 0), (9, true));
    director.ask(&format!("ipvsadm -d -t {VIP}:7 -r {gone}"));
    assert_eq!(listed(), before);
    director.ask(&format!("ipvsadm -D -t {VIP}:7"));
    assert_eq!(listed(), before, "nor does it need its service");
}

fn a_flow_leaves_a_removed_server_by_expire_nodest_conn(backend: &str) {
    let deployment = Deployment::reference();
    let _peers = Peers::start(&deployment);
    let director = Director::start(&deployment, &Config::new(backend));
    let flows: Vec<_> = (0..6).map(|_| Flow::new(&deployment.client)).collect();
    let stuck = flows.iter().find(|flow| flow.ask("first") == NAMES[0]).expect("one of them");
    director.ask(&format!("ipvsadm -d -u {VIP}:7 -r {}", deployment.rips[0]));
    stuck.send("lost");
    wait_until("it is dropped", PATIENCE, || director.dropped("server_removed") > 0);

    let config = Config::new(backend).with("expire_nodest_conn = true");
    director.write_config(&config.text(&deployment));
    director.ask("reload");
    director.ask(&format!("ipvsadm -d -u {VIP}:7 -r {}", deployment.rips[0]));
    assert_eq!(stuck.ask("second"), NAMES[1], "the first datagram from then on arrives elsewhere");
    assert_eq!(director.dropped("server_removed"), 1);
}

fn clients_leave_a_quiesced_server_by_expire_quiescent_template(backend: &str) {
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
    let first = Conversation::open(&deployment.client);
    let rip = deployment.rips[NAMES.iter().position(|name| *name == first.server).unwrap()];
    let quiesce = || director.ask(&format!("ipvsadm -e -t {VIP}:7 -r {rip} -w 0"));
    quiesce();
    assert_eq!(Conversation::open(&deployment.client).server, first.server, "as IPVS has it");
    director.write_config(&with("expire_quiescent_template = true"));
    director.ask("reload");
    quiesce();
    assert_ne!(Conversation::open(&deployment.client).server, first.server);
}
