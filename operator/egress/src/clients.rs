//! Who the clients are: names for the addresses of the endpoint's pods.

use sallyport_core::follow::Followed;
use sallyport_policy::egress::EgressClients;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

/// The names that the operator told last. Clones see the same.
#[derive(Clone)]
pub struct Clients(Option<Arc<Followed<EgressClients>>>);

impl Clients {
    /// Follows the clients file at `path`; without one, nobody is known. A file that is missing or broken takes no names
    /// away and stops nothing: names decide nothing.
    pub fn follow(path: Option<PathBuf>) -> Self {
        Self(path.map(|path| {
            let parse = |files: &[Vec<u8>]| EgressClients::parse(files.first().map(Vec::as_slice).unwrap_or_default());
            Arc::new(Followed::start_or(EgressClients::default(), vec![path], parse))
        }))
    }

    /// The pod at `address`, as far as is known.
    pub fn name(&self, address: IpAddr) -> Option<String> {
        self.0.as_ref()?.get().name(address).map(str::to_owned)
    }
}
