//! From lines to entries: words, and the block that follows them in braces.

use super::lines::Line;
use crate::import::description::Place;
use crate::import::remark::{Fault, excerpt};

/// Blocks within blocks. keepalived has no use for more than five.
const DEPTH_MAX: usize = 32;

/// A keyword with its values, and what stands in its braces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) place: Place,
    /// The keyword first; never empty.
    pub(super) words: Vec<String>,
    /// None without braces.
    pub(super) block: Option<Vec<Entry>>,
}

impl Entry {
    pub(super) fn keyword(&self) -> &str {
        self.words.first().map_or("", String::as_str)
    }

    /// The value after the keyword.
    pub(super) fn value(&self) -> Option<&str> {
        self.words.get(1).map(String::as_str)
    }

    /// What its block holds.
    pub(super) fn entries(&self) -> &[Entry] {
        self.block.as_deref().unwrap_or_default()
    }
}

/// Reads all lines.
///
/// # Errors
/// Braces that do not fit together, a quote without an end.
pub(super) fn read(lines: &[Line]) -> Result<Vec<Entry>, Fault> {
    let mut tree = Tree { open: vec![Vec::new()], headings: Vec::new() };
    for line in lines {
        let (words, fault) = (&mut Vec::new(), |what: &str| Fault::at(&line.place, what));
        for piece in pieces(&line.text).map_err(fault)? {
            match piece {
                Piece::Word(word) => words.push(word),
                Piece::Open => {
                    tree.entry(&line.place, words);
                    tree.open().map_err(fault)?;
                }
                Piece::Close => {
                    tree.entry(&line.place, words);
                    tree.close().map_err(fault)?;
                }
            }
        }
        tree.entry(&line.place, words);
    }
    tree.finish()
}

struct Tree {
    /// The file's entries, then those of each open block.
    open: Vec<Vec<Entry>>,
    /// What each open block belongs to.
    headings: Vec<Entry>,
}

impl Tree {
    fn entry(&mut self, place: &Place, words: &mut Vec<String>) {
        let words = std::mem::take(words);
        if let (false, Some(entries)) = (words.is_empty(), self.open.last_mut()) {
            entries.push(Entry { place: place.clone(), words, block: None });
        }
    }

    /// The block belongs to the entry before it, which may stand on an earlier line.
    fn open(&mut self) -> Result<(), &'static str> {
        if self.headings.len() == DEPTH_MAX {
            return Err("blocks stand in one another more than 32 deep; is a \"}\" missing above?");
        }
        let heading = self.open.last_mut().and_then(Vec::pop).filter(|entry| entry.block.is_none());
        self.headings.push(heading.ok_or("\"{\" follows no keyword; remove it, or write one before it")?);
        self.open.push(Vec::new());
        Ok(())
    }

    fn close(&mut self) -> Result<(), &'static str> {
        let mut heading = self.headings.pop().ok_or("\"}\" closes nothing; remove it")?;
        heading.block = self.open.pop();
        if let Some(entries) = self.open.last_mut() {
            entries.push(heading);
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Vec<Entry>, Fault> {
        match self.headings.last() {
            Some(heading) => {
                let keyword = excerpt(heading.keyword());
                let what = format!("the block of {keyword} has no \"}}\"; add one where it ends");
                Err(Fault::at(&heading.place, what))
            }
            None => Ok(self.open.pop().unwrap_or_default()),
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Piece {
    Word(String),
    Open,
    Close,
}

/// Words end at a space, a brace or a quote. What stands in double quotes is one word. The braces
/// of a parameter that is not known belong to its word.
fn pieces(text: &str) -> Result<Vec<Piece>, &'static str> {
    let (mut pieces, mut rest) = (Vec::new(), text.trim_start());
    while let Some(first) = rest.chars().next() {
        let (piece, after) = match first {
            '{' => (Piece::Open, &rest[1..]),
            '}' => (Piece::Close, &rest[1..]),
            '"' => {
                let (word, after) =
                    rest[1..].split_once('"').ok_or("a quote has no end; add the second \"")?;
                (Piece::Word(word.to_owned()), after)
            }
            _ => {
                let (word, after) = rest.split_at(word_length(rest));
                (Piece::Word(word.to_owned()), after)
            }
        };
        pieces.push(piece);
        rest = after.trim_start();
    }
    Ok(pieces)
}

fn word_length(text: &str) -> usize {
    let (mut parameter, mut dollar) = (false, false);
    for (at, letter) in text.char_indices() {
        match letter {
            '{' if dollar => parameter = true,
            '}' if parameter => parameter = false,
            '{' | '}' | '"' => return at,
            _ if letter.is_whitespace() => return at,
            _ => {}
        }
        dollar = letter == '$';
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<Line> {
        let place = |line| Place { file: "k".into(), line };
        (1..)
            .zip(text.lines())
            .map(|(line, text)| Line { place: place(line), text: text.to_owned() })
            .collect()
    }

    /// Entries with their lines, blocks in parentheses.
    fn shown(entries: &[Entry]) -> String {
        let entries = entries.iter().map(|entry| {
            let block = entry.block.as_ref().map(|block| format!("({})", shown(block))).unwrap_or_default();
            format!("{}:{}{block}", entry.place.line, entry.words.join("_"))
        });
        entries.collect::<Vec<_>>().join(" ")
    }

    fn read_shown(text: &str) -> String {
        read(&lines(text)).map_or_else(|fault| fault.to_string(), |entries| shown(&entries))
    }

    #[test]
    fn braces_make_blocks_wherever_they_stand() {
        for (text, expected) in [
            ("a b {\nc d\n}\ne", "1:a_b(2:c_d) 4:e"),
            ("a\n{\nb\n}", "1:a(3:b)"),
            ("a{b{c}d}e", "1:a(1:b(1:c) 1:d) 1:e"),
            ("TCP_CHECK { connect_timeout 3 }", "1:TCP_CHECK(1:connect_timeout_3)"),
            ("a { }", "1:a()"),
            ("a \"b { c\" d", "1:a_b { c_d"),
            ("a b\"c d\"e", "1:a_b_c d_e"),
            ("a ${X}.1 {\n}", "1:a_${X}.1()"),
            ("a \"\"", "1:a_"),
            ("", ""),
        ] {
            assert_eq!(read_shown(text), expected, "{text}");
        }
    }

    #[test]
    fn braces_that_do_not_fit_are_named() {
        for (text, expected) in [
            ("a {\nb {\nc\n}", "k:1: the block of a has no \"}\"; add one where it ends"),
            ("a {\n}\n}", "k:3: \"}\" closes nothing; remove it"),
            ("\n{\n}", "k:2: \"{\" follows no keyword; remove it, or write one before it"),
            ("a { } {", "k:1: \"{\" follows no keyword; remove it, or write one before it"),
            ("a\nb \"c", "k:2: a quote has no end; add the second \""),
        ] {
            assert_eq!(read_shown(text), expected, "{text}");
        }
    }

    #[test]
    fn deep_blocks_are_refused_before_they_use_up_the_stack() {
        let deep = read_shown(&"a {\n".repeat(1_000_000));
        assert_eq!(deep, "k:33: blocks stand in one another more than 32 deep; is a \"}\" missing above?");
    }
}
