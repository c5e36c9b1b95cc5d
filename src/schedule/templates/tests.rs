use super::collisions::OF_ONE_DIGEST;
use super::table::EXTENSION;
use super::*;
use crate::model::ServiceId;
use crate::time::Span;
use proptest::prelude::*;
use std::cell::Cell;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{Ipv4Addr, Ipv6Addr};

const SEED: Seed =
    Seed([0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344, 0xa409_3822_299f_31d0, 0x082e_fa98_ec4e_6c89]);
/// Every test runs across the tick's wrap. In whole units of a deadline, which are 256 ms.
const NOW: Tick = Tick(u32::MAX - (4 << 8) + 1);
const TIMEOUT: Span = Span::from_millis(100 << 8);
const SERVERS: usize = 5;

fn table(capacity: usize) -> Templates {
    Templates::new(capacity, SERVERS, SEED)
}

/// Key of client `n`: every second one has an IPv6 address.
fn key(n: u32) -> TemplateKey {
    let network = if n.is_multiple_of(2) {
        Ipv4Addr::from_bits(0x0a00_0000 | n).into()
    } else {
        Ipv6Addr::from_bits(0x2001_0db8_u128 << 96 | u128::from(n) << 64).into()
    };
    TemplateKey { network, service: ServiceId((n % 3) as u16), generation: 0 }
}

fn binding(n: u32, now: Tick) -> Binding {
    Binding { key: key(n), now, timeout: TIMEOUT, datagram: false }
}

fn bind(table: &Templates, n: u32, now: Tick, server: u16) -> u16 {
    table.bind(binding(n, now), |_| true, || Some(ServerId(server))).unwrap().server.0
}

fn at(units: u32) -> Tick {
    NOW.after(Span::from_millis(units << 8))
}

fn one(table: &Templates, now: Tick) -> Template {
    let all: Vec<_> = table.list(now).collect();
    assert_eq!(all.len(), 1);
    all[0]
}

#[test]
fn later_connections_follow_the_first_within_the_timeout() {
    let table = table(10);
    assert_eq!(bind(&table, 1, NOW, 3), 3);
    table.release(key(1), ServerId(3));
    assert_eq!(bind(&table, 1, at(99), 4), 3);
    table.release(key(1), ServerId(3));
    assert_eq!(bind(&table, 1, at(198), 4), 3, "each connection renews the timeout");
    assert_eq!(bind(&table, 2, at(198), 4), 4, "another client");
    table.release(key(1), ServerId(3));
    assert_eq!(bind(&table, 1, at(298), 2), 2, "its template has expired");
    assert_eq!((table.of(ServerId(2)), table.of(ServerId(3)), table.of(ServerId(4))), (1, 0, 1));
}

#[test]
fn an_overdue_template_with_connections_is_extended() {
    let table = table(10);
    bind(&table, 1, NOW, 3);
    assert_eq!(bind(&table, 1, at(1000), 4), 3, "overdue, but in use");
    table.sweep(at(1100), |_| true);
    let extended = at(1100 + EXTENSION.millis().div_ceil(1 << 8));
    assert_eq!(one(&table, at(1100)).deadline, extended);
    table.release(key(1), ServerId(3));
    table.release(key(1), ServerId(3));
    table.sweep(at(1101), |_| true);
    assert_eq!(one(&table, at(1101)).connections, 0);
    table.sweep(extended, |_| true);
    assert!(table.is_empty());
}

#[test]
fn a_server_that_accepts_no_clients_loses_its_templates() {
    let table = table(10);
    bind(&table, 1, NOW, 3);
    let without = |server: ServerId| server != ServerId(3);
    let bound = table.bind(binding(1, NOW), without, || Some(ServerId(2))).unwrap();
    assert_eq!(bound, Bound { server: ServerId(2), counts: true });
    table.release(key(1), ServerId(3)); // the first connection, which this template never counted
    assert_eq!(one(&table, NOW).connections, 1);
    assert_eq!(table.bind(binding(1, NOW), |_| false, || None), None);
    assert!(table.is_empty(), "without a server there is no template");
}

/// Clients of one address family each.
const FAMILIES: [fn(u32) -> u32; 2] = [|n| 2 * n, |n| 2 * n + 1];

#[test]
fn each_family_s_table_fills_to_its_capacity() {
    for capacity in [1, 2, 3, 10, 1024, 100_000] {
        let table = table(capacity);
        for family in FAMILIES {
            for n in 0..capacity as u32 {
                bind(&table, family(n), NOW, (n % 5) as u16);
                table.assure(key(family(n)), ServerId((n % 5) as u16));
            }
        }
        assert_eq!(table.unbound(), 0, "{capacity}");
        assert_eq!(table.list(NOW).count(), 2 * capacity);
        for family in FAMILIES {
            assert!((0..capacity as u32).all(|n| bind(&table, family(n), NOW, 9) == (n % 5) as u16));
        }
    }
}

