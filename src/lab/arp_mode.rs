//! The ways to keep real servers quiet about the VIP, as commands.

use super::host::VIP;
use super::options::Options;
use super::topology::Group;
use super::{Arp, Host};

/// What is done on real server `server` before it gets the VIP; the VIP's own command follows.
#[must_use]
pub fn quiet(options: &Options, server: Host) -> Group {
    let netns = options.namespace(server);
    let mut group = Group::new(format!("{server}: the VIP on lo, {}", remark(options.arp)));
    match options.arp {
        Arp::Sysctl => kernel_parameters(&mut group, &netns),
        Arp::Arptables => filter_rules(&mut group, &netns, options, server),
        Arp::Static | Arp::None => {}
    }
    group
}

fn remark(arp: Arp) -> &'static str {
    match arp {
        Arp::Sysctl => "neither answered nor announced by ARP (arp_ignore, arp_announce)",
        Arp::Arptables => "ARP for it dropped on the way in, its own address put in on the way out",
        Arp::Static => "ARP as it is: it would answer, but the router never asks",
        Arp::None => "ARP as it is: it will answer for the VIP",
    }
}

fn kernel_parameters(group: &mut Group, netns: &str) {
    for (parameter, value) in [("arp_ignore", 1), ("arp_announce", 2)] {
        for scope in ["all", "lo"] {
            group.set(netns, &format!("net/ipv4/conf/{scope}/{parameter}"), value);
        }
    }
}

/// A request for the gateway carries the VIP as sender when a reply is waiting for it. Dropping it
/// would leave the reply waiting: so the sender is replaced.
fn filter_rules(group: &mut Group, netns: &str, options: &Options, server: Host) {
    group.within(netns, &format!("arptables -A INPUT -d {VIP} -j DROP"));
    if let Some(rip) = server.address(options.layout) {
        group.within(netns, &format!("arptables -A OUTPUT -s {VIP} -j mangle --mangle-ip-s {rip}"));
    }
}
