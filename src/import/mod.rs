//! From ipvsadm's rules or keepalived's configuration to directrix's own.
//!
//! A file is read into a description of what it means; that is fitted to what directrix can do, as
//! the configuration's reader judges it; and the result is written as TOML. Whatever gets lost on
//! the way is told in remarks with file and line. What the host knows is asked through [`Host`].

#![forbid(unsafe_code)]

mod description;
mod fit;
mod host;
mod ipvsadm;
mod judge;
mod keepalived;
mod remark;
mod write;

pub use host::{Host, ThisHost};
pub(crate) use remark::excerpt;
pub use remark::{Fault, Grade, Remark};

use crate::model;
use description::{At, Description, Place};
use fit::Draft;
use remark::Remarks;
use std::fmt;
use std::path::Path;
use write::Interface;

/// A format that can be imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The output of `ipvsadm -S`, as in /etc/ipvsadm.rules.
    Ipvsadm,
    /// keepalived.conf(5).
    Keepalived,
}

/// What is to be imported, and how.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// The file as named by the user; relative includes are looked for beside it.
    pub file: &'a str,
    /// What is in it.
    pub bytes: &'a [u8],
    /// Its format; none to recognise it.
    pub format: Option<Format>,
    /// The director's interface; none to find it in the file.
    pub interface: Option<&'a str>,
    /// Whether servers that are reached by masquerading or a tunnel will be prepared for direct
    /// routing, and are carried over.
    pub direct: bool,
    /// keepalived's `--config-id`; none for the host's name.
    pub config_id: Option<&'a str>,
}

/// A configuration that was imported.
#[derive(Clone, Debug)]
pub struct Import {
    /// The text of the configuration, which [`model::parse`] takes.
    pub toml: String,
    /// What there is to say, file by file and line by line.
    pub remarks: Vec<Remark>,
    /// How many services the configuration has.
    pub services: usize,
    /// How many real servers they have.
    pub servers: usize,
}

/// Why there is no configuration.
#[derive(Clone, Debug)]
pub enum Failure {
    /// The input is not what it should be. Never empty.
    BadInput(Vec<Fault>),
    /// Nothing of it can be carried over, for these reasons.
    NothingLeft(Vec<Remark>),
}

impl fmt::Display for Failure {
    /// A line for each reason.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<_> = match self {
            Self::BadInput(faults) => faults.iter().map(Fault::to_string).collect(),
            Self::NothingLeft(remarks) => remarks.iter().map(Remark::to_string).collect(),
        };
        f.write_str(&lines.join("\n"))
    }
}

impl std::error::Error for Failure {}

/// Imports a file.
///
/// # Errors
/// See [`Failure`].
pub fn import(source: &Source<'_>, host: &dyn Host) -> Result<Import, Failure> {
    let text = String::from_utf8_lossy(source.bytes);
    let text = text.trim_start_matches('\u{feff}');
    let bad = |message: String| Failure::BadInput(vec![Fault::whole(message)]);
    if text.contains('\0') {
        return Err(bad(format!("{}: {NO_TEXT}", source.file)));
    }
    let format = source.format.map_or_else(|| recognise(source.file, text), Ok).map_err(bad)?;
    if let Some(refusal) = source.interface.and_then(judge::interface_refusal) {
        return Err(bad(format!("--{}; {}", refusal.what, refusal.remedy)));
    }
    let mut remarks = Remarks::default();
    let description = read(source, format, text, host, &mut remarks).map_err(Failure::BadInput)?;
    if description.services.is_empty() && remarks.is_empty() {
        return Err(bad(format!("{}: there is no virtual service in it", source.file)));
    }
    let draft = fit::fit(&description, source.direct, &mut remarks);
    if draft.services.iter().all(|service| service.left_out.is_some()) {
        return Err(Failure::NothingLeft(remarks.in_order()));
    }
    let interface = interface(source, &description, &mut remarks);
    let toml = write::write(&described(source.file, format), &interface, &draft);
    finish(toml, &draft, remarks)
}

const NO_TEXT: &str = "this is not text, so it is neither a keepalived configuration nor ipvsadm rules; \
                       give keepalived.conf, or the output of \"ipvsadm -S -n\"";

