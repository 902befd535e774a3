//! Values, variant and release, and what is said of them.

use super::Version::{V1_0, V1_0Alpha1, V1_3, V1_4, V1_5, V1_6};
use super::*;
use serde_json::json;

struct Said {
    refused: Vec<String>,
    warned: Vec<String>,
}

fn say(variant: &str, version: Version, values: &Value) -> Said {
    let root = Path::ROOT.member("spec");
    let components = root.member("components");
    let component = components.member(COMPONENT);
    let at = component.member("values");
    let mut verdict = Verdict::default();
    let subject = Subject {
        variant,
        values,
        version,
        is_installed: &|name| name == "cozystack.from-elsewhere",
    };
    check(&subject, &at, &mut verdict);
    for violation in &verdict.violations {
        let (field, message) = (violation.field.to_string(), violation.body());
        assert!(
            REFUSALS
                .iter()
                .any(|refusal| refusal.covers(&field, &message)),
            "not documented: {field}: {message}"
        );
    }
    for warning in &verdict.warnings {
        assert!(warning.chars().count() <= WARNING_MAX_CHARS, "{warning}");
    }
    let short = |text: String| text.replace("spec.components.platform.values.", "");
    Said {
        refused: verdict
            .violations
            .iter()
            .map(|it| short(it.message()))
            .collect(),
        warned: verdict.warnings.into_iter().map(short).collect(),
    }
}

/// One line of the table: what is refused and what is warned of, in full.
#[track_caller]
fn row(variant: &str, version: Version, values: &Value, refused: &[&str], warned: &[&str]) {
    let said = say(variant, version, values);
    assert_eq!(said.refused, refused, "{variant} {version} {values}");
    assert_eq!(said.warned, warned, "{variant} {version} {values}");
}

const BLOCKED: &str = "bundles.system.enabled: while it is false, every Package stays blocked";

#[test]
fn defaults_of_every_variant_and_release_are_right() {
    for version in Version::ALL {
        for variant in VARIANTS {
            let warned: &[&str] = if variant == "isp-hosted" {
                &[BLOCKED]
            } else {
                &[]
            };
            row(variant, version, &Value::Null, &[], warned);
            row(variant, version, &json!({}), &[], warned);
            // Who writes all defaults out says nothing new.
            let defaults = Value::Object(defaults(variant, version));
            row(variant, version, &defaults, &[], warned);
        }
    }
}

#[test]
fn good_values() {
    for (variant, version, values) in [
        (
            "isp-full",
            V1_0Alpha1,
            json!({
                "bundles": {"disabledPackages": ["cozystack.telepresence"]},
                "publishing": {
                    "host": "cloud.test", "apiServerEndpoint": "https://api.cloud.test", "exposedServices": ["dashboard"],
                    "externalIPs": ["192.0.2.1", "2001:db8::1"], "certificates": {"issuerType": "cloudflare"},
                },
            }),
        ),
        (
            "isp-full",
            V1_0Alpha1,
            json!({"publishing": {"exposedServices": []}, "networking": {"podCIDR": "10.0.0.0/16",
            "podGateway": "10.0.0.1", "serviceCIDR": "10.1.0.0/16", "joinCIDR": "10.2.0.0/16"}}),
        ),
        (
            "isp-full",
            V1_0Alpha1,
            json!({"bundles": {"enabledPackages": ["cozystack.velero", "cozystack.gpu-operator"]}}),
        ),
        (
            "isp-hosted",
            V1_0Alpha1,
            json!({"bundles": {"system": {"enabled": true}}}),
        ),
        // Nobody looks at networks in a cluster of somebody else's.
        (
            "isp-hosted",
            V1_0Alpha1,
            json!({"bundles": {"system": {"enabled": true}}, "networking": {"podCIDR": null,
            "podGateway": null}}),
        ),
        (
            "default",
            V1_0Alpha1,
            json!({"bundles": {"system": {"enabled": true}}}),
        ),
        (
            "isp-full",
            V1_0Alpha1,
            json!({"branding": {"branding": "<svg>", "titleText": "x", "a": {"b": [1]}}}),
        ),
        (
            "isp-full",
            V1_0Alpha1,
            json!({"_cluster": {"x": 1}, "_namespace": 2, "global": {"y": 1}}),
        ),
        (
            "isp-full",
            V1_0Alpha1,
            json!({"scheduling": {"globalAppTopologySpreadConstraints": "- maxSkew: 1\n",
            "dedicatedNodesForWindowsVMs": "true"}}),
        ),
        (
            "isp-full",
            V1_0Alpha1,
            json!({"registries": {
            "mirrors": {"docker.io": {"endpoints": ["http://10.0.0.1:8082"]}, "ghcr.io": {}},
            "config": {"http://10.0.0.1:8082": {"tls": {"insecureSkipVerify": true}}}}}),
        ),
        (
            "isp-full",
            V1_0Alpha1,
            json!({"registries": {"mirrors": {}}}),
        ),
        (
            "isp-full",
            V1_0Alpha1,
            json!({"bundles": {"disabledPackages": ["cozystack.from-elsewhere"]}}),
        ),
        (
            "isp-full",
            V1_0Alpha1,
            json!({"networking": {"clusterDomain": "cluster.local"}, "migrations": {"image": "a:b",
            "targetVersion": 24}, "authentication": {"oidc": {"enabled": true}}}),
        ),
    ] {
        row(variant, version, &values, &[], &[]);
    }
}

