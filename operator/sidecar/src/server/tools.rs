//! What is known of the server's tools.

use sallyport_policy::tools::{Catalog, DriftReport, Inspection, ToolPolicy};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use tokio::sync::Notify;

/// The tools that the server defines, as they were seen. Clones see the same.
#[derive(Clone, Default)]
pub struct ServerTools(Arc<Shared>);

#[derive(Default)]
struct Shared {
    catalog: RwLock<Catalog>,
    due: Notify,
}

impl ServerTools {
    /// What was seen.
    pub fn catalog(&self) -> RwLockReadGuard<'_, Catalog> {
        self.0.catalog.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what passed by. What differs from the last look takes away at once, and is looked at again.
    pub fn note(&self, seen: &Inspection) {
        let differs = {
            let mut catalog = self.0.catalog.write().unwrap_or_else(PoisonError::into_inner);
            catalog.is_crawled() && catalog.note(seen)
        };
        if differs {
            self.look_again();
        }
    }

    /// Asks for another look at the server's tools, soon.
    pub fn look_again(&self) {
        self.0.due.notify_one();
    }

    /// Returns when another look is asked for.
    pub async fn due(&self) {
        self.0.due.notified().await;
    }

    /// Replaces what was seen. An empty catalog admits nothing that is pinned.
    pub fn replace(&self, catalog: Catalog) {
        *self.0.catalog.write().unwrap_or_else(PoisonError::into_inner) = catalog;
    }

    /// What the operator is told.
    pub fn report(&self, policy: &ToolPolicy) -> DriftReport {
        self.catalog().report(policy)
    }
}
