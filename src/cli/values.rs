//! `values`

use super::output::{self, Format};
use super::{Done, FOUND, Failure, OK};
use crate::charts::archive;
use crate::manifest::yaml;
use anyhow::Context as _;
use clap::Args;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use webhooks::charts::{Compiled, merged};
use webhooks::contract::FieldPath;

/// Say what Helm would say to values, without Helm.
///
/// The chart's own schema and those of its enabled subcharts decide, over the chart's defaults; every violation is named
/// with its path. Where there is no schema, values that the defaults have no place for are warned of.
#[derive(Args)]
pub struct Arguments {
    /// The chart: an archive (.tgz), as `helm package` makes it.
    #[arg(value_name = "CHART")]
    chart: PathBuf,
    /// Files of values, the later over the earlier.
    #[arg(short = 'f', long = "values", value_name = "FILE")]
    files: Vec<PathBuf>,
    /// How the result is printed.
    #[arg(short, long, default_value = "text")]
    output: Format,
}

pub fn run(arguments: &Arguments) -> Done {
    let bytes = read(&arguments.chart)?;
    let unpacked = archive::read(&bytes, &[])
        .with_context(|| arguments.chart.display().to_string())
        .map_err(Failure::usage)?;
    let mut files = Vec::new();
    for path in &arguments.files {
        files.push(values_in(path)?);
    }
    let values = merged(&files);
    let chart = Compiled::new(&unpacked.chart);
    let base = FieldPath::default();
    let judgement = chart.judge(&base, &values);
    let warnings: Vec<String> = chart
        .departures(&base, &values)
        .iter()
        .map(ToString::to_string)
        .chain(judgement.unjudged.iter().cloned())
        .collect();
    let violations: Vec<Value> = judgement
        .violations
        .iter()
        .map(|found| json!({"field": found.field.to_string(), "type": found.cause.reason(), "message": found.body()}))
        .collect();
    if arguments.output == Format::Text {
        let mut text = String::new();
        for found in &judgement.violations {
            text.push_str(&format!("{}\n", found.message()));
        }
        for warning in &warnings {
            text.push_str(&format!("warning: {warning}\n"));
        }
        text.push_str(&format!(
            "{} {}: {} violations, {} warnings\n",
            unpacked.chart.name,
            unpacked.chart.version,
            violations.len(),
            warnings.len()
        ));
        output::print(&text)?;
    } else {
        let report = json!({
            "chart": unpacked.chart.name, "version": unpacked.chart.version,
            "allowed": judgement.accepts(), "violations": violations, "warnings": warnings,
        });
        output::print_value(&report, arguments.output)?;
    }
    Ok(if judgement.accepts() { OK } else { FOUND })
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(path)
        .with_context(|| path.display().to_string())
        .map_err(Failure::usage)
}

fn values_in(path: &Path) -> Result<Value, Failure> {
    let bytes = read(path)?;
    let text = std::str::from_utf8(&bytes)
        .with_context(|| path.display().to_string())
        .map_err(Failure::usage)?;
    let mut documents = yaml::documents(text)
        .with_context(|| path.display().to_string())
        .map_err(Failure::usage)?;
    match (documents.pop(), documents.is_empty()) {
        (None, _) => Ok(Value::Null),
        (Some(document), true) if document.value.is_object() || document.value.is_null() => {
            Ok(document.value)
        }
        (Some(_), true) => Err(Failure::message(
            super::USAGE,
            format!("{}: values must be a map", path.display()),
        )),
        (Some(_), false) => Err(Failure::message(
            super::USAGE,
            format!("{}: holds more than one document", path.display()),
        )),
    }
}
