//! Inquiries: from the first sign of a misuse to a finding, or to none.

use super::auditor::{Auditor, VipRole};
use super::case::{ANSWER_TIME, AuditCase, CaseKey, CaseStage, PROBE_TIME};
use super::events::{AuditAction, AuditReport};
use super::finding::{AuditFinding, AuditLevel, AuditedHost, Misuse};
use super::macs::may_be_ports_of_one_host;
use super::questions::{AuditQuestion, Purpose};
use super::round::about_vip;
use crate::model::InterfaceIndex;
use crate::wire::MacAddr;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr};

/// Most cases. Further ones are not recorded: their addresses are forged.
const CASES_MAX: usize = 256;
/// Time for which a host that was cleared is not suspected again, in milliseconds, and most of such hosts.
const CLEARED_FOR: u64 = 300_000;
const CLEARED_MAX: usize = 1024;
/// Most real servers that a suspect is asked for.
const IDENTIFY_MAX: usize = 256;

impl Auditor {
    /// Records a sign of a misuse, and begins an inquiry at the first one. Returns true if it does.
    pub(super) fn suspect(&mut self, key: CaseKey, asked: bool, target: Option<IpAddr>) -> bool {
        let now = self.now;
        if let Some(case) = self.cases.get_mut(&key) {
            case.repeat(asked, target, now);
            return false;
        }
        let is_cleared = self.cleared.get(&(key.address, key.mac)).is_some_and(|until| *until > now);
        if is_cleared || self.cases.len() >= CASES_MAX {
            return false;
        }
        let mut case = AuditCase::new(asked, target, now);
        if key.misuse == Misuse::Probes {
            case.stage = CaseStage::Inquiry { unsent: 0, until: now + PROBE_TIME };
        }
        self.cases.insert(key, case);
        self.inquire(key);
        true
    }

    /// Asks a suspect: for the VIP again, for addresses that it hardly has, and for each real server if it is unknown.
    fn inquire(&mut self, key: CaseKey) {
        if matches!(self.hosts.identify(key.mac, key.address), AuditedHost::Router(_)) {
            return;
        }
        let vip = AuditQuestion {
            interface: self.interface_of(&key),
            purpose: Purpose::Verify(key),
            ..about_vip(key.address, Some(key.mac), false)
        };
        let mut questions = Vec::new();
        if matches!(key.misuse, Misuse::Answers | Misuse::Announces | Misuse::Leaks) {
            questions.extend([vip, AuditQuestion { has_sender: true, ..vip }]);
        }
        if matches!(key.misuse, Misuse::Answers | Misuse::Duplicate) {
            questions.extend(self.unused_near(key.address).into_iter().map(|address| AuditQuestion {
                address,
                has_sender: true,
                purpose: Purpose::Control(key),
                ..vip
            }));
        }
        if !matches!(key.misuse, Misuse::Unheard | Misuse::Duplicate) && !self.is_real_server(&key) {
            let rips = self.hosts.servers().map(|((_, rip), _)| *rip).take(IDENTIFY_MAX);
            questions.extend(rips.map(|address| AuditQuestion {
                address,
                purpose: Purpose::Identify(key),
                ..vip
            }));
        }
        let queued = questions.into_iter().filter(|question| self.queue.push(*question)).count();
        if let Some(case) = self.cases.get_mut(&key) {
            case.expect(queued);
        }
    }

    /// Interface of the questions about a case.
    pub(super) fn interface_of(&self, key: &CaseKey) -> InterfaceIndex {
        let is_it =
            |(_, rip): &&(InterfaceIndex, IpAddr)| key.misuse == Misuse::Duplicate && *rip == key.address;
        let servers = self.hosts.servers().map(|(server, _)| server);
        servers.into_iter().find(is_it).map_or(InterfaceIndex::CLIENT, |(interface, _)| *interface)
    }

    pub(super) fn is_real_server(&self, key: &CaseKey) -> bool {
        matches!(self.hosts.identify(key.mac, key.address), AuditedHost::RealServer { .. })
    }

    /// Draws two addresses near `vip` that no known station uses.
    fn unused_near(&mut self, vip: IpAddr) -> BTreeSet<IpAddr> {
        let mut drawn = BTreeSet::new();
        for _ in 0..16 {
            let address = near(vip, self.random.next());
            let is_own = self.sender.is_some_and(|own| address == IpAddr::from(own));
            if !is_own && !self.vips.contains_key(&address) && !self.hosts.is_in_use(address) {
                drawn.insert(address);
            }
            if drawn.len() == 2 {
                break;
            }
        }
        drawn
    }

