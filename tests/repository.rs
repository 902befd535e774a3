//! What must be true of the repository: nothing generated is stale, nothing is forgotten, the rules stay pure.

#![allow(
    missing_docs,
    clippy::pedantic,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use webhooks::REGISTRY;
use webhooks::contract::FailurePolicy;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

#[test]
fn generated_files_are_fresh() {
    for (name, text) in cozystack_webhook::generate::files(REGISTRY).unwrap() {
        let found = std::fs::read_to_string(root().join(&name)).unwrap_or_default();
        assert!(found == text, "{name} is stale: run `make generate`");
    }
}

#[test]
fn every_folder_of_a_rule_is_in_the_registry() {
    let ids: BTreeSet<String> = REGISTRY
        .iter()
        .map(|webhook| webhook.declaration.id.to_owned())
        .collect();
    assert_eq!(ids.len(), REGISTRY.len(), "an id is there twice");
    let mut folders = BTreeSet::new();
    for entry in std::fs::read_dir(root().join("webhooks"))
        .unwrap()
        .flatten()
    {
        let module = entry.path().join("mod.rs");
        if let Ok(text) = std::fs::read_to_string(&module)
            && text.contains("pub static WEBHOOK")
        {
            assert!(
                text.starts_with("//! "),
                "{} does not say what the rule does",
                module.display()
            );
            folders.insert(entry.file_name().to_string_lossy().replace('_', "-"));
        }
    }
    assert_eq!(folders, ids);
}

/// The rules cannot do I/O: what could is not among their dependencies.
#[test]
fn the_rules_cannot_reach_the_world() {
    let output = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--package",
            "webhooks",
            "--edges",
            "normal",
            "--prefix",
            "none",
            "--locked",
            "--offline",
        ])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8(output.stdout).unwrap();
    let crates: BTreeSet<&str> = text
        .lines()
        .filter_map(|line| line.split(' ').next())
        .collect();
    assert!(
        crates.contains("serde_json") && crates.contains("jsonschema"),
        "{crates:?}"
    );
    for banned in [
        "tokio",
        "hyper",
        "rustls",
        "kube",
        "kube-client",
        "reqwest",
        "mio",
        "socket2",
        "ureq",
        "async-std",
    ] {
        assert!(!crates.contains(banned), "the rules depend on {banned}");
    }
    assert!(
        !crates.iter().any(|name| name.starts_with("actix")),
        "{crates:?}"
    );
    // Nor do they reach for the standard library's doors.
    let mut folders = vec![root().join("webhooks")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                for door in ["std::fs", "std::net", "std::process", "std::env"] {
                    assert!(!text.contains(door), "{} uses {door}", path.display());
                }
            }
        }
    }
}

/// The checks that a reader of the configurations would make by hand.
#[test]
fn generated_configurations_are_safe() {
    let target = cozystack_webhook::crds::Target::default();
    let configurations = cozystack_webhook::generate::configurations(REGISTRY, &target);
    assert!(!configurations.is_empty());
    for webhook in configurations
        .iter()
        .flat_map(|configuration| configuration["webhooks"].as_array().unwrap())
    {
        let name = webhook["name"].as_str().unwrap();
        assert_eq!(webhook["sideEffects"], "None", "{name}");
        assert_eq!(webhook["matchPolicy"], "Equivalent", "{name}");
        assert_eq!(
            webhook["admissionReviewVersions"],
            serde_json::json!(["v1"]),
            "{name}"
        );
        assert!(
            webhook["timeoutSeconds"]
                .as_u64()
                .is_some_and(|seconds| (1..=5).contains(&seconds)),
            "{name}"
        );
        assert!(name.split('.').count() >= 3, "{name}");
        for rule in webhook["rules"].as_array().unwrap() {
            for member in ["apiGroups", "apiVersions", "operations", "resources"] {
                for value in rule[member].as_array().unwrap() {
                    let value = value.as_str().unwrap();
                    assert!(
                        !value.contains('*') && !value.contains('/'),
                        "{name}: {member} {value}"
                    );
                    let untouchable = [
                        "nodes",
                        "leases",
                        "certificatesigningrequests",
                        "tokenreviews",
                        "subjectaccessreviews",
                    ];
                    assert!(!untouchable.contains(&value), "{name}: {value}");
                }
            }
        }
    }
    for role in cozystack_webhook::generate::rbac(REGISTRY, &target) {
        let text = role.to_string();
        assert!(
            !text.contains("\"*\"") && !text.contains("escalate") && !text.contains("impersonate"),
            "{text}"
        );
    }
    let mutating = configurations
        .iter()
        .filter(|configuration| configuration["kind"] == "MutatingWebhookConfiguration")
        .flat_map(|configuration| configuration["webhooks"].as_array().unwrap());
    for webhook in mutating {
        let name = webhook["name"].as_str().unwrap();
        assert_eq!(
            webhook["failurePolicy"], "Ignore",
            "{name}: a mutator must not stop a cluster"
        );
    }
}

