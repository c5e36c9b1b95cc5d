//! Makes frames of many connections and sends them out of an interface.

use super::anchor::Anchor;
use super::program::{Program, map_failed, padded};
use super::trial::{Kind, Offered, Traffic};
use crate::io::Interface;
use crate::lab::{Interrupt, LabError};
use crate::sys::live_frames::{BURST_MAX, run_live};
use crate::wire::MacAddr;
use aya::maps::{Array, MapData};
use nix::sys::time::TimeValLike;
use nix::time::{ClockId, clock_gettime};
use std::io::ErrorKind;
use std::net::SocketAddrV4;
use std::time::{Duration, Instant};

static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/generate.bpf.o"));

/// Frames that one system call makes at full speed: enough to hide what it costs to set up, and
/// a few milliseconds at most.
const RUN: u32 = 64 * BURST_MAX;
/// Most that one makes, so that a signal is heard within a second.
const RUN_MAX: u64 = 1 << 20;
/// At full speed one frame in so many is stamped. Odd, so that over time every place in a burst is.
const STAMP_EVERY: u64 = 61;
/// Otherwise about so many a second.
const STAMPS_PER_SECOND: u64 = 20_000;
/// Frames leave one by one up to so many a second; above, they would not be made fast enough.
const SINGLES_PER_SECOND: u64 = 400_000;
/// From so many frames a second on the program itself waits for each; below, it would keep its core
/// from other work for too long, and there is time for a system call.
const OWN_PACE: u64 = 20_000;
/// System calls a second then.
const CALLS_PER_SECOND: u64 = 10;
/// A paced run that is late may take so much longer, as a factor, before it is cut off.
const GRACE: f64 = 1.25;
/// How long a frame may take at low load.
const PATIENCE: Duration = Duration::from_secs(2);

/// Sends frames by an XDP program that makes them and is run by BPF_PROG_RUN.
///
/// The interface must have an XDP program of its own, such as the [`super::sink::Sink`]'s, and its
/// driver must be able to send what XDP redirects. Frames leave in bursts of [`Generator::burst`],
/// evenly spread; within a burst they follow each other as fast as they are made. Both IPv4 and TCP
/// checksums are right.
pub struct Generator {
    _anchor: Anchor,
    program: Program,
    states: Array<MapData, State>,
    template: Vec<u8>,
    interface: u32,
    traffic: Traffic,
}

/// `struct state` of generate.bpf.c: random, made, new clients, make, stamp_every, until_stamp, start,
/// interval, burst.
type State = [u64; 9];
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

/// What was sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Frames.
    pub frames: u64,
    /// From the first to the last.
    pub elapsed: Duration,
}

impl Generator {
    /// A generator of `traffic` for the TCP service `service`, sent from `interface` to the
    /// station `peer`.
    ///
    /// # Errors
    /// [`LabError::Input`] if there can be no such frames; [`LabError::Failed`] if the kernel refuses.
    pub fn open(
        interface: &Interface,
        peer: MacAddr,
        service: SocketAddrV4,
        traffic: Traffic,
    ) -> Result<Self, LabError> {
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
        let mut program = Program::load(OBJECT, "bench_generate", &globals)?;
        let _anchor = Anchor::new(&mut program)?;
        let mut states: Array<MapData, State> = program.take_map("states");
        let random = getrandom::u64().map_err(|error| LabError::Failed(error.to_string()))? | 1;
        let mut state = State::default();
        state[RANDOM] = random;
        states.set(0, state, 0).map_err(|error| map_failed(&error))?;
        let template = vec![0; traffic.frame_len.into()];
        Ok(Self { _anchor, program, states, template, interface: interface.index, traffic })
    }

    /// Frames that are sent at once at `offered`.
    #[must_use]
    pub fn burst(offered: Offered) -> u32 {
        match offered {
            Offered::Full => BURST_MAX,
            Offered::PerSecond(rate) => rate.div_ceil(SINGLES_PER_SECOND).clamp(1, BURST_MAX.into()) as u32,
        }
    }

    /// Sends a SYN and an ACK for each connection of the traffic in turn, at `per_second` frames.
    ///
    /// To be called, like [`Generator::run`], in the interface's network namespace, on the core that
    /// is to do the work.
    ///
    /// # Errors
    /// As [`Generator::run`].
    pub fn prime(&mut self, per_second: u64, interrupt: &Interrupt) -> Result<Sent, LabError> {
        let frames = 2 * u64::from(self.traffic.flows);
        self.begin(Make::Prime, 0, Some(per_second))?;
        self.pace(per_second, frames, (Duration::MAX, interrupt))
    }

    /// Sends a SYN and an ACK for each connection in turn, as fast as they arrive: at most `window`
    /// frames are under way. `arrived` counts those that have arrived, from any number on.
    ///
    /// # Errors
    /// As [`Generator::run`]; also if frames are lost.
    pub fn prime_by_window(
        &mut self,
        window: u32,
        arrived: impl Fn() -> Result<u64, LabError>,
        interrupt: &Interrupt,
    ) -> Result<Sent, LabError> {
        self.begin(Make::Prime, 0, None)?;
        let (frames, before, start) = (2 * u64::from(self.traffic.flows), arrived()?, Instant::now());
        let (mut sent, mut heard) = (0, Instant::now());
        while sent < frames {
            interrupt.check()?;
            self.send((frames - sent).min(window.into()) as u32, BURST_MAX)?;
            sent = self.state()?[MADE];
            while arrived()? - before < sent {
                if heard.elapsed() > PATIENCE {
                    return Err(lost(sent, arrived()? - before));
                }
            }
            heard = Instant::now();
        }
        Ok(Sent { frames: sent, elapsed: start.elapsed() })
    }

