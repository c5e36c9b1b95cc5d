//! A testbed on a real interface: generator and sink are here, and what forwards is somebody else's
//! device behind it.
//!
//! The device takes the TCP service [`SERVICE`] at its MAC address, and
//! sends each frame on to one of the real servers' addresses
//! ([`server_mac`]), from its own, out of the same interface: direct
//! routing with one arm. Real servers need not be there. One address for all of them is this interface's own.
//!
//! While the testbed is up, nothing else arrives on the interface.

use super::cores::{Cores, Ticks, seat};
use super::dut::{SERVICE, server_mac};
use super::generator::{Generator, Sent};
use super::sink::Sink;
use super::trial::{Dut, Offered, Outcome, Testbed, Traffic};
use crate::io::Interface;
use crate::lab::{Interrupt, LabError};
use crate::wire::MacAddr;
use std::collections::BTreeMap;
use std::time::Duration;

/// Where the device is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The interface of this machine.
    pub interface: String,
    /// MAC address of the device behind it.
    pub peer: MacAddr,
}

impl Place {
    /// The interface's facts, if it can be used.
    ///
    /// # Errors
    /// [`LabError::Input`] if it is not there, or carries the default route: the sink drops all that
    /// arrives, and whoever works on this machine from afar would be cut off.
    pub fn check(&self) -> Result<Interface, LabError> {
        let interface =
            Interface::lookup(&self.interface).map_err(|error| LabError::Input(error.to_string()))?;
        let routes = std::fs::read_to_string("/proc/thread-self/net/route").unwrap_or_default();
        if !is_way_out(&routes, &self.interface) {
            return Ok(interface);
        }
        Err(LabError::Input(format!(
            "{} carries this machine's default route, and nothing but the bench's frames would arrive there; \
             use an interface that the machine can do without",
            self.interface
        )))
    }
}

/// Frames under way while connections are opened: few enough for any device's rings.
const WINDOW: u32 = 256;
/// Frames still under way arrive within this.
const QUIET: Duration = Duration::from_millis(100);

/// A generator and a sink on one interface. Dropping it gives the interface back.
pub struct External {
    generator: Generator,
    sink: Sink,
    core: usize,
    interrupt: Interrupt,
}

impl External {
    /// Attaches generator and sink for `traffic`.
    ///
    /// # Errors
    /// As [`Place::check`]; [`LabError::Failed`] if the kernel refuses.
    pub fn open(place: &Place, traffic: Traffic, interrupt: Interrupt) -> Result<Self, LabError> {
        let interface = place.check()?;
        let sink = Sink::open(&interface, place.peer, traffic.servers)?;
        let generator = Generator::open(&interface, place.peer, SERVICE, traffic)?;
        Ok(Self { generator, sink, core: Cores::choose()?.generator, interrupt })
    }

    /// Runs the generator on its core.
    fn send(&mut self, offered: Offered, duration: Duration) -> Result<Sent, LabError> {
        let Self { generator, interrupt, core, .. } = self;
        on_core(*core, || generator.run(offered, duration, interrupt))
    }
}

/// What the device has to do for `traffic`, in words.
#[must_use]
pub fn instruction(place: &Place, traffic: &Traffic) -> String {
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

impl Testbed for External {
    fn prime(&mut self, _: Dut) -> Result<(), LabError> {
        let Self { generator, sink, interrupt, core } = self;
        on_core(*core, || generator.prime_by_window(WINDOW, || sink.delivered(), interrupt))?;
        Ok(())
    }

    fn trial(&mut self, _: Dut, offered: Offered, duration: Duration) -> Result<Outcome, LabError> {
        let (before, ticks) = (self.sink.arrivals()?, Ticks::now()?);
        let sent = self.send(offered, duration)?;
        let cores = Ticks::now()?.busy_since(&ticks);
        self.sink.settle(sent.frames, &before, QUIET)?;
        let arrived = self.sink.arrivals()?.since(&before);
        let lost = sent.frames.saturating_sub(arrived.delivered);
        Ok(Outcome {
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

/// Calls `f` on a thread of its own that stays on `core`.
fn on_core<T: Send>(core: usize, f: impl FnOnce() -> Result<T, LabError> + Send) -> Result<T, LabError> {
    let pinned = || seat(core).and_then(|()| f());
    match std::thread::scope(|scope| scope.spawn(pinned).join()) {
        Ok(done) => done,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// Whether the default route of `routes`, the text of /proc/net/route, leaves by `interface`.
fn is_way_out(routes: &str, interface: &str) -> bool {
    routes.lines().any(|line| {
        let mut fields = line.split_whitespace();
        fields.next() == Some(interface) && fields.next() == Some("00000000")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_route_is_spared() {
        let routes = "Iface\tDestination\tGateway\teth0\neth0\t00000000\t0100A8C0\t0003\neth1\t0000A8C0\t00000000\t0001\n";
        assert!(is_way_out(routes, "eth0"));
        assert!(!is_way_out(routes, "eth1"));
        assert!(!is_way_out("", "eth0"));
    }
}
