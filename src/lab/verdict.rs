//! From figures to what they show: each point of the deployment, as it should be or not.

use super::host::VIP;
use super::measurements::Measurements;
use super::{Arp, Host};
use crate::wire::MacAddr;
use std::fmt;

/// One thing that a run shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at.
    pub what: &'static str,
    /// Whether it is as it should be.
    pub outcome: Outcome,
    /// The figures; where something failed, also what they mean.
    pub figures: String,
}

/// Whether a finding is as it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is.
    Ok,
    /// It is not.
    Failed,
    /// It is not, which this lab is there to show.
    Expected,
    /// Nothing says what it should be.
    Shown,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.outcome {
            Outcome::Ok => "ok",
            Outcome::Failed => "FAILED",
            Outcome::Expected => "EXPECTED",
            Outcome::Shown => "shown",
        };
        write!(f, "{word:<8}{}{:<42}{}", if word.len() < 8 { "" } else { " " }, self.what, self.figures)
    }
}

/// Every finding, in the order in which the deployment is understood.
#[must_use]
pub fn judge(run: &Measurements) -> Vec<Finding> {
    let spoilt = |finding: Finding| if run.arp == Arp::None { expected(finding) } else { finding };
    vec![
        spoilt(who_answers_arp(run)),
        spoilt(router_entry(run)),
        serving(run),
        answered(run),
        spoilt(shares(run)),
        spoilt(conns(run)),
        spoilt(through_the_director(run)),
        spoilt(counted(run)),
        spoilt(bypassed(run)),
        out_is_zero(run),
        spoilt(bytes(run)),
        captured(run),
    ]
}

/// What real servers that answer ARP for the VIP bring about.
fn expected(finding: Finding) -> Finding {
    let outcome = if finding.outcome == Outcome::Failed { Outcome::Expected } else { finding.outcome };
    Finding { outcome, ..finding }
}

/// What is to be learnt from a run with findings that were expected.
pub const EXPECTED_MEANS: &str = "\
EXPECTED: with --arp none the real servers answer ARP for the VIP, too. The first answer counts: for a second the router's \
kernel passes over others (locktime), and the real servers' kernels are faster than the director. What the \
router sends to a real server itself never meets the director: no weights, no counters.";

fn finding(what: &'static str, good: bool, figures: String, meaning: &str) -> Finding {
    if good {
        return Finding { what, outcome: Outcome::Ok, figures };
    }
    Finding { what, outcome: Outcome::Failed, figures: format!("{figures}: {meaning}") }
}

fn who_answers_arp(run: &Measurements) -> Finding {
    let names = match run.owners.len() {
        0 => "no host".to_owned(),
        _ => run.owners.iter().map(|mac| name(*mac)).collect::<Vec<_>>().join(", "),
    };
    let director = run.owners.contains(&Host::Director.mac());
    if run.arp == Arp::Static {
        let figures = format!("{names}; the router's static entry makes it not matter");
        return finding("who answers ARP for the VIP", director, figures, "the director does not");
    }
    let meaning = if run.owners.is_empty() {
        "the director should"
    } else {
        "the director alone should; the router may believe any of them"
    };
    finding("who answers ARP for the VIP", director && run.owners.len() == 1, names, meaning)
}

fn name(mac: MacAddr) -> String {
    Host::with_mac(mac).map_or_else(|| format!("a stranger ({mac})"), |host| format!("{host} ({mac})"))
}

fn router_entry(run: &Measurements) -> Finding {
    let names = run.router_entry.map_or("no host".into(), name);
    let good = run.router_entry == Some(Host::Director.mac());
    finding("the router sends frames for the VIP to", good, names, "they do not reach the director")
}

fn serving(run: &Measurements) -> Finding {
    let figures = format!("{VIP} {}", run.table.state);
    finding("the director serves the VIP", run.table.state == "serving", figures, "see its log")
}

fn answered(run: &Measurements) -> Finding {
    let figures = format!("{} of {}", run.answers.total(), run.asked);
    let meaning = run.answers.failure.as_deref().unwrap_or("the others were not tried");
    finding("connections answered", run.answers.total() == run.asked && run.asked > 0, figures, meaning)
}

/// One connection at a time is shared out exactly by the weights. Of many at a time, a server that
/// is faster for a moment gets more, as wlc means it: no figure follows from the weights then.
fn shares(run: &Measurements) -> Finding {
    let what = "shares of the connections";
    let counts =
        Host::REAL_SERVERS.map(|host| run.answers.by_server.get(host.name()).copied().unwrap_or_default());
    if run.concurrency > 1 && counts.iter().all(|count| *count > 0) {
        let figures = format!("{}; {} at a time: not judged", split(counts), run.concurrency);
        return Finding { what, outcome: Outcome::Shown, figures };
    }
    finding(what, is_split(counts, run.asked), split(counts), "more than 1 % off the weights")
}

