//! Both eras at one URL: what is of which, and what each is answered.

use crate::support::{
    CALL, Running, Server, get, json_answer, json_of, json_text, modern, pair, policy, post, raw, send,
};
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use pretty_assertions::assert_eq;
use serde_json::{Value, json};

const RESULT: &str = r#"{"jsonrpc":"2.0","id":7,"result":{"resultType":"complete","content":[]}}"#;

type Post = Request<Full<bytes::Bytes>>;

fn with(mut request: Post, name: &'static str, value: &str) -> Post {
    request.headers_mut().insert(name, value.parse().unwrap());
    request
}

fn without(mut request: Post, name: &str) -> Post {
    request.headers_mut().remove(name);
    request
}

#[tokio::test]
async fn a_modern_call_reaches_the_server_byte_for_byte_with_its_headers() {
    let server = Server::start(async |_| json_answer(RESULT)).await;
    let (sidecar, lines) = pair(&server).await;
    let request = modern(
        sidecar.traffic,
        "tools/call",
        Some("echo"),
        r#""name":"echo","arguments":{"a":1}"#,
    );
    let sent = request.body().clone().collect().await.unwrap().to_bytes();
    let request = with(request, "mcp-param-region", "=?base64?ZXU=?=");
    assert_eq!(send(request).await.status(), 200);
    let received = server.received().remove(0);
    assert_eq!(received.body, sent);
    assert_eq!(received.headers["mcp-method"], "tools/call");
    assert_eq!(received.headers["mcp-name"], "echo");
    assert_eq!(received.headers["mcp-param-region"], "=?base64?ZXU=?=");
    let record = lines.wait(1).await.remove(0);
    assert_eq!(
        (&record["era"], &record["protocolVersion"]),
        (&json!("modern"), &json!("2026-07-28"))
    );
}

