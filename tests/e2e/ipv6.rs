//! The reference deployment over IPv6: HTTP, ICMPv6, fragments, live changes.

use crate::deployment::{Deployment, mac};
use crate::director::{Director, Home};
use crate::on_both_backends;
use crate::peers::{NAMES, PATIENCE};
use crate::support::netns::{Netns, Process, wait_until};
use std::io::{ErrorKind, Write};
use std::net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::Stdio;

on_both_backends! {
    http_ping_and_refusals_work_over_ipv6
    fragments_and_large_datagrams_work_over_ipv6
    services_and_servers_change_live_over_ipv6
}

const VIP: &str = "2001:db8:195::150";
const RIPS: [&str; 2] = ["2001:db8:195::170", "2001:db8:195::171"];

/// The reference deployment with IPv6 addresses beside the IPv4 ones.
struct Site {
    deployment: Deployment,
    _nginx: [Process; 2],
    _files: tempfile::TempDir,
}

impl Site {
    fn new() -> Self {
        let deployment = Deployment::reference();
        let hosts = [
            (&deployment.client, "2001:db8:195::2"),
            (&deployment.director, "2001:db8:195::149"),
            (&deployment.real[0], RIPS[0]),
            (&deployment.real[1], RIPS[1]),
        ];
        for (host, address) in hosts {
            host.run("sysctl -qw net.ipv6.conf.eth0.disable_ipv6=0 net.ipv6.conf.lo.disable_ipv6=0");
            host.run(&format!("ip address add {address}/64 dev eth0 nodad"));
        }
        let files = tempfile::tempdir().unwrap();
        for (real, name) in deployment.real.iter().zip(NAMES) {
            real.run(&format!("ip address add {VIP}/128 dev lo preferred_lft 0"));
            std::fs::write(files.path().join(name), configuration(&files.path().display().to_string(), name))
                .unwrap();
        }
        let nginx = [0, 1].map(|n| start_nginx(&deployment.real[n], &files, NAMES[n]));
        Self { deployment, _nginx: nginx, _files: files }
    }

    fn director(&self, backend: &str, weights: [u16; 2]) -> Director {
        let text = text(backend, weights);
        Director::start_in(Home::new(), &self.deployment.director, &text)
    }

    /// Bodies of `times` requests, one after the other.
    fn get(&self, times: usize) -> [usize; 2] {
        let url = format!("'http://[{VIP}]/[1-{times}]'");
        let text = self
            .deployment
            .client
            .run(&format!("curl -sS --fail -H 'Connection: close' --max-time 60 {url}"));
        NAMES.map(|name| text.matches(name).count())
    }
}

fn configuration(place: &str, name: &str) -> String {
    format!(
        "daemon off; worker_processes 1; pid {place}/{name}.pid; events {{ }}
        http {{ access_log off; server {{ listen [::]:80; location / {{ return 200 '{name}\\n'; }} }} }}"
    )
}

fn start_nginx(host: &Netns, files: &tempfile::TempDir, name: &str) -> Process {
    let place = files.path().display();
    let command = format!("exec nginx -c {place}/{name} -p {place} -e {place}/{name}.errors");
    let process = Process(host.command(&command).stdin(Stdio::null()).spawn().unwrap());
    wait_until("nginx listens", PATIENCE, || {
        host.enter(|| TcpStream::connect((Ipv6Addr::LOCALHOST, 80))).is_ok()
    });
    process
}

fn text(backend: &str, weights: [u16; 2]) -> String {
    let mut text =
        format!("[director]\ninterface = \"eth0\"\nbackend = \"{backend}\"\nconn_reuse_mode = 3\n");
    for (protocol, port) in [("tcp", 80), ("udp", 7)] {
        text += &format!("[[service]]\nprotocol = \"{protocol}\"\naddress = \"[{VIP}]:{port}\"\n");
        for (rip, weight) in RIPS.iter().zip(weights) {
            text += &format!("[[service.server]]\naddress = \"{rip}\"\nweight = {weight}\n");
        }
    }
    text
}

