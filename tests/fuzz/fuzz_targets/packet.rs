//! The frame parsers against etherparse.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| directrix_fuzz::harness::packet::check_dressed(input));
