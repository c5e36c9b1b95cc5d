//! Counters of the frames that the steering program has redirected to the sockets.
//!
//! The kernel may drop such a frame (`xsk_rcv_check` in net/xdp/xsk.c) without a trace in program or socket.
//! Comparing the program's count with the socket's reveals it. UAPI structures as of Linux 6.18.

#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

/// `enum bpf_cmd` of linux/bpf.h.
const BPF_MAP_LOOKUP_ELEM: libc::c_long = 1;

/// Frames redirected to the socket of one queue. Mirrors `struct redirect_counts` of steer.bpf.c.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::io) struct RedirectCounts {
    /// Frames in all.
    pub(in crate::io) frames: u64,
    /// Those longer than a socket takes.
    pub(in crate::io) too_long: u64,
}

/// Reader of the counters of one queue. Allocates only when it is made.
#[derive(Debug)]
pub(in crate::io) struct RedirectCounter {
    map: Arc<OwnedFd>,
    queue: u32,
    by_cpu: Box<[RedirectCounts]>,
}

/// The part of `union bpf_attr` that BPF_MAP_LOOKUP_ELEM reads (linux/bpf.h).
#[repr(C)]
#[derive(Default)]
struct Lookup {
    map: u32,
    pad: u32,
    key: u64,
    value: u64,
    flags: u64,
}

impl RedirectCounter {
    /// Readers of the per-CPU map `redirected` of steer.bpf.c, one for each of `queues`.
    ///
    /// # Errors
    /// If there is no descriptor left, or the number of possible processors cannot be read.
    pub(super) fn of_queues(map: BorrowedFd<'_>, queues: &[u32]) -> io::Result<Vec<Self>> {
        let map = Arc::new(map.try_clone_to_owned()?);
        let cpus = aya::util::nr_cpus().map_err(|(_, error)| error)?;
        let by_cpu: Box<[_]> = vec![RedirectCounts::default(); cpus].into();
        let readers =
            queues.iter().map(|&queue| Self { map: Arc::clone(&map), queue, by_cpu: by_cpu.clone() });
        Ok(readers.collect())
    }

    /// Returns the sum over all processors.
    ///
    /// # Errors
    /// Errors of bpf(2).
    pub(in crate::io) fn read(&mut self) -> io::Result<RedirectCounts> {
        let request = Lookup {
            map: self.map.as_raw_fd().cast_unsigned(),
            key: (&raw const self.queue) as u64,
            value: self.by_cpu.as_mut_ptr() as u64,
            ..Lookup::default()
        };
        // SAFETY: bpf(2) reads `size` bytes at the pointer; `request` is that long, without padding (two u32, then
        // three u64) and lives until the call returns. At `key` the kernel reads the map's key, a u32; at `value` it
        // writes one value of the map, 16 bytes as a `RedirectCounts` has, for each possible processor, which is how many
        // there are (`of_queues` counts them). Any bytes make a `RedirectCounts`.
        let done = unsafe {
            libc::syscall(libc::SYS_bpf, BPF_MAP_LOOKUP_ELEM, &raw const request, size_of::<Lookup>())
        };
        if done != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(self.by_cpu.iter().fold(RedirectCounts::default(), |sum, one| RedirectCounts {
            frames: sum.frames + one.frames,
            too_long: sum.too_long + one.too_long,
        }))
    }
}
