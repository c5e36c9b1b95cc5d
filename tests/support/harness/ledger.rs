//! Invariants of every decision, for any frames, times and snapshots.

use super::super::frames::{DIRECTOR, one_hop_on};
use super::decide::{MATCHES, REAL_SERVERS, SERVERS, VLAN, Weights};
use super::packet::ip_at;
use directrix::flow::{ConnState, Flow, FlowEntry};
use directrix::forward::{Forwarder, NextHop, Route, Snapshot, Verdict};
use directrix::model::{InterfaceIndex, MatchId, Policy, ServerId, ServiceId};
use directrix::schedule::{Loads, ServerLoad};
use directrix::stats::{Counter, DropReason, ServerCounters, WorkerCounters};
use directrix::time::{Span, Tick};
use directrix::wire::icmp_error;
use directrix::wire::ip_fragment::Fragment;
use directrix::wire::transport::TcpFlags;
use directrix::wire::vlan::{Tags, Vlans};
use directrix::wire::{IpPacket, MacAddr, Packet, Protocol};
use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

type Table = HashMap<Flow, FlowEntry<Flow>>;

/// Expected totals, and the state under test.
pub struct Ledger {
    pub snapshot: Arc<Snapshot>,
    pub weights: Weights,
    /// The persistent service.
    pub persistent: ServiceId,
    /// Connections that servers of weight 0 got.
    pub kept: u64,
    capacity: usize,
    loads: Arc<Loads>,
    counters: Arc<WorkerCounters>,
    received: u64,
    held: u64,
    forwarded: u64,
    forwarded_bytes: u64,
}

/// Frame of a service, as etherparse parses it.
struct Seen {
    key: Flow,
    flags: TcpFlags,
    udp: bool,
    /// Its source is a real server's MAC address, and it is from far: it may be looping.
    circles: bool,
}

impl Seen {
    /// True if this frame opens a connection where there is none.
    fn may_open_again(&self, old: &FlowEntry<Flow>, snapshot: &Snapshot) -> bool {
        let Policy { conn_reuse_mode: mode, sloppy_tcp, .. } = snapshot.policy;
        let opens = old.state == ConnState::UdpNew || self.flags.any(TcpFlags::SYN) || self.opens(sloppy_tcp);
        let reused = old.template == 0 && old.state.is_reused_by(self.flags, mode);
        let quiesced = matches!(snapshot.route(old.server), Route::Quiesced(..));
        let cut = *snapshot.route(old.server) == Route::Cut;
        reused
            || (quiesced && self.opens(false))
            || (cut && self.opens(sloppy_tcp))
            || (old.state.is_unconfirmed() && opens)
    }

    /// True if this frame opens a connection where there is none.
    fn opens(&self, sloppy: bool) -> bool {
        self.udp || ((sloppy || self.flags.any(TcpFlags::SYN)) && !self.flags.any(TcpFlags::RST))
    }
}

impl Ledger {
    pub fn new(
        capacity: usize,
        snapshot: Arc<Snapshot>,
        loads: Arc<Loads>,
        counters: Arc<WorkerCounters>,
    ) -> Self {
        Self {
            snapshot,
            weights: Weights::default(),
            persistent: ServiceId(0),
            kept: 0,
            capacity,
            loads,
            counters,
            received: 0,
            held: 0,
            forwarded: 0,
            forwarded_bytes: 0,
        }
    }

    /// Decides a batch, and checks all effects.
    pub fn decide(&mut self, forwarder: &mut Forwarder, batch: &mut [Vec<u8>], now: Tick) {
        let (arrived, table, mut verdicts) = (batch.to_vec(), table(forwarder), Vec::new());
        forwarder.decide(batch, now, &mut verdicts);
        assert_eq!(verdicts.len(), arrived.len(), "a verdict for each frame");
        for ((before, after), verdict) in arrived.iter().zip(&*batch).zip(&verdicts) {
            self.received += 1;
            match verdict {
                Verdict::Drop(_) => assert_eq!(before, after, "a dropped frame is unchanged"),
                Verdict::HandOver => panic!("there is one worker"),
                Verdict::Hold => {
                    assert_eq!(before, after, "a held fragment is unchanged");
                    self.held += 1;
                }
                Verdict::Forward(interface) => self.forwarded(before, after, *interface),
            }
        }
        self.connections_go_on(&arrived, (&table, &self::table(forwarder)), now);
        self.quiesced_servers_get_no_connections(&table, &self::table(forwarder));
        self.real_servers_are_no_clients(&self::table(forwarder));
        self.last_frames_went_to_their_servers(batch, &arrived, &verdicts, &self::table(forwarder));
        self.errors_went_to_the_servers_of_their_connections(
            batch,
            &arrived,
            (&table, &self::table(forwarder)),
        );
        self.balance(forwarder);
    }

