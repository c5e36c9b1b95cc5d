//! Causes of failed handshakes, by the health checks that pass beside them.

/// Health checks of a server beside its handshakes, as far as they pass. The later ones say more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum PassingChecks {
    /// It has none over the network, or they fail: their own cause is the one.
    #[default]
    None,
    /// Of the RIP alone.
    OfRip,
    /// Of the VIP, too.
    OfVip,
}

impl PassingChecks {
    /// The cause with its remedy, to follow the numbers of a server that the others of its service are better than.
    /// `silent`: its clients repeat their SYNs.
    pub(super) fn of_server(self, silent: bool) -> &'static str {
        match (self, silent) {
            (Self::None, _) => "",
            (Self::OfRip, _) => {
                "; its health checks of the RIP do not fail, and say nothing about the VIP: run there: directrix realserver check"
            }
            (Self::OfVip, true) => {
                "; its health checks of the VIP do not fail: it answers this director, and its SYN-ACKs do not reach the clients; \
                 look there for a firewall (nft list ruleset), for the way to them (ip route get CLIENT from VIP), and for a full \
                 listen queue (nstat -az TcpExtListenOverflows)"
            }
            (Self::OfVip, false) => {
                "; its health checks of the VIP do not fail: look there for a firewall that refuses the clients (nft list ruleset)"
            }
        }
    }

    /// The cause with its remedy, to follow the numbers of a service with most of whose servers handshakes fail.
    pub(super) fn of_service(self, silent: bool) -> &'static str {
        match (self, silent) {
            (_, false) => ": a flood of SYNs from forged addresses, or clients that are refused",
            (Self::OfVip, true) => {
                ": no SYN-ACK reaches the clients, although the health checks of the VIP do not fail; see to the way back: the \
                 gateway of the real servers (there: ip route get CLIENT from VIP), and firewalls behind it, which drop the \
                 SYN-ACK of a connection whose SYN they have not seen"
            }
            (_, true) => {
                ": no SYN-ACK reaches the clients; run on the servers: directrix realserver check, and see to the way back: their \
                 gateway, and firewalls behind it, which drop the SYN-ACK of a connection whose SYN they have not seen"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::PassingChecks::{None, OfRip, OfVip};
    use super::*;

    #[test]
    fn each_cause_has_a_remedy_of_its_own() {
        let of_server = [(OfRip, true), (OfVip, true), (OfVip, false)];
        let of_service = [(None, false), (None, true), (OfVip, true)];
        let mut texts: Vec<_> = of_server.iter().map(|(checks, silent)| checks.of_server(*silent)).collect();
        texts.extend(of_service.iter().map(|(checks, silent)| checks.of_service(*silent)));
        assert!(texts.iter().all(|text| text.contains(':')), "{texts:?}");
        texts.sort_unstable();
        texts.dedup();
        assert_eq!(texts.len(), 6);
        assert_eq!(
            [true, false].map(|silent| None.of_server(silent)),
            [""; 2],
            "the checks have their own causes"
        );
        assert_eq!(OfRip.of_service(true), None.of_service(true));
    }

    #[test]
    fn a_service_is_as_its_least_checked_server() {
        assert_eq!([OfVip, OfRip, OfVip].into_iter().min(), Some(OfRip));
        assert!(PassingChecks::default() == None && None < OfRip);
    }
}
