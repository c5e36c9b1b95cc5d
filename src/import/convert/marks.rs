//! Services by firewall mark.

use super::Converter;
use crate::import::description::ImportedService;
use crate::import::draft::{ServiceDraft, shared_checks};
use crate::import::identity::{group, stand_in};
use crate::model::IpFamily;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

impl Converter<'_> {
    /// Converts a service by firewall mark into a comment without matches: the rules that set the mark are elsewhere.
    pub(super) fn group(&mut self, service: &ImportedService, mark: u32, family: IpFamily) -> ServiceDraft {
        let origin = service.origin.clone();
        let what = format!("{}: directrix takes frames before netfilter could mark them", service.vip);
        let instead = "write protocol, VIP and ports of the frames that get this mark into its match, and remove the \"#\" before \
                       it in the output";
        self.notices.warn(&origin.location, what.clone(), instead);
        let vip: IpAddr = match family {
            IpFamily::Ipv4 => Ipv4Addr::UNSPECIFIED.into(),
            IpFamily::Ipv6 => Ipv6Addr::UNSPECIFIED.into(),
        };
        let vip = SocketAddr::new(vip, 0);
        let stand_in = group(mark, &format!("tcp:{}", stand_in(vip)));
        let settings = self.settings(&service.settings, &stand_in);
        let mut servers = self.servers(service, vip, &stand_in);
        let sorry_server = self.sorry_server(service, vip, &stand_in);
        let mut keys = group(mark, "tcp:VIP:port");
        keys.extend(settings);
        keys.extend(service.health.iter().map(|line| line.value.clone()));
        let checks = shared_checks(&mut servers);
        ServiceDraft { origin, keys, checks, servers, sorry_server, is_template: true, left_out: Some(what) }
    }
}
