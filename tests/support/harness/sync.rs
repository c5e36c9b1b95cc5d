//! Check of the reader of sync messages: against `ip_vs_process_message` read naively, and against the writer.

use directrix::sync::{
    MESSAGE_LEN_MAX, SyncExtension, SyncFlags, SyncIdFilter, SyncMessage, SyncRecord, SyncRefusal,
    SyncVersion, SyncWriter,
};

const OWN: u8 = 7;
const V1: usize = 8;
const V0: usize = 4;
const ENGINE_DATA: u8 = 2;

/// Checks a message of which the bits of the first byte make fields right, which random bytes rarely are.
pub fn check_dressed(input: &[u8]) {
    let Some((&dress, bytes)) = input.split_first() else { return };
    let mut message = bytes.to_vec();
    message.truncate(MESSAGE_LEN_MAX.into());
    let size = message.len() as u16;
    if dress & 1 != 0 && message.len() >= V1 {
        message[..4].copy_from_slice(&[0, OWN, (size >> 8) as u8, size as u8]);
        message[5..V1].copy_from_slice(&[1, 0, 0]);
        if dress & 8 != 0 {
            dress_extension(&mut message);
        } else if dress & 2 != 0 {
            dress_records(&mut message, dress & 4 != 0);
        }
    } else if dress & 2 != 0 && message.len() >= V0 {
        message[1..V0].copy_from_slice(&[OWN, (size >> 8) as u8, size as u8]);
    }
    check(&message);
}

/// Makes a message between directrix alone, mostly of a known kind.
fn dress_extension(message: &mut [u8]) {
    message[4] = 0;
    if let Some([magic @ .., version, kind]) = message.get_mut(V1..V1 + 6) {
        magic.copy_from_slice(b"DXSY");
        (*version, *kind) = (1, *kind & 3);
    }
    if let Some([role, _, high, low]) = message.get_mut(V1 + 28..V1 + 32) {
        (*role, *high, *low) = (*role & 7, 0, *low & 64);
    }
}

/// Gives records sizes that follow each other: those of their family and, with `options`, up to 15 bytes more.
fn dress_records(message: &mut [u8], options: bool) {
    let (mut at, mut count) = (V1, 0_u8);
    while message.len() >= at + 36 && count < u8::MAX {
        message[at] &= 1;
        message[at + 1] = [6, 17, 132, 0, 50, 51, 6, message[at + 1]][usize::from(message[at + 1] & 7)];
        let more = if options { usize::from(message[at + 3] & 15) } else { 0 };
        let size = [36, 72][usize::from(message[at])] + more;
        (message[at + 2], message[at + 3]) = (0, size as u8);
        message[at + 8] = 0;
        message[at + 9] &= 15;
        at = (at + size).next_multiple_of(4);
        count += 1;
    }
    message[4] = count;
}

/// Checks one message.
pub fn check(message: &[u8]) {
    for filter in [SyncIdFilter::Exactly(OWN), SyncIdFilter::Any] {
        let parsed = SyncMessage::parse(message, filter);
        let expected = header(message, filter);
        assert_eq!(
            parsed.map(|of| (of.version, of.count, of.extension().is_some())),
            expected,
            "{message:02x?}"
        );
        if let Ok(parsed) = parsed {
            check_records(message, &parsed);
            parsed.extension().into_iter().for_each(check_extension);
        }
    }
}

fn check_records(message: &[u8], parsed: &SyncMessage<'_>) {
    let found: Vec<_> = parsed.records().collect();
    let expected = match parsed.version {
        SyncVersion::V0 => records_v0(message),
        SyncVersion::V1 => records_v1(message),
    };
    let seen: Vec<_> = found.iter().map(|of| of.as_ref().map(fields).map_err(|refusal| *refusal)).collect();
    assert_eq!(seen, expected, "{message:02x?}");
    let accepted: Vec<_> = found.iter().flatten().copied().collect();
    let mut writer = SyncWriter::new(parsed.syncid, MESSAGE_LEN_MAX);
    accepted.iter().for_each(|record| assert!(writer.push(record)));
    let again =
        SyncMessage::parse(writer.bytes(), SyncIdFilter::Exactly(parsed.syncid)).expect("it is right");
    assert!(again.records().eq(accepted.iter().map(|record| Ok(*record))), "{message:02x?}");
    if is_plain(message, &accepted) {
        assert_eq!(writer.bytes(), message);
    }
}

