//! Clients behind a smaller MTU: "fragmentation needed" reaches the real server, whatever worker receives it.

use crate::deployment::{Deployment, Plan, VIP};
use crate::director::{Config, Director};
use crate::on_both_backends;
use crate::peers::Peers;
use crate::support::netns::{Netns, host, veth};
use std::net::Ipv4Addr;
use std::ops::Range;

on_both_backends! {
    a_download_through_a_smaller_mtu_completes
    errors_reach_the_worker_of_their_connection
}

const ROUTER: Ipv4Addr = Ipv4Addr::new(192, 168, 195, 9);
/// Last bytes of the far client's addresses.
const HOSTS: Range<u8> = 2..26;

/// A client behind a router and a link of 1,300 bytes, which only the router knows: the client announces 1,460 bytes a
/// segment.
struct Far {
    client: Netns,
    _router: Netns,
}

impl Far {
    fn new(deployment: &Deployment) -> Self {
        let (router, client) = (deployment.plug("pmtu", ROUTER), Netns::new("far"));
        veth((&router, "far0"), (&client, "eth0"), 1);
        router.run("ip address add 10.77.0.1/24 dev far0 && ip link set far0 mtu 1300");
        router.run("sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.rp_filter=0");
        // So that the router's errors are not limited to one per destination and second.
        router.run("sysctl -qw net.ipv4.icmp_ratelimit=0");
        for host in HOSTS {
            client.run(&format!("ip address add 10.77.0.{host}/24 dev eth0"));
        }
        client.run("ip route add default via 10.77.0.1");
        // A router that offloads checksums would leave them unfinished.
        router.run("ethtool -K eth0 tx off >/dev/null");
        for real in &deployment.real {
            real.run(&format!("ip route add 10.77.0.0/24 via {ROUTER}"));
        }
        Self { client, _router: router }
    }

    /// Downloads a file of this length to one of the client's addresses.
    fn download(&self, bytes: usize, host: u8) {
        let options = "-sS --fail --max-time 60 -o /dev/null -w %{size_download}";
        let options = format!("{options} --interface 10.77.0.{host}");
        let size = self.client.run(&format!("curl {options} http://{VIP}/files/blob"));
        assert_eq!(size.trim(), bytes.to_string());
    }
}

fn put(peers: &Peers, bytes: usize) {
    for nginx in &peers.nginx {
        std::fs::write(nginx.files().join("blob"), vec![0x5a; bytes]).unwrap();
    }
}

fn a_download_through_a_smaller_mtu_completes(backend: &str) {
    let deployment = Deployment::reference();
    let (peers, far) = (Peers::start(&deployment), Far::new(&deployment));
    let director = Director::start(&deployment, &Config::new(backend).with("workers = 1"));
    put(&peers, 100 << 20);
    far.download(100 << 20, 2);
    assert_eq!([director.dropped("icmp_unknown"), director.dropped("icmp_quote")], [0, 0]);
}

fn errors_reach_the_worker_of_their_connection(backend: &str) {
    let deployment = Deployment::new(Plan { queues: 2, ..Plan::REFERENCE });
    let (peers, far) = (Peers::start(&deployment), Far::new(&deployment));
    let director = Director::start(&deployment, &Config::new(backend).with("workers = 2"));
    send_errors_to_another_queue(&deployment.switch);
    put(&peers, 100_000);
    // The servers know no MTU for a new address, so that each connection needs an error of its own.
    HOSTS.for_each(|host| far.download(100_000, host));
    put(&peers, 100 << 20);
    far.download(100 << 20, 2);
    assert!(
        director.workers("handed_over").iter().sum::<u64>() > 0,
        "some errors arrive at the other worker"
    );
    assert_eq!([director.dropped("icmp_unknown"), director.dropped("hand_over_full")], [0, 0]);
}

/// Makes the director's port of a switch choose queue 1 for ICMP. A NIC, too, chooses another queue than the flow's, by
/// the hash of the addresses. All other frames of a router stay on queue 0.
fn send_errors_to_another_queue(switch: &Netns) {
    const TEXT: &str = r#"
        #include <linux/bpf.h>
        __attribute__((section("classifier"), used)) int icmp_queue(struct __sk_buff *skb)
        {
            unsigned char *data = (void *)(long)skb->data;
            if (data + 34 <= (unsigned char *)(long)skb->data_end && data[12] == 8 && data[13] == 0 && data[23] == 1)
                skb->queue_mapping = 2; // 1 more than the queue
            return -1;
        }
        char _license[] __attribute__((section("license"), used)) = "GPL";
    "#;
    let directory = tempfile::tempdir().unwrap();
    let (source, object) = (directory.path().join("queue.c"), directory.path().join("queue.o"));
    std::fs::write(&source, TEXT).unwrap();
    let include = "-I/usr/include/$(uname -m)-linux-gnu";
    host(&format!("clang -target bpf -O2 -g {include} -c {} -o {}", source.display(), object.display()));
    switch.run("tc qdisc add dev director clsact");
    let object = object.display();
    switch.run(&format!("tc filter add dev director egress bpf direct-action obj {object} sec classifier"));
}
