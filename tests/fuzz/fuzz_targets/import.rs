//! Files of ipvsadm and keepalived.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| directrix_fuzz::harness::import::check(bytes));
