//! Names of connections for other directors: the numbers in keys and values to addresses, and back.

use crate::control::state::registry::{Registry, ServiceEntry};
use crate::flow::{AnyKey, Flow, V4Key, WideKey};
use crate::model::{
    FirewallMark, MatchDestination, MatchId, PortRange, ServerId, ServiceId, ServiceIdentity,
};
use crate::sync::{SyncEnds, SyncProtocol, SyncRecord, SyncRefusal};
use crate::wire::Protocol;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;

/// Names of all numbers that entries may have, and the numbers of present services and real servers.
#[derive(Debug, Default)]
pub struct SyncNames {
    matches: HashMap<MatchId, (MatchDestination, u32)>,
    servers: HashMap<ServerId, IpAddr>,
    services: HashMap<ServiceId, ServiceIdentity>,
    /// Present matches, those of several ports last.
    places: HashMap<(Protocol, IpAddr), Vec<NamedMatch>>,
    identities: HashMap<ServiceIdentity, ServiceId>,
    numbers: HashMap<(ServiceId, IpAddr), ServerId>,
}

#[derive(Clone, Copy, Debug)]
struct NamedMatch {
    ports: PortRange,
    id: MatchId,
    service: ServiceId,
    is_compact: bool,
}

/// Name of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionName {
    /// Protocol.
    pub protocol: Protocol,
    /// Client, VIP and real server.
    pub ends: SyncEnds,
    /// Firewall mark of the service; 0 without.
    pub mark: u32,
}

/// Numbers of a connection that a record names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NumberedConnection {
    /// Key in the tables.
    pub key: AnyKey,
    /// Real server.
    pub server: ServerId,
}

impl SyncNames {
    /// Returns the name of a connection; `None` if one of its numbers has none.
    #[must_use]
    pub fn connection(&self, flow: Flow, server: ServerId) -> Option<ConnectionName> {
        let (MatchDestination { protocol, vip, port }, mark) = *self.matches.get(&flow.match_id)?;
        let port = flow.port.or(port)?;
        let (client, server) = ((flow.client, flow.client_port), *self.servers.get(&server)?);
        let ends = SyncEnds::new(client.into(), (vip, port).into(), (server, port).into())?;
        Some(ConnectionName { protocol, ends, mark })
    }

    /// Returns the numbers of a connection.
    ///
    /// # Errors
    /// Neither service nor real server of this name is present.
    pub fn numbers(&self, record: &SyncRecord) -> Result<NumberedConnection, SyncRefusal> {
        let SyncProtocol::Service(protocol) = record.protocol else { return Err(SyncRefusal::NoService) };
        let (client, vip, rip) = (record.ends.client(), record.ends.vip(), record.ends.server().ip());
        let places = self.places.get(&(protocol, vip.ip())).ok_or(SyncRefusal::NoService)?;
        let mut of_port = places.iter().filter(|place| place.ports.contains(vip.port())).peekable();
        of_port.peek().ok_or(SyncRefusal::NoService)?;
        let found = of_port.find_map(|place| Some((place, *self.numbers.get(&(place.service, rip))?)));
        let (place, server) = found.ok_or(SyncRefusal::NoServer)?;
        let key = match client.ip() {
            IpAddr::V4(address) if place.is_compact => V4Key::new(address, client.port(), place.id).into(),
            address => WideKey::new(address, client.port(), place.id, vip.port()).into(),
        };
        Ok(NumberedConnection { key, server })
    }

    /// Returns protocol and ends of the template of a client's network.
    #[must_use]
    pub fn template(
        &self,
        network: IpAddr,
        service: ServiceId,
        server: ServerId,
    ) -> Option<(SyncProtocol, SyncEnds)> {
        let server = *self.servers.get(&server)?;
        let (protocol, vip) = match *self.services.get(&service)? {
            ServiceIdentity::Address(of) => (of.protocol.into(), of.address),
            ServiceIdentity::Mark(of) => (SyncProtocol::Mark, SyncEnds::of_mark(of.mark.get(), of.family)),
        };
        let ends = SyncEnds::new((network, 0).into(), vip, (server, vip.port()).into())?;
        Some((protocol, ends))
    }

    /// Returns service and real server of a template.
    ///
    /// # Errors
    /// As of [`SyncNames::numbers`].
    pub fn template_numbers(&self, record: &SyncRecord) -> Result<(ServiceId, ServerId), SyncRefusal> {
        let identity = template_service(record).ok_or(SyncRefusal::NoService)?;
        let service = *self.identities.get(&identity).ok_or(SyncRefusal::NoService)?;
        let server = self.numbers.get(&(service, record.ends.server().ip()));
        Ok((service, *server.ok_or(SyncRefusal::NoServer)?))
    }

    /// Iterates over the numbers of all real servers, also of removed ones.
    pub fn servers(&self) -> impl Iterator<Item = ServerId> {
        self.servers.keys().copied()
    }

    fn add(&mut self, entry: &ServiceEntry) {
        let (service, identity) = (entry.id, entry.config.identity);
        self.identities.insert(identity, service);
        for (of, id) in &entry.matches {
            let named = NamedMatch { ports: of.ports, id: *id, service, is_compact: of.is_compact() };
            self.places.entry((of.protocol, of.vip)).or_default().push(named);
        }
        let servers = entry.servers.iter().map(|server| ((service, server.config.address), server.id));
        self.numbers.extend(servers);
    }
}

