//! Which cluster a command talks to.

use super::Failure;
use crate::charts::folder::Folder;
use crate::charts::own;
use crate::cluster::{self, Caches};
use crate::manifest::{self, Manifest};
use crate::offline::Judge;
use crate::policies;
use crate::settings;
use anyhow::Context as _;
use clap::Args;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use webhooks::REGISTRY;
use webhooks::contract::Settings;

/// How long the first lists of a cluster may take.
const SYNC_TIME: Duration = Duration::from_secs(30);
const SYNC_POLL: Duration = Duration::from_millis(50);

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

#[derive(Args)]
pub struct ChartArguments {
    /// Folder of charts that values of Packages are held against: archives named after their artifact, or a checkout of
    /// the platform's packages.
    #[arg(long, value_name = "DIR")]
    charts: Option<PathBuf>,
}

impl ChartArguments {
    /// Puts the charts of that folder beside the objects around.
    pub fn put_into(&self, caches: &Caches) -> Result<(), Failure> {
        if let Some(path) = &self.charts {
            Folder::open(path).map_err(Failure::usage)?.take_all(caches);
        }
        Ok(())
    }

    /// The judge, with the charts of that folder.
    pub fn given_to(&self, judge: Judge) -> Result<Judge, Failure> {
        match &self.charts {
            Some(path) => Folder::open(path)
                .map(|folder| judge.with_charts(folder))
                .map_err(Failure::usage),
            None => Ok(judge),
        }
    }
}

/// The settings in a file.
pub fn settings_in(path: &PathBuf) -> Result<Settings, Failure> {
    let manifests = manifest::read(std::slice::from_ref(path))?;
    if !manifests.iter().any(settings::is_settings) {
        return Err(Failure::message(
            super::USAGE,
            format!(
                "{}: holds no ConfigMap {}",
                path.display(),
                webhooks::settings::NAME
            ),
        ));
    }
    settings::among(&manifests, REGISTRY).map_err(|error| Failure::message(super::USAGE, error))
}

/// What rules see of manifests, and the settings among them.
pub fn from_files(manifests: Vec<Manifest>) -> Result<(Arc<Caches>, Settings), Failure> {
    let settings = settings::among(&manifests, REGISTRY)
        .map_err(|error| Failure::message(super::USAGE, error))?;
    Ok((cluster::files::of(REGISTRY, manifests), settings))
}

/// What rules see of a cluster once its first lists are complete, and its settings.
pub async fn from_cluster(
    client: &Client,
    namespace: &str,
) -> Result<(Arc<Caches>, Settings), Failure> {
    let caches = Arc::new(Caches::of(REGISTRY));
    cluster::live::follow(client, &caches);
    let settings = settings::of_cluster(client, namespace, REGISTRY)
        .await
        .map_err(|error| Failure::message(super::BROKEN, error))?;
    let kinds = || {
        let declarations = REGISTRY.iter().map(|webhook| &webhook.declaration);
        declarations.flat_map(|declared| declared.reads.iter().chain(declared.writes).copied())
    };
    let synced = async {
        while caches.missing(kinds()).is_some() {
            tokio::time::sleep(SYNC_POLL).await;
        }
    };
    // Whoever may not read them is told less, not nothing.
    if let Err(error) = own::of_cluster(client, namespace, &caches.charts).await {
        eprintln!("schemas in ConfigMaps are not known: {error}");
    }
    match tokio::time::timeout(SYNC_TIME, synced).await {
        Ok(()) => {
            if let Err(error) = policies::of_cluster(client, namespace, &caches).await {
                eprintln!("parameters of policies are not known: {error}");
            }
            Ok((caches, settings))
        }
        Err(_) => Err(Failure::message(
            super::BROKEN,
            format!(
                "the cluster did not list {} within {} s",
                caches.missing(kinds()).unwrap_or("everything"),
                SYNC_TIME.as_secs()
            ),
        )),
    }
}
