//! `serve`

use super::cluster::ClusterArguments;
use super::{Done, Failure, OK};
use crate::charts;
use crate::cluster::{self, Caches};
use crate::companions::{self, lease::Election};
use crate::dispatch::Dispatcher;
use crate::manifest;
use crate::policies;
use crate::server::answer::Service;
use crate::server::{self, CertificateSource, Config};
use crate::settings;
use clap::Args;
use kube::Client;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::task::JoinHandle;
use webhooks::REGISTRY;
use webhooks::contract::Settings;

/// What is still to be written when the end comes is given this long.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Answer the API server.
///
/// Four ports: admission and conversion with TLS, probes (/healthz, /readyz?verbose) and metrics (/metrics) without.
/// SIGTERM and Ctrl-C end it politely, within 30 s.
#[derive(Args)]
pub struct Arguments {
    /// Address of the admission port.
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:8443")]
    admission_address: SocketAddr,
    /// Address of the conversion port.
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:8444")]
    conversion_address: SocketAddr,
    /// Address of the probes.
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:8081")]
    probes_address: SocketAddr,
    /// Address of the metrics.
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:8080")]
    metrics_address: SocketAddr,
    /// Folder with tls.crt and tls.key, reloaded when they change.
    #[arg(long, value_name = "DIR", required_unless_present = "self_signed")]
    certificate_dir: Option<PathBuf>,
    /// How often that folder is looked at, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=3600))]
    certificate_poll: u64,
    /// Serve a certificate made at start and gone with the process: for local use.
    #[arg(long, conflicts_with = "certificate_dir")]
    self_signed: bool,
    /// Names in the self-signed certificate.
    #[arg(
        long,
        value_name = "NAME",
        value_delimiter = ',',
        default_value = "localhost,127.0.0.1,::1"
    )]
    self_signed_names: Vec<String>,
    /// File for the authority of the self-signed certificate (PEM).
    #[arg(long, value_name = "FILE")]
    authority_file: Option<PathBuf>,
    /// No cluster: rules see the objects in these files or folders.
    #[arg(long, value_name = "PATH", conflicts_with_all = ["kubeconfig", "context"])]
    objects: Vec<PathBuf>,
    #[command(flatten)]
    cluster: ClusterArguments,
    /// Namespace of the installation: its settings, and the Lease of the replica that keeps companions in step.
    #[arg(
        long,
        value_name = "NAMESPACE",
        env = "POD_NAMESPACE",
        default_value = "cozy-webhook"
    )]
    namespace: String,
    /// Name of this replica in the Lease and in Events; by default one of its own.
    #[arg(long, value_name = "NAME", env = "POD_NAME")]
    identity: Option<String>,
    /// Threads per TLS port; by default one a core.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..=256))]
    workers: Option<u16>,
    /// Time between "not ready" and the end of the admission port, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(0..=10))]
    drain: u64,
}

pub fn run(arguments: &Arguments) -> Done {
    super::runtime()?.block_on(serve(arguments))
}

async fn serve(arguments: &Arguments) -> Done {
    let certificate = match &arguments.certificate_dir {
        Some(folder) => CertificateSource::Folder(
            folder.clone(),
            Duration::from_secs(arguments.certificate_poll),
        ),
        None => CertificateSource::SelfSigned {
            names: arguments.self_signed_names.clone(),
            authority_file: arguments.authority_file.clone(),
        },
    };
    let (client, service) = if arguments.objects.is_empty() {
        let client = arguments.cluster.client().await?;
        let caches = Arc::new(Caches::of(REGISTRY));
        cluster::live::follow(&client, &caches);
        let service = Service::new(Dispatcher::new(REGISTRY, Settings::default()), caches);
        service.has_settings.store(false, Ordering::Release);
        service.has_charts.store(false, Ordering::Release);
        let service = Arc::new(service);
        charts::follow::start(&client, &arguments.namespace, &service);
        policies::start(&client, &arguments.namespace, &service);
        (Some(client), service)
    } else {
        let manifests = manifest::read(&arguments.objects)?;
        let settings = settings::among(&manifests, REGISTRY)
            .map_err(|error| Failure::message(super::USAGE, error))?;
        let caches = cluster::files::of(REGISTRY, manifests);
        let service = Service::new(Dispatcher::new(REGISTRY, settings), caches);
        (None, Arc::new(service))
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let config = Config {
        admission: arguments.admission_address,
        conversion: arguments.conversion_address,
        probes: arguments.probes_address,
        metrics: arguments.metrics_address,
        certificate,
        workers: arguments.workers.map_or(cores, usize::from),
        drain: Duration::from_secs(arguments.drain),
        has_null_route: false,
    };
    // Listening for the signals begins before the ports do: an early SIGTERM is polite too.
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
        .map_err(Failure::broken)?;
    let running = server::start(&config, Arc::clone(&service)).map_err(Failure::broken)?;
    let counted = client
        .clone()
        .map(|client| (client, Arc::clone(&service.caches)));
    let engine = client.map(|client| start_engine(client, arguments, service));
    let addresses = running.addresses;
    tracing::info!(
        admission = %addresses.admission,
        conversion = %addresses.conversion,
        probes = %addresses.probes,
        metrics = %addresses.metrics,
        version = env!("CARGO_PKG_VERSION"),
        "serving"
    );
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
    // What is being written ends here, and another replica takes over while this one finishes its reviews.
    let vacate = async {
        if let Some((task, election)) = engine {
            task.abort();
            election.vacate().await;
        }
    };
    tokio::join!(vacate, running.shutdown());
    // What was denied until now would be forgotten.
    if let Some((client, caches)) = counted {
        let write = policies::status::write_all(&client, &caches, false);
        let _ = tokio::time::timeout(LAST_WORDS, write).await;
    }
    Ok(OK)
}

/// Follows the settings, and keeps companions in step whenever this replica leads.
fn start_engine(
    client: Client,
    arguments: &Arguments,
    service: Arc<Service>,
) -> (JoinHandle<()>, Arc<Election>) {
    let identity = arguments.identity.clone().unwrap_or_else(own_name);
    tokio::spawn(policies::status::keep(client.clone(), Arc::clone(&service)));
    tokio::spawn(settings::follow(
        client.clone(),
        arguments.namespace.clone(),
        identity.clone(),
        REGISTRY,
        Arc::clone(&service),
    ));
    let election = Arc::new(Election::new(
        client.clone(),
        &arguments.namespace,
        &identity,
    ));
    let task = tokio::spawn(companions::run(
        client,
        Arc::clone(&election),
        identity,
        REGISTRY,
        service,
    ));
    (task, election)
}

/// A name that no other process has at the same time.
fn own_name() -> String {
    let host = std::fs::read_to_string("/etc/hostname").unwrap_or_default();
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    format!(
        "{}_{}_{:x}",
        host.trim(),
        std::process::id(),
        since.as_nanos()
    )
}
