//! Set-up of a DUT: its kind, its traffic, and the interface it forwards on.

use super::napi;
use crate::bench_wire::cores::Cores;
use crate::bench_wire::namespace::Namespace;
use crate::bench_wire::trial::{Dut, Traffic};
use crate::io::Interface;
use crate::lab::Interrupt;
use crate::model::Diagnostic;
use crate::wire::MacAddr;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};

/// Virtual service of the trials, in the benchmarking network 198.18.0.0/15 (RFC 2544 appendix C.2.2).
pub const SERVICE: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(198, 18, 0, 1), 80);
/// MAC address of the DUT's port on a veth pair.
pub const DUT_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 5]);
/// Name of the DUT's interface on a veth pair.
pub(in crate::bench_wire) const INTERFACE: &str = "eth0";

/// MAC address of real server number `index`: `02:00:5e:00` and the number. Mirrored by sink.bpf.c.
#[must_use]
pub fn server_mac(index: u16) -> MacAddr {
    let [high, low] = index.to_be_bytes();
    MacAddr([2, 0, 0x5e, 0, high, low])
}

/// A DUT and its traffic, independent of the interface.
pub(in crate::bench_wire) struct DutSpec<'a> {
    pub(in crate::bench_wire) dut: Dut,
    pub(in crate::bench_wire) traffic: Traffic,
    pub(in crate::bench_wire) cores: Cores,
    /// Prefix of the namespaces.
    pub(in crate::bench_wire) name: &'a str,
    /// Directory for the DUT's own files.
    pub(in crate::bench_wire) directory: &'a Path,
    /// The directrix binary.
    pub(in crate::bench_wire) exe: &'a Path,
    /// Keys of the directors' `[director]` table, as TOML.
    pub(in crate::bench_wire) keys: &'a [(String, String)],
    pub(in crate::bench_wire) interrupt: &'a Interrupt,
}

/// A DUT and the interface that it forwards on.
pub(in crate::bench_wire) struct DutSetup<'a> {
    pub(in crate::bench_wire) spec: &'a DutSpec<'a>,
    /// Network namespace of `interface`.
    pub(in crate::bench_wire) namespace: &'a Namespace,
    pub(in crate::bench_wire) interface: Interface,
    /// Station that receives every forwarded frame on a real interface. `None` on a veth pair: each
    /// server has its own [`server_mac`].
    pub(in crate::bench_wire) station: Option<MacAddr>,
}

impl DutSetup<'_> {
    /// MAC address of real server number `index`.
    pub(super) fn server_mac(&self, index: u16) -> MacAddr {
        self.station.unwrap_or_else(|| server_mac(index))
    }

    /// Protocols of the service. External generators may support UDP only.
    pub(super) fn protocols(&self) -> &'static [&'static str] {
        if self.station.is_some() { &["tcp", "udp"] } else { &["tcp"] }
    }

    /// Enables GRO on a veth, without which it takes no XDP frames unless a program is attached. A real
    /// interface keeps its setting.
    pub(super) fn enable_gro(&self) -> Result<(), Diagnostic> {
        if self.station.is_none() {
            self.namespace.shell(&format!("ethtool -K {} gro on", self.interface.name))?;
        }
        Ok(())
    }

    /// Moves a veth's receive processing to the DUT's core. A real interface keeps its interrupt affinity.
    pub(super) fn receive_on_dut_core(&self) -> Result<(), Diagnostic> {
        if self.station.is_some() {
            return Ok(());
        }
        napi::receive_on_core(self.namespace, &self.interface.name, self.spec.cores.dut)
    }

    /// A file of this DUT in the state directory.
    pub(super) fn file(&self, ending: &str) -> PathBuf {
        self.spec.directory.join(format!("{}.{ending}", self.spec.dut.name()))
    }
}
