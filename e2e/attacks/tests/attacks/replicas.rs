//! The same thing shown to another replica.

use sallyport_attacks::{Answer, Era, Message, Post};
use sallyport_fixture::{Options, Server, own};
use sallyport_loopback::{ApiKeys, Directory, Profile, Sidecar};
use serde_json::{Map, Value, json};

const ALICE: &str = "alice";
const BOB: &str = "bob";

/// Two replicas that share their sealing keys, and a third that does not.
struct Replicas {
    server: Server,
    sidecars: [Sidecar; 3],
    keys: ApiKeys,
    _sealing: Directory,
}

impl Replicas {
    async fn set() -> Self {
        let server = Server::start(Options::default()).await.unwrap();
        let keys = ApiKeys::new(&[(ALICE, &[]), (BOB, &[])]).unwrap();
        let sealing = Directory::new().unwrap();
        let file = sealing.path().join("sealing.keys");
        // 32 bytes.
        std::fs::write(&file, "c2VhbGluZyBrZXkgb2YgYSB0ZXN0LCBubyBzZWNyZXQ=\n").unwrap();
        let profile = Profile::closed(server.address()).unwrap().unhurried().open();
        let profile = profile.with(&json!({
            "authentication": keys.authentication(),
            "confirmation": {"tools": "Destructive"},
            "tools": {"sideEffects": [{"tools": ["test_*"], "sideEffect": "ReadOnly"}]},
        }));
        let shared = profile.clone().with(&json!({"sealing": {"keysFile": file}}));
        let sidecars = [
            Sidecar::start(&shared).await.unwrap(),
            Sidecar::start(&shared).await.unwrap(),
            Sidecar::start(&profile).await.unwrap(),
        ];
        Self {
            server,
            sidecars,
            keys,
            _sealing: sealing,
        }
    }

    async fn send(&self, replica: usize, who: &str, message: &Message) -> Answer {
        let post = Post::of(Era::Modern, message);
        let post = post.header("Authorization", &format!("Bearer {}", self.keys.key(who)));
        post.send(self.sidecars[replica].address()).await.unwrap()
    }
}

/// The call again, with the state that came back and everything ticked.
fn confirmed(message: &Message, asked: &Answer) -> Message {
    let result = &asked.message()["result"];
    let state = result["requestState"].as_str().expect("a state").to_owned();
    let questions = result["inputRequests"].as_object().expect("a question");
    let answers: Map<String, Value> = questions
        .iter()
        .map(|(key, question)| {
            let fields = question["params"]["requestedSchema"]["properties"].as_object().unwrap();
            let ticked: Map<String, Value> = fields.keys().map(|name| (name.clone(), json!(true))).collect();
            (key.clone(), json!({"action": "accept", "content": ticked}))
        })
        .collect();
    let message = message.clone().set("/params/requestState", json!(state));
    message.set("/params/inputResponses", answers.into())
}

#[tokio::test]
async fn a_state_is_good_on_replicas_with_the_same_keys_and_for_nobody_else() {
    let replicas = Replicas::set().await;
    let tool = "test_input_required_result_request_state";
    let first = Message::call(Era::Modern, tool, &json!({}));
    let given = replicas.send(0, ALICE, &first).await;
    let again = confirmed(&first, &given);
    let text = |answer: &Answer| answer.message()["result"]["content"][0]["text"].clone();
    for (replica, who) in [(0, BOB), (1, BOB), (2, ALICE), (2, BOB)] {
        let stolen = replicas.send(replica, who, &again).await;
        assert!(
            stolen.message().get("error").is_some(),
            "{who} at {replica}: {stolen:?}"
        );
    }
    let taken = replicas.send(1, ALICE, &again).await;
    assert_eq!(text(&taken), "state-ok", "{taken:?}");
}

#[tokio::test]
async fn a_confirmation_is_used_up_on_all_replicas_at_once() {
    let replicas = Replicas::set().await;
    let delete = Message::call(Era::Modern, own::DELETE, &json!({"path": "a.txt"}));
    let asked = replicas.send(0, ALICE, &delete).await;
    let confirmed = confirmed(&delete, &asked);
    // All at once, and then once more.
    let at_once = tokio::join!(
        replicas.send(0, ALICE, &confirmed),
        replicas.send(1, ALICE, &confirmed),
        replicas.send(2, ALICE, &confirmed),
        replicas.send(0, ALICE, &confirmed),
        replicas.send(1, ALICE, &confirmed),
    );
    for replica in 0..3 {
        replicas.send(replica, ALICE, &confirmed).await;
    }
    let ran = replicas.server.calls().of(own::DELETE).len();
    assert_eq!(ran, 1, "{at_once:?}");
}
