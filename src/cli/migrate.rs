//! `migrate plan|apply|verify|rollback`

use super::cluster::ClusterArguments;
use super::crds::InstallArguments;
use super::output::{self, Format};
use super::{Done, FOUND, Failure, OK, USAGE};
use crate::crds::install;
use crate::migrate::apply::{self, apply};
use crate::migrate::backup::{self, Backup, applicable};
use crate::migrate::plan::{Options, Planned, plan};
use crate::migrate::read::RECORD;
use crate::migrate::verify::verify;
use crate::migrate::{merge_patch, read, rollback};
use anyhow::Context as _;
use clap::{Args, Subcommand, ValueEnum};
use kube::Client;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use webhooks::REGISTRY;
use webhooks::migration::{Change, Finding, Reference, SYSTEM_NAMESPACE, Snapshot, Step, Weight};
use webhooks::platform::Version;

/// Exit code of `plan --detailed-exitcode` when something would be written.
const PENDING: u8 = 10;
/// How often a plan is made anew because somebody else has written meanwhile, or a step has made others possible.
const ROUNDS_MAX: usize = 10;
/// How often long work says where it is.
const PROGRESS: Duration = Duration::from_secs(2);

/// Carry a v0.38/v0.39 cluster over to the package-based platform without losing anything.
///
/// `plan` says what would be written, what needs a decision, and what upstream's own migrations will do; `apply` backs up
/// and writes, and may be run again after anything that stopped it; `verify` looks whether all is well; `rollback` takes
/// back what was written and nobody has changed since. Nothing that was there before is deleted, unless
/// `--delete-legacy` asks for it.
#[derive(Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Say what would be written and why (exit 1 when something needs a decision).
    Plan(PlanArguments),
    /// Back up, then write.
    Apply(ApplyArguments),
    /// Look whether everything is done and nothing lost.
    Verify(VerifyArguments),
    /// Take back what `apply` has written; what others have changed since stays, and is named.
    Rollback(RollbackArguments),
}

