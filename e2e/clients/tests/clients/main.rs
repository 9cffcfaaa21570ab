//! Every official client, in every era that it speaks: what it sees of each decision of the sidecar.
// Helpers of tests fail as tests do.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod confirmation;
mod decisions;
mod eras;
mod stage;
