//! Consequences that several findings have.

use std::net::IpAddr;

/// Consequence of a VIP with the prefix length of a network.
pub(super) fn network_effect(vip: IpAddr, interface: &str) -> String {
    if vip.is_ipv4() {
        return "every address of that network counts as this host's own: \
                it answers itself instead of replying to clients and gateways there"
            .into();
    }
    format!(
        "the kernel here routes that whole network to {interface}: hosts and gateways in it get nothing from this server"
    )
}
