//! Every client at once.

use sallyport_clients::{Call, Client, Era, Programs, Question, Report};
use sallyport_fixture::{Options, Server};
use sallyport_loopback::{Profile, Sidecar};
use serde_json::Value;
use std::sync::OnceLock;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// Programs at a time, of all tests.
const AT_A_TIME: usize = 4;

static PLACES: Semaphore = Semaphore::const_new(AT_A_TIME);

/// A fixture behind a sidecar.
pub struct Stage {
    pub server: Server,
    pub sidecar: Sidecar,
}

impl Stage {
    pub async fn with(policy: &Value) -> Self {
        let server = Server::start(Options::default()).await.unwrap();
        let profile = Profile::closed(server.address())
            .unwrap()
            .unhurried()
            .open()
            .with(policy);
        let sidecar = Sidecar::start(&profile).await.unwrap();
        Self { server, sidecar }
    }

    /// One call by each client in each era; `key` gives each its credential.
    pub async fn everyone(
        &self,
        tool: &str,
        arguments: &Value,
        key: impl Fn(&str) -> Option<String>,
        answer: Option<Question>,
    ) -> Vec<Seen> {
        self.those(everyone(), tool, arguments, key, answer).await
    }

    /// One call by each of these clients.
    pub async fn those(
        &self,
        clients: impl Iterator<Item = (Client, Era)>,
        tool: &str,
        arguments: &Value,
        key: impl Fn(&str) -> Option<String>,
        answer: Option<Question>,
    ) -> Vec<Seen> {
        let mut calls = JoinSet::new();
        for (client, era) in clients {
            let (url, tool, arguments) = (self.sidecar.url(), tool.to_owned(), arguments.clone());
            let key = key(&name(client, era));
            calls.spawn(async move {
                let _place = PLACES.acquire().await.unwrap();
                let call = Call {
                    url: &url,
                    tool: &tool,
                    arguments,
                    key: key.as_deref(),
                    era,
                    answer,
                };
                let report = programs().call(client, &call).await.unwrap();
                Seen { client, era, report }
            });
        }
        calls.join_all().await
    }
}

/// What one client saw in one era.
#[derive(Debug)]
pub struct Seen {
    pub client: Client,
    pub era: Era,
    pub report: Report,
}

/// Every client in every era that it speaks.
pub fn everyone() -> impl Iterator<Item = (Client, Era)> {
    Client::ALL
        .into_iter()
        .flat_map(|client| client.eras().iter().map(move |era| (client, *era)))
}

/// A caller's name.
pub fn name(client: Client, era: Era) -> String {
    format!("{client:?}-{era:?}")
}

/// Fails with all that are not as they should be.
pub fn all(seen: &[Seen], is: impl Fn(&Seen) -> bool) {
    assert!(!seen.is_empty());
    let wrong: Vec<String> = seen
        .iter()
        .filter(|seen| !is(seen))
        .map(|seen| format!("{seen:?}"))
        .collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

fn programs() -> &'static Programs {
    static PROGRAMS: OnceLock<Programs> = OnceLock::new();
    PROGRAMS.get_or_init(|| Programs::install(env!("CARGO_BIN_EXE_rmcp-client")).unwrap())
}
