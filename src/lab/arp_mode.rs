//! ARP suppression on the real servers, as commands.

use super::host::VIP;
use super::options::LabOptions;
use super::step::StepGroup;
use super::{Arp, LabHost};

/// Commands that suppress ARP for the VIP on `server`, to be executed before the VIP is added.
#[must_use]
pub fn suppress_arp(options: &LabOptions, server: LabHost) -> StepGroup {
    let netns = options.namespace(server);
    let mut group = StepGroup::new(format!("{server}: the VIP on lo, {}", remark(options.arp)));
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
        Arp::Arptables => "requests for it dropped, its own address as sender of requests (arptables)",
        Arp::Static => "without ARP suppression: the router has a static entry and sends no request",
        Arp::None => "without ARP suppression: it answers requests for the VIP",
    }
}

fn kernel_parameters(group: &mut StepGroup, netns: &str) {
    for (parameter, value) in [("arp_ignore", 1), ("arp_announce", 2)] {
        for scope in ["all", "lo"] {
            group.set(netns, &format!("net/ipv4/conf/{scope}/{parameter}"), value);
        }
    }
}

/// Adds arptables rules. A request for the gateway that is sent for a reply has the VIP as sender. Dropping it would
/// block the reply, so the sender is replaced.
fn filter_rules(group: &mut StepGroup, netns: &str, options: &LabOptions, server: LabHost) {
    group.within(netns, &format!("arptables -A INPUT -d {VIP} -j DROP"));
    if let Some(rip) = server.address(options.layout) {
        group.within(netns, &format!("arptables -A OUTPUT -s {VIP} -j mangle --mangle-ip-s {rip}"));
    }
}
