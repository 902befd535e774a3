//! What the keys become in the values of the platform.

use super::*;

#[test]
fn the_example_of_a_right_package() {
    let mut snapshot = Snapshot::default();
    snapshot.put(map(
        COZYSTACK,
        &json!({
            "bundle-name": "paas-full", "root-host": "cloud.test", "api-server-endpoint": "https://api.cloud.test",
            "expose-services": "dashboard", "bundle-disable": "telepresence",
        }),
    ));
    let plan = sound(&snapshot, A1);
    let [change] = plan.changes.as_slice() else {
        panic!("{plan:?}")
    };
    assert_eq!(change.before, None);
    assert_eq!(
        change.after,
        json!({
            "apiVersion": "cozystack.io/v1alpha1", "kind": "Package",
            "metadata": {"name": "cozystack.cozystack-platform"},
            "spec": {"variant": "isp-full", "components": {"platform": {"values": {
                "bundles": {"disabledPackages": ["cozystack.telepresence"]},
                "publishing": {"host": "cloud.test", "apiServerEndpoint": "https://api.cloud.test",
                    "exposedServices": ["dashboard"]},
            }}}},
        })
    );
}

#[test]
fn texts_and_networks() {
    row(&json!({}), A1, Some(json!({})), &[]);
    row(&json!({}), G, Some(json!({})), &[]);
    row(&json!({"cluster-domain": null}), A1, Some(json!({})), &[]);
    row(
        &json!({"cluster-domain": "cozy.local"}),
        A1,
        Some(json!({})),
        &[],
    );
    row(
        &json!({"cluster-domain": "k.example"}),
        A1,
        Some(json!({"networking": {"clusterDomain": "k.example"}})),
        &[
            (
                Pending,
                "data[cluster-domain]",
                "kafka-operator.values of Package cozystack.kafka-operator, which the platform has not made yet; a later run writes there: strimzi-kafka-operator.kubernetesServiceDnsDomain: \"k.example\"",
            ),
            (
                Pending,
                "data[cluster-domain]",
                "mariadb-operator.clusterName: \"k.example\"",
            ),
            (Pending, "data[cluster-domain]", "svc.k.exam"),
        ],
    );
    row(
        &json!({"cluster-domain": "#x"}),
        A1,
        None,
        &[(
            Decision,
            "data[cluster-domain]",
            "is wrong as spec.components.platform.values.networking.clusterDomain (\"#x\")",
        )],
    );
    for hostile in ["yes ", "1_000", "a: b", "-", "ä.example", "a\nb", "NULL"] {
        row(
            &json!({"cluster-domain": hostile}),
            A1,
            None,
            &[(Decision, "data[cluster-domain]", "is wrong")],
        );
    }
    // What YAML would take for something else stays a text.
    for text in ["yes", "null", "1e3", "0x1f", "true"] {
        row(
            &json!({"root-host": text}),
            A1,
            Some(json!({"publishing": {"host": text}})),
            &[],
        );
    }
    row(
        &json!({"root-host": "cloud.test\n"}),
        A1,
        None,
        &[(
            Decision,
            "data[root-host]",
            "is wrong as spec.components.platform.values.publishing.host (\"cloud.test\\n\")",
        )],
    );
    for absent in [json!(null), json!("")] {
        row(
            &json!({"root-host": absent}),
            A1,
            None,
            &[(Decision, "data[root-host]", "would take \"example.org\"")],
        );
    }
    row(
        &json!({"api-server-endpoint": null}),
        A1,
        None,
        &[(Decision, "data[api-server-endpoint]", "set the key")],
    );
    row(
        &json!({"api-server-endpoint": "api.cloud.test"}),
        A1,
        None,
        &[(Decision, "data[api-server-endpoint]", "must be a URL")],
    );
    row(
        &json!({"ipv4-pod-cidr": "10.1.0.0/16", "ipv4-pod-gateway": "10.1.0.1", "ipv4-svc-cidr": "10.2.0.0/16", "ipv4-join-cidr": "10.3.0.0/16"}),
        A1,
        Some(
            json!({"networking": {"podCIDR": "10.1.0.0/16", "podGateway": "10.1.0.1", "serviceCIDR": "10.2.0.0/16", "joinCIDR": "10.3.0.0/16"}}),
        ),
        &[],
    );
    row(
        &json!({"ipv4-pod-cidr": "10.1.0.0/16"}),
        A1,
        None,
        &[(
            Decision,
            "data[ipv4-pod-gateway]",
            "inside networking.podCIDR (10.1.0.0/16)",
        )],
    );
    row(
        &json!({"ipv4-pod-cidr": "10.1.0.0/16", "ipv4-pod-gateway": null}),
        A1,
        None,
        &[
            (Decision, "data[ipv4-pod-gateway]", "is absent"),
            (Decision, "data[ipv4-pod-gateway]", "is wrong"),
        ],
    );
    row(
        &json!({"ipv4-pod-cidr": "fd00::/64"}),
        A1,
        None,
        &[(Decision, "data[ipv4-pod-cidr]", "must be an IPv4 network")],
    );
    row(
        &json!({"ipv4-join-cidr": "10.96.0.0/12"}),
        A1,
        None,
        &[(Decision, "data[ipv4-join-cidr]", "must not overlap")],
    );
    for key in [
        "ipv4-pod-cidr",
        "ipv4-pod-gateway",
        "ipv4-svc-cidr",
        "ipv4-join-cidr",
    ] {
        let field = format!("data[{key}]");
        row(
            &json!({key: null}),
            A1,
            Some(json!({})),
            &[(Decision, &field, "gave kube-ovn an empty text")],
        );
    }
}

