//! Files: their owners, and what is refused.

use super::super::layout::{MAGIC, VERSION, at};
use super::*;
use crate::sys::freed::when_free;
use nix::sys::memfd::{MFdFlags, memfd_create};
use std::fs::{self, File, OpenOptions, Permissions};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;

const SHAPE: ShadowShape = ShadowShape { compact: 1000, wide: 500, templates: 100 };

/// A directory in memory.
fn directory() -> TempDir {
    TempDir::new_in("/dev/shm").unwrap()
}

fn created(directory: &TempDir) -> (PathBuf, ShadowParts) {
    let path = directory.path().join("directrix").join("shadow");
    (path.clone(), ShadowMemory::create(SHAPE, &ShadowPlace::File(path)).unwrap().split().unwrap())
}

/// Opens the memory of a former process, whose lock has just ended.
fn reopened(path: &Path) -> ShadowMemory {
    when_free(|| match ShadowMemory::open(path) {
        Err(ShadowRefusal::Held(_)) => None,
        opened => Some(opened.unwrap()),
    })
}

/// Name of the refusal of a file that no process holds.
fn refused(path: &Path) -> &'static str {
    when_free(|| Some(ShadowMemory::open(path).unwrap_err().name()).filter(|name| *name != "held"))
}

fn write_word(path: &Path, at: usize, word: u64) {
    let file = OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(&word.to_ne_bytes(), at as u64 * 8).unwrap();
}

fn restore(path: &Path, header: &[u8]) {
    OpenOptions::new().write(true).open(path).unwrap().write_all_at(header, 0).unwrap();
}

fn all<K: ShadowKey>(writer: &mut ShadowWriter<K>) -> Checked {
    writer.check(NOW, usize::MAX, |entry| Some(entry.value))
}

fn fill(parts: &mut ShadowParts) {
    let deadline = NOW.after(60);
    for n in 0..50 {
        parts.compact.put(compact_key(n), value(1, deadline), NOW);
        parts.wide.put(wide_key(n), value(2, deadline), NOW);
        parts.templates.put(wide_key(n), value(3, deadline), NOW);
    }
    parts.names.set_match(MatchId(7), Some(Digest::of("match")));
    parts.names.set_service(crate::model::ServiceId(u16::MAX), Some(Digest::of("service")));
    parts.names.set_server(ServerId(0), Some(Digest::of("server")));
    parts.names.set_server(ServerId(1), Some(Digest::of("gone")));
    parts.names.set_server(ServerId(1), None);
}

fn is_recovered(mut parts: ShadowParts) {
    let kept = [all(&mut parts.compact), all(&mut parts.wide), all(&mut parts.templates)];
    assert_eq!(kept, [Checked { kept: 50, ..Checked::default() }; 3]);
    let servers =
        [parts.compact.reader().find(compact_key(7), NOW), parts.wide.reader().find(wide_key(7), NOW)];
    assert_eq!(servers.map(|found| found.unwrap().server), [ServerId(1), ServerId(2)]);
    assert_eq!(parts.templates.reader().find(wide_key(7), NOW).unwrap().server, ServerId(3));
    assert_eq!(parts.names.matches().collect::<Vec<_>>(), [(MatchId(7), Digest::of("match"))]);
    let service = (crate::model::ServiceId(u16::MAX), Digest::of("service"));
    assert_eq!(parts.names.services().collect::<Vec<_>>(), [service]);
    assert_eq!(parts.names.servers().collect::<Vec<_>>(), [(ServerId(0), Digest::of("server"))]);
}

#[test]
fn a_file_has_the_entries_for_the_next_process() {
    let directory = directory();
    let (path, mut parts) = created(&directory);
    fill(&mut parts);
    assert_eq!((parts.session.epoch, parts.session.was_clean), (1, false));
    drop(parts);
    let memory = reopened(&path);
    assert_eq!(memory.shape(), SHAPE);
    let parts = memory.split().unwrap();
    assert_eq!((parts.session.epoch, parts.session.was_clean), (2, false));
    is_recovered(parts);
    let parts = reopened(&path).split().unwrap();
    parts.session.end(Duration::from_millis(70_000));
    drop((parts.compact, parts.wide, parts.templates, parts.names));
    let parts = reopened(&path).split().unwrap();
    assert_eq!((parts.session.epoch, parts.session.was_clean), (4, true));
    assert_eq!(parts.session.lived_at, Duration::from_secs(70));
}

