use super::*;
use crate::seal::testing::{KeyFile, owner, seal};
use pretty_assertions::{assert_eq, assert_ne};
use proptest::prelude::*;
use serde_json::{Value as Json, json};
use std::time::Duration;

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_hours(500_000)
}

fn bytes(value: &Json) -> Bytes {
    Bytes::from(serde_json::to_string_pretty(value).unwrap())
}

fn json(bytes: &Bytes) -> Json {
    serde_json::from_slice(bytes).unwrap()
}

fn request(method: &str, params: &Json) -> Bytes {
    bytes(&json!({"jsonrpc": "2.0", "id": 7, "method": method, "params": params}))
}

fn open(seal: &Seal, body: &Bytes) -> Result<Opened, BindingError> {
    Exchange::open(seal, owner(1), body, now())
}

/// What the client of `owner(1)` gets to see of a task.
fn task(seal: &Seal, id: &str) -> String {
    let opened = open(seal, &request("tools/call", &json!({"name": "slow"}))).unwrap();
    let answer =
        bytes(&json!({"jsonrpc": "2.0", "id": 7, "result": {"resultType": "task", "taskId": id, "status": "working"}}));
    let wrapped = json(&opened.exchange.wrap(seal, &answer, b"", now()).unwrap());
    wrapped["result"]["taskId"].as_str().unwrap().to_owned()
}

#[test]
fn a_message_without_names_passes_byte_for_byte_both_ways() {
    let seal = seal();
    for body in [
        request(
            "tools/call",
            &json!({"name": "a", "arguments": {"taskId": "x", "requestState": "y"}}),
        ),
        request("tools/list", &json!({"cursor": "c"})),
        Bytes::from_static(b" {\"jsonrpc\" : \"2.0\",\t\"method\":\"notifications/initialized\"}\r\n"),
        Bytes::from_static(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"roots\":[]}}"),
    ] {
        let opened = open(&seal, &body).unwrap();
        assert_eq!(opened.body, body);
        assert_eq!(opened.mcp_name, None);
        assert_eq!(opened.presented, Presented::Nothing);
    }
    let opened = open(&seal, &request("tools/call", &json!({"name": "a"}))).unwrap();
    for answer in [
        json!({"jsonrpc": "2.0", "id": 7, "result": {"content": [{"type": "text", "text": "\"taskId\":\"x\""}], "taskId": "kept"}}),
        json!({"jsonrpc": "2.0", "id": 7, "error": {"code": -1, "message": "m"}}),
        json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": 1}}),
        json!({"jsonrpc": "2.0", "id": 7, "result": {"resultType": "input_required", "inputRequests": {}}}),
    ] {
        let answer = bytes(&answer);
        assert_eq!(opened.exchange.wrap(&seal, &answer, b"", now()).unwrap(), answer);
    }
}

#[test]
fn a_task_is_its_principals_and_the_server_sees_its_own_id_in_body_and_header() {
    let seal = seal();
    let id = task(&seal, "task-1");
    assert_ne!(id, "task-1");
    for method in ["tasks/get", "tasks/update", "tasks/cancel", "tasks/result"] {
        let body = request(method, &json!({"taskId": id, "zzz": {"taskId": "kept"}}));
        let opened = open(&seal, &body).unwrap();
        assert_eq!(
            opened.body,
            request(method, &json!({"taskId": "task-1", "zzz": {"taskId": "kept"}}))
        );
        assert_eq!(opened.mcp_name.unwrap(), "task-1");
        let stolen = Exchange::open(&seal, owner(2), &body, now()).unwrap_err();
        assert_eq!((stolen.reason(), stolen.code()), ("foreign_task", -32602));
        let raw = open(&seal, &request(method, &json!({"taskId": "task-1"}))).unwrap_err();
        assert_eq!(raw.reason(), "foreign_task");
        let unnamed = open(&seal, &request(method, &json!({"taskId": 7}))).unwrap_err();
        assert_eq!(unnamed.reason(), "ambiguous_message");
    }
}

