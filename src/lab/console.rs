//! Output of the lab for the user.

use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};

/// Output for the user. A closed pipe (`| head`) is not an error: the lab continues and cleans up.
pub struct Console(Option<Mutex<Box<dyn Write + Send>>>);

impl Console {
    /// Console on standard output.
    #[must_use]
    pub fn stdout() -> Self {
        Self::to(io::stdout())
    }

    /// Console without output.
    #[must_use]
    pub fn silent() -> Self {
        Self(None)
    }

    /// Console that writes to `writer`.
    #[must_use]
    pub fn to(writer: impl Write + Send + 'static) -> Self {
        Self(Some(Mutex::new(Box::new(writer))))
    }

    /// Prints one or more lines.
    pub fn print(&self, text: &str) {
        if let Some(writer) = &self.0 {
            let mut writer = writer.lock().unwrap_or_else(PoisonError::into_inner);
            let _ = writeln!(writer, "{text}").and_then(|()| writer.flush());
        }
    }

    /// Prints a heading.
    pub fn heading(&self, text: &str) {
        self.print(&format!("\n# {text}"));
    }

    /// Prints `text` indented.
    pub fn quote(&self, text: &str) {
        for line in text.lines() {
            self.print(&format!("    {line}"));
        }
    }
}
