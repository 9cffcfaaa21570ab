//! Reference pages in Markdown.

pub mod api;
pub mod hardening;
pub mod rbac;

/// First line of every generated page.
const HEADER: &str = "<!-- Written by `cargo gen write`. Do not edit. -->\n";

/// `text` for a cell of a table: one line, bars escaped.
fn cell(text: &str) -> String {
    text.split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .replace('|', "\\|")
        .replace('<', "&lt;")
}
