//! The official conformance suite, as tests run it.

mod report;
mod suite;

pub use report::Report;
pub use suite::{Release, Suite, SuiteError};