#[tokio::test]
async fn what_headers_and_body_disagree_on_never_reaches_the_server_and_is_answered_in_modern_terms() {
    let server = Server::start(async |_| json_answer(RESULT)).await;
    let (sidecar, lines) = pair(&server).await;
    let at = sidecar.traffic;
    let call = || modern(at, "tools/call", Some("echo"), r#""name":"echo""#);
    let unversioned = |header: &str| {
        let body = r#"{"jsonrpc":"2.0","id":7,"method":"tools/list","params":{}}"#;
        with(post(at, body), "mcp-protocol-version", header)
    };
    let requests = [
        (with(call(), "mcp-method", "tools/list"), 400, -32020),
        (with(call(), "mcp-method", "TOOLS/CALL"), 400, -32020),
        (without(call(), "mcp-method"), 400, -32020),
        (with(call(), "mcp-name", "other"), 400, -32020),
        (without(call(), "mcp-name"), 400, -32020),
        (with(call(), "mcp-protocol-version", "2025-11-25"), 400, -32020),
        (without(call(), "mcp-protocol-version"), 400, -32020),
        (with(call(), "mcp-param-a", "=?base64?SGVsbG8?="), 400, -32020),
        (with(post(at, CALL), "mcp-name", "other"), 400, -32020),
        (unversioned("2026-07-28"), 400, -32602),
        (unversioned("2024-11-05"), 400, -32022),
        (unversioned("v999.0.0"), 400, -32022),
        (modern(at, "ping", None, ""), 404, -32601),
        (modern(at, "initialize", None, ""), 404, -32601),
        (modern(at, "unknown/method", None, ""), 404, -32601),
        (modern(at, "tasks/get", Some("t"), r#""taskId":"t""#), 404, -32601),
    ];
    for (index, (request, status, code)) in requests.into_iter().enumerate() {
        let (answered, body) = json_of(send(request).await).await;
        assert_eq!(
            (answered.as_u16(), &body["error"]["code"]),
            (status, &json!(code)),
            "{index}"
        );
        lines.wait(index + 1).await;
    }
    assert!(server.received().is_empty());
    for headers in [
        "Mcp-Name: echo\r\nMcp-Name: other\r\n",
        "Mcp-Param-A: 1\r\nmcp-param-a: 2\r\n",
    ] {
        let request = format!("POST /mcp HTTP/1.1\r\nHost: demo.team-a.svc\r\n{headers}Content-Length: 0\r\n\r\n");
        assert!(raw(at, request.as_bytes()).await.starts_with("HTTP/1.1 400 "));
    }
}

#[tokio::test]
async fn a_version_that_is_not_served_is_answered_with_those_that_are() {
    let server = Server::start(async |_| json_answer(RESULT)).await;
    let (sidecar, _) = pair(&server).await;
    let body = json!({"jsonrpc": "2.0", "id": "a", "method": "server/discover", "params": {"_meta": {
        "io.modelcontextprotocol/protocolVersion": "v999.0.0",
        "io.modelcontextprotocol/clientCapabilities": {}}}});
    let request = with(
        post(sidecar.traffic, body.to_string()),
        "mcp-protocol-version",
        "v999.0.0",
    );
    let (status, answer) = json_of(send(request).await).await;
    assert_eq!(status, 400);
    assert_eq!(
        answer,
        json!({"jsonrpc": "2.0", "id": "a", "error": {"code": -32022, "message": answer["error"]["message"],
            "data": {"supported": ["2026-07-28"], "requested": "v999.0.0"}}})
    );
}

#[tokio::test]
async fn unknown_methods_are_denied_in_the_legacy_era_too_and_the_newest_era_has_one_verb() {
    let server = Server::start(async |_| json_answer(RESULT)).await;
    let (sidecar, lines) = pair(&server).await;
    for method in [
        "server/discover2",
        "skills/list",
        "Tools/List",
        "subscriptions/unlisten",
    ] {
        let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}"}}"#);
        let (status, answer) = json_of(send(post(sidecar.traffic, body)).await).await;
        assert_eq!(
            (status.as_u16(), &answer["error"]["code"]),
            (200, &json!(-32601)),
            "{method}"
        );
    }
    let notification = r#"{"jsonrpc":"2.0","method":"notifications/odd"}"#;
    assert_eq!(send(post(sidecar.traffic, notification)).await.status(), 403);
    for method in [Method::GET, Method::DELETE] {
        let mut request = with(get(sidecar.traffic), "mcp-protocol-version", "2026-07-28");
        *request.method_mut() = method;
        let response = send(request).await;
        assert_eq!(
            (response.status().as_u16(), &response.headers()["allow"]),
            (405, &"POST".parse().unwrap())
        );
    }
    lines.wait(7).await;
    assert!(server.received().is_empty());
}

fn initialize(at: std::net::SocketAddr, version: &str) -> Post {
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize",
        "params": {"protocolVersion": version, "capabilities": {}, "clientInfo": {"name": "c", "version": "1"}}});
    post(at, body.to_string())
}

#[tokio::test]
async fn versions_from_before_2025_06_18_are_negotiated_by_nobody() {
    let answered = std::sync::Arc::new(std::sync::Mutex::new("2025-06-18"));
    let seen = answered.clone();
    let server = Server::start(move |_| {
        let version = *seen.lock().unwrap();
        async move {
            json_text(
                json!({"jsonrpc": "2.0", "id": 1, "result": {"protocolVersion": version, "capabilities": {},
                    "serverInfo": {"name": "s", "version": "1"}}})
                .to_string(),
            )
        }
    })
    .await;
    let (sidecar, lines) = pair(&server).await;
    assert_eq!(send(initialize(sidecar.traffic, "2025-11-25")).await.status(), 200);
    let (status, answer) = json_of(send(initialize(sidecar.traffic, "2025-03-26")).await).await;
    assert_eq!(status, 200);
    assert_eq!(
        answer["error"]["data"]["supported"],
        json!(["2025-11-25", "2025-06-18"])
    );
    assert_eq!(server.received().len(), 1);
    *answered.lock().unwrap() = "2024-11-05";
    let (status, answer) = json_of(send(initialize(sidecar.traffic, "2025-06-18")).await).await;
    assert_eq!((status.as_u16(), &answer["error"]["code"]), (502, &json!(-31502)));
    assert_eq!(lines.wait(3).await[2]["reason"], "unsupported_version_of_server");
}

