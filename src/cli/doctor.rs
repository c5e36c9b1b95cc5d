//! `directrix doctor`: examines a host as a director or as a real server.

use super::output::print_all;
use super::realserver::vip;
use super::run::DEFAULT_CONFIG;
use super::status::{BAD_INPUT, fail, fail_with};
use crate::doctor::{self, DoctorReport};
use crate::model::{Config, Diagnostic, Diagnostics, parse};
use crate::realserver::{DEFAULT_STATE_DIR, RealServerOptions};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The arguments of `directrix doctor`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Nothing is changed. Without permission to examine something, its level is unknown.

Exit status:
  0  no finding is an error
  1  a finding is an error
  2  wrong usage, or the configuration file has errors

Examples:
  directrix doctor
  directrix doctor --interface eth0
  directrix doctor --fix > remedies.sh
  directrix doctor --role real-server --vip 192.168.195.150")]
pub(super) struct Args {
    /// Configuration file of the director [default: /etc/directrix/directrix.toml]
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Examine this interface for a director without a configuration file
    #[arg(long, value_name = "NAME", conflicts_with = "config")]
    interface: Option<String>,

    /// Role of this host
    #[arg(long, value_enum, default_value_t, value_name = "ROLE")]
    role: HostRole,

    /// VIP of a real server; repeat the option for each
    #[arg(long = "vip", value_name = "IP", value_parser = vip, required_if_eq("role", "real-server"))]
    vips: Vec<IpAddr>,

    /// Print the findings as JSON
    #[arg(long)]
    json: bool,

    /// Print a shell script of the remedies that are commands, and change nothing
    #[arg(long, conflicts_with = "json")]
    fix: bool,
}

/// Role of the host in direct routing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum HostRole {
    /// It runs a director, or will
    #[default]
    Director,
    /// It serves a VIP
    RealServer,
}

/// Runs the subcommand. A director that listens at `socket` is examined as well.
pub(super) fn main(args: &Args, socket: &Path) -> ExitCode {
    let report = match args.role {
        HostRole::Director => match args.director_config() {
            Ok(config) => doctor::director(&config, Some(socket)),
            Err(errors) => return fail_with(BAD_INPUT, &errors),
        },
        HostRole::RealServer => match doctor::real_server(&args.real_server_options()) {
            Ok(report) => report,
            Err(error) => return fail(&error),
        },
    };
    match print_all(&args.text(&report)) {
        Err(error) => fail(&error),
        Ok(()) if report.has_errors() => ExitCode::FAILURE,
        Ok(()) => ExitCode::SUCCESS,
    }
}

impl Args {
    fn director_config(&self) -> Result<Config, Diagnostics> {
        if !self.vips.is_empty() {
            let error = Diagnostic::invalid_argument("--vip is for --role real-server");
            return Err(error.remedy("a director's VIPs are those of its configuration file").into());
        }
        match (&self.interface, &self.config) {
            (Some(name), _) => of_interface(name),
            (None, Some(file)) => Config::load(file),
            (None, None) => Config::load(Path::new(DEFAULT_CONFIG)),
        }
    }

    fn real_server_options(&self) -> RealServerOptions {
        let interface = self.interface.clone().unwrap_or_else(|| "lo".into());
        RealServerOptions {
            vips: self.vips.clone(),
            interface,
            state_dir: DEFAULT_STATE_DIR.into(),
            root: "/".into(),
        }
    }

    fn text(&self, report: &DoctorReport) -> String {
        match (self.json, self.fix) {
            (true, _) => serde_json::to_string_pretty(report).expect("a report is plain data") + "\n",
            (_, true) => report.script(),
            _ => report.to_string(),
        }
    }
}

/// A configuration without services.
fn of_interface(name: &str) -> Result<Config, Diagnostics> {
    parse(Path::new("--interface"), &format!("[director]\ninterface = {name:?}\n"))
}
