//! VLAN tags of a frame: one of IEEE 802.1Q, or two, of which the outer one is of 802.1ad or 802.1Q.

use super::ethernet::{HEADER_LEN, SERVICE_TAG, TAG, TAG_LEN, TAGS_MAX, is_tag};
use std::fmt;

/// Offset of the outer tag in a frame, behind both MAC addresses.
pub const TAG_AT: usize = 12;
/// The highest VLAN identifier; 0 is that of a priority tag, and 4095 is reserved.
pub const VLAN_MAX: u16 = 4094;

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

    /// Offset of the header behind the tags, in bytes.
    #[must_use]
    pub fn header_at(&self) -> usize {
        HEADER_LEN + self.count * TAG_LEN
    }
}

/// VLANs of a frame or a VIP, by their tags: none, one of IEEE 802.1Q, or one within another. The outer tag of two is one
/// of IEEE 802.1ad, or of 802.1Q as older switches have it: these are different networks.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(try_from = "Vec<VlanWord>", into = "Vec<VlanWord>")]
pub struct Vlans {
    /// 0: none.
    outer: u16,
    /// 0: none.
    inner: u16,
    /// Both of two tags are of IEEE 802.1Q.
    is_q_in_q: bool,
}

/// Element of the list that describes VLANs, as in `[100, 10]` and `["802.1q", 100, 10]`.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(untagged)]
pub enum VlanWord {
    /// Identifier.
    Id(u16),
    /// Standard of the outer tag of two: [`Q_OUTSIDE`] or [`AD_OUTSIDE`].
    OuterTag(String),
}

/// Name of IEEE 802.1Q as the standard of the outer tag of two.
pub const Q_OUTSIDE: &str = "802.1q";
/// Name of IEEE 802.1ad as the standard of the outer tag of two: the default.
pub const AD_OUTSIDE: &str = "802.1ad";

impl Vlans {
    /// No VLAN.
    pub const NONE: Self = Self { outer: 0, inner: 0, is_q_in_q: false };

    /// VLANs with these identifiers, the outer one first; of two, the outer tag is of IEEE 802.1ad. `None` if they are
    /// more than [`TAGS_MAX`], or one is not from 1 to [`VLAN_MAX`].
    #[must_use]
    pub fn new(ids: &[u16]) -> Option<Self> {
        if ids.iter().any(|id| !(1..=VLAN_MAX).contains(id)) {
            return None;
        }
        match *ids {
            [] => Some(Self::NONE),
            [outer] => Some(Self { outer, inner: 0, is_q_in_q: false }),
            [outer, inner] => Some(Self { outer, inner, is_q_in_q: false }),
            _ => None,
        }
    }

    /// VLANs with these identifiers and two tags of IEEE 802.1Q. `None` as for [`Vlans::new`].
    #[must_use]
    pub fn q_in_q(outer: u16, inner: u16) -> Option<Self> {
        Some(Self { is_q_in_q: true, ..Self::new(&[outer, inner])? })
    }

    /// VLANs of a frame. A priority tag alone is of none (IEEE 802.1Q clause 6.9.1).
    ///
    /// `None` for a priority tag beside another tag, for the reserved identifier, for a tag of IEEE 802.1ad alone or
    /// inside, and for more than [`TAGS_MAX`] tags.
    #[must_use]
    pub fn of(tags: &Tags) -> Option<Self> {
        match *tags.as_slice() {
            _ if is_tag(tags.ethertype) => None,
            [] => Some(Self::NONE),
            [.., last] if last.protocol != TAG => None,
            [tag] if tag.vlan() == 0 => Some(Self::NONE),
            [tag] => Self::new(&[tag.vlan()]),
            [outer, inner, ..] if outer.protocol == TAG => Self::q_in_q(outer.vlan(), inner.vlan()),
            [outer, inner, ..] => Self::new(&[outer.vlan(), inner.vlan()]),
        }
    }

    /// VLANs of a frame, as [`Vlans::of`]. `None` also for one that ends within its tags.
    #[must_use]
    pub fn of_frame(frame: &[u8]) -> Option<Self> {
        Self::of(&Tags::of(frame)?)
    }

    /// True for no VLAN.
    #[must_use]
    pub const fn is_none(self) -> bool {
        self.outer == 0
    }

    /// Identifier of the outer VLAN; 0 for none.
    #[must_use]
    pub const fn outer(self) -> u16 {
        self.outer
    }

    /// Identifier of the inner VLAN of two; 0 for none.
    #[must_use]
    pub const fn inner(self) -> u16 {
        self.inner
    }

    /// The identifiers, the outer one first.
    pub fn ids(self) -> impl Iterator<Item = u16> {
        [self.outer, self.inner].into_iter().filter(|id| *id != 0)
    }

    /// Tag protocol identifier of the outer tag: [`TAG`] or [`SERVICE_TAG`].
    #[must_use]
    pub const fn outer_protocol(self) -> u16 {
        if self.inner == 0 || self.is_q_in_q { TAG } else { SERVICE_TAG }
    }

    /// Tags of priority 0, the outer one first.
    pub fn tags(self) -> impl DoubleEndedIterator<Item = Tag> {
        let outer = Tag { protocol: self.outer_protocol(), control: self.outer };
        let tags = [outer, Tag { protocol: TAG, control: self.inner }];
        tags.into_iter().filter(|tag| tag.vlan() != 0)
    }

