//! One DUT's veth pair: the generator and the sink at one end, the DUT at the other.

use super::dut::{self, FORWARDER, Forwarder, INTERFACE, Plan, SERVICE, Site};
use super::generator::Generator;
use super::namespace::Namespace;
use super::sink::Sink;
use super::trial::Dut;
use crate::io::Interface;
use crate::lab::LabError;
use std::collections::BTreeMap;

/// The generator's and the sink's interface.
const OUTSIDE: &str = "gen0";
/// Its MAC address.
const OUTSIDE_MAC: &str = "02:00:00:00:00:01";
/// The forwarder's own address.
const FORWARDER_ADDRESS: &str = "172.17.0.1/16";
/// Frames that may be under way while connections are opened: less than any ring holds.
const WINDOW: u32 = 1024;

/// The fields are dropped from the first to the last: what runs ends before what it runs on.
pub(super) struct PortPair {
    pub(super) forwarder: Box<dyn Forwarder>,
    pub(super) generator: Generator,
    pub(super) sink: Sink,
    pub(super) outside: Namespace,
    inside: Namespace,
    dut: Dut,
}

impl PortPair {
    /// Builds the pair and starts the DUT.
    pub(super) fn up(plan: &Plan<'_>) -> Result<Self, LabError> {
        let (dut, traffic) = (plan.dut, plan.traffic);
        let (outside, inside) = pair(plan.name, dut)?;
        let here = outside.enter(None, || lookup(OUTSIDE))?;
        let sink = outside.enter(None, || Sink::open(&here, FORWARDER, traffic.servers))?;
        let generator = Generator::open(&here, FORWARDER, SERVICE, traffic)?;
        let interface = inside.enter(None, || lookup(INTERFACE))?;
        let forwarder = dut::start(&Site { plan, namespace: &inside, interface, station: None })?;
        Ok(Self { forwarder, generator, sink, outside, inside, dut })
    }

    /// Opens every connection of the traffic, on `core`; none for DUTs that keep none.
    pub(super) fn prime(&mut self, core: usize, interrupt: &crate::lab::Interrupt) -> Result<(), LabError> {
        let Some(before) = self.forwarder.connections()? else { return Ok(()) };
        let Self { generator, sink, outside, .. } = self;
        let flows = generator.traffic().flows;
        outside.enter(Some(core), || generator.prime_by_window(WINDOW, || sink.delivered(), interrupt))?;
        let opened = self.forwarder.connections()?.unwrap_or_default().saturating_sub(before);
        if opened == u64::from(flows) {
            return Ok(());
        }
        Err(LabError::Failed(format!(
            "{} has opened {opened} connections instead of {flows}",
            self.dut.name()
        )))
    }

    /// Frames lost so far whose cause is known.
    pub(super) fn losses(&self) -> Result<BTreeMap<String, u64>, LabError> {
        let mut losses = self.forwarder.losses()?;
        let here = statistics(&self.outside, OUTSIDE)?;
        let there = statistics(&self.inside, INTERFACE)?;
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

/// A namespace for each end, and the veth pair between them: one queue, no offloads.
fn pair(name: &str, dut: Dut) -> Result<(Namespace, Namespace), LabError> {
    let namespace = |end: &str| Namespace::new(format!("{name}-{}-{end}", dut.name()));
    let (outside, inside) = (namespace("gen")?, namespace("fwd")?);
    outside.shell(&format!(
        "ip link add {OUTSIDE} address {OUTSIDE_MAC} numrxqueues 1 numtxqueues 1 type veth \
         peer name {INTERFACE} address {FORWARDER} netns {} numrxqueues 1 numtxqueues 1",
        inside.name()
    ))?;
    for (end, interface) in [(&outside, OUTSIDE), (&inside, INTERFACE)] {
        end.shell(&format!("ethtool -K {interface} tx off gso off tso off gro off >/dev/null"))?;
        end.shell(&format!("ip link set {interface} up"))?;
    }
    inside.shell(&format!("ip address add {FORWARDER_ADDRESS} dev {INTERFACE}"))?;
    Ok((outside, inside))
}

fn lookup(name: &str) -> Result<Interface, LabError> {
    Interface::lookup(name).map_err(|error| LabError::Failed(error.to_string()))
}

/// What the driver counts (veth_get_ethtool_stats in drivers/net/veth.c), and `tx_dropped`.
pub(super) fn statistics(namespace: &Namespace, interface: &str) -> Result<BTreeMap<String, u64>, LabError> {
    let text = namespace.shell(&format!(
        "ethtool -S {interface}; echo tx_dropped: $(cat /sys/class/net/{interface}/statistics/tx_dropped)"
    ))?;
    let pairs = text.lines().filter_map(|line| line.split_once(':'));
    Ok(pairs.filter_map(|(name, value)| Some((name.trim().to_owned(), value.trim().parse().ok()?))).collect())
}
