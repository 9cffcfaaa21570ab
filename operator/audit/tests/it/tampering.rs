//! Every way to tamper with a log is found; the same log untouched is whole.

use pretty_assertions::assert_eq;
use sallyport_audit::chain::Chain;
use sallyport_audit::text::hex_digest;
use sallyport_audit::verify::{Content, Finding, Leniency, Report, Sequence, Verifier, content, verify};
use sallyport_audit::{Anchor, ChainId};
use serde_json::{Map, Value, json};

/// Lines of a chain of `count` records, and an anchor after each.
pub fn chain(pod: &str, count: u64) -> (Vec<String>, Vec<Anchor>) {
    let mut chain = Chain::begin(ChainId::mint(pod));
    let mut lines = Vec::new();
    let mut anchors = Vec::new();
    for number in 0..count {
        let record = record(number);
        lines.push(chain.append(record));
        anchors.push(chain.anchor("2026-11-21T05:06:07Z".parse().unwrap()).unwrap());
    }
    (lines, anchors)
}

fn record(number: u64) -> Map<String, Value> {
    let record = json!({
        "kind": "audit",
        "timestamp": "2026-11-21T05:06:07.089Z",
        "endpoint": {"namespace": "team-a", "name": "demo"},
        "toolName": "écho\u{1}",
        "outcome": if number.is_multiple_of(3) { "denied" } else { "allowed" },
        "latencyMs": number,
    });
    record.as_object().unwrap().clone()
}

fn check(lines: &[String], anchors: &[Anchor]) -> Report {
    verify((lines.join("\n") + "\n").as_bytes(), anchors, Leniency::default())
}

#[test]
fn an_untouched_log_is_whole() {
    let (lines, anchors) = chain("a", 9);
    let report = check(&lines, &anchors);
    assert_eq!(report.findings, []);
    assert_eq!(report.chains[0].records, Sequence { first: 0, last: 8 });
    assert_eq!(report.chains[0].anchored, Some(8));
}

#[test]
fn chains_of_several_starts_and_lines_of_other_programs_may_be_mixed() {
    let (first, first_anchors) = chain("a", 5);
    let (second, second_anchors) = chain("b", 7);
    let mut lines = vec![
        "Starting up {not json".to_owned(),
        r#"{"level":"info","msg":"x"}"#.to_owned(),
    ];
    for (number, line) in second.iter().enumerate() {
        lines.extend(first.get(number).cloned());
        lines.push(line.clone());
        lines.push("panic at {".to_owned());
    }
    let report = check(&lines, &[first_anchors[4].clone(), second_anchors[6].clone()]);
    assert_eq!(report.findings, []);
    assert_eq!((report.chains.len(), report.others), (2, 9));
}

#[test]
fn a_removed_record_is_found() {
    let (mut lines, _) = chain("a", 9);
    lines.remove(4);
    let findings = check(&lines, &[]).findings;
    assert!(
        matches!(
            &findings[..],
            [Finding::Missing {
                missing: Sequence { first: 4, last: 4 },
                ..
            }]
        ),
        "{findings:?}"
    );
}

#[test]
fn a_removed_beginning_is_found_unless_only_a_part_was_promised() {
    let (mut lines, anchors) = chain("a", 9);
    lines.drain(..3);
    let findings = check(&lines, &anchors[8..]).findings;
    assert!(matches!(&findings[..], [Finding::Missing { .. }]), "{findings:?}");
    let partial = Leniency {
        partial: true,
        ..Leniency::default()
    };
    // An anchor of the missing part has nothing to say.
    assert_eq!(verify(lines.join("\n").as_bytes(), &anchors, partial).findings, []);
}

#[test]
fn a_cut_off_end_is_found_by_an_anchor_alone() {
    let (mut lines, anchors) = chain("a", 9);
    lines.truncate(6);
    assert_eq!(
        check(&lines, &[]).findings,
        [],
        "the control: nothing says that there was more"
    );
    let findings = check(&lines, &anchors[8..]).findings;
    assert!(
        matches!(&findings[..], [Finding::Truncated { last: 5, anchor: 8, .. }]),
        "{findings:?}"
    );
}

