//! Loss and return of the carrier of the director's interface.

use crate::support::netns::wait_until;
use crate::support::site::{SOON, Site};
use crate::{CONFIG, supervised};
use std::time::Duration;

#[test]
fn no_vip_is_claimed_without_carrier() {
    for backend in ["xdp", "packet"] {
        let config = CONFIG.replace("packet", backend);
        let site = Site::new();
        site.peer.run("ip link set eth0 down");
        let director = site.start(&config, "");
        site.wait_for("link down");
        site.wait_for("interface=\"eth0\"");
        // Longer than it takes to claim a VIP, 1.2 s, and to find a server unreachable, 3 s.
        std::thread::sleep(Duration::from_secs(4));
        for word in ["VIP claimed", "ready services=", "does not answer ARP"] {
            assert!(!site.log().contains(word), "{word}: {}", site.log());
        }
        assert!(
            site.metrics().contains("directrix_interface_up{interface=\"eth0\"} 0\n"),
            "{}",
            site.metrics()
        );
        site.peer.run("ip link set eth0 up");
        wait_until("ready", SOON, || site.is_ready());
        site.wait_for("link up");
        assert!(
            site.metrics().contains("directrix_interface_up{interface=\"eth0\"} 1\n"),
            "{}",
            site.metrics()
        );
        drop(director);
    }
}

#[test]
fn a_missing_carrier_is_in_the_notified_status() {
    let (site, manager, _director) = supervised(CONFIG, "true");
    site.peer.run("ip link set eth0 down");
    manager.wait_for("STATUS=waiting: no carrier on eth0");
    site.peer.run("ip link set eth0 up");
    manager.wait_for("READY=1");
}

#[test]
fn a_conflict_is_found_as_soon_as_the_link_is_up() {
    let site = Site::new();
    let _director = site.start_and_wait(CONFIG, "");
    site.peer.run("ip link set eth0 down");
    site.wait_for("link down");
    site.peer.run("ip address add 10.0.0.100/32 dev eth0 && ip link set eth0 up");
    // The next announcement is due in a minute.
    site.wait_for("another host answers for the VIP, a real server: the VIP is not served until it is quiet");
    assert_eq!(site.log().matches("real server does not answer").count(), 0, "{}", site.log());
}

#[test]
fn vips_are_announced_again_after_a_link_flap() {
    let site = Site::new();
    let _director = site.start_and_wait(CONFIG, "");
    wait_until("the first announcements", SOON, || announced(&site) >= 3);
    for (round, end) in [&site.peer, &site.director].into_iter().enumerate() {
        let before = announced(&site);
        end.run("ip link set eth0 down");
        wait_until("link down", SOON, || site.log().matches("link down").count() == round + 1);
        end.run("ip link set eth0 up");
        wait_until("announcements", SOON, || announced(&site) >= before + 3);
    }
    assert_eq!(site.log().matches("VIP claimed").count(), 1, "it stays claimed: {}", site.log());
}

fn announced(site: &Site) -> u64 {
    let page = site.metrics();
    let line =
        page.lines().find(|line| line.starts_with("directrix_neighbor_announced_total ")).unwrap_or("x 0");
    line.rsplit(' ').next().unwrap().parse().unwrap()
}
