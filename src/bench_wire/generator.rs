//! Traffic generator: frames of many connections, made and sent by an XDP program.

use super::anchor::Anchor;
use super::program::{BenchProgram, map_failed, padded};
use super::trial::{Offered, Traffic, TrafficKind};
use crate::io::Interface;
use crate::lab::Interrupt;
use crate::model::Diagnostic;
use crate::sys::live_frames::{BURST_MAX, run_live};
use crate::wire::MacAddr;
use aya::maps::{Array, MapData};
use nix::sys::time::TimeValLike;
use nix::time::{ClockId, clock_gettime};
use std::io::ErrorKind;
use std::net::SocketAddrV4;
use std::time::{Duration, Instant};

static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/generate.bpf.o"));

/// Frames per system call at full speed: amortizes its set-up, and takes a few milliseconds at most.
const RUN: u32 = 64 * BURST_MAX;
/// Maximum of frames per system call, so that a signal takes effect within a second.
const RUN_MAX: u64 = 1 << 20;
/// Interval of timestamped frames at full speed. Odd, so that every position in a burst is sampled.
const STAMP_EVERY: u64 = 61;
/// Timestamped frames a second below full speed, approximately.
const STAMPS_PER_SECOND: u64 = 20_000;
/// Highest rate of single frames, per second. Above, frames leave in bursts, because singles are too slow.
const SINGLES_PER_SECOND: u64 = 400_000;
/// Rate from which the BPF program itself paces frames, per second. Below, it would occupy its core too long, and a
/// system call per frame is fast enough.
const PACED_BY_PROGRAM: u64 = 20_000;
/// System calls a second while the program paces.
const CALLS_PER_SECOND: u64 = 10;
/// Time limit of a paced run that is late, as a multiple of its duration.
const GRACE: f64 = 1.25;
/// Time limit for the arrival of a frame at low load.
const ARRIVAL_TIMEOUT: Duration = Duration::from_secs(2);

/// Traffic generator: an XDP program that makes frames, run by BPF_PROG_RUN.
///
/// The interface must have an XDP program of its own, such as the [`super::sink::Sink`]'s, and its
/// driver must support XDP_TX. Frames leave in evenly spread bursts of [`Generator::burst`], back-to-back
/// (RFC 1242 section 3.1) within a burst. IPv4 and TCP checksums are correct.
pub struct Generator {
    _anchor: Anchor,
    program: BenchProgram,
    states: Array<MapData, GeneratorState>,
    template: Vec<u8>,
    interface: u32,
    traffic: Traffic,
}

/// `struct state` of generate.bpf.c: random, made, new clients, make, stamp_every, until_stamp, start,
/// interval, burst.
type GeneratorState = [u64; 9];
const RANDOM: usize = 0;
const MADE: usize = 1;
const NEW_CLIENTS: usize = 2;

/// `enum make` of generate.bpf.c.
#[derive(Clone, Copy, Debug)]
enum Make {
    Prime = 0,
    Established = 1,
    Flood = 2,
    Mixed = 3,
}

/// Frames sent by one run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SentFrames {
    /// Number of frames.
    pub frames: u64,
    /// Time from the first frame to the last.
    pub elapsed: Duration,
}

impl Generator {
    /// Loads a generator of `traffic` for the TCP service `service`, from `interface` to the MAC address `peer`.
    ///
    /// # Errors
    /// `InvalidArgument` if the traffic is invalid; `System` if the kernel refuses.
    pub fn open(
        interface: &Interface,
        peer: MacAddr,
        service: SocketAddrV4,
        traffic: Traffic,
    ) -> Result<Self, Diagnostic> {
        check(&traffic)?;
        let globals: [(_, &[u8]); 7] = [
            ("interface", &interface.index.to_ne_bytes()),
            ("destination", &padded(peer)),
            ("source", &padded(interface.mac)),
            ("vip", &service.ip().octets()),
            ("port", &u32::from(service.port().to_be()).to_ne_bytes()),
            ("flows", &traffic.flows.to_ne_bytes()),
            ("ip_len", &u32::from(ip_len(&traffic)).to_ne_bytes()),
        ];
        let mut program = BenchProgram::load(OBJECT, "bench_generate", &globals)?;
        let _anchor = Anchor::new(&mut program)?;
        let mut states: Array<MapData, GeneratorState> = program.take_map("states");
        let random = getrandom::u64().map_err(|error| Diagnostic::system(error.to_string()))? | 1;
        let mut state = GeneratorState::default();
        state[RANDOM] = random;
        states.set(0, state, 0).map_err(|error| map_failed(&error))?;
        let template = vec![0; traffic.frame_len.into()];
        Ok(Self { _anchor, program, states, template, interface: interface.index, traffic })
    }

