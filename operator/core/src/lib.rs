//! What the programs of the data plane share.
//!
//! [`listener`] takes connections and ends them in order, [`drain`] tells everybody how far the end has come, and
//! [`journal`] brings records to a sink without losing one.

pub mod drain;
pub mod follow;
pub mod journal;
pub mod listener;
pub mod tls;
