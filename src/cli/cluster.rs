//! Which cluster a command talks to.

use super::Failure;
use anyhow::Context as _;
use clap::Args;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use std::path::PathBuf;

#[derive(Args)]
pub struct ClusterArguments {
    /// Kubeconfig file; without it KUBECONFIG, ~/.kube/config, or the pod's own account.
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig; without it the current one.
    #[arg(long, value_name = "NAME")]
    pub context: Option<String>,
}

impl ClusterArguments {
    /// Whether a cluster was named.
    pub fn is_given(&self) -> bool {
        self.kubeconfig.is_some() || self.context.is_some()
    }

    /// A client for it. Nothing is sent yet.
    pub async fn client(&self) -> Result<Client, Failure> {
        let options = KubeConfigOptions {
            context: self.context.clone(),
            ..KubeConfigOptions::default()
        };
        let config = match (&self.kubeconfig, &self.context) {
            (Some(path), _) => {
                let file = Kubeconfig::read_from(path)
                    .with_context(|| path.display().to_string())
                    .map_err(Failure::usage)?;
                Config::from_custom_kubeconfig(file, &options)
                    .await
                    .map_err(Failure::usage)?
            }
            (None, Some(_)) => Config::from_kubeconfig(&options)
                .await
                .map_err(Failure::usage)?,
            (None, None) => Config::infer()
                .await
                .context("no cluster found")
                .map_err(Failure::broken)?,
        };
        Client::try_from(config).map_err(Failure::broken)
    }
}
