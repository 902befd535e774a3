//! The two Secrets: read, made, replaced, waited for. Keys go from here to the API server and nowhere else.

use super::bundle::Bundle;
use super::pair::{
    AUTHORITY_LIFE, AUTHORITY_REST, Authority, LEAF_LIFE, LEAF_REST, Pem, authority_start,
};
use super::{ATTEMPTS, AUTHORITY_SECRET, Error, LEAF_SECRET, failed};
use crate::crds::MANAGER;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, ObjectMeta, PostParams};
use kube::{Client, ResourceExt};
use std::time::{Duration, Instant};

const CERTIFICATE: &str = "tls.crt";
const KEY: &str = "tls.key";
const BUNDLE: &str = "ca.crt";
const LABEL: &str = "app.kubernetes.io/managed-by";

/// Time between two looks at a Secret that is waited for.
const POLL: Duration = Duration::from_secs(1);
/// Looks after which it is said again what is waited for.
const LOOKS_PER_LINE: u32 = 5;

fn api(client: &Client, namespace: &str) -> Api<Secret> {
    Api::namespaced(client.clone(), namespace)
}

fn bytes<'a>(secret: &'a Secret, member: &str) -> &'a [u8] {
    secret
        .data
        .as_ref()
        .and_then(|data| data.get(member))
        .map_or(&[], |value| value.0.as_slice())
}

fn is_ours(secret: &Secret) -> bool {
    secret
        .labels()
        .get(LABEL)
        .is_some_and(|value| value == MANAGER)
}

/// A new Secret, or the live one, with other data; what else stands in it stays.
fn with_data(live: Option<Secret>, name: &str, data: &[(&str, &str)]) -> Secret {
    let mut secret = live.unwrap_or_else(|| Secret {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            labels: Some([(LABEL.to_owned(), MANAGER.to_owned())].into()),
            ..ObjectMeta::default()
        },
        type_: Some("kubernetes.io/tls".to_owned()),
        ..Secret::default()
    });
    let members = secret.data.get_or_insert_default();
    for (member, text) in data {
        members.insert((*member).to_owned(), ByteString(text.as_bytes().to_vec()));
    }
    secret
}

/// Creates it, or replaces the one that was read. False when somebody else was faster.
async fn write(api: &Api<Secret>, name: &str, secret: &Secret) -> Result<bool, Error> {
    let parameters = PostParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PostParams::default()
    };
    let is_new = secret.metadata.resource_version.is_none();
    let written = if is_new {
        api.create(&parameters, secret).await
    } else {
        api.replace(name, &parameters, secret).await
    };
    match written {
        Ok(_) => Ok(true),
        // Created by another in between, changed in between, deleted in between.
        Err(kube::Error::Api(status)) if status.code == 409 || (status.code == 404 && !is_new) => {
            Ok(false)
        }
        Err(error) => Err(failed(format!("writing Secret {name}"))(error)),
    }
}

/// What is to be trusted, and the serving certificate's Secret where it must be written.
pub(super) struct Plan {
    pub(super) bundle: Bundle,
    api: Api<Secret>,
    name: String,
    /// None when the live one stays.
    secret: Option<Secret>,
    /// What is said once it is done.
    outcome: String,
}

impl Plan {
    /// Writes the Secret if need be. False when somebody else wrote it in between, and a new plan is needed.
    pub(super) async fn carry_out(self, say: &mut impl FnMut(String)) -> Result<bool, Error> {
        if let Some(secret) = &self.secret
            && !write(&self.api, LEAF_SECRET, secret).await?
        {
            return Ok(false);
        }
        say(format!("Secret {}: {}", self.name, self.outcome));
        Ok(true)
    }
}

/// Looks at both Secrets at `now` (seconds since 1970). The authority is made here if need be, the rest is planned.
pub(super) async fn plan(
    client: &Client,
    namespace: &str,
    names: &[String],
    now: i64,
    say: &mut impl FnMut(String),
) -> Result<Plan, Error> {
    let api = api(client, namespace);
    let name = format!("{namespace}/{LEAF_SECRET}");
    let live = api
        .get_opt(LEAF_SECRET)
        .await
        .map_err(failed(format!("reading Secret {name}")))?;
    let kept = live
        .as_ref()
        .and_then(|live| Bundle::from_pem(bytes(live, BUNDLE)));
    if live.as_ref().is_some_and(|live| !is_ours(live)) {
        return match kept {
            Some(bundle) => Ok(Plan {
                bundle,
                api,
                name,
                secret: None,
                outcome: "kept, it is not made by this service".to_owned(),
            }),
            None => Err(Error::NoAuthority { secret: name }),
        };
    }
    let authority = authority(&api, namespace, now, say).await?;
    // An authority that was replaced stays trusted: its leaf is served until every process has read the new one.
    let own = authority.bundle();
    let bundle = kept
        .as_ref()
        .map_or_else(|| own.clone(), |kept| kept.union(&own, now));

    let flaw = live.as_ref().map(|live| {
        authority.flaw(
            bytes(live, CERTIFICATE),
            bytes(live, KEY),
            names,
            now,
            LEAF_REST,
        )
    });
    let text = bundle.pem();
    let (secret, outcome) = match flaw {
        Some(None) if kept.is_some_and(|kept| kept.contains(&own)) => {
            (None, "unchanged".to_owned())
        }
        Some(None) => (
            Some(with_data(live, LEAF_SECRET, &[(BUNDLE, &text)])),
            "authority added".to_owned(),
        ),
        flaw => {
            let leaf = authority.issue(names, now, LEAF_LIFE)?;
            check(&authority, &leaf, names, now, namespace)?;
            let data = [
                (CERTIFICATE, leaf.certificate.as_str()),
                (KEY, leaf.key.as_str()),
                (BUNDLE, text.as_str()),
            ];
            let outcome = flaw.flatten().map_or_else(
                || "created".to_owned(),
                |flaw| format!("issued again: {flaw}"),
            );
            (Some(with_data(live, LEAF_SECRET, &data)), outcome)
        }
    };
    Ok(Plan {
        bundle,
        api,
        name,
        secret,
        outcome,
    })
}

