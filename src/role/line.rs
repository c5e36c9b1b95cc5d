//! Lines of keepalived's notify FIFO, as in `INSTANCE "VI_1" MASTER 150`.
//!
//! The format is that of keepalived.conf(5), `vrrp_notify_fifo` and `notify_fifo`: type, quoted name, state, priority.

use crate::model::Role;

/// Longest line that is read. keepalived's names are shorter.
const LINE_MAX: usize = 512;

/// Puts the pieces that are read from a FIFO together to lines.
#[derive(Debug, Default)]
pub(super) struct LineReader {
    partial: Vec<u8>,
    /// The rest of an overlong line is skipped.
    skips: bool,
}

/// Subject of a line.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Speaker {
    pub(super) is_group: bool,
    pub(super) name: String,
}

/// Meaning of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum RoleLine {
    /// A VRRP instance or group has changed.
    Of(Speaker, LineEvent),
    /// A line of the health checks (`VS`, `RS`), which a `notify_fifo` has as well.
    HealthCheck,
    /// None of keepalived's.
    Unknown,
}

/// Change of an instance or group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LineEvent {
    /// A state that is a role.
    Role(Role),
    /// keepalived has stopped, or has the instance no more: another router becomes master.
    Stopped,
    /// As master it has heard another master of lower priority: a split brain has healed.
    LowerMaster,
    /// A change without effect on the role, as of the priority.
    Priority,
}

impl LineReader {
    /// Passes every line that `bytes` completes to `each`, without its end.
    pub(super) fn push(&mut self, bytes: &[u8], mut each: impl FnMut(&str)) {
        for &byte in bytes {
            if byte != b'\n' {
                self.skips |= self.partial.len() >= LINE_MAX;
                if !self.skips {
                    self.partial.push(byte);
                }
                continue;
            }
            let line = std::mem::take(&mut self.partial);
            self.skips = false;
            each(&String::from_utf8_lossy(&line));
        }
    }

    /// Forgets a half line: its writer has ended.
    pub(super) fn reset(&mut self) {
        *self = Self::default();
    }
}

impl RoleLine {
    pub(super) fn of(line: &str) -> Self {
        if line.starts_with("VS ") || line.starts_with("RS ") {
            return Self::HealthCheck;
        }
        Self::of_vrrp(line).unwrap_or(Self::Unknown)
    }

    fn of_vrrp(line: &str) -> Option<Self> {
        let (kind, rest) = line.split_once(' ')?;
        let (name, state) = rest.strip_prefix('"')?.split_once("\" ")?;
        let speaker = Speaker { is_group: kind == "GROUP", name: name.to_owned() };
        let event = LineEvent::of(state.split(' ').next()?)?;
        matches!(kind, "INSTANCE" | "GROUP").then_some(Self::Of(speaker, event))
    }
}

impl LineEvent {
    fn of(word: &str) -> Option<Self> {
        Some(match word {
            "MASTER" => Self::Role(Role::Master),
            "BACKUP" => Self::Role(Role::Backup),
            "FAULT" => Self::Role(Role::Fault),
            "STOP" | "DELETED" => Self::Stopped,
            "MASTER_RX_LOWER_PRI" => Self::LowerMaster,
            "MASTER_PRIORITY" | "BACKUP_PRIORITY" => Self::Priority,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lines(pieces: &[&[u8]]) -> Vec<String> {
        let (mut reader, mut lines) = (LineReader::default(), Vec::new());
        pieces.iter().for_each(|piece| reader.push(piece, |line| lines.push(line.to_owned())));
        lines
    }

    #[test]
    fn half_lines_are_put_together() {
        assert_eq!(
            lines(&[b"INST", b"ANCE \"a\" ", b"STOP 1\nG", b"\n\n"]),
            ["INSTANCE \"a\" STOP 1", "G", ""]
        );
        assert_eq!(lines(&[b"no end"]), [""; 0]);
    }

    #[test]
    fn an_overlong_line_is_cut_and_the_next_is_whole() {
        let long = [b'x'; 3 * LINE_MAX];
        let read = lines(&[&long, b"y\nshort\n"]);
        assert_eq!(read.iter().map(String::len).collect::<Vec<_>>(), [LINE_MAX, 5]);
    }

    #[test]
    fn a_half_line_ends_with_its_writer() {
        let (mut reader, mut lines) = (LineReader::default(), Vec::new());
        reader.push(b"INSTANCE \"VI", |line| lines.push(line.to_owned()));
        reader.reset();
        reader.push(b"GROUP \"a\" STOP 0\n", |line| lines.push(line.to_owned()));
        assert_eq!(lines, ["GROUP \"a\" STOP 0"]);
    }

    #[test]
    fn each_word_of_keepalived_has_its_meaning() {
        let of = |line: &str| RoleLine::of(line);
        let said = |is_group, event| RoleLine::Of(Speaker { is_group, name: "VI 1".into() }, event);
        for (line, meaning) in [
            ("INSTANCE \"VI 1\" MASTER 150", said(false, LineEvent::Role(Role::Master))),
            ("INSTANCE \"VI 1\" BACKUP 150", said(false, LineEvent::Role(Role::Backup))),
            ("GROUP \"VI 1\" FAULT 0", said(true, LineEvent::Role(Role::Fault))),
            ("INSTANCE \"VI 1\" STOP 150", said(false, LineEvent::Stopped)),
            ("INSTANCE \"VI 1\" DELETED 150", said(false, LineEvent::Stopped)),
            ("INSTANCE \"VI 1\" MASTER_RX_LOWER_PRI 150", said(false, LineEvent::LowerMaster)),
            ("INSTANCE \"VI 1\" BACKUP_PRIORITY 99", said(false, LineEvent::Priority)),
            ("INSTANCE \"VI 1\" MASTER", said(false, LineEvent::Role(Role::Master))),
            ("RS [1.2.3.4]:tcp:80 [192.0.2.1]:tcp:80 DOWN", RoleLine::HealthCheck),
            ("VS [192.0.2.1]:tcp:80 UP", RoleLine::HealthCheck),
            ("INSTANCE \"VI 1\" UNKNOWN 1", RoleLine::Unknown),
            ("INSTANCE VI_1 MASTER 150", RoleLine::Unknown),
            ("DEVICE \"VI 1\" MASTER 150", RoleLine::Unknown),
            ("INSTANCE \"VI 1", RoleLine::Unknown),
            ("MASTER", RoleLine::Unknown),
            ("", RoleLine::Unknown),
        ] {
            assert_eq!(of(line), meaning, "{line}");
        }
    }

    proptest! {
        #[test]
        fn pieces_of_any_size_give_the_same_lines(bytes: Vec<u8>, cuts: Vec<prop::sample::Index>) {
            let mut at: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            at.sort_unstable();
            let ends = at.iter().copied().chain([bytes.len()]);
            let starts = [0].into_iter().chain(at.iter().copied());
            let pieces: Vec<_> = starts.zip(ends).map(|(from, to)| &bytes[from..to]).collect();
            prop_assert_eq!(lines(&pieces), lines(&[&bytes]));
        }
    }
}
