//! Signed tokens: good ones of each kind, and attacks. Each attack is one change to a token that is taken.

use crate::support::{
    AuthorizationServer, ISSUER, RESOURCE, Signer, claims, encode, now, outcome, policy, present, start, with,
};
use pretty_assertions::assert_eq;
use ring::hmac;
use sallyport_auth::{Authenticator, Reason};
use sallyport_policy::PrincipalKind;
use sallyport_policy::authentication::{Algorithm, TokenType};
use serde_json::{Value, json};

/// An issuer with one key, and an endpoint that trusts it.
async fn issuer(signer: &Signer) -> (AuthorizationServer, Authenticator) {
    let server = AuthorizationServer::start(&[signer]).await;
    let authenticator = start(&policy(&server, |_, _| {}));
    (server, authenticator)
}

#[tokio::test]
async fn tokens_of_each_algorithm_are_taken() {
    let signers = [Signer::rsa("r"), Signer::ec("c"), Signer::ed("d")];
    let server = AuthorizationServer::start(&signers.each_ref()).await;
    let authenticator = start(&policy(&server, |_, _| {}));
    for signer in &signers {
        let principal = present(&authenticator, &signer.token(&claims()), None).await.unwrap();
        assert_eq!(principal.kind, PrincipalKind::Jwt, "{}", signer.algorithm());
        assert_eq!(principal.subject.as_deref(), Some("alice"));
        assert_eq!(principal.issuer.as_deref(), Some(ISSUER));
        assert!(principal.scopes.contains("read"));
        assert_eq!(principal.credential.unwrap().len(), 64);
    }
    assert_eq!(server.state().key_requests, 1);
    assert_eq!(authenticator.problems(), Vec::<String>::new());
}

#[tokio::test]
async fn an_algorithm_that_the_policy_does_not_name_is_refused_though_the_signature_holds() {
    let signers = [Signer::rsa("r"), Signer::ec("c")];
    let server = AuthorizationServer::start(&signers.each_ref()).await;
    let authenticator = start(&policy(&server, |_, jwks| jwks.algorithms = vec![Algorithm::ES256]));
    assert_eq!(
        outcome(&authenticator, &signers[1].token(&claims())).await,
        Ok("alice".into())
    );
    let refused = outcome(&authenticator, &signers[0].token(&claims())).await;
    assert_eq!(refused, Err(Reason::UnsupportedAlgorithm));
}

/// `HS256` with what everybody knows as the secret.
fn symmetric(header: &Value, secret: &[u8]) -> String {
    let message = format!("{}.{}", encode(header.to_string()), encode(claims().to_string()));
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    let tag = hmac::sign(&key, message.as_bytes());
    // What a verifier sees that lets the token choose the algorithm.
    hmac::verify(&key, message.as_bytes(), tag.as_ref()).unwrap();
    format!("{message}.{}", encode(tag.as_ref()))
}

#[tokio::test]
async fn a_public_key_is_no_shared_secret() {
    let signer = Signer::rsa("r");
    let (_server, authenticator) = issuer(&signer).await;
    let jwk = signer.jwk();
    for secret in [jwk["n"].as_str().unwrap().as_bytes(), jwk.to_string().as_bytes(), b""] {
        for algorithm in ["HS256", "hs256", "HS384", "HS512"] {
            let header = with(signer.header(), &json!({ "alg": algorithm }));
            let refused = outcome(&authenticator, &symmetric(&header, secret)).await;
            assert_eq!(refused, Err(Reason::UnsupportedAlgorithm), "{algorithm}");
        }
        // The algorithm is right and the signature is a MAC.
        let refused = outcome(&authenticator, &symmetric(&signer.header(), secret)).await;
        assert_eq!(refused, Err(Reason::BadSignature));
    }
}

