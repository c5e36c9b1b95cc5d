//! Services within VLANs: the director at a tagged port of a switch, and hosts that know nothing of tags.

use crate::bulk::upload_and_download;
use crate::deployment::{CLIENT, Deployment, VIP, VIP6, mac};
use crate::director::{Config, Director, Home};
use crate::http::{HTTP, ab, assert_by_weight, connect_in_turn};
use crate::ipv6::{self, Site};
use crate::on_both_backends;
use crate::peers::{Flow, PATIENCE, Peers};
use crate::support::netns::{Netns, host, wait_until};
use crate::support::responder::Dump;
use nix::sys::signal::Signal;
use std::io::ErrorKind;
use std::net::TcpStream;

on_both_backends! {
    a_vlan_is_served_through_its_tag
    two_tags_are_served
    two_q_tags_are_served
    a_tag_of_another_standard_is_another_network
    a_client_may_have_the_address_of_another_vlans_server
    hundreds_of_vlans_are_served
    a_service_moves_to_another_vlan
    frames_of_another_vlan_are_left_alone
    ipv6_is_served_within_a_vlan
    ipv6_is_served_within_two_tags
}

/// EtherTypes of tags.
const Q: u16 = 0x8100;
const AD: u16 = 0x88a8;

/// Makes the director's port of a switch a tagged one: frames to the director get the tags of these VLANs, the outer one
/// first; of its own, those with exactly these tags lose them, and all others are dropped.
fn tag_port(switch: &Netns, vlans: &[u16]) {
    tag_port_by(switch, if vlans.len() == 1 { Q } else { AD }, vlans);
}

/// The same with an outer tag of this type.
fn tag_port_by(switch: &Netns, outer_type: u16, vlans: &[u16]) {
    const TEXT: &str = r#"
        #include <linux/bpf.h>
        static long (*push)(struct __sk_buff *, __be16, __u16) = (void *)BPF_FUNC_skb_vlan_push;
        static long (*pop)(struct __sk_buff *) = (void *)BPF_FUNC_skb_vlan_pop;
        __attribute__((section("classifier/tag"), used)) int put_tags(struct __sk_buff *skb)
        {
            if (INNER)
                push(skb, __builtin_bswap16(0x8100), 5 << 13 | INNER);
            push(skb, __builtin_bswap16(OUTER_TYPE), 3 << 13 | OUTER);
            return -1;
        }
        __attribute__((section("classifier/untag"), used)) int take_tags(struct __sk_buff *skb)
        {
            if (!skb->vlan_present || (skb->vlan_tci & 0xfff) != OUTER)
                return 2;
            if (skb->vlan_proto != __builtin_bswap16(OUTER_TYPE) || pop(skb))
                return 2;
            if (INNER && (!skb->vlan_present || (skb->vlan_tci & 0xfff) != INNER))
                return 2;
            if (INNER && (skb->vlan_proto != __builtin_bswap16(0x8100) || pop(skb)))
                return 2;
            return skb->vlan_present ? 2 : -1;
        }
        char _license[] __attribute__((section("license"), used)) = "GPL";
    "#;
    let directory = tempfile::tempdir().unwrap();
    let (source, object) = (directory.path().join("port.c"), directory.path().join("port.o"));
    std::fs::write(&source, TEXT).unwrap();
    let inner = vlans.get(1).unwrap_or(&0);
    let defines = format!("-DOUTER={} -DINNER={inner} -DOUTER_TYPE={outer_type}", vlans[0]);
    let options = format!("-target bpf -O2 -g {defines} -I/usr/include/$(uname -m)-linux-gnu");
    host(&format!("clang {options} -c {} -o {}", source.display(), object.display()));
    // With these a veth passes the tag beside the frame, where XDP does not see it.
    switch.run("ethtool -K director txvlan off tx-vlan-stag-hw-insert off");
    switch.run("tc qdisc del dev director clsact 2>/dev/null; tc qdisc add dev director clsact");
    for (direction, section) in [("egress", "classifier/tag"), ("ingress", "classifier/untag")] {
        let program = format!("bpf direct-action obj {} sec {section}", object.display());
        switch.run(&format!("tc filter add dev director {direction} {program}"));
    }
}

