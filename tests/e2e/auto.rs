//! The backend that `auto` chooses, and its reason in the log.

use crate::bulk::upload_and_download;
use crate::deployment::{Deployment, Plan};
use crate::director::{Config, Director};
use crate::peers::{Peers, connect};

#[test]
fn auto_chooses_af_xdp_and_logs_its_reason() {
    let deployment = Deployment::reference();
    let _peers = Peers::start(&deployment);
    let director = Director::start(&deployment, &Config::new("auto"));
    assert_eq!(director.logged("backend xdp: AF_XDP works"), 1, "{}", director.log());
    assert!(director.cli("workers").contains("native, copy"));
    connect(&deployment.client, 5);
}

#[test]
fn auto_chooses_af_packet_for_unfinished_checksums() {
    let deployment = Deployment::new(Plan { client_offloads: true, ..Plan::REFERENCE });
    let _peers = Peers::start(&deployment);
    let director = Director::start(&deployment, &Config::new("auto"));
    connect(&deployment.client, 5);
    assert_eq!(director.logged("backend packet"), 1, "{}", director.log());
    assert_eq!(director.logged("ethtool -K director tx off"), 1, "{}", director.log());
}

#[test]
fn auto_avoids_generic_xdp() {
    let deployment = Deployment::reference();
    deployment.bridge_the_director();
    let peers = Peers::start(&deployment);
    let director = Director::start(&deployment, &Config::new("auto"));
    assert_eq!(director.logged("backend packet"), 1, "{}", director.log());
    assert_eq!(director.logged("the driver of eth0 has no XDP"), 1, "{}", director.log());
    upload_and_download(&deployment, &peers, 5 << 20);
    assert_eq!(director.dropped("truncated") + director.dropped("no_buffer"), 0);
}

#[test]
fn generic_xdp_loses_no_frame_merged_below_it() {
    let deployment = Deployment::reference();
    deployment.bridge_the_director();
    let peers = Peers::start(&deployment);
    let director = Director::start(&deployment, &Config::new("xdp"));
    assert!(director.cli("workers").contains("generic, copy"));
    upload_and_download(&deployment, &peers, 5 << 20);
    let lost = ["no_buffer", "too_long_to_receive", "truncated", "ring_full", "not_delivered"];
    assert_eq!(lost.map(|reason| director.dropped(reason)), [0; 5], "{}", director.cli("drops"));
}
