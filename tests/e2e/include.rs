//! Included configuration files.

use crate::deployment::{Deployment, VIP};
use crate::director::{Config, Director, Home};
use crate::on_both_backends;
use std::fs;
use std::path::PathBuf;

on_both_backends! {
    a_reload_reads_the_included_files
}

fn service(port: u16, server: &str) -> String {
    format!(
        "[[service]]\nprotocol = \"tcp\"\naddress = \"{VIP}:{port}\"\n[[service.server]]\naddress = \"{server}\"\n"
    )
}

/// A director whose file includes `conf.d/*.toml`, and that directory.
fn including(deployment: &Deployment, config: &Config) -> (Director, PathBuf) {
    let home = Home::new();
    let folder = home.path().join("conf.d");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("a.toml"), service(8001, &deployment.rips[0].to_string())).unwrap();
    let text = format!("include = [\"conf.d/*.toml\"]\n{}", config.text(deployment));
    (Director::start_in(home, &deployment.director, &text), folder)
}

fn a_reload_reads_the_included_files(backend: &str) {
    let deployment = Deployment::reference();
    // A director that has dropped root must be able to read the directory.
    let (director, folder) = including(&deployment, &Config::new(backend).with("user = \"nobody\""));
    let listed = || director.cli("ipvsadm -Ln").matches(":80").count();
    assert!(director.cli("ipvsadm -Ln").contains(":8001 "), "{}", director.cli("ipvsadm -Ln"));
    let [first, second] = deployment.rips.map(|rip| rip.to_string());

    fs::write(folder.join("b.toml"), service(8002, &second)).unwrap();
    let plan = director.cli(&format!("plan {}", director.config().display()));
    assert!(plan.contains(":8002") && !plan.contains(":8001"), "{plan}");
    let before = listed();
    assert!(director.change("reload").contains(":8002"));
    assert!(listed() > before);

    let errors = [
        (service(8001, &first), format!("b.toml:3: address TCP {VIP}:8001 is a service already, at ")),
        (service(8003, "203.0.113.9"), "b.toml:5: real server 203.0.113.9 is not on-link".to_owned()),
    ];
    for (text, error) in errors {
        fs::write(folder.join("b.toml"), text).unwrap();
        let (status, stderr) = director.cli_with_input("reload", "");
        assert!(status == Some(1) && stderr.contains(&error), "{stderr}");
        assert!(director.cli("ipvsadm -Ln").contains(":8002 "), "the services stay");
    }
    fs::remove_file(folder.join("b.toml")).unwrap();
    assert!(director.change("reload").contains(":8002"));
    assert!(!director.cli("ipvsadm -Ln").contains(":8002 "));
}

#[test]
fn a_missing_include_directory_removes_no_service() {
    let deployment = Deployment::reference();
    let (director, folder) = including(&deployment, &Config::new("xdp"));
    fs::rename(&folder, folder.with_file_name("away")).unwrap();
    let (status, stderr) = director.cli_with_input("reload", "");
    assert!(status == Some(1) && stderr.contains("there is no folder"), "{stderr}");
    assert!(director.cli("ipvsadm -Ln").contains(":8001 "));
}

#[test]
fn save_writes_all_services_to_one_file() {
    let deployment = Deployment::reference();
    let (director, folder) = including(&deployment, &Config::new("xdp"));
    let path = director.config();
    let (status, stderr) = director.cli_with_input(&format!("save -o {}", path.display()), "");
    let expected = format!(
        "directrix: {} holds all services now and includes no file; no longer read: {}/a.toml\n",
        path.display(),
        folder.display()
    );
    assert_eq!((status, stderr), (Some(0), expected));
    let saved = fs::read_to_string(&path).unwrap();
    assert!(saved.contains(":8001\"") && !saved.contains("include"), "{saved}");
    assert_eq!(director.change("reload"), "nothing has changed\n");
}
