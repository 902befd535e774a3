//! What is there already, and what is not there at all.

use super::*;

#[test]
fn what_is_missing_altogether() {
    let plan = sound(&Snapshot::default(), A1);
    assert_eq!(plan.changes, []);
    assert_eq!(plan.findings[0].weight, Decision);
    assert_eq!(plan.findings[0].about.name, COZYSTACK);
    let mut done = Snapshot::default();
    done.put(package(PACKAGE, json!({"variant": "isp-full"})));
    assert_eq!(sound(&done, A1).findings[0].weight, Note);
    let mut empty = Snapshot::default();
    empty.put(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": COZYSTACK, "namespace": "cozy-system"}}));
    assert_eq!(sound(&empty, A1).findings.len(), 1);
    // No text, and binary data.
    let mut snapshot = with(&json!({"expose-services": ["dashboard"], "cluster-domain": 5}));
    row_of_no_text(&snapshot);
    let mut looks = map(BRANDING, &json!({}));
    looks["binaryData"] = json!({"logoSvg": "AAAA"});
    snapshot.put(looks);
    let plan = sound(&snapshot, A1);
    assert!(
        plan.findings
            .iter()
            .any(|finding| finding.field == "binaryData[logoSvg]" && finding.weight == Decision)
    );
}

fn row_of_no_text(snapshot: &Snapshot) {
    seen(
        snapshot,
        A1,
        Some(json!({})),
        &[
            (Decision, "data[cluster-domain]", "is no text"),
            (Decision, "data[expose-services]", "is no text"),
        ],
    );
}

/// The new platform writes its value into the same ConfigMap, as a YAML text.
#[test]
fn what_the_new_platform_wrote_is_not_read_back() {
    let spread = "topologySpreadConstraints:\n- maxSkew: 1\n";
    let rendered = "|\n  topologySpreadConstraints:\n  - maxSkew: 1\n";
    let mut snapshot = with(&json!({}));
    snapshot.put(map(
        SCHEDULING,
        &json!({"globalAppTopologySpreadConstraints": spread}),
    ));
    let plan = sound(&snapshot, A1);
    snapshot.put(of_platform(&plan).unwrap().after.clone());
    snapshot.put(map(
        SCHEDULING,
        &json!({"globalAppTopologySpreadConstraints": rendered}),
    ));
    let again = sound(&snapshot, A1);
    assert_eq!(again.changes, []);
    assert!(again.findings.iter().all(is_usual), "{:#?}", again.findings);
    // Nor is it where somebody has changed the value since.
    let mut changed = of_platform(&plan).unwrap().after.clone();
    changed["spec"]["components"]["platform"]["values"]["scheduling"]["globalAppTopologySpreadConstraints"] =
        json!("");
    snapshot.put(changed);
    assert!(sound(&snapshot, A1).findings.iter().all(is_usual));
    // Without the Package it is all that is left of the value.
    let mut lost = with(&json!({}));
    lost.put(map(
        SCHEDULING,
        &json!({"globalAppTopologySpreadConstraints": rendered}),
    ));
    seen(
        &lost,
        A1,
        Some(json!({"scheduling": {"globalAppTopologySpreadConstraints": spread}})),
        &[],
    );
}

#[test]
fn what_the_package_says_stays() {
    let live = |values: Value| {
        let mut snapshot =
            with(&json!({"expose-services": "dashboard", "cluster-domain": "cozy.local"}));
        snapshot.put(package(
            PACKAGE,
            json!({"variant": "isp-full", "components": {"platform": {"values": values}}}),
        ));
        snapshot
    };
    let complete = json!({"publishing": {"host": "cloud.test", "apiServerEndpoint": "https://api.cloud.test", "exposedServices": ["dashboard"]}});
    seen(&live(complete.clone()), A1, None, &[]);
    // One is missing, and another differs.
    let plan = sound(
        &live(
            json!({"publishing": {"host": "other.test", "apiServerEndpoint": "https://api.cloud.test"}, "x": 1}),
        ),
        A1,
    );
    let change = of_platform(&plan).unwrap();
    assert_eq!(
        platform_values(change),
        &json!({"publishing": {"host": "other.test", "apiServerEndpoint": "https://api.cloud.test", "exposedServices": ["dashboard"]}, "x": 1})
    );
    assert_eq!(change.after["metadata"]["uid"], "x");
    assert!(
        change.why.contains("publishing.exposedServices"),
        "{}",
        change.why
    );
    let conflict = plan
        .findings
        .iter()
        .find(|finding| finding.weight == Decision)
        .unwrap();
    assert_eq!(conflict.field, "data[root-host]");
    assert_eq!(
        conflict.text,
        "means \"cloud.test\" at spec.components.platform.values.publishing.host of Package \
         cozystack.cozystack-platform, and \"other.test\" is there: that stays; put right which of the two is wrong"
    );
    // The ConfigMap names a default, the Package something else.
    let mut other = complete.clone();
    other["networking"] = json!({"clusterDomain": "else.local"});
    seen(
        &live(other),
        A1,
        None,
        &[(Decision, "data[cluster-domain]", "\"else.local\" is there")],
    );
    // Of what the ConfigMap does not say, the Package may say what it likes.
    let mut snapshot = with(&json!({}));
    let mut more = complete.clone();
    more["publishing"]["exposedServices"] = json!(["api"]);
    snapshot.put(package(
        PACKAGE,
        json!({"variant": "isp-full", "components": {"platform": {"values": more}}}),
    ));
    seen(&snapshot, A1, None, &[]);
    // What the Package has already need not be in the ConfigMap.
    let mut snapshot = with(&json!({"root-host": null, "ipv4-svc-cidr": null}));
    let mut more = complete.clone();
    more["networking"] = json!({"serviceCIDR": "10.7.0.0/16"});
    snapshot.put(package(
        PACKAGE,
        json!({"variant": "isp-full", "components": {"platform": {"values": more}}}),
    ));
    seen(&snapshot, A1, None, &[]);
    // Another variant, and none.
    let mut snapshot = with(&json!({}));
    snapshot.put(package(
        PACKAGE,
        json!({"variant": "paas-full", "components": {"platform": {"values": complete}}}),
    ));
    let plan = sound(&snapshot, A1);
    assert!(
        plan.findings
            .iter()
            .any(|finding| finding.field == "data[bundle-name]"
                && finding.weight == Decision
                && finding.text.contains("\"paas-full\""))
    );
    let mut snapshot = with(&json!({}));
    snapshot.put(package(PACKAGE, json!({})));
    let plan = sound(&snapshot, A1);
    assert_eq!(
        of_platform(&plan).unwrap().after["spec"]["variant"],
        "isp-full"
    );
    // A value of its own that is wrong.
    let mut wrong = complete;
    wrong["networking"] = json!({"podGateway": "x"});
    let plan = sound(&live(wrong), A1);
    assert_eq!(of_platform(&plan), None);
    assert!(plan.findings.iter().any(|finding| finding.field == "spec.components.platform.values.networking.podGateway"));
}

#[test]
fn a_package_that_is_no_package_is_left_alone() {
    for spec in [
        json!(5),
        json!({"components": []}),
        json!({"components": {"platform": "x"}}),
        json!({"components": {"platform": {"values": [1]}}}),
    ] {
        let mut snapshot = with(&json!({}));
        snapshot.put(package(PACKAGE, spec));
        let plan = sound(&snapshot, A1);
        assert_eq!(plan.changes, []);
        assert!(
            plan.findings
                .iter()
                .any(|finding| finding.text.contains("something else than a map"))
        );
    }
    for values in [
        json!({"publishing": null}),
        json!({"publishing": 5}),
        json!({"publishing": {"host": null}}),
    ] {
        let mut snapshot = with(&json!({}));
        snapshot.put(package(
            PACKAGE,
            json!({"variant": "isp-full", "components": {"platform": {"values": values}}}),
        ));
        assert_eq!(sound(&snapshot, A1).changes, []);
    }
}
