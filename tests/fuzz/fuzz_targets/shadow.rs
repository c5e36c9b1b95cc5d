//! Shadow memory of a former process, whatever its bytes.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let _ = directrix_fuzz::harness::shadow::check(input); // either outcome is right
});
