//! Identities of services in requests.

use crate::model::{FirewallMark, IpFamily, ServiceAddress, ServiceIdentity};
use crate::wire::Protocol;
use serde::{Deserialize, Deserializer, de};
use std::net::SocketAddr;
use std::num::NonZeroU32;

/// [`ServiceIdentity`] in a request: unknown fields are refused, where an answer may have more.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Strict {
    protocol: Option<Protocol>,
    address: Option<SocketAddr>,
    mark: Option<NonZeroU32>,
    /// IPv4 if it is missing, as `ipvsadm -f` without `-6`.
    family: Option<IpFamily>,
}

impl Strict {
    fn identity<E: de::Error>(self) -> Result<ServiceIdentity, E> {
        let Self { protocol, address, mark, family } = self;
        if let Some(mark) = mark {
            if protocol.is_some() || address.is_some() {
                return Err(E::custom("a mark beside protocol or address: a service has one or the other"));
            }
            return Ok(FirewallMark { mark, family: family.unwrap_or(IpFamily::Ipv4) }.into());
        }
        if family.is_some() {
            return Err(E::missing_field("mark"));
        }
        let protocol = protocol.ok_or_else(|| E::missing_field("protocol"))?;
        let address = address.ok_or_else(|| E::missing_field("address"))?;
        Ok(ServiceAddress { protocol, address }.into())
    }
}

pub(super) fn strictly<'de, D: Deserializer<'de>>(from: D) -> Result<ServiceIdentity, D::Error> {
    Strict::deserialize(from)?.identity()
}

pub(super) fn strictly_if_any<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<Option<ServiceIdentity>, D::Error> {
    Option::<Strict>::deserialize(from)?.map(Strict::identity).transpose()
}
