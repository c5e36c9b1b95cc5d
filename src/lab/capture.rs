//! What the switch sees: frames that come in on each of its ports, sorted by the VIP.
//!
//! Every frame of the segment comes in at exactly one port, that of the host which sent it. So
//! "frames with source VIP that came in from the director" are exactly the replies that went
//! through it.

use super::Host;
use super::host::VIP;
use super::pcapng::Pcapng;
use crate::sys::packet_socket::{FrameInfo, PacketSocket};
use crate::sys::poll;
use crate::wire::ethernet;
use crate::wire::ipv4::Ipv4;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

/// Receive buffer in bytes as the kernel counts them: room for some ten thousand small frames.
const QUEUE_BYTES: i32 = 64 << 20;
/// Longest wait for a frame before standard input is looked at.
const TURN: Duration = Duration::from_secs(1);

/// Frames and their bytes, counted from the IP header on as IPVS does.
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

/// What one host sent to the segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sent {
    /// IPv4 with destination VIP.
    pub to_vip: Tally,
    /// IPv4 with source VIP.
    pub from_vip: Tally,
    /// Frames of any kind.
    pub frames: u64,
    /// Frames of any kind as the kernel counted them: more, if the capture missed some.
    pub kernel_frames: u64,
}

/// By sending host.
pub type Seen = BTreeMap<Host, Sent>;

/// Captures in the own namespace, which must be the switch's, until standard input ends; then
/// prints what was seen as one line of JSON, and has every frame in `file`. Prints an empty line once
/// it has begun.
///
/// # Errors
/// If the socket, the ports' counters, the file or the output fail.
pub fn run(file: Option<&Path>) -> io::Result<()> {
    let socket = open_tap()?;
    let ports = ports();
    let mut seen: Seen = ports.values().map(|host| (*host, Sent::default())).collect();
    let before = kernel_frames(&ports)?;
    let mut file = file.map(begin).transpose()?;
    println!();
    watch(&socket, &ports, (&mut seen, file.as_mut()))?;
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
    Pcapng::begin(BufWriter::new(File::create(file)?), &Host::ON_SEGMENT.map(Host::name))
}

fn watch(
    socket: &PacketSocket,
    ports: &BTreeMap<u32, Host>,
    (seen, mut file): (&mut Seen, Option<&mut PcapFile>),
) -> io::Result<()> {
    // Merged segments may be larger than the MTU.
    let mut frame = vec![0; ethernet::HEADER_LEN + usize::from(u16::MAX)];
    let input = io::stdin();
    let mut ended = false;
    while !ended {
        [_, ended] = poll::readable([socket, &input], TURN)?;
        while let Some(arrival) = receive(socket, &mut frame)? {
            let Some(host) = ports.get(&arrival.interface) else { continue };
            let frame = &frame[..arrival.length];
            sort(frame, seen.entry(*host).or_default());
            if let (Some(file), Some(place)) =
                (&mut file, Host::ON_SEGMENT.iter().position(|one| one == host))
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

fn sort(frame: &[u8], sent: &mut Sent) {
    sent.frames += 1;
    let Some((source, destination, bytes)) = ipv4(frame) else { return };
    if destination == VIP {
        sent.to_vip.count(bytes);
    }
    if source == VIP {
        sent.from_vip.count(bytes);
    }
}

fn ipv4(frame: &[u8]) -> Option<(Ipv4Addr, Ipv4Addr, u16)> {
    if ethernet::ethertype(frame)? != ethernet::IPV4 {
        return None;
    }
    let header = Ipv4::new(frame.get(ethernet::HEADER_LEN..)?).ok()?;
    Some((header.source(), header.destination(), header.total_len()))
}

/// The switch's ports are named after the hosts at their other ends.
fn ports() -> BTreeMap<u32, Host> {
    let index = |host: Host| nix::net::if_::if_nametoindex(host.name()).ok().map(|index| (index, host));
    Host::ON_SEGMENT.into_iter().filter_map(index).collect()
}

fn kernel_frames(ports: &BTreeMap<u32, Host>) -> io::Result<BTreeMap<Host, u64>> {
    ports.values().map(|host| Ok((*host, counter(host.name(), "rx_packets")?))).collect()
}

/// Where the kernel's counter `name` of `interface` is, for a process of its namespace.
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
    use super::*;

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
    fn frames_are_sorted_by_the_vip_and_counted_without_padding() {
        let other = Ipv4Addr::new(198, 51, 100, 10);
        let mut sent = Sent::default();
        sort(&frame(other, VIP), &mut sent);
        sort(&frame(VIP, other), &mut sent);
        sort(&frame(VIP, other), &mut sent);
        sort(&frame(other, other), &mut sent);
        sort(&[0; 60], &mut sent);
        sort(&[], &mut sent);
        assert_eq!(sent.to_vip, Tally { frames: 1, bytes: 45 });
        assert_eq!(sent.from_vip, Tally { frames: 2, bytes: 90 });
        assert_eq!(sent.frames, 6);
    }

    #[test]
    fn what_was_seen_survives_the_pipe() {
        let seen = Seen::from([(Host::Rs1, Sent { frames: 3, ..Sent::default() })]);
        assert_eq!(serde_json::from_str::<Seen>(&serde_json::to_string(&seen).unwrap()).unwrap(), seen);
    }
}