#[test]
fn a_chain_that_is_gone_is_found_by_an_anchor() {
    let (lines, _) = chain("a", 2);
    let (_, gone) = chain("b", 3);
    let findings = check(&lines, &gone[2..]).findings;
    assert!(
        matches!(&findings[..], [Finding::Absent { anchor: 2, .. }]),
        "{findings:?}"
    );
}

#[test]
fn reordered_records_are_found() {
    let (mut lines, _) = chain("a", 9);
    lines.swap(3, 4);
    let findings = check(&lines, &[]).findings;
    assert!(
        matches!(&findings[..], [Finding::Reordered { seq: 3, .. }]),
        "{findings:?}"
    );
}

#[test]
fn an_edited_record_is_found() {
    let (mut lines, _) = chain("a", 9);
    lines[3] = lines[3].replace("denied", "allowed");
    let findings = check(&lines, &[]).findings;
    assert!(findings.contains(&Finding::Edited { file: 1, line: 4 }), "{findings:?}");
}

#[test]
fn an_edited_record_with_its_hash_made_anew_does_not_fit_its_successor() {
    let (mut lines, _) = chain("a", 9);
    let mut forged = forge(&lines, 3, 4);
    lines[3] = forged.remove(0);
    let findings = check(&lines, &[]).findings;
    assert!(
        matches!(&findings[..], [Finding::Unlinked { seq: 4, .. }]),
        "{findings:?}"
    );
}

#[test]
fn a_chain_made_anew_from_a_record_on_is_found_by_an_anchor_alone() {
    let (mut lines, anchors) = chain("a", 9);
    let forged = forge(&lines, 3, 9);
    lines.truncate(3);
    lines.extend(forged);
    assert_eq!(
        check(&lines, &[]).findings,
        [],
        "the control: the forger knows how chains are made"
    );
    let findings = check(&lines, &anchors[5..6]).findings;
    assert!(
        matches!(&findings[..], [Finding::Rewritten { seq: 5, .. }]),
        "{findings:?}"
    );
}

#[test]
fn an_inserted_record_is_found() {
    let (lines, _) = chain("a", 9);
    let mut repeated = lines.clone();
    repeated.insert(6, lines[2].clone());
    let findings = check(&repeated, &[]).findings;
    assert!(
        matches!(&findings[..], [Finding::Repeated { seq: 2, .. }]),
        "{findings:?}"
    );

    let forged = forge(&lines, 3, 4);
    let mut twofold = lines.clone();
    twofold.insert(4, forged[0].clone());
    let findings = check(&twofold, &[]).findings;
    assert!(
        matches!(&findings[..], [Finding::Forked { seq: 3, .. }]),
        "{findings:?}"
    );
}

#[test]
fn a_record_of_another_chain_does_not_pass_for_one_of_this() {
    let (mut lines, _) = chain("a", 5);
    let (others, _) = chain("b", 5);
    let name = |line: &str| {
        let value: Value = serde_json::from_str(line).unwrap();
        value["chain"]["id"].as_str().unwrap().to_owned()
    };
    lines[2] = others[2].replace(&name(&others[2]), &name(&lines[0]));
    let findings = check(&lines, &[]).findings;
    assert!(findings.contains(&Finding::Edited { file: 1, line: 3 }), "{findings:?}");
}

#[test]
fn records_after_the_end_are_found() {
    let mut chain = Chain::begin(ChainId::mint("a"));
    let mut line = |kind: &str| chain.append(json!({"kind": kind}).as_object().unwrap().clone());
    let lines = [line("chain_start"), line("chain_end"), line("audit")];
    let findings = check(&lines, &[]).findings;
    assert!(matches!(&findings[..], [Finding::AfterEnd { .. }]), "{findings:?}");
}

