//! What the programs of the data plane share.
//!
//! [`listener`] takes connections and ends them in order, [`client`] gives up on those that take nothing, and [`drain`] tells everybody how far the end has come.

pub mod client;
pub mod drain;
pub mod follow;
pub mod listener;
pub mod tls;
