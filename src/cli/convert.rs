//! `convert`

use super::output::{self, Format};
use super::{Done, FOUND, Failure, OK};
use crate::dispatch::Dispatcher;
use crate::manifest::{self, Manifest};
use crate::review::conversion::{API_VERSION, KIND, Target, answer};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::Duration;
use webhooks::REGISTRY;
use webhooks::contract::Settings;
use webhooks::contract::{Conversion, Deadline};

/// One file of any size is converted within this.
const TIME: Duration = Duration::from_mins(10);

/// Convert objects to another version, or to the successor kind.
///
/// What the other form cannot hold is remembered in an annotation, and converting back restores it. Objects that
/// cannot be converted are named on standard error, the others are printed, and the exit code is 1.
#[derive(Args)]
pub struct Arguments {
    /// Files, folders, or - for standard input.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The wanted form.
    #[arg(long, value_name = "FORM")]
    to: Form,
    /// How the objects are printed; text is YAML, json a list.
    #[arg(short, long, default_value = "text")]
    output: Format,
}

#[derive(Clone, Copy, ValueEnum)]
enum Form {
    #[value(name = "v1alpha1")]
    V1alpha1,
    #[value(name = "v1alpha2")]
    V1alpha2,
    #[value(name = "ApplicationDefinition")]
    ApplicationDefinition,
}

pub fn run(arguments: &Arguments) -> Done {
    let manifests = manifest::read(&arguments.files)?;
    let dispatcher = Dispatcher::new(REGISTRY, Settings::default());
    let mut converted = Vec::new();
    let mut code = OK;
    for manifest in &manifests {
        match convert(&dispatcher, manifest, arguments.to) {
            Ok(object) => converted.push(object),
            Err(why) => {
                let name = manifest.metadata("name");
                eprintln!("{}: {} {name}: {why}", manifest.source, manifest.kind);
                code = FOUND;
            }
        }
    }
    match arguments.output {
        Format::Json => output::print_value(&converted, Format::Json)?,
        Format::Text | Format::Yaml => {
            let text = manifest::write(&converted)
                .map_err(|error| Failure::message(super::BROKEN, error))?;
            output::print(&text)?;
        }
    }
    Ok(code)
}

fn convert(dispatcher: &Dispatcher, manifest: &Manifest, form: Form) -> Result<Value, String> {
    let is_of = |conversion: &Conversion, kind: &str| {
        conversion.hub.kind == kind
            || conversion
                .rename
                .as_ref()
                .is_some_and(|rename| rename.to.kind == kind)
    };
    let (path, api_version) = dispatcher
        .conversion_paths()
        .find_map(|path| {
            let (conversion, target) = dispatcher.conversion(path)?;
            if conversion.hub.group != manifest.group() || !is_of(conversion, &manifest.kind) {
                return None;
            }
            match (form, target) {
                (Form::V1alpha1, Target::Version) => {
                    Some((path, format!("{}/v1alpha1", conversion.hub.group)))
                }
                (Form::V1alpha2, Target::Version) => {
                    Some((path, format!("{}/v1alpha2", conversion.hub.group)))
                }
                (Form::ApplicationDefinition, Target::Successor) => {
                    Some((path, conversion.rename.as_ref()?.to.api_version()))
                }
                _ => None,
            }
        })
        .ok_or_else(|| format!("{} objects have no such conversion", manifest.kind))?;
    let (conversion, target) = dispatcher.conversion(path).ok_or("no such conversion")?;
    let question = json!({
        "apiVersion": API_VERSION,
        "kind": KIND,
        "request": {"uid": "offline", "desiredAPIVersion": api_version, "objects": [manifest.value]},
    });
    let body = serde_json::to_vec(&question).map_err(|error| error.to_string())?;
    let (reply, _) = answer(&body, conversion, target, Deadline::after(TIME))
        .map_err(|fault| fault.to_string())?;
    let mut answer: Value =
        serde_json::from_slice(&reply.body).map_err(|error| error.to_string())?;
    match answer.pointer_mut("/response/convertedObjects/0") {
        Some(object) => Ok(object.take()),
        None => Err(answer
            .pointer("/response/result/message")
            .and_then(Value::as_str)
            .unwrap_or("no answer")
            .to_owned()),
    }
}
