//! `directrix import`: converts ipvsadm's rules or keepalived's configuration.
//!
//! Exit statuses: 0 everything was converted, 1 something of importance was not, or the output
//! cannot be written, 2 the input or the arguments are wrong.

use super::output::{self, IfExists, print_all};
use super::status::{BAD_INPUT, fail};
use crate::import::{self, Import, ImportError, ImportFormat, ImportSource, Notice, NoticeLevel, ThisHost};
use crate::model::{read_file, read_input};
use anyhow::Context;
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
    directrix import /etc/keepalived/keepalived.conf --output directrix.toml")]
pub(super) struct Args {
    /// The output of "ipvsadm -S -n", or keepalived.conf; "-" or none: standard input
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
}

/// Runs the subcommand.
pub(super) fn main(args: &Args) -> ExitCode {
    if let Some(output) =
        args.output.as_ref().filter(|output| !args.force && output.symlink_metadata().is_ok())
    {
        let message = format!("{} exists; write --force to replace it", output.display());
        return fail(BAD_INPUT, &message);
    }
    let (name, bytes) = match input(args.file.as_deref()) {
        Ok(input) => input,
        Err(error) => return fail(BAD_INPUT, &format!("{error:#}")),
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
            fail(1, &format!("{name}: nothing of it can be carried over, so nothing is written"))
        }
        Err(error @ ImportError::BadInput(_)) => fail(BAD_INPUT, &error),
    }
}

/// Reads the input. Returns its name for messages, and its bytes.
fn input(file: Option<&Path>) -> anyhow::Result<(String, Vec<u8>)> {
    let Some(file) = file.filter(|file| *file != Path::new("-")) else {
        return Ok(("stdin".to_owned(), read_input(io::stdin().lock()).context("stdin")?));
    };
    let name = file.display().to_string();
    let bytes = read_file(file).with_context(|| name.clone())?;
    Ok((name, bytes))
}

fn deliver(import: &Import, args: &Args) -> ExitCode {
    let written = match &args.output {
        Some(output) => {
            let if_exists = if args.force { IfExists::Replace } else { IfExists::Refuse };
            let written = output::write(output, &import.toml, if_exists);
            written.with_context(|| format!("{} cannot be written", output.display()))
        }
        None => print_all(&import.toml).context("the configuration cannot be written"),
    };
    if let Err(error) = written {
        return fail(1, &format!("{error:#}"));
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
        }
    }
}
