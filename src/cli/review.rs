//! `review`

use super::cluster::{ChartArguments, ClusterArguments};
use super::output::{self, Format};
use super::{Done, FOUND, Failure, OK, USAGE};
use crate::cluster::Caches;
use crate::dispatch::Dispatcher;
use crate::manifest::{self, Manifest};
use crate::offline::{self, Judge, Question, Report};
use crate::review::admission;
use clap::{Args, ValueEnum};
use std::path::PathBuf;
use std::sync::Arc;
use webhooks::REGISTRY;
use webhooks::contract::{Operation, Settings};

/// Say what the webhooks would say to objects, without applying them.
///
/// Files hold manifests or AdmissionReviews. Objects are reviewed in order, each seeing the ones before it that were
/// accepted. The CRD's own schema is checked too, as the API server does.
#[derive(Args)]
pub struct Arguments {
    /// Files, folders, or - for standard input.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Folder (or file) of the objects around them, instead of a cluster.
    #[arg(long = "cluster", value_name = "DIR", conflicts_with_all = ["kubeconfig", "context"])]
    objects: Option<PathBuf>,
    #[command(flatten)]
    live: ClusterArguments,
    #[command(flatten)]
    charts: ChartArguments,
    /// Settings: the ConfigMap; by default the one among the objects around, or of the cluster.
    #[arg(long, value_name = "FILE")]
    settings: Option<PathBuf>,
    /// Namespace of the installation in the cluster.
    #[arg(long, value_name = "NAMESPACE", default_value = "cozy-webhook")]
    namespace: String,
    /// What is done with the objects; UPDATE when --old is given, else CREATE.
    #[arg(long, value_name = "OPERATION", ignore_case = true)]
    operation: Option<OperationArgument>,
    /// The objects before the change, matched by kind, namespace and name.
    #[arg(long, value_name = "FILE")]
    old: Option<PathBuf>,
    /// How the result is printed.
    #[arg(short, long, default_value = "text")]
    output: Format,
    /// Say by what each object is judged: charts, schemas, releases of the platform.
    #[arg(long)]
    explain: bool,
    /// Exit 1 when no rule covers an object.
    #[arg(long)]
    strict: bool,
}

#[derive(Clone, Copy, ValueEnum)]
pub enum OperationArgument {
    #[value(name = "CREATE")]
    Create,
    #[value(name = "UPDATE")]
    Update,
    #[value(name = "DELETE")]
    Delete,
}

impl From<OperationArgument> for Operation {
    fn from(argument: OperationArgument) -> Self {
        match argument {
            OperationArgument::Create => Operation::Create,
            OperationArgument::Update => Operation::Update,
            OperationArgument::Delete => Operation::Delete,
        }
    }
}

pub fn run(arguments: &Arguments) -> Done {
    let manifests = manifest::read(&arguments.files)?;
    let old = match &arguments.old {
        Some(path) => manifest::read(std::slice::from_ref(path))?,
        None => Vec::new(),
    };
    let questions = questions(arguments, &manifests, &old)?;
    let (caches, around) = surroundings(arguments)?;
    let settings = match &arguments.settings {
        Some(path) => super::cluster::settings_in(path)?,
        None => around,
    };
    let mut dispatcher = Dispatcher::new(REGISTRY, settings);
    if arguments.explain {
        dispatcher = dispatcher.explaining();
    }
    let judge = Judge::new(REGISTRY, dispatcher, caches)
        .map_err(|error| Failure::message(super::BROKEN, error))?;
    let judge = arguments.charts.given_to(judge)?;
    let mut reports = Vec::new();
    let mut uncovered = Vec::new();
    for question in &questions {
        match judge.judge(question) {
            Ok(Some(report)) => reports.push(report),
            Ok(None) => uncovered.push(question),
            Err(error @ offline::Error::Question(_)) => return Err(Failure::usage(error)),
            Err(error) => return Err(Failure::broken(error)),
        }
    }
    let is_found =
        reports.iter().any(|report| !report.allowed) || (arguments.strict && !uncovered.is_empty());
    if arguments.output == Format::Text {
        output::print(&text(&reports, &uncovered))?;
    } else {
        output::print_value(&reports, arguments.output)?;
        for question in uncovered {
            eprintln!("{}", not_covered(question));
        }
    }
    Ok(if is_found { FOUND } else { OK })
}

