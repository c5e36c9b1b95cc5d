//! The reference deployment in network namespaces: client, router, director, two real servers
//! and the switch between them.
//!
//! ```text
//!   client ── router ── switch ─┬─ director     (VIP answered here, by directrix)
//!                               ├─ rs1          (VIP on lo, weight 1)
//!                               └─ rs2          (VIP on lo, weight 2)
//! ```
//!
//! | file | holds |
//! |---|---|
//! | [`host`], [`options`], [`topology`], [`arp_mode`] | pure: who is who, and the commands that build it |
//! | [`console`], [`interrupt`], [`runner`], [`programs`] | commands are looked for, printed, executed, and end on Ctrl-C |
//! | [`state`], [`process`], [`ready`] | what a lab has started, and how it is found again |
//! | [`director`], [`real_server`], [`deployment`], [`teardown`] | up and down |
//! | [`http_server`], [`http_client`], [`page`], [`who_has`], [`capture`], `pcapng` | the peers and probes inside |
//! | [`mod@reference`], [`measurements`], [`verdict`] | the reference run and what it shows |
//! | [`shell`] | a person's way in |
//!
//! [`Deployment`] is for tests too: it takes itself down when it is dropped.
#![forbid(unsafe_code)]

pub mod arp_mode;

pub mod capture;
pub mod console;
pub mod deployment;
pub mod director;
mod error;
pub mod host;
pub mod http_client;
pub mod http_server;
pub mod interrupt;
pub mod measurements;
pub mod options;
pub mod page;
mod pcapng;
pub mod process;
pub mod programs;
pub mod ready;
pub mod real_server;
pub mod reference;
pub mod runner;
mod running;
pub mod shell;
pub mod state;
pub mod teardown;
pub mod topology;
pub mod verdict;
pub mod who_has;

pub use console::Console;
pub use deployment::Deployment;
pub use error::LabError;
pub use host::Host;
pub use interrupt::Interrupt;
pub use options::{Arp, Backend, Layout, Options};
pub use reference::{Load, Report};
