//! Any text as a policy file: no panic, and what is accepted is written and read again as the same policy.

#![no_main]

use sallyport_policy::PolicyFile;

libfuzzer_sys::fuzz_target!(|text: &str| {
    let Ok(policy) = PolicyFile::parse(text) else { return };
    let written = policy.to_text().expect("every policy can be written");
    assert_eq!(PolicyFile::parse(&written).expect("what was written can be read"), policy);
});
