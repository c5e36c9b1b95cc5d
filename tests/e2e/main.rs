//! directrix end to end: the built binary directs real clients to real servers, between network
//! namespaces, over each backend in turn. Needs root.
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
//! The client stands for everything behind the gateway. On the real servers, nginx answers on port
//! 80 and an echo service on port 7; each tells its server's name.

mod access;
mod arp;
mod auto;
mod bulk;
mod connections;
mod deployment;
mod director;
mod flood;
mod forgery;
mod host;
mod http;
mod include;
mod layouts;
mod lifecycle;
mod links;
mod live;
mod loops;
mod peers;
mod persistence;
mod privileges;
mod refusals;
mod removed;
mod servers;
mod slow_start;
mod standby;
mod unusual;
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
