//! Where a test plays: namespaces of its own, removed afterwards, and described when the test fails.

use crate::{Cluster, Context, Result, caller::Caller, dump::dump, endpoint::CALLERS, room::Room, settled};
use futures::FutureExt;
use k8s_openapi::{api::core::v1::Namespace, jiff::Timestamp};
use kube::{
    Api, Client,
    api::{DeleteParams, PostParams},
};
use serde_json::json;
use std::{
    env,
    panic::{AssertUnwindSafe, resume_unwind},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

/// Set to keep the namespaces of a test for a look at them.
pub const KEEP_VARIABLE: &str = "NO_CLEANUP";
/// What the pods of most tests request at one time, in thousandths of a CPU: two endpoints, or one with an egress gateway in a
/// roll-out, and some callers.
const USUAL_CPU: u32 = 450;

/// The cluster and the namespaces of one test.
pub struct Scene {
    /// The cluster.
    pub cluster: Cluster,
    /// The test's namespace.
    pub namespace: String,
    namespaces: Mutex<Vec<String>>,
}

impl Scene {
    /// Plays `test` in namespaces of its own. A test that fails is followed by what can be seen of them.
    ///
    /// # Errors
    ///
    /// What the test returns.
    pub async fn play(name: &str, test: impl AsyncFnOnce(&Self) -> Result<()>) -> Result<()> {
        Self::play_with_cpu(USUAL_CPU, name, test).await
    }

    /// As [`Scene::play`], for a test whose pods request up to `milli` thousandths of a CPU at one time.
    ///
    /// # Errors
    ///
    /// What the test returns.
    pub async fn play_with_cpu(milli: u32, name: &str, test: impl AsyncFnOnce(&Self) -> Result<()>) -> Result<()> {
        let cluster = Cluster::of_this_run().await?;
        let room = Room::take(&cluster.client, milli).await?;
        let scene = Self {
            namespace: format!("{name}-{}", suffix()),
            cluster,
            namespaces: Mutex::default(),
        };
        scene.add(&scene.namespace, &[]).await?;
        let ended = AssertUnwindSafe(test(&scene)).catch_unwind().await;
        let namespaces = scene.namespaces.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if !matches!(ended, Ok(Ok(()))) {
            dump(&scene.cluster, &namespaces).await;
        }
        if env::var_os(KEEP_VARIABLE).is_none() {
            let api = Api::<Namespace>::all(scene.cluster.client.clone());
            for namespace in &namespaces {
                api.delete(namespace, &DeleteParams::default())
                    .await
                    .context(format!("delete {namespace}"))?;
            }
            room.give_back(&scene.cluster.client, &namespaces).await?;
        }
        ended.unwrap_or_else(|panic| resume_unwind(panic))
    }

    /// The client.
    pub fn client(&self) -> &Client {
        &self.cluster.client
    }

    /// Makes one more namespace, removed with the others, and gives its name.
    ///
    /// # Errors
    ///
    /// When it cannot be made.
    pub async fn namespace(&self, suffix: &str, labels: &[(&str, &str)]) -> Result<String> {
        let name = format!("{}-{suffix}", self.namespace);
        self.add(&name, labels).await?;
        Ok(name)
    }

    /// A client pod in a new namespace from which the tests' endpoints may be called.
    ///
    /// # Errors
    ///
    /// When it does not start.
    pub async fn allowed_caller(&self) -> Result<Caller> {
        let namespace = self.namespace("agents", &[CALLERS]).await?;
        Caller::start(&self.cluster, &namespace).await
    }

    async fn add(&self, name: &str, labels: &[(&str, &str)]) -> Result<()> {
        let labels: serde_json::Map<_, _> = labels
            .iter()
            .map(|(key, value)| ((*key).to_owned(), json!(value)))
            .collect();
        let namespace = serde_json::from_value(json!({ "metadata": { "name": name, "labels": labels } }))?;
        let api = Api::<Namespace>::all(self.cluster.client.clone());
        api.create(&PostParams::default(), &namespace)
            .await
            .context(format!("make namespace {name}"))?;
        self.namespaces
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(name.to_owned());
        settled::namespace(self.client(), name).await
    }
}

/// Letters and digits that differ from one call to the next, and from one run to the next.
fn suffix() -> String {
    static CALLS: AtomicU32 = AtomicU32::new(0);
    let call = CALLS.fetch_add(1, Ordering::Relaxed);
    let mut number = Timestamp::now().as_nanosecond().unsigned_abs();
    let digits = std::iter::repeat_with(|| {
        let digit = char::from_digit(u32::try_from(number % 36).unwrap_or_default(), 36);
        number /= 36;
        digit.unwrap_or('0')
    });
    // The lowest digits of a clock may always be zero; these are tens of microseconds and up.
    let moment: String = digits.skip(3).take(5).collect();
    format!("{moment}{call}")
}
