//! Modern clients: `input_required` and the call again.

use super::testing::*;
use super::*;
use crate::seal::testing::{KeyFile, owner};
use base64::Engine as _;
use pretty_assertions::assert_eq;
use serde_json::{Value, json};
use std::time::Duration;

fn drop_table() -> Value {
    call("drop_table", &json!({"table": "users", "cascade": true, "keep": 10}))
}

/// The question and the retry that answers it with yes.
async fn confirmed(replica: &Replica, call: &Value) -> Value {
    let (decision, _) = replica.call(owner(1), &body(call), FORMS).await;
    retry(call, &asked(decision), &yes())
}

#[tokio::test]
async fn the_first_call_is_answered_with_a_form_and_reaches_no_server() {
    let replica = Replica::alone();
    let (decision, _) = replica.call(owner(1), &body(&drop_table()), FORMS).await;
    let asked = asked(decision);
    assert_eq!(asked.because, None);
    let mut answer: Value = serde_json::from_slice(&asked.body).unwrap();
    assert!(answer["result"]["requestState"].take().as_str().unwrap().len() > 100);
    assert_eq!(
        answer,
        json!({"jsonrpc": "2.0", "id": "req-1", "result": {
            "resultType": "input_required",
            "requestState": null,
            "inputRequests": {"sallyport.dev/confirm": {"method": "elicitation/create", "params": {
                "mode": "form",
                "message": r#"Run the tool "drop_table" of team-a/demo? Arguments: {"cascade":true,"keep":10,"table":"users"}"#,
                "requestedSchema": {
                    "type": "object",
                    "properties": {"confirm": {
                        "type": "boolean", "title": "Run it", "description": "Whether the call is to run now, once.", "default": false,
                    }},
                    "required": ["confirm"],
                },
            }}},
        }})
    );
}

#[tokio::test]
async fn a_confirmed_call_reaches_the_server_as_if_nobody_had_been_asked() {
    let replica = Replica::alone();
    let retry = confirmed(&replica, &drop_table()).await;
    let (decision, received) = replica.call(owner(1), &body(&retry), FORMS).await;
    assert!(passes(&decision));
    let mut expected = drop_table();
    expected["id"] = json!("req-2");
    assert_eq!(received.body, body(&expected));
    assert_eq!(received.mcp_name, None);
}

#[tokio::test]
async fn a_confirmation_runs_one_call_only() {
    let replica = Replica::alone();
    let retry = body(&confirmed(&replica, &drop_table()).await);
    assert!(passes(&replica.call(owner(1), &retry, FORMS).await.0));
    for _ in 0..3 {
        let again = asked(replica.call(owner(1), &retry, FORMS).await.0);
        assert_eq!(again.because, Some(Refusal::AlreadyUsed));
    }
}

#[tokio::test]
async fn another_principal_cannot_use_it() {
    let replica = Replica::alone();
    let retry = body(&confirmed(&replica, &drop_table()).await);
    assert_eq!(
        replica.receive(owner(2), &retry).unwrap_err().reason(),
        "foreign_request_state"
    );
    assert!(passes(&replica.call(owner(1), &retry, FORMS).await.0));
}

#[tokio::test]
async fn another_tool_or_other_arguments_cannot_use_it() {
    let replica = Replica::alone();
    let retry = confirmed(&replica, &drop_table()).await;
    let changed = |pointer: &str, value: Value| {
        let mut changed = retry.clone();
        *changed.pointer_mut(pointer).unwrap() = value;
        body(&changed)
    };
    for other in [
        changed("/params/name", json!("drop_database")),
        changed("/params/arguments/table", json!("orders")),
        changed("/params/arguments/cascade", json!("true")),
        changed("/params/arguments/keep", json!(11)),
        changed("/params/arguments", json!({})),
    ] {
        assert_eq!(
            denied(&replica.call(owner(1), &other, FORMS).await.0),
            Refusal::OtherCall
        );
    }
    let mut more = retry.clone();
    more["params"]["arguments"]["force"] = json!(true);
    assert_eq!(
        denied(&replica.call(owner(1), &body(&more), FORMS).await.0),
        Refusal::OtherCall
    );
    // None of that used it up.
    assert!(passes(&replica.call(owner(1), &body(&retry), FORMS).await.0));
}

#[tokio::test]
async fn a_client_may_write_the_same_arguments_in_another_way() {
    let replica = Replica::alone();
    let retry = confirmed(&replica, &drop_table()).await.to_string();
    let arguments = r#"{"cascade":true,"keep":10,"table":"users"}"#;
    assert!(retry.contains(arguments));
    let rewritten = retry.replace(
        arguments,
        "{ \"table\" : \"\\u0075sers\",\n\"keep\":1e1, \"cascade\":true }",
    );
    let (decision, received) = replica.call(owner(1), &rewritten.into(), FORMS).await;
    assert!(passes(&decision));
    // The server gets what was sent last, byte for byte.
    assert!(
        std::str::from_utf8(&received.body)
            .unwrap()
            .contains("{ \"table\" : \"\\u0075sers\",\n\"keep\":1e1, \"cascade\":true }")
    );
}

