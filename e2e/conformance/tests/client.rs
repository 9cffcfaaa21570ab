//! The scenarios in which the suite is the server: an official client reaches it through the sidecar, and the suite judges
//! what arrived. Those of `auth/*` are left out: they are about tokens that the server gets, and none passes a sidecar.

use sallyport_conformance::Suite;
use std::path::Path;

/// Each with the revision that it is run at and the number of its checks.
const SCENARIOS: [(&str, &str, u32); 13] = [
    ("initialize", "2025-11-25", 1),
    ("tools_call", "2025-11-25", 2),
    ("elicitation-sep1034-client-defaults", "2025-11-25", 5),
    ("sse-retry", "2025-11-25", 3),
    ("json-schema-2020-12-preservation", "2025-11-25", 9),
    ("tools_call", "2026-07-28", 2),
    ("request-metadata", "2026-07-28", 8),
    ("http-standard-headers", "2026-07-28", 9),
    ("http-custom-headers", "2026-07-28", 18),
    ("http-invalid-tool-headers", "2026-07-28", 12),
    ("sep-2322-client-request-state", "2026-07-28", 5),
    ("json-schema-ref-no-deref", "2026-07-28", 1),
    ("json-schema-2020-12-preservation", "2026-07-28", 9),
];

#[tokio::test]
async fn what_clients_must_do_they_do_through_the_sidecar() {
    let suite = Suite::install().unwrap();
    let through = Path::new(env!("CARGO_BIN_EXE_through-sidecar"));
    let mut failures = vec![];
    for (scenario, version, checks) in SCENARIOS {
        let report = suite.client(through, scenario, version).await.unwrap();
        if !report.is_whole(checks) {
            failures.push(format!("{scenario} at {version}, of {checks}: {}", report.summary()));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
