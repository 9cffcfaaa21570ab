//! Runs the checks of `frame` on whatever libFuzzer comes up with.

#![no_main]

#[path = "../../tests/it/checks.rs"]
mod checks;

libfuzzer_sys::fuzz_target!(|data: &[u8]| checks::frame(data));