    /// Checks that loads and counters match the table, and that every frame was counted once.
    pub fn balance(&self, forwarder: &Forwarder) {
        let table = table(forwarder);
        let counters = &self.counters;
        for server in (0..SERVERS).map(ServerId) {
            let of_server = || table.values().filter(|entry| entry.server == server);
            let active = of_server().filter(|entry| entry.state.is_active()).count() as u32;
            let inactive = of_server().count() as u32 - active;
            assert_eq!(self.loads.get(server), ServerLoad { active, inactive }, "{server:?}");
        }
        let entries = table.len() as u64;
        let apart = table.keys().filter(|flow| flow.port.is_some()).count();
        assert!(table.len() - apart <= self.capacity && apart <= self.capacity);
        assert_eq!(counters.entries.get(), entries);
        let removed = counters.expired.get() + counters.evicted.get();
        assert_eq!(self.sum(|server| &server.connections), entries + removed);
        assert_eq!(self.sum(|server| &server.packets), self.forwarded);
        assert_eq!(self.sum(|server| &server.bytes), self.forwarded_bytes);
        let drops: u64 = DropReason::ALL.iter().map(|reason| counters.drops(*reason).get()).sum();
        assert_eq!(self.received, self.forwarded + self.held + drops);
    }

    /// Checks that no entry is left after every timeout.
    pub fn everything_expires(&self, forwarder: &mut Forwarder, now: Tick) {
        forwarder.sweep_all(now);
        self.balance(forwarder);
        assert!(table(forwarder).values().all(|entry| !now.reached(entry.deadline)), "swept");
        forwarder.sweep_all(now.after(Span::MAX));
        self.balance(forwarder);
        assert_eq!(self.counters.entries.get(), 0);
    }

    fn forwarded(&mut self, before: &[u8], after: &[u8], interface: InterfaceIndex) {
        assert_eq!(before[..6], DIRECTOR, "it had the own address as destination");
        assert_eq!(after[12..], one_hop_on(before)[12..], "addresses, time to live and its checksum");
        assert_eq!(
            after[6..12],
            self.snapshot.own_macs[usize::from(interface.0)].0,
            "the source is the own address"
        );
        let mac = Some(MacAddr(after[..6].try_into().expect("six bytes")));
        let way = Route::new(&self.snapshot.own_macs, Some(NextHop { interface, mac }));
        let is_there = [way, way.quiesced()].iter().any(|way| self.snapshot.routes.contains(way));
        assert!(is_there, "{mac:?} is a server there");
        self.forwarded += 1;
        self.forwarded_bytes += ip_len(before);
    }

    fn sum(&self, counter: impl Fn(&ServerCounters) -> &Counter) -> u64 {
        (0..SERVERS).map(|id| counter(self.counters.server(ServerId(id))).get()).sum()
    }

    /// Checks live connections with at most one frame, which did not reopen them, against the state table.
    /// A connection to a removed server, or one that is cut, is unchanged, or ended by expire_nodest_conn. Only an unconfirmed
    /// one may be missing or reopened.
    fn connections_go_on(&self, arrived: &[Vec<u8>], (before, after): (&Table, &Table), now: Tick) {
        let seen: Vec<_> = arrived.iter().filter_map(|frame| self.see(frame)).collect();
        for old in before.values().filter(|entry| !now.reached(entry.deadline)) {
            let again = |seen: &Seen| seen.may_open_again(old, &self.snapshot);
            let own: Vec<_> = seen.iter().filter(|seen| seen.key == old.key).collect();
            let expected = match own[..] {
                [] => *old,
                [one] if one.circles => continue,
                [one] if !again(one) && self.is_expired(old.server) => {
                    self.ended(after.get(&old.key), one);
                    continue;
                }
                [one] if !again(one) && self.drops_all(old.server) => *old,
                [one] if !again(one) => {
                    let state = old.state.after(one.flags);
                    let deadline = now.after(state.timeout(&self.snapshot.timeouts));
                    FlowEntry { state, deadline, ..*old }
                }
                _ => continue,
            };
            match after.get(&old.key) {
                Some(new) => assert_eq!(*new, expected),
                None => {
                    let unconfirmed = old.state.is_unconfirmed() || expected.state.is_unconfirmed();
                    assert!(unconfirmed || now.reached(expected.deadline), "{expected:?} is missing");
                }
            }
        }
    }

