//! The pair of probe programs on an interface, and their maps.

use super::BpfLink;
use super::attach::once;
use super::errors::{probe_attach_error, probe_load_error};
use super::link::TcxHook;
use crate::io::Interface;
use crate::model::Diagnostic;
use aya::maps::{HashMap, MapData};
use aya::programs::SchedClassifier;
use aya::{Ebpf, EbpfLoader};
use std::os::fd::AsFd;

static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/probe.bpf.o"));

/// A map of the probe programs, with keys and values of so many bytes.
pub(in crate::io) type ProbeMap<const KEY: usize, const VALUE: usize> =
    HashMap<MapData, [u8; KEY], [u8; VALUE]>;

/// The loaded probe programs.
pub(in crate::io) struct ProbePrograms {
    ebpf: Ebpf,
}

impl ProbePrograms {
    /// Loads both programs. Each of their maps holds `entries` keys.
    ///
    /// # Errors
    /// [`Diagnostic`] if the kernel refuses, mostly for lack of CAP_BPF.
    pub(in crate::io) fn load(interface: &Interface, entries: u32) -> Result<Self, Diagnostic> {
        let mut loader = EbpfLoader::new();
        let loader = loader.map_max_entries("probe_fwd", entries).map_max_entries("probe_back", entries);
        let ebpf = loader.load(OBJECT).map_err(|error| probe_load_error(interface, &error))?;
        let mut programs = Self { ebpf };
        for name in ["probe_to_vip", "probe_from_vip"] {
            once(programs.program(name).load()).map_err(|error| probe_load_error(interface, &error))?;
        }
        Ok(programs)
    }

    /// Attaches both, each before all other programs of its hook. Dropping the links detaches them.
    ///
    /// # Errors
    /// [`Diagnostic`] if a capability is missing or the kernel has no TCX (before Linux 6.6).
    pub(in crate::io) fn attach(&mut self, interface: &Interface) -> Result<[BpfLink; 2], Diagnostic> {
        let mut attach = |name, hook| {
            let program = self.program(name).fd().expect("it has just been loaded");
            BpfLink::tcx(program.as_fd(), interface.index, hook)
                .map_err(|error| probe_attach_error(interface, &error))
        };
        // Ingress first: a packet that only the egress program translates would get replies that no socket has.
        Ok([attach("probe_from_vip", TcxHook::Ingress)?, attach("probe_to_vip", TcxHook::Egress)?])
    }

    /// Takes the map `name` out; once.
    pub(in crate::io) fn take_map<const KEY: usize, const VALUE: usize>(
        &mut self,
        name: &str,
    ) -> ProbeMap<KEY, VALUE> {
        let map = self.ebpf.take_map(name).expect("probe.bpf.c declares it, and it was not taken");
        map.try_into().expect("probe.bpf.c has a hash map of keys and values of that size")
    }

    pub(in crate::io) fn program(&mut self, name: &str) -> &mut SchedClassifier {
        let program = self.ebpf.program_mut(name).expect("probe.bpf.c defines it");
        program.try_into().expect("it is a classifier")
    }
}
