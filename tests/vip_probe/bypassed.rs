//! Another TCX program before the pair, which ends the chain: the RIP is asked in the place of the VIP.

use crate::harness::{Net, PATIENCE, SILENCE};
use crate::harness::{RIP, VIP};
use crate::peers::Services;
use aya::Ebpf;
use aya::programs::tc::TcAttachOptions;
use aya::programs::{LinkOrder, SchedClassifier, TcAttachType};
use directrix::io::probe::{ProbeExchange, ProbeProtocol, ProbeVerdict};
use std::process::Command;

/// A classifier that accepts every packet, as programs of other software do.
fn compiled() -> Vec<u8> {
    let place = tempfile::tempdir().unwrap();
    let (source, object) = (place.path().join("foreign.c"), place.path().join("foreign.o"));
    let code = "__attribute__((section(\"classifier\"), used)) int foreign(void *skb) { return 0; }\n\
                char _license[] __attribute__((section(\"license\"), used)) = \"MIT\";\n";
    std::fs::write(&source, code).unwrap();
    let mut clang = Command::new("clang");
    clang.args(["-target", "bpf", "-O2", "-g", "-c"]).arg(&source).arg("-o").arg(&object);
    assert!(clang.status().unwrap().success());
    std::fs::read(object).unwrap()
}

fn attach_first(hook: TcAttachType) -> Ebpf {
    let mut ebpf = Ebpf::load(&compiled()).unwrap();
    let program: &mut SchedClassifier = ebpf.program_mut("foreign").unwrap().try_into().unwrap();
    program.load().unwrap();
    program.attach_with_options("eth0", hook, TcAttachOptions::TcxOrder(LinkOrder::first())).unwrap();
    ebpf
}

#[test]
fn an_answer_of_the_rip_is_no_success() {
    let net = Net::new();
    let (_services, probes) = (Services::start(&net.server, &[VIP, RIP].concat()), net.open());
    let _both = net.director.enter(|| [TcAttachType::Egress, TcAttachType::Ingress].map(attach_first));
    for target in net.targets() {
        let probed = net.probe(&probes, &target, PATIENCE);
        assert_eq!(probed.outcome, ProbeExchange::Answered, "{target:?}");
        assert!(probed.verdict == ProbeVerdict::Bypassed && probed.verdict.is_unknown(), "{probed:?}");
        if target.protocol != ProbeProtocol::Ping {
            assert_eq!(probed.answer, target.rip.to_string());
        }
    }
}

#[test]
fn a_bypassed_egress_program_is_told_apart() {
    let net = Net::new();
    let (_services, probes) = (Services::start(&net.server, &[VIP, RIP].concat()), net.open());
    let egress = net.director.enter(|| attach_first(TcAttachType::Egress));
    for target in net.targets() {
        let probed = net.probe(&probes, &target, SILENCE);
        assert_eq!(probed.verdict, ProbeVerdict::Bypassed, "{target:?} {probed:?}");
        assert!(probed.evidence.sent == 0 && probed.evidence.from_rip > 0);
    }
    drop(egress);
    for target in net.targets() {
        let probed = net.probe(&probes, &target, PATIENCE);
        assert_eq!(probed.verdict, ProbeVerdict::Answered, "{target:?} {probed:?}");
    }
}
