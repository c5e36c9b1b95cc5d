//! `directrix realserver`: prepares and checks a real server.

use super::exe::exe;
use super::status::fail;
use crate::model::{Diagnostic, host_address};
use crate::realserver::{self, DEFAULT_STATE_DIR, RealServerOptions, SetupStep, Severity};
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;

/// The subcommand's arguments.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: RealserverCommand,
}

#[derive(Debug, clap::Subcommand)]
enum RealserverCommand {
    /// Put the VIP on lo and, for IPv4, suppress ARP for it (arp_ignore, arp_announce); idempotent
    Setup(SetupArgs),
    /// Check all settings that direct routing needs on this host; does not need root
    Check(CommonArgs),
    /// Restore the settings from before setup
    Undo(CommonArgs),
}

#[derive(Debug, clap::Args)]
struct SetupArgs {
    #[command(flatten)]
    common: CommonArgs,

    /// Also write and enable a systemd unit that repeats the setup at each boot; undo removes it
    #[arg(long, conflicts_with = "print")]
    persist: bool,

    /// Change nothing; print the unit, and the same setup as files for hosts without systemd
    #[arg(long)]
    print: bool,
}

#[derive(Debug, clap::Args)]
struct CommonArgs {
    /// Virtual IP address, IPv4 or IPv6; repeat the option for each VIP
    #[arg(long = "vip", required = true, value_name = "IP", value_parser = vip)]
    vips: Vec<IpAddr>,

    /// Interface that gets the VIP; it must not do ARP or neighbor discovery
    #[arg(long, default_value = "lo", value_name = "NAME")]
    interface: String,

    /// Directory for the saved original settings
    #[arg(long, default_value = DEFAULT_STATE_DIR, value_name = "DIR")]
    state_dir: PathBuf,

    /// Root directory whose etc/ is read and written, such as that of an image
    #[arg(long, default_value = "/", value_name = "DIR")]
    root: PathBuf,
}

/// Runs the subcommand.
pub(super) fn main(args: &Args) -> ExitCode {
    let mut report = |step: &SetupStep| println!("{step}");
    let done = match &args.command {
        RealserverCommand::Setup(setup) => setup.run(&mut report).map(|()| true),
        RealserverCommand::Undo(common) => realserver::undo(&common.options(), &mut report).map(|()| true),
        RealserverCommand::Check(common) => check(&common.options()),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => fail(&error),
    }
}

impl SetupArgs {
    fn run(&self, report: &mut dyn FnMut(&SetupStep)) -> Result<(), Diagnostic> {
        let (options, exe) = (self.common.options(), exe()?);
        if self.print {
            print!("{}", realserver::advice(&options, &exe));
            return Ok(());
        }
        realserver::setup(&options, self.persist.then_some(exe.as_path()), report)
    }
}

/// Prints the findings. Returns whether no setting is wrong.
fn check(options: &RealServerOptions) -> Result<bool, Diagnostic> {
    let findings = realserver::check(options)?;
    findings.iter().for_each(|finding| println!("{finding}"));
    Ok(findings.iter().all(|finding| finding.severity != Severity::Wrong))
}

impl CommonArgs {
    fn options(&self) -> RealServerOptions {
        let mut vips = Vec::new();
        for vip in &self.vips {
            if !vips.contains(vip) {
                vips.push(*vip);
            }
        }
        let (interface, state_dir, root) =
            (self.interface.clone(), self.state_dir.clone(), self.root.clone());
        RealServerOptions { vips, interface, state_dir, root }
    }
}

/// Parses a VIP.
///
/// # Errors
/// The text is no address that a host can have; the message gives a valid form.
pub(super) fn vip(text: &str) -> Result<IpAddr, String> {
    let remedy = "write an IP address, as in 192.168.195.150 or 2001:db8::80";
    let address: IpAddr = text.parse().map_err(|_| remedy.to_owned())?;
    host_address(address).map(|()| address).map_err(|flaw| format!("this is {flaw}; {remedy}"))
}
