//! A batch is decided as its frames are one by one, whatever it is a mixture of.
#![allow(missing_docs)]

mod support;

use directrix::flow::FlowTable;
use directrix::forward::{BATCH, Forwarder, NextHop, Route, ServiceMap, Snapshot, Verdict};
use directrix::hash::Seed;
use directrix::model::{InterfaceIndex, MatchId, ServerId, ServiceAddress, ServiceId};
use directrix::schedule::{Candidate, Loads, Pool, Templates};
use directrix::stats::WorkerCounters;
use directrix::time::Tick;
use directrix::wire::{MacAddr, Protocol};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use support::frames::{self, ACK, DIRECTOR, FIN, SYN};

const VIP: Ipv4Addr = Ipv4Addr::new(192, 168, 195, 150);
const VIP6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x80);
const SEED: Seed = Seed([0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344, 0xa409_3822_299f_31d0, 7]);
/// Each on two servers.
const SERVICES: [(Protocol, IpAddr, u16); 4] = [
    (Protocol::Tcp, IpAddr::V4(VIP), 80),
    (Protocol::Udp, IpAddr::V4(VIP), 53),
    (Protocol::Tcp, IpAddr::V4(VIP), 0),
    (Protocol::Tcp, IpAddr::V6(VIP6), 80),
];

fn forwarder() -> Forwarder {
    let servers = 2 * SERVICES.len() as u16;
    let (loads, counters) =
        (Arc::new(Loads::new(servers.into())), Arc::new(WorkerCounters::new(servers.into(), 1)));
    let mut forwarder = Forwarder::new(4096, SEED, loads, Arc::new(Templates::new(1, 0, SEED)), counters);
    forwarder.set_wide_table(FlowTable::new(4096, SEED));
    forwarder.adopt(Arc::new(snapshot(servers)));
    forwarder
}

fn snapshot(servers: u16) -> Snapshot {
    let own_macs = vec![MacAddr(DIRECTOR)];
    let mac = |id: u16| MacAddr([2, 1, 0, 0, 0, id as u8]);
    let server = |id| Some(NextHop { interface: InterfaceIndex(0), mac: Some(mac(id)) });
    let matches = SERVICES.iter().zip(0..).map(|((protocol, vip, port), id)| {
        (ServiceAddress { protocol: *protocol, address: (*vip, *port).into() }, MatchId(id))
    });
    let pool = |service: u16| Pool::new([0, 1].map(|id| Candidate::new(ServerId(2 * service + id), 1)));
    Snapshot {
        routes: (0..servers).map(|id| Route::new(&own_macs, server(id))).collect(),
        own_macs,
        services: ServiceMap::new(&matches.collect::<Vec<_>>()),
        matches: (0..SERVICES.len() as u16).map(ServiceId).collect(),
        pools: (0..SERVICES.len() as u16).map(pool).collect(),
        ..Snapshot::default()
    }
}

/// A frame of one of 32 clients: mostly of an open connection, and some that are dropped, held or decided on the slow
/// path.
fn frame(random: u64) -> Vec<u8> {
    let [kind, client, choice] = [random >> 60, random >> 32 & 31, random >> 40 & 7].map(|bits| bits as u8);
    let flags = [SYN, SYN, ACK, ACK, ACK, ACK, ACK, FIN | ACK][usize::from(choice)];
    let (v4, v6) = (Ipv4Addr::new(198, 51, 100, client), Ipv6Addr::from_bits(0x2001_0db8 << 96 | 7));
    let port = 40_000 + u16::from(client);
    let web = frames::tcp((v4, port), (VIP, 80), flags, &[]);
    let web_v6 = frames::tcp_v6((v6, port), (VIP6, 80), flags, &[]);
    let datagram = frames::udp((v4, port), (VIP, 53), &[0; 40]);
    match kind {
        0..=3 => web,
        4..=6 => web_v6,
        7..=9 => frames::tcp((v4, port), (VIP, 1000 + u16::from(client)), flags, &[]),
        10 => datagram,
        11 => frames::fragmented(&datagram, 24, (random & 0xff) as u16)[usize::from(choice & 1)].clone(),
        12 => {
            frames::with_ttl(&frames::tcp((Ipv4Addr::new(203, 0, 113, client), port), (VIP, 80), ACK, &[]), 1)
        }
        13 => frames::tagged(&if choice & 1 == 0 { web } else { web_v6 }, 0),
        14 => frames::icmp_error(VIP, &frames::tcp((VIP, 80), (v4, port), ACK, &[])[14..]),
        _ => web_v6[..usize::from(choice) * 10].to_vec(),
    }
}

#[test]
fn a_batch_is_decided_as_its_frames_one_by_one() {
    let (mut in_batches, mut alone) = (forwarder(), forwarder());
    let (mut random, now, mut verdicts) = (1_u64, Tick(u32::MAX - 1000), Vec::new());
    let mut next = || {
        // xorshift64*
        random ^= random >> 12;
        random ^= random << 25;
        random ^= random >> 27;
        random.wrapping_mul(0x2545_f491_4f6c_dd1d)
    };
    let mut seen = HashMap::new();
    for _ in 0..2000 {
        // Also batches of one kind.
        let (len, fixed) = (next() as usize % BATCH + 1, next());
        let kind = |bits: u64| if fixed & 3 == 0 { fixed >> 60 << 60 | bits << 4 >> 4 } else { bits };
        let mut batch: Vec<Vec<u8>> = (0..len).map(|_| frame(kind(next()))).collect();
        let mut singly = batch.clone();
        in_batches.decide(&mut batch[..], now, &mut verdicts);
        let decided = verdicts.clone();
        for (index, single) in singly.iter_mut().enumerate() {
            alone.decide(std::slice::from_mut(single), now, &mut verdicts);
            assert_eq!(decided[index], verdicts[0], "frame {index} of {len}: {single:02x?}");
            *seen.entry(std::mem::discriminant(&decided[index])).or_insert(0) += 1;
        }
        assert_eq!(batch, singly, "frames are rewritten alike");
    }
    let counts = [Verdict::Forward(InterfaceIndex(0)), Verdict::Hold]
        .map(|verdict| seen.get(&std::mem::discriminant(&verdict)).copied().unwrap_or(0));
    assert!(counts[0] > 30_000 && counts[1] > 50, "forwarded and held: {counts:?}");
}
