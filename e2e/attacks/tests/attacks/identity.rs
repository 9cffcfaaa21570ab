//! Somebody else's key, session, task, state or confirmation.

use crate::stage::{ALLOWED, strict, strike};
use sallyport_attacks::{Answer, Beliefs, Careless, Era, Message, Post};
use sallyport_fixture::{Options, Server, own};
use sallyport_loopback::{ApiKeys, Profile, Sidecar};
use serde_json::{Value, json};

/// Two callers, whom nothing but their keys tells apart.
const ALICE: &str = "alice";
const BOB: &str = "bob";

/// A fixture behind a sidecar that knows Alice and Bob; both may do everything.
struct Scene {
    server: Server,
    sidecar: Sidecar,
    keys: ApiKeys,
}

impl Scene {
    async fn set() -> Self {
        let server = Server::start(Options::default()).await.unwrap();
        let keys = ApiKeys::new(&[(ALICE, &[]), (BOB, &[])]).unwrap();
        let profile = Profile::closed(server.address())
            .unwrap()
            .unhurried()
            .open()
            .with(&json!({
                "authentication": keys.authentication(),
                "confirmation": {"tools": "Destructive"},
                "tools": {"sideEffects": [
                    {"tools": [own::DELETE], "sideEffect": "Destructive"},
                    {"tools": ["*"], "sideEffect": "ReadOnly"},
                ]},
            }));
        let sidecar = Sidecar::start(&profile).await.unwrap();
        Self { server, sidecar, keys }
    }

    async fn send(&self, who: &str, post: &Post) -> Answer {
        let post = post
            .clone()
            .header("Authorization", &format!("Bearer {}", self.keys.key(who)));
        post.send(self.sidecar.address()).await.unwrap()
    }
}

fn modern(message: &Message) -> Post {
    Post::of(Era::Modern, message)
}

fn call(tool: &str, arguments: &Value) -> Message {
    Message::call(Era::Modern, tool, arguments)
}

fn is_result(answer: &Answer) -> bool {
    answer.is_success() && answer.message().get("result").is_some()
}

