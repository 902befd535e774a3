//! Case folders: a request, what is around it, and what is expected. The runner plays API server.
//!
//! ```text
//! <case>/request.yaml   operation, object, oldObject, dryRun, user, groups  (admission)
//!                       convertTo, objects                          (conversion)
//!        cluster.yaml   optional: the objects around, and the settings
//!        charts/        optional: the charts of their packages, by the paths of their components
//!        ../../<name>.yaml  optional: more of what is around all cases of the folder `<name>`, such as the policy that they try
//!        expect.yaml    allowed, code, reason, message, causes, warnings, auditAnnotations, patch, object, companions
//!                       objects, or failure
//! ```

#![expect(
    clippy::indexing_slicing,
    reason = "reading an absent member of a Value gives null, and no request reaches this module"
)]

use crate::charts::folder::{Folder, FolderError};
use crate::cluster;
use crate::crds::schema::Schemas;
use crate::dispatch::{Dispatcher, Role};
use crate::manifest::{self, yaml};
use crate::review::conversion::Target;
use crate::review::{Reply, admission, conversion};
use crate::server::answer::Service;
use crate::settings;
use base64::Engine as _;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use webhooks::contract::companions::desired;
use webhooks::contract::{Mode, Object, Operation, Webhook, World};

/// Name of the file that makes a folder a case.
pub const REQUEST_FILE: &str = "request.yaml";
const CLUSTER_FILE: &str = "cluster.yaml";
const EXPECT_FILE: &str = "expect.yaml";
const CHARTS_FOLDER: &str = "charts";

/// Carries a body to a path of a service.
pub trait Wire {
    /// The reply.
    fn post(&self, service: &Arc<Service>, path: &str, body: &[u8]) -> Reply;
}

/// Calls the service directly.
pub struct Direct;

impl Wire for Direct {
    fn post(&self, service: &Arc<Service>, path: &str, body: &[u8]) -> Reply {
        match service.route(path) {
            Some(route) => {
                let deadline =
                    webhooks::contract::Deadline::after(std::time::Duration::from_secs(30));
                service.answer(&route, body, deadline)
            }
            None => Reply::refusal(404, "no rule is served at this path"),
        }
    }
}

