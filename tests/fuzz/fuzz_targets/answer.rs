//! The answers to refused packets, as etherparse reads them.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| directrix_fuzz::harness::answer::check_dressed(input));
