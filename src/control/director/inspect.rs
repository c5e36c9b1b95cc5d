//! `run --check=host`: checks that a director could start on this host now.
//!
//! Changes nothing, and does not disturb a running director.

use crate::control::host::hints;
use crate::control::host::privileges::Privileges;
use crate::control::host::resolve::ResolvedHost;
use crate::control::workers::backend;
use crate::io::claim::Claim;
use crate::io::{Interface, PortPlan, packet, xdp};
use crate::model::{BackendChoice, Config, Diagnostic, Diagnostics};

/// The findings.
#[derive(Clone, Debug, Default)]
pub struct Inspection {
    /// Obstacles to a start or to readiness.
    pub faults: Vec<Diagnostic>,
    /// Settings that are valid and probably a mistake.
    pub notes: Vec<String>,
}

/// Checks everything on this host that the configuration names.
#[must_use]
pub fn inspect(config: &Config) -> Inspection {
    let mut found = Inspection::default();
    found.add_errors(Privileges::look_up(config).map(drop));
    match ResolvedHost::resolve(config) {
        Ok(host) => found.check_host(config, &host),
        Err(error) => found.add_errors(Err(error.errors)),
    }
    found
}

impl Inspection {
    fn add_errors(&mut self, outcome: Result<(), Diagnostics>) {
        self.faults.extend(outcome.err().map(|errors| errors.0).unwrap_or_default());
    }

    fn check_host(&mut self, config: &Config, host: &ResolvedHost) {
        host.interfaces.iter().for_each(|interface| self.check_interface(interface));
        self.check_backend(config.director.backend, &backend::plan(&config.director, &host.interfaces));
        if let Some(lacking) = Privileges::lacking() {
            self.notes.push(format!(
                "this user lacks {lacking}: start the director as root, or by the unit, which gives them"
            ));
        }
        self.notes.extend(hints::config_hints(config, host));
    }

    fn check_interface(&mut self, interface: &Interface) {
        let name = &interface.name;
        if interface.check_carrier().is_ok_and(|has_carrier| !has_carrier) {
            self.faults.push(
                Diagnostic::system(format!("{name} has no carrier"))
                    .cause("nothing is claimed before it comes")
                    .remedy("see to the cable, the switch port, or `ip link`"),
            );
        }
        if Claim::is_taken(interface) {
            self.notes.push(format!("{name} is served by a running directrix"));
        }
    }

    fn check_backend(&mut self, choice: BackendChoice, plan: &PortPlan) {
        match choice {
            BackendChoice::Xdp => self.faults.extend(xdp::validate(plan).err()),
            BackendChoice::Packet => self.check_packet(plan),
            BackendChoice::Auto => {
                if let Err(error) = xdp::validate(plan) {
                    self.notes.push(format!("backend \"auto\" will take AF_PACKET: {error}"));
                }
                self.check_packet(plan);
            }
        }
    }

    fn check_packet(&mut self, plan: &PortPlan) {
        self.faults.extend(packet::validate(plan).err());
    }
}
