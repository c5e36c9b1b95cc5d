//! IPv6 header and extension headers (RFC 8200), as far as a director reads them.

use super::bytes::{array, word};
use super::fragment::FragmentFields;
use std::net::Ipv6Addr;

/// Length of the header without extension headers, in bytes.
pub const HEADER_LEN: usize = 40;
/// Most extension headers of a packet. RFC 8504 section 5.3 lets receivers set such limits.
pub const EXTENSIONS_MAX: usize = 8;
/// Most bytes of extension headers in a packet.
pub const EXTENSIONS_LEN_MAX: usize = 256;

/// Shortest extension header, in bytes.
const EXTENSION_MIN_LEN: usize = 8;

/// True for an IPv4-mapped address (RFC 4291 section 2.5.5.2), which never is on the wire.
#[inline]
#[must_use]
pub fn is_ipv4_mapped(address: Ipv6Addr) -> bool {
    // In one piece: a comparison of the octets is compiled to one of each.
    address.to_bits() >> 32 == 0xffff
}

/// Checked view: version 6, and a payload length that fits the frame.
#[derive(Clone, Copy, Debug)]
pub struct Ipv6<'a> {
    fixed: &'a [u8; HEADER_LEN],
    /// The packet without Ethernet padding, or its first part.
    packet: &'a [u8],
    /// Length of the whole packet in bytes.
    bytes: u16,
}

/// Error for bytes that are not an IPv6 packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ipv6Error {
    /// The frame ends before the header or the payload length does.
    Truncated,
    /// Another version, or a payload length of 0 (a jumbogram, RFC 2675) or beyond 65,495 bytes.
    Malformed,
    /// Extension headers that no host sends, or that route by source.
    Extension,
}

/// Header behind all extension headers: that of the transport protocol, as a rule.
#[derive(Clone, Copy, Debug)]
pub struct Upper<'a> {
    /// Protocol number. In a later fragment it is that of the first header of the fragmented part.
    pub protocol: u8,
    /// The fragment header, if there is one.
    pub fragment: Option<Fragmented>,
    /// Bytes from this header on, or the first part of them.
    pub payload: &'a [u8],
    /// Number of all bytes from this header on.
    pub payload_len: usize,
}

/// Fragment header, and the part of the packet behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragmented {
    /// Its fields.
    pub fields: FragmentFields,
    /// Its next header: the number of the first header of the fragmented part.
    pub next_header: u8,
    /// Bytes of the fragmented part that are in this fragment.
    pub len: usize,
}

/// Fields of the fragment header (RFC 8200 section 4.5).
fn fragment_fields(header: &[u8; EXTENSION_MIN_LEN]) -> FragmentFields {
    let field = word(header, 2);
    let identification = u32::from_be_bytes(array(header, 4));
    FragmentFields { offset: field & !7, more: field & 1 != 0, identification }
}

impl Upper<'_> {
    /// True for any fragment, the first one included, unless it is the whole packet.
    #[must_use]
    pub fn is_fragment(&self) -> bool {
        self.fragment.is_some_and(|fragment| !fragment.fields.is_whole())
    }
}

impl<'a> Ipv6<'a> {
    /// Creates a view of `bytes`, which follow the Ethernet header.
    ///
    /// # Errors
    /// [`Ipv6Error`] for another version and wrong lengths. Extension headers are not checked, see
    /// [`Ipv6::upper`].
    pub fn new(bytes: &'a [u8]) -> Result<Self, Ipv6Error> {
        Self::beginning(bytes, 0)
    }

    /// Creates a view of the first part of a packet, of which another `rest` bytes are elsewhere.
    ///
    /// # Errors
    /// As [`Ipv6::new`].
    pub fn beginning(bytes: &'a [u8], rest: usize) -> Result<Self, Ipv6Error> {
        let fixed: &[u8; HEADER_LEN] = bytes.first_chunk().ok_or(Ipv6Error::Truncated)?;
        let payload_len = word(fixed, 4);
        let len = payload_len.checked_add(HEADER_LEN as u16).filter(|_| payload_len > 0);
        let (6, Some(len)) = (fixed[0] >> 4, len) else { return Err(Ipv6Error::Malformed) };
        if usize::from(len) > bytes.len() + rest {
            return Err(Ipv6Error::Truncated);
        }
        Ok(Self { fixed, packet: &bytes[..bytes.len().min(len.into())], bytes: len })
    }

