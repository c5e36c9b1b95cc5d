//! The few questions to rtnetlink that a director asks.
//!
//! Answers are of the calling thread's network namespace, which /sys need not be. Attributes are
//! picked by number and all others skipped, so that a newer kernel's answers are understood too.

use crate::wire::MacAddr;
use rtnetlink::sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

/// Of `struct nlmsghdr`, `ifinfomsg`, `ifaddrmsg`, `rtgenmsg` (padded) and `nlattr` (linux/netlink.h,
/// rtnetlink.h, if_addr.h), in bytes.
const MESSAGE_HEADER: usize = 16;
const LINK_HEADER: usize = 16;
const ADDRESS_HEADER: usize = 8;
const RTGEN_HEADER: usize = 4;
/// Of `struct rtmsg`.
const ROUTE_HEADER: usize = 12;
const ATTRIBUTE_HEADER: usize = 4;
/// linux/rtnetlink.h: the answer is the entry of the table that holds, and not what becomes of it.
const RTM_F_FIB_MATCH: u32 = 0x2000;
/// linux/if_link.h: the ids of programs attached to an interface, in any mode.
const IFLA_XDP_PROG_IDS: std::ops::RangeInclusive<u16> = 4..=7;
/// linux/net_namespace.h.
const RTM_GETNSID: u16 = 90;
/// linux/net_namespace.h: its attributes.
const NETNSA_NSID: u16 = 1;
const NETNSA_FD: u16 = 3;
/// linux/if_link.h: attributes within IFLA_XDP.
const IFLA_XDP_FD: u16 = 1;
const IFLA_XDP_FLAGS: u16 = 3;
/// linux/netlink.h: the text of an extended acknowledgement.
const NLMSGERR_ATTR_MSG: u16 = 1;

/// What RTM_GETLINK tells of one interface.
#[derive(Clone, Debug, Default)]
pub(super) struct Link {
    pub(super) index: u32,
    pub(super) name: String,
    pub(super) mac: Option<MacAddr>,
    pub(super) mtu: u32,
    pub(super) receive_queues: u32,
    pub(super) transmit_queues: u32,
    pub(super) is_up: bool,
    /// Frames can be sent and received (IFF_LOWER_UP).
    pub(super) has_carrier: bool,
    pub(super) is_ethernet: bool,
    pub(super) xdp_program: Option<u32>,
    /// What made it: "bond", "vlan", "veth"; `None` for an interface of the hardware.
    pub(super) kind: Option<String>,
    /// IFF_MASTER: other interfaces carry its frames.
    pub(super) is_master: bool,
    /// Index of the master that it carries the frames of.
    pub(super) master: Option<u32>,
    /// Index of the interface that it lies on; of a veth, its peer.
    pub(super) link: Option<u32>,
    /// The network namespace of `link`, by its number here; `None` if it is this one.
    pub(super) link_netns: Option<i32>,
}

/// Every interface.
pub(super) fn links() -> io::Result<Vec<Link>> {
    let mut links = Vec::new();
    dump(libc::RTM_GETLINK, &[0; LINK_HEADER], |payload| links.extend(link_of(payload)))?;
    Ok(links)
}

