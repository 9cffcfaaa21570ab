//! A header says one thing, the body another.

use crate::stage::{ALLOWED, FORBIDDEN, SETTLE, Stage, none_of, strike};
use sallyport_attacks::{Beliefs, Era, Message, Post};
use sallyport_loopback::Sidecar;
use serde_json::{Value, json};

const HEADER: Beliefs = Beliefs {
    keys: sallyport_attacks::Keys::Last,
    framing: sallyport_attacks::Framing::Chunked,
    header: true,
    looks: false,
    tools: sallyport_attacks::TOOLS,
};

fn harmless() -> Post {
    Post::of(Era::Modern, &Message::call(Era::Modern, ALLOWED, &json!({})))
}

#[tokio::test]
async fn a_name_in_a_header_is_never_another_than_that_in_the_body() {
    let stage = Stage::of(HEADER).await;
    let lies: [(&str, Post); 4] = [
        ("name", harmless().replace("Mcp-Name", Some(FORBIDDEN))),
        (
            "first of two",
            harmless()
                .replace("Mcp-Name", Some(FORBIDDEN))
                .header("Mcp-Name", ALLOWED),
        ),
        ("another case", harmless().replace("Mcp-Name", Some("DELETE_NOTE"))),
        ("padded", harmless().replace("Mcp-Name", Some("  delete_note  "))),
    ];
    let mut wrong = vec![];
    for (name, post) in &lies {
        wrong.push(stage.attack(name, &post.bytes()).await);
    }
    none_of(wrong);
}

#[tokio::test]
async fn a_legacy_request_smuggles_no_name_in_a_header_either() {
    let stage = Stage::of(HEADER).await;
    let post = Post::of(Era::Legacy, &Message::call(Era::Legacy, ALLOWED, &json!({})));
    let post = post.header("Mcp-Method", "tools/call").header("Mcp-Name", FORBIDDEN);
    none_of([stage.attack("legacy", &post.bytes()).await]);
}

#[tokio::test]
async fn an_argument_in_a_header_is_never_another_than_that_in_the_body() {
    let stage = Stage::of(HEADER).await;
    knows_tools(&stage.sidecar).await;
    let routed = |arguments: &Value| Post::of(Era::Modern, &Message::call(Era::Modern, ALLOWED, arguments));
    let lies = [
        ("another value", routed(&json!({"route": ALLOWED}))),
        ("no value", routed(&json!({}))),
        ("null", routed(&json!({"route": null}))),
        ("no text", routed(&json!({"route": [ALLOWED]}))),
        ("argument in another case", routed(&json!({"Route": ALLOWED}))),
    ];
    let mut wrong = vec![];
    for (name, post) in &lies {
        for header in ["Mcp-Param-Route", "MCP-PARAM-ROUTE"] {
            let post = post.clone().header(header, FORBIDDEN);
            wrong.push(stage.attack(name, &post.bytes()).await);
            let answer = strike(stage.sidecar.address(), &post.bytes()).await;
            let told = answer
                .as_ref()
                .is_some_and(|answer| answer.status == 400 && answer.message()["error"]["code"] == -32020);
            wrong.push((!told).then(|| format!("{name}: {answer:?}")));
        }
    }
    assert!(mentions(&stage.sidecar, "mismatch").await, "{}", stage.sidecar.output());
    let silent = routed(&json!({"route": ALLOWED}));
    let answer = strike(stage.sidecar.address(), &silent.bytes()).await;
    wrong.push((answer.is_none_or(|answer| answer.status != 400)).then(|| "no header: passed".to_owned()));
    none_of(wrong);

    // What agrees passes, and so does what no definition asks for.
    for value in [ALLOWED, "=?base64?ZWNobw==?="] {
        let honest = silent
            .clone()
            .header("Mcp-Param-Route", value)
            .header("Mcp-Param-Other", FORBIDDEN);
        let answer = strike(stage.sidecar.address(), &honest.bytes()).await;
        assert!(
            answer.as_ref().is_some_and(sallyport_attacks::Answer::is_success),
            "{answer:?}"
        );
    }
}

#[tokio::test]
async fn headers_that_differ_from_the_body_are_a_mismatch() {
    let stage = Stage::of(Beliefs::default()).await;
    let lies = [
        ("method", harmless().replace("Mcp-Method", Some("tools/list"))),
        ("no method", harmless().replace("Mcp-Method", None)),
        ("no name", harmless().replace("Mcp-Name", None)),
        (
            "version",
            harmless().replace("MCP-Protocol-Version", Some("2025-11-25")),
        ),
        (
            "encoded name",
            harmless().replace("Mcp-Name", Some("=?base64?ZGVsZXRlX25vdGU=?=")),
        ),
        ("method twice", harmless().header("Mcp-Method", "tools/call")),
        (
            "method, another case",
            harmless().replace("Mcp-Method", Some("Tools/Call")),
        ),
    ];
    let mut wrong = vec![];
    for (name, post) in &lies {
        let alone = strike(stage.alone.address(), &post.bytes()).await;
        let guarded = strike(stage.sidecar.address(), &post.bytes()).await;
        let off = alone.is_none_or(|answer| !answer.is_success());
        wrong.push(off.then(|| format!("{name}: no attack: the server alone refuses it")));
        let on = guarded.as_ref().is_some_and(|answer| answer.status == 400);
        wrong.push((!on).then(|| format!("{name}: {guarded:?}")));
    }
    wrong.push((!stage.guarded.ran().is_empty()).then(|| format!("ran {:?}", stage.guarded.ran())));
    none_of(wrong);
}

#[tokio::test]
async fn what_agrees_passes_so_that_refusals_above_mean_something() {
    let stage = Stage::of(Beliefs::default()).await;
    let encoded = harmless().replace("Mcp-Name", Some("=?base64?ZWNobw==?="));
    for post in [harmless(), encoded] {
        let answer = strike(stage.sidecar.address(), &post.bytes()).await;
        assert!(
            answer.as_ref().is_some_and(sallyport_attacks::Answer::is_success),
            "{answer:?}"
        );
    }
    assert_eq!(stage.guarded.ran(), [ALLOWED, ALLOWED]);
}

/// One record for each message, so that nothing is run unseen.
#[tokio::test]
async fn a_mismatch_is_on_the_record() {
    let stage = Stage::of(Beliefs::default()).await;
    strike(
        stage.sidecar.address(),
        &harmless().replace("Mcp-Name", Some(FORBIDDEN)).bytes(),
    )
    .await;
    assert!(mentions(&stage.sidecar, "mismatch").await, "{}", stage.sidecar.output());
}

/// Waits until the sidecar has seen the definitions.
pub async fn knows_tools(sidecar: &Sidecar) {
    for _ in 0..500 {
        if sidecar.output().contains("the server answers") {
            break;
        }
        tokio::time::sleep(SETTLE / 5).await;
    }
    tokio::time::sleep(SETTLE).await;
}

async fn mentions(sidecar: &Sidecar, word: &str) -> bool {
    sidecar
        .record(|record| record.to_string().contains(word))
        .await
        .is_some()
}
