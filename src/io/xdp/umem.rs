//! Packet memory of a worker in chunks (UMEM), and the descriptors of its frames.

#![allow(unsafe_code)]

use super::chunk::HEADROOM;
use super::rings::RingSocket;
use crate::sys::xsk::{self, PacketMemory};
use libc::xdp_desc;
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, OwnedFd};
use std::ptr::NonNull;

/// Packet memory in chunks of one length. It belongs to the socket that is bound first, and others share it.
#[derive(Debug)]
pub(in crate::io) struct Umem {
    memory: PacketMemory,
    /// In bytes, a power of two.
    chunk_len: u32,
}

impl Umem {
    /// Creates packet memory.
    ///
    /// # Errors
    /// Errors of memfd_create(2), mmap(2).
    pub(in crate::io) fn new(chunks: u32, chunk_len: u32, huge_pages: bool) -> io::Result<Self> {
        Ok(Self { memory: PacketMemory::new(length(chunks, chunk_len)?, huge_pages)?, chunk_len })
    }

    /// Maps the packet memory of another process.
    ///
    /// # Errors
    /// Errors of mmap(2); [`io::ErrorKind::InvalidData`] if it has another length.
    pub(super) fn of_file(file: OwnedFd, chunks: u32, chunk_len: u32) -> io::Result<Self> {
        Ok(Self { memory: PacketMemory::of_file(file, length(chunks, chunk_len)?)?, chunk_len })
    }

    /// Unmaps the memory.
    pub(super) fn into_file(self) -> OwnedFd {
        self.memory.into_file()
    }

    /// Registers the memory with a new socket that has rings of `ring_len` entries, a power of two.
    ///
    /// # Errors
    /// Errors of socket(2), setsockopt(2) and mmap(2).
    pub(in crate::io) fn register(&self, ring_len: u32) -> io::Result<RingSocket> {
        let socket = xsk::socket()?;
        self.memory.register(socket.as_fd(), self.chunk_len)?;
        RingSocket::create(socket, ring_len)
    }

    /// Length of a chunk in bytes.
    pub(super) fn chunk_len(&self) -> usize {
        self.chunk_len as usize
    }

    /// Descriptors of all chunks, one each, empty, behind the headroom.
    pub(in crate::io) fn chunks(&self) -> impl Iterator<Item = xdp_desc> + use<> {
        let starts = (0..self.memory.length() as u64).step_by(self.chunk_len as usize);
        starts.map(|start| empty(start + u64::from(HEADROOM)))
    }

    /// Offset of the chunk of a descriptor, in bytes.
    pub(super) fn chunk(&self, desc: &xdp_desc) -> usize {
        desc.addr as usize & !(self.chunk_len as usize - 1)
    }

    /// True if the address is in this memory.
    pub(super) fn has(&self, addr: u64) -> bool {
        addr < self.memory.length() as u64
    }

    /// The data of a descriptor.
    ///
    /// # Panics
    /// If they are not within the memory.
    pub(in crate::io) fn data(&self, desc: &xdp_desc) -> NonNull<[u8]> {
        let (at, length) = (desc.addr as usize, desc.len as usize);
        assert!(
            at <= self.memory.length() && length <= self.memory.length() - at,
            "the kernel's descriptors fit"
        );
        // SAFETY: the offset is within the mapping, by the assertion.
        NonNull::slice_from_raw_parts(unsafe { self.memory.start().add(at) }, length)
    }
}

fn length(chunks: u32, chunk_len: u32) -> io::Result<NonZeroUsize> {
    NonZeroUsize::new(chunks as usize * chunk_len as usize).ok_or_else(|| io::ErrorKind::InvalidInput.into())
}

/// The descriptor of a frame without data.
pub(in crate::io) fn empty(addr: u64) -> xdp_desc {
    xdp_desc { addr, len: 0, options: 0 }
}
