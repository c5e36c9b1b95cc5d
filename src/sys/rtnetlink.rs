//! rtnetlink(7): links, addresses, routes.
//!
//! Answers are of the calling thread's network namespace, which /sys need not be.
//!
//! Messages are read by hand, although the rtnetlink crate brings a parser (netlink-packet-route 0.34), for two
//! reasons. `LinkMessage::parse` refuses the whole message if one attribute, needed here or not, has a length or
//! nested content that the crate does not expect (`IFLA_VFINFO_LIST`, `IFLA_AF_SPEC`, `IFLA_INFO_DATA`): with a
//! newer kernel or driver an interface would be missing. Here attributes are picked by number and all others
//! skipped. And netlink-packet-core 0.9 does not decode the text of an extended acknowledgement in `NLMSG_ERROR`,
//! which is the driver's reason for refusing an XDP program.

mod change;
pub(super) mod message;
mod neighbor;
mod route;
mod virtual_function;
pub mod watch;

pub(crate) use change::{set_up, without_link_local};
pub(crate) use neighbor::neighbors;
pub(crate) use route::{LocalRoute, RouteInfo, default_gateways, local_routes, route, route_entry};
pub(crate) use virtual_function::{VirtualFunction, virtual_function};

use super::uapi::{
    IFLA_BOND_FAIL_OVER_MAC, IFLA_BOND_MODE, IFLA_MACVLAN_MODE, IFLA_VLAN_ID, IFLA_VLAN_PROTOCOL,
    IFLA_XDP_FD, IFLA_XDP_FLAGS, IFLA_XDP_PROG_IDS, NETNSA_FD, NETNSA_NSID,
};
use crate::wire::MacAddr;
use crate::wire::vlan::Tag;
use message::{Attributes, attribute, dump, get, request, u16_at, u32_at};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

/// `struct ifinfomsg`, `struct ifaddrmsg` and `struct rtgenmsg` (padded) of linux/rtnetlink.h and if_addr.h, in bytes.
const LINK_HEADER: usize = 16;
const ADDRESS_HEADER: usize = 8;
const RTGEN_HEADER: usize = 4;
/// Flags of an IPv6 address (linux/if_addr.h): not yet usable, and never.
const IFA_F_TENTATIVE: u32 = 0x40;
const IFA_F_DADFAILED: u32 = 0x08;
/// Flag of an address without a limited lifetime.
const IFA_F_PERMANENT: u32 = 0x80;

/// Attributes of one interface: RTM_NEWLINK, `struct ifinfomsg` and the IFLA_* attributes of linux/if_link.h.
#[derive(Clone, Debug, Default)]
pub(crate) struct LinkInfo {
    pub(crate) index: u32,
    pub(crate) name: String,
    pub(crate) mac: Option<MacAddr>,
    pub(crate) mtu: u32,
    pub(crate) receive_queues: u32,
    pub(crate) transmit_queues: u32,
    pub(crate) is_up: bool,
    /// Frames can be sent and received (IFF_LOWER_UP).
    pub(crate) has_carrier: bool,
    pub(crate) is_ethernet: bool,
    pub(crate) xdp_program: Option<u32>,
    /// Kind of a virtual interface: "bond", "vlan", "veth"; `None` for a hardware interface.
    pub(crate) kind: Option<String>,
    /// Tag of a VLAN device, with priority 0.
    pub(crate) tag: Option<Tag>,
    /// Settings of a bond.
    pub(crate) bond: Option<BondSettings>,
    /// Mode of a macvlan: MACVLAN_MODE_* of linux/if_link.h.
    pub(crate) macvlan_mode: Option<u32>,
    /// IFF_MASTER: a master device; other interfaces carry its frames.
    pub(crate) is_master: bool,
    /// Index of its master device.
    pub(crate) master: Option<u32>,
    /// Index of the lower device; of a veth, its peer (IFLA_LINK).
    pub(crate) link: Option<u32>,
    /// Network namespace of `link`, by its id here (IFLA_LINK_NETNSID); `None` if it is this one.
    pub(crate) link_netns: Option<i32>,
}

/// Settings of a bond, as numbers of linux/if_bonding.h and drivers/net/bonding/bond_options.c.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BondSettings {
    /// 0 balance-rr, 1 active-backup, … 5 balance-tlb, 6 balance-alb.
    pub(crate) mode: u8,
    /// 0 none, 1 active, 2 follow.
    pub(crate) fail_over_mac: u8,
}

