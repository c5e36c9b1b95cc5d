//! A sorry server: the second real server of the deployment stands by for the first one.

use crate::deployment::{Deployment, VIP};
use crate::director::{Config, Director, Home};
use crate::on_both_backends;
use crate::peers::{ECHO, EchoConnection, NAMES, PATIENCE, Peers};
use crate::support::netns::wait_until;
use std::collections::BTreeSet;
use std::net::SocketAddr;

on_both_backends! {
    a_sorry_server_serves_while_the_others_are_down
}

/// The check asks another port than clients, whose connections outlive the failure.
const CHECK: &str = "[[service.check]]\ntype = \"http\"\ntarget = \"rip\"\nport = 80\npath = \"/\"\nbody = \"real\"\n\
                     interval = 0.2\ntimeout = 0.2\nfall = 2\nrise = 2\ndown_interval = 0.2\n";

/// The configuration, with these lines at the end of the service, which are of the sorry server.
fn config(backend: &str, deployment: &Deployment, last: &str) -> String {
    let config = Config { weights: [1, 1], ..Config::new(backend) };
    let address: SocketAddr = (VIP, ECHO).into();
    let service = config.service(deployment, "tcp", address);
    let (head, sorry) = service.rsplit_once("[[service.server]]\n").unwrap();
    let head = head.replacen("[[service.server]]\n", &format!("{CHECK}[[service.server]]\n"), 1);
    format!(
        "[director]\ninterface = \"eth0\"\n{}{head}[service.sorry_server]\n{sorry}{last}",
        config.director
    )
}

struct Site {
    deployment: Deployment,
    director: Director,
}

impl Site {
    /// The weights that `ipvsadm -Ln` lists; none for a server that it lacks.
    fn weights(&self) -> [Option<String>; 2] {
        let listing = self.director.cli("ipvsadm -Ln");
        self.deployment.rips.map(|rip| {
            let row = listing.lines().find(|line| line.contains(&format!("-> {rip}:")))?;
            row.split_whitespace().nth(3).map(str::to_owned)
        })
    }

    fn wait_for_weights(&self, weights: [Option<&str>; 2]) {
        wait_until(&format!("weights {weights:?}"), PATIENCE, || {
            self.weights().each_ref().map(Option::as_deref) == weights
        });
    }

    /// The servers that new connections get.
    fn servers_of_new(&self) -> BTreeSet<String> {
        (0..8).map(|_| EchoConnection::open(&self.deployment.client).server.clone()).collect()
    }

    fn only(&self, server: usize) {
        let servers = || self.servers_of_new() == BTreeSet::from([NAMES[server].to_owned()]);
        // A worker adopts a snapshot between two rounds.
        wait_until(&format!("connections to {} alone", NAMES[server]), PATIENCE, servers);
    }

    fn sorry_in_use(&self) -> u64 {
        let labels = format!("{{protocol=\"tcp\",vip=\"{VIP}\",port=\"{ECHO}\"}}");
        self.director.metric(&format!("directrix_service_sorry_server_in_use{labels}"))
    }
}

fn a_sorry_server_serves_while_the_others_are_down(backend: &str) {
    let deployment = Deployment::reference();
    let mut peers = Peers::start(&deployment);
    let text = config(backend, &deployment, "");
    let director = Director::start_in(Home::new(), &deployment.director, &text);
    let site = Site { deployment, director };
    let rips = site.deployment.rips;
    site.wait_for_weights([Some("1"), None]);
    wait_until("the first success", PATIENCE, || site.director.cli("health").contains(" up "));
    site.only(0);
    assert_eq!(site.sorry_in_use(), 0);
    let (status, text) = site.director.cli_status(&format!("why-down {}", rips[1]));
    assert!(status == Some(3) && text.contains("it is the sorry server"), "{text}");
    let mut of_first = EchoConnection::open(&site.deployment.client);

    peers.nginx[0].stop();
    site.wait_for_weights([Some("0"), Some("1")]);
    site.only(1);
    of_first.exchange("still there");
    assert_eq!(site.sorry_in_use(), 1);
    let listing = site.director.cli("health");
    let state = format!("the quorum of 1 is lost with weight 0, the sorry server {} gets all new", rips[1]);
    assert!(listing.contains(&state), "{listing}");
    assert!(!site.director.cli("ipvsadm -Sn").contains(&rips[1].to_string()), "it is no regular server");
    assert_eq!(site.director.cli_status(&format!("why-down {}", rips[1])).0, Some(0));

    // It stays in use over a reload, and what is saved has it.
    site.director.write_config(&config(backend, &site.deployment, "inhibit = true\n"));
    site.director.change("reload");
    site.only(1);
    site.director.cli("save");
    let saved = std::fs::read_to_string(site.director.config()).unwrap();
    let expected = format!("[service.sorry_server]\naddress = \"{}\"\nweight = 1\ninhibit = true\n", rips[1]);
    assert!(saved.contains(&expected), "{saved}");
    let mut of_sorry = EchoConnection::open(&site.deployment.client);

    peers.nginx[0].restart(&site.deployment.real[0]);
    site.wait_for_weights([Some("1"), Some("0")]);
    site.only(0);
    of_first.exchange("still there");
    of_sorry.exchange("still there");
    let logged =
        ["the sorry server gets all new connections", "the sorry server gets no more new connections"];
    assert_eq!(logged.map(|message| site.director.logged(message)), [1, 1]);
}