#[tokio::test]
async fn a_symmetric_key_in_the_key_set_signs_nothing() {
    let signer = Signer::ed("d");
    let (server, _) = issuer(&signer).await;
    let known = json!({"kty": "oct", "kid": "s", "alg": "HS256", "k": encode("shared")});
    server.state().keys.push(known);
    let authenticator = start(&policy(&server, |_, _| {}));
    assert_eq!(
        outcome(&authenticator, &signer.token(&claims())).await,
        Ok("alice".into())
    );
    for (algorithm, reason) in [
        ("HS256", Reason::UnsupportedAlgorithm),
        ("EdDSA", Reason::UnknownSigningKey),
        ("RS256", Reason::UnknownSigningKey),
    ] {
        let header = json!({"alg": algorithm, "typ": "at+jwt", "kid": "s"});
        let refused = outcome(&authenticator, &symmetric(&header, b"shared")).await;
        assert_eq!(refused, Err(reason), "{algorithm}");
    }
}

#[tokio::test]
async fn a_token_without_a_signature_is_refused_however_it_says_so() {
    let signer = Signer::ec("c");
    let (_server, authenticator) = issuer(&signer).await;
    for algorithm in ["none", "None", "NONE", "nOnE", ""] {
        let header = with(signer.header(), &json!({ "alg": algorithm })).to_string();
        let unsigned = format!("{}.{}.", encode(&header), encode(claims().to_string()));
        assert_eq!(
            outcome(&authenticator, &unsigned).await,
            Err(Reason::UnsupportedAlgorithm),
            "{algorithm}"
        );
        // A readable token: whoever does not insist on a signature takes it.
        let read = jsonwebtoken::dangerous::insecure_decode_claims::<Value>(&unsigned).unwrap();
        assert_eq!(read["sub"], "alice");
    }
    let good = signer.token(&claims());
    let (message, _) = good.rsplit_once('.').unwrap();
    for signature in ["", "AAAA", &"A".repeat(86), "!", "===="] {
        let refused = outcome(&authenticator, &format!("{message}.{signature}")).await;
        assert!(
            matches!(refused, Err(Reason::BadSignature | Reason::MalformedToken)),
            "{signature}: {refused:?}"
        );
    }
    assert_eq!(outcome(&authenticator, &good).await, Ok("alice".into()));
}

#[tokio::test]
async fn the_key_of_somebody_else_signs_nothing_however_the_token_points_to_it() {
    let (signer, thief) = (Signer::ed("d"), Signer::ed("d"));
    let (server, authenticator) = issuer(&signer).await;
    let own = AuthorizationServer::start(&[&thief]).await;
    for (change, reason) in [
        (json!({}), Reason::BadSignature),
        (json!({"jwk": thief.jwk()}), Reason::MalformedToken),
        (json!({"jku": own.url("/jwks")}), Reason::BadSignature),
        (json!({"x5u": own.url("/jwks")}), Reason::BadSignature),
        (json!({"x5c": ["AAAA"]}), Reason::BadSignature),
        (json!({"kid": null}), Reason::BadSignature),
    ] {
        let header = with(thief.header(), &change).to_string();
        let refused = outcome(&authenticator, &thief.sign(&header, &claims().to_string())).await;
        assert_eq!(refused, Err(reason), "{change}");
    }
    assert_eq!(own.state().key_requests, 0, "nobody went where a token pointed");
    // Where its key is listed, the same token is taken.
    server.state().keys = vec![thief.jwk()];
    let fooled = start(&policy(&server, |_, _| {}));
    assert_eq!(outcome(&fooled, &thief.token(&claims())).await, Ok("alice".into()));
}

