//! The whole decision over frames, times and snapshots.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    directrix_fuzz::harness::decide::check(input);
});
