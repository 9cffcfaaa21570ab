//! Attacks, each made twice: where its defence is off it must succeed, through the sidecar it must fail.
// Helpers of tests fail as tests do.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod identity;
mod json;
mod limits;
mod names;
mod poisoning;
mod rebinding;
mod replicas;
mod slow;
mod smuggling;
mod split;
mod stage;
mod tokens;
