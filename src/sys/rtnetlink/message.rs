//! Netlink messages: requests, and iterators over answers.

use crate::sys::uapi::NLMSGERR_ATTR_MSG;
use rtnetlink::sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use std::io;

/// `struct nlmsghdr` and `struct nlattr` of linux/netlink.h, in bytes.
const MESSAGE_HEADER: usize = 16;
const ATTRIBUTE_HEADER: usize = 4;

/// Sends a request with a single answer. Returns the answer's payload.
pub(super) fn get(kind: u16, body: &[u8]) -> io::Result<Vec<u8>> {
    let mut answer = None;
    request(kind, libc::NLM_F_ACK, body, |payload| {
        answer = Some(payload.to_vec());
        Some(())
    })?;
    answer.ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// Sends a dump request and passes the payload of each answer to `each`.
pub(super) fn dump(kind: u16, body: &[u8], mut each: impl FnMut(&[u8])) -> io::Result<()> {
    let done = request(kind, libc::NLM_F_DUMP, body, |payload| {
        each(payload);
        Some(())
    });
    Ok(done?)
}

/// A failed or refused request (NLMSG_ERROR, `struct nlmsgerr` of linux/netlink.h).
pub(in crate::sys) struct Refused {
    error: io::Error,
    /// Text of the extended acknowledgement (NLMSGERR_ATTR_MSG).
    pub(in crate::sys) text: Option<String>,
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Self {
        Self { error, text: None }
    }
}

impl From<Refused> for io::Error {
    fn from(refused: Refused) -> Self {
        refused.error
    }
}

/// Sends a request of rtnetlink, as [`exchange`].
pub(super) fn request(
    kind: u16,
    flags: libc::c_int,
    body: &[u8],
    each: impl FnMut(&[u8]) -> Option<()>,
) -> Result<(), Refused> {
    exchange(NETLINK_ROUTE, (kind, flags), body, each)
}

/// Sends a request and passes the payload of each answer to `each`, up to NLMSG_DONE or the acknowledgement.
/// `flags` is NLM_F_DUMP, or NLM_F_ACK for a request with one answer or none.
pub(in crate::sys) fn exchange(
    protocol: isize,
    (kind, flags): (u16, libc::c_int),
    body: &[u8],
    mut each: impl FnMut(&[u8]) -> Option<()>,
) -> Result<(), Refused> {
    let socket = Socket::new(protocol)?;
    socket.set_ext_ack(true)?;
    socket.set_cap_ack(true)?;
    socket.send_to(&encode(kind, flags, body), &SocketAddr::new(0, 0), 0)?;
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

fn encode(kind: u16, flags: libc::c_int, body: &[u8]) -> Vec<u8> {
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
pub(in crate::sys) fn attribute(bytes: &mut Vec<u8>, kind: u16, value: &[u8]) {
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
    let text = Attributes(attributes).find(|(kind, _)| *kind == NLMSGERR_ATTR_MSG);
    let text = text.map(|(_, bytes)| String::from_utf8_lossy(bytes).trim_end_matches('\0').to_owned());
    Err(Refused { error: io::Error::from_raw_os_error(-negative), text })
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
pub(in crate::sys) struct Attributes<'a>(pub(in crate::sys) &'a [u8]);

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

pub(in crate::sys) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().copied().map(u32::from_ne_bytes)
}

pub(in crate::sys) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
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
    fn extended_acknowledgement_is_kept() {
        let mut payload = (-libc::EOPNOTSUPP).to_ne_bytes().to_vec();
        payload.extend([0; MESSAGE_HEADER]);
        attribute(&mut payload, NLMSGERR_ATTR_MSG, b"disable GRO_HW/CSUM first\0");
        let refused = verdict(&payload).unwrap_err();
        assert_eq!(refused.error.raw_os_error(), Some(libc::EOPNOTSUPP));
        assert_eq!(refused.text.as_deref(), Some("disable GRO_HW/CSUM first"));
        assert!(verdict(&[0; 20]).is_ok(), "0 acknowledges");
    }
}
