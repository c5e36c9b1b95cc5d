//! Abilities of a driver by the family "netdev" of generic netlink (linux/netdev.h, Linux 6.3).

use super::rtnetlink::message::{Attributes, attribute, exchange, u16_at};
use super::uapi::{NETDEV_A_DEV_IFINDEX, NETDEV_A_DEV_XDP_FEATURES, NETDEV_CMD_DEV_GET};
use rtnetlink::sys::protocols::NETLINK_GENERIC;
use std::io;

/// `struct genlmsghdr` of linux/genetlink.h, in bytes.
const GENERIC_HEADER: usize = 4;

/// Abilities of a driver with XDP (`enum netdev_xdp_act` of linux/netdev.h).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct XdpFeatures(pub(crate) u64);

impl XdpFeatures {
    /// Programs run in the driver (NETDEV_XDP_ACT_BASIC).
    pub(crate) fn is_native(self) -> bool {
        self.0 & 1 != 0
    }

    /// AF_XDP without a copy (NETDEV_XDP_ACT_XSK_ZEROCOPY).
    pub(crate) fn has_zero_copy(self) -> bool {
        self.0 & 8 != 0
    }

    /// Received frames in several buffers (NETDEV_XDP_ACT_RX_SG).
    pub(crate) fn has_several_buffers(self) -> bool {
        self.0 & 32 != 0
    }
}

/// Abilities of the interface with this index.
///
/// # Errors
/// ENOENT before Linux 6.3; ENODEV without such an interface.
pub(crate) fn xdp_features(index: u32) -> io::Result<XdpFeatures> {
    let mut attributes = Vec::new();
    attribute(&mut attributes, NETDEV_A_DEV_IFINDEX, &index.to_ne_bytes());
    let answer = request(family()?, NETDEV_CMD_DEV_GET, &attributes, NETDEV_A_DEV_XDP_FEATURES)?;
    let bytes = answer.try_into().map_err(|_| io::ErrorKind::InvalidData)?;
    Ok(XdpFeatures(u64::from_ne_bytes(bytes)))
}

/// Number of the family, which the kernel assigns at its start.
fn family() -> io::Result<u16> {
    let mut attributes = Vec::new();
    attribute(&mut attributes, libc::CTRL_ATTR_FAMILY_NAME as u16, b"netdev\0"); // 2
    let (kind, command) = (libc::GENL_ID_CTRL as u16, libc::CTRL_CMD_GETFAMILY as u8); // 16, 3
    let answer = request(kind, command, &attributes, libc::CTRL_ATTR_FAMILY_ID as u16)?; // 1
    u16_at(&answer, 0).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// Sends a request and returns one attribute of the answer.
fn request(kind: u16, command: u8, attributes: &[u8], wanted: u16) -> io::Result<Vec<u8>> {
    let body = [&[command, 1, 0, 0], attributes].concat();
    let mut found = None;
    exchange(NETLINK_GENERIC, (kind, libc::NLM_F_ACK), &body, |payload| {
        let attributes = payload.get(GENERIC_HEADER..)?;
        found = Attributes(attributes).find(|(kind, _)| *kind == wanted).map(|(_, value)| value.to_vec());
        Some(())
    })?;
    found.ok_or_else(|| io::ErrorKind::InvalidData.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_interface_has_no_native_xdp() {
        let lo = nix::net::if_::if_nametoindex("lo").unwrap();
        assert_eq!(xdp_features(lo).unwrap(), XdpFeatures(0));
        assert_eq!(xdp_features(0x7000_0000).unwrap_err().raw_os_error(), Some(libc::ENODEV));
    }
}
