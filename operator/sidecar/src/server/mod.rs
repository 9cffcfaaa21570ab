//! The sidecar's side of the server: reaching it, forwarding to it, asking it who it is.

mod connector;
mod handshake;
mod tools;
mod upstream;
mod watch;

pub use connector::{Connector, ServerStream};
pub use tools::ServerTools;
pub use upstream::Upstream;
pub use watch::{ServerState, ServerWatch};
