//! IPv6: events and expected packets, rule by rule.

use crate::bench::{CLIENT, OTHER, OURS, OURS_INSIDE, ROUTER, RS, TIMING};
use directrix::model::OnConflict;
use directrix::neighbor::encoding::ndp;
use directrix::neighbor::{
    NeighborAction, NeighborEvent, NeighborReport, NeighborSettings, NeighborTarget, Neighbors,
};
use directrix::time::{Span, Tick};
use directrix::wire::MacAddr;
use directrix::wire::ndp::{AdvertisementFlags, NdpKind, NdpPacket, Nonce};
use std::net::{IpAddr, Ipv6Addr};

const VIP: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x80);
const RIP: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x170);
const DIP: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x10);
const LINK_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0xd);
const GATEWAY: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
const NONCE: Nonce = Nonce([9; 6]);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Outcome {
    Send(NdpPacket),
    Report(NeighborReport),
}

/// A machine and its clock.
struct Bench {
    machine: Neighbors,
    start: Tick,
    now: u32,
}

impl Bench {
    /// A machine with a link-local address.
    fn new(on_conflict: OnConflict) -> Self {
        let mut bench = Self::without_link_local(on_conflict);
        bench.set_link_local(Some(LINK_LOCAL));
        bench
    }

    fn without_link_local(on_conflict: OnConflict) -> Self {
        let settings =
            NeighborSettings { own_macs: vec![OURS, OURS_INSIDE], on_conflict, timing: TIMING, seed: 7 };
        Self { machine: Neighbors::new(settings), start: Tick(u32::MAX - 1500), now: 0 }
    }

    fn set_link_local(&mut self, address: Option<Ipv6Addr>) -> Vec<Outcome> {
        self.event(NeighborEvent::LinkLocal { interface: CLIENT, address })
    }

    /// A bench 10 s after it has claimed the VIP.
    fn claimed() -> Self {
        let mut bench = Self::new(OnConflict::Standby);
        bench.event(NeighborEvent::AddVip(VIP.into()));
        assert!(bench.run_to(10_000).contains(&(900, claimed())));
        bench
    }

    fn event(&mut self, event: NeighborEvent) -> Vec<Outcome> {
        let mut actions = Vec::new();
        self.machine.handle(event, self.start.after(Span::from_millis(self.now)), &mut actions);
        let outcomes = actions.into_iter().flat_map(|action| match action {
            NeighborAction::Report(report) => vec![Outcome::Report(report)],
            NeighborAction::Send { interface, message } => {
                assert_eq!(interface, CLIENT);
                ndp::encode(&message, OURS).into_iter().flatten().map(Outcome::Send).collect()
            }
        });
        outcomes.collect()
    }

    fn receive(&mut self, packet: NdpPacket) -> Vec<Outcome> {
        let mut frame = [0; directrix::wire::ndp::FRAME_LEN_MAX];
        let packet = NdpPacket::parse(packet.emit(&mut frame)).expect("a valid packet");
        self.event(NeighborEvent::Received { interface: CLIENT, message: ndp::decode(&packet) })
    }

    fn run_to(&mut self, ms: u32) -> Vec<(u32, Outcome)> {
        let mut seen = Vec::new();
        while let Some(due) = self.machine.next_deadline() {
            let at = due.since(self.start).millis();
            if at > ms {
                break;
            }
            self.now = at;
            seen.extend(self.event(NeighborEvent::Timer).into_iter().map(|action| (at, action)));
        }
        self.now = ms;
        seen
    }

    fn add_server(&mut self, mac: Option<MacAddr>) -> Vec<Outcome> {
        let target = NeighborTarget { interface: CLIENT, rip: RIP.into(), own: DIP.into(), mac };
        self.event(NeighborEvent::AddServer(target))
    }
}

fn claimed() -> Outcome {
    Outcome::Report(NeighborReport::Claimed { vip: VIP.into() })
}

fn standby(mac: MacAddr) -> Outcome {
    Outcome::Report(NeighborReport::Standby { vip: VIP.into(), mac })
}

