//! A panic on the screen, in a terminal emulator.

use super::super::sampler::Clock;
use super::super::{State, screen};
use super::fixtures::{Fake, sample};
use super::tmux::Terminal;
use std::time::Duration;

#[test]
#[ignore = "takes over the terminal; the test below runs it in one of its own"]
fn a_screen_that_panics() {
    let state = State::new("/control.sock", Duration::from_secs(1), sample());
    let buggy = Fake::new(|_| true, |_| panic!("a bug in the sampler"));
    let ended = screen::run(state, buggy, Clock::start());
    unreachable!("{ended:?}");
}

#[test]
fn gives_the_terminal_back_and_keeps_its_message() {
    let this = std::env::current_exe().unwrap();
    let screen = "--ignored --exact top::tests::panic::a_screen_that_panics --nocapture";
    let command = format!("RUST_BACKTRACE=0 {} {screen}; echo status $?", this.display());
    let terminal = Terminal::running(&command, (80, 24));
    terminal.wait_for("[Services]");
    terminal.keys("Down d y");
    let left = terminal.wait_for("status 101");
    assert!(left.contains("a bug in the sampler") && !left.contains("[Services]"), "{left}");
    assert!(terminal.cursor_is_shown());
    terminal.keys("e c h o Space e c h o e d Enter");
    terminal.wait_for("\nechoed"); // lines are read again, and what is typed is seen
}
