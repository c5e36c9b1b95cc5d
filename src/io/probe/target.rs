//! The real server, the VIP and the addresses of a probe.

use crate::wire::MacAddr;
use std::net::IpAddr;

/// Protocol of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProbeProtocol {
    /// RFC 9293.
    Tcp,
    /// RFC 768.
    Udp,
    /// An ICMP or ICMPv6 echo request. The sysctl net.ipv4.ping_group_range says which groups may send them.
    Ping,
}

/// The real server that a probe asks for a VIP. VIP, RIP and own address are of one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ProbeTarget {
    /// Protocol.
    pub protocol: ProbeProtocol,
    /// VIP.
    pub vip: IpAddr,
    /// The server's own address.
    pub rip: IpAddr,
    /// Port of VIP and RIP; ignored for a ping.
    pub port: u16,
    /// The director's address towards the server.
    pub own: IpAddr,
    /// Destination MAC address: that to which workers send the server's frames.
    pub mac: MacAddr,
    /// Source MAC address of the server's replies; frames from another one are dropped and counted.
    pub reply_mac: MacAddr,
}
