//! BPF_PROG_RUN with live frames (bpf(2), Linux 5.18): transmission by running an XDP program. Only the throughput
//! bench uses it.
//!
//! Kernel documentation: Documentation/bpf/bpf_prog_run.rst.

#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// `enum bpf_cmd` of linux/bpf.h; its older name is BPF_PROG_TEST_RUN.
const BPF_PROG_RUN: libc::c_long = 10;
/// linux/bpf.h, since Linux 5.18: the program's verdict is carried out, instead of only returned.
const BPF_F_TEST_XDP_LIVE_FRAMES: u32 = 1 << 1;

/// Most frames sent in one burst: a driver's poll budget (NAPI_POLL_WEIGHT of include/linux/netdevice.h).
pub const BURST_MAX: u32 = 64;

/// The part of `union bpf_attr` that BPF_PROG_RUN reads (linux/bpf.h, `test`).
#[repr(C)]
#[derive(Default)]
struct ProgRun {
    program: u32,
    retval: u32,
    data_size_in: u32,
    data_size_out: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration: u32,
    context_size_in: u32,
    context_size_out: u32,
    context_in: u64,
    context_out: u64,
    flags: u32,
    cpu: u32,
    batch_size: u32,
    pad: u32,
}

/// `struct xdp_md` of linux/bpf.h.
#[repr(C)]
#[derive(Default)]
struct XdpMd {
    data: u32,
    data_end: u32,
    data_meta: u32,
    ingress: u32,
    queue: u32,
    egress: u32,
}

/// Runs an XDP program on `count` copies of `frame` and carries out its verdicts (BPF_F_TEST_XDP_LIVE_FRAMES of
/// linux/bpf.h, since Linux 5.18).
///
/// The frames count as received on queue 0 of the interface with index `interface` in the caller's network
/// namespace. XDP_TX sends them on that interface in bursts of `burst`, at most [`BURST_MAX`], once the program has run
/// on each frame of the burst (`bpf_test_run_xdp_live` in net/bpf/test_run.c).
///
/// Sent copies return to a page pool and are reused, with the changes that their receivers made.
///
/// # Errors
/// Errors of bpf(2). EINTR after a signal: some of the frames have been sent. EINVAL also if the interface has no
/// XDP program.
pub fn run_live(
    program: BorrowedFd<'_>,
    frame: &[u8],
    interface: u32,
    count: u32,
    burst: u32,
) -> io::Result<()> {
    let len = frame.len() as u32; // at most a page, or the kernel refuses it
    let context = XdpMd { data_end: len, ingress: interface, ..XdpMd::default() };
    let mut request = ProgRun {
        program: program.as_raw_fd().cast_unsigned(),
        data_size_in: len,
        data_in: frame.as_ptr() as u64,
        repeat: count,
        context_size_in: size_of::<XdpMd>() as u32,
        context_in: (&raw const context) as u64,
        flags: BPF_F_TEST_XDP_LIVE_FRAMES,
        batch_size: burst.min(BURST_MAX),
        ..ProgRun::default()
    };
    // SAFETY: bpf(2) reads and writes `size` bytes at the pointer; `request` is that long, has
    // no padding (its u64 are at multiples of 8, `pad` completes the last) and is borrowed
    // mutably. The addresses in it are those of `frame`, of which the kernel reads
    // `data_size_in` bytes, and of `context`, of which it reads as many as a `XdpMd` has; both
    // outlive the call. With neither a `data_out` nor a `context_out` it writes to no other place.
    let done = unsafe { libc::syscall(libc::SYS_bpf, BPF_PROG_RUN, &raw mut request, size_of::<ProgRun>()) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