fn conflict(mac: MacAddr) -> Outcome {
    Outcome::Report(NeighborReport::Conflict { vip: VIP.into(), mac, server: None })
}

fn resolved(mac: MacAddr) -> Outcome {
    Outcome::Report(NeighborReport::Resolved { interface: CLIENT, rip: RIP.into(), mac })
}

/// Nonce of a probe for the VIP; `None` for other outcomes.
fn nonce_of(outcome: &Outcome) -> Option<Nonce> {
    match outcome {
        Outcome::Send(NdpPacket { kind: NdpKind::Solicitation { nonce: Some(nonce) }, .. }) => {
            assert_eq!(*outcome, Outcome::Send(NdpPacket::probe(OURS, VIP, *nonce)));
            Some(*nonce)
        }
        _ => None,
    }
}

fn announcement() -> Outcome {
    Outcome::Send(NdpPacket::announcement(OURS, VIP))
}

/// Answer of `station` for RIP, with these flags.
fn advertised(station: MacAddr, overrides: bool) -> NdpPacket {
    let flags = AdvertisementFlags { router: false, solicited: true, overrides };
    let answer = NdpPacket::answer(station, RIP, OURS, LINK_LOCAL);
    NdpPacket { kind: NdpKind::Advertisement(flags), ..answer }
}

// ---- claiming

#[test]
fn a_vip_is_probed_with_fresh_nonces_and_claimed() {
    let mut bench = Bench::new(OnConflict::Standby);
    let first = bench.event(NeighborEvent::AddVip(VIP.into()));
    let seen = bench.run_to(65_000);
    let probes: Vec<_> = first.iter().map(|one| (0, *one)).chain(seen.iter().copied()).collect();
    let nonces: Vec<_> = probes.iter().filter_map(|(at, one)| Some((*at, nonce_of(one)?))).collect();
    assert_eq!(nonces.iter().map(|(at, _)| *at).collect::<Vec<_>>(), [0, 200, 400]);
    assert!(nonces[0].1 != nonces[1].1 && nonces[1].1 != nonces[2].1, "{nonces:?}");
    let later: Vec<_> = seen.into_iter().filter(|(_, one)| nonce_of(one).is_none()).collect();
    let introduction = Outcome::Send(NdpPacket::introduction(OURS, VIP));
    let audit = Outcome::Send(NdpPacket::solicitation(OURS, LINK_LOCAL, VIP));
    assert_eq!(
        later,
        [
            (900, claimed()),
            (900, announcement()),
            (900, introduction),
            (2_900, announcement()),
            (4_900, announcement()),
            (64_900, audit),
            (64_900, announcement()),
        ]
    );
}

#[test]
fn on_conflict_claim_claims_at_once() {
    let mut bench = Bench::new(OnConflict::Claim);
    let seen = bench.event(NeighborEvent::AddVip(VIP.into()));
    assert!(nonce_of(&seen[0]).is_some(), "{seen:?}");
    assert_eq!(seen[1..3], [claimed(), announcement()]);
    bench.event(NeighborEvent::InterfaceDown(CLIENT));
    let back = bench.event(NeighborEvent::InterfaceUp(CLIENT));
    assert!(back.contains(&announcement()) && !back.contains(&claimed()), "{back:?}");
}

#[test]
fn a_vip_with_a_holder_is_not_claimed() {
    let all = |flags: AdvertisementFlags| NdpPacket {
        kind: NdpKind::Advertisement(flags),
        ..NdpPacket::announcement(OTHER, VIP)
    };
    let rivals = [
        ("an answer to all", NdpPacket::announcement(OTHER, VIP)),
        ("an answer that does not override", all(AdvertisementFlags::default())),
        ("an answer to this director", NdpPacket::answer(OTHER, VIP, OURS, LINK_LOCAL)),
        ("another's probe", NdpPacket::probe(OTHER, VIP, NONCE)),
        ("a question from the VIP", NdpPacket::solicitation(OTHER, VIP, GATEWAY)),
    ];
    for (what, packet) in rivals {
        let mut bench = Bench::new(OnConflict::Standby);
        bench.event(NeighborEvent::AddVip(VIP.into()));
        assert_eq!(bench.receive(packet), [conflict(OTHER), standby(OTHER)], "{what}");
        assert_eq!(bench.run_to(999), [], "{what}");
        assert_eq!(bench.receive(NdpPacket::solicitation(ROUTER, GATEWAY, VIP)), [], "{what}");
    }
}

