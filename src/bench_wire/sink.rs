//! Sink: counts forwarded frames and their latencies.

use super::histogram::{self, BUCKETS};
use super::program::{BenchProgram, map_failed, padded};
use crate::io::Interface;
use crate::io::bpf::Attached;
use crate::model::Diagnostic;
use crate::wire::MacAddr;
use aya::maps::{MapData, PerCpuArray};
use hdrhistogram::Histogram;
use std::time::Duration;

static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/sink.bpf.o"));

/// `enum counter` of sink.bpf.c.
const DELIVERED: u32 = 0;
const ASTRAY: u32 = 1;

/// An XDP program that counts and drops every frame of an interface. The interface receives nothing else while it
/// is attached.
pub struct Sink {
    counters: Counts,
    by_server: Counts,
    latencies: Counts,
    servers: u16,
    _attached: Attached,
    _program: BenchProgram,
}

type Counts = PerCpuArray<MapData, u64>;

/// Counts of the sink at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Arrivals {
    /// Frames from the DUT to a real server.
    pub delivered: u64,
    /// Other IPv4 frames.
    pub astray: u64,
    /// Delivered frames by real server.
    pub by_server: Vec<u64>,
    /// Timestamped delivered frames by latency bucket.
    latencies: Vec<u64>,
}

impl Sink {
    /// Attaches to `interface`, in native mode if supported. A frame counts as delivered if it comes from `dut` and
    /// goes to one of the first `servers` addresses of [`super::dut::server_mac`]. The address of `interface` itself
    /// stands for the first server.
    ///
    /// # Errors
    /// `System` if the kernel refuses, usually because another XDP program is attached.
    pub fn open(interface: &Interface, dut: MacAddr, servers: u16) -> Result<Self, Diagnostic> {
        let globals: [(_, &[u8]); 3] = [
            ("dut", &padded(dut)),
            ("own_mac", &padded(interface.mac)),
            ("servers", &u32::from(servers).to_ne_bytes()),
        ];
        let mut program = BenchProgram::load(OBJECT, "bench_sink", &globals)?;
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

    /// Frames delivered so far.
    ///
    /// # Errors
    /// `System` if a map cannot be read.
    pub fn delivered(&self) -> Result<u64, Diagnostic> {
        sum(&self.counters, DELIVERED)
    }

    /// All counts so far. Takes thousands of system calls.
    ///
    /// # Errors
    /// `System` if a map cannot be read.
    pub fn arrivals(&self) -> Result<Arrivals, Diagnostic> {
        Ok(Arrivals {
            delivered: self.delivered()?,
            astray: sum(&self.counters, ASTRAY)?,
            by_server: sums(&self.by_server, self.servers.into())?,
            latencies: sums(&self.latencies, BUCKETS)?,
        })
    }

    /// Waits until `sent` frames have arrived since `before`, or no frame has for `quiet`.
    ///
    /// # Errors
    /// `System` if a map cannot be read.
    pub fn wait_for(&self, sent: u64, before: &Arrivals, quiet: Duration) -> Result<(), Diagnostic> {
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
    /// Difference to `before`.
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

    /// Latencies of the timestamped frames, from generator to sink, in ns.
    #[must_use]
    pub fn latency(&self) -> Histogram<u64> {
        histogram::histogram(&self.latencies)
    }
}

fn sum(counts: &Counts, index: u32) -> Result<u64, Diagnostic> {
    counts.get(&index, 0).map(|each| each.iter().sum()).map_err(|error| map_failed(&error))
}

fn sums(counts: &Counts, len: u32) -> Result<Vec<u64>, Diagnostic> {
    (0..len).map(|index| sum(counts, index)).collect()
}
