//! Which rules would allow what egress gateways refused, or let through in Audit mode.

use sallyport_policy::egress::HostName;
use serde::Deserialize;
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    io::{self, BufRead},
};

/// Port that a rule without ports allows.
const HTTPS: u16 = 443;

/// What is read of an event; its other fields do not matter here.
#[derive(Deserialize)]
struct Event {
    kind: String,
    endpoint: Endpoint,
    decision: String,
    host: Option<String>,
    port: Option<u16>,
    reason: Option<String>,
}

#[derive(Deserialize, PartialEq, Eq, PartialOrd, Ord)]
struct Endpoint {
    namespace: String,
    name: String,
}

/// What one endpoint's servers asked for in vain.
#[derive(Default)]
struct Wanted {
    hosts: BTreeMap<HostName, BTreeSet<u16>>,
    /// What no rule for a host would allow, with the reason.
    others: BTreeSet<String>,
}

/// Reads events, one a line, and prints `egress.allow` for each endpoint. Lines that are no events are passed over, as is
/// what comes before an event's first brace: the name of a pod, for instance.
///
/// # Errors
///
/// When the events cannot be read.
pub fn rules(events: impl BufRead) -> io::Result<String> {
    let mut endpoints: BTreeMap<Endpoint, Wanted> = BTreeMap::new();
    for line in events.lines() {
        let Some(event) = event(&line?) else { continue };
        let Event {
            endpoint,
            host: Some(host),
            port: Some(port),
            reason,
            ..
        } = event
        else {
            continue;
        };
        let wanted = endpoints.entry(endpoint).or_default();
        match (reason.as_deref().unwrap_or_default(), host.parse::<HostName>()) {
            ("host_not_allowed" | "port_not_allowed", Ok(host)) => {
                wanted.hosts.entry(host).or_default().insert(port);
            }
            (reason, _) => drop(wanted.others.insert(format!("{host}:{port} ({reason})"))),
        }
    }
    Ok(if endpoints.is_empty() {
        "# no event of an egress gateway was refused or would have been\n".to_owned()
    } else {
        endpoints
            .iter()
            .map(|(endpoint, wanted)| text(endpoint, wanted))
            .collect::<Vec<_>>()
            .join("---\n")
    })
}

/// The event of a line, if it tells of something that no rule allows.
fn event(line: &str) -> Option<Event> {
    let json = &line[line.find('{')?..];
    let event: Event = serde_json::from_value(own_form(serde_json::from_str(json).ok()?)).ok()?;
    (event.kind == "egress" && matches!(event.decision.as_str(), "denied" | "would_deny")).then_some(event)
}

/// In OCSF the destination has a place of its own, and the rest is unmapped.
fn own_form(mut event: Value) -> Value {
    let Some(Value::Object(mut own)) = event.pointer_mut("/unmapped").map(Value::take) else {
        return event;
    };
    for (key, place) in [("host", "/dst_endpoint/hostname"), ("port", "/dst_endpoint/port")] {
        let value = event.pointer_mut(place).map(Value::take);
        own.insert(key.to_owned(), value.unwrap_or_default());
    }
    Value::Object(own)
}

fn text(endpoint: &Endpoint, wanted: &Wanted) -> String {
    let mut text = format!(
        "# {}/{}: add to spec.egress what is right; each host was asked for by the server\n",
        endpoint.namespace, endpoint.name
    );
    for other in &wanted.others {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "# no rule for a host would allow {other}");
    }
    if !wanted.hosts.is_empty() {
        text.push_str("egress:\n  allow:\n");
    }
    for (host, ports) in &wanted.hosts {
        let _ = writeln!(text, "    - host: {host}");
        if !ports.iter().eq(&[HTTPS]) {
            let ports: Vec<_> = ports.iter().map(u16::to_string).collect();
            let _ = writeln!(text, "      ports: [{}]", ports.join(", "));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use pretty_assertions::assert_eq;

    fn line(host: &str, port: u16, decision: &str, reason: &str) -> String {
        format!(
            r#"{{"kind":"egress","event":"refused","timestamp":"2026-11-21T00:00:00.000Z","endpoint":{{"namespace":"team-a","name":"demo","uid":"u"}},"clientIp":"10.0.0.1","host":"{host}","port":{port},"decision":"{decision}","reason":"{reason}"}}"#
        )
    }

    #[test]
    fn what_was_refused_becomes_rules_once_and_in_order() {
        let events = [
            line("b.example.com", 443, "denied", "host_not_allowed"),
            line("a.example.com", 8443, "would_deny", "host_not_allowed"),
            line("b.example.com", 443, "denied", "host_not_allowed"),
            line("a.example.com", 443, "would_deny", "port_not_allowed"),
            "not an event".to_owned(),
            r#"{"kind":"audit","endpoint":{"namespace":"team-a","name":"demo"},"decision":"denied"}"#.to_owned(),
            line("fine.example.com", 443, "allowed", ""),
            format!(
                "[pod/demo-egress-1/egress] {}",
                line("c.example.com", 443, "denied", "host_not_allowed")
            ),
            line("db.example.com", 443, "denied", "address_private"),
            line("203.0.113.5", 443, "denied", "host_not_allowed"),
        ];
        let expected = "\
# team-a/demo: add to spec.egress what is right; each host was asked for by the server
# no rule for a host would allow 203.0.113.5:443 (host_not_allowed)
# no rule for a host would allow db.example.com:443 (address_private)
egress:
  allow:
    - host: a.example.com
      ports: [443, 8443]
    - host: b.example.com
    - host: c.example.com
";
        assert_eq!(rules(events.join("\n").as_bytes()).unwrap(), expected);
    }

    #[test]
    fn events_in_ocsf_become_the_same_rules() {
        let own = line("b.example.com", 443, "denied", "host_not_allowed");
        let mut unmapped: Value = serde_json::from_str(&own).unwrap();
        let unmapped = unmapped.as_object_mut().unwrap();
        let target = serde_json::json!({"hostname": unmapped.remove("host"), "port": unmapped.remove("port")});
        let ocsf = serde_json::json!({"class_uid": 4001, "dst_endpoint": target, "unmapped": unmapped}).to_string();
        assert_eq!(rules(ocsf.as_bytes()).unwrap(), rules(own.as_bytes()).unwrap());
        let odd = r#"{"unmapped":{"kind":"egress"},"dst_endpoint":"x"}"#;
        assert!(rules(odd.as_bytes()).unwrap().starts_with("# no event"));
    }

    #[test]
    fn nothing_refused_suggests_nothing() {
        let text = rules(line("fine.example.com", 443, "allowed", "").as_bytes()).unwrap();
        assert!(text.starts_with("# no event"), "{text}");
    }
}
