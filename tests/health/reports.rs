//! Reports and configurations that cross each other between the machine and the control thread.

use crate::random::Random;
use crate::rules::with_servers;
use crate::world::server;
use directrix::health::{
    Health, HealthAction, HealthConfig, HealthEvent, HealthReport, HealthSettings, ProbeFailure,
    ProbeOutcome, ServiceChecks,
};
use directrix::model::CheckTarget;
use directrix::time::Tick;
use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

const SERVERS: u8 = 5;

/// The machine, the control thread's record, and what is on its way between them.
struct Exchange {
    health: Health,
    now: Tick,
    random: Random,
    /// Servers that answer; the others refuse.
    answers: [bool; SERVERS as usize + 1],
    /// The servers of the control thread, with whether they are out.
    record: BTreeMap<IpAddr, bool>,
    number: u64,
    configs: VecDeque<HealthConfig>,
    reports: VecDeque<HealthReport>,
}

impl Exchange {
    fn new(seed: u64) -> Self {
        Self {
            health: Health::new(HealthSettings { in_flight_max: 8, seed }),
            now: Tick(0),
            random: Random::new(seed),
            answers: [true; SERVERS as usize + 1],
            record: BTreeMap::new(),
            number: 0,
            configs: VecDeque::new(),
            reports: VecDeque::new(),
        }
    }

    /// Adds a server, or removes it. A newer configuration may take the place of one that has not been read.
    fn change(&mut self, n: u8) {
        if self.record.remove(&server(n)).is_none() {
            self.record.insert(server(n), false);
        }
        self.number += 1;
        if self.random.one_in(3) {
            self.configs.clear();
        }
        let services = vec![self.service()];
        self.configs.push_back(HealthConfig { number: self.number, services });
    }

    fn service(&self) -> ServiceChecks {
        let present = (1..=SERVERS).filter(|n| self.record.contains_key(&server(*n)));
        let mut service = with_servers(80, present, CheckTarget::Rip);
        service.panic = 0;
        for server in &mut service.servers {
            server.out = self.record[&server.server];
        }
        service
    }

    fn read_config(&mut self) {
        if let Some(config) = self.configs.pop_front() {
            self.handle(HealthEvent::Configure(config));
        }
    }

    fn read_report(&mut self) {
        let Some(report) = self.reports.pop_front() else { return };
        if report.is_outdated(self.number) {
            return;
        }
        if let HealthReport::Server { server, out, .. } = report {
            let known = self.record.get_mut(&server).expect("a report of the latest configuration");
            *known = out;
        }
    }

    /// Lets time pass until probes start, and ends them.
    fn probe(&mut self) {
        let Some(due) = self.health.next_deadline() else { return };
        self.now = due;
        self.handle(HealthEvent::Timer);
    }

    fn handle(&mut self, event: HealthEvent) {
        let mut actions = Vec::new();
        self.health.handle(event, self.now, &mut actions);
        for action in actions {
            match action {
                HealthAction::Start { probe, key } => {
                    let n = (1..=SERVERS).find(|n| server(*n) == key.server).expect("a server");
                    let refused = ProbeOutcome::Failed(ProbeFailure::Refused);
                    let outcome = if self.answers[usize::from(n)] { ProbeOutcome::Passed } else { refused };
                    self.handle(HealthEvent::Finished { probe, outcome, rip: None, took: Duration::ZERO });
                }
                HealthAction::Abort(_) => {}
                HealthAction::Report(report) => self.reports.push_back(report),
            }
        }
    }

    fn step(&mut self) {
        let n = 1 + self.random.below(SERVERS.into()) as u8;
        match self.random.below(12) {
            0 | 1 => self.change(n),
            2 => self.answers[usize::from(n)] ^= true,
            3 | 4 => self.read_config(),
            5 | 6 => self.read_report(),
            _ => self.probe(),
        }
    }

    /// Everything on its way arrives.
    fn settle(&mut self) {
        while !self.configs.is_empty() {
            self.read_config();
        }
        while !self.reports.is_empty() {
            self.read_report();
        }
    }
}

#[test]
fn crossing_reports_and_changes_leave_no_server_in_error() {
    let mut outs = 0;
    for seed in 1..=300 {
        let mut exchange = Exchange::new(seed);
        for _ in 0..200 {
            exchange.step();
        }
        exchange.settle();
        let status = exchange.health.status();
        let servers = status.iter().flat_map(|service| &service.servers);
        let machine: BTreeMap<_, _> = servers.map(|server| (server.server, server.down)).collect();
        assert_eq!(exchange.record, machine, "seed {seed}");
        outs += machine.values().filter(|out| **out).count();
    }
    assert!(outs > 100, "{outs} servers were out at the end");
}

#[test]
fn a_server_that_is_added_again_is_not_out_by_an_old_report() {
    let mut exchange = Exchange::new(1);
    exchange.change(1);
    exchange.answers[1] = false;
    exchange.read_config();
    exchange.probe();
    exchange.change(1);
    exchange.change(1);
    exchange.answers[1] = true;
    exchange.settle();
    assert!(!exchange.record[&server(1)], "its new check has had no result");
}