#[test]
fn bundles() {
    row(
        &json!({"bundle-name": "paas-hosted", "ipv4-pod-cidr": null, "ipv4-pod-gateway": null, "ipv4-svc-cidr": null, "ipv4-join-cidr": null}),
        A1,
        Some(json!({"bundles": {"system": {"enabled": true}}})),
        &[(
            Pending,
            "data[bundle-name]",
            "spec.components.cozystack-api.values of Package cozystack.cozystack-engine, which the platform has not made yet; a later run writes there: cozystackAPI.localK8sAPIEndpoint.enabled: false",
        )],
    );
    for (name, part) in [
        (json!("distro-full"), "is \"distro-full\", and no variant"),
        (json!("distro-hosted"), "no variant"),
        (json!("paas-full "), "is \"paas-full \", which is no bundle"),
        (json!("isp-full"), "which is no bundle"),
        (json!(""), "is absent"),
        (
            json!(null),
            "is absent, and the old platform has no default",
        ),
        (json!("x".repeat(5_000)), "... (5002 characters)"),
    ] {
        let plan = sound(
            &with(&json!({"bundle-name": name, "values-kubevirt": "a: 1"})),
            A1,
        );
        assert_eq!(plan.changes, []);
        let [finding] = plan.findings.as_slice() else {
            panic!("{plan:?}")
        };
        assert_eq!(
            (finding.weight, finding.field.as_str()),
            (Decision, "data[bundle-name]")
        );
        assert!(finding.text.contains(part), "{}", finding.text);
    }
    // The variant is the one of the bundle.
    for (bundle, variant) in [("paas-full", "isp-full"), ("paas-hosted", "isp-hosted")] {
        let plan = sound(&with(&json!({"bundle-name": bundle})), G);
        assert_eq!(
            of_platform(&plan).unwrap().after["spec"]["variant"],
            variant
        );
    }
}

