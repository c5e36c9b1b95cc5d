//! Health probes of the VIP through the TCX pair, between network namespaces. Needs root.
//!
//! ```text
//!   director                server
//!   10.9.0.2, fd09::2       10.9.0.11, fd09::11 (eth0), eth1; 10.9.0.80, fd09::80 (the VIP, lo)
//!     eth0                    eth0   eth1
//!   ───┴──────────────────────┴──────┴─── switch
//! ```
//! The server answers HTTP and echoes datagrams, with its own address of the connection in the answer.

mod beside;
mod bypassed;
mod causes;
mod end;
mod harness;
mod many;
mod peers;
mod privileges;

#[path = "../support/mod.rs"]
mod support;
