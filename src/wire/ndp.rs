//! Neighbor solicitations and advertisements (RFC 4861), with the nonce of duplicate address detection (RFC 7527).

use super::bytes::{array, word};
use super::icmp::{ICMPV6, kind_v6};
use super::{MacAddr, checksum, ethernet};
use std::net::Ipv6Addr;

/// Length of the longest emitted frame, in bytes: a solicitation with two options.
pub const FRAME_LEN_MAX: usize = MESSAGE_AT + MESSAGE_LEN + 2 * OPTION_LEN;

/// The all-nodes address of the link.
pub const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// The all-routers address of the link.
pub const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);

const IP_AT: usize = ethernet::HEADER_LEN;
const MESSAGE_AT: usize = IP_AT + 40;
/// Length of a message without options.
const MESSAGE_LEN: usize = 24;
const OPTION_LEN: usize = 8;

const HOP_LIMIT: u8 = 255;
const ROUTER: u8 = 0x80;
const SOLICITED: u8 = 0x40;
const OVERRIDE: u8 = 0x20;
const SOURCE_LINK_LAYER: u8 = 1;
const TARGET_LINK_LAYER: u8 = 2;
const NONCE: u8 = 14;

/// Nonce of a solicitation (RFC 3971 §5.3.2), of the length that RFC 7527 uses on Ethernet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Nonce(pub [u8; 6]);

/// Neighbor solicitation or advertisement with its Ethernet and IPv6 headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NdpPacket {
    /// Ethernet destination.
    pub destination: MacAddr,
    /// Ethernet source.
    pub source: MacAddr,
    /// IPv6 source; unspecified in a probe.
    pub source_ip: Ipv6Addr,
    /// IPv6 destination.
    pub destination_ip: Ipv6Addr,
    /// The address that the message is about.
    pub target: Ipv6Addr,
    /// Link-layer address option: the source's in a solicitation, the target's in an advertisement.
    pub link_layer: Option<MacAddr>,
    /// Kind, and the fields that it alone has.
    pub kind: NdpKind,
}

/// Kind of an [`NdpPacket`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NdpKind {
    /// Asks for the MAC address of the target.
    Solicitation {
        /// Nonce option.
        nonce: Option<Nonce>,
    },
    /// Gives the MAC address of the target.
    Advertisement(AdvertisementFlags),
}

/// Flags of an advertisement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AdvertisementFlags {
    /// R: the sender is a router.
    pub router: bool,
    /// S: it answers a solicitation of the destination.
    pub solicited: bool,
    /// O: it replaces the MAC address that a neighbor knows.
    pub overrides: bool,
}

/// Error for a frame that is no valid solicitation or advertisement (RFC 4861 §7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NdpError {
    /// The frame ends before the message does.
    Truncated,
    /// The EtherType is not IPv6.
    EtherType,
    /// Another IP version, or a payload too short for the message.
    Header,
    /// Not ICMPv6 right behind the IPv6 header. Fragments are refused by that as well (RFC 6980).
    NextHeader,
    /// The hop limit is not 255: a router has forwarded it.
    HopLimit,
    /// Neither a solicitation nor an advertisement, or a code other than 0.
    Kind,
    /// The ICMPv6 checksum is wrong.
    Checksum,
    /// Addresses, flags and options that contradict each other.
    Addresses,
    /// An option of length 0, or one that ends behind the message.
    Option,
}

impl NdpPacket {
    /// Parses an Ethernet frame. Padding after the packet is ignored.
    ///
    /// # Errors
    /// The reason of the outermost header that is wrong.
    pub fn parse(frame: &[u8]) -> Result<Self, NdpError> {
        if ethernet::ethertype(frame).ok_or(NdpError::Truncated)? != ethernet::IPV6 {
            return Err(NdpError::EtherType);
        }
        let head: &[u8; MESSAGE_AT] = frame.first_chunk().ok_or(NdpError::Truncated)?;
        let len = usize::from(word(head, IP_AT + 4));
        if head[IP_AT] >> 4 != 6 || len < MESSAGE_LEN {
            return Err(NdpError::Header);
        }
        if head[IP_AT + 6] != ICMPV6 {
            return Err(NdpError::NextHeader);
        }
        if head[IP_AT + 7] != HOP_LIMIT {
            return Err(NdpError::HopLimit);
        }
        let message = frame.get(MESSAGE_AT..MESSAGE_AT + len).ok_or(NdpError::Truncated)?;
        Self::within(head, message)
    }

