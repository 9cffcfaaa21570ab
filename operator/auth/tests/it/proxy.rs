//! Issuers behind the egress proxy.

use crate::support::{AuthorizationServer, Proxy, Signer, claims, outcome, policy, start};
use pretty_assertions::assert_eq;
use sallyport_auth::Reason;

#[tokio::test]
async fn an_issuer_is_reached_through_the_proxy_by_its_name_and_not_directly() {
    let signer = Signer::ed("d");
    let server = AuthorizationServer::start(&[&signer]).await;
    let proxy = Proxy::start("issuer.test").await;
    let url = format!("https://issuer.test:{}/jwks", server.port());
    let mut policy = policy(&server, |_, jwks| jwks.url = url);
    // Nobody resolves this name.
    assert_eq!(
        outcome(&start(&policy), &signer.token(&claims())).await,
        Err(Reason::Unavailable)
    );
    policy.oauth.as_mut().unwrap().egress_proxy = Some(proxy.url());
    let authenticator = start(&policy);
    assert_eq!(
        outcome(&authenticator, &signer.token(&claims())).await,
        Ok("alice".into())
    );
    assert_eq!(proxy.asked(), [format!("CONNECT issuer.test:{}", server.port())]);
    assert_eq!(server.state().key_requests, 1);
}

#[tokio::test]
async fn an_issuer_that_the_proxy_refuses_is_not_asked_around_it() {
    let signer = Signer::ed("d");
    let server = AuthorizationServer::start(&[&signer]).await;
    let proxy = Proxy::start("issuer.test").await;
    let mut policy = policy(&server, |_, _| {});
    assert_eq!(
        outcome(&start(&policy), &signer.token(&claims())).await,
        Ok("alice".into())
    );
    policy.oauth.as_mut().unwrap().egress_proxy = Some(proxy.url());
    let authenticator = start(&policy);
    assert_eq!(
        outcome(&authenticator, &signer.token(&claims())).await,
        Err(Reason::Unavailable)
    );
    let problems = authenticator.problems();
    assert!(problems[0].contains("egress rules"), "{problems:?}");
    assert_eq!(server.state().key_requests, 1);
}
