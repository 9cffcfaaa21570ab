//! Legacy clients: a request on the open stream, or a token in the arguments.

use super::testing::*;
use super::*;
use crate::seal::testing::owner;
use crate::seal::{Owner, Session};
use pretty_assertions::{assert_eq, assert_ne};
use serde_json::{Value, json};
use std::time::Duration;

fn session(replica: &Replica, elicits_forms: bool) -> Session {
    Session::begin(&replica.seal, None, elicits_forms).unwrap()
}

fn wipe() -> Value {
    call("wipe", &json!({"disk": "sda"}))
}

fn client(session: &Session) -> Client<'_> {
    Client::Legacy {
        session: Some(session),
        streams: true,
    }
}

async fn elicited(replica: &Replica, session: &Session) -> (Elicitation, Value) {
    let (decision, received) = replica.call(owner(1), &body(&wipe()), client(session)).await;
    assert_eq!(received.body, body(&wipe()));
    let Decision::Elicit(elicitation) = decision else {
        panic!("{decision:?}")
    };
    let event = std::str::from_utf8(elicitation.event()).unwrap();
    let data = event
        .strip_prefix("event: message\ndata: ")
        .unwrap()
        .strip_suffix("\n\n")
        .unwrap();
    assert!(!data.contains('\n'));
    let request = serde_json::from_str(data).unwrap();
    (elicitation, request)
}

async fn answer(
    replica: &Replica,
    principal: Owner,
    session: Option<&Session>,
    id: &Value,
    result: &Value,
) -> Answered {
    let result = result.to_string();
    replica
        .confirmations
        .answer(principal, session, &id.to_string(), Some(&result))
        .await
}

#[tokio::test]
async fn a_person_is_asked_on_the_stream_and_the_answer_lets_the_call_run() {
    let replica = Replica::alone();
    let session = session(&replica, true);
    let (mut elicitation, request) = elicited(&replica, &session).await;
    assert_eq!(
        (&request["jsonrpc"], &request["method"]),
        (&json!("2.0"), &json!("elicitation/create"))
    );
    assert_eq!(
        request["params"]["message"],
        r#"Run the tool "wipe" of team-a/demo? Arguments: {"disk":"sda"}"#
    );
    assert_eq!(
        request["params"]["requestedSchema"]["properties"]["confirm"]["type"],
        "boolean"
    );
    assert!(request["params"].get("mode").is_none());
    assert_eq!(
        answer(&replica, owner(1), Some(&session), &request["id"], &yes()).await,
        Answered::Taken
    );
    assert_eq!(elicitation.answered().await, Ok(()));
    // A second answer finds no question.
    assert_eq!(
        answer(&replica, owner(1), Some(&session), &request["id"], &yes()).await,
        Answered::Refused(Refusal::Expired)
    );
}

#[tokio::test]
async fn a_no_an_error_and_nothing_are_all_a_no() {
    let replica = Replica::alone();
    let session = session(&replica, true);
    for no in [
        json!({"action": "decline"}),
        json!({"action": "cancel"}),
        json!({"action": "accept"}),
    ] {
        let (mut elicitation, request) = elicited(&replica, &session).await;
        assert_eq!(
            answer(&replica, owner(1), Some(&session), &request["id"], &no).await,
            Answered::Taken
        );
        assert_eq!(elicitation.answered().await, Err(Refusal::Declined));
    }
    let (mut elicitation, request) = elicited(&replica, &session).await;
    let id = request["id"].to_string();
    assert_eq!(
        replica.confirmations.answer(owner(1), Some(&session), &id, None).await,
        Answered::Taken
    );
    assert_eq!(elicitation.answered().await, Err(Refusal::Declined));
}

#[tokio::test(start_paused = true)]
async fn a_question_without_an_answer_expires() {
    let replica = Replica::alone();
    let session = session(&replica, true);
    let (mut elicitation, request) = elicited(&replica, &session).await;
    let asked = tokio::time::Instant::now();
    assert_eq!(elicitation.answered().await, Err(Refusal::Expired));
    assert_eq!(asked.elapsed().as_secs(), 300);
    drop(elicitation);
    assert_eq!(
        answer(&replica, owner(1), Some(&session), &request["id"], &yes()).await,
        Answered::Refused(Refusal::Expired)
    );
}