    /// A number of their own: the outer identifier in the upper 16 bits, the inner one in the lower, and the highest bit
    /// for two tags of IEEE 802.1Q. 0 for none.
    #[must_use]
    pub const fn code(self) -> u32 {
        (self.is_q_in_q as u32) << 31 | (self.outer as u32) << 16 | self.inner as u32
    }
}

impl TryFrom<Vec<VlanWord>> for Vlans {
    type Error = &'static str;

    fn try_from(words: Vec<VlanWord>) -> Result<Self, Self::Error> {
        let ids = |words: &[VlanWord]| -> Option<Vec<u16>> {
            words.iter().map(|word| if let VlanWord::Id(id) = word { Some(*id) } else { None }).collect()
        };
        let vlans = match words.as_slice() {
            [VlanWord::OuterTag(tag), VlanWord::Id(outer), VlanWord::Id(inner)] => match tag.as_str() {
                Q_OUTSIDE => Self::q_in_q(*outer, *inner),
                AD_OUTSIDE => Self::new(&[*outer, *inner]),
                _ => None,
            },
            words => ids(words).and_then(|ids| Self::new(&ids)),
        };
        vlans.ok_or(
            "VLAN identifiers are two at most, from 1 to 4094; before two may be \"802.1q\" or \"802.1ad\"",
        )
    }
}

impl From<Vlans> for Vec<VlanWord> {
    fn from(vlans: Vlans) -> Self {
        let tag = vlans.is_q_in_q.then(|| VlanWord::OuterTag(Q_OUTSIDE.into()));
        tag.into_iter().chain(vlans.ids().map(VlanWord::Id)).collect()
    }
}

/// The identifiers with a dot between them, as in "100.10"; "802.1q 100.10" for two tags of IEEE 802.1Q; "none".
impl fmt::Display for Vlans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.outer, self.inner) {
            (0, _) => f.write_str("none"),
            (outer, 0) => write!(f, "{outer}"),
            (outer, inner) if self.is_q_in_q => write!(f, "{Q_OUTSIDE} {outer}.{inner}"),
            (outer, inner) => write!(f, "{outer}.{inner}"),
        }
    }
}

/// Length of the tags of `frame` in bytes, at most those of [`TAGS_MAX`].
#[must_use]
pub fn tags_len(frame: &[u8]) -> usize {
    Tags::of(frame).map_or(0, |tags| tags.as_slice().len() * TAG_LEN)
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
    fn a_frame_is_of_the_vlans_of_its_tags() {
        let of = |tags: &[Tag]| Vlans::of(&Tags::of(&tagged(tags)).unwrap());
        let (priority, service) = (Tag { protocol: TAG, control: 0xe000 }, Tag { control: 7, ..SERVICE });
        assert_eq!([of(&[]), of(&[priority])], [Some(Vlans::NONE); 2]);
        assert_eq!(of(&[CUSTOMER]), Vlans::new(&[100]));
        assert_eq!(of(&[service, CUSTOMER]), Vlans::new(&[7, 100]));
        assert_eq!(of(&[Tag { control: 7, ..CUSTOMER }, CUSTOMER]), Vlans::q_in_q(7, 100));
        assert_ne!(Vlans::q_in_q(7, 100), Vlans::new(&[7, 100]));
        let service_priority = Tag { protocol: SERVICE_TAG, ..priority };
        let refused = [
            &[priority, CUSTOMER][..],
            &[CUSTOMER, priority],
            &[SERVICE],
            &[service],
            &[service_priority],
            &[service, service],
            &[CUSTOMER, service],
            &[service, CUSTOMER, CUSTOMER],
        ];
        assert_eq!(refused.map(of), [None; 8]);
    }

    #[test]
    fn vlans_have_tags_and_a_text() {
        let [none, one, two] = [&[][..], &[100], &[7, 100]].map(|ids| Vlans::new(ids).unwrap());
        let vlans = [none, one, two, Vlans::q_in_q(7, 100).unwrap()];
        assert_eq!(vlans.map(|vlans| vlans.to_string()), ["none", "100", "7.100", "802.1q 7.100"]);
        assert_eq!(vlans.map(|vlans| vlans.is_none()), [true, false, false, false]);
        assert_eq!(vlans.map(Vlans::code), [0, 100 << 16, 7 << 16 | 100, 1 << 31 | 7 << 16 | 100]);
        for vlans in vlans {
            let tags: Vec<_> = vlans.tags().collect();
            assert_eq!(Vlans::of(&Tags::of(&tagged(&tags)).unwrap()), Some(vlans));
            let json = serde_json::to_string(&vlans).unwrap();
            assert_eq!(serde_json::from_str::<Vlans>(&json).unwrap(), vlans, "{json}");
        }
        assert_eq!(serde_json::to_string(&vlans[3]).unwrap(), r#"["802.1q",7,100]"#);
        assert_eq!(serde_json::from_str::<Vlans>(r#"["802.1ad", 7, 100]"#).unwrap(), two);
        for wrong in [r#"["802.1q"]"#, r#"["802.1q", 7]"#, r#"["802.1x", 7, 100]"#, r#"[7, "802.1q", 100]"#] {
            assert!(serde_json::from_str::<Vlans>(wrong).is_err(), "{wrong}");
        }
        assert_eq!(vlans.map(Vlans::outer_protocol), [TAG, TAG, SERVICE_TAG, TAG]);
        assert_eq!([&[0][..], &[4095], &[1, 0], &[1, 2, 3]].map(Vlans::new), [None; 4]);
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
