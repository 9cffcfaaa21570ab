//! Tokens that a real issuer is asked about.

use crate::support::{
    AuthorizationServer, ISSUER, Mode, RESOURCE, Signer, claims, head, now, outcome, policy, present, start, until,
    with,
};
use pretty_assertions::assert_eq;
use sallyport_auth::{Attempts, Authenticator, Principal, Reason, TooManyFailures, Work};
use sallyport_policy::authentication::{Introspection, Verification};
use sallyport_policy::{Authentication, PrincipalKind};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicU32, Ordering};

const CLIENT_ID: &str = "sallyport:demo";

fn endpoint(server: &AuthorizationServer, cache_seconds: u32) -> Authenticator {
    let mut introspection = Introspection::new(server.url("/introspect"), CLIENT_ID, server.secret_file());
    introspection.cache_seconds = cache_seconds;
    let mut policy = policy(server, |_, _| {});
    policy.oauth.as_mut().unwrap().issuers[0].verify = Verification::Introspection(introspection);
    start(&policy)
}

/// What the issuer says of a good token.
fn active() -> Value {
    with(claims(), &json!({"active": true, "token_type": "Bearer"}))
}

fn say(server: &AuthorizationServer, token: &str, answer: Value) {
    server.state().tokens.insert(token.into(), answer);
}

#[tokio::test]
async fn an_active_token_is_taken_and_its_answer_kept_for_its_time() {
    let server = AuthorizationServer::start(&[]).await;
    let authenticator = endpoint(&server, 5);
    say(&server, "opaque-1", active());
    for _ in 0..5 {
        let principal = present(&authenticator, "opaque-1", None).await.unwrap();
        assert_eq!(principal.kind, PrincipalKind::Opaque);
        assert_eq!(principal.subject.as_deref(), Some("alice"));
        assert!(principal.scopes.contains("write"));
    }
    assert_eq!(server.state().questions, ["opaque-1"]);
    assert_eq!(server.state().unauthenticated, 0, "the client showed its secret");
    // Revoked: it is good until the answer is old.
    server.state().tokens.clear();
    assert_eq!(outcome(&authenticator, "opaque-1").await, Ok("alice".into()));
    until(async || outcome(&authenticator, "opaque-1").await == Err(Reason::Inactive)).await;
}

#[tokio::test]
async fn without_a_cache_a_revocation_holds_at_once() {
    let server = AuthorizationServer::start(&[]).await;
    let authenticator = endpoint(&server, 0);
    say(&server, "t", active());
    assert_eq!(outcome(&authenticator, "t").await, Ok("alice".into()));
    server.state().tokens.clear();
    assert_eq!(outcome(&authenticator, "t").await, Err(Reason::Inactive));
}

#[tokio::test]
async fn an_answer_is_not_kept_beyond_the_token_s_end() {
    let server = AuthorizationServer::start(&[]).await;
    let authenticator = endpoint(&server, 300);
    // The leeway is 30 s.
    say(&server, "t", with(active(), &json!({"exp": now() - 28})));
    assert_eq!(outcome(&authenticator, "t").await, Ok("alice".into()));
    until(async || outcome(&authenticator, "t").await == Err(Reason::Expired)).await;
}

#[tokio::test]
async fn a_refused_token_is_asked_about_again_after_seconds() {
    let server = AuthorizationServer::start(&[]).await;
    let authenticator = endpoint(&server, 300);
    for _ in 0..20 {
        assert_eq!(outcome(&authenticator, "soon").await, Err(Reason::Inactive));
    }
    assert_eq!(server.state().questions.len(), 1);
    say(&server, "soon", active());
    until(async || outcome(&authenticator, "soon").await == Ok("alice".into())).await;
}