#[test]
fn good_values_of_later_releases() {
    for (variant, version, values) in [
        (
            "isp-full-generic",
            V1_0,
            json!({"networking": {"kubeovn": {"MASTER_NODES": "10.0.0.1,10.0.0.2"}},
            "publishing": {"certificates": {"solver": "", "issuerName": "own"}}}),
        ),
        (
            "isp-full",
            V1_3,
            json!({"authentication": {"oidc": {"insecureSkipVerify": true,
            "keycloakExtraRedirectUri": "https://a/*,https://b/*"}}}),
        ),
        (
            "isp-full",
            V1_6,
            json!({
                "resources": {"cpuAllocationRatio": 4, "memoryAllocationRatio": 1.5},
                "bundles": {"iaas": {"gpuOperatorVariant": "vgpu"}, "enabledPackages": ["cozystack.linstor-gui"]},
                "publishing": {"ingressNameAdmin": "tenant-admin", "loadBalancerClass": "robotlb.io/lb", "proxyProtocol": true,
                    "certificates": {"wildcard": true, "wildcardSecretName": "wild", "solver": "dns01",
                        "dns01": {"provider": "route53", "route53": {"region": "eu"}}}},
                "gateway": {"enabled": true, "attachedNamespaces": ["cozy-system"]},
                "monitoring": {"rootEnabled": false}, "backupStorage": {"endpoint": "x"}, "gpu": {"replaceDefaults": true},
                "authentication": {"oidc": {"keycloakInternalUrl": "http://keycloak-http.cozy-keycloak.svc:8080/realms/cozy"}},
            }),
        ),
    ] {
        row(variant, version, &values, &[], &[]);
    }
}

