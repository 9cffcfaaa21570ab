//! The bridge: runs a server that speaks MCP over standard input and output as a child, and lets the audit sidecar call
//! it by Streamable HTTP over a unix socket.
//!
//! Standard output carries the bridge's own diagnostics; standard error is the server's, untouched.

mod answer;
pub mod environment;
pub mod frame;
mod http;
pub mod init;
pub mod install;
mod link;
mod process;
mod serve;
mod sessions;

pub use process::Program;
pub use serve::{Settings, StartError, serve};
pub use sessions::Mode;
