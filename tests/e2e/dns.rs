//! DNS over UDP beyond the MTU: dig, and dnsmasq on the real servers.

use crate::deployment::{Deployment, VIPS};
use crate::director::{Config, Director, Home};
use crate::on_both_backends;
use crate::peers::{NAMES, PATIENCE};
use crate::support::netns::{Netns, Process, wait_until};
use crate::support::responder::Dump;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::process::Stdio;

on_both_backends! {
    dig_gets_answers_of_4_kilobytes
    questions_beyond_the_mtu_are_answered
}

/// Name with one TXT record of 4,000 bytes, the first part of which is the server's name.
const LARGE: &str = "large.test";
/// UDP payload that the clients take (EDNS0, RFC 6891).
const UDP_MAX: u16 = 8192;
/// Length of the answer: 12 bytes of header, 16 of question, 12 of record, 11 of EDNS0; 15 strings of 250 bytes and one
/// of 244, and the server's name, each behind its length.
const ANSWER: usize = 12 + 16 + 12 + 15 * 251 + 245 + 6 + 11;

fn start_server(host: &Netns, name: &str) -> Process {
    let strings: String =
        [250; 15].into_iter().chain([244]).map(|len| format!(",{}", "x".repeat(len))).collect();
    let addresses: String = VIPS.iter().map(|vip| format!(" --listen-address={vip}")).collect();
    let process = host
        .command(&format!(
            "exec dnsmasq --keep-in-foreground --conf-file=/dev/null --pid-file= --user=root --no-resolv --no-hosts \
             --bind-interfaces{addresses} --edns-packet-max=65535 --local=/test/ --txt-record={LARGE},{name}{strings}"
        ))
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let process = Process(process.unwrap());
    wait_until("dnsmasq listens", PATIENCE, || {
        host.run("ss -Hlun 'sport = :53'").lines().count() == VIPS.len()
    });
    process
}

fn start(backend: &str) -> (Deployment, [Process; 2], Director) {
    let deployment = Deployment::reference().with_ipv6();
    let servers = [0, 1].map(|n| start_server(&deployment.real[n], NAMES[n]));
    let config = Config::new(backend).with("workers = 1");
    let mut text = config.text(&deployment);
    for (vip, protocol) in VIPS.into_iter().flat_map(|vip| ["udp", "tcp"].map(|protocol| (vip, protocol))) {
        text += &config.service(&deployment, protocol, (vip, 53).into());
    }
    let director = Director::start_in(Home::new(), &deployment.director, &text);
    (deployment, servers, director)
}

/// The text of dig for the large record.
fn dig(client: &Netns, vip: IpAddr, options: &str) -> String {
    let text = client.run(&format!("dig @{vip} {LARGE} TXT +tries=1 +timeout=10 {options}"));
    assert!(text.contains("status: NOERROR") && text.contains("ANSWER: 1,"), "{text}");
    assert!(NAMES.iter().any(|name| text.contains(&format!("TXT\t\"{name}\" \"xxx"))), "{text}");
    assert!(text.contains(&format!("MSG SIZE  rcvd: {ANSWER}")), "{text}");
    text
}

fn dig_gets_answers_of_4_kilobytes(backend: &str) {
    let (deployment, _servers, director) = start(backend);
    let client = &deployment.client;
    let macs = [0, 1].map(|n| crate::deployment::mac(&deployment.real[n]));
    for vip in VIPS {
        let fragments = "ip[6:2] & 0x3fff != 0 or ip6[6] = 44";
        let dump = Dump::on(client, &format!("src host {vip} and ({fragments})"));
        for _ in 0..6 {
            let text = dig(client, vip, &format!("+bufsize={UDP_MAX} +notcp +ignore +nocookie"));
            assert!(text.contains("(UDP)"), "{text}");
        }
        let captured = || dump.text().lines().filter(|line| line.contains(" > ")).count();
        wait_until("three fragments of each answer", PATIENCE, || captured() == 6 * 3);
        let direct = macs.iter().map(|mac| dump.lines(&format!(" {mac} > "))).sum::<usize>();
        assert_eq!(direct, 6 * 3, "answers come from the servers themselves: {}", dump.text());
        let text = dig(client, vip, "+bufsize=1232 +nocookie");
        assert!(text.contains("Truncated, retrying in TCP mode") && text.contains("(TCP)"), "{text}");
        let [service, first, second] = director.stats(&format!("-u {}", SocketAddr::new(vip, 53)))[..] else {
            panic!("two servers")
        };
        assert_eq!(service[..2], [7, 7], "a question is one packet");
        assert!(first[0] > 0 && second[0] > first[0], "{first:?} {second:?}");
    }
}

/// A question for the large record, with this much padding (RFC 7830).
fn question(id: u16, padding: u16) -> Vec<u8> {
    let header = [id, 0x0100, 1, 0, 0, 1]; // recursion desired; one question, one additional record
    let name = LARGE.split('.').flat_map(|label| [&[label.len() as u8], label.as_bytes()].concat());
    let mut bytes: Vec<u8> = header.into_iter().flat_map(u16::to_be_bytes).chain(name).chain([0]).collect();
    bytes.extend([16, 1].into_iter().flat_map(u16::to_be_bytes)); // TXT, IN
    // OPT: root, type, payload size, extended flags, length; then option 12.
    bytes.push(0);
    bytes.extend([41, UDP_MAX, 0, 0, 4 + padding, 12, padding].into_iter().flat_map(u16::to_be_bytes));
    bytes.resize(bytes.len() + usize::from(padding), 0);
    bytes
}

fn questions_beyond_the_mtu_are_answered(backend: &str) {
    let (deployment, _servers, director) = start(backend);
    for vip in VIPS {
        let any: IpAddr =
            if vip.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let socket = deployment.client.enter(|| UdpSocket::bind((any, 0))).unwrap();
        socket.connect((vip, 53)).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        // Data in a fragment: 1,500 bytes but for the headers, in units of 8 bytes.
        let room = if vip.is_ipv4() { 1480 } else { 1448 };
        let (mut packets, mut buffer) = (0, vec![0; 65_536]);
        for (id, padding) in [(1, 0), (2, 1500), (3, 4000), (4, 8000), (5, 3)] {
            let question = question(id, padding);
            socket.send(&question).unwrap();
            let len = socket.recv(&mut buffer).unwrap();
            assert_eq!(buffer[..2], id.to_be_bytes(), "the answer to this question");
            assert_eq!(buffer[2] & 0x82, 0x80, "an answer, not truncated");
            assert_eq!((buffer[3] & 0x0f, &buffer[6..8]), (0, &[0, 1][..]), "no error, one record");
            assert_eq!(len, ANSWER, "{vip}: {padding}");
            packets += (8 + question.len()).div_ceil(room) as u64;
        }
        let service = director.stats(&format!("-u {}", SocketAddr::new(vip, 53)))[0];
        assert_eq!(service[..2], [1, packets], "one flow, each fragment counts");
        assert!(packets > 10);
    }
    assert_eq!(
        ["fragment", "fragment_early", "tiny_fragment"].map(|reason| director.dropped(reason)),
        [0; 3]
    );
}