#[test]
fn a_client_sees_one_name_for_a_task_wherever_it_is_spoken_of() {
    let seal = seal();
    let id = task(&seal, "task-1");
    let get = open(&seal, &request("tasks/get", &json!({"taskId": id}))).unwrap();
    let listen = open(
        &seal,
        &request("subscriptions/listen", &json!({"notifications": {"taskIds": [id]}})),
    )
    .unwrap();
    assert_eq!(
        json(&listen.body)["params"]["notifications"]["taskIds"],
        json!(["task-1"])
    );
    assert_eq!(listen.mcp_name, None);
    let legacy = open(&seal, &request("tools/call", &json!({"name": "slow", "task": {}}))).unwrap();
    for (exchange, message, pointer) in [
        (
            &get.exchange,
            json!({"id": 7, "result": {"resultType": "complete", "taskId": "task-1"}}),
            "/result/taskId",
        ),
        (
            &listen.exchange,
            json!({"method": "notifications/tasks", "params": {"taskId": "task-1"}}),
            "/params/taskId",
        ),
        (
            &listen.exchange,
            json!({"method": "notifications/subscriptions/acknowledged", "params": {"notifications": {"taskIds": ["task-1"]}}}),
            "/params/notifications/taskIds/0",
        ),
        (
            &legacy.exchange,
            json!({"id": 7, "result": {"task": {"taskId": "task-1", "status": "working"}}}),
            "/result/task/taskId",
        ),
        (
            &Exchange::unsolicited(owner(1)),
            json!({"method": "notifications/tasks/status", "params": {"taskId": "task-1"}}),
            "/params/taskId",
        ),
        (
            &legacy.exchange,
            json!({"id": 9, "method": "elicitation/create", "params": {"_meta": {"io.modelcontextprotocol/related-task": {"taskId": "task-1"}}}}),
            "/params/_meta/io.modelcontextprotocol~1related-task/taskId",
        ),
    ] {
        let wrapped = json(&exchange.wrap(&seal, &bytes(&message), b"", now()).unwrap());
        assert_eq!(wrapped.pointer(pointer).unwrap(), &json!(id), "{message}");
    }
}

#[test]
fn a_polling_client_keeps_its_name_of_a_task_while_keys_are_rotated() {
    let file = KeyFile::new(&[1]);
    let seal = Seal::new("uid", Some(file.path())).unwrap();
    let id = task(&seal, "task-1");
    file.write(&[2, 1]);
    seal.reload().unwrap();
    assert_ne!(task(&seal, "task-1"), id);
    let get = open(&seal, &request("tasks/get", &json!({"taskId": id}))).unwrap();
    let answer = bytes(&json!({"id": 7, "result": {"taskId": "task-1", "status": "working"}}));
    assert_eq!(
        json(&get.exchange.wrap(&seal, &answer, b"", now()).unwrap())["result"]["taskId"],
        json!(id)
    );
}

#[test]
fn ids_of_the_clients_own_tasks_are_left_alone() {
    let seal = seal();
    let from_server = bytes(&json!({"jsonrpc": "2.0", "id": 1, "method": "tasks/get", "params": {"taskId": "mine"}}));
    assert_eq!(
        Exchange::unsolicited(owner(1))
            .wrap(&seal, &from_server, b"", now())
            .unwrap(),
        from_server
    );
    for body in [
        bytes(&json!({"jsonrpc": "2.0", "id": 1, "result": {"taskId": "mine", "status": "working"}})),
        bytes(
            &json!({"jsonrpc": "2.0", "id": 1, "result": {"_meta": {"io.modelcontextprotocol/related-task": {"taskId": "mine"}}}}),
        ),
        bytes(&json!({"jsonrpc": "2.0", "method": "notifications/tasks/status", "params": {"taskId": "mine"}})),
    ] {
        assert_eq!(open(&seal, &body).unwrap().body, body);
    }
    let id = task(&seal, "task-1");
    let related = |id: &str| {
        bytes(
            &json!({"jsonrpc": "2.0", "id": 1, "result": {"_meta": {"io.modelcontextprotocol/related-task": {"taskId": id}}}}),
        )
    };
    assert_eq!(open(&seal, &related(&id)).unwrap().body, related("task-1"));
}

