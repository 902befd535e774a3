//! What the API server says of the expressions in testcases/cel.
//!
//! With UPDATE_CEL=1 its answers are written there; else they must be what is written.

use crate::Cluster;
use crate::support::cel::{Answer, Case, Named, assert_enough, cases, write_answers};
use futures::stream::{self, StreamExt as _};
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, PostParams};
use kube::core::{GroupVersionKind, Status};
use serde_json::{Value, json};
use std::path::Path;
use std::time::{Duration, Instant};

const CRD: &str = "testcases/crds/things.yaml";
/// Requests at a time: the machine has two cores.
const AT_A_TIME: usize = 8;
/// Policies are read anew once a second, and compiled; a busy machine takes longer.
const IN_FORCE_TIME: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(100);
/// What a policy says when its expression is true: nobody is let in because a policy is not in force yet.
const IN_FORCE: &str = "in force, and the expression is true";

pub fn what_the_api_server_says(assets: &Path) {
    let cases = cases();
    let cluster = Cluster::bare(assets);
    let plane = &cluster.plane;
    plane.kubectl(&["apply", "-f", &crate::repository(CRD).display().to_string()]);
    plane.kubectl(&[
        "wait",
        "--for=condition=Established",
        "crd/things.policy.test",
    ]);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let answers = runtime.block_on(async {
        let server = Server::new(plane.client().await);
        let made = each(cases.iter().map(|case| server.make(case))).await;
        server.wait_until_in_force().await;
        each(
            cases
                .iter()
                .zip(&made)
                .map(|(case, made)| server.ask(case, made)),
        )
        .await
    });
    if std::env::var_os("UPDATE_CEL").is_some() {
        write_answers(&cases, &answers);
        assert_enough(&crate::support::cel::cases());
        return;
    }
    let differences: Vec<String> = cases
        .iter()
        .zip(&answers)
        .filter(|(case, answer)| case.answer.as_ref() != Some(answer))
        .map(|(case, answer)| {
            let recorded = case
                .answer
                .as_ref()
                .map_or_else(|| "nothing".to_owned(), ToString::to_string);
            format!(
                "{}: {}\n  recorded {recorded}\n  said     {answer}",
                case.file, case.expression
            )
        })
        .collect();
    assert!(
        differences.is_empty(),
        "the API server says something else (UPDATE_CEL=1 writes it down):\n{}",
        differences.join("\n")
    );
    assert_enough(&cases);
}

/// The results of all, several at a time, in their order.
async fn each<R>(all: impl Iterator<Item = impl Future<Output = R>>) -> Vec<R> {
    stream::iter(all).buffered(AT_A_TIME).collect().await
}

/// What became of a case's policy and of the object that is there before the request.
enum Made {
    Policy { resource_version: Option<String> },
    Refused(Vec<String>),
}

struct Server {
    policies: Api<DynamicObject>,
    bindings: Api<DynamicObject>,
    things: Api<DynamicObject>,
}

impl Server {
    fn new(client: kube::Client) -> Server {
        let api = |group: &str, kind: &str, plural: &str| {
            let kind = GroupVersionKind::gvk(group, "v1", kind);
            Api::all_with(
                client.clone(),
                &ApiResource::from_gvk_with_plural(&kind, plural),
            )
        };
        let registration = "admissionregistration.k8s.io";
        Server {
            policies: api(
                registration,
                "ValidatingAdmissionPolicy",
                "validatingadmissionpolicies",
            ),
            bindings: api(
                registration,
                "ValidatingAdmissionPolicyBinding",
                "validatingadmissionpolicybindings",
            ),
            things: api("policy.test", "Thing", "things"),
        }
    }

    /// Creates what is changed or deleted, and the policy. It is in force for this object only.
    async fn make(&self, case: &Case) -> Made {
        let mut resource_version = None;
        if let Some(old) = &case.old_object {
            let created = created(&self.things, old, false).await;
            let created =
                created.unwrap_or_else(|status| panic!("{}: {}", case.expression, status.message));
            resource_version = created.metadata.resource_version;
        }
        match created(&self.policies, &policy(case), false).await {
            Err(status) if status.code == 422 => return Made::Refused(refusals(&status)),
            Err(status) => panic!("{}: {}", case.expression, status.message),
            Ok(_) => {}
        }
        let binding = binding(&case.name);
        if let Err(status) = created(&self.bindings, &binding, false).await {
            panic!("{}: {}", case.expression, status.message);
        }
        Made::Policy { resource_version }
    }

    /// Policies and bindings are seen in the order in which they were made: the last one stands for all.
    async fn wait_until_in_force(&self) {
        let name = "canary";
        let policy = policy_of(
            name,
            "CREATE",
            &json!({"validations": [{"expression": "false"}]}),
        );
        created(&self.policies, &policy, false).await.unwrap();
        created(&self.bindings, &binding(name), false)
            .await
            .unwrap();
        let canary =
            json!({"apiVersion": "policy.test/v1", "kind": "Thing", "metadata": {"name": name}});
        let end = Instant::now() + IN_FORCE_TIME;
        while created(&self.things, &canary, true).await.is_ok() {
            assert!(
                Instant::now() < end,
                "the policies are not in force in time"
            );
            tokio::time::sleep(POLL).await;
        }
    }

