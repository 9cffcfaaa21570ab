//! What the programs of the data plane share.
//!
//! [`listener`] takes connections and ends them in order, and [`drain`] tells everybody how far the end has come.

pub mod drain;
pub mod follow;
pub mod listener;
pub mod tls;