#[derive(Args)]
struct Wanted {
    /// The release that comes next: it decides over the shape of values.
    #[arg(long, default_value = "v1.0.0-alpha.1")]
    target: Target,
    /// Give tenants' releases the new form of chart reference too, where their artifact is ready.
    #[arg(long)]
    chart_refs: bool,
    /// Note version 24 in the end, so that upstream's files up to 23 do not run.
    #[arg(long)]
    stamp: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Target {
    #[value(name = "v1.0.0-alpha.1")]
    Alpha1,
    #[value(name = "v1.0.0")]
    V1,
}

impl Wanted {
    fn options(&self) -> Options {
        Options {
            target: match self.target {
                Target::Alpha1 => Version::V1_0Alpha1,
                Target::V1 => Version::V1_0,
            },
            chart_refs: self.chart_refs,
            stamp: self.stamp,
        }
    }
}

#[derive(Args)]
struct PlanArguments {
    #[command(flatten)]
    cluster: ClusterArguments,
    #[command(flatten)]
    wanted: Wanted,
    /// Files or folders that were exported from a cluster, instead of the cluster.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["kubeconfig", "context"])]
    from_dir: Vec<PathBuf>,
    /// Namespace of the installation, by whose settings the definitions are made.
    #[arg(long, value_name = "NAMESPACE", default_value = "cozy-webhook")]
    namespace: String,
    /// Exit 10 when something would be written and nothing needs a decision.
    #[arg(long)]
    detailed_exitcode: bool,
    /// How it is printed: text is a difference an object, yaml the objects as they would be, json all of the plan.
    #[arg(short, long, default_value = "text")]
    output: Format,
}

#[derive(Args)]
struct ApplyArguments {
    #[command(flatten)]
    cluster: ClusterArguments,
    #[command(flatten)]
    wanted: Wanted,
    #[command(flatten)]
    crds: InstallArguments,
    /// File for everything that is touched, as it was; of an earlier run it is completed.
    #[arg(long, value_name = "FILE")]
    backup: PathBuf,
    /// Delete the legacy definitions in the end, if `verify` finds everything right.
    #[arg(long)]
    delete_legacy: bool,
}

#[derive(Args)]
struct VerifyArguments {
    #[command(flatten)]
    cluster: ClusterArguments,
    #[command(flatten)]
    wanted: Wanted,
    /// Namespace of the installation, by whose settings the definitions are made.
    #[arg(long, value_name = "NAMESPACE", default_value = "cozy-webhook")]
    namespace: String,
    /// The backup of `apply`: all of it must still be there.
    #[arg(long, value_name = "FILE")]
    backup: Option<PathBuf>,
    /// How the result is printed.
    #[arg(short, long, default_value = "text")]
    output: Format,
}

#[derive(Args)]
struct RollbackArguments {
    #[command(flatten)]
    cluster: ClusterArguments,
    /// The backup of `apply`.
    #[arg(long, value_name = "FILE")]
    backup: PathBuf,
    /// Namespace of the installation, whose bridge rests from then on: it would make the definitions again.
    #[arg(long, value_name = "NAMESPACE", default_value = "cozy-webhook")]
    namespace: String,
}

impl From<rollback::Error> for Failure {
    fn from(error: rollback::Error) -> Self {
        Failure::broken(error)
    }
}

impl From<read::Error> for Failure {
    fn from(error: read::Error) -> Self {
        Failure::broken(error)
    }
}

impl From<backup::Error> for Failure {
    fn from(error: backup::Error) -> Self {
        match error {
            backup::Error::Foreign { .. } => Failure::usage(error),
            backup::Error::File { .. } => Failure::broken(error),
        }
    }
}

pub fn run(arguments: &Arguments) -> Done {
    super::runtime()?.block_on(async {
        match &arguments.command {
            Command::Plan(arguments) => plan_only(arguments).await,
            Command::Apply(arguments) => apply_all(arguments).await,
            Command::Verify(arguments) => verify_all(arguments).await,
            Command::Rollback(arguments) => roll_back(arguments).await,
        }
    })
}

/// Reads a cluster, saying where it is.
async fn look(client: &Client, options: Options, namespace: &str) -> Result<Snapshot, Failure> {
    let mut last = Instant::now();
    let mut snapshot = read::cluster(client, namespace, |plural, count| {
        if last.elapsed() >= PROGRESS {
            last = Instant::now();
            eprintln!("reading {plural}: {count}");
        }
    })
    .await?;
    if options.chart_refs {
        read::add_platform_values(client, &mut snapshot).await?;
    }
    Ok(snapshot)
}

fn planned(snapshot: &Snapshot, options: Options) -> Result<Planned, Failure> {
    plan(snapshot, options).map_err(|error| Failure::message(USAGE, error))
}

async fn plan_only(arguments: &PlanArguments) -> Done {
    let options = arguments.wanted.options();
    let snapshot = if arguments.from_dir.is_empty() {
        look(
            &arguments.cluster.client().await?,
            options,
            &arguments.namespace,
        )
        .await?
    } else {
        read::files(&arguments.from_dir)?
    };
    let plan = planned(&snapshot, options)?.plan;
    match arguments.output {
        Format::Text => output::print(&text(&plan.changes, &plan.findings))?,
        Format::Json => output::print_value(&plan, Format::Json)?,
        Format::Yaml => {
            let objects: Vec<Value> = plan
                .changes
                .iter()
                .map(|change| applicable(&change.after))
                .collect();
            let written = crate::manifest::write(&objects)
                .map_err(|error| Failure::message(super::BROKEN, error))?;
            output::print(&written)?;
        }
    }
    Ok(
        match (needs_decision(&plan.findings), plan.changes.is_empty()) {
            (true, _) => FOUND,
            (false, false) if arguments.detailed_exitcode => PENDING,
            _ => OK,
        },
    )
}

fn needs_decision(findings: &[Finding]) -> bool {
    let mut findings = findings.iter();
    findings.any(|finding| finding.weight == Weight::Decision)
}

async fn apply_all(arguments: &ApplyArguments) -> Done {
    let options = arguments.wanted.options();
    let client = arguments.cluster.client().await?;
    let mut backup = Backup::open(&arguments.backup, &identity(&client).await?)?;
    let mut has_crds = false;
    let (mut written, mut vain_rounds) = (0, 0);
    let findings = loop {
        let snapshot = look(&client, options, arguments.crds.namespace()).await?;
        let Planned { plan, applied } = planned(&snapshot, options)?;
        if plan.changes.is_empty() {
            break plan.findings;
        }
        if vain_rounds == ROUNDS_MAX {
            let open = plan.changes.iter().map(|change| {
                let reference = Reference::to(&change.after);
                format!("{} {}", reference.kind, reference.name)
            });
            let open: Vec<String> = open.take(10).collect();
            return Err(Failure::message(
                super::BROKEN,
                format!(
                    "somebody else keeps writing the same objects: {}",
                    open.join(", ")
                ),
            ));
        }
        // What upstream's migration deletes and the new platform overwrites, too.
        let others = snapshot.all("cozystack.io", "CozystackResourceDefinition");
        let configs = snapshot.all("", "ConfigMap");
        let configs = configs.filter(|config| {
            let reference = Reference::to(config);
            reference.namespace == SYSTEM_NAMESPACE && reference.name != RECORD
        });
        backup.keep(others.chain(configs))?;
        backup.add(&plan.changes)?;
        if !has_crds {
            // It suspends the release of the legacy CRD before anything else.
            let target = arguments.crds.target(&client).await?;
            install::install(&client, REGISTRY, &target, |line| eprintln!("{line}")).await?;
            has_crds = true;
            continue;
        }
        let (mut failures, written_before) = (Vec::new(), written);
        let count = plan.changes.len();
        let mut last = Instant::now();
        for (number, change) in plan.changes.iter().enumerate() {
            let reference = Reference::to(&change.after);
            match apply(&client, change, applied.get(&reference)).await {
                Ok(()) => {
                    written += 1;
                    output::print(&format!("{}: {}\n", line(&reference), verb(change)))?;
                }
                // What stands alone keeps nobody else from being carried over.
                Err(apply::Error::Api { error, .. })
                    if change.step > Step::Crds && matches!(&*error, kube::Error::Api(_)) =>
                {
                    failures.push(format!("{}: {error}", line(&reference)));
                }
                // The next round plans over what is there by then.
                Err(apply::Error::Changed { .. }) => {}
                Err(error) => return Err(Failure::broken(error)),
            }
            if last.elapsed() >= PROGRESS {
                last = Instant::now();
                eprintln!("{} of {count} written", number + 1);
            }
        }
        vain_rounds += 1;
        if written > written_before {
            vain_rounds = 0;
        }
        if !failures.is_empty() {
            return Err(Failure::message(
                super::BROKEN,
                format!(
                    "not written (run again once that is mended):\n  {}",
                    failures.join("\n  ")
                ),
            ));
        }
    };
    output::print(&format!(
        "{written} objects written, nothing is left to write\n"
    ))?;
    output::print(&finding_lines(&findings))?;
    if arguments.delete_legacy {
        let namespace = arguments.crds.namespace();
        delete_legacy(&client, options, namespace, &mut backup).await?;
    }
    Ok(if needs_decision(&findings) { FOUND } else { OK })
}

/// Deletes what has a successor, if nothing speaks against it.
async fn delete_legacy(
    client: &Client,
    options: Options,
    namespace: &str,
    backup: &mut Backup,
) -> Result<(), Failure> {
    let snapshot = look(client, options, namespace).await?;
    let planned = planned(&snapshot, options)?;
    let checks = verify(&snapshot, &planned, backup.items());
    let wrong: Vec<&str> = checks
        .iter()
        .filter(|check| !check.is_right)
        .map(|check| check.text.as_str())
        .collect();
    if !wrong.is_empty() {
        return Err(Failure::message(
            FOUND,
            format!("no legacy definition is deleted: {}", wrong.join("; ")),
        ));
    }
    let legacy: Vec<&Value> = snapshot
        .all("cozystack.io", "CozystackResourceDefinition")
        .collect();
    backup.keep(legacy.iter().copied())?;
    for object in legacy {
        let reference = Reference::to(object);
        apply::delete(client, object)
            .await
            .map_err(Failure::broken)?;
        output::print(&format!("{}: deleted\n", line(&reference)))?;
    }
    Ok(())
}

async fn verify_all(arguments: &VerifyArguments) -> Done {
    let options = arguments.wanted.options();
    let client = arguments.cluster.client().await?;
    let snapshot = look(&client, options, &arguments.namespace).await?;
    let planned = planned(&snapshot, options)?;
    let backup = match &arguments.backup {
        Some(path) => Some(opened(path, &client).await?),
        None => None,
    };
    let items = backup.as_ref().map_or(&[][..], Backup::items);
    let checks = verify(&snapshot, &planned, items);
    if arguments.output == Format::Text {
        let lines = checks.iter().map(|check| {
            let mark = if check.is_right { "right" } else { "WRONG" };
            format!("{mark}  {}\n", check.text)
        });
        output::print(&lines.collect::<String>())?;
    } else {
        output::print_value(&checks, arguments.output)?;
    }
    let is_right = checks.iter().all(|check| check.is_right);
    Ok(if is_right { OK } else { FOUND })
}

/// A backup that must be there.
async fn opened(path: &Path, client: &Client) -> Result<Backup, Failure> {
    if !path.exists() {
        let text = format!("{}: there is no such backup", path.display());
        return Err(Failure::message(USAGE, text));
    }
    Ok(Backup::open(path, &identity(client).await?)?)
}

async fn identity(client: &Client) -> Result<String, Failure> {
    let identity = read::identity(client).await;
    identity
        .context("reading namespace kube-system")
        .map_err(Failure::broken)
}

async fn roll_back(arguments: &RollbackArguments) -> Done {
    let client = arguments.cluster.client().await?;
    let backup = opened(&arguments.backup, &client).await?;
    let say = |line: String| println!("{line}");
    let errors = rollback::rollback(&client, &backup, &arguments.namespace, say).await?;
    if !errors.is_empty() {
        let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
        return Err(Failure::message(
            super::BROKEN,
            format!(
                "not taken back (run again once that is mended):\n  {}",
                errors.join("\n  ")
            ),
        ));
    }
    let name = backup.close()?;
    output::print(&format!(
        "everything that was written is taken back; the backup is {} now\n",
        name.display()
    ))?;
    Ok(OK)
}

/// How people name an object. What is no text is shown as what it is: names in files may hold anything.
fn line(reference: &Reference) -> String {
    let plain = |text: &str| -> String {
        let shown = text.chars().flat_map(|one| {
            let escaped = one.is_control().then(|| one.escape_default());
            let plain = (!one.is_control()).then_some(one);
            escaped.into_iter().flatten().chain(plain)
        });
        shown.collect()
    };
    let reference = &Reference {
        kind: plain(&reference.kind),
        namespace: plain(&reference.namespace),
        name: plain(&reference.name),
        ..reference.clone()
    };
    if reference.namespace.is_empty() {
        format!("{} {}", reference.kind, reference.name)
    } else {
        format!(
            "{} {}/{}",
            reference.kind, reference.namespace, reference.name
        )
    }
}

fn verb(change: &Change) -> &'static str {
    if change.before.is_some() {
        "changed"
    } else {
        "made"
    }
}

