//! Which credential decides, what callers are told, and what the endpoint tells of itself.

use crate::support::{AuthorizationServer, Directory, Signer, claims, head, policy, start};
use pretty_assertions::assert_eq;
use sallyport_auth::{Authenticator, Reason, Rejection, StartError, TokensError};
use sallyport_policy::authentication::{ApiKeys, Introspection, Verification};
use sallyport_policy::{Authentication, PrincipalKind};
use serde_json::{Value, json};

const KEY_HASH: &str = "sha256:043a718774c572bd8a25adbeb1bfcd5c0256ae11cecf9f9c3f925d0e52beaf89";

async fn call(authenticator: &Authenticator, headers: &[&str]) -> Result<PrincipalKind, Reason> {
    let outcome = authenticator.authenticate(&head(headers), None, &()).await;
    outcome
        .map(|principal| principal.kind)
        .map_err(|rejection| rejection.reason())
}

fn shown(rejection: &Rejection) -> (u16, &str) {
    let value = rejection.www_authenticate().map_or("", |value| value.to_str().unwrap());
    (rejection.status().as_u16(), value)
}

fn keys(directory: &Directory) -> ApiKeys {
    let file = json!({"keys": [{"id": "k", "hash": KEY_HASH, "subject": "bob"}]});
    directory.write("keys.json", &file.to_string());
    ApiKeys {
        file: directory.path("keys.json"),
    }
}

#[tokio::test]
async fn a_credential_that_does_not_hold_is_never_passed_over() {
    let (signer, directory) = (Signer::ed("d"), Directory::new());
    let server = AuthorizationServer::start(&[&signer]).await;
    let everything = Authentication {
        anonymous: true,
        api_keys: Some(keys(&directory)),
        ..policy(&server, |_, _| {})
    };
    let authenticator = start(&everything);
    let token = format!("Bearer {}", signer.token(&claims()));
    let forged = format!("Bearer {}", Signer::ed("d").token(&claims()));
    assert_eq!(call(&authenticator, &[]).await, Ok(PrincipalKind::Anonymous));
    assert_eq!(
        call(&authenticator, &["Bearer mcpe_k_s"]).await,
        Ok(PrincipalKind::ApiKey)
    );
    assert_eq!(call(&authenticator, &[&token]).await, Ok(PrincipalKind::Jwt));
    for (headers, reason) in [
        (&["Bearer mcpe_k_wrong"][..], Reason::UnknownKey),
        (&[&forged], Reason::BadSignature),
        (&["Bearer junk"], Reason::MalformedToken),
        (&["Basic YTpi"], Reason::UnsupportedScheme),
        (&[""], Reason::MalformedAuthorization),
        (&["Bearer "], Reason::MalformedAuthorization),
        (&["Bearer mcpe_k_s", &token], Reason::MalformedAuthorization),
        (&["Bearer mcpe_k_s", "Bearer mcpe_k_s"], Reason::MalformedAuthorization),
        (&["Bearer mcpe_k_s, Bearer x"], Reason::MalformedAuthorization),
    ] {
        assert_eq!(call(&authenticator, headers).await, Err(reason), "{headers:?}");
    }
}

#[tokio::test]
async fn nobody_is_admitted_by_a_method_that_the_policy_does_not_name() {
    let (signer, directory) = (Signer::ed("d"), Directory::new());
    let server = AuthorizationServer::start(&[&signer]).await;
    let token = format!("Bearer {}", signer.token(&claims()));
    let only_keys = Authentication {
        api_keys: Some(keys(&directory)),
        ..Authentication::default()
    };
    for (policy, headers, reason) in [
        (Authentication::default(), &[][..], Reason::NoCredential),
        (
            Authentication::default(),
            &["Bearer mcpe_k_s"],
            Reason::UnsupportedCredential,
        ),
        (Authentication::default(), &[&token], Reason::UnsupportedCredential),
        (only_keys.clone(), &[], Reason::NoCredential),
        (only_keys, &[&token], Reason::UnsupportedCredential),
        (
            policy(&server, |_, _| {}),
            &["Bearer mcpe_k_s"],
            Reason::UnsupportedCredential,
        ),
        (policy(&server, |_, _| {}), &[], Reason::NoCredential),
    ] {
        assert_eq!(call(&start(&policy), headers).await, Err(reason), "{headers:?}");
    }
}

#[tokio::test]
async fn an_endpoint_that_knows_no_credentials_ignores_them_except_in_the_query() {
    let open = start(&Authentication::anonymous());
    for headers in [&[][..], &["Bearer x"], &["Basic YTpi"], &["Bearer a", "Bearer b"]] {
        assert_eq!(call(&open, headers).await, Ok(PrincipalKind::Anonymous));
    }
    let (mut head, ()) = http::Request::post("/mcp?access_token=x")
        .body(())
        .unwrap()
        .into_parts();
    let rejection = open.authenticate(&head, None, &()).await.unwrap_err();
    assert_eq!(rejection.reason(), Reason::CredentialInQuery);
    head.uri = "/mcp?x=1".parse().unwrap();
    assert!(open.authenticate(&head, None, &()).await.is_ok());
}

