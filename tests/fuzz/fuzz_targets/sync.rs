//! The reader of sync messages against the kernel's rules, and against the writer.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| directrix_fuzz::harness::sync::check_dressed(input));