/// Lists all interfaces (dump of RTM_GETLINK).
pub(crate) fn links() -> io::Result<Vec<LinkInfo>> {
    let mut links = Vec::new();
    dump(libc::RTM_GETLINK, &[0; LINK_HEADER], |payload| links.extend(link_of(payload)))?;
    Ok(links)
}

/// Looks up an interface by index (RTM_GETLINK); `None` if there is none.
pub(crate) fn link(index: u32) -> io::Result<Option<LinkInfo>> {
    let mut request = [0; LINK_HEADER];
    request[4..8].copy_from_slice(&index.to_ne_bytes());
    match get(libc::RTM_GETLINK, &request) {
        Ok(payload) => Ok(link_of(&payload)),
        Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Lists the IPv4 addresses of an interface with their prefix lengths.
pub(crate) fn addresses(index: u32) -> io::Result<Vec<(Ipv4Addr, u8)>> {
    let all = all_addresses()?.into_iter();
    Ok(all.filter(|(of, _)| *of == index).map(|(_, found)| found).collect())
}

/// Lists all IPv4 addresses of the namespace (dump of RTM_GETADDR): interface index, address, prefix length.
pub(crate) fn all_addresses() -> io::Result<Vec<(u32, (Ipv4Addr, u8))>> {
    let mut addresses = Vec::new();
    let mut request = [0; ADDRESS_HEADER];
    request[0] = libc::AF_INET as u8; // 2
    dump(libc::RTM_GETADDR, &request, |payload| addresses.extend(address_of(payload)))?;
    Ok(addresses)
}

/// Lists the IPv4 addresses of an interface that have a limited lifetime, as of a DHCP lease.
pub(crate) fn leased_addresses(index: u32) -> io::Result<Vec<Ipv4Addr>> {
    let mut leased = Vec::new();
    let mut request = [0; ADDRESS_HEADER];
    request[0] = libc::AF_INET as u8; // 2
    dump(libc::RTM_GETADDR, &request, |payload| {
        let is_leased = payload.get(2).is_some_and(|flags| u32::from(*flags) & IFA_F_PERMANENT == 0);
        leased.extend(address_of(payload).filter(|(of, _)| is_leased && *of == index));
    })?;
    Ok(leased.into_iter().map(|(_, (address, _))| address).collect())
}

/// Lists the IPv6 addresses of the namespace (dump of RTM_GETADDR): interface index, address, prefix length.
/// Tentative ones are left out, and addresses that duplicate address detection refused.
pub(crate) fn all_ipv6_addresses() -> io::Result<Vec<Ipv6Entry>> {
    ipv6_addresses(|state| state == AddressState::Usable)
}

/// Lists the addresses for which duplicate address detection goes on, as [`all_ipv6_addresses`].
pub(crate) fn tentative_ipv6_addresses() -> io::Result<Vec<Ipv6Entry>> {
    ipv6_addresses(|state| state == AddressState::Tentative)
}

fn ipv6_addresses(is_wanted: fn(AddressState) -> bool) -> io::Result<Vec<Ipv6Entry>> {
    let mut addresses = Vec::new();
    let mut request = [0; ADDRESS_HEADER];
    request[0] = libc::AF_INET6 as u8; // 10
    dump(libc::RTM_GETADDR, &request, |payload| {
        let found = ipv6_address_of(payload).filter(|(state, _)| is_wanted(*state));
        addresses.extend(found.map(|(_, address)| address));
    })?;
    Ok(addresses)
}

fn link_of(payload: &[u8]) -> Option<LinkInfo> {
    let (header, attributes) = payload.split_at_checked(LINK_HEADER)?;
    let flags = u32_at(header, 8)?;
    let mut link = LinkInfo {
        index: u32_at(header, 4)?,
        receive_queues: 1,
        transmit_queues: 1,
        is_up: flags & libc::IFF_UP as u32 != 0,
        is_master: flags & libc::IFF_MASTER as u32 != 0,
        has_carrier: flags & libc::IFF_LOWER_UP as u32 != 0,
        is_ethernet: u16_at(header, 2)? == libc::ARPHRD_ETHER,
        ..LinkInfo::default()
    };
    for (kind, value) in Attributes(attributes) {
        link.set_attribute(kind, value);
    }
    Some(link)
}

impl LinkInfo {
    fn set_attribute(&mut self, kind: u16, value: &[u8]) {
        let number = u32_at(value, 0).unwrap_or_default();
        match kind {
            libc::IFLA_ADDRESS => self.mac = value.try_into().ok().map(MacAddr),
            libc::IFLA_IFNAME => {
                self.name = String::from_utf8_lossy(value).trim_end_matches('\0').to_owned();
            }
            libc::IFLA_MTU => self.mtu = number,
            libc::IFLA_NUM_TX_QUEUES => self.transmit_queues = number,
            libc::IFLA_NUM_RX_QUEUES => self.receive_queues = number,
            libc::IFLA_XDP => self.xdp_program = program_of(value),
            libc::IFLA_LINKINFO => {
                (self.kind, self.tag) = (kind_of(value), tag_of(value));
                (self.bond, self.macvlan_mode) = (bond_of(value), macvlan_mode_of(value));
            }
            libc::IFLA_MASTER => self.master = Some(number),
            // Without a lower device it is the own index, or 0.
            libc::IFLA_LINK => self.link = Some(number).filter(|link| *link != 0),
            libc::IFLA_LINK_NETNSID => self.link_netns = Some(number.cast_signed()),
            _ => (),
        }
    }
}

fn program_of(xdp: &[u8]) -> Option<u32> {
    let (_, id) = Attributes(xdp).find(|(kind, _)| IFLA_XDP_PROG_IDS.contains(kind))?;
    u32_at(id, 0).filter(|id| *id != 0)
}

fn kind_of(info: &[u8]) -> Option<String> {
    let (_, kind) = Attributes(info).find(|(kind, _)| *kind == libc::IFLA_INFO_KIND)?;
    Some(String::from_utf8_lossy(kind).trim_end_matches('\0').to_owned())
}

/// Tag of a VLAN device.
fn tag_of(info: &[u8]) -> Option<Tag> {
    let data = data_of(info, "vlan")?;
    let control = u16_at(value_of(data, IFLA_VLAN_ID)?, 0)?;
    let protocol = u16_at(value_of(data, IFLA_VLAN_PROTOCOL)?, 0).map(u16::from_be)?;
    Some(Tag { protocol, control })
}

fn bond_of(info: &[u8]) -> Option<BondSettings> {
    let data = data_of(info, "bond")?;
    let byte = |wanted| value_of(data, wanted)?.first().copied();
    Some(BondSettings { mode: byte(IFLA_BOND_MODE)?, fail_over_mac: byte(IFLA_BOND_FAIL_OVER_MAC)? })
}

fn macvlan_mode_of(info: &[u8]) -> Option<u32> {
    u32_at(value_of(data_of(info, "macvlan")?, IFLA_MACVLAN_MODE)?, 0)
}

/// IFLA_INFO_DATA of a virtual interface of this kind.
fn data_of<'a>(info: &'a [u8], kind: &str) -> Option<&'a [u8]> {
    value_of(info, libc::IFLA_INFO_DATA).filter(|_| kind_of(info).as_deref() == Some(kind))
}

