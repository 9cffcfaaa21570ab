use super::*;
use pretty_assertions::assert_eq;
use sallyport_policy::authentication::{Jwks, Verification};
use serde_json::json;

const NOW: Now = Now(1_800_000_000);

fn rules(change: impl FnOnce(&mut OAuth)) -> Rules {
    let issuer = Issuer {
        issuer: "https://i.example".into(),
        verify: Verification::Jwks(Jwks::new("https://i.example/jwks")),
        audiences: vec![],
        claims: ClaimNames::default(),
        not_before: None,
        ca_file: None,
    };
    let mut oauth = OAuth::new("https://a.example/mcp", vec![issuer]);
    change(&mut oauth);
    Rules::new(&oauth, &oauth.issuers[0])
}

fn good() -> Value {
    json!({
        "iss": "https://i.example", "aud": "https://a.example/mcp", "sub": "alice", "client_id": "desktop",
        "iat": NOW.0 - 10, "exp": NOW.0 + 600, "jti": "1", "scope": "read write", "roles": ["dev"],
    })
}

/// `good` with the members of `change` in place of its own; null takes one away.
fn with(change: &Value) -> Value {
    let mut claims = good();
    for (name, value) in change.as_object().unwrap() {
        claims[name] = value.clone();
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(name);
        }
    }
    claims
}

fn admit(rules: &Rules, form: Form, claims: &Value) -> Result<Principal, Reason> {
    let claims = StrictObject(claims.as_object().unwrap().clone());
    rules.admit(form, claims, NOW, None)
}

fn outcome(form: Form, change: &Value) -> Result<(), Reason> {
    admit(&rules(|_| {}), form, &with(change)).map(drop)
}

#[test]
fn a_token_becomes_the_principal_that_it_describes() {
    let principal = admit(
        &rules(|_| {}),
        Form::Rfc9068,
        &with(&json!({"acr": "gold", "auth_time": 5})),
    )
    .unwrap();
    assert_eq!(principal.kind, PrincipalKind::Jwt);
    assert_eq!(principal.issuer.as_deref(), Some("https://i.example"));
    assert_eq!(principal.subject.as_deref(), Some("alice"));
    assert_eq!(principal.client.as_deref(), Some("desktop"));
    assert_eq!(principal.scopes.iter().collect::<Vec<_>>(), ["read", "write"]);
    assert_eq!(principal.roles.iter().collect::<Vec<_>>(), ["dev"]);
    assert_eq!(principal.acr.as_deref(), Some("gold"));
    assert_eq!((principal.auth_time, principal.expires), (Some(5), Some(NOW.0 + 600)));
    assert_eq!(principal.claims["jti"], "1");
}

#[test]
fn each_claim_that_a_form_needs_must_be_there() {
    for name in ["iss", "exp", "sub", "client_id", "iat", "jti"] {
        assert_eq!(
            outcome(Form::Rfc9068, &json!({ name: null })),
            Err(Reason::MalformedToken),
            "{name}"
        );
    }
    assert_eq!(
        outcome(Form::Rfc9068, &json!({"aud": null})),
        Err(Reason::WrongAudience)
    );
    for name in ["client_id", "iat", "jti"] {
        for form in [Form::Typed, Form::Untyped] {
            assert_eq!(outcome(form, &json!({ name: null })), Ok(()), "{name}");
        }
    }
    for (name, reason) in [
        ("iss", Reason::MalformedToken),
        ("exp", Reason::MalformedToken),
        ("aud", Reason::WrongAudience),
    ] {
        assert_eq!(outcome(Form::Untyped, &json!({ name: null })), Err(reason), "{name}");
    }
    for name in ["iss", "exp", "iat", "jti", "sub"] {
        assert_eq!(outcome(Form::Introspected, &json!({ name: null })), Ok(()), "{name}");
    }
    assert_eq!(
        outcome(Form::Introspected, &json!({"aud": null})),
        Err(Reason::WrongAudience)
    );
    let nobody = json!({"sub": null, "client_id": null});
    assert_eq!(outcome(Form::Introspected, &nobody), Err(Reason::MalformedToken));
}

