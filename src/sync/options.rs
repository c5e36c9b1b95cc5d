//! Options of a record of version 1: type, length of the data, data.

use super::SyncRefusal;

/// Bit of a type that lets a receiver skip an option it does not have.
const OPTIONAL: u8 = 0x40;
const SEQUENCES: u8 = 1;
const ENGINE_DATA: u8 = 2;
const ENGINE_NAME: u8 = 3;

/// Two sets of three sequence numbers.
const SEQUENCES_LEN: usize = 24;
/// Longest name of a persistence engine (`IP_VS_PENAME_MAXLEN`).
const ENGINE_NAME_LEN_MAX: usize = 16;

/// Reads the options of a record in the kernel's order of tests. Their content means nothing to direct routing.
///
/// # Errors
/// The first that is wrong. A record with data of a persistence engine passes, see [`SyncOptions`].
pub(super) fn read(mut rest: &[u8]) -> Result<SyncOptions, SyncRefusal> {
    let mut found = SyncOptions::default();
    while let [kind, more @ ..] = rest {
        let (len, more) = more.split_first().ok_or(SyncRefusal::OptionCut)?;
        let len = usize::from(*len);
        if len == 0 || len > more.len() {
            return Err(SyncRefusal::OptionLength);
        }
        found.take(*kind, len)?;
        rest = &more[len..];
    }
    Ok(found)
}

/// The known options of a record.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SyncOptions {
    sequences: bool,
    engine_name: bool,
    /// The connection was found by the data of a persistence engine.
    pub(super) engine_data: bool,
}

impl SyncOptions {
    fn take(&mut self, kind: u8, len: usize) -> Result<(), SyncRefusal> {
        let (seen, fits) = match kind & !OPTIONAL {
            SEQUENCES => (&mut self.sequences, len == SEQUENCES_LEN),
            ENGINE_DATA => (&mut self.engine_data, true),
            ENGINE_NAME => (&mut self.engine_name, len <= ENGINE_NAME_LEN_MAX),
            _ if kind & OPTIONAL == 0 => return Err(SyncRefusal::UnknownOption),
            _ => return Ok(()),
        };
        match fits {
            false => Err(SyncRefusal::OptionSize),
            true if std::mem::replace(seen, true) => Err(SyncRefusal::OptionTwice),
            true => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_option_ends_the_search_for_faults_behind_it() {
        let refusal = |options: &[u8]| read(options).err();
        assert_eq!(refusal(&[0x0a, 1, 0, 0x4a, 0]), Some(SyncRefusal::UnknownOption));
        assert_eq!(refusal(&[0x4a, 1, 0, 0x4a, 0]), Some(SyncRefusal::OptionLength));
        assert_eq!(refusal(&[0x4a, 1, 0, 0x4a]), Some(SyncRefusal::OptionCut));
        assert_eq!(refusal(&[0x4a, 1, 0]), None);
    }

    #[test]
    fn names_of_engines_have_16_bytes_at_most() {
        let named = |len: u8| [vec![ENGINE_NAME, len], vec![b'a'; len.into()]].concat();
        assert!(read(&named(16)).is_ok());
        assert_eq!(read(&named(17)).err(), Some(SyncRefusal::OptionSize));
    }
}
