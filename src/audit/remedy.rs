//! Remedies: the line to type, and where.

use super::finding::{AuditFinding, AuditLevel, AuditedHost, Misuse};
use std::net::IpAddr;

/// Remedy of a finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditRemedy {
    /// Command for the host of the finding; `IF` in it stands for the name of an interface there.
    pub command: Option<String>,
    /// More to do or to look at, in a sentence.
    pub advice: Option<String>,
}

impl AuditFinding {
    /// Returns the remedy.
    #[must_use]
    pub fn remedy(&self) -> AuditRemedy {
        match (self.misuse, self.host) {
            (Misuse::Duplicate, _) if self.level == AuditLevel::Info => AuditRemedy::advice(
                "the MAC addresses are neighbors, as those of the ports of one bond (balance-alb, balance-tlb): \
                 if they are not, one host must give up the address",
            ),
            (Misuse::Duplicate, _) => self.of_duplicate(),
            (Misuse::Diverted, _) | (_, AuditedHost::Gateway(_)) => self.of_diversion(),
            (_, AuditedHost::Router(_)) => AuditRemedy::advice(
                "another director or a pair of routers has the VIP: take the VIP out of that group, or stop this director",
            ),
            (Misuse::Unheard, _) => AuditRemedy::advice(
                "look for dynamic ARP inspection, port security or a filter between this director and that host; \
                 a static binding of the VIP to this director's MAC address mends it",
            ),
            (Misuse::Proxy, _) => self.of_proxy(),
            (Misuse::Probes, _) => self.of_probe(),
            (_, AuditedHost::RealServer { .. }) => self.of_real_server(),
            (_, AuditedHost::Other(_) | AuditedHost::Unknown) => self.of_other(),
        }
    }

    fn of_real_server(&self) -> AuditRemedy {
        let to_lo = move_to_lo(self.address);
        match (self.address, self.misuse) {
            (IpAddr::V6(_), _) => AuditRemedy::command(to_lo),
            (_, Misuse::Answers) => AuditRemedy {
                command: Some(
                    "sysctl -w net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2".into(),
                ),
                advice: Some(format!("if it still answers, the VIP is on an interface with ARP: {to_lo}")),
            },
            (_, Misuse::Leaks) => AuditRemedy {
                command: Some("sysctl -w net.ipv4.conf.all.arp_announce=2".into()),
                advice: Some(format!(
                    "if it goes on, the VIP is the preferred address of an interface with ARP: {to_lo}"
                )),
            },
            _ => AuditRemedy {
                command: Some(to_lo),
                advice: Some("or a script there announces it: look for arping and for keepalived".into()),
            },
        }
    }

    fn of_other(&self) -> AuditRemedy {
        AuditRemedy {
            command: Some(remove(self.address)),
            advice: Some("if it is another director, list it in peers of [director]".into()),
        }
    }

    fn of_probe(&self) -> AuditRemedy {
        AuditRemedy {
            command: Some(format!("ip address show to {}", self.address)),
            advice: Some(
                "take the VIP out of that host's network configuration; a real server has it on lo alone"
                    .into(),
            ),
        }
    }

    fn of_proxy(&self) -> AuditRemedy {
        let command = match self.address {
            IpAddr::V4(_) => {
                "sysctl -w net.ipv4.conf.all.proxy_arp=0 net.ipv4.conf.IF.proxy_arp=0".to_owned()
            }
            IpAddr::V6(vip) => format!("ip -6 neighbor del proxy {vip} dev IF"),
        };
        AuditRemedy {
            command: Some(command),
            advice: Some(
                "where the network itself answers every request, as in public clouds, direct routing cannot work".into(),
            ),
        }
    }

    fn of_diversion(&self) -> AuditRemedy {
        AuditRemedy {
            command: Some(format!("ip neighbor show to {}", self.address)),
            advice: Some(
                "take the VIP out of the host with that MAC address, then delete the entry; if the MAC address is this \
                 director's, a filter there has begun to drop frames that leave by the interface on which they came"
                    .into(),
            ),
        }
    }

