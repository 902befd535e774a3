//! HelmReleases of tenants and of the platform: the new platform's API finds an application by three labels that
//! v0.39 did not write, and three releases of the platform have another name there.

mod definitions;

use super::upstream::{POSTGRES_PREFIX, WRONG_POSTGRES_KIND};
use super::{Change, Finding, Plan, Reference, Snapshot, Step, Weight};
use crate::contract::FieldPath;
use crate::cozystack_resource_definition::catalogue::{ARTIFACT_NAMESPACE, EXTERNAL_ARTIFACT};
use crate::kinds::{
    APPLICATION_GROUP, APPLICATION_GROUP_LABEL, APPLICATION_KIND_LABEL, APPLICATION_NAME_LABEL,
    HELM_RELEASES, UI_LABEL,
};
use crate::tenants::{ROOT, is_tenant};
use definitions::{Chart, Definitions, Identity};
use serde_json::{Map, Value, json};

/// The Secret from which the new platform's charts read what the cluster and the tenant are.
const VALUES_SECRET: &str = "cozystack-values";
/// Its key, and what Flux reads when none is named.
const VALUES_KEY: &str = "values.yaml";
/// API group of what Flux makes charts from.
const SOURCE_GROUP: &str = "source.toolkit.fluxcd.io";

/// The kind of `postgres-*` in the API.
const POSTGRES_KIND: &str = "Postgres";

/// Namespaces of the platform begin so.
const PLATFORM_PREFIX: &str = "cozy-";
/// Releases of the platform that have another name in the new one, and the name that their Helm release keeps: there
/// the HelmRelease is called like it.
const RENAMED: [(&str, &str); 3] = [
    ("cozy-proxy", "cozystack"),
    ("hetzner-robotlb", "robotlb"),
    ("telepresence", "traffic-manager"),
];

/// Fields of a chart template that a chartRef makes meaningless: the artifact is always the newest.
const DROPPED_WITH_CHART: [&str; 5] = [
    "chart",
    "interval",
    "reconcileStrategy",
    "sourceRef",
    "version",
];
/// Versions of a chart that stand for the newest.
const NEWEST: [&str; 4] = ["", "*", ">= 0.0.0-0", ">=0.0.0-0"];

/// What becomes of the releases of a cluster. `chart_refs`: whether tenants' releases get the new form of chart
/// reference too.
#[must_use]
pub fn plan(snapshot: &Snapshot, chart_refs: bool) -> Plan {
    let mut plan = Plan::default();
    let definitions = Definitions::of(snapshot, &mut plan.findings);
    let kind = &HELM_RELEASES.resource;
    for release in snapshot.all(kind.group, kind.kind) {
        if is_tenant(text(release, "/metadata/namespace").unwrap_or_default()) {
            Application { release, snapshot }.plan(&definitions, chart_refs, &mut plan);
        }
    }
    for release in snapshot.all(kind.group, kind.kind) {
        suspend(release, &mut plan);
    }
    plan
}

fn text<'v>(value: &'v Value, pointer: &str) -> Option<&'v str> {
    value.pointer(pointer).and_then(Value::as_str)
}

fn finding(weight: Weight, about: &Value, field: &FieldPath, text: String) -> Finding {
    Finding {
        weight,
        about: Reference::to(about),
        field: field.to_string(),
        text,
    }
}

/// A HelmRelease of a tenant.
struct Application<'s> {
    release: &'s Value,
    snapshot: &'s Snapshot,
}

impl<'s> Application<'s> {
    fn plan(&self, definitions: &Definitions, chart_refs: bool, plan: &mut Plan) {
        let identity = match definitions.identify(self.release) {
            Ok(identity) => identity,
            Err(why) => {
                plan.findings.push(self.unknown(&why, definitions));
                return;
            }
        };
        let mut after = self.release.clone();
        let mut reasons = Vec::new();
        // Where somebody has labelled it as another application, nothing else is done to it either.
        let Some(labels) = self.labels(identity, &mut reasons, &mut plan.findings) else {
            return;
        };
        if !labels.is_empty()
            && let Some(metadata) = after.get_mut("metadata").and_then(Value::as_object_mut)
        {
            let mut all = members(metadata.get("labels")).cloned().unwrap_or_default();
            all.extend(labels);
            metadata.insert("labels".to_owned(), all.into());
        }
        if chart_refs
            && let Some(artifact) = self.artifact(&mut plan.findings)
            && let Some(spec) = after.get_mut("spec").and_then(Value::as_object_mut)
        {
            reasons.push(format!(
                "its chart is {EXTERNAL_ARTIFACT} {ARTIFACT_NAMESPACE}/{artifact} on the new platform, which reads Secret {VALUES_SECRET}"
            ));
            refer(spec, &artifact);
        }
        if !reasons.is_empty() {
            plan.changes.push(Change {
                step: Step::Releases,
                before: Some(self.release.clone()),
                after,
                why: reasons.join("; "),
            });
        }
    }

