//! Whether a director of a configuration could start on this host now. Changes nothing, and disturbs no director
//! that runs.

use crate::control::director::hints;
use crate::control::director::plan;
use crate::control::host::privileges::Privileges;
use crate::control::host::resolve::ResolvedHost;
use crate::io::claim::Claim;
use crate::io::{Interface, PortPlan, packet, xdp};
use crate::model::{BackendChoice, Config, Diagnostic, Diagnostics};

/// What has been found, each as a line.
#[derive(Clone, Debug, Default)]
pub struct Inspection {
    /// What keeps a director from starting, or from becoming ready.
    pub faults: Vec<String>,
    /// What does not, and is worth knowing.
    pub notes: Vec<String>,
}

/// Looks at everything on this host that the configuration names.
#[must_use]
pub fn inspect(config: &Config) -> Inspection {
    let mut found = Inspection::default();
    found.refuse(Privileges::look_up(config).map(drop));
    match ResolvedHost::fit(config) {
        Ok(host) => found.examine(config, &host),
        Err(unready) => found.refuse(Err(unready.errors)),
    }
    found
}

impl Inspection {
    fn refuse(&mut self, outcome: Result<(), Diagnostics>) {
        let errors = outcome.err().map(|errors| errors.0).unwrap_or_default();
        self.faults.extend(errors.iter().map(ToString::to_string));
    }

    fn examine(&mut self, config: &Config, host: &ResolvedHost) {
        host.arms.iter().for_each(|arm| self.examine_link(arm));
        self.examine_backend(config.director.backend, &plan(config, host));
        if let Some(lacking) = Privileges::lacking() {
            self.notes.push(format!(
                "this user lacks {lacking}: start the director as root, or by the unit, which gives them"
            ));
        }
        self.notes.extend(hints::of(config, host));
    }

    fn examine_link(&mut self, arm: &Interface) {
        let name = &arm.name;
        if arm.check_carrier().is_ok_and(|has_carrier| !has_carrier) {
            self.faults.push(format!(
                "{name} has no carrier: nothing is claimed before it comes; see to the cable, the switch port, or `ip link`"
            ));
        }
        if Claim::is_taken(arm) {
            self.notes.push(format!("{name} is served by a running directrix"));
        }
    }

    fn examine_backend(&mut self, choice: BackendChoice, plan: &PortPlan) {
        let xdp = || xdp::judge(plan);
        match choice {
            BackendChoice::Xdp => self.faults.extend(xdp().err().map(|error| error.to_string())),
            BackendChoice::Packet => self.refuse_packet(plan),
            BackendChoice::Auto => {
                let instead = |error: Diagnostic| format!("backend \"auto\" will take AF_PACKET: {error}");
                self.notes.extend(xdp().err().map(instead));
                self.refuse_packet(plan);
            }
        }
    }

    fn refuse_packet(&mut self, plan: &PortPlan) {
        self.faults.extend(packet::judge(plan).err().map(|error| error.to_string()));
    }
}
