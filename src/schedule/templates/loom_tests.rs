//! Model check of a few workers, on tables whose two slots are candidates of every key.

use super::collisions::OF_ONE_DIGEST;
use super::*;
use crate::model::ServiceId;
use crate::time::Span;
use loom::sync::Arc;
use std::net::Ipv4Addr;

const SEED: Seed = Seed([1, 3, 5, 7]);
/// In whole units of a deadline.
const TIMEOUT: Span = Span::from_millis(40 << 8);

/// Numbered clients, 1 to 5. The server that is picked for a client has its number unless a test names another.
#[derive(Clone, Copy)]
enum Clients {
    /// Identities of one word.
    V4,
    /// Identities of three words, the first of which is the same for all; the other two of client 3 are one of
    /// client 1 and one of client 2.
    V6,
}

use Clients::{V4, V6};

impl Clients {
    fn key(self, n: u16) -> TemplateKey {
        let network = match self {
            V4 => Ipv4Addr::from_bits(n.into()).into(),
            V6 => OF_ONE_DIGEST[usize::from(n) - 1].into(),
        };
        TemplateKey { network, service: ServiceId(0), generation: 0 }
    }

    fn number(self, key: TemplateKey) -> u16 {
        (1..=5).find(|n| self.key(*n) == key).expect("no client but these five")
    }

    /// Binds a connection of client `n`, which `server` would get, and returns the server that it gets.
    fn open(self, table: &Templates, n: u16, now: Tick, server: u16) -> u16 {
        let binding = Binding { key: self.key(n), now, timeout: TIMEOUT, datagram: false };
        table.bind(binding, |_| true, || Some(ServerId(server))).unwrap().server.0
    }

    /// Like [`Self::open`], and assures the template.
    fn bind(self, table: &Templates, n: u16, now: Tick, server: u16) -> u16 {
        let bound = self.open(table, n, now, server);
        table.assure(self.key(n), ServerId(bound));
        bound
    }

    /// Client, server and connections of every template.
    fn all(self, table: &Templates, now: Tick) -> Vec<(u16, u16, u32)> {
        let fields = |of: Template| (self.number(of.key), of.server.0, of.connections);
        let mut all: Vec<_> = table.list(now).map(fields).collect();
        all.sort_unstable();
        let counted: u32 = (0..9).map(|server| table.of(ServerId(server))).sum();
        assert_eq!(counted as usize, all.len());
        all
    }
}

/// A table of two slots, one in each bucket.
fn table() -> Arc<Templates> {
    Arc::new(Templates::new(1, 9, SEED))
}

/// Explores `body` with [`V4`] and with [`V6`], up to these numbers of preemptions.
fn explore(preemptions: [usize; 2], body: impl Fn(Clients) + Copy + Sync + Send + 'static) {
    for (clients, preemptions) in [V4, V6].into_iter().zip(preemptions) {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(preemptions);
        builder.check(move || body(clients));
    }
}

#[test]
fn loom_two_workers_agree_on_a_client() {
    explore([4, 2], |clients| {
        let table = table();
        let other = Arc::clone(&table);
        let theirs = loom::thread::spawn(move || clients.bind(&other, 1, Tick(0), 2));
        let ours = clients.bind(&table, 1, Tick(0), 1);
        assert_eq!(ours, theirs.join().unwrap());
        assert_eq!(clients.all(&table, Tick(0)), [(1, ours, 2)]);
    });
}

/// Two slots for three workers: a worker that finds both reserved creates no template.
#[test]
fn loom_three_workers_agree_where_there_is_room() {
    explore([2, 2], |clients| {
        let table = table();
        let spawn = |server| {
            let table = Arc::clone(&table);
            loom::thread::spawn(move || clients.bind(&table, 1, Tick(0), server))
        };
        let others = [spawn(2), spawn(3)];
        let ours = clients.bind(&table, 1, Tick(0), 1);
        let [second, third] = others.map(|theirs| theirs.join().unwrap());
        let [(1, named, connections)] = clients.all(&table, Tick(0))[..] else { panic!("one template") };
        let followed = [ours, second, third].iter().filter(|server| **server == named).count();
        assert_eq!(u64::from(connections) + table.unbound(), 3);
        assert!(followed as u64 + table.unbound() >= 3, "{followed}");
    });
}

#[test]
fn loom_workers_agree_while_another_template_is_swept() {
    explore([2, 2], |clients| {
        let table = table();
        clients.bind(&table, 4, Tick(0), 7);
        table.release(clients.key(4), ServerId(7));
        let later = Tick(0).after(TIMEOUT);
        let sweeping = Arc::clone(&table);
        let sweep = loom::thread::spawn(move || sweeping.sweep(later, |_| true));
        let other = Arc::clone(&table);
        let theirs = loom::thread::spawn(move || clients.bind(&other, 1, later, 2));
        let ours = clients.bind(&table, 1, later, 1);
        assert_eq!(ours, theirs.join().unwrap());
        sweep.join().unwrap();
        assert_eq!(clients.all(&table, later), [(1, ours, 2)]);
    });
}

#[test]
fn loom_workers_agree_after_the_template_has_expired() {
    explore([3, 2], |clients| {
        let table = table();
        clients.bind(&table, 1, Tick(0), 7);
        table.release(clients.key(1), ServerId(7));
        let later = Tick(0).after(TIMEOUT);
        let other = Arc::clone(&table);
        let theirs = loom::thread::spawn(move || clients.bind(&other, 1, later, 2));
        let ours = clients.bind(&table, 1, later, 1);
        assert_eq!(ours, theirs.join().unwrap());
        assert_eq!(clients.all(&table, later), [(1, ours, 2)]);
    });
}

