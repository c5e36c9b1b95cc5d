//! Directors behind a router that learns the VIPs by BGP, each with BIRD or FRR and the example files.
//!
//! ```text
//!   client ── router ──┬───────────┬──────────┬──────┬── segment
//!                      │           │          │      │
//!                  director 1  director 2   real1  real2
//! ```

use crate::deployment::{DIP, Deployment, VIPS, add_ipv6, ipv6_beside};
use crate::peers::{PATIENCE, Peers};
use crate::support::netns::{Netns, Process, host, veth, wait_until};
use serde_json::Value;
use std::fs::File;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tempfile::TempDir;

/// The second director's own address.
pub(crate) const DIP2: Ipv4Addr = Ipv4Addr::new(192, 168, 195, 148);
/// The router's addresses towards the directors and towards the client.
const ROUTER: Ipv4Addr = Ipv4Addr::new(192, 168, 195, 1);
const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 195, 9, 1);
const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 195, 9, 2);
/// Time for daemons to find each other, and to learn a route.
pub(crate) const CONVERGENCE: Duration = Duration::from_secs(45);

/// A routing daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Routing {
    Bird,
    Frr,
}

/// Position of a host, and with it its configuration.
#[derive(Clone, Copy)]
enum Position {
    Director,
    Router,
}

impl Routing {
    fn example(self, position: Position) -> &'static str {
        match (self, position) {
            (Self::Bird, Position::Director) => include_str!("../../docs/examples/bird.conf"),
            (Self::Bird, Position::Router) => include_str!("../../docs/examples/bird-router.conf"),
            (Self::Frr, Position::Director) => include_str!("../../docs/examples/frr.conf"),
            (Self::Frr, Position::Router) => include_str!("../../docs/examples/frr-router.conf"),
        }
    }
}

/// The processes of a routing daemon on one host. They are killed on drop.
pub(crate) struct Daemons {
    _processes: Vec<Process>,
    files: TempDir,
}

impl Daemons {
    /// Starts BIRD, or FRR with its daemon for each task, with an example file for the address `own`.
    fn start(routing: Routing, position: Position, namespace: &Netns, own: Ipv4Addr) -> Self {
        let files = tempfile::tempdir().unwrap();
        let text = routing.example(position);
        let text = match position {
            Position::Router => text.to_owned(),
            Position::Director => {
                let [old, new] = [DIP, own].map(|address| ipv6_beside(address).to_string());
                text.replace(&DIP.to_string(), &own.to_string()).replace(&old, &new)
            }
        };
        let processes = match routing {
            Routing::Bird => start_bird(namespace, files.path(), &text),
            Routing::Frr => start_frr(namespace, files.path(), &text),
        };
        Self { _processes: processes, files }
    }
}

impl Drop for Daemons {
    /// Prints their logs if the test fails.
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.files.path().join("log"));
            println!("{}", log.unwrap_or_default());
        }
    }
}

fn start_bird(namespace: &Netns, files: &Path, text: &str) -> Vec<Process> {
    let place = files.display();
    std::fs::write(files.join("bird.conf"), text).unwrap();
    let command = format!("exec bird -f -c {place}/bird.conf -s {place}/control -P {place}/pid");
    vec![spawn(namespace, files, &command)]
}

/// Daemons of FRR in the order of their starts. Since FRR 9.1, mgmtd has the configuration of some others.
const FRR: [&str; 5] = ["zebra", "mgmtd", "staticd", "bfdd", "bgpd"];

fn start_frr(namespace: &Netns, files: &Path, text: &str) -> Vec<Process> {
    let place = files.display();
    std::fs::write(files.join("frr.conf"), text).unwrap();
    std::fs::write(files.join("vtysh.conf"), "service integrated-vtysh-config\n").unwrap();
    host(&format!("chown -R frr:frr {place}")); // the user of the daemons
    let of = |name: &&str| Path::new("/usr/lib/frr").join(name).exists();
    let processes: Vec<_> =
        FRR.into_iter().filter(of).map(|name| start_frr_daemon(name, namespace, files)).collect();
    namespace.run(&format!("vtysh --vty_socket {place} --config_dir {place} -b"));
    processes
}

/// Starts one daemon, without a configuration, and waits until it can be told one.
fn start_frr_daemon(name: &str, namespace: &Netns, files: &Path) -> Process {
    let place = files.display();
    let own = if name == "bfdd" { format!("--bfdctl {place}/bfdctl") } else { String::new() };
    let process = spawn(
        namespace,
        files,
        &format!(
            "exec /usr/lib/frr/{name} -f /dev/null -z {place}/zebra.api --vty_socket {place} -i {place}/{name}.pid -P 0 \
             --log stdout {own}"
        ),
    );
    wait_until(name, PATIENCE, || files.join(format!("{name}.vty")).exists());
    process
}

