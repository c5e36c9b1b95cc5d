//! `directrix save` and `drain`, as a user sees them.
#![allow(missing_docs)]

mod fake_director;

use directrix::control::api::Server;
use directrix::control::server::Query;
use fake_director::{Answers, Director, directrix, fixtures, run};
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};

#[test]
fn a_device_that_a_configuration_is_saved_to_stays_one_and_a_file_keeps_its_mode() {
    let director = Director::with(|query| match query {
        Query::Config(to) => drop(to.send("[director]\ninterface = \"eth0\"\n".into())),
        other => panic!("{other:?}"),
    });
    let (status, _, said) = run(&mut directrix(&director.socket(), "save -o /dev/full"));
    assert_eq!(
        (status, said.as_str()),
        (1, "directrix: /dev/full cannot be written: No space left on device (os error 28)\n")
    );
    assert!(fs::metadata("/dev/full").unwrap().file_type().is_char_device());
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("d.toml");
    fs::write(&path, "old").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let line = format!("save -o {}", path.display());
    assert_eq!(run(&mut directrix(&director.socket(), &line)), (0, String::new(), String::new()));
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
    assert_eq!(fs::read_to_string(&path).unwrap(), "[director]\ninterface = \"eth0\"\n");
}

/// A director whose first server is, at each look, as `looks` says.
fn draining(mut looks: impl FnMut(&mut Vec<Server>) + Send + 'static) -> (Director, String) {
    let mut services = fixtures::made_up();
    services.services.truncate(1);
    let service = services.services[0].address;
    let line = format!("drain tcp:{} {}", service.address, services.services[0].servers[0].address.ip());
    services.services[0].servers.truncate(1);
    let answers = Answers { services, ..Answers::default() };
    let director = Director::with(move |query| match query {
        Query::Services(to) => {
            let mut services = answers.services.clone();
            looks(&mut services.services[0].servers);
            drop(to.send(services));
        }
        Query::Change(_, _, to) => drop(to.send(Ok(Vec::new()))),
        other => answers.answer(other),
    });
    (director, line)
}

#[test]
fn a_drain_that_somebody_else_ends_is_waited_for_no_longer() {
    let mut look = 0;
    let (director, line) = draining(move |servers| {
        look += 1;
        let (state, weight) = if look < 3 { ("draining", 0) } else { ("reachable", 3) };
        servers[0] = Server { state: state.into(), weight, active: 2, inactive: 1, ..servers[0].clone() };
    });
    let (status, out, said) = run(&mut directrix(&director.socket(), &line));
    assert_eq!((status, out.as_str()), (1, "   0 s  2 active, 1 inactive connections\n"));
    assert!(
        said.contains(
            " was ended by another change: it has weight 3 and stays; drain it again if it shall go"
        ),
        "{said}"
    );
}

#[test]
fn a_drain_ends_when_the_server_is_gone() {
    let mut look = 0;
    let (director, line) = draining(move |servers| {
        look += 1;
        servers[0] = Server { state: "draining".into(), active: 2 - look.min(2), ..servers[0].clone() };
        servers.truncate(usize::from(look < 3));
    });
    let (status, out, said) = run(&mut directrix(&director.socket(), &line));
    assert_eq!((status, said.as_str()), (0, ""));
    assert!(out.starts_with("   0 s  1 active") && out.ends_with("\nremoved\n"), "{out}");
}