#[test]
fn what_a_chain_says_it_kept_from_the_collector_is_not_missing_there() {
    let mut chain = Chain::begin(ChainId::mint("a"));
    let mut append = |record: Value| chain.append(record.as_object().unwrap().clone());
    let mut lines: Vec<_> = (0..4).map(|number| append(json!({"number": number}))).collect();
    lines.push(append(
        json!({"kind": "lost", "sink": "otlp", "lost": 2, "firstSeq": 1, "lastSeq": 2}),
    ));
    lines.drain(1..3);
    let report = check(&lines, &[]);
    assert_eq!((report.findings.len(), report.chains[0].lost), (0, 2));
    // Nor more than that.
    lines.remove(1);
    assert!(!check(&lines, &[]).is_whole());
}

/// A chain of plain records, in which `marks` stand for what the chain says of its gaps.
fn with_gaps(marks: &[(u64, u64, u64)]) -> Vec<String> {
    let mut chain = Chain::begin(ChainId::mint("a"));
    let mut lines: Vec<_> = (0..10).map(|number| chain.append(record(number))).collect();
    for (first, last, lost) in marks {
        let mark = json!({"kind": "lost", "sink": "otlp", "lost": lost, "firstSeq": first, "lastSeq": last});
        lines.push(chain.append(mark.as_object().unwrap().clone()));
    }
    lines
}

#[test]
fn a_gap_excuses_as_many_records_as_it_says_and_no_others() {
    // (Gaps that the chain tells of, records that are not there, whether that is excused)
    for (marks, missing, whole) in [
        (&[(2, 7, 1)][..], &[4][..], true),
        (&[(2, 7, 1)], &[4, 6], false),
        (&[(2, 7, 2)], &[4, 6], true),
        (&[(2, 7, 2)], &[6, 8], false),
        // What one gap accounts for is not the other's, whichever was told of first.
        (&[(2, 8, 2), (3, 3, 1)], &[2, 3, 8], true),
        (&[(3, 3, 1), (2, 8, 2)], &[2, 3, 8], true),
        (&[(1, 5, 3), (4, 4, 1)], &[3, 4, 5], true),
        (&[(2, 8, 2), (3, 3, 1)], &[2, 4, 8], false),
        (&[(0, u64::MAX, u64::MAX)], &[0, 1, 5], true),
    ] {
        let mut lines = with_gaps(marks);
        for seq in missing.iter().rev() {
            lines.remove(*seq);
        }
        let report = check(&lines, &[]);
        assert_eq!(report.is_whole(), whole, "{marks:?} {missing:?}: {:?}", report.findings);
    }
}

#[test]
fn a_store_that_writes_lines_anew_is_forgiven_on_request_alone() {
    let (lines, anchors) = chain("a", 6);
    let pretty = |line: &String| {
        let value: Value = serde_json::from_str(line).unwrap();
        let members: Vec<_> = value
            .as_object()
            .unwrap()
            .iter()
            .rev()
            .map(|(key, value)| format!("{key:?}: {value}"))
            .collect();
        format!("{{ {} }}", members.join(", "))
    };
    let mut stored: Vec<_> = lines.iter().map(pretty).collect();
    stored.swap(1, 4);
    stored.push(stored[0].clone());
    let text = stored.join("\n");
    assert!(!verify(text.as_bytes(), &anchors, Leniency::default()).is_whole());
    let collected = Leniency {
        collected: true,
        ..Leniency::default()
    };
    assert_eq!(verify(text.as_bytes(), &anchors, collected).findings, []);
    let edited = text.replacen("denied", "allowed", 1);
    assert!(
        !verify(edited.as_bytes(), &anchors, collected).is_whole(),
        "but no other content"
    );
}

