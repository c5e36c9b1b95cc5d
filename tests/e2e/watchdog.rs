//! Watchdog notifications to the service manager.

use crate::deployment::Deployment;
use crate::director::{Config, Director, Home};
use crate::on_both_backends;
use crate::peers::PATIENCE;
use crate::stopped_thread::StoppedThread;
use crate::support::netns::wait_until;
use std::thread::sleep;
use std::time::Duration;

on_both_backends! {
    a_stalled_worker_suppresses_watchdog_notifications
}

/// Three periods of the control loop.
const PERIODS: Duration = Duration::from_secs(6);

fn a_stalled_worker_suppresses_watchdog_notifications(backend: &str) {
    let deployment = Deployment::reference();
    let text = Config::new(backend).with("workers = 1").text(&deployment);
    let director = Director::spawn(Home::new(), &deployment.director, &text, "env WATCHDOG_USEC=30000000");
    wait_for_watchdog(&director, 3);

    let stopped = StoppedThread::stop(director.pid(), "worker-0");
    wait_until("the log event", PATIENCE, || director.logged("worker stalled") == 1);
    while director.notification().is_some() {}
    sleep(PERIODS);
    assert_eq!(director.notification(), None);
    assert!(
        director.cli("ipvsadm -Ln").contains("TCP  192.168.195.150:80 wlc"),
        "the control thread responds"
    );

    drop(stopped);
    wait_for_watchdog(&director, 3);
    assert_eq!(director.logged("worker stalled"), 1, "logged once per stall");
}

/// Waits for `times` watchdog notifications.
fn wait_for_watchdog(director: &Director, times: usize) {
    let mut received = 0;
    wait_until("watchdog notifications", PATIENCE, || {
        received += usize::from(director.notification().is_some_and(|text| text.starts_with("WATCHDOG=1")));
        received == times
    });
}