    /// Frames per burst at the offered load `offered`.
    #[must_use]
    pub fn burst(offered: Offered) -> u32 {
        match offered {
            Offered::Full => BURST_MAX,
            Offered::PerSecond(rate) => rate.div_ceil(SINGLES_PER_SECOND).clamp(1, BURST_MAX.into()) as u32,
        }
    }

    /// Sends a SYN and an ACK for each connection of the traffic in turn, at `per_second` frames.
    ///
    /// Called, like [`Generator::run`], in the interface's network namespace, on the generator's core.
    ///
    /// # Errors
    /// As [`Generator::run`].
    pub fn prime(&mut self, per_second: u64, interrupt: &Interrupt) -> Result<SentFrames, Diagnostic> {
        let frames = 2 * u64::from(self.traffic.flows);
        self.reset(Make::Prime, 0, Some(per_second))?;
        self.pace(per_second, frames, Duration::MAX, interrupt)
    }

    /// Sends a SYN and an ACK for each connection in turn, with at most `window` frames in flight. `arrived`
    /// returns a running count of arrivals.
    ///
    /// # Errors
    /// As [`Generator::run`]; also if frames are lost.
    pub fn prime_by_window(
        &mut self,
        window: u32,
        arrived: impl Fn() -> Result<u64, Diagnostic>,
        interrupt: &Interrupt,
    ) -> Result<SentFrames, Diagnostic> {
        self.reset(Make::Prime, 0, None)?;
        let (frames, before, start) = (2 * u64::from(self.traffic.flows), arrived()?, Instant::now());
        let (mut sent, mut last_arrival) = (0, Instant::now());
        while sent < frames {
            interrupt.check()?;
            self.send((frames - sent).min(window.into()) as u32, BURST_MAX)?;
            sent = self.state()?[MADE];
            while arrived()? - before < sent {
                if last_arrival.elapsed() > ARRIVAL_TIMEOUT {
                    return Err(lost(sent, arrived()? - before));
                }
            }
            last_arrival = Instant::now();
        }
        Ok(SentFrames { frames: sent, elapsed: start.elapsed() })
    }