    /// Sends the object as a dry run.
    async fn ask(&self, case: &Case, made: &Made) -> Answer {
        let resource_version = match made {
            Made::Refused(lines) => return Answer::Refused(lines.clone()),
            Made::Policy { resource_version } => resource_version,
        };
        let said = match (&case.object, &case.old_object) {
            (Some(object), None) => created(&self.things, object, true).await.map(drop),
            (Some(object), Some(_)) => {
                let mut object = object.clone();
                object["metadata"]["resourceVersion"] = json!(resource_version);
                let object = serde_json::from_value(object).unwrap();
                let parameters = PostParams {
                    dry_run: true,
                    ..PostParams::default()
                };
                status_of(self.things.replace(&case.name, &parameters, &object).await).map(drop)
            }
            (None, _) => {
                let parameters = DeleteParams::default().dry_run();
                status_of(self.things.delete(&case.name, &parameters).await).map(drop)
            }
        };
        match said {
            // Conditions that do not hold let anybody in.
            Ok(()) if !case.match_conditions.is_empty() => Answer::Allowed,
            Ok(()) => panic!(
                "{}: the policy is not in force: {}",
                case.file, case.expression
            ),
            Err(status) => judged(case, &status.message),
        }
    }
}

async fn created(
    api: &Api<DynamicObject>,
    object: &Value,
    dry_run: bool,
) -> Result<DynamicObject, Box<Status>> {
    let object = serde_json::from_value(object.clone()).unwrap();
    let parameters = PostParams {
        dry_run,
        ..PostParams::default()
    };
    status_of(api.create(&parameters, &object).await)
}

fn status_of<T>(result: kube::Result<T>) -> Result<T, Box<Status>> {
    match result {
        Ok(value) => Ok(value),
        Err(kube::Error::Api(status)) => Err(status),
        Err(error) => panic!("{error}"),
    }
}

fn policy(case: &Case) -> Value {
    let named = |list: &[Named]| -> Vec<Value> {
        list.iter()
            .map(|named| json!({"name": named.name, "expression": named.expression}))
            .collect()
    };
    let mut validation = json!({"expression": case.expression});
    if let Some(message) = &case.message {
        validation["message"] = json!(message);
    }
    if let Some(expression) = &case.message_expression {
        validation["messageExpression"] = json!(expression);
    }
    let spec = json!({
        "variables": named(&case.variables),
        "matchConditions": named(&case.match_conditions),
        "validations": [validation, {"expression": "false", "message": IN_FORCE}],
    });
    policy_of(&case.name, &case.operation, &spec)
}

fn policy_of(name: &str, operation: &str, spec: &Value) -> Value {
    let mut spec = spec.clone();
    spec["failurePolicy"] = json!("Fail");
    spec["matchConstraints"] = json!({"resourceRules": [{
        "apiGroups": ["policy.test"],
        "apiVersions": ["v1"],
        "resources": ["things"],
        "operations": [operation],
        "resourceNames": [name],
    }]});
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": name},
        "spec": spec,
    })
}

fn binding(name: &str) -> Value {
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": name},
        "spec": {"policyName": name, "validationActions": ["Deny"]},
    })
}

/// What is wrong with a policy: each error's first line, without the excerpt below it.
fn refusals(status: &Status) -> Vec<String> {
    let mut lines = Vec::new();
    for cause in status.details.iter().flat_map(|details| &details.causes) {
        let field = match cause.field.trim_start_matches("spec.") {
            "validations[0].expression" => String::new(),
            field => format!("{field}: "),
        };
        let Some((_, report)) = cause.message.split_once("compilation failed: ") else {
            lines.push(format!("{field}{}", after_value(&cause.message)));
            continue;
        };
        let errors = report
            .lines()
            .filter_map(|line| line.strip_prefix("ERROR: <input>:"));
        lines.extend(errors.map(|error| format!("{field}{error}")));
    }
    lines
}

/// The sentence behind `Invalid value: ...: `, which repeats what is in the policy.
fn after_value(message: &str) -> &str {
    let Some(value) = message.strip_prefix("Invalid value: ") else {
        return message;
    };
    let mut values = serde_json::Deserializer::from_str(value).into_iter::<String>();
    match values.next() {
        Some(Ok(_)) => value[values.byte_offset()..].trim_start_matches(": "),
        _ => value
            .split_once("}: ")
            .map_or(value, |(_, sentence)| sentence),
    }
}

/// The text behind what the API server puts before every message of a policy.
fn judged(case: &Case, message: &str) -> Answer {
    let name = &case.name;
    let prefix = format!(
        "things.policy.test \"{name}\" is forbidden: ValidatingAdmissionPolicy '{name}' with binding '{name}' denied \
         request: "
    );
    let text = message
        .strip_prefix(&prefix)
        .unwrap_or_else(|| panic!("{}: {}: {message}", case.file, case.expression));
    if text == IN_FORCE {
        return Answer::Allowed;
    }
    // Several conditions that fail come as a list, which is kept.
    if text.starts_with("[expression '") {
        return Answer::Error(text.to_owned());
    }
    match text.split_once(" resulted in error: ") {
        Some((expression, error)) if expression.starts_with("expression '") => {
            Answer::Error(error.to_owned())
        }
        _ => Answer::Denied(text.to_owned()),
    }
}
