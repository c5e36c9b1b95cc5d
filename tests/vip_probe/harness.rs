//! The hosts, and probes of every kind.

use crate::peers::Services;
use crate::support::netns::Netns;
use directrix::io::Interface;
use directrix::io::probe::{
    ProbeEnd, ProbeEvidence, ProbeExchange, ProbeProtocol, ProbeSocket, ProbeTarget, ProbeVerdict, VipProbes,
    echo_request,
};
use directrix::wire::MacAddr;
use nix::errno::Errno;
use nix::sys::socket::{SockaddrStorage, connect};
use std::io::{self, Read, Write};
use std::net::{IpAddr, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

pub(crate) const DIP: [&str; 2] = ["10.9.0.2", "fd09::2"];
pub(crate) const RIP: [&str; 2] = ["10.9.0.11", "fd09::11"];
pub(crate) const VIP: [&str; 2] = ["10.9.0.80", "fd09::80"];
/// Port of HTTP and of the datagrams.
pub(crate) const PORT: u16 = 80;
/// Time without an answer after which none is expected.
pub(crate) const SILENCE: Duration = Duration::from_millis(400);
/// No answer takes longer than that on a loaded machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

pub(crate) const PROTOCOLS: [ProbeProtocol; 3] =
    [ProbeProtocol::Tcp, ProbeProtocol::Udp, ProbeProtocol::Ping];

/// Index of the addresses of a family in [`DIP`], [`RIP`] and [`VIP`].
pub(crate) const FAMILIES: [usize; 2] = [0, 1];

pub(crate) fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// The hosts of a test; all are removed on drop.
pub(crate) struct Net {
    pub(crate) director: Netns,
    pub(crate) server: Netns,
    pub(crate) switch: Netns,
}

impl Net {
    /// Hosts with the VIP on the server's lo.
    pub(crate) fn new() -> Self {
        let net = Self::without_vip();
        net.add_vip();
        net
    }

    pub(crate) fn without_vip() -> Self {
        let net = Self { director: Netns::new("d"), server: Netns::new("r"), switch: Netns::new("s") };
        net.switch.run("ip link add br0 type bridge mcast_snooping 0 && ip link set br0 up");
        join(&net.director, "eth0", (&net.switch, "director"));
        join(&net.server, "eth0", (&net.switch, "real"));
        net.director.run("sysctl -qw net.ipv4.ping_group_range='0 0'");
        add(&net.director, "eth0", &DIP);
        add(&net.server, "eth0", &RIP);
        // Each probe gets the ICMP error that it provokes.
        net.server.run("sysctl -qw net.ipv4.icmp_ratelimit=0 net.ipv6.icmp.ratelimit=0");
        net.server.run("sysctl -qw net.ipv4.icmp_msgs_per_sec=100000 net.ipv4.icmp_msgs_burst=100000");
        net.server.run("sysctl -qw net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2");
        net.server.run("sysctl -qw net.ipv6.conf.lo.disable_ipv6=0");
        net
    }

    pub(crate) fn add_vip(&self) {
        self.server.run(&format!("ip address add {}/32 dev lo", VIP[0]));
        self.server.run(&format!("ip address add {}/128 dev lo nodad preferred_lft 0", VIP[1]));
    }

    /// Services on the VIPs.
    pub(crate) fn serve(&self) -> Services {
        Services::start(&self.server, &VIP)
    }

    /// The probe programs on the director's eth0.
    pub(crate) fn open(&self) -> VipProbes {
        let probes = self.attach();
        probes.translate(true).unwrap();
        probes
    }

    /// The same, idle.
    pub(crate) fn attach(&self) -> VipProbes {
        self.director.enter(|| VipProbes::open(&Interface::lookup("eth0").unwrap(), 64)).unwrap()
    }

    pub(crate) fn target(&self, protocol: ProbeProtocol, family: usize) -> ProbeTarget {
        let [vip, rip, own] = [VIP, RIP, DIP].map(|all| address(all[family]));
        let mac = mac(&self.server, "eth0");
        ProbeTarget { protocol, vip, rip, port: PORT, own, mac, reply_mac: mac }
    }

    /// Probes of every protocol, of both families.
    pub(crate) fn targets(&self) -> Vec<ProbeTarget> {
        let of = |family| PROTOCOLS.map(|protocol| self.target(protocol, family));
        FAMILIES.into_iter().flat_map(of).collect()
    }

    /// Makes one probe.
    pub(crate) fn probe(&self, probes: &VipProbes, target: &ProbeTarget, timeout: Duration) -> Probed {
        let probe = || probe(probes.socket(target).unwrap(), target, timeout);
        self.director.enter(probe)
    }

    /// Replaces the server's ruleset by these lines at a hook.
    pub(crate) fn filter(&self, hook: &str, rules: &str) {
        self.server.run(&format!(
            "nft -f - <<'END'\nflush ruleset\ntable inet t {{\ncounter far {{ }}\nchain c {{\n\
             type filter hook {hook}\n{rules}\n}}\n}}\nEND"
        ));
    }
}

/// Connects a host to a switch, with offloads as a veth has them.
pub(crate) fn join(host: &Netns, interface: &str, (switch, port): (&Netns, &str)) {
    host.run(&format!("ip link add {interface} type veth peer name {port} netns {}", switch.name()));
    let ipv6 = format!("net.ipv6.conf.{interface}");
    host.run(&format!("sysctl -qw {ipv6}.accept_dad=0 {ipv6}.disable_ipv6=0"));
    host.run(&format!("ip link set {interface} up"));
    switch.run(&format!("ip link set {port} master br0 up"));
}

pub(crate) fn add(host: &Netns, interface: &str, addresses: &[&str; 2]) {
    host.run(&format!("ip address add {}/24 dev {interface}", addresses[0]));
    host.run(&format!("ip address add {}/64 dev {interface} nodad", addresses[1]));
}

pub(crate) fn mac(host: &Netns, interface: &str) -> MacAddr {
    host.run(&format!("cat /sys/class/net/{interface}/address")).trim().parse().unwrap()
}

/// A finished probe.
#[derive(Debug)]
pub(crate) struct Probed {
    pub(crate) verdict: ProbeVerdict,
    pub(crate) outcome: ProbeExchange,
    pub(crate) evidence: ProbeEvidence,
    /// The server's own address, as its answer has it.
    pub(crate) answer: String,
}

/// Connects the socket, asks for an answer, and ends the probe.
pub(crate) fn probe(prepared: ProbeSocket, target: &ProbeTarget, timeout: Duration) -> Probed {
    let ProbeSocket { socket, destination, armed } = prepared;
    let exchange = |socket| {
        connect_within(&socket, &SockaddrStorage::from(destination), timeout)?;
        match target.protocol {
            ProbeProtocol::Tcp => ask_http(&mut TcpStream::from(socket)),
            ProbeProtocol::Udp => ask(&UdpSocket::from(socket), b"which address?"),
            ProbeProtocol::Ping => {
                let request = echo_request(target.vip.is_ipv4(), 1);
                ask(&UdpSocket::from(socket), &request).map(|_| String::new())
            }
        }
    };
    // The socket is closed when this returns.
    let answer = exchange(socket);
    let outcome = match &answer {
        Ok(_) => ProbeExchange::Answered,
        Err(error) => of_error(error),
    };
    let evidence = armed.evidence().unwrap();
    let is_complete = outcome == ProbeExchange::Answered;
    armed.end(if is_complete { ProbeEnd::Complete } else { ProbeEnd::Abandoned });
    let verdict = ProbeVerdict::of(target, &evidence, outcome);
    Probed { verdict, outcome, evidence, answer: answer.unwrap_or_default() }
}

fn of_error(error: &io::Error) -> ProbeExchange {
    match error.raw_os_error() {
        Some(libc::EAGAIN | libc::EINPROGRESS) => ProbeExchange::TimedOut,
        Some(errno) => ProbeExchange::Failed(errno),
        None => panic!("{error}"),
    }
}

/// Connects with this timeout, which then holds for each call.
pub(crate) fn connect_within(socket: &OwnedFd, to: &SockaddrStorage, timeout: Duration) -> io::Result<()> {
    let stream = TcpStream::from(socket.try_clone()?); // for the options of any socket
    stream.set_nonblocking(false)?;
    stream.set_write_timeout(Some(timeout))?;
    stream.set_read_timeout(Some(timeout))?;
    connect(socket.as_raw_fd(), to).map_err(|errno: Errno| errno.into())
}

fn ask_http(stream: &mut TcpStream) -> io::Result<String> {
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (status, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no HTTP: {answer:?}"));
    assert!(status.starts_with("HTTP/1.0 200 "), "{answer}");
    Ok(body.trim_end().to_owned())
}

fn ask(socket: &UdpSocket, question: &[u8]) -> io::Result<String> {
    socket.send(question)?;
    let mut answer = [0; 128];
    let length = socket.recv(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer[..length]).into_owned())
}
