//! Completes the egress policy of each tenant, so that its pods reach the ingress of every ancestor and the etcd and
//! vminsert that its namespace names, and brings what a policy that is there already lacks. Refuses policies by which
//! pods of a tenant would reach pods of a stranger.

mod chart;
mod needs;
mod policy;
mod reach;
#[cfg(test)]
mod tests;

use crate::contract::companions::{BY_PARENT, PARENT_ANNOTATION, parent_key};
use crate::contract::{
    Cluster, Companions, Concerned, Content, Declaration, Desired, Edit, FailurePolicy, Farewell,
    Fault, FieldPath, MatchCondition, Mode, Mutate, Object, Operation, Read, Refusal, Request,
    Resource, Rule, Scope, Setting, SettingKind, Validate, Verdict, Violation, Webhook, Weight,
    World,
};
use crate::kinds::NAMESPACES;
use crate::tenants::{
    self, Ancestors, ROOT, TRUSTED_GROUPS, TRUSTED_USERS_SETTING, Trouble, is_tenant, is_trusted,
    release,
};
use serde_json::{Value, json};
use std::time::Duration;

/// Annotation of a tenant's egress policy: what was added to it, as `<tenant>/<pods>`, separated by commas.
pub const ADDED_ANNOTATION: &str = "webhook.cozystack.io/egress-added";
/// Name of the companion in a tenant's namespace.
const COMPANION: &str = "cozystack-webhook-parents";
/// What the name of a tenant's egress policy has behind the tenant's.
const EGRESS_SUFFIX: &str = "-egress";
/// Setting: whether service accounts are refused what users are refused.
const ENFORCE_SERVICE_ACCOUNTS: &str = "enforce-service-accounts";
/// Setting: whether tenants that no HelmRelease has made get the chart's policies.
const HAND_MADE: &str = "hand-made";

/// Cilium's policies of all namespaces.
static CLUSTERWIDE_POLICIES: Read = Read {
    resource: Resource {
        group: "cilium.io",
        version: "v2",
        plural: "ciliumclusterwidenetworkpolicies",
        kind: "CiliumClusterwideNetworkPolicy",
        namespaced: false,
    },
    content: Content::Packed,
    indexes: &[&BY_PARENT],
};

/// Cilium's policies of one namespace.
static POLICIES: Read = Read {
    resource: Resource {
        group: "cilium.io",
        version: "v2",
        plural: "ciliumnetworkpolicies",
        kind: "CiliumNetworkPolicy",
        namespaced: true,
    },
    content: Content::PackedMetadata,
    indexes: &[&BY_PARENT],
};

/// Kubernetes' own policies.
static NETWORK_POLICIES: Resource = Resource {
    group: "networking.k8s.io",
    version: "v1",
    plural: "networkpolicies",
    kind: "NetworkPolicy",
    namespaced: true,
};

/// When a tenant is looked at again whose ancestors are not all known.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

const WRITES: &[Operation] = &[Operation::Create, Operation::Update];

/// The folder.
pub static WEBHOOK: Webhook = Webhook {
    declaration: Declaration {
        id: "tenant-egress",
        summary: "Lets tenants reach what their ancestors share, and refuses policies that reach strangers.",
        rules: &[
            Rule {
                resource: &CLUSTERWIDE_POLICIES.resource,
                versions: &["v2"],
                operations: WRITES,
            },
            Rule {
                resource: &POLICIES.resource,
                versions: &["v2"],
                operations: WRITES,
            },
            Rule {
                resource: &NETWORK_POLICIES,
                versions: &["v1"],
                operations: WRITES,
            },
        ],
        scope: Scope::OutsideOurNamespace,
        names: &[],
        match_conditions: &[MatchCondition {
            name: "of-a-tenant-or-of-all",
            expression: "!has(request.namespace) || request.namespace == '' || request.namespace.startsWith('tenant-')",
        }],
        // It protects tenants from each other: while nobody judges, nobody gets in.
        failure_policy: FailurePolicy::Fail,
        timeout_seconds: 5,
        default_mode: Mode::Enforce,
        weight: Weight::Light,
        reads: &[&NAMESPACES, &CLUSTERWIDE_POLICIES],
        writes: &[&POLICIES, &CLUSTERWIDE_POLICIES],
        settings: &[
            Setting {
                name: ENFORCE_SERVICE_ACCOUNTS,
                kind: SettingKind::Flag { default: false },
                summary: "Whether service accounts, Flux among them, are refused what users are refused; else they are warned.",
            },
            Setting {
                name: HAND_MADE,
                kind: SettingKind::Flag { default: false },
                summary: "Whether tenants' namespaces that no Tenant HelmRelease has made get the policies of the platform's chart.",
            },
            Setting {
                name: TRUSTED_GROUPS,
                kind: SettingKind::Names {
                    // Not Flux: everybody's charts come by its hand, so who asks says nothing of who wrote.
                    default: &[
                        "system:masters",
                        "system:serviceaccounts:cozy-system",
                        "system:serviceaccounts:cozy-cert-manager",
                        "system:serviceaccounts:kube-system",
                    ],
                },
                summary: "Groups whose members may let tenants reach strangers.",
            },
            TRUSTED_USERS_SETTING,
        ],
        refusals: &[&REFUSALS],
    },
    validate: Some(&TenantEgress),
    mutate: Some(&TenantEgress),
    convert: None,
    companions: Some(&TenantEgress),
};

