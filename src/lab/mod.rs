//! Reference deployment in network namespaces: client, router, director, two real servers and a switch.
//!
//! ```text
//!   client ── router ── switch ─┬─ director     (VIP answered here, by directrix)
//!                               ├─ rs1          (VIP on lo, weight 1)
//!                               └─ rs2          (VIP on lo, weight 2)
//! ```
//!
//! | file | holds |
//! |---|---|
//! | [`host`], [`layout`], [`family`], [`options`] | hosts, addresses, options |
//! | [`step`], [`topology`], [`arp_mode`] | commands that build the topology |
//! | [`console`], [`interrupt`], [`runner`], [`programs`] | output, signals, execution of commands, availability of programs |
//! | [`state`], [`process`], [`ready`], `helper` | recorded state, background processes, readiness, helper processes |
//! | [`director`], [`real_server`], `starter`, [`deployment`], [`teardown`] | start and end of a lab |
//! | [`http_server`], [`http_client`], [`page`], [`arp_query`], [`ndp_query`], [`capture`], `pcapng` | web server, client, probes of the VIP, capture |
//! | [`mod@reference`], [`measurements`], [`verdict`] | reference run, its figures and findings |
//! | `fault` | a fault made on purpose, and the commands that name it |
//! | [`ha`] | the failover drill: two directors, and what each event costs |
//! | [`shell`] | shell on a host |
//!
//! Tests use [`Deployment`], too: dropping it takes the lab down.
#![forbid(unsafe_code)]

pub mod arp_mode;
pub mod arp_query;

pub mod capture;
pub mod console;
pub mod deployment;
pub mod director;
pub mod family;
mod fault;
pub mod ha;
mod helper;
pub mod host;
pub mod http_client;
pub mod http_server;
pub mod interrupt;
pub mod layout;
pub mod measurements;
pub mod ndp_query;
pub mod options;
pub mod page;
mod pcapng;
pub mod process;
pub mod programs;
pub mod ready;
pub mod real_server;
pub mod reference;
pub mod runner;
pub mod shell;
mod starter;
pub mod state;
pub mod step;
pub mod teardown;
pub mod topology;
pub mod verdict;

pub use console::Console;
pub use deployment::Deployment;
pub use family::Family;
pub use host::LabHost;
pub use interrupt::Interrupt;
pub use layout::Layout;
pub use options::{Arp, LabBackend, LabOptions};
pub use reference::{ClientLoad, RunReport};
