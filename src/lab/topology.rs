//! The deployment as the commands that build it, each as a person would type it.

use super::arp_mode;
use super::host::{CLIENT, PRIVATE_GATEWAY, ROUTER, ROUTER_CLIENT_LEG, VIP, gateway};
use super::options::{Layout, Options};
use super::{Arp, Host};
use std::fmt;
use std::path::Path;

/// One command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step(Vec<String>);

impl Step {
    /// The command made of the blank-separated words of `text`.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.split_whitespace().map(str::to_owned).collect())
    }

    /// The command `words`.
    #[must_use]
    pub fn of(words: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self(words.into_iter().map(Into::into).collect())
    }

    /// The command `words` inside namespace `netns`.
    #[must_use]
    pub fn within(netns: &str, words: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let mut step = Self::new(&format!("ip netns exec {netns}"));
        step.0.extend(words.into_iter().map(Into::into));
        step
    }

    /// Program and arguments, never empty.
    #[must_use]
    pub fn words(&self) -> &[String] {
        &self.0
    }

    /// The program that does the work: what comes after `ip netns exec NAMESPACE`, if anything.
    #[must_use]
    pub fn program(&self) -> &str {
        match self.0.as_slice() {
            [ip, netns, exec, _, program, ..] if ip == "ip" && netns == "netns" && exec == "exec" => program,
            words => words.first().map_or("", String::as_str),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<String> = self.0.iter().map(|word| quoted(word)).collect();
        f.write_str(&words.join(" "))
    }
}

/// The word as a shell reads it back.
fn quoted(word: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_./:=,+@%".contains(&b);
    if !word.is_empty() && word.bytes().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Commands that belong together, for one host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// What they are for.
    pub heading: String,
    /// In the order of execution.
    pub steps: Vec<Step>,
}

impl Group {
    /// An empty group.
    #[must_use]
    pub fn new(heading: impl Into<String>) -> Self {
        Self { heading: heading.into(), steps: Vec::new() }
    }

    /// Adds the command `text`.
    pub fn step(&mut self, text: &str) -> &mut Self {
        self.steps.push(Step::new(text));
        self
    }

    /// Adds `ip -n NETNS text`.
    pub fn ip(&mut self, netns: &str, text: &str) -> &mut Self {
        self.step(&format!("ip -n {netns} {text}"))
    }

    /// Adds the command `text` inside `netns`.
    pub fn within(&mut self, netns: &str, text: &str) -> &mut Self {
        self.step(&format!("ip netns exec {netns} {text}"))
    }

    /// Adds the writing of `value` to the kernel parameter `/proc/sys/PATH` of `netns`.
    pub fn set(&mut self, netns: &str, path: &str, value: u32) -> &mut Self {
        self.shell(netns, &format!("echo {value} > /proc/sys/{path}"))
    }

    /// Adds the shell command `text` inside `netns`.
    pub fn shell(&mut self, netns: &str, text: &str) -> &mut Self {
        self.steps.push(Step::within(netns, ["sh", "-c", text]));
        self
    }
}

/// Everything that has to be done before the processes start.
#[must_use]
pub fn build(options: &Options) -> Vec<Group> {
    let mut groups = vec![namespaces(options), switch(options), client(options), router(options)];
    groups.push(segment_host(options, Host::Director, "it needs no VIP, no ip_forward, no filter rule"));
    for server in Host::REAL_SERVERS {
        groups.push(segment_host(options, server, "its default route is the router, not the director"));
    }
    groups.extend(Host::REAL_SERVERS.map(|server| vip_on_lo(options, server)));
    groups
}

/// The commands that undo [`build`], for those namespaces that are there.
#[must_use]
pub fn undo(name: &str) -> Vec<Step> {
    let names = Host::ALL.iter().rev().map(|host| super::options::namespace(name, *host));
    names.filter(|netns| exists(netns)).map(|netns| Step::new(&format!("ip netns del {netns}"))).collect()
}

/// Whether `ip netns` knows `netns`.
#[must_use]
pub fn exists(netns: &str) -> bool {
    Path::new("/run/netns").join(netns).symlink_metadata().is_ok()
}

