//! Messages made by hand: what is accepted of each makes the entries that a kernel backup made, and what is not has the
//! reason for which the kernel dropped it.

use super::recorded::{self, Section};
use directrix::model::Timeouts;
use directrix::sync::{
    RefusalScope, SyncFlags, SyncIdFilter, SyncMessage, SyncProtocol, SyncRecord, SyncRefusal,
};
use directrix::time::Span;
use directrix::wire::Protocol;
use std::collections::BTreeMap;
use std::net::SocketAddr;

const OWN: SyncIdFilter = SyncIdFilter::Exactly(7);
/// Bytes of a kernel's receive buffer: it cuts a longer datagram.
const BUFFER: usize = 1472;

/// The refusals of each message by its number; all other messages have none.
const REFUSALS: [(u8, SyncRefusal); 21] = [
    (10, SyncRefusal::UnknownOption),
    (11, SyncRefusal::OptionLength),
    (12, SyncRefusal::OptionLength),
    (13, SyncRefusal::OptionSize),
    (15, SyncRefusal::PersistenceEngine),
    (16, SyncRefusal::OptionTwice),
    (18, SyncRefusal::RecordType),
    (19, SyncRefusal::RecordVersion),
    (20, SyncRefusal::RecordSize),
    (21, SyncRefusal::Protocol),
    (22, SyncRefusal::State),
    (23, SyncRefusal::MissingRecord),
    (25, SyncRefusal::SyncId),
    (26, SyncRefusal::Size),
    (27, SyncRefusal::Size),
    (28, SyncRefusal::HeaderVersion),
    (29, SyncRefusal::HeaderVersion),
    (30, SyncRefusal::Size),
    (50, SyncRefusal::State),
    (59, SyncRefusal::TooShort),
    (60, SyncRefusal::TooShort),
];
/// Sent to the backup's own address, which its socket is not bound to.
const NOT_RECEIVED: u8 = 58;
/// The entry of message 40, which lives for 5 s, has expired before this message.
const SHORT_LIVED_UNTIL: u8 = 51;
/// Its 40 entries are not all listed.
const ONLY_COUNTED: u8 = 31;

/// Texts of the kernel's log for refusals of the rest of a message, `ip_vs_process_message` and its helpers.
fn logged(refusal: SyncRefusal) -> Option<&'static str> {
    match refusal {
        SyncRefusal::MissingRecord | SyncRefusal::TooShort => Some("too small"),
        SyncRefusal::RecordVersion => Some("Unknown version 1"),
        SyncRefusal::RecordType => Some("Err: -10 in decoding"),
        SyncRefusal::RecordSize => Some("Err: -20 in decoding"),
        SyncRefusal::OptionLength => Some("Err: -40 in decoding"),
        SyncRefusal::OptionSize => Some("Err: -50 in decoding"),
        SyncRefusal::OptionTwice => Some("Err: -70 in decoding"),
        _ => None,
    }
}

/// Protocol, client and VIP, and whether it is a template.
type Key = (u8, SocketAddr, SocketAddr, bool);

/// The entries of a backup, by the rules of `ip_vs_proc_conn`.
#[derive(Default)]
struct Entries(BTreeMap<Key, SyncRecord>);

impl Entries {
    /// Returns the key of the entry that is now as the record says.
    fn apply(&mut self, record: &SyncRecord) -> Option<Key> {
        let ends = &record.ends;
        let key = (record.protocol.number(), ends.client(), ends.vip(), record.is_template());
        let elsewhere = self.0.get(&key).is_some_and(|entry| entry.ends.server() != ends.server());
        if elsewhere && record.flags.has(SyncFlags::INACTIVE) {
            return None;
        }
        self.0.insert(key, *record);
        Some(key)
    }

    /// Active and inactive connections of a server, if its service has it.
    fn counts(&self, protocol: u8, vip: SocketAddr, server: SocketAddr) -> (usize, usize) {
        let of = |(key, record): &(&Key, &SyncRecord)| {
            (key.0, key.2, key.3) == (protocol, vip, false) && record.ends.server() == server
        };
        let (active, inactive): (Vec<_>, Vec<_>) =
            self.0.iter().filter(of).partition(|(_, record)| record.is_active());
        (active.len(), inactive.len())
    }
}

