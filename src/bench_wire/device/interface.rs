//! Interface of this machine that DUTs forward on.

use crate::bench_wire::dut::SERVICE;
use crate::bench_wire::external;
use crate::forward::BATCH;
use crate::io::Interface;
use crate::io::xdp::RING_LEN;
use crate::lab::runner::execute;
use crate::lab::step::Step;
use crate::model::Diagnostic;
use crate::wire::MacAddr;
use std::fs;
use std::path::PathBuf;

/// Port of the DUT: interface and next hop, as named by the user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DutPort {
    /// Interface of this machine.
    pub interface: String,
    /// MAC address of the station that receives forwarded frames.
    pub station: MacAddr,
}

impl DutPort {
    /// Instruction to the user: the required traffic.
    pub(super) fn instruction(&self) -> String {
        let Self { interface, station } = self;
        format!(
            "The generator must send frames for {SERVICE}, TCP or UDP, to the MAC address of {interface} without a \
             pause.\nThey are forwarded out of {interface} to {station}."
        )
    }
}

/// An interface in use by the bench. Dropping it restores its settings.
pub struct DutInterface {
    /// Index, MAC address and queues.
    pub(super) interface: Interface,
    /// [`DutPort::station`].
    pub(super) station: MacAddr,
    _forwarding_off: ForwardingOff,
}

impl DutInterface {
    /// Opens the interface of `port`. Until the result is dropped, the kernel routes no frame that arrives there,
    /// so that frames between two trials go nowhere.
    ///
    /// # Errors
    /// `InvalidArgument` if it does not exist, carries the default route, or has several receive queues, because
    /// one worker and l2fwd would serve different shares of them; or if the station is the interface itself.
    pub fn open(port: &DutPort) -> Result<Self, Diagnostic> {
        let (name, station) = (port.interface.clone(), port.station);
        let interface = external::TesterPort { interface: name.clone(), peer: station }.check()?;
        if interface.queues > 1 {
            return Err(Diagnostic::invalid_argument(format!(
                "{name} has {} receive queues, and DUTs are compared on one",
                interface.queues
            ))
            .remedy(format!("set one: ethtool -L {name} combined 1")));
        }
        if interface.mac == station {
            return Err(Diagnostic::invalid_argument(format!("{station} is {name} itself"))
                .remedy("name the station behind it that receives the forwarded frames"));
        }
        Ok(Self { interface, station, _forwarding_off: ForwardingOff::set(&name)? })
    }

    /// Description of the testbed for the report; DUTs run on `core`.
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

/// Name of the interface's driver.
fn driver(interface: &str) -> String {
    let text = execute(&Step::new(&format!("ethtool -i {interface}"))).unwrap_or_default();
    text.lines().find_map(|line| line.strip_prefix("driver: ")).unwrap_or("unknown").to_owned()
}

/// The sysctl `forwarding` of an interface switched off (ip-sysctl.rst). Dropping it restores the former value.
struct ForwardingOff {
    file: PathBuf,
    before: String,
}

impl ForwardingOff {
    fn set(interface: &str) -> Result<Self, Diagnostic> {
        let file = PathBuf::from(format!("/proc/sys/net/ipv4/conf/{interface}/forwarding"));
        let failed = |error: std::io::Error| Diagnostic::io(file.display().to_string(), &error);
        let before = fs::read_to_string(&file).map_err(failed)?;
        fs::write(&file, "0").map_err(failed)?;
        Ok(Self { file, before })
    }
}

impl Drop for ForwardingOff {
    fn drop(&mut self) {
        if let Err(error) = fs::write(&self.file, &self.before) {
            eprintln!("directrix lab bench: {}: {error}", self.file.display());
        }
    }
}
