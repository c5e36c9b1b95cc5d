//! A minimal AF_XDP forwarder as DUT, in a process of its own like the director.

use super::background::Background;
use super::running::RunningDut;
use super::setup::DutSetup;
use crate::bench_wire::cores::pin;
use crate::bench_wire::program::{BenchProgram, map_failed};
use crate::io::Interface;
use crate::io::l2fwd::L2fwd;
use crate::lab::interrupt::Interrupt;
use crate::model::Diagnostic;
use crate::wire::MacAddr;
use aya::maps::{MapData, XskMap};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/redirect.bpf.o"));

/// Interval at which signals are checked.
const SIGNAL_POLL: Duration = Duration::from_millis(100);

pub(super) struct L2fwdDut(Background);

impl L2fwdDut {
    pub(super) fn start(setup: &DutSetup<'_>) -> Result<Self, Diagnostic> {
        let core = setup.spec.cores.dut.to_string();
        let server = setup.server_mac(0).to_string();
        let words = ["lab", "bench-l2fwd", &setup.interface.name, &core, &server].map(str::to_owned).to_vec();
        Background::start(setup, words, setup.spec.cores.control).map(Self)
    }
}

impl RunningDut for L2fwdDut {
    fn suspend(&self) {
        self.0.suspend();
    }

    fn resume(&self) {
        self.0.resume();
    }

    fn check(&mut self) -> Result<(), Diagnostic> {
        self.0.check()
    }
}

/// Main function of the process: forwards every frame of queue 0 of `interface` to `server`, on `core`, until a
/// signal arrives.
///
/// # Errors
/// `System` if there is no such interface or the kernel refuses.
pub fn run(interface: &str, core: usize, server: MacAddr) -> Result<(), Diagnostic> {
    let interrupt = Interrupt::install()?;
    let interface = Interface::lookup(interface)?;
    let forwarder = L2fwd::open(&interface);
    let mut forwarder = forwarder.map_err(|error| Diagnostic::io("opening the AF_XDP socket", &error))?;
    let mut program = BenchProgram::load(OBJECT, "bench_redirect", &[])?;
    let mut sockets: XskMap<MapData> = program.take_map("sockets");
    sockets.set(0, forwarder.fd().as_raw_fd(), 0).map_err(|error| map_failed(&error))?;
    let _attached = program.attach(&interface)?;
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let worker = scope.spawn(|| {
            pin(core)?;
            forwarder.run(server, interface.mac, &stop);
            Ok(())
        });
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]); // fails without a NOTIFY_SOCKET
        while !worker.is_finished() && interrupt.sleep(SIGNAL_POLL).is_ok() {}
        stop.store(true, Relaxed);
        worker.join().expect("the worker returns its errors")
    })
}
