//! Parts of a man page in roff.

use roff::{Roff, bold, roman};

/// File name and text of a page.
pub(super) type Page = (String, Vec<u8>);

/// Source field of the title line: the program and its version.
pub(super) fn source() -> String {
    format!("directrix {}", env!("CARGO_PKG_VERSION"))
}

/// Starts a section.
pub(super) fn section(page: &mut Roff, name: &str) {
    page.control("SH", [name]);
}

/// Adds a paragraph of filled text.
pub(super) fn paragraph(page: &mut Roff, text: &str) {
    page.control("PP", []);
    page.text([roman(text)]);
}

/// Adds text line by line, without filling.
pub(super) fn verbatim(page: &mut Roff, text: &str) {
    page.control("nf", []);
    for line in text.lines() {
        page.text([roman(line)]);
    }
    page.control("fi", []);
}

/// Adds a list of terms with their meanings.
pub(super) fn table(page: &mut Roff, rows: &[(&str, &str)]) {
    for (term, meaning) in rows {
        page.control("TP", []);
        page.text([bold(*term)]);
        page.text([roman(*meaning)]);
    }
}