fn conns(run: &Measurements) -> Finding {
    let of = |host| run.table.servers.get(&host).map_or(0, |stats| stats.connections);
    let counts = Host::REAL_SERVERS.map(of);
    let same = Host::REAL_SERVERS
        .iter()
        .all(|host| run.answers.by_server.get(host.name()).copied().unwrap_or_default() == of(*host));
    let good =
        same && run.table.service.connections == counts.iter().sum::<u64>() && counts.iter().any(|n| *n > 0);
    let figures = format!("{}, {} in all", split(counts), run.table.service.connections);
    finding("Conns in ipvsadm's table", good, figures, "the client counted otherwise")
}

/// Within 1 % of what the weights promise; where a single connection is more than that, within one.
fn is_split(got: [u64; 2], total: u64) -> bool {
    let weights = Host::REAL_SERVERS.map(|host| u64::from(host.weight()));
    let sum: u64 = weights.iter().sum();
    let fits = |(got, weight): (u64, u64)| {
        let (got, due) = (got * sum, total * weight);
        got.abs_diff(due) <= (due / 100).max(sum)
    };
    total > 0 && got.into_iter().zip(weights).all(fits)
}

fn split([first, second]: [u64; 2]) -> String {
    #[allow(clippy::cast_precision_loss)] // a ratio for the eye
    let ratio = if first == 0 { "-".into() } else { format!("1 : {:.3}", second as f64 / first as f64) };
    format!("rs1 {first}, rs2 {second} = {ratio} (weights 1 : 2)")
}

fn through_the_director(run: &Measurements) -> Finding {
    let (came, went) = (run.sent_by(Host::Router).to_vip, run.sent_by(Host::Director).to_vip);
    let (received, sent) = run.director_frames;
    let figures = format!(
        "{} from the router, {} out of the director (its interface, ARP and all: {received} in, {sent} out)",
        came.frames, went.frames
    );
    let good = came == went && came.frames > 0 && received >= came.frames && sent >= went.frames;
    finding("frames to the VIP", good, figures, "each should come out once, and no other")
}

fn counted(run: &Measurements) -> Finding {
    let (wire, table) = (run.sent_by(Host::Router).to_vip, run.table.service);
    let figures = format!(
        "InPkts {} for {} frames, InBytes {} for {} bytes",
        table.in_packets, wire.frames, table.in_bytes, wire.bytes
    );
    let good = (table.in_packets, table.in_bytes) == (wire.frames, wire.bytes);
    finding("ipvsadm's counters against the wire", good, figures, "they should be equal")
}

fn bypassed(run: &Measurements) -> Finding {
    let (replies, passed) = (run.replies(), run.sent_by(Host::Director).from_vip);
    let figures = format!(
        "{} from the real servers straight to the router, {} through the director",
        replies.frames, passed.frames
    );
    let good = passed.frames == 0 && replies.frames > 0;
    finding("reply frames (source VIP)", good, figures, "replies should bypass the director")
}

fn out_is_zero(run: &Measurements) -> Finding {
    let stats = run.table.service;
    let figures = format!("OutPkts {}, OutBytes {}", stats.out_packets, stats.out_bytes);
    let good = (stats.out_packets, stats.out_bytes) == (0, 0);
    finding("nothing goes out through the director", good, figures, "in direct routing both are 0")
}

fn bytes(run: &Measurements) -> Finding {
    let (through, back) = (run.sent_by(Host::Director).to_vip.bytes, run.replies().bytes);
    #[allow(clippy::cast_precision_loss)] // a percentage for the eye
    let share = 100.0 * through as f64 / (through + back).max(1) as f64;
    let figures =
        format!("{through} through the director, {back} to the client past it ({share:.0} % through)");
    finding("IP bytes", through > 0 && back > 0, figures, "there should be both")
}

/// A frame or two may fall between the readings of the counters and of the capture.
const BETWEEN_READINGS: u64 = 4;

fn captured(run: &Measurements) -> Finding {
    let seen: u64 = run.seen.values().map(|sent| sent.frames).sum();
    let missed: u64 = run
        .seen
        .values()
        .map(|sent| sent.kernel_frames.saturating_sub(sent.frames))
        .max()
        .unwrap_or_default();
    let figures = format!("{seen} frames at the switch's ports, at most {missed} missed at one port");
    let meaning = "the figures above miss frames, the host is overloaded: run again";
    finding("the capture behind these figures", missed <= BETWEEN_READINGS && seen > 0, figures, meaning)
}

