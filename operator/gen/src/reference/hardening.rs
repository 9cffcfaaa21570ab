//! `docs/reference/hardening.md`: the checks that every pod of an endpoint is judged by.

use super::{HEADER, cell};
use sallyport_render::hardening::{CHECKS, Check};

const INTRODUCTION: &str = "
# Hardening checks

Every pod that the operator renders is judged by these checks. `status.posture` of an endpoint counts them and lists what
deviates, with the reason; `kubectl mcpe posture -f endpoint.yaml` does the same without a cluster. On nodes that support
user namespaces and strict supplemental groups, every endpoint passes all of them: the API has no field that would undo one.

| check | what holds | asked for by |
|---|---|---|
";

pub fn markdown() -> String {
    format!("{HEADER}{INTRODUCTION}{}", CHECKS.iter().map(row).collect::<String>())
}

fn row(check: &Check) -> String {
    format!("| `{}` | {} | {} |\n", check.id, cell(check.title), cell(check.source))
}