/// The interface with this index, if there is one.
pub(super) fn link(index: u32) -> io::Result<Option<Link>> {
    let mut request = [0; LINK_HEADER];
    request[4..8].copy_from_slice(&index.to_ne_bytes());
    match get(libc::RTM_GETLINK, &request) {
        Ok(payload) => Ok(link_of(&payload)),
        Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The IPv4 addresses of an interface with their prefix lengths.
pub(super) fn addresses(index: u32) -> io::Result<Vec<(Ipv4Addr, u8)>> {
    let all = all_addresses()?.into_iter();
    Ok(all.filter(|(of, _)| *of == index).map(|(_, found)| found).collect())
}

/// Every IPv4 address of this host: the interface's index, the address, its prefix length.
pub(super) fn all_addresses() -> io::Result<Vec<(u32, (Ipv4Addr, u8))>> {
    let mut addresses = Vec::new();
    let mut request = [0; ADDRESS_HEADER];
    request[0] = libc::AF_INET as u8; // 2
    dump(libc::RTM_GETADDR, &request, |payload| addresses.extend(address_of(payload)))?;
    Ok(addresses)
}

/// What RTM_GETROUTE tells of the way to one address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Route {
    /// To one host, and not to this one or to many.
    pub(super) is_unicast: bool,
    /// By a next hop, or one of several.
    pub(super) has_gateway: bool,
    /// The address to send from.
    pub(super) source: Option<Ipv4Addr>,
}

/// The entry of the routing table that an address is reached by through one interface; `None` if there is none.
///
/// The kernel takes any address to be on-link there if no entry says otherwise (`ip_route_output_key_hash_rcu`
/// in net/ipv4/route.c), so the entry itself is asked for.
pub(super) fn route_entry(to: Ipv4Addr, through: u32) -> io::Result<Option<Route>> {
    ask_route(to, through, RTM_F_FIB_MATCH)
}

/// The way to an address through one interface, with the source address that the kernel would choose.
pub(super) fn route(to: Ipv4Addr, through: u32) -> io::Result<Option<Route>> {
    ask_route(to, through, 0)
}

fn ask_route(to: Ipv4Addr, through: u32, flags: u32) -> io::Result<Option<Route>> {
    let mut request = vec![0; ROUTE_HEADER];
    request[0] = libc::AF_INET as u8; // 2
    request[1] = 32; // bits of the destination
    request[8..].copy_from_slice(&flags.to_ne_bytes());
    attribute(&mut request, libc::RTA_DST, &to.octets());
    attribute(&mut request, libc::RTA_OIF, &through.to_ne_bytes());
    match get(libc::RTM_GETROUTE, &request) {
        Ok(payload) => Ok(route_of(&payload)),
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENETUNREACH | libc::EHOSTUNREACH)) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn route_of(payload: &[u8]) -> Option<Route> {
    let (header, attributes) = payload.split_at_checked(ROUTE_HEADER)?;
    let mut route = Route { is_unicast: header[7] == libc::RTN_UNICAST, ..Route::default() };
    for (kind, value) in Attributes(attributes) {
        match kind {
            libc::RTA_GATEWAY | libc::RTA_VIA | libc::RTA_MULTIPATH => route.has_gateway = true,
            libc::RTA_PREFSRC => route.source = <[u8; 4]>::try_from(value).ok().map(Ipv4Addr::from),
            _ => (),
        }
    }
    Some(route)
}

fn link_of(payload: &[u8]) -> Option<Link> {
    let (header, attributes) = payload.split_at_checked(LINK_HEADER)?;
    let flags = u32_at(header, 8)?;
    let mut link = Link {
        index: u32_at(header, 4)?,
        receive_queues: 1,
        transmit_queues: 1,
        is_up: flags & libc::IFF_UP as u32 != 0,
        is_master: flags & libc::IFF_MASTER as u32 != 0,
        has_carrier: flags & libc::IFF_LOWER_UP as u32 != 0,
        is_ethernet: u16_at(header, 2)? == libc::ARPHRD_ETHER,
        ..Link::default()
    };
    for (kind, value) in Attributes(attributes) {
        link.learn(kind, value);
    }
    Some(link)
}

impl Link {
    fn learn(&mut self, kind: u16, value: &[u8]) {
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
            libc::IFLA_LINKINFO => self.kind = kind_of(value),
            libc::IFLA_MASTER => self.master = Some(number),
            // An interface that lies on no other tells its own index, or 0.
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

/// The number that this network namespace has for the one that `netns` is open on; `None` if it has none.
pub(super) fn netns_id(netns: BorrowedFd<'_>) -> io::Result<Option<i32>> {
    let mut body = vec![0; RTGEN_HEADER];
    attribute(&mut body, NETNSA_FD, &netns.as_raw_fd().to_ne_bytes());
    let mut id = None;
    ask(RTM_GETNSID, libc::NLM_F_ACK, &body, |answer| {
        let (_, attributes) = answer.split_at_checked(RTGEN_HEADER).unwrap_or_default();
        let (_, value) = Attributes(attributes).find(|(kind, _)| *kind == NETNSA_NSID)?;
        id = u32_at(value, 0).map(u32::cast_signed).filter(|id| *id >= 0);
        Some(())
    })?;
    Ok(id)
}

/// Asks for the kernel's or the driver's words on why it does not attach the XDP program `program` with `flags`
/// (XDP_FLAGS_* of linux/if_link.h). `None` if there are none.
///
/// To a refused bpf_link the kernel answers a number only, so the program is attached by a message, whose
/// refusal has words. Should that succeed, the program is detached at once.
pub(super) fn xdp_refusal(index: u32, program: BorrowedFd<'_>, flags: u32) -> Option<String> {
    let attach = |fd: RawFd| {
        let mut xdp = Vec::new();
        attribute(&mut xdp, IFLA_XDP_FD, &fd.to_ne_bytes());
        attribute(&mut xdp, IFLA_XDP_FLAGS, &flags.to_ne_bytes());
        let mut body = vec![0; LINK_HEADER];
        body[4..8].copy_from_slice(&index.to_ne_bytes());
        attribute(&mut body, libc::IFLA_XDP | libc::NLA_F_NESTED as u16, &xdp); // 0x8000
        ask(libc::RTM_SETLINK, libc::NLM_F_ACK, &body, |_| None)
    };
    let refused = attach(program.as_raw_fd()).err();
    if refused.is_none() {
        let _ = attach(-1); // whatever it says, there is nothing else to try
    }
    refused?.words
}

fn address_of(payload: &[u8]) -> Option<(u32, (Ipv4Addr, u8))> {
    let (header, attributes) = payload.split_at_checked(ADDRESS_HEADER)?;
    let (_, address) = Attributes(attributes).find(|(kind, _)| *kind == libc::IFA_LOCAL)?;
    let address: [u8; 4] = address.try_into().ok()?;
    Some((u32_at(header, 4)?, (address.into(), header[1])))
}

/// Sends a request for one thing; its answer's payload.
fn get(kind: u16, body: &[u8]) -> io::Result<Vec<u8>> {
    let mut answer = None;
    ask(kind, libc::NLM_F_ACK, body, |payload| {
        answer = Some(payload.to_vec());
        Some(())
    })?;
    answer.ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// Sends a dump request and shows `each` every answer's payload.
fn dump(kind: u16, body: &[u8], mut each: impl FnMut(&[u8])) -> io::Result<()> {
    let asked = ask(kind, libc::NLM_F_DUMP, body, |payload| {
        each(payload);
        Some(())
    });
    Ok(asked?)
}

/// A request that failed, or that the kernel refused.
struct Refused {
    error: io::Error,
    /// What the kernel says of it.
    words: Option<String>,
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Self {
        Self { error, words: None }
    }
}

impl From<Refused> for io::Error {
    fn from(refused: Refused) -> Self {
        refused.error
    }
}

/// Sends a request and shows `each` every answer's payload, until the kernel says that there are no more.
/// `flags` is NLM_F_DUMP, or NLM_F_ACK for a request with a single answer or none.
fn ask(
    kind: u16,
    flags: libc::c_int,
    body: &[u8],
    mut each: impl FnMut(&[u8]) -> Option<()>,
) -> Result<(), Refused> {
    let socket = Socket::new(NETLINK_ROUTE)?;
    socket.set_ext_ack(true)?;
    socket.set_cap_ack(true)?;
    socket.send_to(&request(kind, flags, body), &SocketAddr::new(0, 0), 0)?;
    loop {
        let (datagram, _) = socket.recv_from_full()?;
        for message in Messages(&datagram) {
            match i32::from(message.kind) {
                libc::NLMSG_DONE => return Ok(()),
                libc::NLMSG_ERROR => return verdict(message.payload),
                _ => each(message.payload).unwrap_or_default(),
            }
        }
    }
}

fn request(kind: u16, flags: libc::c_int, body: &[u8]) -> Vec<u8> {
    let flags = (libc::NLM_F_REQUEST | flags) as u16; // 0x305 at most
    let len = (MESSAGE_HEADER + body.len()) as u32; // a few dozen
    let mut bytes = Vec::with_capacity(len as usize);
    bytes.extend(len.to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend([0; 8]); // sequence number and port: one request, one socket
    bytes.extend(body);
    bytes
}

/// Adds an attribute, padded to four bytes.
fn attribute(bytes: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let len = (ATTRIBUTE_HEADER + value.len()) as u16; // a few dozen
    bytes.extend(len.to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

/// Reads `struct nlmsgerr`: an error number, the header of the request, and attributes.
fn verdict(payload: &[u8]) -> Result<(), Refused> {
    let negative = u32_at(payload, 0).map_or(-libc::EPROTO, u32::cast_signed);
    if negative == 0 {
        return Ok(());
    }
    let attributes = payload.get(4 + MESSAGE_HEADER..).unwrap_or_default();
    let words = Attributes(attributes).find(|(kind, _)| *kind == NLMSGERR_ATTR_MSG);
    let words = words.map(|(_, text)| String::from_utf8_lossy(text).trim_end_matches('\0').to_owned());
    Err(Refused { error: io::Error::from_raw_os_error(-negative), words })
}

struct Message<'a> {
    kind: u16,
    payload: &'a [u8],
}

/// The netlink messages of a datagram.
struct Messages<'a>(&'a [u8]);

impl<'a> Iterator for Messages<'a> {
    type Item = Message<'a>;

    fn next(&mut self) -> Option<Message<'a>> {
        let len = u32_at(self.0, 0)? as usize;
        let payload = self.0.get(MESSAGE_HEADER..len)?;
        let kind = u16_at(self.0, 4)?;
        self.0 = self.0.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some(Message { kind, payload })
    }
}

/// The attributes that follow a message's header, by type, without its flag bits.
struct Attributes<'a>(&'a [u8]);

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let len = usize::from(u16_at(self.0, 0)?);
        let value = self.0.get(ATTRIBUTE_HEADER..len)?;
        let kind = u16_at(self.0, 2)? & libc::NLA_TYPE_MASK as u16; // 0x3fff
        self.0 = self.0.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    }
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().copied().map(u32::from_ne_bytes)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().copied().map(u16::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_end_where_the_bytes_do() {
        let bytes = [5, 0, 1, 0, 9, 0, 0, 0, 8, 0, 2, 0x80, 1, 2, 3, 4, 60, 0, 3, 0, 1];
        let found: Vec<_> = Attributes(&bytes).collect();
        assert_eq!(found, [(1, &[9u8][..]), (2, &[1, 2, 3, 4][..])]);
        assert_eq!(Attributes(&[3, 0, 1, 0]).count(), 0, "shorter than its own header");
    }

    /// RTM_NEWLINK's payload: Ethernet, with these flags and attributes.
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
    fn what_a_link_is_made_of_is_read() {
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
    fn a_refusal_keeps_the_words_of_the_kernel() {
        let mut payload = (-libc::EOPNOTSUPP).to_ne_bytes().to_vec();
        payload.extend([0; MESSAGE_HEADER]);
        attribute(&mut payload, NLMSGERR_ATTR_MSG, b"disable GRO_HW/CSUM first\0");
        let refused = verdict(&payload).unwrap_err();
        assert_eq!(refused.error.raw_os_error(), Some(libc::EOPNOTSUPP));
        assert_eq!(refused.words.as_deref(), Some("disable GRO_HW/CSUM first"));
        assert!(verdict(&[0; 20]).is_ok(), "0 acknowledges");
    }

    #[test]
    fn the_loopback_interface_is_told() {
        let links = links().unwrap();
        let lo = links.iter().find(|link| link.name == "lo").unwrap();
        assert!(!lo.is_ethernet);
        assert_eq!(lo.mac, Some(MacAddr::ZERO));
        assert_eq!(link(lo.index).unwrap().unwrap().mtu, lo.mtu);
        assert!(link(0x7000_0000).unwrap().is_none(), "no interface has an index this large");
    }
}
