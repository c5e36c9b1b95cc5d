//! Two directors behind a router that spreads flows over both (ECMP): one goes, and its connections go on by the other,
//! which adopts them in midstream.

use crate::bgp::HA;
use crate::deployment::{DIP, VIP, VIP6, VIPS, ipv6_beside};
use crate::director::{Director, Home};
use crate::on_both_backends;
use crate::peers::{ECHO, EchoConnection, Flow, NAMES, PATIENCE};
use crate::routing::{CONVERGENCE, DIP2, RoutedSite, Routing};
use crate::support::netns::{Netns, wait_until};
use nix::sys::signal::Signal;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpStream};
use std::time::Instant;

on_both_backends! {
    downloads_go_on_without_a_director_behind_bird
    downloads_go_on_without_a_director_behind_frr
    both_directors_pick_the_same_server_in_midstream
    a_resilient_group_leaves_other_flows_in_place
}

/// Downloads, and connections of the echo service, for each VIP.
const FLOWS: usize = 12;
/// Bytes of a download that show that it goes on: over a second's worth.
const PROGRESS: usize = 150_000;
/// Size of the file, more than a test can read.
const FILE: usize = 32 << 20;

/// Configuration of a director; each lists the real servers in another order.
fn config(backend: &str, site: &RoutedSite, reversed: bool) -> String {
    let mut text =
        format!("[director]\ninterface = \"eth0\"\nbackend = \"{backend}\"\nsloppy_tcp = true\n{HA}");
    for vip in VIPS {
        let mut servers: Vec<_> = site.deployment.rips_of(vip).into_iter().zip([1, 2]).collect();
        if reversed {
            servers.reverse();
        }
        for (protocol, port) in [("tcp", 80), ("tcp", ECHO), ("udp", ECHO)] {
            let address = std::net::SocketAddr::from((vip, port));
            text += &format!(
                "[[service]]\nprotocol = \"{protocol}\"\naddress = \"{address}\"\nscheduler = \"mh\"\n\
                 scheduler_flags = [\"mh-port\"]\n"
            );
            for (rip, weight) in &servers {
                text += &format!("[[service.server]]\naddress = \"{rip}\"\nweight = {weight}\n");
            }
        }
    }
    text
}

fn start(site: &RoutedSite, backend: &str) -> [Director; 2] {
    let [(first, _), (second, _)] = site.directors();
    [(first, false), (second, true)]
        .map(|(host, reversed)| Director::start_in(Home::new(), host, &config(backend, site, reversed)))
}

/// A download whose bytes are compared as they come.
struct Download {
    stream: BufReader<TcpStream>,
    position: usize,
}

impl Download {
    /// Writes the file that is downloaded to all real servers: each word is its own number.
    fn prepare(site: &RoutedSite) {
        let words: Vec<u8> = (0..(FILE / 4) as u32).flat_map(u32::to_be_bytes).collect();
        site.peers
            .nginx
            .iter()
            .for_each(|nginx| std::fs::write(nginx.files().join("words"), &words).unwrap());
    }