/// A message between directrix alone is written as it was read, but for fields of later versions.
fn check_extension(body: &[u8]) {
    let Ok(extension) = SyncExtension::parse(body) else { return };
    let mut bytes = Vec::new();
    extension.write(OWN, &mut bytes);
    let again = SyncMessage::parse(&bytes, SyncIdFilter::Exactly(OWN)).expect("it is right");
    assert_eq!(SyncExtension::parse(again.extension().expect("no records")), Ok(extension));
}

/// True for a message of version 1 that has nothing which the writer leaves out: options, flags of the kernel alone, other types of IPv6,
/// bytes behind the last record.
fn is_plain(message: &[u8], accepted: &[SyncRecord]) -> bool {
    if message[0] != 0 || accepted.len() != usize::from(message[4]) {
        return false;
    }
    let mut at = V1;
    for record in accepted {
        let is_v6 = record.ends.client().is_ipv6();
        let size = if is_v6 { 72 } else { 36 };
        let plain = message[at] == u8::from(is_v6) && word(message, at + 2) == size;
        if !plain || SyncFlags::from_bits(long(message, at + 4)).bits() != long(message, at + 4) {
            return false;
        }
        at += usize::from(size);
    }
    at == message.len()
}

type Header = (SyncVersion, u8, bool);

fn header(message: &[u8], filter: SyncIdFilter) -> Result<Header, SyncRefusal> {
    if message.len() < V0 {
        Err(SyncRefusal::TooShort)
    } else if usize::from(word(message, 2)) != message.len() {
        Err(SyncRefusal::Size)
    } else if filter == SyncIdFilter::Exactly(OWN) && message[1] != OWN {
        Err(SyncRefusal::SyncId)
    } else if message[0] > 0 {
        Ok((SyncVersion::V0, message[0], false))
    } else if message.len() < V1 {
        Err(SyncRefusal::TooShort)
    } else if message[5..V1] != [1, 0, 0] {
        Err(SyncRefusal::HeaderVersion)
    } else {
        Ok((SyncVersion::V1, message[4], message[4] == 0 && message.len() > V1))
    }
}

/// Protocol, ends, flags, state, mark and timeout: as they lie in the message.
type Fields = (u8, Vec<u8>, u32, u16, u32, u32);

fn fields(record: &SyncRecord) -> Fields {
    let ends = [record.ends.client(), record.ends.vip(), record.ends.server()];
    let addresses = ends.iter().flat_map(|end| match end.ip() {
        std::net::IpAddr::V4(address) => address.octets().to_vec(),
        std::net::IpAddr::V6(address) => address.octets().to_vec(),
    });
    let bytes = ends.iter().flat_map(|end| end.port().to_be_bytes()).chain(addresses).collect();
    let flags = record.flags.bits();
    (record.protocol.number(), bytes, flags, record.state.into(), record.mark, record.timeout_secs)
}

fn records_v0(message: &[u8]) -> Vec<Result<Fields, SyncRefusal>> {
    let (mut found, mut at) = (Vec::new(), V0);
    for _ in 0..message[0] {
        if at + 24 > message.len() {
            found.push(Err(SyncRefusal::MissingRecord));
            break;
        }
        let flags = word(message, at + 20);
        let len = if flags & 0x600 == 0 { 24 } else { 48 };
        if at + len > message.len() {
            found.push(Err(SyncRefusal::RecordPastEnd));
            break;
        }
        let ends = [&message[at + 2..at + 8], &message[at + 8..at + 20]].concat();
        let content = (message[at + 1], ends, u32::from(flags), word(message, at + 22), 0, 0);
        found.push(judged(content));
        at += len;
    }
    found
}