fn namespaces(options: &Options) -> Group {
    let mut group = Group::new("One network namespace for each host; what it inherits is set straight");
    let ipv6 = Path::new("/proc/sys/net/ipv6").exists();
    for host in Host::ALL {
        let netns = options.namespace(host);
        group.step(&format!("ip netns add {netns}"));
        group.shell(&netns, INHERITED);
        if ipv6 {
            group.shell(&netns, "echo 1 | tee /proc/sys/net/ipv6/conf/*/disable_ipv6");
        }
        group.set(&netns, "net/ipv4/ip_forward", u32::from(host == Host::Router));
        group.ip(&netns, "link set lo up");
    }
    group
}

/// A new namespace takes these over from the host; here they start from the kernel's defaults.
const INHERITED: &str =
    "cd /proc/sys/net/ipv4/conf && echo 0 | tee */rp_filter */arp_ignore */arp_announce */arp_filter";

fn switch(options: &Options) -> Group {
    let netns = options.namespace(Host::Switch);
    let mut group = Group::new(
        "switch: the one segment; no delay before a port forwards, checksums finished before they reach the director",
    );
    group.ip(&netns, "link add br0 type bridge stp_state 0 forward_delay 0 mcast_snooping 0");
    group.ip(&netns, "link set br0 up");
    for host in Host::ON_SEGMENT {
        let (peer, mac) = (options.namespace(host), host.mac());
        group.ip(&netns, &format!("link add {host} type veth peer name eth0 address {mac} netns {peer}"));
        group.ip(&netns, &format!("link set {host} master br0 up"));
    }
    group.within(&netns, &format!("ethtool -K {} tx off", Host::Director));
    group
}

fn client(options: &Options) -> Group {
    let (netns, router, mac) =
        (options.namespace(Host::Client), options.namespace(Host::Router), Host::Client.mac());
    let mut group =
        Group::new("client: behind the router; it finishes checksums itself, as a real network card would");
    group.ip(&netns, &format!("link add eth0 address {mac} type veth peer name eth1 netns {router}"));
    group.within(&netns, "ethtool -K eth0 tx off");
    group.ip(&netns, &format!("address add {CLIENT}/24 dev eth0"));
    group.ip(&netns, "link set eth0 up");
    group.ip(&netns, &format!("route add default via {ROUTER_CLIENT_LEG}"));
    group
}

fn router(options: &Options) -> Group {
    let netns = options.namespace(Host::Router);
    let mut group = Group::new("router: eth1 towards the client, eth0 on the segment");
    group.within(&netns, "ethtool -K eth0 tx off");
    group.ip(&netns, &format!("address add {ROUTER_CLIENT_LEG}/24 dev eth1"));
    group.ip(&netns, &format!("address add {}/24 dev eth0", ROUTER));
    if options.layout == Layout::TwoSubnets {
        group.ip(&netns, &format!("address add {}/24 dev eth0", PRIVATE_GATEWAY));
    }
    group.ip(&netns, "link set eth1 up");
    group.ip(&netns, "link set eth0 up");
    if options.arp == Arp::Static {
        let mac = Host::Director.mac();
        group.ip(&netns, &format!("neigh replace {VIP} lladdr {mac} dev eth0 nud permanent"));
    }
    group
}

fn segment_host(options: &Options, host: Host, remark: &str) -> Group {
    let netns = options.namespace(host);
    let mut group = Group::new(format!("{host}: {remark}"));
    if let Some(address) = host.address(options.layout) {
        group.ip(&netns, &format!("address add {address}/24 dev eth0"));
    }
    group.ip(&netns, "link set eth0 up");
    group.ip(&netns, &format!("route add default via {}", gateway(options.layout)));
    group
}

