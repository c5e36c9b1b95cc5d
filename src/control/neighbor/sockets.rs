//! The sockets of one interface: for ARP and for neighbor discovery, and the groups of its VIPs.

use super::vlans::{take_tags, with_tags};
use crate::control::log::limit::LogLimiter;
use crate::io::{AsyncFrameSocket, FrameKind, FrameSocket, GroupChange, Interface, MulticastGroups};
use crate::model::Diagnostic;
use crate::neighbor::encoding::{decode, encode};
use crate::neighbor::{NeighborMessage, Outgoing};
use crate::wire::hairpin::HairpinFrame;
use crate::wire::vlan::Vlans;
use crate::wire::{MacAddr, ethernet};
use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::task::{Context, Poll};
use std::time::Instant;

/// Longest frame that is read, with its tags: a message with options beyond that is none of a neighbor's.
const FRAME_MAX: usize = 1514 + 8;

/// The open sockets of an interface.
#[derive(Debug)]
pub struct NeighborSockets {
    mac: MacAddr,
    arp: FrameSocket,
    ndp: FrameSocket,
    groups: MulticastGroups,
}

impl NeighborSockets {
    /// Opens them in the calling thread's network namespace.
    ///
    /// # Errors
    /// As [`FrameSocket::open`].
    pub fn open(interface: &Interface) -> Result<Self, Diagnostic> {
        Ok(Self {
            mac: interface.mac,
            arp: FrameSocket::open(interface, FrameKind::Arp)?,
            ndp: FrameSocket::open(interface, FrameKind::Ndp)?,
            groups: MulticastGroups::new(interface.index),
        })
    }
}

/// The sockets of an interface, registered with a runtime.
pub(super) struct NeighborInterface {
    mac: MacAddr,
    arp: Channel,
    ndp: Channel,
    groups: MulticastGroups,
    link_local: Option<Ipv6Addr>,
    /// Mark of the frames that the gateway sends back to this interface, if it is tested there.
    mark: Option<u32>,
}

/// Frames of a burst.
#[derive(Debug, Default)]
pub(super) struct ReceivedFrames {
    pub(super) messages: Vec<(Vlans, NeighborMessage)>,
    /// Frames that the gateway has sent back.
    pub(super) hairpins: Vec<HairpinFrame>,
}

/// The socket of one protocol.
struct Channel {
    protocol: FrameKind,
    socket: AsyncFrameSocket,
    /// True after a failed transmission: only a change is logged.
    failing: bool,
    /// Rate limit of messages, by direction.
    limiter: LogLimiter<Topic>,
}

/// Topic of a socket's log events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Topic {
    Receiving(&'static str),
    Sending(&'static str),
}

impl NeighborInterface {
    pub(super) fn new(sockets: NeighborSockets) -> io::Result<Self> {
        let NeighborSockets { mac, arp, ndp, groups } = sockets;
        let (arp, ndp) = (Channel::new(FrameKind::Arp, arp)?, Channel::new(FrameKind::Ndp, ndp)?);
        Ok(Self { mac, arp, ndp, groups, link_local: None, mark: None })
    }

    /// Receives the frames with this mark that the gateway sends back, from now on.
    ///
    /// # Errors
    /// Of setsockopt(2).
    pub(super) fn select_hairpins(&mut self, mark: u32) -> io::Result<()> {
        self.mark = Some(mark);
        self.arp.socket.socket().select_arp_and_hairpins(&BTreeSet::new(), mark)
    }

    /// Ready once a socket may have something to receive.
    pub(super) fn poll_readable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.arp.socket.poll_readable(context) {
            Poll::Pending => self.ndp.socket.poll_readable(context),
            ready => ready,
        }
    }

    /// Receives the messages of these outer VLANs, too.
    pub(super) fn select_vlans(&self, outer: &BTreeSet<u16>) {
        let [arp, ndp] = [&self.arp, &self.ndp].map(|channel| channel.socket.socket());
        let of_arp = match self.mark {
            Some(mark) => arp.select_arp_and_hairpins(outer, mark),
            None => arp.select_vlans(outer),
        };
        for (selected, protocol) in [(of_arp, FrameKind::Arp), (ndp.select_vlans(outer), FrameKind::Ndp)] {
            if let Err(error) = selected {
                let protocol = name(protocol);
                tracing::error!(%error, protocol, "selecting the messages of VLANs failed: their VIPs are not answered for");
            }
        }
    }

    /// Receives messages with their VLANs, and frames that came back, up to `burst` frames from each socket.
    pub(super) fn receive(&mut self, burst: usize) -> ReceivedFrames {
        let mut received = ReceivedFrames::default();
        self.arp.receive(burst, &mut received);
        self.ndp.receive(burst, &mut received);
        let mark = self.mark;
        received.hairpins.retain(|frame| frame.to == self.mac && Some(frame.mark) == mark);
        received
    }

    /// Sends the gateway a frame that it must send back. One that is lost is sent again.
    pub(super) fn test(&mut self, gateway: MacAddr, [source, vip]: [Ipv4Addr; 2], number: u32) {
        let Some(mark) = self.mark else { return };
        let frame = HairpinFrame { to: gateway, from: self.mac, source, destination: vip, mark, number };
        self.arp.send(&frame.emit());
    }

    /// Sends a message in these VLANs. A failed transmission counts as a lost frame, which the machine retries.
    pub(super) fn send(&mut self, message: &Outgoing, vlans: Vlans) {
        let (arp, ndp) = (&mut self.arp, &mut self.ndp);
        encode(message, self.mac, |frame| {
            let channel =
                if ethernet::ethertype(frame) == Some(ethernet::ARP) { &mut *arp } else { &mut *ndp };
            with_tags(frame, vlans, |tagged| channel.send(tagged));
        });
    }

    /// Joins the group at which the VIP is solicited.
    pub(super) fn join_group(&mut self, vip: Ipv6Addr) {
        let unreported = |error: Option<io::Error>| {
            let cause = unreported_cause(error.as_ref());
            let error = error.map(tracing::field::display);
            tracing::warn!(
                %vip, cause, error,
                "the group of the VIP is joined without a report: a switch with MLD snooping may not forward solicitations"
            );
        };
        match self.groups.join(vip, self.ndp.socket.socket()) {
            // The kernel reports it once there is an address.
            GroupChange::Done if self.link_local.is_none() => unreported(None),
            GroupChange::Done => {}
            GroupChange::Unreported(error) => unreported(Some(error)),
            GroupChange::Failed(error) => tracing::error!(
                %vip, %error, "joining the group of the VIP failed: solicitations may not arrive"
            ),
        }
    }

    /// Sets the interface's link-local address. When one appears, IPv6 was off or starting: the groups are reported anew.
    pub(super) fn set_link_local(&mut self, address: Option<Ipv6Addr>) {
        let before = std::mem::replace(&mut self.link_local, address);
        if before.is_some() || address.is_none() {
            return;
        }
        match self.groups.renew() {
            Ok(0) => {}
            Ok(groups) => {
                tracing::info!(
                    groups,
                    "the multicast groups of the VIPs are reported: the interface has IPv6"
                )
            }
            Err(error) => {
                let cause = unreported_cause(Some(&error));
                tracing::warn!(
                    cause, %error,
                    "reporting the multicast groups of the VIPs failed: a switch with MLD snooping may not forward solicitations"
                );
            }
        }
    }

    /// Leaves the group of the VIP.
    pub(super) fn leave_group(&mut self, vip: Ipv6Addr) {
        self.groups.leave(vip, self.ndp.socket.socket());
    }

    pub(super) fn report_suppressed(&mut self, now: Instant) {
        self.arp.limiter.report_suppressed(now);
        self.ndp.limiter.report_suppressed(now);
    }
}

