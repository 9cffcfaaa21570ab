//! API keys as callers present them.

use crate::support::{Directory, head, start, until};
use pretty_assertions::assert_eq;
use sallyport_auth::keys::{KeyFile, mint};
use sallyport_auth::{Authenticator, Reason};
use sallyport_policy::Authentication;
use sallyport_policy::authentication::ApiKeys;

/// An authenticator of the keys in the file `keys.json`.
fn with_keys(directory: &Directory) -> Authenticator {
    start(&Authentication {
        api_keys: Some(ApiKeys {
            file: directory.path("keys.json"),
        }),
        ..Authentication::default()
    })
}

#[tokio::test]
async fn a_minted_key_opens_the_endpoint_whose_file_has_its_entry() {
    let directory = Directory::new();
    let mut minted = mint("ci").unwrap();
    minted.entry.subject = Some("alice".into());
    let file = KeyFile {
        keys: vec![minted.entry],
    };
    directory.write("keys.json", &serde_json::to_string(&file).unwrap());
    let authenticator = with_keys(&directory);
    let presented = format!("Bearer {}", minted.key.expose());
    let principal = authenticator
        .authenticate(&head(&[&presented]), None, &())
        .await
        .unwrap();
    assert_eq!(principal.subject.as_deref(), Some("alice"));
    assert!(!format!("{principal:?}").contains(minted.key.expose()));
    assert_eq!(authenticator.problems(), Vec::<String>::new());

    let other = mint("ci").unwrap();
    let rejection = authenticator
        .authenticate(&head(&[&format!("Bearer {}", other.key.expose())]), None, &())
        .await
        .unwrap_err();
    assert_eq!(
        rejection.www_authenticate().unwrap(),
        "Bearer error=\"invalid_token\", error_description=\"unknown API key\""
    );
}

#[tokio::test]
async fn a_caller_is_no_longer_let_in_once_its_key_is_gone_or_another() {
    let directory = Directory::new();
    let minted = mint("ci").unwrap();
    let mut entry = minted.entry.clone();
    entry.subject = Some("alice".into());
    let write = |keys: Vec<_>| directory.write("keys.json", &serde_json::to_string(&KeyFile { keys }).unwrap());
    write(vec![entry.clone()]);
    let authenticator = with_keys(&directory);
    let presented = format!("Bearer {}", minted.key.expose());
    let principal = authenticator
        .authenticate(&head(&[&presented]), None, &())
        .await
        .unwrap();
    let reason = || {
        authenticator
            .recheck(&principal)
            .map_err(|rejection| rejection.reason())
    };
    assert_eq!(reason(), Ok(()));
    let mut other = entry.clone();
    other.roles = ["another".to_owned()].into();
    for keys in [vec![], vec![other]] {
        write(keys);
        until(async || reason() == Err(Reason::UnknownKey)).await;
        write(vec![entry.clone()]);
        until(async || reason() == Ok(())).await;
    }
    entry.expires = Some("2020-01-01T00:00:00Z".parse().unwrap());
    write(vec![entry]);
    until(async || reason() == Err(Reason::Expired)).await;
}

#[tokio::test]
async fn a_key_file_that_is_missing_or_broken_shows_and_admits_nobody() {
    let directory = Directory::new();
    let authenticator = with_keys(&directory);
    assert!(
        authenticator.problems()[0].starts_with("API keys: cannot read"),
        "{:?}",
        authenticator.problems()
    );
    assert!(
        authenticator
            .authenticate(&head(&["Bearer mcpe_a_b"]), None, &())
            .await
            .is_err()
    );
}
