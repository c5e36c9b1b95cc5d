//! Rights and limits of the process.

use crate::SERVICE;
use crate::support::site::Site;

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