    fn start(client: &Netns, vip: IpAddr) -> Self {
        let mut stream = client.enter(|| TcpStream::connect_timeout(&(vip, 80).into(), PATIENCE)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(b"GET /slow/words HTTP/1.0\r\n\r\n").unwrap();
        let mut stream = BufReader::new(stream);
        let head: Vec<_> =
            stream.by_ref().lines().map(Result::unwrap).take_while(|line| !line.is_empty()).collect();
        assert!(head[0].contains("200"), "{head:?}");
        Self { stream, position: 0 }
    }

    /// Reads what has come by now.
    #[track_caller]
    fn drain(&mut self) {
        let mut buffer = vec![0; 65_536];
        self.stream.get_ref().set_nonblocking(true).unwrap();
        loop {
            match self.stream.read(&mut buffer) {
                Ok(len) => self.compare(&buffer[..len]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("after {} bytes: {error}", self.position),
            }
        }
        self.stream.get_ref().set_nonblocking(false).unwrap();
    }

    /// Reads as much as shows that the download goes on.
    #[track_caller]
    fn go_on(&mut self) {
        let mut buffer = vec![0; PROGRESS];
        let read = self.stream.read_exact(&mut buffer);
        read.unwrap_or_else(|error| panic!("after {} bytes: {error}", self.position));
        self.compare(&buffer);
    }

    #[track_caller]
    fn compare(&mut self, bytes: &[u8]) {
        assert!(!bytes.is_empty(), "it ended after {} bytes", self.position);
        for byte in bytes {
            let word = ((self.position / 4) as u32).to_be_bytes();
            assert_eq!(*byte, word[self.position % 4], "at byte {}", self.position);
            self.position += 1;
        }
    }
}

/// Connections of both families that last as long as the test.
struct Flows {
    downloads: Vec<Download>,
    echoes: Vec<EchoConnection>,
}

impl Flows {
    fn start(site: &RoutedSite) -> Self {
        Download::prepare(site);
        let vips = || VIPS.into_iter().cycle().take(VIPS.len() * FLOWS);
        Self {
            downloads: vips().map(|vip| Download::start(&site.client, vip)).collect(),
            echoes: vips().map(|vip| EchoConnection::open_to(&site.client, vip)).collect(),
        }
    }

    fn count(&self) -> usize {
        self.downloads.len() + self.echoes.len()
    }

    #[track_caller]
    fn go_on(&mut self) {
        self.downloads.iter_mut().for_each(Download::drain);
        self.downloads.iter_mut().for_each(Download::go_on);
        self.echoes.iter_mut().for_each(|echo| echo.exchange("data"));
    }
}

/// Established connections of a director.
fn established(director: &Director) -> usize {
    director.connections("ESTABLISHED").len()
}

fn downloads_go_on_without_a_director_behind_bird(backend: &str) {
    downloads_go_on_without_a_director(Routing::Bird, backend);
}

fn downloads_go_on_without_a_director_behind_frr(backend: &str) {
    downloads_go_on_without_a_director(Routing::Frr, backend);
}

fn downloads_go_on_without_a_director(routing: Routing, backend: &str) {
    let site = RoutedSite::new();
    let _daemons = site.start_routing(routing, 2);
    let [mut first, mut second] = start(&site, backend);
    site.wait_for_routes(&[DIP, DIP2], CONVERGENCE);
    let mut flows = Flows::start(&site);
    let each = [&first, &second].map(established);
    assert!(each.iter().all(|count| *count > 0) && each[0] + each[1] == flows.count(), "{each:?}");
    flows.go_on();

    first = without(&site, (first, Signal::SIGKILL), DIP2, &mut flows);
    assert_eq!(established(&second), flows.count(), "it has adopted those of the other");
    second = without(&site, (second, Signal::SIGTERM), DIP, &mut flows);
    assert_eq!(first.dropped("no_connection") + second.dropped("no_connection"), 0);

    // The host fails: only BFD tells the router.
    let failed = Instant::now();
    site.deployment.switch.run("ip link set second down");
    site.wait_for_routes(&[DIP], CONVERGENCE);
    println!("{routing:?}, {backend}: withdrawn {:?} after the loss of the host", failed.elapsed());
    flows.go_on();
    site.deployment.switch.run("ip link set second up");
    site.wait_for_routes(&[DIP, DIP2], CONVERGENCE);
    flows.go_on();
}

/// Ends a director by a signal, and starts it again. The flows go on by the other one, and then by both.
#[track_caller]
fn without(
    site: &RoutedSite,
    (director, signal): (Director, Signal),
    other: Ipv4Addr,
    flows: &mut Flows,
) -> Director {
    let text = std::fs::read_to_string(director.config()).unwrap();
    let own = if other == DIP { 1 } else { 0 };
    let ended = Instant::now();
    director.signal(signal);
    site.wait_for_routes(&[other], PATIENCE);
    println!("withdrawn {:?} after {signal}", ended.elapsed());
    flows.go_on();
    println!("all went on {:?} after {signal}", ended.elapsed());
    for vip in VIPS {
        EchoConnection::open_to(&site.client, vip).exchange("new");
    }
    let (_, home) = director.end(signal);
    let director = Director::start_in(home, site.directors()[own].0, &text);
    site.wait_for_routes(&[DIP, DIP2], CONVERGENCE);
    flows.go_on();
    director
}

/// Routes of the VIPs by hand, to one director.
fn route_to(site: &RoutedSite, director: Ipv4Addr) {
    site.router.run(&format!("ip route replace {VIP}/32 via {director}"));
    site.router.run(&format!("ip route replace {VIP6}/128 via {}", ipv6_beside(director)));
}

fn both_directors_pick_the_same_server_in_midstream(backend: &str) {
    let site = RoutedSite::new();
    let directors = start(&site, backend);
    route_to(&site, DIP);
    let vips = || VIPS.into_iter().cycle().take(VIPS.len() * 4 * FLOWS);
    let datagrams: Vec<_> = vips().map(|vip| Flow::to(&site.client, vip)).collect();
    let mut streams: Vec<_> = vips().map(|vip| EchoConnection::open_to(&site.client, vip)).collect();
    let picks = || datagrams.iter().map(|flow| flow.exchange("data")).collect::<Vec<_>>();
    let before = picks();
    assert!(NAMES.iter().all(|name| before.iter().any(|picked| picked == name)), "{before:?}");
    assert_eq!(directors[1].connections("192.168.195").len(), 0);
    for director in [DIP2, DIP, DIP2] {
        route_to(&site, director);
        assert_eq!(picks(), before, "each datagram's server, by {director}");
        streams.iter_mut().for_each(|stream| stream.exchange("data"));
    }
    assert_eq!(established(&directors[1]), streams.len());
}

/// The router keeps the next hop of each bucket that has traffic.
fn a_resilient_group_leaves_other_flows_in_place(backend: &str) {
    let site = RoutedSite::new();
    let [first, second] = start(&site, backend);
    let text = std::fs::read_to_string(first.config()).unwrap();
    let group = |verb: &str, hops: &str| {
        for (id, kind) in [(10, 4), (20, 6)] {
            let hops = hops.split('/').map(|hop| format!("{kind}{hop}")).collect::<Vec<_>>().join("/");
            site.router.run(&format!(
                "ip nexthop {verb} id {id} group {hops} type resilient buckets 64 idle_timer 60"
            ));
        }
    };
    let next_hop = |director: Ipv4Addr, id: u32| {
        site.router.run(&format!("ip nexthop add id 4{id} via {director} dev eth0"));
        site.router.run(&format!("ip nexthop add id 6{id} via {} dev eth0", ipv6_beside(director)));
    };
    next_hop(DIP, 1);
    next_hop(DIP2, 2);
    // A group of one next hop does not note IPv4 traffic: after the loss of the first two must be left.
    next_hop(DIP2, 3);
    group("add", "1/2/3");
    site.router.run(&format!("ip route add {VIP}/32 nhid 10 && ip route add {VIP6}/128 nhid 20"));
    let mut flows = Flows::start(&site);
    let of_second = established(&second);
    assert!(of_second > 0 && established(&first) == flows.count() - of_second);

    let (_, _) = first.end(Signal::SIGKILL);
    site.router.run("ip nexthop delete id 41 && ip nexthop delete id 61");
    flows.go_on();
    assert_eq!(established(&second), flows.count());

    let first = Director::start_in(Home::new(), site.directors()[0].0, &text);
    next_hop(DIP, 1);
    group("replace", "1/2/3");
    flows.go_on();

    assert_eq!(established(&first), 0, "buckets with traffic stay");
    wait_until("the group has both", PATIENCE, || {
        site.router.run("ip nexthop show id 10").contains("group 41/42/43")
    });
}