    /// What it sends.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        self.traffic
    }

    /// Sends frames of the traffic's kind for `duration`. At a rate that cannot be kept it takes
    /// somewhat longer, and sends fewer.
    ///
    /// # Errors
    /// [`LabError::Interrupted`]; [`LabError::Failed`] if the kernel refuses.
    pub fn run(
        &mut self,
        offered: Offered,
        duration: Duration,
        interrupt: &Interrupt,
    ) -> Result<Sent, LabError> {
        let make = match self.traffic.kind {
            Kind::Established => Make::Established,
            Kind::Flood => Make::Flood,
            Kind::Mixed => Make::Mixed,
        };
        match offered {
            Offered::Full => {
                self.begin(make, STAMP_EVERY, None)?;
                self.flat_out(duration, interrupt)
            }
            Offered::PerSecond(rate) => {
                self.begin(make, (rate / STAMPS_PER_SECOND) | 1, Some(rate))?;
                let frames = (rate as f64 * duration.as_secs_f64()) as u64; // far below 2^53
                self.pace(rate, frames, (duration.mul_f64(GRACE), interrupt))
            }
        }
    }

    /// Begins anew to count, with frames by `make`, at `rate` a second if there is one.
    fn begin(&mut self, make: Make, stamp_every: u64, rate: Option<u64>) -> Result<(), LabError> {
        let old = self.state()?;
        let own_pace = rate.filter(|rate| *rate >= OWN_PACE);
        let interval = own_pace.map_or(0, |rate| (1_000_000_000 << 10) / rate);
        let burst = Self::burst(rate.map_or(Offered::Full, Offered::PerSecond)).into();
        let start = clock_gettime(ClockId::CLOCK_MONOTONIC).map_err(clock_failed)?;
        let start = start.num_nanoseconds().cast_unsigned(); // since boot: never negative
        let (random, new_clients) = (old[RANDOM], old[NEW_CLIENTS]);
        let state = [random, 0, new_clients, make as u64, stamp_every, 0, start, interval, burst];
        self.states.set(0, state, 0).map_err(|error| map_failed(&error))
    }

    fn state(&self) -> Result<State, LabError> {
        self.states.get(&0, 0).map_err(|error| map_failed(&error))
    }

    fn flat_out(&mut self, duration: Duration, interrupt: &Interrupt) -> Result<Sent, LabError> {
        let start = Instant::now();
        while start.elapsed() < duration {
            interrupt.check()?;
            self.send(RUN, BURST_MAX)?;
        }
        self.sent(start)
    }

    /// Sends `frames` frames at `rate` a second; what is late is made up for, until `longest` is over.
    fn pace(
        &mut self,
        rate: u64,
        frames: u64,
        (longest, interrupt): (Duration, &Interrupt),
    ) -> Result<Sent, LabError> {
        let burst = Self::burst(Offered::PerSecond(rate));
        let calls = if rate < OWN_PACE { rate } else { CALLS_PER_SECOND };
        let each = (rate / calls.max(1)).clamp(1, RUN_MAX);
        let (start, mut sent) = (Instant::now(), 0);
        while sent < frames && start.elapsed() < longest {
            interrupt.check()?;
            if rate < OWN_PACE && ((start.elapsed().as_secs_f64() * rate as f64) as u64) < sent {
                std::hint::spin_loop();
                continue;
            }
            let now = each.min(frames - sent);
            self.send(now as u32, burst)?; // at most RUN_MAX
            sent += now;
        }
        self.sent(start)
    }

    fn sent(&self, start: Instant) -> Result<Sent, LabError> {
        Ok(Sent { elapsed: start.elapsed(), frames: self.state()?[MADE] })
    }

    /// A signal may end it early: [`State`] tells how many frames it were.
    fn send(&mut self, count: u32, burst: u32) -> Result<(), LabError> {
        match run_live(self.program.fd(), &self.template, self.interface, (count, burst)) {
            Err(error) if error.kind() != ErrorKind::Interrupted => {
                Err(LabError::io("sending frames by BPF_PROG_RUN", &error))
            }
            _ => Ok(()),
        }
    }
}

fn clock_failed(error: nix::Error) -> LabError {
    LabError::io("reading the clock", &error.into())
}

fn lost(sent: u64, arrived: u64) -> LabError {
    LabError::Failed(format!(
        "of the {sent} frames that open connections {arrived} have arrived, though they were sent slowly"
    ))
}

/// Length of the IP packet in bytes. The shortest frame is a bare segment and its padding.
fn ip_len(traffic: &Traffic) -> u16 {
    if traffic.frame_len == 60 { 40 } else { traffic.frame_len - 14 }
}

fn check(traffic: &Traffic) -> Result<(), LabError> {
    if !(60..=1514).contains(&traffic.frame_len) {
        let len = traffic.frame_len;
        return Err(LabError::Input(format!("a frame has 60 to 1514 bytes, not {len}")));
    }
    if traffic.flows == 0 || traffic.servers == 0 {
        return Err(LabError::Input("there must be at least one flow and one real server".into()));
    }
    Ok(())
}
