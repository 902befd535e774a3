//! `AdmissionReview`: the envelope in, the response out.

use super::Reply;
use crate::dispatch::Decision;
use base64::Engine as _;
use json_patch::PatchOperation;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeMap;
use webhooks::contract::skim::Cursor;
use webhooks::contract::{Json, Outline};

/// The only version spoken.
pub const API_VERSION: &str = "admission.k8s.io/v1";
/// The kind of question and answer.
pub const KIND: &str = "AdmissionReview";

/// Group, version and kind.
#[derive(Debug, Deserialize, Default)]
pub struct GroupVersionKind<'a> {
    /// API group.
    #[serde(borrow, default)]
    pub group: Cow<'a, str>,
    /// Version.
    #[serde(borrow, default)]
    pub version: Cow<'a, str>,
    /// Kind.
    #[serde(borrow, default)]
    pub kind: Cow<'a, str>,
}

/// Group, version and resource.
#[derive(Debug, Deserialize, Default)]
pub struct GroupVersionResource<'a> {
    /// API group.
    #[serde(borrow, default)]
    pub group: Cow<'a, str>,
    /// Version.
    #[serde(borrow, default)]
    pub version: Cow<'a, str>,
    /// Plural name.
    #[serde(borrow, default)]
    pub resource: Cow<'a, str>,
}

/// The request, objects left as the text that came in.
#[derive(Debug, Default)]
pub struct Request<'a> {
    /// Identity of the question, repeated in the answer.
    pub uid: Cow<'a, str>,
    /// CREATE, UPDATE, DELETE or CONNECT.
    pub operation: Cow<'a, str>,
    /// Kind of the object.
    pub kind: GroupVersionKind<'a>,
    /// Resource of the object.
    pub resource: GroupVersionResource<'a>,
    /// Subresource; none for the object itself.
    pub sub_resource: Option<Cow<'a, str>>,
    /// Name; none on CREATE with `generateName`.
    pub name: Option<Cow<'a, str>>,
    /// Namespace; none for cluster-scoped kinds.
    pub namespace: Option<Cow<'a, str>>,
    /// Whether nothing will be stored.
    pub dry_run: Option<bool>,
    object: Part<'a>,
    old_object: Part<'a>,
    user_info: Part<'a>,
}

/// A part of the request that is handed on as it came.
#[derive(Debug, Default)]
enum Part<'a> {
    #[default]
    Absent,
    /// With the places of its members.
    Noted(Outline<'a>),
    /// As serde found it.
    Raw(&'a RawValue),
}

impl Part<'_> {
    fn json(&self) -> Option<Json<'_>> {
        match self {
            Part::Absent => None,
            Part::Noted(outline) => Some(outline.json()),
            Part::Raw(raw) => Some((*raw).into()),
        }
    }
}

impl Request<'_> {
    /// The object after the change.
    #[must_use]
    pub fn object(&self) -> Option<Json<'_>> {
        self.object.json()
    }

    /// The object before the change.
    #[must_use]
    pub fn old_object(&self) -> Option<Json<'_>> {
        self.old_object.json()
    }

    /// Who asks: read only by rules that want to know.
    #[must_use]
    pub fn user_info(&self) -> Option<Json<'_>> {
        self.user_info.json()
    }
}

/// The request of a text that is written as the API server writes it, in one pass; none where serde has to look.
fn skim(body: &[u8]) -> Option<Request<'_>> {
    let mut cursor = Cursor::new(std::str::from_utf8(body).ok()?);
    let (mut api_version, mut kind, mut request) = (None, None, None);
    cursor.members(|name, cursor| match name {
        "apiVersion" => fill(&mut api_version, cursor.string()?),
        "kind" => fill(&mut kind, cursor.string()?),
        "request" => fill(&mut request, skim_request(cursor)?),
        _ => Some(()),
    })?;
    let is_review = api_version == Some(API_VERSION) && kind == Some(KIND) && cursor.is_at_end();
    request.filter(|_| is_review)
}

