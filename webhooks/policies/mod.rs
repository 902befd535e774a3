//! Asks the policies that operators have written, for the platform that they look after: what one of them denies is
//! refused in the operator's words, whoever writes the Package. What a change leaves as it was only warns.

use crate::contract::{
    ByPolicy, Declaration, FailurePolicy, Fault, Mode, Operation, Path, Refusal as Documented,
    Request, Rule, Scope, Validate, Verdict, Violation, Webhook, Weight,
};
use crate::kinds::{EXTERNAL_ARTIFACTS, PACKAGE_POLICIES, PACKAGE_SOURCES, PACKAGES};
use crate::package::component_path;
use crate::policy::{ANNOTATION_MAX_BYTES, Facts, Part, Policy, Refusal, Ruling};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Key of the audit annotation that lists what `Audit` is the action for.
const FAILURES_KEY: &str = "validation_failure";
/// Longest such list, in bytes; what is beyond is left out.
const FAILURES_MAX_BYTES: usize = 10 * 1024;

/// The folder.
pub static WEBHOOK: Webhook = Webhook {
    declaration: Declaration {
        id: "policies",
        summary: "Holds Packages to the PackagePolicies that operators have written.",
        rules: &[Rule {
            resource: &PACKAGES.resource,
            versions: &["v1alpha1"],
            operations: &[Operation::Create, Operation::Update, Operation::Delete],
        }],
        scope: Scope::OutsideOurNamespace,
        names: &[],
        match_conditions: &[],
        failure_policy: FailurePolicy::Fail,
        timeout_seconds: 5,
        default_mode: Mode::Enforce,
        weight: Weight::Light,
        reads: &[
            &PACKAGE_POLICIES,
            &PACKAGE_SOURCES,
            &PACKAGES,
            &EXTERNAL_ARTIFACTS,
        ],
        writes: &[],
        settings: &[],
        refusals: &[&[
            Documented {
                field: "",
                says: "resulted in error",
                fix: "The policy cannot judge the Package: complete it, or have the policy's author ask with has() first. Its failurePolicy says what then happens.",
            },
            Documented {
                field: "",
                says: "failed to configure policy",
                fix: "The policy does not compile: its status says why.",
            },
            Documented {
                field: "",
                says: "no params",
                fix: "Create the ConfigMap that the policy names, or set its spec.paramRef.parameterNotFoundAction to Allow.",
            },
            Documented {
                field: "",
                says: "steps",
                fix: "The policy is too dear for this Package: have its author go through fewer lists within lists.",
            },
            Documented {
                field: "",
                says: "(PackagePolicy ",
                fix: "Do as the policy says, or ask its author.",
            },
        ]],
    },
    validate: Some(&Policies),
    mutate: None,
    convert: None,
    companions: None,
};

struct Policies;

impl Validate for Policies {
    fn validate(&self, request: &Request<'_>, verdict: &mut Verdict) -> Result<(), Fault> {
        let policies = request.cluster.policies();
        // Asked about the object before a change: what is an old sin has been told from the objects themselves.
        let is_about_the_old =
            request.operation == Operation::Update && request.old_object.is_none();
        if policies.is_empty() || is_about_the_old {
            return Ok(());
        }
        let facts = Facts::of(request);
        let mut audit = Audit::default();
        if !facts.can_be_matched(policies.ask_for_labels()) {
            let asked = policies
                .iter()
                .filter(|policy| policy.may_be_about(facts.name(), request.operation));
            for policy in asked {
                report(policy, &facts, &policy.cannot_match(), &mut audit, verdict);
            }
            audit.publish(verdict);
            return Ok(());
        }
        let labels = if policies.ask_for_labels() {
            facts.labels()
        } else {
            Vec::new()
        };
        let mut asked = policies.about(facts.name(), &labels);
        asked.retain(|policy| facts.are_matched_by(policy, &labels));
        for policy in asked {
            let params = policy.params().and_then(|name| policies.params(name));
            let rulings = policy.judge(&facts, params, None)?;
            if request.explains {
                verdict.note(explained(policy, &rulings));
            }
            for ruling in rulings {
                request.deadline.check()?;
                audit.annotate(policy, &ruling);
                report(policy, &facts, &ruling, &mut audit, verdict);
            }
        }
        audit.publish(verdict);
        Ok(())
    }
}

