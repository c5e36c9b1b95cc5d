//! Parser of statements: words, and the block in braces after them.

use super::preprocess::Line;
use crate::import::description::Place;
use crate::import::notice::{excerpt, syntax_error};
use crate::model::Diagnostic;

/// Nesting depth of blocks; keepalived uses five.
const DEPTH_MAX: usize = 32;

/// A keyword with its values and its block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Statement {
    pub(super) location: Place,
    /// The keyword first; never empty.
    pub(super) words: Vec<String>,
    /// `None` without braces.
    pub(super) block: Option<Vec<Statement>>,
}

impl Statement {
    pub(super) fn keyword(&self) -> &str {
        self.words.first().map_or("", String::as_str)
    }

    /// Returns the first value.
    pub(super) fn value(&self) -> Option<&str> {
        self.words.get(1).map(String::as_str)
    }

    /// Returns the statements of the block.
    pub(super) fn statements(&self) -> &[Statement] {
        self.block.as_deref().unwrap_or_default()
    }
}

/// Parses all lines.
///
/// # Errors
/// Unbalanced braces, unterminated quotes.
pub(super) fn read(lines: &[Line]) -> Result<Vec<Statement>, Diagnostic> {
    let mut parser = Parser { open: vec![Vec::new()], headings: Vec::new() };
    for line in lines {
        let mut words = Vec::new();
        let error = |error: Diagnostic| error.at(line.location.clone());
        for piece in pieces(&line.text).map_err(error)? {
            match piece {
                Piece::Word(word) => words.push(word),
                Piece::Open => {
                    parser.push(&line.location, &mut words);
                    parser.open().map_err(error)?;
                }
                Piece::Close => {
                    parser.push(&line.location, &mut words);
                    parser.close().map_err(error)?;
                }
            }
        }
        parser.push(&line.location, &mut words);
    }
    parser.finish()
}

struct Parser {
    /// Statements of the file, then of each open block.
    open: Vec<Vec<Statement>>,
    /// Statements whose blocks are open.
    headings: Vec<Statement>,
}

impl Parser {
    fn push(&mut self, location: &Place, words: &mut Vec<String>) {
        let words = std::mem::take(words);
        if let (false, Some(statements)) = (words.is_empty(), self.open.last_mut()) {
            statements.push(Statement { location: location.clone(), words, block: None });
        }
    }

    /// Opens a block of the last statement, which may be on an earlier line.
    fn open(&mut self) -> Result<(), Diagnostic> {
        if self.headings.len() == DEPTH_MAX {
            return Err(syntax_error("blocks are nested more than 32 deep", "is a \"}\" missing above?"));
        }
        let heading = self.open.last_mut().and_then(Vec::pop).filter(|statement| statement.block.is_none());
        self.headings.push(
            heading.ok_or_else(|| {
                syntax_error("\"{\" follows no keyword", "remove it, or write one before it")
            })?,
        );
        self.open.push(Vec::new());
        Ok(())
    }

    fn close(&mut self) -> Result<(), Diagnostic> {
        let mut heading =
            self.headings.pop().ok_or_else(|| syntax_error("\"}\" closes nothing", "remove it"))?;
        heading.block = self.open.pop();
        if let Some(statements) = self.open.last_mut() {
            statements.push(heading);
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Vec<Statement>, Diagnostic> {
        match self.headings.last() {
            Some(heading) => {
                let keyword = excerpt(heading.keyword());
                let what = format!("the block of {keyword} has no \"}}\"");
                Err(syntax_error(&what, "add one where it ends").at(heading.location.clone()))
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

/// Splits a line into words and braces. Words end at a space, a brace or a quote; a quoted string is one word.
/// The braces of an unknown parameter belong to its word.
fn pieces(text: &str) -> Result<Vec<Piece>, Diagnostic> {
    let (mut pieces, mut rest) = (Vec::new(), text.trim_start());
    while let Some(first) = rest.chars().next() {
        let (piece, after) = match first {
            '{' => (Piece::Open, &rest[1..]),
            '}' => (Piece::Close, &rest[1..]),
            '"' => {
                let (word, after) = rest[1..]
                    .split_once('"')
                    .ok_or_else(|| syntax_error("a quote has no end", "add the second \""))?;
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
        let location = |line| Place { file: "k".into(), line };
        (1..)
            .zip(text.lines())
            .map(|(line, text)| Line { location: location(line), text: text.to_owned() })
            .collect()
    }

    /// Formats statements with their lines, blocks in parentheses.
    fn shown(statements: &[Statement]) -> String {
        let statements = statements.iter().map(|statement| {
            let block =
                statement.block.as_ref().map(|block| format!("({})", shown(block))).unwrap_or_default();
            format!("{}:{}{block}", statement.location.line, statement.words.join("_"))
        });
        statements.collect::<Vec<_>>().join(" ")
    }

    fn read_shown(text: &str) -> String {
        read(&lines(text)).map_or_else(|error| error.to_string(), |statements| shown(&statements))
    }

    #[test]
    fn braces_open_and_close_blocks() {
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
    fn unbalanced_braces_are_refused() {
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
    fn deep_blocks_are_refused() {
        let deep = read_shown(&"a {\n".repeat(1_000_000));
        assert_eq!(deep, "k:33: blocks are nested more than 32 deep; is a \"}\" missing above?");
    }
}
