//! Completes the labels of tenants' namespaces: their own, those of all ancestors, modules and host of the parent.
//! Refuses names that no tenant can have, and changes of a tenant's place by users who are not trusted.

use crate::contract::syntax::label_value;
use crate::contract::{
    Declaration, Edit, FailurePolicy, Fault, FieldPath, MatchCondition, Mode, Mutate, Object,
    Operation, Path, Refusal, Request, Rule, Scope, Setting, SettingKind, Validate, Verdict,
    Violation, Webhook, Weight,
};
use crate::kinds::NAMESPACES;
use crate::tenants::{
    self, Ancestors, HOST_LABEL, MODULE_LABEL_PREFIX, PREFIX, ROOT, SYSTEM_LABEL,
    TENANT_LABEL_PREFIX, TRUSTED_GROUPS, TRUSTED_USERS_SETTING, is_trusted, word,
};
use serde_json::Value;
use std::collections::BTreeMap;

/// The modules that a tenant has or shares with its parent.
const MODULES: [&str; 4] = ["etcd", "ingress", "monitoring", "seaweedfs"];
/// Modules of later releases, inherited where the parent has them.
const LATER_MODULES: [&str; 1] = ["gateway"];

/// The folder.
pub static WEBHOOK: Webhook = Webhook {
    declaration: Declaration {
        id: "tenant-namespace",
        summary: "Completes the labels of tenants' namespaces, and keeps tenants in their places.",
        rules: &[Rule {
            resource: &NAMESPACES.resource,
            versions: &["v1"],
            operations: &[Operation::Create, Operation::Update],
        }],
        scope: Scope::OutsideOurNamespace,
        names: &[],
        match_conditions: &[MatchCondition {
            name: "of-a-tenant",
            expression: "(has(object.metadata.name) && object.metadata.name.startsWith('tenant-')) || \
                         (has(object.metadata.generateName) && object.metadata.generateName.startsWith('tenant'))",
        }],
        // A platform that starts makes its tenants' namespaces before anything of ours runs.
        failure_policy: FailurePolicy::Ignore,
        timeout_seconds: 5,
        default_mode: Mode::Enforce,
        weight: Weight::Light,
        reads: &[&NAMESPACES],
        writes: &[],
        settings: &[
            Setting {
                name: TRUSTED_GROUPS,
                kind: SettingKind::Names {
                    default: &[
                        "system:masters",
                        "system:serviceaccounts:cozy-system",
                        "system:serviceaccounts:cozy-cert-manager",
                        "system:serviceaccounts:cozy-fluxcd",
                        "system:serviceaccounts:kube-system",
                    ],
                },
                summary: "Groups whose members may move tenants: change host, modules, ancestors and owners.",
            },
            TRUSTED_USERS_SETTING,
        ],
        refusals: &[&REFUSALS],
    },
    validate: Some(&TenantNamespace),
    mutate: Some(&TenantNamespace),
    convert: None,
    companions: None,
};

static REFUSALS: [Refusal; 5] = [
    Refusal {
        field: "metadata.name",
        says: "must be tenant-<word>",
        fix: "Choose another name: what the platform makes of names of tenants has no other form.",
    },
    Refusal {
        field: "metadata.name",
        says: "may not be more than",
        fix: "Choose shorter names on the way from the root: the namespace of a tenant is named after all of them.",
    },
    Refusal {
        field: "metadata.labels[namespace.cozystack.io/host]",
        says: "must be",
        fix: "Give the tenant a shorter host: the platform keeps it in a label.",
    },
    Refusal {
        field: "metadata.labels",
        says: "may be changed by trusted users only",
        fix: "Leave the label as it is, change the Tenant application instead, or have yourself added to the trusted groups or users of docs/settings.md.",
    },
    Refusal {
        field: "metadata.ownerReferences",
        says: "may be changed by trusted users only",
        fix: "Leave the owner references as they are: they say whose child the tenant is.",
    },
];

struct TenantNamespace;