const fn refusal(says: &'static str, fix: &'static str) -> Refusal {
    Refusal {
        field: "spec",
        says,
        fix,
    }
}

static REFUSALS: [Refusal; 9] = [
    refusal(
        "stranger",
        "Name namespaces of the tenant itself, of its descendants, or none of a tenant.",
    ),
    refusal(
        "reaches all pods of",
        "Add the label of the pods that are shared, such as cozystack.io/service: ingress, to the selector.",
    ),
    refusal(
        "reaches pods of all descendants of",
        "Name the tenant itself in the key: tenant.cozystack.io/<tenant>.",
    ),
    refusal(
        "must name the namespace",
        "Add k8s:io.kubernetes.pod.namespace (in a NetworkPolicy kubernetes.io/metadata.name) with the names of namespaces.",
    ),
    refusal(
        "has a reserved: key",
        "Name host, world and the like under toEntities.",
    ),
    refusal(
        "reaches pods of any tenant",
        "Take the entity out, or name pods under toEndpoints: cluster and all have everybody's.",
    ),
    refusal(
        "names no destination",
        "Say to whom the ports are opened: toEndpoints, toEntities or toCIDR, in a NetworkPolicy to.",
    ),
    refusal("names no namespace", "Name the namespace of the Service."),
    refusal(
        "is not readable",
        "Write matchLabels and matchExpressions with In, NotIn, Exists or DoesNotExist, and each key in one form: <key>, k8s:<key> or any:<key>.",
    ),
];

struct TenantEgress;

impl Mutate for TenantEgress {
    fn completes(&self, resource: &Resource) -> bool {
        *resource == CLUSTERWIDE_POLICIES.resource
    }

    fn mutate(&self, request: &Request<'_>, verdict: &mut Verdict) -> Result<Vec<Edit>, Fault> {
        let Some(object) = request.object.and_then(tenants::object) else {
            return Ok(Vec::new());
        };
        let Some(tenant) = object.name.strip_suffix(EGRESS_SUFFIX) else {
            return Ok(Vec::new());
        };
        if !is_tenant(tenant) {
            return Ok(Vec::new());
        }
        let cluster = request.cluster;
        let namespace = tenants::namespace(cluster, tenant);
        let needs = needs::needs(tenant, namespace.as_deref(), cluster);
        if let Some(denied) = needs::denied(tenant, &needs, &object.value, cluster) {
            verdict.warn(format!(
                "its egressDeny may deny {denied}: nothing is added"
            ));
            return Ok(Vec::new());
        }
        let missing = needs::missing(tenant, needs, &object.value, cluster);
        if missing.is_empty() {
            return Ok(Vec::new());
        }
        let Some(home) = needs::home(tenant, &object.value, cluster) else {
            verdict.warn(format!(
                "it has no egress for all pods of {tenant}: nothing is added"
            ));
            return Ok(Vec::new());
        };
        let mut edits: Vec<Edit> = needs::rules(&missing)
            .into_iter()
            .map(|rule| Edit::append(home.clone(), rule))
            .collect();
        let before = object.text(&["metadata", "annotations", ADDED_ANNOTATION]);
        let mut added: Vec<String> = before
            .into_iter()
            .flat_map(|text| text.split(','))
            .filter(|need| !need.is_empty())
            .map(ToOwned::to_owned)
            .collect();
        for need in missing {
            let need = need.to_string();
            if !added.contains(&need) {
                added.push(need);
            }
        }
        let annotation = FieldPath::of(&["metadata", "annotations"]).key(ADDED_ANNOTATION);
        edits.push(Edit::set(annotation, added.join(",")));
        Ok(edits)
    }

    fn pointers(&self) -> &'static [&'static str] {
        &[
            "/metadata/annotations/webhook.cozystack.io~1egress-added",
            "/spec/egress",
            "/specs",
        ]
    }

    /// Nothing: whoever writes the policy again writes the same again, and a change by others must be seen.
    fn ignored(&self) -> &'static [&'static str] {
        &[]
    }
}