fn skim_request<'a>(cursor: &mut Cursor<'a>) -> Option<Request<'a>> {
    let (mut uid, mut operation, mut kind, mut resource) = (None, None, None, None);
    let (mut sub_resource, mut name, mut namespace, mut dry_run) = (None, None, None, None);
    let (mut object, mut old_object, mut user_info) = (None, None, None);
    cursor.members(|member, cursor| match member {
        "uid" => fill(&mut uid, cursor.string()?),
        "operation" => fill(&mut operation, cursor.string()?),
        "kind" => fill(&mut kind, skim_names(cursor, "kind")?),
        "resource" => fill(&mut resource, skim_names(cursor, "resource")?),
        "subResource" => fill(&mut sub_resource, cursor.string()?),
        "name" => fill(&mut name, cursor.string()?),
        "namespace" => fill(&mut namespace, cursor.string()?),
        "dryRun" => fill(&mut dry_run, skim_flag(cursor)?),
        "object" => fill(&mut object, skim_part(cursor)?),
        "oldObject" => fill(&mut old_object, skim_part(cursor)?),
        "userInfo" => fill(&mut user_info, skim_part(cursor)?),
        _ => Some(()),
    })?;
    let [group, version, last] = kind.unwrap_or_default().map(Cow::Borrowed);
    let kind = GroupVersionKind {
        group,
        version,
        kind: last,
    };
    let [group, version, last] = resource.unwrap_or_default().map(Cow::Borrowed);
    let resource = GroupVersionResource {
        group,
        version,
        resource: last,
    };
    Some(Request {
        uid: Cow::Borrowed(uid.filter(|uid| !uid.is_empty())?),
        operation: Cow::Borrowed(operation?),
        kind,
        resource,
        sub_resource: sub_resource.map(Cow::Borrowed),
        name: name.map(Cow::Borrowed),
        namespace: namespace.map(Cow::Borrowed),
        dry_run,
        object: object.unwrap_or_default(),
        old_object: old_object.unwrap_or_default(),
        user_info: user_info.unwrap_or_default(),
    })
}

/// What stands there twice is serde's to refuse.
fn fill<T>(slot: &mut Option<T>, value: T) -> Option<()> {
    slot.replace(value).is_none().then_some(())
}

/// Group, version, and what `last` names.
fn skim_names<'a>(cursor: &mut Cursor<'a>, last: &str) -> Option<[&'a str; 3]> {
    let (mut group, mut version, mut named) = (None, None, None);
    cursor.members(|name, cursor| match name {
        "group" => fill(&mut group, cursor.string()?),
        "version" => fill(&mut version, cursor.string()?),
        name if name == last => fill(&mut named, cursor.string()?),
        _ => Some(()),
    })?;
    Some([group, version, named].map(Option::unwrap_or_default))
}

fn skim_flag(cursor: &mut Cursor<'_>) -> Option<bool> {
    cursor.value()?.parse().ok()
}

fn skim_part<'a>(cursor: &mut Cursor<'a>) -> Option<Part<'a>> {
    let outline = Outline::take(cursor)?;
    if outline.json().is_null() {
        return Some(Part::Absent);
    }
    Some(Part::Noted(outline))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WholeRequest<'a> {
    #[serde(borrow)]
    uid: Cow<'a, str>,
    #[serde(borrow)]
    operation: Cow<'a, str>,
    #[serde(borrow, default)]
    kind: GroupVersionKind<'a>,
    #[serde(borrow, default)]
    resource: GroupVersionResource<'a>,
    #[serde(borrow, default)]
    sub_resource: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    name: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    namespace: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    object: Option<&'a RawValue>,
    #[serde(borrow, default)]
    old_object: Option<&'a RawValue>,
    #[serde(default)]
    dry_run: Option<bool>,
    #[serde(borrow, default)]
    user_info: Option<&'a RawValue>,
}

impl<'a> From<WholeRequest<'a>> for Request<'a> {
    fn from(whole: WholeRequest<'a>) -> Request<'a> {
        let part = |raw: Option<&'a RawValue>| raw.map_or(Part::Absent, Part::Raw);
        Request {
            uid: whole.uid,
            operation: whole.operation,
            kind: whole.kind,
            resource: whole.resource,
            sub_resource: whole.sub_resource,
            name: whole.name,
            namespace: whole.namespace,
            dry_run: whole.dry_run,
            object: part(whole.object),
            old_object: part(whole.old_object),
            user_info: part(whole.user_info),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope<'a> {
    #[serde(borrow)]
    api_version: Cow<'a, str>,
    #[serde(borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    request: Option<WholeRequest<'a>>,
}

/// Enough to answer a review whose request does not parse.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SmallEnvelope<'a> {
    #[serde(borrow)]
    api_version: Cow<'a, str>,
    #[serde(borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    request: SmallRequest<'a>,
}

#[derive(Deserialize)]
struct SmallRequest<'a> {
    #[serde(borrow)]
    uid: Cow<'a, str>,
}