#[tokio::test]
async fn a_key_id_is_a_name_and_nothing_else() {
    let signer = Signer::ed("d");
    let (server, authenticator) = issuer(&signer).await;
    assert_eq!(
        outcome(&authenticator, &signer.token(&claims())).await,
        Ok("alice".into())
    );
    for (id, reason) in [
        (json!("../../../../dev/null"), Reason::UnknownSigningKey),
        (json!("/etc/passwd"), Reason::UnknownSigningKey),
        (json!("x' UNION SELECT 'key' --"), Reason::UnknownSigningKey),
        (json!("https://evil.example/jwks"), Reason::UnknownSigningKey),
        (json!("d\u{0}"), Reason::UnknownSigningKey),
        (json!("D"), Reason::UnknownSigningKey),
        (json!(""), Reason::UnknownSigningKey),
        (json!("*"), Reason::UnknownSigningKey),
        (json!("k".repeat(257)), Reason::MalformedToken),
        (json!(["d"]), Reason::MalformedToken),
        (json!({"d": 1}), Reason::MalformedToken),
        (json!(0), Reason::MalformedToken),
    ] {
        let header = with(signer.header(), &json!({ "kid": id })).to_string();
        let refused = outcome(&authenticator, &signer.sign(&header, &claims().to_string())).await;
        assert_eq!(refused, Err(reason), "{id}");
    }
    assert_eq!(
        server.state().key_requests,
        1,
        "a cool-down keeps names from becoming requests"
    );
}

#[tokio::test]
async fn only_access_tokens_are_taken_by_their_type() {
    let signer = Signer::ec("c");
    let (server, strict) = issuer(&signer).await;
    let lenient = start(&policy(&server, |_, jwks| jwks.token_type = TokenType::Jwt));
    for (kind, by_strict, by_lenient) in [
        (json!("at+jwt"), Ok("alice".to_owned()), Ok("alice".to_owned())),
        (json!("application/AT+JWT"), Ok("alice".into()), Ok("alice".into())),
        (json!("JWT"), Err(Reason::WrongTokenType), Ok("alice".into())),
        (Value::Null, Err(Reason::WrongTokenType), Ok("alice".into())),
        (
            json!("oauth-id-jag+jwt"),
            Err(Reason::WrongTokenType),
            Err(Reason::WrongTokenType),
        ),
        (
            json!("dpop+jwt"),
            Err(Reason::WrongTokenType),
            Err(Reason::WrongTokenType),
        ),
        (
            json!("logout+jwt"),
            Err(Reason::WrongTokenType),
            Err(Reason::WrongTokenType),
        ),
        (
            json!("secevent+jwt"),
            Err(Reason::WrongTokenType),
            Err(Reason::WrongTokenType),
        ),
        (
            json!("token-introspection+jwt"),
            Err(Reason::WrongTokenType),
            Err(Reason::WrongTokenType),
        ),
        (json!(""), Err(Reason::WrongTokenType), Err(Reason::WrongTokenType)),
        (
            json!(["at+jwt"]),
            Err(Reason::MalformedToken),
            Err(Reason::MalformedToken),
        ),
    ] {
        let header = with(signer.header(), &json!({ "typ": kind })).to_string();
        let token = signer.sign(&header, &claims().to_string());
        assert_eq!(outcome(&strict, &token).await, by_strict, "{kind}");
        assert_eq!(outcome(&lenient, &token).await, by_lenient, "{kind}");
    }
}

#[tokio::test]
async fn a_header_that_changes_the_token_s_meaning_is_refused() {
    let signer = Signer::ec("c");
    let (_server, authenticator) = issuer(&signer).await;
    for change in [
        json!({"crit": ["exp"], "exp": 0}),
        json!({"crit": []}),
        json!({"b64": false, "crit": ["b64"]}),
        json!({"b64": true}),
        json!({"zip": "DEF"}),
        json!({"enc": "A256GCM"}),
        json!({"alg": ["ES256"]}),
        json!({"alg": null}),
    ] {
        let header = with(signer.header(), &change).to_string();
        let refused = outcome(&authenticator, &signer.sign(&header, &claims().to_string())).await;
        assert_eq!(refused, Err(Reason::MalformedToken), "{change}");
    }
    let header = with(signer.header(), &json!({"x5t": "AAAA", "unknown": {"a": 1}})).to_string();
    assert_eq!(
        outcome(&authenticator, &signer.sign(&header, &claims().to_string())).await,
        Ok("alice".into())
    );
}

