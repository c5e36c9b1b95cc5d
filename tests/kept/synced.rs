//! Connection sync over the shadow table: what one process tells, another one takes.

use super::*;
use directrix::flow::ConnState;
use directrix::sync::{BootId, SyncCounts, SyncDigest, SyncFacts, SyncRole};
use directrix::sync::{
    GroupSet, SyncEnds, SyncFlags, SyncHost, SyncIdFilter, SyncMachine, SyncRecord, SyncRefusal,
    SyncSettings, SyncTrust,
};
use directrix::wire::Protocol;
use std::net::IpAddr;

/// Runs a test with two processes of the same services, whose books are open.
fn with_pair(services: &str, test: impl FnOnce(Site, Site)) {
    let directory = tempfile::tempdir().unwrap();
    let [one, other] = ["one", "other"].map(|name| {
        let mut site = Site::start(&directory.path().join(name), services, 1000);
        let names = Arc::new(site.registry.sync_names());
        site.kept.open_book(names, true);
        site
    });
    test(one, other);
}

/// The records that a process has to tell.
fn told(site: &mut Site) -> Vec<SyncRecord> {
    site.settle();
    site.kept.take_due()
}

/// Tells all to another process; returns the refusals.
fn tell(from: &mut Site, to: &mut Site) -> Vec<SyncRefusal> {
    let now = to.now;
    told(from).iter().filter_map(|record| to.kept.receive(record, now).err()).collect()
}

fn walked(site: &mut Site) -> Vec<SyncRecord> {
    let (mut found, mut at, now) = (Vec::new(), Some(0), site.now);
    while let Some(from) = at {
        at = site.kept.walk(GroupSet::ALL, (from, 3), now, &mut found);
    }
    found
}

fn record(flow: (&str, &str, &str), state: ConnState) -> SyncRecord {
    let [client, vip, server] = [flow.0, flow.1, flow.2].map(|end| end.parse().unwrap());
    let ends = SyncEnds::new(client, vip, server).unwrap();
    SyncRecord::connection(Protocol::Tcp, ends, state, &directrix::model::Timeouts::default())
}

fn known(state: ConnState) -> SyncRecord {
    record(("198.51.100.7:40000", "192.0.2.80:80", "192.0.2.10:80"), state)
}

#[test]
fn a_connection_goes_on_at_another_director_and_counts_once() {
    with_pair(&plain(), |mut one, mut other| {
        for flow in [TestFlow::V4(1), TestFlow::V6(1), TestFlow::Udp(1)] {
            let server = one.open(0, flow);
            assert_eq!(tell(&mut one, &mut other), []);
            assert_eq!(other.load(), one.load(), "{flow:?}");
            assert_eq!(one.kept.digest(), other.kept.digest());
            assert_eq!(other.decide(2, &flow.frame(ACK)), Ok(server), "{flow:?}");
            other.settle();
            assert_eq!(other.load(), one.load(), "{flow:?}");
        }
        assert_eq!(told(&mut other).len(), 3, "what was taken over is told");
        let digest = one.kept.digest().unwrap().clone();
        [&mut one, &mut other].into_iter().for_each(|site| site.wait(1100));
        assert_eq!((one.load(), other.load()), ((0, 0), (0, 0)));
        assert_ne!(digest, SyncDigest::default());
        assert_eq!(one.kept.digest(), Some(&SyncDigest::default()), "all have expired");
        assert_eq!(other.kept.digest(), Some(&SyncDigest::default()));
    });
}

#[test]
fn a_short_connection_is_told_twice() {
    with_pair(&plain(), |mut one, mut other| {
        let flow = TestFlow::V4(1);
        one.open(0, flow);
        (0..5).for_each(|_| assert!(one.decide(0, &flow.frame(ACK)).is_ok()));
        one.decide(0, &flow.frame(FIN | ACK)).unwrap();
        one.decide(0, &flow.frame(ACK)).unwrap();
        let records = told(&mut one);
        let states: Vec<_> = records.iter().filter_map(SyncRecord::conn_state).collect();
        assert_eq!(states, [ConnState::Established, ConnState::FinWait]);
        records.iter().for_each(|record| other.kept.receive(record, Tick(0)).unwrap());
        assert_eq!((one.load(), other.load()), ((0, 1), (0, 1)));
        [&mut one, &mut other].into_iter().for_each(|site| site.wait(300)); // all buckets are swept by then
        assert_eq!((one.load(), other.load()), ((0, 0), (0, 0)));
        assert_eq!(one.kept.take_due(), [], "its end was told once, whatever its timeout");
    });
}