/// The request in a body.
///
/// # Errors
/// The answer: 400 for what is no review, a denial with the right uid for a review whose request is wrong.
pub fn parse(body: &[u8]) -> Result<Request<'_>, Reply> {
    match skim(body) {
        Some(request) => Ok(request),
        None => read(body),
    }
}

/// The same of any text, with what is wrong with it.
fn read(body: &[u8]) -> Result<Request<'_>, Reply> {
    let check = |api_version: &str, kind: &str| {
        if api_version == API_VERSION && kind == KIND {
            Ok(())
        } else {
            Err(Reply::refusal(
                400,
                format!("expected {API_VERSION} {KIND}, found {api_version} {kind}"),
            ))
        }
    };
    let error = match serde_json::from_slice::<Envelope<'_>>(body) {
        Ok(envelope) => {
            check(&envelope.api_version, &envelope.kind)?;
            return match envelope.request {
                None => Err(Reply::refusal(400, "the review has no request")),
                Some(request) if request.uid.is_empty() => {
                    Err(Reply::refusal(400, "request.uid is empty"))
                }
                Some(request) => Ok(request.into()),
            };
        }
        Err(error) => error,
    };
    match serde_json::from_slice::<SmallEnvelope<'_>>(body) {
        Ok(envelope) if !envelope.request.uid.is_empty() => {
            check(&envelope.api_version, &envelope.kind)?;
            Err(respond(
                &envelope.request.uid,
                &Decision::unreadable(format!("the request is not readable: {error}")),
            ))
        }
        _ => Err(Reply::refusal(400, format!("not an {KIND}: {error}"))),
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer<'a> {
    api_version: &'static str,
    kind: &'static str,
    response: Response<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Response<'a> {
    uid: &'a str,
    allowed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Status<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    audit_annotations: BTreeMap<&'a str, &'a str>,
}

#[derive(Serialize)]
struct Status<'a> {
    code: u16,
    reason: &'static str,
    message: &'a str,
    details: Details<'a>,
}

#[derive(Serialize)]
struct Details<'a> {
    group: &'a str,
    kind: &'a str,
    name: &'a str,
    causes: Vec<CauseOnTheWire>,
}

#[derive(Serialize)]
struct CauseOnTheWire {
    reason: &'static str,
    message: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    field: String,
}

/// The review that answers `uid` with a decision.
#[must_use]
pub fn respond(uid: &str, decision: &Decision) -> Reply {
    let status = decision.denial.as_ref().map(|denial| Status {
        code: denial.code,
        reason: denial.reason,
        message: &denial.message,
        details: Details {
            group: &denial.group,
            kind: &denial.kind,
            name: &denial.name,
            causes: decision
                .violations
                .iter()
                .map(|found| CauseOnTheWire {
                    reason: found.violation.cause.reason(),
                    message: found.violation.body(),
                    field: found.violation.field.to_string(),
                })
                .collect(),
        },
    });
    let patch = encode(&decision.patch);
    let answer = Answer {
        api_version: API_VERSION,
        kind: KIND,
        response: Response {
            uid,
            allowed: decision.denial.is_none(),
            status,
            patch_type: patch.as_ref().map(|_| "JSONPatch"),
            patch,
            warnings: decision.shown_warnings(),
            audit_annotations: decision
                .audit
                .iter()
                .map(|(key, value)| (key.as_str(), value.as_str()))
                .collect(),
        },
    };
    match serde_json::to_vec(&answer) {
        Ok(body) => Reply::review(body),
        Err(error) => Reply::refusal(500, format!("the answer cannot be written: {error}")),
    }
}