    /// Checks that a server of weight 0 gets only connections of its own persistent clients, and none with
    /// expire_quiescent_template.
    fn quiesced_servers_get_no_connections(&mut self, before: &Table, after: &Table) {
        let stay = !self.snapshot.policy.expire_quiescent_template;
        for (key, entry) in after.iter().filter(|(key, _)| !before.contains_key(key)) {
            let is_quiesced = self.weights[usize::from(entry.server.0)] == 0;
            let service = MATCHES[usize::from(key.match_id.0)].service;
            let is_cut = *self.snapshot.route(entry.server) == Route::Cut;
            assert!(!is_quiesced || (stay && service == self.persistent && !is_cut), "{entry:?}");
            self.kept += u64::from(is_quiesced);
        }
    }

    /// Checks that no real server is a client of its own service.
    fn real_servers_are_no_clients(&self, after: &Table) {
        for key in after.keys() {
            let service = MATCHES[usize::from(key.match_id.0)].service;
            assert!(!REAL_SERVERS.contains(&(service, key.client)), "{key:?}");
        }
    }

    /// Checks that a connection to a removed server ended with its next frame, which may have opened
    /// another one.
    fn ended(&self, new: Option<&FlowEntry<Flow>>, frame: &Seen) {
        if let Some(new) = new {
            let first = if frame.udp { ConnState::UdpNew } else { ConnState::None.after(frame.flags) };
            let opens = frame.opens(self.snapshot.policy.sloppy_tcp);
            assert!(opens && new.state == first, "expire_nodest_conn: {new:?}");
        }
    }

    fn is_expired(&self, server: ServerId) -> bool {
        self.snapshot.policy.expire_nodest_conn && self.is_removed(server)
    }

    /// True if frames that open no connection are dropped, and leave theirs as it is.
    fn drops_all(&self, server: ServerId) -> bool {
        matches!(self.snapshot.route(server), Route::Removed | Route::Cut)
    }

    fn is_removed(&self, server: ServerId) -> bool {
        *self.snapshot.route(server) == Route::Removed
    }

    /// Checks that the last forwarded frame of a flow went to the server in the table.
    fn last_frames_went_to_their_servers(
        &self,
        batch: &[Vec<u8>],
        arrived: &[Vec<u8>],
        verdicts: &[Verdict],
        after: &Table,
    ) {
        let each = arrived.iter().zip(batch).zip(verdicts);
        let last: HashMap<_, _> = each
            .filter_map(|((before, after), verdict)| Some((self.see(before)?.key, (after, verdict))))
            .collect();
        for (key, (frame, verdict)) in last {
            let (Verdict::Forward(_), Some(entry)) = (verdict, after.get(&key)) else { continue };
            let Ok((_, addresses)) = self.snapshot.route(entry.server).egress() else { panic!("{entry:?}") };
            let mut addressed = [0; 12];
            assert!(addresses.write(&mut addressed));
            assert_eq!(addressed, frame[..12], "{entry:?}");
        }
    }

    /// Checks that a forwarded ICMP error went to the server of a connection that is still in the table.
    fn errors_went_to_the_servers_of_their_connections(
        &self,
        batch: &[Vec<u8>],
        arrived: &[Vec<u8>],
        (earlier, after): (&Table, &Table),
    ) {
        for (before, frame) in arrived.iter().zip(batch).filter(|(before, frame)| before != frame) {
            let ethertype = u16::from_be_bytes([before[12], before[13]]);
            let Ok(packet) = icmp_error::parse(ethertype, &before[14..], 0) else { continue };
            let (client, vip, protocol, ports) = match packet {
                Packet::V4(packet) => {
                    (packet.source.into(), packet.destination.into(), packet.protocol, packet.ports)
                }
                Packet::V6(packet) => {
                    (packet.source.into(), IpAddr::from(packet.destination), packet.protocol, packet.ports)
                }
            };
            let vlan = vlan(before);
            let same = |key: &&Flow| {
                let taken = &MATCHES[usize::from(key.match_id.0)];
                (key.client, key.client_port) == (client, ports.source)
                    && key.port.is_none_or(|port| port == ports.destination)
                    && (taken.of.protocol, taken.of.vip, Some(taken.vlan)) == (protocol, vip, vlan)
                    && taken.of.ports.contains(ports.destination)
            };
            let servers: Vec<_> = after.keys().filter(same).map(|key| after[key].server).collect();
            let was: Vec<_> = earlier.keys().filter(same).map(|key| earlier[key].server).collect();
            let [server] = servers[..] else { continue };
            if was != servers {
                continue; // opened or opened again in this batch
            }
            let Ok((_, addresses)) = self.snapshot.route(server).egress() else { panic!("{server:?}") };
            assert_eq!(addresses.destination().0, frame[..6], "{packet:?}");
        }
    }

