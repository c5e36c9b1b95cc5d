//! Numbers of ICMP (RFC 792) and ICMPv6 (RFC 4443) that several modules need.

/// Protocol number of ICMP.
pub const ICMP: u8 = 1;
/// Protocol number of ICMPv6.
pub const ICMPV6: u8 = 58;
/// Length of the header of an error or an echo message in bytes.
pub const HEADER_LEN: usize = 8;

/// Types of ICMP messages.
pub mod kind {
    /// Reply to a ping.
    pub const ECHO_REPLY: u8 = 0;
    /// A packet was not delivered; the code says why.
    pub const DESTINATION_UNREACHABLE: u8 = 3;
    /// A router was congested (deprecated by RFC 6633).
    pub const SOURCE_QUENCH: u8 = 4;
    /// Ping.
    pub const ECHO_REQUEST: u8 = 8;
    /// The time to live of a packet has ended.
    pub const TIME_EXCEEDED: u8 = 11;
}

/// Types of ICMPv6 messages.
pub mod kind_v6 {
    /// A packet was not delivered; the code says why.
    pub const DESTINATION_UNREACHABLE: u8 = 1;
    /// A packet is longer than the MTU of the next link.
    pub const PACKET_TOO_BIG: u8 = 2;
    /// The hop limit of a packet has ended.
    pub const TIME_EXCEEDED: u8 = 3;
    /// Types from here on are no errors (RFC 4443 section 2.1).
    pub const FIRST_INFORMATIONAL: u8 = 128;
    /// Ping.
    pub const ECHO_REQUEST: u8 = 128;
    /// Reply to a ping.
    pub const ECHO_REPLY: u8 = 129;
    /// Question for a MAC address (RFC 4861).
    pub const NEIGHBOR_SOLICITATION: u8 = 135;
    /// Answer to it.
    pub const NEIGHBOR_ADVERTISEMENT: u8 = 136;
}