/// A case folder that is not usable.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file is missing or unreadable.
    #[error("{path}: {error}")]
    Read {
        /// The file.
        path: String,
        /// Why.
        error: std::io::Error,
    },
    /// A file is no YAML, or not of the right shape.
    #[error("{path}: {detail}")]
    Shape {
        /// The file.
        path: String,
        /// What is wrong.
        detail: String,
    },
    /// The objects around are not readable.
    #[error(transparent)]
    Manifest(#[from] manifest::Error),
    /// A chart is not usable.
    #[error(transparent)]
    Charts(#[from] FolderError),
    /// Our own CRDs are wrong.
    #[error("{0}")]
    Schemas(String),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RequestFile {
    operation: Option<String>,
    object: Option<Value>,
    old_object: Option<Value>,
    #[serde(default)]
    dry_run: bool,
    user: Option<String>,
    groups: Option<Vec<String>>,
    convert_to: Option<String>,
    objects: Option<Vec<Value>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ExpectFile {
    allowed: Option<bool>,
    code: Option<u16>,
    reason: Option<String>,
    message: Option<String>,
    #[serde(default)]
    causes: Vec<Cause>,
    #[serde(default)]
    warnings: Vec<String>,
    /// Those of the rules, where they are told; what every denial has is left out.
    audit_annotations: Option<Map<String, Value>>,
    #[serde(default)]
    patch: Vec<Value>,
    object: Option<Value>,
    #[serde(default)]
    companions: Vec<Value>,
    objects: Option<Vec<Value>>,
    failure: Option<String>,
}

#[derive(Deserialize, PartialEq, Debug, Clone)]
#[serde(deny_unknown_fields)]
struct Cause {
    #[serde(default)]
    field: String,
    reason: String,
    message: String,
}

/// The case folders below a folder, in order of their names.
///
/// # Errors
/// When a folder cannot be read.
pub fn find(root: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut folders = vec![root.to_owned()];
    let mut cases = Vec::new();
    while let Some(folder) = folders.pop() {
        if folder.join(REQUEST_FILE).is_file() {
            cases.push(folder);
            continue;
        }
        let failed = |error| Error::Read {
            path: folder.display().to_string(),
            error,
        };
        for entry in std::fs::read_dir(&folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if entry.file_type().map_err(failed)?.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    cases.sort();
    Ok(cases)
}

/// Runs one case. The result is empty when it passes, else what differs.
///
/// # Errors
/// When the case itself is not usable.
pub fn run(
    case: &Path,
    registry: &[&'static Webhook],
    wire: &dyn Wire,
) -> Result<Vec<String>, Error> {
    let request: RequestFile = read(&case.join(REQUEST_FILE))?;
    let expect: ExpectFile = read(&case.join(EXPECT_FILE))?;
    let beside = case
        .parent()
        .map(|folder| folder.with_added_extension("yaml"));
    let around: Vec<PathBuf> = [Some(case.join(CLUSTER_FILE)), beside]
        .into_iter()
        .flatten()
        .filter(|path| path.is_file())
        .collect();
    let around = manifest::read(&around)?;
    let settings = settings::among(&around, registry).map_err(|detail| Error::Shape {
        path: case.join(CLUSTER_FILE).display().to_string(),
        detail,
    })?;
    let caches = cluster::files::of(registry, around);
    let charts = case.join(CHARTS_FOLDER);
    if charts.exists() {
        Folder::open(&charts)?.take_all(&caches);
    }
    let service = Arc::new(Service::new(Dispatcher::new(registry, settings), caches));
    let mut run = Run {
        service,
        wire,
        registry,
        differences: Vec::new(),
    };
    match (&request.convert_to, &request.objects) {
        (Some(form), Some(objects)) => run.convert(form, objects, &expect),
        (None, None) => {
            let schemas = Schemas::load().map_err(Error::Schemas)?;
            run.admit(&request, &expect, &schemas)
                .map_err(|detail| Error::Shape {
                    path: case.join(REQUEST_FILE).display().to_string(),
                    detail,
                })?;
        }
        _ => {
            return Err(Error::Shape {
                path: case.join(REQUEST_FILE).display().to_string(),
                detail: "convertTo and objects go together".to_owned(),
            });
        }
    }
    Ok(run.differences)
}

fn read<T: for<'de> Deserialize<'de>>(path: &Path) -> Result<T, Error> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|error| Error::Read {
        path: name.clone(),
        error,
    })?;
    let shape = |detail: String| Error::Shape {
        path: name.clone(),
        detail,
    };
    let documents = yaml::documents(&text).map_err(|error| shape(error.to_string()))?;
    let [document] = documents.as_slice() else {
        return Err(shape(format!(
            "must hold one document, holds {}",
            documents.len()
        )));
    };
    serde_json::from_value(document.value.clone()).map_err(|error| shape(error.to_string()))
}

struct Run<'a> {
    service: Arc<Service>,
    wire: &'a dyn Wire,
    registry: &'a [&'static Webhook],
    differences: Vec<String>,
}

impl Run<'_> {
    fn expect(&mut self, what: &str, found: &Value, wanted: &Value) {
        if found != wanted {
            self.differences
                .push(format!("{what}: found {found}, expected {wanted}"));
        }
    }

    fn post(&mut self, path: &str, question: &Value) -> Option<Value> {
        let reply = self
            .wire
            .post(&self.service, path, question.to_string().as_bytes());
        let text = String::from_utf8_lossy(&reply.body).trim().to_owned();
        if reply.status != 200 {
            self.differences
                .push(format!("{path}: HTTP {} {text}", reply.status));
            return None;
        }
        match serde_json::from_slice(&reply.body) {
            Ok(answer) => Some(answer),
            Err(error) => {
                self.differences
                    .push(format!("{path}: the answer is no JSON: {error}"));
                None
            }
        }
    }

    fn admit(
        &mut self,
        request: &RequestFile,
        expect: &ExpectFile,
        schemas: &Schemas,
    ) -> Result<(), String> {
        let subject = request
            .object
            .as_ref()
            .or(request.old_object.as_ref())
            .ok_or("needs object or oldObject")?;
        let text = |pointer: &str| {
            subject
                .pointer(pointer)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let api_version = text("/apiVersion");
        let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
        let kind = text("/kind");
        let rule = self
            .registry
            .iter()
            .flat_map(|webhook| webhook.declaration.rules)
            .find(|rule| rule.resource.group == group && rule.resource.kind == kind)
            .ok_or_else(|| format!("no rule looks at {api_version} {kind}"))?;
        let resource = rule.resource;
        let operation = match (&request.operation, &request.object, &request.old_object) {
            (Some(name), _, _) => Operation::from_wire(name)
                .ok_or_else(|| format!("operation {name} is not CREATE, UPDATE or DELETE"))?,
            (None, Some(_), None) => Operation::Create,
            (None, Some(_), Some(_)) => Operation::Update,
            (None, None, _) => Operation::Delete,
        };
        let question = |uid: &str, object: Option<&Value>| {
            json!({
                "apiVersion": admission::API_VERSION, "kind": admission::KIND,
                "request": {
                    "uid": uid,
                    "kind": {"group": group, "version": version, "kind": kind},
                    "resource": {"group": group, "version": version, "resource": resource.plural},
                    "operation": operation.as_str(),
                    "name": text("/metadata/name"),
                    "namespace": text("/metadata/namespace"),
                    "userInfo": {
                        "username": request.user.as_deref().unwrap_or("cases"),
                        "groups": request.groups.as_deref().unwrap_or_default(),
                    },
                    "dryRun": request.dry_run,
                    "object": object,
                    "oldObject": request.old_object,
                },
            })
        };
        let paths: Vec<(Role, String, Vec<&str>)> = self
            .service
            .dispatcher
            .entries()
            .filter(|entry| entry.resource == resource)
            .map(|entry| (entry.role, entry.path.clone(), entry.pointers()))
            .collect();
        let mut object = request.object.clone();
        let mut found = Found::default();
        for (role, path, pointers) in paths {
            if role == Role::Validate
                && let Some(object) = &mut object
            {
                // Between the two the API server fills in the defaults of the schema.
                schemas.apply(group, &kind, version, object);
            }
            let uid = format!("case-{}", role.as_str());
            let Some(answer) = self.post(&path, &question(&uid, object.as_ref())) else {
                continue;
            };
            let Some(patch) = self.take(&answer, &uid, role, &mut found) else {
                continue;
            };
            if let Some(object) = &mut object
                && role == Role::Mutate
            {
                let before = object.clone();
                if let Err(error) = json_patch::patch(object, &patch) {
                    self.differences
                        .push(format!("{path}: the patch does not apply: {error}"));
                }
                let undeclared = changed(&before, object)
                    .into_iter()
                    .filter(|changed| !pointers.iter().any(|pointer| covers(pointer, changed)));
                self.differences.extend(
                    undeclared.map(|changed| {
                        format!("{path}: changes {changed}, which no rule declares")
                    }),
                );
                found.patch.extend(patch.0);
                let again = self.post(&path, &question(&uid, Some(object)));
                if again.is_some_and(|answer| answer.pointer("/response/patch").is_some()) {
                    self.differences
                        .push(format!("{path}: mutating twice changes the object again"));
                }
            }
        }
        self.compare(&found, object.as_ref(), expect);
        // What is refused brings nothing.
        let stored = object.filter(|_| found.status.is_none());
        self.compare_companions(stored, group, &kind, expect)
    }

    /// Checks an answer as the API server would, and takes what it says.
    fn take(
        &mut self,
        answer: &Value,
        uid: &str,
        role: Role,
        found: &mut Found,
    ) -> Option<json_patch::Patch> {
        self.expect(
            "apiVersion",
            &answer["apiVersion"],
            &json!(admission::API_VERSION),
        );
        self.expect("kind", &answer["kind"], &json!(admission::KIND));
        let response = &answer["response"];
        self.expect("uid", &response["uid"], &json!(uid));
        for warning in response["warnings"].as_array().into_iter().flatten() {
            let text = warning.as_str().unwrap_or_default();
            if text.chars().count() > 120 {
                self.differences
                    .push(format!("warning of more than 120 characters: {text}"));
            }
            found.warnings.push(warning.clone());
        }
        let audit = response["auditAnnotations"]
            .as_object()
            .into_iter()
            .flatten();
        let own =
            audit.filter(|(key, _)| !matches!(key.as_str(), "rule" | "decision" | "revision"));
        let own = own.map(|(key, value)| (key.clone(), value.clone()));
        found.audit.extend(own);
        if response["allowed"] != json!(true) {
            found
                .status
                .get_or_insert_with(|| response["status"].clone());
        }
        let has_patch = response.get("patch").is_some();
        if has_patch != response.get("patchType").is_some() {
            self.differences
                .push("patch and patchType must come together".to_owned());
        }
        if has_patch && role == Role::Validate {
            self.differences
                .push("a validator must not patch".to_owned());
        }
        let patch = match response.get("patch").and_then(Value::as_str) {
            None => json_patch::Patch::default(),
            Some(encoded) => {
                let decoded = base64::engine::general_purpose::STANDARD
                    .decode(encoded)
                    .map_err(|error| error.to_string())
                    .and_then(|json| {
                        serde_json::from_slice(&json).map_err(|error| error.to_string())
                    });
                match decoded {
                    Ok(patch) => patch,
                    Err(error) => {
                        self.differences
                            .push(format!("the patch is not readable: {error}"));
                        return None;
                    }
                }
            }
        };
        if has_patch && patch.0.is_empty() {
            self.differences
                .push("an empty patch is an error to the API server".to_owned());
        }
        Some(patch)
    }

    fn compare(&mut self, found: &Found, object: Option<&Value>, expect: &ExpectFile) {
        let is_allowed = found.status.is_none();
        self.expect(
            "allowed",
            &json!(is_allowed),
            &json!(expect.allowed.unwrap_or(true)),
        );
        let status = found.status.clone().unwrap_or_default();
        if let Some(code) = expect.code {
            self.expect("code", &status["code"], &json!(code));
        }
        if let Some(reason) = &expect.reason {
            self.expect("reason", &status["reason"], &json!(reason));
        }
        if let Some(message) = &expect.message {
            self.expect("message", &status["message"], &json!(message));
        }
        let causes: Vec<Cause> = status
            .pointer("/details/causes")
            .cloned()
            .and_then(|causes| serde_json::from_value(causes).ok())
            .unwrap_or_default();
        for missing in expect
            .causes
            .iter()
            .filter(|wanted| !causes.contains(wanted))
        {
            self.differences.push(format!("missing cause: {missing:?}"));
        }
        for extra in causes.iter().filter(|cause| !expect.causes.contains(cause)) {
            self.differences
                .push(format!("unexpected cause: {extra:?}"));
        }
        self.expect("warnings", &json!(found.warnings), &json!(expect.warnings));
        if let Some(audit) = &expect.audit_annotations {
            self.expect("auditAnnotations", &json!(found.audit), &json!(audit));
        }
        self.expect("patch", &json!(found.patch), &json!(expect.patch));
        if let (Some(wanted), Some(object)) = (&expect.object, object) {
            self.expect("object", object, wanted);
        }
    }

    fn compare_companions(
        &mut self,
        object: Option<Value>,
        group: &str,
        kind: &str,
        expect: &ExpectFile,
    ) -> Result<(), String> {
        let mut children = Vec::new();
        if let Some(parent) = object.and_then(Object::of) {
            for webhook in self.registry {
                if let Some(companions) = webhook.companions
                    && companions.parents().resource.group == group
                    && companions.parents().resource.kind == kind
                {
                    let settings = self.service.dispatcher.settings();
                    if settings.mode(&webhook.declaration) == Mode::Off {
                        continue;
                    }
                    let world = World {
                        cluster: &*self.service.caches,
                        settings: settings.of(&webhook.declaration),
                    };
                    let desired = desired(&webhook.declaration, companions, &parent, &world)
                        .map_err(|fault| format!("companions: {fault}"))?;
                    children.extend(desired.unwrap_or_default().children);
                }
            }
        }
        self.expect("companions", &json!(children), &json!(expect.companions));
        Ok(())
    }

    fn convert(&mut self, form: &str, objects: &[Value], expect: &ExpectFile) {
        let kind = objects
            .first()
            .and_then(|object| object["kind"].as_str())
            .unwrap_or_default();
        let Some((path, conversion, target)) =
            self.service.dispatcher.conversion_paths().find_map(|path| {
                let (conversion, target) = self.service.dispatcher.conversion(path)?;
                let is_successor = conversion
                    .rename
                    .as_ref()
                    .is_some_and(|rename| rename.to.kind == form);
                let is_wanted = match target {
                    Target::Version => !is_successor && conversion.hub.kind == kind,
                    Target::Successor => is_successor,
                };
                is_wanted.then(|| (path.to_owned(), conversion, target))
            })
        else {
            self.differences
                .push(format!("nothing converts {kind} to {form}"));
            return;
        };
        let desired = match (target, &conversion.rename) {
            (Target::Successor, Some(rename)) => rename.to.api_version(),
            _ => format!("{}/{form}", conversion.hub.group),
        };
        let Some(converted) =
            self.convert_once(&path, &desired, objects, expect.failure.as_deref())
        else {
            return;
        };
        self.expect(
            "objects",
            &json!(converted),
            &json!(expect.objects.clone().unwrap_or_default()),
        );
        for (before, after) in objects.iter().zip(&converted) {
            self.expect("apiVersion", &after["apiVersion"], &json!(desired));
            let mut same = vec!["/metadata/name", "/metadata/namespace", "/metadata/uid"];
            if target == Target::Version {
                same.push("/kind");
            }
            for pointer in same {
                let of = |object: &Value| object.pointer(pointer).cloned().unwrap_or_default();
                self.expect(pointer, &of(after), &of(before));
            }
            let origin = before["apiVersion"].as_str().unwrap_or_default().to_owned();
            if target == Target::Version
                && let Some(back) =
                    self.convert_once(&path, &origin, std::slice::from_ref(after), None)
            {
                self.expect("round trip", &json!(back), &json!([before]));
            }
        }
    }

    fn convert_once(
        &mut self,
        path: &str,
        desired: &str,
        objects: &[Value],
        failure: Option<&str>,
    ) -> Option<Vec<Value>> {
        let question = json!({
            "apiVersion": conversion::API_VERSION, "kind": conversion::KIND,
            "request": {"uid": "case-convert", "desiredAPIVersion": desired, "objects": objects},
        });
        let answer = self.post(path, &question)?;
        self.expect("uid", &answer["response"]["uid"], &json!("case-convert"));
        let result = &answer["response"]["result"];
        match failure {
            Some(message) => {
                self.expect(
                    "result",
                    result,
                    &json!({"status": "Failure", "message": message}),
                );
                None
            }
            None => {
                self.expect("result", result, &json!({"status": "Success"}));
                let converted: Vec<Value> = answer["response"]["convertedObjects"]
                    .as_array()
                    .cloned()
                    .unwrap_or_default();
                self.expect("count", &json!(converted.len()), &json!(objects.len()));
                Some(converted)
            }
        }
    }
}

/// Whether a JSON Pointer is another one, or leads there.
fn covers(pointer: &str, other: &str) -> bool {
    let rest = other.strip_prefix(pointer);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// JSON Pointers of what differs: of members that come and go each of their own, of lists the list.
fn changed(before: &Value, after: &Value) -> Vec<String> {
    if before == after {
        return Vec::new();
    }
    let has_members = |value: &Value| value.is_object() || value.is_null();
    if !(has_members(before) && has_members(after)) {
        return vec![String::new()];
    }
    let names: BTreeSet<&String> = [before, after]
        .into_iter()
        .filter_map(Value::as_object)
        .flat_map(Map::keys)
        .collect();
    names
        .into_iter()
        .flat_map(|name| {
            let escaped = name.replace('~', "~0").replace('/', "~1");
            let below = changed(&before[name], &after[name]);
            below
                .into_iter()
                .map(move |rest| format!("/{escaped}{rest}"))
        })
        .collect()
}

#[derive(Default)]
struct Found {
    status: Option<Value>,
    warnings: Vec<Value>,
    audit: Map<String, Value>,
    patch: Vec<json_patch::PatchOperation>,
}
