//! `AdmissionReview`: the envelope in, the response out.

use super::Reply;
use crate::dispatch::Decision;
use base64::Engine as _;
use json_patch::PatchOperation;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeMap;

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
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Request<'a> {
    /// Identity of the question, repeated in the answer.
    #[serde(borrow)]
    pub uid: Cow<'a, str>,
    /// CREATE, UPDATE, DELETE or CONNECT.
    #[serde(borrow)]
    pub operation: Cow<'a, str>,
    /// Kind of the object.
    #[serde(borrow, default)]
    pub kind: GroupVersionKind<'a>,
    /// Resource of the object.
    #[serde(borrow, default)]
    pub resource: GroupVersionResource<'a>,
    /// Subresource; none for the object itself.
    #[serde(borrow, default)]
    pub sub_resource: Option<Cow<'a, str>>,
    /// Name; none on CREATE with `generateName`.
    #[serde(borrow, default)]
    pub name: Option<Cow<'a, str>>,
    /// Namespace; none for cluster-scoped kinds.
    #[serde(borrow, default)]
    pub namespace: Option<Cow<'a, str>>,
    /// The object after the change.
    #[serde(borrow, default)]
    pub object: Option<&'a RawValue>,
    /// The object before the change.
    #[serde(borrow, default)]
    pub old_object: Option<&'a RawValue>,
    /// Whether nothing will be stored.
    #[serde(default)]
    pub dry_run: Option<bool>,
    /// Who asks: read only by rules that want to know.
    #[serde(borrow, default)]
    pub user_info: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope<'a> {
    #[serde(borrow)]
    api_version: Cow<'a, str>,
    #[serde(borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    request: Option<Request<'a>>,
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
                Some(request) => Ok(request),
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