#[test]
fn harmless_packets_do_not_stop_the_claim() {
    let other: Ipv6Addr = "2001:db8::81".parse().unwrap();
    let harmless = [
        ("a question for it", NdpPacket::solicitation(ROUTER, GATEWAY, VIP)),
        ("a probe of a lower MAC address", NdpPacket::probe(ROUTER, VIP, NONCE)),
        ("a probe for another address", NdpPacket::probe(OTHER, other, NONCE)),
        ("an answer for another address", NdpPacket::announcement(OTHER, other)),
    ];
    for (what, packet) in harmless {
        let mut bench = Bench::new(OnConflict::Standby);
        bench.event(NeighborEvent::AddVip(VIP.into()));
        assert_eq!(bench.receive(packet), [], "{what}");
        assert!(bench.run_to(900).contains(&(900, claimed())), "{what}");
    }
}

#[test]
fn an_echo_of_the_own_probe_is_no_conflict() {
    let mut bench = Bench::new(OnConflict::Standby);
    let mut probes = bench.event(NeighborEvent::AddVip(VIP.into()));
    probes.extend(bench.run_to(700).into_iter().map(|(_, one)| one));
    for probe in probes {
        let nonce = nonce_of(&probe).expect("probes only");
        // A bridge that changes MAC addresses.
        assert_eq!(bench.receive(NdpPacket::probe(OTHER, VIP, nonce)), []);
    }
    assert!(bench.run_to(900).contains(&(900, claimed())));
    assert_eq!(bench.machine.counters().conflicts.get(), 0);
}

#[test]
fn a_standby_asks_the_holder_by_unicast() {
    let mut bench = Bench::new(OnConflict::Standby);
    bench.event(NeighborEvent::AddVip(VIP.into()));
    bench.receive(NdpPacket::announcement(OTHER, VIP));
    let asked = Outcome::Send(NdpPacket::solicitation(OURS, LINK_LOCAL, VIP).unicast_to(OTHER));
    let seen = bench.run_to(1_250);
    assert_eq!(seen.iter().map(|(_, one)| *one).collect::<Vec<_>>(), [asked]);
    assert_eq!(bench.receive(NdpPacket::answer(OTHER, VIP, OURS, LINK_LOCAL)), []);
    let gone = bench.run_to(6_000);
    assert!(gone.contains(&(gone.iter().find(|(_, one)| *one == claimed()).expect("claimed").0, claimed())));
}

// ---- answering

#[test]
fn each_solicitation_of_the_claimed_vip_is_answered() {
    let question = NdpPacket::solicitation(ROUTER, GATEWAY, VIP);
    let answer = Outcome::Send(NdpPacket::answer(OURS, VIP, ROUTER, GATEWAY));
    let cases = [
        ("to the group", question, vec![answer]),
        ("unicast", question.unicast_to(OURS), vec![answer]),
        (
            "unicast without an option",
            NdpPacket { link_layer: None, ..question.unicast_to(OURS) },
            vec![answer],
        ),
        ("bridged", NdpPacket { source: OTHER, ..question }, vec![answer]),
        ("another's address detection", NdpPacket::probe(OTHER, VIP, NONCE), vec![announcement()]),
        ("to another station", question.unicast_to(OTHER), vec![]),
        ("for another address", NdpPacket::solicitation(ROUTER, GATEWAY, RIP), vec![]),
        ("reflected", NdpPacket::solicitation(OURS, LINK_LOCAL, VIP), vec![]),
        ("from a group", NdpPacket { link_layer: Some(MacAddr([3, 0, 0, 0, 0, 1])), ..question }, vec![]),
    ];
    for (what, packet, expected) in cases {
        let mut bench = Bench::claimed();
        assert_eq!(bench.receive(packet), expected, "{what}");
        assert_eq!(bench.machine.counters().answered.get(), expected.len() as u64, "{what}");
    }
}

