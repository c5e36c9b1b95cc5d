//! The contender in nftables: direct routing at netdev ingress.

use super::{FORWARDER, Forwarder, INTERFACE, SERVICE, Site, server_mac};
use crate::lab::LabError;
use crate::lab::bench::napi::Threaded;

pub(super) struct Nft;

impl Nft {
    pub(super) fn start(site: &Site<'_>) -> Result<Self, LabError> {
        let file = site.file("nft");
        std::fs::write(&file, ruleset(site.plan.traffic.servers))
            .map_err(|error| LabError::io(file.display().to_string(), &error))?;
        // Without a program of its own a veth takes XDP frames only if it merges (GRO).
        site.namespace.shell(&format!("ethtool -K {INTERFACE} gro on"))?;
        site.namespace.shell(&format!("nft -f '{}'", file.display()))?;
        Threaded::start(site.namespace, site.plan.cores.forwarder)?;
        Ok(Self)
    }
}

/// It ends with its namespace.
impl Forwarder for Nft {}

fn ruleset(servers: u16) -> String {
    let macs: Vec<String> = (0..servers).map(|server| format!("{server} : {}", server_mac(server))).collect();
    format!(
        "table netdev bench {{\n\
         chain ingress {{\n\
         type filter hook ingress device \"{INTERFACE}\" priority filter;\n\
         ip daddr {} tcp dport {} ether daddr set jhash ip saddr . tcp sport mod {servers} map {{ {} }} \
         ether saddr set {FORWARDER} fwd to \"{INTERFACE}\"\n\
         }}\n\
         }}\n",
        SERVICE.ip(),
        SERVICE.port(),
        macs.join(", ")
    )
}
