//! A panic of the screen, in a terminal emulator.

use super::super::clock::Clock;
use super::super::screen;
use super::super::state::ScreenState;
use super::fixtures::{Fake, sample};
use super::tmux::Terminal;
use std::time::Duration;

#[test]
#[ignore = "needs a terminal; run by the test below"]
fn panicking_screen() {
    let state = ScreenState::new("/control.sock", Duration::from_secs(1), sample());
    let buggy = Fake::new(|_| true, |_| panic!("a bug in the sampler"));
    let ended = screen::run(state, buggy, Clock::start());
    unreachable!("{ended:?}");
}

#[test]
fn panic_restores_the_terminal_and_prints_its_message() {
    let this = std::env::current_exe().unwrap();
    let screen = "--ignored --exact top::tests::panic::panicking_screen --nocapture";
    let command = format!("RUST_BACKTRACE=0 {} {screen}; echo status $?", this.display());
    let terminal = Terminal::running(&command, (80, 24));
    terminal.wait_for("[Services]");
    terminal.keys("Down d y");
    let left = terminal.wait_for("status 101");
    assert!(left.contains("a bug in the sampler") && !left.contains("[Services]"), "{left}");
    assert!(terminal.cursor_is_shown());
    terminal.keys("e c h o Space e c h o e d Enter");
    terminal.wait_for("\nechoed"); // line mode and echo are restored
}
