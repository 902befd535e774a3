//! `crds install|uninstall|status`

use super::cluster::ClusterArguments;
use super::manifests::TargetArguments;
use super::output::{self, Format};
use super::{Done, FOUND, Failure, OK};
use crate::certs;
use crate::crds::{Target, install};
use clap::{Args, Subcommand};
use serde_json::json;
use std::time::Duration;
use webhooks::REGISTRY;

/// Install, take back or look at the CRDs in a cluster.
///
/// Installing is a server-side apply that never narrows a schema or a caBundle that is in force. The legacy CRD is protected from
/// the Helm release that brought it. Uninstalling leaves every CRD and every object.
#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    cluster: ClusterArguments,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Install or update all CRDs: four of cozystack.io, and that of policies.
    Install(InstallArguments),
    /// Remove the webhook configurations, then the conversion; all objects stay readable.
    Uninstall,
    /// Show what is installed; exit 1 when something is missing.
    Status {
        /// How the result is printed.
        #[arg(short, long, default_value = "text")]
        output: Format,
    },
}

#[derive(Args)]
pub struct InstallArguments {
    #[command(flatten)]
    target: TargetArguments,
    /// Secret in the namespace whose ca.crt is the authority; it is waited for, at most a minute.
    #[arg(long, value_name = "NAME", conflicts_with = "ca_file")]
    ca_secret: Option<String>,
    /// Certificate or Secret from which cert-manager is to inject the authority.
    #[arg(long, value_name = "NAMESPACE/NAME", value_parser = namespaced_name)]
    inject_ca_from: Option<String>,
}

/// Longest wait for the Secret of the authority.
const SECRET_TIME: Duration = Duration::from_mins(1);

fn namespaced_name(text: &str) -> Result<String, &'static str> {
    match text.split_once('/') {
        Some((namespace, name))
            if !namespace.is_empty() && !name.is_empty() && !name.contains('/') =>
        {
            Ok(text.to_owned())
        }
        _ => Err("must be NAMESPACE/NAME"),
    }
}

impl InstallArguments {
    /// Namespace of the installation.
    pub fn namespace(&self) -> &str {
        self.target.namespace()
    }

    /// The target, with an authority that is waited for.
    pub async fn target(&self, client: &kube::Client) -> Result<Target, Failure> {
        let mut target = self.target.target()?;
        target.inject_ca_from.clone_from(&self.inject_ca_from);
        if let Some(name) = &self.ca_secret {
            let progress = |line| eprintln!("{line}");
            let bundle =
                certs::await_bundle(client, &target.namespace, name, SECRET_TIME, progress).await?;
            target.ca_bundle = Some(bundle.base64());
        }
        Ok(target)
    }
}

impl From<install::Error> for Failure {
    fn from(error: install::Error) -> Self {
        match error {
            install::Error::NoAuthority { .. } => Failure::usage(error),
            _ => Failure::broken(error),
        }
    }
}

pub fn run(arguments: &Arguments) -> Done {
    super::runtime()?.block_on(async {
        let client = arguments.cluster.client().await?;
        let say = |line: String| println!("{line}");
        match &arguments.command {
            Command::Install(target) => {
                let target = target.target(&client).await?;
                install::install(&client, REGISTRY, &target, say).await?;
                Ok(OK)
            }
            Command::Uninstall => {
                install::uninstall(&client, REGISTRY, say).await?;
                Ok(OK)
            }
            Command::Status { output } => status(&client, *output).await,
        }
    })
}

async fn status(client: &kube::Client, format: Format) -> Done {
    let states = install::status(client, REGISTRY).await?;
    let is_complete = states
        .iter()
        .all(|(_, state)| state.as_ref().is_some_and(|state| state.established));
    if format == Format::Text {
        let rows: Vec<Vec<String>> = states
            .iter()
            .map(|(name, state)| match state {
                None => vec![
                    name.clone(),
                    "absent".into(),
                    "-".into(),
                    "-".into(),
                    "-".into(),
                    "-".into(),
                ],
                Some(state) => vec![
                    name.clone(),
                    if state.established {
                        "served"
                    } else {
                        "not served"
                    }
                    .into(),
                    state.versions.join(","),
                    state.stored_versions.join(","),
                    state.conversion.clone(),
                    state.helm_release.clone().unwrap_or_else(|| "-".into()),
                ],
            })
            .collect();
        output::print(&output::table(
            &[
                "CRD",
                "STATE",
                "VERSIONS",
                "STORED",
                "CONVERSION",
                "HELM RELEASE",
            ],
            &rows,
        ))?;
    } else {
        let list: Vec<_> = states
            .iter()
            .map(
                |(name, state)| json!({"name": name, "installed": state.is_some(), "state": state}),
            )
            .collect();
        output::print_value(&list, format)?;
    }
    Ok(if is_complete { OK } else { FOUND })
}
