//! Man pages of the commands, in section 8 (system administration) as ipvsadm and keepalived.

use super::roff_page::{Page, paragraph, section, source, table, verbatim};
use crate::cli::ipvsadm::HELP;
use crate::cli::socket::DEFAULT_SOCKET;
use clap_mangen::Man;
use roff::{Roff, bold, roman};
use std::{io, iter};

/// Generates a page for `program` and for each subcommand that is not hidden.
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
    let man = Man::new(command.clone()).section("8").source(source()).manual("directrix");
    let mut page = Vec::new();
    if name == "directrix-ipvsadm" {
        man.render_title(&mut page)?;
        man.render_name_section(&mut page)?;
        ipvsadm_sections().to_writer(&mut page)?;
    } else {
        own_page(&man, command, &mut page)?;
    }
    if name == "directrix" {
        program_sections().to_writer(&mut page)?;
    }
    see_also(&name).to_writer(&mut page)?;
    Ok((format!("{name}.8"), page))
}

/// Renders a page as clap_mangen does, with two changes. The synopsis has the options' values, and the text after
/// the options is divided into sections.
fn own_page(man: &Man, command: &clap::Command, page: &mut Vec<u8>) -> io::Result<()> {
    man.render_title(page)?;
    man.render_name_section(page)?;
    synopsis(command).to_writer(page)?;
    man.render_description_section(page)?;
    if command.get_arguments().any(|argument| !argument.is_hide_set()) {
        man.render_options_section(page)?;
    }
    if command.get_subcommands().any(|sub| !sub.is_hide_set()) {
        man.render_subcommands_section(page)?;
    }
    if let Some(help) = command.get_after_help() {
        after_help(&help.to_string()).to_writer(page)?;
    }
    Ok(())
}

fn synopsis(command: &clap::Command) -> Roff {
    let name = command.get_bin_name().unwrap_or_else(|| command.get_name());
    let options = command.get_opts().filter(|option| !option.is_hide_set());
    let words = options.map(option_word).chain(command.get_positionals().map(positional));
    let mut words: Vec<_> = words.collect();
    if command.has_subcommands() {
        words.push(if command.is_subcommand_required_set() { "COMMAND ..." } else { "[COMMAND ...]" }.into());
    }
    let mut page = Roff::new();
    section(&mut page, "SYNOPSIS");
    page.text([bold(name), roman(format!(" {}", words.join(" ")))]);
    page
}

/// "[--deadline SECONDS]"
fn option_word(option: &clap::Arg) -> String {
    let name = match (option.get_long(), option.get_short()) {
        (Some(long), _) => format!("--{long}"),
        (None, short) => format!("-{}", short.unwrap_or('?')),
    };
    let values =
        if option.get_action().takes_values() { option.get_value_names().unwrap_or_default() } else { &[] };
    let word = iter::once(name).chain(values.iter().map(ToString::to_string)).collect::<Vec<_>>().join(" ");
    if option.is_required_set() { word } else { format!("[{word}]") }
}

fn positional(argument: &clap::Arg) -> String {
    let names = argument.get_value_names().unwrap_or_default();
    let word = names.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    let word = if argument.is_last_set() { format!("-- {word}...") } else { word };
    if argument.is_required_set() { word } else { format!("[{word}]") }
}

/// Formats the text after the options: "Exit status:" and "Examples:" start sections, other lines stay unchanged.
fn after_help(text: &str) -> Roff {
    let mut page = Roff::new();
    let mut sections: Vec<(String, Vec<&str>)> = Vec::new();
    for line in text.lines() {
        let title = (!line.starts_with(' ')).then(|| line.split_once(':')).flatten();
        match (title, sections.last_mut()) {
            (Some((title @ ("Exit status" | "Examples"), rest)), _) => {
                sections.push((title.to_uppercase(), vec![rest.trim_start()]));
            }
            (_, Some((_, lines))) => lines.push(line),
            (_, None) => sections.push(("NOTES".into(), vec![line])),
        }
    }
    for (title, lines) in &sections {
        section(&mut page, title);
        verbatim(&mut page, lines.join("\n").trim_matches('\n'));
    }
    page
}

/// Sections of directrix-ipvsadm(8), whose grammar clap does not have.
fn ipvsadm_sections() -> Roff {
    let mut page = Roff::new();
    section(&mut page, "SYNOPSIS");
    page.text([bold("directrix ipvsadm"), roman(" [ARGUMENT]...")]);
    section(&mut page, "DESCRIPTION");
    paragraph(
        &mut page,
        "Lists and changes the services of a running director with the arguments of ipvsadm(8), and prints the same \
         output, byte for byte. The program does the same under the name ipvsadm: a link of that name to directrix \
         serves scripts on hosts without the package ipvsadm.",
    );
    section(&mut page, "GRAMMAR");
    verbatim(&mut page, HELP);
    section(&mut page, "EXIT STATUS");
    table(
        &mut page,
        &[
            ("0", "Done."),
            ("1", "The service to list does not exist."),
            ("2", "The arguments are wrong, or no director answers."),
            ("255", "Wrong usage, or the operation failed."),
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
            ("0", "Success; run: stopped by a signal."),
            ("1", "Failure; run: also where the host does not match the file, and waiting does not help."),
            ("2", "The file or the command line is wrong, on any host."),
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
            ("DIRECTRIX_SOCKET", "The control socket, if --socket is not given."),
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
    let others = ["directrix(8)", "directrix-ipvsadm(8)", "directrix.toml(5)", "ipvsadm(8)"];
    let others: Vec<_> = others.into_iter().filter(|other| *other != format!("{name}(8)")).collect();
    section(&mut page, "SEE ALSO");
    paragraph(&mut page, &others.join(", "));
    page
}