fn config(deployment: &Deployment, config: &Config, vlan: &str) -> String {
    config.text(deployment).replace("[[service]]\n", &format!("[[service]]\nvlan = {vlan}\n"))
}

fn start(deployment: &Deployment, backend: &str, vlan: &str) -> Director {
    let text = config(deployment, &Config::new(backend).with("workers = 1"), vlan);
    Director::start_in(Home::new(), &deployment.director, &text)
}

/// Everything that a client does, through the director's tags.
fn serves(deployment: &Deployment, director: &Director) {
    let client = &deployment.client;
    assert_by_weight(connect_in_turn(deployment, director, 30));
    ab(deployment, 500, "-c 5");
    let pings = client.run(&format!("ping -n -c 3 -i 0.05 -W 1 {VIP} || true"));
    assert_eq!(pings.matches("ttl=64").count(), 3, "{pings}");
    let flow = Flow::new(client);
    let server = flow.exchange("a datagram");
    assert_eq!(flow.exchange(&"large ".repeat(1000)), server, "in fragments");
    let answers = client.run(&format!("timeout 20 arping -r -i eth0 -c 3 -W 0.2 {VIP} || true"));
    assert_eq!(answers.lines().collect::<Vec<_>>(), vec![mac(&deployment.director); 3]);
    nothing_is_refused(director);
}

fn nothing_is_refused(director: &Director) {
    let refused =
        ["vlan", "tags", "no_service", "ethertype", "truncated"].map(|reason| director.dropped(reason));
    assert_eq!(refused, [0; 5]);
}

/// A client learns at once that there is no server.
fn refuses(deployment: &Deployment, director: &Director, vlan: &str) {
    director.change("ipvsadm -D -t 192.168.195.150:80");
    director.change("ipvsadm -A -t 192.168.195.150:80");
    let connect = format!("timeout 5 bash -c 'echo > /dev/tcp/{VIP}/80' 2>&1 || true");
    wait_until("a refusal", PATIENCE, || deployment.client.run(&connect).contains("refused"));
    let (_, screen, _) = director.cli_as("--no-new-privs", "status");
    assert!(screen.contains(&format!("192.168.195.150 claimed, VLAN {vlan}")), "{screen}");
}

fn a_vlan_is_served_through_its_tag(backend: &str) {
    let deployment = Deployment::reference();
    let _peers = Peers::start(&deployment);
    tag_port(&deployment.switch, &[100]);
    let director = start(&deployment, backend, "100");
    serves(&deployment, &director);
    refuses(&deployment, &director, "100");
}

fn two_tags_are_served(backend: &str) {
    let deployment = Deployment::reference();
    let peers = Peers::start(&deployment);
    tag_port(&deployment.switch, &[100, 10]);
    // A veth takes one tag beyond its MTU.
    deployment.client.run("ip link set eth0 mtu 1496");
    let director = start(&deployment, backend, "[100, 10]");
    serves(&deployment, &director);
    // Over AF_PACKET, segments of the client's MTU are too long with both tags.
    upload_and_download(&deployment, &peers, 1 << 20);
    assert_eq!(director.dropped("too_long") > 0, backend == "packet");
    refuses(&deployment, &director, "100.10");
}

