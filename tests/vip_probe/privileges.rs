//! Capabilities: all of them to attach, none to probe.

use crate::harness::{Net, PATIENCE, probe};
use caps::CapSet;
use directrix::io::Interface;
use directrix::io::probe::{ProbeVerdict, VipProbes};

#[test]
fn nothing_after_the_start_takes_a_capability() {
    let net = Net::new();
    let (_services, probes) = (net.serve(), net.attach());
    for target in net.targets() {
        let probed = net.director.enter(|| {
            give_up_all();
            probes.translate(true).unwrap();
            probe(probes.socket(&target).unwrap(), &target, PATIENCE)
        });
        assert_eq!(probed.verdict, ProbeVerdict::Answered, "{target:?} {probed:?}");
    }
}

#[test]
fn a_missing_capability_is_named() {
    let net = Net::new();
    let eth0 = net.director.enter(|| Interface::lookup("eth0")).unwrap();
    let refusal = net.director.enter(|| {
        give_up_all();
        VipProbes::open(&eth0, 8).map(|_| ()).unwrap_err().to_string()
    });
    for part in ["loading the probe programs for eth0", "EPERM", "CAP_BPF", "cap_perfmon"] {
        assert!(refusal.contains(part), "{refusal}");
    }
}

/// Of the calling thread alone.
fn give_up_all() {
    for set in [CapSet::Effective, CapSet::Permitted, CapSet::Inheritable] {
        caps::clear(None, set).unwrap();
    }
}
