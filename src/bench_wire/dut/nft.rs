//! nftables as DUT: direct routing at netdev ingress.

use super::running::RunningDut;
use super::setup::{DutSetup, SERVICE};
use crate::lab::runner::execute;
use crate::lab::step::Step;
use crate::model::Diagnostic;

/// Family and name of the table.
const TABLE: &str = "netdev directrix_bench";

pub(super) struct NftDut {
    /// Whether the table outlives the trial. On a veth pair it ends with its namespace.
    outlives_namespace: bool,
}

impl NftDut {
    pub(super) fn start(setup: &DutSetup<'_>) -> Result<Self, Diagnostic> {
        let file = setup.file("nft");
        std::fs::write(&file, ruleset(setup))
            .map_err(|error| Diagnostic::io(file.display().to_string(), &error))?;
        setup.enable_gro()?;
        setup.namespace.shell(&format!("nft -f '{}'", file.display()))?;
        let nft = Self { outlives_namespace: setup.station.is_some() };
        setup.receive_on_dut_core()?;
        Ok(nft)
    }
}

impl RunningDut for NftDut {}

impl Drop for NftDut {
    fn drop(&mut self) {
        if !self.outlives_namespace {
            return;
        }
        if let Err(error) = execute(&Step::new(&format!("nft delete table {TABLE}"))) {
            eprintln!("directrix lab bench: {error}");
        }
    }
}

/// Ruleset of the trial. Adding the table and deleting it first removes the remains of an interrupted run.
fn ruleset(setup: &DutSetup<'_>) -> String {
    let rules: String = setup.protocols().iter().map(|protocol| rule(setup, protocol)).collect();
    format!(
        "add table {TABLE}\n\
         delete table {TABLE}\n\
         table {TABLE} {{\n\
         chain ingress {{\n\
         type filter hook ingress device \"{}\" priority filter;\n\
         {rules}\
         }}\n\
         }}\n",
        setup.interface.name
    )
}

fn rule(setup: &DutSetup<'_>, protocol: &str) -> String {
    let (vip, port, servers) = (SERVICE.ip(), SERVICE.port(), setup.spec.traffic.servers);
    let (own, name) = (setup.interface.mac, &setup.interface.name);
    let macs: Vec<_> =
        (0..servers).map(|server| format!("{server} : {}", setup.server_mac(server))).collect();
    format!(
        "ip daddr {vip} {protocol} dport {port} ether daddr set jhash ip saddr . {protocol} sport mod {servers} \
         map {{ {} }} ether saddr set {own} fwd to \"{name}\"\n",
        macs.join(", ")
    )
}
