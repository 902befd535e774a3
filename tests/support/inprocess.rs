//! The server in this process, over real TLS on loopback.

use super::http::{Connection, client_config};
use cozystack_webhook::cluster::Caches;
use cozystack_webhook::dispatch::Dispatcher;
use cozystack_webhook::server::answer::Service;
use cozystack_webhook::server::{Addresses, CertificateSource, Config, Running, start};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use webhooks::contract::{Settings, Webhook};

pub struct Server {
    runtime: tokio::runtime::Runtime,
    running: Option<Running>,
    pub addresses: Addresses,
    pub service: Arc<Service>,
    client: Arc<rustls::ClientConfig>,
    _folder: tempfile::TempDir,
}

impl Server {
    /// Rules over nothing.
    pub fn with_rules(registry: &[&'static Webhook], settings: Settings) -> Server {
        let caches = Arc::new(Caches::of(registry));
        caches.settle();
        Server::of(Arc::new(Service::new(
            Dispatcher::new(registry, settings),
            caches,
        )))
    }

    pub fn of(service: Arc<Service>) -> Server {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let authority = folder.path().join("ca.crt");
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let config = Config {
            admission: any,
            conversion: any,
            probes: any,
            metrics: any,
            certificate: CertificateSource::SelfSigned {
                names: vec!["localhost".to_owned()],
                authority_file: Some(authority.clone()),
            },
            workers: 2,
            drain: Duration::ZERO,
            has_null_route: false,
        };
        let running = {
            let _inside = runtime.enter();
            start(&config, Arc::clone(&service)).unwrap()
        };
        let client = client_config(&std::fs::read_to_string(authority).unwrap());
        Server {
            addresses: running.addresses,
            running: Some(running),
            runtime,
            service,
            client,
            _folder: folder,
        }
    }

    pub fn admission(&self) -> Connection {
        Connection::open(self.addresses.admission, &self.client).unwrap()
    }

    pub fn conversion(&self) -> Connection {
        Connection::open(self.addresses.conversion, &self.client).unwrap()
    }

    /// The port that serves a path.
    pub fn for_path(&self, path: &str) -> Connection {
        if path.starts_with("/validate/") || path.starts_with("/mutate/") {
            self.admission()
        } else {
            self.conversion()
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            self.runtime.block_on(running.kill());
        }
    }
}