#[test]
fn a_half_closed_connection_is_told_while_frames_come() {
    with_pair(&plain(), |mut one, _| {
        let flow = TestFlow::V4(1);
        one.open(0, flow);
        one.decide(0, &flow.frame(FIN | ACK)).unwrap();
        assert_eq!(told(&mut one).len(), 2);
        for _ in 0..10 {
            one.wait(20);
            one.decide(0, &flow.frame(ACK)).unwrap();
        }
        assert!((2..=5).contains(&one.kept.take_due().len()));
        one.wait(60);
        one.kept.take_due();
        one.wait(100);
        assert_eq!((one.kept.take_due(), one.load()), (Vec::new(), (0, 0)));
    });
}

#[test]
fn a_standing_connection_is_told_each_minute_but_by_no_backup() {
    with_pair(&plain(), |mut one, _| {
        one.open(0, TestFlow::V4(1));
        assert_eq!(told(&mut one).len(), 1);
        one.wait(200);
        assert!((2..=5).contains(&one.kept.take_due().len()));
        one.kept.tell_again(false);
        one.wait(200);
        assert_eq!(one.kept.take_due(), []);
    });
}

#[test]
fn records_that_fit_nothing_are_refused() {
    with_pair(&plain(), |mut one, _| {
        let mut receive = |record: &SyncRecord| one.kept.receive(record, Tick(0));
        let established = ConnState::Established;
        let client = "198.51.100.7:40000";
        let no_service = record((client, "192.0.2.81:80", "192.0.2.10:80"), established);
        let no_server = record((client, "192.0.2.80:80", "192.0.2.99:80"), established);
        assert_eq!(receive(&no_service), Err(SyncRefusal::NoService));
        assert_eq!(receive(&no_server), Err(SyncRefusal::NoServer));
        assert_eq!(receive(&known(ConnState::SynRecv)), Err(SyncRefusal::Unconfirmed));
        assert_eq!(one.load(), (0, 0));
    });
}

#[test]
fn a_worker_knows_better_than_a_record() {
    with_pair(&plain(), |mut one, _| {
        let flow = TestFlow::V4(1);
        one.open(0, flow);
        let told = told(&mut one);
        one.decide(0, &flow.frame(FIN | ACK)).unwrap();
        one.settle();
        let now = one.now;
        assert_eq!(one.kept.receive(&told[0], now), Err(SyncRefusal::Older));
        assert_eq!(one.load(), (0, 1), "it stays closed");
    });
}

#[test]
fn second_hand_and_old_ends_change_nothing() {
    with_pair(&plain(), |mut one, _| {
        let mut receive = |record: SyncRecord| one.kept.receive(&record, Tick(0)).unwrap();
        receive(known(ConnState::FinWait).synced());
        receive(known(ConnState::Established).synced());
        assert_eq!(one.load(), (0, 1), "the first stands");
        let mut receive = |record: SyncRecord| one.kept.receive(&record, Tick(0)).unwrap();
        receive(known(ConnState::Established));
        // An end at another server is that of an older connection of this port; a new connection there is a move.
        let moved = |state| record(("198.51.100.7:40000", "192.0.2.80:80", "192.0.2.11:80"), state);
        receive(moved(ConnState::FinWait));
        assert_eq!(one.load(), (1, 0));
        one.kept.receive(&moved(ConnState::Established), Tick(0)).unwrap();
        assert_eq!(one.load(), (1, 0));
        let flags = walked(&mut one);
        assert_eq!(flags.len(), 1);
        assert!(
            flags[0].flags.has(SyncFlags::SYNCED) && flags[0].ends.server().to_string() == "192.0.2.11:80"
        );
        assert_eq!(one.kept.digest().unwrap().count(), 1);
    });
}

#[test]
fn a_walk_meets_every_entry_and_template() {
    let services =
        service("tcp", "192.0.2.80:80", "persistence = { timeout = 300 }", ["192.0.2.10", "192.0.2.11"])
            .replace("persistence = { timeout = 300 }", "[service.persistence]\ntimeout = 300")
            + &service("tcp", "[2001:db8::80]:80", "", ["2001:db8::10", "2001:db8::11"]);
    with_pair(&services, |mut one, mut other| {
        let server = one.open(0, TestFlow::V4(1));
        (40_002..40_100).for_each(|port| assert!(one.open(0, TestFlow::V4(port)) > 0));
        (40_001..40_050).for_each(|port| assert!(one.open(1, TestFlow::V6(port)) > 0));
        one.settle();
        let records = walked(&mut one);
        assert_eq!(records.iter().filter(|of| of.is_template()).count(), 1);
        assert_eq!(records.len(), 99 + 49 + 1);
        records.iter().for_each(|record| other.kept.receive(record, Tick(0)).unwrap());
        assert_eq!(one.kept.digest(), other.kept.digest());
        assert_eq!((one.load(), one.kept.sync_counts()), (other.load(), other.kept.sync_counts()));
        assert_eq!(other.open(2, TestFlow::V4(900)), server, "the client stays with its server");
    });
}