#[test]
fn a_flood_evicts_no_assured_template() {
    for family in FAMILIES {
        let table = table(100);
        for n in (0..100).map(family) {
            bind(&table, n, NOW, 1);
            table.assure(key(n), ServerId(1));
            table.release(key(n), ServerId(1));
        }
        for n in (1000..50_000).map(family) {
            assert_eq!(bind(&table, n, NOW, 2), 2);
        }
        assert!((0..100).map(family).all(|n| bind(&table, n, NOW, 3) == 1));
        for n in (1000..50_000).map(family) {
            bind(&table, n, NOW, 2);
            table.assure(key(n), ServerId(2));
        }
        assert!(table.unbound() > 0, "without room there is no template");
        assert_eq!(table.of(ServerId(2)) as usize + 100, table.list(NOW).count());
    }
}

#[test]
fn networks_of_one_digest_have_templates_of_their_own() {
    let table = table(1); // two buckets, both candidates of every key
    let digests = OF_ONE_DIGEST.map(|network| identity::SlotKey::v6(network, ServiceId(0), 0).head);
    assert_eq!(digests, [digests[0]; 5]);
    let key = |n: usize| TemplateKey { network: OF_ONE_DIGEST[n].into(), ..key(0) };
    let bind = |n: usize, server| {
        let binding = Binding { key: key(n), ..binding(0, NOW) };
        table.bind(binding, |_| true, || Some(ServerId(server))).unwrap().server.0
    };
    let all = [0, 1, 2, 3, 4];
    assert_eq!(all.map(|n| bind(n, n as u16)), [0, 1, 2, 3, 4]);
    assert_eq!(all.map(|n| bind(n, 4)), [0, 1, 2, 3, 4]);
    table.release(key(1), ServerId(1));
    let mut connections: Vec<_> = table.list(NOW).map(|of| (of.server.0, of.key, of.connections)).collect();
    connections.sort_by_key(|of| of.0);
    assert_eq!(connections, all.map(|n| (n as u16, key(n), if n == 1 { 1 } else { 2 })));
}

#[test]
fn equal_bits_of_both_families_are_different_clients() {
    let table = table(10);
    let of = |network: IpAddr| Binding { key: TemplateKey { network, ..key(0) }, ..binding(0, NOW) };
    let addresses: [IpAddr; 3] = ["10.0.0.1", "::10.0.0.1", "::ffff:10.0.0.1"].map(|of| of.parse().unwrap());
    for (server, address) in (0..).zip(addresses) {
        let bound = table.bind(of(address), |_| true, || Some(ServerId(server))).unwrap();
        assert_eq!(bound.server, ServerId(server), "{address}");
    }
}

#[test]
fn a_sweep_removes_templates_that_do_not_stay() {
    let table = table(100);
    for n in 0..90 {
        bind(&table, n, NOW, (n / 2 % 2) as u16);
    }
    table.sweep(NOW, |of| of.key.service != ServiceId(1) && of.server != ServerId(0));
    assert_eq!(table.passes(), 1);
    let left: Vec<_> = table.list(NOW).map(|template| (template.key.service.0, template.server.0)).collect();
    assert_eq!(left.len(), 30);
    assert!(left.iter().all(|(service, server)| *service != 1 && *server == 1));
}

#[test]
fn generations_are_independent() {
    let table = table(10);
    let of = |generation| Binding { key: TemplateKey { generation, ..key(1) }, ..binding(1, NOW) };
    let bind = |generation, server: u16| {
        table.bind(of(generation), |_| true, || Some(ServerId(server))).unwrap().server.0
    };
    let generations = 0..GENERATIONS;
    assert!(generations.clone().all(|n| bind(n, n.into()) == u16::from(n)));
    assert!(generations.clone().all(|n| bind(n, 4) == u16::from(n)));
    table.release(of(1).key, ServerId(1));
    let connections: Vec<_> = table.list(NOW).map(|of| (of.key.generation, of.connections)).collect();
    assert_eq!(connections.iter().filter(|(generation, _)| *generation != 1).map(|of| of.1).sum::<u32>(), 6);
    table.sweep(NOW, |of| of.key.generation == 3);
    assert_eq!(table.list(NOW).map(|of| of.server.0).collect::<Vec<_>>(), [3]);
}

