//! The DUT in nftables: direct routing at netdev ingress.

use super::{Forwarder, SERVICE, Site};
use crate::lab::LabError;
use crate::lab::runner::execute;
use crate::lab::topology::Step;

/// The table.
const TABLE: &str = "netdev directrix_bench";

pub(super) struct Nft {
    /// On a veth pair the table ends with its namespace.
    remains: bool,
}

impl Nft {
    pub(super) fn start(site: &Site<'_>) -> Result<Self, LabError> {
        let file = site.file("nft");
        std::fs::write(&file, ruleset(site))
            .map_err(|error| LabError::io(file.display().to_string(), &error))?;
        site.merge()?;
        site.namespace.shell(&format!("nft -f '{}'", file.display()))?;
        let nft = Self { remains: site.station.is_some() };
        site.receive_on_forwarder()?;
        Ok(nft)
    }
}

impl Forwarder for Nft {}

impl Drop for Nft {
    fn drop(&mut self) {
        if !self.remains {
            return;
        }
        if let Err(error) = execute(&Step::new(&format!("nft delete table {TABLE}"))) {
            eprintln!("directrix lab bench: {error}");
        }
    }
}

/// Deleting a table that was just added removes what a run that was cut off has left.
fn ruleset(site: &Site<'_>) -> String {
    let rules: String = site.protocols().iter().map(|protocol| rule(site, protocol)).collect();
    format!(
        "add table {TABLE}\n\
         delete table {TABLE}\n\
         table {TABLE} {{\n\
         chain ingress {{\n\
         type filter hook ingress device \"{}\" priority filter;\n\
         {rules}\
         }}\n\
         }}\n",
        site.interface.name
    )
}

fn rule(site: &Site<'_>, protocol: &str) -> String {
    let (vip, port, servers) = (SERVICE.ip(), SERVICE.port(), site.plan.traffic.servers);
    let (own, name) = (site.interface.mac, &site.interface.name);
    let macs: Vec<_> = (0..servers).map(|server| format!("{server} : {}", site.server_mac(server))).collect();
    format!(
        "ip daddr {vip} {protocol} dport {port} ether daddr set jhash ip saddr . {protocol} sport mod {servers} \
         map {{ {} }} ether saddr set {own} fwd to \"{name}\"\n",
        macs.join(", ")
    )
}