#[tokio::test]
async fn nobody_is_who_has_not_the_whole_key() {
    let guarded = Careless::start(Beliefs::default()).await.unwrap();
    let alone = Careless::start(Beliefs::default()).await.unwrap();
    let keys = ApiKeys::new(&[(ALICE, &[]), (BOB, &[])]).unwrap();
    let profile = strict(guarded.address()).with(&json!({"authentication": keys.authentication()}));
    let sidecar = Sidecar::start(&profile).await.unwrap();
    let (alice, bob) = (keys.key(ALICE), keys.key(BOB));
    let secret = |key: &str| key.rsplit('_').next().unwrap().to_owned();
    let harmless = || modern(&call(ALLOWED, &json!({})));
    let bearer = |key: &str| harmless().header("Authorization", &format!("Bearer {key}"));
    let attacks = [
        ("nothing", harmless()),
        (
            "Alice's id, Bob's secret",
            bearer(&format!("mcpe_{ALICE}_{}", secret(bob))),
        ),
        ("half a key", bearer(&alice[..alice.len() - 1])),
        ("a key and more", bearer(&format!("{alice}a"))),
        ("another case", bearer(&alice.to_ascii_uppercase())),
        ("no secret", bearer(&format!("mcpe_{ALICE}_"))),
        ("no id", bearer(&format!("mcpe__{}", secret(alice)))),
        ("only the secret", bearer(&secret(alice))),
        ("the hash", bearer(&format!("mcpe_{ALICE}_{}", keys.hash(ALICE)))),
        ("two keys in a header", bearer(&format!("{alice}, Bearer {bob}"))),
        (
            "two headers",
            bearer(alice).header("Authorization", &format!("Bearer {bob}")),
        ),
        ("Basic", harmless().header("Authorization", &format!("Basic {alice}"))),
        ("no scheme", harmless().header("Authorization", alice)),
        ("X-API-Key", harmless().header("X-API-Key", alice)),
        ("cookie", harmless().header("Cookie", &format!("access_token={alice}"))),
        (
            "query",
            harmless().target(&format!("POST /mcp?access_token={alice} HTTP/1.1")),
        ),
        (
            "query, beside a good header",
            bearer(alice).target(&format!("POST /mcp?access_token={bob} HTTP/1.1")),
        ),
        (
            "query, encoded",
            harmless().target(&format!("POST /mcp?access%5Ftoken={alice} HTTP/1.1")),
        ),
    ];
    let mut wrong = vec![];
    let before = guarded.received().len();
    for (name, post) in &attacks {
        let off = strike(alone.address(), &post.bytes()).await;
        if !off.is_some_and(|answer| answer.is_success()) {
            wrong.push(format!("{name}: no attack: the server alone refuses it"));
        }
        let answer = strike(sidecar.address(), &post.bytes()).await;
        let refused = answer.as_ref().is_some_and(|answer| matches!(answer.status, 400 | 401));
        if !refused || !guarded.ran().is_empty() {
            wrong.push(format!("{name}: {answer:?}"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    let late = String::from_utf8_lossy(&guarded.received()[before..]).into_owned();
    assert!(!late.contains("tools/call"), "{late}");
    // A right key opens, and goes no further than the sidecar.
    let answer = strike(sidecar.address(), &bearer(alice).bytes()).await.unwrap();
    assert!(is_result(&answer), "{answer:?}");
    let received = String::from_utf8_lossy(&guarded.received()).into_owned();
    let output = sidecar.output();
    for (place, text) in [("the server", received), ("the log", output)] {
        for key in [alice, bob] {
            assert!(!text.contains(&secret(key)), "{place} has seen a key:\n{text}");
        }
    }
    let received = String::from_utf8_lossy(&alone.received()).into_owned();
    assert!(received.contains(alice), "no attack: the server alone sees no key");
}

#[tokio::test]
async fn a_session_belongs_to_who_began_it() {
    let scene = Scene::set().await;
    let initialize = Message::request(
        Era::Legacy,
        "initialize",
        &json!({
            "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "a", "version": "1"},
        }),
    );
    let list = |session: &str| {
        let message = Message::request(Era::Legacy, "tools/list", &json!({}));
        Post::of(Era::Legacy, &message).header("Mcp-Session-Id", session)
    };
    // The server by itself takes whoever knows the name of a session.
    let own = Post::of(Era::Legacy, &initialize)
        .send(scene.server.address())
        .await
        .unwrap();
    let stolen = list(own.header("mcp-session-id").unwrap())
        .send(scene.server.address())
        .await
        .unwrap();
    assert!(is_result(&stolen), "no attack: {stolen:?}");

    let begun = scene.send(ALICE, &Post::of(Era::Legacy, &initialize)).await;
    let session = begun.header("mcp-session-id").expect("a session").to_owned();
    let stolen = scene.send(BOB, &list(&session)).await;
    assert_eq!(stolen.status, 404, "{stolen:?}");
    let verbs = ["GET /mcp HTTP/1.1", "DELETE /mcp HTTP/1.1"];
    for verb in verbs {
        let post = Post::bare(vec![]).target(verb).replace("Content-Type", None);
        let post = post
            .header("Mcp-Session-Id", &session)
            .header("MCP-Protocol-Version", "2025-11-25");
        let post = post.header("Authorization", &format!("Bearer {}", scene.keys.key(BOB)));
        let stolen = strike(scene.sidecar.address(), &post.unframed()).await.unwrap();
        assert_eq!(stolen.status, 404, "{verb}: {stolen:?}");
    }
    for guess in [
        "",
        "1",
        &session[..session.len() - 1],
        &format!("{session}A"),
        &session.to_ascii_uppercase(),
    ] {
        let guessed = scene.send(ALICE, &list(guess)).await;
        assert!(!guessed.is_success(), "{guess}: {guessed:?}");
    }
    let kept = scene.send(ALICE, &list(&session)).await;
    assert!(is_result(&kept), "{kept:?}");
    // The name that the server gave it is of no use either.
    let raw = scene.send(BOB, &list(own.header("mcp-session-id").unwrap())).await;
    assert_eq!(raw.status, 404, "{raw:?}");
}

#[tokio::test]
async fn a_request_state_belongs_to_the_call_it_was_made_for() {
    let scene = Scene::set().await;
    let tool = "test_input_required_result_request_state";
    let retry = |tool: &str, state: &str, arguments: &Value| {
        let answers = json!({"confirm": {"action": "accept", "content": {"ok": true}}});
        let message = call(tool, arguments).set("/params/requestState", json!(state));
        modern(&message.set("/params/inputResponses", answers))
    };
    let state_of = |answer: &Answer| {
        answer.message()["result"]["requestState"]
            .as_str()
            .expect("a state")
            .to_owned()
    };
    // The server by itself takes a state from whoever brings it.
    let given = modern(&call(tool, &json!({})))
        .send(scene.server.address())
        .await
        .unwrap();
    let taken = retry(tool, &state_of(&given), &json!({}))
        .send(scene.server.address())
        .await
        .unwrap();
    assert_eq!(taken.message()["result"]["content"][0]["text"], "state-ok", "no attack");

    let given = scene.send(ALICE, &modern(&call(tool, &json!({})))).await;
    let state = state_of(&given);
    let mut tampered = state.clone();
    tampered.replace_range(10..11, if &state[10..11] == "A" { "B" } else { "A" });
    let raw = modern(&call(tool, &json!({})))
        .send(scene.server.address())
        .await
        .unwrap();
    let other_tool = "test_input_required_result_tampered_state";
    for (name, answer) in [
        ("Bob", scene.send(BOB, &retry(tool, &state, &json!({}))).await),
        (
            "another tool",
            scene.send(ALICE, &retry(other_tool, &state, &json!({}))).await,
        ),
        ("tampered", scene.send(ALICE, &retry(tool, &tampered, &json!({}))).await),
        (
            "the server's own",
            scene.send(ALICE, &retry(tool, &state_of(&raw), &json!({}))).await,
        ),
    ] {
        let text = answer.message()["result"]["content"][0]["text"].clone();
        assert!(
            answer.message().get("error").is_some() && text.is_null(),
            "{name}: {answer:?}"
        );
    }
    let taken = scene.send(ALICE, &retry(tool, &state, &json!({}))).await;
    assert_eq!(taken.message()["result"]["content"][0]["text"], "state-ok", "{taken:?}");
}

#[tokio::test]
async fn a_task_belongs_to_who_began_it() {
    let scene = Scene::set().await;
    let tasks = json!({"extensions": {"io.modelcontextprotocol/tasks": {}}});
    let able = |message: Message| {
        message.set(
            "/params/_meta/io.modelcontextprotocol~1clientCapabilities",
            tasks.clone(),
        )
    };
    let begin = modern(&able(call("slow_compute", &json!({"seconds": 30}))));
    let about = |method: &str, task: &str| {
        let message = Message::request(Era::Modern, method, &json!({"taskId": task, "inputResponses": {}}));
        modern(&able(message))
    };
    let id_of = |answer: &Answer| {
        answer.message()["result"]["taskId"]
            .as_str()
            .expect("a task")
            .to_owned()
    };
    let own = id_of(&begin.send(scene.server.address()).await.unwrap());
    let stolen = about("tasks/get", &own).send(scene.server.address()).await.unwrap();
    assert!(is_result(&stolen), "no attack: {stolen:?}");

    let answer = scene.send(ALICE, &begin).await;
    let task = id_of(&answer);
    for method in ["tasks/get", "tasks/update", "tasks/cancel"] {
        let stolen = scene.send(BOB, &about(method, &task)).await;
        assert!(stolen.message().get("error").is_some(), "{method}: {stolen:?}");
        let raw = scene.send(BOB, &about(method, &own)).await;
        assert!(
            raw.message().get("error").is_some(),
            "{method}, the server's own: {raw:?}"
        );
    }
    let kept = scene.send(ALICE, &about("tasks/get", &task)).await;
    assert_eq!(kept.message()["result"]["status"], "working", "{kept:?}");
}

#[tokio::test]
async fn a_confirmation_is_good_for_one_call_of_who_gave_it() {
    let scene = Scene::set().await;
    let target = json!({"path": "a.txt"});
    let deleted = || scene.server.calls().of(own::DELETE).len();
    // The server by itself asks nobody.
    modern(&call(own::DELETE, &target))
        .send(scene.server.address())
        .await
        .unwrap();
    assert_eq!(deleted(), 1, "no attack");

    let ask = async |who: &str| {
        let asked = scene.send(who, &modern(&call(own::DELETE, &target))).await;
        let result = asked.message()["result"].clone();
        assert_eq!(result["resultType"], "input_required", "{asked:?}");
        let question = result["inputRequests"].as_object().unwrap().iter().next().unwrap();
        let fields = question.1["params"]["requestedSchema"]["properties"]
            .as_object()
            .unwrap();
        let yes: serde_json::Map<String, Value> = fields.keys().map(|name| (name.clone(), json!(true))).collect();
        let accept = json!({question.0: {"action": "accept", "content": yes}});
        (
            result["requestState"].as_str().unwrap().to_owned(),
            accept,
            question.0.clone(),
        )
    };
    let retry = |tool: &str, arguments: &Value, state: &str, answers: &Value| {
        let message = call(tool, arguments).set("/params/requestState", json!(state));
        modern(&message.set("/params/inputResponses", answers.clone()))
    };
    let (state, accept, key) = ask(ALICE).await;
    assert_eq!(deleted(), 1, "it was not asked for yet");
    let declined = json!({key.clone(): {"action": "decline"}});
    let unticked = json!({key.clone(): {"action": "accept", "content": {}}});
    let no_answer = json!({});
    let other = json!({"path": "b.txt"});
    let reordered = json!({"path": "a.txt", "x": 1});
    for (name, who, post) in [
        ("Bob", BOB, retry(own::DELETE, &target, &state, &accept)),
        ("other arguments", ALICE, retry(own::DELETE, &other, &state, &accept)),
        ("more arguments", ALICE, retry(own::DELETE, &reordered, &state, &accept)),
        ("no state", ALICE, retry(own::DELETE, &target, "", &accept)),
        ("no answer", ALICE, retry(own::DELETE, &target, &state, &no_answer)),
        (
            "another state",
            ALICE,
            retry(own::DELETE, &target, &state.to_ascii_lowercase(), &accept),
        ),
        ("unticked", ALICE, retry(own::DELETE, &target, &state, &unticked)),
    ] {
        let answer = scene.send(who, &post).await;
        assert_eq!(deleted(), 1, "{name}: it ran: {answer:?}");
    }
    let (state, accept, _) = ask(ALICE).await;
    let refused = scene
        .send(ALICE, &retry(own::DELETE, &target, &ask(ALICE).await.0, &declined))
        .await;
    assert_eq!(deleted(), 1, "declined, and it ran: {refused:?}");
    let ran = scene.send(ALICE, &retry(own::DELETE, &target, &state, &accept)).await;
    assert!(is_result(&ran) && deleted() == 2, "{ran:?}");
    let again = scene.send(ALICE, &retry(own::DELETE, &target, &state, &accept)).await;
    assert_eq!(deleted(), 2, "the same confirmation ran twice: {again:?}");
    // The server saw neither the question nor the answer.
    let calls = scene.server.calls().of(own::DELETE);
    assert_eq!(Value::Object(calls[1].arguments.clone()), target);
}

#[tokio::test]
async fn headers_of_a_caller_do_not_reach_the_server() {
    let scene = Scene::set().await;
    let dressed = modern(&call(own::ECHO, &json!({"text": "x"})))
        .header("DPoP", "proof")
        .header("Cookie", "a=b");
    assert!(is_result(&scene.send(ALICE, &dressed).await));
    assert!(is_result(
        &dressed
            .header("Authorization", "Bearer x")
            .send(scene.server.address())
            .await
            .unwrap()
    ));
    let calls = scene.server.calls().of(own::ECHO);
    for name in ["authorization", "dpop", "cookie"] {
        assert!(!calls[0].headers.contains_key(name), "{name} came through");
        assert!(calls[1].headers.contains_key(name), "no attack");
    }
}
