//! Progress of the tests of the gateway's ARP entries: what is calibrated, what was found, and the test on its way.

use crate::random::SplitMix64;
use crate::wire::MacAddr;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

/// Frames of a test that is a sign of another entry.
const TRIES: u8 = 3;

/// The gateway, and its tests.
#[derive(Debug)]
pub(super) struct GatewayTests {
    pub(super) gateway: Option<Ipv4Addr>,
    /// Its MAC address; `None` while it does not answer.
    pub(super) mac: Option<MacAddr>,
    /// Tests by VIP.
    pub(super) tests: BTreeMap<Ipv4Addr, VipTest>,
    /// The test that is on its way.
    pub(super) trial: Option<GatewayTrial>,
    /// The auditor's last frame was one of these tests.
    pub(super) was_last: bool,
    pub(super) random: SplitMix64,
    pub(super) mark: u32,
}

/// Test of the entry for a VIP. Times are in milliseconds of the auditor's clock.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct VipTest {
    pub(super) due: u64,
    /// MAC address of the gateway from which a frame came back.
    pub(super) calibrated: Option<MacAddr>,
    pub(super) diversion: Option<Diversion>,
}

/// The entry is another host's.
#[derive(Clone, Copy, Debug)]
pub(super) struct Diversion {
    /// MAC address of the gateway.
    pub(super) mac: MacAddr,
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) count: u64,
}

/// A test on its way.
#[derive(Clone, Copy, Debug)]
pub(super) struct GatewayTrial {
    pub(super) vip: Ipv4Addr,
    pub(super) number: u32,
    pub(super) stage: TrialStage,
    /// Frames sent.
    pub(super) tries: u8,
    /// End of the wait for the last frame or question; `None` if the next is to be sent.
    pub(super) until: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TrialStage {
    /// Waits for the frame to come back.
    Frame,
    /// Waits for the gateway's MAC address.
    Question,
}

impl GatewayTests {
    pub(super) fn new(seed: u64) -> Self {
        let mut random = SplitMix64::new(!seed);
        let mark = random.next() as u32;
        let tests = BTreeMap::new();
        Self { gateway: None, mac: None, tests, trial: None, was_last: false, random, mark }
    }

    /// Number of frames after which silence counts.
    pub(super) fn tries(&self, vip: Ipv4Addr) -> u8 {
        let test = self.tests.get(&vip).copied().unwrap_or_default();
        if self.is_calibrated(&test) && test.diversion.is_none() { TRIES } else { 1 }
    }

    fn is_calibrated(&self, test: &VipTest) -> bool {
        self.mac.is_some() && test.calibrated == self.mac
    }

    /// Ends the test on its way, without a result.
    pub(super) fn interrupt(&mut self) {
        self.trial = None;
    }

    /// Ends the test on its way. The VIP is tested again at `due`.
    pub(super) fn complete(&mut self, vip: Ipv4Addr, due: u64) {
        self.trial = None;
        self.tests.entry(vip).or_default().due = due;
    }
}