#[test]
fn a_template_is_told_with_its_connection() {
    let services =
        service("tcp", "192.0.2.80:80", "[service.persistence]\ntimeout = 300", ["192.0.2.10", "192.0.2.11"]);
    with_pair(&services, |mut one, mut other| {
        let server = one.open(0, TestFlow::V4(1));
        let records = told(&mut one);
        assert_eq!(records.iter().map(SyncRecord::is_template).collect::<Vec<_>>(), [false, true]);
        // The template alone, as a kernel with sync_persist_mode sends it.
        other.kept.receive(&records[1], Tick(0)).unwrap();
        assert_eq!(other.open(2, TestFlow::V4(900)), server);
        let wrong = if server == 10 { "192.0.2.11:80" } else { "192.0.2.10:80" };
        let ends = SyncEnds::new(records[1].ends.client(), records[1].ends.vip(), wrong.parse().unwrap());
        let wrong = SyncRecord { ends: ends.unwrap(), ..records[1] };
        assert_eq!(other.kept.receive(&wrong, Tick(0)), Err(SyncRefusal::Older));
    });
}

/// A process whose messages are kept.
struct Wire<'a> {
    site: &'a mut Site,
    sent: Vec<Vec<u8>>,
}

impl SyncHost for Wire<'_> {
    fn send(&mut self, message: &[u8]) {
        self.sent.push(message.to_vec());
    }

    fn accept(&mut self, _: IpAddr, record: &SyncRecord) {
        let _ = self.site.kept.receive(record, self.site.now);
    }

    fn digest(&self) -> &SyncDigest {
        self.site.kept.digest().unwrap()
    }

    fn counts(&self) -> SyncCounts {
        self.site.kept.sync_counts()
    }

    fn walk(
        &mut self,
        groups: GroupSet,
        from: u64,
        budget: usize,
        found: &mut Vec<SyncRecord>,
    ) -> Option<u64> {
        self.site.kept.walk(groups, (from, budget), self.site.now, found)
    }
}

#[test]
fn a_machine_over_the_table_fetches_what_it_lacks() {
    with_pair(&plain(), |mut one, other| {
        (40_001..40_200).for_each(|port| assert!(one.open(0, TestFlow::V4(port)) > 0));
        (40_001..40_200).for_each(|port| assert!(one.open(0, TestFlow::V6(port)) > 0));
        one.settle();
        let _ = one.kept.take_due(); // lost on the way
        let settings = SyncSettings {
            syncid: 7,
            len_max: 1472,
            sends: true,
            trust: Some(SyncTrust {
                filter: SyncIdFilter::Exactly(7),
                peers: Vec::new(),
                messages_per_second: 10_000,
            }),
            hello_every: Some(Span::from_millis(200)),
            bulk_per_second: 100_000,
        };
        let facts = |id, role| SyncFacts { boot_id: BootId([id; 16]), role, ..SyncFacts::default() };
        let mut machines = [
            SyncMachine::new(settings.clone(), facts(1, SyncRole::Master), Tick(0)),
            SyncMachine::new(settings, facts(2, SyncRole::Backup), Tick(0)),
        ];
        let mut sites = [one, other];
        for ms in 0..3000 {
            for index in 0..2 {
                sites[index].now = Tick(ms);
                let mut wire = Wire { site: &mut sites[index], sent: Vec::new() };
                machines[index].turn(Tick(ms), &mut wire);
                let (sent, to) = (wire.sent, 1 - index);
                let mut wire = Wire { site: &mut sites[to], sent: Vec::new() };
                let source = IpAddr::from([192, 0, 2, 1 + index as u8]);
                for message in &sent {
                    machines[to].receive(message, source, Tick(ms), &mut wire);
                }
                let back = wire.sent;
                let mut wire = Wire { site: &mut sites[index], sent: Vec::new() };
                let source = IpAddr::from([192, 0, 2, 1 + to as u8]);
                for message in &back {
                    machines[index].receive(message, source, Tick(ms), &mut wire);
                }
            }
        }
        let [one, other] = sites;
        assert_eq!(one.kept.digest(), other.kept.digest());
        assert_eq!(other.load(), (398, 0));
        assert!(machines.iter().all(SyncMachine::is_complete));
        assert!(machines[1].peers().all(|peer| peer.difference() == Some(0)));
    });
}
