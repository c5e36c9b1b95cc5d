//! A command line read as popt(3) reads it: short switches bundle, a value may follow in the same
//! word or in the next, and words that are no switch may stand anywhere.

/// A switch and what it says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Switch<M> {
    pub(crate) long: &'static str,
    pub(crate) short: Option<char>,
    pub(crate) takes: Takes,
    pub(crate) meaning: M,
}

/// Whether a switch has a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Takes {
    Nothing,
    /// What follows, even if it begins with a dash.
    Word,
    /// What follows, unless it begins with a dash.
    MaybeWord,
}

/// A command line on its way to being read.
#[derive(Debug)]
pub(crate) struct Words<'a, M: 'static> {
    switches: &'static [Switch<M>],
    /// Whether a switch counts as one.
    known: fn(M) -> bool,
    words: std::slice::Iter<'a, String>,
    /// The word that is being read, for messages.
    word: &'a str,
    /// What is left of a bundle of short switches.
    bundle: &'a str,
    arguments: Vec<&'a str>,
}

impl<'a, M: Copy> Words<'a, M> {
    /// A switch that is not `known` is an unknown option.
    pub(crate) fn new(words: &'a [String], switches: &'static [Switch<M>], known: fn(M) -> bool) -> Self {
        Self { switches, known, words: words.iter(), word: "", bundle: "", arguments: Vec::new() }
    }

    /// The next switch and its value.
    ///
    /// # Errors
    /// popt's message about a word that cannot be read.
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

    /// The words that are no switch, once all have been read.
    pub(crate) fn arguments(self) -> Vec<&'a str> {
        self.arguments
    }

    /// Goes to the next word that is a switch; false if there is none.
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

    /// A long switch, and the value behind its equals sign.
    fn long(&mut self, text: &'a str) -> Result<(Switch<M>, Option<&'a str>), String> {
        self.bundle = "";
        let (name, glued) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (text, None),
        };
        let switch = self.find(|switch| switch.long == name)?;
        match (switch.takes, glued) {
            (Takes::Nothing, Some(_)) => Err(self.complain("option does not take an argument")),
            _ => Ok((switch, glued)),
        }
    }

    /// The next short switch of the bundle, and what of the bundle is its value.
    fn short(&mut self) -> Result<(Switch<M>, Option<&'a str>), String> {
        let mut letters = self.bundle.chars();
        let letter = letters.next();
        self.bundle = letters.as_str();
        let switch = self.find(|switch| switch.short.is_some() && switch.short == letter)?;
        if switch.takes == Takes::Nothing || self.bundle.is_empty() {
            return Ok((switch, None));
        }
        let glued = std::mem::take(&mut self.bundle);
        Ok((switch, Some(glued.strip_prefix('=').unwrap_or(glued))))
    }

    fn value(&mut self, switch: &Switch<M>, glued: Option<&'a str>) -> Result<Option<&'a str>, String> {
        match switch.takes {
            _ if glued.is_some() => Ok(glued),
            Takes::Nothing => Ok(None),
            Takes::Word => {
                let next = self.words.next().map(String::as_str);
                next.map_or_else(|| Err(self.complain("missing argument")), |word| Ok(Some(word)))
            }
            Takes::MaybeWord => Ok(self.following()),
        }
    }

    fn following(&mut self) -> Option<&'a str> {
        let next = self.words.as_slice().first().filter(|word| !word.starts_with('-'))?;
        self.words.next();
        Some(next)
    }

    fn find(&self, is_it: impl Fn(&Switch<M>) -> bool) -> Result<Switch<M>, String> {
        let found = self.switches.iter().find(|switch| is_it(switch) && (self.known)(switch.meaning));
        found.copied().ok_or_else(|| self.complain("unknown option"))
    }

    fn complain(&self, what: &str) -> String {
        format!("{}: {what}", self.word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn switch(long: &'static str, short: char, takes: Takes) -> Switch<char> {
        Switch { long, short: Some(short), takes, meaning: short }
    }

    /// The last is not known.
    const SWITCHES: &[Switch<char>] = &[
        switch("list", 'L', Takes::Nothing),
        switch("numeric", 'n', Takes::Nothing),
        switch("tcp-service", 't', Takes::Word),
        switch("persistent", 'p', Takes::MaybeWord),
        switch("u-threshold", 'x', Takes::Word),
    ];

    /// "L n t=V" for the switches read, "| A B" for the arguments, or the message.
    fn read(line: &str) -> String {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let mut reader = Words::new(&words, SWITCHES, |meaning| meaning != 'x');
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
    fn switches_bundle_and_values_are_found() {
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
            assert_eq!(read(line), expected, "{line}");
        }
    }

    #[test]
    fn words_that_cannot_be_read_are_named_whole() {
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
            assert_eq!(read(line), expected, "{line}");
        }
    }
}
