//! Model check of a few workers, on tables whose two slots are candidates of every key.

use super::*;
use crate::model::ServiceId;
use loom::sync::Arc;
use std::net::Ipv4Addr;

const SEED: Seed = Seed([1, 3, 5, 7]);
/// In whole units of a deadline.
const TIMEOUT: Span = Span::from_millis(40 << 8);

fn key(n: u32) -> TemplateKey {
    TemplateKey { network: Ipv4Addr::from_bits(n), service: ServiceId(0), generation: 0 }
}

fn bind(table: &Templates, n: u32, now: Tick, server: u16) -> u16 {
    let binding = Binding { key: key(n), now, timeout: TIMEOUT, datagram: false };
    let bound = table.bind(binding, |_| true, || Some(ServerId(server))).unwrap().server;
    table.assure(binding.key, bound);
    bound.0
}

/// A table of two slots, one in each bucket.
fn table() -> Arc<Templates> {
    Arc::new(Templates::new(1, 9, SEED))
}

fn explore(preemptions: usize, body: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(body);
}

fn all(table: &Templates, now: Tick) -> Vec<(u32, u16, u32)> {
    let fields = |of: Template| (of.key.network.to_bits(), of.server.0, of.connections);
    let mut all: Vec<_> = table.list(now).map(fields).collect();
    all.sort_unstable();
    let counted: u32 = (0..9).map(|server| table.of(ServerId(server))).sum();
    assert_eq!(counted as usize, all.len());
    all
}

#[test]
fn loom_two_workers_agree_on_a_client() {
    explore(4, || {
        let table = table();
        let other = Arc::clone(&table);
        let theirs = loom::thread::spawn(move || bind(&other, 1, Tick(0), 2));
        let ours = bind(&table, 1, Tick(0), 1);
        assert_eq!(ours, theirs.join().unwrap());
        assert_eq!(all(&table, Tick(0)), [(1, ours, 2)]);
    });
}

/// Two slots for three workers: a worker that finds both reserved creates no template.
#[test]
fn loom_three_workers_agree_where_there_is_room() {
    explore(2, || {
        let table = table();
        let spawn = |server| {
            let table = Arc::clone(&table);
            loom::thread::spawn(move || bind(&table, 1, Tick(0), server))
        };
        let others = [spawn(2), spawn(3)];
        let ours = bind(&table, 1, Tick(0), 1);
        let [second, third] = others.map(|theirs| theirs.join().unwrap());
        let [(1, named, connections)] = all(&table, Tick(0))[..] else { panic!("one template") };
        let followed = [ours, second, third].iter().filter(|server| **server == named).count();
        assert_eq!(u64::from(connections) + table.unbound(), 3);
        assert!(followed as u64 + table.unbound() >= 3, "{followed}");
    });
}

#[test]
fn loom_workers_agree_while_another_template_is_swept() {
    explore(3, || {
        let table = table();
        bind(&table, 7, Tick(0), 7);
        table.release(key(7), ServerId(7));
        let later = Tick(0).after(TIMEOUT);
        let sweeping = Arc::clone(&table);
        let sweep = loom::thread::spawn(move || sweeping.sweep(later, |_| true));
        let other = Arc::clone(&table);
        let theirs = loom::thread::spawn(move || bind(&other, 1, later, 2));
        let ours = bind(&table, 1, later, 1);
        assert_eq!(ours, theirs.join().unwrap());
        sweep.join().unwrap();
        assert_eq!(all(&table, later), [(1, ours, 2)]);
    });
}

#[test]
fn loom_workers_agree_after_the_template_has_expired() {
    explore(3, || {
        let table = table();
        bind(&table, 1, Tick(0), 7);
        table.release(key(1), ServerId(7));
        let later = Tick(0).after(TIMEOUT);
        let other = Arc::clone(&table);
        let theirs = loom::thread::spawn(move || bind(&other, 1, later, 2));
        let ours = bind(&table, 1, later, 1);
        assert_eq!(ours, theirs.join().unwrap());
        assert_eq!(all(&table, later), [(1, ours, 2)]);
    });
}

#[test]
fn loom_counts_are_exact_while_a_connection_ends() {
    explore(3, || {
        let table = table();
        bind(&table, 1, Tick(0), 7);
        let (other, sweeping) = (Arc::clone(&table), Arc::clone(&table));
        let later = Tick(0).after(TIMEOUT);
        let ending = loom::thread::spawn(move || other.release(key(1), ServerId(7)));
        let sweep = loom::thread::spawn(move || sweeping.sweep(later, |_| true));
        let server = bind(&table, 1, later, 1);
        ending.join().unwrap();
        sweep.join().unwrap();
        // The template was overdue: it is kept if the other connection had not ended before.
        let [(1, named, connections)] = all(&table, later)[..] else { panic!("one template") };
        assert_eq!((named, connections), (server, 1));
    });
}

#[test]
fn loom_two_clients_get_a_template_each() {
    explore(3, || {
        let table = table();
        let other = Arc::clone(&table);
        let theirs = loom::thread::spawn(move || bind(&other, 2, Tick(0), 2));
        assert_eq!(bind(&table, 1, Tick(0), 1), 1);
        assert_eq!(theirs.join().unwrap(), 2);
        let unbound = table.unbound();
        assert_eq!(all(&table, Tick(0)).len() as u64 + unbound, 2);
        assert_eq!(unbound, 0, "there are two slots");
    });
}

#[test]
fn loom_an_evicted_slot_keeps_no_change_of_its_old_key() {
    explore(3, || {
        let table = table();
        let unassured = |table: &Templates, n: u32, server| {
            let binding = Binding { key: key(n), now: Tick(0), timeout: TIMEOUT, datagram: false };
            table.bind(binding, |_| true, || Some(ServerId(server))).unwrap().server.0
        };
        unassured(&table, 7, 7);
        unassured(&table, 8, 8);
        let other = Arc::clone(&table);
        let theirs = loom::thread::spawn(move || {
            other.assure(key(7), ServerId(7));
            other.release(key(8), ServerId(8));
        });
        assert_eq!(unassured(&table, 1, 1), 1);
        theirs.join().unwrap();
        let all = all(&table, Tick(0));
        assert!(all.iter().all(|(client, server, _)| u32::from(*server) == *client), "{all:?}");
        assert_eq!(all[0], (1, 1, 1), "no change meant for another template");
    });
}