#[tokio::test]
async fn nobody_else_and_no_other_session_can_answer() {
    let replica = Replica::alone();
    let (mine, other) = (session(&replica, true), session(&replica, true));
    let (mut elicitation, request) = elicited(&replica, &mine).await;
    let foreign = Answered::Refused(Refusal::Foreign);
    assert_eq!(
        answer(&replica, owner(2), Some(&mine), &request["id"], &yes()).await,
        foreign
    );
    assert_eq!(
        answer(&replica, owner(1), Some(&other), &request["id"], &yes()).await,
        foreign
    );
    assert_eq!(answer(&replica, owner(1), None, &request["id"], &yes()).await, foreign);
    let tampered = json!(format!("{}x", request["id"].as_str().unwrap()));
    assert_eq!(
        answer(&replica, owner(1), Some(&mine), &tampered, &yes()).await,
        foreign
    );
    let waiting = tokio::time::timeout(Duration::from_millis(20), elicitation.answered()).await;
    assert!(waiting.is_err(), "none of these answered it");
    assert_eq!(
        answer(&replica, owner(1), Some(&mine), &request["id"], &yes()).await,
        Answered::Taken
    );
    assert_eq!(elicitation.answered().await, Ok(()));
}

#[tokio::test]
async fn answers_to_the_servers_own_requests_are_the_servers() {
    let replica = Replica::alone();
    let session = session(&replica, true);
    for id in [json!(1), json!("1"), json!("confirm"), json!(null)] {
        assert_eq!(
            answer(&replica, owner(1), Some(&session), &id, &yes()).await,
            Answered::NotOurs
        );
    }
    // However it is written, an id of ours never reaches the server.
    let escaped = r#""sallyport\u002dconfirm.AAAA""#;
    assert_eq!(
        replica
            .confirmations
            .answer(owner(1), Some(&session), escaped, Some("{}"))
            .await,
        Answered::Refused(Refusal::Foreign)
    );
}

#[tokio::test]
async fn a_client_that_cannot_ask_is_denied_unless_tokens_are_allowed() {
    let replica = Replica::alone();
    let (with, without) = (session(&replica, true), session(&replica, false));
    for client in [
        client(&without),
        Client::Legacy {
            session: None,
            streams: true,
        },
        Client::Legacy {
            session: Some(&with),
            streams: false,
        },
    ] {
        assert_eq!(
            denied(&replica.call(owner(1), &body(&wipe()), client).await.0),
            Refusal::NobodyToAsk
        );
    }
    let tokens = Replica::alone().with_tokens();
    let session = session(&tokens, true);
    // Where a person can be asked, a person is asked.
    assert!(matches!(
        tokens.call(owner(1), &body(&wipe()), client(&session)).await.0,
        Decision::Elicit(_)
    ));
}

const NOBODY: Client<'_> = Client::Legacy {
    session: None,
    streams: true,
};

/// The second call, with the token that the first was answered with.
async fn with_token(replica: &Replica) -> Value {
    let asked = asked(replica.call(owner(1), &body(&wipe()), NOBODY).await.0);
    let answer: Value = serde_json::from_slice(&asked.body).unwrap();
    let text = answer["result"]["content"][0]["text"].as_str().unwrap();
    let text: Value = serde_json::from_str(text).unwrap();
    let mut second = wipe();
    second["params"]["arguments"]["confirmationToken"] = text["confirmation_required"]["token"].clone();
    second
}

