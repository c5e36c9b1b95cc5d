//! The configuration file's reader.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| directrix_fuzz::harness::config::check(text));