#[test]
fn the_next_process_knows_the_claimed_vips() {
    let directory = directory();
    let (path, mut parts) = created(&directory);
    let names = |vips: &[&str]| vips.iter().map(|vip| Digest::of(vip)).collect::<Vec<_>>();
    parts.names.set_claims(names(&["one", "two", "three"]).into_iter());
    parts.session.renew(Duration::from_millis(1_234));
    drop(parts);
    let mut parts = reopened(&path).split().unwrap();
    assert_eq!(parts.session.lived_at, Duration::from_millis(1_234));
    assert_eq!(parts.names.claims().collect::<Vec<_>>(), names(&["one", "two", "three"]));
    parts.names.set_claims(names(&["four"]).into_iter());
    assert_eq!(parts.names.claims().collect::<Vec<_>>(), names(&["four"]), "also of the process before");
    parts.names.set_claims(std::iter::empty());
    assert_eq!(parts.names.claims().count(), 0);
}

#[test]
fn a_descriptor_hands_the_memory_over() {
    let mut parts = ShadowMemory::create(SHAPE, &ShadowPlace::Anonymous).unwrap().split().unwrap();
    fill(&mut parts);
    let passed = parts.session.as_fd().try_clone_to_owned().unwrap();
    drop(parts);
    is_recovered(ShadowMemory::from_descriptor(passed).unwrap().split().unwrap());

    let directory = directory();
    let (path, mut parts) = created(&directory);
    fill(&mut parts);
    let passed = parts.session.as_fd().try_clone_to_owned().unwrap();
    drop(parts);
    let held = ShadowMemory::open(&path).unwrap_err();
    assert_eq!(held.name(), "held", "the lock goes with the descriptor");
    is_recovered(ShadowMemory::from_descriptor(passed).unwrap().split().unwrap());
}