#[test]
fn times_hold_to_the_second_within_the_leeway() {
    for (change, expected) in [
        (json!({"exp": NOW.0 - 29}), Ok(())),
        (json!({"exp": NOW.0 - 30}), Err(Reason::Expired)),
        (json!({"exp": 0}), Err(Reason::Expired)),
        (json!({"nbf": NOW.0 + 30}), Ok(())),
        (json!({"nbf": NOW.0 + 31}), Err(Reason::NotYetValid)),
        (json!({"iat": NOW.0 + 31}), Err(Reason::NotYetValid)),
        (json!({"exp": 1_800_000_000.5}), Ok(())),
        (json!({"exp": i64::MAX}), Ok(())),
        (json!({"exp": "9999999999"}), Err(Reason::MalformedToken)),
        (json!({"exp": -1}), Err(Reason::MalformedToken)),
        (json!({"exp": 1e300}), Err(Reason::MalformedToken)),
        (json!({"exp": u64::MAX}), Err(Reason::MalformedToken)),
        (json!({"exp": true}), Err(Reason::MalformedToken)),
        (json!({"exp": [9_999_999_999_i64]}), Err(Reason::MalformedToken)),
        (json!({"nbf": "0"}), Err(Reason::MalformedToken)),
        (json!({"auth_time": "0"}), Err(Reason::MalformedToken)),
    ] {
        for form in [Form::Rfc9068, Form::Untyped, Form::Introspected] {
            assert_eq!(outcome(form, &change), expected, "{change} {form:?}");
        }
    }
}

#[test]
fn tokens_from_before_the_epoch_are_refused_by_issuer_and_for_all() {
    let revoked = |global: Option<i64>, own: Option<i64>, change: &Value| {
        let rules = rules(|oauth| {
            oauth.not_before = global;
            oauth.issuers[0].not_before = own;
        });
        admit(&rules, Form::Untyped, &with(change)).map(drop)
    };
    let issued = NOW.0 - 10;
    for (global, own) in [
        (Some(issued + 1), None),
        (None, Some(issued + 1)),
        (Some(issued + 1), Some(0)),
    ] {
        assert_eq!(
            revoked(global, own, &json!({})),
            Err(Reason::Revoked),
            "{global:?} {own:?}"
        );
    }
    assert_eq!(revoked(Some(issued), Some(issued), &json!({})), Ok(()));
    assert_eq!(revoked(Some(0), None, &json!({"iat": null})), Err(Reason::Revoked));
    assert_eq!(revoked(None, None, &json!({"iat": null})), Ok(()));
}

#[test]
fn only_tokens_for_this_endpoint_are_taken() {
    for (audience, expected) in [
        (json!("https://a.example/mcp"), Ok(())),
        (json!("https://A.EXAMPLE/mcp/"), Ok(())),
        (json!(["https://other.example", "https://a.example/mcp"]), Ok(())),
        (json!("https://a.example"), Err(Reason::WrongAudience)),
        (json!("https://a.example/mcp/other"), Err(Reason::WrongAudience)),
        (json!("https://a.example/MCP"), Err(Reason::WrongAudience)),
        (json!("https://a.example/mcp?x"), Err(Reason::WrongAudience)),
        (json!("https://a.example.evil/mcp"), Err(Reason::WrongAudience)),
        (json!("*"), Err(Reason::WrongAudience)),
        (json!([]), Err(Reason::WrongAudience)),
        (json!([["https://a.example/mcp"]]), Err(Reason::WrongAudience)),
        (json!({"https://a.example/mcp": 1}), Err(Reason::WrongAudience)),
        (json!(1), Err(Reason::WrongAudience)),
    ] {
        assert_eq!(
            outcome(Form::Rfc9068, &json!({ "aud": audience })),
            expected,
            "{audience}"
        );
    }
    let named = rules(|oauth| oauth.issuers[0].audiences = vec!["api://sallyport".into()]);
    assert!(admit(&named, Form::Rfc9068, &with(&json!({"aud": "api://sallyport"}))).is_ok());
    assert_eq!(admit(&named, Form::Rfc9068, &good()), Err(Reason::WrongAudience));
}

#[test]
fn a_token_of_another_issuer_is_refused_even_if_it_looks_alike() {
    for issuer in ["https://i.example/", "https://I.example", "https://evil.example", ""] {
        assert_eq!(
            outcome(Form::Rfc9068, &json!({ "iss": issuer })),
            Err(Reason::UnknownIssuer),
            "{issuer}"
        );
    }
    assert_eq!(
        outcome(Form::Introspected, &json!({"iss": "https://evil.example"})),
        Err(Reason::UnknownIssuer)
    );
    assert_eq!(
        outcome(Form::Rfc9068, &json!({"iss": ["https://i.example"]})),
        Err(Reason::MalformedToken)
    );
}

