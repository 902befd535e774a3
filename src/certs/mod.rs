//! Certificates of an installation, and the `caBundle`s that make the API server trust them.
//!
//! An authority of our own signs the serving certificate; both are Secrets. Everything may be run again at any time and
//! by several at once: what is good is left alone, and trust only grows until a certificate expires.

pub mod bundle;
mod inject;
pub mod pair;
mod secrets;

use bundle::Bundle;
use kube::Client;
use rustls_pki_types::ServerName;
use std::collections::BTreeSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use webhooks::contract::Webhook;

/// Secret of the authority: `tls.crt`, `tls.key`.
pub const AUTHORITY_SECRET: &str = "cozystack-webhook-ca";
/// Secret of the serving certificate: `tls.crt`, `tls.key`, `ca.crt`.
pub const LEAF_SECRET: &str = "cozystack-webhook-tls";

/// How often something is read and written again because somebody else wrote in between.
const ATTEMPTS: u32 = 10;

/// Certificates or bundles that cannot be brought about.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server refuses, or is not there.
    #[error("{what}: {error}")]
    Api {
        /// What was being done.
        what: String,
        /// Why not.
        error: Box<kube::Error>,
    },
    /// A CRD source is wrong.
    #[error(transparent)]
    Source(#[from] crate::crds::Error),
    /// No certificate can be made.
    #[error(transparent)]
    Make(#[from] pair::Error),
    /// A name that no certificate can be for.
    #[error("{0:?} is neither a DNS name nor an IP address")]
    Name(String),
    /// Somebody else's serving certificate does not say who signed it.
    #[error(
        "Secret {secret} is not made by this service (it lacks the label app.kubernetes.io/managed-by: \
         cozystack-webhook) and is left alone, but its ca.crt holds no certificate: add the authority's certificate \
         (PEM) to it as ca.crt, or delete the Secret and run this again"
    )]
    NoAuthority {
        /// `namespace/name`.
        secret: String,
    },
    /// Somebody else's authority cannot sign.
    #[error(
        "Secret {secret} is not made by this service (it lacks the label app.kubernetes.io/managed-by: \
         cozystack-webhook) and is left alone, but cannot be used: {flaw}; mend it, or delete it and run this again"
    )]
    ForeignAuthority {
        /// `namespace/name`.
        secret: String,
        /// What is wrong with it.
        flaw: pair::Flaw,
    },
    /// A certificate that was just made would not be trusted.
    #[error("Secret {secret} cannot sign a serving certificate: {flaw}")]
    Unfit {
        /// `namespace/name` of the authority's Secret.
        secret: String,
        /// What is wrong with what it signs.
        flaw: pair::Flaw,
    },
    /// A Secret did not get its authority in time.
    #[error(
        "Secret {secret} {detail} after {seconds} s: whoever issues the certificate must put its authority there"
    )]
    NotInTime {
        /// `namespace/name`.
        secret: String,
        /// What is missing.
        detail: &'static str,
        /// How long it was waited for.
        seconds: u64,
    },
    /// Others write the same object again and again.
    #[error("{what}: changed by others each of {ATTEMPTS} times that it was to be written")]
    Contended {
        /// The object.
        what: String,
    },
}

fn failed(what: impl Into<String>) -> impl FnOnce(kube::Error) -> Error {
    let what = what.into();
    move |error| Error::Api {
        what,
        error: Box::new(error),
    }
}

/// Seconds since 1970.
#[must_use]
pub fn now() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// Whom the certificate is for, and which `caBundle`s are ours.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Namespace of the installation.
    pub namespace: String,
    /// Service of the admission port.
    pub admission_service: String,
    /// Service of the conversion port.
    pub conversion_service: String,
    /// Domain of the cluster's DNS.
    pub cluster_domain: String,
    /// More DNS names or IP addresses.
    pub extra_names: Vec<String>,
}

impl Settings {
    /// All names that the serving certificate must have, each of them once.
    ///
    /// # Errors
    /// When one of them can be in no certificate.
    pub fn names(&self) -> Result<Vec<String>, Error> {
        let Settings {
            namespace,
            cluster_domain,
            ..
        } = self;
        let of_services = [&self.admission_service, &self.conversion_service]
            .into_iter()
            .flat_map(|service| {
                [
                    service.clone(),
                    format!("{service}.{namespace}"),
                    format!("{service}.{namespace}.svc"),
                    format!("{service}.{namespace}.svc.{cluster_domain}"),
                ]
            });
        let mut seen = BTreeSet::new();
        let names: Vec<String> = of_services
            .chain(self.extra_names.iter().cloned())
            .filter(|name| seen.insert(name.clone()))
            .collect();
        match names
            .iter()
            .find(|name| ServerName::try_from(name.as_str()).is_err())
        {
            Some(name) => Err(Error::Name(name.clone())),
            None => Ok(names),
        }
    }
}

/// Makes what is missing of authority and serving certificate, replaces what has become unfit, and writes the bundles.
/// Says through `say` what became of each object.
pub async fn init(
    client: &Client,
    registry: &[&'static Webhook],
    settings: &Settings,
    mut say: impl FnMut(String),
) -> Result<(), Error> {
    let names = settings.names()?;
    for _ in 0..ATTEMPTS {
        let plan = secrets::plan(client, &settings.namespace, &names, now(), &mut say).await?;
        // First the trust, then what needs it: a new authority's certificate is served only after every caller knows
        // the authority.
        inject::all(client, registry, settings, &plan.bundle, &mut say).await?;
        if plan.carry_out(&mut say).await? {
            return Ok(());
        }
    }
    Err(Error::Contended {
        what: format!("Secret {}/{LEAF_SECRET}", settings.namespace),
    })
}

/// Waits for a serving certificate that somebody else makes, then writes the bundles. `progress` is told every few
/// seconds what is being waited for.
pub async fn init_with_awaited(
    client: &Client,
    registry: &[&'static Webhook],
    settings: &Settings,
    time: Duration,
    mut say: impl FnMut(String),
    progress: impl FnMut(String),
) -> Result<(), Error> {
    let bundle = await_bundle(client, &settings.namespace, LEAF_SECRET, time, progress).await?;
    inject::all(client, registry, settings, &bundle, &mut say).await
}

/// What stands in a Secret's `ca.crt`, as soon as there is a certificate in it.
pub async fn await_bundle(
    client: &Client,
    namespace: &str,
    name: &str,
    time: Duration,
    progress: impl FnMut(String),
) -> Result<Bundle, Error> {
    secrets::wait(client, namespace, name, time, progress).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        Settings {
            namespace: "ns".to_owned(),
            admission_service: "hook".to_owned(),
            conversion_service: "hook-conversion".to_owned(),
            cluster_domain: "cluster.local".to_owned(),
            extra_names: vec!["hook.ns.svc".to_owned(), "10.0.0.1".to_owned()],
        }
    }

    #[test]
    fn names_are_those_by_which_services_are_called() {
        assert_eq!(
            settings().names().unwrap(),
            [
                "hook",
                "hook.ns",
                "hook.ns.svc",
                "hook.ns.svc.cluster.local",
                "hook-conversion",
                "hook-conversion.ns",
                "hook-conversion.ns.svc",
                "hook-conversion.ns.svc.cluster.local",
                "10.0.0.1",
            ]
        );
        let mut wrong = settings();
        wrong.extra_names = vec!["not a name".to_owned()];
        assert!(matches!(wrong.names(), Err(Error::Name(name)) if name == "not a name"));
    }
}
