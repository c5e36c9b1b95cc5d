//! Keys, and what each is for.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

/// A key as the screen tells them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
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
    /// The view before.
    Left,
    /// The next view.
    Right,
    /// Into it.
    Enter,
    /// Out of it.
    Escape,
    /// What was typed last shall not count.
    Backspace,
    /// Out of everything: Ctrl-C.
    Interrupt,
    /// A letter or sign.
    Char(char),
}

/// What the keys are for, as the help says it.
pub(super) const HELP: &[(&str, &str)] = &[
    ("↑ ↓  k j", "select a line; also PgUp, PgDn, Home, End"),
    ("← →  Tab", "services, workers, drops"),
    ("s", "sort by the next column: ▼ largest first, ▲ smallest first"),
    ("r", "reverse the order"),
    ("Enter  z", "one service alone, with more about the selected line"),
    ("Esc", "back to all services"),
    ("d", "drain the selected real server, with a deadline or none; asks first"),
    ("a", "all drop reasons, or only those that move"),
    ("?", "this help"),
    ("q", "quit; also Ctrl-C"),
];

impl Key {
    /// The key of a terminal's event, if it means anything here.
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
    fn only_pressed_keys_with_a_meaning_count() {
        let key = |code, modifiers| Key::of(KeyEvent::new(code, modifiers));
        assert_eq!(key(KeyCode::Tab, KeyModifiers::NONE), Some(Key::Right));
        assert_eq!(key(KeyCode::BackTab, KeyModifiers::SHIFT), Some(Key::Left));
        assert_eq!(key(KeyCode::Char('c'), KeyModifiers::CONTROL), Some(Key::Interrupt));
        assert_eq!(key(KeyCode::Char('d'), KeyModifiers::CONTROL), None, "no drain by a slip");
        assert_eq!(key(KeyCode::F(1), KeyModifiers::NONE), None);
        let released = KeyEvent::new_with_kind(KeyCode::Up, KeyModifiers::NONE, KeyEventKind::Release);
        assert_eq!(Key::of(released), None);
    }
}
