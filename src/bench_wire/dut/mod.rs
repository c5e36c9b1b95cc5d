//! Who forwards: each DUT on the forwarder's end of a veth pair of its own, or for a while on an
//! interface of this machine.

mod background;
mod director;
mod hairpin;
mod l2fwd;
mod nft;

pub use l2fwd::run as run_l2fwd;

use super::cores::Cores;
use super::namespace::Namespace;
use super::napi::Threaded;
use super::trial::{Dut, Traffic};
use crate::io::Interface;
use crate::lab::{self, Interrupt, LabError};
use crate::wire::MacAddr;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};

/// The virtual service that frames are for, in the network that RFC 2544 gives to benchmarks.
pub const SERVICE: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(198, 18, 0, 1), 80);
/// MAC address of the forwarder's end.
pub const FORWARDER: MacAddr = MacAddr([2, 0, 0, 0, 0, 5]);
/// The forwarder's interface on a veth pair.
pub(super) const INTERFACE: &str = "eth0";

/// MAC address of real server number `index`: `02:00:5e:00` and the number. Mirrored by sink.bpf.c.
#[must_use]
pub fn server_mac(index: u16) -> MacAddr {
    let [high, low] = index.to_be_bytes();
    MacAddr([2, 0, 0x5e, 0, high, low])
}

/// What a port pair is built from.
pub(super) struct Plan<'a> {
    pub(super) dut: Dut,
    pub(super) traffic: Traffic,
    pub(super) cores: Cores,
    /// Prefix of the namespaces.
    pub(super) name: &'a str,
    /// For files of the DUT's own.
    pub(super) directory: &'a Path,
    /// The directrix binary.
    pub(super) exe: &'a Path,
    /// Keys of the directors' `[director]` table, as TOML.
    pub(super) keys: &'a [(String, String)],
    pub(super) interrupt: &'a Interrupt,
}

/// Where a DUT is started.
pub(super) struct Site<'a> {
    pub(super) plan: &'a Plan<'a>,
    /// That of `interface`.
    pub(super) namespace: &'a Namespace,
    pub(super) interface: Interface,
    /// The station that frames go to on a real interface, whichever server is chosen. `None` on a veth
    /// pair: each server has its own [`server_mac`].
    pub(super) station: Option<MacAddr>,
}

impl Site<'_> {
    /// MAC address of real server number `index`.
    fn server_mac(&self, index: u16) -> MacAddr {
        self.station.unwrap_or_else(|| server_mac(index))
    }

    /// What the service is served over. Others' generators may know UDP alone.
    fn protocols(&self) -> &'static [&'static str] {
        if self.station.is_some() { &["tcp", "udp"] } else { &["tcp"] }
    }

    /// Lets a veth take XDP frames without a program of its own: it does so if it merges (GRO). A real
    /// interface stays as its owner has set it.
    fn merge(&self) -> Result<(), LabError> {
        if self.station.is_none() {
            self.namespace.shell(&format!("ethtool -K {} gro on", self.interface.name))?;
        }
        Ok(())
    }

    /// Moves a veth's receiving to the forwarder's core. A real interface's interrupts stay where they are.
    fn receive_on_forwarder(&self) -> Result<(), LabError> {
        if self.station.is_none() { Threaded::start(self) } else { Ok(()) }
    }

    fn file(&self, ending: &str) -> PathBuf {
        self.plan.directory.join(format!("{}.{ending}", self.plan.dut.name()))
    }
}

/// A DUT that has been started. Dropping it ends it.
pub(super) trait Forwarder: Send {
    /// Lets it take no time, and keep what it knows.
    fn suspend(&self) {}

    /// Lets it go on.
    fn resume(&self) {}

    /// Fails if it is gone.
    fn check(&mut self) -> Result<(), LabError> {
        Ok(())
    }

    /// Frames that it has lost so far and can account for, by cause.
    fn losses(&self) -> Result<BTreeMap<String, u64>, LabError> {
        Ok(BTreeMap::new())
    }

    /// Connections that it keeps; `None` if it keeps none.
    fn connections(&self) -> Result<Option<u64>, LabError> {
        Ok(None)
    }
}

/// Programs that a DUT is started with, beside those of the bench itself.
fn programs(dut: Dut) -> &'static [&'static str] {
    match dut {
        Dut::Nft => &["nft"],
        _ => &[],
    }
}

/// Those of `duts` whose programs are on `path`, and why the others are left out.
///
/// # Errors
/// [`LabError::Input`] if none is left.
pub fn able(duts: &[Dut], path: &OsString) -> Result<(Vec<Dut>, Vec<String>), LabError> {
    let lacks = |dut: &Dut| lab::programs::complaint(programs(*dut).iter().copied(), path);
    let (able, others): (Vec<_>, Vec<_>) = duts.iter().partition(|dut| lacks(dut).is_none());
    let why = |dut: &Dut| Some(format!("{}: {}", dut.name(), lacks(dut)?));
    let left_out: Vec<_> = others.iter().filter_map(why).collect();
    if able.is_empty() {
        return Err(LabError::Input(format!("no DUT is left: {}", left_out.join("; "))));
    }
    Ok((able, left_out))
}

/// Starts the DUT of `site`. Returns once it forwards.
pub(super) fn start(site: &Site<'_>) -> Result<Box<dyn Forwarder>, LabError> {
    Ok(match site.plan.dut {
        Dut::Xdp | Dut::Packet => Box::new(director::Director::start(site)?),
        Dut::L2fwd => Box::new(l2fwd::Process::start(site)?),
        Dut::Hairpin => Box::new(hairpin::Hairpin::start(site)?),
        Dut::Nft => Box::new(nft::Nft::start(site)?),
        Dut::External => {
            return Err(LabError::Input("an external device is not started here; name its interface".into()));
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dut_without_its_program_is_left_out() {
        let nowhere = OsString::from("/nonexistent");
        let complaint = "nft: not found: nft; install with: apt-get install nftables";
        let (able_here, left_out) = able(&[Dut::Nft, Dut::Xdp], &nowhere).unwrap();
        assert_eq!((able_here, left_out), (vec![Dut::Xdp], vec![complaint.to_owned()]));
        let none = able(&[Dut::Nft], &nowhere).unwrap_err();
        assert_eq!(none, LabError::Input(format!("no DUT is left: {complaint}")));
    }
}
