//! The HTTPS service: two ports with TLS (admission, conversion), two plain ones (probes, metrics).
//!
//! The handler is a thin async edge: it limits, reads and times; the decision is synchronous and lives in
//! [`answer`].

pub mod answer;
pub mod limits;
pub mod metrics;
pub mod tls;

use crate::charts::book::{CHART, State, VALUES_SCHEMA};
use crate::review::Reply;
use actix_web::http::header::{self, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::web::{self, Bytes, BytesMut};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer};
use answer::{Route, Service};
use futures::StreamExt;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use webhooks::contract::Deadline;

/// How long requests in flight on the admission port may take after the drain, in seconds.
const ADMISSION_SHUTDOWN_SECONDS: u64 = 10;
/// The same for the conversion port, which is closed last.
const CONVERSION_SHUTDOWN_SECONDS: u64 = 8;
/// Probes and metrics have nothing to finish.
const PLAIN_SHUTDOWN_SECONDS: u64 = 1;
/// Bodies are accounted for in units of this many bytes.
const BUDGET_UNIT_BYTES: usize = 1024;

/// Where the certificate comes from.
#[derive(Debug, Clone)]
pub enum CertificateSource {
    /// A folder with `tls.crt` and `tls.key`, looked at every so often.
    Folder(PathBuf, Duration),
    /// Made at start for these names, gone with the process; the authority's certificate is written to a file.
    SelfSigned {
        /// DNS names and IP addresses.
        names: Vec<String>,
        /// File for the authority's certificate.
        authority_file: Option<PathBuf>,
    },
}

/// What the server needs to start.
#[derive(Debug, Clone)]
pub struct Config {
    /// Address of the admission port (TLS).
    pub admission: SocketAddr,
    /// Address of the conversion port (TLS).
    pub conversion: SocketAddr,
    /// Address of the probes (plain).
    pub probes: SocketAddr,
    /// Address of the metrics (plain).
    pub metrics: SocketAddr,
    /// The certificate.
    pub certificate: CertificateSource,
    /// Threads per TLS port.
    pub workers: usize,
    /// Time between "not ready" and the end of the admission port, so that the API server's side has noticed.
    pub drain: Duration,
    /// Whether `POST /null` answers a constant: the yardstick of `make bench`.
    pub has_null_route: bool,
}

