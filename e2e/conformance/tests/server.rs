//! The scenarios in which the suite is the client. First against the fixture alone: whatever fails then is not the
//! sidecar's doing.
// Helpers of tests fail as tests do.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use http::header::{AUTHORIZATION, HeaderMap};
use sallyport_conformance::{Release, Suite};
use sallyport_fixture::{Options, Server};
use sallyport_loopback::{ApiKeys, Hop, Profile, Sidecar};
use serde_json::json;
use std::net::Ipv4Addr;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

/// What is run, how many checks it makes, and how many places it takes.
const RUNS: [(&str, Release, &[&str], u32, u32); 5] = [
    ("2025-11-25", Release::Current, &["--requirements", "2025-11-25"], 83, 1),
    // It reads streams for fixed parts of a second: nothing else may run.
    (
        "2026-07-28",
        Release::Current,
        &["--requirements", "2026-07-28"],
        197,
        ALL,
    ),
    // Not scored by the suite, and just what a gateway gets wrong.
    (
        "header validation",
        Release::Current,
        &["--scenario", "http-header-validation", "--spec-version", "2026-07-28"],
        14,
        1,
    ),
    (
        "custom headers",
        Release::Current,
        &[
            "--scenario",
            "http-custom-header-server-validation",
            "--spec-version",
            "2026-07-28",
        ],
        10,
        1,
    ),
    ("0.1.16", Release::Stable, &[], 40, 1),
];

/// Runs at a time, of all tests: most of a run is waiting, but the suite does not wait for ever.
const ALL: u32 = 3;

static PLACES: Semaphore = Semaphore::const_new(ALL as usize);

/// The suite against `url`.
async fn conforms(url: &str) {
    let suite = Suite::install().unwrap();
    let mut runs = tokio::task::JoinSet::new();
    for (name, release, arguments, checks, places) in RUNS {
        let (suite, url) = (suite.clone(), url.to_owned());
        runs.spawn(async move {
            let _places = PLACES.acquire_many(places).await.unwrap();
            let report = suite.server(release, &url, arguments).await.unwrap();
            (!report.is_whole(checks)).then(|| format!("{name}, of {checks}: {}", report.summary()))
        });
    }
    let failures: Vec<String> = runs.join_all().await.into_iter().flatten().collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[tokio::test]
async fn the_fixture_conforms() {
    let server = Server::start(Options::default()).await.unwrap();
    conforms(&server.url()).await;
}

#[tokio::test]
async fn the_sidecar_changes_nothing_of_it() {
    let server = Server::start(Options::default()).await.unwrap();
    let open = Profile::closed(server.address()).unwrap().unhurried().open();
    // The suite calls with the origin of the URL, so the policy must know the port.
    let sidecar = Sidecar::start_at_known_address(|address| {
        open.clone().with(&json!({"origins": [format!("http://{address}")]}))
    })
    .await
    .unwrap();
    conforms(&sidecar.url()).await;
}

/// The suite cannot send a key, so a hop puts it in.
#[tokio::test]
async fn nor_does_it_with_authentication_on() {
    let server = Server::start(Options::default()).await.unwrap();
    let keys = ApiKeys::new(&[("suite", &[])]).unwrap();
    let key = format!("Bearer {}", keys.key("suite")).parse().unwrap();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let profile = Profile::closed(server.address())
        .unwrap()
        .unhurried()
        .open()
        .with(&json!({"origins": [origin], "authentication": keys.authentication()}));
    let sidecar = Sidecar::start(&profile).await.unwrap();
    let headers = HeaderMap::from_iter([(AUTHORIZATION, key)]);
    let hop = Hop::listening(listener, sidecar.address(), headers, None).unwrap();
    conforms(&hop.url()).await;
    let anonymous = |record: &serde_json::Value| record["caller"]["kind"] == "anonymous";
    assert!(
        !sidecar.records().iter().any(anonymous),
        "the suite came in without a key"
    );
}