#[tokio::test]
async fn an_extension_is_offered_and_its_methods_known_only_where_the_policy_lists_it() {
    const DISCOVERED: &str = r#"{"jsonrpc":"2.0","id":7,"result":{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{"extensions":{"io.modelcontextprotocol/tasks":{},"evil/x":{}}},"ttlMs":1,"cacheScope":"public"}}"#;
    let server = Server::start(async |_| json_answer(DISCOVERED)).await;
    let offered = async |sidecar: &Running| -> Value {
        let (status, answer) = json_of(send(modern(sidecar.traffic, "server/discover", None, "")).await).await;
        assert_eq!(status, 200);
        answer["result"]["capabilities"]["extensions"].clone()
    };
    let (closed, _) = pair(&server).await;
    assert_eq!(offered(&closed).await, json!({}));
    let mut open = policy(server.port);
    open.extensions.insert("io.modelcontextprotocol/tasks".to_owned());
    let open = Running::start(open, std::io::sink()).await;
    assert_eq!(offered(&open).await, json!({"io.modelcontextprotocol/tasks": {}}));
    let task = modern(open.traffic, "tasks/get", Some("t"), r#""taskId":"t""#);
    assert_eq!(send(task).await.status(), 200);
}

#[tokio::test]
async fn a_page_of_a_listed_origin_may_ask_call_and_read() {
    let server = Server::start(async |_| {
        let mut answer = json_answer(RESULT);
        let all = "*".parse().unwrap();
        answer.headers_mut().insert("access-control-allow-origin", all);
        answer
    })
    .await;
    let (sidecar, lines) = pair(&server).await;
    let preflight = |origin: &str| {
        let request = Request::options(format!("http://{}/mcp", sidecar.traffic))
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "authorization, mcp-method, x-other")
            .body(Full::default())
            .unwrap();
        async move { send(request).await }
    };
    let answer = preflight("https://app.example").await;
    assert_eq!(answer.status(), 204);
    let headers = answer.headers();
    assert_eq!(headers["access-control-allow-origin"], "https://app.example");
    assert_eq!(headers["access-control-allow-methods"], "POST, GET, DELETE");
    assert_eq!(headers["access-control-allow-headers"], "authorization, mcp-method");
    assert!(!headers.contains_key("access-control-allow-credentials"));
    assert!(server.received().is_empty());

    let answer = send(with(post(sidecar.traffic, CALL), "origin", "https://app.example")).await;
    assert_eq!(answer.headers()["access-control-allow-origin"], "https://app.example");
    let refused = send(with(post(sidecar.traffic, "{"), "origin", "https://app.example")).await;
    assert_eq!(refused.headers()["access-control-allow-origin"], "https://app.example");

    let evil = preflight("https://evil.example").await;
    assert_eq!(evil.status(), 403);
    assert!(!evil.headers().contains_key("access-control-allow-origin"));
    assert!(
        !send(post(sidecar.traffic, CALL))
            .await
            .headers()
            .contains_key("access-control-allow-origin")
    );
    assert_eq!(lines.wait(5).await[0]["outcome"], "allowed");
}

#[tokio::test]
async fn a_server_behind_a_unix_socket_is_reached_and_sees_a_local_host() {
    let directory = std::env::temp_dir().join(format!("sallyport-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let socket = directory.join("server.sock");
    let listener = tokio::net::UnixListener::bind(&socket).unwrap();
    tokio::spawn(async move {
        let service = hyper::service::service_fn(async |request: Request<hyper::body::Incoming>| {
            let host = request.headers()["host"].to_str().unwrap().to_owned();
            let body = json!({"jsonrpc": "2.0", "id": 1, "result": {"host": host, "protocolVersion": "2025-11-25",
                "capabilities": {}, "serverInfo": {"name": "socket", "version": "1"}}});
            Ok::<_, std::convert::Infallible>(json_text(body.to_string()))
        });
        while let Ok((stream, _)) = listener.accept().await {
            let io = hyper_util::rt::TokioIo::new(stream);
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(io, service));
        }
    });
    let mut there = policy(1);
    there.upstream = sallyport_policy::Upstream::socket(&socket, "/mcp");
    let sidecar = Running::start(there, std::io::sink()).await;
    sidecar.until_ready().await;
    let (_, answer) = json_of(send(post(sidecar.traffic, CALL)).await).await;
    assert_eq!(answer["result"]["host"], "localhost");
    std::fs::remove_dir_all(&directory).unwrap();
}
