//! `docs/reference/hardening.md`: the checks that every pod of an endpoint is judged by.

use super::{HEADER, cell};
use sallyport_render::hardening::{CHECKS, Check, ENDPOINT_CHECKS};

const INTRODUCTION: &str = "
# Hardening checks

Every pod that the operator renders is judged by these checks. `status.posture` of an endpoint counts them and lists what
deviates, with the reason; `kubectl mcpe posture -f endpoint.yaml` does the same without a cluster. On nodes that support
user namespaces and strict supplemental groups, every endpoint passes all that are of its pods, unless it asks for a resolver.
The last ones are of the endpoint itself.

| check | what holds | asked for by |
|---|---|---|
";

pub fn markdown() -> String {
    let own = ENDPOINT_CHECKS
        .iter()
        .map(|check| line(check.id, check.title, check.source));
    let rows: String = CHECKS.iter().map(row).chain(own).collect();
    format!("{HEADER}{INTRODUCTION}{rows}")
}

fn row(check: &Check) -> String {
    line(check.id, check.title, check.source)
}

fn line(id: &str, title: &str, source: &str) -> String {
    format!("| `{id}` | {} | {} |\n", cell(title), cell(source))
}