#[test]
fn the_tasks_of_all_callers_are_listed_to_nobody_unless_all_are_one() {
    let seal = seal();
    let body = request("tasks/list", &json!({}));
    assert_eq!(open(&seal, &body).unwrap_err().reason(), "tasks_of_all_callers");
    let anonymous = Owner::from(&Principal::anonymous());
    let opened = Exchange::open(&seal, anonymous, &body, now()).unwrap();
    let list = bytes(&json!({"id": 7, "result": {"tasks": [{"taskId": "a"}, {"taskId": "b"}]}}));
    let wrapped = json(&opened.exchange.wrap(&seal, &list, b"", now()).unwrap());
    for (index, expected) in ["a", "b"].into_iter().enumerate() {
        let id = wrapped["result"]["tasks"][index]["taskId"].clone();
        let get = Exchange::open(&seal, anonymous, &request("tasks/get", &json!({"taskId": id})), now()).unwrap();
        assert_eq!(json(&get.body)["params"]["taskId"], expected);
    }
}

#[test]
fn the_header_carries_what_a_header_cannot_in_base64() {
    for (id, expected) in [
        ("task-1", "task-1"),
        ("a b", "a b"),
        (" a", "=?base64?IGE=?="),
        ("é", "=?base64?w6k=?="),
        ("a\nb", "=?base64?YQpi?="),
        ("", "=?base64??="),
        ("=?base64?eA==?=", "=?base64?PT9iYXNlNjQ/ZUE9PT89?="),
    ] {
        assert_eq!(tasks::mcp_name(id).unwrap(), expected, "{id}");
    }
}

fn asks_for_input(state: Option<&str>) -> Bytes {
    let mut result = json!({"resultType": "input_required", "inputRequests": {"q": {"method": "roots/list"}}});
    if let Some(state) = state {
        result["requestState"] = json!(state);
    }
    bytes(&json!({"jsonrpc": "2.0", "id": 7, "result": result}))
}

#[test]
fn a_request_state_comes_back_to_the_server_as_it_was_with_the_same_call_only() {
    let seal = seal();
    let params = |arguments: Json, state: &Json| json!({"name": "book", "arguments": arguments, "inputResponses": {"q": {}}, "requestState": state});
    let first = open(
        &seal,
        &request("tools/call", &json!({"name": "book", "arguments": {"a": 1, "b": "x"}})),
    )
    .unwrap();
    let wrapped = json(
        &first
            .exchange
            .wrap(&seal, &asks_for_input(Some("server \"state\"")), b"", now())
            .unwrap(),
    );
    let state = &wrapped["result"]["requestState"];
    assert_ne!(state, "server \"state\"");

    let retry = request("tools/call", &params(json!({"b": "x", "a": 1}), state));
    let opened = open(&seal, &retry).unwrap();
    assert_eq!(
        opened.body,
        request(
            "tools/call",
            &params(json!({"b": "x", "a": 1}), &json!("server \"state\""))
        )
    );

    let refused = |owner: Owner, body: &Bytes, now| Exchange::open(&seal, owner, body, now).unwrap_err().reason();
    assert_eq!(refused(owner(2), &retry, now()), "foreign_request_state");
    assert_eq!(
        refused(owner(1), &retry, now() + Duration::from_secs(3700)),
        "request_state_expired"
    );
    let changed = request("tools/call", &params(json!({"a": 2, "b": "x"}), state));
    assert_eq!(refused(owner(1), &changed, now()), "request_state_of_another_call");
    let other_tool = request(
        "tools/call",
        &json!({"name": "pay", "arguments": {"a": 1, "b": "x"}, "requestState": state}),
    );
    assert_eq!(refused(owner(1), &other_tool, now()), "request_state_of_another_call");
    let other_method = request("tools/list", &json!({"requestState": state}));
    assert_eq!(refused(owner(1), &other_method, now()), "request_state_of_another_call");
    let own = request(
        "tools/call",
        &params(json!({"a": 1, "b": "x"}), &json!("server \"state\"")),
    );
    assert_eq!(refused(owner(1), &own, now()), "foreign_request_state");
    let no_string = request("tools/call", &params(json!({"a": 1, "b": "x"}), &json!({})));
    assert_eq!(refused(owner(1), &no_string, now()), "foreign_request_state");
}

