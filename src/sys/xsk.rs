//! AF_XDP sockets: packet memory, rings, binding (linux/if_xdp.h, Documentation/networking/af_xdp.rst of the kernel).
#![allow(unsafe_code)]

use super::shared_words::SEALS;
use super::socket::set_option;
use libc::{c_int, xdp_desc, xdp_mmap_offsets, xdp_ring_offset};
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};
use std::fs::File;
use std::io;
use std::marker::PhantomData;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::ptr::NonNull;
use std::sync::atomic::AtomicU32;

/// Creates a socket without packet memory and rings. Takes CAP_NET_RAW.
///
/// # Errors
/// Errors of socket(2).
pub(crate) fn socket() -> io::Result<OwnedFd> {
    // SAFETY: a call without pointers.
    let socket = unsafe { libc::socket(libc::AF_XDP, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
    if socket < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor, and nothing else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(socket) })
}

/// Binds a socket with memory and rings to a queue of an interface. `flags` are XDP_COPY, XDP_ZEROCOPY, XDP_USE_SG and
/// XDP_USE_NEED_WAKEUP.
///
/// # Errors
/// Errors of bind(2). EBUSY while another socket has the queue; the kernel releases that of a closed socket in the background.
pub(crate) fn bind(socket: BorrowedFd<'_>, interface: u32, queue: u32, flags: u16) -> io::Result<()> {
    bind_to(socket, &address(interface, queue, flags))
}

/// Binds a socket with rings to a queue, for the packet memory of `owner`, which is bound. The flags are those of `owner`.
///
/// # Errors
/// As [`bind`].
pub(crate) fn bind_shared(
    socket: BorrowedFd<'_>,
    interface: u32,
    queue: u32,
    owner: BorrowedFd<'_>,
) -> io::Result<()> {
    let mut address = address(interface, queue, libc::XDP_SHARED_UMEM);
    address.sxdp_shared_umem_fd = owner.as_raw_fd().cast_unsigned();
    bind_to(socket, &address)
}

fn address(interface: u32, queue: u32, flags: u16) -> libc::sockaddr_xdp {
    libc::sockaddr_xdp {
        sxdp_family: libc::AF_XDP as u16,
        sxdp_flags: flags,
        sxdp_ifindex: interface,
        sxdp_queue_id: queue,
        sxdp_shared_umem_fd: 0,
    }
}