fn spawn(namespace: &Netns, files: &Path, command: &str) -> Process {
    let log = File::options().create(true).append(true).open(files.join("log")).unwrap();
    let mut command = namespace.command(command);
    command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
    Process(command.spawn().unwrap())
}

/// The reference deployment of both families, with a router between the client and the directors' segment.
pub(crate) struct RoutedSite {
    /// Its client is a host of the segment, and unused.
    pub(crate) deployment: Deployment,
    pub(crate) client: Netns,
    pub(crate) router: Netns,
    pub(crate) second_director: Netns,
    pub(crate) peers: Peers,
}

impl RoutedSite {
    /// Creates the hosts. Flows are spread by addresses and ports, and nothing is routed to the VIPs yet.
    pub(crate) fn new() -> Self {
        let deployment = Deployment::reference().with_ipv6();
        let (router, client) = (deployment.plug("router", ROUTER), Netns::new("c"));
        let second_director = deployment.plug("second", DIP2);
        veth((&router, "eth1"), (&client, "eth0"), 1);
        router.run(&format!("ip address add {GATEWAY}/24 dev eth1"));
        client.run(&format!("ip address add {CLIENT}/24 dev eth0"));
        [&router, &client, &second_director].into_iter().for_each(add_ipv6);
        router.run(
            "sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 net.ipv4.conf.all.rp_filter=0 \
             net.ipv4.fib_multipath_hash_policy=1 net.ipv6.fib_multipath_hash_policy=1",
        );
        for director in [&deployment.director, &second_director] {
            director.run("sysctl -qw net.ipv6.conf.default.disable_ipv6=0"); // for dx0
        }
        route_by(&client, GATEWAY);
        deployment.real.iter().for_each(|real| route_by(real, ROUTER));
        // veth leaves checksums unfinished for a local host, which forwards them as they are.
        router.run("ethtool -K eth0 tx off >/dev/null");
        let peers = Peers::start(&deployment);
        Self { deployment, client, router, second_director, peers }
    }

    /// The hosts of the directors, with their addresses.
    pub(crate) fn directors(&self) -> [(&Netns, Ipv4Addr); 2] {
        [(&self.deployment.director, DIP), (&self.second_director, DIP2)]
    }

    /// Starts a routing daemon on the router and on the first `directors` directors.
    pub(crate) fn start_routing(&self, routing: Routing, directors: usize) -> Vec<Daemons> {
        let mut daemons = vec![Daemons::start(routing, Position::Router, &self.router, ROUTER)];
        let hosts = self.directors().into_iter().take(directors);
        daemons.extend(hosts.map(|(host, own)| Daemons::start(routing, Position::Director, host, own)));
        daemons
    }

    /// Own addresses of the directors that the router sends a VIP's frames to, in ascending order.
    pub(crate) fn next_hops(&self, vip: IpAddr) -> Vec<IpAddr> {
        let family = if vip.is_ipv4() { "-4" } else { "-6" };
        let text = self.router.run(&format!("ip {family} -json route show {vip}"));
        let routes: Value = serde_json::from_str(&text).unwrap();
        let hops = |route: &Value| match route["nexthops"].as_array() {
            Some(hops) => hops.clone(),
            None => vec![route.clone()],
        };
        let hops = routes.as_array().unwrap().iter().flat_map(hops);
        let mut hops: Vec<IpAddr> =
            hops.map(|hop| hop["gateway"].as_str().expect("a next hop").parse().unwrap()).collect();
        hops.sort();
        hops
    }

    /// Waits until the router sends both VIPs' frames to just these directors.
    #[track_caller]
    pub(crate) fn wait_for_routes(&self, to: &[Ipv4Addr], timeout: Duration) {
        for vip in VIPS {
            let beside = |to: &Ipv4Addr| if vip.is_ipv4() { (*to).into() } else { ipv6_beside(*to).into() };
            let mut wanted: Vec<IpAddr> = to.iter().map(beside).collect();
            wanted.sort();
            wait_until(&format!("routes of {vip} by {wanted:?}"), timeout, || self.next_hops(vip) == wanted);
        }
    }
}

/// Gives a host a default route of each family.
fn route_by(host: &Netns, router: Ipv4Addr) {
    host.run(&format!("ip route add default via {router}"));
    host.run(&format!("ip route add default via {}", ipv6_beside(router)));
}
