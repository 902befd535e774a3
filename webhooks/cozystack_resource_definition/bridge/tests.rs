use super::super::WEBHOOK;
use super::*;
use crate::contract::{Found, Index, Settings, companions};
use serde_json::Value;
use std::sync::Arc;

/// A cluster of package sources.
struct Sources(Vec<Value>);

impl Cluster for Sources {
    fn get(&self, read: &'static Read, _: &str, name: &str) -> Option<Arc<Object>> {
        assert_eq!(read.resource.kind, "PackageSource");
        let source = self
            .0
            .iter()
            .find(|source| source["metadata"]["name"] == name)?;
        Object::of(source.clone()).map(Arc::new)
    }

    fn find(&self, _: &'static Read, _: &'static Index, _: &str, _: usize) -> Found {
        Found::default()
    }
}

fn bridged(legacy: &Value, sources: Vec<Value>) -> Option<Vec<Value>> {
    bridged_with(legacy, sources, &Settings::default())
}

fn bridged_with(legacy: &Value, sources: Vec<Value>, settings: &Settings) -> Option<Vec<Value>> {
    let parent = Object::of(legacy.clone()).unwrap();
    let world = World {
        cluster: &Sources(sources),
        settings: settings.of(&WEBHOOK.declaration),
    };
    companions::desired(&WEBHOOK.declaration, &Bridge, &parent, &world)
        .unwrap()
        .map(|desired| desired.children)
}

fn legacy(chart: &str, repository: &str) -> Value {
    json!({
        "apiVersion": "cozystack.io/v1alpha1", "kind": "CozystackResourceDefinition",
        "metadata": {"name": "gizmo", "uid": "u1"},
        "spec": {
            "application": {"kind": "Gizmo", "plural": "gizmos", "singular": "gizmo", "openAPISchema": ""},
            "release": {"prefix": "gizmo-", "chart": {"name": chart, "sourceRef": {
                "kind": "HelmRepository", "name": repository, "namespace": "cozy-public"}}},
        },
    })
}

fn source(name: &str, variants: &[(&str, &str, &str, bool)]) -> Value {
    let variants: Vec<Value> = variants
        .iter()
        .map(|(variant, component, path, has_install)| {
            let mut component = json!({"name": component, "path": path});
            if *has_install {
                component["install"] = json!({});
            }
            json!({"name": variant, "components": [component]})
        })
        .collect();
    json!({"metadata": {"name": name}, "spec": {"variants": variants}})
}

fn artifact(children: &[Value]) -> &str {
    children[0]
        .pointer("/spec/release/chartRef/name")
        .unwrap()
        .as_str()
        .unwrap()
}

#[test]
fn a_definition_is_carried_over_with_its_marks() {
    let mut from = legacy("gizmo", "cozystack-apps");
    from["metadata"]["labels"] = json!({
        "team": "blue", "app.kubernetes.io/managed-by": "Helm", "helm.toolkit.fluxcd.io/name": "x",
    });
    from["metadata"]["annotations"] = json!({
        "note": "mine", "meta.helm.sh/release-name": "x", "kubectl.kubernetes.io/last-applied-configuration": "{}",
        "webhook.cozystack.io/allow": "x", "conversion.cozystack.io/stash": "{}",
        "release.cozystack.io/helm-install-timeout": "5m",
    });
    let children = bridged(&from, vec![]).unwrap();
    assert_eq!(
        children,
        [json!({
            "apiVersion": "cozystack.io/v1alpha1", "kind": "ApplicationDefinition",
            "metadata": {
                "name": "gizmo",
                "labels": {"team": "blue", "app.kubernetes.io/managed-by": "cozystack-webhook"},
                "annotations": {
                    "note": "mine", "release.cozystack.io/helm-install-timeout": "5m",
                    "bridge.cozystack.io/source-uid": "u1",
                    "webhook.cozystack.io/parent": "cozystack-resource-definition//gizmo",
                },
            },
            "spec": {
                "application": {"kind": "Gizmo", "plural": "gizmos", "singular": "gizmo", "openAPISchema": ""},
                "release": {
                    "prefix": "gizmo-",
                    "chartRef": {"kind": "ExternalArtifact", "name": "cozystack-gizmo-application-default-gizmo",
                        "namespace": "cozy-system"},
                    "labels": {"sharding.fluxcd.io/key": "tenants"},
                },
            },
        })]
    );
}

