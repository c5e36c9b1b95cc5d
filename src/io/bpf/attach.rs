//! Attachment of the programs to an interface.

use super::link::TcxHook;
use super::mode::{AllowedModes, Buffers, XdpMode};
use super::{BpfLink, Programs, errors};
use crate::io::Interface;
use crate::model::Diagnostic;
use crate::sys::rtnetlink;
use aya::programs::ProgramError;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

/// An attached XDP program.
#[derive(Debug)]
pub struct Attached {
    /// Dropping it detaches.
    pub link: BpfLink,
    /// Mode in which the program runs.
    pub mode: XdpMode,
    /// Reason for generic mode, if it does not run in the driver.
    pub refusal: Option<String>,
}

/// Loads `directrix_steer` into the kernel, for frames of so many `buffers`.
///
/// # Errors
/// [`Diagnostic`] if the kernel refuses the program, or a capability is missing.
pub fn load_steering(
    programs: &mut Programs,
    interface: &Interface,
    buffers: Buffers,
) -> Result<(), Diagnostic> {
    once(programs.steer(buffers).load()).map_err(|error| errors::program_error(interface, error))
}

/// Attaches `directrix_steer`, for frames of so many `buffers`, in one of `modes`, native if possible.
///
/// # Errors
/// [`Diagnostic`] if another XDP program is there, a capability is missing, or none of the modes works.
pub fn attach_steering(
    programs: &mut Programs,
    interface: &Interface,
    modes: AllowedModes,
    buffers: Buffers,
) -> Result<Attached, Diagnostic> {
    load_steering(programs, interface, buffers)?;
    let program = programs.steer(buffers).fd().expect("it has just been loaded");
    attach(program.as_fd(), interface, modes)
}

/// Puts the loaded `directrix_steer` in the place of the attached program. No frame passes without one of them.
///
/// # Errors
/// [`Diagnostic`] if the kernel refuses.
pub fn replace_steering(
    programs: &mut Programs,
    attached: &Attached,
    interface: &Interface,
    buffers: Buffers,
) -> Result<(), Diagnostic> {
    let program = programs.steer(buffers).fd().expect("it has been loaded");
    attached.link.replace(program.as_fd()).map_err(|error| errors::attach_error(interface, &error))
}

/// Attaches a loaded XDP program in one of `modes`, native if possible.
///
/// # Errors
/// [`Diagnostic`] if another XDP program is there, a capability is missing, or none of the modes works.
pub fn attach(
    program: BorrowedFd<'_>,
    interface: &Interface,
    modes: AllowedModes,
) -> Result<Attached, Diagnostic> {
    let attach = |mode: XdpMode| BpfLink::xdp(program, interface.index, mode.flags());
    let native = match attach(XdpMode::Native) {
        Ok(link) => return Ok(Attached { link, mode: XdpMode::Native, refusal: None }),
        Err(error) if is_final(&error) => return Err(errors::attach_error(interface, &error)),
        Err(error) => error,
    };
    let words = rtnetlink::xdp_rejection(interface.index, program, XdpMode::Native.flags());
    let refusal = errors::NativeRefusal { interface, error: &native, words: words.as_deref() };
    if modes == AllowedModes::Native {
        return Err(refusal.into_error());
    }
    let link = attach(XdpMode::Generic).map_err(|error| errors::attach_error(interface, &error))?;
    Ok(Attached { link, mode: XdpMode::Generic, refusal: Some(refusal.to_string()) })
}

/// Attaches `directrix_guard` at TCX ingress, before every other program.
///
/// # Errors
/// [`Diagnostic`] if a capability is missing or the kernel has no TCX (before Linux 6.6).
pub fn attach_guard(programs: &mut Programs, interface: &Interface) -> Result<BpfLink, Diagnostic> {
    let guard = programs.guard();
    once(guard.load()).map_err(|error| errors::program_error(interface, error))?;
    let program = guard.fd().expect("it has just been loaded");
    BpfLink::tcx(program.as_fd(), interface.index, TcxHook::Ingress)
        .map_err(|error| errors::guard_error(interface, &error))
}

/// Accepts a program that is loaded already, as after a detachment.
pub(super) fn once(loading: Result<(), ProgramError>) -> Result<(), ProgramError> {
    match loading {
        Err(ProgramError::AlreadyLoaded) => Ok(()),
        other => other,
    }
}

/// True for errors that generic mode would meet as well.
fn is_final(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EBUSY | libc::EPERM | libc::EACCES | libc::ENODEV))
}