    fn unknown(&self, why: &str, definitions: &Definitions) -> Finding {
        let labels = members(self.release.pointer("/metadata/labels"));
        let label = |key| labels.and_then(|labels| labels.get(key)?.as_str());
        let (weight, outcome) = match (label(APPLICATION_KIND_LABEL), label(APPLICATION_NAME_LABEL)) {
            // Somebody has decided already.
            (Some(kind), Some(name))
                if label(APPLICATION_GROUP_LABEL) == Some(APPLICATION_GROUP)
                    && definitions.allow(
                        Identity { kind, name },
                        text(self.release, "/metadata/name").unwrap_or_default(),
                    ) =>
            {
                (
                    Weight::Note,
                    format!("its labels say {kind} {name}, and stay"),
                )
            }
            _ if label(UI_LABEL) == Some("true") => (
                Weight::Decision,
                "it gets no labels, and without the right ones the new platform's API does not show it: add or mend the definition, or label it by hand".to_owned(),
            ),
            _ => (Weight::Note, "it gets no labels".to_owned()),
        };
        finding(
            weight,
            self.release,
            &FieldPath::of(&["metadata", "labels"]),
            format!("{why}: {outcome}"),
        )
    }

    /// The labels to write, and why. None when those that are there say something else.
    fn labels(
        &self,
        identity: Identity<'_>,
        reasons: &mut Vec<String>,
        findings: &mut Vec<Finding>,
    ) -> Option<Map<String, Value>> {
        let release = self.release;
        let at = FieldPath::of(&["metadata", "labels"]);
        let labels = release.pointer("/metadata/labels");
        let nothing = Map::new();
        let found = match labels {
            None | Some(Value::Null) => &nothing,
            Some(Value::Object(found)) => found,
            Some(other) => {
                let text = format!("{other} is found where labels should be: it is left alone");
                findings.push(finding(Weight::Decision, release, &at, text));
                return None;
            }
        };
        let release_name = text(release, "/metadata/name").unwrap_or_default();
        // What upstream's file 22 writes for every release of that name, whatever it is.
        let name_of_job = release_name.strip_prefix(POSTGRES_PREFIX);
        let is_of_job = found.get(APPLICATION_KIND_LABEL).and_then(Value::as_str)
            == Some(WRONG_POSTGRES_KIND)
            && (name_of_job.is_some() || identity.kind == POSTGRES_KIND);
        let wanted = [
            (APPLICATION_KIND_LABEL, identity.kind),
            (APPLICATION_GROUP_LABEL, APPLICATION_GROUP),
            (APPLICATION_NAME_LABEL, identity.name),
        ];
        let (mut missing, mut repaired) = (Vec::new(), Vec::new());
        let mut is_clear = true;
        for (key, value) in wanted {
            let mut say = |weight, text| {
                findings.push(finding(weight, release, &at.clone().key(key), text));
            };
            if !is_label_value(value) {
                is_clear = false;
                say(
                    Weight::Decision,
                    format!(
                        "it would have to be {value:?}, which no label can be (at most 63 letters, digits, '-', '_' and '.', the first and last a letter or digit): it is left alone, and the new platform's API does not show it"
                    ),
                );
                continue;
            }
            let Some(current) = found.get(key) else {
                missing.push((key, value));
                continue;
            };
            let shown = current.as_str();
            if shown == Some(value) {
                continue;
            }
            let is_of_root = key == APPLICATION_NAME_LABEL
                && shown == Some(ROOT)
                && release_name == ROOT
                && text(release, "/metadata/namespace") == Some(ROOT);
            let is_job_s_word = is_of_job
                && match key {
                    APPLICATION_KIND_LABEL => true,
                    APPLICATION_NAME_LABEL => shown == name_of_job,
                    _ => false,
                };
            if is_job_s_word {
                repaired.push((key, value));
            } else if is_of_root {
                say(
                    Weight::Note,
                    format!(
                        "the platform's own chart calls the first tenant {ROOT} here and would do so again, although its API calls it {value}: it is left alone"
                    ),
                );
            } else {
                is_clear = false;
                say(
                    Weight::Decision,
                    format!(
                        "it is {current}, but by the definitions the release is {} {}, so {value} would be right: none of its labels is changed",
                        identity.kind, identity.name
                    ),
                );
            }
        }
        if !is_clear {
            return None;
        }
        if !missing.is_empty() {
            reasons.push(format!(
                "the new platform's API finds {} {} by labels that it lacks",
                identity.kind, identity.name
            ));
        }
        if !repaired.is_empty() {
            reasons.push(format!(
                "upstream's migration has labelled it as {WRONG_POSTGRES_KIND}: by its definition it is {} {}",
                identity.kind, identity.name
            ));
        }
        let labels = missing.into_iter().chain(repaired);
        Some(
            labels
                .map(|(key, value)| (key.to_owned(), value.into()))
                .collect(),
        )
    }

