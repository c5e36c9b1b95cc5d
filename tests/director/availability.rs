//! Services that have no server left, and their return, in the log.

use crate::config;
use crate::support::site::Site;

const NONE_LEFT: &str = "no real server left for new connections";
const BACK: &str = "the service has available real servers again";

#[test]
fn a_service_without_server_is_logged_and_its_return_too() {
    let site = Site::new();
    let _director = site.start_and_wait(&config("packet", 1024), "");
    assert_eq!(site.lines(&[NONE_LEFT]), 0, "{}", site.log());
    let service = "service=TCP 10.0.0.100:80";
    site.run_ok("ipvsadm -e -t 10.0.0.100:80 -r 10.0.0.2 -g -w 0");
    site.wait_for_line(&["ERROR", NONE_LEFT, service, "servers=\"1 with weight 0\""]);
    site.run_ok("ipvsadm -e -t 10.0.0.100:80 -r 10.0.0.2 -g -w 2");
    site.wait_for_line(&["INFO", BACK, service, "available=1"]);
    site.run_ok("ipvsadm -d -t 10.0.0.100:80 -r 10.0.0.2");
    site.wait_for_line(&["ERROR", NONE_LEFT, service, "servers=\"no real servers\""]);
    // What was never there is an event after a while only; one that is removed is none.
    site.run_ok("ipvsadm -A -t 10.0.0.101:80");
    site.wait_for_line(&["ERROR", NONE_LEFT, "service=TCP 10.0.0.101:80"]);
    site.run_ok("ipvsadm -C");
    assert_eq!((site.lines(&[NONE_LEFT]), site.lines(&[BACK])), (3, 1), "{}", site.log());
}

#[test]
fn start_with_all_weights_at_0_is_reported() {
    let site = Site::new();
    let text = config("packet", 1024) + "weight = 0\n";
    let _director = site.start_and_wait(&text, "");
    site.wait_for_line(&["ERROR", NONE_LEFT, "service=TCP 10.0.0.100:80", "servers=\"1 with weight 0\""]);
}
