//! A pair of ports joined by a veth: the tester's, with generator and sink, and the DUT's.

use super::dut::{self, DUT_MAC, DutSetup, DutSpec, INTERFACE, RunningDut, SERVICE};
use super::generator::Generator;
use super::namespace::Namespace;
use super::sink::Sink;
use super::trial::Dut;
use crate::io::Interface;
use crate::model::Diagnostic;
use std::collections::BTreeMap;

/// Interface of the tester's port.
const TESTER: &str = "gen0";
/// MAC address of the tester's port.
const TESTER_MAC: &str = "02:00:00:00:00:01";
/// IPv4 address of the DUT's port.
const DUT_ADDRESS: &str = "172.17.0.1/16";
/// Frames in flight while connections are opened: fewer than any ring holds.
const WINDOW: u32 = 1024;

/// Both ports with what runs on them. Fields are dropped in order: processes before their namespaces.
pub(super) struct VethPair {
    pub(super) running: Box<dyn RunningDut>,
    pub(super) generator: Generator,
    pub(super) sink: Sink,
    pub(super) tester: Namespace,
    dut_side: Namespace,
    dut: Dut,
}

impl VethPair {
    /// Builds the veth pair and starts the DUT.
    pub(super) fn up(spec: &DutSpec<'_>) -> Result<Self, Diagnostic> {
        let (dut, traffic) = (spec.dut, spec.traffic);
        let (tester, dut_side) = create(spec.name, dut)?;
        let here = tester.enter(None, || Interface::lookup(TESTER))?;
        let sink = tester.enter(None, || Sink::open(&here, DUT_MAC, traffic.servers))?;
        let generator = Generator::open(&here, DUT_MAC, SERVICE, traffic)?;
        let interface = dut_side.enter(None, || Interface::lookup(INTERFACE))?;
        let running = dut::start(&DutSetup { spec, namespace: &dut_side, interface, station: None })?;
        Ok(Self { running, generator, sink, tester, dut_side, dut })
    }

    /// Opens every connection of the traffic, with the generator on `core`. Does nothing for a DUT without a table.
    pub(super) fn prime(&mut self, core: usize, interrupt: &crate::lab::Interrupt) -> Result<(), Diagnostic> {
        let Some(before) = self.running.connections()? else { return Ok(()) };
        let Self { generator, sink, tester, .. } = self;
        let flows = generator.traffic().flows;
        tester.enter(Some(core), || generator.prime_by_window(WINDOW, || sink.delivered(), interrupt))?;
        let opened = self.running.connections()?.unwrap_or_default().saturating_sub(before);
        if opened == u64::from(flows) {
            return Ok(());
        }
        Err(Diagnostic::system(format!(
            "{} has opened {opened} connections instead of {flows}",
            self.dut.name()
        )))
    }

    /// Frames lost so far, by known cause.
    pub(super) fn losses(&self) -> Result<BTreeMap<String, u64>, Diagnostic> {
        let mut losses = self.running.losses()?;
        let here = statistics(&self.tester, TESTER)?;
        let there = statistics(&self.dut_side, INTERFACE)?;
        let of = |counts: &BTreeMap<String, u64>, name: &str| counts.get(name).copied().unwrap_or_default();
        losses.insert("interface_full".into(), of(&here, "tx_queue_0_xdp_xmit_errors"));
        losses
            .insert("return_full".into(), of(&there, "rx_queue_0_xdp_tx_errors") + of(&there, "tx_dropped"));
        if self.dut == Dut::L2fwd {
            losses.insert("ring_full".into(), of(&there, "rx_queue_0_drops"));
        }
        Ok(losses)
    }
}

/// Creates a namespace for each end and the veth pair between them: one queue, no offloads.
fn create(name: &str, dut: Dut) -> Result<(Namespace, Namespace), Diagnostic> {
    let namespace = |end: &str| Namespace::new(format!("{name}-{}-{end}", dut.name()));
    let (outside, inside) = (namespace("gen")?, namespace("fwd")?);
    outside.shell(&format!(
        "ip link add {TESTER} address {TESTER_MAC} numrxqueues 1 numtxqueues 1 type veth \
         peer name {INTERFACE} address {DUT_MAC} netns {} numrxqueues 1 numtxqueues 1",
        inside.name()
    ))?;
    for (end, interface) in [(&outside, TESTER), (&inside, INTERFACE)] {
        end.shell(&format!("ethtool -K {interface} tx off gso off tso off gro off >/dev/null"))?;
        end.shell(&format!("ip link set {interface} up"))?;
    }
    inside.shell(&format!("ip address add {DUT_ADDRESS} dev {INTERFACE}"))?;
    Ok((outside, inside))
}

/// Counters of the driver (`veth_get_ethtool_stats` in drivers/net/veth.c) and `tx_dropped`.
pub(super) fn statistics(
    namespace: &Namespace,
    interface: &str,
) -> Result<BTreeMap<String, u64>, Diagnostic> {
    let text = namespace.shell(&format!(
        "ethtool -S {interface}; echo tx_dropped: $(cat /sys/class/net/{interface}/statistics/tx_dropped)"
    ))?;
    let pairs = text.lines().filter_map(|line| line.split_once(':'));
    Ok(pairs.filter_map(|(name, value)| Some((name.trim().to_owned(), value.trim().parse().ok()?))).collect())
}
