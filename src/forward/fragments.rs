//! Servers of packets that arrive in fragments.
//!
//! Fragments are not reassembled. The first one has the ports: it goes to the server of its connection, and the others
//! of the packet follow it. A packet is known for [`LIFETIME`] after its first fragment, whatever the order of the others.

use crate::hash::Seed;
use crate::model::ServerId;
use crate::time::{Span, Tick};
use crate::wire::ethernet;
use crate::wire::ip_fragment::{Fragment, IpFragment};
use crate::wire::vlan::Vlans;
use std::net::{Ipv4Addr, Ipv6Addr};

/// Time for all fragments of a packet. Short, as a sender of 5,000 packets a second uses an identification of IPv4 again
/// after 13 s.
const LIFETIME: Span = Span::from_secs(2);
/// Number of sets, a power of two: 4,096 packets in 64 KiB.
const SETS: usize = 1024;
/// Packets of a set: one cache line.
const WAYS: usize = 4;
/// Most first fragments that are recorded of a batch.
const FIRSTS_MAX: usize = super::BATCH;

/// Packet, as a seeded digest of VLANs, addresses, protocol and identification. Two packets at the same time hardly ever have
/// the same one; fragments then go to a wrong server, which drops them.
pub(super) type PacketDigest = u64;

/// A fragment with the VLANs of its frame: each is a network of its own.
pub(super) struct TaggedFragment {
    pub(super) vlans: Vlans,
    pub(super) fragment: Fragment,
}

impl TaggedFragment {
    /// The fragment in `frame`, with another `rest` bytes; `None` for other frames.
    pub(super) fn of(frame: &[u8], rest: usize) -> Option<Self> {
        let (ethernet, payload) = ethernet::split(frame)?;
        let fragment = Fragment::within(ethernet.ethertype(), payload, rest).ok()??;
        Some(Self { vlans: Vlans::of_frame(frame)?, fragment })
    }
}

/// The servers of recent packets.
pub(super) struct Fragments {
    sets: Box<[[Entry; WAYS]]>,
    seed: Seed,
    /// Packets whose first fragment was in the batch.
    firsts: Vec<PacketDigest>,
}

#[derive(Clone, Copy)]
struct Entry {
    digest: PacketDigest,
    deadline: Tick,
    destination: Destination,
}

/// Destination of a packet's fragments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Destination {
    /// The real server of the first one.
    Server(ServerId),
    /// Another worker, which the first one was left to.
    OtherWorker,
}

impl Fragments {
    pub(super) fn new(seed: Seed) -> Self {
        let vacant = Entry { digest: 0, deadline: Tick(0), destination: Destination::OtherWorker };
        let sets = vec![[vacant; WAYS]; SETS].into();
        Self { sets, seed: seed.with_odd_factors(), firsts: Vec::with_capacity(FIRSTS_MAX) }
    }

    #[inline]
    pub(super) fn begin_batch(&mut self) {
        self.firsts.clear();
    }

    /// Digest of a fragment's packet.
    pub(super) fn digest(&self, TaggedFragment { vlans, fragment }: &TaggedFragment) -> PacketDigest {
        let digest = match fragment {
            Fragment::V4(fragment) => self.digest_v4(fragment),
            Fragment::V6(fragment) => self.digest_v6(fragment),
        };
        if vlans.is_none() { digest } else { self.seed.hash(digest ^ u64::from(vlans.code())) }
    }

    fn digest_v4(&self, fragment: &IpFragment<Ipv4Addr>) -> PacketDigest {
        let [source, destination] =
            [fragment.source, fragment.destination].map(|address| u64::from(address.to_bits()));
        self.hash([source << 32 | destination, identity(fragment)])
    }

    fn digest_v6(&self, fragment: &IpFragment<Ipv6Addr>) -> PacketDigest {
        let [source, destination] = [fragment.source, fragment.destination].map(Ipv6Addr::to_bits);
        let [a, b] = [source, destination].map(|address| [(address >> 64) as u64, address as u64]);
        self.hash([a[0], a[1], b[0], b[1], identity(fragment)])
    }

    fn hash<const N: usize>(&self, words: [u64; N]) -> PacketDigest {
        words.into_iter().fold(N as u64, |digest, word| self.seed.hash(digest ^ word))
    }

    /// Sets the destination of a packet. The oldest packet of a full set is forgotten.
    pub(super) fn put(&mut self, digest: PacketDigest, destination: Destination, now: Tick) {
        let set = &mut self.sets[digest as usize % SETS];
        let same = set.iter().position(|entry| entry.digest == digest);
        let oldest = || (0..WAYS).min_by_key(|way| set[*way].left(now)).unwrap_or_default();
        let way = same.unwrap_or_else(oldest);
        set[way] = Entry { digest, deadline: now.after(LIFETIME), destination };
    }

    /// The destination of a packet.
    pub(super) fn get(&self, digest: PacketDigest, now: Tick) -> Option<Destination> {
        let set = &self.sets[digest as usize % SETS];
        let found = set.iter().find(|entry| entry.digest == digest && entry.left(now) > 0);
        found.map(|entry| entry.destination)
    }

