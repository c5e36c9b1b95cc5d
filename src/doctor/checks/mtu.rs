//! Lengths of frames.

use crate::doctor::facts::DirectorFacts;
use crate::doctor::fault::{Fault, Judgement};
use crate::doctor::finding::FindingLevel;
use crate::io::xdp::{MTU_MAX, ONE_BUFFER_MTU_MAX};

/// Frames that take several buffers of AF_XDP.
pub(in crate::doctor) fn buffers(facts: &DirectorFacts) -> Judgement {
    let Some(client) = facts.client().filter(|client| facts.may_use_xdp() && !client.is_master()) else {
        return Judgement::Moot;
    };
    let (name, mtu) = (client.name(), client.interface.mtu);
    let features = match &client.features {
        _ if mtu <= ONE_BUFFER_MTU_MAX => return Vec::new().into(),
        Err(reason) => {
            let what = format!("the MTU of {name} is {mtu}, and whether its driver has several buffers");
            return Fault::unknown(what, reason).into();
        }
        Ok(features) => features,
    };
    if features.has_several_buffers() {
        return Vec::new().into();
    }
    let (level, effect) = match facts.needs_xdp() {
        true if mtu > MTU_MAX => {
            (FindingLevel::Error, "they do not fit a buffer: backend \"xdp\" does not start")
        }
        true => (
            FindingLevel::Warn,
            "drivers refuse XDP with it, and frames run in the network stack (generic mode)",
        ),
        false => (FindingLevel::Hint, "AF_XDP has no room for such frames: backend \"auto\" takes AF_PACKET"),
    };
    let what = format!(
        "the MTU of {name} is {mtu}, and its driver has one buffer for a frame, {ONE_BUFFER_MTU_MAX} bytes at most"
    );
    Fault::new(level, what, effect).command(format!("ip link set dev {name} mtu {ONE_BUFFER_MTU_MAX}")).into()
}

/// MTUs that differ: between the two interfaces, or between the ends of a veth.
pub(in crate::doctor) fn equal(facts: &DirectorFacts) -> Judgement {
    let Some(client) = facts.client() else { return Judgement::Moot };
    let mut faults = Vec::new();
    if let [_, server] = &facts.interfaces[..] {
        let (here, there) = (client.interface.mtu, server.interface.mtu);
        if there < here {
            let what =
                format!("the MTU of {} is {there}, that of {} is {here}", server.name(), client.name());
            let effect =
                "longer packets to real servers are answered with the smaller MTU, or counted as too_long";
            let line = format!("ip link set dev {} mtu {here}", server.name());
            faults.push(Fault::new(FindingLevel::Warn, what, effect).command(line));
        }
    }
    for one in &facts.interfaces {
        let Some(Ok(peer)) = &one.peer else { continue };
        let (name, mtu) = (one.name(), one.interface.mtu);
        if peer.mtu > mtu {
            let what = format!("the MTU of {name} is {mtu}, that of its peer {} is {}", peer.name, peer.mtu);
            let effect = "longer frames from there are lost before the director, without a counter here";
            let line = format!("ip link set dev {name} mtu {}", peer.mtu);
            faults.push(Fault::new(FindingLevel::Warn, what, effect).command(line));
        }
    }
    faults.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::sample;
    use crate::model::BackendChoice;
    use crate::sys::netdev::XdpFeatures;

    #[test]
    fn long_frames_weigh_by_driver_and_backend() {
        let mut facts = sample::sound();
        for (mtu, features, backend, wanted) in [
            (3494, 1, BackendChoice::Xdp, None),
            (3495, 33, BackendChoice::Xdp, None),
            (3495, 1, BackendChoice::Xdp, Some(FindingLevel::Warn)),
            (9000, 1, BackendChoice::Xdp, Some(FindingLevel::Error)),
            (9000, 1, BackendChoice::Auto, Some(FindingLevel::Hint)),
        ] {
            (facts.interfaces[0].interface.mtu, facts.interfaces[0].features) =
                (mtu, Ok(XdpFeatures(features)));
            facts.wanted.backend = backend;
            assert_eq!(sample::level(buffers(&facts)), wanted, "{mtu} {features} {backend:?}");
        }
    }
}
