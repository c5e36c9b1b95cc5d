//! The rules of the project's prose: plain technical English in comments, texts and documents. The words of the
//! project are in docs/glossary.md.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use support::rust::{Piece, functions, pieces};

/// Words that make a person of the code, or leave a sentence without its noun.
const RULED_OUT: [&str; 14] = [
    "who",
    "whom",
    "whoever",
    "whomever",
    "whichever",
    "nobody",
    "somebody",
    "anybody",
    "everybody",
    "someone",
    "anyone",
    "stranger",
    "strangers",
    "those that",
];

/// Openings that put a question in the place of the thing that is documented.
const OPENINGS: [&str; 7] = ["What", "Who", "Whose", "Whom", "Where", "How", "Why"];

const FIRST_SENTENCE_WORDS_MAX: usize = 25;
const TEST_NAME_MAX: usize = 60;

/// Places that may have a ruled-out word, with the text around it.
const ALLOWED: [(&str, &str); 0] = [];

/// A stretch of prose.
struct Prose {
    /// Of the file and its first line: "src/time.rs:12".
    place: String,
    kind: Kind,
    text: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    /// Of an item or a module.
    Doc,
    Comment,
    /// A text in the code: messages, help, log events.
    Text,
    Document,
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The files below a directory whose name ends so, from the repository's root on.
fn files(directory: &str, ends: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![repository().join(directory)];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory).expect("a directory of the repository") {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().expect("names are UTF-8").to_owned();
            if path.is_dir() && !matches!(name.as_str(), "target" | "corpus" | "artifacts") {
                open.push(path);
            } else if ends.iter().any(|end| name.ends_with(end)) {
                found.push(path.strip_prefix(repository()).unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

fn read(path: &Path) -> String {
    fs::read_to_string(repository().join(path)).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Rust's and C's comments and texts. Lines of comments of one kind are one stretch.
fn of_source(path: &Path) -> Vec<Prose> {
    let mut found: Vec<Prose> = Vec::new();
    let mut comment_ended = 0;
    for (line, piece) in pieces(&read(path)) {
        let (kind, text) = match piece {
            Piece::Code(_) => continue,
            Piece::Text(text) => (Kind::Text, text),
            Piece::Comment(text) => comment(text),
        };
        let goes_on = kind != Kind::Text && comment_ended + 1 == line;
        match found.last_mut() {
            Some(last) if goes_on && last.kind == kind => {
                last.text = format!("{} {}", last.text, text.trim())
            }
            _ => found.push(Prose {
                place: format!("{}:{line}", path.display()),
                kind,
                text: text.trim().to_owned(),
            }),
        }
        comment_ended = if kind == Kind::Text { 0 } else { line + piece.text().matches('\n').count() };
    }
    found
}

fn comment(text: &str) -> (Kind, &str) {
    for mark in ["///", "//!"] {
        if let Some(text) = text.strip_prefix(mark).filter(|text| !text.starts_with('/')) {
            return (Kind::Doc, text);
        }
    }
    (Kind::Comment, text.trim_start_matches(['/', '*']).trim_end_matches(['/', '*']))
}

/// Lines of scripts and documents, each a stretch of its own. Of a script only the comments count.
fn of_lines(path: &Path, mark: Option<&str>) -> Vec<Prose> {
    let text = read(path);
    let mut fenced = false;
    let lines = text.lines().enumerate().filter_map(|(index, line)| {
        fenced ^= line.trim_start().starts_with("```");
        let text = match mark {
            None if fenced => return None,
            Some(mark) => line.trim_start().strip_prefix(mark)?,
            None => line,
        };
        Some((index + 1, text.to_owned()))
    });
    let (place, kind) = (path.display(), if mark.is_some() { Kind::Comment } else { Kind::Document });
    lines.map(|(line, text)| Prose { place: format!("{place}:{line}"), kind, text }).collect()
}

fn sources() -> Vec<PathBuf> {
    ["src", "tests", "bench"].iter().flat_map(|directory| files(directory, &[".rs", ".c", ".h"])).collect()
}

fn documents() -> Vec<PathBuf> {
    let root = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"].map(PathBuf::from);
    // The glossary also has the words that are not used.
    let others = files("docs", &[".md"]).into_iter().filter(|path| !path.ends_with("glossary.md"));
    root.into_iter().chain(others).collect()
}

fn scripts() -> Vec<PathBuf> {
    let all = files("tools", &[""]);
    let text = |path: &PathBuf| fs::read_to_string(repository().join(path)).is_ok();
    all.into_iter().filter(text).collect()
}

/// The text without code between backticks.
fn without_code(text: &str) -> String {
    text.split('`').step_by(2).collect::<Vec<_>>().join(" ")
}

/// Words in lower case, with a space at each side of every one.
fn spaced(text: &str) -> String {
    let words = text.split(|c: char| !c.is_alphanumeric() && c != '\'' && c != '_');
    let words: Vec<_> = words.filter(|word| !word.is_empty()).collect();
    format!(" {} ", words.join(" ").to_lowercase())
}

fn ruled_out(text: &str) -> Option<&'static str> {
    let text = spaced(&without_code(text));
    RULED_OUT.into_iter().find(|word| text.contains(&format!(" {word} ")))
}

fn first_word(text: &str) -> &str {
    text.split(|c: char| !c.is_alphabetic()).next().unwrap_or_default()
}

fn first_sentence(text: &str) -> &str {
    let end = text
        .match_indices(['.', ':', ';', '!', '?'])
        .find(|&(at, _)| text[at + 1..].starts_with(char::is_whitespace) || at + 1 == text.len());
    end.map_or(text, |(at, _)| &text[..at])
}

fn report(rule: &str, wrong: &[String]) {
    assert!(wrong.is_empty(), "{rule}: {} places\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn prose_has_no_ruled_out_words() {
    let of_sources = sources().into_iter().flat_map(|path| {
        // Texts of tests may be anything: input, transcripts of other programs.
        let texts = path.starts_with("src");
        of_source(&path).into_iter().filter(move |prose| texts || prose.kind != Kind::Text)
    });
    let of_scripts = scripts().into_iter().flat_map(|path| of_lines(&path, Some("#")));
    let of_documents = documents().into_iter().flat_map(|path| of_lines(&path, None));
    let all: Vec<_> = of_sources.chain(of_scripts).chain(of_documents).collect();
    assert!(all.len() > 8_000, "only {} stretches of prose were found: the search is broken", all.len());
    let allowed = |prose: &Prose| {
        ALLOWED.iter().any(|(file, text)| prose.place.starts_with(file) && prose.text.contains(text))
    };
    let wrong: Vec<_> = all
        .iter()
        .filter(|prose| !allowed(prose))
        .filter_map(|prose| {
            ruled_out(&prose.text).map(|word| format!("{}: \"{word}\": {}", prose.place, prose.text))
        })
        .collect();
    report("words that docs/glossary.md and CONTRIBUTING.md rule out", &wrong);
}

#[test]
fn documentation_opens_with_the_thing() {
    let docs: Vec<_> =
        sources().iter().flat_map(|path| of_source(path)).filter(|prose| prose.kind == Kind::Doc).collect();
    assert!(docs.len() > 4_000, "only {} comments were found: the search is broken", docs.len());
    let question = |prose: &&Prose| OPENINGS.contains(&first_word(&prose.text));
    let wrong: Vec<_> =
        docs.iter().filter(question).map(|prose| format!("{}: {}", prose.place, prose.text)).collect();
    report("documentation that opens with a question word instead of the thing", &wrong);
}

#[test]
fn first_sentences_of_documentation_are_short() {
    let docs =
        sources().into_iter().flat_map(|path| of_source(&path)).filter(|prose| prose.kind == Kind::Doc);
    let long = docs
        .filter(|prose| first_sentence(&prose.text).split_whitespace().count() > FIRST_SENTENCE_WORDS_MAX);
    let wrong: Vec<_> =
        long.map(|prose| format!("{}: {}", prose.place, first_sentence(&prose.text))).collect();
    report("first sentences with more than 25 words", &wrong);
}

#[test]
fn test_names_are_short() {
    let mut wrong = Vec::new();
    for path in sources().iter().filter(|path| path.extension().is_some_and(|extension| extension == "rs")) {
        let long = functions(&read(path)).into_iter().filter(|(_, name, _)| name.len() > TEST_NAME_MAX);
        wrong.extend(long.map(|(line, name, _)| format!("{}:{line}: {name}", path.display())));
    }
    report("names of functions and tests with more than 60 characters", &wrong);
}

mod the_reader {
    use super::*;

    #[test]
    fn finds_words_by_their_bounds() {
        assert_eq!(ruled_out("The client, who asks"), Some("who"));
        assert_eq!(ruled_out("Whoever writes"), Some("whoever"));
        assert_eq!(ruled_out("of those that\nare"), Some("those that"));
        assert_eq!(ruled_out("the whole, and whose"), None);
        assert_eq!(ruled_out("the user `nobody`, or `who`"), None);
        assert_eq!(ruled_out("the `user` nobody"), Some("nobody"));
    }

    #[test]
    fn tells_sentences_and_openings() {
        assert_eq!(first_sentence("Looks up 1.5 keys. Then"), "Looks up 1.5 keys");
        assert_eq!(first_word("What's there"), "What");
        assert_eq!(first_word("`Whose`"), "");
    }

    #[test]
    fn joins_the_lines_of_a_comment() {
        let path = Path::new("tests/prose.rs");
        let all = of_source(path);
        assert!(all[0].text.ends_with("are in docs/glossary.md."), "{}", all[0].text);
        assert!(all.iter().any(|prose| prose.kind == Kind::Text && prose.text == "\"whomever\""));
    }
}
