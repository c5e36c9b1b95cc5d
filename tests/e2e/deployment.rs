//! The reference deployment: hosts, segments, and counters of frames.

use crate::support::netns::Netns;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub(crate) const VIP: Ipv4Addr = Ipv4Addr::new(192, 168, 195, 150);
pub(crate) const VIP6: Ipv6Addr = ipv6_beside(VIP);
/// The VIPs of a deployment of both families.
pub(crate) const VIPS: [IpAddr; 2] = [IpAddr::V4(VIP), IpAddr::V6(VIP6)];
pub(crate) const CLIENT: Ipv4Addr = Ipv4Addr::new(192, 168, 195, 2);
/// The director's own address on the client's side.
pub(crate) const DIP: Ipv4Addr = Ipv4Addr::new(192, 168, 195, 149);
/// The router of the real servers on a second segment.
const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 195, 0, 1);

/// The segments that join the hosts.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// All hosts on one segment.
    OneArm,
    /// The real servers on a second segment, at the director's eth1. Replies go to the client by a router.
    TwoArms,
}

/// Parameters of a deployment.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) layout: Layout,
    /// Receive and transmit queues of the director's interfaces.
    pub(crate) queues: u32,
    /// True if the client's interface offloads checksums and segmentation. A veth completes neither, so that
    /// the director receives unfinished frames.
    pub(crate) client_offloads: bool,
}

impl Plan {
    pub(crate) const REFERENCE: Self = Self { layout: Layout::OneArm, queues: 1, client_offloads: false };
}

/// The hosts and their segments; all are removed on drop.
pub(crate) struct Deployment {
    pub(crate) client: Netns,
    pub(crate) director: Netns,
    /// real1 and real2.
    pub(crate) real: [Netns; 2],
    pub(crate) rips: [Ipv4Addr; 2],
    /// The segment of the real servers. The port of real1 is named real1.
    pub(crate) switch: Netns,
    others: Vec<Netns>,
    has_ipv6: bool,
}

impl Deployment {
    pub(crate) fn reference() -> Self {
        Self::new(Plan::REFERENCE)
    }

    pub(crate) fn new(plan: Plan) -> Self {
        let deployment = match plan.layout {
            Layout::OneArm => Self::one_arm(plan),
            Layout::TwoArms => Self::two_arms(plan),
        };
        if !plan.client_offloads {
            deployment.client.run("ethtool -K eth0 tx off >/dev/null");
            deployment.outside().run("ethtool -K director tx off >/dev/null");
        }
        deployment.real.iter().for_each(set_up_real_server);
        deployment.add_counters();
        deployment
    }

    fn one_arm(plan: Plan) -> Self {
        let rips = [Ipv4Addr::new(192, 168, 195, 170), Ipv4Addr::new(192, 168, 195, 171)];
        let [client, director] = [Netns::new("c"), Netns::new("d")];
        let real = [Netns::new("r"), Netns::new("r")];
        let switch = switch();
        join(&client, ("eth0", CLIENT), (&switch, "client"), 1);
        join(&director, ("eth0", DIP), (&switch, "director"), plan.queues);
        join(&real[0], ("eth0", rips[0]), (&switch, "real1"), 1);
        join(&real[1], ("eth0", rips[1]), (&switch, "real2"), 1);
        Self { client, director, real, rips, switch, others: Vec::new(), has_ipv6: false }
    }

    fn two_arms(plan: Plan) -> Self {
        let rips = [Ipv4Addr::new(10, 195, 0, 170), Ipv4Addr::new(10, 195, 0, 171)];
        let [client, director, router] = [Netns::new("c"), Netns::new("d"), Netns::new("gw")];
        let real = [Netns::new("r"), Netns::new("r")];
        let [outside, inside] = [switch(), switch()];
        join(&client, ("eth0", CLIENT), (&outside, "client"), 1);
        join(&director, ("eth0", DIP), (&outside, "director"), plan.queues);
        join(&router, ("eth0", Ipv4Addr::new(192, 168, 195, 1)), (&outside, "router"), 1);
        join(&director, ("eth1", Ipv4Addr::new(10, 195, 0, 149)), (&inside, "director"), plan.queues);
        join(&router, ("eth1", GATEWAY), (&inside, "router"), 1);
        // Replies have the VIP as their source, which is on the other side of the router.
        router.run("sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.rp_filter=0");
        for (host, (rip, port)) in real.iter().zip(rips.into_iter().zip(["real1", "real2"])) {
            join(host, ("eth0", rip), (&inside, port), 1);
            host.run(&format!("ip route add default via {GATEWAY}"));
        }
        Self { client, director, real, rips, switch: inside, others: vec![outside, router], has_ipv6: false }
    }