fn value_of(attributes: &[u8], wanted: u16) -> Option<&[u8]> {
    Attributes(attributes).find(|(kind, _)| *kind == wanted).map(|(_, value)| value)
}

/// Id of the network namespace `netns` in this one (RTM_GETNSID, linux/net_namespace.h); `None` if it has none.
pub(crate) fn netns_id(netns: BorrowedFd<'_>) -> io::Result<Option<i32>> {
    let mut body = vec![0; RTGEN_HEADER];
    attribute(&mut body, NETNSA_FD, &netns.as_raw_fd().to_ne_bytes());
    let mut id = None;
    request(libc::RTM_GETNSID, libc::NLM_F_ACK, &body, |answer| {
        let (_, attributes) = answer.split_at_checked(RTGEN_HEADER).unwrap_or_default();
        let (_, value) = Attributes(attributes).find(|(kind, _)| *kind == NETNSA_NSID)?;
        id = u32_at(value, 0).map(u32::cast_signed).filter(|id| *id >= 0);
        Some(())
    })?;
    Ok(id)
}

/// Returns the extended acknowledgement of the kernel or driver that refuses to attach the XDP program
/// `program` with `flags` (XDP_FLAGS_* of linux/if_link.h).
///
/// A refused bpf_link yields only an errno, so this attaches the program by RTM_SETLINK. If that succeeds, it
/// detaches the program at once.
pub(crate) fn xdp_rejection(index: u32, program: BorrowedFd<'_>, flags: u32) -> Option<String> {
    let attach = |fd: RawFd| {
        let mut xdp = Vec::new();
        attribute(&mut xdp, IFLA_XDP_FD, &fd.to_ne_bytes());
        attribute(&mut xdp, IFLA_XDP_FLAGS, &flags.to_ne_bytes());
        let mut body = vec![0; LINK_HEADER];
        body[4..8].copy_from_slice(&index.to_ne_bytes());
        attribute(&mut body, libc::IFLA_XDP | libc::NLA_F_NESTED as u16, &xdp); // 0x8000
        request(libc::RTM_SETLINK, libc::NLM_F_ACK, &body, |_| None)
    };
    let refused = attach(program.as_raw_fd()).err();
    if refused.is_none() {
        let _ = attach(-1); // a descriptor of -1 detaches; an error has no remedy here
    }
    refused?.text
}

