//! The probe programs on an interface, and their maps.

use super::BpfLink;
use super::attach::once;
use super::errors::{probe_attach_error, probe_load_error, probe_switch_error};
use super::link::TcxHook;
use crate::io::Interface;
use crate::model::Diagnostic;
use aya::maps::{HashMap, MapData};
use aya::programs::SchedClassifier;
use aya::{Ebpf, EbpfLoader};
use std::os::fd::{AsFd, BorrowedFd};

static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/probe.bpf.o"));

const TO_VIP: &str = "probe_to_vip";
const FROM_VIP: &str = "probe_from_vip";
const IDLE: &str = "probe_idle";

/// A map of the probe programs, with keys and values of so many bytes.
pub(in crate::io) type ProbeMap<const KEY: usize, const VALUE: usize> =
    HashMap<MapData, [u8; KEY], [u8; VALUE]>;

/// The loaded probe programs.
pub(in crate::io) struct ProbePrograms {
    ebpf: Ebpf,
}

impl ProbePrograms {
    /// Loads the programs. Each of their maps holds `entries` keys.
    ///
    /// # Errors
    /// [`Diagnostic`] if the kernel refuses, mostly for lack of CAP_BPF.
    pub(in crate::io) fn load(interface: &Interface, entries: u32) -> Result<Self, Diagnostic> {
        let mut loader = EbpfLoader::new();
        // The programs read no kernel structure, and reading the kernel's BTF takes most of the time of a start.
        let loader =
            loader.btf(None).map_max_entries("probe_fwd", entries).map_max_entries("probe_back", entries);
        let ebpf = loader.load(OBJECT).map_err(|error| probe_load_error(interface, &error))?;
        let mut programs = Self { ebpf };
        for name in [TO_VIP, FROM_VIP, IDLE] {
            once(programs.program(name).load()).map_err(|error| probe_load_error(interface, &error))?;
        }
        Ok(programs)
    }

    /// Attaches the idle program at ingress and egress, before all other programs. Dropping the links detaches it.
    ///
    /// # Errors
    /// [`Diagnostic`] if a capability is missing or the kernel has no TCX (before Linux 6.6).
    pub(in crate::io) fn attach(&self, interface: &Interface) -> Result<[BpfLink; 2], Diagnostic> {
        let attach = |hook| {
            BpfLink::tcx(self.fd(IDLE), interface.index, hook)
                .map_err(|error| probe_attach_error(interface, &error))
        };
        Ok([attach(TcxHook::Ingress)?, attach(TcxHook::Egress)?])
    }

    /// Puts the translating programs, or the idle one, in the place of what these links have. Takes no capability.
    ///
    /// # Errors
    /// [`Diagnostic`] if the kernel refuses, as after a link was detached by force.
    pub(in crate::io) fn switch(&self, [ingress, egress]: &[BpfLink; 2], on: bool) -> Result<(), Diagnostic> {
        // A packet that the egress program alone translates would get replies that no socket has.
        let order = match on {
            true => [(ingress, FROM_VIP), (egress, TO_VIP)],
            false => [(egress, IDLE), (ingress, IDLE)],
        };
        let switched = order.iter().try_for_each(|(link, program)| link.replace(self.fd(program)));
        switched.map_err(|error| probe_switch_error(&error))
    }

    fn fd(&self, name: &str) -> BorrowedFd<'_> {
        let program = self.ebpf.program(name).expect("probe.bpf.c defines it");
        let program: &SchedClassifier = program.try_into().expect("it is a classifier");
        program.fd().expect("it was loaded with the others").as_fd()
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
