//! Real servers as neighbors of the director.

use super::start;
use crate::doctor::facts::DirectorFacts;
use crate::doctor::fault::{Fault, Judgement};
use crate::doctor::finding::FindingLevel;
use crate::wire::MacAddr;
use std::net::IpAddr;

/// Real servers beyond a router: direct routing cannot reach them.
pub(in crate::doctor) fn off_link(facts: &DirectorFacts) -> Judgement {
    if facts.wanted.servers.is_empty() || facts.interfaces.is_empty() {
        return Judgement::Moot;
    }
    let of_servers = facts.refusals.iter().filter(|refusal| refusal.of_server);
    of_servers.map(|refusal| start::fault(&refusal.diagnostic)).collect::<Vec<_>>().into()
}

/// MAC addresses that real servers share with a router or this host: proxy ARP stands between. Only neighbors that the
/// kernel has in its table are examined.
pub(in crate::doctor) fn mac(facts: &DirectorFacts) -> Judgement {
    let neighbors = match &facts.network.neighbors {
        _ if facts.wanted.servers.is_empty() => return Judgement::Moot,
        Err(reason) => return Fault::unknown("MAC addresses of real servers", reason).into(),
        Ok(neighbors) => neighbors,
    };
    let servers: Vec<_> = neighbors.iter().filter(|(ip, _)| facts.wanted.servers.contains(ip)).collect();
    if servers.is_empty() {
        return Judgement::Moot;
    }
    servers.into_iter().filter_map(|server| shared(*server, neighbors, facts)).collect::<Vec<_>>().into()
}

fn shared(
    (ip, mac): (IpAddr, MacAddr),
    neighbors: &[(IpAddr, MacAddr)],
    facts: &DirectorFacts,
) -> Option<Fault> {
    let effect = "frames for it go to that host instead, which may send them back: a loop";
    let remedy = "real server and director must be in one Ethernet segment, without proxy ARP between them";
    let own = facts.interfaces.iter().find(|one| one.interface.mac == mac);
    let router = neighbors
        .iter()
        .find(|(other, of)| *other != ip && *of == mac && facts.network.gateways.contains(other));
    let holder = match (own, router) {
        (Some(one), _) => format!("{} of this host", one.name()),
        (None, Some((gateway, _))) => format!("the gateway {gateway}"),
        (None, None) => return None,
    };
    let what = format!("the real server {ip} has the MAC address {mac}, which is that of {holder}");
    Some(Fault::new(FindingLevel::Error, what, effect).advice(remedy))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::sample;

    #[test]
    fn a_server_with_the_mac_of_a_router_or_of_this_host_is_named() {
        let mut facts = sample::sound();
        let ([server, gateway, client], [a, b]) = (
            [2, 254, 7].map(|last| IpAddr::from([10, 0, 0, last])),
            [1, 2].map(|last| MacAddr([2, 0, 0, 0, 9, last])),
        );
        (facts.wanted.servers, facts.network.gateways) = (vec![server], vec![gateway]);
        for (neighbors, wanted) in [
            (vec![(server, a), (gateway, b)], None),
            (vec![(server, a), (client, a)], None),
            (vec![(server, a), (gateway, a)], Some(FindingLevel::Error)),
            (vec![(server, facts.interfaces[0].interface.mac)], Some(FindingLevel::Error)),
        ] {
            facts.network.neighbors = Ok(neighbors.clone());
            assert_eq!(sample::level(mac(&facts)), wanted, "{neighbors:?}");
        }
        facts.network.neighbors = Ok(vec![]);
        assert_eq!(mac(&facts), Judgement::Moot, "nothing is known of it");
    }
}
