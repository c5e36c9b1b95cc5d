//! ARP query: collects all answers to requests for an address.

use crate::io::{FrameKind, FrameSocket, Interface};
use crate::wire::MacAddr;
use crate::wire::arp::{ArpPacket, FRAME_LEN, Operation};
use std::collections::BTreeSet;
use std::io;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

/// Number of requests.
const REQUESTS: u32 = 3;
/// Time of collecting answers after each request.
const LISTEN: Duration = Duration::from_millis(400);
/// Interval of polling the socket.
const PAUSE: Duration = Duration::from_millis(5);

/// Sends ARP requests for `target` on `interface` of this namespace, for 1.2 s. Returns all MAC addresses that answer.
///
/// # Errors
/// If the interface does not exist or has no address in the target's network, or without CAP_NET_RAW.
pub fn run(interface: &str, target: Ipv4Addr) -> io::Result<BTreeSet<MacAddr>> {
    let interface = Interface::lookup(interface).map_err(io::Error::other)?;
    let own = interface.address_towards(target).ok_or_else(|| {
        io::Error::other(format!("{} has no address in the network of {target}", interface.name))
    })?;
    let socket = FrameSocket::open(&interface, FrameKind::Arp).map_err(io::Error::other)?;
    let mut request = [0; FRAME_LEN];
    ArpPacket::request(interface.mac, own, target).emit(&mut request);
    let mut answers = BTreeSet::new();
    for _ in 0..REQUESTS {
        socket.send(&request)?;
        listen(&socket, target, &mut answers)?;
    }
    Ok(answers)
}

fn listen(socket: &FrameSocket, target: Ipv4Addr, answers: &mut BTreeSet<MacAddr>) -> io::Result<()> {
    let end = Instant::now() + LISTEN;
    let mut buffer = [0; FRAME_LEN];
    while Instant::now() < end {
        match socket.receive(&mut buffer) {
            Ok(frame) => answers.extend(answer(frame, target)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::thread::sleep(PAUSE),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn answer(frame: &[u8], target: Ipv4Addr) -> Option<MacAddr> {
    let packet = ArpPacket::parse(frame).ok()?;
    (packet.operation == Operation::Reply && packet.sender_ip == target).then_some(packet.sender_mac)
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
    fn only_replies_for_the_address_count() {
        let request = ArpPacket::request(MacAddr([2; 6]), Ipv4Addr::new(192, 168, 195, 2), VIP);
        assert_eq!(answer(&bytes(request.reply(OWNER)), VIP), Some(OWNER));
        assert_eq!(answer(&bytes(request.reply(OWNER)), Ipv4Addr::LOCALHOST), None);
        assert_eq!(answer(&bytes(request), VIP), None);
        assert_eq!(answer(&[], VIP), None);
    }

    #[test]
    fn missing_interface_is_named() {
        let error = run("nosuch0", VIP).unwrap_err();
        assert!(error.to_string().contains("nosuch0"), "{error}");
    }
}
