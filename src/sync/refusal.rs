//! Reasons for refusing a sync message or a part of it, each with a name, a counter and an explanation.

use crate::stats::Counter;

/// Part of a message that a refusal costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalScope {
    /// The whole message.
    Message,
    /// This record and all behind it: where the next one begins is uncertain. Records before it stand.
    Rest,
    /// This record alone.
    Record,
}

macro_rules! refusals {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal, $scope:ident;)+) => {
        /// Reason for refusing a sync message, its rest or a record. The discriminant indexes the counters.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum SyncRefusal {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl SyncRefusal {
            /// All reasons, in the order of the counters.
            pub const ALL: &'static [SyncRefusal] = &[$(Self::$variant,)+];

            /// Name in listings and metrics.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// Explanation for operators.
            #[must_use]
            pub const fn explanation(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc,)+).trim_ascii(),)+ }
            }

            /// Part of the message that is lost.
            #[must_use]
            pub const fn scope(self) -> RefusalScope {
                match self { $(Self::$variant => RefusalScope::$scope,)+ }
            }
        }
    };
}

refusals! {
    /// The datagram is shorter than a header.
    TooShort = "too_short", Message;
    /// The size in the header is not the length of the datagram: it was cut, or is no sync message.
    Size = "size", Message;
    /// The message has another syncid.
    SyncId = "syncid", Message;
    /// The header is neither that of version 1 nor of version 0.
    HeaderVersion = "header_version", Message;
    /// The sender is none of the configured peers.
    Peer = "peer", Message;
    /// More senders than are kept apart have been heard within a minute.
    Peers = "peers", Message;
    /// The sender has sent more messages than the limit of a second.
    Rate = "rate", Message;
    /// This director has sent the message itself: it came back in a loop, or another one has its boot id.
    Own = "own", Message;
    /// A message without records that is not directrix's.
    ForeignExtension = "foreign_extension", Message;
    /// A message of directrix of a later version or an unknown kind.
    ExtensionKind = "extension_kind", Message;
    /// A message of directrix ends before its last field.
    ExtensionCut = "extension_cut", Message;
    /// The message ends before its last record: fewer are there than the header says.
    MissingRecord = "missing_record", Rest;
    /// A record is longer than the rest of the message.
    RecordPastEnd = "record_past_end", Rest;
    /// A record has a version other than 0.
    RecordVersion = "record_version", Rest;
    /// A record's type is neither IPv4 nor IPv6.
    RecordType = "record_type", Rest;
    /// A record's size is below that of its fixed fields.
    RecordSize = "record_size", Rest;
    /// An option of a record ends before its length.
    OptionCut = "option_cut", Rest;
    /// An option's length is 0, or reaches past the record.
    OptionLength = "option_length", Rest;
    /// A known option has a length that it cannot have.
    OptionSize = "option_size", Rest;
    /// A record has a known option twice.
    OptionTwice = "option_twice", Rest;
    /// A record has an unknown option that is not optional.
    UnknownOption = "unknown_option", Record;
    /// The protocol is none of IPVS's.
    Protocol = "protocol", Record;
    /// The protocol has no such state.
    State = "state", Record;
    /// The entry had itself come by sync, and is part of an answer of directrix to another director.
    SecondHand = "second_hand", Record;
    /// The record is of a persistence engine, such as that of SIP, which directrix has none of.
    PersistenceEngine = "persistence_engine", Record;
    /// This director has no virtual service of the record's protocol, VIP and port.
    NoService = "no_service", Record;
    /// The virtual service has no such real server.
    NoServer = "no_server", Record;
    /// The connection is not confirmed by its client.
    Unconfirmed = "unconfirmed", Record;
    /// This director knows better: the connection is in the table of a worker, or the template has another server.
    Older = "older", Record;
    /// The shadow table is full.
    TableFull = "table_full", Record;
}

/// Counters of refusals: one writer, any number of readers.
#[derive(Debug, Default)]
pub struct SyncRefusals([Counter; SyncRefusal::ALL.len()]);

impl SyncRefusals {
    /// Counts one refusal.
    pub fn count(&self, refusal: SyncRefusal) {
        self.of(refusal).add(1);
    }

    /// The counter of `refusal`.
    #[must_use]
    pub fn of(&self, refusal: SyncRefusal) -> &Counter {
        &self.0[refusal as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_has_its_own_counter_and_explanation() {
        let counters = SyncRefusals::default();
        for (index, refusal) in SyncRefusal::ALL.iter().enumerate() {
            assert_eq!(*refusal as usize, index);
            assert!(refusal.explanation().ends_with('.'), "{}", refusal.explanation());
            assert_eq!(SyncRefusal::ALL.iter().filter(|of| of.name() == refusal.name()).count(), 1);
            counters.count(*refusal);
        }
        assert!(SyncRefusal::ALL.iter().all(|refusal| counters.of(*refusal).get() == 1));
    }
}
