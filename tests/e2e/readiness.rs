//! Readiness for traffic: the file for keepalived and the carrier of the TUN device.

use crate::deployment::Deployment;
use crate::director::{Config, Director, Home};
use crate::on_both_backends;
use crate::peers::PATIENCE;
use crate::stopped_thread::StoppedThread;
use crate::support::netns::{Netns, wait_until};
use nix::sys::signal::Signal;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

on_both_backends! {
    file_and_carrier_follow_the_director
    after_a_kill_the_file_says_1_until_all_is_ready
}

/// Time for the loss of all real servers and their return, and for a stalled worker.
const CHANGE: Duration = Duration::from_secs(30);

fn config(backend: &str, home: &Home) -> (Config, PathBuf) {
    let path = home.path().join("fault");
    let mut config = Config::new(backend).with("workers = 1");
    config.tables += &format!("[ha]\nready_file = {path:?}\ntun = \"dx0\"\nready_needs_servers = true\n");
    (config, path)
}

/// True if both signals say that the director is ready; panics if they still differ after a while.
#[track_caller]
fn wait_for(ready: bool, host: &Netns, path: &Path) {
    let file = if ready { "0\n" } else { "1\n" };
    wait_until("the file", CHANGE, || fs::read_to_string(path).unwrap() == file);
    wait_until("the carrier", PATIENCE, || carrier(host) == Some(ready));
}

/// The carrier of the TUN device; `None` without the device.
fn carrier(host: &Netns) -> Option<bool> {
    let text = host.run("ip -o link show dev dx0 2>/dev/null || true");
    text.contains("dx0").then(|| text.contains("LOWER_UP"))
}

fn file_and_carrier_follow_the_director(backend: &str) {
    let (deployment, home) = (Deployment::reference(), Home::new());
    let (config, path) = config(backend, &home);
    let host = &deployment.director;
    fs::write(&path, "0\n").unwrap(); // of a process that was killed
    let mut director = Director::spawn(home, host, &config.text(&deployment), "");
    wait_until("the first act", PATIENCE, || fs::read_to_string(&path).unwrap() == "1\n");
    director.wait_ready();
    wait_for(true, host, &path);

    let servers = |state: &str| {
        deployment.switch.run(&format!("ip link set real1 {state} && ip link set real2 {state}"));
    };
    servers("down");
    wait_for(false, host, &path);
    assert_eq!(
        director.logged("no longer ready for traffic reason=no service has an available real server"),
        1
    );
    assert!(director.cli_status("status").1.contains("takes no traffic"), "a warning");
    servers("up");
    wait_for(true, host, &path);

    let stopped = StoppedThread::stop(director.pid(), "worker-0");
    wait_for(false, host, &path);
    drop(stopped);
    wait_for(true, host, &path);

    deployment.switch.run("ip link set director down");
    wait_for(false, host, &path);
    deployment.switch.run("ip link set director up");
    wait_for(true, host, &path);

    let (status, refusal) = Director::refusal(host, &config.text(&deployment), "");
    assert!(status == Some(1) && refusal.contains("another directrix"), "{refusal}");
    wait_for(true, host, &path);
    assert_eq!(director.logged("no longer ready for traffic"), 3, "servers, worker, carrier");

    let (_, _home) = director.end(Signal::SIGTERM);
    assert_eq!((fs::read_to_string(&path).unwrap().as_str(), carrier(host)), ("1\n", None));
}

fn after_a_kill_the_file_says_1_until_all_is_ready(backend: &str) {
    let (deployment, home) = (Deployment::reference(), Home::new());
    let (config, path) = config(backend, &home);
    let (host, text) = (&deployment.director, config.text(&deployment));
    let director = Director::start_in(home, host, &text);
    wait_for(true, host, &path);
    let (_, home) = director.end(Signal::SIGKILL);
    wait_until("the end of the device", PATIENCE, || carrier(host).is_none());
    assert_eq!(fs::read_to_string(&path).unwrap(), "0\n", "keepalived's track_process sees the end");
    let mut director = Director::spawn(home, host, &text, "");
    wait_until("the first act", PATIENCE, || fs::read_to_string(&path).unwrap() == "1\n");
    director.wait_ready();
    wait_for(true, host, &path);
}

#[test]
fn the_file_is_written_by_the_user_of_the_director() {
    let (deployment, home) = (Deployment::reference(), Home::new());
    let (config, path) = config("packet", &home);
    let text = config.with("user = \"nobody\"").text(&deployment);
    let (status, refusal) = Director::refusal(&deployment.director, &text, "");
    assert_eq!(status, Some(1), "{refusal}");
    let wanted = format!(
        "writing the ready_file {}: Permission denied (os error 13); its directory must let the user that the director \
         runs as create files",
        path.display()
    );
    assert!(refusal.contains(&wanted), "{refusal}");
    let own = home.path().join("own");
    fs::create_dir(&own).unwrap();
    deployment.director.run(&format!("chown nobody {}", own.display()));
    let text = text.replace(path.to_str().unwrap(), own.join("fault").to_str().unwrap());
    let _director = Director::start_in(home, &deployment.director, &text);
    wait_for(true, &deployment.director, &own.join("fault"));
}

#[test]
fn a_health_check_is_awaited_before_the_director_is_ready() {
    let (deployment, home) = (Deployment::reference(), Home::new());
    let (config, path) = config("packet", &home);
    let check =
        "[[service.check]]\ntype = \"tcp\"\ntarget = \"rip\"\ninterval = 4\ntimeout = 1\n[[service.server]]";
    // Without warm-up, no service listens: the first results say that all servers are down.
    let text = config.text(&deployment).replacen(
        "[[service.server]]",
        &check.replace("timeout", "warm_up = 3\ntimeout"),
        1,
    );
    let text = text.replace("ready_needs_servers = true", "ready_needs_servers = false");
    let director = Director::start_in(home, &deployment.director, &text);
    wait_until("the reason", PATIENCE, || {
        director.logged("not ready for traffic reason=health checks have had no result yet") == 1
    });
    assert_eq!(fs::read_to_string(&path).unwrap(), "1\n");
    wait_for(true, &deployment.director, &path);
}
