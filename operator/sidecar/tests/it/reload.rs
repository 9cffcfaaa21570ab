//! A policy file that changes while the sidecar runs.

use crate::support::{CALL, Server, json_answer, json_of, place, policy, post, send, until};
use pretty_assertions::assert_eq;
use sallyport_policy::PolicyFile;
use sallyport_policy::authorization::Authorization;
use sallyport_sidecar::Sidecar;
use serde_json::Value;
use std::net::SocketAddr;
use std::path::PathBuf;

struct File(PathBuf);

impl File {
    fn new(policy: &PolicyFile) -> Self {
        let directory = std::env::temp_dir().join(format!("sallyport-reload-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let file = Self(directory.join("policy.json"));
        file.write(&policy.to_text().unwrap());
        file
    }

    fn write(&self, text: &str) {
        let next = self.0.with_extension("next");
        std::fs::write(&next, text).unwrap();
        std::fs::rename(next, &self.0).unwrap();
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(self.0.parent().unwrap());
    }
}

async fn admin(at: SocketAddr, path: &str) -> String {
    let request = http::Request::get(format!("http://{at}{path}")).body(http_body_util::Full::default());
    let body = send(request.unwrap()).await.into_body();
    let body = http_body_util::BodyExt::collect(body).await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

#[tokio::test]
async fn a_new_policy_is_followed_whole_and_a_broken_one_not_at_all() {
    let server = Server::start(async |_| json_answer(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#)).await;
    let mut first = policy(server.port);
    first.generation = 1;
    let file = File::new(&first);
    let sidecar = Sidecar::bind(first.clone(), place(), std::io::sink()).await.unwrap();
    let (traffic, at) = (sidecar.traffic_address().port(), sidecar.admin_address().port());
    let traffic = SocketAddr::from(([127, 0, 0, 1], traffic));
    let at = SocketAddr::from(([127, 0, 0, 1], at));
    let running = tokio::spawn(sidecar.following(file.0.clone()).serve(std::future::pending()));
    let code = async || json_of(send(post(traffic, CALL)).await).await.1["error"]["code"].as_i64();
    let report = async || serde_json::from_str::<Value>(&admin(at, "/policy").await).unwrap();
    assert_eq!(code().await, None);
    assert_eq!(report().await["generation"], 1);

    let mut second = first.clone();
    second.generation = 2;
    second.authorization = Authorization::default();
    file.write(&second.to_text().unwrap());
    until("the new policy is in force", async || report().await["generation"] == 2).await;
    assert_eq!(code().await, Some(-32602));

    for (broken, says) in [
        ("{".to_owned(), "not valid"),
        (first.to_text().unwrap().replace("v1alpha1", "v9"), "schema"),
        (
            first.to_text().unwrap().replacen('{', "{\"allowAll\": true,", 1),
            "not valid",
        ),
        (first.to_text().unwrap().replace("/mcp", "/other"), "another upstream"),
    ] {
        file.write(&broken);
        let problem = async || report().await["problem"].as_str().unwrap_or_default().to_owned();
        until("the problem is shown", async || problem().await.contains(says)).await;
        assert_eq!(report().await["generation"], 2);
        assert_eq!(code().await, Some(-32602), "the policy of before decides");
        assert!(
            admin(at, "/metrics")
                .await
                .contains("sallyport_sidecar_policy_rejected 1")
        );
        assert!(admin(at, "/healthz").await.starts_with("ok, by the policy of before: "));
    }
    file.write(&first.to_text().unwrap());
    until("the first policy is in force again", async || {
        report().await["generation"] == 1
    })
    .await;
    assert_eq!(code().await, None);
    assert!(
        admin(at, "/metrics")
            .await
            .contains("sallyport_sidecar_policy_rejected 0")
    );
    running.abort();
}