#[test]
fn a_line_with_a_key_twice_is_damaged_however_it_is_written() {
    let (lines, anchors) = chain("a", 6);
    let docker = |line: &String| json!({"log": format!("{line}\n"), "stream": "stdout"}).to_string();
    // Readers that believe the first of two keys would read what was forged; the hash is that of the last.
    let forge = |line: &String| line.replacen('{', r#"{"outcome":"allowed","#, 1);
    let forge_within = |line: &String| line.replacen(r#""endpoint":{"#, r#""endpoint":{"name":"other","#, 1);
    let spaced = |line: &String| line.replace("\":", "\": ");
    for forged in [
        forge(&lines[3]),
        forge_within(&lines[3]),
        spaced(&forge(&lines[3])),
        docker(&forge(&lines[3])),
        docker(&lines[3]).replacen('{', r#"{"log":"{}","#, 1),
    ] {
        let last = serde_json::from_str::<Value>(&forged).unwrap();
        assert!(
            last.get("log").is_some() || last["outcome"] == "denied",
            "the control: who believes the last key reads the original"
        );
        let mut stored = lines.clone();
        stored[3] = forged;
        for collected in [false, true] {
            let leniency = Leniency {
                collected,
                ..Leniency::default()
            };
            let findings = verify(stored.join("\n").as_bytes(), &anchors, leniency).findings;
            assert!(
                findings.contains(&Finding::Damaged { file: 1, line: 4 }),
                "{}: {findings:?}",
                stored[3]
            );
        }
        assert!(matches!(content(stored[3].as_bytes()), Content::Broken));
    }
}

#[test]
fn what_a_log_driver_puts_around_a_line_is_no_part_of_it() {
    let (lines, anchors) = chain("a", 6);
    let docker = |line: &String| json!({"log": format!("{line}\n"), "stream": "stdout", "time": "t"}).to_string();
    let kubectl = |line: &String| format!("[pod/demo-0/audit] 2026-11-21T05:06:07Z {line}");
    let runtime = |line: &String| format!("2026-11-21T05:06:07.1Z stdout F {line}");
    for wrapped in [
        lines.iter().map(docker).collect::<Vec<_>>(),
        lines.iter().map(kubectl).collect(),
        lines.iter().map(runtime).collect(),
    ] {
        let report = check(&wrapped, &anchors);
        assert_eq!((report.findings, report.chains[0].anchored), (vec![], Some(5)));
    }
}

#[test]
fn rotated_files_may_come_in_any_order_and_overlap() {
    let (lines, anchors) = chain("a", 9);
    let mut verifier = Verifier::new(Leniency::default());
    for part in [&lines[6..], &lines[..4], &lines[3..7]] {
        verifier.file();
        for line in part {
            verifier.line(line.as_bytes());
        }
    }
    assert_eq!(verifier.finish(&anchors).findings, []);
}

/// Who can write the log writes the records from `first` to before `last` anew, as if they had always been so.
fn forge(lines: &[String], first: usize, last: usize) -> Vec<String> {
    let parse = |line: &String| serde_json::from_str::<Value>(line).unwrap();
    let mut prev = parse(&lines[first - 1])["chain"]["hash"].as_str().unwrap().to_owned();
    let mut forged = Vec::new();
    for line in &lines[first..last] {
        let mut value = parse(line);
        value["outcome"] = json!("forged");
        value["chain"]["prev"] = json!(prev);
        value["chain"].as_object_mut().unwrap().remove("hash");
        // Keys of these records are in ASCII, so that their order is serde_json's.
        prev = hex_digest(sorted(&value).as_bytes());
        value["chain"]["hash"] = json!(prev);
        forged.push(sorted(&value));
    }
    forged
}

/// As `jq -cS` writes it.
fn sorted(value: &Value) -> String {
    match value {
        Value::Object(members) => {
            let mut members: Vec<_> = members
                .iter()
                .map(|(key, value)| format!("\"{key}\":{}", sorted(value)))
                .collect();
            members.sort();
            format!("{{{}}}", members.join(","))
        }
        other => other.to_string(),
    }
}
