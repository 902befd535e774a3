//! `ConversionReview`: objects in, the same objects in another version out, order and count kept.

use super::Reply;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::borrow::Cow;
use webhooks::contract::{Conversion, ConvertError, Converted, Deadline, Fault, Node};

/// The only version spoken.
pub const API_VERSION: &str = "apiextensions.k8s.io/v1";
/// The kind of question and answer.
pub const KIND: &str = "ConversionReview";

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

#[derive(Deserialize)]
struct Request<'a> {
    #[serde(borrow)]
    uid: Cow<'a, str>,
    #[serde(borrow, rename = "desiredAPIVersion")]
    desired_api_version: Cow<'a, str>,
    #[serde(borrow)]
    objects: Vec<&'a RawValue>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer<'a, 'b> {
    api_version: &'static str,
    kind: &'static str,
    response: Response<'a, 'b>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Response<'a, 'b> {
    uid: &'a str,
    converted_objects: &'a [Converted<'b>],
    result: ResultOnTheWire,
}

#[derive(Serialize)]
struct ResultOnTheWire {
    status: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    message: String,
}

/// What happened to a review, for metrics and the log.
#[derive(Debug, Default, Clone)]
pub struct Outcome {
    /// How many objects it had.
    pub objects: usize,
    /// Why it failed, if it did.
    pub failure: Option<String>,
}

/// Whether the target is a version of the same kind, or the kind's successor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// The version that the review asks for.
    Version,
    /// The successor kind.
    Successor,
}

/// Answers one review. A conversion that cannot be made is still a 200: `result.status: Failure`.
///
/// # Errors
/// When the deadline passes.
pub fn answer(
    body: &[u8],
    conversion: &Conversion,
    target: Target,
    deadline: Deadline,
) -> Result<(Reply, Outcome), Fault> {
    let refuse = |sentence: String| {
        let outcome = Outcome {
            objects: 0,
            failure: Some(sentence.clone()),
        };
        Ok((Reply::refusal(400, sentence), outcome))
    };
    let envelope: Envelope<'_> = match serde_json::from_slice(body) {
        Ok(envelope) => envelope,
        Err(error) => return refuse(format!("not a {KIND}: {error}")),
    };
    if envelope.api_version != API_VERSION || envelope.kind != KIND {
        return refuse(format!(
            "expected {API_VERSION} {KIND}, found {} {}",
            envelope.api_version, envelope.kind
        ));
    }
    let Some(request) = envelope.request else {
        return refuse("the review has no request".to_owned());
    };
    if request.uid.is_empty() {
        return refuse("request.uid is empty".to_owned());
    }
    let mut objects = Vec::with_capacity(request.objects.len());
    let mut failure = String::new();
    for (index, object) in request.objects.iter().enumerate() {
        deadline.check()?;
        let converted = match target {
            Target::Version => conversion.convert(object, &request.desired_api_version),
            Target::Successor => rename(conversion, object, &request.desired_api_version),
        };
        match converted {
            Ok(converted) => objects.push(converted),
            Err(error) => {
                failure = format!("object {index} ({}): {error}", display_name(object));
                objects.clear();
                break;
            }
        }
    }
    let answer = Answer {
        api_version: API_VERSION,
        kind: KIND,
        response: Response {
            uid: &request.uid,
            converted_objects: &objects,
            result: ResultOnTheWire {
                status: if failure.is_empty() {
                    "Success"
                } else {
                    "Failure"
                },
                message: failure.clone(),
            },
        },
    };
    let mut text = Vec::with_capacity(body.len() + body.len() / 8);
    if let Err(error) = serde_json::to_writer(&mut text, &answer) {
        return Err(Fault::Internal(format!(
            "the answer cannot be written: {error}"
        )));
    }
    let outcome = Outcome {
        objects: request.objects.len(),
        failure: (!failure.is_empty()).then_some(failure),
    };
    Ok((Reply::review(text), outcome))
}

fn rename<'a>(
    conversion: &Conversion,
    object: &'a RawValue,
    desired: &str,
) -> Result<Converted<'a>, ConvertError> {
    if let Some(rename) = &conversion.rename
        && rename.to.api_version() != desired
    {
        return Err(ConvertError::field(
            webhooks::contract::FieldPath::of(&["request", "desiredAPIVersion"]),
            format!("is {desired:?}, must be {}", rename.to.api_version()),
        ));
    }
    conversion.rename(object)
}

/// `namespace/name` of an object that may be anything.
fn display_name(object: &RawValue) -> String {
    let mut node = Node::from(object);
    let mut text = |path: &[&str]| node.text_at(path).ok().flatten();
    let name = text(&["metadata", "name"]).unwrap_or_else(|| "without a name".to_owned());
    match text(&["metadata", "namespace"]) {
        Some(namespace) => format!("{namespace}/{name}"),
        None => name,
    }
}