/// A line of `ipvsadm -Lnc`: protocol, seconds left, state, and client, VIP and server.
fn listed(line: &str) -> Option<(Key, u32, &str, SocketAddr)> {
    let fields: Vec<_> = line.split_whitespace().collect();
    let [protocol, expire, state, client, vip, server] = fields[..] else { return None };
    let protocol = match protocol {
        "TCP" => 6,
        "UDP" => 17,
        "SCTP" => 132,
        "IP" => 0,
        _ => return None,
    };
    let (minutes, seconds) = expire.split_once(':')?;
    let left = minutes.parse::<u32>().ok()? * 60 + seconds.parse::<u32>().ok()?;
    let end = |text: &str| text.parse().expect("an address with a port");
    Some(((protocol, end(client), end(vip), state == "ASSURED"), left, state, end(server)))
}

struct Run {
    entries: Entries,
    number: u8,
    changed: Vec<Key>,
    refusals: Vec<SyncRefusal>,
}

impl Run {
    fn receive(&mut self, message: &[u8]) {
        (self.changed, self.refusals) = (Vec::new(), Vec::new());
        let message = match SyncMessage::parse(message, OWN) {
            Ok(message) => message,
            Err(refusal) => return self.refusals.push(refusal),
        };
        for record in message.records() {
            match record {
                Ok(record) => self.changed.extend(self.entries.apply(&record)),
                Err(refusal) => self.refusals.push(refusal),
            }
        }
    }

    fn agrees(&self, section: &Section<'_>) {
        let listed: Vec<_> = section.lines.iter().filter_map(|line| listed(line)).collect();
        for (key, left, state, server) in &listed {
            let entry = self.entries.0.get(key).unwrap_or_else(|| panic!("{}: no {key:?}", section.name));
            assert_eq!(entry.ends.server(), *server, "{}", section.name);
            assert_eq!(state_name(entry), *state, "{}", section.name);
            expires(entry, *left, section.name);
        }
        for key in &self.changed {
            let shown = listed.iter().any(|(of, ..)| of == key);
            assert!(shown || self.number == ONLY_COUNTED, "{}: {key:?}", section.name);
        }
        if section.lines.iter().any(|line| line.trim() == "(no entry)") {
            assert_eq!(self.changed, [], "{}", section.name);
        }
        section.lines.iter().filter(|line| line.contains("Active/InAct")).for_each(|line| self.counts(line));
        self.refused_alike(section);
    }

    fn refused_alike(&self, section: &Section<'_>) {
        let expected: Vec<_> =
            REFUSALS.iter().filter(|(number, _)| *number == self.number).map(|(_, of)| *of).collect();
        assert_eq!(self.refusals, expected, "{}", section.name);
        let log = section.lines.iter().find_map(|line| line.trim().strip_prefix("kernel: "));
        let texts: Vec<_> = self.refusals.iter().filter_map(|refusal| logged(*refusal)).collect();
        match log {
            Some(log) => assert!(texts.iter().any(|text| log.ends_with(text)), "{}: {log}", section.name),
            None => assert!(texts.is_empty(), "{}: {texts:?}", section.name),
        }
    }

    /// Compares a line `VIP:PORT Active/InAct: SERVER A/I, …`. Names of IPv6 servers are cut: their order counts.
    fn counts(&self, line: &str) {
        let (service, servers) = line.trim().split_once(" Active/InAct: ").unwrap();
        let Ok(vip) = service.parse::<SocketAddr>() else {
            return assert_eq!((service, servers), ("7", "192.168.195.170 0/0"));
        };
        let protocol = if vip.port() == 53 { Protocol::UDP } else { Protocol::TCP };
        let names = match vip.is_ipv4() {
            true => ["192.168.195.170", "192.168.195.171", "192.168.195.199"],
            false => ["fd00::170", "fd00::171", "fd00::199"],
        };
        for (name, counts) in names.iter().zip(servers.split(", ")) {
            let server = SocketAddr::new(name.parse().unwrap(), vip.port());
            let (active, inactive) = self.entries.counts(protocol, vip, server);
            assert!(
                counts.ends_with(&format!(" {active}/{inactive}")),
                "{}: {line}: {active}/{inactive}",
                self.number
            );
        }
    }
}