#[test]
fn prompts_and_resources_have_request_states_too() {
    let seal = seal();
    for (method, params, other) in [
        (
            "prompts/get",
            json!({"name": "p", "arguments": {"a": "1"}}),
            json!({"name": "q", "arguments": {"a": "1"}}),
        ),
        (
            "resources/read",
            json!({"uri": "file:///a"}),
            json!({"uri": "file:///b"}),
        ),
    ] {
        let first = open(&seal, &request(method, &params)).unwrap();
        let wrapped = json(
            &first
                .exchange
                .wrap(&seal, &asks_for_input(Some("s")), b"", now())
                .unwrap(),
        );
        let with_state = |params: &Json, state: &Json| {
            let mut params = params.clone();
            params["requestState"] = state.clone();
            request(method, &params)
        };
        let state = &wrapped["result"]["requestState"];
        assert_eq!(
            open(&seal, &with_state(&params, state)).unwrap().body,
            with_state(&params, &json!("s"))
        );
        assert_eq!(
            open(&seal, &with_state(&other, state)).unwrap_err().reason(),
            "request_state_of_another_call"
        );
    }
}

#[test]
fn a_confirmed_call_keeps_its_ticket_where_the_server_has_no_state_of_its_own() {
    let seal = seal();
    let call = json!({"name": "book", "arguments": {}});
    let first = open(&seal, &request("tools/call", &call)).unwrap();
    assert_eq!(
        first.exchange.wrap(&seal, &asks_for_input(None), b"", now()).unwrap(),
        asks_for_input(None)
    );
    for theirs in [None, Some("s")] {
        let wrapped = json(
            &first
                .exchange
                .wrap(&seal, &asks_for_input(theirs), b"ticket", now())
                .unwrap(),
        );
        let mut retry = call.clone();
        retry["inputResponses"] = json!({"q": {}});
        let mut expected = retry.clone();
        retry["requestState"] = wrapped["result"]["requestState"].clone();
        if let Some(theirs) = theirs {
            expected["requestState"] = json!(theirs);
        }
        let opened = open(&seal, &request("tools/call", &retry)).unwrap();
        assert_eq!(json(&opened.body), json(&request("tools/call", &expected)));
        let Presented::Server(state) = opened.presented else {
            panic!()
        };
        assert_eq!(
            (state.state.as_deref(), state.confirmed.as_slice()),
            (theirs, &b"ticket"[..])
        );
    }
}

#[test]
fn a_message_that_two_readers_read_differently_passes_neither_way() {
    let seal = seal();
    let twice = Bytes::from_static(b"{\"method\":\"tasks/get\",\"params\":{\"taskId\":\"a\",\"taskI\\u0064\":\"b\"}}");
    assert_eq!(open(&seal, &twice).unwrap_err().reason(), "ambiguous_message");
    let opened = open(&seal, &request("tools/call", &json!({"name": "a"}))).unwrap();
    let answer =
        Bytes::from_static(b"{\"id\":7,\"result\":{\"resultType\":\"task\",\"taskId\":\"a\",\"taskId\":\"b\"}}");
    assert_eq!(
        opened.exchange.wrap(&seal, &answer, b"", now()).unwrap_err().reason(),
        "ambiguous_message"
    );
    // Another way of writing the same kind of result is no way around.
    let escaped = Bytes::from_static(br#"{"id":7,"result":{"resultType":"t\u0061sk","t\u0061skId":"a"}}"#);
    assert_ne!(
        json(&opened.exchange.wrap(&seal, &escaped, b"", now()).unwrap())["result"]["taskId"],
        "a"
    );
}

proptest! {
    #[test]
    fn all_bytes_but_the_task_id_are_those_that_came(before in "[ \t\n]{0,3}", key in "[a-z]{1,5}", text in any::<String>(), number in any::<f64>()) {
        let seal = seal();
        let id = task(&seal, "t");
        let (text, key) = (json!(text).to_string(), json!(key).to_string());
        let message = |id: &str| format!("{before}{{\"x{}:{text},\"method\":\"tasks/get\", \"params\" :{{{before}\"y{}:[{number:?}],\"taskId\":{before}\"{id}\" ,\"z\":{text}}}}}{before}", &key[1..], &key[1..]);
        prop_assume!(number.is_finite());
        let opened = open(&seal, &Bytes::from(message(&id))).unwrap();
        prop_assert_eq!(&opened.body, &Bytes::from(message("t")));
    }
}
