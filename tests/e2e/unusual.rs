//! Priority tags, VLAN frames, and unfinished checksums.

use crate::deployment::{Deployment, Plan, VIP, mac};
use crate::director::{Config, Director};
use crate::on_both_backends;
use crate::peers::{ECHO, Flow, PATIENCE, Peers};
use crate::support::frames::{self, SYN};
use crate::support::netns::wait_until;
use crate::support::wire::Wire;
use directrix::wire::MacAddr;
use std::net::Ipv4Addr;

on_both_backends! {
    priority_tags_are_forwarded_and_vlan_frames_are_not
    unfinished_checksums_are_logged_as_an_error
}

fn priority_tags_are_forwarded_and_vlan_frames_are_not(backend: &str) {
    let deployment = Deployment::reference();
    // With txvlan a veth passes the tag beside the frame, where XDP does not see it.
    deployment.switch.run("ethtool -K director txvlan off");
    let director = Director::start(&deployment, &Config::new(backend));
    let client = &deployment.client;
    let index: u32 = client.run("cat /sys/class/net/eth0/ifindex").trim().parse().unwrap();
    let wire = client.enter(|| Wire::new(index));
    let address = |host| mac(host).parse::<MacAddr>().unwrap().0;
    let addresses = [address(&deployment.director), address(client)].concat();
    let send = |port, vlan| {
        let from = (Ipv4Addr::new(198, 51, 100, 7), port);
        let frame = frames::tcp(from, (VIP, 80), SYN, &[]);
        let frame = if let Some(vlan) = vlan { frames::tagged(&frame, vlan) } else { frame };
        wire.send(&[&addresses, &frame[12..]].concat());
    };
    let received = || director.workers("received").iter().sum::<u64>();
    send(1, Some(0));
    wait_until("the SYN with a priority tag", PATIENCE, || received() == 1);
    send(2, Some(10));
    send(3, None);
    wait_until("the SYN after that of a VLAN", PATIENCE, || received() == 2);
    let arrived = || deployment.arrived().iter().map(|count| count.packets).sum::<u64>();
    wait_until("both SYNs at a real server", PATIENCE, || arrived() == 2);
    let listed = director.connections("198.51.100.7");
    assert_eq!(listed.len(), 2, "{listed:?}");
    assert!(!listed.iter().any(|row| row.contains("198.51.100.7:2 ")), "{listed:?}");
}

fn unfinished_checksums_are_logged_as_an_error(backend: &str) {
    let deployment = Deployment::new(Plan { client_offloads: true, ..Plan::REFERENCE });
    let _peers = Peers::start(&deployment);
    let director = Director::start(&deployment, &Config::new(backend));
    let message = "unfinished TCP, UDP or SCTP checksums arrive";
    if backend == "packet" {
        assert!(Flow::new(&deployment.client).exchange("finished by the kernel").starts_with("real"));
        std::thread::sleep(2 * std::time::Duration::from_secs(2)); // two periods of the control loop
        return assert_eq!(director.logged(message), 0, "{}", director.log());
    }
    let from = deployment.client.enter(|| std::net::UdpSocket::bind("0.0.0.0:0")).unwrap();
    from.send_to(b"unfinished", (VIP, ECHO)).unwrap();
    wait_until("an error about checksums", PATIENCE, || director.logged(message) == 1);
    assert!(director.log().lines().any(|line| line.contains(message) && line.contains("ERROR")));
    let (status, screen, _) = director.cli_as("--no-new-privs", "status");
    let warning = "Warnings     unfinished TCP, UDP or SCTP checksums arrive on eth0, and real servers drop the frames: at \
                   the sender, ethtool -K PEER tx off; or here, backend = \"packet\"";
    assert!(status == Some(3) && screen.contains(warning), "{screen}");
}
