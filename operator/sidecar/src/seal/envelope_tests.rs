use super::*;
use crate::seal::testing::{KeyFile, owner, seal};
use pretty_assertions::{assert_eq, assert_ne};
use proptest::prelude::*;

const PURPOSES: [Purpose; 8] = [
    Purpose::Session,
    Purpose::Task,
    Purpose::RequestState,
    Purpose::Confirmation,
    Purpose::Elicitation,
    Purpose::Token,
    Purpose::PeerRequest,
    Purpose::PeerAnswer,
];

#[test]
fn what_was_sealed_is_what_is_opened_and_nothing_of_it_shows() {
    let seal = seal();
    let text = seal.seal(Purpose::Task, owner(1), b"task-of-the-server").unwrap();
    assert_eq!(
        seal.open(Purpose::Task, owner(1), &text).unwrap(),
        b"task-of-the-server"
    );
    let bytes = URL_SAFE_NO_PAD.decode(&text).unwrap();
    assert!(!bytes.windows(4).any(|window| window == b"task"));
    assert_ne!(text, seal.seal(Purpose::Task, owner(1), b"task-of-the-server").unwrap());
}

#[test]
fn another_principal_opens_nothing() {
    let seal = seal();
    let text = seal.seal(Purpose::Session, owner(1), b"s").unwrap();
    assert_eq!(seal.open(Purpose::Session, owner(1), &text).unwrap(), b"s");
    assert_eq!(seal.open(Purpose::Session, owner(2), &text), Err(Foreign));
    assert_eq!(seal.open(Purpose::Session, Owner::REPLICAS, &text), Err(Foreign));
}

#[test]
fn another_purpose_opens_nothing() {
    let seal = seal();
    for sealed_for in PURPOSES {
        let text = seal.seal(sealed_for, owner(1), b"s").unwrap();
        for opened_for in PURPOSES {
            assert_eq!(seal.open(opened_for, owner(1), &text).is_ok(), sealed_for == opened_for);
        }
    }
}

#[test]
fn another_endpoint_with_the_same_keys_opens_nothing() {
    let file = KeyFile::new(&[1]);
    let here = Seal::new("uid-a", Some(file.path())).unwrap();
    let replica = Seal::new("uid-a", Some(file.path())).unwrap();
    let there = Seal::new("uid-b", Some(file.path())).unwrap();
    let text = here.seal(Purpose::Session, owner(1), b"s").unwrap();
    assert_eq!(replica.open(Purpose::Session, owner(1), &text).unwrap(), b"s");
    assert_eq!(there.open(Purpose::Session, owner(1), &text), Err(Foreign));
}

#[test]
fn another_key_opens_nothing_and_a_process_without_a_file_has_its_own() {
    let a = Seal::new("uid", None).unwrap();
    let b = Seal::new("uid", None).unwrap();
    let text = a.seal(Purpose::Session, owner(1), b"s").unwrap();
    assert!(a.open(Purpose::Session, owner(1), &text).is_ok());
    assert_eq!(b.open(Purpose::Session, owner(1), &text), Err(Foreign));
}

#[test]
fn keys_are_rotated_without_losing_what_was_sealed_until_the_old_one_goes() {
    let file = KeyFile::new(&[1]);
    let seal = Seal::new("uid", Some(file.path())).unwrap();
    let late = Seal::new("uid", Some(file.path())).unwrap();
    let old = seal.seal(Purpose::Session, owner(1), b"old").unwrap();

    // First all replicas learn to open the new key, then one after the other seals with it.
    file.write(&[1, 2]);
    assert!(seal.reload().unwrap() && late.reload().unwrap());
    file.write(&[2, 1]);
    assert!(seal.reload().unwrap());
    let new = seal.seal(Purpose::Session, owner(1), b"new").unwrap();
    for opener in [&seal, &late] {
        assert_eq!(opener.open(Purpose::Session, owner(1), &old).unwrap(), b"old");
        assert_eq!(opener.open(Purpose::Session, owner(1), &new).unwrap(), b"new");
    }

    file.write(&[2]);
    assert!(seal.reload().unwrap());
    assert_eq!(seal.open(Purpose::Session, owner(1), &new).unwrap(), b"new");
    assert_eq!(seal.open(Purpose::Session, owner(1), &old), Err(Foreign));
}

#[test]
fn what_does_not_fit_is_not_sealed_and_what_is_too_long_not_opened() {
    let seal = seal();
    for purpose in PURPOSES {
        let fits = purpose.max_chars() * 3 / 4 - HEAD_BYTES - TAG_BYTES;
        let text = seal.seal(purpose, owner(1), &vec![0; fits]).unwrap();
        assert!(text.len() <= purpose.max_chars());
        assert_eq!(seal.open(purpose, owner(1), &text).unwrap().len(), fits);
        assert!(matches!(
            seal.seal(purpose, owner(1), &vec![0; fits + 1]),
            Err(SealError::TooLarge { .. })
        ));
        assert_eq!(
            seal.open(purpose, owner(1), &"A".repeat(purpose.max_chars() + 1)),
            Err(Foreign)
        );
    }
}

#[test]
fn every_single_changed_bit_is_noticed() {
    let seal = seal();
    let text = seal.seal(Purpose::Confirmation, owner(1), b"payload").unwrap();
    let bytes = URL_SAFE_NO_PAD.decode(&text).unwrap();
    for bit in 0..bytes.len() * 8 {
        let mut changed = bytes.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        let changed = URL_SAFE_NO_PAD.encode(changed);
        assert_eq!(
            seal.open(Purpose::Confirmation, owner(1), &changed),
            Err(Foreign),
            "bit {bit}"
        );
    }
    for length in 0..bytes.len() {
        let shorter = URL_SAFE_NO_PAD.encode(&bytes[..length]);
        assert_eq!(seal.open(Purpose::Confirmation, owner(1), &shorter), Err(Foreign));
    }
    // Another writing of the same bytes is another text.
    assert_eq!(
        seal.open(Purpose::Confirmation, owner(1), &format!("{text}=")),
        Err(Foreign)
    );
    assert_eq!(
        seal.open(Purpose::Confirmation, owner(1), &format!(" {text}")),
        Err(Foreign)
    );
}

proptest! {
    #[test]
    fn no_text_opens_by_luck_or_panics(text in "[A-Za-z0-9_-]{0,200}") {
        prop_assert_eq!(seal().open(Purpose::Session, owner(1), &text), Err(Foreign));
    }
}
