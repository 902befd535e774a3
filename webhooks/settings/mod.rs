//! Refuses settings that the service would not understand, for the operators who write them: unknown rules and keys
//! with the nearest known name, and values that do not fit.

use crate::REGISTRY;
use crate::contract::{
    Declaration, FIELD_MANAGER, FailurePolicy, Fault, Mode, Operation, Path, Refusal, Request,
    Resource, Rule, Scope, Settings, Validate, Verdict, Violation, Webhook, Weight,
};
use serde::Deserialize;
use serde_json::{Map, Value};

/// ConfigMaps.
pub static RESOURCE: Resource = Resource {
    group: "",
    version: "v1",
    plural: "configmaps",
    kind: "ConfigMap",
    namespaced: true,
};

/// Name of the ConfigMap, in the namespace of the installation.
pub const NAME: &str = FIELD_MANAGER;

/// The folder.
pub static WEBHOOK: Webhook = Webhook {
    declaration: Declaration {
        id: "settings",
        summary: "Checks the service's own settings: known rules and keys, values that fit.",
        rules: &[Rule {
            resource: &RESOURCE,
            versions: &["v1"],
            operations: &[Operation::Create, Operation::Update],
        }],
        scope: Scope::OurNamespace,
        names: &[NAME],
        match_conditions: &[],
        // A service that is away must be able to come back with other settings.
        failure_policy: FailurePolicy::Ignore,
        timeout_seconds: 5,
        default_mode: Mode::Enforce,
        weight: Weight::Light,
        reads: &[],
        writes: &[],
        settings: &[],
        refusals: &[&[
            Refusal {
                field: "data",
                says: "is no setting",
                fix: "Use a key of docs/settings.md.",
            },
            Refusal {
                field: "data",
                says: "supported values: \"off\", \"warn\", \"enforce\"",
                fix: "A mode is off, warn or enforce; quote off, which YAML reads as false.",
            },
            Refusal {
                field: "data",
                says: "must be",
                fix: "Write what docs/settings.md says of the key; every value is a string.",
            },
            Refusal {
                field: "binaryData",
                says: "must be under data",
                fix: "Move the key to data.",
            },
        ]],
    },
    validate: Some(&SettingsDocument),
    mutate: None,
    convert: None,
    companions: None,
};

struct SettingsDocument;

#[derive(Deserialize)]
struct Document {
    data: Option<Map<String, Value>>,
    #[serde(rename = "binaryData")]
    binary_data: Option<Map<String, Value>>,
}

impl Validate for SettingsDocument {
    fn validate(&self, request: &Request<'_>, verdict: &mut Verdict) -> Result<(), Fault> {
        let Some(object) = request.object else {
            return Ok(());
        };
        let document = match object.read::<Document>() {
            Ok(document) => document,
            Err(error) => {
                verdict.refuse(Violation::invalid(
                    &Path::ROOT.member("data"),
                    Value::Null,
                    format!("must be a map of strings: {error}"),
                ));
                return Ok(());
            }
        };
        let (_, violations) = Settings::read(&document.data.unwrap_or_default(), REGISTRY);
        for violation in violations {
            verdict.refuse(violation);
        }
        for key in document.binary_data.unwrap_or_default().keys() {
            let path = Path::ROOT.member("binaryData");
            verdict.refuse(Violation::forbidden(
                &path.key(key),
                "must be under data: settings are texts",
            ));
        }
        Ok(())
    }
}
