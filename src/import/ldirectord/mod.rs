//! Reader of ldirectord.cf(8): virtual services, their servers and checks.

mod checks;
mod directives;
mod lines;
mod reader;
mod real;
mod service;

use super::description::Description;
use super::environment::Environment;
use super::notice::Notices;
use crate::model::{Diagnostic, Diagnostics};
use reader::ServiceReader;

/// Reads a file.
///
/// # Errors
/// Every line that ldirectord would not accept.
pub(super) fn read(
    file: &str,
    text: &str,
    host: &dyn Environment,
    notices: &mut Notices,
) -> Result<Description, Diagnostics> {
    let mut faults = Vec::new();
    let lines = lines::read(file, text, &mut faults);
    directives::check(&lines, notices, &mut faults);
    let (mut services, mut room) = (Vec::new(), service::COUNT_MAX);
    for of in &lines.services {
        let reader = ServiceReader { of, globals: &lines.globals, host };
        match reader.read(&mut room, notices) {
            Ok(service) => services.push(service),
            Err(errors) => faults.extend(errors),
        }
    }
    if faults.is_empty() {
        return Ok(Description { services, ..Description::default() });
    }
    faults.sort_by_key(Diagnostic::line);
    Err(Diagnostics(faults))
}

/// Whether a line begins a virtual service of ldirectord.cf.
pub(super) fn is_ldirectord(text: &str) -> bool {
    lines::is_ldirectord(text)
}
