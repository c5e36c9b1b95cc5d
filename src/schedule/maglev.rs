//! The table of mh: Maglev hashing (Eisenbud et al., "Maglev: A Fast and Reliable Software Network
//! Load Balancer", NSDI 2016, section 3.4) with IPVS's numbers (net/netfilter/ipvs/ip_vs_mh.c).
//!
//! Every server has a permutation of the slots, made from its address. In turn each takes the first
//! free slot of its permutation, heavier servers several at a time. When a server leaves, its slots go
//! to the others, and few of the remaining slots change.

use super::wrr::gcd;

/// Slots: a prime, so that every permutation visits all of them (`IP_VS_MH_TAB_INDEX` 12, the default).
pub(super) const SLOTS: usize = 4093;
/// Bits of the longest turn (`IP_VS_MH_TAB_BITS`).
const TURN_BITS: u32 = 6;

/// The keys of the two hashes (`generate_hash_secret`).
const KEY_OFFSET: u64 = 2_654_435_761;
const KEY_SKIP: u64 = 2_654_446_892;

/// The slot of a number.
#[inline]
pub(super) fn slot(number: u32) -> usize {
    sip13(number, KEY_OFFSET) as usize % SLOTS
}

/// The server of every slot, as a place in `weights` and `addresses`; `vacant` in all if no server
/// has a weight.
pub(super) fn table(weights: &[u16], addresses: &[u32], vacant: u16) -> Box<[u16]> {
    let mut slots = vec![vacant; SLOTS];
    let turns = turns(weights);
    let mut orders: Vec<_> = addresses.iter().map(|address| Permutation::new(*address)).collect();
    let mut free = if turns.iter().any(|turns| *turns > 0) { SLOTS } else { 0 };
    while free > 0 {
        for (place, order) in orders.iter_mut().enumerate() {
            for _ in 0..usize::from(turns[place]).min(free) {
                let slot = order.first_free(&slots, vacant);
                slots[slot] = place as u16;
                free -= 1;
            }
        }
    }
    slots.into()
}

/// Slots that each server takes in its turn: its weight, divided by what all have in common
/// and by the power of two that makes the longest turn fit; one at least if it has a weight
/// (`ip_vs_mh_permutate`, `ip_vs_mh_shift_weight`).
fn turns(weights: &[u16]) -> Vec<u16> {
    let common = weights.iter().copied().filter(|weight| *weight > 0).reduce(gcd).unwrap_or(1);
    let longest = weights.iter().max().map_or(0, |weight| weight / common);
    let shift = (u16::BITS - longest.leading_zeros()).saturating_sub(TURN_BITS);
    weights.iter().map(|weight| ((weight / common) >> shift).max(u16::from(*weight > 0))).collect()
}

/// The permutation of the slots of one server.
struct Permutation {
    next: usize,
    skip: usize,
}

impl Permutation {
    fn new(address: u32) -> Self {
        Self { next: slot(address), skip: sip13(address, KEY_SKIP) as usize % (SLOTS - 1) + 1 }
    }

    fn first_free(&mut self, slots: &[u16], vacant: u16) -> usize {
        while slots[self.next] != vacant {
            self.next = (self.next + self.skip) % SLOTS;
        }
        self.next
    }
}

/// SipHash-1-3 (Aumasson and Bernstein, 2012) of four bytes, both halves of the key equal: what
/// `hsiphash` is on 64-bit kernels.
#[inline]
fn sip13(number: u32, key: u64) -> u32 {
    let word = 4 << 56 | u64::from(number);
    let mut state = [
        key ^ 0x736f_6d65_7073_6575,
        key ^ 0x646f_7261_6e64_6f6d,
        key ^ 0x6c79_6765_6e65_7261,
        key ^ 0x7465_6462_7974_6573 ^ word,
    ];
    sip_round(&mut state);
    state[0] ^= word;
    state[2] ^= 0xff;
    (0..3).for_each(|_| sip_round(&mut state));
    state.into_iter().fold(0, |all, word| all ^ word) as u32
}

#[inline]
fn sip_round(state: &mut [u64; 4]) {
    let [mut a, mut b, mut c, mut d] = *state;
    a = a.wrapping_add(b);
    c = c.wrapping_add(d);
    b = b.rotate_left(13) ^ a;
    d = d.rotate_left(16) ^ c;
    a = a.rotate_left(32).wrapping_add(d);
    c = c.wrapping_add(b);
    b = b.rotate_left(17) ^ c;
    d = d.rotate_left(21) ^ a;
    *state = [a, b, c.rotate_left(32), d];
}

#[cfg(all(test, not(loom_model)))]
mod tests {
    use super::*;
    use std::hash::{DefaultHasher, Hasher};

    const NONE: u16 = u16::MAX;

    fn addresses(servers: usize) -> Vec<u32> {
        (0..servers as u32).map(|n| 0xc0a8_c3aa + n + 80).collect()
    }

    fn slots_of(place: usize, table: &[u16]) -> usize {
        table.iter().filter(|slot| usize::from(**slot) == place).count()
    }

