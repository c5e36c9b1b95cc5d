//! The entries of the programs' maps, and the probe that each belongs to.

use super::evidence::ProbeEvidence;
use super::maps::{BackMap, ForwardMap, Key, ProbeEntries, evidence};
use super::refusal::ProbeRefusal;
use crate::io::bpf::os_error;
use crate::model::Diagnostic;
use aya::maps::MapError;
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::io;
use std::time::{Duration, Instant};

/// Time for which late replies to an abandoned probe are dropped. Without that the kernel would answer them with a RST to the
/// VIP, and ask for the VIP's MAC address by broadcast.
pub const LATE_REPLIES: Duration = Duration::from_secs(3);

/// The end of a probe, which decides what becomes of late packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeEnd {
    /// The whole answer has arrived, and the socket is closed, by a RST for TCP: the server has nothing more to send.
    Complete,
    /// The server may still send: late replies are dropped for [`LATE_REPLIES`].
    Abandoned,
}

/// Entries of the programs' maps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProbeCounts {
    /// Probes whose packets are translated.
    pub armed: usize,
    /// Abandoned probes whose late replies are dropped.
    pub late: usize,
    /// Probes refused because a map was full.
    pub refused_full: u64,
}

/// An abandoned probe. Its end is unknown until the first sweep after it.
struct Late {
    entries: ProbeEntries,
    serial: u64,
    until: Option<Instant>,
}

/// The maps, with the serial number of the probe that wrote an entry: a port that was closed goes to another probe, which
/// overwrites the entries of the one before.
pub(super) struct ProbeTable {
    forward: ForwardMap,
    back: BackMap,
    forward_of: HashMap<Key, u64>,
    back_of: HashMap<Key, u64>,
    late: VecDeque<Late>,
    armed: usize,
    last_serial: u64,
    refused_full: u64,
}

impl fmt::Debug for ProbeTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProbeTable").field("counts", &self.counts()).finish_non_exhaustive()
    }
}

impl ProbeTable {
    pub(super) fn new(forward: ForwardMap, back: BackMap) -> Self {
        let (forward_of, back_of, late) = (HashMap::new(), HashMap::new(), VecDeque::new());
        Self { forward, back, forward_of, back_of, late, armed: 0, last_serial: 0, refused_full: 0 }
    }

    pub(super) fn counts(&self) -> ProbeCounts {
        ProbeCounts { armed: self.armed, late: self.late.len(), refused_full: self.refused_full }
    }

    /// Writes both entries. Returns the probe's serial number.
    pub(super) fn arm(&mut self, entries: &ProbeEntries) -> Result<u64, ProbeRefusal> {
        self.last_serial += 1;
        // The way back first: a packet that left could otherwise get a reply that no socket has.
        self.back.insert(entries.of_vip, entries.back(false), 0).map_err(|error| self.refusal(&error))?;
        self.back_of.insert(entries.of_vip, self.last_serial);
        if let Err(error) = self.forward.insert(entries.to_rip, entries.forward(), 0) {
            self.remove_back(entries, self.last_serial);
            return Err(self.refusal(&error));
        }
        self.forward_of.insert(entries.to_rip, self.last_serial);
        self.armed += 1;
        Ok(self.last_serial)
    }

    fn refusal(&mut self, error: &MapError) -> ProbeRefusal {
        let os = os_error(error);
        let errno = os.and_then(io::Error::raw_os_error);
        let what = Diagnostic::system("arming a health probe");
        let diagnostic = if errno == Some(libc::E2BIG) {
            self.refused_full += 1;
            what.cause("E2BIG: the map of the probe programs is full")
                .remedy("have fewer probes in flight, or longer intervals")
        } else {
            what.cause(os.map_or_else(|| error.to_string(), crate::sys::errno))
        };
        ProbeRefusal { errno, diagnostic }
    }

    /// The counts in the entries of a probe.
    pub(super) fn evidence(&self, entries: &ProbeEntries, serial: u64) -> io::Result<ProbeEvidence> {
        let owns = |of: &HashMap<Key, u64>, key| of.get(key) == Some(&serial);
        if !owns(&self.forward_of, &entries.to_rip) || !owns(&self.back_of, &entries.of_vip) {
            return Err(io::Error::from_raw_os_error(libc::ENOENT));
        }
        let forward = self.forward.get(&entries.to_rip, 0).map_err(io_error)?;
        let back = self.back.get(&entries.of_vip, 0).map_err(io_error)?;
        Ok(evidence(forward, back, entries.is_v4()))
    }

    /// Ends a probe. What is left of its socket's packets is translated as long as late replies are dropped.
    pub(super) fn end(&mut self, entries: &ProbeEntries, serial: u64, how: ProbeEnd) {
        self.armed -= 1;
        if how == ProbeEnd::Complete {
            return self.remove(entries, serial);
        }
        if self.back_of.get(&entries.of_vip) == Some(&serial) {
            // The key is there, so that the map is not too full for it. Otherwise late replies pass, as without a probe.
            let _ = self.back.insert(entries.of_vip, entries.back(true), 0);
        }
        self.late.push_back(Late { entries: *entries, serial, until: None });
    }

    /// Removes the entries of abandoned probes whose time is over.
    pub(super) fn sweep(&mut self, now: Instant) {
        for late in self.late.iter_mut().rev().take_while(|late| late.until.is_none()) {
            late.until = Some(now + LATE_REPLIES);
        }
        let is_over = |late: &Late| late.until.is_some_and(|until| until <= now);
        while let Some(late) = self.late.front().filter(|late| is_over(late)) {
            let (entries, serial) = (late.entries, late.serial);
            self.late.pop_front();
            self.remove(&entries, serial);
        }
    }

    fn remove(&mut self, entries: &ProbeEntries, serial: u64) {
        if self.forward_of.get(&entries.to_rip) == Some(&serial) {
            self.forward_of.remove(&entries.to_rip);
            let _ = self.forward.remove(&entries.to_rip); // the key is there, and its removal has no other error
        }
        self.remove_back(entries, serial);
    }

    fn remove_back(&mut self, entries: &ProbeEntries, serial: u64) {
        if self.back_of.get(&entries.of_vip) == Some(&serial) {
            self.back_of.remove(&entries.of_vip);
            let _ = self.back.remove(&entries.of_vip); // as above
        }
    }
}

fn io_error(error: MapError) -> io::Error {
    match error {
        MapError::SyscallError(error) => error.io_error,
        MapError::KeyNotFound => io::Error::from_raw_os_error(libc::ENOENT),
        error => io::Error::other(error),
    }
}
