//! Trials of kernel abilities that leave nothing behind: sockets, a BPF program of two instructions, a query of TCX.

#![allow(unsafe_code)]

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

/// `enum bpf_cmd` of linux/bpf.h.
const BPF_PROG_LOAD: libc::c_long = 5;
/// `enum bpf_cmd` of linux/bpf.h.
const BPF_PROG_QUERY: libc::c_long = 16;
/// `enum bpf_prog_type` of linux/bpf.h.
const BPF_PROG_TYPE_XDP: u32 = 6;
/// `enum bpf_attach_type` of linux/bpf.h: TCX ingress, since Linux 6.6.
const BPF_TCX_INGRESS: u32 = 46;
/// `struct bpf_insn` of linux/bpf.h: `r0 = 2` (XDP_PASS), `exit`.
const PASS: [u64; 2] =
    [u64::from_ne_bytes([0xb7, 0, 0, 0, 2, 0, 0, 0]), u64::from_ne_bytes([0x95, 0, 0, 0, 0, 0, 0, 0])];

/// Opens an AF_XDP socket, and closes it.
pub(crate) fn xdp_socket() -> io::Result<()> {
    open(libc::AF_XDP, 0)
}

/// Opens a packet socket that receives nothing, and closes it.
pub(crate) fn packet_socket() -> io::Result<()> {
    open(libc::AF_PACKET, 0)
}

fn open(family: libc::c_int, protocol: libc::c_int) -> io::Result<()> {
    // SAFETY: socket(2) takes three integers and no pointer.
    owned(unsafe { libc::socket(family, libc::SOCK_RAW | libc::SOCK_CLOEXEC, protocol) }.into()).map(drop)
}

/// The part of `union bpf_attr` that BPF_PROG_LOAD reads (linux/bpf.h).
#[repr(C)]
#[derive(Default)]
struct ProgLoad {
    kind: u32,
    count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
}

/// Loads an XDP program that passes every frame, and unloads it.
pub(crate) fn load_program() -> io::Result<()> {
    let request = ProgLoad {
        kind: BPF_PROG_TYPE_XDP,
        count: PASS.len() as u32, // 2
        instructions: PASS.as_ptr() as u64,
        license: c"MIT".as_ptr() as u64,
        ..ProgLoad::default()
    };
    // SAFETY: bpf(2) reads `size` bytes at the pointer; `request` is that long and has no padding (its u64 are at
    // multiples of 8). The addresses in it are those of `count` instructions and of a terminated text, both static.
    let file =
        unsafe { libc::syscall(libc::SYS_bpf, BPF_PROG_LOAD, &raw const request, size_of::<ProgLoad>()) };
    owned(file).map(drop)
}

/// The part of `union bpf_attr` that BPF_PROG_QUERY reads and writes (linux/bpf.h).
#[repr(C)]
#[derive(Default)]
struct ProgQuery {
    interface: u32,
    attach_type: u32,
    flags: [u32; 2],
    program_ids: u64,
    count: u32,
    pad: u32,
    lists: [u64; 3],
    revision: u64,
}

/// Counts the programs at TCX ingress of the interface with this index.
///
/// # Errors
/// EINVAL before Linux 6.6, EPERM without CAP_NET_ADMIN.
pub(crate) fn tcx_programs(index: u32) -> io::Result<u32> {
    let mut request = ProgQuery { interface: index, attach_type: BPF_TCX_INGRESS, ..ProgQuery::default() };
    // SAFETY: bpf(2) reads and writes `size` bytes at the pointer; `request` is that long, has no padding (its u64 are at
    // multiples of 8) and is borrowed mutably. All addresses in it are null, so the kernel writes to no other place.
    match unsafe { libc::syscall(libc::SYS_bpf, BPF_PROG_QUERY, &raw mut request, size_of::<ProgQuery>()) } {
        0 => Ok(request.count),
        _ => Err(io::Error::last_os_error()),
    }
}

fn owned(file: libc::c_long) -> io::Result<OwnedFd> {
    if file < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just returned the descriptor, so it is open and has no other owner; it fits an int.
    Ok(unsafe { OwnedFd::from_raw_fd(file as libc::c_int) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trials_end_with_success_or_without_permission() {
        let loopback = nix::net::if_::if_nametoindex("lo").unwrap();
        for tried in [xdp_socket(), packet_socket(), load_program(), tcx_programs(loopback).map(drop)] {
            let refused = tried.err().and_then(|error| error.raw_os_error());
            assert!(matches!(refused, None | Some(libc::EPERM)), "{refused:?}");
        }
    }
}
