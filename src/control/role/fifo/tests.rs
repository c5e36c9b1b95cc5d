use super::*;
use nix::sys::stat::Mode;
use std::io::Write;
use std::time::Duration;

/// A directory with a FIFO's name, and its reader.
struct Site {
    _directory: tempfile::TempDir,
    path: PathBuf,
    reader: FifoReader,
}

impl Site {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("vrrp.fifo");
        let reader = FifoReader::new(path.to_str().unwrap());
        Self { _directory: directory, path, reader }
    }

    fn make(&self) {
        nix::unistd::mkfifo(&self.path, Mode::S_IRWXU).unwrap();
    }

    /// A writer as keepalived: it reads as well, so that it never waits for a reader.
    fn writer(&self) -> File {
        File::options().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(&self.path).unwrap()
    }

    async fn next(&mut self) -> RoleSignal {
        let next = tokio::time::timeout(Duration::from_secs(10), self.reader.next());
        next.await.expect("a signal within ten seconds")
    }

    /// Asserts that nothing is reported for a while.
    async fn assert_quiet(&mut self) {
        let next = tokio::time::timeout(Duration::from_millis(50), self.reader.next()).await;
        assert!(next.is_err(), "{next:?}");
    }
}

fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
}

fn bytes(text: &str) -> RoleSignal {
    RoleSignal::Bytes(text.into())
}

#[test]
fn a_fifo_that_appears_is_opened_and_its_lines_are_read() {
    run(async {
        let mut site = Site::new();
        site.assert_quiet().await;
        site.make();
        let mut writer = site.writer();
        writer.write_all(b"one\n").unwrap();
        assert_eq!(site.next().await, bytes("one\n"));
        site.assert_quiet().await;
        writer.write_all(b"two\n").unwrap();
        assert_eq!(site.next().await, bytes("two\n"));
    });
}

#[test]
fn the_end_of_the_writer_is_seen_once_and_the_next_is_heard() {
    run(async {
        let mut site = Site::new();
        site.make();
        site.assert_quiet().await; // without a writer
        for _ in 0..3 {
            let mut writer = site.writer();
            writer.write_all(b"line\n").unwrap();
            assert_eq!(site.next().await, bytes("line\n"));
            drop(writer);
            assert_eq!(site.next().await, RoleSignal::WriterGone);
            site.assert_quiet().await;
        }
    });
}

#[test]
fn a_silent_writer_is_seen_at_the_start() {
    run(async {
        let mut site = Site::new();
        site.make();
        let writer = site.writer();
        assert_eq!(site.next().await, RoleSignal::WriterLives);
        site.assert_quiet().await;
        drop(writer);
        assert_eq!(site.next().await, RoleSignal::WriterGone);
    });
}

#[test]
fn a_replaced_fifo_is_followed() {
    run(async {
        let mut site = Site::new();
        site.make();
        let mut old = site.writer();
        old.write_all(b"old\n").unwrap();
        assert_eq!(site.next().await, bytes("old\n"));
        std::fs::remove_file(&site.path).unwrap();
        site.make();
        let mut new = site.writer();
        new.write_all(b"new\n").unwrap();
        assert_eq!(site.next().await, RoleSignal::WriterGone);
        assert_eq!(site.next().await, bytes("new\n"));
    });
}

#[test]
fn a_regular_file_is_no_fifo() {
    run(async {
        let mut site = Site::new();
        std::fs::write(&site.path, "INSTANCE \"VI_1\" MASTER 150\n").unwrap();
        site.assert_quiet().await;
        std::fs::remove_file(&site.path).unwrap();
        site.make();
        let mut writer = site.writer();
        writer.write_all(b"one\n").unwrap();
        assert_eq!(site.next().await, bytes("one\n"));
    });
}