/// Values, as many as an annotation holds.
fn joined(values: &[String]) -> String {
    let mut joined = values.join(", ");
    while joined.len() > ANNOTATION_MAX_BYTES {
        joined.pop();
    }
    joined
}

fn explained(policy: &Policy, rulings: &[Ruling<'_>]) -> String {
    let components: Vec<&str> = rulings
        .iter()
        .filter_map(|ruling| ruling.part)
        .map(|part| part.name.as_str())
        .collect();
    let of = if components.is_empty() {
        String::new()
    } else {
        format!(", asked of {}", components.join(", "))
    };
    format!("PackagePolicy {}{of}", policy.name)
}

/// Takes the policy's actions.
fn report(
    policy: &Policy,
    facts: &Facts<'_>,
    ruling: &Ruling<'_>,
    audit: &mut Audit,
    verdict: &mut Verdict,
) {
    for message in &ruling.ignored {
        let ignored = format!("PackagePolicy {} is ignored: {message}", policy.name);
        verdict.warn(ignored);
    }
    let actions = policy.actions;
    let is_old_sin = !ruling.refusals.is_empty() && facts.is_unchanged(policy, ruling.part);
    for refusal in &ruling.refusals {
        let violation = violation(policy, ruling.part, refusal);
        if actions.audit {
            audit.fail(policy, ruling.part, refusal);
        }
        if actions.deny && !is_old_sin {
            verdict.refuse(violation);
        } else if actions.deny || actions.warn {
            verdict.warn(violation.message());
        }
    }
}

fn violation(policy: &Policy, part: Option<&Part>, refusal: &Refusal) -> Violation {
    let message = format!(
        "{} (PackagePolicy {}, {})",
        refusal.message, policy.name, refusal.rule
    );
    let by = ByPolicy {
        name: policy.name.clone(),
        reason: refusal.reason,
    };
    let spec = Path::ROOT.member("spec");
    let components = spec.member("components");
    match part {
        Some(part) => {
            let path = component_path(&components, &part.name);
            Violation::by_policy(&path.member("values"), message, by)
        }
        None => Violation::by_policy(&Path::ROOT, message, by),
    }
}

/// What goes into the audit log. The API server puts the webhook's name and a slash before each key and drops keys with
/// another one, so what ValidatingAdmissionPolicy calls `<policy>/<key>` is `<policy>_<key>` here: no policy's name has
/// an underscore.
#[derive(Default)]
struct Audit {
    failures: Vec<Value>,
    failures_bytes: usize,
    /// Of several components' different values all are kept.
    annotations: BTreeMap<String, Vec<String>>,
}

impl Audit {
    fn annotate(&mut self, policy: &Policy, ruling: &Ruling<'_>) {
        for (key, value) in &ruling.annotations {
            let key = format!("{}_{key}", policy.name);
            let values = self.annotations.entry(key).or_default();
            let bytes: usize = values.iter().map(String::len).sum();
            if bytes <= ANNOTATION_MAX_BYTES && !values.contains(value) {
                values.push(value.clone());
            }
        }
    }

    fn fail(&mut self, policy: &Policy, part: Option<&Part>, refusal: &Refusal) {
        let actions: Vec<&str> = policy.actions.names().collect();
        let mut failure = json!({
            "message": refusal.message,
            "policy": policy.name,
            "expressionIndex": refusal.index,
            "validationActions": actions,
        });
        if let (Some(members), Some(part)) = (failure.as_object_mut(), part) {
            members.insert("component".to_owned(), part.name.as_str().into());
        }
        self.failures_bytes += failure.to_string().len();
        if self.failures_bytes <= FAILURES_MAX_BYTES {
            self.failures.push(failure);
        }
    }

    fn publish(self, verdict: &mut Verdict) {
        if !self.failures.is_empty() {
            let list = Value::from(self.failures).to_string();
            verdict.audit.push((FAILURES_KEY.to_owned(), list));
        }
        let annotations = self.annotations.into_iter();
        let annotations = annotations.map(|(key, values)| (key, joined(&values)));
        verdict.audit.extend(annotations);
    }
}