#[tokio::test]
async fn answers_that_do_not_say_yes_for_this_endpoint_are_refused() {
    let server = AuthorizationServer::start(&[]).await;
    let authenticator = endpoint(&server, 0);
    for (change, reason) in [
        (json!({"active": false}), Reason::Inactive),
        (json!({"active": null}), Reason::Unavailable),
        (json!({"active": "true"}), Reason::Unavailable),
        (json!({"active": 1}), Reason::Unavailable),
        (json!({"aud": "https://other.example"}), Reason::WrongAudience),
        (json!({"aud": null}), Reason::WrongAudience),
        (json!({"iss": "https://evil.example"}), Reason::UnknownIssuer),
        (json!({"exp": now() - 60}), Reason::Expired),
        (json!({"nbf": now() + 60}), Reason::NotYetValid),
        (json!({"cnf": {"jkt": "a"}}), Reason::UnprovenPossession),
        (json!({"cnf": {"x5t#S256": "a"}}), Reason::UnprovenPossession),
        (json!({"token_type": "DPoP"}), Reason::Inactive),
        (json!({"token_type": "refresh_token"}), Reason::Inactive),
        (json!({"nonce": "n"}), Reason::WrongTokenType),
    ] {
        say(&server, "t", with(active(), &change));
        let fresh = endpoint(&server, 0);
        assert_eq!(outcome(&fresh, "t").await, Err(reason), "{change}");
    }
    say(&server, "u", active());
    assert_eq!(outcome(&authenticator, "u").await, Ok("alice".into()));
}

#[tokio::test]
async fn an_issuer_that_does_not_answer_well_lets_nobody_in() {
    let server = AuthorizationServer::start(&[]).await;
    let twice = with(active(), &json!({"active": null})).to_string();
    for mode in [
        Mode::Status(500),
        Mode::Status(401),
        Mode::Status(204),
        Mode::Redirect(server.url("/introspect")),
        Mode::Huge,
        Mode::Document("{}".into()),
        Mode::Document("true".into()),
        Mode::Document(format!("{{\"active\": false, \"active\": true, {}", &twice[1..])),
    ] {
        let authenticator = endpoint(&server, 300);
        say(&server, "t", active());
        server.become_(mode.clone());
        assert_eq!(outcome(&authenticator, "t").await, Err(Reason::Unavailable), "{mode:?}");
        assert_eq!(authenticator.problems().len(), 1, "{mode:?}");
        // An outage is not remembered.
        server.become_(Mode::Good);
        assert_eq!(outcome(&authenticator, "t").await, Ok("alice".into()), "{mode:?}");
        assert!(authenticator.problems().is_empty());
    }
}

#[tokio::test]
async fn the_issuer_refuses_a_wrong_client_secret_and_a_new_one_is_read() {
    let server = AuthorizationServer::start(&[]).await;
    server.write_secret("wrong");
    let authenticator = endpoint(&server, 0);
    say(&server, "t", active());
    assert_eq!(outcome(&authenticator, "t").await, Err(Reason::Unavailable));
    assert_eq!(server.state().unauthenticated, 1);
    let problems = authenticator.problems();
    assert!(
        problems[0].contains("401") && !problems[0].contains("wrong"),
        "{problems:?}"
    );
    server.write_secret("s3cret&:%\n");
    until(async || outcome(&authenticator, "t").await == Ok("alice".into())).await;
}

/// So many questions may still be asked about tokens that do not hold.
struct Few(AtomicU32);

impl Attempts for Few {
    fn begin(&self, work: Work) -> Result<(), TooManyFailures> {
        assert_eq!(work, Work::Question);
        let taken = self
            .0
            .try_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        taken.map(drop).map_err(|_| TooManyFailures(7))
    }