    /// Opens a case of two hosts with one address, or repeats it.
    pub(super) fn dispute(&mut self, rip: IpAddr, mac: MacAddr, known: Option<MacAddr>) {
        let (key, now) = (CaseKey { address: rip, mac, misuse: Misuse::Duplicate }, self.now);
        if let Some(case) = self.cases.get_mut(&key) {
            case.repeat(false, None, now);
        } else if self.cases.len() < CASES_MAX {
            self.cases.insert(key, AuditCase { known, ..AuditCase::new(false, None, now) });
            self.inquire(key);
        }
    }

    /// Ends the inquiries that are ready: a case is reported, or dropped.
    pub(super) fn open_cases(&mut self, actions: &mut Vec<AuditAction>) {
        let now = self.now;
        let ready: Vec<_> =
            self.cases.iter().filter(|(_, case)| case.is_ready(now)).map(|(key, _)| *key).collect();
        for key in ready {
            let Some(case) = self.cases.get(&key) else { continue };
            if !self.concerns(&key, case) {
                self.cases.remove(&key);
                if self.cleared.len() < CLEARED_MAX {
                    self.cleared.insert((key.address, key.mac), now + CLEARED_FOR);
                }
                continue;
            }
            let due = now + self.verify_interval().min(ANSWER_TIME);
            if let Some(case) = self.cases.get_mut(&key) {
                case.stage = CaseStage::Open;
                case.verification.due = due;
                if case.is_proxy() {
                    self.hosts.add_proxy(key.mac);
                }
            }
            if let Some(case) = self.cases.get(&key) {
                actions.push(AuditAction::Report(AuditReport::Opened(self.finding(&key, case))));
            }
        }
    }

    /// True if the signs are a finding. One answer alone may be the last of a director that gives way.
    pub(super) fn concerns(&self, key: &CaseKey, case: &AuditCase) -> bool {
        let is_left = self.vips.get(&key.address) == Some(&VipRole::Left);
        let is_rightful = is_left && !self.is_real_server(key) && !case.is_proxy();
        let is_router = matches!(self.hosts.identify(key.mac, key.address), AuditedHost::Router(_));
        let is_single = key.misuse == Misuse::Answers && case.count < 2 && !is_router;
        !is_rightful && !is_single && !self.hosts.is_director(key.mac)
    }

    /// Closes the cases of keys that `is_over`, and reports the open ones.
    pub(super) fn close_where(&mut self, is_over: impl Fn(&CaseKey) -> bool, actions: &mut Vec<AuditAction>) {
        let over: Vec<_> = self.cases.keys().filter(|key| is_over(key)).copied().collect();
        for key in over {
            let Some(case) = self.cases.remove(&key) else { continue };
            self.queue.forget(key);
            if case.is_open() {
                actions.push(AuditAction::Report(AuditReport::Closed(self.finding(&key, &case))));
            }
        }
    }

    pub(super) fn finding(&self, key: &CaseKey, case: &AuditCase) -> AuditFinding {
        let CaseKey { address, mac, misuse } = *key;
        let misuse = if case.is_proxy() { Misuse::Proxy } else { misuse };
        let host = self.hosts.identify(mac, address);
        let is_bond = case.known.is_some_and(|known| may_be_ports_of_one_host(known, mac));
        let is_harmless = is_bond || matches!(host, AuditedHost::Router(_));
        AuditFinding {
            misuse,
            level: if is_harmless { AuditLevel::Info } else { misuse.level() },
            address,
            mac,
            host,
            asked: case.asked,
            target: case.target,
            known: case.known,
            count: case.count,
            since_ms: self.now - case.first,
            last_ms: self.now - case.last,
        }
    }
}

/// An address of the network of `vip`, /24 or /64, by random bits.
fn near(vip: IpAddr, random: u64) -> IpAddr {
    match vip {
        IpAddr::V4(vip) => {
            let [a, b, c, _] = vip.octets();
            IpAddr::from([a, b, c, 1 + (random % 254) as u8])
        }
        IpAddr::V6(vip) => {
            let network = vip.to_bits() >> 64 << 64;
            IpAddr::from(Ipv6Addr::from_bits(network | u128::from(random)))
        }
    }
}
