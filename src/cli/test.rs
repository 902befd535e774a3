//! `test`

use super::output::{self, Format};
use super::{Done, FOUND, Failure, OK, USAGE};
use crate::cases::{self, Direct};
use clap::Args;
use serde_json::json;
use std::path::PathBuf;
use webhooks::REGISTRY;

/// Run case folders: request.yaml, cluster.yaml (optional), expect.yaml.
///
/// A case passes when the answer is the expected one: code, reason, message, causes, warnings, patch and companions.
#[derive(Args)]
pub struct Arguments {
    /// Folder that holds cases, at any depth.
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// How the result is printed.
    #[arg(short, long, default_value = "text")]
    output: Format,
}

pub fn run(arguments: &Arguments) -> Done {
    let folders = cases::find(&arguments.folder).map_err(Failure::usage)?;
    if folders.is_empty() {
        return Err(Failure::message(
            USAGE,
            format!(
                "{}: no folder below it holds a {}",
                arguments.folder.display(),
                cases::REQUEST_FILE
            ),
        ));
    }
    let mut results = Vec::new();
    for folder in folders {
        let differences = cases::run(&folder, REGISTRY, &Direct).map_err(Failure::usage)?;
        let name = folder
            .strip_prefix(&arguments.folder)
            .unwrap_or(&folder)
            .display()
            .to_string();
        let name = if name.is_empty() {
            ".".to_owned()
        } else {
            name
        };
        results.push((name, differences));
    }
    let failed = results
        .iter()
        .filter(|(_, differences)| !differences.is_empty())
        .count();
    if arguments.output == Format::Text {
        let rows: Vec<Vec<String>> = results
            .iter()
            .map(|(name, differences)| {
                let verdict = if differences.is_empty() {
                    "ok"
                } else {
                    "differs"
                };
                vec![name.clone(), verdict.to_owned()]
            })
            .collect();
        let mut text = output::table(&["CASE", "RESULT"], &rows);
        for (name, differences) in results
            .iter()
            .filter(|(_, differences)| !differences.is_empty())
        {
            text.push_str(&format!("\n{name}\n  {}\n", differences.join("\n  ")));
        }
        text.push_str(&format!(
            "\n{} ok, {failed} differ\n",
            results.len() - failed
        ));
        output::print(&text)?;
    } else {
        let list: Vec<_> = results
            .iter()
            .map(|(name, differences)| json!({"case": name, "passed": differences.is_empty(), "differences": differences}))
            .collect();
        output::print_value(&list, arguments.output)?;
    }
    Ok(if failed == 0 { OK } else { FOUND })
}
