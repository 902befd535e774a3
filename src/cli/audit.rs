//! `audit`

use super::cluster::{ChartArguments, ClusterArguments, from_cluster, settings_in};
use super::output::{self, Format};
use super::{Done, FOUND, Failure, OK};
use crate::audit::{Audit, Entry, REPORTS_API_VERSION, reports};
use crate::cluster::{self, Caches, pages};
use crate::dispatch::Dispatcher;
use crate::manifest;
use crate::offline::Judge;
use crate::settings;
use anyhow::Context as _;
use clap::Args;
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind, Request};
use kube::{Client, Resource as _, ResourceExt as _};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use webhooks::REGISTRY;
use webhooks::contract::companions::MANAGED_BY_LABEL;
use webhooks::contract::{FIELD_MANAGER, Json, Resource, Scope, Settings};

/// How often a long run says where it is.
const PROGRESS: Duration = Duration::from_secs(2);

/// List existing objects that today's rules would refuse or warn of.
///
/// Nothing is refused to objects that are there; this tells what would be, were they made now. Rules that only warn are
/// counted too, and marked so. Exit 1 when there are violations.
#[derive(Args)]
pub struct Arguments {
    /// Files or folders of objects, instead of a cluster.
    #[arg(value_name = "FILE", conflicts_with_all = ["kubeconfig", "context"])]
    files: Vec<PathBuf>,
    #[command(flatten)]
    live: ClusterArguments,
    #[command(flatten)]
    charts: ChartArguments,
    /// Settings: the ConfigMap; by default the one of the cluster, or among the objects.
    #[arg(long, value_name = "FILE")]
    settings: Option<PathBuf>,
    /// Namespace of the installation in the cluster.
    #[arg(long, value_name = "NAMESPACE", default_value = "cozy-webhook")]
    namespace: String,
    /// Write what was found into the cluster as OpenReports, a ClusterReport and a Report for each namespace.
    #[arg(long, conflicts_with = "files")]
    write_reports: bool,
    /// How the result is printed.
    #[arg(short, long, default_value = "text")]
    output: Format,
}

pub fn run(arguments: &Arguments) -> Done {
    let audit = if arguments.files.is_empty() {
        super::runtime()?.block_on(of_cluster(arguments))?
    } else {
        of_files(arguments)?
    };
    match arguments.output {
        Format::Text => output::print(&text(&audit))?,
        format => output::print_value(&audit.entries, format)?,
    }
    Ok(if audit.has_violations() { FOUND } else { OK })
}

fn start(arguments: &Arguments, caches: Arc<Caches>, around: Settings) -> Result<Audit, Failure> {
    let settings = match &arguments.settings {
        Some(path) => settings_in(path)?,
        None => around,
    };
    let dispatcher = Dispatcher::new(REGISTRY, settings.enforced(REGISTRY));
    let judge = Judge::new(REGISTRY, dispatcher, caches)
        .map_err(|error| Failure::message(super::BROKEN, error))?;
    let judge = arguments.charts.given_to(judge)?;
    Ok(Audit::new(judge, REGISTRY, &settings))
}

fn of_files(arguments: &Arguments) -> Result<Audit, Failure> {
    // Read twice, one file after the other: what rules look up is kept, what they are asked about is not.
    let texts = manifest::texts(&arguments.files)?;
    let caches = Caches::of(REGISTRY);
    let mut settings = Vec::new();
    for text in &texts {
        let manifests = text.read()?;
        let found = manifests.iter().filter(|one| settings::is_settings(one));
        settings.extend(found.cloned());
        cluster::files::add(&caches, manifests);
    }
    caches.settle();
    let around = settings::among(&settings, REGISTRY)
        .map_err(|error| Failure::message(super::USAGE, error))?;
    let mut audit = start(arguments, Arc::new(caches), around)?;
    let mut progress = Progress::begin();
    for manifest in texts.iter().map(manifest::Text::read) {
        for manifest in manifest? {
            progress.say(audit.examined, &manifest.kind);
            audit.examine(manifest.source, manifest.value);
        }
    }
    Ok(audit)
}

async fn of_cluster(arguments: &Arguments) -> Result<Audit, Failure> {
    let client = arguments.live.client().await?;
    let (caches, around) = from_cluster(&client, &arguments.namespace).await?;
    let mut audit = start(arguments, caches, around)?;
    let mut progress = Progress::begin();
    for (resource, is_ours) in resources() {
        let kind = GroupVersionKind::gvk(resource.group, resource.version, resource.kind);
        let kind = ApiResource::from_gvk_with_plural(&kind, resource.plural);
        let namespace = is_ours.then_some(arguments.namespace.as_str());
        let list = Request::new(DynamicObject::url_path(&kind, namespace));
        examine_pages(&client, &list, resource, &mut audit, &mut progress).await?;
    }
    if arguments.write_reports {
        write(&client, &audit).await?;
    }
    Ok(audit)
}

