//! Instructions of classic BPF (linux/filter.h), and patterns of them.

use libc::{BPF_ABS, BPF_IND, BPF_JA, BPF_JEQ, BPF_JGE, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W, sock_filter};

/// A socket filter (linux/filter.h), with offsets from the Ethernet header on.
pub type Program = Vec<sock_filter>;

/// Keeps the whole frame, however long.
pub(super) const KEEP: sock_filter = statement(BPF_RET | BPF_K, u32::MAX);
pub(super) const REJECT: sock_filter = statement(BPF_RET | BPF_K, 0);

/// Binary search for the accumulator among `items`, sorted by `key`, down to one item's `leaf`.
pub(super) fn search<T>(items: &[T], key: &dyn Fn(&T) -> u32, leaf: &dyn Fn(&T) -> Program) -> Program {
    match items {
        [] => vec![REJECT],
        [item] => leaf(item),
        _ => {
            let (low, high) = items.split_at(items.len() / 2);
            let below = search(low, key, leaf);
            let mut program = vec![jump(BPF_JGE, key(&high[0]), 0, 1), skip(below.len())];
            program.extend(below);
            program.extend(search(high, key, leaf));
            program
        }
    }
}

/// Loads a value and goes on only if it equals `value`.
pub(super) fn require(load: sock_filter, value: u32) -> [sock_filter; 3] {
    [load, jump(BPF_JEQ, value, 1, 0), REJECT]
}

/// Loads bytes of the frame into the accumulator. Outside the frame it ends the filter with "reject".
pub(super) const fn load(size: u32, offset: u32) -> sock_filter {
    statement(BPF_LD | size | BPF_ABS, offset)
}

/// The same, with `offset` from the index register on.
pub(super) const fn load_indexed(size: u32, offset: u32) -> sock_filter {
    statement(BPF_LD | size | BPF_IND, offset)
}

/// Loads ancillary data of the frame (SKF_AD_*).
pub(super) const fn ancillary(what: libc::c_int) -> sock_filter {
    load(BPF_W, (libc::SKF_AD_OFF + what) as u32) // the kernel takes the negative offset's bits
}

/// Jumps over the next `instructions`.
pub(super) const fn skip(instructions: usize) -> sock_filter {
    statement(BPF_JMP | BPF_JA, instructions as u32) // at most LONGEST
}

/// Compares the accumulator with `value`, and jumps over so many instructions.
pub(super) const fn jump(test: u32, value: u32, if_true: u8, if_false: u8) -> sock_filter {
    sock_filter { code: (BPF_JMP | test | BPF_K) as u16, jt: if_true, jf: if_false, k: value }
}

pub(super) const fn statement(code: u32, k: u32) -> sock_filter {
    sock_filter { code: code as u16, jt: 0, jf: 0, k } // codes are 16 bits wide
}