#[cfg(test)]
mod tests {
    use super::super::capture::{Seen, Sent, Tally};
    use super::super::http_client::Answers;
    use super::super::measurements::Table;
    use super::*;
    use crate::control::api::Stats;
    use std::collections::{BTreeMap, BTreeSet};

    /// The figures of the reference run.
    fn reference() -> Measurements {
        let stats = |connections, in_packets, in_bytes| Stats {
            connections,
            in_packets,
            in_bytes,
            ..Stats::default()
        };
        let to_vip = Tally { frames: 25_495, bytes: 1_824_257 };
        let reply = Tally { frames: 9_000, bytes: 900_000 };
        let sent = |to_vip, from_vip| Sent { to_vip, from_vip, frames: 30_000, kernel_frames: 30_000 };
        let none = Tally::default();
        Measurements {
            arp: Arp::Sysctl,
            asked: 5091,
            concurrency: 1,
            answers: Answers {
                by_server: [("rs1".into(), 1703), ("rs2".into(), 3388)].into(),
                failure: None,
            },
            owners: BTreeSet::from([Host::Director.mac()]),
            router_entry: Some(Host::Director.mac()),
            seen: Seen::from([
                (Host::Router, sent(to_vip, none)),
                (Host::Director, sent(to_vip, none)),
                (Host::Rs1, sent(none, reply)),
                (Host::Rs2, sent(none, reply)),
            ]),
            director_frames: (25_510, 25_505),
            table: Table {
                state: "serving".into(),
                service: stats(5091, 25_495, 1_824_257),
                servers: BTreeMap::from([
                    (Host::Rs1, stats(1703, 8534, 612_007)),
                    (Host::Rs2, stats(3388, 16_961, 1_212_250)),
                ]),
            },
        }
    }

    fn failures(run: &Measurements) -> Vec<String> {
        judge(run)
            .into_iter()
            .filter(|finding| finding.outcome == Outcome::Failed)
            .map(|finding| finding.to_string())
            .collect()
    }

    /// Asserts that `spoil` makes exactly the findings fail whose lines hold `words`, in order.
    fn fails(words: &[&str], spoil: impl FnOnce(&mut Measurements)) {
        let mut run = reference();
        spoil(&mut run);
        let failures = failures(&run);
        assert_eq!(failures.len(), words.len(), "{failures:#?}");
        for (failure, word) in failures.iter().zip(words) {
            assert!(failure.starts_with("FAILED  ") && failure.contains(word), "{failure}");
        }
    }

    #[test]
    fn the_reference_run_is_as_it_should_be() {
        assert_eq!(failures(&reference()), Vec::<String>::new());
        let lines: Vec<String> = judge(&reference()).iter().map(ToString::to_string).collect();
        assert!(lines.iter().any(|line| line.contains("5091 of 5091")), "{lines:#?}");
        assert!(lines.iter().any(|line| line.contains("rs1 1703, rs2 3388 = 1 : 1.989")), "{lines:#?}");
    }

    #[test]
    fn a_lost_connection_is_told_with_its_reason() {
        fails(&["5089 of 5091: connecting to"], |run| {
            run.answers.by_server.insert("rs1".into(), 1701);
            run.table.servers.get_mut(&Host::Rs1).unwrap().connections = 1701;
            run.table.service.connections = 5089;
            run.answers.failure = Some("connecting to 192.168.195.150:80: timed out".into());
        });
    }

    #[test]
    fn a_split_beyond_one_percent_is_told() {
        let spoil = |run: &mut Measurements, first: u64| {
            run.answers.by_server = [("rs1".into(), first), ("rs2".into(), 5091 - first)].into();
            run.table.servers.get_mut(&Host::Rs1).unwrap().connections = first;
            run.table.servers.get_mut(&Host::Rs2).unwrap().connections = 5091 - first;
        };
        fails(&["rs1 1750, rs2 3341"], |run| spoil(run, 1750));
        fails(&["rs1 0, rs2 5091 = -"], |run| spoil(run, 0));
        fails(&[], |run| spoil(run, 1700));
    }