#[test]
fn a_vip_is_not_answered_for_before_it_is_claimed() {
    let mut bench = Bench::new(OnConflict::Standby);
    bench.event(NeighborEvent::AddVip(VIP.into()));
    bench.run_to(899);
    assert_eq!(bench.receive(NdpPacket::solicitation(ROUTER, GATEWAY, VIP)), []);
}

// ---- defence

#[test]
fn a_claimed_vip_is_defended() {
    let mut bench = Bench::claimed();
    let audit = Outcome::Send(NdpPacket::solicitation(OURS, LINK_LOCAL, VIP));
    let seen = bench.receive(NdpPacket::announcement(OTHER, VIP));
    assert_eq!(seen, [conflict(OTHER), announcement(), audit]);
    let answer = NdpPacket::answer(OTHER, VIP, OURS, LINK_LOCAL);
    let held = Outcome::Report(NeighborReport::Held { vip: VIP.into(), mac: OTHER, server: None });
    let mut reports = Vec::new();
    for _ in 0..8 {
        reports.extend(bench.receive(answer));
        let until = bench.now + 500;
        reports.extend(bench.run_to(until).into_iter().map(|(_, one)| one));
    }
    assert!(reports.contains(&held), "{reports:?}");
    let left = reports.contains(&standby(OTHER));
    assert!(!left, "a real server that answers and does not defend gets no VIP: {reports:?}");
}

/// A real server with the VIP on its interface, where another director probes for the VIP or this one has no link-local
/// address.
#[test]
fn a_server_that_answers_probes_to_all_gets_no_vip() {
    for link_local in [true, false] {
        let mut bench = Bench::claimed();
        bench.set_link_local(Some(LINK_LOCAL).filter(|_| link_local));
        let mut seen = bench.receive(NdpPacket::announcement(OTHER, VIP));
        while bench.now < 60_000 {
            let until = bench.now + 300;
            let mut answers = 0;
            for (_, one) in bench.run_to(until) {
                seen.push(one);
                let asked = one == Outcome::Send(NdpPacket::solicitation(OURS, LINK_LOCAL, VIP));
                answers += usize::from(nonce_of(&one).is_some());
                if asked {
                    seen.extend(bench.receive(NdpPacket::answer(OTHER, VIP, OURS, LINK_LOCAL)));
                }
            }
            if link_local {
                seen.extend(bench.receive(NdpPacket::probe(RS, VIP, Nonce([9; 6]))));
                answers += 1;
            }
            (0..answers).for_each(|_| seen.extend(bench.receive(NdpPacket::announcement(OTHER, VIP))));
        }
        assert!(!seen.contains(&standby(OTHER)), "{link_local}: {seen:?}");
    }
}

#[test]
fn a_higher_director_that_defends_gets_the_vip() {
    for link_local in [true, false] {
        let mut bench = Bench::claimed();
        bench.set_link_local(Some(LINK_LOCAL).filter(|_| link_local));
        let mut seen = bench.receive(NdpPacket::announcement(OTHER, VIP));
        let mut last = 0;
        while !seen.contains(&standby(OTHER)) && bench.now < 60_000 {
            let until = bench.now + 100;
            for (at, one) in bench.run_to(until) {
                seen.push(one);
                let probe = nonce_of(&one).map(|_| NdpPacket::announcement(OTHER, VIP));
                let asked = one == Outcome::Send(NdpPacket::solicitation(OURS, LINK_LOCAL, VIP));
                let answer = probe.or(asked.then(|| NdpPacket::answer(OTHER, VIP, OURS, LINK_LOCAL)));
                seen.extend(answer.into_iter().flat_map(|answer| bench.receive(answer)));
                if one == announcement() && at >= last + 2_000 {
                    last = at;
                    seen.extend(bench.receive(NdpPacket::announcement(OTHER, VIP)));
                }
            }
        }
        assert!(seen.contains(&standby(OTHER)), "{link_local}: {seen:?}");
    }
}