    fn within(head: &[u8; MESSAGE_AT], message: &[u8]) -> Result<Self, NdpError> {
        let (fixed, options) = message.split_first_chunk::<MESSAGE_LEN>().ok_or(NdpError::Header)?;
        let link_layer_option = match (fixed[0], fixed[1]) {
            (kind_v6::NEIGHBOR_SOLICITATION, 0) => SOURCE_LINK_LAYER,
            (kind_v6::NEIGHBOR_ADVERTISEMENT, 0) => TARGET_LINK_LAYER,
            _ => return Err(NdpError::Kind),
        };
        let [source_ip, destination_ip] = [IP_AT + 8, IP_AT + 24].map(|at| ip(array(head, at)));
        if !checksum::holds_v6((source_ip, destination_ip), ICMPV6, message) {
            return Err(NdpError::Checksum);
        }
        let options = Options::read(options, link_layer_option)?;
        let packet = Self {
            destination: MacAddr(array(head, 0)),
            source: MacAddr(array(head, 6)),
            source_ip,
            destination_ip,
            target: ip(array(fixed, 8)),
            link_layer: options.link_layer,
            kind: match fixed[0] {
                kind_v6::NEIGHBOR_SOLICITATION => NdpKind::Solicitation { nonce: options.nonce },
                _ => NdpKind::Advertisement(AdvertisementFlags::new(fixed[4])),
            },
        };
        if packet.is_consistent() { Ok(packet) } else { Err(NdpError::Addresses) }
    }

    /// Validity of RFC 4861 §7.1.1 and §7.1.2. An advertisement comes from an address, as any packet but a probe.
    fn is_consistent(&self) -> bool {
        let from_address = !self.source_ip.is_unspecified();
        let sound = !self.target.is_multicast() && !self.source_ip.is_multicast();
        sound
            && match self.kind {
                NdpKind::Solicitation { .. } => {
                    from_address || (is_solicited_node(self.destination_ip) && self.link_layer.is_none())
                }
                NdpKind::Advertisement(flags) => {
                    from_address && !(flags.solicited && self.destination_ip.is_multicast())
                }
            }
    }

    /// Writes the frame. Returns the part of `frame` that it takes.
    pub fn emit<'a>(&self, frame: &'a mut [u8; FRAME_LEN_MAX]) -> &'a [u8] {
        frame.fill(0);
        frame[0..6].copy_from_slice(&self.destination.0);
        frame[6..12].copy_from_slice(&self.source.0);
        frame[12..14].copy_from_slice(&ethernet::IPV6.to_be_bytes());
        let end = self.emit_message(&mut frame[MESSAGE_AT..]);
        let (head, message) = frame.split_at_mut(MESSAGE_AT);
        let ip = &mut head[IP_AT..];
        ip[0] = 0x60;
        ip[4..6].copy_from_slice(&(end as u16).to_be_bytes()); // 40 at most
        (ip[6], ip[7]) = (ICMPV6, HOP_LIMIT);
        ip[8..24].copy_from_slice(&self.source_ip.octets());
        ip[24..40].copy_from_slice(&self.destination_ip.octets());
        let sum = checksum::v6((self.source_ip, self.destination_ip), ICMPV6, &message[..end]);
        message[2..4].copy_from_slice(&sum);
        &frame[..MESSAGE_AT + end]
    }

    /// Writes the message without its checksum. Returns its length.
    fn emit_message(&self, message: &mut [u8]) -> usize {
        let (kind, flags, option, nonce) = match self.kind {
            NdpKind::Solicitation { nonce } => (kind_v6::NEIGHBOR_SOLICITATION, 0, SOURCE_LINK_LAYER, nonce),
            NdpKind::Advertisement(flags) => {
                (kind_v6::NEIGHBOR_ADVERTISEMENT, flags.bits(), TARGET_LINK_LAYER, None)
            }
        };
        (message[0], message[4]) = (kind, flags);
        message[8..24].copy_from_slice(&self.target.octets());
        let options = [self.link_layer.map(|mac| (option, mac.0)), nonce.map(|nonce| (NONCE, nonce.0))];
        let mut end = MESSAGE_LEN;
        for (kind, value) in options.into_iter().flatten() {
            (message[end], message[end + 1]) = (kind, 1);
            message[end + 2..end + OPTION_LEN].copy_from_slice(&value);
            end += OPTION_LEN;
        }
        end
    }

    /// Solicitation of `target` by its group, from `own_ip`.
    #[must_use]
    pub fn solicitation(own: MacAddr, own_ip: Ipv6Addr, target: Ipv6Addr) -> Self {
        let group = solicited_node(target);
        Self {
            destination: multicast_mac(group),
            source: own,
            source_ip: own_ip,
            destination_ip: group,
            target,
            link_layer: Some(own),
            kind: NdpKind::Solicitation { nonce: None },
        }
    }

    /// Solicitation of duplicate address detection: without a source, so that it changes no cache (RFC 4862 §5.4.2).
    #[must_use]
    pub fn probe(own: MacAddr, target: Ipv6Addr, nonce: Nonce) -> Self {
        let kind = NdpKind::Solicitation { nonce: Some(nonce) };
        Self { link_layer: None, kind, ..Self::solicitation(own, Ipv6Addr::UNSPECIFIED, target) }
    }

    /// The same solicitation to one station: to the target itself, or for a probe, whose destination must be the
    /// group, by the MAC address alone (RFC 6085).
    #[must_use]
    pub fn unicast_to(self, station: MacAddr) -> Self {
        let destination_ip = if self.is_probe() { self.destination_ip } else { self.target };
        Self { destination: station, destination_ip, ..self }
    }

    /// Answer to the solicitation of `address` by a station.
    #[must_use]
    pub fn answer(own: MacAddr, address: Ipv6Addr, station: MacAddr, to: Ipv6Addr) -> Self {
        let flags = AdvertisementFlags { router: false, solicited: true, overrides: true };
        Self { destination: station, ..Self::advertisement(own, address, to, flags) }
    }

    /// Unsolicited advertisement of `address` to all nodes (RFC 4861 §7.2.6). It is the answer to a probe as well.
    #[must_use]
    pub fn announcement(own: MacAddr, address: Ipv6Addr) -> Self {
        let flags = AdvertisementFlags { overrides: true, ..AdvertisementFlags::default() };
        Self::advertisement(own, address, ALL_NODES, flags)
    }

    /// Unsolicited advertisement of a new address to all routers, which may create an entry (RFC 9131 §6.1.1).
    #[must_use]
    pub fn introduction(own: MacAddr, address: Ipv6Addr) -> Self {
        Self::advertisement(own, address, ALL_ROUTERS, AdvertisementFlags::default())
    }

    fn advertisement(own: MacAddr, target: Ipv6Addr, to: Ipv6Addr, flags: AdvertisementFlags) -> Self {
        Self {
            destination: multicast_mac(to),
            source: own,
            source_ip: target,
            destination_ip: to,
            target,
            link_layer: Some(own),
            kind: NdpKind::Advertisement(flags),
        }
    }

    /// True for a solicitation of duplicate address detection: the sender is about to use the target address.
    #[must_use]
    pub fn is_probe(&self) -> bool {
        matches!(self.kind, NdpKind::Solicitation { .. }) && self.source_ip.is_unspecified()
    }
}

