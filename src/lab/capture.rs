//! Capture at the switch: frames received on each of its ports, classified by the VIP.
//!
//! Every frame of the segment is received on exactly one port, that of its sender. Frames with source VIP from the
//! director's port are therefore replies that passed through the director.

use super::LabHost;
use super::host::{VIP, VIP6};
use super::layout::Layout;
use super::pcapng::Pcapng;
use crate::sys::packet_socket::{FrameInfo, PacketSocket};
use crate::sys::poll;
use crate::wire::ethernet;
use crate::wire::icmp::ICMPV6;
use crate::wire::ipv4::Ipv4;
use crate::wire::ipv6::Ipv6;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

/// Size of the receive buffer in bytes, by the kernel's accounting: about ten thousand small frames.
const QUEUE_BYTES: i32 = 64 << 20;
/// Time limit of one wait for frames or the end of standard input.
const POLL_TIMEOUT: Duration = Duration::from_secs(1);

/// Number of frames and bytes, counted from the IP header as in IPVS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Number of frames.
    pub frames: u64,
    /// IP bytes.
    pub bytes: u64,
}

impl Tally {
    fn count(&mut self, bytes: u16) {
        self.frames += 1;
        self.bytes += u64::from(bytes);
    }
}

impl std::iter::Sum for Tally {
    fn sum<I: Iterator<Item = Self>>(tallies: I) -> Self {
        tallies.fold(Self::default(), |a, b| Self { frames: a.frames + b.frames, bytes: a.bytes + b.bytes })
    }
}

/// Frames sent by one host to the segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostFrames {
    /// Packets with a VIP as destination, without neighbor discovery and the auditor's test of the gateway.
    pub to_vip: Tally,
    /// Packets with a VIP as source, without neighbor discovery.
    pub from_vip: Tally,
    /// Frames of any kind.
    pub frames: u64,
    /// Frames of any kind by the kernel's counter; more if the capture missed frames.
    pub kernel_frames: u64,
}

/// Frames by sending host.
pub type FramesByHost = BTreeMap<LabHost, HostFrames>;

/// Captures in the network namespace of this process, which must be the switch's, until standard input ends. Prints an
/// empty line at the start and the counts as one line of JSON at the end. Writes every frame to `file`, if given.
///
/// # Errors
/// If the socket, the ports' counters, the file or the output fail.
pub fn run(file: Option<&Path>) -> io::Result<()> {
    let socket = open_tap()?;
    let ports = ports();
    let mut seen: FramesByHost = ports.values().map(|host| (*host, HostFrames::default())).collect();
    let before = kernel_frames(&ports)?;
    let mut file = file.map(begin).transpose()?;
    println!();
    capture(&socket, &ports, &mut seen, file.as_mut())?;
    if let Some(file) = file {
        file.finish()?;
    }
    for (host, after) in kernel_frames(&ports)? {
        seen.entry(host).or_default().kernel_frames = after - before.get(&host).unwrap_or(&after);
    }
    let text = serde_json::to_string(&seen)?;
    writeln!(io::stdout(), "{text}")
}

type PcapFile = Pcapng<BufWriter<File>>;

fn begin(file: &Path) -> io::Result<PcapFile> {
    Pcapng::begin(BufWriter::new(File::create(file)?), &LabHost::ON_SEGMENT.map(LabHost::name))
}

/// Counts frames by port until standard input ends.
fn capture(
    socket: &PacketSocket,
    ports: &BTreeMap<u32, LabHost>,
    seen: &mut FramesByHost,
    mut file: Option<&mut PcapFile>,
) -> io::Result<()> {
    // Merged segments may be larger than the MTU.
    let mut frame = vec![0; ethernet::HEADER_LEN + usize::from(u16::MAX)];
    let input = io::stdin();
    let mut ended = false;
    while !ended {
        [_, ended] = poll::readable([socket, &input], POLL_TIMEOUT)?;
        while let Some(arrival) = receive(socket, &mut frame)? {
            let Some(host) = ports.get(&arrival.interface) else { continue };
            let frame = &frame[..arrival.length];
            count(frame, seen.entry(*host).or_default());
            if let (Some(file), Some(place)) =
                (&mut file, LabHost::ON_SEGMENT.iter().position(|one| one == host))
            {
                file.frame(place, arrival.time, frame)?;
            }
        }
    }
    Ok(())
}

/// Opens a socket for every frame of the calling thread's network namespace.
fn open_tap() -> io::Result<PacketSocket> {
    let socket = PacketSocket::open()?;
    socket.set_receive_buffer(QUEUE_BYTES);
    socket.enable_timestamps()?;
    socket.bind(0, libc::ETH_P_ALL as u16)?; // 3
    Ok(socket)
}

/// Receives the next frame from a wire, if one is waiting. Frames that the host itself sends are skipped.
fn receive(socket: &PacketSocket, frame: &mut [u8]) -> io::Result<Option<FrameInfo>> {
    loop {
        match socket.receive_with_info(frame) {
            Ok(info) if info.packet_type != libc::PACKET_OUTGOING => return Ok(Some(info)),
            Ok(_) => (),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => (),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error),
        }
    }
}

/// Counts a frame by the VIP in its IP header. The auditor's test of the gateway, from the director to the VIP by way of the
/// router, is neither a client's nor forwarded.
fn count(frame: &[u8], sent: &mut HostFrames) {
    sent.frames += 1;
    let is_vip = |address: IpAddr| address == VIP || address == VIP6;
    let Some((source, destination, bytes)) = ip_header(frame) else { return };
    if is_vip(destination) && !is_director(source) {
        sent.to_vip.count(bytes);
    }
    if is_vip(source) {
        sent.from_vip.count(bytes);
    }
}