// ---- real servers

#[test]
fn a_server_is_solicited_from_the_link_local_address() {
    let mut bench = Bench::new(OnConflict::Standby);
    let question = NdpPacket::solicitation(OURS, LINK_LOCAL, RIP);
    assert_eq!(bench.add_server(None), [Outcome::Send(question)]);
    assert_eq!(bench.receive(advertised(RS, true)), [resolved(RS)]);
    let refreshed = bench.run_to(1_200);
    assert_eq!(refreshed[0].1, Outcome::Send(question.unicast_to(RS)), "refreshed by unicast");
}

#[test]
fn without_a_link_local_address_the_own_one_asks() {
    let mut bench = Bench::without_link_local(OnConflict::Standby);
    assert_eq!(bench.add_server(None), [Outcome::Send(NdpPacket::solicitation(OURS, DIP, RIP))]);
}

#[test]
fn a_server_is_never_asked_from_the_vip_or_from_nothing() {
    for own in [VIP, Ipv6Addr::UNSPECIFIED] {
        let mut bench = Bench::without_link_local(OnConflict::Standby);
        bench.event(NeighborEvent::AddVip(VIP.into()));
        bench.run_to(10_000);
        let target = NeighborTarget { interface: CLIENT, rip: RIP.into(), own: own.into(), mac: None };
        assert_eq!(bench.event(NeighborEvent::AddServer(target)), []);
        let seen = bench.run_to(12_000);
        let lost = Outcome::Report(NeighborReport::Lost { interface: CLIENT, rip: RIP.into() });
        assert_eq!(seen, [(11_500, lost)], "asked by nothing, it is unreachable");
        assert_eq!(bench.machine.counters().requested.get(), 0);
        let asked = Outcome::Send(NdpPacket::solicitation(OURS, LINK_LOCAL, RIP));
        assert_eq!(bench.set_link_local(Some(LINK_LOCAL)), [asked], "at once");
        assert_eq!(bench.set_link_local(Some(LINK_LOCAL)), [], "it is no new one");
    }
}

#[test]
fn a_server_is_learned_from_its_own_solicitations() {
    let mut bench = Bench::new(OnConflict::Standby);
    bench.add_server(None);
    assert_eq!(bench.receive(NdpPacket::solicitation(RS, RIP, GATEWAY)), [resolved(RS)]);
}

#[test]
fn an_advertisement_without_override_moves_no_server() {
    let mut bench = Bench::new(OnConflict::Standby);
    bench.add_server(None);
    bench.receive(advertised(RS, true));
    bench.run_to(700);
    let near = Outcome::Send(NdpPacket::solicitation(OURS, LINK_LOCAL, RIP).unicast_to(RS));
    assert_eq!(bench.receive(advertised(OTHER, false)), [near], "the known one is asked at once");
    bench.receive(advertised(OTHER, false));
    assert_eq!(bench.receive(advertised(RS, true)), [], "no dispute");
    assert_eq!(bench.machine.counters().disputed.get(), 0);
    let mut reports = Vec::new();
    for _ in 0..6 {
        reports.extend(bench.receive(advertised(OTHER, true)));
        let until = bench.now + 500;
        reports.extend(bench.run_to(until).into_iter().map(|(_, one)| one));
    }
    let moved = NeighborReport::Moved { interface: CLIENT, rip: RIP.into(), old: RS, new: OTHER };
    assert!(reports.contains(&Outcome::Report(moved)), "with override it does: {reports:?}");
}

#[test]
fn both_families_share_a_machine() {
    let mut bench = Bench::new(OnConflict::Standby);
    let ipv4: IpAddr = [192, 0, 2, 80].into();
    bench.event(NeighborEvent::AddVip(ipv4));
    bench.event(NeighborEvent::AddVip(VIP.into()));
    let seen = bench.run_to(900);
    for vip in [ipv4, VIP.into()] {
        assert!(seen.contains(&(900, Outcome::Report(NeighborReport::Claimed { vip }))), "{vip}");
    }
}
