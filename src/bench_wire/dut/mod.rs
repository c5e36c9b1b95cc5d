//! Devices under test (DUT, RFC 2544): each on its end of a veth pair, or in turn on a real interface.

mod background;
mod director;
mod hairpin;
mod l2fwd;
mod napi;
mod nft;
mod running;
mod setup;

pub use l2fwd::run as run_l2fwd;
pub(super) use running::RunningDut;
pub use setup::{DUT_MAC, SERVICE, server_mac};
pub(super) use setup::{DutSetup, DutSpec, INTERFACE};

use super::trial::Dut;
use crate::lab::{self};
use crate::model::Diagnostic;
use std::ffi::OsString;

/// Programs that a DUT needs in addition to those of the bench.
fn programs(dut: Dut) -> &'static [&'static str] {
    match dut {
        Dut::Nft => &["nft"],
        _ => &[],
    }
}

/// Divides `duts` into the available ones, with all programs on `path`, and reasons for leaving out the others.
///
/// # Errors
/// `InvalidArgument` if none is left.
pub fn available(duts: &[Dut], path: &OsString) -> Result<(Vec<Dut>, Vec<String>), Diagnostic> {
    let (mut available, mut left_out) = (Vec::new(), Vec::new());
    for dut in duts {
        match lab::programs::missing_message(programs(*dut).iter().copied(), path) {
            None => available.push(*dut),
            Some(missing) => left_out.push(format!("{}: {missing}", dut.name())),
        }
    }
    if available.is_empty() {
        return Err(Diagnostic::invalid_argument("no DUT is left").cause(left_out.join("; ")));
    }
    Ok((available, left_out))
}

/// Starts a DUT. Returns once it forwards.
pub(super) fn start(setup: &DutSetup<'_>) -> Result<Box<dyn RunningDut>, Diagnostic> {
    Ok(match setup.spec.dut {
        Dut::Xdp | Dut::Packet => Box::new(director::DirectorDut::start(setup)?),
        Dut::L2fwd => Box::new(l2fwd::L2fwdDut::start(setup)?),
        Dut::Hairpin => Box::new(hairpin::HairpinDut::start(setup)?),
        Dut::Nft => Box::new(nft::NftDut::start(setup)?),
        Dut::External => {
            return Err(Diagnostic::invalid_argument("an external device is not started here")
                .remedy("name its interface"));
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dut_without_its_program_is_left_out() {
        let nowhere = OsString::from("/nonexistent");
        let complaint = "nft: not found: nft; install with: apt-get install nftables";
        let (available_here, left_out) = available(&[Dut::Nft, Dut::Xdp], &nowhere).unwrap();
        assert_eq!((available_here, left_out), (vec![Dut::Xdp], vec![complaint.to_owned()]));
        let none = available(&[Dut::Nft], &nowhere).unwrap_err();
        assert_eq!(none, Diagnostic::invalid_argument("no DUT is left").cause(complaint));
    }
}
