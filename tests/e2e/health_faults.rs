//! Every kind of health check under every fault of a real server, of the VIP and of the RIP, in both families: its state,
//! its cause, new connections meanwhile and afterwards, and the times of detection.
//!
//! Each kind has a service of its own for each target and family. A fault is made at real1 for all of them at once. No host
//! has a resolver: the names of hosts in checks are never looked up.

use crate::deployment::{VIP, VIP6};
use crate::fault_site::{DEFAULT, Down, FAST, Fault, INTERVAL, Reach, Site, Spans};
use crate::on_both_backends;
use nix::sys::signal::Signal;
use std::time::Instant;

on_both_backends! {
    each_kind_of_check_finds_each_fault_and_its_end
}

const NETWORK: [&str; 8] = ["tcp", "http", "https", "dns", "dns over tcp", "udp", "ping", "smtp"];

const FAULTS: [Fault; 10] = [
    Fault {
        name: "servers ended",
        begin: |site| site.stop(),
        end: |site| site.launch(),
        down: &[
            Down(
                &["tcp", "http", "https", "dns", "dns over tcp", "udp", "smtp"],
                "service_down",
                "start the service there",
            ),
            Down(&["script"], "wrong_answer", "the script ended with status 7"),
            Down(&["file"], "wrong_answer", " is there"),
            Down(&["external"], "wrong_answer", "reported as down: ended"),
        ],
        reach: Reach::Host,
    },
    Fault {
        name: "packets dropped",
        begin: |site| site.filter(DROP),
        end: |site| site.unfilter(),
        down: &[
            Down(&NETWORK, "silent", "does not answer: see whether the host runs"),
            Down(&["script"], "wrong_answer", "the script ended with status 28"),
        ],
        reach: Reach::Host,
    },
    Fault {
        name: "packets refused by a firewall",
        begin: |site| site.filter(&DROP.replace("drop", "reject with icmpx admin-prohibited")),
        end: |site| site.unfilter(),
        down: &[
            Down(&NETWORK, "rejected", "firewall"),
            Down(&["script"], "wrong_answer", "the script ended with status "),
        ],
        reach: Reach::Host,
    },
    Fault {
        name: "VIP missing",
        begin: |site| {
            site.run(&format!("ip address del {VIP}/32 dev lo && ip address del {VIP6}/128 dev lo"))
        },
        end: |site| {
            site.run(&format!(
                "ip address add {VIP}/32 dev lo && ip address add {VIP6}/128 dev lo preferred_lft 0"
            ))
        },
        down: &[Down(&NETWORK, "vip_missing", "there: ip address add ")],
        reach: Reach::Rip,
    },
    Fault {
        name: "connections accepted, no answer",
        begin: |site| site.servers[0].signal(Signal::SIGSTOP),
        end: |site| site.servers[0].signal(Signal::SIGCONT),
        down: &[
            Down(
                &["http", "https", "dns over tcp", "smtp"],
                "wrong_answer",
                "connected, but no whole answer within the timeout",
            ),
            Down(&["dns", "udp"], "silent", "does not answer"),
            Down(&["script"], "wrong_answer", "the script ended with status 28"),
        ],
        reach: Reach::Host,
    },
    Fault {
        name: "connections reset",
        begin: |site| site.filter(RESET),
        end: |site| {
            site.unfilter();
            site.servers[0].renew_dnsmasq(&site.deployment.real[0]);
        },
        down: &[
            Down(
                &["http", "https", "dns over tcp", "smtp"],
                "wrong_answer",
                "the connection ended before the answer",
            ),
            Down(&["script"], "wrong_answer", "the script ended with status 56"),
        ],
        reach: Reach::Host,
    },
    Fault {
        name: "answers wrong",
        begin: |site| site.servers[0].set("broken", true),
        end: |site| site.servers[0].set("broken", false),
        down: &[
            Down(&["http"], "wrong_answer", "HTTP status 503"),
            Down(&["https"], "wrong_answer", "the expected text is not in the body, which begins \"broken"),
            Down(&["dns", "dns over tcp"], "wrong_answer", "the DNS answer is NXDOMAIN, not NOERROR"),
            Down(&["smtp"], "wrong_answer", "the reply to EHLO is \"450 4.3.2 not now\", not 250"),
            Down(&["script"], "wrong_answer", "the script ended with status 22"),
        ],
        reach: Reach::Host,
    },
    Fault {
        name: "answers slow",
        begin: |site| site.servers[0].set("slow", true),
        end: |site| site.servers[0].set("slow", false),
        down: &[
            Down(
                &["http", "https", "smtp"],
                "wrong_answer",
                "connected, but no whole answer within the timeout",
            ),
            Down(&["script"], "wrong_answer", "the script ended with status 28"),
        ],
        reach: Reach::Host,
    },
    Fault {
        name: "certificate expired",
        begin: |site| site.servers[0].set_certificate(&site.certificates[1]),
        end: |site| site.servers[0].set_certificate(&site.certificates[0]),
        down: &[Down(&["https"], "certificate", "the certificate expired")],
        reach: Reach::Host,
    },
    Fault {
        name: "cable cut",
        begin: |site| drop(site.deployment.switch.run("ip link set real1 down")),
        end: |site| drop(site.deployment.switch.run("ip link set real1 up")),
        down: &[
            Down(&NETWORK, "host_down", "start the host"),
            Down(&["script"], "wrong_answer", "the script ended with status "),
        ],
        reach: Reach::Nothing,
    },
];