#[tokio::test(start_paused = true)]
async fn a_confirmation_expires() {
    let replica = Replica::alone();
    let late = body(&confirmed(&replica, &drop_table()).await);
    tokio::time::advance(Duration::from_secs(1)).await;
    let in_time = body(&confirmed(&replica, &drop_table()).await);
    tokio::time::advance(Duration::from_secs(299)).await;
    assert!(passes(&replica.call(owner(1), &in_time, FORMS).await.0));
    tokio::time::advance(Duration::from_millis(1)).await;
    assert_eq!(
        asked(replica.call(owner(1), &late, FORMS).await.0).because,
        Some(Refusal::Expired)
    );
    tokio::time::advance(Duration::from_hours(1)).await;
    // What was used is forgotten by then, and no way back in.
    assert_eq!(
        asked(replica.call(owner(1), &in_time, FORMS).await.0).because,
        Some(Refusal::Expired)
    );
}

#[tokio::test]
async fn a_clock_that_is_wrong_or_set_back_changes_nothing() {
    let replica = Replica::alone();
    let retry = body(&confirmed(&replica, &drop_table()).await);
    let day = Duration::from_hours(24);
    for (clock, used_before) in [(now() + day, false), (now() - day, true), (now(), true)] {
        let mut received = replica.confirmations.receive(owner(1), &retry, false, clock).unwrap();
        let decision = replica
            .confirmations
            .gate(&mut received, &replica.policy, "drop_table", FORMS)
            .await;
        assert_eq!(passes(&decision), !used_before);
    }
}

#[tokio::test]
async fn a_changed_state_is_refused() {
    let replica = Replica::alone();
    let retry = confirmed(&replica, &drop_table()).await;
    let state = retry["params"]["requestState"].as_str().unwrap();
    let engine = base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let mut bytes = engine.decode(state).unwrap();
    for index in [0, 3, 20, 60, bytes.len() - 1] {
        bytes[index] ^= 1;
        let mut changed = retry.clone();
        changed["params"]["requestState"] = json!(engine.encode(&bytes));
        assert_eq!(
            replica.receive(owner(1), &body(&changed)).unwrap_err().reason(),
            "foreign_request_state"
        );
        bytes[index] ^= 1;
    }
    assert!(passes(&replica.call(owner(1), &body(&retry), FORMS).await.0));
}

#[tokio::test]
async fn only_a_key_that_is_still_there_opens_it() {
    let keys = KeyFile::new(&[1]);
    let replica = Replica::shared(&keys).await;
    let first = body(&confirmed(&replica, &drop_table()).await);
    let second = body(&confirmed(&replica, &drop_table()).await);
    keys.write(&[2, 1]);
    replica.seal.reload().unwrap();
    assert!(passes(&replica.call(owner(1), &first, FORMS).await.0));
    keys.write(&[2]);
    replica.seal.reload().unwrap();
    assert_eq!(
        replica.receive(owner(1), &second).unwrap_err().reason(),
        "foreign_request_state"
    );
    assert_eq!(
        Replica::alone().receive(owner(1), &second).unwrap_err().reason(),
        "foreign_request_state"
    );
}

#[tokio::test]
async fn a_no_is_final_for_its_question() {
    let replica = Replica::alone();
    for no in [
        json!({"action": "decline"}),
        json!({"action": "cancel"}),
        json!({"action": "accept", "content": {"confirm": false}}),
    ] {
        let (decision, _) = replica.call(owner(1), &body(&drop_table()), FORMS).await;
        let question = asked(decision);
        let declined = body(&retry(&drop_table(), &question, &no));
        assert_eq!(
            denied(&replica.call(owner(1), &declined, FORMS).await.0),
            Refusal::Declined
        );
        let after_all = body(&retry(&drop_table(), &question, &yes()));
        let again = asked(replica.call(owner(1), &after_all, FORMS).await.0);
        assert_eq!(again.because, Some(Refusal::AlreadyUsed));
    }
}

#[tokio::test]
async fn a_state_without_an_answer_confirms_nothing_and_a_yes_without_a_state_neither() {
    let replica = Replica::alone();
    let retry = confirmed(&replica, &drop_table()).await;
    for key in ["inputResponses", "requestState"] {
        let mut half = retry.clone();
        half["params"].as_object_mut().unwrap().remove(key);
        assert_eq!(asked(replica.call(owner(1), &body(&half), FORMS).await.0).because, None);
    }
    let mut elsewhere = retry.clone();
    elsewhere["params"]["inputResponses"] = json!({"other": yes()});
    assert_eq!(
        asked(replica.call(owner(1), &body(&elsewhere), FORMS).await.0).because,
        None
    );
    assert!(passes(&replica.call(owner(1), &body(&retry), FORMS).await.0));
}

