//! Options of a lab.

use super::{Family, LabHost, Layout};
use crate::model::Diagnostic;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::path::PathBuf;

/// ARP suppression on the real servers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Arp {
    /// arp_ignore and arp_announce on the real servers, as usual; IPv6 needs none
    #[default]
    Sysctl,
    /// arptables rules on the real servers
    Arptables,
    /// A static neighbor entry on the router, with IPv6 one of the router on each real server, too; the real
    /// servers answer for the VIP
    Static,
    /// No suppression: shows how the deployment fails
    None,
}

/// Backend of the director.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LabBackend {
    /// AF_XDP where it works, else AF_PACKET
    #[default]
    Auto,
    /// AF_XDP
    Xdp,
    /// AF_PACKET
    Packet,
}

impl LabBackend {
    /// Name in the configuration file.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Xdp => "xdp",
            Self::Packet => "packet",
        }
    }
}

/// Options of a lab.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabOptions {
    /// Prefix of the namespaces and name of the state directory.
    pub name: String,
    /// The director's backend.
    pub backend: LabBackend,
    /// ARP suppression on the real servers.
    pub arp: Arp,
    /// Subnets of the VIP and of the real servers.
    pub layout: Layout,
    /// Address families.
    pub family: Family,
    /// Whether the built-in web server runs on the real servers.
    pub servers: bool,
    /// Whether directrix runs on the director.
    pub directs: bool,
    /// The directrix binary.
    pub exe: PathBuf,
    /// Keys of the configuration's `[director]` table, added or replaced, as TOML: `("workers", "2")`.
    pub director: Vec<(String, String)>,
    /// TOML text after the configuration, such as further `[[service]]` tables.
    pub more: String,
}

impl LabOptions {
    /// Reference deployment called `name`, with the binary `exe`.
    #[must_use]
    pub fn new(name: impl Into<String>, exe: impl Into<PathBuf>) -> Self {
        Self {
            name: name.into(),
            backend: LabBackend::default(),
            arp: Arp::default(),
            layout: Layout::default(),
            family: Family::default(),
            servers: true,
            directs: true,
            exe: exe.into(),
            director: Vec::new(),
            more: String::new(),
        }
    }

    /// Interface of a real server that has `vip`. An IPv6 VIP is on the segment if the server is to answer for it.
    #[must_use]
    pub fn vip_interface(&self, vip: IpAddr) -> &'static str {
        let answers = matches!(self.arp, Arp::Static | Arp::None);
        if vip.is_ipv6() && answers { "eth0" } else { "lo" }
    }

    /// Network namespace of `host`.
    #[must_use]
    pub fn namespace(&self, host: LabHost) -> String {
        namespace(&self.name, host)
    }
}

/// Network namespace of `host` in the lab called `name`.
#[must_use]
pub fn namespace(name: &str, host: LabHost) -> String {
    format!("{name}-{host}")
}

/// Maximum length of a name: the path of the control socket must fit a Unix address (108 bytes).
const NAME_MAX: usize = 32;

/// Validates the name of a lab.
///
/// # Errors
/// `InvalidArgument` if it is not 1..=32 letters, digits and inner hyphens.
pub fn check_name(name: &str) -> Result<(), Diagnostic> {
    let fits = (1..=NAME_MAX).contains(&name.len());
    let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') && !name.starts_with('-');
    if fits && plain {
        return Ok(());
    }
    Err(Diagnostic::invalid_argument(format!("'{name}' cannot name a lab"))
        .remedy(format!("use 1 to {NAME_MAX} letters, digits and hyphens, no hyphen first")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::DiagnosticKind;

    #[test]
    fn names_outside_the_state_directory_are_refused() {
        for name in ["", "-x", "a/b", "..", "a b", "a.b", "Ä", &"x".repeat(33)] {
            assert_eq!(check_name(name).unwrap_err().kind, DiagnosticKind::InvalidArgument, "{name}");
        }
        for name in ["directrix", "d1", "A-b-9", &"x".repeat(32)] {
            assert_eq!(check_name(name), Ok(()), "{name}");
        }
    }

    #[test]
    fn options_round_trip_through_json() {
        let options =
            LabOptions { arp: Arp::Static, layout: Layout::TwoSubnets, ..LabOptions::new("d", "/bin/x") };
        let text = serde_json::to_string(&options).unwrap();
        assert_eq!(serde_json::from_str::<LabOptions>(&text).unwrap(), options);
    }
}