#[test]
fn people_and_telemetry() {
    row(&json!({"oidc-enabled": "false"}), A1, Some(json!({})), &[]);
    row(
        &json!({"oidc-enabled": "true"}),
        A1,
        Some(json!({"authentication": {"oidc": {"enabled": true}}})),
        &[],
    );
    for hostile in ["yes", "True", "1", "true ", "on"] {
        row(
            &json!({"oidc-enabled": hostile}),
            A1,
            Some(json!({})),
            &[(Note, "data[oidc-enabled]", "nothing but \"true\" counted")],
        );
    }
    let uri = "extra-keycloak-redirect-uri-for-dashboard";
    let field = "data[extra-keycloak-redirect-uri-for-dashboard]";
    row(
        &json!({uri: "https://x.test/*"}),
        A1,
        Some(json!({})),
        &[(Note, field, "has no effect while oidc-enabled")],
    );
    row(
        &json!({uri: "https://x.test/*", "oidc-enabled": "true"}),
        A1,
        Some(json!({"authentication": {"oidc": {"enabled": true}}})),
        &[
            (
                Pending,
                field,
                "spec.components.dashboard.values of Package cozystack.cozystack-engine, which the platform has not made yet; a later run writes there: _cluster.extra-keycloak-redirect-uri-for-dashboard: \"https://x.test/*\"",
            ),
            (Pending, field, "spec.components.keycloak-configure.values"),
        ],
    );
    row(
        &json!({uri: "https://x.test/*", "oidc-enabled": "true"}),
        G,
        Some(
            json!({"authentication": {"oidc": {"enabled": true, "keycloakExtraRedirectUri": "https://x.test/*"}}}),
        ),
        &[],
    );
    row(
        &json!({"telemetry-enabled": "true"}),
        A1,
        Some(json!({})),
        &[],
    );
    row(
        &json!({"telemetry-enabled": "false"}),
        A1,
        Some(json!({})),
        &[(
            Pending,
            "data[telemetry-enabled]",
            "cozystackController.disableTelemetry: true",
        )],
    );
    row(
        &json!({"telemetry-enabled": "false"}),
        G,
        Some(json!({})),
        &[
            (
                Decision,
                "data[telemetry-enabled]",
                "cozystackOperator.disableTelemetry: true",
            ),
            (
                Pending,
                "data[telemetry-enabled]",
                "cozystackController.disableTelemetry: true",
            ),
        ],
    );
    // Where the user's own values say otherwise, these are what comes.
    row(
        &json!({"telemetry-enabled": "false", "values-cozystack-controller": "cozystackController: {disableTelemetry: false}"}),
        A1,
        Some(json!({})),
        &[(
            Pending,
            "data[values-cozystack-controller]",
            "later run writes there: cozystackController.disableTelemetry: false",
        )],
    );
    row(
        &json!({"telemetry-enabled": "no"}),
        A1,
        Some(json!({})),
        &[(Note, "data[telemetry-enabled]", "telemetry stays on")],
    );
    row(
        &json!({"management-kubeconfig-endpoint": "https://10.0.0.1:6443"}),
        A1,
        Some(json!({})),
        &[(
            Note,
            "data[management-kubeconfig-endpoint]",
            "has no target",
        )],
    );
}