    /// The standard library's hasher is SipHash-1-3 with a key of zeros.
    #[test]
    fn numbers_are_hashed_by_siphash_1_3() {
        for number in (0..32).map(|bit| 1u32 << bit).chain([0, 5, 0xdead_beef, u32::MAX]) {
            let mut hasher = DefaultHasher::new();
            hasher.write(&number.to_le_bytes());
            assert_eq!(sip13(number, 0), hasher.finish() as u32, "{number}");
        }
        assert_ne!(sip13(1, KEY_OFFSET), sip13(1, KEY_SKIP));
    }

    /// As in the paper: complete permutations first, then turn by turn.
    #[test]
    fn the_table_matches_the_paper() {
        let addresses = addresses(7);
        let order = |address: &u32| -> Vec<usize> {
            let (offset, skip) = (slot(*address), sip13(*address, KEY_SKIP) as usize % (SLOTS - 1) + 1);
            (0..SLOTS).map(|step| (offset + step * skip) % SLOTS).collect()
        };
        let orders: Vec<_> = addresses.iter().map(order).collect();
        let (mut entry, mut tried) = (vec![NONE; SLOTS], [0; 7]);
        for filled in 0..SLOTS {
            let place = filled % 7;
            while entry[orders[place][tried[place]]] != NONE {
                tried[place] += 1;
            }
            entry[orders[place][tried[place]]] = place as u16;
        }
        assert_eq!(*table(&[1; 7], &addresses, NONE), *entry);
        assert_eq!(table(&[5; 7], &addresses, NONE), table(&[1; 7], &addresses, NONE));
    }

    #[test]
    fn turns_are_proportional_to_weights() {
        assert_eq!(turns(&[2, 4, 0, 10]), [1, 2, 0, 5]);
        assert_eq!(turns(&[1, 63, 64]), [1, 31, 32], "seven bits are shifted to six");
        assert_eq!(turns(&[1, 65535]), [1, 63], "every weight gets a slot");
        assert_eq!(turns(&[0, 0]), [0, 0]);
    }

    /// No server has more than one turn more than another one, so the shares are right within one turn.
    #[test]
    fn slots_are_proportional_to_weights() {
        for (servers, weight) in [(3usize, 1u16), (10, 1), (10, 7), (100, 3), (1000, 1)] {
            let weights: Vec<_> = (0..servers).map(|n| 1 + n as u16 % weight).collect();
            let table = table(&weights, &addresses(servers), NONE);
            let total: usize = weights.iter().map(|weight| usize::from(*weight)).sum();
            for (place, weight) in weights.iter().map(|weight| usize::from(*weight)).enumerate() {
                let (has, due) = (slots_of(place, &table), SLOTS * weight / total);
                assert!(has.abs_diff(due) <= weight, "{place} of {servers}: {has} instead of {due}");
            }
        }
    }

    /// Counts clients, not slots: an even table needs an even hash, too.
    #[test]
    fn clients_spread_evenly() {
        let weights = [1u16, 1, 2, 3, 1, 4, 2, 1, 3, 2];
        let table = table(&weights, &addresses(10), NONE);
        let mut clients = [0u32; 10];
        for client in 0..1 << 20 {
            clients[usize::from(table[slot(0x0a00_0000 + client)])] += 1;
        }
        for (count, weight) in clients.iter().zip(weights) {
            let due = f64::from(1 << 20) * f64::from(weight) / 20.0;
            let off = (f64::from(*count) / due - 1.0).abs();
            assert!(off < 0.03, "{count} instead of {due}");
        }
    }

    /// Fraction of slots that change their server although the removed server did not have them.
    fn disrupted(weights: &[u16], removed: usize) -> f64 {
        let (addresses, mut without) = (addresses(weights.len()), weights.to_vec());
        without[removed] = 0;
        let (before, after) = (table(weights, &addresses, NONE), table(&without, &addresses, NONE));
        let kept = before.iter().zip(&after).filter(|(old, _)| usize::from(**old) != removed);
        let moved = kept.filter(|(old, new)| old != new).count();
        moved as f64 / SLOTS as f64
    }

    /// Few clients of the remaining servers move: at most 5 % (seen are 1 % among ten servers, 3 % among a
    /// hundred, 5 % among a hundred of different weights). With a table filled in list order, as sh's,
    /// nearly all do.
    #[test]
    fn few_clients_move_when_a_server_is_removed() {
        for servers in [2usize, 3, 5, 10, 50, 100, 1000] {
            for variety in [1, 5] {
                let weights: Vec<_> = (0..servers).map(|n| 1 + n as u16 % variety).collect();
                let removals = (0..servers).step_by(servers.div_ceil(10));
                let worst = removals.map(|removed| disrupted(&weights, removed)).fold(0.0, f64::max);
                assert!(worst < if servers > 10 { 0.05 } else { 0.02 }, "{servers}: {worst}");
            }
        }
    }

    #[test]
    fn without_weights_the_table_is_empty() {
        assert!(table(&[], &[], NONE).iter().all(|slot| *slot == NONE));
        assert!(table(&[0, 0], &addresses(2), NONE).iter().all(|slot| *slot == NONE));
        assert!(table(&[0, 1], &addresses(2), NONE).iter().all(|slot| *slot == 1));
    }

    #[test]
    fn excess_servers_get_no_slot() {
        let table = table(&[1; SLOTS + 5], &addresses(SLOTS + 5), NONE);
        assert!((0..SLOTS).all(|place| slots_of(place, &table) == 1));
    }
}