    /// The artifact that takes the place of the release's chart, if it can do so now. Says what is missing otherwise.
    fn artifact(&self, findings: &mut Vec<Finding>) -> Option<String> {
        let release = self.release;
        let template = release
            .pointer("/spec/chart")
            .filter(|chart| !chart.is_null())?;
        let chart = Chart::of_release(release)?;
        let at = FieldPath::of(&["spec", "chart"]);
        let Some(artifact) = chart.artifact(self.snapshot) else {
            findings.push(finding(
                Weight::Note,
                release,
                &at,
                format!("no package replaces {chart}: it is left as it is"),
            ));
            return None;
        };
        if let Some(why) = self.lossy(template) {
            findings.push(finding(
                Weight::Decision,
                release,
                &at,
                format!("{why}: it is left as it is"),
            ));
            return None;
        }
        let missing = self.missing(&artifact);
        if !missing.is_empty() {
            findings.push(finding(
                Weight::Pending,
                release,
                &at,
                format!(
                    "it becomes a reference to {EXTERNAL_ARTIFACT} {ARTIFACT_NAMESPACE}/{artifact} once {}",
                    missing.join(" and ")
                ),
            ));
            return None;
        }
        let others = self
            .values_from()
            .iter()
            .filter(|entry| !is_of_platform(entry))
            .count();
        if others > 0 {
            findings.push(finding(
                Weight::Decision,
                release,
                &FieldPath::of(&["spec", "valuesFrom"]),
                format!(
                    "{others} of its entries name something other than Secret {VALUES_SECRET}: they stay, but the new platform's controller keeps that Secret alone, so move their values into spec.values"
                ),
            ));
        }
        Some(artifact)
    }

    fn values_from(&self) -> &'s [Value] {
        let entries = self.release.pointer("/spec/valuesFrom");
        entries.and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }

    /// What a reference in place of the chart would lose.
    fn lossy(&self, template: &Value) -> Option<String> {
        let spec = self.release.get("spec")?;
        if spec.get("chartRef").is_some_and(|found| !found.is_null()) {
            return Some("the release has both spec.chart and spec.chartRef".to_owned());
        }
        if spec
            .get("valuesFrom")
            .is_some_and(|found| !found.is_null() && !found.is_array())
        {
            return Some("spec.valuesFrom is no list".to_owned());
        }
        let version = text(template, "/spec/version").unwrap_or_default();
        if !NEWEST.contains(&version) {
            return Some(format!(
                "it asks for version {version}, and a reference has none: the release would be upgraded"
            ));
        }
        let of_template = members(Some(template))
            .into_iter()
            .flat_map(Map::keys)
            .filter(|key| *key != "spec");
        let of_spec = members(template.get("spec"))
            .into_iter()
            .flat_map(Map::keys)
            .filter(|key| !DROPPED_WITH_CHART.contains(&key.as_str()));
        let lost: Vec<&str> = of_template.chain(of_spec).map(String::as_str).collect();
        (!lost.is_empty()).then(|| format!("a reference has no place for {}", lost.join(", ")))
    }

    /// What has to be there before the chart is replaced.
    fn missing(&self, artifact: &str) -> Vec<String> {
        let mut missing = Vec::new();
        let place = format!("{EXTERNAL_ARTIFACT} {ARTIFACT_NAMESPACE}/{artifact}");
        match self.snapshot.get(
            SOURCE_GROUP,
            EXTERNAL_ARTIFACT,
            ARTIFACT_NAMESPACE,
            artifact,
        ) {
            None => missing.push(format!("{place} exists")),
            Some(found) if !is_ready(found) => missing.push(format!("{place} is Ready")),
            Some(_) => {}
        }
        let namespace = text(self.release, "/metadata/namespace").unwrap_or_default();
        if self
            .snapshot
            .get("", "Secret", namespace, VALUES_SECRET)
            .is_none()
        {
            missing.push(format!("Secret {namespace}/{VALUES_SECRET} exists"));
        }
        missing
    }
}

