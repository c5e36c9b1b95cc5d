//! The real server's side.

use crate::model::host_address;
use crate::realserver::{self, DEFAULT_STATE_DIR, Options, Severity, Step};
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::process::ExitCode;

/// The subcommand's arguments.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Put the VIP on lo and keep quiet about it in ARP; twice is as once
    Setup(Common),
    /// Look at everything that direct routing needs here, and explain what is wrong (needs no root)
    Check(Common),
    /// Put back what was there before setup
    Undo(Common),
}

#[derive(Debug, clap::Args)]
struct Common {
    /// The virtual service's address; give it once for each VIP
    #[arg(long = "vip", required = true, value_name = "IP", value_parser = vip)]
    vips: Vec<Ipv4Addr>,

    /// Interface that the VIP is put on; it must not do ARP
    #[arg(long, default_value = "lo", value_name = "NAME")]
    interface: String,

    /// Where it is kept what was there before
    #[arg(long, default_value = DEFAULT_STATE_DIR, value_name = "DIR")]
    state_dir: PathBuf,
}

/// Runs the subcommand.
pub(super) fn main(args: &Args) -> ExitCode {
    let mut tell = |step: &Step| println!("{step}");
    let done = match &args.action {
        Action::Setup(common) => realserver::setup(&common.options(), &mut tell).map(|()| true),
        Action::Undo(common) => realserver::undo(&common.options(), &mut tell).map(|()| true),
        Action::Check(common) => check(&common.options()),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("directrix: {error}");
            ExitCode::FAILURE
        }
    }
}

/// True if nothing is wrong.
fn check(options: &Options) -> Result<bool, crate::io::IoError> {
    let findings = realserver::check(options)?;
    findings.iter().for_each(|finding| println!("{finding}"));
    Ok(findings.iter().all(|finding| finding.severity != Severity::Wrong))
}

impl Common {
    fn options(&self) -> Options {
        let mut vips = Vec::new();
        for vip in &self.vips {
            if !vips.contains(vip) {
                vips.push(*vip);
            }
        }
        Options { vips, interface: self.interface.clone(), state_dir: self.state_dir.clone() }
    }
}

fn vip(text: &str) -> Result<Ipv4Addr, String> {
    let remedy = "write an IPv4 address, as in 192.168.195.150";
    let address = text.parse().map_err(|_| remedy.to_owned())?;
    let flaw = match address {
        IpAddr::V4(vip) => match host_address(vip) {
            Ok(()) => return Ok(vip),
            Err(flaw) => format!("this is {flaw}"),
        },
        IpAddr::V6(_) => "IPv6 is not there yet".into(),
    };
    Err(format!("{flaw}; {remedy}"))
}
