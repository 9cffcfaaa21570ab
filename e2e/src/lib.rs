//! Harness of the end-to-end tests and of the demo: everything that they need to drive a real cluster from outside.
//!
//! Nothing here knows how the operator works. A test writes YAML as a user would, calls as a client would, and looks at
//! what the API server, the pods and the outside world saw.

pub mod apiserver_log;
pub mod ask;
pub mod attempts;
pub mod authority;
pub mod caller;
pub mod cluster;
pub mod command;
pub mod crds;
pub mod dump;
pub mod endpoint;
pub mod failure;
pub mod images;
pub mod install;
pub mod judge;
pub mod keys;
pub mod node;
pub mod objects;
pub mod observer;
pub mod outside;
pub mod pods;
pub mod room;
pub mod scene;
pub mod seal;
pub mod settled;
pub mod show;
pub mod stage;
pub mod tool;
pub mod wait;

pub use cluster::Cluster;
pub use failure::{Context, Failure, Result};
pub use scene::Scene;
pub use wait::eventually;
