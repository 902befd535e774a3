//! `policy`

use super::cluster::{ChartArguments, from_files};
use super::output::{self, Format};
use super::review::OperationArgument;
use super::{Done, FOUND, Failure, OK, USAGE};
use crate::cluster::Caches;
use crate::crds::schema::Schemas;
use crate::manifest::{self, Manifest};
use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::value::RawValue;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;
use webhooks::contract::{Cluster as _, Deadline, Json, Operation, Request, Settings, Violation};
use webhooks::kinds::{PACKAGE_POLICIES, PACKAGES};
use webhooks::policies;
use webhooks::policy::{Actions, Facts, Policy, Ruling, Step};

/// One policy is asked about one object within this.
const TIME: Duration = Duration::from_mins(1);

/// Look into policies.
#[derive(Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Explain(ExplainArguments),
}

/// Show what each expression of policies reads and costs and, on given Packages, what it gives, step by step.
///
/// Exit 1 when a policy is not right, or refuses one of the objects.
#[derive(Args)]
struct ExplainArguments {
    /// Files or folders of PackagePolicies; other objects in them are around.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Packages to ask about.
    #[arg(long = "object", value_name = "FILE")]
    objects: Vec<PathBuf>,
    /// The Packages before the change, matched by name.
    #[arg(long, value_name = "FILE")]
    old: Option<PathBuf>,
    /// What is done with the Packages; UPDATE when --old is given, else CREATE.
    #[arg(long, value_name = "OPERATION", ignore_case = true)]
    operation: Option<OperationArgument>,
    /// Folder (or file) of the objects around: sources, other Packages, ConfigMaps.
    #[arg(long = "cluster", value_name = "DIR")]
    around: Option<PathBuf>,
    #[command(flatten)]
    charts: ChartArguments,
    /// How the result is printed.
    #[arg(short, long, default_value = "text")]
    output: Format,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Explained {
    source: String,
    policy: String,
    compiled: bool,
    violations: Vec<String>,
    estimated_cost: u64,
    expressions: Vec<ExplainedExpression>,
    objects: Vec<ExplainedObject>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ExplainedExpression {
    path: String,
    expression: String,
    result: String,
    reads: Vec<String>,
    estimated_cost: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ExplainedObject {
    source: String,
    name: String,
    /// Whether the policy is about it.
    matched: bool,
    steps: Vec<ExplainedStep>,
    says: Vec<ExplainedRuling>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ExplainedStep {
    path: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    component: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    gives: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    steps: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ExplainedRuling {
    #[serde(skip_serializing_if = "String::is_empty")]
    component: String,
    /// What its actions are taken for.
    refusals: Vec<ExplainedRefusal>,
    /// What failed and does not count.
    ignored: Vec<String>,
    audit_annotations: Vec<(String, String)>,
}

/// What a violation leads to.
#[derive(Serialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
enum Action {
    Refuses,
    /// Because the policy says so, or because the change leaves alone what is wrong.
    Warns,
    Logs,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ExplainedRefusal {
    action: Action,
    rule: String,
    reason: &'static str,
    message: String,
}

pub fn run(arguments: &Arguments) -> Done {
    match &arguments.command {
        Command::Explain(arguments) => explain(arguments),
    }
}

fn explain(arguments: &ExplainArguments) -> Done {
    let (policies, mut around): (Vec<Manifest>, Vec<Manifest>) = manifest::read(&arguments.files)?
        .into_iter()
        .partition(|manifest| manifest.kind == PACKAGE_POLICIES.resource.kind);
    if policies.is_empty() {
        return Err(Failure::message(USAGE, "there is no PackagePolicy"));
    }
    if let Some(path) = &arguments.around {
        around.extend(manifest::read(std::slice::from_ref(path))?);
    }
    let (caches, _) = from_files(around)?;
    arguments.charts.put_into(&caches)?;
    let objects = manifest::read(&arguments.objects)?;
    let old = match &arguments.old {
        Some(path) => manifest::read(std::slice::from_ref(path))?,
        None => Vec::new(),
    };
    let default = if arguments.old.is_some() {
        Operation::Update
    } else {
        Operation::Create
    };
    let operation = arguments.operation.map_or(default, Operation::from);
    let changes = changes(&objects, &old, operation)?;
    let schemas = Schemas::load()
        .map_err(anyhow::Error::msg)
        .map_err(Failure::broken)?;
    let mut explained = Vec::new();
    for manifest in &policies {
        let (policy, mut violations) = Policy::compile(&manifest.value);
        // As the API server would see it: a misspelt field is dropped there, and the policy is about more than was meant.
        let (resource, mut object) = (&PACKAGE_POLICIES.resource, manifest.value.clone());
        let fields = schemas.apply(resource.group, resource.kind, resource.version, &mut object);
        violations.extend(fields.into_iter().flatten());
        let mut objects = Vec::new();
        for change in &changes {
            objects.push(ask(&policy, change, &caches)?);
        }
        explained.push(Explained {
            source: manifest.source.clone(),
            policy: policy.name.clone(),
            compiled: violations.is_empty(),
            violations: violations.iter().map(Violation::message).collect(),
            estimated_cost: policy.cost(),
            expressions: expressions(&policy),
            objects,
        });
    }
    let is_found = explained.iter().any(|policy| {
        let said = policy.objects.iter().flat_map(|object| &object.says);
        let mut refusals = said.flat_map(|ruling| &ruling.refusals);
        !policy.compiled || refusals.any(|refusal| refusal.action == Action::Refuses)
    });
    if arguments.output == Format::Text {
        output::print(&text(&explained))?;
    } else {
        output::print_value(&explained, arguments.output)?;
    }
    Ok(if is_found { FOUND } else { OK })
}

/// A Package after and before, as text.
struct Change {
    source: String,
    name: String,
    operation: Operation,
    object: Option<Box<RawValue>>,
    old: Option<Box<RawValue>>,
}

fn changes(
    objects: &[Manifest],
    old: &[Manifest],
    operation: Operation,
) -> Result<Vec<Change>, Failure> {
    let raw = |manifest: &Manifest| {
        serde_json::value::to_raw_value(&manifest.value).map_err(Failure::broken)
    };
    let mut changes = Vec::new();
    for manifest in objects {
        let name = manifest.metadata("name").to_owned();
        if manifest.kind != PACKAGES.resource.kind {
            return Err(Failure::message(
                USAGE,
                format!(
                    "{}: policies are about Packages, not {}",
                    manifest.source, manifest.kind
                ),
            ));
        }
        let before = old.iter().find(|old| old.metadata("name") == name);
        let (object, old) = match operation {
            Operation::Create => (Some(raw(manifest)?), None),
            Operation::Delete => (None, Some(raw(manifest)?)),
            Operation::Update => (Some(raw(manifest)?), Some(raw(before.unwrap_or(manifest))?)),
        };
        changes.push(Change {
            source: manifest.source.clone(),
            name,
            operation,
            object,
            old,
        });
    }
    Ok(changes)
}

fn expressions(policy: &Policy) -> Vec<ExplainedExpression> {
    let expressions = policy.expressions();
    expressions
        .map(|one| ExplainedExpression {
            path: one.path.to_string(),
            expression: one.source.clone(),
            result: one.program.result().to_string(),
            reads: one.program.reads().to_vec(),
            estimated_cost: one.program.cost(),
        })
        .collect()
}

fn ask(policy: &Policy, change: &Change, caches: &Caches) -> Result<ExplainedObject, Failure> {
    let settings = Settings::default();
    let resource = &PACKAGES.resource;
    let request = Request {
        operation: change.operation,
        group: resource.group,
        version: resource.version,
        kind: resource.kind,
        namespace: "",
        name: &change.name,
        object: change.object.as_deref().map(Json::from),
        old_object: change.old.as_deref().map(Json::from),
        user_info: None,
        dry_run: false,
        cluster: caches,
        settings: settings.of(&policies::WEBHOOK.declaration),
        deadline: Deadline::after(TIME),
        explains: true,
    };
    let facts = Facts::of(&request);
    let labels = facts.labels();
    let mut explained = ExplainedObject {
        source: change.source.clone(),
        name: change.name.clone(),
        matched: facts.are_matched_by(policy, &labels),
        steps: Vec::new(),
        says: Vec::new(),
    };
    if !explained.matched {
        return Ok(explained);
    }
    let known = caches.policies();
    let params = policy.params().and_then(|name| known.params(name));
    let mut steps = Vec::new();
    let rulings = policy
        .judge(&facts, params, Some(&mut steps))
        .map_err(Failure::broken)?;
    explained.steps = steps.into_iter().map(ExplainedStep::of).collect();
    for ruling in rulings {
        let is_old_sin = !ruling.refusals.is_empty() && facts.is_unchanged(policy, ruling.part);
        let action = match policy.actions {
            Actions { deny: true, .. } if !is_old_sin => Action::Refuses,
            Actions { deny: true, .. } | Actions { warn: true, .. } => Action::Warns,
            Actions { .. } => Action::Logs,
        };
        explained.says.push(ExplainedRuling::of(ruling, action));
    }
    Ok(explained)
}

impl ExplainedStep {
    fn of(step: Step) -> ExplainedStep {
        let (gives, error) = match step.gives {
            Ok(value) => (Some(value), None),
            Err(error) => (None, Some(error)),
        };
        ExplainedStep {
            path: step.path,
            component: step.component,
            gives,
            error,
            steps: step.steps,
        }
    }
}

impl ExplainedRuling {
    fn of(ruling: Ruling<'_>, action: Action) -> ExplainedRuling {
        let component = ruling.part.map(|part| part.name.clone());
        let refusals = ruling.refusals.into_iter();
        ExplainedRuling {
            component: component.unwrap_or_default(),
            refusals: refusals
                .map(|refusal| ExplainedRefusal {
                    action,
                    rule: refusal.rule,
                    reason: refusal.reason.as_str(),
                    message: refusal.message,
                })
                .collect(),
            ignored: ruling.ignored,
            audit_annotations: ruling.annotations,
        }
    }
}

fn text(explained: &[Explained]) -> String {
    let mut text = String::new();
    for policy in explained {
        let state = if policy.compiled {
            format!(
                "compiles, estimated to cost {} steps",
                policy.estimated_cost
            )
        } else {
            "is not right".to_owned()
        };
        let _ = writeln!(
            text,
            "PackagePolicy {}: {state}  ({})",
            policy.policy, policy.source
        );
        for violation in &policy.violations {
            let _ = writeln!(text, "  {violation}");
        }
        for expression in &policy.expressions {
            let _ = writeln!(
                text,
                "  {}: {}, {} steps",
                expression.path, expression.result, expression.estimated_cost
            );
            for line in expression.expression.lines() {
                let _ = writeln!(text, "    | {line}");
            }
            if !expression.reads.is_empty() {
                let _ = writeln!(text, "    reads {}", expression.reads.join(", "));
            }
        }
        for object in &policy.objects {
            write_object(object, &mut text);
        }
    }
    text
}

fn write_object(object: &ExplainedObject, text: &mut String) {
    let head = if object.matched {
        "asked of"
    } else {
        "not about"
    };
    let _ = writeln!(
        text,
        "  {head} Package {}  ({})",
        object.name, object.source
    );
    let of = |component: &str| {
        if component.is_empty() {
            String::new()
        } else {
            format!("{component}: ")
        }
    };
    for step in &object.steps {
        let gives = match (&step.gives, &step.error) {
            (Some(value), _) => format!("= {value}"),
            (None, error) => format!("fails: {}", error.as_deref().unwrap_or_default()),
        };
        let _ = writeln!(
            text,
            "    {}{} {gives}  ({} steps)",
            of(&step.component),
            step.path,
            step.steps
        );
    }
    for ruling in &object.says {
        let of = of(&ruling.component);
        for refusal in &ruling.refusals {
            let _ = writeln!(
                text,
                "    {of}{}: {}  ({})",
                match refusal.action {
                    Action::Refuses => format!("refuses as {}", refusal.reason),
                    Action::Warns => "warns".to_owned(),
                    Action::Logs => "notes in the audit log".to_owned(),
                },
                refusal.message,
                refusal.rule
            );
        }
        for ignored in &ruling.ignored {
            let _ = writeln!(text, "    {of}ignores: {ignored}");
        }
        for (key, value) in &ruling.audit_annotations {
            let _ = writeln!(text, "    {of}annotates {key}: {value}");
        }
        if ruling.refusals.is_empty() && ruling.ignored.is_empty() {
            let _ = writeln!(text, "    {of}has nothing against it");
        }
    }
}
