//! What a person reads while a lab is built and run.

use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};

/// Where the lab's text goes. A reader that has gone away (`| head`) is no error: the lab goes on
/// and cleans up.
pub struct Console(Option<Mutex<Box<dyn Write + Send>>>);

impl Console {
    /// To standard output.
    #[must_use]
    pub fn stdout() -> Self {
        Self::to(io::stdout())
    }

    /// To nowhere.
    #[must_use]
    pub fn silent() -> Self {
        Self(None)
    }

    /// To `writer`.
    #[must_use]
    pub fn to(writer: impl Write + Send + 'static) -> Self {
        Self(Some(Mutex::new(Box::new(writer))))
    }

    /// Writes a line, or several.
    pub fn say(&self, text: &str) {
        if let Some(writer) = &self.0 {
            let mut writer = writer.lock().unwrap_or_else(PoisonError::into_inner);
            let _ = writeln!(writer, "{text}").and_then(|()| writer.flush());
        }
    }

    /// Writes a heading.
    pub fn heading(&self, text: &str) {
        self.say(&format!("\n# {text}"));
    }

    /// Writes each line of `text` indented.
    pub fn quote(&self, text: &str) {
        for line in text.lines() {
            self.say(&format!("    {line}"));
        }
    }
}
