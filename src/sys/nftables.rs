//! Base chains of nftables below IP: the families arp, bridge and netdev (NETLINK_NETFILTER, linux/netfilter/nf_tables.h).
//!
//! Rules are counted and not read: an expression may be anything.

use super::rtnetlink::message::{Attributes, exchange, u32_at};
use rtnetlink::sys::protocols::NETLINK_NETFILTER;
use std::io;

/// `struct nfgenmsg` of linux/netfilter/nfnetlink.h, in bytes.
const NETFILTER_HEADER: usize = 4;
/// linux/netfilter.h: the policy that drops.
const NF_DROP: u32 = 0;
/// Attributes of linux/netfilter/nf_tables.h.
const NFTA_CHAIN_TABLE: u16 = 1;
const NFTA_CHAIN_NAME: u16 = 3;
const NFTA_CHAIN_HOOK: u16 = 4;
const NFTA_CHAIN_POLICY: u16 = 5;
const NFTA_HOOK_HOOKNUM: u16 = 1;
const NFTA_HOOK_DEV: u16 = 3;
const NFTA_HOOK_DEVS: u16 = 4;
const NFTA_RULE_TABLE: u16 = 1;
const NFTA_RULE_CHAIN: u16 = 2;

/// A family of nftables that sees frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FilterLayer {
    Arp,
    Bridge,
    Netdev,
}

impl FilterLayer {
    const ALL: [Self; 3] = [Self::Arp, Self::Bridge, Self::Netdev];

    /// NFPROTO_* of linux/netfilter.h.
    fn number(self) -> u8 {
        match self {
            Self::Arp => 3,
            Self::Bridge => 7,
            Self::Netdev => 5,
        }
    }

    /// Name as in the commands of nft(8).
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Arp => "arp",
            Self::Bridge => "bridge",
            Self::Netdev => "netdev",
        }
    }
}

/// A chain at a hook of the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BaseChain {
    pub(crate) layer: FilterLayer,
    pub(crate) table: String,
    pub(crate) name: String,
    /// Number of the hook: in netdev 0 is ingress, 1 is egress; in arp 0 is input, 1 is output.
    pub(crate) hook: u32,
    /// Interfaces of a netdev chain.
    pub(crate) devices: Vec<String>,
    /// The policy drops.
    pub(crate) drops: bool,
    pub(crate) rules: usize,
}

/// Lists the base chains of the calling thread's network namespace; none if the kernel has no nftables.
///
/// # Errors
/// EPERM without CAP_NET_ADMIN.
pub(crate) fn base_chains() -> io::Result<Vec<BaseChain>> {
    let mut all = Vec::new();
    for layer in FilterLayer::ALL {
        let mut chains = Vec::new();
        dump(libc::NFT_MSG_GETCHAIN, layer, |attributes| chains.extend(chain_of(layer, attributes)))?;
        let count = |attributes: &[u8]| {
            let rule = [NFTA_RULE_TABLE, NFTA_RULE_CHAIN].map(|kind| text(attributes, kind));
            let is_of =
                |chain: &&mut BaseChain| rule == [Some(chain.table.clone()), Some(chain.name.clone())];
            if let Some(chain) = chains.iter_mut().find(is_of) {
                chain.rules += 1;
            }
        };
        dump(libc::NFT_MSG_GETRULE, layer, count)?;
        all.extend(chains);
    }
    Ok(all)
}

/// Passes the attributes of each object of the family to `each`.
fn dump(message: libc::c_int, layer: FilterLayer, mut each: impl FnMut(&[u8])) -> io::Result<()> {
    let kind = (libc::NFNL_SUBSYS_NFTABLES << 8 | message) as u16; // 0x0a07 at most
    let header = [layer.number(), 0, 0, 0];
    let done = exchange(NETLINK_NETFILTER, (kind, libc::NLM_F_DUMP), &header, |payload| {
        each(payload.get(NETFILTER_HEADER..)?);
        Some(())
    });
    let absent = [libc::EINVAL, libc::EOPNOTSUPP, libc::EPROTONOSUPPORT, libc::EAFNOSUPPORT];
    match done.map_err(io::Error::from) {
        Err(error) if error.raw_os_error().is_some_and(|number| absent.contains(&number)) => Ok(()),
        other => other,
    }
}

/// A chain, if it is at a hook.
fn chain_of(layer: FilterLayer, attributes: &[u8]) -> Option<BaseChain> {
    let hook = value(attributes, NFTA_CHAIN_HOOK)?;
    let policy = value(attributes, NFTA_CHAIN_POLICY).and_then(number);
    Some(BaseChain {
        layer,
        table: text(attributes, NFTA_CHAIN_TABLE)?,
        name: text(attributes, NFTA_CHAIN_NAME)?,
        hook: number(value(hook, NFTA_HOOK_HOOKNUM)?)?,
        devices: devices(hook),
        drops: policy == Some(NF_DROP),
        rules: 0,
    })
}

fn devices(hook: &[u8]) -> Vec<String> {
    let several = value(hook, NFTA_HOOK_DEVS).unwrap_or_default();
    let several = Attributes(several).map(|(_, name)| string(name));
    text(hook, NFTA_HOOK_DEV).into_iter().chain(several).collect()
}

fn value(attributes: &[u8], wanted: u16) -> Option<&[u8]> {
    Attributes(attributes).find(|(kind, _)| *kind == wanted).map(|(_, value)| value)
}

fn text(attributes: &[u8], wanted: u16) -> Option<String> {
    value(attributes, wanted).map(string)
}

fn string(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim_end_matches('\0').to_owned()
}

/// Numbers of nftables are big-endian.
fn number(bytes: &[u8]) -> Option<u32> {
    u32_at(bytes, 0).map(u32::from_be)
}
