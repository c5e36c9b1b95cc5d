//! The few questions to rtnetlink that are asked at start.
//!
//! Answers are of the calling thread's network namespace, which /sys need not be. Attributes are
//! picked by number and all others skipped, so that a newer kernel's answers are understood too.

use crate::wire::MacAddr;
use rtnetlink::sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use std::io;
use std::net::Ipv4Addr;

/// Of `struct nlmsghdr`, `ifinfomsg`, `ifaddrmsg` and `nlattr` (linux/netlink.h, rtnetlink.h,
/// if_addr.h), in bytes.
const MESSAGE_HEADER: usize = 16;
const LINK_HEADER: usize = 16;
const ADDRESS_HEADER: usize = 8;
const ATTRIBUTE_HEADER: usize = 4;
/// linux/if_link.h: the ids of programs attached to an interface, in any mode.
const IFLA_XDP_PROG_IDS: std::ops::RangeInclusive<u16> = 4..=7;

/// What RTM_GETLINK tells of one interface.
#[derive(Clone, Debug)]
pub(super) struct Link {
    pub(super) index: u32,
    pub(super) name: String,
    pub(super) mac: Option<MacAddr>,
    pub(super) mtu: u32,
    pub(super) receive_queues: u32,
    pub(super) transmit_queues: u32,
    pub(super) is_up: bool,
    pub(super) is_ethernet: bool,
    pub(super) xdp_program: Option<u32>,
}

/// Every interface.
pub(super) fn links() -> io::Result<Vec<Link>> {
    let mut links = Vec::new();
    dump(libc::RTM_GETLINK, &[0; LINK_HEADER], |payload| links.extend(link_of(payload)))?;
    Ok(links)
}

/// The interface with this index, if there is one.
pub(super) fn link(index: u32) -> io::Result<Option<Link>> {
    Ok(links()?.into_iter().find(|link| link.index == index))
}

/// The IPv4 addresses of an interface with their prefix lengths.
pub(super) fn addresses(index: u32) -> io::Result<Vec<(Ipv4Addr, u8)>> {
    let mut addresses = Vec::new();
    let mut request = [0; ADDRESS_HEADER];
    request[0] = libc::AF_INET as u8; // 2
    dump(libc::RTM_GETADDR, &request, |payload| {
        addresses.extend(address_of(payload).filter(|(of, _)| *of == index).map(|(_, found)| found));
    })?;
    Ok(addresses)
}

fn link_of(payload: &[u8]) -> Option<Link> {
    let (header, attributes) = payload.split_at_checked(LINK_HEADER)?;
    let flags = u32_at(header, 8)?;
    let mut link = Link {
        index: u32_at(header, 4)?,
        name: String::new(),
        mac: None,
        mtu: 0,
        receive_queues: 1,
        transmit_queues: 1,
        is_up: flags & libc::IFF_UP as u32 != 0,
        is_ethernet: u16_at(header, 2)? == libc::ARPHRD_ETHER,
        xdp_program: None,
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
            _ => (),
        }
    }
}

fn program_of(xdp: &[u8]) -> Option<u32> {
    let (_, id) = Attributes(xdp).find(|(kind, _)| IFLA_XDP_PROG_IDS.contains(kind))?;
    u32_at(id, 0).filter(|id| *id != 0)
}

fn address_of(payload: &[u8]) -> Option<(u32, (Ipv4Addr, u8))> {
    let (header, attributes) = payload.split_at_checked(ADDRESS_HEADER)?;
    let (_, address) = Attributes(attributes).find(|(kind, _)| *kind == libc::IFA_LOCAL)?;
    let address: [u8; 4] = address.try_into().ok()?;
    Some((u32_at(header, 4)?, (address.into(), header[1])))
}

/// Sends a dump request and shows `each` every answer's payload.
fn dump(kind: u16, body: &[u8], mut each: impl FnMut(&[u8])) -> io::Result<()> {
    let socket = Socket::new(NETLINK_ROUTE)?;
    socket.send_to(&request(kind, body), &SocketAddr::new(0, 0), 0)?;
    loop {
        let (datagram, _) = socket.recv_from_full()?;
        for message in Messages(&datagram) {
            match (i32::from(message.kind), message.payload) {
                (libc::NLMSG_DONE, _) => return Ok(()),
                (libc::NLMSG_ERROR, payload) => return Err(error_of(payload)),
                (_, payload) => each(payload),
            }
        }
    }
}

fn request(kind: u16, body: &[u8]) -> Vec<u8> {
    let flags = (libc::NLM_F_REQUEST | libc::NLM_F_DUMP) as u16; // 0x301
    let len = (MESSAGE_HEADER + body.len()) as u32; // a few dozen
    let mut bytes = Vec::with_capacity(len as usize);
    bytes.extend(len.to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend([0; 8]); // sequence number and port: one request, one socket
    bytes.extend(body);
    bytes
}

fn error_of(payload: &[u8]) -> io::Error {
    let negative = u32_at(payload, 0).map_or(-libc::EPROTO, u32::cast_signed);
    io::Error::from_raw_os_error(-negative)
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

    #[test]
    fn the_loopback_interface_is_told() {
        let links = links().unwrap();
        let lo = links.iter().find(|link| link.name == "lo").unwrap();
        assert!(!lo.is_ethernet);
        assert_eq!(lo.mac, Some(MacAddr::ZERO));
        assert_eq!(link(lo.index).unwrap().unwrap().mtu, lo.mtu);
    }
}