impl ReceivedFrames {
    fn add(&mut self, vlans: Vlans, frame: &[u8]) {
        if ethernet::ethertype(frame) == Some(ethernet::IPV4) {
            self.hairpins.extend(HairpinFrame::parse_returned(frame).filter(|_| vlans.is_none()));
        } else {
            self.messages.extend(decode(frame).map(|message| (vlans, message)));
        }
    }
}

impl Channel {
    fn new(protocol: FrameKind, socket: FrameSocket) -> io::Result<Self> {
        let socket = AsyncFrameSocket::new(socket)?;
        Ok(Self { protocol, socket, failing: false, limiter: LogLimiter::default() })
    }

    fn receive(&mut self, burst: usize, received: &mut ReceivedFrames) {
        let mut buffer = [0; FRAME_MAX];
        for _ in 0..burst {
            match self.socket.receive(&mut buffer).map(<[u8]>::len) {
                Ok(len) => {
                    if let Some((vlans, frame)) = take_tags(&mut buffer[..len]) {
                        received.add(vlans, frame);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => {
                    let (protocol, now) = (self.protocol, Instant::now());
                    self.limiter.log(Topic::Receiving(name(protocol)), now, || match protocol {
                        FrameKind::Arp => tracing::warn!(%error, "receiving ARP failed"),
                        _ => tracing::warn!(%error, "receiving neighbor discovery failed"),
                    });
                    return;
                }
            }
        }
    }

    fn send(&mut self, frame: &[u8]) {
        let (sent, protocol) = (self.socket.send(frame), self.protocol);
        let failed_before = std::mem::replace(&mut self.failing, sent.is_err());
        let topic = Topic::Sending(name(protocol));
        match sent {
            Err(error) if !failed_before => self.limiter.log(topic, Instant::now(), || match protocol {
                FrameKind::Arp => tracing::warn!(%error, "sending ARP failed"),
                _ => tracing::warn!(%error, "sending neighbor discovery failed"),
            }),
            Ok(()) if failed_before => self.limiter.log(topic, Instant::now(), || match protocol {
                FrameKind::Arp => tracing::info!("sending ARP works again"),
                _ => tracing::info!("sending neighbor discovery works again"),
            }),
            Err(_) | Ok(()) => {}
        }
    }
}

/// Reason that a membership is not reported. Without an error the interface has no address to report it from.
fn unreported_cause(error: Option<&io::Error>) -> &'static str {
    match error.map(|error| error.raw_os_error()) {
        None => "the interface has no link-local address",
        Some(Some(libc::EAFNOSUPPORT)) => "the kernel has no IPv6",
        // ip6_mc_join of net/ipv6/mcast.c, without an inet6_dev.
        Some(Some(libc::EINVAL | libc::ENODEV)) => "the interface has no IPv6; its MTU may be below 1280",
        Some(Some(libc::ENOMEM | libc::ENOBUFS)) => "the kernel's memory for memberships is full",
        Some(_) => "the kernel refused it",
    }
}

fn name(protocol: FrameKind) -> &'static str {
    match protocol {
        FrameKind::Arp => "ARP",
        FrameKind::Ndp | FrameKind::Echo => "neighbor discovery",
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Receiving(protocol) => write!(f, "receiving {protocol}"),
            Self::Sending(protocol) => write!(f, "sending {protocol}"),
        }
    }
}