    fn of_duplicate(&self) -> AuditRemedy {
        let advice = match self.known {
            Some(known) => {
                format!("type it on the host with the MAC address that is wrong: {} or {known}", self.mac)
            }
            None => "type it on the host that must not have the address".into(),
        };
        AuditRemedy { command: Some(remove(self.address)), advice: Some(advice) }
    }
}

impl AuditRemedy {
    fn advice(text: &str) -> Self {
        Self { command: None, advice: Some(text.into()) }
    }

    fn command(text: String) -> Self {
        Self { command: Some(text), advice: None }
    }
}

/// Command that moves a VIP from an interface with ARP to lo.
fn move_to_lo(vip: IpAddr) -> String {
    let bits = if vip.is_ipv6() { 128 } else { 32 };
    format!("{}; ip address replace {vip}/{bits} dev lo", remove(vip))
}

/// Command that removes an address, of any prefix length, from an interface.
fn remove(address: IpAddr) -> String {
    let bits = if address.is_ipv6() { 128 } else { 32 };
    format!("ip address flush dev IF to {address}/{bits}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::MacAddr;

    fn finding(misuse: Misuse, address: &str, host: AuditedHost) -> AuditFinding {
        AuditFinding {
            misuse,
            level: misuse.level(),
            address: address.parse().unwrap(),
            mac: MacAddr([2, 0, 0, 0, 0, 7]),
            host,
            asked: true,
            target: None,
            known: None,
            count: 1,
            since_ms: 0,
            last_ms: 0,
        }
    }

    fn real_server() -> AuditedHost {
        AuditedHost::RealServer { rip: [192, 0, 2, 7].into(), by_other_interface: false }
    }

    #[test]
    fn sentence_and_command_name_server_and_address() {
        let found = finding(Misuse::Answers, "192.0.2.80", real_server());
        assert_eq!(
            found.to_string(),
            "real server 192.0.2.7 (02:00:00:00:00:07) answers ARP for the VIP 192.0.2.80"
        );
        assert_eq!(
            found.remedy().command.unwrap(),
            "sysctl -w net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2"
        );
        let leak = AuditFinding {
            target: Some([192, 0, 2, 1].into()),
            ..finding(Misuse::Leaks, "192.0.2.80", AuditedHost::Unknown)
        };
        assert_eq!(
            leak.to_string(),
            "02:00:00:00:00:07, not a configured real server, asks for 192.0.2.1 as the VIP 192.0.2.80: \
             192.0.2.1 learns the VIP there"
        );
        let v6 = finding(Misuse::Answers, "2001:db8::80", real_server());
        assert_eq!(
            v6.remedy().command.unwrap(),
            "ip address flush dev IF to 2001:db8::80/128; ip address replace 2001:db8::80/128 dev lo"
        );
    }

    #[test]
    fn every_misuse_by_every_host_has_a_remedy() {
        let router = super::super::macs::VirtualRouter::of(MacAddr([0, 0, 0x5e, 0, 1, 7])).unwrap();
        let hosts = [
            real_server(),
            AuditedHost::Router(router),
            AuditedHost::Gateway([192, 0, 2, 1].into()),
            AuditedHost::Other([192, 0, 2, 9].into()),
            AuditedHost::Unknown,
        ];
        for misuse in Misuse::ALL {
            for host in hosts {
                for address in ["192.0.2.80", "2001:db8::80"] {
                    let found = finding(misuse, address, host);
                    let remedy = found.remedy();
                    assert!(remedy.command.is_some() || remedy.advice.is_some(), "{found:?}");
                    assert!(found.to_string().contains(address), "{found}");
                    let words = format!("{found} {remedy:?}");
                    assert!(!words.contains("  "), "{words}");
                }
            }
        }
    }
}
