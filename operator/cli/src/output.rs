//! What is printed.

use crate::input;
use sallyport_render::{
    Explanation, NamespaceMember, Reach, Settings, Target, ValidatedEndpoint, footprint, hardening,
    render as render_children, render_namespace,
};
use std::{collections::BTreeMap, fmt::Write as _};

/// Why nothing is printed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The input.
    #[error(transparent)]
    Input(#[from] input::Error),
    /// Standard input.
    #[error("standard input cannot be read: {0}")]
    Events(#[from] std::io::Error),
    /// An object has no JSON form.
    #[error("a rendered object does not serialize")]
    Json(#[from] serde_json::Error),
    /// An object has no YAML form.
    #[error("a rendered object does not serialize to YAML: {0}")]
    Yaml(#[from] serde_saphyr::SerializeError),
}

/// All objects, in the order in which the operator applies them: what a namespace's endpoints share first.
pub fn render(endpoints: &[ValidatedEndpoint], settings: &Settings) -> Result<String, Error> {
    let mut namespaces: BTreeMap<&str, Vec<NamespaceMember>> = BTreeMap::new();
    for endpoint in endpoints {
        namespaces
            .entry(endpoint.namespace())
            .or_default()
            .push(NamespaceMember {
                footprint: footprint(endpoint),
                quota: endpoint.quota(),
            });
    }
    let mut objects = vec![];
    for (namespace, members) in namespaces {
        objects.extend(render_namespace(namespace, &members, settings).documents()?);
    }
    for endpoint in endpoints {
        objects.extend(render_children(endpoint).documents()?);
    }
    let documents: Vec<_> = objects.iter().map(serde_saphyr::to_string).collect::<Result<_, _>>()?;
    Ok(documents.join("---\n"))
}

/// Whether each endpoint's server may reach `target`, and why; and whether any is refused.
pub fn explain(endpoints: &[ValidatedEndpoint], target: &Target) -> (String, bool) {
    let (mut text, mut refused) = (String::new(), false);
    for endpoint in endpoints {
        let Explanation { reach, why, how } = sallyport_render::explain(endpoint, target);
        let verdict = match reach {
            Reach::Allowed => "allowed",
            Reach::Audited => "let through, not allowed",
            Reach::Refused => "refused",
        };
        refused |= reach == Reach::Refused;
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "{}/{}: {target} is {verdict}\n  {why}\n  {how}",
            endpoint.namespace(),
            endpoint.name()
        );
    }
    (text, refused)
}

/// One line per check.
pub fn posture(endpoints: &[ValidatedEndpoint]) -> String {
    let mut text = String::new();
    for endpoint in endpoints {
        let pod = render_children(endpoint)
            .deployment
            .spec
            .and_then(|spec| spec.template.spec)
            .unwrap_or_default();
        let posture = hardening::judge_endpoint(endpoint, &pod);
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "{}/{}: passes {} of {} hardening checks",
            endpoint.namespace(),
            endpoint.name(),
            posture.passed,
            posture.total
        );
        let of_pod = hardening::CHECKS
            .iter()
            .map(|check| (check.id, check.title, check.deviation(&pod)));
        let own = hardening::ENDPOINT_CHECKS.iter();
        let own = own.map(|check| (check.id, check.title, check.deviation(endpoint)));
        for (id, title, deviation) in of_pod.chain(own) {
            let _ = match deviation {
                None => writeln!(text, "  pass      {id:26} {title}"),
                Some(deviation) => writeln!(text, "  DEVIATES  {deviation}"),
            };
        }
    }
    text
}
