//! End-to-end tests: the built binary directs clients to real servers in network namespaces, over each
//! backend. Needs root.
//!
//! ```text
//!   one arm                                     two arms
//!
//!   client  director  real1  real2              client  director  real1  real2
//!     │        │        │      │                  │       │   │     │      │
//!   ──┴────────┴────────┴──────┴── switch       ──┴───┬───┴── │ ────┴──┬───┴──
//!                                               outside│      └──────┬──┘ inside
//!                                                      └── router ───┘
//! ```
//! The client stands for all hosts behind the gateway. The real servers have nginx on port 80 and an echo
//! service on port 7; both send the server's name.

mod access;
mod arp;
mod audit;
mod auto;
mod bgp;
mod bulk;
mod connections;
mod deployment;
mod director;
mod dns;
mod ecmp;
mod far;
mod fault_site;
mod flood;
mod forgery;
mod fragments;
mod gateway;
mod groups;
mod health;
mod health_faults;
mod health_kinds;
mod health_servers;
mod health_vip;
mod host;
mod hostile_sync;
mod http;
mod idle;
mod include;
mod ipv6;
mod kept;
mod layouts;
mod lifecycle;
mod links;
mod live;
mod loops;
mod mtu;
mod ndp;
mod passive;
mod path_mtu;
mod peers;
mod persistence;
mod ping;
mod privileges;
mod readiness;
mod refusals;
mod reject;
mod removed;
mod roles;
mod routing;
mod sctp;
mod servers;
mod slow_start;
mod sorry_server;
mod standby;
mod stopped_thread;
mod sync;
mod takeover;
mod traceroute;
mod unusual;
mod vlans;
mod watchdog;

#[path = "../support/mod.rs"]
mod support;

/// Makes two tests of each function: `name::xdp` and `name::packet`.
macro_rules! on_both_backends {
    ($($name:ident)+) => {
        $(mod $name {
            #[test]
            fn xdp() {
                super::$name("xdp");
            }

            #[test]
            fn packet() {
                super::$name("packet");
            }
        })+
    };
}
pub(crate) use on_both_backends;
