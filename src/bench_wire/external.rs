//! A testbed on a real interface: generator and sink on this machine, any device behind the interface.
//!
//! The device serves TCP at [`SERVICE`] and forwards each frame out of the same interface to the MAC address of a
//! real server ([`server_mac`]): direct routing on one interface. Real servers need not exist. The MAC address of
//! this interface may stand for all of them.
//!
//! While the testbed exists, the interface receives no other traffic.

use super::cores::{Cores, CpuTimes};
use super::dut::{SERVICE, server_mac};
use super::generator::{Generator, SentFrames};
use super::namespace::Namespace;
use super::sink::Sink;
use super::trial::{Dut, Offered, Testbed, Traffic, TrialOutcome};
use crate::io::Interface;
use crate::lab::Interrupt;
use crate::model::{Diagnostic, DiagnosticKind};
use crate::wire::MacAddr;
use std::collections::BTreeMap;
use std::time::Duration;

/// The tester's port and the device behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TesterPort {
    /// Interface of this machine.
    pub interface: String,
    /// MAC address of the device behind it.
    pub peer: MacAddr,
}

impl TesterPort {
    /// Looks up the interface and validates it.
    ///
    /// # Errors
    /// `InvalidArgument` if it does not exist or carries the default route: the sink drops all frames, which
    /// would cut off remote sessions.
    pub fn check(&self) -> Result<Interface, Diagnostic> {
        let interface = Interface::lookup(&self.interface)
            .map_err(|error| error.of_kind(DiagnosticKind::InvalidArgument))?;
        let routes = std::fs::read_to_string("/proc/thread-self/net/route").unwrap_or_default();
        if !has_default_route(&routes, &self.interface) {
            return Ok(interface);
        }
        Err(Diagnostic::invalid_argument(format!(
            "{} carries this machine's default route, and nothing but the bench's frames would arrive there",
            self.interface
        ))
        .remedy("use an interface that the machine does not need"))
    }
}

/// Frames in flight while connections are opened: few enough for any device's rings.
const WINDOW: u32 = 256;
/// Time without arrivals after which frames count as lost.
const QUIET: Duration = Duration::from_millis(100);

/// Generator and sink on one interface. Dropping it detaches both.
pub struct ExternalTestbed {
    generator: Generator,
    sink: Sink,
    core: usize,
    interrupt: Interrupt,
}

impl ExternalTestbed {
    /// Attaches generator and sink for `traffic`.
    ///
    /// # Errors
    /// As [`TesterPort::check`]; `System` if the kernel refuses.
    pub fn open(place: &TesterPort, traffic: Traffic, interrupt: Interrupt) -> Result<Self, Diagnostic> {
        let interface = place.check()?;
        let sink = Sink::open(&interface, place.peer, traffic.servers)?;
        let generator = Generator::open(&interface, place.peer, SERVICE, traffic)?;
        Ok(Self { generator, sink, core: Cores::choose()?.generator, interrupt })
    }

    /// Runs the generator, pinned to its core.
    fn send(&mut self, offered: Offered, duration: Duration) -> Result<SentFrames, Diagnostic> {
        let Self { generator, interrupt, core, .. } = self;
        Namespace::here().enter(Some(*core), || generator.run(offered, duration, interrupt))
    }
}

/// Instruction to the user: the required forwarding of the device for `traffic`.
#[must_use]
pub fn instruction(place: &TesterPort, traffic: &Traffic) -> String {
    let last = server_mac(traffic.servers - 1);
    format!(
        "The device at {} must forward TCP {SERVICE} out of the same interface, to {} real servers: \
         {} to {last}, or the address of {} for all.\nNothing else arrives on {} meanwhile.",
        place.peer,
        traffic.servers,
        server_mac(0),
        place.interface,
        place.interface
    )
}

impl Testbed for ExternalTestbed {
    fn prime(&mut self, _: Dut) -> Result<(), Diagnostic> {
        let Self { generator, sink, interrupt, core } = self;
        Namespace::here()
            .enter(Some(*core), || generator.prime_by_window(WINDOW, || sink.delivered(), interrupt))?;
        Ok(())
    }

    fn trial(&mut self, _: Dut, offered: Offered, duration: Duration) -> Result<TrialOutcome, Diagnostic> {
        let (before, ticks) = (self.sink.arrivals()?, CpuTimes::now()?);
        let sent = self.send(offered, duration)?;
        let cores = CpuTimes::now()?.busy_since(&ticks);
        self.sink.wait_for(sent.frames, &before, QUIET)?;
        let arrived = self.sink.arrivals()?.since(&before);
        let lost = sent.frames.saturating_sub(arrived.delivered);
        Ok(TrialOutcome {
            elapsed: sent.elapsed,
            sent: sent.frames,
            delivered: arrived.delivered,
            losses: BTreeMap::from([("elsewhere".to_owned(), lost)]),
            latency: arrived.latency(),
            cores,
            counters: None,
        })
    }
}

/// Whether `routes`, the text of /proc/net/route, has a default route by `interface`.
fn has_default_route(routes: &str, interface: &str) -> bool {
    routes.lines().any(|line| {
        let mut fields = line.split_whitespace();
        fields.next() == Some(interface) && fields.next() == Some("00000000")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interface_of_default_route_is_detected() {
        let routes = "Iface\tDestination\tGateway\teth0\neth0\t00000000\t0100A8C0\t0003\neth1\t0000A8C0\t00000000\t0001\n";
        assert!(has_default_route(routes, "eth0"));
        assert!(!has_default_route(routes, "eth1"));
        assert!(!has_default_route("", "eth0"));
    }
}