    /// Gives every host an IPv6 address beside each IPv4 address, and the real servers [`VIP6`].
    pub(crate) fn with_ipv6(self) -> Self {
        let router = self.others.get(1);
        [&self.client, &self.director].into_iter().chain(router).for_each(add_ipv6);
        for real in &self.real {
            add_ipv6(real);
            real.run("sysctl -qw net.ipv6.conf.lo.disable_ipv6=0");
            // Without nodad an address of lo is tentative for a moment, too, and bind(2) fails then.
            real.run(&format!("ip address add {VIP6}/128 dev lo nodad preferred_lft 0"));
        }
        if let Some(router) = router {
            router.run("sysctl -qw net.ipv6.conf.all.forwarding=1");
            let gateway = ipv6_beside(GATEWAY);
            self.real.iter().for_each(|real| drop(real.run(&format!("ip route add default via {gateway}"))));
        }
        Self { has_ipv6: true, ..self }
    }

    /// The VIPs of its families.
    pub(crate) fn vips(&self) -> &'static [IpAddr] {
        if self.has_ipv6 { &VIPS } else { &VIPS[..1] }
    }

    /// The addresses of the real servers in the family of `vip`.
    pub(crate) fn rips_of(&self, vip: IpAddr) -> [IpAddr; 2] {
        self.rips.map(|rip| if vip.is_ipv4() { rip.into() } else { ipv6_beside(rip).into() })
    }

    /// The segment of the client.
    fn outside(&self) -> &Netns {
        self.others.first().unwrap_or(&self.switch)
    }

    /// Gives every interface of a deployment with one segment this MTU, in bytes.
    pub(crate) fn set_mtu(&self, mtu: u32) {
        for port in ["client", "director", "real1", "real2", "br0"] {
            self.switch.run(&format!("ip link set {port} mtu {mtu}"));
        }
        for host in [&self.client, &self.director, &self.real[0], &self.real[1]] {
            host.run(&format!("ip link set eth0 mtu {mtu}"));
        }
    }

    /// Renames the director's interface to port0, switches its GRO on, and makes it a port of a bridge eth0.
    pub(crate) fn bridge_the_director(&self) {
        let mac = mac(&self.director);
        self.director
            .run("ip link set eth0 down && ip link set eth0 name port0 && ip address flush dev port0");
        self.director.run(&format!("ip link add eth0 address {mac} type bridge mcast_snooping 0"));
        self.director.run("ip link set port0 master eth0 up && ethtool -K port0 gro on");
        self.director.run(&format!("ip address add {DIP}/24 dev eth0 && ip link set eth0 up"));
    }

    /// Connects another host to the segment of the real servers, at a switch port named `port`.
    pub(crate) fn plug(&self, port: &str, address: Ipv4Addr) -> Netns {
        let host = Netns::new("h");
        join(&host, ("eth0", address), (&self.switch, port), 1);
        host
    }

    /// Counts frames to and from the VIP, and ICMP messages, in the hosts' kernels.
    fn add_counters(&self) {
        let to_vip = format!("ip daddr {VIP} counter name vip");
        count(
            &self.client,
            "inet",
            &[("output", &to_vip), ("input", "ip protocol icmp counter name icmp_messages")],
        );
        for host in &self.real {
            count(host, "inet", &[("input", &to_vip)]);
        }
        count(
            &self.director,
            "netdev",
            &[("ingress device eth0", &format!("ip saddr {VIP} counter name vip"))],
        );
    }

    /// Frames that the client has sent to the VIP.
    pub(crate) fn sent(&self) -> Count {
        counter(&self.client, "inet", "vip")
    }

    /// Frames for the VIP that each real server has received.
    pub(crate) fn arrived(&self) -> [Count; 2] {
        [0, 1].map(|index| counter(&self.real[index], "inet", "vip"))
    }

    /// Frames from the VIP that the director has received: replies, which should bypass it.
    pub(crate) fn replies_on_director(&self) -> Count {
        counter(&self.director, "netdev", "vip")
    }

    /// ICMP messages that the client has received.
    pub(crate) fn icmp_messages(&self) -> Count {
        counter(&self.client, "inet", "icmp_messages")
    }
}

