//! What a lab can be told.

use super::{Host, LabError};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// What keeps the real servers quiet about the VIP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Arp {
    /// arp_ignore and arp_announce on the real servers, as usual
    #[default]
    Sysctl,
    /// arptables rules on the real servers
    Arptables,
    /// A static ARP entry on the router; the real servers answer ARP for the VIP
    Static,
    /// No suppression: shows how the deployment fails
    None,
}

/// Where VIP and real servers are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Layout {
    /// VIP and real servers in one subnet
    #[default]
    OneSubnet,
    /// VIP in a public subnet, director and real servers in a private one on the same wire
    TwoSubnets,
}

/// What carries the director's frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// AF_XDP where it works, else AF_PACKET
    #[default]
    Auto,
    /// AF_XDP
    Xdp,
    /// AF_PACKET
    Packet,
}

impl Backend {
    /// As in the configuration file.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Xdp => "xdp",
            Self::Packet => "packet",
        }
    }
}

/// What is to be built.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Options {
    /// Prefix of the namespaces and name of the state directory.
    pub name: String,
    /// The director's backend.
    pub backend: Backend,
    /// What keeps the real servers quiet.
    pub arp: Arp,
    /// Where VIP and real servers are.
    pub layout: Layout,
    /// Start the built-in web server on the real servers.
    pub servers: bool,
    /// The directrix binary.
    pub exe: PathBuf,
    /// Keys of the configuration's `[director]` table, added or replaced, as TOML: `("workers", "2")`.
    pub director: Vec<(String, String)>,
    /// TOML text after the configuration, such as further `[[service]]` tables.
    pub more: String,
}

impl Options {
    /// The reference deployment called `name`, run by the binary `exe`.
    #[must_use]
    pub fn new(name: impl Into<String>, exe: impl Into<PathBuf>) -> Self {
        Self {
            name: name.into(),
            backend: Backend::default(),
            arp: Arp::default(),
            layout: Layout::default(),
            servers: true,
            exe: exe.into(),
            director: Vec::new(),
            more: String::new(),
        }
    }

    /// The network namespace of `host`.
    #[must_use]
    pub fn namespace(&self, host: Host) -> String {
        namespace(&self.name, host)
    }
}

/// The network namespace of `host` in the lab called `name`.
#[must_use]
pub fn namespace(name: &str, host: Host) -> String {
    format!("{name}-{host}")
}

/// The longest name: the control socket's path must fit a Unix address (108 bytes).
const NAME_MAX: usize = 32;

/// Checks that a lab can be called `name`.
///
/// # Errors
/// [`LabError::Input`] if it is not 1..=32 letters, digits and inner hyphens.
pub fn check_name(name: &str) -> Result<(), LabError> {
    let fits = (1..=NAME_MAX).contains(&name.len());
    let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') && !name.starts_with('-');
    if fits && plain {
        return Ok(());
    }
    Err(LabError::Input(format!(
        "'{name}' cannot name a lab: use 1 to {NAME_MAX} letters, digits and hyphens, no hyphen first"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_leave_the_state_directory_are_refused() {
        for name in ["", "-x", "a/b", "..", "a b", "a.b", "Ä", &"x".repeat(33)] {
            assert!(matches!(check_name(name), Err(LabError::Input(_))), "{name}");
        }
        for name in ["directrix", "d1", "A-b-9", &"x".repeat(32)] {
            assert_eq!(check_name(name), Ok(()), "{name}");
        }
    }

    #[test]
    fn options_survive_the_state_file() {
        let options = Options { arp: Arp::Static, layout: Layout::TwoSubnets, ..Options::new("d", "/bin/x") };
        let text = serde_json::to_string(&options).unwrap();
        assert_eq!(serde_json::from_str::<Options>(&text).unwrap(), options);
    }
}