    /// Length in bytes, header included: the payload length and 40. IPVS counts these bytes.
    #[must_use]
    pub fn bytes(&self) -> u16 {
        self.bytes
    }

    /// Hop limit.
    #[must_use]
    pub fn hop_limit(&self) -> u8 {
        self.fixed[7]
    }

    /// Source address.
    #[must_use]
    pub fn source(&self) -> Ipv6Addr {
        Ipv6Addr::from(array::<16, _>(self.fixed, 8))
    }

    /// Destination address.
    #[must_use]
    pub fn destination(&self) -> Ipv6Addr {
        Ipv6Addr::from(array::<16, _>(self.fixed, 24))
    }

    /// Skips the extension headers: hop-by-hop options, routing, destination options, authentication and
    /// fragment. Those behind a fragment header are in the first fragment only.
    ///
    /// # Errors
    /// [`Ipv6Error::Extension`] for more than [`EXTENSIONS_MAX`] headers or [`EXTENSIONS_LEN_MAX`] bytes, for
    /// a header that ends outside the packet (RFC 7112 for fragments) or that is out of place, and for a
    /// route by source (RFC 5095). [`Ipv6Error::Truncated`] if the rest of the packet is elsewhere.
    pub fn upper(&self) -> Result<Upper<'a>, Ipv6Error> {
        let mut chain = Chain { next: self.fixed[6], at: HEADER_LEN, count: 0, fragment: None };
        while chain.continues() {
            chain.skip(self)?;
        }
        let Chain { next: protocol, fragment, at, .. } = chain;
        let payload_len = usize::from(self.bytes) - at;
        Ok(Upper { protocol, fragment, payload: &self.packet[at..], payload_len })
    }
}

/// Numbers of the extension headers that are skipped.
mod number {
    pub(super) const HOP_BY_HOP: u8 = 0;
    pub(super) const ROUTING: u8 = 43;
    pub(super) const FRAGMENT: u8 = 44;
    pub(super) const AUTHENTICATION: u8 = 51;
    pub(super) const DESTINATION: u8 = 60;
}

/// True for the number of an extension header that [`Ipv6::upper`] skips.
#[must_use]
pub fn is_extension(number: u8) -> bool {
    use number::{AUTHENTICATION, DESTINATION, FRAGMENT, HOP_BY_HOP, ROUTING};
    matches!(number, HOP_BY_HOP | ROUTING | FRAGMENT | AUTHENTICATION | DESTINATION)
}

/// Position in a chain of extension headers.
struct Chain {
    /// Number of the header at `at`.
    next: u8,
    /// Offset in the packet.
    at: usize,
    /// Headers before it.
    count: usize,
    fragment: Option<Fragmented>,
}

impl Chain {
    /// True if the header at this position is one to skip. A later fragment has no header there.
    fn continues(&self) -> bool {
        let is_later = self.fragment.is_some_and(|fragment| fragment.fields.offset > 0);
        !is_later && is_extension(self.next)
    }

    fn skip(&mut self, ip: &Ipv6<'_>) -> Result<(), Ipv6Error> {
        let rest = &ip.packet[self.at..];
        let header = rest.first_chunk().ok_or(self.ends_outside(ip, EXTENSION_MIN_LEN))?;
        if !self.is_in_place(header) {
            return Err(Ipv6Error::Extension);
        }
        let len = self.len_of(header);
        if rest.len() < len {
            return Err(self.ends_outside(ip, len));
        }
        if self.next == number::FRAGMENT {
            let len = usize::from(ip.bytes) - self.at - len;
            self.fragment = Some(Fragmented { fields: fragment_fields(header), next_header: header[0], len });
        }
        (self.next, self.at, self.count) = (header[0], self.at + len, self.count + 1);
        let is_long = self.count > EXTENSIONS_MAX || self.at > HEADER_LEN + EXTENSIONS_LEN_MAX;
        if is_long { Err(Ipv6Error::Extension) } else { Ok(()) }
    }

    /// Error for a header of `len` bytes that ends outside the first part of the packet.
    fn ends_outside(&self, ip: &Ipv6<'_>, len: usize) -> Ipv6Error {
        let is_elsewhere = self.at + len <= ip.bytes.into();
        if is_elsewhere { Ipv6Error::Truncated } else { Ipv6Error::Extension }
    }