#[test]
fn id_tokens_and_refresh_tokens_are_no_access_tokens() {
    for change in [
        json!({"nonce": "n"}),
        json!({"at_hash": "h"}),
        json!({"c_hash": "h"}),
        json!({"events": {}}),
        json!({"typ": "ID"}),
        json!({"typ": "Refresh"}),
        json!({"typ": ["Bearer"]}),
        json!({"token_use": "id"}),
        json!({"typ": "Bearer", "token_use": "id"}),
    ] {
        for form in [Form::Untyped, Form::Introspected] {
            assert_eq!(outcome(form, &change), Err(Reason::WrongTokenType), "{change}");
        }
        // The type of the token already said what it is.
        for form in [Form::Rfc9068, Form::Typed] {
            assert_eq!(outcome(form, &change), Ok(()), "{change}");
        }
    }
    // Some issuers put the nonce into access tokens, and say that they are such.
    for change in [json!({"typ": "Bearer", "nonce": "n"}), json!({"token_use": "access"})] {
        assert_eq!(outcome(Form::Untyped, &change), Ok(()), "{change}");
    }
}

#[test]
fn a_bound_token_without_proof_is_refused_whatever_the_binding() {
    for confirmation in [
        json!({"jkt": "abc"}),
        json!({"x5t#S256": "abc"}),
        json!({"x5t#S256": ""}),
        json!({"jwk": {}}),
        json!({"kid": "a"}),
        json!({}),
        json!(null),
        json!("x5t#S256"),
        json!([]),
    ] {
        let mut claims = good();
        claims["cnf"] = confirmation.clone();
        for form in [Form::Rfc9068, Form::Untyped, Form::Introspected] {
            let outcome = admit(&rules(|_| {}), form, &claims).map(drop);
            assert_eq!(outcome, Err(Reason::UnprovenPossession), "{confirmation}");
        }
    }
}

#[test]
fn a_client_that_calls_for_itself_has_no_subject() {
    for (change, client) in [
        (json!({"sub": "robot", "client_id": "robot"}), "robot"),
        (json!({"sub": "1234", "client_id": "robot", "idtyp": "app"}), "robot"),
    ] {
        let principal = admit(&rules(|_| {}), Form::Rfc9068, &with(&change)).unwrap();
        assert!(principal.is_client_alone(), "{change}");
        assert_eq!(principal.client.as_deref(), Some(client));
    }
    assert!(!admit(&rules(|_| {}), Form::Rfc9068, &good()).unwrap().is_client_alone());
}

#[test]
fn claims_are_found_by_the_names_that_the_policy_gives() {
    let rules = rules(|oauth| {
        oauth.issuers[0].claims = ClaimNames {
            subject: "preferred_username".into(),
            client: "azp".into(),
            scope: "scp".into(),
            roles: "/realm_access/roles".into(),
        };
    });
    let claims = with(&json!({
        "preferred_username": "al", "azp": "desk", "scp": ["a", "b"], "realm_access": {"roles": ["r"]},
        "client_id": "not this", "scope": "not this", "roles": ["not this"],
    }));
    let principal = admit(&rules, Form::Rfc9068, &claims).unwrap();
    assert_eq!(principal.subject.as_deref(), Some("al"));
    assert_eq!(principal.client.as_deref(), Some("desk"));
    assert_eq!(principal.scopes, ["a".to_owned(), "b".to_owned()].into());
    assert_eq!(principal.roles, ["r".to_owned()].into());
}

#[test]
fn scopes_and_roles_of_another_form_are_refused_and_not_guessed() {
    for change in [
        json!({"scope": 1}),
        json!({"scope": {"read": true}}),
        json!({"scope": ["read", 1]}),
        json!({"roles": [["admin"]]}),
        json!({"roles": {"admin": true}}),
        json!({"sub": ["alice"]}),
        json!({"sub": ""}),
        json!({"client_id": 1}),
        json!({"acr": 1}),
    ] {
        assert_eq!(outcome(Form::Rfc9068, &change), Err(Reason::MalformedToken), "{change}");
    }
    let one = admit(&rules(|_| {}), Form::Rfc9068, &with(&json!({"roles": "a b"}))).unwrap();
    assert_eq!(one.roles, ["a b".to_owned()].into(), "a role may have spaces");
}
