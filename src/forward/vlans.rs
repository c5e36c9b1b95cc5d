//! Services within VLANs.

use super::{Beside, ServiceMap};
use crate::model::MatchId;
use crate::wire::vlan::Vlans;

/// A map of services for each VLAN that has some.
#[derive(Clone, Debug, Default)]
pub struct VlanServices {
    /// In the order of the VLANs.
    maps: Box<[(Vlans, ServiceMap)]>,
}

impl VlanServices {
    /// Takes the map of each VLAN. Of equal VLANs the first wins.
    #[must_use]
    pub fn new(maps: impl IntoIterator<Item = (Vlans, ServiceMap)>) -> Self {
        let mut maps: Vec<_> = maps.into_iter().collect();
        maps.sort_by_key(|(vlans, _)| *vlans);
        maps.dedup_by_key(|(vlans, _)| *vlans);
        Self { maps: maps.into() }
    }

    /// The services of frames with the tags of these VLANs.
    #[must_use]
    pub fn find(&self, vlans: Vlans) -> Option<&ServiceMap> {
        let at = self.maps.binary_search_by_key(&vlans, |(vlans, _)| *vlans).ok()?;
        Some(&self.maps[at].1)
    }

    /// All maps.
    pub fn iter(&self) -> impl Iterator<Item = &ServiceMap> {
        self.maps.iter().map(|(_, map)| map)
    }

    /// See [`ServiceMap::beside`].
    #[must_use]
    pub fn beside(&self, of: MatchId) -> Option<Beside> {
        self.iter().find_map(|map| map.beside(of))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ServiceAddress;
    use crate::wire::Protocol;
    use std::net::{Ipv4Addr, SocketAddr};

    #[test]
    fn services_are_found_in_their_vlan_only() {
        let vip = Ipv4Addr::new(192, 0, 2, 1);
        let map = |services: &[(u16, u16)]| {
            let address =
                |port| ServiceAddress { protocol: Protocol::Tcp, address: SocketAddr::from((vip, port)) };
            ServiceMap::new(
                &services.iter().map(|(port, id)| (address(*port), MatchId(*id))).collect::<Vec<_>>(),
            )
        };
        let [one, two, other] = [&[100][..], &[100, 7], &[7]].map(|ids| Vlans::new(ids).unwrap());
        let services = VlanServices::new([(two, map(&[(0, 4), (80, 3)])), (one, map(&[(80, 2)]))]);
        let found = |vlans| services.find(vlans).map(|map| map.find(Protocol::Tcp, vip, 80).unwrap().0);
        assert_eq!([one, two, other, Vlans::NONE].map(found), [Some(2), Some(3), None, None]);
        let wildcard = Beside { port: Some(80), others: [None, Some(MatchId(4))] };
        assert_eq!([2, 3].map(|id| services.beside(MatchId(id))), [None, Some(wildcard)]);
    }
}
