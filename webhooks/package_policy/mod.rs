//! Refuses PackagePolicies that could not be asked, for the operators who write them: expressions that do not compile,
//! with line and column, and what contradicts itself or costs too much.

use crate::contract::{
    Declaration, FailurePolicy, Fault, Mode, Operation, Refusal, Request, Rule, Scope, Validate,
    Verdict, Violation, Webhook, Weight,
};
use crate::kinds::PACKAGE_POLICIES;
use crate::policy::Policy;
use serde_json::Value;

/// The folder.
pub static WEBHOOK: Webhook = Webhook {
    declaration: Declaration {
        id: "package-policy",
        summary: "Checks PackagePolicies: every expression compiles, gives what it should and has bounds.",
        rules: &[Rule {
            resource: &PACKAGE_POLICIES.resource,
            versions: &["v1alpha1"],
            operations: &[Operation::Create, Operation::Update],
        }],
        scope: Scope::OutsideOurNamespace,
        names: &[],
        match_conditions: &[],
        failure_policy: FailurePolicy::Fail,
        timeout_seconds: 5,
        default_mode: Mode::Enforce,
        weight: Weight::Heavy,
        reads: &[],
        writes: &[],
        settings: &[],
        refusals: &[&[
            Refusal {
                field: "spec",
                says: "line ",
                fix: "Put the expression right at that line and column; docs/policies.md says which variables and functions there are.",
            },
            Refusal {
                field: "spec",
                says: "must evaluate to ",
                fix: "Compare or convert: conditions and validations give a boolean, messages a string, annotations a string or null.",
            },
            Refusal {
                field: "spec",
                says: "estimated to cost",
                fix: "Go through fewer lists within lists, or split the policy.",
            },
            Refusal {
                field: "spec.match",
                says: "",
                fix: "Write names, labels and components as Kubernetes knows them; a * may end the name of a Package or stand for all components.",
            },
            Refusal {
                field: "spec.validationActions",
                says: "exclude each other",
                fix: "Give Deny or Warn.",
            },
            Refusal {
                field: "spec.validations",
                says: "",
                fix: "Give at least one validation or audit annotation, and messages of one line.",
            },
            Refusal {
                field: "spec",
                says: "may not be more than",
                fix: "Split the policy.",
            },
            Refusal {
                field: "spec",
                says: "Duplicate value",
                fix: "Give each its own name.",
            },
            Refusal {
                field: "spec",
                says: "must be ",
                fix: "Give it a name that can be used as such.",
            },
            Refusal {
                field: "spec.auditAnnotations",
                says: "keeps no audit annotation",
                fix: "Shorten the name of the policy or the key.",
            },
            Refusal {
                field: "spec.paramRef.name",
                says: "",
                fix: "Name a ConfigMap in the namespace of the installation.",
            },
            Refusal {
                field: "spec",
                says: "Required value",
                fix: "Give it.",
            },
        ]],
    },
    validate: Some(&PackagePolicy),
    mutate: None,
    convert: None,
    companions: None,
};

struct PackagePolicy;

impl Validate for PackagePolicy {
    fn validate(&self, request: &Request<'_>, verdict: &mut Verdict) -> Result<(), Fault> {
        let Some(object) = request.object else {
            return Ok(());
        };
        let object: Value = match object.read() {
            Ok(object) => object,
            Err(error) => {
                verdict.refuse(Violation::policy(format!(
                    "the object is not readable: {error}"
                )));
                return Ok(());
            }
        };
        let (policy, violations) = Policy::compile(&object);
        if request.explains {
            verdict.note(format!("estimated cost: {} steps", policy.cost()));
        }
        for violation in violations {
            verdict.refuse(violation);
        }
        Ok(())
    }
}
