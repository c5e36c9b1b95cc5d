//! The table of mh: Maglev hashing (Eisenbud et al., "Maglev: A Fast and Reliable Software Network
//! Load Balancer", NSDI 2016, section 3.4) with IPVS's numbers (net/netfilter/ipvs/ip_vs_mh.c).
//!
//! Every server has an order of its own in which it would like the slots, made of its address. In
//! turn each takes the first that is free, the heavier ones several at a time. When a server leaves,
//! its slots go to the others, and few of the remaining slots change hands.

/// Slots: a prime, so that every order visits all of them (`IP_VS_MH_TAB_INDEX` 12, the default).
pub(super) const SLOTS: usize = 4093;
/// Bits of the longest turn (`IP_VS_MH_TAB_BITS`).
const TURN_BITS: u32 = 6;

/// The keys of the two hashes (`generate_hash_secret`).
const KEY_OFFSET: u64 = 2_654_435_761;
const KEY_SKIP: u64 = 2_654_446_892;

/// The slot that a number belongs to.
#[inline]
pub(super) fn slot(number: u32) -> usize {
    sip13(number, KEY_OFFSET) as usize % SLOTS
}

/// The server of every slot, as a place in `weights` and `addresses`; `nobody` in all if no server
/// has a weight.
pub(super) fn table(weights: &[u16], addresses: &[u32], nobody: u16) -> Box<[u16]> {
    let mut slots = vec![nobody; SLOTS];
    let turns = turns(weights);
    let mut orders: Vec<_> = addresses.iter().map(|address| Order::new(*address)).collect();
    let mut free = if turns.iter().any(|turns| *turns > 0) { SLOTS } else { 0 };
    while free > 0 {
        for (place, order) in orders.iter_mut().enumerate() {
            for _ in 0..usize::from(turns[place]).min(free) {
                let slot = order.first_free(&slots, nobody);
                slots[slot] = place as u16;
                free -= 1;
            }
        }
    }
    slots.into()
}

/// How many slots each server takes in its turn: its weight, divided by what all have in common
/// and by the power of two that makes the longest turn fit; one at least if it has a weight
/// (`ip_vs_mh_permutate`, `ip_vs_mh_shift_weight`).
fn turns(weights: &[u16]) -> Vec<u16> {
    let common = weights.iter().copied().filter(|weight| *weight > 0).reduce(gcd).unwrap_or(1);
    let longest = weights.iter().max().map_or(0, |weight| weight / common);
    let shift = (u16::BITS - longest.leading_zeros()).saturating_sub(TURN_BITS);
    weights.iter().map(|weight| ((weight / common) >> shift).max(u16::from(*weight > 0))).collect()
}

/// The order in which a server would like the slots.
struct Order {
    next: usize,
    skip: usize,
}

impl Order {
    fn new(address: u32) -> Self {
        Self { next: slot(address), skip: sip13(address, KEY_SKIP) as usize % (SLOTS - 1) + 1 }
    }

    fn first_free(&mut self, slots: &[u16], nobody: u16) -> usize {
        while slots[self.next] != nobody {
            self.next = (self.next + self.skip) % SLOTS;
        }
        self.next
    }
}

fn gcd(a: u16, b: u16) -> u16 {
    if b == 0 { a } else { gcd(b, a % b) }
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