impl AdvertisementFlags {
    fn new(bits: u8) -> Self {
        let is_set = |flag| bits & flag != 0;
        Self { router: is_set(ROUTER), solicited: is_set(SOLICITED), overrides: is_set(OVERRIDE) }
    }

    fn bits(self) -> u8 {
        let flags = [(self.router, ROUTER), (self.solicited, SOLICITED), (self.overrides, OVERRIDE)];
        flags.into_iter().filter(|(is_set, _)| *is_set).map(|(_, flag)| flag).sum()
    }
}

/// Options of a message, the first of each kind.
struct Options {
    link_layer: Option<MacAddr>,
    nonce: Option<Nonce>,
}

impl Options {
    /// Reads options. Of another length than Ethernet's are unknown ones, and those are ignored (RFC 4861 §4.6).
    fn read(mut rest: &[u8], link_layer_option: u8) -> Result<Self, NdpError> {
        let mut found = Self { link_layer: None, nonce: None };
        while let [kind, len, ..] = *rest {
            let len = usize::from(len) * OPTION_LEN;
            if len == 0 || len > rest.len() {
                return Err(NdpError::Option);
            }
            let (option, behind) = rest.split_at(len);
            if let Ok([_, _, value @ ..]) = <[u8; OPTION_LEN]>::try_from(option) {
                if kind == link_layer_option {
                    found.link_layer.get_or_insert(MacAddr(value));
                } else if kind == NONCE {
                    found.nonce.get_or_insert(Nonce(value));
                }
            }
            rest = behind;
        }
        if rest.is_empty() { Ok(found) } else { Err(NdpError::Option) }
    }
}

/// Solicited-node multicast address of `address` (RFC 4291 §2.7.1): it ends with the address's last three bytes.
#[must_use]
pub fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = address.octets();
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | u16::from(a), u16::from_be_bytes([b, c]))
}

fn is_solicited_node(address: Ipv6Addr) -> bool {
    solicited_node(address) == address
}

/// Ethernet address of a multicast address (RFC 2464 §7).
#[must_use]
pub fn multicast_mac(group: Ipv6Addr) -> MacAddr {
    let [.., a, b, c, d] = group.octets();
    MacAddr([0x33, 0x33, a, b, c, d])
}

fn ip(octets: [u8; 16]) -> Ipv6Addr {
    Ipv6Addr::from(octets)
}

#[cfg(test)]
mod tests;
