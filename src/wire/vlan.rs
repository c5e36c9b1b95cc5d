//! VLAN tags of a frame (IEEE 802.1Q, 802.1ad): one, or two with the service provider's outside.

use super::ethernet::{HEADER_LEN, TAG, TAG_LEN};

/// EtherType of an IEEE 802.1ad tag, the outer one of two.
pub const SERVICE_TAG: u16 = 0x88a8;
/// Offset of the outer tag in a frame, behind both MAC addresses.
pub const TAG_AT: usize = 12;
/// Most tags of a frame that are looked at.
pub const TAGS_MAX: usize = 2;

/// Tag of four bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag {
    /// Tag protocol identifier: [`TAG`] or [`SERVICE_TAG`].
    pub protocol: u16,
    /// Tag control information: priority (3 bits), drop eligibility (1 bit), VLAN identifier (12 bits).
    pub control: u16,
}

impl Tag {
    /// VLAN identifier; 0 for a priority tag, which belongs to no VLAN.
    #[must_use]
    pub const fn vlan(self) -> u16 {
        self.control & 0x0fff
    }

    /// Priority code point, 0 to 7.
    #[must_use]
    pub const fn priority(self) -> u8 {
        (self.control >> 13) as u8
    }

    /// The four bytes on the wire.
    #[must_use]
    pub const fn bytes(self) -> [u8; TAG_LEN] {
        let ([a, b], [c, d]) = (self.protocol.to_be_bytes(), self.control.to_be_bytes());
        [a, b, c, d]
    }
}

/// Tags of a frame, and the header behind them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tags {
    tags: [Tag; TAGS_MAX],
    count: usize,
    /// EtherType behind the tags, in host order. It is that of a tag if there are more than [`TAGS_MAX`].
    pub ethertype: u16,
}

impl Tags {
    /// Reads the tags of `frame`. `None` if it ends before the EtherType behind them.
    #[must_use]
    pub fn of(frame: &[u8]) -> Option<Self> {
        let mut tags = Self { tags: [Tag { protocol: TAG, control: 0 }; TAGS_MAX], count: 0, ethertype: 0 };
        for slot in 0..=TAGS_MAX {
            let rest = frame.get(TAG_AT + slot * TAG_LEN..)?;
            tags.ethertype = u16::from_be_bytes(*rest.first_chunk()?);
            if slot == TAGS_MAX || !is_tag(tags.ethertype) {
                break;
            }
            let control = u16::from_be_bytes(*rest.get(2..)?.first_chunk()?);
            tags.tags[slot] = Tag { protocol: tags.ethertype, control };
            tags.count += 1;
        }
        Some(tags)
    }

    /// The tags, the outer one first.
    #[must_use]
    pub fn as_slice(&self) -> &[Tag] {
        &self.tags[..self.count]
    }

    /// VLAN identifiers, the outer one first, without priority tags.
    pub fn vlans(&self) -> impl Iterator<Item = u16> {
        self.as_slice().iter().map(|tag| tag.vlan()).filter(|vlan| *vlan != 0)
    }

    /// Offset of the header behind the tags, in bytes.
    #[must_use]
    pub fn header_at(&self) -> usize {
        HEADER_LEN + self.count * TAG_LEN
    }
}

/// True for the EtherType of a tag.
#[must_use]
pub const fn is_tag(ethertype: u16) -> bool {
    matches!(ethertype, TAG | SERVICE_TAG)
}

