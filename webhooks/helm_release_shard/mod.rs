//! Labels the HelmReleases of tenants with the Flux shard that is theirs, for whoever makes one without it. Nothing
//! else is changed, and no shard is named that no controller serves; a label that nobody serves is warned of.

mod selector;

use crate::contract::{
    Cluster, Content, Declaration, Edit, FailurePolicy, Fault, FieldPath, Index, Json,
    MatchCondition, Mode, Mutate, Object, Operation, Read, Request, Resource, Rule, Scope, Verdict,
    Webhook, Weight,
};
use crate::kinds::{HELM_RELEASES, NAMESPACES};
use crate::tenants::{self, tenant_of_release};
use selector::Selector;
use serde::Deserialize;
use serde_json::Value;
use std::borrow::Cow;
use std::cell::OnceCell;
use std::collections::BTreeMap;

/// The label by which Flux's controllers share the work.
const SHARD_LABEL: &str = "sharding.fluxcd.io/key";
/// Label of a namespace: the shard that the platform's own operator has chosen for it.
const NAMESPACE_SHARD_LABEL: &str = "internal.cozystack.io/flux-shard";
/// The shard of all tenants for whom no other was chosen.
const DEFAULT_SHARD: &str = "tenants";
/// Where Flux runs.
const FLUX_NAMESPACE: &str = "cozy-fluxcd";
/// Name, and last part of the image, of the containers that reconcile HelmReleases.
const CONTROLLER: &str = "helm-controller";
/// The flag by which a controller is told its shard.
const SELECTOR_FLAG: &str = "--watch-label-selector";
/// Key in the index of what selects by more, or by anything else, than a list of shards. No label has this value.
const ANY_SHARD: &str = "*";
/// Deployments that are asked whether they serve a shard: Flux has at most 16.
const CANDIDATES_MAX: usize = 64;

/// Flux's own Deployments.
static DEPLOYMENTS: Read = Read {
    resource: Resource {
        group: "apps",
        version: "v1",
        plural: "deployments",
        kind: "Deployment",
        namespaced: true,
    },
    content: Content::FullIn(FLUX_NAMESPACE),
    indexes: &[&DEPLOYMENTS_BY_SHARD],
};

/// Deployments by the shards whose HelmReleases they reconcile.
static DEPLOYMENTS_BY_SHARD: Index = Index {
    name: "shard",
    keys: |deployment| {
        let mut keys: Vec<String> = selectors(deployment)
            .flat_map(|selector| match selector.only_values(SHARD_LABEL) {
                Some(values) => values.to_vec(),
                None => vec![ANY_SHARD.to_owned()],
            })
            .collect();
        keys.sort();
        keys.dedup();
        keys
    },
};

/// What the HelmRelease controllers of a Deployment select.
fn selectors(deployment: &Object) -> impl Iterator<Item = Selector> {
    let containers = (deployment.namespace == FLUX_NAMESPACE)
        .then(|| deployment.value.pointer("/spec/template/spec/containers"))
        .flatten()
        .and_then(Value::as_array);
    let text = |value: &Value, member: &str| {
        let text = value.get(member).and_then(Value::as_str);
        text.unwrap_or_default().to_owned()
    };
    containers
        .into_iter()
        .flatten()
        .filter(move |container| {
            let image = text(container, "image");
            let image = image.rsplit('/').next().unwrap_or_default();
            let image = image.split([':', '@']).next().unwrap_or_default();
            text(container, "name") == CONTROLLER || image == CONTROLLER
        })
        .filter_map(|container| Selector::parse(flag(container).unwrap_or_default()))
}

/// The value of the flag, after `=` or as the next argument.
fn flag(container: &Value) -> Option<&str> {
    let list = |member: &str| container.get(member).and_then(Value::as_array);
    let words: Vec<&str> = [list("command"), list("args")]
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let at = words
        .iter()
        .position(|word| word.starts_with(SELECTOR_FLAG))?;
    let rest = words.get(at)?.strip_prefix(SELECTOR_FLAG)?;
    match rest.strip_prefix('=') {
        Some(value) => Some(value),
        None => words.get(at + 1).copied(),
    }
}

/// The folder.
pub static WEBHOOK: Webhook = Webhook {
    declaration: Declaration {
        id: "helm-release-shard",
        summary: "Labels HelmReleases of tenants with their Flux shard, as far as a controller serves it.",
        rules: &[Rule {
            resource: &HELM_RELEASES.resource,
            versions: &["v2", "v2beta2", "v2beta1"],
            operations: &[Operation::Create, Operation::Update],
        }],
        scope: Scope::OutsideOurNamespace,
        names: &[],
        match_conditions: &[MatchCondition {
            name: "of-a-tenant",
            expression: "request.namespace.startsWith('tenant-')",
        }],
        failure_policy: FailurePolicy::Ignore,
        timeout_seconds: 5,
        default_mode: Mode::Enforce,
        weight: Weight::Light,
        reads: &[&NAMESPACES, &DEPLOYMENTS],
        writes: &[],
        settings: &[],
        refusals: &[],
    },
    validate: None,
    mutate: Some(&HelmReleaseShard),
    convert: None,
    companions: None,
};

