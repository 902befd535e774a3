//! What a cluster would say to an object: mutation, the CRD's schema, validation, in the API server's order and
//! through the server's own dispatcher.

use crate::charts::folder::Folder;
use crate::charts::own;
use crate::cluster::Caches;
use crate::crds::schema::{self, Schemas};
use crate::dispatch::{Decision, Dispatcher, Role};
use crate::manifest::Manifest;
use crate::policies;
use crate::review::admission;
use serde::Serialize;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use webhooks::contract::companions::{desired, parent_key, written};
use webhooks::contract::{
    Cluster as _, Deadline, Json, Mode, Object, Operation, Resource, Standing, Violation, Webhook,
    World,
};
use webhooks::kinds::PACKAGE_SOURCES;
use webhooks::packages::Source;

/// One object is decided on within this.
const TIME: Duration = Duration::from_mins(1);

/// A question about one object.
#[derive(Debug, Clone)]
pub struct Question {
    /// File and line.
    pub source: String,
    /// `apiVersion` of the object.
    pub api_version: String,
    /// Kind of the object.
    pub kind: String,
    /// Namespace; empty for cluster-scoped kinds.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// What is done.
    pub operation: Operation,
    /// After the change; none on DELETE.
    pub object: Option<Value>,
    /// Before the change; none on CREATE.
    pub old_object: Option<Value>,
    /// Whether nothing will be stored.
    pub dry_run: bool,
    /// Who asks; none is nobody in particular.
    pub user_info: Option<Value>,
}

/// One thing that is wrong, as it is printed.
#[derive(Debug, Clone, Serialize, PartialEq)]
pub struct Finding {
    /// The rule's id, or `crd-schema`.
    pub rule: String,
    /// JSON path; empty when no single field is to blame.
    pub field: String,
    /// Machine value, such as `FieldValueInvalid`.
    #[serde(rename = "type")]
    pub cause: String,
    /// The sentence without the field.
    pub message: String,
}

impl Finding {
    fn of(rule: &str, violation: &Violation) -> Finding {
        Finding {
            rule: rule.to_owned(),
            field: violation.field.to_string(),
            cause: violation.cause.reason().to_owned(),
            message: violation.body(),
        }
    }
}

