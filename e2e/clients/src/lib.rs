//! The official clients, through the sidecar: how each is run, and what it printed.

mod program;
mod report;

pub use program::{Call, Client, Era, Programs, ProgramsError, Question};
pub use report::{Failure, Report};
