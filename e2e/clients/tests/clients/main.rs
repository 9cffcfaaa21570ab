//! Every official client, in every era that it speaks: what it sees of each decision of the sidecar.

mod confirmation;
mod decisions;
mod eras;
mod stage;