impl Validate for TenantEgress {
    fn validate(&self, request: &Request<'_>, verdict: &mut Verdict) -> Result<(), Fault> {
        let is_clusterwide = request.kind == CLUSTERWIDE_POLICIES.resource.kind;
        let Some(object) = request.object else {
            return Ok(());
        };
        if !(is_clusterwide || is_tenant(request.namespace)) || is_trusted(request) {
            return Ok(());
        }
        let policy: Value = match object.read() {
            Ok(policy) => policy,
            Err(error) => {
                verdict.refuse(Violation::policy(format!(
                    "the object is not readable: {error}"
                )));
                return Ok(());
            }
        };
        let violations = if request.kind == NETWORK_POLICIES.kind {
            reach::of_network_policy(&policy, request)?
        } else {
            reach::of_cilium(&policy, request)?
        };
        let only_warns =
            request.user().is_service_account() && !request.settings.flag(ENFORCE_SERVICE_ACCOUNTS);
        for violation in violations {
            if only_warns {
                verdict.warn(format!("{}: {}", violation.field, violation.detail));
            } else {
                verdict.refuse(violation);
            }
        }
        Ok(())
    }
}

impl Companions for TenantEgress {
    fn parents(&self) -> &'static Read {
        &NAMESPACES
    }

    fn reads(&self) -> &'static [&'static Read] {
        const READS: &[&Read] = &[&CLUSTERWIDE_POLICIES];
        READS
    }

    /// Of all clusterwide policies only a tenant's own for egress matters, and only to that tenant.
    fn concerned(&self, _: &Resource, policy: &Object, _: &dyn Cluster) -> Concerned {
        let tenant = policy.name.strip_suffix(EGRESS_SUFFIX);
        let tenant = tenant.filter(|tenant| is_tenant(tenant));
        Concerned::These(
            tenant
                .map(|tenant| (String::new(), tenant.to_owned()))
                .into_iter()
                .collect(),
        )
    }

    fn farewell(&self) -> Farewell {
        Farewell::Delete
    }

    fn companions(&self, parent: &Object, world: &World<'_>) -> Result<Option<Desired>, Fault> {
        let tenant = parent.name.as_str();
        let mut desired = Desired::default();
        if !is_tenant(tenant) {
            return Ok(Some(desired));
        }
        let ancestors = Ancestors::of(tenant, Some(parent), world.cluster);
        // A parent that is not there yet may come. A chain that has another trouble stays as it is until somebody
        // changes it.
        let may_come = matches!(ancestors.trouble, Some(Trouble::Missing(_)));
        desired.requeue_after = may_come.then_some(LOOK_AGAIN);
        let needs = || needs::needs(tenant, Some(parent), world.cluster);
        let name = format!("{tenant}{EGRESS_SUFFIX}");
        let key = parent_key(WEBHOOK.declaration.id, "", tenant);
        let policy = world.cluster.get(&CLUSTERWIDE_POLICIES, "", &name);
        let others = policy.filter(|policy| {
            policy.text(&["metadata", "annotations", PARENT_ANNOTATION]) != Some(&key)
        });
        if let Some(policy) = others {
            let policy = policy.to_value();
            let needs = needs();
            // Without rules for all of its pods the tenant is not isolated by this policy, and a rule of ours would
            // isolate it.
            let is_isolated = needs::home(tenant, &policy, world.cluster).is_some();
            let is_denied = needs::denied(tenant, &needs, &policy, world.cluster).is_some();
            let missing = needs::missing(tenant, needs, &policy, world.cluster);
            if is_isolated && !is_denied && !missing.is_empty() {
                desired.children.push(companion(tenant, &missing));
            }
        }
        if world.settings.flag(HAND_MADE) && !is_made_by_release(parent) {
            desired
                .children
                .extend(chart::policies(tenant, parent, &needs(), world.cluster));
        }
        Ok(Some(desired))
    }
}

/// The policy that brings what another lacks. It allows and denies nothing, whatever becomes of the other.
fn companion(tenant: &str, missing: &[needs::Need]) -> Value {
    json!({
        "apiVersion": POLICIES.resource.api_version(),
        "kind": POLICIES.resource.kind,
        "metadata": {"name": COMPANION, "namespace": tenant},
        "spec": {
            "endpointSelector": {},
            "enableDefaultDeny": {"egress": false},
            "egress": needs::rules(missing),
        },
    })
}

/// Whether the namespace is of the release that makes the tenant, as Helm marks it. The root's comes with the platform.
fn is_made_by_release(namespace: &Object) -> bool {
    let mark = |name: &str| namespace.text(&["metadata", "annotations", name]);
    let (parent, name) = release(&namespace.name);
    let made_by = mark("meta.helm.sh/release-name");
    let made_in = mark("meta.helm.sh/release-namespace");
    if namespace.name == ROOT {
        return made_by.is_some();
    }
    made_by == Some(name.as_str()) && made_in == Some(parent)
}
