//! Logs: one JSON object a line, or a form for people. Always on standard error.

use crate::args::LogFormat;
use std::io::IsTerminal;
use tracing_subscriber::{EnvFilter, filter::ParseError, fmt};

/// Starts logging. Call once.
///
/// # Errors
///
/// When `level` is neither a level nor a list of directives.
pub fn init(format: LogFormat, level: &str) -> Result<(), ParseError> {
    let filter = EnvFilter::builder().parse(level)?;
    let log = fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Json => log.json().flatten_event(true).with_span_list(false).init(),
        LogFormat::Pretty => log.with_target(false).with_ansi(std::io::stderr().is_terminal()).init(),
    }
    Ok(())
}