#[test]
fn what_is_published() {
    row(
        &json!({"expose-services": "api,dashboard,vm-exportproxy,cdi-uploadproxy"}),
        A1,
        Some(json!({"publishing": {"exposedServices": null}})),
        &[],
    );
    row(&json!({"expose-services": ""}), A1, Some(json!({})), &[]);
    row(
        &json!({"expose-services": "dashboard,,dashboard,api"}),
        A1,
        Some(json!({"publishing": {"exposedServices": ["dashboard", "api"]}})),
        &[],
    );
    row(
        &json!({"expose-services": "api, dashboard"}),
        A1,
        Some(json!({"publishing": {"exposedServices": ["api", "dashboard"]}})),
        &[(
            Note,
            "data[expose-services]",
            "has blanks around \" dashboard\"",
        )],
    );
    row(
        &json!({"expose-services": "dashboard,grafana"}),
        A1,
        Some(json!({"publishing": {"exposedServices": ["dashboard"]}})),
        &[(Decision, "data[expose-services]", "names \"grafana\"")],
    );
    row(
        &json!({"expose-ingress": "tenant-root"}),
        A1,
        Some(json!({})),
        &[],
    );
    row(
        &json!({"expose-ingress": "tenant-edge"}),
        A1,
        Some(json!({"publishing": {"ingressName": "tenant-edge"}})),
        &[],
    );
    row(
        &json!({"expose-ingress": "Tenant_Edge"}),
        A1,
        None,
        &[(Decision, "data[expose-ingress]", "is wrong")],
    );
    row(
        &json!({"expose-external-ips": " 192.0.2.1, 192.0.2.2 ,192.0.2.1"}),
        A1,
        Some(json!({"publishing": {"externalIPs": ["192.0.2.1", "192.0.2.2"]}})),
        &[],
    );
    row(
        &json!({"expose-external-ips": ""}),
        A1,
        Some(json!({})),
        &[],
    );
    row(
        &json!({"expose-external-ips": "192.0.2.1,192.0.2.999"}),
        A1,
        None,
        &[(
            Decision,
            "data[expose-external-ips]",
            "must be an IP address",
        )],
    );
    row(
        &json!({"clusterissuer": "http01"}),
        A1,
        Some(json!({})),
        &[],
    );
    row(
        &json!({"clusterissuer": "cloudflare"}),
        A1,
        Some(json!({"publishing": {"certificates": {"issuerType": "cloudflare"}}})),
        &[],
    );
    row(
        &json!({"clusterissuer": "cloudflare"}),
        G,
        Some(json!({"publishing": {"certificates": {"solver": "dns01"}}})),
        &[],
    );
    row(
        &json!({"clusterissuer": "my-issuer"}),
        A1,
        Some(json!({})),
        &[(
            Note,
            "data[clusterissuer]",
            "took for \"http01\": that is carried over",
        )],
    );
    row(
        &json!({"clusterissuer": "my-issuer"}),
        G,
        Some(json!({})),
        &[(Note, "data[clusterissuer]", "issuerName")],
    );
}

#[test]
fn ratios_and_unknown_keys() {
    row(
        &json!({"cpu-allocation-ratio": "4", "memory-allocation-ratio": "1", "ephemeral-storage-allocation-ratio": "2.5"}),
        A1,
        Some(
            json!({"resources": {"cpuAllocationRatio": 4, "ephemeralStorageAllocationRatio": 2.5}}),
        ),
        &[
            (
                Note,
                "",
                "resources.cpuAllocationRatio: has no effect before v1.6.0",
            ),
            (
                Note,
                "",
                "resources.ephemeralStorageAllocationRatio: has no effect before v1.6.0",
            ),
            (
                Pending,
                "data[cpu-allocation-ratio]",
                "spec.components.kubevirt.values of Package cozystack.kubevirt, which the platform has not made yet; a later run writes there: cpuAllocationRatio: 4",
            ),
        ],
    );
    for hostile in ["many", "0", "-1", "nan", "inf", "1e999", "0x10", "\u{663}"] {
        row(
            &json!({"cpu-allocation-ratio": hostile}),
            A1,
            Some(json!({})),
            &[(
                Decision,
                "data[cpu-allocation-ratio]",
                "a number greater than 0",
            )],
        );
    }
    row(
        &json!({"root-hots": "x"}),
        A1,
        Some(json!({})),
        &[(Decision, "data[root-hots]", "did you mean root-host?")],
    );
    row(
        &json!({"x.y/z": "1"}),
        A1,
        Some(json!({})),
        &[(Decision, "data[x.y/z]", "has no target")],
    );
    row(
        &json!({"values-": "a: 1"}),
        A1,
        Some(json!({})),
        &[(Decision, "data[values-]", "has no target")],
    );
    let long = "k".repeat(3_000);
    let field = format!("data[{}... (3000 characters)]", "k".repeat(60));
    row(
        &json!({&long: "1"}),
        A1,
        Some(json!({})),
        &[(Decision, &field, "has no target")],
    );
}

const SVG: &str = "<svg xmlns=\"http://www.w3.org/2000/svg\">\n  <!-- --- #x: \"y\" -->\n\t<path d='M0 0'/>\n</svg>\n";

