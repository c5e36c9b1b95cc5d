//! The interface of this machine that DUTs forward on.

use crate::bench_wire::dut::SERVICE;
use crate::bench_wire::external;
use crate::forward::BATCH;
use crate::io::Interface;
use crate::io::xdp::RING_LEN;
use crate::lab::LabError;
use crate::lab::runner::execute;
use crate::lab::topology::Step;
use crate::wire::MacAddr;
use std::fs;
use std::path::PathBuf;

/// Where frames come from and go to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DutPort {
    /// The interface of this machine.
    pub interface: String,
    /// MAC address of the station that gets what is forwarded.
    pub station: MacAddr,
}

impl DutPort {
    /// What the generator has to do, in words.
    pub(super) fn instruction(&self) -> String {
        let Self { interface, station } = self;
        format!(
            "The generator must send frames for {SERVICE}, TCP or UDP, to the MAC address of {interface} without a \
             pause.\nThey are forwarded out of {interface} to {station}."
        )
    }
}

/// An interface in use. Dropping it gives it back as it was.
pub struct DutInterface {
    /// Its facts.
    pub(super) interface: Interface,
    /// [`DutPort::station`].
    pub(super) station: MacAddr,
    _unrouted: Unrouted,
}

impl DutInterface {
    /// Takes the interface of `place`. Until the result is dropped, the kernel routes nothing that
    /// arrives there: while no DUT takes the frames, they must not go elsewhere.
    ///
    /// # Errors
    /// [`LabError::Input`] if it is not there, carries the default route, or has several receive queues,
    /// of which one worker and the bare forwarder would have different shares; or if the station is
    /// the interface itself.
    pub fn take(place: &DutPort) -> Result<Self, LabError> {
        let (name, station) = (place.interface.clone(), place.station);
        let interface = external::TesterPort { interface: name.clone(), peer: station }.check()?;
        if interface.queues > 1 {
            return Err(LabError::Input(format!(
                "{name} has {} receive queues, and DUTs are compared on one: ethtool -L {name} combined 1",
                interface.queues
            )));
        }
        if interface.mac == station {
            return Err(LabError::Input(format!(
                "{station} is {name} itself; name the station behind it that gets what is forwarded"
            )));
        }
        Ok(Self { interface, station, _unrouted: Unrouted::make(&name)? })
    }

    /// The way of a frame, for the reader of a report; `core` is the DUTs'.
    pub(super) fn setting(&self, core: usize) -> String {
        let name = &self.interface.name;
        format!(
            "{name} (driver {}), generator elsewhere, forwarded to {}; AF_XDP without copying where the driver can, \
             rings of {RING_LEN}; one queue, one worker on core {core}, busy waiting, batches of {BATCH}; hairpin and nft on the core that \
             the interface interrupts",
            driver(name),
            self.station
        )
    }
}

/// The driver's name, for the reader.
fn driver(interface: &str) -> String {
    let text = execute(&Step::new(&format!("ethtool -i {interface}"))).unwrap_or_default();
    text.lines().find_map(|line| line.strip_prefix("driver: ")).unwrap_or("unknown").to_owned()
}

/// An interface's `forwarding` switched off (ip-sysctl.rst). Dropping it sets what was there.
struct Unrouted {
    file: PathBuf,
    before: String,
}

impl Unrouted {
    fn make(interface: &str) -> Result<Self, LabError> {
        let file = PathBuf::from(format!("/proc/sys/net/ipv4/conf/{interface}/forwarding"));
        let failed = |error: std::io::Error| LabError::io(file.display().to_string(), &error);
        let before = fs::read_to_string(&file).map_err(failed)?;
        fs::write(&file, "0").map_err(failed)?;
        Ok(Self { file, before })
    }
}

impl Drop for Unrouted {
    fn drop(&mut self) {
        if let Err(error) = fs::write(&self.file, &self.before) {
            eprintln!("directrix lab bench: {}: {error}", self.file.display());
        }
    }
}