fn vip(port: u16) -> SocketAddr {
    (VIP.parse::<Ipv6Addr>().unwrap(), port).into()
}

fn http_ping_and_refusals_work_over_ipv6(backend: &str) {
    let site = Site::new();
    let director = site.director(backend, [1, 2]);
    let client = &site.deployment.client;
    let [first, second] = site.get(30);
    assert_eq!(first + second, 30);
    client.run(&format!("timeout 60 ab -q -s 20 -n 2000 -c 20 'http://[{VIP}]/' 2>&1"));
    let counters = director.stats(&format!("-t [{VIP}]:80"));
    // ab opens a connection more at times. A port that the client uses again is a new connection, by conn_reuse_mode.
    assert!((2030..2050).contains(&(counters[0][0] + counters[1][0])), "{counters:?}");
    let pinged = client.run(&format!("ping -6 -c 3 -i 0.1 -W 2 {VIP}"));
    assert!(pinged.contains("3 received") && pinged.contains("ttl=64"), "{pinged}");
    let neighbors = client.run("ip -6 neighbor show dev eth0");
    let found = neighbors.lines().find(|line| line.starts_with(VIP)).unwrap();
    assert!(found.contains(&mac(&site.deployment.director)), "{found}");
    director.write_config(&text(backend, [0, 0]));
    director.change("reload");
    let refused = client.enter(|| TcpStream::connect_timeout(&vip(80), PATIENCE)).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
}

fn fragments_and_large_datagrams_work_over_ipv6(backend: &str) {
    let site = Site::new();
    let director = site.director(backend, [1, 0]);
    let server = site.deployment.real[0].enter(|| UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 7))).unwrap();
    let client = site.deployment.client.enter(|| UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0))).unwrap();
    client.connect(vip(7)).unwrap();
    server.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut buffer = vec![0; 65_536];
    for len in [10, 1452, 1453, 4096, 60_000, 100] {
        let data: Vec<u8> = (0..len).map(|n| n as u8).collect();
        client.send(&data).unwrap();
        let got = server.recv(&mut buffer).unwrap();
        assert_eq!(buffer[..got], data, "{len} bytes");
    }
    assert_eq!([director.dropped("fragment"), director.dropped("fragment_early")], [0, 0]);
    assert_eq!(director.stats(&format!("-u [{VIP}]:7"))[0][0], 1, "one flow");
}

fn services_and_servers_change_live_over_ipv6(backend: &str) {
    let site = Site::new();
    let director = site.director(backend, [1, 1]);
    let service = format!("[{VIP}]:8080");
    director.change(&format!("ipvsadm -A -t {service} -s rr -p 300 -M 64"));
    for rip in RIPS {
        director.change(&format!("ipvsadm -a -t {service} -r [{rip}]:8080 -g -w 1"));
    }
    let listeners = [0, 1]
        .map(|n| site.deployment.real[n].enter(|| TcpListener::bind((Ipv6Addr::UNSPECIFIED, 8080))).unwrap());
    let text = director.cli("ipvsadm -Ln");
    assert!(text.contains(&format!("TCP  [{VIP}]:8080 rr persistent 300 mask 64\n")), "{text}");
    assert!(text.contains(&format!("  -> [{}]:8080 ", RIPS[0])), "{text}");
    let connect =
        || site.deployment.client.enter(|| TcpStream::connect_timeout(&vip(8080), PATIENCE)).unwrap();
    let connections: Vec<_> = (0..4).map(|_| connect()).collect();
    let listed = director.connections("8080");
    let established = listed.iter().filter(|line| line.contains("ESTABLISHED")).collect::<Vec<_>>();
    assert_eq!(established.len(), 4, "{listed:?}");
    let servers = RIPS.map(|rip| established.iter().filter(|line| line.contains(rip)).count());
    assert!(servers == [4, 0] || servers == [0, 4], "one client has one server: {listed:?}");
    connections.into_iter().for_each(|mut connection| connection.write_all(b"x").unwrap());
    director.change(&format!("ipvsadm -D -t {service}"));
    assert!(!director.cli("ipvsadm -Ln").contains("8080"));
    drop(listeners);
}