/// What became of one object.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// File and line.
    pub source: String,
    /// `apiVersion` of the object.
    pub api_version: String,
    /// Kind of the object.
    pub kind: String,
    /// Namespace; empty for cluster-scoped kinds.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// CREATE, UPDATE or DELETE.
    pub operation: &'static str,
    /// Whether the cluster would take it.
    pub allowed: bool,
    /// Code of the status; 200 when it is allowed.
    pub code: u16,
    /// Reason of the status; empty when it is allowed.
    pub reason: String,
    /// The whole text; empty when it is allowed.
    pub message: String,
    /// Everything that is wrong.
    pub violations: Vec<Finding>,
    /// What would be shown all the same.
    pub warnings: Vec<String>,
    /// The warnings whole, each after the id of its rule.
    #[serde(skip)]
    pub rule_warnings: Vec<(String, String)>,
    /// What mutation changes (JSON Patch).
    pub patch: Value,
    /// The object as it would be stored.
    pub object: Value,
    /// Objects that would come with it.
    pub companions: Vec<Value>,
    /// The rules that looked at it.
    pub rules: Vec<String>,
    /// By what they judged, where somebody has asked.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// Something that is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A rule could not decide.
    #[error(transparent)]
    Fault(#[from] crate::dispatch::RuleFault),
    /// A companion could not be known.
    #[error("companions of {rule}: {fault}")]
    Companions {
        /// The rule's id.
        rule: &'static str,
        /// Why.
        fault: webhooks::contract::Fault,
    },
    /// The question cannot be put.
    #[error("{0}")]
    Question(String),
    /// The patch of our own does not apply.
    #[error("the patch does not apply: {0}")]
    Patch(#[from] json_patch::PatchError),
}

/// Answers questions without an API server.
pub struct Judge {
    dispatcher: Dispatcher,
    schemas: Schemas,
    caches: Arc<Caches>,
    registry: Vec<&'static Webhook>,
    charts: Option<Folder>,
}

impl Judge {
    /// A judge with these rules, and these objects around.
    ///
    /// # Errors
    /// When a CRD of ours is wrong.
    pub fn new(
        registry: &[&'static Webhook],
        dispatcher: Dispatcher,
        caches: Arc<Caches>,
    ) -> Result<Judge, String> {
        Ok(Judge {
            dispatcher,
            schemas: Schemas::load()?,
            caches,
            registry: registry.to_vec(),
            charts: None,
        })
    }

    /// The same judge, who holds values against the charts of a folder, too.
    #[must_use]
    pub fn with_charts(mut self, folder: Folder) -> Judge {
        folder.take_all(&self.caches);
        self.charts = Some(folder);
        self
    }

    /// The resource of a kind that some rule looks at.
    #[must_use]
    pub fn resource(&self, group: &str, kind: &str) -> Option<&'static Resource> {
        self.registry
            .iter()
            .flat_map(|webhook| webhook.declaration.rules)
            .map(|rule| rule.resource)
            .find(|resource| resource.group == group && resource.kind == kind)
    }

    /// What becomes of the object; none when no rule looks at its kind. An object that is taken is there for the
    /// next question, as in a cluster.
    ///
    /// # Errors
    /// When a rule could not decide.
    pub fn judge(&self, question: &Question) -> Result<Option<Report>, Error> {
        let (group, version) = question
            .api_version
            .split_once('/')
            .unwrap_or(("", &question.api_version));
        let Some(resource) = self.resource(group, &question.kind) else {
            return Ok(None);
        };
        let mut report = Report {
            source: question.source.clone(),
            api_version: question.api_version.clone(),
            kind: question.kind.clone(),
            namespace: question.namespace.clone(),
            name: question.name.clone(),
            operation: question.operation.as_str(),
            allowed: true,
            code: 200,
            reason: String::new(),
            message: String::new(),
            violations: Vec::new(),
            warnings: Vec::new(),
            rule_warnings: Vec::new(),
            patch: json!([]),
            object: Value::Null,
            companions: Vec::new(),
            rules: Vec::new(),
            notes: Vec::new(),
        };
        let mut object = question.object.clone();
        if let Some(decision) =
            self.ask(Role::Mutate, resource, version, question, object.as_ref())?
        {
            if let Some(object) = &mut object {
                json_patch::patch(object, &decision.patch)?;
            }
            report.patch = serde_json::to_value(&decision.patch).unwrap_or_default();
            add(&mut report, &decision);
        }
        // The API server never shows a validating webhook an object that its schema refuses; here both are shown.
        if let Some(object) = &mut object
            && let Some(violations) = self.schemas.apply(group, &question.kind, version, object)
            && !violations.is_empty()
        {
            report.violations.extend(
                violations
                    .iter()
                    .map(|violation| Finding::of(schema::RULE, violation)),
            );
            let messages: Vec<String> = violations.iter().map(Violation::message).collect();
            let list = match messages.as_slice() {
                [one] => one.clone(),
                many => format!("[{}]", many.join(", ")),
            };
            refuse(
                &mut report,
                422,
                "Invalid",
                format!("{} {:?} is invalid: {list}", question.kind, question.name),
            );
        }
        if let Some(decision) =
            self.ask(Role::Validate, resource, version, question, object.as_ref())?
        {
            add(&mut report, &decision);
        }
        if report.allowed {
            self.learn_config_map(question, object.as_ref());
        }
        // No rule looks at objects of that name, or the settings have switched it off.
        if report.rules.is_empty() && report.violations.is_empty() {
            return Ok(None);
        }
        if report.allowed {
            self.remember(question, group, object.as_ref(), &mut report)?;
        }
        report.object = object.unwrap_or_default();
        Ok(Some(report))
    }

    fn ask(
        &self,
        role: Role,
        resource: &Resource,
        version: &str,
        question: &Question,
        object: Option<&Value>,
    ) -> Result<Option<Decision>, Error> {
        let Some(entry) = self
            .dispatcher
            .entries()
            .find(|entry| entry.role == role && entry.resource == resource)
        else {
            return Ok(None);
        };
        let review = json!({
            "apiVersion": admission::API_VERSION,
            "kind": admission::KIND,
            "request": {
                "uid": "offline",
                "kind": {"group": resource.group, "version": version, "kind": resource.kind},
                "resource": {"group": resource.group, "version": version, "resource": resource.plural},
                "operation": question.operation.as_str(),
                "name": question.name,
                "namespace": question.namespace,
                "dryRun": question.dry_run,
                "userInfo": question.user_info,
                "object": object,
                "oldObject": question.old_object,
            },
        });
        let body =
            serde_json::to_vec(&review).map_err(|error| Error::Question(error.to_string()))?;
        let request = admission::parse(&body).map_err(|reply| {
            Error::Question(String::from_utf8_lossy(&reply.body).trim().to_owned())
        })?;
        let deadline = Deadline::after(TIME);
        Ok(Some(self.dispatcher.admit(
            entry,
            &request,
            &*self.caches,
            deadline,
        )?))
    }

    /// Schemas and parameters that operators write are no objects that rules look up.
    fn learn_config_map(&self, question: &Question, object: Option<&Value>) {
        let book = &self.caches.charts;
        match (object, &question.old_object) {
            (Some(object), _) => {
                own::take(book, object);
                policies::take_params(&self.caches.policies, object);
            }
            (None, Some(old)) if question.kind == "ConfigMap" => {
                book.put_own(&question.namespace, &question.name, Vec::new());
                policies::drop_params(&self.caches.policies, old);
            }
            _ => {}
        }
    }

    fn remember(
        &self,
        question: &Question,
        group: &str,
        object: Option<&Value>,
        report: &mut Report,
    ) -> Result<(), Error> {
        let Some(object) = object.cloned().and_then(Object::of) else {
            self.caches
                .take(group, &question.kind, &question.namespace, &question.name);
            return Ok(());
        };
        self.caches.put(group, &question.kind, object.clone());
        let sources = &PACKAGE_SOURCES.resource;
        if let Some(folder) = &self.charts
            && (sources.group, sources.kind) == (group, question.kind.as_str())
        {
            folder.take(&object.name, Source::of(&object), &self.caches.charts);
        }
        for webhook in &self.registry {
            if let Some(companions) = webhook.companions
                && companions.parents().resource.group == group
                && companions.parents().resource.kind == question.kind
            {
                let settings = self.dispatcher.settings();
                if settings.mode(&webhook.declaration) == Mode::Off {
                    continue;
                }
                let world = World {
                    cluster: &*self.caches,
                    settings: settings.of(&webhook.declaration),
                };
                let desired = desired(&webhook.declaration, companions, &object, &world).map_err(
                    |fault| Error::Companions {
                        rule: webhook.declaration.id,
                        fault,
                    },
                )?;
                // What is in other hands is not brought; a warning has said so.
                let declaration = &webhook.declaration;
                let key = parent_key(declaration.id, &object.namespace, &object.name);
                let is_brought = |child: &Value| {
                    let read = written(declaration, child);
                    let names = Object::of(child.clone());
                    read.zip(names).is_none_or(|(read, names)| {
                        let live = self.caches.get(read, &names.namespace, &names.name);
                        let standing = Standing::of(live.as_deref(), &key);
                        matches!(standing, Standing::Absent | Standing::Ours)
                    })
                };
                let children = desired.unwrap_or_default().children;
                report
                    .companions
                    .extend(children.into_iter().filter(is_brought));
            }
        }
        Ok(())
    }
}

fn add(report: &mut Report, decision: &Decision) {
    let notes = decision.notes.iter();
    report.notes.extend(notes.map(|note| note.text.clone()));
    report.warnings.extend(decision.shown_warnings());
    let whole = decision.warnings.iter();
    report
        .rule_warnings
        .extend(whole.map(|warning| (warning.rule.to_owned(), warning.text.clone())));
    report
        .rules
        .extend(decision.rules.iter().map(|(rule, _)| (*rule).to_owned()));
    report.violations.extend(
        decision
            .violations
            .iter()
            .map(|found| Finding::of(found.rule, &found.violation)),
    );
    if let Some(denial) = &decision.denial {
        refuse(report, denial.code, denial.reason, denial.message.clone());
    }
}

fn refuse(report: &mut Report, code: u16, reason: &str, message: String) {
    if report.allowed {
        report.allowed = false;
        report.code = code;
        reason.clone_into(&mut report.reason);
        report.message = message;
    } else {
        report.message = format!("{}; {message}", report.message);
    }
}

impl Question {
    /// The question about a manifest.
    #[must_use]
    pub fn of(manifest: &Manifest, operation: Operation, old: Option<&Manifest>) -> Question {
        let value = Some(manifest.value.clone());
        let (object, old_object) = match operation {
            Operation::Delete => (None, value),
            Operation::Create => (value, None),
            Operation::Update => (value.clone(), old.map(|old| old.value.clone()).or(value)),
        };
        Question {
            source: manifest.source.clone(),
            api_version: manifest.api_version.clone(),
            kind: manifest.kind.clone(),
            namespace: manifest.metadata("namespace").to_owned(),
            name: manifest.metadata("name").to_owned(),
            operation,
            object,
            old_object,
            dry_run: false,
            user_info: None,
        }
    }

    /// The question in an AdmissionReview.
    ///
    /// # Errors
    /// A sentence when it is none.
    pub fn in_review(manifest: &Manifest) -> Result<Question, String> {
        let body = manifest.value.to_string();
        let request = admission::parse(body.as_bytes())
            .map_err(|reply| String::from_utf8_lossy(&reply.body).trim().to_owned())?;
        let operation = Operation::from_wire(&request.operation)
            .ok_or_else(|| format!("operation {} is reviewed by no rule", request.operation))?;
        let value =
            |json: Option<Json<'_>>| json.map(|json| json.read::<Value>().unwrap_or_default());
        let api_version = match &*request.kind.group {
            "" => request.kind.version.clone().into_owned(),
            group => format!("{group}/{}", request.kind.version),
        };
        Ok(Question {
            source: manifest.source.clone(),
            api_version,
            kind: request.kind.kind.clone().into_owned(),
            namespace: request.namespace.clone().unwrap_or_default().into_owned(),
            name: request.name.clone().unwrap_or_default().into_owned(),
            operation,
            object: value(request.object()),
            old_object: value(request.old_object()),
            dry_run: request.dry_run.unwrap_or_default(),
            user_info: value(request.user_info()),
        })
    }
}
