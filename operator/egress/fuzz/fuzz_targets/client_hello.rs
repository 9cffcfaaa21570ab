//! Runs the checks of `client_hello` on whatever libFuzzer comes up with.

#![no_main]

#[path = "../../tests/it/checks.rs"]
mod checks;

libfuzzer_sys::fuzz_target!(|data: &[u8]| checks::client_hello(data));
