//! Who leads: the replica whose name stands in a Lease. The protocol is that of client-go's leader election, so that
//! `kubectl get lease` reads as usual.
//!
//! Clocks are not compared: a rival's lease is over when it has not changed for its whole duration by our own clock.

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use kube::api::{Api, PostParams};
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use webhooks::contract::FIELD_MANAGER;

/// How long a lease lasts that nobody renews.
const LEASE_TIME: Duration = Duration::from_secs(15);
/// The leader stops this long after it last began to renew, well before a rival may begin.
const TENURE_TIME: Duration = Duration::from_secs(10);
/// How often the leader renews, and others look.
const PERIOD: Duration = Duration::from_secs(2);
/// A request that takes longer has failed.
const REQUEST_TIME: Duration = Duration::from_secs(5);

/// Until when this replica leads. Asked before each write.
#[derive(Debug, Clone, Default)]
pub struct Tenure(Arc<Mutex<Option<Instant>>>);

impl Tenure {
    /// Whether this replica leads now.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.end().is_some_and(|end| Instant::now() < end)
    }

    /// What is left of it.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        let end = self.end();
        end.map_or(Duration::ZERO, |end| {
            end.saturating_duration_since(Instant::now())
        })
    }

    /// Waits for its end, however often that is put off.
    async fn over(&self) {
        loop {
            let left = self.remaining();
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(left).await;
        }
    }

    fn end(&self) -> Option<Instant> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, end: Option<Instant>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = end;
    }
}

/// The election of one replica.
pub struct Election {
    api: Api<Lease>,
    namespace: String,
    identity: String,
    /// The rival's lease as it was last seen to change, and when.
    seen: Mutex<Option<(Option<String>, Instant)>>,
    tenure: Tenure,
}

impl Election {
    /// A candidate of that name for the Lease in that namespace.
    #[must_use]
    pub fn new(client: Client, namespace: &str, identity: &str) -> Election {
        Election {
            api: Api::namespaced(client, namespace),
            namespace: namespace.to_owned(),
            identity: identity.to_owned(),
            seen: Mutex::default(),
            tenure: Tenure::default(),
        }
    }

    /// Runs `work` whenever this replica leads, and drops it at once when it no longer does. Does not end by itself.
    pub async fn lead<W: Future<Output = ()>>(&self, mut work: impl FnMut(Tenure) -> W) {
        let mut is_quiet = false;
        loop {
            match self.acquire().await {
                Ok(true) => {
                    tracing::info!(identity = self.identity, "leading");
                    tokio::select! {
                        () = work(self.tenure.clone()) => {}
                        () = self.renew() => {}
                        () = self.tenure.over() => {}
                    }
                    self.tenure.set(None);
                    tracing::warn!(identity = self.identity, "no longer leading");
                    is_quiet = false;
                }
                Ok(false) => is_quiet = false,
                Err(error) => {
                    // Once is enough for a namespace that is not there.
                    if !is_quiet {
                        tracing::warn!(
                            namespace = self.namespace,
                            error,
                            "the Lease cannot be had"
                        );
                    }
                    is_quiet = true;
                }
            }
            tokio::time::sleep(PERIOD).await;
        }
    }

    /// Renews until the lease is lost.
    async fn renew(&self) {
        loop {
            tokio::time::sleep(PERIOD).await;
            match self.acquire().await {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => {
                    tracing::warn!(error, "the Lease cannot be renewed");
                }
            }
            if !self.tenure.holds() {
                return;
            }
        }
    }

    /// Takes or renews the lease; false when another replica has it.
    async fn acquire(&self) -> Result<bool, String> {
        let began = Instant::now();
        let attempt = tokio::time::timeout(REQUEST_TIME, self.try_acquire());
        let got = attempt
            .await
            .map_err(|_| format!("no answer within {} s", REQUEST_TIME.as_secs()))?
            .map_err(|error| error.to_string())?;
        self.tenure.set(got.then(|| began + TENURE_TIME));
        Ok(got)
    }

    async fn try_acquire(&self) -> Result<bool, kube::Error> {
        let now = MicroTime(Timestamp::now());
        let parameters = PostParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PostParams::default()
        };
        let Some(mut lease) = self.api.get_opt(FIELD_MANAGER).await? else {
            let lease = Lease {
                metadata: ObjectMeta {
                    name: Some(FIELD_MANAGER.to_owned()),
                    ..ObjectMeta::default()
                },
                spec: Some(self.spec(None, &now)),
            };
            return is_ours(self.api.create(&parameters, &lease).await);
        };
        let spec = lease.spec.take().unwrap_or_default();
        let holder = spec.holder_identity.as_deref().unwrap_or_default();
        if holder != self.identity && !holder.is_empty() && !self.is_over(&lease, &spec) {
            return Ok(false);
        }
        lease.spec = Some(self.spec(Some(spec), &now));
        // It carries the resource version that was read: of two who try, one gets a conflict.
        is_ours(self.api.replace(FIELD_MANAGER, &parameters, &lease).await)
    }

    fn spec(&self, before: Option<LeaseSpec>, now: &MicroTime) -> LeaseSpec {
        let before = before.unwrap_or_default();
        let is_renewal = before.holder_identity.as_deref() == Some(&*self.identity);
        let transitions = before.lease_transitions.unwrap_or_default();
        LeaseSpec {
            acquire_time: before
                .acquire_time
                .filter(|_| is_renewal)
                .or_else(|| Some(now.clone())),
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: Some(LEASE_TIME.as_secs().try_into().unwrap_or(i32::MAX)),
            lease_transitions: Some(transitions.saturating_add(i32::from(!is_renewal))),
            renew_time: Some(now.clone()),
            ..LeaseSpec::default()
        }
    }

    /// Whether the rival has not renewed for as long as its lease lasts, by our own clock.
    fn is_over(&self, lease: &Lease, spec: &LeaseSpec) -> bool {
        let version = lease.metadata.resource_version.clone();
        let lasts = spec
            .lease_duration_seconds
            .and_then(|seconds| u64::try_from(seconds).ok())
            .map_or(LEASE_TIME, Duration::from_secs);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        match &*seen {
            Some((known, since)) if *known == version => since.elapsed() > lasts,
            _ => {
                *seen = Some((version, Instant::now()));
                false
            }
        }
    }

    /// Gives the lease back, so that another replica need not wait for its end.
    pub async fn vacate(&self) {
        if !self.tenure.holds() {
            return;
        }
        self.tenure.set(None);
        let give_back = async {
            let Some(mut lease) = self.api.get_opt(FIELD_MANAGER).await? else {
                return Ok(());
            };
            let spec = lease.spec.get_or_insert_default();
            if spec.holder_identity.as_deref() != Some(&*self.identity) {
                return Ok(());
            }
            spec.holder_identity = Some(String::new());
            spec.lease_duration_seconds = Some(1);
            self.api
                .replace(FIELD_MANAGER, &PostParams::default(), &lease)
                .await
                .map(|_| ())
        };
        match tokio::time::timeout(REQUEST_TIME, give_back).await {
            Ok(Ok(())) => tracing::info!("the Lease is given back"),
            Ok(Err(error)) => {
                let error: kube::Error = error;
                tracing::warn!(%error, "the Lease could not be given back");
            }
            Err(_) => tracing::warn!("the Lease could not be given back in time"),
        }
    }
}

/// Whether a write got through; a conflict means that a rival was faster.
fn is_ours(written: Result<Lease, kube::Error>) -> Result<bool, kube::Error> {
    match written {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
        Err(error) => Err(error),
    }
}