/// Packets and IP bytes, counted by a kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
}

impl std::ops::Add for Count {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { packets: self.packets + other.packets, bytes: self.bytes + other.bytes }
    }
}

fn count(host: &Netns, family: &str, rules: &[(&str, &str)]) {
    let chain = |(index, (hook, rule)): (usize, &(&str, &str))| {
        format!("chain c{index} {{\n type filter hook {hook} priority 0;\n {rule}\n}}\n")
    };
    let chains: String = rules.iter().enumerate().map(chain).collect();
    host.run(&format!(
        "nft -f - <<'END'\ntable {family} e2e {{\ncounter vip {{ }}\ncounter icmp_messages {{ }}\n{chains}}}\nEND"
    ));
}

fn counter(host: &Netns, family: &str, name: &str) -> Count {
    let text = host.run(&format!("nft list counter {family} e2e {name}"));
    let words: Vec<_> = text.split_whitespace().collect();
    let after = |word| words[words.iter().position(|w| *w == word).unwrap() + 1].parse().unwrap();
    Count { packets: after("packets"), bytes: after("bytes") }
}

pub(crate) fn switch() -> Netns {
    let switch = Netns::new("s");
    switch.run("ip link add br0 type bridge mcast_snooping 0 && ip link set br0 up");
    switch
}

/// Connects a host to a switch, and gives it an address.
pub(crate) fn join(
    host: &Netns,
    (interface, address): (&str, Ipv4Addr),
    (switch, port): (&Netns, &str),
    queues: u32,
) {
    let each = format!("numrxqueues {queues} numtxqueues {queues}");
    let peer = format!("{port} netns {}", switch.name());
    host.run(&format!(
        "ip link add {interface} {each} type veth peer name {peer} {each} &&
         ip address add {address}/24 dev {interface} && ip link set {interface} up"
    ));
    switch.run(&format!("ip link set {port} master br0 up"));
}

/// The address 2001:db8:b:c::d of a host with the IPv4 address a.b.c.d, by its decimal digits.
pub(crate) const fn ipv6_beside(address: Ipv4Addr) -> Ipv6Addr {
    const fn digits(byte: u8) -> u16 {
        (byte as u16 / 100 * 0x100) + (byte as u16 / 10 % 10 * 0x10) + byte as u16 % 10
    }
    let [_, b, c, d] = address.octets();
    Ipv6Addr::new(0x2001, 0xdb8, digits(b), digits(c), 0, 0, 0, digits(d))
}

/// Gives a host an IPv6 address beside each IPv4 address of its interfaces.
pub(crate) fn add_ipv6(host: &Netns) {
    for line in host.run("ip -4 -o address show scope global").lines() {
        let words: Vec<_> = line.split_whitespace().collect();
        let (interface, (address, _)) = (words[1], words[3].split_once('/').unwrap());
        let address = ipv6_beside(address.parse().unwrap());
        if interface != "lo" {
            host.run(&format!("sysctl -qw net.ipv6.conf.{interface}.disable_ipv6=0"));
            host.run(&format!("ip address add {address}/64 dev {interface} nodad"));
        }
    }
}

/// Prepares a real server for LVS-DR: the VIP on lo, without ARP for it.
fn set_up_real_server(host: &Netns) {
    host.run(&format!("ip address add {VIP}/32 dev lo"));
    host.run("sysctl -qw net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2");
}

/// The MAC address of a host's eth0.
pub(crate) fn mac(host: &Netns) -> String {
    host.run("cat /sys/class/net/eth0/address").trim().to_owned()
}