#[test]
fn a_second_process_is_told_of_the_first() {
    let directory = directory();
    let (path, parts) = created(&directory);
    let refused = ShadowMemory::open(&path).unwrap_err();
    assert!(matches!(refused, ShadowRefusal::Held(pid) if pid == std::process::id()), "{refused}");
    let refused = ShadowMemory::create(SHAPE, &ShadowPlace::File(path.clone())).unwrap_err();
    assert!(matches!(refused, ShadowRefusal::Held(_)), "{refused}");
    drop(parts);
    let one = when_free(|| ShadowMemory::create(SHAPE, &ShadowPlace::File(path.clone())).ok());
    let names: Vec<_> =
        fs::read_dir(path.parent().unwrap()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(names, [path], "no draft is left");
    drop(one);
}

#[test]
fn a_header_that_is_not_of_this_boot_is_refused() {
    let directory = directory();
    let (path, parts) = created(&directory);
    drop(parts);
    let header = fs::read(&path).unwrap()[..8 * 20].to_vec();
    let word = |at: usize| u64::from_ne_bytes(header[at * 8..][..8].try_into().unwrap());
    for (at, word, name) in [
        (at::MAGIC, 0, "magic"),
        (at::MAGIC, MAGIC.swap_bytes(), "byte_order"),
        (at::VERSION, VERSION + 1, "version"),
        (at::HEADER_WORDS, 20, "size"),
        (at::TOTAL_WORDS, word(at::TOTAL_WORDS) + 512, "size"),
        (at::BOOT, !word(at::BOOT), "boot"),
        (at::BOOT + 1, !word(at::BOOT + 1), "boot"),
        (at::SIZES, 0, "size"),
        (at::SIZES, u64::MAX, "size"),
        (at::SIZES + 1, word(at::SIZES + 1) + 1, "size"),
        (at::SIZES + 4, word(at::SIZES + 4) + 10_000, "size"),
    ] {
        write_word(&path, at, word);
        assert_eq!(refused(&path), name);
        restore(&path, &header);
    }
    (0..4).for_each(|n| write_word(&path, at::SEED + n, 0));
    assert_eq!(refused(&path), "seed");
    restore(&path, &header);
    reopened(&path);
}

#[test]
fn a_file_of_another_length_is_refused() {
    let directory = directory();
    let (path, parts) = created(&directory);
    drop(parts);
    let (whole, length) = (fs::read(&path).unwrap(), fs::metadata(&path).unwrap().len());
    for other in
        [0, 1, 8, 4088, 4096, length - 4096, length - 8, length - 1, length + 1, length + 8, length + 4096]
    {
        fs::write(&path, &whole).unwrap();
        OpenOptions::new().write(true).open(&path).unwrap().set_len(other).unwrap();
        assert_eq!(refused(&path), "size", "{other}");
    }
}

#[test]
fn a_file_that_others_can_write_is_refused() {
    let directory = directory();
    let (path, parts) = created(&directory);
    drop(parts);
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
    assert_eq!(fs::metadata(path.parent().unwrap()).unwrap().mode() & 0o7777, 0o700);
    let link = directory.path().join("link");
    symlink(&path, &link).unwrap();
    assert_eq!(
        [refused(&link), refused(directory.path()), refused(&directory.path().join("none"))],
        ["file", "file", "absent"]
    );
    let fifo = directory.path().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert_eq!(refused(&fifo), "file");
    assert_eq!(ShadowMemory::create(SHAPE, &ShadowPlace::File(link)).unwrap_err().name(), "file");
    fs::set_permissions(&path, Permissions::from_mode(0o620)).unwrap();
    assert_eq!(refused(&path), "file");
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    if nix::unistd::geteuid().is_root() {
        std::os::unix::fs::chown(&path, Some(65534), None).unwrap();
        assert_eq!(refused(&path), "file");
    }
}

#[test]
fn a_memory_file_must_be_sealed() {
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let file = File::from(memfd_create(c"test", flags).unwrap());
    file.set_len(4096).unwrap();
    let refused = ShadowMemory::from_descriptor(OwnedFd::from(file)).unwrap_err();
    assert!(refused.to_string().contains("seals"), "{refused}");
    let parts = ShadowMemory::create(SHAPE, &ShadowPlace::Anonymous).unwrap().split().unwrap();
    let passed = File::from(parts.session.as_fd().try_clone_to_owned().unwrap());
    for length in [0, passed.metadata().unwrap().len() - 8, passed.metadata().unwrap().len() + 8] {
        assert!(passed.set_len(length).is_err(), "its length may change");
    }
}

#[test]
fn an_impossible_shape_is_refused() {
    for shape in [ShadowShape { compact: 0, ..SHAPE }, ShadowShape { templates: usize::MAX, ..SHAPE }] {
        assert_eq!(ShadowMemory::create(shape, &ShadowPlace::Anonymous).unwrap_err().name(), "capacity");
    }
}

/// Neither look-ups nor checks make pages, and entries make the pages that they are in.
#[test]
fn memory_is_taken_by_entries_alone() {
    const LARGE: ShadowShape = ShadowShape { compact: 10_000_000, wide: 1_000_000, templates: 100_000 };
    let directory = directory();
    let path = directory.path().join("large");
    let mut parts = ShadowMemory::create(LARGE, &ShadowPlace::File(path.clone())).unwrap().split().unwrap();
    let taken = || fs::metadata(&path).unwrap().blocks() * 512;
    let empty = taken();
    assert!(empty < 5 << 20, "{empty} bytes for header and names");
    let reader = parts.compact.reader();
    (0..10_000).for_each(|n| assert_eq!(reader.find(compact_key(n), NOW), None));
    parts.compact.sweep(NOW, usize::MAX, |_| panic!("it is empty"));
    assert_eq!(taken(), empty);
    drop(reader);
    (0..100).for_each(|n| _ = parts.compact.put(compact_key(n), value(1, NOW.after(60)), NOW));
    let filled = taken();
    assert!((empty + 50 * 4096..=empty + 100 * 4096).contains(&filled), "{empty}, then {filled}");
    drop(parts);
    let mut parts = reopened(&path).split().unwrap();
    assert_eq!(all(&mut parts.compact).kept, 100);
    assert_eq!((all(&mut parts.wide), all(&mut parts.templates)), Default::default());
    assert_eq!(taken(), filled);
}