    /// Frame for the director that belongs to a service, by etherparse. It does not verify the checksum:
    /// that is right, or the frame was dropped.
    fn see(&self, frame: &[u8]) -> Option<Seen> {
        let ours = frame.get(..6)? == DIRECTOR;
        let looped = self.snapshot.own_macs.iter().any(|interface| frame.get(6..12) == Some(&interface.0));
        let sliced = SlicedPacket::from_ethernet(frame).ok().filter(|_| ours && !looped)?;
        let (client, vip, ttl) = match sliced.net? {
            NetSlice::Ipv4(ip) => {
                let header = ip.header();
                (IpAddr::from(header.source_addr()), IpAddr::from(header.destination_addr()), header.ttl())
            }
            NetSlice::Ipv6(ip) => {
                let header = ip.header();
                (header.source_addr().into(), header.destination_addr().into(), header.hop_limit())
            }
            NetSlice::Arp(_) => return None,
        };
        let (protocol, ports, flags) = match sliced.transport {
            None => first_of_fragments(frame)?,
            Some(TransportSlice::Tcp(tcp)) => {
                (Protocol::Tcp, (tcp.source_port(), tcp.destination_port()), tcp.header_slice()[13])
            }
            Some(TransportSlice::Udp(udp)) => (Protocol::Udp, (udp.source_port(), udp.destination_port()), 0),
            Some(_) => return None,
        };
        let vlan = vlan(frame)?;
        let takes = |wildcard: bool| {
            MATCHES.iter().position(|taken| {
                (taken.of.protocol, taken.of.vip, taken.vlan) == (protocol, vip, vlan)
                    && taken.of.is_wildcard() == wildcard
                    && taken.of.ports.contains(ports.1)
            })
        };
        let id = takes(false).or_else(|| takes(true))?;
        // The key has the port of IPv6 and of several ports.
        let port = Some(ports.1).filter(|_| !MATCHES[id].of.is_compact());
        let right = (Packet::parse(frame).is_ok() || Fragment::parse(frame).is_ok()) && ttl > 1;
        let source = MacAddr(frame[6..12].try_into().expect("six bytes"));
        let circles = (0..SERVERS).any(|id| super::decide::mac(id) == source) && ttl < 64;
        let match_id = MatchId(id as u16);
        let key = Flow { client, client_port: ports.0, match_id, port };
        right.then_some(Seen { key, flags: TcpFlags(flags), udp: protocol == Protocol::Udp, circles })
    }
}

/// The entries of the tables; panics if a flow has two.
fn table(forwarder: &Forwarder) -> Table {
    let entries: Vec<_> = (0..).map_while(|bucket| forwarder.connections(bucket)).flatten().collect();
    let table: Table = entries.iter().map(|entry| (entry.key, *entry)).collect();
    assert_eq!(table.len(), entries.len(), "a flow has two entries");
    table
}

/// The VLAN of a frame, one of those with services; 0: none.
fn vlan(frame: &[u8]) -> Option<u16> {
    match Vlans::of(&Tags::of(frame)?)? {
        Vlans::NONE => Some(0),
        of if Some(of) == Vlans::new(&[VLAN]) => Some(VLAN),
        _ => None,
    }
}

/// Length of a forwarded frame's IP packet, in bytes.
fn ip_len(frame: &[u8]) -> u64 {
    let at = ip_at(frame);
    let word = |at: usize| u64::from(u16::from_be_bytes([frame[at], frame[at + 1]]));
    if frame[at] >> 4 == 4 { word(at + 2) } else { word(at + 4) + 40 }
}

/// Protocol, ports and control bits of a first fragment, which etherparse does not read.
fn first_of_fragments(frame: &[u8]) -> Option<(Protocol, (u16, u16), u8)> {
    let (protocol, ports, flags) = match Fragment::parse(frame).ok()?? {
        Fragment::V4(fragment) => {
            let packet = IpPacket::of_first(&fragment)?;
            (packet.protocol, packet.ports, packet.flags)
        }
        Fragment::V6(fragment) => {
            let packet = IpPacket::of_first(&fragment)?;
            (packet.protocol, packet.ports, packet.flags)
        }
    };
    Some((protocol, (ports.source, ports.destination), flags.0))
}
