//! Changes of an interface (RTM_SETLINK of linux/rtnetlink.h). They take CAP_NET_ADMIN.

use super::LINK_HEADER;
use super::message::{attribute, request};
use crate::sys::uapi::{IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE};
use std::io;

/// Sets the interface with this index up.
pub(crate) fn set_up(index: u32) -> io::Result<()> {
    let up = (libc::IFF_UP as u32).to_ne_bytes(); // 1
    let mut body = header(index);
    body[8..12].copy_from_slice(&up);
    body[12..16].copy_from_slice(&up);
    Ok(request(libc::RTM_SETLINK, libc::NLM_F_ACK, &body, |_| None)?)
}

/// Makes the kernel give the interface no IPv6 link-local address when it comes up.
pub(crate) fn without_link_local(index: u32) -> io::Result<()> {
    const NESTED: u16 = libc::NLA_F_NESTED as u16; // 0x8000
    let (mut mode, mut family, mut body) = (Vec::new(), Vec::new(), header(index));
    attribute(&mut mode, IFLA_INET6_ADDR_GEN_MODE, &[IN6_ADDR_GEN_MODE_NONE]);
    attribute(&mut family, libc::AF_INET6 as u16 | NESTED, &mode); // 10
    attribute(&mut body, libc::IFLA_AF_SPEC | NESTED, &family);
    Ok(request(libc::RTM_SETLINK, libc::NLM_F_ACK, &body, |_| None)?)
}

fn header(index: u32) -> Vec<u8> {
    let mut body = vec![0; LINK_HEADER];
    body[4..8].copy_from_slice(&index.to_ne_bytes());
    body
}
