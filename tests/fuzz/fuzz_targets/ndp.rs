//! The parser of neighbor solicitations and advertisements against etherparse.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| directrix_fuzz::harness::ndp::check_dressed(input));
