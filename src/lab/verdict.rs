//! Evaluation of a run: one finding for each property of the deployment.

use super::measurements::Measurements;
use super::{Arp, LabHost};
use crate::wire::MacAddr;
use std::fmt;
use std::net::IpAddr;

/// A finding of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunFinding {
    /// Property of the deployment.
    pub what: &'static str,
    /// Outcome.
    pub outcome: RunOutcome,
    /// Figures; after a failure with their meaning.
    pub figures: String,
}

/// Outcome of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunOutcome {
    /// Correct.
    Ok,
    /// Wrong.
    Failed,
    /// Wrong, as this lab is meant to demonstrate.
    Expected,
    /// Not evaluated.
    Shown,
}

impl fmt::Display for RunFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.outcome {
            RunOutcome::Ok => "ok",
            RunOutcome::Failed => "FAILED",
            RunOutcome::Expected => "EXPECTED",
            RunOutcome::Shown => "shown",
        };
        write!(f, "{word:<8}{}{:<42}{}", if word.len() < 8 { "" } else { " " }, self.what, self.figures)
    }
}

/// Evaluates a run: all findings, from ARP to the counters.
#[must_use]
pub fn evaluate(run: &Measurements) -> Vec<RunFinding> {
    let affected = |finding: RunFinding| if run.arp == Arp::None { expected(finding) } else { finding };
    // Neighbor discovery replaces the router's entry at any time, also within a connection.
    let lost = |finding: RunFinding| if run.vip.is_ipv6() { affected(finding) } else { finding };
    vec![
        affected(arp_answers(run)),
        affected(router_entry(run)),
        vip_claimed(run),
        lost(answered(run)),
        affected(shares(run)),
        affected(conns(run)),
        affected(through_the_director(run)),
        affected(counted(run)),
        affected(bypassed(run)),
        out_is_zero(run),
        affected(bytes(run)),
        captured(run),
    ]
}

/// Marks a failure as expected, for real servers that answer for the VIP.
fn expected(finding: RunFinding) -> RunFinding {
    let outcome = if finding.outcome == RunOutcome::Failed { RunOutcome::Expected } else { finding.outcome };
    RunFinding { outcome, ..finding }
}

/// Explanation of expected failures in a run with `vip`.
#[must_use]
pub fn expected_means(vip: IpAddr) -> &'static str {
    match vip {
        IpAddr::V4(_) => ARP_MEANS,
        IpAddr::V6(_) => NDP_MEANS,
    }
}

const ARP_MEANS: &str = "\
EXPECTED: with --arp none the real servers answer ARP for the VIP, too. The first answer counts: for a second the router's \
kernel ignores others (locktime), and the real servers' kernels are faster than the director. Frames that the \
router sends to a real server directly bypass the director: no weights, no counters.";

/// `ndisc_recv_na` and `ndisc_recv_ns` in net/ipv6/ndisc.c.
const NDP_MEANS: &str = "\
EXPECTED: with --arp none the real servers answer neighbor solicitations for the VIP, too. The last answer counts: \
each advertisement replaces the router's entry (override flag), and so does each solicitation of a real server, as it has \
the VIP as source. A connection is reset if the entry changes while it is open. Frames that the router sends to \
a real server directly bypass the director: no weights, no counters.";

fn finding(what: &'static str, good: bool, figures: String, meaning: &str) -> RunFinding {
    if good {
        return RunFinding { what, outcome: RunOutcome::Ok, figures };
    }
    RunFinding { what, outcome: RunOutcome::Failed, figures: format!("{figures}: {meaning}") }
}

fn arp_answers(run: &Measurements) -> RunFinding {
    let names = match run.owners.len() {
        0 => "no host".to_owned(),
        _ => run.owners.iter().map(|mac| name(*mac)).collect::<Vec<_>>().join(", "),
    };
    let what = if run.vip.is_ipv4() {
        "ARP answers for the VIP come from"
    } else {
        "advertisements for the VIP come from"
    };
    let director = run.owners.contains(&LabHost::Director.mac());
    if run.arp == Arp::Static {
        let figures = format!("{names}; the router's static entry takes precedence");
        return finding(what, director, figures, "the director does not");
    }
    let meaning = if run.owners.is_empty() {
        "the director should"
    } else {
        "only the director should; the router may accept any of them"
    };
    finding(what, director && run.owners.len() == 1, names, meaning)
}