/// What the labels of a tenant's namespace should be, where there are none; and why not all of that is known.
fn wanted(tenant: &str, object: &Object, request: &Request<'_>) -> (Labels, Vec<String>) {
    let mut labels = Labels::new();
    let mut doubts = Vec::new();
    let ancestors = Ancestors::of(tenant, Some(object), request.cluster);
    for name in std::iter::once(tenant).chain(ancestors.names.iter().map(String::as_str)) {
        labels.insert(format!("{TENANT_LABEL_PREFIX}{name}"), String::new());
    }
    if let Some(trouble) = &ancestors.trouble {
        doubts.push(format!("{trouble}: labels beyond it are unknown"));
    }
    for module in MODULES.into_iter().chain(LATER_MODULES) {
        let key = format!("{MODULE_LABEL_PREFIX}{module}");
        let inherited = inherited(&ancestors, &key, request).or_else(|| {
            // The root has all modules, whether its namespace says so or not.
            let has_root = ancestors.has(ROOT) && MODULES.contains(&module);
            has_root.then(|| ROOT.to_owned())
        });
        if let Some(value) = inherited {
            labels.insert(key, value);
        }
    }
    if let Some(host) = inherited_host(tenant, &ancestors, request) {
        match label_value(&host) {
            None => {
                labels.insert(HOST_LABEL.to_owned(), host);
            }
            Some(_) => doubts.push(format!(
                "{host} does not fit in the label of the host: give the tenant a host of its own"
            )),
        }
    }
    (labels, doubts)
}

type Labels = BTreeMap<String, String>;

/// The nearest ancestor's value of a label.
fn inherited(ancestors: &Ancestors, key: &str, request: &Request<'_>) -> Option<String> {
    ancestors.names.iter().find_map(|name| {
        let namespace = tenants::namespace(request.cluster, name)?;
        let value = namespace.label(key)?;
        (!value.is_empty()).then(|| value.to_owned())
    })
}

/// The host that the chart would compute: the tenant's own word before the parent's host, nothing where that has none.
fn inherited_host(tenant: &str, ancestors: &Ancestors, request: &Request<'_>) -> Option<String> {
    let parent = tenants::namespace(request.cluster, ancestors.names.first()?)?;
    match parent.label(HOST_LABEL)? {
        "" => Some(String::new()),
        host => Some(format!("{}.{host}", word(tenant))),
    }
}

impl Mutate for TenantNamespace {
    fn mutate(&self, request: &Request<'_>, verdict: &mut Verdict) -> Result<Vec<Edit>, Fault> {
        let Some(object) = request.object.and_then(tenants::object) else {
            return Ok(Vec::new());
        };
        if !tenants::is_tenant(&object.name) {
            return Ok(Vec::new());
        }
        let (labels, doubts) = wanted(&object.name, &object, request);
        for doubt in doubts {
            verdict.warn(doubt);
        }
        Ok(labels
            .into_iter()
            .filter(|(key, _)| object.label(key).is_none())
            .map(|(key, value)| {
                let path = FieldPath::of(&["metadata", "labels"]).key(&key);
                Edit::set(path, value)
            })
            .collect())
    }

    fn pointers(&self) -> &'static [&'static str] {
        &["/metadata/labels"]
    }

    /// Nothing: whoever writes the namespace again writes the same again.
    fn ignored(&self) -> &'static [&'static str] {
        &[]
    }
}

impl Validate for TenantNamespace {
    fn validate(&self, request: &Request<'_>, verdict: &mut Verdict) -> Result<(), Fault> {
        let Some(object) = request.object.and_then(tenants::object) else {
            return Ok(());
        };
        if !object.name.starts_with(PREFIX) {
            return Ok(());
        }
        if request.operation == Operation::Create {
            check_name(&object.name, verdict);
            check_host(&object, verdict);
            if !is_trusted(request) {
                check_system(&object, verdict);
            }
        }
        let old = request.old_object.and_then(tenants::object);
        if let Some(old) = old
            && request.operation == Operation::Update
            && !is_trusted(request)
        {
            check_place(&old, &object, request, verdict);
        }
        Ok(())
    }
}

