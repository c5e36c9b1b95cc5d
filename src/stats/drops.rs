//! Drop reasons, each with a name, a counter and an explanation.

use crate::wire::Malformed;

macro_rules! drop_reasons {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal,)+) => {
        /// Reason for dropping a frame. The discriminant indexes the drop counters.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum DropReason {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl DropReason {
            /// All reasons, in the order of the counters.
            pub const ALL: &'static [DropReason] = &[$(Self::$variant,)+];

            /// Name in listings and metrics.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// Explanation for operators.
            #[must_use]
            pub const fn explanation(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc,)+).trim_ascii(),)+ }
            }
        }
    };
}

drop_reasons! {
    /// Lost in the kernel: the worker's receive ring was full.
    RingFull = "ring_full",
    /// Lost in the kernel: the fill ring was empty, so that there was no buffer to receive into.
    NoBuffer = "no_buffer",
    /// Lost in the kernel: longer than a receive buffer, as merged segments are, and frames of a raised MTU.
    TooLongToReceive = "too_long_to_receive",
    /// Lost in the kernel: the XDP program redirected it, and the kernel refused it to the worker's socket.
    NotDelivered = "not_delivered",
    /// The frame is shorter than the lengths in its headers.
    Truncated = "truncated",
    /// The interface's driver cut the frame at the end of a receive buffer: use backend = "packet".
    CutByDriver = "cut_by_driver",
    /// Fields of the IP, TCP or UDP header contradict each other, or SCTP has no whole chunk header.
    Malformed = "malformed",
    /// The checksum of an IPv4 header, or of an ICMP or ICMPv6 error, is wrong.
    Checksum = "checksum",
    /// IPv6 extension headers are out of place, are more than 8 or 256 bytes, or route by source.
    ExtensionHeaders = "extension_headers",
    /// The EtherType is neither IPv4 nor IPv6.
    EtherType = "ethertype",
    /// The frame has three VLAN tags, an 802.1ad tag alone or inside, a priority tag beside another, or VLAN 4095.
    Tags = "tags",
    /// No virtual service is in the VLAN of the frame.
    Vlan = "vlan",
    /// The protocol is none of TCP, UDP and SCTP.
    Protocol = "protocol",
    /// A fragment of an ICMP message: it cannot be matched to a connection.
    Fragment = "fragment",
    /// A first fragment ends before its TCP, UDP or SCTP header does, or a later one would overwrite that (RFC 1858).
    TinyFragment = "tiny_fragment",
    /// Not addressed to this host: the destination MAC address is another one.
    OtherHost = "other_host",
    /// The frame came in a loop: from the director's own MAC address, from the real server that it would be
    /// sent to, which acts as a director, or with an expired time to live on a known connection.
    Looped = "looped",
    /// The time to live has expired on a frame without a connection: traceroute, or a loop.
    TtlExceeded = "ttl_exceeded",
    /// No client can have the source address: it is a loopback, multicast or broadcast address, the VIP, or
    /// the director's own.
    Martian = "martian",
    /// The client is a real server of the same service: it has lost the VIP, or its packet would not have left it.
    RealServer = "real_server",
    /// No virtual service has this address, port and protocol.
    NoService = "no_service",
    /// A TCP segment (no SYN, or RST) or SCTP packet (no INIT) of an unknown connection that does not open one.
    NoConnection = "no_connection",
    /// The packet that an ICMP error quotes is too short, a later fragment, or not from the error's destination.
    IcmpQuote = "icmp_quote",
    /// An ICMP error about a connection that no worker knows.
    IcmpUnknown = "icmp_unknown",
    /// No real server takes new connections: none there, all weight 0, or none answers solicitations.
    NoServer = "no_server",
    /// The connection's real server has been removed.
    ServerRemoved = "server_removed",
    /// The connection's real server is down, and on_down = "cut".
    ServerDown = "server_down",
    /// The connection's real server never had a known MAC address.
    Unresolved = "unresolved",
    /// The connection table is full, or the service holds its share of it, and nothing may be evicted.
    TableFull = "table_full",
    /// A later fragment whose first fragment did not arrive within 200 ms or was itself dropped, or too many such fragments.
    FragmentEarly = "fragment_early",
    /// An ICMP error or a fragment that had to be copied, while too many such frames wait, or longer than a buffer.
    HandOverFull = "hand_over_full",
    /// The transmit ring was full.
    TransmitFull = "transmit_full",
    /// The frame is longer than the interface that it should leave by can send. Its sender is told the MTU.
    TooLong = "too_long",
}

impl DropReason {
    /// True if the sender may get an answer to a frame that the decision drops: see `reject` in the configuration.
    #[must_use]
    pub const fn is_answered(self) -> bool {
        matches!(self, Self::NoServer | Self::ServerDown | Self::TtlExceeded)
    }

    /// True for frames that the kernel lost before the worker could receive them.
    #[must_use]
    pub const fn is_before_receive(self) -> bool {
        matches!(self, Self::RingFull | Self::NoBuffer | Self::TooLongToReceive | Self::NotDelivered)
    }
}

impl From<Malformed> for DropReason {
    fn from(malformed: Malformed) -> Self {
        match malformed {
            Malformed::Truncated => Self::Truncated,
            Malformed::Header => Self::Malformed,
            Malformed::Checksum => Self::Checksum,
            Malformed::Extension => Self::ExtensionHeaders,
            Malformed::EtherType => Self::EtherType,
            Malformed::Protocol => Self::Protocol,
            Malformed::Fragment => Self::Fragment,
            Malformed::Quote => Self::IcmpQuote,
            Malformed::TinyFragment => Self::TinyFragment,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_own_counter_and_explanation() {
        for (index, reason) in DropReason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, index);
            assert!(reason.explanation().ends_with('.'), "{}", reason.explanation());
            let same_name = DropReason::ALL.iter().filter(|r| r.name() == reason.name());
            assert_eq!(same_name.count(), 1);
        }
    }
}