#[test]
fn branding_and_scheduling() {
    let branded = |data: Value| {
        let mut snapshot = with(&json!({}));
        snapshot.put(map(BRANDING, &data));
        snapshot
    };
    let looks = json!({"branding": "Wölkchen ☁", "titleText": "yes", "footerText": "# not a comment", "logoText": "", "logoSvg": SVG, "iconSvg": "null", "tenantText": "1e3"});
    for target in [A1, G] {
        seen(
            &branded(looks.clone()),
            target,
            Some(json!({"branding": looks})),
            &[],
        );
    }
    seen(
        &branded(json!({"logo": "x"})),
        A1,
        Some(json!({"branding": {"logo": "x"}})),
        &[(Note, "data[logo]", "no chart of v1.0.0-alpha.1 reads it")],
    );
    seen(
        &branded(json!({"logo": "x"})),
        G,
        Some(json!({"branding": {"logo": "x"}})),
        &[],
    );
    seen(
        &branded(json!({"my.color": "red", "dashboard": "{}", "keycloak": "{}"})),
        A1,
        Some(json!({"branding": {"my.color": "red"}})),
        &[
            (Note, "data[dashboard]", "has no target"),
            (Note, "data[keycloak]", "has no target"),
            (
                Note,
                "data[my.color]",
                "neither platform is known to read it",
            ),
        ],
    );
    seen(&branded(json!({})), A1, Some(json!({})), &[]);
    let scheduled = |data: Value| {
        let mut snapshot = with(&json!({}));
        snapshot.put(map(SCHEDULING, &data));
        snapshot
    };
    let spread = "topologySpreadConstraints:\n- maxSkew: 1\n  topologyKey: zone\n";
    for target in [A1, G] {
        seen(
            &scheduled(
                json!({"globalAppTopologySpreadConstraints": spread, "dedicatedNodesForWindowsVMs": "true"}),
            ),
            target,
            Some(
                json!({"scheduling": {"globalAppTopologySpreadConstraints": spread, "dedicatedNodesForWindowsVMs": "true"}}),
            ),
            &[],
        );
    }
    seen(
        &scheduled(
            json!({"globalAppTopologySpreadConstraints": "a: [", "topologySpreadConstraints": "[]"}),
        ),
        A1,
        Some(json!({"scheduling": {"globalAppTopologySpreadConstraints": "a: ["}})),
        &[
            (
                Decision,
                "data[globalAppTopologySpreadConstraints]",
                "is no YAML",
            ),
            (Decision, "data[topologySpreadConstraints]", "has no target"),
        ],
    );
    seen(
        &scheduled(json!({"globalAppTopologySpreadConstraints": "- a"})),
        A1,
        Some(json!({"scheduling": {"globalAppTopologySpreadConstraints": "- a"}})),
        &[(
            Decision,
            "data[globalAppTopologySpreadConstraints]",
            "charts want a YAML map",
        )],
    );
    seen(
        &scheduled(json!({"globalAppTopologySpreadConstraints": ""})),
        A1,
        Some(json!({})),
        &[],
    );
}

#[test]
fn no_text_moves_the_cursor() {
    let mut snapshot = with(&json!({"a\u{1b}[31m\nb": "1", "values-dashboard": "\"x\\ny\": 1"}));
    snapshot.put(map(
        SCHEDULING,
        &json!({"globalAppTopologySpreadConstraints": "\u{7}["}),
    ));
    let plan = sound(&snapshot, A1);
    assert!(plan.findings.len() >= 3);
    for finding in plan.findings {
        assert!(
            !finding.text.contains(char::is_control) && !finding.field.contains(char::is_control),
            "{finding:?}"
        );
    }
}

#[test]
fn the_host_of_tenant_root() {
    let release = |host: Value| {
        let mut snapshot = with(&json!({}));
        snapshot.put(json!({
            "apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease",
            "metadata": {"name": "tenant-root", "namespace": "tenant-root"},
            "spec": {"values": {"host": host}},
        }));
        snapshot
    };
    for fine in [json!("cloud.test"), json!(""), json!(null)] {
        seen(&release(fine), A1, Some(json!({})), &[]);
    }
    for other in [json!("old.test"), json!(5)] {
        seen(
            &release(other),
            A1,
            Some(json!({})),
            &[(Decision, "spec.values.host", "neither is changed")],
        );
    }
}
