//! One trial: a DUT, an offered load, a stretch of time, and what came out.

use crate::lab::LabError;
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// Who forwards the frames.
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
    /// Whatever stands behind a real interface; its user runs it
    #[value(skip)]
    External,
}

impl Dut {
    /// As on the command line and in the reports.
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

/// What the generator sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    /// Connections; each frame is of one drawn at random.
    pub flows: u32,
    /// Real servers behind the VIP.
    pub servers: u16,
    /// Length of a frame in bytes, without its check sequence: 60..=1514.
    pub frame_len: u16,
    /// What the frames are.
    pub kind: Kind,
}

/// What the frames of a trial are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// ACKs of connections that were opened before
    #[default]
    Established,
    /// SYNs of new clients
    Flood,
    /// Half ACKs of open connections, half SYNs of new clients
    Mixed,
}

impl Kind {
    /// As on the command line and in the reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Established => "established",
            Self::Flood => "flood",
            Self::Mixed => "mixed",
        }
    }
}

/// How fast frames are offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Offered {
    /// As fast as the generator can.
    Full,
    /// So many frames a second, evenly spread.
    PerSecond(u64),
}

/// What came out of one trial.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// How long frames were offered.
    pub elapsed: Duration,
    /// Frames that the generator put on the wire.
    pub sent: u64,
    /// Frames that the sink saw, addressed to a real server.
    pub delivered: u64,
    /// Frames that were lost, by cause: `ring_full`, `no_buffer`, drop reasons, and `elsewhere` for
    /// those that nobody accounts for.
    pub losses: BTreeMap<String, u64>,
    /// Time from the generator to the sink, in ns, of a sample of the frames.
    pub latency: Histogram<u64>,
    /// Busy share of each core, 0.0..=1.0, by core number.
    pub cores: Vec<f64>,
    /// Cycles and instructions, kernel and user, of the core that forwards, per delivered frame;
    /// `None` where the machine does not count them.
    pub counters: Option<PerFrame>,
}

impl Outcome {
    /// Frames a second that the generator put on the wire.
    #[must_use]
    pub fn offered_rate(&self) -> f64 {
        self.sent as f64 / self.elapsed.as_secs_f64()
    }

    /// Frames a second that the sink saw.
    #[must_use]
    pub fn delivered_rate(&self) -> f64 {
        self.delivered as f64 / self.elapsed.as_secs_f64()
    }

    /// Whether every frame arrived. A trial without a frame shows nothing, and is not lossless.
    #[must_use]
    pub fn is_lossless(&self) -> bool {
        self.sent > 0 && self.delivered >= self.sent
    }
}

/// What one frame cost the core that forwards.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PerFrame {
    /// CPU cycles.
    pub cycles: f64,
    /// Instructions retired.
    pub instructions: f64,
}

/// Something that trials can be run on.
///
/// All DUTs are set up at once; those that are not on trial are suspended, so that they
/// keep their connections and take no time.
pub trait Testbed {
    /// Opens the connections of the traffic through `dut`, slowly enough to lose none. To
    /// be called once for each DUT before its first trial.
    ///
    /// # Errors
    /// [`LabError`] if frames are lost or the DUT is gone.
    fn prime(&mut self, dut: Dut) -> Result<(), LabError>;

    /// Offers frames to `dut` for `duration`, and waits until those under way have arrived.
    ///
    /// # Errors
    /// [`LabError`] if the DUT is gone, or a signal has asked for the end.
    fn trial(&mut self, dut: Dut, offered: Offered, duration: Duration) -> Result<Outcome, LabError>;
}
