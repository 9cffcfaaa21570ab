//! Whether records are whole.

use super::{Error, Verify, Writer, documents, each_line, printable};
use sallyport_api::v1alpha1::AuditWriter;
use sallyport_audit::Anchor;
use sallyport_audit::verify::{ChainReport, Leniency, Report, Verifier};
use serde_json::Value;
use std::fmt::Write as _;
use std::path::Path;

/// What the verifier says, and whether it has nothing to object to.
pub fn run(asked: &Verify) -> Result<(String, bool), Error> {
    let mut anchors = Vec::new();
    for path in &asked.anchor {
        anchors.extend(anchors_of(path, asked.writer)?);
    }
    let mut verifier = Verifier::new(Leniency {
        partial: asked.partial,
        collected: asked.collected,
    });
    for path in &asked.logs {
        verifier.file();
        each_line(path, |line| verifier.line(line))?;
    }
    let report = verifier.finish(&anchors);
    Ok((text(&report, !anchors.is_empty()), report.is_whole()))
}

fn anchors_of(path: &Path, writer: Option<Writer>) -> Result<Vec<Anchor>, Error> {
    let mut found = Vec::new();
    for document in documents(path)? {
        let listed = document
            .pointer("/status/audit/anchors")
            .or_else(|| document.get("anchors"));
        match listed {
            Some(Value::Array(anchors)) => found.extend(anchors.iter().cloned()),
            _ if document.get("chain").is_some() => found.push(document),
            _ => {}
        }
    }
    if found.is_empty() {
        return Err(Error::NoAnchor { path: path.to_owned() });
    }
    let anchors = found.into_iter().filter(|anchor| is_of(anchor, writer));
    let anchors = anchors.map(serde_json::from_value);
    anchors.collect::<Result<_, _>>().map_err(|source| Error::Anchor {
        path: path.to_owned(),
        source,
    })
}

/// Whether `writer` wrote the chain. What an admin port answered does not say who did, and counts.
fn is_of(anchor: &Value, writer: Option<Writer>) -> bool {
    let wanted = match writer {
        None => return true,
        Some(Writer::Sidecar) => AuditWriter::Sidecar,
        Some(Writer::EgressGateway) => AuditWriter::EgressGateway,
    };
    let said = anchor.get("writer").cloned().map(serde_json::from_value::<AuditWriter>);
    said.is_none_or(|said| said.is_ok_and(|said| said == wanted))
}

fn text(report: &Report, anchored: bool) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    for chain in &report.chains {
        let id = printable(chain.id.as_str());
        let _ = writeln!(text, "chain {id}: records {}{}", chain.records, state(chain, anchored));
    }
    for finding in &report.findings {
        let _ = writeln!(text, "FOUND {}", printable(&finding.to_string()));
    }
    let (chains, others) = (report.chains.len(), report.others);
    let verdict = match (report.findings.len(), chains) {
        (0, 0) => "no record is there".to_owned(),
        (0, _) => "whole".to_owned(),
        (count, _) => format!("NOT whole: {count} findings"),
    };
    let _ = writeln!(text, "{verdict} ({chains} chains, {others} lines that are no records)");
    text
}

fn state(chain: &ChainReport, anchored: bool) -> String {
    let mut state = if chain.ended {
        ", ended".to_owned()
    } else {
        ", not ended: it ran on, was killed, or its end was cut off".to_owned()
    };
    match chain.anchored {
        Some(seq) => {
            let _ = write!(state, "; anchored up to {seq}");
        }
        None if anchored => state.push_str("; no anchor"),
        None => {}
    }
    if chain.lost > 0 {
        let _ = write!(state, "; {} records lost, as it says itself", chain.lost);
    }
    state
}