const DROP: &str = "tcp dport { 25, 53, 443, 8080 } drop
    udp dport 53 drop
    icmp type echo-request drop
    icmpv6 type echo-request drop";
/// The connection stands, and the first data is answered by a reset.
const RESET: &str = "tcp dport { 25, 53, 443, 8080 } tcp flags & psh == psh reject with tcp reset";

fn each_kind_of_check_finds_each_fault_and_its_end(backend: &'static str) {
    let start = Instant::now();
    let mut site = Site::start(backend, FAST);
    println!("started after {:?}", start.elapsed());
    for fault in &FAULTS {
        println!("{}: {:?}, at {:?}", fault.name, site.walk(fault), start.elapsed());
        site.renew();
    }
    assert_that_flaps_are_damped(&mut site);
    println!("ended after {:?}", start.elapsed());
}

/// Asserts that the way back up is longer after each further change to down.
fn assert_that_flaps_are_damped(site: &mut Site) {
    let dropped = FAULTS.iter().find(|fault| fault.name == "packets dropped").unwrap();
    for round in 1..=3 {
        (dropped.begin)(site);
        site.wait_for(Some(dropped));
        let ended = Instant::now();
        (dropped.end)(site);
        let up = site.wait_for(None);
        let of_fault = site.places.iter().filter(|place| dropped.failure(place).is_some());
        for check in of_fault.map(|place| site.check(&up.0, place, 0).0) {
            assert!(check.downs >= round, "{check:?}");
        }
        // A success is needed, then two, then four.
        let Spans { shortest, .. } = site.spans(dropped, &up, ended);
        let least = INTERVAL * ((1 << (round - 1)) - 1);
        assert!(shortest >= least, "up again after {shortest:?}, at least {least:?} are due");
    }
}

/// Prints the table of docs/health.md.
#[test]
#[ignore = "measures for minutes; the tests above assert the same"]
fn detection_times() {
    let mut site = Site::start("xdp", DEFAULT);
    println!("| fault of the real server | down after | up after |\n|---|---|---|");
    for fault in &FAULTS {
        let [down, up] = site.walk(fault).map(|Spans { shortest, longest }| {
            format!("{:.1} to {:.1} s", shortest.as_secs_f64(), longest.as_secs_f64())
        });
        println!("| {} | {down} | {up} |", fault.name);
        site.renew();
    }
}
