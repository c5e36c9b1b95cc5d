//! Protocols of sync records.

use crate::wire::Protocol;

/// Protocol of a record: one of a virtual service, or another of IPVS's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SyncProtocol {
    /// TCP, UDP or SCTP.
    Service(Protocol),
    /// Authentication header, which directrix has no services for.
    Ah,
    /// Encapsulating security payload, which directrix has no services for.
    Esp,
    /// None: of the template of a group, whose VIP is its firewall mark.
    Mark,
}

impl SyncProtocol {
    const AH: u8 = 51;
    const ESP: u8 = 50;
    const MARK: u8 = 0;

    /// Number in a record.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Service(protocol) => protocol as u8,
            Self::Ah => Self::AH,
            Self::Esp => Self::ESP,
            Self::Mark => Self::MARK,
        }
    }

    /// The protocol with this number; `None` if IPVS has none.
    #[must_use]
    pub const fn of(number: u8) -> Option<Self> {
        match number {
            Self::AH => Some(Self::Ah),
            Self::ESP => Some(Self::Esp),
            Self::MARK => Some(Self::Mark),
            number => match Protocol::of(number) {
                Some(protocol) => Some(Self::Service(protocol)),
                None => None,
            },
        }
    }
}

impl From<Protocol> for SyncProtocol {
    fn from(protocol: Protocol) -> Self {
        Self::Service(protocol)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protocols_are_found_by_their_number() {
        let known: Vec<_> = (0..=u8::MAX).filter_map(SyncProtocol::of).collect();
        assert_eq!(known.iter().map(|of| of.number()).collect::<Vec<_>>(), [0, 6, 17, 50, 51, 132]);
    }
}
