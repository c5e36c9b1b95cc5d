//! Checksums of SCTP that the virtio header leaves to the next device.
//!
//! On transmission the header asks for the Internet checksum, two bytes in the place of CRC32c's four (`packet_snd` in
//! net/packet/af_packet.c has no other kind). So such a checksum is computed here, and the request taken back.

use super::batch::NEEDS_CHECKSUM;
use super::ring::VIRTIO_HEADER;
use crate::wire::sctp_checksum;

/// Place of `csum_offset` in the virtio header (linux/virtio_net.h), of two bytes in the host's order.
const CHECKSUM_OFFSET: usize = 8;
/// `csum_offset` of SCTP, and of no other protocol that Linux offloads.
const SCTP: [u8; 2] = (sctp_checksum::FIELD as u16).to_ne_bytes();

/// Completes the checksum of a packet (virtio header and frame) if it is one of SCTP that the next device would.
#[inline]
pub(super) fn complete(packet: &mut [u8]) {
    if packet[0] & NEEDS_CHECKSUM != 0 && packet[CHECKSUM_OFFSET..VIRTIO_HEADER] == SCTP {
        complete_sctp(packet);
    }
}

#[cold]
fn complete_sctp(packet: &mut [u8]) {
    let (header, frame) = packet.split_at_mut(VIRTIO_HEADER);
    if sctp_checksum::complete(frame) {
        header[0] &= !NEEDS_CHECKSUM;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use etherparse::{IpNumber, PacketBuilder};

    /// A packet of this protocol with a virtio header that asks for a checksum.
    fn packet(protocol: IpNumber, offset: u16, flags: u8) -> Vec<u8> {
        let header = [&[flags, 0, 0, 0, 0, 0][..], &34u16.to_ne_bytes(), &offset.to_ne_bytes()].concat();
        let mut packet = header;
        let builder = PacketBuilder::ethernet2([1; 6], [2; 6]).ipv4([198, 51, 100, 7], [192, 0, 2, 1], 64);
        builder.write(&mut packet, protocol, &[0; 24]).unwrap();
        packet
    }

    #[test]
    fn sctp_alone_is_completed_and_no_longer_the_next_device_s() {
        let cases = [
            (IpNumber::SCTP, 8, 1, true),
            (IpNumber::SCTP, 8, 3, true),
            (IpNumber::SCTP, 8, 0, false),
            (IpNumber::SCTP, 8, 2, false),
            (IpNumber::TCP, 16, 1, false),
            (IpNumber::UDP, 6, 1, false),
            (IpNumber::UDP, 8, 1, false),
        ];
        for (protocol, offset, flags, completes) in cases {
            let before = packet(protocol, offset, flags);
            let mut after = before.clone();
            complete(&mut after);
            assert_eq!(after != before, completes, "{protocol:?} {offset} {flags}");
            assert_eq!(after[0], if completes { flags & !NEEDS_CHECKSUM } else { flags });
            assert_eq!(after[1..52], before[1..52], "only the flag and the field change");
        }
    }
}