#[test]
fn the_artifact_is_found_in_the_clusters_own_sources() {
    let find = |chart: &str, repository: &str, sources: Vec<Value>| {
        artifact(&bridged(&legacy(chart, repository), sources).unwrap()).to_owned()
    };
    let name = "cozystack.gizmo-application";
    // The path need not end in the chart's name; the repository tells which folder.
    let sources = vec![source(name, &[("kubevirt", "gizmo", "apps/gz", false)])];
    assert_eq!(
        find("gizmo", "cozystack-apps", sources.clone()),
        "cozystack-gizmo-application-kubevirt-gizmo"
    );
    assert_eq!(
        find("gizmo", "cozystack-extra", sources),
        "cozystack-gizmo-application-default-gizmo"
    );
    // A component that installs itself is no chart of an application.
    let sources = vec![source(
        name,
        &[
            ("a", "gizmo", "apps/gizmo", true),
            ("b", "gizmo", "apps/gizmo", false),
        ],
    )];
    assert_eq!(
        find("gizmo", "cozystack-apps", sources),
        "cozystack-gizmo-application-b-gizmo"
    );
    // Of several, the one that the catalogue knows.
    let sources = vec![source(
        "cozystack.kubernetes-application",
        &[
            ("default", "kubernetes", "apps/k", false),
            ("kubevirt", "kubernetes", "apps/k", false),
        ],
    )];
    assert_eq!(
        find("kubernetes", "cozystack-apps", sources),
        "cozystack-kubernetes-application-kubevirt-kubernetes"
    );
    // None that fits, or none at all: the catalogue.
    let other = vec![source(name, &[("x", "other", "apps/other", false)])];
    assert_eq!(
        find("gizmo", "cozystack-apps", other),
        "cozystack-gizmo-application-default-gizmo"
    );
    assert_eq!(
        find("vm-disk", "cozystack-apps", vec![]),
        "cozystack-vm-disk-application-kubevirt-vm-disk"
    );
}

#[test]
fn a_chart_of_an_unknown_repository_comes_with_its_helm_chart() {
    let mut from = legacy("gadgets", "mine");
    from["spec"]["release"]["chart"]["sourceRef"]["namespace"] = json!("tenant-x");
    let children = bridged(&from, vec![]).unwrap();
    assert_eq!(
        children[0].pointer("/spec/release/chartRef").unwrap(),
        &json!({"kind": "HelmChart", "name": "cozystack-gizmo", "namespace": "tenant-x"})
    );
    assert_eq!(
        children[1],
        json!({
            "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "HelmChart",
            "metadata": {
                "name": "cozystack-gizmo", "namespace": "tenant-x",
                "labels": {"app.kubernetes.io/managed-by": "cozystack-webhook"},
                "annotations": {"webhook.cozystack.io/parent": "cozystack-resource-definition//gizmo"},
            },
            "spec": {
                "chart": "gadgets", "interval": "5m", "reconcileStrategy": "Revision",
                "sourceRef": {"kind": "HelmRepository", "name": "mine"}, "version": ">= 0.0.0-0",
            },
        })
    );
    // A chart that is an object of Flux already needs none.
    from["spec"]["release"]["chart"]["sourceRef"]["kind"] = json!("OCIRepository");
    assert_eq!(bridged(&from, vec![]).unwrap().len(), 1);
    from["spec"]["release"]["chart"]["sourceRef"]["kind"] = json!("HelmChart");
    assert_eq!(bridged(&from, vec![]).unwrap().len(), 1);
}

#[test]
fn it_can_be_switched_off() {
    let mut from = legacy("gizmo", "cozystack-apps");
    from["metadata"]["annotations"] = json!({"bridge.cozystack.io/disabled": "true"});
    assert_eq!(bridged(&from, vec![]), None);
    from["metadata"]["annotations"] = json!({"bridge.cozystack.io/disabled": "false"});
    assert!(bridged(&from, vec![]).is_some());
    let data = json!({"cozystack-resource-definition.bridge": "false"});
    let (settings, _) = Settings::read(data.as_object().unwrap(), crate::REGISTRY);
    assert_eq!(bridged_with(&from, vec![], &settings), None);
}

#[test]
fn either_version_and_objects_without_spec_are_bridged_alike() {
    let old = legacy("gizmo", "cozystack-apps");
    let raw = serde_json::value::to_raw_value(&old).unwrap();
    let new = to_value(CONVERSION.convert(&raw, "cozystack.io/v1alpha2").unwrap()).unwrap();
    let sources = vec![source(
        "cozystack.gizmo-application",
        &[("v", "gizmo", "apps/gizmo", false)],
    )];
    assert_eq!(bridged(&old, sources.clone()), bridged(&new, sources));
    let mut bare = old;
    bare.as_object_mut().unwrap().remove("spec");
    let children = bridged(&bare, vec![]).unwrap();
    assert_eq!((children.len(), children[0].get("spec")), (1, None));
}
