//! The part of a socket filter that tests packets of one family.

use super::code::{KEEP, Program, REJECT, jump, load, load_indexed, search, skip, statement};
use crate::io::SteeredService;
use crate::model::{PortRange, merged_ports};
use crate::wire::icmp::{self, kind};
use libc::{
    BPF_B, BPF_H, BPF_IMM, BPF_JEQ, BPF_JGE, BPF_JGT, BPF_JSET, BPF_LD, BPF_LDX, BPF_MISC, BPF_MSH, BPF_TAX,
    BPF_TXA, BPF_W,
};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

/// Offsets into an IPv4 packet (RFC 791).
mod v4 {
    pub(super) const FRAGMENT: u32 = 6;
    pub(super) const PROTOCOL: u32 = 9;
    pub(super) const DESTINATION: u32 = 16;
    /// With the length of the IP header in the index register.
    pub(super) const PORT: u32 = 2;
    /// The same.
    pub(super) const ICMP_TYPE: u32 = 0;
}

/// The same for IPv6 without an extension header (RFC 8200).
mod v6 {
    pub(super) const NEXT_HEADER: u32 = 6;
    pub(super) const DESTINATION: u32 = 24;
    pub(super) const PORT: u32 = 40 + 2;
    pub(super) const ICMP_TYPE: u32 = 40;
}

/// "More fragments" and the fragment offset: not zero in every piece of an IPv4 datagram.
const FRAGMENT: u32 = 0x3fff;
/// Next headers behind which a transport header may follow: hop-by-hop options, routing, fragment,
/// authentication, destination options.
const EXTENSIONS: [u8; 5] = [0, 43, 44, 51, 60];
/// Protocol number of ICMP (RFC 792), and of ICMPv6 (RFC 4443).
const ICMP: u32 = icmp::ICMP as u32;
const ICMP_V6: u32 = icmp::ICMPV6 as u32;
/// ICMP errors that IPVS directs: destination unreachable, source quench, time exceeded. Of ICMPv6: types 1 to 4.
const ERRORS: [u32; 3] =
    [kind::DESTINATION_UNREACHABLE as u32, kind::SOURCE_QUENCH as u32, kind::TIME_EXCEEDED as u32];
const FIRST_INFORMATION_V6: u32 = 5;
/// In the index register, instead of a protocol: the frame is kept if it is for a VIP.
const FOR_ANY_VIP: u32 = 256;

/// VIP → protocol → ports. A VIP is one word of 32 bits, or four.
type Wanted = BTreeMap<Vec<u32>, Protocols>;
type Protocols = BTreeMap<u8, Vec<PortRange>>;

/// The VIPs of one family, and how exactly their frames are selected.
#[derive(Clone)]
pub(super) struct FilterFamily {
    is_v6: bool,
    /// Offset of the IP header in the frame.
    ip: u32,
    wanted: Arc<Wanted>,
    selectivity: Selectivity,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Selectivity {
    /// By service.
    Service,
    /// All packets to a VIP of its protocols.
    Protocol,
    /// All packets of the protocols.
    Any,
}

impl FilterFamily {
    /// The IPv4 services, behind a link header that ends at `ip`, selected as exactly as possible.
    pub(super) fn v4(ip: u32, services: &[&SteeredService]) -> Self {
        Self::new((false, ip), services, |vip| match vip {
            IpAddr::V4(vip) => Some(vec![vip.to_bits()]),
            IpAddr::V6(_) => None,
        })
    }

    /// The IPv6 services, likewise, selected as exactly as possible.
    pub(super) fn v6(ip: u32, services: &[&SteeredService]) -> Self {
        Self::new((true, ip), services, |vip| match vip {
            IpAddr::V4(_) => None,
            IpAddr::V6(vip) => {
                let word = |bytes: &[u8; 4]| u32::from_be_bytes(*bytes);
                Some(vip.octets().as_chunks().0.iter().map(word).collect())
            }
        })
    }

    fn new(
        (is_v6, ip): (bool, u32),
        services: &[&SteeredService],
        words: impl Fn(IpAddr) -> Option<Vec<u32>>,
    ) -> Self {
        let mut wanted = Wanted::new();
        for service in services {
            if let Some(vip) = words(service.vip) {
                let protocols = wanted.entry(vip).or_default();
                protocols.entry(service.protocol as u8).or_default().push(service.ports);
            }
        }
        Self { is_v6, ip, wanted: Arc::new(wanted), selectivity: Selectivity::Service }
    }

    /// The same, less exact; none if nothing is.
    pub(super) fn coarser(&self) -> Option<Self> {
        let selectivity = match self.selectivity {
            _ if self.wanted.is_empty() => return None,
            Selectivity::Service => Selectivity::Protocol,
            Selectivity::Protocol => Selectivity::Any,
            Selectivity::Any => return None,
        };
        Some(Self { selectivity, ..self.clone() })
    }

    /// All packets of the protocols of both.
    pub(super) fn with_protocols_of(&self, other: &Self) -> Self {
        let all = self.wanted.values().chain(other.wanted.values()).flat_map(BTreeMap::keys);
        let any = all.map(|protocol| (*protocol, vec![PortRange::EVERY])).collect::<Protocols>();
        let wanted = if any.is_empty() { Wanted::new() } else { Wanted::from([(Vec::new(), any)]) };
        Self { wanted: Arc::new(wanted), selectivity: Selectivity::Any, ..*self }
    }

