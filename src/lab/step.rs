//! Commands as the user would type them, in groups for one host.

use std::fmt;

/// A command: program and arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step(Vec<String>);

impl Step {
    /// Command of the blank-separated words of `text`.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.split_whitespace().map(str::to_owned).collect())
    }

    /// Command `words`.
    #[must_use]
    pub fn of(words: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self(words.into_iter().map(Into::into).collect())
    }

    /// The command `words` inside namespace `netns`.
    #[must_use]
    pub fn within(netns: &str, words: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let mut step = Self::new(&format!("ip netns exec {netns}"));
        step.0.extend(words.into_iter().map(Into::into));
        step
    }

    /// Program and arguments, never empty.
    #[must_use]
    pub fn words(&self) -> &[String] {
        &self.0
    }

    /// Program of the command, after `ip netns exec NAMESPACE` if present.
    #[must_use]
    pub fn program(&self) -> &str {
        match self.0.as_slice() {
            [ip, netns, exec, _, program, ..] if ip == "ip" && netns == "netns" && exec == "exec" => program,
            words => words.first().map_or("", String::as_str),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<String> = self.0.iter().map(|word| quoted(word)).collect();
        f.write_str(&words.join(" "))
    }
}

/// True for a byte that a shell takes literally.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_./:=,+@%".contains(&byte)
}

/// Quotes a word for a shell, if it needs that.
pub(crate) fn quoted(word: &str) -> String {
    if !word.is_empty() && word.bytes().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// A group of commands for one host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepGroup {
    /// Purpose of the group.
    pub heading: String,
    /// Commands in order of execution.
    pub steps: Vec<Step>,
}

impl StepGroup {
    /// Creates an empty group.
    #[must_use]
    pub fn new(heading: impl Into<String>) -> Self {
        Self { heading: heading.into(), steps: Vec::new() }
    }

    /// Adds the command `text`.
    pub fn step(&mut self, text: &str) -> &mut Self {
        self.steps.push(Step::new(text));
        self
    }

    /// Adds `ip -n NETNS text`.
    pub fn ip(&mut self, netns: &str, text: &str) -> &mut Self {
        self.step(&format!("ip -n {netns} {text}"))
    }

    /// Adds the command `text` inside `netns`.
    pub fn within(&mut self, netns: &str, text: &str) -> &mut Self {
        self.step(&format!("ip netns exec {netns} {text}"))
    }

    /// Adds a command that writes `value` to the kernel parameter `/proc/sys/PATH` of `netns`.
    pub fn set(&mut self, netns: &str, path: &str, value: u32) -> &mut Self {
        self.shell(netns, &format!("echo {value} > /proc/sys/{path}"))
    }

    /// Adds the shell command `text` inside `netns`.
    pub fn shell(&mut self, netns: &str, text: &str) -> &mut Self {
        self.steps.push(Step::within(netns, ["sh", "-c", text]));
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_quoted_for_a_shell() {
        let step = Step::within("n", ["sh", "-c", "echo 'it' > \"$x\""]);
        assert_eq!(step.to_string(), r#"ip netns exec n sh -c 'echo '\''it'\'' > "$x"'"#);
        assert_eq!(step.program(), "sh");
        assert_eq!(Step::new("ip -n n link").program(), "ip");
    }
}
