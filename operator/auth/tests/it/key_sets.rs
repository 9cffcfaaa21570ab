//! Key sets of a real issuer: rotation, outages, slow and huge answers.

use crate::support::{AuthorizationServer, Mode, Signer, claims, outcome, policy, start, until};
use pretty_assertions::assert_eq;
use sallyport_auth::{Authenticator, Reason};
use sallyport_policy::authentication::Jwks;
use std::sync::Arc;
use std::time::Duration;

fn quick(server: &AuthorizationServer, change: impl FnOnce(&mut Jwks)) -> Arc<Authenticator> {
    Arc::new(start(&policy(server, |_, jwks| {
        jwks.cool_down_seconds = 1;
        change(jwks);
    })))
}

async fn cool_down() {
    tokio::time::sleep(Duration::from_millis(1100)).await;
}

fn good() -> String {
    "alice".into()
}

#[tokio::test]
async fn a_new_key_is_found_by_one_request_however_many_ask_for_it() {
    let (old, new) = (Signer::ed("old"), Signer::ec("new"));
    let server = AuthorizationServer::start(&[&old]).await;
    let authenticator = quick(&server, |_| {});
    assert_eq!(outcome(&authenticator, &old.token(&claims())).await, Ok(good()));
    server.state().keys = vec![old.jwk(), new.jwk()];
    cool_down().await;
    let before = server.state().key_requests;
    let token = new.token(&claims());
    let calls: Vec<_> = (0..50)
        .map(|_| {
            let (authenticator, token) = (authenticator.clone(), token.clone());
            tokio::spawn(async move { outcome(&authenticator, &token).await })
        })
        .collect();
    for call in calls {
        assert_eq!(call.await.unwrap(), Ok(good()));
    }
    assert_eq!(server.state().key_requests, before + 1);
    assert_eq!(outcome(&authenticator, &old.token(&claims())).await, Ok(good()));
}

#[tokio::test]
async fn unknown_keys_do_not_make_more_requests_than_the_cool_down_allows() {
    let (known, unknown) = (Signer::ed("known"), Signer::ed("unknown"));
    let server = AuthorizationServer::start(&[&known]).await;
    let authenticator = start(&policy(&server, |_, _| {}));
    assert_eq!(outcome(&authenticator, &known.token(&claims())).await, Ok(good()));
    for _ in 0..200 {
        let refused = outcome(&authenticator, &unknown.token(&claims())).await;
        assert_eq!(refused, Err(Reason::UnknownSigningKey));
    }
    assert_eq!(server.state().key_requests, 1);
}

#[tokio::test]
async fn a_withdrawn_key_stops_signing_when_the_set_is_fetched_again() {
    let (old, new) = (Signer::ed("old"), Signer::ed("new"));
    let server = AuthorizationServer::start(&[&old, &new]).await;
    let authenticator = quick(&server, |jwks| jwks.refresh_seconds = 1);
    assert_eq!(outcome(&authenticator, &old.token(&claims())).await, Ok(good()));
    server.state().keys = vec![new.jwk()];
    let token = old.token(&claims());
    until(async || outcome(&authenticator, &token).await == Err(Reason::UnknownSigningKey)).await;
    assert_eq!(outcome(&authenticator, &new.token(&claims())).await, Ok(good()));
}

#[tokio::test]
async fn keys_outlive_an_outage_for_a_bounded_time_and_it_shows() {
    let signer = Signer::ed("d");
    let server = AuthorizationServer::start(&[&signer]).await;
    let authenticator = quick(&server, |jwks| {
        jwks.refresh_seconds = 1;
        jwks.stale_seconds = 8;
    });
    let token = signer.token(&claims());
    assert_eq!(outcome(&authenticator, &token).await, Ok(good()));
    server.become_(Mode::Status(500));
    until(async || {
        assert_eq!(outcome(&authenticator, &token).await, Ok(good()));
        !authenticator.problems().is_empty()
    })
    .await;
    assert!(
        authenticator.problems()[0].contains("500"),
        "{:?}",
        authenticator.problems()
    );
    until(async || outcome(&authenticator, &token).await == Err(Reason::Unavailable)).await;
    server.become_(Mode::Good);
    until(async || outcome(&authenticator, &token).await == Ok(good())).await;
    assert!(authenticator.problems().is_empty());
}

