//! `certs init`

use super::cluster::ClusterArguments;
use super::{Done, Failure, OK};
use crate::certs::{self, Settings};
use clap::{Args, Subcommand};
use std::time::Duration;
use webhooks::REGISTRY;

/// Serving certificate and caBundles in a cluster, without cert-manager.
#[derive(Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Init(InitArguments),
}

/// Make or renew the certificate, then make the API server trust it.
///
/// Secrets cozystack-webhook-ca and cozystack-webhook-tls are made when they are missing, and made again before they
/// expire; one that somebody else made is left alone. The authority is then added to the caBundles of the webhook
/// configurations and of the CRDs that are converted here; what they trust already stays until it expires. It may be run
/// at any time, also several times at once: what is good is not written.
#[derive(Args)]
struct InitArguments {
    #[command(flatten)]
    cluster: ClusterArguments,
    /// Namespace of the installation.
    #[arg(long, env = "POD_NAMESPACE", default_value = "cozy-webhook")]
    namespace: String,
    /// Service of the admission port.
    #[arg(long, value_name = "NAME", default_value = "cozystack-webhook")]
    admission_service: String,
    /// Service of the conversion port.
    #[arg(
        long,
        value_name = "NAME",
        default_value = "cozystack-webhook-conversion"
    )]
    conversion_service: String,
    /// Domain of the cluster's DNS.
    #[arg(long, value_name = "DOMAIN", default_value = "cluster.local")]
    cluster_domain: String,
    /// One more DNS name or IP address for the certificate; may be repeated.
    #[arg(long = "extra-name", value_name = "NAME")]
    extra_names: Vec<String>,
    /// Make no Secret: wait until somebody else has put an authority (ca.crt) into cozystack-webhook-tls.
    #[arg(long)]
    await_secret: bool,
    /// Longest wait for that.
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    timeout: u64,
}

impl From<certs::Error> for Failure {
    fn from(error: certs::Error) -> Self {
        match error {
            certs::Error::Name(_) => Failure::usage(error),
            _ => Failure::broken(error),
        }
    }
}

pub fn run(arguments: &Arguments) -> Done {
    let Command::Init(arguments) = &arguments.command;
    let settings = Settings {
        namespace: arguments.namespace.clone(),
        admission_service: arguments.admission_service.clone(),
        conversion_service: arguments.conversion_service.clone(),
        cluster_domain: arguments.cluster_domain.clone(),
        extra_names: arguments.extra_names.clone(),
    };
    settings.names()?;
    super::runtime()?.block_on(async {
        let client = arguments.cluster.client().await?;
        let say = |line: String| println!("{line}");
        if arguments.await_secret {
            let time = Duration::from_secs(arguments.timeout);
            let progress = |line: String| eprintln!("{line}");
            certs::init_with_awaited(&client, REGISTRY, &settings, time, say, progress).await?;
        } else {
            certs::init(&client, REGISTRY, &settings, say).await?;
        }
        Ok(OK)
    })
}
