//! Packets longer than the MTU towards the real servers: the client learns it, over both families.

use crate::deployment::{CLIENT, Deployment, Layout, Plan, VIP, VIP6, VIPS, ipv6_beside};
use crate::director::{Config, Director};
use crate::on_both_backends;
use crate::peers::{PATIENCE, Peers};
use crate::support::netns::{Netns, wait_until};
use crate::support::responder::Dump;
use std::net::IpAddr;

on_both_backends! {
    a_client_learns_the_mtu_towards_the_servers
}

/// Length of an upload in bytes.
const UPLOAD: usize = 3 << 20;

fn deployment() -> (Deployment, Peers) {
    let deployment = Deployment::new(Plan { layout: Layout::TwoArms, ..Plan::REFERENCE }).with_ipv6();
    let peers = Peers::start(&deployment);
    (deployment, peers)
}

fn start(deployment: &Deployment, backend: &str) -> Director {
    Director::start(deployment, &Config::new(backend).with("server_interface = \"eth1\""))
}

fn upload(client: &Netns, host: &str) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), vec![0x5a; UPLOAD]).unwrap();
    let (file, url) = (file.path().display(), format!("http://{host}/files/blob"));
    let options = "-sS --fail --max-time 30 -o /dev/null -w %{size_upload}";
    assert_eq!(client.run(&format!("curl {options} -T {file} '{url}'")).trim(), UPLOAD.to_string());
}

/// True if the client has this MTU for an address.
fn has_mtu(client: &Netns, address: IpAddr, mtu: u32) -> bool {
    client.run(&format!("ip route get {address}")).contains(&format!("mtu {mtu}"))
}

fn a_client_learns_the_mtu_towards_the_servers(backend: &str) {
    let (deployment, _peers) = deployment();
    deployment.director.run("ip link set eth1 mtu 1300");
    let client = &deployment.client;
    let director = start(&deployment, backend);
    let dump = Dump::on(client, "icmp[0] = 3 or (icmp6 and ip6[40] = 2)");
    upload(client, &VIP.to_string());
    upload(client, &format!("[{VIP6}]"));
    let errors = [
        format!("{VIP} > {CLIENT}: ICMP {VIP} unreachable - need to frag (mtu 1300)"),
        format!("{VIP6} > {}: ICMP6, packet too big, mtu 1300", ipv6_beside(CLIENT)),
    ];
    wait_until("both errors in the capture", PATIENCE, || errors.iter().all(|error| dump.lines(error) > 0));
    assert!(VIPS.iter().all(|vip| has_mtu(client, *vip, 1300)));
    let (dropped, answered) =
        (director.dropped("too_long"), director.metric("directrix_answers_sent_total{kind=\"too_big\"}"));
    assert!(answered >= 2 && answered <= dropped, "{answered} of {dropped}");
}

/// AF_XDP keeps to the MTU that an interface had at the start.
#[test]
fn an_mtu_that_shrinks_at_run_time_is_told() {
    let (deployment, _peers) = deployment();
    let client = &deployment.client;
    let director = start(&deployment, "packet");
    upload(client, &format!("[{VIP6}]"));
    assert_eq!(director.dropped("too_long"), 0);
    deployment.director.run("ip link set eth1 mtu 1400");
    upload(client, &format!("[{VIP6}]"));
    assert!(has_mtu(client, VIP6.into(), 1400));
}
