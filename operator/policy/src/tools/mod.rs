//! What the server offers, and what of it is let through: side effects, pins, lists, schemas.

mod capabilities;
mod catalog;
mod cost;
mod digest;
mod header;
pub(crate) mod hidden;
mod list;
mod policy;
mod report;
mod schema;
mod splice;
mod tool;

#[cfg(test)]
mod tests;

pub use capabilities::{Stripped, strip_extensions};
pub use catalog::{Admitted, Catalog, Definition, Observed, ToolDenial};
pub use digest::{Digest, ParseDigestError, Pins, canonical_digest};
pub use header::{Expected, MirroredArgument, says};
pub use list::{Caching, Drop, DropReason, Inspection, ListError, ListKind, inspect_list};
pub use policy::{SideEffect, SideEffectRule, ToolArguments, ToolPolicy, Unpinned};
pub use report::{DriftReport, ToolReport, ToolState};
pub use schema::{ArgumentSchema, SchemaError, SchemaViolation};
pub use splice::splice;
pub use tool::{Fault, Hints, Tool};