    #[test]
    fn shares_of_many_at_a_time_are_shown_unless_a_server_has_none() {
        let many = |run: &mut Measurements, counts: [u64; 2]| {
            run.concurrency = 100;
            for (host, count) in Host::REAL_SERVERS.into_iter().zip(counts) {
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
    fn a_table_that_differs_from_the_clients_count_is_told() {
        fails(&["rs1 1703, rs2 3387"], |run| {
            run.table.servers.get_mut(&Host::Rs2).unwrap().connections = 3387;
        });
        fails(&["5092 in all"], |run| run.table.service.connections = 5092);
    }

    #[test]
    fn a_short_run_may_be_off_by_one_connection() {
        for first in 19..=21 {
            assert!(is_split([first, 60 - first], 60), "{first}");
        }
        assert!(!is_split([18, 42], 60) && !is_split([22, 38], 60) && !is_split([0, 0], 0));
    }

    #[test]
    fn a_real_server_that_answers_arp_is_named() {
        fails(&["director (02:00:00:00:00:05), rs1 (02:00:00:00:01:70)"], |run| {
            run.owners.insert(Host::Rs1.mac());
        });
        fails(
            &["rs2 (02:00:00:00:01:71): the director alone", "rs2 (02:00:00:00:01:71): they do not reach"],
            |run| {
                run.owners = BTreeSet::from([Host::Rs2.mac()]);
                run.router_entry = Some(Host::Rs2.mac());
            },
        );
        fails(&["no host", "no host"], |run| {
            run.owners.clear();
            run.router_entry = None;
        });
        fails(&["a stranger (02:00:00:00:00:99)"], |run| {
            run.owners.insert(MacAddr([2, 0, 0, 0, 0, 0x99]));
        });
    }

    #[test]
    fn what_unprotected_real_servers_spoil_is_expected() {
        let mut run = reference();
        run.arp = Arp::None;
        run.owners = BTreeSet::from([Host::Director.mac(), Host::Rs2.mac()]);
        run.router_entry = Some(Host::Rs2.mac());
        run.table.service.in_packets = 0;
        let lines: Vec<_> = judge(&run).iter().map(ToString::to_string).collect();
        assert_eq!(lines.iter().filter(|line| line.starts_with("EXPECTED ")).count(), 3, "{lines:#?}");
        assert_eq!(failures(&run), Vec::<String>::new());
        run.answers.by_server.clear();
        assert_eq!(failures(&run).len(), 1, "connections must be answered all the same");
    }

    #[test]
    fn with_a_static_entry_real_servers_may_answer() {
        fails(&[], |run| {
            run.arp = Arp::Static;
            run.owners.insert(Host::Rs1.mac());
        });
        fails(&["the director does not"], |run| {
            run.arp = Arp::Static;
            run.owners = BTreeSet::from([Host::Rs1.mac()]);
        });
    }

    #[test]
    fn a_reply_through_the_director_is_told() {
        fails(&["18000 from the real servers straight to the router, 1 through the director"], |run| {
            run.seen.get_mut(&Host::Director).unwrap().from_vip = Tally { frames: 1, bytes: 60 };
        });
        fails(&["OutPkts 1, OutBytes 60"], |run| {
            run.table.service.out_packets = 1;
            run.table.service.out_bytes = 60;
        });
    }

    #[test]
    fn a_frame_lost_or_uncounted_by_the_director_is_told() {
        fails(&["25495 from the router, 25494 out of the director"], |run| {
            run.seen.get_mut(&Host::Director).unwrap().to_vip = Tally { frames: 25_494, bytes: 1_824_257 };
        });
        fails(&["InPkts 25494 for 25495 frames"], |run| run.table.service.in_packets -= 1);
        fails(&["InBytes 1824256 for 1824257"], |run| run.table.service.in_bytes -= 1);
    }

    #[test]
    fn a_vip_that_is_not_served_is_told() {
        fails(&["192.168.195.150 conflict with rs1"], |run| run.table.state = "conflict with rs1".into());
    }

    #[test]
    fn a_capture_with_gaps_says_so() {
        fails(&["at most 500 missed"], |run| run.seen.get_mut(&Host::Rs1).unwrap().kernel_frames += 500);
    }

    #[test]
    fn a_run_of_nothing_shows_nothing() {
        assert!(failures(&Measurements::default()).len() >= 8);
    }

    #[test]
    fn only_what_the_run_added_counts() {
        let before = reference().table;
        let mut after = before.clone();
        after.service.connections += 60;
        after.servers.get_mut(&Host::Rs2).unwrap().in_bytes += 7;
        let added = after.since(&before);
        assert_eq!(added.service, Stats { connections: 60, ..Stats::default() });
        assert_eq!(added.servers[&Host::Rs2], Stats { in_bytes: 7, ..Stats::default() });
    }
}
