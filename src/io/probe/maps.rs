//! Keys and values of the programs' maps. They mirror probe.bpf.c.

use super::evidence::ProbeEvidence;
use super::refusal::ProbeRefusal;
use super::target::{ProbeProtocol, ProbeTarget};
use crate::health::ProbeIcmp;
use crate::io::bpf::ProbeMap;
use crate::model::Diagnostic;
use crate::wire::{MacAddr, Protocol};
use std::net::{IpAddr, Ipv4Addr};
use zerocopy::{FromBytes, Immutable, IntoBytes};

pub(super) const KEY: usize = size_of::<ProbeKey>();
pub(super) const FORWARD: usize = size_of::<ProbeForward>();
pub(super) const BACK: usize = size_of::<ProbeBack>();

pub(super) type Key = [u8; KEY];
pub(super) type ForwardMap = ProbeMap<KEY, FORWARD>;
pub(super) type BackMap = ProbeMap<KEY, BACK>;

/// Protocol numbers of the two versions of ICMP.
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;

/// `struct probe_key` of probe.bpf.c. Ports are in network order.
#[derive(Clone, Copy, IntoBytes, Immutable)]
#[repr(C)]
struct ProbeKey {
    remote: [u8; 16],
    local: [u8; 16],
    remote_port: [u8; 2],
    own_port: [u8; 2],
    protocol: u8,
    family: u8,
    zero: [u8; 2],
}

/// `struct forward` of probe.bpf.c.
#[derive(Clone, Copy, IntoBytes, FromBytes, Immutable)]
#[repr(C)]
pub(super) struct ProbeForward {
    vip: [u8; 16],
    mac: [u8; 6],
    zero: [u8; 2],
    sent: u64,
    from_rip: u64,
}

/// `struct back` of probe.bpf.c.
#[derive(Clone, Copy, IntoBytes, FromBytes, Immutable)]
#[repr(C)]
pub(super) struct ProbeBack {
    rip: [u8; 16],
    sender: [u8; 16],
    replies: u64,
    foreign: u64,
    errors: u64,
    mac: [u8; 6],
    is_over: u8,
    error_type: u8,
    foreign_mac: [u8; 6],
    error_code: u8,
    zero: u8,
}

/// Both entries of a probe, as they begin.
#[derive(Clone, Copy, Debug)]
pub(super) struct ProbeEntries {
    /// Key of `probe_fwd`, for the RIP.
    pub(super) to_rip: Key,
    /// Key of `probe_back`, for the VIP.
    pub(super) of_vip: Key,
    target: ProbeTarget,
}

impl ProbeEntries {
    /// The entries of a socket with this port or identifier.
    ///
    /// # Errors
    /// If the addresses are of several families.
    pub(super) fn of(target: &ProbeTarget, own_port: u16) -> Result<Self, ProbeRefusal> {
        let ProbeTarget { vip, rip, own, .. } = target;
        if [rip, own].iter().any(|address| address.is_ipv4() != vip.is_ipv4()) {
            let diagnostic = Diagnostic::system(format!("probing {vip} on {rip} from {own}"))
                .cause("the addresses are of several families")
                .remedy(
                    "give VIP and real server addresses of one family, and the director one of that family",
                );
            return Err(ProbeRefusal { errno: None, diagnostic });
        }
        let (to_rip, of_vip) = (key(target, *rip, own_port), key(target, *vip, own_port));
        Ok(Self { to_rip, of_vip, target: *target })
    }

    pub(super) fn is_v4(&self) -> bool {
        self.target.vip.is_ipv4()
    }

    /// The value of `probe_fwd` at the beginning.
    pub(super) fn forward(&self) -> [u8; FORWARD] {
        let vip = octets(self.target.vip);
        bytes(&ProbeForward { vip, mac: self.target.mac.0, zero: [0; 2], sent: 0, from_rip: 0 })
    }

    /// The value of `probe_back` at the beginning, or once the probe is over.
    pub(super) fn back(&self, is_over: bool) -> [u8; BACK] {
        bytes(&ProbeBack {
            rip: octets(self.target.rip),
            sender: [0; 16],
            replies: 0,
            foreign: 0,
            errors: 0,
            mac: self.target.reply_mac.0,
            is_over: is_over.into(),
            error_type: 0,
            foreign_mac: [0; 6],
            error_code: 0,
            zero: 0,
        })
    }
}

fn key(target: &ProbeTarget, remote: IpAddr, own_port: u16) -> Key {
    let is_v4 = remote.is_ipv4();
    let (protocol, remote_port) = match target.protocol {
        ProbeProtocol::Tcp => (Protocol::TCP, target.port),
        ProbeProtocol::Udp => (Protocol::UDP, target.port),
        ProbeProtocol::Ping => (if is_v4 { ICMP } else { ICMPV6 }, 0),
    };
    bytes(&ProbeKey {
        remote: octets(remote),
        local: octets(target.own),
        remote_port: remote_port.to_be_bytes(),
        own_port: own_port.to_be_bytes(),
        protocol,
        family: if is_v4 { 4 } else { 6 },
        zero: [0; 2],
    })
}

/// The counts in both values.
pub(super) fn evidence(forward: [u8; FORWARD], back: [u8; BACK], is_v4: bool) -> ProbeEvidence {
    let forward: ProbeForward = zerocopy::transmute!(forward);
    let back: ProbeBack = zerocopy::transmute!(back);
    let (kind, code) = (back.error_type, back.error_code);
    let icmp = || ProbeIcmp { kind, code, sender: address(back.sender, is_v4) };
    ProbeEvidence {
        sent: forward.sent,
        replies: back.replies,
        foreign: back.foreign,
        foreign_mac: (back.foreign > 0).then_some(MacAddr(back.foreign_mac)),
        from_rip: forward.from_rip,
        errors: back.errors,
        icmp: (back.errors > 0).then(icmp),
    }
}

fn bytes<const N: usize>(value: &(impl IntoBytes + Immutable)) -> [u8; N] {
    value.as_bytes().try_into().expect("N is its size")
}

/// An IPv4 address is in the first four bytes.
fn octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(v4) => {
            let mut octets = [0; 16];
            octets[..4].copy_from_slice(&v4.octets());
            octets
        }
        IpAddr::V6(v6) => v6.octets(),
    }
}

fn address(octets: [u8; 16], is_v4: bool) -> IpAddr {
    let [a, b, c, d, ..] = octets;
    if is_v4 { Ipv4Addr::new(a, b, c, d).into() } else { octets.into() }
}