    /// False for hop-by-hop options behind another header, a second fragment header, an authentication header
    /// without its sequence number, and a routing header with a route.
    fn is_in_place(&self, header: &[u8; EXTENSION_MIN_LEN]) -> bool {
        let [_, len, kind, segments_left, ..] = *header;
        match self.next {
            number::HOP_BY_HOP => self.count == 0,
            number::FRAGMENT => self.fragment.is_none(),
            number::AUTHENTICATION => len > 0,
            number::ROUTING => kind != 0 && segments_left == 0,
            _ => true,
        }
    }

    /// Length in bytes. RFC 4302 counts words of 4 bytes, RFC 8200 of 8.
    fn len_of(&self, header: &[u8; EXTENSION_MIN_LEN]) -> usize {
        let len = usize::from(header[1]);
        match self.next {
            number::FRAGMENT => EXTENSION_MIN_LEN,
            number::AUTHENTICATION => (len + 2) * 4,
            _ => (len + 1) * 8,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use number::{AUTHENTICATION, DESTINATION, FRAGMENT, HOP_BY_HOP, ROUTING};

    const TCP: u8 = 6;
    const SOURCE: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 7);
    const DESTINATION_ADDRESS: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x80);

    /// Extension headers, each without its next-header byte.
    type Headers<'a> = &'a [(u8, &'a [u8])];

    /// Packet with these extension headers and ten bytes of payload.
    fn packet(headers: Headers<'_>) -> Vec<u8> {
        let mut bytes = vec![0x60, 0, 0, 0, 0, 0, headers.first().map_or(TCP, |(number, _)| *number), 64];
        bytes.extend(SOURCE.octets());
        bytes.extend(DESTINATION_ADDRESS.octets());
        for (index, (_, rest)) in headers.iter().enumerate() {
            bytes.push(headers.get(index + 1).map_or(TCP, |(number, _)| *number));
            bytes.extend(*rest);
        }
        bytes.extend([0xab; 10]);
        let len = (bytes.len() - HEADER_LEN) as u16;
        bytes[4..6].copy_from_slice(&len.to_be_bytes());
        bytes
    }

    fn upper(packet: &[u8]) -> Result<(u8, usize), Ipv6Error> {
        let upper = Ipv6::new(packet)?.upper()?;
        assert_eq!(upper.payload.len(), upper.payload_len);
        Ok((upper.protocol, upper.payload_len))
    }

    const OPTIONS: &[u8] = &[0, 1, 4, 0, 0, 0, 0];
    const LONG_OPTIONS: &[u8] = &[1, 1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    const ATOMIC: &[u8] = &[0, 0, 0, 0, 0, 0, 9];
    const FIRST: &[u8] = &[0, 0, 1, 0, 0, 0, 9];
    const LATER: &[u8] = &[0, 5, 0xa8, 0xde, 0xad, 0xbe, 0xef];
    const SIGNED: &[u8] = &[4, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20];
    const ARRIVED: &[u8] = &[0, 2, 0, 0, 0, 0, 0];

    #[test]
    fn fields_are_read_and_padding_is_cut() {
        let mut padded = packet(&[]);
        padded.extend([0xee; 18]);
        let ip = Ipv6::new(&padded).unwrap();
        assert_eq!((ip.bytes(), ip.hop_limit()), (50, 64));
        assert_eq!((ip.source(), ip.destination()), (SOURCE, DESTINATION_ADDRESS));
        let upper = ip.upper().unwrap();
        assert_eq!((upper.protocol, upper.payload), (TCP, &[0xab; 10][..]));
        assert!(upper.fragment.is_none() && !upper.is_fragment());
    }

    #[test]
    fn wrong_versions_and_lengths_are_refused() {
        let with = |at: usize, value: u8| {
            let mut bytes = packet(&[]);
            bytes[at] = value;
            Ipv6::new(&bytes).err()
        };
        assert_eq!(Ipv6::new(&packet(&[])[..39]).err(), Some(Ipv6Error::Truncated));
        assert_eq!(with(0, 0x45), Some(Ipv6Error::Malformed));
        assert_eq!(with(5, 0), Some(Ipv6Error::Malformed), "a jumbogram");
        assert_eq!(with(5, 11), Some(Ipv6Error::Truncated));
        assert_eq!(with(5, 9), None, "the rest is padding");
        let mut long = packet(&[]);
        long.resize(70_000, 0);
        long[4..6].copy_from_slice(&65_495u16.to_be_bytes());
        assert_eq!(Ipv6::new(&long).unwrap().bytes(), 65_535);
        long[4..6].copy_from_slice(&65_496u16.to_be_bytes());
        assert_eq!(Ipv6::new(&long).err(), Some(Ipv6Error::Malformed));
    }

    #[test]
    fn extension_headers_are_skipped() {
        let chains: &[Headers<'_>] = &[
            &[(HOP_BY_HOP, OPTIONS)],
            &[(DESTINATION, LONG_OPTIONS)],
            &[(ROUTING, ARRIVED)],
            &[(AUTHENTICATION, SIGNED)],
            &[(FRAGMENT, ATOMIC)],
            &[(HOP_BY_HOP, LONG_OPTIONS), (DESTINATION, OPTIONS), (ROUTING, ARRIVED), (FRAGMENT, FIRST)],
            &[(FRAGMENT, FIRST), (AUTHENTICATION, SIGNED), (DESTINATION, OPTIONS)],
            &[(DESTINATION, OPTIONS); 8],
        ];
        for chain in chains {
            assert_eq!(upper(&packet(chain)), Ok((TCP, 10)), "{chain:?}");
        }
    }

    #[test]
    fn extension_headers_out_of_place_are_refused() {
        let mut long = vec![31];
        long.extend([0; 254]);
        let chains: &[(&str, Headers<'_>)] = &[
            ("hop-by-hop options behind others", &[(DESTINATION, OPTIONS), (HOP_BY_HOP, OPTIONS)]),
            ("hop-by-hop options twice", &[(HOP_BY_HOP, OPTIONS); 2]),
            ("two fragment headers", &[(FRAGMENT, ATOMIC); 2]),
            ("routing header of type 0", &[(ROUTING, &[0, 0, 0, 0, 0, 0, 0])]),
            ("a route still to go", &[(ROUTING, &[0, 4, 1, 0, 0, 0, 0])]),
            ("no sequence number", &[(AUTHENTICATION, &[0, 0, 0, 1, 2, 3, 4])]),
            ("nine headers", &[(DESTINATION, OPTIONS); 9]),
            ("264 bytes", &[(DESTINATION, &long), (DESTINATION, OPTIONS)]),
            ("a header that ends outside", &[(DESTINATION, &[2, 0, 0, 0, 0, 0, 0])]),
            ("a first fragment that ends in its chain", &[(FRAGMENT, FIRST), (DESTINATION, &[9; 3])]),
        ];
        for (what, chain) in chains {
            assert_eq!(upper(&packet(chain)), Err(Ipv6Error::Extension), "{what}");
        }
        assert_eq!(upper(&packet(&[(DESTINATION, &long)])), Ok((TCP, 10)), "256 bytes");
    }

    #[test]
    fn headers_in_the_rest_of_a_packet_are_truncated() {
        let bytes = packet(&[(HOP_BY_HOP, OPTIONS), (DESTINATION, LONG_OPTIONS)]);
        for len in HEADER_LEN..bytes.len() {
            let ip = Ipv6::beginning(&bytes[..len], bytes.len() - len).unwrap();
            match ip.upper() {
                Ok(upper) => assert!(len >= 64 && upper.payload.len() == len - 64 && upper.payload_len == 10),
                Err(error) => assert_eq!((error, len < 64), (Ipv6Error::Truncated, true), "{len}"),
            }
        }
    }

    #[test]
    fn a_later_fragment_has_no_further_header() {
        let bytes = packet(&[(HOP_BY_HOP, OPTIONS), (FRAGMENT, LATER), (DESTINATION, &[])]);
        let upper = Ipv6::new(&bytes).unwrap().upper().unwrap();
        assert!(upper.is_fragment());
        assert_eq!((upper.protocol, upper.payload_len), (DESTINATION, 11));
        let fields = FragmentFields { offset: 0x05a8, more: false, identification: 0xdead_beef };
        assert_eq!(upper.fragment, Some(Fragmented { fields, next_header: DESTINATION, len: 11 }));
    }

    #[test]
    fn an_atomic_fragment_is_a_whole_packet() {
        for (header, is_fragment) in [(ATOMIC, false), (FIRST, true)] {
            let bytes = packet(&[(FRAGMENT, header)]);
            assert_eq!(Ipv6::new(&bytes).unwrap().upper().unwrap().is_fragment(), is_fragment);
        }
    }
}