fn read(
    source: &Source<'_>,
    format: Format,
    text: &str,
    host: &dyn Host,
    remarks: &mut Remarks,
) -> Result<Description, Vec<Fault>> {
    match format {
        Format::Ipvsadm => ipvsadm::read(source.file, text, host, remarks),
        Format::Keepalived => {
            let id = source.config_id.map(str::to_owned).or_else(|| host.name()).unwrap_or_default();
            keepalived::read(source.file, text, &id, host, remarks)
        }
    }
}

/// The reader has the last word on the whole.
fn finish(toml: String, draft: &Draft, mut remarks: Remarks) -> Result<Import, Failure> {
    if let Err(errors) = model::parse(Path::new("the output"), &toml) {
        for error in errors.0 {
            let place = Place { file: "the output".into(), line: error.line() };
            remarks.lost(&place, error.what, error.remedy);
        }
        return Err(Failure::NothingLeft(remarks.in_order()));
    }
    let live: Vec<_> = draft.services.iter().filter(|service| service.left_out.is_none()).collect();
    let servers = live.iter().flat_map(|service| &service.servers);
    let (services, servers) = (live.len(), servers.filter(|server| server.left_out.is_none()).count());
    Ok(Import { toml, remarks: remarks.in_order(), services, servers })
}

/// Stands where nobody named an interface.
const PLACEHOLDER: &str = "eth0";

/// As the user says, as the file says, or a placeholder.
fn interface(source: &Source<'_>, description: &Description, remarks: &mut Remarks) -> Interface {
    if let Some(name) = source.interface {
        return Interface { name: name.into(), origin: "as --interface says".into() };
    }
    match &description.interface {
        Some(At { place, value }) if judge::interface_refusal(value).is_none() => {
            Interface { name: value.clone(), origin: format!("{place}: where VRRP held the VIPs") }
        }
        _ => {
            let place = Place { file: source.file.into(), line: 0 };
            let what = format!(
                "it does not say where VIP traffic arrives, so interface = \"{PLACEHOLDER}\" is a guess"
            );
            remarks.note(&place, what, "give --interface NAME, or correct the line");
            Interface {
                name: PLACEHOLDER.into(),
                origin: "a guess: write the interface where VIP traffic arrives".into(),
            }
        }
    }
}

fn described(file: &str, format: Format) -> String {
    let kind = match format {
        Format::Ipvsadm => "rules of ipvsadm",
        Format::Keepalived => "a configuration of keepalived",
    };
    format!("{file}, {kind}")
}

/// Whether a line begins a virtual service of ldirectord.cf(5).
fn is_of_ldirectord(text: &str) -> bool {
    text.lines().any(|line| line.split('=').next().is_some_and(|key| key.trim_end() == "virtual"))
}

/// Tells a format by the first line with something on it.
fn recognise(file: &str, text: &str) -> Result<Format, String> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let Some(first) = lines.into_iter().next() else {
        return Err(format!("{file}: it is empty; give the output of \"ipvsadm -S -n\", or keepalived.conf"));
    };
    let word = first.split([' ', '\t', '{']).next().unwrap_or_default();
    if first.starts_with('-') || ipvsadm::is_program(word) {
        return Ok(Format::Ipvsadm);
    }
    if keepalived::is_keyword(word) {
        return Ok(Format::Keepalived);
    }
    let first = excerpt(first);
    Err(match &first {
        _ if first.starts_with("IP Virtual Server version") => {
            format!("{file}: this is a listing (ipvsadm -L); give the output of \"ipvsadm -S -n\"")
        }
        _ if first.starts_with("[director]") || first.starts_with("[[service]]") => {
            format!("{file}: this is a configuration of directrix already; use it as it is")
        }
        _ if is_of_ldirectord(text) => format!(
            "{file}: this is a configuration of ldirectord; import the output of \"ipvsadm -S -n\" while it runs, \
             and let it call \"directrix ipvsadm\" from then on"
        ),
        _ => format!(
            "{file}: \"{first}\" begins neither rules of ipvsadm nor a configuration of keepalived; \
             say --from ipvsadm or --from keepalived if it is one"
        ),
    })
}
