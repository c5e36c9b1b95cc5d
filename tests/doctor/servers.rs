//! Real servers as neighbors, and the host as a real server.

use crate::SERVICE;
use crate::support::site::Site;

#[test]
fn a_real_server_behind_a_router_is_named_with_its_line() {
    let site = Site::new();
    site.director.run("ip route add 10.9.0.0/24 via 10.0.0.2");
    let config = SERVICE.replace("\"10.0.0.2\"", "\"10.9.0.2\"");
    let examined = site.doctor(&config);
    let found = examined.finding("server-off-link");
    assert_eq!((examined.status, found["level"].as_str()), (Some(1), Some("error")));
    assert!(found["what"].as_str().unwrap().contains("doctor.toml:7"), "{found}");
    site.director.run("ip route del 10.9.0.0/24; ip address add 10.9.0.1/24 dev eth0");
    site.is_sound(&config, "server-off-link");
}

#[test]
fn a_real_server_behind_proxy_arp_is_named() {
    let site = Site::new();
    site.director.run("ip route add default via 10.0.0.2");
    site.peer.run(
        "ip link add far type ifb && ip link set dev far up && ip route add 10.0.0.9/32 dev far
         echo 1 > /proc/sys/net/ipv4/conf/eth0/proxy_arp; echo 1 > /proc/sys/net/ipv4/ip_forward",
    );
    let config = SERVICE.replace("\"10.0.0.2\"", "\"10.0.0.9\"");
    let ping = "ping -q -c 1 -W 1 10.0.0.2 && ping -q -c 1 -W 1 10.0.0.9";
    site.director.command(ping).output().unwrap();
    let found = site.doctor(&config).finding("server-mac");
    assert_eq!(found["level"], "error", "{found}");
    assert!(found["what"].as_str().unwrap().contains("that of the gateway 10.0.0.2"), "{found}");
    site.peer.run("echo 0 > /proc/sys/net/ipv4/conf/eth0/proxy_arp; echo 0 > /proc/sys/net/ipv4/ip_forward");
    site.director.run("ip neighbor flush all");
    site.director.command(ping).output().unwrap();
    site.is_sound(&config, "server-mac");
}

#[test]
fn a_host_without_the_vip_is_mended_as_a_real_server() {
    let site = Site::new();
    site.director.run("ip route add default via 10.0.0.2");
    let options = "--role real-server --vip 10.0.0.100";
    let examined = site.run_doctor("", &format!("{options} --json"));
    assert_eq!(examined.status, Some(1), "{examined:?}");
    assert!(examined.at("error").iter().all(|id| id == "real-server"), "{examined:?}");
    let script = site.run_doctor("", &format!("{options} --fix"));
    assert_eq!(script.status, Some(1), "{script:?}");
    site.director.run(&script.out);
    let examined = site.run_doctor("", &format!("{options} --json"));
    assert_eq!((examined.status, examined.at("error")), (Some(0), vec![]), "{script:?} {examined:?}");
}
