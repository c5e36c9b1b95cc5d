//! `directrix import`: converts ipvsadm's rules, the configuration of keepalived or ldirectord, or IPVS's sysctls.
//!
//! Exit statuses: 0 everything was converted, 1 something of importance was not, or the output
//! cannot be written, 2 the input or the arguments are wrong.

use super::input;
use super::output::{self, IfExists, print_all};
use super::status::{BAD_INPUT, fail, fail_with};
use crate::import::{self, Import, ImportError, ImportFormat, ImportSource, Notice, NoticeLevel, ThisHost};
use crate::model::{Diagnostic, DiagnosticKind};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The arguments of `directrix import`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Exit status:
  0  everything was converted
  1  something of importance was not (see stderr), or nothing could be written
  2  the input or the arguments are wrong; nothing was written

Examples:
    ipvsadm -S -n | directrix import --interface eth0 > directrix.toml
    directrix import /etc/keepalived/keepalived.conf --output directrix.toml
    directrix import /etc/ha.d/ldirectord.cf --output directrix.toml")]
pub(super) struct Args {
    /// The output of "ipvsadm -S -n", keepalived.conf, ldirectord.cf, or sysctl.conf with net.ipv4.vs.*; "-" or none: standard input
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,

    /// Input format [default: autodetect]
    #[arg(long, value_enum, value_name = "FORMAT")]
    from: Option<InputFormat>,

    /// Interface where VIP traffic arrives
    #[arg(long, value_name = "NAME")]
    interface: Option<String>,

    /// Also convert servers with masquerading or a tunnel; each must be prepared for direct routing
    #[arg(long)]
    direct: bool,

    /// Select "@" lines of keepalived.conf, as keepalived's --config-id does [default: host name]
    #[arg(long, value_name = "ID")]
    config_id: Option<String>,

    /// Write to a file instead of standard output
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Replace an existing output file
    #[arg(long, requires = "output")]
    force: bool,
}

/// The names of [`ImportFormat`] on the command line.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum InputFormat {
    /// Rules in the format of `ipvsadm -S`
    Ipvsadm,
    /// keepalived.conf
    Keepalived,
    /// ldirectord.cf
    Ldirectord,
    /// sysctl.conf with lines of net.ipv4.vs
    Sysctl,
}

/// Runs the subcommand.
pub(super) fn main(args: &Args) -> ExitCode {
    if let Some(output) =
        args.output.as_ref().filter(|output| !args.force && output.symlink_metadata().is_ok())
    {
        let exists = Diagnostic::invalid_argument(format!("{} exists", output.display()));
        return fail(&exists.remedy("write --force to replace it"));
    }
    let file = args.file.as_deref().unwrap_or(Path::new("-"));
    let (name, bytes) = match input::read(file) {
        Ok((name, bytes)) => (name.display().to_string(), bytes),
        Err(error) => return fail_with(BAD_INPUT, &error.into()),
    };
    let source = ImportSource {
        file: &name,
        bytes: &bytes,
        format: args.from.map(ImportFormat::from),
        interface: args.interface.as_deref(),
        direct: args.direct,
        config_id: args.config_id.as_deref(),
    };
    match import::import(&source, &ThisHost) {
        Ok(import) => deliver(&import, args),
        Err(ImportError::NothingLeft(notices)) => {
            print_notices(&notices);
            let what = "nothing of it can be carried over, so nothing is written";
            fail(&Diagnostic::new(DiagnosticKind::InvalidRules, what).in_file(Path::new(&name)))
        }
        Err(ImportError::BadInput(errors)) => fail_with(BAD_INPUT, &errors),
    }
}

fn deliver(import: &Import, args: &Args) -> ExitCode {
    let written = match &args.output {
        Some(output) => {
            let if_exists = if args.force { IfExists::Replace } else { IfExists::Refuse };
            output::write_file(output, &import.toml, if_exists)
        }
        None => print_all(&import.toml),
    };
    if let Err(error) = written {
        return fail(&error);
    }
    print_notices(&import.notices);
    let warnings = import.notices.iter().filter(|notice| notice.level() == NoticeLevel::Warning).count();
    let services = counted(import.services, "service");
    let servers = counted(import.servers, "real server");
    let result = match warnings {
        0 => "all is carried over".into(),
        warnings => format!("{} not carried over", counted(warnings, "thing")),
    };
    let _ = writeln!(io::stderr(), "directrix: {services} with {servers} written; {result}");
    ExitCode::from(u8::from(warnings > 0))
}

/// "1 service", "2 services"
fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

fn print_notices(notices: &[Notice]) {
    let mut stderr = io::stderr().lock();
    for notice in notices {
        let _ = writeln!(stderr, "{notice}");
    }
}

impl From<InputFormat> for ImportFormat {
    fn from(format: InputFormat) -> Self {
        match format {
            InputFormat::Ipvsadm => Self::Ipvsadm,
            InputFormat::Keepalived => Self::Keepalived,
            InputFormat::Ldirectord => Self::Ldirectord,
            InputFormat::Sysctl => Self::Sysctl,
        }
    }
}
