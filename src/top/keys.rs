//! Keys and their help.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

/// A key with a function on the screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyPress {
    /// One line up.
    Up,
    /// One line down.
    Down,
    /// Ten lines up.
    PageUp,
    /// Ten lines down.
    PageDown,
    /// The first line.
    Home,
    /// The last line.
    End,
    /// The previous view.
    Left,
    /// The next view.
    Right,
    /// Zoom in.
    Enter,
    /// Zoom out, cancel.
    Escape,
    /// Erase a digit.
    Backspace,
    /// Quit: Ctrl-C.
    Interrupt,
    /// A character.
    Char(char),
}

/// Help text: keys and their meaning.
pub(super) const HELP: &[(&str, &str)] = &[
    ("↑ ↓  k j", "select a line; also PgUp, PgDn, Home, End"),
    ("← →  Tab", "services, workers, drops"),
    ("s", "sort by the next column: ▼ largest first, ▲ smallest first"),
    ("r", "reverse the order"),
    ("Enter  z", "one service alone, with more about the selected line"),
    ("Esc", "back to all services"),
    ("d", "drain the selected real server, with a deadline or none; asks first"),
    ("a", "all drop reasons, or only changed ones"),
    ("?", "this help"),
    ("q", "quit; also Ctrl-C"),
];

impl KeyPress {
    /// Returns the key of a terminal event, if it has a function.
    pub(super) fn of(event: KeyEvent) -> Option<Self> {
        let control = event.modifiers.contains(KeyModifiers::CONTROL);
        let key = match event.code {
            _ if event.kind == KeyEventKind::Release => return None,
            KeyCode::Char('c') if control => Self::Interrupt,
            KeyCode::Char(_) if control => return None,
            KeyCode::Char(sign) => Self::Char(sign),
            KeyCode::Up => Self::Up,
            KeyCode::Down => Self::Down,
            KeyCode::PageUp => Self::PageUp,
            KeyCode::PageDown => Self::PageDown,
            KeyCode::Home => Self::Home,
            KeyCode::End => Self::End,
            KeyCode::Left | KeyCode::BackTab => Self::Left,
            KeyCode::Right | KeyCode::Tab => Self::Right,
            KeyCode::Enter => Self::Enter,
            KeyCode::Esc => Self::Escape,
            KeyCode::Backspace => Self::Backspace,
            _ => return None,
        };
        Some(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_and_released_keys_are_ignored() {
        let key = |code, modifiers| KeyPress::of(KeyEvent::new(code, modifiers));
        assert_eq!(key(KeyCode::Tab, KeyModifiers::NONE), Some(KeyPress::Right));
        assert_eq!(key(KeyCode::BackTab, KeyModifiers::SHIFT), Some(KeyPress::Left));
        assert_eq!(key(KeyCode::Char('c'), KeyModifiers::CONTROL), Some(KeyPress::Interrupt));
        assert_eq!(key(KeyCode::Char('d'), KeyModifiers::CONTROL), None, "Ctrl-D is not d");
        assert_eq!(key(KeyCode::F(1), KeyModifiers::NONE), None);
        let released = KeyEvent::new_with_kind(KeyCode::Up, KeyModifiers::NONE, KeyEventKind::Release);
        assert_eq!(KeyPress::of(released), None);
    }
}