fn name(mac: MacAddr) -> String {
    LabHost::with_mac(mac)
        .map_or_else(|| format!("an unknown host ({mac})"), |host| format!("{host} ({mac})"))
}

fn router_entry(run: &Measurements) -> RunFinding {
    let names = run.router_entry.map_or("no host".into(), name);
    let good = run.router_entry == Some(LabHost::Director.mac());
    finding("the router sends frames for the VIP to", good, names, "they do not reach the director")
}

fn vip_claimed(run: &Measurements) -> RunFinding {
    let figures = format!("{} {}", run.vip, run.table.state);
    finding("the director serves the VIP", run.table.state == "claimed", figures, "see its log")
}

fn answered(run: &Measurements) -> RunFinding {
    let figures = format!("{} of {}", run.answers.total(), run.requested);
    let meaning = run.answers.failure.as_deref().unwrap_or("the others were not tried");
    finding(
        "connections answered",
        run.answers.total() == run.requested && run.requested > 0,
        figures,
        meaning,
    )
}

/// Sequential connections are distributed exactly by the weights. Concurrent ones also depend on the duration of each
/// connection, since wlc compares connections held, so their shares are not evaluated.
fn shares(run: &Measurements) -> RunFinding {
    let what = "shares of the connections";
    let counts =
        LabHost::REAL_SERVERS.map(|host| run.answers.by_server.get(host.name()).copied().unwrap_or_default());
    if run.concurrency > 1 && counts.iter().all(|count| *count > 0) {
        let figures = format!("{}; {} at a time: not evaluated", split(counts), run.concurrency);
        return RunFinding { what, outcome: RunOutcome::Shown, figures };
    }
    finding(what, is_split(counts, run.requested), split(counts), "more than 1 % off the weights")
}

fn conns(run: &Measurements) -> RunFinding {
    let of = |host| run.table.servers.get(&host).map_or(0, |stats| stats.connections);
    let counts = LabHost::REAL_SERVERS.map(of);
    let same = LabHost::REAL_SERVERS
        .iter()
        .all(|host| run.answers.by_server.get(host.name()).copied().unwrap_or_default() == of(*host));
    let good =
        same && run.table.service.connections == counts.iter().sum::<u64>() && counts.iter().any(|n| *n > 0);
    let figures = format!("{}, {} in all", split(counts), run.table.service.connections);
    finding("Conns in ipvsadm's table", good, figures, "the client counted differently")
}

/// Connections by which the shares of a short run may differ. Two workers may count the last frame of a connection after
/// the first of the next, more often on a busy machine.
const SHORT_RUN: u64 = 3;

/// Whether the shares differ from the weights by at most 1 %, or by [`SHORT_RUN`] connections.
fn is_split(got: [u64; 2], total: u64) -> bool {
    let weights = LabHost::REAL_SERVERS.map(|host| u64::from(host.weight()));
    let sum: u64 = weights.iter().sum();
    let mut shares = got.into_iter().zip(weights).map(|(got, weight)| (got * sum, total * weight));
    total > 0 && shares.all(|(got, due)| got.abs_diff(due) <= (due / 100).max(SHORT_RUN * sum))
}

fn split([first, second]: [u64; 2]) -> String {
    #[allow(clippy::cast_precision_loss)] // display only
    let ratio = if first == 0 { "-".into() } else { format!("1 : {:.3}", second as f64 / first as f64) };
    format!("rs1 {first}, rs2 {second} = {ratio} (weights 1 : 2)")
}

fn through_the_director(run: &Measurements) -> RunFinding {
    let (came, went) = (run.sent_by(LabHost::Router).to_vip, run.sent_by(LabHost::Director).to_vip);
    let (received, sent) = run.director_frames;
    let figures = format!(
        "{} from the router, {} out of the director (its interface, with ARP: {received} in, {sent} out)",
        came.frames, went.frames
    );
    let good = came == went && came.frames > 0 && received >= came.frames && sent >= went.frames;
    finding("frames to the VIP", good, figures, "each should leave the director once, and no other")
}

fn counted(run: &Measurements) -> RunFinding {
    let (wire, table) = (run.sent_by(LabHost::Router).to_vip, run.table.service);
    let figures = format!(
        "InPkts {} for {} frames, InBytes {} for {} bytes",
        table.in_packets, wire.frames, table.in_bytes, wire.bytes
    );
    let good = (table.in_packets, table.in_bytes) == (wire.frames, wire.bytes);
    finding("ipvsadm's counters and the capture", good, figures, "they should be equal")
}