/// Inserts `tag` as the outer one into the frame of `len` bytes at the beginning of `buffer`. Returns the new length.
///
/// `None`, and nothing written, if the frame ends before its EtherType or the buffer has no room for four more bytes.
pub fn insert(buffer: &mut [u8], len: usize, tag: Tag) -> Option<usize> {
    let longer = len + TAG_LEN;
    if len < HEADER_LEN || buffer.len() < longer {
        return None;
    }
    buffer.copy_within(TAG_AT..len, TAG_AT + TAG_LEN);
    buffer[TAG_AT..TAG_AT + TAG_LEN].copy_from_slice(&tag.bytes());
    Some(longer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::ethernet::{IPV4, IPV6};
    use etherparse::{LinkExtSlice, PacketBuilder, SlicedPacket, VlanId};
    use proptest::prelude::*;

    fn plain() -> Vec<u8> {
        let mut frame = Vec::new();
        let builder = PacketBuilder::ethernet2([1; 6], [2; 6]).ipv4([198, 51, 100, 7], [192, 0, 2, 1], 64);
        builder.udp(40_000, 53).write(&mut frame, b"query").unwrap();
        frame
    }

    fn tagged(tags: &[Tag]) -> Vec<u8> {
        let mut frame = plain();
        for tag in tags.iter().rev() {
            let len = frame.len();
            frame.extend([0; TAG_LEN]);
            assert_eq!(insert(&mut frame, len, *tag), Some(len + TAG_LEN));
        }
        frame
    }

    const CUSTOMER: Tag = Tag { protocol: TAG, control: 0xa064 };
    const SERVICE: Tag = Tag { protocol: SERVICE_TAG, control: 0x1fff };

    #[test]
    fn tags_are_read_from_outside_in() {
        assert_eq!((CUSTOMER.vlan(), CUSTOMER.priority()), (100, 5));
        assert_eq!((SERVICE.vlan(), SERVICE.priority()), (4095, 0));
        for (tags, header_at) in [(&[][..], 14), (&[CUSTOMER][..], 18), (&[SERVICE, CUSTOMER][..], 22)] {
            let read = Tags::of(&tagged(tags)).unwrap();
            assert_eq!((read.as_slice(), read.ethertype, read.header_at()), (tags, IPV4, header_at));
        }
        let third = Tags::of(&tagged(&[SERVICE, CUSTOMER, CUSTOMER])).unwrap();
        assert_eq!((third.as_slice(), third.ethertype), (&[SERVICE, CUSTOMER][..], TAG));
    }

    #[test]
    fn a_priority_tag_is_of_no_vlan() {
        let tags = Tags::of(&tagged(&[Tag { protocol: TAG, control: 0xe000 }, CUSTOMER])).unwrap();
        assert_eq!(tags.vlans().collect::<Vec<_>>(), [100]);
        assert_eq!(tags.as_slice().len(), 2);
    }

    #[test]
    fn short_frames_have_no_tags() {
        let frame = tagged(&[SERVICE, CUSTOMER]);
        for len in 0..22 {
            assert_eq!(Tags::of(&frame[..len]), None, "{len}");
        }
        assert!(Tags::of(&frame[..22]).is_some());
        assert!(Tags::of(&plain()[..14]).is_some());
    }

    #[test]
    fn a_tag_needs_room() {
        let (mut frame, len) = (plain(), plain().len());
        assert_eq!(insert(&mut frame, len, CUSTOMER), None);
        frame.extend([0; 3]);
        assert_eq!(insert(&mut frame, len, CUSTOMER), None);
        assert_eq!(insert(&mut frame, 13, CUSTOMER), None);
        assert_eq!(frame[..len], plain());
    }

    #[test]
    fn an_independent_parser_sees_the_tags() {
        let frame = tagged(&[SERVICE, CUSTOMER]);
        let seen = SlicedPacket::from_ethernet(&frame).unwrap();
        let vlans: Vec<_> = seen
            .link_exts
            .iter()
            .map(|tag| match tag {
                LinkExtSlice::Vlan(tag) => (tag.vlan_identifier(), tag.priority_code_point().value()),
                other => panic!("{other:?}"),
            })
            .collect();
        let id = |id| VlanId::try_new(id).unwrap();
        assert_eq!(vlans, [(id(4095), 0), (id(100), 5)]);
        assert!(seen.transport.is_some());
        let mut other = tagged(&[CUSTOMER]);
        other[16..18].copy_from_slice(&IPV6.to_be_bytes());
        assert_eq!(Tags::of(&other).unwrap().ethertype, IPV6);
    }

    proptest! {
        #[test]
        fn inserted_tags_are_read_and_nothing_else_changes(
            frame in proptest::collection::vec(any::<u8>(), 14..80),
            control: u16,
            service: bool,
        ) {
            let tag = Tag { protocol: if service { SERVICE_TAG } else { TAG }, control };
            let mut buffer = [&frame[..], &[0; TAG_LEN]].concat();
            prop_assert_eq!(insert(&mut buffer, frame.len(), tag), Some(buffer.len()));
            prop_assert_eq!(&buffer[..TAG_AT], &frame[..TAG_AT]);
            prop_assert_eq!(&buffer[TAG_AT + TAG_LEN..], &frame[TAG_AT..]);
            if let Some(tags) = Tags::of(&buffer) {
                prop_assert_eq!(tags.as_slice()[0], tag);
            }
        }

        #[test]
        fn no_frame_panics(frame in proptest::collection::vec(any::<u8>(), 0..40)) {
            if let Some(tags) = Tags::of(&frame) {
                prop_assert!(tags.header_at() <= frame.len());
            }
        }
    }
}
