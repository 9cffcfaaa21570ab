//! The checks of the fuzz targets, on their corpus and on inputs near well-formed ones, always the same.

use super::checks;
use super::support::{ALLOWED, OTHER, fragmented, hello, hello_for};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use std::path::Path;

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let files = std::fs::read_dir(folder).unwrap();
    let inputs: Vec<_> = files.map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect();
    assert!(!inputs.is_empty());
    inputs
}

#[test]
fn the_corpus_passes_the_checks() {
    for input in corpus("client_hello") {
        checks::client_hello(&input);
    }
    for input in corpus("request") {
        checks::request(&input);
    }
}

/// A stream with a hello in it, cut up and damaged.
fn damaged_hello() -> impl Strategy<Value = Vec<u8>> {
    let name = prop_oneof![Just(ALLOWED.to_owned()), Just(OTHER.to_owned()), "[a-z0-9.-]{0,40}"];
    let extension = (any::<u16>(), proptest::collection::vec(any::<u8>(), 0..20));
    let extensions = proptest::collection::vec(extension, 0..4);
    let damage = proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..4);
    let tail = proptest::collection::vec(any::<u8>(), 0..20);
    (name, extensions, 1..300_usize, damage, tail).prop_map(|(name, extensions, size, damage, tail)| {
        let mut bytes = fragmented(&hello(Some(&name), &extensions), size);
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        [bytes, tail].concat()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, rng_seed: RngSeed::Fixed(1), ..ProptestConfig::default() })]

    #[test]
    fn a_damaged_hello_is_read_alike_however_it_is_cut(bytes in damaged_hello()) {
        checks::client_hello(&bytes);
    }

    #[test]
    fn arbitrary_bytes_are_read_alike_however_they_are_cut(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        checks::client_hello(&bytes);
    }

    #[test]
    fn a_damaged_hello_never_names_another_host(at in any::<proptest::sample::Index>(), byte: u8) {
        let mut bytes = hello_for(ALLOWED);
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let read = sallyport_egress::hello::HelloReader::default().push(&bytes);
        if let Ok(Some(hello)) = read {
            let allowed = ALLOWED.parse().unwrap();
            let named = bytes.windows(ALLOWED.len()).any(|part| part.eq_ignore_ascii_case(ALLOWED.as_bytes()));
            prop_assert!(named || hello.check(&allowed).is_err());
        }
    }

    #[test]
    fn request_lines_have_canonical_targets(
        method in "CONNECT|GET|POST",
        scheme in "(http://|https://|)?",
        host in "[A-Za-z0-9._@%:\\[\\]-]{1,30}|api\\.example\\.com",
        port in "(:[0-9]{0,6})?",
        header in "[A-Za-z0-9._@:-]{0,30}|api\\.example\\.com(:443)?",
    ) {
        checks::request(format!("{method}\n{scheme}{host}{port}\n{header}").as_bytes());
        checks::request(format!("{method}\n{scheme}{host}{port}").as_bytes());
    }
}