fn state_name(entry: &SyncRecord) -> &'static str {
    match entry.conn_state() {
        Some(state) => state.name(),
        None => ["NONE", "ASSURED"][usize::from(entry.state)],
    }
}

/// The listing is made within two seconds.
fn expires(entry: &SyncRecord, left: u32, name: &str) {
    let lifetime = entry.lifetime(&Timeouts::default());
    let fits =
        (left..=left + 2).contains(&lifetime.secs()) || lifetime == Span::MAX && left >= lifetime.secs();
    assert!(fits, "{name}: {lifetime:?}, {left} s in the listing");
}

#[test]
fn messages_by_hand_have_a_kernel_backups_effect() {
    let transcript = recorded::transcript();
    let sections = recorded::sections(&transcript, 3);
    let names = recorded::names("hand-");
    assert_eq!(names.len(), 60);
    let mut run = Run { entries: Entries::default(), number: 0, changed: Vec::new(), refusals: Vec::new() };
    for name in names {
        let bytes = recorded::message(&name);
        let (number, what) = name["hand-".len()..].trim_end_matches(".hex").split_once('-').unwrap();
        run.number = number.parse().unwrap();
        let title = format!("3.{} {what}", run.number);
        let section = sections.iter().find(|section| section.name == title);
        if run.number == NOT_RECEIVED {
            continue;
        }
        if run.number == SHORT_LIVED_UNTIL {
            run.entries.0.retain(|_, entry| entry.timeout_secs != 5);
        }
        run.receive(&bytes[..bytes.len().min(BUFFER)]);
        run.agrees(section.unwrap_or_else(|| panic!("no section {title}")));
    }
    assert_eq!(run.entries.0.len(), 103);
}

#[test]
fn a_receiver_of_every_syncid_takes_another_ones_message() {
    let bytes = recorded::message("hand-25-syncid-8.hex");
    let message = SyncMessage::parse(&bytes, SyncIdFilter::Any).unwrap();
    assert_eq!((message.syncid, message.records().filter(Result::is_ok).count()), (8, 1));
}

#[test]
fn only_messages_without_records_are_extensions() {
    let extension = |name: &str| {
        let bytes = recorded::message(name);
        SyncMessage::parse(&bytes, OWN).ok().and_then(|message| message.extension().map(<[u8]>::to_vec))
    };
    assert_eq!(extension("hand-04-extension.hex"), Some((0xd0..=0xdf).collect()));
    assert_eq!(extension("hand-05-empty.hex"), None);
    assert_eq!(extension("hand-24-trailing.hex"), None);
}

#[test]
fn a_longer_buffer_takes_what_a_kernel_cuts() {
    let bytes = recorded::message("hand-30-too-long.hex");
    let message = SyncMessage::parse(&bytes, OWN).unwrap();
    assert_eq!(message.records().filter(Result::is_ok).count(), 45);
}

#[test]
fn unknown_protocols_are_refused_of_templates_too() {
    let mut bytes = recorded::message("hand-03-template.hex");
    bytes[9] = 99;
    let message = SyncMessage::parse(&bytes, OWN).unwrap();
    assert_eq!(message.records().collect::<Vec<_>>(), [Err(SyncRefusal::Protocol)]);
    assert_eq!(SyncRefusal::Protocol.scope(), RefusalScope::Record);
    bytes[9] = 0;
    let message = SyncMessage::parse(&bytes, OWN).unwrap();
    assert_eq!(message.records().next().unwrap().unwrap().protocol, SyncProtocol::Mark);
}