/// An empty patch is an error to the API server, so it is none.
fn encode(patch: &[PatchOperation]) -> Option<String> {
    if patch.is_empty() {
        return None;
    }
    let json = serde_json::to_vec(patch).ok()?;
    Some(base64::engine::general_purpose::STANDARD.encode(json))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::pedantic, clippy::unwrap_used)]

    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    /// Everything that was understood, to compare.
    fn shown(request: &Request<'_>) -> Value {
        let built = |json: Option<Json<'_>>| json.map(|json| json.get().to_owned());
        json!({
            "uid": request.uid, "operation": request.operation,
            "kind": [request.kind.group, request.kind.version, request.kind.kind],
            "resource": [request.resource.group, request.resource.version, request.resource.resource],
            "subResource": request.sub_resource, "name": request.name, "namespace": request.namespace,
            "dryRun": request.dry_run, "object": built(request.object()), "oldObject": built(request.old_object()),
            "userInfo": built(request.user_info()),
        })
    }

    fn whole() -> Value {
        json!({
            "apiVersion": API_VERSION, "kind": KIND,
            "request": {
                "uid": "u", "operation": "UPDATE", "name": "n", "namespace": "a", "subResource": "status", "dryRun": true,
                "kind": {"group": "g", "version": "v1", "kind": "K"}, "requestKind": {"group": "g", "version": "v1", "kind": "K"},
                "resource": {"group": "g", "version": "v1", "resource": "ks"},
                "userInfo": {"username": "anna", "extra": {"a/b": ["c"]}},
                "object": {"metadata": {"name": "n"}, "spec": [1, {"x": "\u{e9}\n"}]}, "oldObject": {"metadata": null},
                "options": {"kind": "UpdateOptions"},
            },
        })
    }

    #[test]
    fn what_the_api_server_writes_needs_one_pass() {
        let mut review = whole();
        for absent in [
            "",
            "dryRun",
            "subResource",
            "namespace",
            "name",
            "userInfo",
            "object",
            "kind",
        ] {
            review["request"].as_object_mut().unwrap().remove(absent);
            review["request"]["oldObject"] = json!(null);
            let body = review.to_string();
            let skimmed = skim(body.as_bytes()).unwrap();
            assert_eq!(shown(&skimmed), shown(&read(body.as_bytes()).unwrap()));
            assert!(skimmed.old_object().is_none());
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]

        /// However a review is disfigured: what is understood in one pass is what serde understands.
        #[test]
        fn one_pass_understands_nothing_else(
            members in prop::collection::vec((any::<prop::sample::Index>(), 0..9_usize), 0..3),
            cuts in prop::collection::vec((any::<prop::sample::Index>(), 0..4_usize, any::<u8>()), 0..2),
            twice in prop::option::of(any::<prop::sample::Index>()), is_pretty: bool,
        ) {
            let odd = [json!(null), json!(""), json!(5), json!({}), json!([]), json!("a\"b"), json!(false), json!({"group": null})];
            let mut review = whole();
            let names: Vec<String> = review["request"].as_object().unwrap().keys().cloned().collect();
            for (member, kind) in members {
                let member = &names[member.index(names.len())];
                match odd.get(kind) {
                    Some(value) => review["request"][member] = value.clone(),
                    None => drop(review["request"].as_object_mut().unwrap().remove(member)),
                }
            }
            let mut body = if is_pretty { format!("{review:#}") } else { review.to_string() };
            if let Some(member) = twice {
                let member = &names[member.index(names.len())];
                body = body.replacen("\"request\":", "\"x\": 1,\"request\":", 1);
                body = body.replacen("\"uid\":", &format!("\"{member}\":{},\"uid\":", whole()["request"][member]), 1);
            }
            let mut body = body.into_bytes();
            for (at, kind, byte) in cuts {
                let at = at.index(body.len());
                match kind {
                    0 => body.truncate(at),
                    1 => drop(body.remove(at)),
                    2 => body.insert(at, byte),
                    _ => body[at] = byte,
                }
            }
            if let Some(skimmed) = skim(&body) {
                let whole = read(&body);
                prop_assert!(whole.is_ok(), "{}", String::from_utf8_lossy(&body));
                prop_assert_eq!(shown(&skimmed), shown(&whole.unwrap()));
            }
        }
    }
}
