//! Header of a message of version 1 (`ip_vs_sync_mesg`), and of version 0, which is its first four bytes.
//!
//! ```text
//!  0           1       2..3   4       5        6..7
//!  0 (v0: n)   syncid  size   n       version  0        n: number of records
//! ```

/// Bytes of a header of version 1.
pub(super) const LEN: usize = 8;
/// Bytes of a header of version 0.
pub(super) const V0_LEN: usize = 4;
/// Place of the message's length, 16 bits in network byte order.
pub(super) const SIZE: usize = 2;
/// Place of the number of records.
pub(super) const COUNT: usize = 4;
/// Version in the header.
pub(super) const VERSION: u8 = 1;

/// A header for `size` bytes in all with `count` records.
pub(super) fn of(syncid: u8, size: u16, count: u8) -> [u8; LEN] {
    let [high, low] = size.to_be_bytes();
    [0, syncid, high, low, count, VERSION, 0, 0]
}