#[test]
fn loom_counts_are_exact_while_a_connection_ends() {
    explore([3, 2], |clients| {
        let table = table();
        clients.bind(&table, 1, Tick(0), 7);
        let (other, sweeping) = (Arc::clone(&table), Arc::clone(&table));
        let later = Tick(0).after(TIMEOUT);
        let ending = loom::thread::spawn(move || other.release(clients.key(1), ServerId(7)));
        let sweep = loom::thread::spawn(move || sweeping.sweep(later, |_| true));
        let server = clients.bind(&table, 1, later, 1);
        ending.join().unwrap();
        sweep.join().unwrap();
        // The template was overdue: it is kept if the other connection had not ended before.
        let [(1, named, connections)] = clients.all(&table, later)[..] else { panic!("one template") };
        assert_eq!((named, connections), (server, 1));
    });
}

#[test]
fn loom_two_clients_get_a_template_each() {
    explore([3, 2], |clients| {
        let table = table();
        let other = Arc::clone(&table);
        let theirs = loom::thread::spawn(move || clients.bind(&other, 2, Tick(0), 2));
        assert_eq!(clients.bind(&table, 1, Tick(0), 1), 1);
        assert_eq!(theirs.join().unwrap(), 2);
        let unbound = table.unbound();
        assert_eq!(clients.all(&table, Tick(0)).len() as u64 + unbound, 2);
        assert_eq!(unbound, 0, "there are two slots");
    });
}

/// The new template is for the same server as the evicted one, whose slot it takes.
#[test]
fn loom_an_evicted_slot_keeps_no_change_of_its_old_key() {
    explore([3, 3], |clients| {
        let table = table();
        clients.open(&table, 1, Tick(0), 7);
        clients.bind(&table, 5, Tick(0), 5);
        let other = Arc::clone(&table);
        let theirs = loom::thread::spawn(move || {
            other.assure(clients.key(1), ServerId(7));
            other.release(clients.key(1), ServerId(7));
        });
        assert_eq!(clients.open(&table, 2, Tick(0), 7), 7);
        theirs.join().unwrap();
        let evicted = clients.all(&table, Tick(0)) == [(2, 7, 1), (5, 5, 1)];
        let refused = clients.all(&table, Tick(0)) == [(1, 7, 0), (5, 5, 1)];
        assert!(evicted != refused, "{:?}", clients.all(&table, Tick(0)));
        assert_eq!(table.unbound(), u64::from(refused), "assured before it was evicted");
        let of_2 = table.list(Tick(0)).find(|of| of.key == clients.key(2));
        assert!(of_2.is_none_or(|of| !of.assured), "no change meant for another template");
    });
}

/// Client 3's words are those of client 1, whose slot is reused, and of client 2, which reuses it.
#[test]
fn loom_reader_of_a_reused_slot_takes_no_other_server() {
    explore([3, 2], |clients| {
        let table = table();
        clients.open(&table, 1, Tick(0), 1);
        clients.bind(&table, 5, Tick(0), 5);
        let other = Arc::clone(&table);
        let theirs = loom::thread::spawn(move || clients.open(&other, 2, Tick(0), 2));
        assert_eq!(clients.open(&table, 3, Tick(0), 3), 3);
        assert_eq!(theirs.join().unwrap(), 2);
        let all = clients.all(&table, Tick(0));
        assert!(all.iter().all(|(client, server, _)| client == server), "{all:?}");
        assert!(all.contains(&(5, 5, 1)), "a template that is assured stays");
    });
}

#[test]
fn loom_a_reused_slot_is_listed_as_one_of_its_templates() {
    explore([3, 3], |clients| {
        let table = table();
        clients.open(&table, 1, Tick(0), 1);
        clients.bind(&table, 5, Tick(0), 5);
        let other = Arc::clone(&table);
        let theirs = loom::thread::spawn(move || clients.open(&other, 2, Tick(0), 2));
        let listed: Vec<_> = table.list(Tick(0)).collect();
        assert!(listed.iter().all(|of| clients.number(of.key) == of.server.0), "{listed:?}");
        assert!(listed.iter().any(|of| of.server == ServerId(5)), "a template that is assured stays");
        theirs.join().unwrap();
    });
}

#[test]
fn loom_a_sweep_meets_an_eviction_and_a_new_connection() {
    explore([2, 2], |clients| {
        let table = table();
        clients.open(&table, 1, Tick(0), 1);
        clients.bind(&table, 5, Tick(0), 5);
        table.release(clients.key(1), ServerId(1));
        let later = Tick(0).after(TIMEOUT);
        let (sweeping, other) = (Arc::clone(&table), Arc::clone(&table));
        let sweep = loom::thread::spawn(move || {
            sweeping.sweep(later, |of| {
                assert_eq!(clients.number(of.key), of.server.0);
                true
            });
        });
        let theirs = loom::thread::spawn(move || clients.open(&other, 2, later, 2));
        assert_eq!(clients.bind(&table, 5, later, 3), 5, "it has a connection");
        assert_eq!(theirs.join().unwrap(), 2);
        sweep.join().unwrap();
        assert_eq!(clients.all(&table, later), [(2, 2, 1), (5, 5, 2)]);
    });
}
