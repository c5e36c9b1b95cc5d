//! Settings of the NIC that cost frames or time, and the kernel's backlog behind it.

use crate::doctor::facts::DirectorFacts;
use crate::doctor::fault::{Fault, Judgement};
use crate::doctor::finding::FindingLevel;

/// Frames of a receive ring that bridge a pause of a worker: half a millisecond of 2 million frames a second.
const RING: u32 = 1024;
/// Ring that is proposed, at most: a larger one leaves the cache.
const RING_PROPOSED: u32 = 4096;
/// Microseconds to an interrupt that are felt beside the latency of a network.
const DELAY: u32 = 100;
const DELAY_PROPOSED: u32 = 20;

/// The receive ring, and frames that found it full.
pub(in crate::doctor) fn ring(facts: &DirectorFacts) -> Judgement {
    let Some(client) = facts.client() else { return Judgement::Moot };
    let (name, missed) = (client.name(), client.nic.missed);
    let Some(ring) = client.nic.ring.filter(|ring| ring.frames_max > 0) else { return Judgement::Moot };
    let is_small = ring.frames < RING.min(ring.frames_max);
    if !is_small && missed == 0 {
        return Vec::new().into();
    }
    let mut what = format!("{name} has a receive ring of {} of {} frames", ring.frames, ring.frames_max);
    if missed > 0 {
        what += &format!(", and has lost {missed} for which it had no room (rx_missed_errors)");
    }
    let effect = "frames that arrive while a worker or its core pauses are lost in the NIC, without a counter of the director";
    let fault = Fault::new(FindingLevel::Hint, what, effect);
    let larger = ring.frames_max.min(RING_PROPOSED);
    if larger <= ring.frames {
        return fault
            .advice("look for what stops the workers: steal-time, worker-interrupts, power-saving")
            .into();
    }
    fault.command(format!("ethtool -G {name} rx {larger}")).into()
}

/// Interrupts that wait for more frames.
pub(in crate::doctor) fn coalescing(facts: &DirectorFacts) -> Judgement {
    let Some((client, delay)) = facts.client().and_then(|client| Some((client, client.nic.delay?))) else {
        return Judgement::Moot;
    };
    let (name, late) = (client.name(), delay >= DELAY);
    late.then(|| {
        let what = format!("{name} holds its interrupt back for up to {delay} µs");
        let effect = "each step of a connection takes that much longer while there is little traffic";
        let line = format!("ethtool -C {name} rx-usecs {DELAY_PROPOSED}");
        Fault::new(FindingLevel::Hint, what, effect).command(line)
    })
    .into()
}

/// Flow control between NIC and switch.
pub(in crate::doctor) fn pause(facts: &DirectorFacts) -> Judgement {
    let Some((client, pause)) = facts.client().and_then(|client| Some((client, client.nic.pause?))) else {
        return Judgement::Moot;
    };
    let name = client.name();
    let directions = match (pause.receive, pause.transmit) {
        (false, false) => return Vec::new().into(),
        (true, true) => "takes and sends",
        (true, false) => "takes",
        (false, true) => "sends",
    };
    let effect = "one full ring stops the switch port, and one busy port of the switch stops the director: for all services at once";
    let what = format!("{name} {directions} pause frames");
    let line = format!("ethtool -A {name} autoneg off rx off tx off");
    Fault::new(FindingLevel::Hint, what, effect).command(line).into()
}

/// Frames that the kernel dropped between NIC and packet sockets.
pub(in crate::doctor) fn backlog(facts: &DirectorFacts) -> Judgement {
    if facts.needs_xdp() {
        return Judgement::Moot;
    }
    let Some(drops) = facts.host.backlog_drops else { return Judgement::Moot };
    (drops > 0)
        .then(|| {
            let what =
                format!("the kernel has dropped {drops} received frames for a full backlog since its start");
            let effect = "AF_PACKET does not get them, nor does a counter of the director";
            let fault = Fault::new(FindingLevel::Hint, what, effect);
            match facts.host.backlog {
                Some(limit) => fault.command(format!(
                    "echo {} > /proc/sys/net/core/netdev_max_backlog",
                    limit.saturating_mul(2)
                )),
                None => fault.advice("raise net.core.netdev_max_backlog in the first network namespace"),
            }
        })
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::sample;
    use crate::sys::ethtool::{PauseFrames, ReceiveRing};
    use FindingLevel::Hint;

    #[test]
    fn a_ring_is_judged_by_its_length_and_its_losses() {
        let mut facts = sample::sound();
        assert_eq!(ring(&facts), Judgement::Moot, "the driver reports none");
        for (frames, frames_max, missed, wanted) in [
            (1024, 4096, 0, None),
            (256, 256, 0, None),
            (512, 8160, 0, Some(vec!["ethtool -G eth0 rx 4096"])),
            (1024, 2048, 7, Some(vec!["ethtool -G eth0 rx 2048"])),
            (4096, 4096, 7, Some(vec![])),
        ] {
            facts.interfaces[0].nic.ring = Some(ReceiveRing { frames, frames_max });
            facts.interfaces[0].nic.missed = missed;
            let found = ring(&facts);
            assert_eq!(sample::level(found.clone()), wanted.as_ref().map(|_| Hint), "{frames} {missed}");
            assert_eq!(sample::commands(found), wanted.unwrap_or_default());
        }
    }

    #[test]
    fn late_interrupts_and_pause_frames_are_hints() {
        let mut facts = sample::sound();
        assert_eq!((coalescing(&facts), pause(&facts)), (Judgement::Moot, Judgement::Moot));
        facts.interfaces[0].nic.delay = Some(20);
        facts.interfaces[0].nic.pause = Some(PauseFrames { receive: false, transmit: false });
        assert_eq!([coalescing(&facts), pause(&facts)].map(sample::level), [None, None]);
        facts.interfaces[0].nic.delay = Some(100);
        assert_eq!(sample::commands(coalescing(&facts)), ["ethtool -C eth0 rx-usecs 20"]);
        facts.interfaces[0].nic.pause = Some(PauseFrames { receive: true, transmit: false });
        assert_eq!(sample::commands(pause(&facts)), ["ethtool -A eth0 autoneg off rx off tx off"]);
    }

    #[test]
    fn a_full_backlog_matters_to_packet_sockets() {
        let mut facts = sample::sound();
        assert_eq!(backlog(&facts), Judgement::Moot, "nothing is known of it");
        facts.host.backlog_drops = Some(0);
        assert_eq!(sample::level(backlog(&facts)), None);
        (facts.host.backlog_drops, facts.host.backlog) = (Some(9), Some(1000));
        assert_eq!(sample::commands(backlog(&facts)), ["echo 2000 > /proc/sys/net/core/netdev_max_backlog"]);
        facts.host.backlog = None;
        assert_eq!(sample::level(backlog(&facts)), Some(Hint));
        facts.wanted.backend = crate::model::BackendChoice::Xdp;
        assert_eq!(backlog(&facts), Judgement::Moot);
    }
}