#[tokio::test]
async fn the_first_call_answers_with_a_token_and_the_second_runs_without_it() {
    let replica = Replica::alone().with_tokens();
    let asked = asked(replica.call(owner(1), &body(&wipe()), NOBODY).await.0);
    let answer: Value = serde_json::from_slice(&asked.body).unwrap();
    assert_eq!(
        (&answer["id"], &answer["result"]["isError"]),
        (&json!("req-1"), &json!(true))
    );
    let text: Value = serde_json::from_str(answer["result"]["content"][0]["text"].as_str().unwrap()).unwrap();
    let required = &text["confirmation_required"];
    assert_eq!(
        (&required["operation"], &required["expiresInSeconds"]),
        (&json!("wipe"), &json!(300))
    );
    assert!(required["description"].as_str().unwrap().contains(r#"{"disk":"sda"}"#));

    let second = with_token(&replica).await;
    let (decision, received) = replica.call(owner(1), &body(&second), NOBODY).await;
    assert!(passes(&decision));
    assert_eq!(serde_json::from_slice::<Value>(&received.body).unwrap(), wipe());
    let again = super::testing::asked(replica.call(owner(1), &body(&second), NOBODY).await.0);
    assert_eq!(again.because, Some(Refusal::AlreadyUsed));
}

#[tokio::test]
async fn a_token_is_its_principals_for_its_tool_and_arguments() {
    let replica = Replica::alone().with_tokens();
    let second = with_token(&replica).await;
    assert_eq!(
        denied(&replica.call(owner(2), &body(&second), NOBODY).await.0),
        Refusal::Foreign
    );
    let mut changed = second.clone();
    changed["params"]["arguments"]["disk"] = json!("sdb");
    assert_eq!(
        denied(&replica.call(owner(1), &body(&changed), NOBODY).await.0),
        Refusal::OtherCall
    );
    let mut other = second.clone();
    other["params"]["name"] = json!("wipe_all");
    assert_eq!(
        denied(&replica.call(owner(1), &body(&other), NOBODY).await.0),
        Refusal::OtherCall
    );
    let mut invented = second.clone();
    invented["params"]["arguments"]["confirmationToken"] = json!("yes");
    assert_eq!(
        denied(&replica.call(owner(1), &body(&invented), NOBODY).await.0),
        Refusal::Foreign
    );
    assert!(passes(&replica.call(owner(1), &body(&second), NOBODY).await.0));
}

#[tokio::test(start_paused = true)]
async fn a_token_expires() {
    let replica = Replica::alone().with_tokens();
    let second = body(&with_token(&replica).await);
    tokio::time::advance(Duration::from_secs(301)).await;
    assert_eq!(
        asked(replica.call(owner(1), &second, NOBODY).await.0).because,
        Some(Refusal::Expired)
    );
}

#[tokio::test]
async fn a_token_is_no_state_and_a_state_no_token() {
    let replica = Replica::alone().with_tokens();
    let mut as_state = wipe();
    as_state["params"]["requestState"] = with_token(&replica).await["params"]["arguments"]["confirmationToken"].clone();
    as_state["params"]["inputResponses"] = json!({"sallyport.dev/confirm": yes()});
    assert_eq!(
        replica.receive(owner(1), &body(&as_state)).unwrap_err().reason(),
        "foreign_request_state"
    );

    let question = asked(replica.call(owner(1), &body(&wipe()), FORMS).await.0);
    let question: Value = serde_json::from_slice(&question.body).unwrap();
    let mut as_token = wipe();
    as_token["params"]["arguments"]["confirmationToken"] = question["result"]["requestState"].clone();
    assert_eq!(
        denied(&replica.call(owner(1), &body(&as_token), NOBODY).await.0),
        Refusal::Foreign
    );
}

#[tokio::test]
async fn a_tools_own_argument_of_that_name_is_left_alone_where_tokens_are_not_used() {
    let replica = Replica::alone();
    let mut own = wipe();
    own["params"]["arguments"]["confirmationToken"] = json!("the tool's own");
    let received = replica.receive(owner(1), &body(&own)).unwrap();
    assert_eq!(received.body, body(&own));
    assert_eq!(received.proof, Proof::Nothing);
    // Where they are, only a string is one.
    let tokens = Replica::alone().with_tokens();
    own["params"]["arguments"]["confirmationToken"] = json!({"a": 1});
    assert_eq!(
        tokens.receive(owner(1), &body(&own)).unwrap_err().reason(),
        "ambiguous_message"
    );
}

#[tokio::test]
async fn a_token_goes_without_touching_any_other_byte() {
    let replica = Replica::alone().with_tokens();
    let token = with_token(&replica).await["params"]["arguments"]["confirmationToken"].clone();
    let with = |member: &str| {
        format!(
            "{{\"jsonrpc\":\"2.0\", \"id\" :1,\"method\":\"tools/call\",\"params\":{{\"name\":\"wipe\",\"arguments\":{{\"disk\" : \"sda\"{member}  }} }}}}"
        )
    };
    let (decision, received) = replica
        .call(
            owner(1),
            &with(&format!(", \"confirmationToken\": {token}")).into(),
            NOBODY,
        )
        .await;
    assert!(passes(&decision));
    assert_eq!(std::str::from_utf8(&received.body).unwrap(), with(""));
    assert_ne!(received.proof, Proof::Nothing);
}
