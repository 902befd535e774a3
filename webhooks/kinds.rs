//! Kinds of others that rules read, and how they are looked up.

use crate::contract::companions::BY_PARENT;
use crate::contract::{Content, Index, Object, Read, Resource};
use crate::cozystack_resource_definition::catalogue::artifact_name;
use serde_json::Value;

/// Label of a HelmRelease that says which kind of application it is.
pub const APPLICATION_KIND_LABEL: &str = "apps.cozystack.io/application.kind";

/// Flux HelmReleases, by the kind of application behind them.
pub static HELM_RELEASES: Read = Read {
    resource: Resource {
        group: "helm.toolkit.fluxcd.io",
        version: "v2",
        plural: "helmreleases",
        kind: "HelmRelease",
        namespaced: true,
    },
    content: Content::Metadata,
    indexes: &[&HELM_RELEASES_BY_APPLICATION_KIND],
};

/// HelmReleases by the label that names the application's kind.
pub static HELM_RELEASES_BY_APPLICATION_KIND: Index = Index {
    name: "application-kind",
    keys: |release| {
        release
            .label(APPLICATION_KIND_LABEL)
            .map(ToOwned::to_owned)
            .into_iter()
            .collect()
    },
};

/// Flux HelmCharts, as far as rules make them.
pub static HELM_CHARTS: Read = Read {
    resource: Resource {
        group: "source.toolkit.fluxcd.io",
        version: "v1",
        plural: "helmcharts",
        kind: "HelmChart",
        namespaced: true,
    },
    content: Content::Metadata,
    indexes: &[&BY_PARENT],
};

/// Package sources, by the artifacts that are made of them.
pub static PACKAGE_SOURCES: Read = Read {
    resource: Resource {
        group: "cozystack.io",
        version: "v1alpha1",
        plural: "packagesources",
        kind: "PackageSource",
        namespaced: false,
    },
    content: Content::Full,
    indexes: &[&PACKAGE_SOURCES_BY_ARTIFACT],
};

/// Package sources by artifact name: one artifact a component of every variant that has a path, installed or not.
pub static PACKAGE_SOURCES_BY_ARTIFACT: Index = Index {
    name: "artifact",
    keys: artifacts,
};

fn artifacts(source: &Object) -> Vec<String> {
    let list = |value: Option<&Value>| value.and_then(Value::as_array).cloned().unwrap_or_default();
    let text = |value: &Value, member: &str| {
        value
            .get(member)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let mut names = Vec::new();
    for variant in list(source.value.pointer("/spec/variants")) {
        for component in list(variant.get("components")) {
            if !text(&component, "path").is_empty() {
                names.push(artifact_name(
                    &source.name,
                    &text(&variant, "name"),
                    &text(&component, "name"),
                ));
            }
        }
    }
    names
}