    /// Tests a packet of the family; ends in a return.
    pub(super) fn program(&self) -> Program {
        if self.wanted.is_empty() {
            return vec![REJECT];
        }
        let mut program = if self.is_v6 { protocol_v6(self.ip) } else { protocol_v4(self.ip) };
        if self.selectivity == Selectivity::Any {
            let protocols: BTreeSet<u8> = self.wanted.values().flat_map(BTreeMap::keys).copied().collect();
            program
                .extend(Self::among_protocols(protocols.into_iter().map(|protocol| (protocol, vec![KEEP]))));
            return program;
        }
        let vips: Vec<_> = self.wanted.iter().map(|(vip, protocols)| (vip.as_slice(), protocols)).collect();
        program.extend(self.by_vip(&vips, 0));
        program
    }

    /// Searches the destination among `vips`, which differ from word `at` on only.
    fn by_vip(&self, vips: &[(&[u32], &Protocols)], at: usize) -> Program {
        let Some(offset) = self.destination(at) else { return self.of_vip(vips[0].1) };
        let groups: Vec<_> = vips.chunk_by(|a, b| a.0[at] == b.0[at]).collect();
        let word = |group: &&[(&[u32], &Protocols)]| group[0].0[at];
        let mut program = vec![load(BPF_W, offset)];
        program.extend(search(&groups, &word, &|group| {
            let mut program = vec![jump(BPF_JEQ, word(group), 1, 0), REJECT];
            program.extend(self.by_vip(group, at + 1));
            program
        }));
        program
    }

    /// Offset of a word of the destination address; none behind the last.
    fn destination(&self, word: usize) -> Option<u32> {
        let first = if self.is_v6 { v6::DESTINATION } else { v4::DESTINATION };
        let words = if self.is_v6 { 4 } else { 1 };
        (word < words).then_some(self.ip + first + 4 * word as u32) // below 4
    }

    fn of_vip(&self, protocols: &Protocols) -> Program {
        let section = |ports| match self.selectivity {
            Selectivity::Service => self.by_port(ports),
            _ => vec![KEEP],
        };
        Self::among_protocols(protocols.iter().map(|(protocol, ports)| (*protocol, section(ports))))
    }

    /// Runs the section of the packet's protocol; every section ends in a return.
    fn among_protocols(sections: impl Iterator<Item = (u8, Program)>) -> Program {
        let mut program = vec![statement(BPF_MISC | BPF_TXA, 0), jump(BPF_JEQ, FOR_ANY_VIP, 0, 1), KEEP];
        for (protocol, section) in sections {
            program.extend([jump(BPF_JEQ, u32::from(protocol), 1, 0), skip(section.len())]);
            program.extend(section);
        }
        program.push(REJECT);
        program
    }

    fn by_port(&self, ports: &[PortRange]) -> Program {
        let mut program = if self.is_v6 { vec![load(BPF_H, self.ip + v6::PORT)] } else { port_v4(self.ip) };
        let ports = merged_ports(ports.iter().copied());
        if ports == [PortRange::EVERY] {
            program.push(KEEP); // if there is a port: a load that fails has ended the filter
            return program;
        }
        program.extend(search(&ports, &|range| u32::from(range.first), &|range| within(*range)));
        program
    }
}

/// Keeps the frame if its port, in the accumulator, is in the range.
fn within(PortRange { first, last }: PortRange) -> Program {
    let (first, last) = (u32::from(first), u32::from(last));
    if first == last {
        return vec![jump(BPF_JEQ, first, 0, 1), KEEP, REJECT];
    }
    vec![jump(BPF_JGE, first, 0, 2), jump(BPF_JGT, last, 1, 0), KEEP, REJECT]
}

/// Keeps fragments, and loads the destination port of other packets.
fn port_v4(ip: u32) -> Program {
    vec![
        load(BPF_H, ip + v4::FRAGMENT),
        jump(BPF_JSET, FRAGMENT, 0, 1),
        KEEP,
        statement(BPF_LDX | BPF_B | BPF_MSH, ip),
        load_indexed(BPF_H, ip + v4::PORT),
    ]
}

/// Loads the protocol into the index register; of an ICMP error, [`FOR_ANY_VIP`]. Rejects other ICMP.
fn protocol_v4(ip: u32) -> Program {
    let mut program = vec![load(BPF_B, ip + v4::PROTOCOL), jump(BPF_JEQ, ICMP, 0, 9)];
    program.extend([load(BPF_H, ip + v4::FRAGMENT), jump(BPF_JSET, FRAGMENT, 5, 0)]);
    program.extend([statement(BPF_LDX | BPF_B | BPF_MSH, ip), load_indexed(BPF_B, ip + v4::ICMP_TYPE)]);
    program.extend((1..=3).rev().zip(ERRORS).map(|(remaining, error)| jump(BPF_JEQ, error, remaining, 0)));
    program.extend([REJECT, statement(BPF_LD | BPF_IMM, FOR_ANY_VIP), statement(BPF_MISC | BPF_TAX, 0)]);
    program
}

/// The same of the next header; [`FOR_ANY_VIP`] also of an extension header, since classic BPF has no loops to find
/// out what follows.
fn protocol_v6(ip: u32) -> Program {
    let mut program = vec![load(BPF_B, ip + v6::NEXT_HEADER)];
    let extension = |(remaining, next)| jump(BPF_JEQ, u32::from(next), remaining, 0);
    program.extend((5..=9).rev().zip(EXTENSIONS).map(extension));
    program.extend([jump(BPF_JEQ, ICMP_V6, 0, 5), load(BPF_B, ip + v6::ICMP_TYPE)]);
    program.extend([jump(BPF_JGE, FIRST_INFORMATION_V6, 1, 0), jump(BPF_JGE, 1, 1, 0)]);
    program.extend([REJECT, statement(BPF_LD | BPF_IMM, FOR_ANY_VIP), statement(BPF_MISC | BPF_TAX, 0)]);
    program
}
