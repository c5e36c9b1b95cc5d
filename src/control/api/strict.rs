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

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    struct Request {
        #[serde(deserialize_with = "strictly")]
        service: ServiceIdentity,
    }

    #[test]
    fn a_service_has_an_address_or_a_mark() {
        let read = |service: &str| serde_json::from_str::<Request>(&format!("{{\"service\": {service}}}"));
        for (service, name) in [
            (r#"{"protocol": "udp", "address": "192.0.2.1:53"}"#, "UDP 192.0.2.1:53"),
            (r#"{"mark": 7}"#, "FWM 7"),
            (r#"{"mark": 7, "family": "ipv4"}"#, "FWM 7"),
            (r#"{"mark": 7, "family": "ipv6"}"#, "FWM 7 IPv6"),
        ] {
            assert_eq!(read(service).unwrap().service.to_string(), name);
        }
        for (service, fault) in [
            (r#"{"mark": 7, "address": "192.0.2.1:53"}"#, "a mark beside protocol or address"),
            (r#"{"family": "ipv6"}"#, "missing field `mark`"),
            (r#"{"protocol": "udp"}"#, "missing field `address`"),
            (r#"{"address": "192.0.2.1:53"}"#, "missing field `protocol`"),
            (r#"{"mark": 0}"#, "nonzero"),
            (r#"{"mark": 7, "ports": 80}"#, "unknown field `ports`"),
        ] {
            let error = read(service).unwrap_err().to_string();
            assert!(error.contains(fault), "{error}");
        }
    }
}