fn check_name(name: &str, verdict: &mut Verdict) {
    let metadata = Path::ROOT.member("metadata");
    let path = metadata.member("name");
    let is_word = |word: &str| {
        word.bytes()
            .next()
            .is_some_and(|byte| byte.is_ascii_lowercase())
            && word
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    };
    let words = name.strip_prefix(PREFIX).unwrap_or_default();
    if !words.split('-').all(is_word) {
        verdict.refuse(Violation::invalid(
            &path,
            name,
            "must be tenant-<word>, -<word> again for each level below; a word is lower-case letters and digits and \
             starts with a letter",
        ));
    }
    if name.len() > crate::contract::syntax::DNS_LABEL_MAX_BYTES {
        verdict.refuse(Violation::too_long(
            &path,
            name,
            crate::contract::syntax::DNS_LABEL_MAX_BYTES,
            "bytes",
        ));
    }
}

fn check_host(object: &Object, verdict: &mut Verdict) {
    let metadata = Path::ROOT.member("metadata");
    let labels = metadata.member("labels");
    if let Some(host) = object.label(HOST_LABEL)
        && let Some(why) = label_value(host)
    {
        verdict.refuse(Violation::invalid(&labels.key(HOST_LABEL), host, why));
    }
}

/// Refuses a tenant that passes for the platform: policies about the platform's own namespaces are not judged.
fn check_system(object: &Object, verdict: &mut Verdict) {
    let metadata = Path::ROOT.member("metadata");
    let labels = metadata.member("labels");
    if let Some(value) = object.label(SYSTEM_LABEL) {
        let detail =
            "it marks the platform's own namespaces, and may be changed by trusted users only";
        verdict.refuse(Violation::invalid(&labels.key(SYSTEM_LABEL), value, detail));
    }
}

/// Whether a label says where a tenant stands.
fn is_of_its_place(key: &str) -> bool {
    key == HOST_LABEL
        || key == SYSTEM_LABEL
        || key.starts_with(TENANT_LABEL_PREFIX)
        || key
            .strip_prefix(MODULE_LABEL_PREFIX)
            .is_some_and(|module| MODULES.contains(&module) || LATER_MODULES.contains(&module))
}

/// Refuses other labels and owners than before. What was missing may be completed, by us or by the writer.
fn check_place(old: &Object, new: &Object, request: &Request<'_>, verdict: &mut Verdict) {
    let metadata = Path::ROOT.member("metadata");
    let labels = metadata.member("labels");
    // By what was there before: who writes a label must not be the one who says that it belongs there.
    let (completed, _) = wanted(&old.name, old, request);
    let (before, after) = (old.labels(), new.labels());
    let mut keys: Vec<&String> = before.keys().chain(after.keys()).collect();
    keys.sort();
    keys.dedup();
    for key in keys.into_iter().filter(|key| is_of_its_place(key)) {
        let (was, is) = (before.get(key), after.get(key));
        if was == is || (was.is_none() && is == completed.get(key)) {
            continue;
        }
        let found = is.map_or(Value::Null, |value| value.as_str().into());
        let was = was.map_or("it was not there".to_owned(), |was| {
            format!("it was {was:?}")
        });
        let detail = format!("{was}, and may be changed by trusted users only");
        verdict.refuse(Violation::invalid(&labels.key(key), found, detail));
    }
    let owners = |object: &Object| {
        let owners = object.value.pointer("/metadata/ownerReferences").cloned();
        owners.filter(|owners| owners.as_array().is_none_or(|list| !list.is_empty()))
    };
    let (was, is) = (owners(old), owners(new));
    if was != is {
        verdict.refuse(Violation::invalid(
            &metadata.member("ownerReferences"),
            is.unwrap_or_default(),
            "they say whose child the tenant is, and may be changed by trusted users only",
        ));
    }
}