/// What is not trusted now would be issued again by every run.
fn check(
    authority: &Authority,
    leaf: &Pem,
    names: &[String],
    now: i64,
    namespace: &str,
) -> Result<(), Error> {
    let flaw = authority.flaw(
        leaf.certificate.as_bytes(),
        leaf.key.as_bytes(),
        names,
        now,
        LEAF_REST,
    );
    match flaw {
        None => Ok(()),
        Some(flaw) => Err(Error::Unfit {
            secret: format!("{namespace}/{AUTHORITY_SECRET}"),
            flaw,
        }),
    }
}

/// The authority that is there; else, and if it is ours and no longer fit, a new one.
async fn authority(
    api: &Api<Secret>,
    namespace: &str,
    now: i64,
    say: &mut impl FnMut(String),
) -> Result<Authority, Error> {
    let name = format!("{namespace}/{AUTHORITY_SECRET}");
    for _ in 0..ATTEMPTS {
        let live = api
            .get_opt(AUTHORITY_SECRET)
            .await
            .map_err(failed(format!("reading Secret {name}")))?;
        let read = |secret: &Secret, rest| {
            Authority::read(bytes(secret, CERTIFICATE), bytes(secret, KEY), now, rest)
        };
        let outcome = match &live {
            None => "created".to_owned(),
            // Nobody but its owner can replace it: it serves to its end.
            Some(live) if !is_ours(live) => match read(live, 0) {
                Ok(authority) => {
                    say(format!(
                        "Secret {name}: kept, it is not made by this service"
                    ));
                    return Ok(authority);
                }
                Err(flaw) => return Err(Error::ForeignAuthority { secret: name, flaw }),
            },
            Some(live) => match read(live, AUTHORITY_REST) {
                Ok(authority) => {
                    say(format!("Secret {name}: unchanged"));
                    return Ok(authority);
                }
                Err(flaw) => format!("made again: {flaw}"),
            },
        };
        let made = Authority::make(authority_start(now), now + AUTHORITY_LIFE)?;
        let data = [
            (CERTIFICATE, made.certificate.as_str()),
            (KEY, made.key.as_str()),
        ];
        if write(
            api,
            AUTHORITY_SECRET,
            &with_data(live, AUTHORITY_SECRET, &data),
        )
        .await?
        {
            say(format!("Secret {name}: {outcome}"));
            return read(&with_data(None, AUTHORITY_SECRET, &data), 0)
                .map_err(|flaw| Error::Unfit { secret: name, flaw });
        }
    }
    Err(Error::Contended {
        what: format!("Secret {name}"),
    })
}

/// What stands in `ca.crt` of a Secret, as soon as there is a certificate in it.
pub(super) async fn wait(
    client: &Client,
    namespace: &str,
    name: &str,
    time: Duration,
    mut progress: impl FnMut(String),
) -> Result<Bundle, Error> {
    let api = api(client, namespace);
    let secret = format!("{namespace}/{name}");
    let start = Instant::now();
    let mut looks = 0;
    loop {
        let live = api
            .get_opt(name)
            .await
            .map_err(failed(format!("reading Secret {secret}")))?;
        let detail = match live {
            None => "is not there",
            Some(live) => match Bundle::from_pem(bytes(&live, BUNDLE)) {
                Some(bundle) => return Ok(bundle),
                None if bytes(&live, BUNDLE).is_empty() => "has no ca.crt",
                None => "holds no certificate in its ca.crt",
            },
        };
        let left = time.saturating_sub(start.elapsed());
        if left.is_zero() {
            return Err(Error::NotInTime {
                secret,
                detail,
                seconds: time.as_secs(),
            });
        }
        if looks % LOOKS_PER_LINE == 0 {
            progress(format!("waiting: Secret {secret} {detail}"));
        }
        looks += 1;
        tokio::time::sleep(left.min(POLL)).await;
    }
}
