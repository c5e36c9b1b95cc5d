//! Conversion of ipvsadm's rules, keepalived.conf, ldirectord.cf and IPVS's sysctls into a configuration of directrix.
//!
//! Text in, text out: this module opens no socket and changes nothing on the host. It stands on layer 3: it imports
//! only [`model`], `ipvsadm` and `popt`. Names of hosts and ports, and included files, come through [`Environment`].
//!
//! Three steps: the reader of a format makes a `Description`; `convert` turns it into keys that [`model::parse`]
//! accepts; `emit` writes them as TOML. A [`Notice`] with file and line reports each difference.

#![forbid(unsafe_code)]

mod check;
mod convert;
mod description;
mod draft;
mod emit;
mod environment;
mod identity;
mod ipvsadm;
mod keepalived;
mod ldirectord;
mod netmask;
mod notice;
mod sysctl;
#[cfg(test)]
mod tests;
mod validate;

pub use environment::{Environment, ThisHost};
pub(crate) use notice::excerpt;
pub use notice::{Notice, NoticeLevel};

use crate::model::{self, Diagnostic, Diagnostics};
use description::{At, Description, Place};
use draft::ConfigDraft;
use emit::InterfaceChoice;
use notice::{Notices, printable, syntax_error};
use std::fmt;
use std::path::Path;

/// A format that can be imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImportFormat {
    /// The output of `ipvsadm -S`, as in /etc/ipvsadm.rules.
    Ipvsadm,
    /// keepalived.conf(5).
    Keepalived,
    /// ldirectord.cf, as ldirectord(8) has it.
    Ldirectord,
    /// IPVS's sysctls in a sysctl.conf(5): only keys of `[director]`.
    Sysctl,
}

/// Input of an import, with its options.
#[derive(Clone, Copy, Debug)]
pub struct ImportSource<'a> {
    /// Path as given by the user; the directory of relative includes.
    pub file: &'a str,
    /// Content of the file.
    pub bytes: &'a [u8],
    /// `None`: recognized by the first line, or by any line of an IPVS sysctl or of a virtual of ldirectord.
    pub format: Option<ImportFormat>,
    /// Interface of the director; `None`: that of the file's VRRP instance.
    pub interface: Option<&'a str>,
    /// Also converts servers with masquerading or a tunnel, which the user prepares for direct routing.
    pub direct: bool,
    /// keepalived's `--config-id`; `None`: the host name.
    pub config_id: Option<&'a str>,
}

/// Result of an import.
#[derive(Clone, Debug)]
pub struct Import {
    /// Configuration that [`model::parse`] accepts.
    pub toml: String,
    /// Notices in the order of files and lines.
    pub notices: Vec<Notice>,
    /// Number of services in the configuration.
    pub services: usize,
    /// Number of real servers in all services.
    pub servers: usize,
}

/// Error of an import that yields no configuration.
#[derive(Clone, Debug)]
pub enum ImportError {
    /// Invalid input.
    BadInput(Diagnostics),
    /// No service can be converted, for these reasons.
    NothingLeft(Vec<Notice>),
}

impl fmt::Display for ImportError {
    /// One line for each reason.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadInput(errors) => errors.fmt(f),
            Self::NothingLeft(notices) => {
                let lines: Vec<_> = notices.iter().map(Notice::to_string).collect();
                f.write_str(&lines.join("\n"))
            }
        }
    }
}

impl std::error::Error for ImportError {}

impl From<Diagnostics> for ImportError {
    fn from(errors: Diagnostics) -> Self {
        Self::BadInput(errors)
    }
}

impl From<Diagnostic> for ImportError {
    fn from(error: Diagnostic) -> Self {
        Self::BadInput(error.into())
    }
}

/// Imports a file.
///
/// # Errors
/// See [`ImportError`].
pub fn import(source: &ImportSource<'_>, host: &dyn Environment) -> Result<Import, ImportError> {
    let text = String::from_utf8_lossy(source.bytes);
    let text = text.trim_start_matches('\u{feff}');
    let in_file = |error: Diagnostic| error.at(Place { file: printable(source.file).into(), line: 0 });
    if text.contains('\0') {
        return Err(in_file(syntax_error(NO_TEXT, NO_TEXT_REMEDY)).into());
    }
    let format = source.format.map_or_else(|| recognize(text).map_err(in_file), Ok)?;
    if let Some(error) = source.interface.and_then(validate::interface_error) {
        let what = printable(&format!("--{}", error.what));
        return Err(Diagnostic::new(error.kind, what).remedy(error.remedy).into());
    }
    let mut notices = Notices::default();
    let description = read(source, format, text, host, &mut notices)?;
    if description.services.is_empty() && description.switches.is_empty() && notices.is_empty() {
        return Err(in_file(nothing_in_it(format)).into());
    }
    let draft = convert::convert(&description, source.direct, &mut notices);
    if draft.is_empty() {
        return Err(ImportError::NothingLeft(notices.in_order()));
    }
    let interface = interface(source, &description, &mut notices);
    let toml = emit::config(&describe_source(source.file, format), &interface, &draft);
    finish(toml, &draft, notices)
}