fn text(changes: &[Change], findings: &[Finding]) -> String {
    let mut text = String::new();
    for change in changes {
        let reference = Reference::to(&change.after);
        let sign = if change.before.is_some() { "~" } else { "+" };
        text.push_str(&format!("{sign} {}: {}\n", line(&reference), change.why));
        let difference = match &change.before {
            Some(before) => merge_patch(before, &change.after),
            None => applicable(&change.after),
        };
        let shown = crate::manifest::write(std::slice::from_ref(&difference)).unwrap_or_default();
        for row in shown.lines().filter(|row| *row != "---") {
            text.push_str(&format!("    {row}\n"));
        }
    }
    text.push_str(&finding_lines(findings));
    let count = |weight: Weight| {
        let of = findings.iter().filter(|finding| finding.weight == weight);
        of.count()
    };
    text.push_str(&format!(
        "{} objects would be written, {} things need a decision, {} cannot be done yet\n",
        changes.len(),
        count(Weight::Decision),
        count(Weight::Pending)
    ));
    text
}

fn finding_lines(findings: &[Finding]) -> String {
    let mut text = String::new();
    for (weight, title) in [
        (Weight::Decision, "needs a decision"),
        (Weight::Pending, "cannot be done yet"),
        (Weight::Note, "good to know"),
    ] {
        let mut of = findings
            .iter()
            .filter(|finding| finding.weight == weight)
            .peekable();
        if of.peek().is_some() {
            text.push_str(&format!("{title}:\n"));
        }
        for finding in of {
            let field = if finding.field.is_empty() {
                String::new()
            } else {
                format!(" {}", finding.field)
            };
            text.push_str(&format!(
                "  {}{field}: {}\n",
                line(&finding.about),
                finding.text
            ));
        }
    }
    text
}