#[tokio::test]
async fn claims_that_do_not_fit_are_refused_though_the_signature_holds() {
    let signer = Signer::ed("d");
    let (_server, authenticator) = issuer(&signer).await;
    for (change, reason) in [
        (json!({"exp": now() - 60}), Reason::Expired),
        (json!({"nbf": now() + 120}), Reason::NotYetValid),
        (json!({"iat": now() + 120}), Reason::NotYetValid),
        (json!({"aud": "https://other.example/mcp"}), Reason::WrongAudience),
        (json!({"aud": ["https://other.example/mcp"]}), Reason::WrongAudience),
        (json!({"aud": "https://mcp.example.com/other"}), Reason::WrongAudience),
        (json!({"iss": "https://evil.example"}), Reason::UnknownIssuer),
        (json!({"iss": format!("{ISSUER}/")}), Reason::UnknownIssuer),
        (json!({"iss": [ISSUER]}), Reason::MalformedToken),
        (json!({"iss": null}), Reason::MalformedToken),
        (json!({"exp": null}), Reason::MalformedToken),
        (json!({"exp": "99999999999"}), Reason::MalformedToken),
        (json!({"exp": -1}), Reason::MalformedToken),
        (json!({"jti": null}), Reason::MalformedToken),
        (json!({"sub": null}), Reason::MalformedToken),
        (json!({"cnf": {"jkt": "abc"}}), Reason::UnprovenPossession),
        (json!({"cnf": {"x5t#S256": "abc"}}), Reason::UnprovenPossession),
    ] {
        let refused = outcome(&authenticator, &signer.token(&with(claims(), &change))).await;
        assert_eq!(refused, Err(reason), "{change}");
    }
    assert_eq!(
        outcome(&authenticator, &signer.token(&claims())).await,
        Ok("alice".into())
    );
}

#[tokio::test]
async fn a_token_of_another_endpoint_of_the_same_issuer_is_refused_here_and_taken_there() {
    let signer = Signer::ed("d");
    let (server, here) = issuer(&signer).await;
    let mut other = policy(&server, |_, _| {});
    other.oauth.as_mut().unwrap().resource = "https://mcp.example.com/other".into();
    let there = start(&other);
    let token = signer.token(&with(claims(), &json!({"aud": "https://mcp.example.com/other"})));
    assert_eq!(outcome(&there, &token).await, Ok("alice".into()));
    assert_eq!(outcome(&here, &token).await, Err(Reason::WrongAudience));
}

#[tokio::test]
async fn issuers_do_not_sign_for_each_other() {
    let (one, two) = (Signer::ed("same"), Signer::ed("same"));
    let (server_one, server_two) = (
        AuthorizationServer::start(&[&one]).await,
        AuthorizationServer::start(&[&two]).await,
    );
    let mut both = policy(&server_one, |_, _| {});
    let other = policy(&server_two, |issuer, _| issuer.issuer = "https://two.example".into());
    both.oauth
        .as_mut()
        .unwrap()
        .issuers
        .extend(other.oauth.unwrap().issuers);
    let authenticator = start(&both);
    let of_two = with(claims(), &json!({"iss": "https://two.example"}));
    assert_eq!(outcome(&authenticator, &one.token(&claims())).await, Ok("alice".into()));
    assert_eq!(outcome(&authenticator, &two.token(&of_two)).await, Ok("alice".into()));
    assert_eq!(
        outcome(&authenticator, &one.token(&of_two)).await,
        Err(Reason::BadSignature)
    );
    assert_eq!(
        outcome(&authenticator, &two.token(&claims())).await,
        Err(Reason::BadSignature)
    );
    let same_name = [
        present(&authenticator, &one.token(&claims()), None)
            .await
            .unwrap()
            .binding(),
        present(&authenticator, &two.token(&of_two), None)
            .await
            .unwrap()
            .binding(),
    ];
    assert_ne!(same_name[0], same_name[1], "two users of one name are two");
}

