//! The man pages of the commands.

use crate::cli::{DEFAULT_SOCKET, ipvsadm};
use clap_mangen::Man;
use roff::{Roff, bold, roman};
use std::io;

/// A page's file name, and the page.
pub(super) type Page = (String, Vec<u8>);

/// A page for `program` and for each of its subcommands that are not hidden.
pub(super) fn of(program: clap::Command) -> io::Result<Vec<Page>> {
    let mut program = program.disable_help_subcommand(true);
    program.build();
    let mut pages = Vec::new();
    add(&program, &mut pages)?;
    Ok(pages)
}

fn add(command: &clap::Command, pages: &mut Vec<Page>) -> io::Result<()> {
    pages.push(page(command)?);
    command.get_subcommands().filter(|sub| !sub.is_hide_set()).try_for_each(|sub| add(sub, pages))
}

fn page(command: &clap::Command) -> io::Result<Page> {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned();
    let man = Man::new(command.clone()).source(source()).manual("directrix");
    let mut page = Vec::new();
    if name == "directrix-ipvsadm" {
        man.render_title(&mut page)?;
        man.render_name_section(&mut page)?;
        ipvsadm_sections().to_writer(&mut page)?;
    } else {
        man.render(&mut page)?;
    }
    if name == "directrix" {
        program_sections().to_writer(&mut page)?;
    }
    see_also(&name).to_writer(&mut page)?;
    Ok((format!("{name}.1"), page))
}

pub(super) fn source() -> String {
    format!("directrix {}", env!("CARGO_PKG_VERSION"))
}

/// What no clap command knows: the grammar is popt's, and says itself what it is.
fn ipvsadm_sections() -> Roff {
    let mut page = Roff::new();
    section(&mut page, "SYNOPSIS");
    page.text([bold("directrix ipvsadm"), roman(" [ARGUMENT]...")]);
    section(&mut page, "DESCRIPTION");
    paragraph(
        &mut page,
        "Speaks ipvsadm's grammar to a running director, and prints what ipvsadm(8) prints, byte for byte. A program \
         that is called ipvsadm does the same: a link of that name to directrix serves scripts, where the package \
         ipvsadm is not installed.",
    );
    section(&mut page, "GRAMMAR");
    verbatim(&mut page, ipvsadm::HELP);
    section(&mut page, "EXIT STATUS");
    table(
        &mut page,
        &[
            ("0", "Done."),
            ("1", "The service that was to be listed is not there."),
            ("2", "The arguments are wrong, or no director answers."),
            ("255", "Usage, or the operation failed."),
        ],
    );
    page
}

fn program_sections() -> Roff {
    let mut page = Roff::new();
    section(&mut page, "EXIT STATUS");
    table(
        &mut page,
        &[
            ("0", "Done; run: told to stop."),
            (
                "1",
                "It failed; run: also where the host is not as the file wants it, and waiting does not help.",
            ),
            ("2", "The input was wrong: the file or the command line, on any host."),
        ],
    );
    section(&mut page, "FILES");
    table(
        &mut page,
        &[
            ("/etc/directrix/directrix.toml", "The configuration: see directrix.toml(5)."),
            (DEFAULT_SOCKET, "The control socket of a running director."),
        ],
    );
    section(&mut page, "ENVIRONMENT");
    table(
        &mut page,
        &[
            ("DIRECTRIX_SOCKET", "The control socket, where --socket is not given."),
            (
                "RUST_LOG",
                "Log level of run: error, warn, info (the default) or debug. Libraries log warnings at most unless named, as in debug,aya=debug.",
            ),
        ],
    );
    page
}

fn see_also(name: &str) -> Roff {
    let mut page = Roff::new();
    let others = ["directrix(1)", "directrix-ipvsadm(1)", "directrix.toml(5)", "ipvsadm(8)"];
    let others: Vec<_> = others.into_iter().filter(|other| *other != format!("{name}(1)")).collect();
    section(&mut page, "SEE ALSO");
    paragraph(&mut page, &others.join(", "));
    page
}

pub(super) fn section(page: &mut Roff, name: &str) {
    page.control("SH", [name]);
}

pub(super) fn paragraph(page: &mut Roff, text: &str) {
    page.control("PP", []);
    page.text([roman(text)]);
}

/// As it stands, line by line.
pub(super) fn verbatim(page: &mut Roff, text: &str) {
    page.control("nf", []);
    for line in text.lines() {
        page.text([roman(line)]);
    }
    page.control("fi", []);
}

fn table(page: &mut Roff, rows: &[(&str, &str)]) {
    for (term, meaning) in rows {
        page.control("TP", []);
        page.text([bold(*term)]);
        page.text([roman(*meaning)]);
    }
}