fn bypassed(run: &Measurements) -> RunFinding {
    let (replies, passed) = (run.replies(), run.sent_by(LabHost::Director).from_vip);
    let figures = format!(
        "{} from the real servers straight to the router, {} through the director",
        replies.frames, passed.frames
    );
    let good = passed.frames == 0 && replies.frames > 0;
    finding("reply frames (source VIP)", good, figures, "replies should bypass the director")
}

fn out_is_zero(run: &Measurements) -> RunFinding {
    let stats = run.table.service;
    let figures = format!("OutPkts {}, OutBytes {}", stats.out_packets, stats.out_bytes);
    let good = (stats.out_packets, stats.out_bytes) == (0, 0);
    finding("no replies counted by the director", good, figures, "in direct routing both are 0")
}

fn bytes(run: &Measurements) -> RunFinding {
    let (through, back) = (run.sent_by(LabHost::Director).to_vip.bytes, run.replies().bytes);
    #[allow(clippy::cast_precision_loss)] // display only
    let share = 100.0 * through as f64 / (through + back).max(1) as f64;
    let figures = format!(
        "{through} through the director, {back} directly to the client ({share:.0} % through the director)"
    );
    finding("IP bytes", through > 0 && back > 0, figures, "there should be both")
}

/// Tolerance in frames, for the time between reading the counters and the capture.
const BETWEEN_READINGS: u64 = 4;

fn captured(run: &Measurements) -> RunFinding {
    let seen: u64 = run.seen.values().map(|sent| sent.frames).sum();
    let missed: u64 = run
        .seen
        .values()
        .map(|sent| sent.kernel_frames.saturating_sub(sent.frames))
        .max()
        .unwrap_or_default();
    let figures = format!("{seen} frames at the switch's ports, at most {missed} missed at one port");
    let meaning = "the figures above miss frames, the host is overloaded: run again";
    finding("completeness of the capture", missed <= BETWEEN_READINGS && seen > 0, figures, meaning)
}

#[cfg(test)]
mod tests {
    use super::super::capture::{FramesByHost, HostFrames, Tally};
    use super::super::http_client::Answers;
    use super::super::measurements::DirectorTable;
    use super::*;
    use crate::control::api::Stats;
    use std::collections::{BTreeMap, BTreeSet};

    /// Figures of the reference run.
    fn reference() -> Measurements {
        let stats = |connections, in_packets, in_bytes| Stats {
            connections,
            in_packets,
            in_bytes,
            ..Stats::default()
        };
        let to_vip = Tally { frames: 25_495, bytes: 1_824_257 };
        let reply = Tally { frames: 9_000, bytes: 900_000 };
        let sent = |to_vip, from_vip| HostFrames { to_vip, from_vip, frames: 30_000, kernel_frames: 30_000 };
        let none = Tally::default();
        Measurements {
            vip: super::super::host::VIP.into(),
            arp: Arp::Sysctl,
            requested: 5091,
            concurrency: 1,
            answers: Answers {
                by_server: [("rs1".into(), 1703), ("rs2".into(), 3388)].into(),
                failure: None,
            },
            owners: BTreeSet::from([LabHost::Director.mac()]),
            router_entry: Some(LabHost::Director.mac()),
            seen: FramesByHost::from([
                (LabHost::Router, sent(to_vip, none)),
                (LabHost::Director, sent(to_vip, none)),
                (LabHost::Rs1, sent(none, reply)),
                (LabHost::Rs2, sent(none, reply)),
            ]),
            director_frames: (25_510, 25_505),
            table: DirectorTable {
                state: "claimed".into(),
                service: stats(5091, 25_495, 1_824_257),
                servers: BTreeMap::from([
                    (LabHost::Rs1, stats(1703, 8534, 612_007)),
                    (LabHost::Rs2, stats(3388, 16_961, 1_212_250)),
                ]),
            },
        }
    }

    fn nothing_measured() -> Measurements {
        Measurements {
            vip: reference().vip,
            arp: Arp::Sysctl,
            requested: 0,
            concurrency: 0,
            answers: Answers::default(),
            owners: BTreeSet::new(),
            router_entry: None,
            seen: FramesByHost::new(),
            director_frames: (0, 0),
            table: DirectorTable::default(),
        }
    }