fn nothing_in_it(format: ImportFormat) -> Diagnostic {
    match format {
        ImportFormat::Sysctl => {
            syntax_error("there is no sysctl of IPVS (net.ipv4.vs) in it", "give the output of \"sysctl -a\"")
        }
        ImportFormat::Ipvsadm | ImportFormat::Keepalived | ImportFormat::Ldirectord => {
            syntax_error("there is no virtual service in it", "")
        }
    }
}

const NO_TEXT: &str = "this is not text, so it is neither a keepalived configuration nor ipvsadm rules";
const NO_TEXT_REMEDY: &str = "give keepalived.conf, or the output of \"ipvsadm -S -n\"";

fn read(
    source: &ImportSource<'_>,
    format: ImportFormat,
    text: &str,
    host: &dyn Environment,
    notices: &mut Notices,
) -> Result<Description, Diagnostics> {
    match format {
        ImportFormat::Ipvsadm => ipvsadm::read(source.file, text, host, notices),
        ImportFormat::Keepalived => {
            let id = source.config_id.map(str::to_owned).or_else(|| host.name()).unwrap_or_default();
            keepalived::read(source.file, text, &id, host, notices)
        }
        ImportFormat::Ldirectord => ldirectord::read(source.file, text, host, notices),
        ImportFormat::Sysctl => sysctl::read(source.file, text, notices),
    }
}

/// Validates the whole configuration, and counts its services and servers.
fn finish(toml: String, draft: &ConfigDraft, mut notices: Notices) -> Result<Import, ImportError> {
    if let Err(errors) = model::parse(Path::new("the output"), &toml) {
        for error in errors.0 {
            let location = Place { file: "the output".into(), line: error.line() };
            notices.warn(&location, error.what, error.remedy);
        }
        return Err(ImportError::NothingLeft(notices.in_order()));
    }
    let live: Vec<_> = draft.services.iter().filter(|service| service.left_out.is_none()).collect();
    let servers = live.iter().flat_map(|service| &service.servers);
    let (services, servers) = (live.len(), servers.filter(|server| server.left_out.is_none()).count());
    Ok(Import { toml, notices: notices.in_order(), services, servers })
}

/// Interface in the output when neither the options nor the file name one.
const PLACEHOLDER: &str = "eth0";

/// Chooses the interface of the options, else that of the file, else a placeholder.
fn interface(source: &ImportSource<'_>, description: &Description, notices: &mut Notices) -> InterfaceChoice {
    if let Some(name) = source.interface {
        return InterfaceChoice { name: name.into(), origin: "set by --interface".into() };
    }
    match &description.interface {
        Some(At { location, value }) if validate::interface_error(value).is_none() => {
            InterfaceChoice { name: value.clone(), origin: format!("{location}: where VRRP held the VIPs") }
        }
        _ => {
            let location = Place { file: source.file.into(), line: 0 };
            let what = format!(
                "it does not name the interface of VIP traffic, so interface = \"{PLACEHOLDER}\" is a guess"
            );
            notices.note(&location, what, "give --interface NAME, or correct the line");
            InterfaceChoice {
                name: PLACEHOLDER.into(),
                origin: "a guess: write the interface where VIP traffic arrives".into(),
            }
        }
    }
}

fn describe_source(file: &str, format: ImportFormat) -> String {
    let kind = match format {
        ImportFormat::Ipvsadm => "rules of ipvsadm",
        ImportFormat::Keepalived => "a configuration of keepalived",
        ImportFormat::Ldirectord => "a configuration of ldirectord",
        ImportFormat::Sysctl => "sysctls of IPVS",
    };
    format!("{file}, {kind}")
}

/// Recognizes a format by the first line that is neither empty nor a comment, ldirectord.cf by any line of a virtual.
fn recognize(text: &str) -> Result<ImportFormat, Diagnostic> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let Some(first) = lines.into_iter().next() else {
        return Err(syntax_error("it is empty", "give the output of \"ipvsadm -S -n\", or keepalived.conf"));
    };
    let word = first.split([' ', '\t', '{']).next().unwrap_or_default();
    if (first.starts_with('-') && !sysctl::is_sysctl(first)) || ipvsadm::is_program(word) {
        return Ok(ImportFormat::Ipvsadm);
    }
    if sysctl::is_sysctl(first) || (first.contains('=') && sysctl::is_sysctl(text)) {
        return Ok(ImportFormat::Sysctl);
    }
    if keepalived::is_keyword(word) {
        return Ok(ImportFormat::Keepalived);
    }
    if ldirectord::is_ldirectord(text) {
        return Ok(ImportFormat::Ldirectord);
    }
    Err(unknown_format(first))
}

fn unknown_format(first: &str) -> Diagnostic {
    if first.starts_with("IP Virtual Server version") {
        syntax_error("this is a listing (ipvsadm -L)", "give the output of \"ipvsadm -S -n\"")
    } else if first.starts_with("[director]") || first.starts_with("[[service]]") {
        syntax_error("this is a configuration of directrix already", "use it as it is")
    } else {
        let first = excerpt(first);
        let what = format!(
            "\"{first}\" begins neither rules of ipvsadm nor a configuration of keepalived, and no line is a virtual of ldirectord or a sysctl of IPVS"
        );
        syntax_error(
            &what,
            "give --from ipvsadm, --from keepalived or --from ldirectord if it is one of these",
        )
    }
}