    /// Traffic of this generator.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        self.traffic
    }

    /// Sends frames of the traffic's kind for `duration`. At a rate above its speed it takes up to 25 % longer and
    /// sends fewer.
    ///
    /// # Errors
    /// `Interrupted`; `System` if the kernel refuses.
    pub fn run(
        &mut self,
        offered: Offered,
        duration: Duration,
        interrupt: &Interrupt,
    ) -> Result<SentFrames, Diagnostic> {
        let make = match self.traffic.kind {
            TrafficKind::Established => Make::Established,
            TrafficKind::Flood => Make::Flood,
            TrafficKind::Mixed => Make::Mixed,
        };
        match offered {
            Offered::Full => {
                self.reset(make, STAMP_EVERY, None)?;
                self.run_at_full_speed(duration, interrupt)
            }
            Offered::PerSecond(rate) => {
                self.reset(make, (rate / STAMPS_PER_SECOND) | 1, Some(rate))?;
                let frames = (rate as f64 * duration.as_secs_f64()) as u64; // far below 2^53
                self.pace(rate, frames, duration.mul_f64(GRACE), interrupt)
            }
        }
    }

    /// Resets the counters for a run of frames by `make`, at `rate` frames a second if given.
    fn reset(&mut self, make: Make, stamp_every: u64, rate: Option<u64>) -> Result<(), Diagnostic> {
        let old = self.state()?;
        let paced = rate.filter(|rate| *rate >= PACED_BY_PROGRAM);
        let interval = paced.map_or(0, |rate| (1_000_000_000 << 10) / rate);
        let burst = Self::burst(rate.map_or(Offered::Full, Offered::PerSecond)).into();
        let start = clock_gettime(ClockId::CLOCK_MONOTONIC).map_err(clock_failed)?;
        let start = start.num_nanoseconds().cast_unsigned(); // since boot: never negative
        let (random, new_clients) = (old[RANDOM], old[NEW_CLIENTS]);
        let state = [random, 0, new_clients, make as u64, stamp_every, 0, start, interval, burst];
        self.states.set(0, state, 0).map_err(|error| map_failed(&error))
    }

    fn state(&self) -> Result<GeneratorState, Diagnostic> {
        self.states.get(&0, 0).map_err(|error| map_failed(&error))
    }

    fn run_at_full_speed(
        &mut self,
        duration: Duration,
        interrupt: &Interrupt,
    ) -> Result<SentFrames, Diagnostic> {
        let start = Instant::now();
        while start.elapsed() < duration {
            interrupt.check()?;
            self.send(RUN, BURST_MAX)?;
        }
        self.sent(start)
    }

    /// Sends `frames` frames at `rate` a second, catching up when late, until `time_limit`.
    fn pace(
        &mut self,
        rate: u64,
        frames: u64,
        time_limit: Duration,
        interrupt: &Interrupt,
    ) -> Result<SentFrames, Diagnostic> {
        let burst = Self::burst(Offered::PerSecond(rate));
        let calls = if rate < PACED_BY_PROGRAM { rate } else { CALLS_PER_SECOND };
        let each = (rate / calls.max(1)).clamp(1, RUN_MAX);
        let (start, mut sent) = (Instant::now(), 0);
        while sent < frames && start.elapsed() < time_limit {
            interrupt.check()?;
            if rate < PACED_BY_PROGRAM && ((start.elapsed().as_secs_f64() * rate as f64) as u64) < sent {
                std::hint::spin_loop();
                continue;
            }
            let now = each.min(frames - sent);
            self.send(now as u32, burst)?; // at most RUN_MAX
            sent += now;
        }
        self.sent(start)
    }

    fn sent(&self, start: Instant) -> Result<SentFrames, Diagnostic> {
        Ok(SentFrames { elapsed: start.elapsed(), frames: self.state()?[MADE] })
    }

    /// Runs the program `count` times. A signal may end it early; [`GeneratorState`] has the number of frames made.
    fn send(&mut self, count: u32, burst: u32) -> Result<(), Diagnostic> {
        match run_live(self.program.fd(), &self.template, self.interface, count, burst) {
            Err(error) if error.kind() != ErrorKind::Interrupted => {
                Err(Diagnostic::io("sending frames by BPF_PROG_RUN", &error))
            }
            _ => Ok(()),
        }
    }
}

fn clock_failed(error: nix::Error) -> Diagnostic {
    Diagnostic::io("reading the clock", &error.into())
}

fn lost(sent: u64, arrived: u64) -> Diagnostic {
    Diagnostic::system(format!(
        "of {sent} frames that open connections only {arrived} have arrived at a low rate"
    ))
}

/// Length of the IP packet in bytes. The shortest frame is a TCP segment without data, padded.
fn ip_len(traffic: &Traffic) -> u16 {
    if traffic.frame_len == 60 { 40 } else { traffic.frame_len - 14 }
}

fn check(traffic: &Traffic) -> Result<(), Diagnostic> {
    if !(60..=1514).contains(&traffic.frame_len) {
        let len = traffic.frame_len;
        return Err(Diagnostic::invalid_argument(format!("a frame has 60 to 1514 bytes, not {len}")));
    }
    if traffic.flows == 0 || traffic.servers == 0 {
        return Err(Diagnostic::invalid_argument("there must be at least one flow and one real server"));
    }
    Ok(())
}