/// The service of a template's VIP: of a group that is its mark.
fn template_service(record: &SyncRecord) -> Option<ServiceIdentity> {
    let vip = record.ends.vip();
    match record.protocol {
        SyncProtocol::Service(protocol) => {
            Some(crate::model::ServiceAddress { protocol, address: vip }.into())
        }
        SyncProtocol::Mark => {
            let mark = NonZeroU32::new(mark_of(vip))?;
            Some(FirewallMark { mark, family: vip.ip().into() }.into())
        }
        SyncProtocol::Ah | SyncProtocol::Esp => None,
    }
}

/// The mark in place of a VIP.
fn mark_of(vip: SocketAddr) -> u32 {
    match vip.ip() {
        IpAddr::V4(address) => address.to_bits(),
        IpAddr::V6(address) => (address.to_bits() >> 96) as u32,
    }
}

impl Registry {
    /// Returns the names of all services and real servers for other directors.
    #[must_use]
    pub fn sync_names(&self) -> SyncNames {
        let ids = self.id_addresses();
        let mark = |service: &ServiceId| ids.services.get(service).and_then(ServiceIdentity::mark);
        let matches = ids.matches.iter().map(|(id, (service, destination))| {
            (*id, (*destination, mark(service).map_or(0, |of| of.mark.get())))
        });
        let mut names = SyncNames {
            matches: matches.collect(),
            servers: ids.servers.iter().map(|(id, address)| (*id, *address)).collect(),
            services: ids.services.iter().map(|(id, identity)| (*id, *identity)).collect(),
            ..SyncNames::default()
        };
        self.services.iter().for_each(|entry| names.add(entry));
        names.places.values_mut().for_each(|places| places.sort_by_key(|of| of.ports.last - of.ports.first));
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::api::Stats;
    use crate::flow::ConnState;
    use crate::model::{Timeouts, parse};
    use std::path::Path;

    fn names() -> SyncNames {
        let text = "[director]\ninterface = \"eth0\"\n\
                    [[service]]\nprotocol = \"tcp\"\naddress = \"192.0.2.80:80\"\n[[service.server]]\naddress = \"192.0.2.10\"\n\
                    [[service]]\nprotocol = \"tcp\"\naddress = \"[2001:db8::80]:80\"\n[[service.server]]\naddress = \"2001:db8::10\"\n\
                    [[service]]\nmark = 7\nmatch = [\"tcp:192.0.2.80:8000-8100\"]\n[[service.server]]\naddress = \"192.0.2.11\"\n";
        let rules = parse(Path::new("d.toml"), text).unwrap().rules();
        let mut registry = Registry::new(Vec::new());
        registry.apply(&rules, &|_| Stats::default());
        registry.sync_names()
    }

    fn record(client: &str, vip: &str, server: &str) -> SyncRecord {
        let [client, vip, server] = [client, vip, server].map(|end| end.parse().unwrap());
        let ends = SyncEnds::new(client, vip, server).unwrap();
        SyncRecord::connection(Protocol::Tcp, ends, ConnState::Established, &Timeouts::default())
    }

    #[test]
    fn names_lead_to_numbers_and_back() {
        let names = names();
        for (record, mark) in [
            (record("198.51.100.7:4000", "192.0.2.80:80", "192.0.2.10:80"), 0),
            (record("[2001:db8:1::7]:4000", "[2001:db8::80]:80", "[2001:db8::10]:80"), 0),
            (record("198.51.100.7:4000", "192.0.2.80:8040", "192.0.2.11:8040"), 7),
        ] {
            let NumberedConnection { key, server } = names.numbers(&record).unwrap();
            let name = ConnectionName { protocol: Protocol::Tcp, ends: record.ends, mark };
            assert_eq!(names.connection(key.flow(), server), Some(name));
        }
    }

    #[test]
    fn what_is_not_configured_is_refused() {
        let names = names();
        let refused = |vip, server| names.numbers(&record("198.51.100.7:4000", vip, server)).unwrap_err();
        assert_eq!(refused("192.0.2.81:80", "192.0.2.10:80"), SyncRefusal::NoService);
        assert_eq!(refused("192.0.2.80:81", "192.0.2.10:81"), SyncRefusal::NoService);
        assert_eq!(refused("192.0.2.80:80", "192.0.2.11:80"), SyncRefusal::NoServer);
    }

    #[test]
    fn templates_have_the_address_or_the_mark_of_their_service() {
        let names = names();
        for (identity, server) in [("192.0.2.80:80", "192.0.2.10"), ("FWM 7", "192.0.2.11")] {
            let service = names.services.iter().find(|(_, of)| of.to_string().contains(identity)).unwrap().0;
            let server = names.numbers[&(*service, server.parse().unwrap())];
            let (protocol, ends) = names.template([198, 51, 100, 0].into(), *service, server).unwrap();
            let record = SyncRecord::template(protocol, ends, crate::time::Span::from_secs(300));
            assert_eq!(names.template_numbers(&record), Ok((*service, server)));
        }
    }
}