    /// Records that the first fragment of a packet passes: others may be waiting for it.
    pub(super) fn record_first(&mut self, digest: PacketDigest) {
        if self.firsts.len() < FIRSTS_MAX {
            self.firsts.push(digest);
        }
    }

    /// The packets whose first fragment was in the batch.
    pub(super) fn firsts(&self) -> &[PacketDigest] {
        &self.firsts
    }
}

impl Entry {
    /// Milliseconds until the deadline; 0 for an expired entry, however old.
    fn left(&self, now: Tick) -> u32 {
        let left = self.deadline.since(now).millis();
        if now.reached(self.deadline) || left > LIFETIME.millis() { 0 } else { left }
    }
}

/// Identification and protocol.
fn identity<A>(fragment: &IpFragment<A>) -> u64 {
    u64::from(fragment.identification) << 8 | u64::from(fragment.number)
}

#[cfg(test)]
mod tests {
    use super::Destination::Server;
    use super::*;
    use crate::wire::ip_fragment::FragmentPart;
    use std::collections::HashSet;

    const NOW: Tick = Tick(u32::MAX - 100);

    fn fragment<A>(source: A, destination: A, identification: u32) -> IpFragment<A> {
        let part = FragmentPart::Later(8);
        IpFragment { source, destination, number: 17, identification, part, more: true, bytes: 100, ttl: 64 }
    }

    fn fragments() -> Fragments {
        Fragments::new(Seed([3, 5, 7, 9]))
    }

    #[test]
    fn a_packet_has_its_server_for_a_while() {
        let mut fragments = fragments();
        fragments.put(7, Server(ServerId(3)), NOW);
        assert_eq!(fragments.get(7, NOW.after(Span::from_millis(1999))), Some(Server(ServerId(3))));
        assert_eq!(fragments.get(7, NOW.after(LIFETIME)), None);
        assert_eq!(fragments.get(8, NOW), None);
        fragments.put(7, Server(ServerId(4)), NOW);
        assert_eq!(fragments.get(7, NOW), Some(Server(ServerId(4))));
    }

    #[test]
    fn old_entries_of_weeks_ago_are_no_obstacle() {
        let mut fragments = fragments();
        let late = Tick(0x9000_0000); // vacant entries have deadline 0, which is not reached then
        fragments.put(1, Server(ServerId(1)), late);
        fragments.put(1 + SETS as u64, Server(ServerId(2)), late);
        assert_eq!(fragments.get(1, late), Some(Server(ServerId(1))));
        assert_eq!(fragments.get(0, late), None);
    }

    #[test]
    fn the_oldest_packet_of_a_full_set_is_forgotten() {
        let mut fragments = fragments();
        let digests: Vec<_> = (1..=5).map(|n| n * SETS as u64).collect();
        for (n, digest) in digests.iter().enumerate() {
            fragments.put(*digest, Server(ServerId(n as u16)), NOW.after(Span::from_millis(n as u32)));
        }
        let now = NOW.after(Span::from_millis(5));
        let found: Vec<_> = digests.iter().map(|digest| fragments.get(*digest, now).is_some()).collect();
        assert_eq!(found, [false, true, true, true, true]);
    }

    #[test]
    fn every_part_of_the_identity_distinguishes_packets() {
        let fragments = fragments();
        let [a, b] = [1, 2].map(|n| Ipv4Addr::new(198, 51, 100, n));
        let [c, d] = [1, 2].map(|n| Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, n));
        let v4 = [
            fragment(a, b, 1),
            fragment(b, a, 1),
            fragment(a, b, 2),
            IpFragment { number: 6, ..fragment(a, b, 1) },
        ];
        let v6 = [
            fragment(c, d, 1),
            fragment(d, c, 1),
            fragment(c, d, 2),
            IpFragment { number: 6, ..fragment(c, d, 1) },
        ];
        let all = v4.map(Fragment::V4).into_iter().chain(v6.map(Fragment::V6));
        let vlans = [Vlans::NONE, Vlans::new(&[7]).unwrap(), Vlans::new(&[7, 1]).unwrap()];
        let vlans = vlans.into_iter().chain(Vlans::q_in_q(7, 1));
        let all = all.flat_map(|fragment| vlans.clone().map(move |vlans| TaggedFragment { vlans, fragment }));
        let digests: HashSet<_> = all.map(|fragment| fragments.digest(&fragment)).collect();
        assert_eq!(digests.len(), 8 * 4);
    }

    #[test]
    fn a_flood_of_packets_stays_in_bounds() {
        let mut fragments = fragments();
        for n in 0..100_000 {
            let of = Fragment::V4(fragment(Ipv4Addr::from_bits(n), Ipv4Addr::LOCALHOST, n));
            let of = TaggedFragment { vlans: Vlans::NONE, fragment: of };
            let digest = fragments.digest(&of);
            fragments.put(digest, Server(ServerId(1)), NOW);
            fragments.record_first(digest);
            assert_eq!(fragments.get(digest, NOW), Some(Server(ServerId(1))));
        }
        assert_eq!(fragments.firsts().len(), FIRSTS_MAX);
    }
}