fn members(value: Option<&Value>) -> Option<&Map<String, Value>> {
    value.and_then(Value::as_object)
}

/// Replaces the chart by the artifact. What the Secret says comes before what the release's other sources say, so that
/// these win as they did.
fn refer(spec: &mut Map<String, Value>, artifact: &str) {
    spec.remove("chart");
    spec.insert(
        "chartRef".to_owned(),
        json!({"kind": EXTERNAL_ARTIFACT, "name": artifact, "namespace": ARTIFACT_NAMESPACE}),
    );
    let mut sources = match spec.remove("valuesFrom") {
        Some(Value::Array(sources)) => sources,
        _ => Vec::new(),
    };
    if !sources.iter().any(is_of_platform) {
        sources.insert(0, json!({"kind": "Secret", "name": VALUES_SECRET}));
    }
    spec.insert("valuesFrom".to_owned(), sources.into());
}

/// Whether an entry of `valuesFrom` is the whole Secret of the platform.
fn is_of_platform(entry: &Value) -> bool {
    let member = |name| entry.get(name).and_then(Value::as_str);
    member("kind") == Some("Secret")
        && member("name") == Some(VALUES_SECRET)
        && matches!(member("valuesKey"), None | Some(VALUES_KEY))
        && matches!(member("targetPath"), None | Some(""))
}

fn is_ready(object: &Value) -> bool {
    let conditions = object
        .pointer("/status/conditions")
        .and_then(Value::as_array);
    conditions.into_iter().flatten().any(|condition| {
        let member = |name| condition.get(name).and_then(Value::as_str);
        member("type") == Some("Ready") && member("status") == Some("True")
    })
}

/// Whether the API server takes it as a label's value: `k8s.io/apimachinery` `IsValidLabelValue`, the empty one left
/// out.
fn is_label_value(value: &str) -> bool {
    let ends = [value.chars().next(), value.chars().next_back()];
    value.len() <= 63
        && ends
            .into_iter()
            .all(|end| end.is_some_and(|end| end.is_ascii_alphanumeric()))
        && value
            .chars()
            .all(|one| one.is_ascii_alphanumeric() || "-_.".contains(one))
}

/// Suspends a release of the platform that the new one has under another name.
fn suspend(release: &Value, plan: &mut Plan) {
    let place = Reference::to(release);
    let helm_release = text(release, "/spec/releaseName");
    let Some((_, kept)) = RENAMED
        .iter()
        .find(|(name, kept)| *name == place.name && Some(*kept) == helm_release)
    else {
        return;
    };
    if !place.namespace.starts_with(PLATFORM_PREFIX) {
        return;
    }
    let is_suspended = release.pointer("/spec/suspend") == Some(&Value::Bool(true));
    plan.findings.push(finding(
        Weight::Note,
        release,
        &FieldPath::of(&["spec", "suspend"]),
        format!(
            "the new platform manages Helm release {kept} through a HelmRelease of that name: this one {}; delete it while it is suspended, when the new one is Ready, and nothing is uninstalled",
            if is_suspended {
                "is suspended already"
            } else {
                "is suspended"
            }
        ),
    ));
    if is_suspended {
        return;
    }
    let mut after = release.clone();
    if let Some(spec) = after.get_mut("spec").and_then(Value::as_object_mut) {
        spec.insert("suspend".to_owned(), Value::Bool(true));
        plan.changes.push(Change {
            step: Step::Renamed,
            before: Some(release.clone()),
            after,
            why: format!(
                "HelmRelease {kept} of the new platform manages the same Helm release {kept}, and both would undo each other's upgrades"
            ),
        });
    }
}

#[cfg(test)]
mod tests;