fn two_q_tags_are_served(backend: &str) {
    let deployment = Deployment::reference();
    let _peers = Peers::start(&deployment);
    tag_port_by(&deployment.switch, Q, &[100, 10]);
    // A veth takes one tag beyond its MTU.
    deployment.client.run("ip link set eth0 mtu 1496");
    let director = start(&deployment, backend, r#"["802.1q", 100, 10]"#);
    serves(&deployment, &director);
    refuses(&deployment, &director, "802.1q 100.10");
}

/// Neither answered nor directed: the port of the switch has another outer tag than the service.
fn a_tag_of_another_standard_is_another_network(backend: &str) {
    let deployment = Deployment::reference();
    let _peers = Peers::start(&deployment);
    for (vlan, vlans, outer_type, other) in [("100", &[100][..], Q, AD), ("[100, 10]", &[100, 10], AD, Q)] {
        tag_port_by(&deployment.switch, outer_type, vlans);
        let director = start(&deployment, backend, vlan);
        assert_eq!(connect_in_turn(&deployment, &director, 3), [1, 2]);
        let director_mac = mac(&deployment.director);
        let answers = || {
            let asked = format!("timeout 20 arping -r -i eth0 -c 2 -W 0.2 {VIP} || true");
            deployment.client.run(&asked).matches(&director_mac).count()
        };
        assert_eq!(answers(), 2);
        let (before, dump) = (director.workers("received"), Dump::on(&deployment.director, "vlan"));
        tag_port_by(&deployment.switch, other, vlans);
        let connect = format!("timeout 2 bash -c 'echo > /dev/tcp/{VIP}/80' 2>&1 || echo silence");
        assert!(deployment.client.run(&connect).contains("silence"));
        wait_until("the SYN", PATIENCE, || dump.text().contains("Flags [S]"));
        assert_eq!(answers(), 0);
        assert_eq!(director.workers("received"), before, "{}", dump.text());
    }
}

/// The address belongs to two hosts, each in a VLAN of its own.
fn a_client_may_have_the_address_of_another_vlans_server(backend: &str) {
    let deployment = Deployment::reference();
    let _peers = Peers::start(&deployment);
    tag_port(&deployment.switch, &[100]);
    let other = format!(
        "[[service]]\nvlan = 7\nprotocol = \"tcp\"\naddress = \"10.9.0.1:80\"\n\
         server = [{{ address = \"{CLIENT}\" }}]\n"
    );
    let text = config(&deployment, &Config::new(backend).with("workers = 1"), "100") + &other;
    let director = Director::start_in(Home::new(), &deployment.director, &text);
    deployment.client.run(&format!("ip neighbor flush to {VIP}"));
    assert_eq!(connect_in_turn(&deployment, &director, 6), [2, 4]);
    assert_eq!(director.logged("real server reachable"), 2, "{}", director.log());
}

fn hundreds_of_vlans_are_served(backend: &str) {
    let deployment = Deployment::reference();
    let _peers = Peers::start(&deployment);
    tag_port(&deployment.switch, &[100]);
    let other = |id: u16| {
        let vip = format!("10.9.{}.{}", id >> 8, id & 0xff);
        format!("[[service]]\nvlan = {id}\nprotocol = \"tcp\"\naddress = \"{vip}:80\"\n")
    };
    let others: String = (1..=400).map(other).collect();
    let text = config(&deployment, &Config::new(backend).with("workers = 1"), "100") + &others;
    let director = Director::start_in(Home::new(), &deployment.director, &text);
    serves(&deployment, &director);
    tag_port(&deployment.switch, &[399]);
    deployment.client.run("ip route add 10.9.0.0/16 dev eth0");
    let connect = "timeout 5 bash -c 'echo > /dev/tcp/10.9.1.143/80' 2>&1 || true";
    wait_until("a refusal", PATIENCE, || deployment.client.run(connect).contains("refused"));
    let failed = ["selecting the", "updating the steering"].map(|event| director.logged(event));
    assert_eq!(failed, [0; 2], "{}", director.log());
}

fn a_service_moves_to_another_vlan(backend: &str) {
    let deployment = Deployment::reference();
    let _peers = Peers::start(&deployment);
    tag_port(&deployment.switch, &[100]);
    let director = start(&deployment, backend, "100");
    assert_eq!(connect_in_turn(&deployment, &director, 6), [2, 4]);
    tag_port(&deployment.switch, &[7]);
    director.write_config(&config(&deployment, &Config::new(backend).with("workers = 1"), "7"));
    let changes = director.change("reload");
    assert!(changes.contains("~ TCP 192.168.195.150:80: vlan 100 -> 7"), "{changes}");
    wait_until("the VIP is claimed again", PATIENCE, || director.logged("VIP claimed") == 2);
    wait_until("both servers answer there", PATIENCE, || director.logged("real server reachable") == 4);
    connect_in_turn(&deployment, &director, 6);
    assert!(director.cli(&format!("ipvsadm -Ln {HTTP}")).contains("TCP  192.168.195.150:80 wlc"));
}

fn frames_of_another_vlan_are_left_alone(backend: &str) {
    let deployment = Deployment::reference();
    let _peers = Peers::start(&deployment);
    tag_port(&deployment.switch, &[100]);
    let director = start(&deployment, backend, "100");
    assert_eq!(connect_in_turn(&deployment, &director, 3), [1, 2]);
    let (before, dump) = (director.workers("received"), Dump::on(&deployment.director, "arp or tcp"));
    tag_port(&deployment.switch, &[101]);
    let connect = format!("timeout 2 bash -c 'echo > /dev/tcp/{VIP}/80' 2>&1 || echo silence");
    assert!(deployment.client.run(&connect).contains("silence"));
    wait_until("the SYN", PATIENCE, || dump.text().contains("vlan 101") || dump.text().contains("Flags [S]"));
    assert_eq!(director.workers("received"), before, "{}", dump.text());
}

fn ipv6_is_served_within_a_vlan(backend: &str) {
    let site = Site::new();
    serves_ipv6(&site, backend, &[100]);
}

fn ipv6_is_served_within_two_tags(backend: &str) {
    let site = Site::new();
    // AF_PACKET sends no 802.1ad tag beyond the MTU.
    site.deployment.client.run("ip link set eth0 mtu 1492");
    serves_ipv6(&site, backend, &[100, 10]);
}

/// Everything that a client does over IPv6, through the director's tags.
fn serves_ipv6(site: &Site, backend: &str, vlans: &[u16]) {
    let Site { deployment, .. } = site;
    tag_port(&deployment.switch, vlans);
    let text = |weights| {
        let vlan = format!("[[service]]\nvlan = {vlans:?}\n");
        ipv6::config(backend, weights).text(deployment).replace("[[service]]\n", &vlan)
    };
    let director = Director::start_in(Home::new(), &deployment.director, &text([1, 2]));
    assert_eq!(site.get(30).iter().sum::<usize>(), 30);
    let client = &deployment.client;
    let pinged = client.run(&format!("ping -6 -n -c 3 -i 0.1 -W 2 {VIP6} || true"));
    assert_eq!(pinged.matches("ttl=64").count(), 3, "{pinged}");
    let neighbors = client.run("ip -6 neighbor show dev eth0");
    let found = neighbors.lines().find(|line| line.starts_with(&VIP6.to_string())).unwrap();
    assert!(found.contains(&mac(&deployment.director)), "{found}");
    let flow = Flow::to(client, VIP6.into());
    let server = flow.exchange("a datagram");
    assert_eq!(flow.exchange(&"large ".repeat(1000)), server, "in fragments");
    nothing_is_refused(&director);
    director.write_config(&text([0, 0]));
    director.change("reload");
    let refused = client.enter(|| TcpStream::connect_timeout(&ipv6::vip(80), PATIENCE)).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn tags_on_a_bridge_need_af_packet() {
    let deployment = Deployment::reference();
    deployment.bridge_the_director();
    let _peers = Peers::start(&deployment);
    tag_port(&deployment.switch, &[100]);
    let text = |backend| config(&deployment, &Config::new(backend).with("workers = 1"), "100");
    let (status, log) = Director::refusal(&deployment.director, &text("xdp"), "");
    assert_eq!(status, Some(1), "{log}");
    for part in ["serving 192.168.195.150 in VLAN 100 on eth0: eth0 is a bridge", "backend = \"packet\""] {
        assert!(log.contains(part), "{part}: {log}");
    }
    let director = Director::start_in(Home::new(), &deployment.director, &text("packet"));
    serves(&deployment, &director);
    // A change is refused likewise.
    let untagged = Config::new("xdp").with("workers = 1").text(&deployment);
    director.end(Signal::SIGTERM);
    let director = Director::start_in(Home::new(), &deployment.director, &untagged);
    director.write_config(&text("xdp"));
    let (status, _, errors) = director.cli_as("--no-new-privs", "reload");
    assert_ne!(status, Some(0));
    assert!(errors.contains("eth0 is a bridge"), "{errors}");
}
