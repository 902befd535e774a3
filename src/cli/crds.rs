//! `crds install|uninstall|status`

use super::cluster::ClusterArguments;
use super::manifests::TargetArguments;
use super::output::{self, Format};
use super::{Done, FOUND, Failure, OK};
use crate::crds::install;
use clap::{Args, Subcommand};
use serde_json::json;
use webhooks::REGISTRY;

/// Install, take back or look at the CRDs in a cluster.
///
/// Installing is a server-side apply that never narrows a schema that is in force. The legacy CRD is protected from
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
    /// Install or update all four CRDs of cozystack.io.
    Install(TargetArguments),
    /// Remove the webhook configurations, then the conversion; all objects stay readable.
    Uninstall,
    /// Show what is installed; exit 1 when something is missing.
    Status {
        /// How the result is printed.
        #[arg(short, long, default_value = "text")]
        output: Format,
    },
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
                install::install(&client, REGISTRY, &target.target()?, say).await?;
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