struct HelmReleaseShard;

/// The labels that matter.
#[derive(Deserialize, Default)]
struct Labels<'a> {
    #[serde(rename = "sharding.fluxcd.io/key", borrow)]
    shard: Option<Cow<'a, str>>,
    #[serde(rename = "apps.cozystack.io/application.kind", borrow)]
    kind: Option<Cow<'a, str>>,
}

impl<'a> Labels<'a> {
    /// Those of a HelmRelease; none when they are not readable.
    fn of(release: Json<'a>) -> Option<Labels<'a>> {
        match release.at(&["metadata", "labels"]) {
            Some(labels) => labels
                .read::<Option<Labels<'_>>>()
                .ok()
                .map(Option::unwrap_or_default),
            None => Some(Labels::default()),
        }
    }
}

impl Mutate for HelmReleaseShard {
    fn mutate(&self, request: &Request<'_>, verdict: &mut Verdict) -> Result<Vec<Edit>, Fault> {
        let Some(object) = request
            .object
            .filter(|_| tenants::is_tenant(request.namespace))
        else {
            return Ok(Vec::new());
        };
        let Some(labels) = Labels::of(object) else {
            return Ok(Vec::new());
        };
        let label = FieldPath::of(&["metadata", "labels"]).key(SHARD_LABEL);
        match labels.shard.as_deref() {
            Some("") => {}
            Some(shard) => {
                if !is_served(shard, object, request.cluster) {
                    verdict.warn(format!(
                        "{SHARD_LABEL}: no controller serves {shard}: nobody will reconcile it, or delete it"
                    ));
                }
                return Ok(Vec::new());
            }
            // One that never had a shard stays with the controller that has reconciled it so far.
            None if request.operation == Operation::Update && !has_lost_it(request) => {
                return Ok(Vec::new());
            }
            None => {}
        }
        // Before the API server has made a name there is none, and the release is no tenant's.
        let kind = labels.kind.as_deref();
        let tenant = tenant_of_release(request.namespace, request.name, kind);
        let namespace = tenants::namespace(request.cluster, &tenant);
        let chosen = namespace
            .as_deref()
            .and_then(|namespace| namespace.label(NAMESPACE_SHARD_LABEL))
            .filter(|shard| !shard.is_empty())
            .unwrap_or(DEFAULT_SHARD);
        if is_served(chosen, object, request.cluster) {
            return Ok(vec![Edit::set(label, chosen)]);
        }
        // An empty label is one, too: the controller of those without a label would leave it alone.
        Ok(vec![Edit::remove(label)])
    }

    fn pointers(&self) -> &'static [&'static str] {
        &["/metadata/labels/sharding.fluxcd.io~1key"]
    }
}

fn has_lost_it(request: &Request<'_>) -> bool {
    let old = request.old_object.and_then(Labels::of);
    let shard = old.and_then(|labels| labels.shard);
    shard.is_some_and(|shard| !shard.is_empty())
}

#[derive(Deserialize)]
struct Labelled {
    metadata: LabelledMetadata,
}

#[derive(Deserialize)]
struct LabelledMetadata {
    labels: Option<BTreeMap<String, String>>,
}

/// Whether some controller reconciles a HelmRelease of that text, once it has that shard.
fn is_served(shard: &str, release: Json<'_>, cluster: &dyn Cluster) -> bool {
    // Few selectors ask for more than the shard.
    let labels = OnceCell::new();
    let others = || {
        let labelled = release.read::<Labelled>().ok();
        labelled.and_then(|labelled| labelled.metadata.labels)
    };
    let label = |key: &str| match key {
        SHARD_LABEL => Some(shard),
        _ => {
            let labels = labels.get_or_init(others).as_ref()?;
            labels.get(key).map(String::as_str)
        }
    };
    let find =
        |key: &str, limit: usize| cluster.find(&DEPLOYMENTS, &DEPLOYMENTS_BY_SHARD, key, limit);
    if find(shard, 1).total > 0 {
        return true;
    }
    find(ANY_SHARD, CANDIDATES_MAX)
        .first
        .iter()
        .any(|deployment| selectors(deployment).any(|selector| selector.selects(label)))
}
