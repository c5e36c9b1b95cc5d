//! The parsers of ICMP errors and echo requests, and the echo reply, against etherparse.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| directrix_fuzz::harness::icmp::check_dressed(input));
