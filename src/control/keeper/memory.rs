//! The shadow memory at the start: that of the process before, if it fits, else a new one.

use super::former::FormerConnections;
use crate::control::state::ids::NamedIds;
use crate::model::{Diagnostic, MatchId, ServerId, ServiceId};
use crate::shadow::{
    Digest, ShadowMemory, ShadowNames, ShadowParts, ShadowPlace, ShadowRefusal, ShadowShape,
};
use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Longest wait for a process that is still ending.
const HELD_MAX: Duration = Duration::from_millis(500);
/// Interval of looks at it.
const HELD_POLL: Duration = Duration::from_millis(2);
/// Templates for which there is room, as a part of the connections.
const TEMPLATES: usize = 4;

/// The shadow memory of this process.
pub struct OpenedShadow {
    /// Writers, names and session.
    pub parts: ShadowParts,
    /// Numbers of the process before; none in a new one.
    pub ids: NamedIds,
    /// VIPs that the process before had claimed.
    pub claims: BTreeSet<Digest>,
    /// Time of the monotonic clock at which that process still lived; zero without one.
    pub lived_at: Duration,
    /// Its tables, if they had other capacities: their entries are to be moved.
    pub former: Option<FormerConnections>,
}

/// Path of the shadow memory of the director that listens on `socket`, beside that: no two directors have the same one. The
/// directory is in a tmpfs as a rule.
#[must_use]
pub fn path(socket: &Path) -> PathBuf {
    socket.with_extension("shadow")
}

/// Opens the memory of the process before in `file`, or creates a new one there. Without a file, or if that fails, the memory has no
/// name and ends with the process.
///
/// # Errors
/// If no memory can be had.
pub fn open(file: Option<&Path>, connections: usize) -> Result<OpenedShadow, Diagnostic> {
    let former = file.and_then(|file| usable(&file.display().to_string(), open_free(file)));
    opened(former, file, connections)
}

/// Takes over the memory that the process before has passed; if it does not fit, as [`open`].
///
/// # Errors
/// If no memory can be had.
pub fn adopt(passed: OwnedFd, file: Option<&Path>, connections: usize) -> Result<OpenedShadow, Diagnostic> {
    match usable("the memory that was handed over", ShadowMemory::from_descriptor(passed)) {
        Some(memory) => opened(Some(memory), file, connections),
        None => open(file, connections),
    }
}

/// The memory of the process before. Without it, or with other capacities, a new one, into which the entries are to be moved.
fn opened(
    former: Option<ShadowMemory>,
    file: Option<&Path>,
    connections: usize,
) -> Result<OpenedShadow, Diagnostic> {
    let templates = connections.div_ceil(TEMPLATES);
    let shape = ShadowShape { compact: connections, wide: connections, templates };
    let Some(former) = former else {
        return of(new(file, shape)?);
    };
    let fits = former.shape() == shape && (former.has_name() || file.is_none());
    let former = of(former)?;
    if fits {
        return Ok(former);
    }
    // Its name is free for the new memory; this process still has the lock.
    let _ = file.map(std::fs::remove_file); // it may have none
    let OpenedShadow { parts, ids, claims, lived_at, .. } = former;
    let tables = FormerConnections { compact: parts.compact, wide: parts.wide, templates: parts.templates };
    Ok(OpenedShadow { ids, claims, lived_at, former: Some(tables), ..of(new(file, shape)?)? })
}

fn new(file: Option<&Path>, shape: ShadowShape) -> Result<ShadowMemory, Diagnostic> {
    let named = file.and_then(|file| create(file, shape));
    let memory = named.map_or_else(|| ShadowMemory::create(shape, &ShadowPlace::Anonymous), Ok);
    memory.map_err(|refusal| failed(&refusal))
}

/// The parts of a memory, with the names that it has.
fn of(memory: ShadowMemory) -> Result<OpenedShadow, Diagnostic> {
    let parts = memory.split().map_err(|error| failed(&error.into()))?;
    let ids = NamedIds {
        services: parts.names.services().map(|(id, name)| (name, id.0)).collect(),
        matches: parts.names.matches().map(|(id, name)| (name, id.0)).collect(),
        servers: parts.names.servers().map(|(id, name)| (name, id.0)).collect(),
    };
    let (claims, lived_at) = (parts.names.claims().collect(), parts.session.lived_at);
    Ok(OpenedShadow { parts, ids, claims, lived_at, former: None })
}

/// The memory of the process before, if it can be read.
fn usable(file: &str, former: Result<ShadowMemory, ShadowRefusal>) -> Option<ShadowMemory> {
    let reason = match former {
        Ok(memory) => return Some(memory),
        Err(ShadowRefusal::Absent) => return None,
        Err(refusal) => refusal.to_string(),
    };
    tracing::warn!(file, reason, "connections of the process before are lost");
    None
}

/// Opens a file once its process has ended: after SIGKILL the kernel releases its locks one by one.
fn open_free(file: &Path) -> Result<ShadowMemory, ShadowRefusal> {
    let begin = Instant::now();
    loop {
        match ShadowMemory::open(file) {
            Err(ShadowRefusal::Held(_)) if begin.elapsed() < HELD_MAX => std::thread::sleep(HELD_POLL),
            opened => return opened,
        }
    }
}

fn create(file: &Path, shape: ShadowShape) -> Option<ShadowMemory> {
    let created = ShadowMemory::create(shape, &ShadowPlace::File(file.to_owned()));
    created
        .map_err(|reason| {
            tracing::warn!(file = %file.display(), %reason, "connections will not outlive this process");
        })
        .ok()
}

fn failed(refusal: &ShadowRefusal) -> Diagnostic {
    Diagnostic::system("creating the shadow memory")
        .cause(refusal.to_string())
        .remedy("give the director more memory, or lower connections in [director]")
}

/// Writes the names of all numbers, before an entry has one of them. Other numbers lose their names.
pub fn write_names(names: &mut ShadowNames, ids: &NamedIds) {
    let NamedIds { services, matches, servers } = ids;
    let former: Vec<_> = names.services().filter(|(_, name)| !services.contains_key(name)).collect();
    former.into_iter().for_each(|(id, _)| names.set_service(id, None));
    let former: Vec<_> = names.matches().filter(|(_, name)| !matches.contains_key(name)).collect();
    former.into_iter().for_each(|(id, _)| names.set_match(id, None));
    let former: Vec<_> = names.servers().filter(|(_, name)| !servers.contains_key(name)).collect();
    former.into_iter().for_each(|(id, _)| names.set_server(id, None));
    services.iter().for_each(|(name, id)| names.set_service(ServiceId(*id), Some(*name)));
    matches.iter().for_each(|(name, id)| names.set_match(MatchId(*id), Some(*name)));
    servers.iter().for_each(|(name, id)| names.set_server(ServerId(*id), Some(*name)));
}