#[tokio::test]
async fn a_token_that_means_two_things_is_refused() {
    let signer = Signer::ed("d");
    let (_server, authenticator) = issuer(&signer).await;
    let good = claims().to_string();
    let (open, header) = (&good[1..], signer.header().to_string());
    for text in [
        format!("{{\"sub\": \"admin\", {open}"),
        format!("{{\"\\u0073ub\": \"admin\", {open}"),
        format!("{{\"aud\": \"https://other.example\", {open}"),
        format!("{{\"exp\": 1, {open}"),
        format!("{{\"cnf\": {{\"jkt\": \"a\", \"jkt\": \"a\"}}, {open}"),
    ] {
        // Readers that take the last of two names see the good token.
        let last: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            (&last["sub"], &last["aud"]),
            (&json!("alice"), &json!(RESOURCE)),
            "{text}"
        );
        let refused = outcome(&authenticator, &signer.sign(&header, &text)).await;
        assert_eq!(refused, Err(Reason::MalformedToken), "{text}");
    }
    let twice = format!("{{\"alg\": \"none\", {}", &header[1..]);
    assert_eq!(
        outcome(&authenticator, &signer.sign(&twice, &good)).await,
        Err(Reason::MalformedToken)
    );
    assert_eq!(
        outcome(&authenticator, &signer.sign(&header, &good)).await,
        Ok("alice".into())
    );
}

#[tokio::test]
async fn what_has_not_the_form_of_a_token_is_refused() {
    let signer = Signer::ec("c");
    let (_server, authenticator) = issuer(&signer).await;
    let good = signer.token(&claims());
    let (head, rest) = good.split_once('.').unwrap();
    let (body, signature) = rest.split_once('.').unwrap();
    for token in [
        "x".to_owned(),
        "a.b".to_owned(),
        "a.b.c".to_owned(),
        "...".to_owned(),
        "..".to_owned(),
        format!("{good}.{signature}"),
        format!("{head}.{body}"),
        format!("{head}..{signature}"),
        format!("{head}=.{body}.{signature}"),
        format!("{head}.{body}=.{signature}"),
        format!("{head}.{body}.{signature}="),
        format!("{head}.{}.{signature}", encode("[]")),
        format!("{head}.{}.{signature}", encode("{} {}")),
        format!("{head}.{}.{signature}", encode("{\"a\":".repeat(100))),
        format!("{}.{body}.{signature}", encode("null")),
    ] {
        assert_eq!(
            outcome(&authenticator, &token).await,
            Err(Reason::MalformedToken),
            "{token}"
        );
    }
    // An ECDSA signature in DER, and one of zeros (CVE-2022-21449).
    for signature in [encode([0; 64]), encode([0x30, 6, 2, 1, 1, 2, 1, 1])] {
        let refused = outcome(&authenticator, &format!("{head}.{body}.{signature}")).await;
        assert_eq!(refused, Err(Reason::BadSignature), "{signature}");
    }
}

#[tokio::test]
async fn tokens_from_before_the_epoch_are_refused_and_new_ones_taken() {
    let signer = Signer::ed("d");
    let server = AuthorizationServer::start(&[&signer]).await;
    let token = signer.token(&claims());
    let mut policy = policy(&server, |_, _| {});
    assert_eq!(outcome(&start(&policy), &token).await, Ok("alice".into()));
    policy.oauth.as_mut().unwrap().not_before = Some(now() - 5);
    let revoking = start(&policy);
    assert_eq!(outcome(&revoking, &token).await, Err(Reason::Revoked));
    let fresh = signer.token(&with(claims(), &json!({"iat": now()})));
    assert_eq!(outcome(&revoking, &fresh).await, Ok("alice".into()));
}
