//! The programs, run by the kernel over random frames (BPF_PROG_TEST_RUN), against the naive model.

#![allow(unsafe_code)]

use super::{Buffers, Programs};
use crate::io::selection::{OWN_MAC, any_frame, any_service, is_answered, is_wanted};
use crate::io::{Interface, PortRange, SteeredService};
use crate::wire::vlan::Vlans;
use crate::wire::{MacAddr, Protocol};
use aya::TestRunResult;
use aya::programs::{TestRun, TestRunOptions};
use etherparse::PacketBuilder;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};

/// `enum xdp_action` of linux/bpf.h.
const XDP_REDIRECT: u32 = 4;
/// linux/pkt_cls.h.
const TC_ACT_SHOT: u32 = 2;

/// Most instructions of a program that the verifier may process, over all its paths: six times what Linux 5.10, 6.1,
/// 6.12, 6.18 and 7.3 need with clang 13, 14 and 19 (2187 to 3283). The kernel refuses a program beyond 1,000,000.
const VERIFIED_MAX: u32 = 20_000;

/// Ethernet and an IPv6 header without extensions, in bytes.
const IP_HEADER_END: usize = 54;

/// Loaded programs; the socket stands in for that of queue 0.
struct Loaded {
    programs: Programs,
    _socket: OwnedFd,
}

impl Loaded {
    fn new() -> Self {
        let mac = MacAddr(OWN_MAC);
        let lo = Interface {
            name: "lo".into(),
            index: 1,
            mac,
            mtu: 1500,
            queues: 1,
            addresses: Vec::new(),
            ipv6_addresses: Vec::new(),
        };
        let mut programs = Programs::load(&lo).unwrap();
        let socket = xdp_socket();
        programs.set_socket(0, socket.as_fd()).unwrap();
        for buffers in [Buffers::One, Buffers::Several] {
            programs.steer(buffers).load().unwrap();
        }
        programs.guard().load().unwrap();
        Self { programs, _socket: socket }
    }

    /// Whether the steering program, in both variants, takes `frame`.
    fn steers(&mut self, frame: &[u8]) -> [bool; 2] {
        [Buffers::One, Buffers::Several]
            .map(|buffers| action(self.programs.steer(buffers), frame) == XDP_REDIRECT)
    }

    /// Whether the guard takes `frame`. The kernel runs it only over frames with a whole IP header.
    fn guards(&mut self, frame: &[u8]) -> Option<bool> {
        (frame.len() >= IP_HEADER_END).then(|| action(self.programs.guard(), frame) == TC_ACT_SHOT)
    }
}

