//! Check of the shadow memory: whatever bytes a former process has left, its file is refused, or shows entries that the
//! judge accepts.

use super::input::Input;
use directrix::flow::{ConnState, V4Key, WideKey};
use directrix::model::{MatchId, ServerId};
use directrix::shadow::{
    ShadowEntry, ShadowKey, ShadowMemory, ShadowParts, ShadowPlace, ShadowRefusal, ShadowShape, ShadowValue,
    ShadowWriter, Stored,
};
use directrix::time::SecondTick;
use std::fs::File;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;

const SHAPE: ShadowShape = ShadowShape { compact: 40, wide: 20, templates: 8 };
const NOW: SecondTick = SecondTick::new(100);
const SERVERS: u16 = 16;
const TIMEOUT_MAX: u32 = 900;
/// Words of the header and of a page.
const PAGE: u64 = 512;
/// First word of the tables.
const TABLES: u64 = PAGE + 4 * 2 * 65_536;

/// Outcome of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Survival {
    Refused(&'static str),
    /// With a number of entries.
    Opened(usize),
}

/// Fills a memory, changes its bytes as `input` says, and opens it.
pub fn check(input: &[u8]) -> Survival {
    let file = filled();
    damage(&file, &mut Input(input));
    match ShadowMemory::from_descriptor(OwnedFd::from(file)) {
        Ok(memory) => Survival::Opened(works(memory.split().expect("/proc is there"))),
        Err(error @ (ShadowRefusal::Absent | ShadowRefusal::Held(_) | ShadowRefusal::System(_))) => {
            panic!("not of its bytes: {error}")
        }
        Err(error) => Survival::Refused(error.name()),
    }
}

fn compact(n: u16) -> V4Key {
    V4Key::new(Ipv4Addr::new(198, 51, 100, n as u8), n, MatchId(n % 3))
}

fn wide(n: u16) -> WideKey {
    WideKey::new(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, n).into(), n, MatchId(n % 3), 80)
}

fn value(n: u16) -> ShadowValue {
    let (deadline, state) = (NOW.after(60), ConnState::Established);
    ShadowValue { deadline, owner: Some(n as u8 % 4), server: ServerId(n % SERVERS), state, template: 0 }
}

fn filled() -> File {
    let memory = ShadowMemory::create(SHAPE, &ShadowPlace::Anonymous).expect("there is memory");
    let mut parts = memory.split().expect("/proc is there");
    (0..40).for_each(|n| _ = parts.compact.put(compact(n), value(n), NOW));
    (0..20).for_each(|n| _ = parts.wide.put(wide(n), value(n), NOW));
    (0..8).for_each(|n| _ = parts.templates.put(wide(n), value(n), NOW));
    File::from(parts.session.as_fd().try_clone_to_owned().expect("a descriptor"))
}

/// Changes words of the header, of names and of tables: a bit, a copy of another word, equal bytes, any bytes.
fn damage(file: &File, input: &mut Input<'_>) {
    while let Some(kind) = input.next() {
        let at = match kind % 8 {
            0 => u64::from(input.byte() % 24),
            1 => PAGE + u64::from(input.word()),
            _ => of_tables(input),
        };
        let mut word = [0; 8];
        file.read_exact_at(&mut word, at * 8).expect("the file is that long");
        match kind >> 3 & 3 {
            0 => word[usize::from(input.byte() % 8)] ^= 1 << (input.byte() % 8),
            1 => {
                file.read_exact_at(&mut word, of_tables(input) * 8).expect("the file is that long");
            }
            2 => word.fill(input.byte()),
            _ => word.fill_with(|| input.byte()),
        }
        file.write_all_at(&word, at * 8).expect("the length stays");
    }
}

/// A word of a table. Each begins a page.
fn of_tables(input: &mut Input<'_>) -> u64 {
    TABLES + u64::from(input.byte() % 3) * PAGE + u64::from(input.byte() % 112)
}

/// Checks all entries, and uses the memory. Returns the number of entries.
fn works(mut parts: ShadowParts) -> usize {
    let names =
        parts.names.matches().count() + parts.names.services().count() + parts.names.servers().count();
    assert!(names <= 3 * 65_536 && parts.names.claims().count() <= 65_536);
    uses(&mut parts.compact, compact) + uses(&mut parts.wide, wide) + uses(&mut parts.templates, wide)
}

fn accepts(value: ShadowValue) -> bool {
    value.server.0 < SERVERS && value.deadline.since(NOW) <= TIMEOUT_MAX
}

fn uses<K: ShadowKey + std::fmt::Debug>(writer: &mut ShadowWriter<K>, key: fn(u16) -> K) -> usize {
    while !writer.is_all_checked() {
        writer.check(NOW, 3, |entry: &ShadowEntry<K>| accepts(entry.value).then_some(entry.value));
    }
    let (entries, reader) = (listed(writer), writer.reader());
    assert_eq!(entries.len(), writer.len());
    for entry in &entries {
        assert!(accepts(entry.value) && !NOW.reached(entry.value.deadline), "{entry:?}");
        assert_eq!(reader.find(entry.key, NOW), Some(entry.value));
    }
    for n in 100..120 {
        let stored = writer.put(key(n), value(n), NOW);
        assert_eq!(reader.find(key(n), NOW), Some(value(n)).filter(|_| stored != Stored::Full));
    }
    for entry in listed(writer) {
        assert_eq!(writer.remove(entry.key), Some(entry.value));
    }
    assert!(writer.is_empty() && listed(writer).is_empty());
    entries.len()
}

fn listed<K: ShadowKey>(writer: &ShadowWriter<K>) -> Vec<ShadowEntry<K>> {
    (0..writer.buckets()).flat_map(|bucket| writer.entries(bucket)).collect()
}
