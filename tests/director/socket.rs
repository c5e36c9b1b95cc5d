//! The control socket's file is deleted under a running director.

use crate::support::netns::wait_until;
use crate::support::site::{EXE, SOON, Site};
use std::fs::{Permissions, remove_file, set_permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};

/// Whether root may connect, and is answered.
fn answers(site: &Site) -> bool {
    site.socket().exists() && site.run("ipvsadm -Ln").0 == Some(0)
}

#[test]
fn a_deleted_control_socket_is_made_again() {
    for user in ["", "user = \"nobody\"\n"] {
        let site = Site::new();
        set_permissions(site.place.path(), Permissions::from_mode(0o777)).unwrap();
        let _director = site.start_and_wait(&format!("{user}{}", super::config("packet", 1024)), "");
        for _ in 0..2 {
            remove_file(site.socket()).unwrap();
            wait_until("the control socket", SOON, || answers(&site));
        }
        let made = "control socket made again: its file was deleted";
        assert_eq!(site.log().matches(made).count(), 2, "{}", site.log());
        assert_eq!(site.socket().metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
}

#[test]
fn a_socket_that_came_in_place_of_a_deleted_one_is_not_stolen() {
    let site = Site::new();
    let _director = site.start_and_wait(&super::config("packet", 1024), "");
    remove_file(site.socket()).unwrap();
    let other = UnixListener::bind(site.socket()).unwrap();
    let message = "another directrix listens on";
    wait_until("the error", SOON, || site.log().contains(message));
    UnixStream::connect(site.socket()).unwrap();
    other.set_nonblocking(true).unwrap();
    assert!(other.accept().is_ok(), "the other one is still connected to");
    drop(other);
    wait_until("the control socket", SOON, || answers(&site));
}

#[test]
fn director_at_another_socket_is_not_reported_missing() {
    let site = Site::new();
    let run = |words: &str| site.director.run(&format!("{EXE} --socket /nonexistent/s {words} 2>&1 || true"));
    assert!(run("drops").contains("no director is running at /nonexistent/s"));
    let director = site.start_and_wait(&super::config("packet", 1024), "");
    for words in ["drops", "ipvsadm -Ln", "reload"] {
        let text = run(words);
        assert!(text.contains("though one serves an interface of this host"), "{text}");
        assert!(!text.contains("no director is running"), "{text}");
    }
    drop(director);
}
