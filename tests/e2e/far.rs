//! A client behind a router and a link of 1,300 bytes, over both families.

use crate::deployment::{Deployment, add_ipv6, ipv6_beside};
use crate::support::netns::{Netns, veth};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::Range;

const ROUTER: Ipv4Addr = Ipv4Addr::new(192, 168, 195, 9);
/// The router's address towards the client.
const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
/// Last bytes of the far client's addresses.
pub(crate) const HOSTS: Range<u8> = 2..26;

/// The client, whose router alone has the smaller MTU: the client announces 1,460 bytes a segment.
pub(crate) struct Far {
    pub(crate) client: Netns,
    router: Netns,
}

impl Far {
    pub(crate) fn new(deployment: &Deployment) -> Self {
        let (router, client) = (deployment.plug("pmtu", ROUTER), Netns::new("far"));
        veth((&router, "far0"), (&client, "eth0"), 1);
        router.run(&format!("ip address add {GATEWAY}/24 dev far0 && ip link set far0 mtu 1300"));
        router.run("sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.rp_filter=0");
        // So that the router's errors are not limited to one per destination and second.
        router.run("sysctl -qw net.ipv4.icmp_ratelimit=0 net.ipv6.icmp.ratelimit=0");
        for host in HOSTS {
            client.run(&format!("ip address add 10.77.0.{host}/24 dev eth0"));
        }
        client.run(&format!("ip route add default via {GATEWAY}"));
        // A router that offloads checksums would leave them unfinished.
        router.run("ethtool -K eth0 tx off >/dev/null");
        for real in &deployment.real {
            real.run(&format!("ip route add 10.77.0.0/24 via {ROUTER}"));
        }
        let far = Self { client, router };
        if deployment.vips().len() > 1 {
            far.add_ipv6(deployment);
        }
        far
    }

    fn add_ipv6(&self, deployment: &Deployment) {
        [&self.client, &self.router].into_iter().for_each(add_ipv6);
        self.router.run("sysctl -qw net.ipv6.conf.all.forwarding=1");
        self.client.run(&format!("ip route add default via {}", ipv6_beside(GATEWAY)));
        let (network, router) = (ipv6_beside(Ipv4Addr::new(10, 77, 0, 0)), ipv6_beside(ROUTER));
        for real in &deployment.real {
            real.run(&format!("ip route add {network}/64 via {router}"));
        }
    }

    /// Downloads a file of this length from a VIP to one of the client's addresses.
    pub(crate) fn download(&self, vip: IpAddr, bytes: usize, host: u8) {
        let own = Self::address(vip, host);
        let options = "-sS --fail --max-time 60 -o /dev/null -w %{size_download}";
        let url = format!("http://{}/files/blob", SocketAddr::new(vip, 80));
        let size = self.client.run(&format!("curl {options} --interface {own} '{url}'"));
        assert_eq!(size.trim(), bytes.to_string());
    }

    /// The router's address towards the client, in the family of `vip`.
    pub(crate) fn gateway(vip: IpAddr) -> IpAddr {
        Self::address(vip, 1)
    }

    fn address(vip: IpAddr, host: u8) -> IpAddr {
        let address = Ipv4Addr::new(10, 77, 0, host);
        if vip.is_ipv4() { address.into() } else { ipv6_beside(address).into() }
    }
}