/// A server that cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An address cannot be bound.
    #[error("cannot listen on {address}: {error}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        error: std::io::Error,
    },
    /// The certificate cannot be used.
    #[error(transparent)]
    Certificate(#[from] tls::Error),
    /// The authority's certificate cannot be written.
    #[error("{path}: {error}")]
    Authority {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
}

/// What every handler shares.
struct Shared {
    service: Arc<Service>,
    is_draining: AtomicBool,
    certificate: Arc<tls::Certificate>,
    /// Reviews answered at the same time.
    in_flight: Arc<Semaphore>,
    /// Bytes of admission bodies, in units.
    admission_bytes: Arc<Semaphore>,
    /// Bytes of conversion bodies, in units.
    conversion_bytes: Arc<Semaphore>,
    /// Places on the bounded pool.
    heavy: Arc<Semaphore>,
}

/// The addresses on which a server listens.
#[derive(Debug, Clone, Copy)]
pub struct Addresses {
    /// Admission (TLS).
    pub admission: SocketAddr,
    /// Conversion (TLS).
    pub conversion: SocketAddr,
    /// Probes.
    pub probes: SocketAddr,
    /// Metrics.
    pub metrics: SocketAddr,
}

/// A running server.
pub struct Running {
    /// Where it listens.
    pub addresses: Addresses,
    shared: Arc<Shared>,
    drain: Duration,
    admission: actix_web::dev::ServerHandle,
    conversion: actix_web::dev::ServerHandle,
    plain: Vec<actix_web::dev::ServerHandle>,
}

impl Running {
    /// Ends politely: not ready at once, then the admission port, the conversion port last. Takes less than 30 s.
    pub async fn shutdown(self) {
        self.shared.is_draining.store(true, Ordering::Release);
        tracing::info!(seconds = self.drain.as_secs(), "draining");
        tokio::time::sleep(self.drain).await;
        self.admission.stop(true).await;
        self.conversion.stop(true).await;
        for server in self.plain {
            server.stop(false).await;
        }
        tracing::info!("stopped");
    }

    /// Ends at once, as a crash would.
    pub async fn kill(self) {
        self.admission.stop(false).await;
        self.conversion.stop(false).await;
        for server in self.plain {
            server.stop(false).await;
        }
    }
}

/// Starts to serve, on the current runtime. The returned addresses are bound when this returns.
pub fn start(config: &Config, service: Arc<Service>) -> Result<Running, Error> {
    let certificate = certificate(&config.certificate)?;
    let shared = Arc::new(Shared {
        service,
        is_draining: AtomicBool::new(false),
        certificate: Arc::clone(&certificate),
        in_flight: Arc::new(Semaphore::new(limits::REVIEWS_IN_FLIGHT_MAX)),
        admission_bytes: Arc::new(Semaphore::new(
            limits::ADMISSION_BODIES_MAX_BYTES / BUDGET_UNIT_BYTES,
        )),
        conversion_bytes: Arc::new(Semaphore::new(
            limits::CONVERSION_BODIES_MAX_BYTES / BUDGET_UNIT_BYTES,
        )),
        heavy: Arc::new(Semaphore::new(
            std::thread::available_parallelism().map_or(2, usize::from),
        )),
    });
    let (admission, admission_address) = listen(config.admission)?;
    let (conversion, conversion_address) = listen(config.conversion)?;
    let (probes, probes_address) = listen(config.probes)?;
    let (metrics, metrics_address) = listen(config.metrics)?;
    let port = Port::Admission {
        has_null_route: config.has_null_route,
    };
    let admission = run_tls(config, port, &shared, admission, ADMISSION_SHUTDOWN_SECONDS)?;
    let conversion = run_tls(
        config,
        Port::Conversion,
        &shared,
        conversion,
        CONVERSION_SHUTDOWN_SECONDS,
    )?;
    let mut plain = Vec::new();
    for (listener, address, routes) in [
        (
            probes,
            config.probes,
            probe_routes as fn(&mut web::ServiceConfig),
        ),
        (metrics, config.metrics, metrics_routes),
    ] {
        let shared = web::Data::from(Arc::clone(&shared));
        let server = HttpServer::new(move || App::new().app_data(shared.clone()).configure(routes))
            .workers(1)
            .max_connections(limits::CONNECTIONS_PER_WORKER_MAX)
            .client_request_timeout(limits::HEAD_TIME)
            .shutdown_timeout(PLAIN_SHUTDOWN_SECONDS)
            .disable_signals()
            .listen(listener)
            .map_err(|error| Error::Listen { address, error })?
            .run();
        plain.push(server.handle());
        tokio::spawn(server);
    }
    let running = Running {
        addresses: Addresses {
            admission: admission_address,
            conversion: conversion_address,
            probes: probes_address,
            metrics: metrics_address,
        },
        shared,
        drain: config.drain,
        admission: admission.handle(),
        conversion: conversion.handle(),
        plain,
    };
    tokio::spawn(admission);
    tokio::spawn(conversion);
    Ok(running)
}

fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), Error> {
    let failed = |error| Error::Listen { address, error };
    let listener = TcpListener::bind(address).map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

fn certificate(source: &CertificateSource) -> Result<Arc<tls::Certificate>, Error> {
    match source {
        CertificateSource::Folder(path, pause) => {
            let folder = tls::Folder::open(path)?;
            let certificate = folder.certificate();
            tokio::spawn(folder.poll(*pause));
            Ok(certificate)
        }
        CertificateSource::SelfSigned {
            names,
            authority_file,
        } => {
            let authority = tls::Authority::new()?;
            if let Some(path) = authority_file {
                std::fs::write(path, authority.pem()).map_err(|error| Error::Authority {
                    path: path.clone(),
                    error,
                })?;
            }
            let (chain, key) = authority.issue(names)?;
            Ok(tls::Certificate::from_pem(
                chain.as_bytes(),
                key.as_bytes(),
            )?)
        }
    }
}

/// Which of the TLS ports.
#[derive(Clone, Copy)]
enum Port {
    Admission { has_null_route: bool },
    Conversion,
}

impl Port {
    fn serves(self, route: &Route) -> bool {
        matches!(
            (self, route),
            (Port::Admission { .. }, Route::Admission(_))
                | (Port::Conversion, Route::Conversion(..))
        )
    }

    fn body_max_bytes(self) -> usize {
        match self {
            Port::Admission { .. } => limits::ADMISSION_BODY_MAX_BYTES,
            Port::Conversion => limits::CONVERSION_BODY_MAX_BYTES,
        }
    }

    fn body_time(self) -> Duration {
        match self {
            Port::Admission { .. } => limits::ADMISSION_BODY_TIME,
            Port::Conversion => limits::CONVERSION_BODY_TIME,
        }
    }
}

fn run_tls(
    config: &Config,
    port: Port,
    shared: &Arc<Shared>,
    listener: TcpListener,
    shutdown_seconds: u64,
) -> Result<actix_web::dev::Server, Error> {
    let shared = Arc::clone(shared);
    let tls = shared.certificate.server_config()?;
    let failed = |error| Error::Listen {
        address: config.admission,
        error,
    };
    let server = HttpServer::new(move || {
        let shared = Arc::clone(&shared);
        App::new().default_service(web::to(
            move |request: HttpRequest, payload: web::Payload| {
                handle(Arc::clone(&shared), port, request, payload)
            },
        ))
    })
    // With Nagle's algorithm an answer over HTTP/2 waits 40 ms for a delayed acknowledgement.
    .tcp_nodelay(true)
    .workers(config.workers)
    .max_connections(limits::CONNECTIONS_PER_WORKER_MAX)
    .max_connection_rate(limits::HANDSHAKES_PER_WORKER_MAX)
    .tls_handshake_timeout(limits::HANDSHAKE_TIME)
    .client_request_timeout(limits::HEAD_TIME)
    .keep_alive(limits::KEEP_ALIVE)
    .shutdown_timeout(shutdown_seconds)
    .disable_signals()
    .listen_rustls_0_23(listener, tls)
    .map_err(failed)?
    .run();
    Ok(server)
}

async fn handle(
    shared: Arc<Shared>,
    port: Port,
    request: HttpRequest,
    payload: web::Payload,
) -> HttpResponse {
    let reply = review(&shared, port, &request, payload).await;
    let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = HttpResponse::build(status);
    let kind = if reply.status == 200 {
        "application/json"
    } else {
        "text/plain; charset=utf-8"
    };
    response.insert_header((header::CONTENT_TYPE, HeaderValue::from_static(kind)));
    if reply.retry {
        response.insert_header((header::RETRY_AFTER, HeaderValue::from_static("1")));
    }
    // A body that was not read to its end cannot be followed by another request.
    if shared.is_draining.load(Ordering::Acquire) || matches!(reply.status, 408 | 413) {
        response.force_close();
    }
    response.body(reply.body)
}

async fn review(
    shared: &Arc<Shared>,
    port: Port,
    request: &HttpRequest,
    payload: web::Payload,
) -> Reply {
    let refuse = |code, sentence: &str| {
        shared.service.count_refusal(code);
        Reply::refusal(code, sentence)
    };
    let is_null = matches!(
        port,
        Port::Admission {
            has_null_route: true
        }
    ) && request.path() == "/null";
    let route = shared
        .service
        .route(request.path())
        .filter(|route| port.serves(route));
    if route.is_none() && !is_null {
        return refuse(404, "no rule is served at this path");
    }
    if request.method() != Method::POST {
        return refuse(405, "reviews are posted");
    }
    if !is_json(request) {
        return refuse(415, "the content type must be application/json");
    }
    let Ok(_in_flight) = Arc::clone(&shared.in_flight).try_acquire_owned() else {
        return Reply::come_again("too many reviews at once");
    };
    let _counted = InFlight::begin(&shared.service);
    let deadline = Deadline::after(answer::time_for(timeout_of(request)));
    match read_body(shared, port, request, payload, deadline).await {
        // The yardstick of the bench: everything but the decision.
        Ok(_) if is_null => Reply::review(NULL_ANSWER.to_vec()),
        Ok((body, permit)) => match route {
            Some(route) => decide(shared, route, body, permit, deadline).await,
            None => refuse(404, "no rule is served at this path"),
        },
        Err(reply) => {
            shared.service.count_refusal(reply.status);
            reply
        }
    }
}

/// Counts a request for as long as somebody works on it, however that ends.
struct InFlight<'a>(&'a Service);