#[test]
fn a_second_datagram_assures_but_a_second_syn_does_not() {
    let table = table(10);
    for (client, datagram) in [(1, true), (2, false)] {
        let again = || {
            let binding = Binding { datagram, ..binding(client, NOW) };
            table.bind(binding, |_| true, || Some(ServerId(3)));
            table.list(NOW).find(|of| of.key == key(client)).is_some_and(|of| of.assured)
        };
        assert_eq!([again(), again(), again()], [false, datagram, datagram]);
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Bind { client: u32, pick: Option<u16>, datagram: bool },
    Release(u32, u16),
    Assure(u32, u16),
    Close(u16),
    Open(u16),
    Pass(u32),
    Sweep,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (client, server) = (0..12u32, 0..SERVERS as u16);
    let step = prop_oneof![
        8 => (client.clone(), proptest::option::weighted(0.9, server.clone()), any::<bool>())
            .prop_map(|(client, pick, datagram)| Step::Bind { client, pick, datagram }),
        6 => (client.clone(), server.clone()).prop_map(|(client, server)| Step::Release(client, server)),
        2 => (client, server.clone()).prop_map(|(client, server)| Step::Assure(client, server)),
        1 => server.clone().prop_map(Step::Close),
        2 => server.prop_map(Step::Open),
        3 => (0..60u32).prop_map(Step::Pass),
        1 => Just(Step::Sweep),
    ];
    proptest::collection::vec(step, 0..400)
}

/// The model: a map.
#[derive(Default)]
struct Naive {
    templates: HashMap<u32, Template>,
    closed: Vec<u16>,
}

impl Naive {
    fn bind(&mut self, binding: Binding, client: u32, pick: Option<u16>) -> Option<ServerId> {
        let is_live = |of: &Template| of.connections > 0 || !binding.now.reached(of.deadline);
        let closed = &self.closed;
        self.templates
            .retain(|other, of| *other != client || (is_live(of) && !closed.contains(&of.server.0)));
        let template = match self.templates.entry(client) {
            Entry::Occupied(known) => {
                let template = known.into_mut();
                template.assured |= binding.datagram;
                template
            }
            Entry::Vacant(place) => place.insert(Template {
                key: binding.key,
                server: ServerId(pick?),
                deadline: binding.now,
                connections: 0,
                assured: false,
            }),
        };
        template.deadline = binding.now.after(binding.timeout);
        template.connections += 1;
        Some(template.server)
    }

    fn of(&mut self, client: u32, server: u16) -> Option<&mut Template> {
        self.templates.get_mut(&client).filter(|of| of.server.0 == server)
    }

    fn sweep(&mut self, now: Tick) {
        self.templates.retain(|_, of| of.connections > 0 || !now.reached(of.deadline));
        for of in self.templates.values_mut().filter(|of| now.reached(of.deadline)) {
            of.deadline = now.after(Span::from_millis(EXTENSION.millis().next_multiple_of(1 << 8)));
        }
    }
}

proptest! {
    #[test]
    fn the_table_matches_the_model(steps in steps()) {
        let (table, mut naive, now) = (table(64), Naive::default(), Cell::new(NOW));
        for step in steps {
            match step {
                Step::Bind { client, pick, datagram } => {
                    let pick = pick.filter(|pick| !naive.closed.contains(pick));
                    let binding = Binding { datagram, ..binding(client, now.get()) };
                    let accepts = |server: ServerId| !naive.closed.contains(&server.0);
                    let bound = table.bind(binding, accepts, || pick.map(ServerId));
                    prop_assert_eq!(bound.map(|bound| bound.server), naive.bind(binding, client, pick));
                }
                Step::Release(client, server) => {
                    table.release(key(client), ServerId(server));
                    if let Some(of) = naive.of(client, server) {
                        of.connections = of.connections.saturating_sub(1);
                    }
                }
                Step::Assure(client, server) => {
                    table.assure(key(client), ServerId(server));
                    if let Some(of) = naive.of(client, server) {
                        of.assured = true;
                    }
                }
                Step::Close(server) => naive.closed.push(server),
                Step::Open(server) => naive.closed.retain(|closed| *closed != server),
                Step::Pass(units) => now.set(now.get().after(Span::from_millis(units << 8))),
                Step::Sweep => {
                    table.sweep(now.get(), |_| true);
                    naive.sweep(now.get());
                }
            }
            let mut listed: Vec<_> = table.list(now.get()).collect();
            let is_live = |of: &&Template| of.connections > 0 || !now.get().reached(of.deadline);
            let mut wanted: Vec<_> = naive.templates.values().filter(is_live).copied().collect();
            listed.sort_by_key(|of| of.key.network);
            wanted.sort_by_key(|of| of.key.network);
            prop_assert_eq!(listed, wanted);
            for server in 0..SERVERS as u16 {
                let named = naive.templates.values().filter(|of| of.server.0 == server).count();
                prop_assert_eq!(table.of(ServerId(server)) as usize, named);
            }
        }
    }
}

/// Real threads on few keys in a small table: connections bound at the same time get one server.
#[test]
fn threads_agree_on_every_client() {
    let table = table(64);
    let rounds = 3000u32;
    let barrier = std::sync::Barrier::new(4);
    let bound: Vec<Vec<u16>> = std::thread::scope(|scope| {
        let worker = |worker: u16| {
            let (table, barrier) = (&table, &barrier);
            move || {
                let bind = |round: u32| {
                    if round.is_multiple_of(16) {
                        barrier.wait();
                    }
                    bind(table, round % 40, NOW.after(Span::from_secs(round / 40 * 1000)), worker)
                };
                (0..rounds).map(bind).collect()
            }
        };
        let threads: Vec<_> = (0..4).map(|number| scope.spawn(worker(number))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    for round in 0..rounds as usize {
        let servers: Vec<_> = bound.iter().map(|of| of[round]).collect();
        assert!(servers.iter().all(|server| *server == bound[0][round % 40]), "{round}: {servers:?}");
    }
    assert_eq!(table.list(NOW).map(|of| of.connections).sum::<u32>(), 4 * rounds);
}
