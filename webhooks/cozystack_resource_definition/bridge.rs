//! The bridge: an ApplicationDefinition for every legacy definition, kept in step with it and left behind when the
//! legacy definition goes, so that nothing is lost on the way to the package-based platform.

use super::catalogue::{Repository, artifact_name, artifact_of, variant_of};
use super::conversion::{CONVERSION, STASH_ANNOTATION, known_chart};
use super::{LEGACY_DEFINITIONS, RESOURCE};
use crate::application_definition;
use crate::contract::settings::duration_text;
use crate::contract::{
    Cluster, Companions, Converted, Desired, Farewell, Fault, Object, Read, World,
};
use crate::kinds::{HELM_CHARTS, PACKAGE_SOURCES};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

/// Annotation of a bridged ApplicationDefinition: uid of the legacy definition behind it.
pub const SOURCE_UID_ANNOTATION: &str = "bridge.cozystack.io/source-uid";
/// Annotation of a legacy definition: `"true"` switches the bridge off for it.
pub const DISABLED_ANNOTATION: &str = "bridge.cozystack.io/disabled";
/// Setting: whether there is a bridge at all.
pub const BRIDGE_SETTING: &str = "bridge";
/// Setting: how often the chart of an unknown repository is looked up.
pub const CHART_INTERVAL_SETTING: &str = "chart-interval";

/// What tools write about the legacy object itself: copied, it would claim the new object for them.
const TOOL_PREFIXES: [&str; 12] = [
    "kubectl.kubernetes.io/",
    "app.kubernetes.io/managed-by",
    "meta.helm.sh/",
    "helm.sh/",
    "helm.toolkit.fluxcd.io/",
    "kustomize.toolkit.fluxcd.io/",
    "reconcile.fluxcd.io/",
    "app.kubernetes.io/instance",
    "argocd.argoproj.io/",
    "config.kubernetes.io/",
    "bridge.cozystack.io/",
    "webhook.cozystack.io/",
];

/// The role.
pub struct Bridge;

impl Companions for Bridge {
    fn parents(&self) -> &'static Read {
        &LEGACY_DEFINITIONS
    }

    fn reads(&self) -> &'static [&'static Read] {
        const READS: &[&Read] = &[&PACKAGE_SOURCES];
        READS
    }

    fn farewell(&self) -> Farewell {
        Farewell::Retain
    }

    fn companions(&self, parent: &Object, world: &World<'_>) -> Result<Option<Desired>, Fault> {
        let disabled = parent.text(&["metadata", "annotations", DISABLED_ANNOTATION]);
        if !world.settings.flag(BRIDGE_SETTING) || disabled == Some("true") {
            return Ok(None);
        }
        let cannot = |error: &dyn std::fmt::Display| {
            Fault::Internal(format!(
                "{} {} has no new form: {error}",
                RESOURCE.kind, parent.name
            ))
        };
        let raw = serde_json::value::to_raw_value(&parent.value).map_err(|error| cannot(&error))?;
        let legacy = CONVERSION
            .convert(&raw, &RESOURCE.api_version())
            .map_err(|error| cannot(&error))
            .and_then(to_value)?;
        let successor = CONVERSION
            .rename(&raw)
            .map_err(|error| cannot(&error))
            .and_then(to_value)?;

        let mut definition = json!({
            "apiVersion": application_definition::RESOURCE.api_version(),
            "kind": application_definition::RESOURCE.kind,
            "metadata": {"name": parent.name},
        });
        let members = [
            ("labels", carried(parent, "labels")),
            ("annotations", carried(parent, "annotations")),
        ];
        for (member, mut values) in members {
            if member == "annotations"
                && let Some(uid) = parent.text(&["metadata", "uid"])
            {
                values.insert(SOURCE_UID_ANNOTATION.to_owned(), uid.into());
            }
            if let (Some(metadata), false) = (
                definition
                    .get_mut("metadata")
                    .and_then(Value::as_object_mut),
                values.is_empty(),
            ) {
                metadata.insert(member.to_owned(), values.into());
            }
        }
        let mut children = Vec::new();
        if let Some(mut spec) = successor.get("spec").cloned() {
            let chart = legacy.pointer("/spec/release/chart");
            if let Some(chart) = chart {
                name_artifact(chart, &mut spec, world.cluster);
            }
            children.extend(
                chart
                    .zip(spec.pointer("/release/chartRef"))
                    .and_then(|(chart, reference)| helm_chart(chart, reference, world)),
            );
            if let Some(definition) = definition.as_object_mut() {
                definition.insert("spec".to_owned(), spec);
            }
        }
        children.insert(0, definition);
        Ok(Some(Desired {
            children,
            requeue_after: None,
        }))
    }
}

