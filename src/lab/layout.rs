//! Layout of the segment: subnets of the VIP and of the real servers.

use serde::{Deserialize, Serialize};

/// Subnets of the VIP and of the real servers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Layout {
    /// VIP and real servers in one subnet
    #[default]
    OneSubnet,
    /// VIP in a public subnet, director and real servers in a private one on the same wire
    TwoSubnets,
}