fn bind_to(socket: BorrowedFd<'_>, address: &libc::sockaddr_xdp) -> io::Result<()> {
    let length = size_of::<libc::sockaddr_xdp>() as libc::socklen_t; // 16
    // SAFETY: bind(2) reads `length` bytes at the pointer, which are those of `address`; it outlives the call.
    match unsafe { libc::bind(socket.as_raw_fd(), std::ptr::from_ref(address).cast(), length) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Makes the kernel send what is in the transmit ring, without waiting.
///
/// # Errors
/// Errors of sendto(2). EAGAIN, EBUSY and ENOBUFS say that something is left.
pub(crate) fn wake_sender(socket: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: a message without bytes and without an address: no pointer is followed.
    let sent = unsafe {
        libc::sendto(socket.as_raw_fd(), std::ptr::null(), 0, libc::MSG_DONTWAIT, std::ptr::null(), 0)
    };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Counters of a socket since it was made.
///
/// # Errors
/// Errors of getsockopt(2).
pub(crate) fn statistics(socket: BorrowedFd<'_>) -> io::Result<libc::xdp_statistics> {
    // SAFETY: integers, of which all-zero is a value.
    let mut statistics: libc::xdp_statistics = unsafe { std::mem::zeroed() };
    // An old kernel knows fewer counters, and leaves the others 0.
    option_into(socket, libc::XDP_STATISTICS, &mut statistics)?;
    Ok(statistics)
}

/// A shared mapping of a file or a socket.
#[derive(Debug)]
struct SharedMapping {
    start: NonNull<u8>,
    length: NonZeroUsize,
}

// SAFETY: the mapping belongs to this value until it is dropped, and any thread may access it. Accesses go through raw
// pointers, whose users prove that nothing else accesses the bytes.
unsafe impl Send for SharedMapping {}
// SAFETY: as above.
unsafe impl Sync for SharedMapping {}

impl SharedMapping {
    fn new(file: impl AsFd, length: NonZeroUsize, offset: libc::off_t) -> io::Result<Self> {
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        let flags = MapFlags::MAP_SHARED | MapFlags::MAP_POPULATE;
        // SAFETY: a new mapping at an address that the kernel chooses.
        let start = unsafe { mmap(None, length, access, flags, file, offset) }?;
        Ok(Self { start: start.cast(), length })
    }
}

impl Drop for SharedMapping {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's, as long as it is; nothing borrows it any more.
        let _ = unsafe { munmap(self.start.cast(), self.length.get()) }; // fails for another address alone
    }
}

/// Packet memory: a memory file that is mapped, and that another process can map, too.
#[derive(Debug)]
pub(crate) struct PacketMemory {
    /// Whole pages of the file.
    mapping: SharedMapping,
    length: NonZeroUsize,
    file: File,
}

impl PacketMemory {
    /// Creates memory of `length` bytes, in huge pages if asked for.
    ///
    /// # Errors
    /// Errors of memfd_create(2), ftruncate(2) and mmap(2).
    pub(crate) fn new(length: NonZeroUsize, huge_pages: bool) -> io::Result<Self> {
        let huge = if huge_pages { MFdFlags::MFD_HUGETLB } else { MFdFlags::empty() };
        let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING | huge;
        let file = File::from(memfd_create(c"directrix-packets", flags)?);
        let mapped = whole_pages(&file, length)?;
        file.set_len(mapped.get() as u64)?;
        fcntl(&file, FcntlArg::F_ADD_SEALS(SEALS))?; // beyond the end of a file that shrinks, an access would be SIGBUS
        Ok(Self { mapping: SharedMapping::new(&file, mapped, 0)?, length, file })
    }

    /// Maps the memory of another process by its descriptor.
    ///
    /// # Errors
    /// Errors of mmap(2); [`io::ErrorKind::InvalidData`] if the file has another length, or one that may change.
    pub(crate) fn of_file(file: OwnedFd, length: NonZeroUsize) -> io::Result<Self> {
        let file = File::from(file);
        let mapped = whole_pages(&file, length)?;
        let seals = SealFlag::from_bits_truncate(fcntl(&file, FcntlArg::F_GET_SEALS)?);
        if file.metadata()?.len() != mapped.get() as u64 || !seals.contains(SEALS) {
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok(Self { mapping: SharedMapping::new(&file, mapped, 0)?, length, file })
    }

    /// Unmaps the memory, for a process that maps it by the descriptor.
    pub(crate) fn into_file(self) -> OwnedFd {
        self.file.into()
    }

    /// First byte of the memory.
    pub(crate) fn start(&self) -> NonNull<u8> {
        self.mapping.start
    }

    /// Length in bytes.
    pub(crate) fn length(&self) -> usize {
        self.length.get()
    }

    /// Registers the memory in chunks of this many bytes with a socket that has none.
    ///
    /// # Errors
    /// Errors of setsockopt(2). ENOBUFS or EPERM if too little memory may be locked.
    pub(crate) fn register(&self, socket: BorrowedFd<'_>, chunk_len: u32) -> io::Result<()> {
        let registration = libc::xdp_umem_reg {
            addr: self.start().as_ptr().expose_provenance() as u64,
            len: self.length() as u64,
            chunk_size: chunk_len,
            headroom: 0,
            flags: 0,
            tx_metadata_len: 0,
        };
        set_option(socket, libc::SOL_XDP, libc::XDP_UMEM_REG, &registration)
    }
}

/// Rounds a length up to pages of the file, which may be huge.
fn whole_pages(file: &File, length: NonZeroUsize) -> io::Result<NonZeroUsize> {
    let page = file.metadata()?.blksize() as usize;
    NonZeroUsize::new(length.get().next_multiple_of(page)).ok_or_else(|| io::ErrorKind::InvalidInput.into())
}

/// One of the rings of a socket.
#[derive(Clone, Copy, Debug)]
enum RingKind {
    Receive,
    Transmit,
    Fill,
    Completion,
}

impl RingKind {
    fn option(self) -> c_int {
        match self {
            Self::Receive => libc::XDP_RX_RING,
            Self::Transmit => libc::XDP_TX_RING,
            Self::Fill => libc::XDP_UMEM_FILL_RING,
            Self::Completion => libc::XDP_UMEM_COMPLETION_RING,
        }
    }

    fn page_offset(self) -> libc::off_t {
        match self {
            Self::Receive => libc::XDP_PGOFF_RX_RING,
            Self::Transmit => libc::XDP_PGOFF_TX_RING,
            Self::Fill => libc::XDP_UMEM_PGOFF_FILL_RING as libc::off_t,
            Self::Completion => libc::XDP_UMEM_PGOFF_COMPLETION_RING as libc::off_t,
        }
    }

    fn offsets(self, of: &xdp_mmap_offsets) -> xdp_ring_offset {
        match self {
            Self::Receive => of.rx,
            Self::Transmit => of.tx,
            Self::Fill => of.fr,
            Self::Completion => of.cr,
        }
    }
}

/// The mapped rings of a socket. Fill and completion ring have addresses of chunks, the others descriptors.
pub(crate) struct MappedRings {
    pub(crate) receive: MappedRing<xdp_desc>,
    pub(crate) transmit: MappedRing<xdp_desc>,
    pub(crate) fill: MappedRing<u64>,
    pub(crate) completion: MappedRing<u64>,
}

impl MappedRings {
    /// Makes rings of `len` entries, a power of two, for a socket that has none.
    ///
    /// # Errors
    /// Errors of setsockopt(2), getsockopt(2) and mmap(2).
    pub(crate) fn create(socket: BorrowedFd<'_>, len: u32) -> io::Result<Self> {
        for ring in [RingKind::Fill, RingKind::Completion, RingKind::Receive, RingKind::Transmit] {
            set_option(socket, libc::SOL_XDP, ring.option(), &len)?;
        }
        Self::of_socket(socket, len)
    }

    /// Maps the rings of a socket, which have `len` entries. The fill and the completion ring of a bound socket can be mapped
    /// since Linux 6.4.
    ///
    /// # Errors
    /// Errors of getsockopt(2) and mmap(2): EINVAL if a ring is shorter, or the kernel too old.
    pub(crate) fn of_socket(socket: BorrowedFd<'_>, len: u32) -> io::Result<Self> {
        // SAFETY: integers, of which all-zero is a value.
        let mut offsets: xdp_mmap_offsets = unsafe { std::mem::zeroed() };
        if option_into(socket, libc::XDP_MMAP_OFFSETS, &mut offsets)? < size_of::<xdp_mmap_offsets>() {
            return Err(io::ErrorKind::Unsupported.into()); // before Linux 5.4: no wake-up flags
        }
        let offsets = &offsets;
        Ok(Self {
            receive: MappedRing::map(socket, RingKind::Receive, offsets, len)?,
            transmit: MappedRing::map(socket, RingKind::Transmit, offsets, len)?,
            fill: MappedRing::map(socket, RingKind::Fill, offsets, len)?,
            completion: MappedRing::map(socket, RingKind::Completion, offsets, len)?,
        })
    }
}

/// A ring in memory that is shared with the kernel. Its indices count on and on, modulo 2^32.
pub(crate) struct MappedRing<T> {
    mapping: SharedMapping,
    offsets: xdp_ring_offset,
    len: u32,
    entries: PhantomData<T>,
}

impl<T: Copy> MappedRing<T> {
    fn map(socket: BorrowedFd<'_>, kind: RingKind, offsets: &xdp_mmap_offsets, len: u32) -> io::Result<Self> {
        assert!(len.is_power_of_two(), "a ring has a power of two of entries");
        let offsets = kind.offsets(offsets);
        let length = offsets.desc as usize + len as usize * size_of::<T>();
        let length = NonZeroUsize::new(length).expect("it has entries");
        let mapping = SharedMapping::new(socket, length, kind.page_offset())?;
        Ok(Self { mapping, offsets, len, entries: PhantomData })
    }

    /// Number of entries, a power of two.
    pub(crate) fn len(&self) -> u32 {
        self.len
    }

    /// Index behind the last entry that was written.
    pub(crate) fn producer(&self) -> &AtomicU32 {
        self.word(self.offsets.producer)
    }

    /// Index behind the last entry that was read.
    pub(crate) fn consumer(&self) -> &AtomicU32 {
        self.word(self.offsets.consumer)
    }

    /// XDP_RING_NEED_WAKEUP, while the kernel waits for a system call.
    pub(crate) fn flags(&self) -> &AtomicU32 {
        self.word(self.offsets.flags)
    }

    /// Reads the entry of an index.
    ///
    /// # Safety
    /// The index is below the producer's, as it was loaded with acquire ordering, and not below the consumer's: the kernel has
    /// written the entry, and does not write it again before the consumer's index is stored.
    pub(crate) unsafe fn read(&self, index: u32) -> T {
        // SAFETY: `entry` is in the mapping and aligned. By the contract it has been written, and is not written meanwhile.
        unsafe { self.entry(index).read() }
    }

    /// Writes the entry of an index.
    ///
    /// # Safety
    /// The index is less than `len` above the consumer's, as it was loaded with acquire ordering, and not below the producer's:
    /// the kernel does not read the entry before the producer's index is stored.
    pub(crate) unsafe fn write(&mut self, index: u32, entry: T) {
        // SAFETY: `entry` is in the mapping and aligned. By the contract nothing else accesses it.
        unsafe { self.entry(index).write(entry) }
    }

    fn entry(&self, index: u32) -> NonNull<T> {
        let at = self.offsets.desc as usize + (index & (self.len - 1)) as usize * size_of::<T>();
        // SAFETY: the masked index is below `len`, and the mapping has `len` entries behind `desc`, see `map`.
        unsafe { self.mapping.start.add(at).cast() }
    }

    fn word(&self, offset: u64) -> &AtomicU32 {
        // SAFETY: the kernel's offsets of producer, consumer and flags are within the ring's header, before `desc`, and aligned
        // (`struct xdp_ring` in net/xdp/xsk_queue.h). The word is accessed as an atomic on this side, as with
        // smp_load_acquire and smp_store_release on the kernel's. It is mapped as long as `self` is.
        unsafe { AtomicU32::from_ptr(self.mapping.start.add(offset as usize).cast().as_ptr()) }
    }
}

#[cfg(test)]
impl<T: Copy> MappedRing<T> {
    /// Both sides of a ring without a socket, whose indices begin at `first`.
    pub(crate) fn sides(len: u32, first: u32) -> [Self; 2] {
        let [producer, consumer, flags, desc] = [0, 64, 128, 192];
        let length = NonZeroUsize::new(desc as usize + len as usize * size_of::<T>()).unwrap();
        let memory = PacketMemory::new(length, false).unwrap();
        let side = || {
            let mapping = SharedMapping::new(&memory.file, length, 0).unwrap();
            let offsets = xdp_ring_offset { producer, consumer, desc, flags };
            Self { mapping, offsets, len, entries: PhantomData }
        };
        let sides = [side(), side()];
        let start = |index: &AtomicU32| index.store(first, std::sync::atomic::Ordering::Relaxed);
        start(sides[0].producer());
        start(sides[0].consumer());
        sides
    }
}

/// Reads an option of AF_XDP into `value`, and returns the bytes that the kernel has written.
fn option_into<T: Copy>(socket: BorrowedFd<'_>, name: c_int, value: &mut T) -> io::Result<usize> {
    let mut length = size_of::<T>() as libc::socklen_t; // a few bytes
    // SAFETY: getsockopt(2) writes `length` bytes at most to `value`, all of whose bit patterns are values (integers), and
    // the length that it has written to `length`. Both outlive the call.
    let read = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_XDP,
            name,
            std::ptr::from_mut(value).cast(),
            &raw mut length,
        )
    };
    if read == 0 { Ok(length as usize) } else { Err(io::Error::last_os_error()) }
}
