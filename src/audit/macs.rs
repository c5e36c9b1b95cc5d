//! MAC addresses that tell about their station.

use crate::wire::MacAddr;
use std::fmt;

/// A router that is several hosts, by the MAC address that its protocol gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VirtualRouter {
    /// Protocol of its hosts.
    pub protocol: RouterProtocol,
    /// Number of the group.
    pub group: u16,
}

/// Protocol of a virtual router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouterProtocol {
    /// VRRP (RFC 9568 §7.3), and CARP, which has the same addresses.
    Vrrp,
    /// HSRP (RFC 2281 §2.2; version 2 and IPv6).
    Hsrp,
    /// GLBP.
    Glbp,
}

impl VirtualRouter {
    /// Returns the virtual router of a MAC address, if it is that of one.
    #[must_use]
    pub fn of(mac: MacAddr) -> Option<Self> {
        let (protocol, group) = match mac.0 {
            [0x00, 0x00, 0x5e, 0x00, 0x01 | 0x02, group] => (RouterProtocol::Vrrp, group.into()),
            [0x00, 0x00, 0x0c, 0x07, 0xac, group] => (RouterProtocol::Hsrp, group.into()),
            [0x00, 0x00, 0x0c, 0x9f, high @ 0xf0..=0xff, low]
            | [0x00, 0x05, 0x73, 0xa0, high @ 0..=0x0f, low] => {
                (RouterProtocol::Hsrp, u16::from_be_bytes([high & 0x0f, low]))
            }
            [0x00, 0x07, 0xb4, high, low, _] => {
                (RouterProtocol::Glbp, u16::from_be_bytes([high & 0x03, low]))
            }
            _ => return None,
        };
        Some(Self { protocol, group })
    }
}

impl fmt::Display for VirtualRouter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let protocol = match self.protocol {
            RouterProtocol::Vrrp => "VRRP or CARP",
            RouterProtocol::Hsrp => "HSRP",
            RouterProtocol::Glbp => "GLBP",
        };
        write!(f, "the virtual router of {protocol} group {}", self.group)
    }
}

/// Makers of virtual machines, by the first three bytes of their interfaces' MAC addresses.
const VENDORS: [([u8; 3], &str); 7] = [
    ([0x52, 0x54, 0x00], "a QEMU or KVM guest"),
    ([0x00, 0x50, 0x56], "a VMware guest"),
    ([0x00, 0x0c, 0x29], "a VMware guest"),
    ([0x00, 0x16, 0x3e], "a Xen or LXD guest"),
    ([0x00, 0x15, 0x5d], "a Hyper-V guest"),
    ([0x08, 0x00, 0x27], "a VirtualBox guest"),
    ([0xbc, 0x24, 0x11], "a Proxmox guest"),
];

/// Returns the vendor of a station in words: one of virtual machines, or the number by which lists of OUIs have it.
pub(super) fn vendor(mac: MacAddr) -> Option<String> {
    let [a, b, c, ..] = mac.0;
    if let Some((_, vendor)) = VENDORS.iter().find(|(oui, _)| *oui == [a, b, c]) {
        return Some((*vendor).to_owned());
    }
    is_universal(mac).then(|| format!("vendor {a:02X}-{b:02X}-{c:02X} in lists of OUIs"))
}

/// True if two addresses may be ports of one host, as of a bond in mode balance-alb or a team: the vendor's, and of nearly
/// the same number.
pub(super) fn may_be_ports_of_one_host(one: MacAddr, other: MacAddr) -> bool {
    /// Ports of one network card and the next.
    const NEAR: u64 = 8;
    let number = |mac: MacAddr| mac.0.iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
    is_universal(one) && is_universal(other) && number(one).abs_diff(number(other)) <= NEAR
}

/// True for an address that a vendor has given, not the administrator (IEEE 802).
fn is_universal(mac: MacAddr) -> bool {
    mac.0[0] & 2 == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mac(text: &str) -> MacAddr {
        text.parse().unwrap()
    }

    #[test]
    fn virtual_routers_are_told_by_their_addresses() {
        for (text, protocol, group) in [
            ("00:00:5e:00:01:33", RouterProtocol::Vrrp, 0x33),
            ("00:00:5e:00:02:ff", RouterProtocol::Vrrp, 0xff),
            ("00:00:0c:07:ac:05", RouterProtocol::Hsrp, 5),
            ("00:00:0c:9f:f1:02", RouterProtocol::Hsrp, 0x102),
            ("00:05:73:a0:01:02", RouterProtocol::Hsrp, 0x102),
            ("00:07:b4:00:07:01", RouterProtocol::Glbp, 7),
        ] {
            assert_eq!(VirtualRouter::of(mac(text)), Some(VirtualRouter { protocol, group }), "{text}");
        }
        for text in ["00:00:5e:00:03:01", "00:00:0c:9f:e0:01", "00:05:73:a0:10:01", "02:00:5e:00:01:33"] {
            assert_eq!(VirtualRouter::of(mac(text)), None, "{text}");
        }
    }

    #[test]
    fn ports_of_one_host_have_neighboring_numbers_of_a_vendor() {
        let near = |one, other| may_be_ports_of_one_host(mac(one), mac(other));
        assert!(near("00:1b:21:00:00:ff", "00:1b:21:00:01:00"));
        assert!(!near("00:1b:21:00:00:00", "00:1b:21:00:00:09"));
        assert!(!near("02:1b:21:00:00:00", "02:1b:21:00:00:01"), "numbers of an administrator");
    }

    #[test]
    fn vendors_are_named_or_numbered() {
        assert_eq!(vendor(mac("52:54:00:12:34:56")).unwrap(), "a QEMU or KVM guest");
        assert_eq!(vendor(mac("00:1b:21:00:00:01")).unwrap(), "vendor 00-1B-21 in lists of OUIs");
        assert_eq!(vendor(mac("02:00:00:00:00:01")), None);
    }
}