/// An AF_XDP socket without rings: enough for the map of sockets.
fn xdp_socket() -> OwnedFd {
    // SAFETY: no pointer is involved.
    let fd = unsafe { libc::socket(libc::AF_XDP, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
    assert!(fd >= 0, "AF_XDP socket: {}", std::io::Error::last_os_error());
    // SAFETY: the kernel has just returned this descriptor to us, and it has no other owner.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

fn action<P>(program: &P, frame: &[u8]) -> u32
where
    P: for<'a> TestRun<Opts<'a> = TestRunOptions<'a>, Result = TestRunResult>,
{
    let options = TestRunOptions { data_in: Some(frame), ..TestRunOptions::default() };
    program.test_run(options).unwrap().return_value
}

/// Runs `check` over this many random sets of services, each with many random frames. The programs are loaded
/// once.
fn over_random_frames(cases: u32, mut check: impl FnMut(&mut Loaded, &[SteeredService], &[u8])) {
    let mut loaded = Loaded::new();
    let mut runner =
        TestRunner::new(ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() });
    let services = prop::collection::vec(any_service(), 0..24);
    let input = (services, prop::collection::vec(any_frame(), 64));
    let checked = std::cell::RefCell::new((&mut loaded, &mut check));
    runner
        .run(&input, |(services, frames)| {
            let (loaded, check) = &mut *checked.borrow_mut();
            loaded.programs.set_services(&services).unwrap();
            frames.iter().for_each(|frame| check(loaded, &services, frame));
            Ok(())
        })
        .unwrap();
}

#[test]
fn the_verifier_processes_few_instructions() {
    let loaded = Loaded::new();
    for (name, program) in loaded.programs.ebpf.programs() {
        let verified = program.info().unwrap().verified_instruction_count().expect("Linux 5.16 counts them");
        assert!(
            verified < VERIFIED_MAX,
            "{name}: the verifier processed {verified} instructions, at most {VERIFIED_MAX} are allowed. \
             distance() of headers.bpf.h joins paths that differ in an offset"
        );
    }
}

#[test]
fn the_programs_take_the_frames_of_services_alone() {
    let (mut taken, mut of_vlans, mut answered) = (0, 0, 0);
    over_random_frames(512, |loaded, services, frame| {
        let wanted = is_wanted(services, frame);
        assert_eq!(loaded.steers(frame), [wanted; 2], "{frame:02x?} {services:?}");
        let hidden = is_answered(services, frame);
        let guarded = loaded.guards(frame);
        assert!(guarded.is_none_or(|taken| taken == (wanted || hidden)), "{frame:02x?} {services:?}");
        taken += u32::from(wanted);
        of_vlans += u32::from((wanted || hidden) && matches!(frame[12..14], [0x81, 0] | [0x88, 0xa8]));
        answered += u32::from(hidden);
    });
    let counts = [taken, of_vlans, answered];
    assert!(taken > 250 && of_vlans > 20 && answered > 50, "wanted, tagged, answered: only {counts:?}");
}

/// A UDP datagram to this port of 192.0.2.1.
fn datagram(port: u16) -> Vec<u8> {
    let mut frame = Vec::new();
    let builder =
        PacketBuilder::ethernet2([2, 0, 0, 0, 0, 9], OWN_MAC).ipv4([198, 51, 100, 1], [192, 0, 2, 1], 64);
    builder.udp(9, port).write(&mut frame, b"to a range").unwrap();
    frame
}

fn range(first: u16, last: u16) -> SteeredService {
    let ports = PortRange { first, last };
    SteeredService { vlan: Vlans::NONE, vip: [192, 0, 2, 1].into(), protocol: Protocol::Udp, ports }
}

#[test]
fn a_range_ends_at_its_last_port_after_many_changes() {
    let mut loaded = Loaded::new();
    for first in (1..60_000).step_by(199) {
        let last = first + 137;
        loaded.programs.set_services(&[range(first, last), range(9, 9), range(last + 2, last + 3)]).unwrap();
        let taken = [9, 10, first - 1, first, last, last + 1, last + 2, last + 4]
            .map(|port| loaded.steers(&datagram(port))[0]);
        let beside = first - 1 == 9;
        assert_eq!(
            taken,
            [true, (first..=last).contains(&10), beside, true, true, false, true, false],
            "{first}"
        );
    }
}

#[test]
fn too_many_sets_of_ports_leave_the_services_as_they_were() {
    let mut loaded = Loaded::new();
    loaded.programs.set_services(&[range(53, 54)]).unwrap();
    let vip = |index: u8, ports| SteeredService { vip: [192, 0, 2, index].into(), ..ports };
    let many: Vec<_> = (1..=65).map(|index| vip(index, range(80, 80 + u16::from(index)))).collect();
    for _ in 0..2 {
        let refusal = loaded.programs.set_services(&many).unwrap_err().to_string();
        assert!(refusal.contains("more than 64 different sets"), "{refusal}");
        assert_eq!(
            [52, 53, 54, 55].map(|port| loaded.steers(&datagram(port))[0]),
            [false, true, true, false]
        );
    }
    for sixty_four in [&many[1..], &many[..64], &many[1..]] {
        loaded.programs.set_services(sixty_four).unwrap();
    }
    let shared: Vec<_> = (1..=200).map(|index| vip(index, range(80, 90))).collect();
    loaded.programs.set_services(&shared).unwrap();
    assert_eq!([79, 80, 90, 91].map(|port| loaded.steers(&datagram(port))[0]), [false, true, true, false]);
}
