//! Messages of kernel masters: read as decoded in the transcript, and written again byte for byte.

use super::recorded;
use directrix::model::{IpFamily, Timeouts};
use directrix::sync::{
    MESSAGE_LEN_DEFAULT, SyncFlags, SyncIdFilter, SyncMessage, SyncRecord, SyncVersion, SyncWriter,
};
use directrix::time::Span;
use std::net::SocketAddr;

const SYNCID: u8 = 7;
const PERSISTENCE: Span = Span::from_secs(360);

/// The messages of kernel masters with their bytes.
fn masters() -> Vec<(String, Vec<u8>)> {
    let names = recorded::names("master-");
    assert_eq!(names.len(), 20);
    names.into_iter().map(|name| (name.clone(), recorded::message(&name))).collect()
}

fn parsed(bytes: &[u8]) -> SyncMessage<'_> {
    SyncMessage::parse(bytes, SyncIdFilter::Exactly(SYNCID)).expect("a kernel has sent it")
}

fn records(message: &SyncMessage<'_>) -> Vec<SyncRecord> {
    message.records().map(|record| record.expect("a kernel has sent it")).collect()
}

/// The lines of the transcript for a message.
fn decoded(bytes: &[u8]) -> Vec<String> {
    let message = parsed(bytes);
    let (version, mut at) = match message.version {
        SyncVersion::V0 => (0, 4),
        SyncVersion::V1 => (1, 8),
    };
    let header = format!("v{version} syncid {} size {} n {}", message.syncid, bytes.len(), message.count);
    let lines = records(&message).into_iter().map(|record| {
        let (line, len) = match message.version {
            SyncVersion::V0 => (line_v0(&record), 24),
            SyncVersion::V1 => line_v1(&record),
        };
        at += len;
        format!("  @{} {line}", at - len)
    });
    [header].into_iter().chain(lines).collect()
}

fn line_v1(record: &SyncRecord) -> (String, usize) {
    let (kind, len) = if record.ends.family() == IpFamily::Ipv6 { (1, 72) } else { (0, 36) };
    let SyncRecord { protocol, flags, state, mark, timeout_secs, .. } = record;
    let (number, flags, ends) = (protocol.number(), flags.bits(), ends(record));
    let line = format!(
        "type {kind} proto {number} ver 0 size {len} flags {flags:#x} state {state} {ends} mark {mark} timeout {timeout_secs}"
    );
    (line, len)
}

fn line_v0(record: &SyncRecord) -> String {
    let (number, flags) = (record.protocol.number(), record.flags.bits());
    assert_eq!((record.mark, record.timeout_secs), (0, 0));
    format!("res 0 proto {number} {} flags {flags:#x} state {}", ends(record), record.state)
}

fn ends(record: &SyncRecord) -> String {
    let end = |end: SocketAddr| format!("{}:{}", end.ip(), end.port());
    let ends = &record.ends;
    format!("{} -> {} -> {}", end(ends.client()), end(ends.vip()), end(ends.server()))
}

#[test]
fn masters_messages_read_as_decoded() {
    let transcript = recorded::transcript();
    let mut sections = recorded::sections(&transcript, 4);
    for (name, bytes) in masters() {
        let at = sections.iter().position(|section| section.name == name).expect("it is decoded");
        let told = sections.swap_remove(at).lines;
        let lines = decoded(&bytes);
        let (before, after) = match told.iter().position(|line| line.trim() == "...") {
            Some(left_out) => (&told[..left_out], &told[left_out + 1..]),
            None => (&told[..], &[][..]),
        };
        assert!(!after.is_empty() || before.len() == lines.len(), "{name}");
        assert_eq!(lines[..before.len()], *before, "{name}");
        assert_eq!(lines[lines.len() - after.len()..], *after, "{name}");
    }
    assert!(sections.is_empty());
}

#[test]
fn masters_messages_are_written_byte_for_byte() {
    for (name, bytes) in masters() {
        let message = parsed(&bytes);
        let mut writer = SyncWriter::new(SYNCID, MESSAGE_LEN_DEFAULT);
        for record in records(&message) {
            assert!(writer.push(&record), "{name}");
        }
        match message.version {
            SyncVersion::V1 => assert_eq!(writer.bytes(), bytes, "{name}"),
            SyncVersion::V0 => assert_eq!(writer.count(), message.count, "{name}"),
        }
    }
}

/// A full message of a kernel has no room for another of its records.
#[test]
fn messages_are_as_full_as_a_kernels() {
    for name in ["master-full-40.hex", "master-full6-20.hex"] {
        let bytes = recorded::message(name);
        let mut writer = SyncWriter::new(SYNCID, MESSAGE_LEN_DEFAULT);
        let records = records(&parsed(&bytes));
        records.iter().for_each(|record| assert!(writer.push(record)));
        assert!(!writer.push(&records[0]), "{name}");
        assert_eq!(writer.bytes(), bytes, "{name}");
    }
}

/// Flags, number of the state and timeout of each record follow from protocol, ends and state of the connection.
#[test]
fn connections_get_a_kernels_flags_and_timeouts() {
    let mut connections = 0;
    for (name, bytes) in masters() {
        if parsed(&bytes).version == SyncVersion::V0 {
            continue;
        }
        for record in records(&parsed(&bytes)) {
            let same = match record.conn_state() {
                Some(state) => {
                    let directrix::sync::SyncProtocol::Service(protocol) = record.protocol else { panic!() };
                    SyncRecord::connection(protocol, record.ends, state, &Timeouts::default())
                }
                None => SyncRecord::template(record.protocol, record.ends, PERSISTENCE),
            };
            // A template is not assured before the client's second packet.
            let state = if record.is_template() { record.state } else { same.state };
            assert_eq!(SyncRecord { state, ..same.with_mark(record.mark) }, record, "{name}");
            connections += usize::from(record.conn_state().is_some());
        }
    }
    assert!(connections > 100, "{connections}");
}

#[test]
fn a_synced_connection_says_so() {
    let bytes = recorded::message("master-tcp-established.hex");
    let record = records(&parsed(&bytes))[0];
    assert_eq!(record.synced().flags.bits(), 0xa3);
    assert!(record.synced().flags.has(SyncFlags::SYNCED) && record.synced().is_active());
}
