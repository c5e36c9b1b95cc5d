//! Reader of tests/golden/sync.

use std::fs;
use std::path::{Path, PathBuf};

/// Section of the transcript: `--- NAME: TEXT`, and its lines.
pub struct Section<'a> {
    pub name: &'a str,
    pub lines: Vec<&'a str>,
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/sync")
}

pub fn transcript() -> String {
    fs::read_to_string(directory().join("transcript-6.1")).expect("the transcript is there")
}

/// The sections of a part of the transcript, which begins with `=== PART.`.
pub fn sections(transcript: &str, part: u8) -> Vec<Section<'_>> {
    let begin = format!("=== {part}. ");
    let lines = transcript.lines().skip_while(|line| !line.starts_with(&begin)).skip(1);
    let mut sections: Vec<Section<'_>> = Vec::new();
    for line in lines.take_while(|line| !line.starts_with("=== ")) {
        match (line.strip_prefix("--- "), sections.last_mut()) {
            (Some(title), _) => {
                let name = title.split_once(": ").map_or(title, |(name, _)| name);
                sections.push(Section { name, lines: Vec::new() });
            }
            (None, Some(section)) => section.lines.push(line),
            (None, None) => {}
        }
    }
    sections
}

/// Names of the files whose name begins so, in order.
pub fn names(begin: &str) -> Vec<String> {
    let files = fs::read_dir(directory()).expect("the directory can be listed");
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| name.starts_with(begin)).collect();
    names.sort();
    names
}

pub fn message(name: &str) -> Vec<u8> {
    let text = fs::read_to_string(directory().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    let digits = text.lines().filter(|line| !line.starts_with('#')).flat_map(str::split_whitespace);
    digits.map(|digits| u8::from_str_radix(digits, 16).expect("hexadecimal")).collect()
}
