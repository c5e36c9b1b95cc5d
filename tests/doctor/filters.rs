//! Filters below IP.

use crate::SERVICE;
use crate::support::site::Site;

#[test]
fn a_chain_that_drops_arp_is_removed() {
    let site = Site::new();
    site.director.run("nft add table arp shield && nft add chain arp shield in '{ type filter hook input priority 0; policy drop; }'");
    assert!(!site.answers("10.0.0.1"), "the director's own address is silent");
    site.mends(SERVICE, ("frame-filters", "error"), "nft delete chain arp shield in");
    assert!(site.answers("10.0.0.1"));
}

#[test]
fn a_rule_at_the_device_that_may_drop_answers_is_found() {
    let site = Site::new();
    site.director.run(
        "nft add table netdev out && nft add chain netdev out eth0 '{ type filter hook egress device eth0 priority 0; }'
         nft add rule netdev out eth0 ether type arp drop",
    );
    let config = format!("backend = \"packet\"\nconnections = 1024\n{SERVICE}");
    let director = site.start(&config, "");
    assert!(!site.answers("10.0.0.100"), "the VIP is silent");
    site.mends(SERVICE, ("frame-filters", "warn"), "nft delete chain netdev out eth0");
    drop(director);
    let _director = site.start_and_wait(&config, "");
    assert!(site.answers("10.0.0.100"));
}

#[test]
fn a_chain_of_another_interface_or_without_rules_is_sound() {
    let site = Site::new();
    site.director.run(
        "ip link add eth9 type ifb && nft add table netdev t && nft add table arp t && nft add table bridge t
         nft add chain netdev t c '{ type filter hook egress device eth9 priority 0; policy drop; }'
         nft add chain arp t c '{ type filter hook input priority 0; policy accept; }'
         nft add chain bridge t c '{ type filter hook forward priority 0; policy drop; }'",
    );
    site.is_sound(SERVICE, "frame-filters");
}
