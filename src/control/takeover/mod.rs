//! Warm restart: a new process takes over from the running director, over a socket beside the control socket.
//!
//! ```text
//! next                                    former
//!      ── Begin ───────────────────────▶  goes on as before
//!      ◀─────────────────────── Offer ──  its configuration
//! reads its file, resolves the host
//!      ── Commit ──────────────────────▶  stops its workers
//!      ◀─────────────────────── State ──  state and descriptors; answers for the VIPs still
//! takes their sockets or opens its own, forwards
//!      ── Done ────────────────────────▶  ends
//! ```
//! Until the Commit nothing has changed for the running director. If the next process fails after it, the running one ends with
//! an error, as it cannot open sockets again without its privileges; its service manager restarts it, and connections come from the shadow
//! memory.

mod former;
mod message;
mod next;

pub(in crate::control) use former::{Former, Inheritance};
pub(in crate::control) use message::{
    HandedDaemons, HandedDescriptor, HandedService, HandedState, Offer, claimed,
};
pub(in crate::control) use next::{TakeoverListener, TakeoverRequest};

use std::path::{Path, PathBuf};

/// Path of the socket of the director with this control socket.
fn path(control: &Path) -> PathBuf {
    control.with_extension("takeover")
}
