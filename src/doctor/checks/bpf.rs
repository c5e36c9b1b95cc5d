//! Abilities of the kernel, by trial: sockets, BPF programs, TCX.

use crate::doctor::facts::DirectorFacts;
use crate::doctor::fault::{Fault, Judgement};
use crate::doctor::finding::FindingLevel;
use nix::errno::Errno;

/// AF_XDP and packet sockets.
pub(in crate::doctor) fn sockets(facts: &DirectorFacts) -> Judgement {
    let mut faults = Vec::new();
    faults.extend(facts.kernel.packet_socket.err().map(|error| {
        let effect = "ARP and neighbor discovery need one with every backend: the director does not start";
        refused("opening a packet socket", error, FindingLevel::Error, effect)
    }));
    if facts.may_use_xdp() {
        let level = if facts.needs_xdp() { FindingLevel::Error } else { FindingLevel::Hint };
        let effect = if facts.needs_xdp() {
            "backend \"xdp\" does not start"
        } else {
            "backend \"auto\" takes AF_PACKET"
        };
        faults.extend(
            facts
                .kernel
                .xdp_socket
                .err()
                .map(|error| refused("opening an AF_XDP socket", error, level, effect)),
        );
    }
    faults.into()
}

/// A refused socket: without the capability nothing is known about the kernel.
fn refused(what: &str, error: i32, level: FindingLevel, effect: &str) -> Fault {
    let what = format!("{what} fails ({})", Errno::from_raw(error));
    match error {
        libc::EPERM | libc::EACCES => Fault::unknown(what, "it takes CAP_NET_RAW").advice("run the doctor as root"),
        libc::EAFNOSUPPORT => Fault::new(level, what, effect).advice(
            "the kernel needs CONFIG_PACKET and CONFIG_XDP_SOCKETS; in a unit of your own RestrictAddressFamilies= must have \
             AF_PACKET and AF_XDP",
        ),
        _ => Fault::new(level, what, effect),
    }
}

/// BPF programs, by loading one of two instructions.
pub(in crate::doctor) fn load(facts: &DirectorFacts) -> Judgement {
    let Err(error) = facts.kernel.program else { return Vec::new().into() };
    let what = format!("the kernel refuses a BPF program of two instructions ({})", Errno::from_raw(error));
    if error == libc::EPERM && !facts.process.lacking.is_empty() {
        return Fault::unknown(what, "this process lacks capabilities")
            .advice("run the doctor as root")
            .into();
    }
    let effect = if facts.needs_xdp() {
        "backend \"xdp\" does not start"
    } else {
        "AF_PACKET alone works, without the guard program: only while no VIP is local and forwarding is off"
    };
    let remedy = match error {
        libc::EPERM => {
            "the capabilities of this process count in a user namespace only, or a policy refuses (SystemCallFilter=, lockdown, \
             an LSM): start the director in the initial user namespace"
        }
        _ => "the kernel needs CONFIG_BPF_SYSCALL",
    };
    let level = if facts.needs_xdp() { FindingLevel::Error } else { FindingLevel::Warn };
    Fault::new(level, what, effect).advice(remedy).into()
}

/// TCX, for the guard program of AF_PACKET, and forwarding where it is missing.
pub(in crate::doctor) fn guard(facts: &DirectorFacts) -> Judgement {
    let (Some(tcx), Some(client)) = (facts.kernel.tcx, facts.client()) else { return Judgement::Moot };
    let Err(error) = tcx else { return Vec::new().into() };
    let reason = format!("the kernel has no TCX, which came with Linux 6.6 ({})", Errno::from_raw(error));
    if error == libc::EPERM {
        return Fault::unknown("TCX cannot be queried (EPERM)", "it takes CAP_NET_ADMIN")
            .advice("run the doctor as root")
            .into();
    }
    if facts.needs_xdp() || !client.settings.forwarding {
        let effect = "AF_PACKET works without the guard program while forwarding is off and no VIP is local";
        return Fault::new(FindingLevel::Hint, reason, effect).into();
    }
    let effect = "the kernel routes a second copy of each frame for a VIP: AF_PACKET refuses to start";
    Fault::new(facts.without_packet(), format!("{reason}, and {} forwards", client.name()), effect)
        .command(crate::doctor::conf::writes(0, client.name(), "forwarding"))
        .into()
}

/// The compiler of BPF programs.
pub(in crate::doctor) fn jit(facts: &DirectorFacts) -> Judgement {
    match facts.kernel.jit {
        None => Judgement::Moot,
        Some(0) => Fault::new(
            FindingLevel::Warn,
            "bpf_jit_enable is 0",
            "the kernel interprets the steering program: about three times the time for each frame",
        )
        .command("echo 1 > /proc/sys/net/core/bpf_jit_enable")
        .into(),
        Some(_) => Vec::new().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::sample;
    use crate::model::BackendChoice;
    use FindingLevel::{Error, Hint, Unknown, Warn};

    const REFUSED: crate::doctor::gathered::Trial = Err(libc::EPERM);

    #[test]
    fn a_missing_permission_is_never_a_fault_of_the_kernel() {
        let mut facts = sample::sound();
        facts.process.lacking = vec!["cap_bpf".into()];
        (facts.kernel.program, facts.kernel.tcx) = (REFUSED, Some(REFUSED));
        facts.kernel.packet_socket = REFUSED;
        let levels = [load(&facts), guard(&facts), sockets(&facts)].map(sample::level);
        assert_eq!(levels, [Some(Unknown); 3]);
    }

    #[test]
    fn a_refused_program_is_an_error_only_where_xdp_is_required() {
        let mut facts = sample::sound();
        facts.kernel.program = REFUSED;
        assert_eq!(sample::level(load(&facts)), Some(Warn));
        facts.wanted.backend = BackendChoice::Xdp;
        assert_eq!(sample::level(load(&facts)), Some(Error));
    }

    #[test]
    fn forwarding_without_a_guard_is_switched_off() {
        let mut facts = sample::sound();
        facts.kernel.tcx = Some(Err(libc::EINVAL));
        assert_eq!(sample::level(guard(&facts)), Some(Hint));
        facts.interfaces[0].settings.forwarding = true;
        assert_eq!(sample::level(guard(&facts)), Some(Warn), "auto takes AF_XDP first");
        facts.wanted.backend = BackendChoice::Packet;
        assert_eq!(sample::level(guard(&facts)), Some(Error));
        assert_eq!(sample::commands(guard(&facts)), ["echo 0 > /proc/sys/net/ipv4/conf/eth0/forwarding"]);
    }

    #[test]
    fn an_interpreter_is_slow_and_a_hidden_setting_says_nothing() {
        let mut facts = sample::sound();
        assert_eq!(sample::level(jit(&facts)), None);
        facts.kernel.jit = Some(0);
        assert_eq!(sample::level(jit(&facts)), Some(Warn));
        facts.kernel.jit = None;
        assert_eq!(jit(&facts), Judgement::Moot);
    }
}
