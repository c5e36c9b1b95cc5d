//! Rights and limits of the process.

#![allow(unsafe_code)] // a system call filter, for one child

use crate::SERVICE;
use crate::support::site::Site;
use std::io;
use std::os::unix::process::CommandExt;

const NO_RIGHTS: &str = "setpriv --bounding-set=-all --inh-caps=-all";
const NO_BPF: &str = "setpriv --bounding-set=-bpf,-sys_admin --inh-caps=-all";
const NO_LIMITS_RAISED: &str = "setpriv --bounding-set=-ipc_lock,-sys_resource --inh-caps=-all";

#[test]
fn missing_capabilities_of_root_are_named_with_their_use() {
    let site = Site::new();
    let examined = site.doctor_as(NO_BPF, SERVICE, "--json");
    let found = examined.finding("capabilities");
    assert_eq!((examined.status, found["level"].as_str()), (Some(1), Some("error")), "{examined:?}");
    assert!(found["what"].as_str().unwrap().contains("cap_bpf (loading BPF programs)"), "{found}");
    assert_eq!(examined.finding("bpf-load")["level"], "unknown", "a missing right is no fault of the kernel");
    site.is_sound(SERVICE, "capabilities");
}

#[test]
fn without_rights_nothing_is_called_sound_unseen() {
    let site = Site::new();
    site.director.run("nft add table arp shield && nft add chain arp shield in '{ type filter hook input priority 0; policy drop; }'");
    site.director.run("ip address add 10.0.0.100/32 dev lo");
    let examined = site.doctor_as(NO_RIGHTS, SERVICE, "--json");
    let unknown = examined.at("unknown");
    for id in ["sockets", "bpf-load", "guard", "frame-filters"] {
        assert!(unknown.iter().any(|one| one == id), "{id}: {examined:?}");
    }
    assert_eq!(examined.finding("vip-local")["level"], "warn", "addresses take no right");
}

#[test]
fn rights_of_a_user_namespace_load_no_program() {
    let site = Site::new();
    let examined = site.doctor_as("unshare --user --map-root-user", SERVICE, "--json");
    assert_eq!(examined.finding("capabilities")["level"], "ok", "{examined:?}");
    let found = examined.finding("bpf-load");
    assert_eq!(found["level"], "warn", "{found}");
    assert!(found["remedy"]["advice"].as_str().unwrap().contains("initial user namespace"), "{found}");
    let examined =
        site.doctor_as("unshare --user --map-root-user", &format!("backend = \"xdp\"\n{SERVICE}"), "--json");
    assert_eq!((examined.status, examined.finding("bpf-load")["level"].as_str()), (Some(1), Some("error")));
}

#[test]
fn a_fifo_of_another_user_is_found() {
    let site = Site::new();
    let fifo = site.file("vrrp.fifo").display().to_string();
    let config = format!("user = \"nobody\"\n[ha]\nrole = \"fifo\"\nfifo = \"{fifo}\"\n{SERVICE}");
    assert_eq!(site.doctor(&config).finding("role-fifo")["level"], "ok", "keepalived makes it");
    site.director.run(&format!("mkfifo -m 600 {fifo}"));
    let found = site.doctor(&config).finding("role-fifo");
    assert_eq!(found["level"], "error", "{found}");
    site.director.run(&format!("chown nobody {fifo}"));
    site.is_sound(&config, "role-fifo");
}

#[test]
fn small_limits_are_found() {
    let site = Site::new();
    let limited =
        |limit: &str| site.doctor_as(&format!("{limit}; exec {NO_LIMITS_RAISED}"), SERVICE, "--json");
    let found = limited("ulimit -l 64").finding("locked-memory");
    assert_eq!(found["level"], "warn", "{found}");
    let found = limited("ulimit -n 64").finding("open-files");
    assert_eq!(found["level"], "warn", "{found}");
    let examined = site.doctor(SERVICE);
    for id in ["locked-memory", "open-files"] {
        assert_eq!(examined.finding(id)["level"], "ok", "{examined:?}");
    }
}

/// As RestrictAddressFamilies= of a systemd unit does it.
#[test]
fn a_forbidden_family_of_sockets_is_found() {
    let site = Site::new();
    site.doctor(SERVICE);
    let file = site.file("doctor.toml").display().to_string();
    for (family, level, status) in [(libc::AF_XDP, "hint", 0), (libc::AF_PACKET, "error", 1)] {
        let mut command = site.doctor_command("", &format!("--config {file} --json"));
        // SAFETY: between fork and exec the child makes one system call, on memory of its own.
        unsafe { command.pre_exec(move || forbid(family)) };
        let examined = Site::examined(&mut command);
        let found = examined.finding("sockets");
        assert_eq!((examined.status, found["level"].as_str()), (Some(status), Some(level)), "{examined:?}");
        assert!(found["what"].as_str().unwrap().contains("EAFNOSUPPORT"), "{found}");
        assert!(found["remedy"]["advice"].as_str().unwrap().contains("RestrictAddressFamilies="), "{found}");
    }
    site.is_sound(SERVICE, "sockets");
}

/// Makes socket(2) fail with EAFNOSUPPORT for a family, in this process and its children (seccomp(2)).
fn forbid(family: libc::c_int) -> io::Result<()> {
    let step = |code: u32, jf, k| libc::sock_filter { code: code as u16, jt: 0, jf, k };
    let (load, equal, end) = (libc::BPF_LD | libc::BPF_ABS, libc::BPF_JMP | libc::BPF_JEQ, libc::BPF_RET);
    let mut steps = [
        step(load, 0, 0), // the number of the system call
        step(equal, 3, libc::SYS_socket as u32),
        step(load, 0, 16), // its first argument
        step(equal, 1, family as u32),
        step(end, 0, libc::SECCOMP_RET_ERRNO | libc::EAFNOSUPPORT as u32),
        step(end, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: steps.len() as u16, filter: steps.as_mut_ptr() };
    // SAFETY: prctl reads the program of `len` steps, which outlives the call.
    match unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