impl InFlight<'_> {
    fn begin(service: &Service) -> InFlight<'_> {
        service.metrics.in_flight.inc();
        InFlight(service)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.metrics.in_flight.dec();
    }
}

const NULL_ANSWER: &[u8] =
    br#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","response":{"uid":"null","allowed":true}}"#;

fn is_json(request: &HttpRequest) -> bool {
    request
        .headers()
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}

/// The value of `?timeout=`.
fn timeout_of(request: &HttpRequest) -> Option<&str> {
    request
        .query_string()
        .split('&')
        .find_map(|pair| pair.strip_prefix("timeout="))
}

/// Reads a body within its limits of size, time and memory. What is held is accounted for before it is read.
async fn read_body(
    shared: &Shared,
    port: Port,
    request: &HttpRequest,
    mut payload: web::Payload,
    deadline: Deadline,
) -> Result<(Bytes, OwnedSemaphorePermit), Reply> {
    let max = port.body_max_bytes();
    let too_large = || Reply::refusal(413, format!("a review may have {max} bytes"));
    let announced = request
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.parse::<usize>().ok());
    // A body that does not say its length is accounted for at the largest.
    let reserved = announced.unwrap_or(max);
    if reserved > max {
        return Err(too_large());
    }
    let budget = match port {
        Port::Admission { .. } => &shared.admission_bytes,
        Port::Conversion => &shared.conversion_bytes,
    };
    let units = u32::try_from(reserved.div_ceil(BUDGET_UNIT_BYTES)).unwrap_or(u32::MAX);
    let permit = tokio::time::timeout(
        deadline.remaining(),
        Arc::clone(budget).acquire_many_owned(units),
    )
    .await
    .ok()
    .and_then(Result::ok)
    .ok_or_else(|| Reply::come_again("too many bytes at once"))?;

    let mut body = BytesMut::new();
    let read_all = async {
        while let Some(chunk) = payload.next().await {
            let chunk = chunk
                .map_err(|error| Reply::refusal(400, format!("the body breaks off: {error}")))?;
            if body.len() + chunk.len() > max {
                return Err(too_large());
            }
            if body.is_empty() {
                // Grown at once, and by no more than was announced.
                body.reserve(announced.unwrap_or(chunk.len()));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(())
    };
    match tokio::time::timeout(port.body_time(), read_all).await {
        Ok(Ok(())) => Ok((body.freeze(), permit)),
        Ok(Err(reply)) => Err(reply),
        Err(_) => Err(Reply::refusal(408, "the body takes too long")),
    }
}

/// Decides here, or on the bounded pool when it may take long.
async fn decide(
    shared: &Arc<Shared>,
    route: Route,
    body: Bytes,
    permit: OwnedSemaphorePermit,
    deadline: Deadline,
) -> Reply {
    let late = || Reply::refusal(504, "the decision took too long");
    if !route.is_heavy(body.len())
        && let Some(reply) = shared.service.answer_briefly(&route, &body, deadline)
    {
        return if deadline.check().is_ok() {
            reply
        } else {
            late()
        };
    }
    let Ok(Ok(place)) = tokio::time::timeout(
        deadline.remaining(),
        Arc::clone(&shared.heavy).acquire_owned(),
    )
    .await
    else {
        return Reply::come_again("too many long decisions at once");
    };
    let service = Arc::clone(&shared.service);
    let work = tokio::task::spawn_blocking(move || {
        // Both are given back when the work ends, not when the caller gives up.
        let _held = (place, permit);
        service.answer(&route, &body, deadline)
    });
    match tokio::time::timeout(deadline.remaining(), work).await {
        Ok(Ok(reply)) => reply,
        Ok(Err(error)) => Reply::refusal(500, format!("the decision broke off: {error}")),
        Err(_) => late(),
    }
}

fn probe_routes(config: &mut web::ServiceConfig) {
    config
        .route(
            "/healthz",
            web::get().to(|| async { HttpResponse::Ok().body("ok\n") }),
        )
        .route("/readyz", web::get().to(readyz));
}

/// Ready when the caches are known, the certificate is valid and the end has not begun. `?verbose` names each check.
async fn readyz(shared: web::Data<Shared>, request: HttpRequest) -> HttpResponse {
    let mut checks: Vec<(String, bool, String)> = Vec::new();
    for cache in shared.service.caches.iter() {
        let knowledge = cache.knowledge();
        checks.push((
            format!("cache/{}", cache.resource.plural),
            knowledge != crate::cluster::Knowledge::Syncing,
            format!("{}, {} objects", knowledge.as_str(), cache.len()),
        ));
    }
    let has_settings = shared.service.has_settings.load(Ordering::Acquire);
    checks.push((
        "settings".to_owned(),
        has_settings,
        if has_settings { "known" } else { "syncing" }.to_owned(),
    ));
    let has_charts = shared.service.has_charts.load(Ordering::Acquire);
    checks.push((
        "charts".to_owned(),
        has_charts,
        if has_charts {
            "looked at"
        } else {
            "the charts of Packages are being fetched"
        }
        .to_owned(),
    ));
    let policies = &shared.service.caches.policies;
    let held = policies.held();
    let broken = held.iter().filter(|held| held.policy.broken().is_some());
    checks.push((
        "policies".to_owned(),
        policies.is_known(),
        if policies.is_known() {
            let broken = broken.count();
            format!("{} compiled, {broken} do not compile", held.len() - broken)
        } else {
            "syncing".to_owned()
        },
    ));
    // What cannot be had is no reason to serve nobody.
    for line in shared.service.caches.charts.lines() {
        let detail = format!("{}: {}", line.state.as_str(), line.detail);
        checks.push((line.name, true, detail));
    }
    let seconds = shared.certificate.seconds_to_expiry();
    checks.push((
        "certificate".to_owned(),
        seconds > 0,
        format!("expires in {seconds} s"),
    ));
    let entries = shared.service.dispatcher.entries().count();
    let conversions = shared.service.dispatcher.conversion_paths().count();
    checks.push((
        "registry".to_owned(),
        entries > 0,
        format!("{entries} admission and {conversions} conversion paths"),
    ));
    let is_draining = shared.is_draining.load(Ordering::Acquire);
    checks.push((
        "shutdown".to_owned(),
        !is_draining,
        if is_draining { "draining" } else { "not begun" }.to_owned(),
    ));

    let is_ready = checks.iter().all(|(_, passed, _)| *passed);
    let is_verbose = request
        .query_string()
        .split('&')
        .any(|pair| pair == "verbose" || pair.starts_with("verbose="));
    let mut text = String::new();
    for (name, passed, detail) in checks.iter().filter(|(_, passed, _)| is_verbose || !passed) {
        text.push_str(&format!(
            "[{}] {name}: {detail}\n",
            if *passed { "+" } else { "-" }
        ));
    }
    text.push_str(if is_ready { "ready\n" } else { "not ready\n" });
    let status = if is_ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    HttpResponse::build(status).body(text)
}

fn metrics_routes(config: &mut web::ServiceConfig) {
    config.route("/metrics", web::get().to(metrics_text));
}

async fn metrics_text(shared: web::Data<Shared>) -> HttpResponse {
    let metrics = &shared.service.metrics;
    for cache in shared.service.caches.iter() {
        let labels = metrics::CacheLabels {
            resource: cache.resource.plural,
        };
        metrics
            .cached_objects
            .get_or_create(&labels)
            .set(i64::try_from(cache.len()).unwrap_or(i64::MAX));
        let is_absent = cache.knowledge() == crate::cluster::Knowledge::Absent;
        metrics
            .kind_absent
            .get_or_create(&labels)
            .set(i64::from(is_absent));
    }
    let lines = shared.service.caches.charts.lines();
    for source in [CHART, VALUES_SCHEMA] {
        for state in State::ALL {
            let found = lines
                .iter()
                .filter(|line| line.state == state && line.name.split('/').next() == Some(source));
            let labels = metrics::SchemaLabels {
                source,
                state: state.as_str(),
            };
            metrics
                .values_schemas
                .get_or_create(&labels)
                .set(i64::try_from(found.count()).unwrap_or(i64::MAX));
        }
    }
    let held = shared.service.caches.policies.held();
    for (state, is_broken) in [("compiled", false), ("broken", true)] {
        let found = held
            .iter()
            .filter(|held| held.policy.broken().is_some() == is_broken);
        metrics
            .policies
            .get_or_create(&metrics::PolicyLabels { state })
            .set(i64::try_from(found.count()).unwrap_or(i64::MAX));
    }
    metrics
        .certificate_expiry_seconds
        .set(shared.certificate.seconds_to_expiry());
    HttpResponse::Ok()
        .content_type("application/openmetrics-text; version=1.0.0; charset=utf-8")
        .body(metrics.text())
}