/// The kinds that rules look at, and whether only those in our own namespace.
fn resources() -> Vec<(&'static Resource, bool)> {
    let mut found: BTreeMap<(&str, &str), (&'static Resource, bool)> = BTreeMap::new();
    for declaration in REGISTRY.iter().map(|webhook| &webhook.declaration) {
        let is_ours = declaration.scope == Scope::OurNamespace;
        for rule in declaration.rules {
            found
                .entry((rule.resource.group, rule.resource.plural))
                .and_modify(|(_, all)| *all &= is_ours)
                .or_insert((rule.resource, is_ours));
        }
    }
    found.into_values().collect()
}

async fn examine_pages(
    client: &Client,
    list: &Request,
    resource: &Resource,
    audit: &mut Audit,
    progress: &mut Progress,
) -> Result<(), Failure> {
    let mut seen = BTreeSet::new();
    let listed = pages::each(client, list, |object| {
        let object = Json::from(object);
        let uid = object.at(&["metadata", "uid"]).and_then(Json::text);
        if uid.is_none_or(|uid| seen.insert(uid.to_owned())) {
            examine(object, resource, audit);
            progress.say(audit.examined, resource.plural);
        }
    });
    listed
        .await
        .with_context(|| format!("listing {}", resource.plural))
        .map_err(Failure::broken)
}

fn examine(object: Json<'_>, resource: &Resource, audit: &mut Audit) {
    let mut value: Value = match object.read() {
        Ok(value) => value,
        Err(error) => {
            let text = |member: &str| {
                let text = object.at(&["metadata", member]).and_then(Json::text);
                text.unwrap_or_default().to_owned()
            };
            audit.entries.push(Entry {
                api_version: resource.api_version(),
                kind: resource.kind.to_owned(),
                namespace: text("namespace"),
                name: text("name"),
                uid: text("uid"),
                ..Entry::undecided(&error)
            });
            return;
        }
    };
    if let Some(members) = value.as_object_mut() {
        // Items of a list need not say what they are.
        members.insert("apiVersion".to_owned(), resource.api_version().into());
        members.insert("kind".to_owned(), resource.kind.into());
    }
    audit.examine("cluster".to_owned(), value);
}

/// Says on standard error where a long run is.
struct Progress {
    last: Instant,
}

impl Progress {
    fn begin() -> Progress {
        Progress {
            last: Instant::now(),
        }
    }

    fn say(&mut self, examined: usize, kind: &str) {
        if self.last.elapsed() >= PROGRESS {
            self.last = Instant::now();
            eprintln!("{examined} objects examined, now {kind}");
        }
    }
}

/// A kind of report.
fn report_kind(kind: &str) -> ApiResource {
    let (group, version) = REPORTS_API_VERSION
        .split_once('/')
        .unwrap_or(("", REPORTS_API_VERSION));
    let plural = format!("{}s", kind.to_lowercase());
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), &plural)
}

async fn write(client: &Client, audit: &Audit) -> Result<(), Failure> {
    let mut namespaces = BTreeSet::new();
    for report in reports(audit) {
        let text = |pointer: &str| report.pointer(pointer).and_then(Value::as_str);
        let kind = text("/kind").unwrap_or_default();
        let resource = report_kind(kind);
        namespaces.extend(text("/metadata/namespace").map(ToOwned::to_owned));
        let api: Api<DynamicObject> = match text("/metadata/namespace") {
            Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
            None => Api::all_with(client.clone(), &resource),
        };
        api.patch(
            FIELD_MANAGER,
            &PatchParams::apply(FIELD_MANAGER).force(),
            &Patch::Apply(&report),
        )
        .await
        .with_context(|| format!("writing {kind} {FIELD_MANAGER} ({REPORTS_API_VERSION})"))
        .map_err(Failure::broken)?;
    }
    // Namespaces in which all is well by now.
    let resource = report_kind("Report");
    let ours = ListParams::default().labels(&format!("{MANAGED_BY_LABEL}={FIELD_MANAGER}"));
    let reports: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
    let listed = reports.list(&ours).await;
    for stale in listed.context("listing Reports").map_err(Failure::broken)? {
        let namespace = stale.namespace().unwrap_or_default();
        if stale.name_any() == FIELD_MANAGER && !namespaces.contains(&namespace) {
            let api: Api<DynamicObject> =
                Api::namespaced_with(client.clone(), &namespace, &resource);
            api.delete(FIELD_MANAGER, &DeleteParams::default())
                .await
                .with_context(|| format!("deleting Report {namespace}/{FIELD_MANAGER}"))
                .map_err(Failure::broken)?;
        }
    }
    Ok(())
}

fn text(audit: &Audit) -> String {
    let mut by_rule: BTreeMap<&str, Vec<&Entry>> = BTreeMap::new();
    for entry in &audit.entries {
        by_rule.entry(&entry.rule).or_default().push(entry);
    }
    let mut text = String::new();
    for (rule, entries) in by_rule {
        text.push_str(&format!("{rule}\n"));
        let rows: Vec<Vec<String>> = entries
            .iter()
            .map(|entry| {
                let what = match (entry.refused, entry.violation) {
                    (true, _) => "refused",
                    (false, true) => "violates",
                    (false, false) => "warned",
                };
                let name = if entry.namespace.is_empty() {
                    entry.name.clone()
                } else {
                    format!("{}/{}", entry.namespace, entry.name)
                };
                let field = if entry.field.is_empty() {
                    "-"
                } else {
                    &entry.field
                };
                vec![
                    format!("  {what}"),
                    format!("{} {name}", entry.kind),
                    field.to_owned(),
                    entry.message.clone(),
                ]
            })
            .collect();
        text.push_str(&output::table(
            &["  WOULD BE", "OBJECT", "FIELD", "FINDING"],
            &rows,
        ));
        text.push('\n');
    }
    let violations = audit.entries.iter().filter(|entry| entry.violation).count();
    text.push_str(&format!(
        "{} objects examined, {violations} violations, {} warnings\n",
        audit.examined,
        audit.entries.len() - violations
    ));
    text
}
