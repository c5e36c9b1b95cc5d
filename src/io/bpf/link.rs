//! bpf_links: attachments that end with the process. UAPI structures as of Linux 6.18.

#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// `enum bpf_cmd` of linux/bpf.h.
const BPF_LINK_CREATE: libc::c_long = 28;
const BPF_LINK_UPDATE: libc::c_long = 29;
/// `enum bpf_attach_type` of linux/bpf.h: XDP on an interface.
const BPF_XDP: u32 = 37;
/// A place of TCX programs on an interface, since Linux 6.6. Values of `enum bpf_attach_type` of linux/bpf.h.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TcxHook {
    Ingress = 46,
    Egress = 47,
}
/// linux/bpf.h: before all other programs, where no other one is named.
const BPF_F_BEFORE: u32 = 1 << 3;

/// A program's attachment to an interface; dropping it detaches the program.
#[derive(Debug)]
pub struct BpfLink(OwnedFd);

impl AsFd for BpfLink {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<OwnedFd> for BpfLink {
    /// Takes over the attachment of another process.
    fn from(link: OwnedFd) -> Self {
        Self(link)
    }
}

impl From<BpfLink> for OwnedFd {
    fn from(BpfLink(link): BpfLink) -> Self {
        link
    }
}

/// The part of `union bpf_attr` that BPF_LINK_CREATE reads for XDP and TCX (linux/bpf.h,
/// `link_create`).
#[repr(C)]
#[derive(Default)]
struct LinkCreate {
    program: u32,
    interface: u32,
    attach_type: u32,
    flags: u32,
    relative: u32,
    pad: u32,
    expected_revision: u64,
}

/// The part of `union bpf_attr` that BPF_LINK_UPDATE reads (linux/bpf.h, `link_update`).
#[repr(C)]
#[derive(Default)]
struct LinkUpdate {
    link: u32,
    program: u32,
    flags: u32,
    old_program: u32,
}

impl BpfLink {
    /// Attaches an XDP program; `flags` are XDP_FLAGS_* of linux/if_link.h.
    ///
    /// Always by a bpf_link: what is attached by netlink would outlive the process.
    pub(super) fn xdp(program: BorrowedFd<'_>, interface: u32, flags: u32) -> io::Result<Self> {
        create(program, LinkCreate { interface, attach_type: BPF_XDP, flags, ..LinkCreate::default() })
    }

    /// Attaches a classifier before all others at a TCX hook.
    pub(super) fn tcx(program: BorrowedFd<'_>, interface: u32, hook: TcxHook) -> io::Result<Self> {
        let (attach_type, flags) = (hook as u32, BPF_F_BEFORE);
        create(program, LinkCreate { interface, attach_type, flags, ..LinkCreate::default() })
    }

    /// Puts another program of the same type in the place of the attached one. No packet passes without one of them, and no
    /// capability is needed.
    pub(super) fn replace(&self, program: BorrowedFd<'_>) -> io::Result<()> {
        let [link, program] = [self.as_fd(), program].map(|fd| fd.as_raw_fd().cast_unsigned());
        let request = LinkUpdate { link, program, ..LinkUpdate::default() };
        // SAFETY: bpf(2) reads `size` bytes at the pointer; `request` is that long, without padding (four u32), and lives
        // until the call returns. The kernel writes nothing back for this command. Both descriptors are open: they are borrowed.
        let status = unsafe {
            libc::syscall(libc::SYS_bpf, BPF_LINK_UPDATE, &raw const request, size_of::<LinkUpdate>())
        };
        if status < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

fn create(program: BorrowedFd<'_>, mut request: LinkCreate) -> io::Result<BpfLink> {
    request.program = program.as_raw_fd().cast_unsigned();
    // SAFETY: bpf(2) reads `size` bytes at the pointer; `request` is that long, without padding
    // (six u32, then a u64 at offset 24), and lives until the call returns. The kernel writes
    // nothing back for this command.
    let fd =
        unsafe { libc::syscall(libc::SYS_bpf, BPF_LINK_CREATE, &raw const request, size_of::<LinkCreate>()) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just returned this descriptor (an int) to us, so it is open, and has no other
    // owner.
    Ok(BpfLink(unsafe { OwnedFd::from_raw_fd(fd as i32) }))
}