fn records_v1(message: &[u8]) -> Vec<Result<Fields, SyncRefusal>> {
    let (mut found, mut at) = (Vec::new(), V1);
    for _ in 0..message[4] {
        if at + 36 > message.len() {
            found.push(Err(SyncRefusal::MissingRecord));
            break;
        }
        let (version, size) = (word(message, at + 2) >> 12, usize::from(word(message, at + 2) & 0xfff));
        if at + size > message.len() || version != 0 {
            let past = at + size > message.len();
            found.push(Err(if past { SyncRefusal::RecordPastEnd } else { SyncRefusal::RecordVersion }));
            break;
        }
        let read = record_v1(message, at, at + size);
        let ends_here = read.is_err_and_ends();
        found.push(read);
        if ends_here {
            break;
        }
        at += size + (4 - size % 4) % 4;
    }
    found
}

trait EndsMessage {
    fn is_err_and_ends(&self) -> bool;
}

impl EndsMessage for Result<Fields, SyncRefusal> {
    fn is_err_and_ends(&self) -> bool {
        use SyncRefusal::{PersistenceEngine, Protocol, State, UnknownOption};
        self.as_ref().is_err_and(|of| ![UnknownOption, Protocol, State, PersistenceEngine].contains(of))
    }
}

fn record_v1(message: &[u8], at: usize, end: usize) -> Result<Fields, SyncRefusal> {
    let is_v6 = message[at] & 1 != 0;
    // Of size 0 its type is not its own.
    if end > at && !is_v6 && message[at] != 0 {
        return Err(SyncRefusal::RecordType);
    }
    let fixed = if is_v6 { 72 } else { 36 };
    if at + fixed > end {
        return Err(SyncRefusal::RecordSize);
    }
    let known = options(&message[at + fixed..end])?;
    let ends = [&message[at + 10..at + 16], &message[at + 24..at + fixed]].concat();
    let (flags, state) = (long(message, at + 4), word(message, at + 8));
    let content = (message[at + 1], ends, flags, state, long(message, at + 16), long(message, at + 20));
    let judged = judged(content)?;
    if known.contains(&ENGINE_DATA) { Err(SyncRefusal::PersistenceEngine) } else { Ok(judged) }
}

fn options(bytes: &[u8]) -> Result<Vec<u8>, SyncRefusal> {
    let (mut at, mut known) = (0, Vec::new());
    while at < bytes.len() {
        let kind = bytes[at];
        let Some(&len) = bytes.get(at + 1) else { return Err(SyncRefusal::OptionCut) };
        if len == 0 || at + 2 + usize::from(len) > bytes.len() {
            return Err(SyncRefusal::OptionLength);
        }
        match kind & 0xbf {
            number @ 1..=3 => {
                if number == 1 && len != 24 || number == 3 && len > 16 {
                    return Err(SyncRefusal::OptionSize);
                }
                if known.contains(&number) {
                    return Err(SyncRefusal::OptionTwice);
                }
                known.push(number);
            }
            _ if kind & 0x40 == 0 => return Err(SyncRefusal::UnknownOption),
            _ => {}
        }
        at += 2 + usize::from(len);
    }
    Ok(known)
}

/// The record as it is kept, if its protocol and state are right.
fn judged(fields: Fields) -> Result<Fields, SyncRefusal> {
    let (protocol, ends, flags, state, mark, timeout) = fields;
    let is_template = flags & 0x1000 != 0;
    let states = match protocol {
        0 | 6 | 17 | 50 | 51 | 132 if is_template => 2,
        6 => 11,
        132 => 14,
        17 | 50 | 51 => 1,
        _ => return Err(SyncRefusal::Protocol),
    };
    if state >= states {
        return Err(SyncRefusal::State);
    }
    Ok((protocol, ends, flags & 0x19a7, state, mark, timeout))
}

fn word(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

fn long(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap())
}