/// Every line of a shell block in README and docs that starts with the binary's name is one that it understands.
#[test]
fn documented_commands_exist() {
    let mut checked = 0;
    let mut files = vec![root().join("README.md"), root().join("CONTRIBUTING.md")];
    files.extend(
        std::fs::read_dir(root().join("docs"))
            .unwrap()
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.is_file()),
    );
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        for line in text.lines() {
            let Some(command) = line.trim().strip_prefix("cozystack-webhook ") else {
                continue;
            };
            let words: Vec<&str> = command
                .split('#')
                .next()
                .unwrap()
                .split('|')
                .next()
                .unwrap()
                .split_whitespace()
                .collect();
            let mut arguments: Vec<&str> = words
                .iter()
                .take_while(|word| !word.starts_with(['-', '.', '/']))
                .take(1)
                .copied()
                .collect();
            if let Some("crds" | "certs" | "migrate" | "policy") = arguments.first().copied() {
                arguments.extend(words.iter().skip(1).find(|word| {
                    let known = ["init", "install", "uninstall", "status"];
                    let more = ["plan", "apply", "verify", "rollback", "explain"];
                    known.contains(word) || more.contains(word)
                }));
            }
            arguments.push("--help");
            let output = Command::new(env!("CARGO_BIN_EXE_cozystack-webhook"))
                .args(&arguments)
                .output()
                .unwrap();
            assert!(output.status.success(), "{}: {line}", file.display());
            let help = String::from_utf8(output.stdout).unwrap();
            for option in words.iter().filter(|word| word.starts_with("--")) {
                let option = option.split('=').next().unwrap();
                assert!(
                    help.contains(option),
                    "{}: {line}: no {option}",
                    file.display()
                );
            }
            checked += 1;
        }
    }
    assert!(checked >= 5, "{checked} commands");
}

/// The README's table of rules is complete, and says what the declarations say.
#[test]
fn the_readme_lists_every_rule() {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    for declaration in REGISTRY.iter().map(|webhook| &webhook.declaration) {
        let row = format!("| `{}` |", declaration.id);
        let row = readme
            .lines()
            .find(|line| line.starts_with(&row))
            .unwrap_or_else(|| panic!("{row} is not in the README"));
        assert!(
            row.ends_with(&format!("| {} |", declaration.default_mode.as_str())),
            "{row}"
        );
        let fails = declaration.failure_policy == FailurePolicy::Fail;
        assert_eq!(row.contains(" fail"), fails, "{row}");
    }
}

/// Whatever the service counts or tells stands in docs/operations.md, and nothing else.
#[test]
fn metrics_and_events_are_documented() {
    use cozystack_webhook::events::Reason;
    use cozystack_webhook::server::metrics::{
        CacheLabels, CompanionLabels, ConversionLabels, DenialLabels, Metrics, PolicyLabels,
        ReconcileLabels, RefusalLabels, ReviewLabels, SchemaLabels,
    };
    let docs = std::fs::read_to_string(root().join("docs/operations.md")).unwrap();
    let documented: std::collections::BTreeSet<&str> = docs
        .split("| Metric |")
        .nth(1)
        .unwrap()
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .map(|name| name.trim_end_matches("_total"))
        .collect();
    let metrics = Metrics::default();
    // A family without a series is not served.
    metrics.observe("admission", std::time::Duration::ZERO);
    metrics
        .reviews
        .get_or_create(&ReviewLabels {
            rule: "x",
            operation: "CREATE",
            outcome: "allowed",
            code: 200,
        })
        .inc();
    metrics
        .conversions
        .get_or_create(&ConversionLabels {
            resource: "x",
            outcome: "success",
        })
        .inc();
    metrics
        .refusals
        .get_or_create(&RefusalLabels { code: 404 })
        .inc();
    metrics
        .cached_objects
        .get_or_create(&CacheLabels { resource: "x" })
        .set(1);
    metrics
        .values_schemas
        .get_or_create(&SchemaLabels {
            source: "chart",
            state: "ready",
        })
        .set(1);
    metrics
        .policies
        .get_or_create(&PolicyLabels { state: "compiled" })
        .set(1);
    metrics
        .policy_denials
        .get_or_create(&DenialLabels { dry_run: "false" })
        .inc();
    metrics
        .kind_absent
        .get_or_create(&CacheLabels { resource: "x" })
        .set(1);
    metrics
        .companions
        .get_or_create(&CompanionLabels {
            rule: "x",
            state: "in_step",
        })
        .set(1);
    metrics
        .reconciles
        .get_or_create(&ReconcileLabels {
            rule: "x",
            outcome: "done",
        })
        .inc();
    let text = metrics.text();
    let served: std::collections::BTreeSet<&str> = text
        .lines()
        .filter_map(|line| {
            line.strip_prefix("# TYPE cozystack_webhook_")?
                .split(' ')
                .next()
        })
        .collect();
    assert_eq!(documented, served);
    for reason in Reason::ALL {
        assert!(
            docs.contains(&format!("| `{}` |", reason.as_str())),
            "{reason:?}"
        );
    }
}

#[test]
fn the_help_names_the_exit_codes() {
    let output = Command::new(env!("CARGO_BIN_EXE_cozystack-webhook"))
        .arg("--help")
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("Exit codes: 0 fine; 1 violations"), "{text}");
    let crds: Vec<Value> = cozystack_webhook::crds::bare(REGISTRY).unwrap();
    assert_eq!(crds.len(), 5);
}
