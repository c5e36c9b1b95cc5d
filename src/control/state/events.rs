//! The latest events, in a ring.

use crate::control::api::events::{Event, EventSource};
use crate::model::{Difference, ServiceIdentity};
use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::SystemTime;

/// Events that are kept.
const EVENTS_MAX: usize = 1024;
/// Events of one change or reload; the rest is a number, so that a large reload leaves the history of failures.
const OF_CHANGE_MAX: usize = 32;

/// The latest events.
#[derive(Debug, Default)]
pub(in crate::control) struct EventRing {
    next: u64,
    events: VecDeque<Event>,
}

/// Subject of an event: a service, a real server, both, or neither for the director.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::control) struct EventSubject {
    pub(in crate::control) service: Option<ServiceIdentity>,
    pub(in crate::control) server: Option<IpAddr>,
}

impl EventSubject {
    /// A real server in all its services.
    pub(in crate::control) fn server(rip: IpAddr) -> Self {
        Self { service: None, server: Some(rip) }
    }

    pub(in crate::control) fn service(service: ServiceIdentity) -> Self {
        Self { service: Some(service), server: None }
    }

    /// A real server in one service.
    pub(in crate::control) fn both(service: ServiceIdentity, rip: IpAddr) -> Self {
        Self { service: Some(service), server: Some(rip) }
    }

    /// The subject of a difference.
    fn of(difference: &Difference) -> Self {
        match *difference {
            Difference::Service(service, _)
            | Difference::NoService(service, _)
            | Difference::Settings(service, _) => Self::service(service),
            Difference::Server(service, ref server) => Self::both(service, server.address),
            Difference::NoServer(service, rip) | Difference::ServerSettings(service, rip, _) => {
                Self::both(service, rip)
            }
            Difference::KnownGroup(..) | Difference::Timeouts(_) | Difference::Policy(_) => Self::default(),
        }
    }
}

impl EventRing {
    /// Adds an event as of now, and drops the oldest if there are too many.
    pub(in crate::control) fn add(&mut self, by: EventSource, subject: EventSubject, text: String) {
        self.push(Event { by, text, ..blank(subject) });
    }

    /// Adds an event of the health check `check`.
    pub(in crate::control) fn add_check(&mut self, rip: IpAddr, check: String, text: String) {
        let subject = EventSubject::server(rip);
        self.push(Event { check: Some(check), text, ..blank(subject) });
    }

    /// Adds an event for each difference that `origin` made, up to [`OF_CHANGE_MAX`].
    pub(in crate::control) fn add_changes(&mut self, differences: &[Difference], origin: &str) {
        for difference in differences.iter().take(OF_CHANGE_MAX) {
            let text = format!("{difference}, by {origin}");
            self.add(EventSource::Operator, EventSubject::of(difference), text);
        }
        let rest = differences.len().saturating_sub(OF_CHANGE_MAX);
        if rest > 0 {
            let text = format!("{rest} more changes, by {origin}: see the log");
            self.add(EventSource::Operator, EventSubject::default(), text);
        }
    }

    pub(in crate::control) fn latest(&self) -> Option<&Event> {
        self.events.back()
    }

    /// All events, the oldest first.
    pub(in crate::control) fn list(&self) -> Vec<Event> {
        self.events.iter().cloned().collect()
    }

    fn push(&mut self, event: Event) {
        if self.events.len() == EVENTS_MAX {
            self.events.pop_front();
        }
        self.events.push_back(Event { number: self.next, ..event });
        self.next += 1;
    }
}

fn blank(EventSubject { service, server }: EventSubject) -> Event {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let time_ms = since.as_millis() as u64; // enough for 584 million years
    Event { number: 0, time_ms, by: EventSource::Check, service, server, check: None, text: String::new() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{RealServer, ServiceAddress, Weight};
    use crate::wire::Protocol;

    fn service() -> ServiceIdentity {
        ServiceAddress { protocol: Protocol::Tcp, address: ([192, 0, 2, 1], 80).into() }.into()
    }

    fn rip(host: u8) -> IpAddr {
        [192, 0, 2, host].into()
    }

    #[test]
    fn the_ring_keeps_the_latest_and_counts_all() {
        let mut ring = EventRing::default();
        for number in 0..EVENTS_MAX + 3 {
            ring.add(EventSource::Arp, EventSubject::server(rip(7)), number.to_string());
        }
        let events = ring.list();
        assert_eq!(events.len(), EVENTS_MAX);
        let ends = [&events[0], &events[EVENTS_MAX - 1]];
        assert_eq!(ends.map(|event| event.number), [3, EVENTS_MAX as u64 + 2]);
        assert_eq!(ends.map(|event| event.text.as_str()), ["3", "1026"]);
        assert!(events.is_sorted_by_key(|event| event.time_ms));
    }

    #[test]
    fn changes_are_about_their_service_and_server() {
        let mut ring = EventRing::default();
        let changes = [
            Difference::ServerSettings(service(), rip(7), "weight 1 -> 0".into()),
            Difference::Settings(service(), "panic 50 -> 0".into()),
            Difference::Timeouts("udp 300 -> 10".into()),
        ];
        ring.add_changes(&changes, "SIGHUP");
        let events = ring.list();
        assert_eq!(events[0].text, "~ TCP 192.0.2.1:80 -> 192.0.2.7: weight 1 -> 0, by SIGHUP");
        let concerned =
            |host| events.iter().map(|event| event.concerns(service(), rip(host))).collect::<Vec<_>>();
        assert_eq!(concerned(7), [true; 3]);
        assert_eq!(concerned(8), [false, true, true]);
    }

    #[test]
    fn a_large_reload_does_not_displace_the_history() {
        let mut ring = EventRing::default();
        ring.add_check(rip(7), "tcp port 80".into(), "192.0.2.7:80 is refused".into());
        let added = |n: u32| {
            let server = RealServer::new(std::net::Ipv4Addr::from_bits(n).into(), Weight(1));
            Difference::Server(service(), server)
        };
        ring.add_changes(&(0..5_000).map(added).collect::<Vec<_>>(), "SIGHUP");
        let events = ring.list();
        assert_eq!(events.len(), 1 + OF_CHANGE_MAX + 1);
        assert_eq!(events[0].check.as_deref(), Some("tcp port 80"));
        assert_eq!(events.last().unwrap().text, "4968 more changes, by SIGHUP: see the log");
    }
}
