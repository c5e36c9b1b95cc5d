//! A trial (RFC 2544 section 23): one DUT, one offered load, one duration, and the outcome.

use crate::model::Diagnostic;
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// A device under test.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, clap::ValueEnum,
)]
#[serde(rename_all = "kebab-case")]
pub enum Dut {
    /// directrix over AF_XDP
    Xdp,
    /// directrix over AF_PACKET
    Packet,
    /// A bare AF_XDP forwarder with the same rings: new MAC addresses, no scheduling
    L2fwd,
    /// An XDP program that returns frames from the driver (XDP_TX), server chosen by hash
    Hairpin,
    /// nftables at netdev ingress, server chosen by hash
    Nft,
    /// Any device behind a real interface; its user runs it
    #[value(skip)]
    External,
}

impl Dut {
    /// Name on the command line and in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Xdp => "xdp",
            Self::Packet => "packet",
            Self::L2fwd => "l2fwd",
            Self::Hairpin => "hairpin",
            Self::Nft => "nft",
            Self::External => "external",
        }
    }
}

/// Traffic of the generator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    /// Number of connections; each frame belongs to one drawn at random.
    pub flows: u32,
    /// Real servers behind the VIP.
    pub servers: u16,
    /// Frame length in bytes, without FCS: 60..=1514.
    pub frame_len: u16,
    /// Kind of frames.
    pub kind: TrafficKind,
}

/// Kind of frames in a trial.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum TrafficKind {
    /// ACKs of connections opened before
    #[default]
    Established,
    /// SYNs of new clients
    Flood,
    /// Half ACKs of open connections, half SYNs of new clients
    Mixed,
}

impl TrafficKind {
    /// Name on the command line and in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Established => "established",
            Self::Flood => "flood",
            Self::Mixed => "mixed",
        }
    }
}

/// Offered load (RFC 2285 section 3.5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Offered {
    /// Full speed of the generator.
    Full,
    /// Frames a second, evenly spread.
    PerSecond(u64),
}

/// Outcome of one trial.
#[derive(Clone, Debug)]
pub struct TrialOutcome {
    /// Duration of sending.
    pub elapsed: Duration,
    /// Frames sent by the generator.
    pub sent: u64,
    /// Frames counted by the sink, addressed to a real server.
    pub delivered: u64,
    /// Lost frames by cause: `ring_full`, `no_buffer`, drop reasons, and `elsewhere` for frames without a
    /// known cause.
    pub losses: BTreeMap<String, u64>,
    /// Latency from generator to sink, in ns, of a sample of the frames.
    pub latency: Histogram<u64>,
    /// Busy share of each core, 0.0..=1.0, by core number.
    pub cores: Vec<f64>,
    /// Cycles and instructions of the DUT's core, kernel and user, per delivered frame; `None` without
    /// hardware counters.
    pub counters: Option<PerFrame>,
}

impl TrialOutcome {
    /// Frames a second sent by the generator.
    #[must_use]
    pub fn offered_rate(&self) -> f64 {
        self.sent as f64 / self.elapsed.as_secs_f64()
    }

    /// Frames a second counted by the sink.
    #[must_use]
    pub fn delivered_rate(&self) -> f64 {
        self.delivered as f64 / self.elapsed.as_secs_f64()
    }

    /// Whether every frame arrived. A trial without frames is not lossless.
    #[must_use]
    pub fn is_lossless(&self) -> bool {
        self.sent > 0 && self.delivered >= self.sent
    }
}

/// Cost of one frame on the DUT's core.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PerFrame {
    /// CPU cycles.
    pub cycles: f64,
    /// Instructions retired.
    pub instructions: f64,
}

/// An environment for trials.
///
/// All DUTs are set up at once. One is selected; the others are suspended: they keep their connections and take no
/// CPU time.
pub trait Testbed {
    /// Opens the connections of the traffic through `dut`, slowly enough to lose no frame. Called once for each
    /// DUT before its first trial.
    ///
    /// # Errors
    /// [`Diagnostic`] if frames are lost or the DUT has ended.
    fn prime(&mut self, dut: Dut) -> Result<(), Diagnostic>;

    /// Offers frames to `dut` for `duration` and waits for the frames in flight.
    ///
    /// # Errors
    /// [`Diagnostic`] if the DUT has ended, or a signal has arrived.
    fn trial(&mut self, dut: Dut, offered: Offered, duration: Duration) -> Result<TrialOutcome, Diagnostic>;
}
