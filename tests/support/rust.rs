//! Minimal tokenizer of Rust sources, formatted by rustfmt, for the tests of layers and prose.

#![allow(dead_code)]

/// A piece of a source.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Piece<'a> {
    Code(&'a str),
    /// A comment with its slashes, without the line break.
    Comment(&'a str),
    /// A string, byte string or character literal, with its quotes.
    Text(&'a str),
}

/// The pieces of a source in order, each with the number of its first line.
pub fn pieces(text: &str) -> Vec<(usize, Piece<'_>)> {
    let mut pieces = Vec::new();
    let (mut line, mut code, mut at) = (1, 0, 0);
    while let Some(first) = text[at..].chars().next() {
        let rest = &text[at..];
        let after_word = text[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let piece = match first {
            '/' if rest.starts_with("//") => {
                Some(Piece::Comment(&rest[..rest.find('\n').unwrap_or(rest.len())]))
            }
            '/' if rest.starts_with("/*") => Some(Piece::Comment(&rest[..block_comment(rest)])),
            '"' => Some(Piece::Text(&rest[..text_literal(rest)])),
            'r' | 'b' if !after_word => raw_literal(rest).map(|taken| Piece::Text(&rest[..taken])),
            '\'' => char_literal(rest).map(|taken| Piece::Text(&rest[..taken])),
            _ => None,
        };
        let Some(piece) = piece else {
            at += first.len_utf8();
            continue;
        };
        if code < at {
            pieces.push((line, Piece::Code(&text[code..at])));
            line += text[code..at].matches('\n').count();
        }
        pieces.push((line, piece));
        line += piece.text().matches('\n').count();
        at += piece.text().len();
        code = at;
    }
    if code < text.len() {
        pieces.push((line, Piece::Code(&text[code..])));
    }
    pieces
}

impl<'a> Piece<'a> {
    pub fn text(self) -> &'a str {
        let (Piece::Code(text) | Piece::Comment(text) | Piece::Text(text)) = self;
        text
    }
}

/// The text without comments and literals. Line breaks stay.
pub fn code_of(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    for (_, piece) in pieces(text) {
        let kept = match piece {
            Piece::Code(text) => text,
            Piece::Comment(_) => "",
            Piece::Text(text) if text.starts_with('\'') => "' '",
            Piece::Text(_) => "\"\"",
        };
        code.push_str(kept);
        if kept != piece.text() {
            code.push_str(&"\n".repeat(piece.text().matches('\n').count()));
        }
    }
    code
}

/// Length of a block comment, which may nest.
fn block_comment(text: &str) -> usize {
    let mut depth = 0usize;
    let mut at = 0;
    while at < text.len() {
        match &text.as_bytes()[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

fn text_literal(text: &str) -> usize {
    let mut escaped = true; // the opening quote is not the closing one
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// Length of a raw string; `None` if there is none.
fn raw_literal(text: &str) -> Option<usize> {
    let inner = text.strip_prefix("br").or_else(|| text.strip_prefix('r'))?;
    let hashes = inner.len() - inner.trim_start_matches('#').len();
    let body = inner[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    Some(text.len() - body.len() + body.find(&end)? + end.len())
}

/// Length of a character literal; `None` for a lifetime.
fn char_literal(text: &str) -> Option<usize> {
    let inner = &text[1..];
    if let Some(escape) = inner.strip_prefix('\\') {
        let skipped = escape.chars().next()?.len_utf8();
        return Some(2 + skipped + escape[skipped..].find('\'')? + 1);
    }
    let first = inner.chars().next()?.len_utf8();
    inner[first..].starts_with('\'').then_some(first + 2)
}

/// Identifiers and punctuation of code without comments, each with its line.
pub fn tokens(code: &str) -> Vec<(usize, &str)> {
    let mut tokens = Vec::new();
    for (number, line) in code.lines().enumerate() {
        let mut rest = line.trim_start();
        while let Some(first) = rest.chars().next() {
            let name = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            let taken = if rest.starts_with("::") { 2 } else { name.max(first.len_utf8()) };
            tokens.push((number + 1, &rest[..taken]));
            rest = rest[taken..].trim_start();
        }
    }
    tokens
}

/// The top-level modules in paths of `crate::`, or of `super::` up to the root, each with its line; `*` for a
/// glob. `depth` is the number of modules between the file and the crate root.
pub fn crate_paths(code: &str, depth: usize) -> Vec<(usize, String)> {
    let tokens = tokens(code);
    let mut found = Vec::new();
    let mut inline = InlineModules::default();
    let mut at = 0;
    while at < tokens.len() {
        inline.see(tokens[at].1, at.checked_sub(2).map(|before| tokens[before].1));
        let root = match tokens[at].1 {
            "crate" => climbs(&tokens[at + 1..]).map(|_| at + 2),
            "super" => {
                let levels = tokens[at..].chunks(2).take_while(|pair| is_super(pair)).count();
                (levels == depth + inline.depth()).then_some(at + 2 * levels)
            }
            _ => None,
        };
        if let Some(start) = root {
            found.extend(names(&tokens[start..]));
        }
        // The rest of a chain of `super::` must not count as a shorter chain.
        at += match tokens[at].1 {
            "super" => 2 * tokens[at..].chunks(2).take_while(|pair| is_super(pair)).count().max(1),
            _ => 1,
        };
    }
    found
}

fn climbs(tokens: &[(usize, &str)]) -> Option<()> {
    (tokens.first()?.1 == "::").then_some(())
}

fn is_super(pair: &[(usize, &str)]) -> bool {
    matches!(pair, [(_, "super"), (_, "::")])
}

/// Names after a path to the root: one name, or the names of a group in braces.
fn names(tokens: &[(usize, &str)]) -> Vec<(usize, String)> {
    let owned = |&(line, name): &(usize, &str)| (line, name.to_owned());
    if tokens.first().is_none_or(|(_, token)| *token != "{") {
        return tokens.first().map(owned).into_iter().collect();
    }
    let mut depth = 0;
    let mut names = Vec::new();
    for pair in tokens.windows(2) {
        match pair[0].1 {
            "{" => depth += 1,
            "}" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            break;
        }
        if depth == 1 && matches!(pair[0].1, "{" | ",") && pair[1].1 != "}" {
            names.push(pair[1]);
        }
    }
    let line = tokens[0].0;
    names.into_iter().map(|(_, name)| (line, name.to_owned())).collect()
}

/// Nesting depth of `mod name {`.
#[derive(Default)]
pub struct InlineModules {
    braces: usize,
    /// The number of braces outside each.
    opened: Vec<usize>,
}

impl InlineModules {
    /// Nesting depth at the token.
    pub fn depth(&self) -> usize {
        self.opened.len()
    }

    /// Takes the next token, and the token two before it.
    pub fn see(&mut self, token: &str, two_before: Option<&str>) {
        match token {
            "{" => {
                if two_before == Some("mod") {
                    self.opened.push(self.braces);
                }
                self.braces += 1;
            }
            "}" => {
                self.braces = self.braces.saturating_sub(1);
                if self.opened.last() == Some(&self.braces) {
                    self.opened.pop();
                }
            }
            _ => {}
        }
    }
}

/// All functions: first line, name, and length in lines.
pub fn functions(code: &str) -> Vec<(usize, String, usize)> {
    let lines: Vec<_> = code.lines().collect();
    let mut found = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let Some(name) = function_name(line.trim_start()) else { continue };
        let indent = &line[..line.len() - line.trim_start().len()];
        let ends = |line: &&str| line.strip_prefix(indent).is_some_and(ends_function);
        let length = lines[start..].iter().position(ends).map_or(lines.len() - start, |after| after + 1);
        found.push((start + 1, name.to_owned(), length));
    }
    found
}

/// True if the line, without the function's indentation, ends the function: a closing brace, or a signature
/// line with the whole body or without one.
fn ends_function(line: &str) -> bool {
    let whole = function_name(line).is_some() && line.ends_with(['}', ';']);
    whole || line.starts_with('}') || (line.starts_with(')') && line.ends_with(';'))
}

fn function_name(line: &str) -> Option<&str> {
    let mut words = line.split(' ');
    let qualifiers =
        ["pub", "pub(crate)", "pub(super)", "const", "async", "unsafe", "extern", "\"\"", "default"];
    let keyword = words.find(|word| !qualifiers.contains(word))?;
    let name = words.next().filter(|_| keyword == "fn")?;
    name.split(['(', '<']).next()
}

/// Lines outside test modules.
pub fn without_tests(text: &str) -> Vec<&str> {
    let mut kept = Vec::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let is_test = line.starts_with("#[cfg(test)") || line.starts_with("#[cfg(all(test,");
        match lines.peek() {
            Some(next) if is_test && next.starts_with("mod ") => {
                lines.by_ref().find(|line| *line == "}" || line.starts_with("mod ") && line.ends_with(';'));
            }
            _ => kept.push(line),
        }
    }
    kept
}

/// The types and traits that a file defines outside functions and implementations.
pub fn type_names(code: &str) -> Vec<String> {
    let keywords = ["struct", "enum", "trait", "union", "type"];
    let name = |line: &str| {
        let line = if line.starts_with("pub(") { line.split_once(") ")?.1 } else { line };
        let (keyword, rest) = line.strip_prefix("pub ").unwrap_or(line).split_once(' ')?;
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        keywords.contains(&keyword).then(|| rest[..end].to_owned())
    };
    code.lines().filter_map(name).collect()
}
