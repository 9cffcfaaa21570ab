//! Tokens that are not for this endpoint, or not by its issuer. Each differs from a good one in one thing.

use crate::stage::{ALLOWED, strict, strike};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ring::hmac;
use sallyport_attacks::{Beliefs, Careless, Era, Message, Post};
use sallyport_loopback::{Issuer, Sidecar};
use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};

#[tokio::test]
async fn no_token_opens_but_one_of_the_issuer_for_this_endpoint() {
    let (issuer, other) = (Issuer::start().await.unwrap(), Issuer::start().await.unwrap());
    let alone = Careless::start(Beliefs::default()).await.unwrap();
    let guarded = Careless::start(Beliefs::default()).await.unwrap();
    let profile = strict(guarded.address()).with(&json!({"authentication": issuer.authentication()}));
    let sidecar = Sidecar::start(&profile).await.unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let claims = |claims: Value| issuer.token(&claims);
    let header = |header: Value| issuer.token_with(&header, &json!({}));
    let good = claims(json!({}));
    let payload = good.split('.').nth(1).unwrap().to_owned();
    let part = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let none = format!("{}.{payload}.", part(&json!({"typ": "at+jwt", "alg": "none"})));
    let symmetric = {
        let signed = format!(
            "{}.{payload}",
            part(&json!({"typ": "at+jwt", "alg": "HS256", "kid": "1"}))
        );
        let key = hmac::Key::new(hmac::HMAC_SHA256, issuer.public_key());
        let signature = BASE64_URL_SAFE_NO_PAD.encode(hmac::sign(&key, signed.as_bytes()));
        format!("{signed}.{signature}")
    };
    let forged = {
        let mallory = part(&json!({"iss": issuer.name(), "sub": "mallory"}));
        good.replace(&payload, &mallory)
    };
    let own_key = BASE64_URL_SAFE_NO_PAD.encode(other.public_key());
    let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": own_key});
    let embedded = other.token_with(&json!({"jwk": jwk}), &json!({"iss": issuer.name()}));
    let fetched = other.token_with(
        &json!({"jku": format!("{}/keys", other.name())}),
        &json!({"iss": issuer.name()}),
    );
    let attacks = [
        (
            "another endpoint's",
            claims(json!({"aud": "https://other.example.com/mcp"})),
        ),
        ("nobody's", claims(json!({"aud": null}))),
        (
            "a longer audience",
            claims(json!({"aud": "https://mcp.example.com/mcp2"})),
        ),
        ("expired", claims(json!({"exp": now - 3600}))),
        ("without an end", claims(json!({"exp": null}))),
        ("an end in words", claims(json!({"exp": "tomorrow"}))),
        ("not yet", claims(json!({"nbf": now + 3600}))),
        ("another issuer", other.token(&json!({}))),
        (
            "another issuer with the name of this",
            other.token(&json!({"iss": issuer.name()})),
        ),
        (
            "an issuer's name that begins right",
            claims(json!({"iss": format!("{}/", issuer.name())})),
        ),
        ("no signature", none),
        ("the public key as a secret", symmetric),
        ("other claims", forged),
        (
            "no signature after the dot",
            format!("{}.", good.rsplit_once('.').unwrap().0),
        ),
        ("an ID token", header(json!({"typ": "JWT"}))),
        ("an assertion", header(json!({"typ": "oauth-id-jag+jwt"}))),
        ("no type", header(json!({"typ": null}))),
        (
            "a key that is a path",
            other.token_with(&json!({"kid": "../../dev/null"}), &json!({"iss": issuer.name()})),
        ),
        ("a key that nobody has", header(json!({"kid": "2"}))),
        ("a key of its own", embedded),
        ("a key somewhere else", fetched),
        ("something critical", header(json!({"crit": ["exp"]}))),
        ("bound to a key", claims(json!({"cnf": {"jkt": "abc"}}))),
    ];
    let call = Post::of(Era::Modern, &Message::call(Era::Modern, ALLOWED, &json!({})));
    let with = |token: &str| call.clone().header("Authorization", &format!("Bearer {token}"));
    let opened = strike(sidecar.address(), &with(&good).bytes()).await.unwrap();
    assert!(opened.is_success(), "the good token is refused: {opened:?}");
    let mut wrong = vec![];
    for (name, token) in &attacks {
        let off = strike(alone.address(), &with(token).bytes()).await;
        if !off.is_some_and(|answer| answer.is_success()) {
            wrong.push(format!("{name}: no attack: the server alone refuses it"));
        }
        let answer = strike(sidecar.address(), &with(token).bytes()).await;
        let challenged = answer
            .as_ref()
            .is_some_and(|answer| answer.status == 401 && answer.header("www-authenticate").is_some());
        if !challenged {
            wrong.push(format!("{name}: {answer:?}"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    assert_eq!(guarded.ran(), [ALLOWED]);
    assert!(!sidecar.output().contains(&payload), "a token is in the log");
}