#[tokio::test]
async fn a_token_in_the_query_is_refused_though_it_is_good() {
    let signer = Signer::ed("d");
    let server = AuthorizationServer::start(&[&signer]).await;
    let authenticator = start(&policy(&server, |_, _| {}));
    let token = signer.token(&claims());
    let (mut in_query, ()) = http::Request::post(format!("/mcp?access_token={token}"))
        .body(())
        .unwrap()
        .into_parts();
    let rejection = authenticator.authenticate(&in_query, None, &()).await.unwrap_err();
    assert_eq!(rejection.reason(), Reason::CredentialInQuery);
    assert!(shown(&rejection).1.starts_with("Bearer error=\"invalid_request\""));
    assert_eq!(rejection.status(), 400);
    in_query.headers = head(&[&format!("Bearer {token}")]).headers;
    assert!(
        authenticator.authenticate(&in_query, None, &()).await.is_err(),
        "beside a good header too"
    );
    assert_eq!(
        call(&authenticator, &[&format!("Bearer {token}")]).await,
        Ok(PrincipalKind::Jwt)
    );
}

#[tokio::test]
async fn callers_are_told_where_to_get_a_token_and_what_was_wrong_with_theirs() {
    let signer = Signer::ed("d");
    let server = AuthorizationServer::start(&[&signer]).await;
    let authenticator = start(&policy(&server, |_, _| {}));
    let metadata = "resource_metadata=\"https://mcp.example.com/.well-known/oauth-protected-resource/mcp\"";
    let none = authenticator.authenticate(&head(&[]), None, &()).await.unwrap_err();
    assert_eq!(
        shown(&none),
        (401, format!("Bearer scope=\"read\", {metadata}").as_str())
    );
    let bad = authenticator
        .authenticate(&head(&["Bearer x"]), None, &())
        .await
        .unwrap_err();
    assert_eq!(
        shown(&bad),
        (
            401,
            format!(
                "Bearer error=\"invalid_token\", error_description=\"malformed token\", scope=\"read\", {metadata}"
            )
            .as_str()
        )
    );
    let scope = authenticator.insufficient_scope(&["write", "tool:delete"]);
    assert_eq!(scope.status(), 403);
    assert!(shown(&scope).1.contains("scope=\"write tool:delete\"") && shown(&scope).1.contains(metadata));
    let step_up = authenticator.insufficient_authentication(&["urn:mfa"], Some(60));
    assert_eq!(step_up.status(), 401);
    assert!(
        shown(&step_up).1.contains("acr_values=\"urn:mfa\", max_age=\"60\""),
        "{:?}",
        shown(&step_up)
    );
}

#[tokio::test]
async fn metadata_is_served_at_the_path_that_the_challenge_names_and_at_the_root() {
    let server = AuthorizationServer::start(&[]).await;
    let authenticator = start(&policy(&server, |_, _| {}));
    for path in [
        "/.well-known/oauth-protected-resource",
        "/.well-known/oauth-protected-resource/mcp",
    ] {
        let document = authenticator.protected_resource_metadata(path).expect(path);
        let document: Value = serde_json::from_slice(&document).unwrap();
        let expected = json!({
            "resource": "https://mcp.example.com/mcp",
            "authorization_servers": ["https://issuer.example"],
            "scopes_supported": ["read"],
            "bearer_methods_supported": ["header"],
        });
        assert_eq!(document, expected);
    }
    assert!(
        authenticator
            .protected_resource_metadata("/.well-known/oauth-authorization-server")
            .is_none()
    );
    let keys_only = start(&Authentication::anonymous());
    assert!(
        keys_only
            .protected_resource_metadata("/.well-known/oauth-protected-resource")
            .is_none()
    );
}

#[tokio::test]
async fn policies_that_leave_something_open_are_refused_at_the_start() {
    let server = AuthorizationServer::start(&[]).await;
    let start = |change: &dyn Fn(&mut sallyport_policy::authentication::OAuth)| {
        let mut policy = policy(&server, |_, _| {});
        change(policy.oauth.as_mut().unwrap());
        Authenticator::start(&policy, "/mcp").map(drop)
    };
    let introspection = || Verification::Introspection(Introspection::new("https://i.example/i", "c", "f"));
    assert!(start(&|_| {}).is_ok());
    assert!(matches!(
        start(&|oauth| oauth.issuers.clear()),
        Err(StartError::Tokens(TokensError::NoIssuer))
    ));
    assert!(matches!(
        start(&|oauth| oauth.issuers.push(oauth.issuers[0].clone())),
        Err(StartError::Tokens(TokensError::Duplicate(_)))
    ));
    let two = |oauth: &mut sallyport_policy::authentication::OAuth| {
        oauth.issuers.push(oauth.issuers[0].clone());
        oauth.issuers[1].issuer = "https://two.example".into();
        oauth
            .issuers
            .iter_mut()
            .for_each(|issuer| issuer.verify = introspection());
    };
    assert!(matches!(
        start(&two),
        Err(StartError::Tokens(TokensError::TwoIntrospections))
    ));
    let plain = |oauth: &mut sallyport_policy::authentication::OAuth| {
        oauth.issuers[0].verify = Verification::Introspection(Introspection::new("http://i.example/i", "c", "f"));
    };
    assert!(matches!(start(&plain), Err(StartError::Tokens(TokensError::Url(_)))));
    assert!(matches!(
        start(&|oauth| oauth.resource = "mcp".into()),
        Err(StartError::Resource(_))
    ));
    assert!(matches!(
        start(&|oauth| oauth.egress_proxy = Some("gateway".into())),
        Err(StartError::Tokens(TokensError::Proxy(_)))
    ));
    let no_algorithm = |oauth: &mut sallyport_policy::authentication::OAuth| {
        let Verification::Jwks(jwks) = &mut oauth.issuers[0].verify else {
            unreachable!()
        };
        jwks.algorithms.clear();
    };
    assert!(matches!(
        start(&no_algorithm),
        Err(StartError::Tokens(TokensError::NoAlgorithm(_)))
    ));
}
