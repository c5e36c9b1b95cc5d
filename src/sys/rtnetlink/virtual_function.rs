//! Virtual functions (SR-IOV), as their physical function has set them up.

use super::message::{Attributes, attribute, get, u32_at};
use super::{LINK_HEADER, value_of};
use std::io;

/// linux/rtnetlink.h: the answer shall have the virtual functions.
const RTEXT_FILTER_VF: u32 = 1;
/// linux/if_link.h, within IFLA_VF_INFO. This value and the next two begin with the number of the function.
const IFLA_VF_VLAN: u16 = 2;
/// linux/if_link.h: it may only send from its own MAC address.
const IFLA_VF_SPOOFCHK: u16 = 4;
/// linux/if_link.h: it may change its MAC address and receive all multicast.
const IFLA_VF_TRUST: u16 = 9;

/// Settings of a virtual function.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct VirtualFunction {
    pub(crate) number: u32,
    /// VLAN that the NIC puts all its frames into; 0 for none.
    pub(crate) vlan: u32,
    pub(crate) checks_source: bool,
    pub(crate) is_trusted: bool,
}

/// The virtual function `number` of the physical function with this index (RTM_GETLINK, IFLA_VFINFO_LIST); `None` if it has none.
pub(crate) fn virtual_function(physical: u32, number: u32) -> io::Result<Option<VirtualFunction>> {
    let mut request = vec![0; LINK_HEADER];
    request[4..8].copy_from_slice(&physical.to_ne_bytes());
    attribute(&mut request, libc::IFLA_EXT_MASK, &RTEXT_FILTER_VF.to_ne_bytes());
    let answer = get(libc::RTM_GETLINK, &request)?;
    let attributes = answer.get(LINK_HEADER..).unwrap_or_default();
    let list = value_of(attributes, libc::IFLA_VFINFO_LIST).unwrap_or_default();
    Ok(Attributes(list).map(|(_, info)| function_of(info)).find(|function| function.number == number))
}

fn function_of(info: &[u8]) -> VirtualFunction {
    let mut function = VirtualFunction::default();
    for (kind, value) in Attributes(info) {
        let setting = u32_at(value, 4).unwrap_or_default();
        match kind {
            IFLA_VF_VLAN => function.vlan = setting,
            // A driver without the setting reports all bits set.
            IFLA_VF_SPOOFCHK => function.checks_source = setting == 1,
            IFLA_VF_TRUST => function.is_trusted = setting == 1,
            // Nested lists are among the others, and begin with no number.
            _ => continue,
        }
        function.number = u32_at(value, 0).unwrap_or(function.number);
    }
    function
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_of_a_function_are_read() {
        let mut info = Vec::new();
        for (kind, setting) in [(IFLA_VF_VLAN, 100_u32), (IFLA_VF_SPOOFCHK, 1), (IFLA_VF_TRUST, u32::MAX)] {
            let value = [3_u32.to_ne_bytes(), setting.to_ne_bytes()].concat();
            attribute(&mut info, kind, &value);
        }
        // As the kernel ends each function: IFLA_VF_STATS and IFLA_VF_VLAN_LIST.
        for nested in [8, 12] {
            let mut list = Vec::new();
            attribute(&mut list, 1, &[0x55; 16]);
            attribute(&mut info, nested, &list);
        }
        let wanted = VirtualFunction { number: 3, vlan: 100, checks_source: true, is_trusted: false };
        assert_eq!(function_of(&info), wanted);
    }

    #[test]
    fn the_loopback_interface_has_no_virtual_functions() {
        let lo = nix::net::if_::if_nametoindex("lo").unwrap();
        assert_eq!(virtual_function(lo, 0).unwrap(), None);
    }
}
