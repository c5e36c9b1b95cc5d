//! Command-line parser with the rules of popt(3). Short switches can be bundled, and a value follows in the same
//! word or in the next one. Arguments without a dash may stand anywhere.

/// A switch with its meaning.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Switch<M> {
    pub(crate) long: &'static str,
    pub(crate) short: Option<char>,
    pub(crate) value: ValueArity,
    pub(crate) meaning: M,
}

/// Whether a switch takes a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ValueArity {
    None,
    /// A required value: the next word, even if it begins with a dash.
    Required,
    /// An optional value: the next word, unless it begins with a dash.
    Optional,
}

/// Parser over the words of a command line.
#[derive(Debug)]
pub(crate) struct SwitchParser<'a, M: 'static> {
    switches: &'static [Switch<M>],
    /// Whether the caller supports a switch.
    known: fn(M) -> bool,
    words: std::slice::Iter<'a, String>,
    /// The current word, for messages.
    word: &'a str,
    /// The rest of a bundle of short switches.
    bundle: &'a str,
    arguments: Vec<&'a str>,
}

impl<'a, M: Copy> SwitchParser<'a, M> {
    /// Creates a parser. A switch that is not `known` is an unknown option.
    pub(crate) fn new(words: &'a [String], switches: &'static [Switch<M>], known: fn(M) -> bool) -> Self {
        Self { switches, known, words: words.iter(), word: "", bundle: "", arguments: Vec::new() }
    }

    /// Returns the next switch and its value.
    ///
    /// # Errors
    /// popt's message about a word that cannot be parsed.
    pub(crate) fn next(&mut self) -> Result<Option<(M, Option<&'a str>)>, String> {
        if self.bundle.is_empty() && !self.advance() {
            return Ok(None);
        }
        let (switch, glued) = match self.word.strip_prefix("--") {
            Some(long) => self.long(long)?,
            None => self.short()?,
        };
        Ok(Some((switch.meaning, self.value(&switch, glued)?)))
    }

    /// Returns the words that are no switch, once all words are parsed.
    pub(crate) fn arguments(self) -> Vec<&'a str> {
        self.arguments
    }

    /// Advances to the next word that is a switch; false if there is none.
    fn advance(&mut self) -> bool {
        while let Some(word) = self.words.next() {
            match word.strip_prefix('-') {
                Some("-") => self.arguments.extend(self.words.by_ref().map(String::as_str)),
                None | Some("") => self.arguments.push(word),
                Some(bundle) => {
                    self.word = word;
                    self.bundle = bundle;
                    return true;
                }
            }
        }
        false
    }

    /// Parses a long switch, and the value behind its equals sign.
    fn long(&mut self, text: &'a str) -> Result<(Switch<M>, Option<&'a str>), String> {
        self.bundle = "";
        let (name, glued) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (text, None),
        };
        let switch = self.find(|switch| switch.long == name)?;
        match (switch.value, glued) {
            (ValueArity::None, Some(_)) => Err(self.error("option does not take an argument")),
            _ => Ok((switch, glued)),
        }
    }

    /// Parses the next short switch of the bundle, and its value if the rest of the bundle is one.
    fn short(&mut self) -> Result<(Switch<M>, Option<&'a str>), String> {
        let mut letters = self.bundle.chars();
        let letter = letters.next();
        self.bundle = letters.as_str();
        let switch = self.find(|switch| switch.short.is_some() && switch.short == letter)?;
        if switch.value == ValueArity::None || self.bundle.is_empty() {
            return Ok((switch, None));
        }
        let glued = std::mem::take(&mut self.bundle);
        Ok((switch, Some(glued.strip_prefix('=').unwrap_or(glued))))
    }

    fn value(&mut self, switch: &Switch<M>, glued: Option<&'a str>) -> Result<Option<&'a str>, String> {
        match switch.value {
            _ if glued.is_some() => Ok(glued),
            ValueArity::None => Ok(None),
            ValueArity::Required => {
                let next = self.words.next().ok_or_else(|| self.error("missing argument"))?;
                Ok(Some(next))
            }
            ValueArity::Optional => Ok(self.following()),
        }
    }

    fn following(&mut self) -> Option<&'a str> {
        let next = self.words.as_slice().first().filter(|word| !word.starts_with('-'))?;
        self.words.next();
        Some(next)
    }

    fn find(&self, is_it: impl Fn(&Switch<M>) -> bool) -> Result<Switch<M>, String> {
        let found = self.switches.iter().find(|switch| is_it(switch) && (self.known)(switch.meaning));
        found.copied().ok_or_else(|| self.error("unknown option"))
    }

    /// Formats an error about the current word.
    fn error(&self, what: &str) -> String {
        format!("{}: {what}", self.word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn switch(long: &'static str, short: char, value: ValueArity) -> Switch<char> {
        Switch { long, short: Some(short), value, meaning: short }
    }

    /// The parser of the tests does not support the last switch.
    const SWITCHES: &[Switch<char>] = &[
        switch("list", 'L', ValueArity::None),
        switch("numeric", 'n', ValueArity::None),
        switch("tcp-service", 't', ValueArity::Required),
        switch("persistent", 'p', ValueArity::Optional),
        switch("u-threshold", 'x', ValueArity::Required),
    ];

    /// Returns "L n t=V" for the switches, "|A|B" for the arguments, or the message.
    fn parse(line: &str) -> String {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let mut reader = SwitchParser::new(&words, SWITCHES, |meaning| meaning != 'x');
        let mut seen = String::new();
        loop {
            match reader.next() {
                Ok(Some((meaning, value))) => {
                    seen.push(meaning);
                    seen.push_str(&value.map(|value| format!("={value}")).unwrap_or_default());
                    seen.push(' ');
                }
                Ok(None) => break,
                Err(message) => return message,
            }
        }
        seen + &reader.arguments().iter().map(|word| format!("|{word}")).collect::<String>()
    }

    #[test]
    fn bundled_switches_and_values_are_parsed() {
        for (line, expected) in [
            ("-Ln", "L n "),
            ("-L -n", "L n "),
            ("--list --numeric", "L n "),
            ("-Lnt 10.0.0.1:80", "L n t=10.0.0.1:80 "),
            ("-Lt10.0.0.1:80 -n", "L t=10.0.0.1:80 n "),
            ("-t=10.0.0.1:80", "t=10.0.0.1:80 "),
            ("--tcp-service=10.0.0.1:80", "t=10.0.0.1:80 "),
            ("--tcp-service -n", "t=-n "),
            ("-t -n", "t=-n "),
            ("-p 360 -n", "p=360 n "),
            ("-p -n", "p n "),
            ("-p360", "p=360 "),
            ("-n -p", "n p "),
            ("--persistent 5 6", "p=5 |6"),
            ("stray -L - -- -n", "L |stray|-|-n"),
            ("", ""),
        ] {
            assert_eq!(parse(line), expected, "{line}");
        }
    }

    #[test]
    fn errors_name_the_whole_word() {
        for (line, expected) in [
            ("-Lq", "-Lq: unknown option"),
            ("--nosuch=1", "--nosuch=1: unknown option"),
            ("--lis", "--lis: unknown option"),
            ("-x", "-x: unknown option"),
            ("--u-threshold", "--u-threshold: unknown option"),
            ("-Lnt", "-Lnt: missing argument"),
            ("--tcp-service", "--tcp-service: missing argument"),
            ("--list=5", "--list=5: option does not take an argument"),
            ("-L\u{e9}", "-L\u{e9}: unknown option"),
        ] {
            assert_eq!(parse(line), expected, "{line}");
        }
    }
}
