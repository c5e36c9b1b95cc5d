//! Loading and attaching of the bench's BPF programs.

use crate::io::Interface;
use crate::io::bpf::{self, Attached};
use crate::model::Diagnostic;
use crate::wire::MacAddr;
use aya::maps::{Map, MapError};
use aya::programs::Xdp;
use aya::{Ebpf, EbpfLoader, GlobalData};
use std::fmt::Debug;
use std::os::fd::{AsFd, BorrowedFd};

/// A loaded object file with one XDP program.
pub(super) struct BenchProgram {
    ebpf: Ebpf,
    name: &'static str,
}

/// MAC address as `struct mac` of bench.bpf.h.
pub(super) fn padded(mac: MacAddr) -> [u8; 8] {
    let [a, b, c, d, e, f] = mac.0;
    [a, b, c, d, e, f, 0, 0]
}

impl BenchProgram {
    /// Loads the XDP program `name` of `object`, with the constants `globals`.
    pub(super) fn load(
        object: &[u8],
        name: &'static str,
        globals: &[(&'static str, &[u8])],
    ) -> Result<Self, Diagnostic> {
        let failed = |error: &dyn std::fmt::Display| {
            Diagnostic::system(format!("cannot load the BPF program {name}")).cause(error.to_string())
        };
        let mut loader = EbpfLoader::new();
        for (constant, value) in globals {
            loader.override_global(constant, GlobalData::from(*value), true);
        }
        let ebpf = loader.load(object).map_err(|error| failed(&error))?;
        let mut program = Self { ebpf, name };
        program.xdp().load().map_err(|error| failed(&error))?;
        Ok(program)
    }

    /// Attaches the program; dropping the result detaches it.
    pub(super) fn attach(&mut self, interface: &Interface) -> Result<Attached, Diagnostic> {
        bpf::attach(self.fd(), interface, bpf::AllowedModes::Any)
    }

    /// File descriptor of the program.
    pub(super) fn fd(&mut self) -> BorrowedFd<'_> {
        self.xdp().fd().expect("`load` has loaded it").as_fd()
    }

    /// Takes the map `name`. Panics on a second call.
    pub(super) fn take_map<M: TryFrom<Map, Error: Debug>>(&mut self, name: &str) -> M {
        let map = self.ebpf.take_map(name).expect("the object declares it, and it is taken once");
        M::try_from(map).expect("it is of that type")
    }

    fn xdp(&mut self) -> &mut Xdp {
        let program = self.ebpf.program_mut(self.name).expect("the object defines it");
        program.try_into().expect("it is an XDP program")
    }
}

/// Error of a map operation.
pub(super) fn map_failed(error: &MapError) -> Diagnostic {
    Diagnostic::system("the kernel refused to read or write a map of the bench").cause(error.to_string())
}