fn to_value(converted: Converted<'_>) -> Result<Value, Fault> {
    let read = |raw: &RawValue| serde_json::from_str(raw.get());
    match converted {
        Converted::Unchanged(raw) => read(raw).map_err(|error| Fault::Internal(error.to_string())),
        Converted::Changed(node) => node
            .to_value()
            .map_err(|error| Fault::Internal(error.to_string())),
    }
}

/// Labels or annotations that are the writer's own, and not a tool's word about the legacy object.
fn carried(parent: &Object, member: &str) -> Map<String, Value> {
    let values = parent
        .value
        .get("metadata")
        .and_then(|metadata| metadata.get(member))
        .and_then(Value::as_object);
    values
        .into_iter()
        .flatten()
        .filter(|(key, _)| {
            key.as_str() != STASH_ANNOTATION
                && !TOOL_PREFIXES.iter().any(|prefix| key.starts_with(prefix))
        })
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

/// Writes the artifact of a legacy `chart` into the new `spec`, where the chart came from a known repository.
pub fn name_artifact(chart: &Value, spec: &mut Value, cluster: &dyn Cluster) {
    if let Some((name, repository)) = known_chart(chart)
        && let Some(artifact) = spec.pointer_mut("/release/chartRef/name")
    {
        *artifact = artifact_in_cluster(name, repository, cluster).into();
    }
}

/// The artifact into which the cluster's package source packs the chart.
fn artifact_in_cluster(chart: &str, repository: Repository, cluster: &dyn Cluster) -> String {
    let source = cluster.get(&PACKAGE_SOURCES, "", &package_of(chart));
    artifact_in(
        source.as_ref().map(|source| &source.value),
        chart,
        repository,
    )
}

/// The package into which the chart of a known repository was packed.
#[must_use]
pub fn package_of(chart: &str) -> String {
    format!("cozystack.{chart}-application")
}

/// The artifact into which that package source packs the chart; by the shipped catalogue where there is no such
/// source, or none of its components is that chart.
#[must_use]
pub fn artifact_in(source: Option<&Value>, chart: &str, repository: Repository) -> String {
    let variants = source
        .and_then(|source| source.pointer("/spec/variants"))
        .and_then(Value::as_array);
    let is_chart = |component: &Value| {
        let text = |member: &str| component.get(member).and_then(Value::as_str);
        text("name") == Some(chart)
            && component.get("install").is_none_or(Value::is_null)
            && text("path").is_some_and(|path| path.starts_with(repository.folder()))
    };
    let with_chart: Vec<&str> = variants
        .into_iter()
        .flatten()
        .filter(|variant| {
            let components = variant.get("components").and_then(Value::as_array);
            components.into_iter().flatten().any(is_chart)
        })
        .filter_map(|variant| variant.get("name").and_then(Value::as_str))
        .collect();
    // Every shipped source has one variant; of several, the one that the catalogue knows.
    let known = variant_of(chart);
    let chosen = with_chart
        .iter()
        .find(|variant| **variant == known)
        .or(with_chart.first());
    match chosen {
        Some(variant) => artifact_name(&package_of(chart), variant, chart),
        None => artifact_of(chart),
    }
}

/// The HelmChart that the chartRef names, where the legacy definition took its chart from a repository that no
/// package replaces. Version and strategy are those with which the legacy platform made its HelmReleases.
fn helm_chart(chart: &Value, reference: &Value, world: &World<'_>) -> Option<Value> {
    let text = |value: &Value, member: &str| {
        value
            .get(member)
            .and_then(Value::as_str)
            .map(ToOwned::to_owned)
    };
    let source = chart.get("sourceRef")?;
    let source_kind = text(source, "kind").unwrap_or_else(|| "HelmRepository".to_owned());
    let kind = HELM_CHARTS.resource.kind;
    if text(reference, "kind").as_deref() != Some(kind) || source_kind == kind {
        return None;
    }
    Some(json!({
        "apiVersion": HELM_CHARTS.resource.api_version(),
        "kind": kind,
        "metadata": {"name": text(reference, "name")?, "namespace": text(reference, "namespace")?},
        "spec": {
            "chart": text(chart, "name")?,
            "interval": duration_text(world.settings.duration(CHART_INTERVAL_SETTING)),
            "reconcileStrategy": "Revision",
            "sourceRef": {"kind": source_kind, "name": text(source, "name")?},
            "version": ">= 0.0.0-0",
        },
    }))
}

#[cfg(test)]
mod tests;
