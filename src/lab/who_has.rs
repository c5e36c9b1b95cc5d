//! Who answers ARP for an address: ask by broadcast, and listen for all answers.

use super::packet_socket::{PacketSocket, readable};
use crate::wire::MacAddr;
use crate::wire::arp::{ArpPacket, FRAME_LEN, Operation};
use nix::sys::socket::{LinkAddr, SockaddrIn};
use std::collections::BTreeSet;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// Somebody slow may miss one question.
const QUESTIONS: u32 = 3;
const LISTEN: Duration = Duration::from_millis(400);

/// Asks on `interface` of the own namespace who has `target`, for a second and a bit. Every MAC
/// address that says it does.
///
/// # Errors
/// If there is no such interface with an IPv4 address, or without CAP_NET_RAW.
pub fn ask(interface: &str, target: Ipv4Addr) -> io::Result<BTreeSet<MacAddr>> {
    let own = own_addresses(interface)?;
    let socket = PacketSocket::on(&own.link)?;
    let mut frame = [0; FRAME_LEN];
    ArpPacket::request(own.mac, own.ip, target).emit(&mut frame);
    let mut answers = BTreeSet::new();
    for _ in 0..QUESTIONS {
        socket.send(&frame)?;
        listen(&socket, target, &mut answers)?;
    }
    Ok(answers)
}

fn listen(socket: &PacketSocket, target: Ipv4Addr, answers: &mut BTreeSet<MacAddr>) -> io::Result<()> {
    let end = Instant::now() + LISTEN;
    let mut frame = [0; 2048];
    while Instant::now() < end {
        readable([socket.as_fd()], 20)?;
        while let Some((_, length)) = socket.receive(&mut frame)? {
            answers.extend(answer(&frame[..length.min(frame.len())], target));
        }
    }
    Ok(())
}

fn answer(frame: &[u8], target: Ipv4Addr) -> Option<MacAddr> {
    let packet = ArpPacket::parse(frame).ok()?;
    (packet.operation == Operation::Reply && packet.sender_ip == target).then_some(packet.sender_mac)
}

struct Own {
    link: LinkAddr,
    mac: MacAddr,
    ip: Ipv4Addr,
}

fn own_addresses(interface: &str) -> io::Result<Own> {
    let mut link = None;
    let mut ip = None;
    for entry in nix::ifaddrs::getifaddrs()?.filter(|entry| entry.interface_name == interface) {
        let Some(address) = entry.address else { continue };
        link = link.or(address.as_link_addr().copied());
        ip = ip.or(address.as_sockaddr_in().map(SockaddrIn::ip));
    }
    let mac = link.and_then(|link| link.addr()).map(MacAddr);
    match (link, mac, ip) {
        (Some(link), Some(mac), Some(ip)) => Ok(Own { link, mac, ip }),
        _ => Err(io::Error::other(format!("{interface} is not there, or has no MAC or IPv4 address"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VIP: Ipv4Addr = Ipv4Addr::new(192, 168, 195, 150);
    const OWNER: MacAddr = MacAddr([2, 0, 0, 0, 0, 5]);

    fn bytes(packet: ArpPacket) -> [u8; FRAME_LEN] {
        let mut frame = [0xee; FRAME_LEN];
        packet.emit(&mut frame);
        frame
    }

    #[test]
    fn only_a_reply_for_the_address_counts() {
        let request = ArpPacket::request(MacAddr([2; 6]), Ipv4Addr::new(192, 168, 195, 2), VIP);
        assert_eq!(answer(&bytes(request.answer(OWNER)), VIP), Some(OWNER));
        assert_eq!(answer(&bytes(request.answer(OWNER)), Ipv4Addr::LOCALHOST), None);
        assert_eq!(answer(&bytes(request), VIP), None);
        assert_eq!(answer(&[], VIP), None);
    }

    #[test]
    fn an_interface_without_addresses_is_named() {
        let error = ask("nosuch0", VIP).unwrap_err();
        assert!(error.to_string().contains("nosuch0"), "{error}");
    }
}