    fn failures(run: &Measurements) -> Vec<String> {
        evaluate(run)
            .into_iter()
            .filter(|finding| finding.outcome == RunOutcome::Failed)
            .map(|finding| finding.to_string())
            .collect()
    }

    /// Asserts that `change` makes exactly the findings fail whose lines contain `words`, in order.
    fn fails(words: &[&str], change: impl FnOnce(&mut Measurements)) {
        let mut run = reference();
        change(&mut run);
        let failures = failures(&run);
        assert_eq!(failures.len(), words.len(), "{failures:#?}");
        for (failure, word) in failures.iter().zip(words) {
            assert!(failure.starts_with("FAILED  ") && failure.contains(word), "{failure}");
        }
    }

    #[test]
    fn reference_run_has_no_failures() {
        assert_eq!(failures(&reference()), Vec::<String>::new());
        let lines: Vec<String> = evaluate(&reference()).iter().map(ToString::to_string).collect();
        assert!(lines.iter().any(|line| line.contains("5091 of 5091")), "{lines:#?}");
        assert!(lines.iter().any(|line| line.contains("rs1 1703, rs2 3388 = 1 : 1.989")), "{lines:#?}");
    }

    #[test]
    fn lost_connection_is_reported_with_its_cause() {
        fails(&["5089 of 5091: connecting to"], |run| {
            run.answers.by_server.insert("rs1".into(), 1701);
            run.table.servers.get_mut(&LabHost::Rs1).unwrap().connections = 1701;
            run.table.service.connections = 5089;
            run.answers.failure = Some("connecting to 192.168.195.150:80: timed out".into());
        });
    }

    #[test]
    fn shares_beyond_one_percent_fail() {
        let change = |run: &mut Measurements, first: u64| {
            run.answers.by_server = [("rs1".into(), first), ("rs2".into(), 5091 - first)].into();
            run.table.servers.get_mut(&LabHost::Rs1).unwrap().connections = first;
            run.table.servers.get_mut(&LabHost::Rs2).unwrap().connections = 5091 - first;
        };
        fails(&["rs1 1750, rs2 3341"], |run| change(run, 1750));
        fails(&["rs1 0, rs2 5091 = -"], |run| change(run, 0));
        fails(&[], |run| change(run, 1700));
    }

    #[test]
    fn concurrent_shares_are_shown_unless_one_is_zero() {
        let many = |run: &mut Measurements, counts: [u64; 2]| {
            run.concurrency = 100;
            for (host, count) in LabHost::REAL_SERVERS.into_iter().zip(counts) {
                run.answers.by_server.insert(host.name().into(), count);
                run.table.servers.get_mut(&host).unwrap().connections = count;
            }
        };
        let mut run = reference();
        many(&mut run, [1900, 3191]);
        assert!(shares(&run).to_string().starts_with("shown   "), "{}", shares(&run));
        fails(&[], |run| many(run, [1900, 3191]));
        fails(&["rs1 5091, rs2 0"], |run| many(run, [5091, 0]));
    }

    #[test]
    fn counter_mismatch_with_the_client_fails() {
        fails(&["rs1 1703, rs2 3387"], |run| {
            run.table.servers.get_mut(&LabHost::Rs2).unwrap().connections = 3387;
        });
        fails(&["5092 in all"], |run| run.table.service.connections = 5092);
    }

    #[test]
    fn short_run_tolerates_a_few_connections() {
        assert!(is_split([20, 40], 60) && is_split([22, 38], 60) && is_split([17, 43], 60));
        assert!(!is_split([24, 36], 60) && !is_split([30, 30], 60) && !is_split([0, 0], 0));
    }

    #[test]
    fn real_server_that_answers_arp_is_named() {
        fails(&["director (02:00:00:00:00:05), rs1 (02:00:00:00:01:70)"], |run| {
            run.owners.insert(LabHost::Rs1.mac());
        });
        fails(
            &["rs2 (02:00:00:00:01:71): only the director", "rs2 (02:00:00:00:01:71): they do not reach"],
            |run| {
                run.owners = BTreeSet::from([LabHost::Rs2.mac()]);
                run.router_entry = Some(LabHost::Rs2.mac());
            },
        );
        fails(&["no host", "no host"], |run| {
            run.owners.clear();
            run.router_entry = None;
        });
        fails(&["an unknown host (02:00:00:00:00:99)"], |run| {
            run.owners.insert(MacAddr([2, 0, 0, 0, 0, 0x99]));
        });
    }