fn address_of(payload: &[u8]) -> Option<(u32, (Ipv4Addr, u8))> {
    let (header, attributes) = payload.split_at_checked(ADDRESS_HEADER)?;
    let (_, address) = Attributes(attributes).find(|(kind, _)| *kind == libc::IFA_LOCAL)?;
    let address: [u8; 4] = address.try_into().ok()?;
    Some((u32_at(header, 4)?, (address.into(), header[1])))
}

/// State of an IPv6 address by duplicate address detection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AddressState {
    Usable,
    Tentative,
    /// Another host has it.
    Refused,
}

impl AddressState {
    fn of(flags: u32) -> Self {
        match (flags & IFA_F_DADFAILED != 0, flags & IFA_F_TENTATIVE != 0) {
            (true, _) => Self::Refused,
            (false, true) => Self::Tentative,
            (false, false) => Self::Usable,
        }
    }
}

/// Index of an interface, and one of its addresses with its prefix length.
type Ipv6Entry = (u32, (Ipv6Addr, u8));

/// An address with its state. The header has the lower eight flags.
fn ipv6_address_of(payload: &[u8]) -> Option<(AddressState, Ipv6Entry)> {
    let (header, attributes) = payload.split_at_checked(ADDRESS_HEADER)?;
    if header[0] != libc::AF_INET6 as u8 {
        return None;
    }
    // With a peer, IFA_ADDRESS is that of the peer.
    let find = |wanted| Attributes(attributes).find(|(kind, _)| *kind == wanted).map(|(_, value)| value);
    let address: [u8; 16] = find(libc::IFA_LOCAL).or_else(|| find(libc::IFA_ADDRESS))?.try_into().ok()?;
    let state = AddressState::of(header[2].into());
    Some((state, (u32_at(header, 4)?, (address.into(), header[1]))))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Payload of RTM_NEWLINK: Ethernet, with these flags and attributes.
    fn payload(index: u32, flags: libc::c_int, attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let mut bytes = vec![0, 0];
        bytes.extend(libc::ARPHRD_ETHER.to_ne_bytes());
        bytes.extend(index.to_ne_bytes());
        bytes.extend(flags.to_ne_bytes());
        bytes.extend([0; 4]);
        attributes.iter().for_each(|(kind, value)| attribute(&mut bytes, *kind, value));
        bytes
    }

    /// IFLA_LINKINFO of an interface that was made by `ip link add … type`.
    fn info(kind: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        attribute(&mut bytes, libc::IFLA_INFO_KIND, kind);
        attribute(&mut bytes, libc::IFLA_INFO_DATA, &[5, 0, 1, 0, 1, 0, 0, 0]);
        bytes
    }

    #[test]
    fn link_attributes_are_read() {
        let (up, index) = (libc::IFF_UP | libc::IFF_BROADCAST, 5_u32.to_ne_bytes());
        let bond = [(libc::IFLA_IFNAME, &b"bond0\0"[..]), (libc::IFLA_LINKINFO, &info(b"bond\0"))];
        let bond = link_of(&payload(4, up | libc::IFF_MASTER, &bond)).unwrap();
        assert_eq!((bond.name.as_str(), bond.kind.as_deref(), bond.is_master), ("bond0", Some("bond"), true));
        let vlan = [(libc::IFLA_LINK, &index[..]), (libc::IFLA_LINKINFO, &info(b"vlan\0"))];
        let vlan = link_of(&payload(6, up, &vlan)).unwrap();
        assert_eq!((vlan.kind.as_deref(), vlan.is_master), (Some("vlan"), false));
        assert_eq!((vlan.link, vlan.link_netns, vlan.master), (Some(5), None, None));
        let veth = [
            (libc::IFLA_LINK, &index[..]),
            (libc::IFLA_MASTER, &index[..]),
            (libc::IFLA_LINK_NETNSID, &[0; 4][..]),
        ];
        let veth = link_of(&payload(7, up, &veth)).unwrap();
        assert_eq!((veth.link, veth.link_netns, veth.master, veth.kind), (Some(5), Some(0), Some(5), None));
    }

    #[test]
    fn a_vlan_device_has_its_tag() {
        let info = |kind: &[u8]| {
            let (mut data, mut info) = (Vec::new(), Vec::new());
            attribute(&mut data, IFLA_VLAN_ID, &100_u16.to_ne_bytes());
            attribute(&mut data, IFLA_VLAN_PROTOCOL, &[0x88, 0xa8]);
            attribute(&mut info, libc::IFLA_INFO_KIND, kind);
            attribute(&mut info, libc::IFLA_INFO_DATA, &data);
            info
        };
        let read = |kind: &[u8]| link_of(&payload(4, 0, &[(libc::IFLA_LINKINFO, &info(kind))])).unwrap().tag;
        assert_eq!(read(b"vlan\0"), Some(Tag { protocol: 0x88a8, control: 100 }));
        assert_eq!(read(b"bond\0"), None, "the numbers have another meaning");
    }

    #[test]
    fn bonds_and_macvlans_have_their_settings() {
        let read = |kind: &[u8], attributes: &[(u16, &[u8])]| {
            let (mut data, mut info) = (Vec::new(), Vec::new());
            attributes.iter().for_each(|(kind, value)| attribute(&mut data, *kind, value));
            attribute(&mut info, libc::IFLA_INFO_KIND, kind);
            attribute(&mut info, libc::IFLA_INFO_DATA, &data);
            link_of(&payload(4, 0, &[(libc::IFLA_LINKINFO, &info)])).unwrap()
        };
        let bond = read(b"bond\0", &[(IFLA_BOND_MODE, &[1]), (IFLA_BOND_FAIL_OVER_MAC, &[2])]);
        assert_eq!(bond.bond, Some(BondSettings { mode: 1, fail_over_mac: 2 }));
        let macvlan = read(b"macvlan\0", &[(IFLA_MACVLAN_MODE, &4_u32.to_ne_bytes())]);
        assert_eq!((macvlan.bond, macvlan.macvlan_mode), (None, Some(4)));
        let vlan = read(b"vlan\0", &[(IFLA_MACVLAN_MODE, &4_u32.to_ne_bytes())]);
        assert_eq!((vlan.bond, vlan.macvlan_mode), (None, None), "the numbers have another meaning");
    }

    #[test]
    fn ipv6_addresses_are_read_with_their_state() {
        let payload = |flags: u8, attributes: &[(u16, Ipv6Addr)]| {
            let mut bytes = vec![libc::AF_INET6 as u8, 64, flags, 0, 3, 0, 0, 0];
            bytes[4..8].copy_from_slice(&3_u32.to_ne_bytes());
            attributes.iter().for_each(|(kind, ip)| attribute(&mut bytes, *kind, &ip.octets()));
            bytes
        };
        let [own, peer] = ["2001:db8::1", "2001:db8::2"].map(|text| text.parse().unwrap());
        let read = |flags, attributes: &[_]| ipv6_address_of(&payload(flags, attributes));
        let found = (3, (own, 64));
        assert_eq!(
            read(0x80, &[(libc::IFA_ADDRESS, peer), (libc::IFA_LOCAL, own)]),
            Some((AddressState::Usable, found))
        );
        for (flags, state) in [
            (0x80, AddressState::Usable),
            (0x40, AddressState::Tentative),
            (0xc0, AddressState::Tentative),
            (0x08, AddressState::Refused),
            (0x48, AddressState::Refused),
        ] {
            assert_eq!(read(flags, &[(libc::IFA_ADDRESS, own)]), Some((state, found)), "{flags:#x}");
        }
        assert_eq!(ipv6_address_of(&[2; 20]), None, "another family");
    }

    #[test]
    fn loopback_interface_is_listed() {
        let links = links().unwrap();
        let lo = links.iter().find(|link| link.name == "lo").unwrap();
        assert!(!lo.is_ethernet);
        assert_eq!(lo.mac, Some(MacAddr::ZERO));
        assert_eq!(link(lo.index).unwrap().unwrap().mtu, lo.mtu);
        assert!(link(0x7000_0000).unwrap().is_none(), "no interface has an index this large");
    }
}
