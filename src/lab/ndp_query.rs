//! Solicitation of an IPv6 address, to find every host that answers for it.

use crate::io::Interface;
use crate::sys::packet_socket::PacketSocket;
use crate::wire::MacAddr;
use crate::wire::ndp::{FRAME_LEN_MAX, NdpKind, NdpPacket};
use std::collections::BTreeSet;
use std::io::{self, ErrorKind};
use std::net::Ipv6Addr;
use std::time::{Duration, Instant};

/// Number of solicitations.
const SOLICITATIONS: u32 = 3;
/// Time for answers after each solicitation.
const LISTEN: Duration = Duration::from_millis(400);
/// Interval of polling the socket.
const PAUSE: Duration = Duration::from_millis(5);

/// Solicits `target` by its group on `interface` of this namespace, for 1.2 s. Returns all MAC addresses that answer.
///
/// # Errors
/// If the interface does not exist or has no IPv6 address, or without CAP_NET_RAW.
pub fn run(interface: &str, target: Ipv6Addr) -> io::Result<BTreeSet<MacAddr>> {
    let interface = Interface::lookup(interface).map_err(io::Error::other)?;
    let own = interface
        .ipv6_source(&BTreeSet::from([target.into()]))
        .ok_or_else(|| io::Error::other(format!("{} has no IPv6 address", interface.name)))?;
    let socket = PacketSocket::open()?;
    socket.bind(interface.index, libc::ETH_P_IPV6 as u16)?; // 0x86dd
    let mut buffer = [0; FRAME_LEN_MAX];
    let solicitation = NdpPacket::solicitation(interface.mac, own, target).emit(&mut buffer).to_vec();
    let mut answers = BTreeSet::new();
    for _ in 0..SOLICITATIONS {
        socket.send(&solicitation)?;
        listen(&socket, target, &mut answers)?;
    }
    Ok(answers)
}

fn listen(socket: &PacketSocket, target: Ipv6Addr, answers: &mut BTreeSet<MacAddr>) -> io::Result<()> {
    let end = Instant::now() + LISTEN;
    let mut buffer = [0; 1514]; // a whole frame of Ethernet
    while Instant::now() < end {
        match socket.receive(&mut buffer) {
            Ok(length) => answers.extend(answer(&buffer[..length], target)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::sleep(PAUSE),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn answer(frame: &[u8], target: Ipv6Addr) -> Option<MacAddr> {
    let packet = NdpPacket::parse(frame).ok()?;
    let is_answer = matches!(packet.kind, NdpKind::Advertisement(_)) && packet.target == target;
    is_answer.then(|| packet.link_layer.unwrap_or(packet.source))
}

#[cfg(test)]
mod tests {
    use super::super::host::{ROUTER6, VIP6};
    use super::*;

    const OWNER: MacAddr = MacAddr([2, 0, 0, 0, 0, 5]);
    const ASKER: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);

    #[test]
    fn only_advertisements_for_the_address_count() {
        let mut buffer = [0; FRAME_LEN_MAX];
        let advertisement = NdpPacket::answer(OWNER, VIP6, ASKER, ROUTER6);
        assert_eq!(answer(advertisement.emit(&mut buffer), VIP6), Some(OWNER));
        assert_eq!(answer(advertisement.emit(&mut buffer), ROUTER6), None);
        assert_eq!(answer(NdpPacket::solicitation(ASKER, ROUTER6, VIP6).emit(&mut buffer), VIP6), None);
        assert_eq!(answer(&[], VIP6), None);
    }
}
