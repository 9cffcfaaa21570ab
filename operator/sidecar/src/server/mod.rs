//! The sidecar's side of the server: reaching it, forwarding to it, asking it who it is.

mod handshake;
mod loopback;
mod upstream;
mod watch;

pub use loopback::{Loopback, connect};
pub use upstream::Upstream;
pub use watch::{ServerState, ServerWatch};
