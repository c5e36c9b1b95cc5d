//! Sampling of received frames: replies of real servers that pass the director on their way to the clients.

use super::gathered::Gathered;
use crate::io::Interface;
use crate::sys::packet_socket::PacketSocket;
use crate::sys::{errno, poll};
use crate::wire::{MacAddr, ethernet};
use libc::{BPF_ABS, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W, sock_filter};
use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Duration of the sample.
const DURATION: Duration = Duration::from_millis(300);
/// Frames that suffice.
const FRAMES_MAX: u32 = 1000;
/// VIPs that are looked for: the filter has room for so many.
const VIPS_MAX: usize = 64;
/// Bytes of a frame that are read: the headers of Ethernet and IPv6.
const HEAD: usize = 54;

/// Frames with a VIP as their source, which one host has sent to this one for another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Replies {
    pub(super) sender: MacAddr,
    pub(super) vip: IpAddr,
    /// Destination of the first.
    pub(super) client: IpAddr,
    pub(super) count: u32,
}

/// Listens for replies on an interface. Those to `own` addresses are answers to health checks.
pub(super) fn sample(interface: &Interface, vips: &[IpAddr], own: &[IpAddr]) -> Gathered<Vec<Replies>> {
    collect(interface, vips, own).map_err(|error| errno(&error))
}

fn collect(interface: &Interface, vips: &[IpAddr], own: &[IpAddr]) -> io::Result<Vec<Replies>> {
    let socket = PacketSocket::open()?;
    socket.ignore_outgoing()?;
    socket.set_filter(&filter(vips))?;
    socket.bind(interface.index, libc::ETH_P_ALL as u16)?; // 3
    let (mut found, mut head) = (BTreeMap::<_, Replies>::new(), [0; HEAD]);
    let end = Instant::now() + DURATION;
    for _ in 0..FRAMES_MAX {
        let Some(length) = next(&socket, &mut head, end)? else { break };
        if let Some(reply) = reply(&head[..length], interface.mac, own) {
            found.entry((reply.sender, reply.vip)).or_insert(reply).count += 1;
        }
    }
    Ok(found.into_values().collect())
}

/// Receives the head of a frame; `None` at the end of the time.
fn next(socket: &PacketSocket, head: &mut [u8], end: Instant) -> io::Result<Option<usize>> {
    loop {
        match socket.receive(head) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let left = end.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return Ok(None);
                }
                poll::readable([socket], left)?;
            }
            received => return received.map(Some),
        }
    }
}

/// A reply to this interface that is not for this host, counted as none.
fn reply(head: &[u8], mac: MacAddr, own: &[IpAddr]) -> Option<Replies> {
    let (header, packet) = ethernet::split(head)?;
    let (vip, client) = match header.ethertype() {
        ethernet::IPV4 => (address::<4>(packet, 12)?, address::<4>(packet, 16)?),
        ethernet::IPV6 => (address::<16>(packet, 8)?, address::<16>(packet, 24)?),
        _ => return None,
    };
    let is_passing = ethernet::destination(head) == Some(mac) && !own.contains(&client);
    is_passing.then_some(Replies { sender: ethernet::source(head)?, vip, client, count: 0 })
}

fn address<const N: usize>(packet: &[u8], at: usize) -> Option<IpAddr>
where
    IpAddr: From<[u8; N]>,
{
    packet.get(at..)?.first_chunk::<N>().map(|bytes| IpAddr::from(*bytes))
}

/// A socket filter for packets from a VIP. The addresses stand at byte 26 of a frame of IPv4, at 22 of IPv6.
fn filter(vips: &[IpAddr]) -> Vec<sock_filter> {
    let mut program = Vec::new();
    for vip in vips.iter().take(VIPS_MAX) {
        let (at, bytes) = match vip {
            IpAddr::V4(vip) => (26, vip.octets().to_vec()),
            IpAddr::V6(vip) => (22, vip.octets().to_vec()),
        };
        let words =
            bytes.chunks_exact(4).map(|word| u32::from_be_bytes(word.try_into().expect("four bytes")));
        let words: Vec<_> = words.collect();
        for (index, word) in words.iter().enumerate() {
            let behind = 2 * (words.len() - 1 - index) + 1; // to the end of this address
            program.push(step(BPF_LD | BPF_W | BPF_ABS, 0, at + 4 * index as u32)); // 12 at most
            program.push(step(BPF_JMP | BPF_JEQ | BPF_K, behind as u8, *word)); // 7 at most
        }
        program.push(step(BPF_RET | BPF_K, 0, HEAD as u32)); // 54
    }
    program.push(step(BPF_RET | BPF_K, 0, 0));
    program
}

/// An instruction; a comparison that fails skips so many.
fn step(code: u32, jf: u8, k: u32) -> sock_filter {
    sock_filter { code: code as u16, jt: 0, jf, k } // codes are 16 bits wide
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
    const SENDER: MacAddr = MacAddr([2, 0, 0, 0, 0, 9]);

    fn frame(vip: &str, client: &str) -> Vec<u8> {
        let octets = |text: &str| match text.parse().unwrap() {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        };
        let (ethertype, before) = if vip.contains(':') { ([0x86, 0xdd], 8) } else { ([8, 0], 12) };
        let head = [OWN.0.to_vec(), SENDER.0.to_vec(), ethertype.to_vec(), vec![0; before]].concat();
        [head, octets(vip), octets(client)].concat()
    }

    #[test]
    fn replies_for_others_are_told_from_answers_to_checks() {
        let own = ["10.0.0.1".parse().unwrap()];
        for (vip, client) in [("10.0.0.100", "192.0.2.7"), ("2001:db8::80", "2001:db8:1::7")] {
            let reply = reply(&frame(vip, client), OWN, &own).unwrap();
            assert_eq!((reply.sender, reply.vip.to_string().as_str()), (SENDER, vip));
            assert_eq!(reply.client.to_string(), client);
        }
        assert_eq!(reply(&frame("10.0.0.100", "10.0.0.1"), OWN, &own), None);
        assert_eq!(reply(&frame("10.0.0.100", "192.0.2.7"), SENDER, &own), None, "to another station");
        assert_eq!(reply(&[0; 20], MacAddr::ZERO, &own), None);
    }

    /// Runs a filter of loads, comparisons and returns.
    fn run(program: &[sock_filter], frame: &[u8]) -> u32 {
        let (mut at, mut word) = (0, 0);
        loop {
            let step = program[at];
            at += 1;
            match u32::from(step.code) & 7 {
                BPF_LD => match frame.get(step.k as usize..).and_then(|rest| rest.first_chunk()) {
                    Some(bytes) => word = u32::from_be_bytes(*bytes),
                    None => return 0,
                },
                BPF_JMP if word != step.k => at += usize::from(step.jf),
                BPF_JMP => {}
                _ => return step.k,
            }
        }
    }

    #[test]
    fn the_filter_takes_the_vips_of_both_families() {
        let vips = ["2001:db8::80", "10.0.0.100", "10.0.0.101"].map(|vip| vip.parse().unwrap());
        let program = filter(&vips);
        for (vip, wanted) in [
            ("10.0.0.100", 54),
            ("10.0.0.101", 54),
            ("10.0.0.102", 0),
            ("2001:db8::80", 54),
            ("2001:db8::81", 0),
        ] {
            let client = if vip.contains(':') { "2001:db8::7" } else { "192.0.2.7" };
            let mut frame = frame(vip, client);
            frame.resize(60, 0);
            assert_eq!(run(&program, &frame), wanted, "{vip}");
        }
    }
}