    #[test]
    fn failures_without_arp_suppression_are_expected() {
        let mut run = reference();
        run.arp = Arp::None;
        run.owners = BTreeSet::from([LabHost::Director.mac(), LabHost::Rs2.mac()]);
        run.router_entry = Some(LabHost::Rs2.mac());
        run.table.service.in_packets = 0;
        let lines: Vec<_> = evaluate(&run).iter().map(ToString::to_string).collect();
        assert_eq!(lines.iter().filter(|line| line.starts_with("EXPECTED ")).count(), 3, "{lines:#?}");
        assert_eq!(failures(&run), Vec::<String>::new());
        run.answers.by_server.clear();
        assert_eq!(failures(&run).len(), 1, "connections must be answered all the same");
    }

    #[test]
    fn connections_lost_to_a_moving_ipv6_entry_are_expected() {
        let mut run = Measurements { vip: super::super::host::VIP6.into(), arp: Arp::None, ..reference() };
        run.answers.by_server.insert("rs1".into(), 1702);
        let lines: Vec<_> = evaluate(&run).iter().map(ToString::to_string).collect();
        let lost = |line: &String| line.starts_with("EXPECTED ") && line.contains("5090 of 5091");
        assert!(lines.iter().any(lost), "{lines:#?}");
        assert_eq!(failures(&run), Vec::<String>::new());
        run.arp = Arp::Sysctl;
        assert!(failures(&run).iter().any(|line| line.contains("5090 of 5091")), "real servers are quiet");
    }

    #[test]
    fn explanation_is_of_the_family() {
        let host = |vip: &str| expected_means(vip.parse().unwrap());
        assert!(host("192.0.2.1").contains("locktime") && !host("192.0.2.1").contains("solicitation"));
        assert!(!host("2001:db8::1").contains("locktime") && host("2001:db8::1").contains("override flag"));
    }

    #[test]
    fn static_entry_permits_answers_of_real_servers() {
        fails(&[], |run| {
            run.arp = Arp::Static;
            run.owners.insert(LabHost::Rs1.mac());
        });
        fails(&["the director does not"], |run| {
            run.arp = Arp::Static;
            run.owners = BTreeSet::from([LabHost::Rs1.mac()]);
        });
    }

    #[test]
    fn reply_through_the_director_fails() {
        fails(&["18000 from the real servers straight to the router, 1 through the director"], |run| {
            run.seen.get_mut(&LabHost::Director).unwrap().from_vip = Tally { frames: 1, bytes: 60 };
        });
        fails(&["OutPkts 1, OutBytes 60"], |run| {
            run.table.service.out_packets = 1;
            run.table.service.out_bytes = 60;
        });
    }

    #[test]
    fn lost_or_uncounted_frame_fails() {
        fails(&["25495 from the router, 25494 out of the director"], |run| {
            run.seen.get_mut(&LabHost::Director).unwrap().to_vip = Tally { frames: 25_494, bytes: 1_824_257 };
        });
        fails(&["InPkts 25494 for 25495 frames"], |run| run.table.service.in_packets -= 1);
        fails(&["InBytes 1824256 for 1824257"], |run| run.table.service.in_bytes -= 1);
    }

    #[test]
    fn vip_that_is_not_served_fails() {
        fails(&["192.168.195.150 conflict with rs1"], |run| run.table.state = "conflict with rs1".into());
    }

    #[test]
    fn incomplete_capture_fails() {
        fails(&["at most 500 missed"], |run| run.seen.get_mut(&LabHost::Rs1).unwrap().kernel_frames += 500);
    }

    #[test]
    fn empty_run_fails() {
        assert!(failures(&nothing_measured()).len() >= 8);
    }

    #[test]
    fn counters_before_the_run_are_subtracted() {
        let before = reference().table;
        let mut after = before.clone();
        after.service.connections += 60;
        after.servers.get_mut(&LabHost::Rs2).unwrap().in_bytes += 7;
        let added = after.since(&before);
        assert_eq!(added.service, Stats { connections: 60, ..Stats::default() });
        assert_eq!(added.servers[&LabHost::Rs2], Stats { in_bytes: 7, ..Stats::default() });
    }
}
