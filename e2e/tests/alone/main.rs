//! Tests that stop the operator, or count what it does: they run one at a time and with nothing beside them.

mod enforcement_off;
mod native;
mod resilience;
mod uninstall;
