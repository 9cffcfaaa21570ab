//! Messages that two parsers read differently.

use crate::stage::{ALLOWED, FORBIDDEN, Stage, none_of, strike};
use sallyport_attacks::{Beliefs, Keys, Post};

/// A legacy call with the given params, or the whole message: no header repeats what is in it.
fn post(body: impl Into<Vec<u8>>) -> Vec<u8> {
    Post::bare(body).header("MCP-Protocol-Version", "2025-11-25").bytes()
}

fn call(params: &str) -> Vec<u8> {
    post(format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{{params}}}}}"#
    ))
}

async fn all_fail(keys: Keys, attacks: &[(&str, Vec<u8>)]) {
    let stage = Stage::of(Beliefs {
        keys,
        ..Beliefs::default()
    })
    .await;
    let mut wrong = vec![];
    for (name, bytes) in attacks {
        wrong.push(stage.attack(name, bytes).await);
    }
    none_of(wrong);
}

#[tokio::test]
async fn the_second_of_two_equal_keys_is_never_run() {
    let params = format!(r#""name":"{ALLOWED}","arguments":{{}}"#);
    let evil = format!(r#""name":"{FORBIDDEN}","arguments":{{}}"#);
    let attacks = [
        ("name", call(&format!(r#"{params},"name":"{FORBIDDEN}""#))),
        ("name, escaped", call(&format!(r#"{params},"n\u0061me":"{FORBIDDEN}""#))),
        (
            "params",
            post(format!(
                r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{{params}}},"params":{{{evil}}}}}"#
            )),
        ),
        (
            "method",
            post(format!(
                r#"{{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/call","params":{{{evil}}}}}"#
            )),
        ),
    ];
    all_fail(Keys::Last, &attacks).await;
}

#[tokio::test]
async fn the_first_of_two_equal_keys_is_never_run() {
    let attacks = [
        (
            "name",
            call(&format!(r#""name":"{FORBIDDEN}","name":"{ALLOWED}","arguments":{{}}"#)),
        ),
        (
            "method",
            post(format!(
                r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","method":"ping","params":{{"name":"{FORBIDDEN}"}}}}"#
            )),
        ),
    ];
    all_fail(Keys::First, &attacks).await;
}

#[tokio::test]
async fn a_key_in_another_case_is_never_run() {
    let attacks = [
        ("Name", call(&format!(r#""name":"{ALLOWED}","Name":"{FORBIDDEN}""#))),
        ("NAME alone", call(&format!(r#""NAME":"{FORBIDDEN}""#))),
        (
            "Method",
            post(format!(
                r#"{{"jsonrpc":"2.0","id":1,"method":"ping","Method":"tools/call","params":{{"name":"{FORBIDDEN}"}}}}"#
            )),
        ),
        (
            "param\u{17f}",
            post(format!(
                r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"{ALLOWED}"}},"param\u017f":{{"name":"{FORBIDDEN}"}}}}"#
            )),
        ),
    ];
    all_fail(Keys::AnyCase, &attacks).await;
}

#[tokio::test]
async fn messages_in_other_wrappings_are_never_run() {
    let evil = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"{FORBIDDEN}"}}}}"#);
    let good = r#"{"jsonrpc":"2.0","id":2,"method":"ping"}"#;
    let attacks = [
        ("batch", post(format!("[{good},{evil}]"))),
        ("batch of one", post(format!("[{evil}]"))),
        ("byte order mark", post(format!("\u{feff}{evil}"))),
        ("escaped name", call(r#""name":"\u0064elete_note""#)),
        ("escaped method", post(evil.replace("tools/call", r"tools\/call"))),
        ("null id", post(evil.replace(r#""id":1"#, r#""id":null"#))),
        ("no id", post(evil.replace(r#""id":1,"#, ""))),
        (
            "array of params",
            post(evil.replace("\"params\":{", "\"_\":[1],\"params\":{")),
        ),
    ];
    all_fail(Keys::Last, &attacks).await;
}

/// These are refused by what they are, whoever they name: the server alone would go down or believe something else.
#[tokio::test]
async fn what_is_not_strictly_a_message_is_refused_before_the_server_sees_it() {
    let stage = Stage::of(Beliefs::default()).await;
    let deep = |levels: usize| {
        let (open, close) = ("[".repeat(levels), "]".repeat(levels));
        call(&format!(r#""name":"{ALLOWED}","arguments":{{"x":{open}{close}}}"#))
    };
    let attacks: [(&str, Vec<u8>); 9] = [
        ("deep", deep(1000)),
        ("very deep", deep(400_000)),
        (
            "not UTF-8",
            post(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"\xff\"}".to_vec()),
        ),
        (
            "overlong UTF-8",
            post(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"\xc0\xaf\"}".to_vec()),
        ),
        ("lone surrogate", call(r#""name":"\ud800""#)),
        (
            "two messages",
            post(r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#.repeat(2)),
        ),
        ("comment", post(r#"{"jsonrpc":"2.0",/**/"id":1,"method":"ping"}"#)),
        ("NaN", call(&format!(r#""name":"{ALLOWED}","arguments":{{"x":NaN}}"#))),
        ("trailing comma", call(&format!(r#""name":"{ALLOWED}","#))),
    ];
    let mut wrong = vec![];
    for (name, bytes) in &attacks {
        let answer = strike(stage.sidecar.address(), bytes).await;
        let refused = answer
            .as_ref()
            .is_some_and(|answer| answer.status == 400 && answer.body.contains("\"error\""));
        wrong.push((!refused).then(|| format!("{name}: {answer:?}")));
    }
    let text = String::from_utf8_lossy(&stage.guarded.received()).into_owned();
    wrong.push(
        text.contains("tools/call")
            .then(|| "a call reached the server".to_owned()),
    );
    none_of(wrong);
    // The same without the fault passes.
    let answer = strike(stage.sidecar.address(), &deep(10)).await.unwrap();
    assert!(answer.is_success(), "{answer:?}");
}

#[tokio::test]
async fn a_key_that_comes_twice_far_inside_is_refused_as_well() {
    let stage = Stage::of(Beliefs::default()).await;
    let attacks = [
        (
            "arguments",
            call(&format!(
                r#""name":"{ALLOWED}","arguments":{{"path":"/a","path":"/etc/passwd"}}"#
            )),
        ),
        (
            "deeper",
            call(&format!(r#""name":"{ALLOWED}","arguments":{{"a":[{{"b":1,"b":2}}]}}"#)),
        ),
        ("_meta", call(&format!(r#""name":"{ALLOWED}","_meta":{{"k":1,"k":2}}"#))),
    ];
    let mut wrong = vec![];
    for (name, bytes) in &attacks {
        let alone = strike(stage.alone.address(), bytes).await;
        wrong.push(
            alone
                .is_none_or(|answer| !answer.is_success())
                .then(|| format!("{name}: no attack")),
        );
        let answer = strike(stage.sidecar.address(), bytes).await;
        let refused = answer.as_ref().is_some_and(|answer| answer.status == 400);
        wrong.push((!refused).then(|| format!("{name}: {answer:?}")));
    }
    wrong.push((!stage.guarded.ran().is_empty()).then(|| "ran".to_owned()));
    none_of(wrong);
}