#[tokio::test]
async fn while_no_keys_were_ever_had_nobody_is_let_in_and_the_answer_says_to_come_back() {
    let signer = Signer::ed("d");
    let server = AuthorizationServer::start(&[&signer]).await;
    for (mode, problem) in [
        (Mode::Status(503), "503"),
        (Mode::Redirect(server.url("/jwks")), "302"),
        (Mode::Huge, "256 KiB"),
        (Mode::Document("<html></html>".into()), "no JSON Web Key Set"),
        (Mode::Document("{\"keys\": []}".into()), "no public signing key"),
    ] {
        server.become_(mode.clone());
        let authenticator = quick(&server, |_| {});
        let token = signer.token(&claims());
        let rejection = crate::support::present(&authenticator, &token, None).await.unwrap_err();
        assert_eq!(rejection.reason(), Reason::Unavailable, "{mode:?}");
        assert_eq!((rejection.status().as_u16(), rejection.retry_after()), (503, Some(5)));
        assert_eq!(rejection.www_authenticate(), None);
        let problems = authenticator.problems();
        assert!(problems[0].contains(problem), "{problems:?}");
        server.become_(Mode::Good);
        cool_down().await;
        assert_eq!(outcome(&authenticator, &token).await, Ok(good()));
    }
}

#[tokio::test]
async fn a_bad_answer_does_not_replace_good_keys() {
    let signer = Signer::ed("d");
    let server = AuthorizationServer::start(&[&signer]).await;
    let authenticator = quick(&server, |jwks| jwks.refresh_seconds = 1);
    let token = signer.token(&claims());
    assert_eq!(outcome(&authenticator, &token).await, Ok(good()));
    server.become_(Mode::Document("{\"keys\": []}".into()));
    until(async || {
        assert_eq!(outcome(&authenticator, &token).await, Ok(good()));
        !authenticator.problems().is_empty()
    })
    .await;
    assert_eq!(outcome(&authenticator, &token).await, Ok(good()));
}

#[tokio::test]
async fn an_issuer_that_does_not_answer_holds_up_nobody_for_long_and_those_with_known_keys_not_at_all() {
    let (known, unknown) = (Signer::ed("known"), Signer::ed("unknown"));
    let server = AuthorizationServer::start(&[&known]).await;
    let authenticator = quick(&server, |_| {});
    assert_eq!(outcome(&authenticator, &known.token(&claims())).await, Ok(good()));
    cool_down().await;
    server.become_(Mode::Silent);
    let waiting = {
        let (authenticator, token) = (authenticator.clone(), unknown.token(&claims()));
        tokio::spawn(async move { outcome(&authenticator, &token).await })
    };
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(outcome(&authenticator, &known.token(&claims())).await, Ok(good()));
    assert!(!waiting.is_finished(), "the issuer is still waited for");
    let refused = tokio::time::timeout(Duration::from_secs(15), waiting).await.unwrap();
    assert_eq!(refused.unwrap(), Err(Reason::UnknownSigningKey));
}

#[tokio::test]
async fn an_issuer_with_a_certificate_of_another_authority_is_not_believed() {
    let signer = Signer::ed("d");
    let (server, other) = (
        AuthorizationServer::start(&[&signer]).await,
        AuthorizationServer::start(&[]).await,
    );
    let authenticator = start(&policy(&server, |issuer, _| issuer.ca_file = Some(other.ca_file())));
    assert_eq!(
        outcome(&authenticator, &signer.token(&claims())).await,
        Err(Reason::Unavailable)
    );
    assert!(
        authenticator.problems()[0].contains("caFile"),
        "{:?}",
        authenticator.problems()
    );
    assert_eq!(server.state().key_requests, 0);
    // The name must fit too.
    let port = server.port();
    let by_address = start(&policy(&server, |_, jwks| {
        jwks.url = format!("https://127.0.0.1:{port}/jwks");
    }));
    assert_eq!(
        outcome(&by_address, &signer.token(&claims())).await,
        Err(Reason::Unavailable)
    );
}

#[tokio::test]
async fn an_issuer_whose_authorities_cannot_be_read_is_not_believed_and_it_shows() {
    let signer = Signer::ed("d");
    let server = AuthorizationServer::start(&[&signer]).await;
    let authenticator = start(&policy(&server, |issuer, _| {
        issuer.ca_file = Some("/nowhere/ca.crt".into());
    }));
    assert_eq!(
        outcome(&authenticator, &signer.token(&claims())).await,
        Err(Reason::Unavailable)
    );
    assert!(
        authenticator.problems()[0].contains("/nowhere/ca.crt"),
        "{:?}",
        authenticator.problems()
    );
}