#[test]
fn types_and_syntax() {
    let lower =
        "must be lower-case letters, digits, '-' and '.', and start and end with a letter or digit";
    let label =
        "must be lower-case letters, digits and '-', and start and end with a letter or digit";
    let url = "must be a URL with http or https, a host and optionally a port, such as https://api.example.org:6443";
    for (values, refused) in [
        (json!({"bundles": []}), r#"bundles: Invalid value: "array": must be an object"#.to_owned()),
        (json!({"bundles": {"paas": {"enabled": "true"}}}),
            r#"bundles.paas.enabled: Invalid value: "string": must be a boolean"#.to_owned()),
        (json!({"bundles": {"disabledPackages": "cozystack.velero"}}),
            r#"bundles.disabledPackages: Invalid value: "string": must be a list"#.to_owned()),
        (json!({"bundles": {"enabledPackages": [1]}}),
            r#"bundles.enabledPackages[0]: Invalid value: "number": must be a string"#.to_owned()),
        (json!({"networking": {"podCIDR": 10}}),
            r#"networking.podCIDR: Invalid value: "number": must be a string"#.to_owned()),
        (json!({"networking": {"clusterDomain": "Cozy_local"}}),
            format!(r#"networking.clusterDomain: Invalid value: "Cozy_local": {lower}"#)),
        (json!({"publishing": {"host": "https://x.org"}}),
            format!(r#"publishing.host: Invalid value: "https://x.org": {lower}"#)),
        (json!({"publishing": {"host": ""}}), format!(r#"publishing.host: Invalid value: "": {lower}"#)),
        (json!({"publishing": {"host": "10.0.0.1"}}),
            r#"publishing.host: Invalid value: "10.0.0.1": must be a domain name, not an IP address: services get names below it"#.to_owned()),
        (json!({"publishing": {"host": format!("{}.org", "a".repeat(61))}}),
            format!(r#"publishing.host: Invalid value: "{}.org": must be no more than 63 bytes: tenants' namespaces carry it in a label"#, "a".repeat(61))),
        (json!({"publishing": {"host": null}}),
            "publishing.host: Required value: all published services get names below it".to_owned()),
        (json!({"publishing": {"ingressName": "tenant_root"}}),
            format!(r#"publishing.ingressName: Invalid value: "tenant_root": {label}"#)),
        (json!({"publishing": {"apiServerEndpoint": "api.x.org:6443"}}),
            format!(r#"publishing.apiServerEndpoint: Invalid value: "api.x.org:6443": {url}"#)),
        (json!({"publishing": {"apiServerEndpoint": "https://api.x.org:99999"}}),
            format!(r#"publishing.apiServerEndpoint: Invalid value: "https://api.x.org:99999": {url}"#)),
        (json!({"publishing": {"externalIPs": ["192.0.2.1", "192.0.2.256"]}}),
            r#"publishing.externalIPs[1]: Invalid value: "192.0.2.256": must be an IP address, such as 192.0.2.10"#.to_owned()),
        (json!({"publishing": {"exposedServices": ["api", "dashbord"]}}),
            r#"publishing.exposedServices[1]: Unsupported value: "dashbord": supported values: "api", "dashboard", "vm-exportproxy", "cdi-uploadproxy""#.to_owned()),
        (json!({"publishing": {"exposedServices": [" api"]}}),
            r#"publishing.exposedServices[0]: Unsupported value: " api": supported values: "api", "dashboard", "vm-exportproxy", "cdi-uploadproxy""#.to_owned()),
        (json!({"publishing": {"exposedServices": "api,dashboard"}}),
            r#"publishing.exposedServices: Invalid value: "string": must be a list"#.to_owned()),
        (json!({"publishing": {"certificates": {"issuerType": "letsencrypt"}}}),
            r#"publishing.certificates.issuerType: Unsupported value: "letsencrypt": supported values: "http01", "cloudflare""#.to_owned()),
        (json!({"scheduling": {"globalAppTopologySpreadConstraints": [{"maxSkew": 1}]}}),
            r#"scheduling.globalAppTopologySpreadConstraints: Invalid value: "array": must be a string"#.to_owned()),
        (json!({"branding": "x"}), r#"branding: Invalid value: "string": must be an object"#.to_owned()),
        (json!({"sourceRef": {"kind": "GitRepository"}}),
            r#"sourceRef.kind: Unsupported value: "GitRepository": supported values: "OCIRepository""#.to_owned()),
        (json!({"migrations": {"targetVersion": 1.5}}),
            "migrations.targetVersion: Invalid value: 1.5: must be a whole number that is not negative".to_owned()),
        (json!({"migrations": {"targetVersion": "24"}}),
            r#"migrations.targetVersion: Invalid value: "string": must be a number"#.to_owned()),
        (json!({"migrations": {"image": ""}}),
            r#"migrations.image: Invalid value: "": must not be empty"#.to_owned()),
        (json!({"networking": null}),
            "networking: Required value: may not be taken away with null: the chart reads the keys below it".to_owned()),
        (json!({"authentication": {"oidc": {"enabled": "yes"}}}),
            r#"authentication.oidc.enabled: Invalid value: "string": must be a boolean"#.to_owned()),
        (json!({"authentication": {"oidc": {"enabled": null}}}),
            "authentication.oidc.enabled: Required value: must be true or false while bundles.system.enabled is true".to_owned()),
    ] {
        row("isp-full", V1_0Alpha1, &values, &[&refused], &[]);
    }
    row(
        "isp-full",
        V1_0Alpha1,
        &json!({"networking": {"serviceCIDR": null}}),
        &["networking.serviceCIDR: Required value: the platform's network needs it"],
        &[],
    );
    assert_eq!(
        say("isp-full", V1_0Alpha1, &json!("x")).refused,
        [r#"spec.components.platform.values: Invalid value: "string": must be an object"#]
    );
}

#[test]
fn ratios_are_positive_everywhere() {
    let none = "resources.cpuAllocationRatio: has no effect before v1.6.0";
    for (value, says) in [
        (json!(0), "Invalid value: 0: must be greater than 0"),
        (json!(-1), "Invalid value: -1: must be greater than 0"),
        (json!("4"), r#"Invalid value: "string": must be a number"#),
    ] {
        let values = json!({"resources": {"cpuAllocationRatio": value}});
        let refused = format!("resources.cpuAllocationRatio: {says}");
        row("isp-full", V1_6, &values, &[&refused], &[]);
        row("isp-full", V1_0Alpha1, &values, &[&refused], &[none]);
    }
    row(
        "isp-full",
        V1_3,
        &json!({"resources": {"cpuAllocationRatio": 4}}),
        &[],
        &[none],
    );
}

#[test]
fn networks_fit_together() {
    let network =
        "must be an IPv4 network with a prefix length from 0 to 32, such as 10.244.0.0/16";
    for (values, refused) in [
        (json!({"podCIDR": "10.244.0.0/99"}),
            vec![format!(r#"networking.podCIDR: Invalid value: "10.244.0.0/99": {network}"#)]),
        (json!({"podCIDR": ""}), vec![format!(r#"networking.podCIDR: Invalid value: "": {network}"#)]),
        (json!({"serviceCIDR": "10.96.0.0"}),
            vec![format!(r#"networking.serviceCIDR: Invalid value: "10.96.0.0": {network}"#)]),
        (json!({"joinCIDR": "fd00:100:64::/112"}),
            vec![format!(r#"networking.joinCIDR: Invalid value: "fd00:100:64::/112": {network}"#)]),
        (json!({"serviceCIDR": "10.244.128.0/17"}),
            vec![r#"networking.serviceCIDR: Invalid value: "10.244.128.0/17": must not overlap with networking.podCIDR (10.244.0.0/16)"#.to_owned()]),
        (json!({"joinCIDR": "10.0.0.0/8"}), vec![
            r#"networking.joinCIDR: Invalid value: "10.0.0.0/8": must not overlap with networking.podCIDR (10.244.0.0/16)"#.to_owned(),
            r#"networking.joinCIDR: Invalid value: "10.0.0.0/8": must not overlap with networking.serviceCIDR (10.96.0.0/16)"#.to_owned(),
        ]),
        // The gateway is the default's: it must move with the network.
        (json!({"podCIDR": "10.10.0.0/16"}),
            vec![r#"networking.podGateway: Invalid value: "10.244.0.1": must be an address for a host inside networking.podCIDR (10.10.0.0/16)"#.to_owned()]),
        (json!({"podGateway": "10.244.0.0"}),
            vec![r#"networking.podGateway: Invalid value: "10.244.0.0": must be an address for a host inside networking.podCIDR (10.244.0.0/16)"#.to_owned()]),
        (json!({"podGateway": "10.244.0.1/16"}),
            vec![r#"networking.podGateway: Invalid value: "10.244.0.1/16": must be an IPv4 address, such as 10.244.0.1"#.to_owned()]),
    ] {
        let refused: Vec<&str> = refused.iter().map(String::as_str).collect();
        for variant in ["isp-full", "default"] {
            row(variant, V1_0Alpha1, &json!({"networking": values}), &refused, &[]);
        }
    }
    row(
        "isp-full",
        V1_0Alpha1,
        &json!({"networking": {"podCIDR": "10.244.0.1/16"}}),
        &[],
        &["networking.podCIDR: the network is 10.244.0.0/16"],
    );
    row(
        "isp-full",
        V1_0,
        &json!({"networking": {"kubeovn": {"MASTER_NODES": "10.0.0.1,node2"}}}),
        &[
            r#"networking.kubeovn.MASTER_NODES: Invalid value: "10.0.0.1,node2": must be IP addresses, separated by commas"#,
        ],
        &[],
    );
}

#[test]
fn bundles_fit_the_variant() {
    let needs = |bundle: &str, what: &str, is: &str| {
        format!(
            "bundles.{bundle}.enabled: Invalid value: true: needs bundles.system.variant to be {what}, and it is {is:?}"
        )
    };
    let full = r#""isp-full""#;
    let hosting = r#""isp-full" or "isp-hosted""#;
    row(
        "isp-hosted",
        V1_0Alpha1,
        &json!({"bundles": {"iaas": {"enabled": true}}}),
        &[&needs("iaas", full, "isp-hosted")],
        &[BLOCKED],
    );
    row(
        "isp-hosted",
        V1_0,
        &json!({"bundles": {"iaas": {"enabled": true}, "system": {"enabled": true}}}),
        &[&needs(
            "iaas",
            r#""isp-full" or "isp-full-generic""#,
            "isp-hosted",
        )],
        &[],
    );
    let networkless =
        "bundles.system.variant: it brings no networking, so every Package stays blocked";
    row(
        "isp-full",
        V1_0Alpha1,
        &json!({"bundles": {"system": {"variant": "isp-foo"}}}),
        &[
            &needs("iaas", full, "isp-foo"),
            &needs("paas", hosting, "isp-foo"),
            &needs("naas", hosting, "isp-foo"),
        ],
        &[networkless],
    );
    row(
        "default",
        V1_0Alpha1,
        &json!({"bundles": {"system": {"enabled": true, "variant": "distro-full"}}}),
        &[],
        &[networkless],
    );
    row(
        "default",
        V1_0Alpha1,
        &json!({"bundles": {"system": {"enabled": true, "variant": "isp-full-generic"}}}),
        &[],
        &[networkless],
    );
    row(
        "default",
        V1_0,
        &json!({"bundles": {"system": {"enabled": true, "variant": "isp-full-generic"}}}),
        &[],
        &[],
    );
    row(
        "default",
        V1_0Alpha1,
        &json!({"bundles": {"paas": {"enabled": true}}}),
        &[],
        &[BLOCKED],
    );
    // What the migration script of v1.0.0-alpha.1 makes of a legacy installation.
    row(
        "paas-hosted",
        V1_0Alpha1,
        &json!({"bundles": {"system": {"enabled": false, "type": "hosted"}, "iaas": {"enabled": true}}}),
        &[],
        &[
            "bundles.system.type: no chart reads it; set variant",
            BLOCKED,
        ],
    );
    row(
        "isp-full",
        V1_6,
        &json!({"bundles": {"iaas": {"gpuOperatorVariant": "passthrough"}}}),
        &[
            r#"bundles.iaas.gpuOperatorVariant: Unsupported value: "passthrough": supported values: "default", "vgpu""#,
        ],
        &[],
    );
}

#[test]
fn lists_name_packages() {
    let lists = |enabled: &[&str], disabled: &[&str]| json!({"bundles": {"enabledPackages": enabled, "disabledPackages": disabled}});
    for (variant, version, values, refused, warned) in [
        (
            "isp-full",
            V1_0Alpha1,
            lists(&["telepresence"], &[]),
            vec![
                r#"bundles.enabledPackages[0]: Invalid value: "telepresence": is no package of the platform; did you mean cozystack.telepresence?"#,
            ],
            vec![],
        ),
        (
            "isp-full",
            V1_0Alpha1,
            lists(&[], &["cozystack.goldpinger", "cozystack.goldpingr"]),
            vec![
                r#"bundles.disabledPackages[1]: Invalid value: "cozystack.goldpingr": is no package of the platform; did you mean cozystack.goldpinger?"#,
            ],
            vec![],
        ),
        (
            "isp-full",
            V1_0Alpha1,
            lists(&["zzz"], &[""]),
            vec![
                r#"bundles.enabledPackages[0]: Invalid value: "zzz": is no package of the platform; names are those of PackageSources, such as cozystack.telepresence"#,
                r#"bundles.disabledPackages[0]: Invalid value: "": is no package of the platform; names are those of PackageSources, such as cozystack.telepresence"#,
            ],
            vec![],
        ),
        (
            "isp-full",
            V1_0Alpha1,
            lists(&["cozystack.velero"], &["cozystack.velero"]),
            vec![
                r#"bundles.enabledPackages[0]: Duplicate value: "cozystack.velero": is also in bundles.disabledPackages, which wins"#,
            ],
            vec![],
        ),
        (
            "isp-full",
            V1_0Alpha1,
            lists(
                &[
                    "cozystack.linstor",
                    "cozystack.ingress-nginx",
                    "cozystack.from-elsewhere",
                ],
                &[],
            ),
            vec![],
            vec![
                "bundles.enabledPackages[0]: has no effect: that Package is not optional",
                "bundles.enabledPackages[1]: has no effect: no bundle has that Package",
                "bundles.enabledPackages[2]: has no effect: no bundle has that Package",
            ],
        ),
        (
            "isp-full",
            V1_0Alpha1,
            lists(&["cozystack.bootbox"], &["cozystack.metrics-server"]),
            vec![],
            vec!["bundles.enabledPackages[0]: stays blocked: nothing brings bootbox-application"],
        ),
        (
            "isp-full",
            V1_0Alpha1,
            lists(
                &["cozystack.harbor-application"],
                &["cozystack.mariadb-application"],
            ),
            vec![],
            vec![
                "bundles.enabledPackages[0]: this release does not have that Package",
                "bundles.disabledPackages[0]: this release does not have that Package",
            ],
        ),
        (
            "isp-full",
            V1_0,
            lists(&[], &["cozystack.mysql-application"]),
            vec![],
            vec!["bundles.disabledPackages[0]: this release does not have that Package"],
        ),
        (
            "default",
            V1_0Alpha1,
            lists(&["cozystack.velero", "cozystack.gpu-operator"], &[]),
            vec![],
            vec![
                "bundles.enabledPackages[0]: has no effect without the system bundle",
                "bundles.enabledPackages[1]: has no effect without the iaas bundle",
            ],
        ),
    ] {
        row(variant, version, &values, &refused, &warned);
    }
}

#[test]
fn keys_of_no_and_of_other_releases() {
    for (version, values, refused, warned) in [
        (
            V1_0Alpha1,
            json!({"networking": {"podCidr": "10.0.0.0/16"}}),
            vec![
                "networking.podCidr: Forbidden: is no value of the platform; did you mean podCIDR?",
            ],
            vec![],
        ),
        (
            V1_0Alpha1,
            json!({"bundle": {}}),
            vec!["bundle: Forbidden: is no value of the platform; did you mean bundles?"],
            vec![],
        ),
        (
            V1_0Alpha1,
            json!({"bundles": {"paas": {"enable": true}}}),
            vec![
                "bundles.paas.enable: Forbidden: is no value of the platform; did you mean enabled?",
            ],
            vec![],
        ),
        // Somewhat alike is not misspelt: a newer release may have it.
        (
            V1_6,
            json!({"publishing": {"externalTrafficPolicy": "Local"}}),
            vec![],
            vec!["publishing.externalTrafficPolicy: is unknown; did you mean externalIPs?"],
        ),
        (
            V1_0Alpha1,
            json!({"zzz": 1}),
            vec![],
            vec!["zzz: is unknown: no chart reads it"],
        ),
        (
            V1_0Alpha1,
            json!({"gateway": {"enabled": "true"}}),
            vec![],
            vec!["gateway: has no effect before v1.4.0"],
        ),
        (
            V1_6,
            json!({"gateway": {"enabled": "true"}}),
            vec![r#"gateway.enabled: Invalid value: "string": must be a boolean"#],
            vec![],
        ),
    ] {
        row("isp-full", version, &values, &refused, &warned);
    }
}

#[test]
fn keys_that_other_releases_read() {
    for (version, values, refused, warned) in [
        (
            V1_0Alpha1,
            json!({"publishing": {"certificates": {"solver": "dns01", "issuerName": "x"}}}),
            vec![],
            vec![
                "publishing.certificates.issuerName: has no effect before v1.0.0",
                "publishing.certificates.solver: has no effect before v1.0.0",
            ],
        ),
        (
            V1_0,
            json!({"publishing": {"certificates": {"issuerType": "cloudflare"}}}),
            vec![],
            vec!["publishing.certificates.issuerType: solver and issuerName replaced it in v1.0.0"],
        ),
        (
            V1_0,
            json!({"publishing": {"certificates": {"solver": "http-01", "issuerName": ""}}}),
            vec![
                r#"publishing.certificates.issuerName: Invalid value: "": must be lower-case letters, digits, '-' and '.', and start and end with a letter or digit"#,
                r#"publishing.certificates.solver: Unsupported value: "http-01": supported values: "http01", "dns01", """#,
            ],
            vec![],
        ),
        (
            V1_0Alpha1,
            json!({"authentication": {"oidc": {"dashboard": {"extraRedirectUris": ["https://a"]}}}}),
            vec![],
            vec!["authentication.oidc.dashboard: no chart reads it"],
        ),
        (
            V1_0Alpha1,
            json!({"scheduling": {"topologySpreadConstraints": [{"maxSkew": 1}]}}),
            vec![],
            vec![
                "scheduling.topologySpreadConstraints: charts read globalAppTopologySpreadConstraints",
            ],
        ),
        (
            V1_0Alpha1,
            json!({"branding": {"dashboard": {"titleText": "x"}}}),
            vec![],
            vec!["branding.dashboard: has no effect: write its keys directly under branding"],
        ),
        (
            V1_6,
            json!({"publishing": {"exposedServices": ["harbor", "a,b"]}}),
            vec![
                r#"publishing.exposedServices[1]: Unsupported value: "a,b": supported values: "api", "dashboard", "vm-exportproxy", "cdi-uploadproxy""#,
            ],
            vec!["publishing.exposedServices[0]: is no service that is known here"],
        ),
        (
            V1_6,
            json!({"publishing": {"loadBalancerClass": "a b"}}),
            vec![
                "publishing.loadBalancerClass: Invalid value: \"a b\": must be a name of at most 63 letters, digits, '-', '_' or '.', optionally after a DNS name and '/'",
            ],
            vec![],
        ),
    ] {
        row("isp-full", version, &values, &refused, &warned);
    }
}

#[test]
fn registries_go_together() {
    let mirrors = json!({"docker.io": {"endpoints": ["http://10.0.0.1:8082"]}});
    for (values, refused, warned) in [
        (
            json!({"mirrors": mirrors}),
            vec![
                "registries.config: Required value: must be an object while registries.mirrors has endpoints; write {} for none",
            ],
            vec![],
        ),
        (
            json!({"mirrors": mirrors, "config": null}),
            vec![
                "registries.config: Required value: must be an object while registries.mirrors has endpoints; write {} for none",
            ],
            vec![],
        ),
        (
            json!({"mirrors": mirrors, "config": []}),
            vec![r#"registries.config: Invalid value: "array": must be an object"#],
            vec![],
        ),
        (
            json!({"mirrors": mirrors, "config": {"10.0.0.1:8082": {}}}),
            vec![],
            vec!["registries.config[10.0.0.1:8082]: is no mirror's endpoint; write its whole URL"],
        ),
        (
            json!({"mirrors": []}),
            vec![r#"registries.mirrors: Invalid value: "array": must be an object"#],
            vec![],
        ),
        (
            json!({"mirrors": {"docker.io": ["x"]}}),
            vec![r#"registries.mirrors[docker.io]: Invalid value: "array": must be an object"#],
            vec![],
        ),
        (
            json!({"mirrors": {"docker.io": {"endpoints": "x"}}}),
            vec![
                r#"registries.mirrors[docker.io].endpoints: Invalid value: "string": must be a list"#,
            ],
            vec![],
        ),
        (
            json!({"mirrors": {"docker.io": {"endpoint": []}}}),
            vec![
                "registries.mirrors[docker.io].endpoint: Forbidden: is no value of the platform; did you mean endpoints?",
            ],
            vec![],
        ),
        (
            json!({"config": {}, "mirrors": {"docker.io": {"endpoints": ["10.0.0.1:8082", 1]}}}),
            vec![
                r#"registries.mirrors[docker.io].endpoints[0]: Invalid value: "10.0.0.1:8082": must be a URL with http or https, a host and optionally a port, such as https://api.example.org:6443"#,
                r#"registries.mirrors[docker.io].endpoints[1]: Invalid value: "number": must be a string"#,
            ],
            vec![],
        ),
    ] {
        row(
            "isp-full",
            V1_0Alpha1,
            &json!({"registries": values}),
            &refused,
            &warned,
        );
    }
}

#[test]
fn everything_is_said_at_once_under_the_whole_path() {
    let said = say(
        "isp-hosted",
        V1_0Alpha1,
        &json!({
            "bundles": {"iaas": {"enabled": true}, "enabledPackages": ["x"]},
            "networking": {"podCIDR": "10.244.0.0/99"},
            "publishing": {"host": "A", "exposedServices": ["x"]},
            "registries": {"mirrors": 1},
        }),
    );
    assert_eq!(said.refused.len(), 6, "{:?}", said.refused);
    let mut verdict = Verdict::default();
    let values = json!({"networking": {"podCIDR": "10.244.0.0/99"}});
    let subject = Subject {
        variant: "",
        values: &values,
        version: Version::default(),
        is_installed: &|_| false,
    };
    let root = Path::ROOT.member("spec");
    check(&subject, &root.member("values"), &mut verdict);
    assert_eq!(
        verdict.violations[0].message(),
        r#"spec.values.networking.podCIDR: Invalid value: "10.244.0.0/99": must be an IPv4 network with a prefix length from 0 to 32, such as 10.244.0.0/16"#
    );
}

#[test]
fn a_warning_of_a_long_key_keeps_its_end() {
    let said = say("isp-full", V1_0Alpha1, &json!({"z".repeat(500): 1}));
    let [warning] = &said.warned[..] else {
        panic!("{:?}", said.warned)
    };
    assert_eq!(warning.chars().count(), WARNING_MAX_CHARS);
    assert!(warning.starts_with("...z") && warning.ends_with(": is unknown: no chart reads it"));
}

#[test]
fn helm_merges_maps_and_replaces_the_rest() {
    let merged_of = |values: Value| Value::Object(merged("isp-full", &values, V1_0Alpha1));
    let merged = merged_of(json!({
        "publishing": {"exposedServices": ["api"], "host": null, "certificates": {"issuerType": "cloudflare"}},
        "bundles": {"naas": {"enabled": false}},
        "branding": {"a": {"b": null, "c": 1}, "d": null},
        "resources": 7,
        "gpu": null,
    }));
    assert_eq!(merged["publishing"]["exposedServices"], json!(["api"]));
    assert_eq!(merged["publishing"]["host"], Value::Null);
    assert_eq!(merged["publishing"]["ingressName"], json!("tenant-root"));
    assert_eq!(
        merged["publishing"]["certificates"],
        json!({"issuerType": "cloudflare"})
    );
    assert_eq!(merged["bundles"]["naas"]["enabled"], json!(false));
    assert_eq!(merged["bundles"]["paas"]["enabled"], json!(true));
    assert_eq!(
        merged["branding"],
        json!({"dashboard": {}, "keycloak": {}, "a": {"c": 1}})
    );
    assert_eq!(merged["resources"], json!(7));
    assert!(merged.get("gpu").is_none() && merged["publishing"].get("host").is_none());
    assert_eq!(
        merged_of(Value::Null),
        Value::Object(defaults("isp-full", V1_0Alpha1))
    );
}

#[test]
fn releases_go_by_the_newest_rules_that_are_not_newer() {
    for (text, version) in [
        ("v0.39.5", V1_0Alpha1),
        ("v1.0.0-alpha.1", V1_0Alpha1),
        ("v1.0.0-rc.2", V1_0Alpha1),
        ("v1.0.0", V1_0),
        ("v1.2.9", V1_0),
        ("v1.3.0-rc.1", V1_0),
        ("v1.3.0", V1_3),
        ("v1.4.0-rc.1", V1_3),
        ("v1.4.1", V1_4),
        ("v1.5.4", V1_5),
        ("v1.6.0-rc.1", V1_5),
        ("v1.6.2+dirty", V1_6),
        ("v2.0.0-alpha.1", V1_6),
    ] {
        let release = crate::contract::Version::parse(text).unwrap();
        assert_eq!(Version::of(release), version, "{text}");
    }
    assert!(!V1_0.keeps_packages() && V1_3.keeps_packages());
}
