//! CRC32c (Castagnoli), the checksum of SCTP (RFC 9260 appendix A).
//!
//! The kernel leaves it to the device, as it does with the checksums of TCP; a packet socket cannot ask for it.

/// Polynomial 0x1edc6f41, with its bits reversed.
const POLYNOMIAL: u32 = 0x82f6_3b78;

/// Remainders of every byte.
const TABLE: [u32; 256] = table();

const fn table() -> [u32; 256] {
    let (mut table, mut byte) = ([0; 256], 0);
    while byte < 256 {
        let (mut remainder, mut bit) = (byte as u32, 0);
        while bit < 8 {
            remainder = (remainder >> 1) ^ if remainder & 1 == 1 { POLYNOMIAL } else { 0 };
            bit += 1;
        }
        table[byte] = remainder;
        byte += 1;
    }
    table
}

/// Checksum over all `parts`, one behind the other.
#[must_use]
pub fn crc32c<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> u32 {
    let bytes = parts.into_iter().flatten();
    !bytes.fold(u32::MAX, |crc, byte| (crc >> 8) ^ TABLE[usize::from(crc as u8 ^ byte)])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 3720 appendix B.4, and the check value of the algorithm.
    #[test]
    fn known_vectors() {
        let of = |bytes: &[u8]| crc32c([bytes]);
        assert_eq!(of(b"123456789"), 0xe306_9283);
        assert_eq!(of(&[0; 32]), 0x8a91_36aa);
        assert_eq!(of(&[0xff; 32]), 0x62a8_ab43);
        let rising: Vec<u8> = (0..32).collect();
        assert_eq!(of(&rising), 0x46dd_794e);
        assert_eq!(crc32c([&rising[..7], &[], &rising[7..]]), 0x46dd_794e);
        assert_eq!(of(&[]), 0);
    }
}
