//! Clients behind a smaller MTU: "fragmentation needed" and "packet too big" reach the real server, whatever worker
//! receives them.

use crate::deployment::{Deployment, Plan, VIPS};
use crate::director::{Config, Director};
use crate::far::{Far, HOSTS};
use crate::on_both_backends;
use crate::peers::Peers;
use crate::support::netns::{Netns, host};

on_both_backends! {
    a_download_through_a_smaller_mtu_completes
    errors_reach_the_worker_of_their_connection
}

fn put(peers: &Peers, bytes: usize) {
    for nginx in &peers.nginx {
        std::fs::write(nginx.files().join("blob"), vec![0x5a; bytes]).unwrap();
    }
}

fn a_download_through_a_smaller_mtu_completes(backend: &str) {
    let deployment = Deployment::reference().with_ipv6();
    let (peers, far) = (Peers::start(&deployment), Far::new(&deployment));
    let director = Director::start(&deployment, &Config::new(backend).with("workers = 1"));
    put(&peers, 100 << 20);
    VIPS.into_iter().for_each(|vip| far.download(vip, 100 << 20, 2));
    assert_eq!([director.dropped("icmp_unknown"), director.dropped("icmp_quote")], [0, 0]);
}

fn errors_reach_the_worker_of_their_connection(backend: &str) {
    let deployment = Deployment::new(Plan { queues: 2, ..Plan::REFERENCE }).with_ipv6();
    let (peers, far) = (Peers::start(&deployment), Far::new(&deployment));
    let director = Director::start(&deployment, &Config::new(backend).with("workers = 2"));
    send_errors_to_another_queue(&deployment.switch);
    let mut handed_over = 0;
    for vip in VIPS {
        put(&peers, 100_000);
        // The servers know no MTU for a new address, so that each connection needs an error of its own.
        HOSTS.for_each(|host| far.download(vip, 100_000, host));
        put(&peers, 100 << 20);
        far.download(vip, 100 << 20, 2);
        let before = handed_over;
        handed_over = director.workers("handed_over").iter().sum::<u64>();
        assert!(handed_over > before, "some errors arrive at the other worker: {vip}");
    }
    assert_eq!([director.dropped("icmp_unknown"), director.dropped("hand_over_full")], [0, 0]);
}

/// Makes the director's port of a switch choose queue 1 for ICMP and ICMPv6. A NIC, too, chooses another queue than the flow's, by
/// the hash of the addresses. All other frames of a router stay on queue 0.
fn send_errors_to_another_queue(switch: &Netns) {
    const TEXT: &str = r#"
        #include <linux/bpf.h>
        __attribute__((section("classifier"), used)) int icmp_queue(struct __sk_buff *skb)
        {
            unsigned char *data = (void *)(long)skb->data;
            if (data + 34 > (unsigned char *)(long)skb->data_end)
                return -1;
            int ipv4 = data[12] == 8 && data[13] == 0 && data[23] == 1;
            int ipv6 = data[12] == 0x86 && data[13] == 0xdd && data[20] == 58;
            if (ipv4 || ipv6)
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
