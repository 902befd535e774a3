//! `manifests`: what is generated from the registry.

use super::output::{self, Format};
use super::{Done, Failure, OK};
use crate::certs::bundle::Bundle;
use crate::crds::{self, Target};
use crate::generate;
use anyhow::Context as _;
use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use std::path::PathBuf;
use webhooks::REGISTRY;

/// Print webhook configurations, CRDs and RBAC, ready for kubectl.
#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    target: TargetArguments,
    /// Print only these.
    #[arg(long, value_delimiter = ',', value_name = "PART")]
    only: Vec<Part>,
    /// Print the drift-ignore rules for Flux HelmReleases instead: what this service may change, by kind.
    #[arg(long, conflicts_with = "only")]
    flux_ignore: bool,
    /// How they are printed; text is YAML.
    #[arg(short, long, default_value = "text")]
    output: Format,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Part {
    Webhooks,
    Crds,
    Rbac,
}

/// Where the API server finds the service.
#[derive(Args)]
pub struct TargetArguments {
    /// Namespace of the installation.
    #[arg(long, default_value = "cozy-webhook")]
    namespace: String,
    /// Service of the admission port.
    #[arg(long, value_name = "NAME", default_value = "cozystack-webhook")]
    admission_service: String,
    /// Port of that Service.
    #[arg(long, value_name = "PORT", default_value_t = 443)]
    admission_port: u16,
    /// Service of the conversion port; it must publish addresses that are not ready.
    #[arg(
        long,
        value_name = "NAME",
        default_value = "cozystack-webhook-conversion"
    )]
    conversion_service: String,
    /// Port of that Service.
    #[arg(long, value_name = "PORT", default_value_t = 443)]
    conversion_port: u16,
    /// PEM file of the authority that signed the serving certificate; without it something else must inject it.
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
}

impl TargetArguments {
    /// Namespace of the installation.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// What was said, the authority read.
    pub fn target(&self) -> Result<Target, Failure> {
        let ca_bundle = match &self.ca_file {
            None => None,
            Some(path) => {
                let pem = std::fs::read(path)
                    .with_context(|| path.display().to_string())
                    .map_err(Failure::usage)?;
                let bundle = Bundle::from_pem(&pem).ok_or_else(|| {
                    Failure::message(
                        super::USAGE,
                        format!("{}: no PEM of a certificate", path.display()),
                    )
                })?;
                Some(bundle.base64())
            }
        };
        Ok(Target {
            namespace: self.namespace.clone(),
            admission_service: self.admission_service.clone(),
            admission_port: self.admission_port,
            conversion_service: self.conversion_service.clone(),
            conversion_port: self.conversion_port,
            ca_bundle,
            inject_ca_from: None,
        })
    }
}

/// For those who read the rules: what of the changes is not among them.
fn completed() -> String {
    let mut text =
        "# Completed too, the same at every write of the writer's own, so that nothing differs:\n"
            .to_owned();
    for (resource, pointers) in generate::completed(REGISTRY) {
        let kind = [resource.kind, resource.group].join(".");
        let kind = kind.trim_end_matches('.');
        text.push_str(&format!("#   {kind}: {}\n", pointers.join(", ")));
    }
    text
}

pub fn run(arguments: &Arguments) -> Done {
    let target = arguments.target.target()?;
    if arguments.flux_ignore {
        let rules = generate::flux_ignore(REGISTRY, &target).map_err(Failure::broken)?;
        let format = match arguments.output {
            Format::Json => Format::Json,
            Format::Text | Format::Yaml => Format::Yaml,
        };
        output::print_value(&rules, format)?;
        if matches!(arguments.output, Format::Text) {
            output::print(&completed())?;
        }
        return Ok(OK);
    }
    let wants = |part| arguments.only.is_empty() || arguments.only.contains(&part);
    let mut documents: Vec<Value> = Vec::new();
    if wants(Part::Crds) {
        documents.extend(crds::installable(REGISTRY, &target).map_err(Failure::broken)?);
    }
    if wants(Part::Rbac) {
        documents.extend(generate::rbac(REGISTRY, &target));
    }
    if wants(Part::Webhooks) {
        documents.extend(generate::configurations(REGISTRY, &target));
    }
    match arguments.output {
        Format::Json => {
            output::print_value(
                &json!({"apiVersion": "v1", "kind": "List", "items": documents}),
                Format::Json,
            )?;
        }
        Format::Text | Format::Yaml => {
            let text = crate::manifest::write(&documents)
                .map_err(|error| Failure::message(super::BROKEN, error))?;
            output::print(&text)?;
        }
    }
    Ok(OK)
}