    fn take_back(&self, _: Work) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn a_sender_whose_tokens_did_not_hold_causes_no_more_questions() {
    let server = AuthorizationServer::start(&[]).await;
    let authenticator = endpoint(&server, 300);
    say(&server, "good", active());
    say(&server, "other", active());
    let few = Few(3.into());
    let call = async |token: &str| {
        let head = head(&[&format!("Bearer {token}")]);
        let caller = authenticator.authenticate(&head, None, &few).await;
        caller
            .map(drop)
            .map_err(|rejection| (rejection.reason(), rejection.status().as_u16(), rejection.retry_after()))
    };
    assert_eq!(call("good").await, Ok(()));
    server.become_(Mode::Status(500));
    assert_eq!(
        call("other").await,
        Err((Reason::Unavailable, 503, Some(5))),
        "no failure of the sender"
    );
    server.become_(Mode::Good);
    assert_eq!(few.0.load(Ordering::SeqCst), 3);
    for token in ["bad-0", "bad-1", "bad-2"] {
        assert_eq!(call(token).await, Err((Reason::Inactive, 401, None)));
    }
    let asked = server.state().questions.len();
    for token in ["bad-3", "bad-4", "other"] {
        assert_eq!(call(token).await, Err((Reason::TooManyFailures(7), 429, Some(7))));
    }
    assert_eq!(call("good").await, Ok(()), "its verdict is known");
    assert_eq!(server.state().questions.len(), asked);
    // Nothing of it is about another sender.
    assert_eq!(outcome(&authenticator, "other").await, Ok("alice".into()));
}

#[tokio::test]
async fn a_caller_is_no_longer_let_in_once_its_token_ended_or_its_issuer_is_not_trusted() {
    let server = AuthorizationServer::start(&[]).await;
    let authenticator = endpoint(&server, 300);
    say(&server, "t", active());
    let principal = present(&authenticator, "t", None).await.unwrap();
    let reason = |authenticator: &Authenticator, principal: &Principal| {
        authenticator.recheck(principal).map_err(|rejection| rejection.reason())
    };
    assert_eq!(reason(&authenticator, &principal), Ok(()));
    let mut ended = principal.clone();
    ended.claims.insert("exp".into(), json!(now() - 60));
    assert_eq!(reason(&authenticator, &ended), Err(Reason::Expired));
    let mut foreign = principal.clone();
    foreign.issuer = Some("https://other.example".into());
    assert_eq!(reason(&authenticator, &foreign), Err(Reason::UnknownIssuer));
    assert_eq!(
        reason(&authenticator, &Principal::anonymous()),
        Err(Reason::NoCredential)
    );
    let open = start(&Authentication::anonymous());
    assert_eq!(reason(&open, &Principal::anonymous()), Ok(()));
    assert_eq!(reason(&open, &principal), Err(Reason::UnsupportedCredential));
}

#[tokio::test]
async fn a_signed_token_is_shown_to_its_own_issuer_only() {
    let signer = Signer::ed("d");
    let asked = AuthorizationServer::start(&[]).await;
    let listed = AuthorizationServer::start(&[&signer]).await;
    let mut both = policy(&listed, |issuer, _| issuer.issuer = "https://listed.example".into());
    let introspection = Introspection::new(asked.url("/introspect"), CLIENT_ID, asked.secret_file());
    let mut other = policy(&asked, |_, _| {}).oauth.unwrap().issuers.remove(0);
    other.verify = Verification::Introspection(introspection);
    both.oauth.as_mut().unwrap().issuers.push(other);
    let authenticator = start(&both);

    let of_listed = signer.token(&with(claims(), &json!({"iss": "https://listed.example"})));
    assert_eq!(outcome(&authenticator, &of_listed).await, Ok("alice".into()));
    let of_nobody = signer.token(&with(claims(), &json!({"iss": "https://nobody.example"})));
    assert_eq!(outcome(&authenticator, &of_nobody).await, Err(Reason::UnknownIssuer));
    // API keys are not shown to anybody either.
    assert_eq!(
        outcome(&authenticator, "mcpe_id_secret").await,
        Err(Reason::UnsupportedCredential)
    );
    assert!(asked.state().questions.is_empty());

    let of_asked = signer.token(&claims());
    assert_eq!(claims()["iss"], ISSUER);
    say(&asked, &of_asked, active());
    assert_eq!(outcome(&authenticator, &of_asked).await, Ok("alice".into()));
    say(
        &asked,
        "opaque",
        with(active(), &json!({"aud": [RESOURCE], "sub": "bob"})),
    );
    assert_eq!(outcome(&authenticator, "opaque").await, Ok("bob".into()));
}

#[tokio::test]
async fn nothing_in_a_token_becomes_a_parameter_of_the_question() {
    let server = AuthorizationServer::start(&[]).await;
    let authenticator = endpoint(&server, 0);
    say(&server, "good", active());
    for token in ["good&x=", "x&token=good", "good#", "good%00", "%67ood"] {
        assert_eq!(outcome(&authenticator, token).await, Err(Reason::Inactive), "{token}");
    }
    assert_eq!(server.state().questions[1], "x%26token%3Dgood");
    assert_eq!(outcome(&authenticator, "good").await, Ok("alice".into()));
}
