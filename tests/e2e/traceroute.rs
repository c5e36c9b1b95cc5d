//! traceroute to the VIP from a client behind a router, over both families.

use crate::deployment::{Deployment, VIPS};
use crate::director::{Config, Director};
use crate::far::Far;
use crate::on_both_backends;
use crate::peers::Peers;
use crate::support::netns::Netns;
use std::net::IpAddr;

on_both_backends! {
    traceroute_shows_router_director_and_server
}

/// The hops of traceroute with these options: one probe each; `None` without an answer.
fn hops(client: &Netns, vip: IpAddr, options: &str) -> Vec<Option<IpAddr>> {
    let family = if vip.is_ipv4() { "-4" } else { "-6" };
    let text = client.run(&format!("traceroute {family} -n -q 1 -w 2 {options} {vip} 2>&1"));
    let hop = |line: &str| line.split_whitespace().nth(1).and_then(|word| word.parse().ok());
    text.lines().skip(1).map(hop).collect()
}

/// A frame at its last hop is answered by the director, from the VIP, as by IPVS; the next one is answered by the server.
fn traceroute_shows_router_director_and_server(backend: &str) {
    let deployment = Deployment::reference().with_ipv6();
    let (_peers, far) = (Peers::start(&deployment), Far::new(&deployment));
    let director = Director::start(&deployment, &Config::new(backend));
    for vip in VIPS {
        let [router, vip_hop] = [Far::gateway(vip), vip].map(Some);
        for service in ["-T -p 80", "-U -p 7"] {
            let before = director.dropped("ttl_exceeded");
            assert_eq!(hops(&far.client, vip, service), [router, vip_hop, vip_hop], "{vip} {service}");
            assert_eq!(director.dropped("ttl_exceeded"), before + 1, "{vip} {service}");
        }
        assert_eq!(hops(&far.client, vip, "-I"), [router, vip_hop], "{vip}: a ping is the director's");
        let others = hops(&far.client, vip, "-m 4");
        assert_eq!(others, [router, None, None, None], "{vip}: ports without a service are the kernel's");
    }
}