/// The VIP goes up only after ARP is quiet, as it should on a live segment.
fn vip_on_lo(options: &Options, server: Host) -> Group {
    let netns = options.namespace(server);
    let mut group = arp_mode::quiet(options, server);
    group.ip(&netns, &format!("address add {VIP}/32 dev lo"));
    group
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(options: &Options) -> Vec<String> {
        build(options).iter().flat_map(|group| group.steps.iter().map(Step::to_string)).collect()
    }

    fn reference() -> Options {
        Options::new("d", "/usr/bin/directrix")
    }

    #[test]
    fn the_reference_deployment_is_that_of_the_book() {
        let lines = lines(&reference());
        for wanted in [
            "ip netns add d-client",
            "ip -n d-switch link add rs1 type veth peer name eth0 address 02:00:00:00:01:70 netns d-rs1",
            "ip -n d-client route add default via 198.51.100.1",
            "ip -n d-router address add 192.168.195.2/24 dev eth0",
            "ip -n d-director address add 192.168.195.5/24 dev eth0",
            "ip -n d-rs2 address add 192.168.195.171/24 dev eth0",
            "ip -n d-rs2 route add default via 192.168.195.2",
            "ip -n d-rs1 address add 192.168.195.150/32 dev lo",
            "ip netns exec d-router sh -c 'echo 1 > /proc/sys/net/ipv4/ip_forward'",
            "ip netns exec d-client ethtool -K eth0 tx off",
            "ip netns exec d-switch ethtool -K director tx off",
        ] {
            assert!(lines.iter().any(|line| line == wanted), "{wanted} is not in {lines:#?}");
        }
    }

    #[test]
    fn only_the_router_forwards_and_only_real_servers_own_the_vip() {
        let lines = lines(&reference());
        let with = |text: &str| lines.iter().filter(|line| line.contains(text)).count();
        assert_eq!(with("echo 1 > /proc/sys/net/ipv4/ip_forward"), 1);
        assert_eq!(with("192.168.195.150/32 dev lo"), 2);
        assert_eq!(with("192.168.195.150"), 2);
    }

    #[test]
    fn arp_is_quiet_before_the_vip_is_up() {
        for arp in [Arp::Sysctl, Arp::Arptables] {
            let lines = lines(&Options { arp, ..reference() });
            let vip =
                lines.iter().position(|line| line.contains("d-rs1 address add 192.168.195.150")).unwrap();
            let quiet = |line: &String| {
                line.contains("d-rs1") && (line.contains("echo 2 >") || line.contains("arptables -A OUTPUT"))
            };
            assert!(lines.iter().rposition(quiet).unwrap() < vip, "{arp:?}");
        }
    }

    #[test]
    fn two_subnets_keep_the_vip_public_and_everything_else_private() {
        let lines = lines(&Options { layout: Layout::TwoSubnets, ..reference() });
        for wanted in [
            "ip -n d-router address add 192.168.195.2/24 dev eth0",
            "ip -n d-router address add 10.195.0.2/24 dev eth0",
            "ip -n d-director address add 10.195.0.5/24 dev eth0",
            "ip -n d-rs1 route add default via 10.195.0.2",
        ] {
            assert!(lines.iter().any(|line| line == wanted), "{wanted}");
        }
        assert!(!lines.iter().any(|line| line.contains("d-director address add 192.168.195")));
    }

    #[test]
    fn a_static_entry_stands_on_the_router_alone() {
        let lines = lines(&Options { arp: Arp::Static, ..reference() });
        let entry =
            "ip -n d-router neigh replace 192.168.195.150 lladdr 02:00:00:00:00:05 dev eth0 nud permanent";
        assert_eq!(lines.iter().filter(|line| *line == entry).count(), 1);
        assert!(!lines.iter().any(|line| line.contains("echo 2 >") || line.contains("arptables")));
    }

    #[test]
    fn commands_read_back_as_a_shell_would_read_them() {
        let step = Step::within("n", ["sh", "-c", "echo 'it' > \"$x\""]);
        assert_eq!(step.to_string(), r#"ip netns exec n sh -c 'echo '\''it'\'' > "$x"'"#);
        assert_eq!(step.program(), "sh");
        assert_eq!(Step::new("ip -n n link").program(), "ip");
    }
}
