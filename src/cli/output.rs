//! Output for people and for machines.

use super::Failure;
use clap::ValueEnum;
use serde::Serialize;
use std::io::Write as _;

/// How results are printed, to standard output.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// For machines.
    Json,
    /// For machines and people.
    Yaml,
}

/// Prints a text; a reader that has gone away is no error.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(Failure::broken(error)),
        _ => Ok(()),
    }
}

/// Prints a value as one document.
pub fn print_value(value: &impl Serialize, format: Format) -> Result<(), Failure> {
    let mut text = match format {
        Format::Yaml => {
            let value = serde_json::to_value(value).map_err(Failure::broken)?;
            serde_saphyr::to_string(&value).map_err(Failure::broken)?
        }
        Format::Json | Format::Text => {
            serde_json::to_string_pretty(value).map_err(Failure::broken)?
        }
    };
    if !text.ends_with('\n') {
        text.push('\n');
    }
    print(&text)
}

/// Rows with aligned columns; the last one is not padded.
#[must_use]
pub fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let width = |text: &str| text.chars().count();
    let mut widths: Vec<usize> = head.iter().map(|name| width(name)).collect();
    for row in rows {
        for (column, cell) in widths.iter_mut().zip(row) {
            *column = (*column).max(width(cell));
        }
    }
    let mut text = String::new();
    let head: Vec<String> = head.iter().map(|name| (*name).to_owned()).collect();
    for row in std::iter::once(&head).chain(rows) {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(&format!("{cell:<width$}  "));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}