#[tokio::test]
async fn where_nobody_can_be_asked_the_call_is_denied() {
    let replica = Replica::alone();
    let (decision, _) = replica
        .call(owner(1), &body(&drop_table()), Client::Modern { forms: false })
        .await;
    let refusal = denied(&decision);
    assert_eq!((refusal, refusal.code()), (Refusal::NobodyToAsk, -31003));
    assert_eq!(
        refusal.data(),
        json!({"reason": "confirmation_impossible", "requiredCapabilities": {"elicitation": {"form": {}}}})
    );
    // Tokens are for legacy clients.
    let tokens = Replica::alone().with_tokens();
    let (decision, _) = tokens
        .call(owner(1), &body(&drop_table()), Client::Modern { forms: false })
        .await;
    assert_eq!(denied(&decision), Refusal::NobodyToAsk);
    // A notification has no answer to put a question in.
    let mut notification = drop_table();
    notification.as_object_mut().unwrap().remove("id");
    assert_eq!(
        denied(&replica.call(owner(1), &body(&notification), FORMS).await.0),
        Refusal::NobodyToAsk
    );
}

#[tokio::test]
async fn arguments_that_two_readers_read_differently_are_not_asked_about() {
    let replica = Replica::alone();
    let twice = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"drop_table","arguments":{"table":"a","table":"b"}}}"#;
    assert_eq!(
        denied(&replica.call(owner(1), &twice.into(), FORMS).await.0),
        Refusal::Ambiguous
    );
}

/// A server that answers the confirmed call with a question of its own, with or without a state.
fn server_asks(state: Option<&str>) -> bytes::Bytes {
    let mut answer = json!({"jsonrpc": "2.0", "id": "req-2", "result": {"resultType": "input_required", "inputRequests": {"why": {"method": "elicitation/create"}}}});
    if let Some(state) = state {
        answer["result"]["requestState"] = json!(state);
    }
    body(&answer)
}

#[tokio::test]
async fn a_servers_own_question_on_a_confirmed_call_is_answered_without_asking_again() {
    let replica = Replica::alone();
    for theirs in [Some("server state"), None] {
        let retry = confirmed(&replica, &drop_table()).await;
        let (decision, received) = replica.call(owner(1), &body(&retry), FORMS).await;
        assert!(passes(&decision));
        let wrapped = replica
            .confirmations
            .wrap(&received, &server_asks(theirs), now())
            .unwrap();
        let wrapped: Value = serde_json::from_slice(&wrapped).unwrap();
        assert_eq!(
            wrapped["result"]["inputRequests"],
            json!({"why": {"method": "elicitation/create"}})
        );

        let mut answered = drop_table();
        answered["params"]["inputResponses"] = json!({"why": {"action": "accept", "content": {"reason": "x"}}});
        let mut expected = answered.clone();
        answered["params"]["requestState"] = wrapped["result"]["requestState"].clone();
        if let Some(theirs) = theirs {
            expected["params"]["requestState"] = json!(theirs);
        }
        let (decision, received) = replica.call(owner(1), &body(&answered), FORMS).await;
        assert!(passes(&decision));
        assert_eq!(serde_json::from_slice::<Value>(&received.body).unwrap(), expected);

        // It is worth one run, as the first answer was.
        let again = asked(replica.call(owner(1), &body(&answered), FORMS).await.0);
        assert_eq!(again.because, Some(Refusal::AlreadyUsed));
        // And a third round is as good as the second.
        let wrapped = replica
            .confirmations
            .wrap(&received, &server_asks(theirs), now())
            .unwrap();
        let wrapped: Value = serde_json::from_slice(&wrapped).unwrap();
        answered["params"]["requestState"] = wrapped["result"]["requestState"].clone();
        assert!(passes(&replica.call(owner(1), &body(&answered), FORMS).await.0));
    }
}

#[tokio::test]
async fn a_servers_state_of_an_unconfirmed_call_confirms_nothing() {
    let replica = Replica::alone();
    // As when the tool became destructive in between: no gate was asked.
    let received = replica.receive(owner(1), &body(&drop_table())).unwrap();
    let wrapped = replica
        .confirmations
        .wrap(&received, &server_asks(Some("s")), now())
        .unwrap();
    let wrapped: Value = serde_json::from_slice(&wrapped).unwrap();
    let mut answered = drop_table();
    answered["params"]["requestState"] = wrapped["result"]["requestState"].clone();
    answered["params"]["inputResponses"] = json!({"sallyport.dev/confirm": yes()});
    assert_eq!(
        asked(replica.call(owner(1), &body(&answered), FORMS).await.0).because,
        None
    );
}
