//! What the demo prints.

use crate::Result;
use serde_json::Value;
use std::time::Instant;

/// Prints the heading of a chapter.
pub fn chapter(title: &str) {
    println!("\n━━ {title}");
}

/// Runs a step and prints how it ended and how long it took, as the cluster tool does.
///
/// # Errors
///
/// What the step returns.
pub async fn step<T>(title: &str, step: impl Future<Output = Result<T>>) -> Result<T> {
    let start = Instant::now();
    let ended = step.await;
    let mark = if ended.is_ok() { '✓' } else { '✗' };
    println!("{mark} {title}  {:.1} s", start.elapsed().as_secs_f64());
    ended
}

/// Prints `text` set in from the left.
pub fn quote(text: &str) {
    for line in text.lines() {
        println!("    {line}");
    }
}

/// Prints a JSON value over several lines, set in.
///
/// # Errors
///
/// Never in practice: every value can be written.
pub fn json(value: &Value) -> Result<()> {
    quote(&serde_json::to_string_pretty(value)?);
    Ok(())
}

/// Prints rows under a heading, each column as wide as its widest cell, the last one as it is.
pub fn table<const N: usize>(heading: [&str; N], rows: &[[String; N]]) {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].as_str());
        cells
            .chain([heading[column]])
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or_default()
    };
    let print = |cells: [&str; N]| {
        let mut line = String::new();
        for (column, cell) in cells.iter().enumerate() {
            let padding = if column + 1 == N {
                0
            } else {
                width(column) + 2 - cell.chars().count()
            };
            line.push_str(cell);
            line.extend(std::iter::repeat_n(' ', padding));
        }
        quote(&line);
    };
    print(heading);
    for row in rows {
        print(row.each_ref().map(String::as_str));
    }
}

/// `text` in at most `width` characters.
pub fn short(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(width.saturating_sub(1)).collect();
    short.push('…');
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_within_its_width() {
        assert_eq!(short("abcdef", 4), "abc…");
        assert_eq!(short("abcd", 4), "abcd");
    }
}