/// True for an address of the director in any layout.
fn is_director(address: IpAddr) -> bool {
    let layouts = [Layout::OneSubnet, Layout::TwoSubnets];
    layouts.into_iter().any(|layout| LabHost::Director.address_beside(address, layout) == Some(address))
}

/// Source, destination and bytes of a packet; `None` for neighbor discovery, whose messages bear the VIP, too.
fn ip_header(frame: &[u8]) -> Option<(IpAddr, IpAddr, u16)> {
    let packet = frame.get(ethernet::HEADER_LEN..)?;
    match ethernet::ethertype(frame)? {
        ethernet::IPV4 => {
            let header = Ipv4::new(packet).ok()?;
            Some((header.source().into(), header.destination().into(), header.total_len()))
        }
        ethernet::IPV6 if is_neighbor_discovery(packet) => None,
        ethernet::IPV6 => {
            let header = Ipv6::new(packet).ok()?;
            Some((header.source().into(), header.destination().into(), header.bytes()))
        }
        _ => None,
    }
}

/// Messages of RFC 4861 §4 directly behind the IPv6 header.
fn is_neighbor_discovery(packet: &[u8]) -> bool {
    packet.get(6) == Some(&ICMPV6) && packet.get(40).is_some_and(|kind| (133..=137).contains(kind))
}

/// Ports of the switch by interface index. They are named after their hosts.
fn ports() -> BTreeMap<u32, LabHost> {
    let index = |host: LabHost| nix::net::if_::if_nametoindex(host.name()).ok().map(|index| (index, host));
    LabHost::ON_SEGMENT.into_iter().filter_map(index).collect()
}

fn kernel_frames(ports: &BTreeMap<u32, LabHost>) -> io::Result<BTreeMap<LabHost, u64>> {
    ports.values().map(|host| Ok((*host, counter(host.name(), "rx_packets")?))).collect()
}

/// Path of the kernel's counter `name` of `interface`, for a process of its namespace.
pub(super) fn counter_path(interface: &str, name: &str) -> String {
    format!("/sys/class/net/{interface}/statistics/{name}")
}

fn counter(interface: &str, name: &str) -> io::Result<u64> {
    let path = counter_path(interface, name);
    let text = std::fs::read_to_string(&path)?;
    text.trim().parse().map_err(|_| io::Error::other(format!("{path} holds no number")))
}

#[cfg(test)]
mod tests {
    use super::super::host::{CLIENT6, ROUTER6};
    use super::*;
    use crate::wire::MacAddr;
    use crate::wire::hairpin::HairpinFrame;
    use crate::wire::ndp::{FRAME_LEN_MAX, NdpPacket};
    use std::net::Ipv4Addr;

    fn frame(source: Ipv4Addr, destination: Ipv4Addr) -> Vec<u8> {
        let builder = etherparse::PacketBuilder::ethernet2([2; 6], [4; 6])
            .ipv4(source.octets(), destination.octets(), 64)
            .tcp(1000, 80, 1, 1);
        let mut bytes = Vec::new();
        builder.write(&mut bytes, b"hello").unwrap();
        bytes.resize(60.max(bytes.len()), 0);
        bytes
    }

    #[test]
    fn frames_are_counted_by_vip_without_padding() {
        let other = Ipv4Addr::new(198, 51, 100, 10);
        let mut sent = HostFrames::default();
        count(&frame(other, VIP), &mut sent);
        count(&frame(VIP, other), &mut sent);
        count(&frame(VIP, other), &mut sent);
        count(&frame(other, other), &mut sent);
        count(&[0; 60], &mut sent);
        count(&[], &mut sent);
        assert_eq!(sent.to_vip, Tally { frames: 1, bytes: 45 });
        assert_eq!(sent.from_vip, Tally { frames: 2, bytes: 90 });
        assert_eq!(sent.frames, 6);
    }

    #[test]
    fn frames_of_the_gateway_test_do_not_count_for_the_vip() {
        for layout in [Layout::OneSubnet, Layout::TwoSubnets] {
            let (to, from) = (LabHost::Router.mac(), LabHost::Director.mac());
            let source = LabHost::Director.address(layout).unwrap();
            let test = HairpinFrame { to, from, source, destination: VIP, mark: 1, number: 2 };
            let mut sent = HostFrames::default();
            count(&test.emit(), &mut sent);
            assert_eq!((sent.to_vip, sent.frames), (Tally::default(), 1));
        }
    }

    #[test]
    fn ipv6_frames_count_without_neighbor_discovery() {
        let (mac, mut sent) = (MacAddr([2; 6]), HostFrames::default());
        let builder = etherparse::PacketBuilder::ethernet2([2; 6], [4; 6])
            .ipv6(CLIENT6.octets(), VIP6.octets(), 64)
            .tcp(1000, 80, 1, 1);
        let mut bytes = Vec::new();
        builder.write(&mut bytes, b"hello").unwrap();
        count(&bytes, &mut sent);
        let mut buffer = [0; FRAME_LEN_MAX];
        count(NdpPacket::answer(mac, VIP6, mac, ROUTER6).emit(&mut buffer), &mut sent);
        assert_eq!((sent.to_vip, sent.from_vip), (Tally { frames: 1, bytes: 65 }, Tally::default()));
    }

    #[test]
    fn counts_round_trip_through_json() {
        let seen = FramesByHost::from([(LabHost::Rs1, HostFrames { frames: 3, ..HostFrames::default() })]);
        assert_eq!(
            serde_json::from_str::<FramesByHost>(&serde_json::to_string(&seen).unwrap()).unwrap(),
            seen
        );
    }
}