fn questions(
    arguments: &Arguments,
    manifests: &[Manifest],
    old: &[Manifest],
) -> Result<Vec<Question>, Failure> {
    let default = if arguments.old.is_some() {
        Operation::Update
    } else {
        Operation::Create
    };
    let operation = arguments.operation.map_or(default, Operation::from);
    if arguments.old.is_none() && operation == Operation::Update {
        return Err(Failure::message(
            USAGE,
            "--operation UPDATE needs --old: what was wrong before only warns",
        ));
    }
    if arguments.old.is_some() && operation != Operation::Update {
        return Err(Failure::message(
            USAGE,
            "--old goes with --operation UPDATE",
        ));
    }
    let mut questions = Vec::new();
    for manifest in manifests {
        if manifest.kind == admission::KIND && manifest.value.get("request").is_some() {
            let question = Question::in_review(manifest)
                .map_err(|why| Failure::message(USAGE, format!("{}: {why}", manifest.source)))?;
            questions.push(question);
            continue;
        }
        let before = old.iter().find(|old| {
            old.kind == manifest.kind
                && old.group() == manifest.group()
                && ["namespace", "name"]
                    .iter()
                    .all(|member| old.metadata(member) == manifest.metadata(member))
        });
        if operation == Operation::Update && before.is_none() && arguments.old.is_some() {
            return Err(Failure::message(
                USAGE,
                format!(
                    "{}: --old has no {} {}",
                    manifest.source,
                    manifest.kind,
                    manifest.metadata("name")
                ),
            ));
        }
        questions.push(Question::of(manifest, operation, before));
    }
    Ok(questions)
}

fn surroundings(arguments: &Arguments) -> Result<(Arc<Caches>, Settings), Failure> {
    if let Some(path) = &arguments.objects {
        let manifests = manifest::read(std::slice::from_ref(path))?;
        return super::cluster::from_files(manifests);
    }
    if !arguments.live.is_given() {
        return super::cluster::from_files(Vec::new());
    }
    super::runtime()?.block_on(async {
        // The watches end with the runtime: what was read stays as it was.
        let client = arguments.live.client().await?;
        super::cluster::from_cluster(&client, &arguments.namespace).await
    })
}

fn not_covered(question: &Question) -> String {
    format!(
        "not covered  {} {}  ({})",
        question.kind,
        display_name(&question.namespace, &question.name),
        question.source
    )
}

fn display_name(namespace: &str, name: &str) -> String {
    if namespace.is_empty() {
        name.to_owned()
    } else {
        format!("{namespace}/{name}")
    }
}

fn text(reports: &[Report], uncovered: &[&Question]) -> String {
    let mut lines = Vec::new();
    for report in reports {
        let name = display_name(&report.namespace, &report.name);
        let verdict = if report.allowed {
            "allowed    "
        } else {
            "refused    "
        };
        let status = if report.allowed {
            String::new()
        } else {
            format!("  {} {}", report.code, report.reason)
        };
        lines.push(format!(
            "{verdict}  {} {name}{status}  ({})",
            report.kind, report.source
        ));
        for finding in &report.violations {
            let field = if finding.field.is_empty() {
                String::new()
            } else {
                format!("{}: ", finding.field)
            };
            lines.push(format!("  {field}{}  [{}]", finding.message, finding.rule));
        }
        for warning in &report.warnings {
            lines.push(format!("  warning: {warning}"));
        }
        for note in &report.notes {
            lines.push(format!("  by: {note}"));
        }
        for operation in report.patch.as_array().into_iter().flatten() {
            lines.push(format!("  patch: {operation}"));
        }
        for companion in &report.companions {
            let of = |pointer: &str| {
                companion
                    .pointer(pointer)
                    .and_then(serde_json::Value::as_str)
                    .unwrap_or("")
            };
            let name = display_name(of("/metadata/namespace"), of("/metadata/name"));
            lines.push(format!("  brings: {} {name}", of("/kind")));
        }
    }
    lines.extend(uncovered.iter().map(|question| not_covered(question)));
    let refused = reports.iter().filter(|report| !report.allowed).count();
    lines.push(format!(
        "{} allowed, {refused} refused, {} not covered",
        reports.len() - refused,
        uncovered.len()
    ));
    lines.join("\n") + "\n"
}
