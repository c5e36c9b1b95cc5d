//! Counts what comes back from a forwarder, and how long it took.

use super::histogram::{self, BUCKETS};
use super::program::{Program, map_failed, padded};
use crate::io::Interface;
use crate::io::bpf::Attached;
use crate::lab::LabError;
use crate::wire::MacAddr;
use aya::maps::{MapData, PerCpuArray};
use hdrhistogram::Histogram;
use std::time::Duration;

static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/sink.bpf.o"));

/// `enum counter` of sink.bpf.c.
const DELIVERED: u32 = 0;
const ASTRAY: u32 = 1;

/// An XDP program on an interface that counts every frame and drops it: nothing else arrives
/// there while it is open.
pub struct Sink {
    counters: Counts,
    by_server: Counts,
    latencies: Counts,
    servers: u16,
    _attached: Attached,
    _program: Program,
}

type Counts = PerCpuArray<MapData, u64>;

/// What had arrived at some moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Arrivals {
    /// Frames from the forwarder to a real server.
    pub delivered: u64,
    /// Other IPv4 frames.
    pub astray: u64,
    /// Of `delivered`, by real server.
    pub by_server: Vec<u64>,
    /// Stamped ones of `delivered`, by bucket of latency.
    latencies: Vec<u64>,
}

impl Sink {
    /// Attaches to `interface`, in the driver if that is possible. Frames count as delivered if they
    /// come from `forwarder` and go to one of the first `servers` addresses of
    /// [`super::dut::server_mac`], or to `interface` itself, which then stands for the first.
    ///
    /// # Errors
    /// [`LabError::Failed`] if the kernel refuses, mostly since another XDP program is there.
    pub fn open(interface: &Interface, forwarder: MacAddr, servers: u16) -> Result<Self, LabError> {
        let globals: [(_, &[u8]); 3] = [
            ("forwarder", &padded(forwarder)),
            ("own_mac", &padded(interface.mac)),
            ("servers", &u32::from(servers).to_ne_bytes()),
        ];
        let mut program = Program::load(OBJECT, "bench_sink", &globals)?;
        let attached = program.attach(interface)?;
        Ok(Self {
            counters: program.take_map("counters"),
            by_server: program.take_map("by_server"),
            latencies: program.take_map("latencies"),
            servers,
            _attached: attached,
            _program: program,
        })
    }

    /// How many frames have been delivered so far.
    ///
    /// # Errors
    /// [`LabError::Failed`] if the kernel refuses to tell.
    pub fn delivered(&self) -> Result<u64, LabError> {
        sum(&self.counters, DELIVERED)
    }

    /// Everything that has arrived so far. It takes thousands of system calls.
    ///
    /// # Errors
    /// [`LabError::Failed`] if the kernel refuses to tell.
    pub fn arrivals(&self) -> Result<Arrivals, LabError> {
        Ok(Arrivals {
            delivered: self.delivered()?,
            astray: sum(&self.counters, ASTRAY)?,
            by_server: sums(&self.by_server, self.servers.into())?,
            latencies: sums(&self.latencies, BUCKETS)?,
        })
    }

    /// Waits until `sent` frames have arrived since `before`, or none has for `quiet`.
    ///
    /// # Errors
    /// [`LabError::Failed`] if the kernel refuses to tell.
    pub fn settle(&self, sent: u64, before: &Arrivals, quiet: Duration) -> Result<(), LabError> {
        let step = Duration::from_millis(5);
        let (mut seen, mut silence) = (self.delivered()?, Duration::ZERO);
        while silence < quiet && seen - before.delivered < sent {
            std::thread::sleep(step);
            let now = self.delivered()?;
            silence = if now == seen { silence + step } else { Duration::ZERO };
            seen = now;
        }
        Ok(())
    }
}

impl Arrivals {
    /// What has arrived since `before`.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        let each =
            |now: &[u64], before: &[u64]| now.iter().zip(before).map(|(now, before)| now - before).collect();
        Self {
            delivered: self.delivered - before.delivered,
            astray: self.astray - before.astray,
            by_server: each(&self.by_server, &before.by_server),
            latencies: each(&self.latencies, &before.latencies),
        }
    }

    /// The latencies of the stamped frames, from the making of the frame to the sink, in ns.
    #[must_use]
    pub fn latency(&self) -> Histogram<u64> {
        histogram::histogram(&self.latencies)
    }
}

fn sum(counts: &Counts, index: u32) -> Result<u64, LabError> {
    counts.get(&index, 0).map(|each| each.iter().sum()).map_err(|error| map_failed(&error))
}

fn sums(counts: &Counts, len: u32) -> Result<Vec<u64>, LabError> {
    (0..len).map(|index| sum(counts, index)).collect()
}
