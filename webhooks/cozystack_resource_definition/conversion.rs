//! Legacy form (v1alpha1, `release.chart`) to new form (v1alpha2, `release.chartRef`) and back.
//!
//! Three things change and nothing else: the chart reference, the sharding label, and (in the framework) the
//! `apiVersion`. What the plain rule of the way back could not restore is remembered in [`STASH_ANNOTATION`]. Whether
//! that is so is not guessed: the way back is walked and compared.

use super::catalogue::{
    ARTIFACT_NAMESPACE, CHART_REF_KINDS, EXTERNAL_ARTIFACT, HELM_REPOSITORY, LEGACY_NAMESPACE,
    Repository, artifact_of, chart_of,
};
use crate::contract::convert::Step;
use crate::contract::{Conversion, ConvertError, FieldPath, Malformed, Node, Rename, Spoke};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Annotation that remembers what the form at hand cannot hold.
pub const STASH_ANNOTATION: &str = "conversion.cozystack.io/stash";
/// Label that hands a tenant's HelmReleases to a shard of the Flux controllers.
pub const SHARDING_LABEL: &str = "sharding.fluxcd.io/key";
/// The shard of all tenants.
pub const TENANTS_SHARD: &str = "tenants";

/// The API server takes no more than this for all annotations of an object, in bytes
/// (`k8s.io/apimachinery` `TotalAnnotationSizeLimitB`).
const STASH_MAX_BYTES: usize = 256 * 1024;
const STASH_VERSION: u8 = 1;
const LEGACY: &str = "v1alpha1";
const NEW: &str = "v1alpha2";
/// Fields of `release` in later releases of the new form, which the legacy schema would prune.
const NEW_ONLY_FIELDS: [&str; 2] = ["waitStrategy", "healthCheckExprs"];
const CHART_FIELDS: [&str; 2] = ["chart", "chartRef"];

/// How the legacy kind is converted, and renamed to its successor.
pub static CONVERSION: Conversion = Conversion {
    hub: &super::RESOURCE,
    spokes: &[Spoke {
        version: NEW,
        to_hub: to_legacy as Step,
        from_hub: to_new as Step,
    }],
    rename: Some(Rename {
        form: NEW,
        to: &crate::application_definition::RESOURCE,
    }),
};

/// What the annotation holds: JSON with a version. A part that no longer matches what it explains is ignored.
#[derive(Serialize, Deserialize, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Stash {
    version: u8,
    /// The version of the object that was converted.
    from: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    chart: Option<ChartStash>,
    /// Fields of `release` that only the new form has.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    release: Fields,
    /// Fields of that kind that the legacy form had all the same, as unknown ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    in_place: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    labels: Option<LabelStash>,
    /// `metadata.annotations` was there, but null or empty.
    #[serde(
        default,
        deserialize_with = "even_null",
        skip_serializing_if = "Option::is_none"
    )]
    annotations: Option<Box<RawValue>>,
    /// What stood in the annotation itself and was not of this conversion.
    #[serde(
        default,
        deserialize_with = "even_null",
        skip_serializing_if = "Option::is_none"
    )]
    annotation: Option<Box<RawValue>>,
}

/// A member that is there, be it `null`: absent and null are kept apart.
fn even_null<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::<RawValue>::deserialize(deserializer).map(Some)
}

/// Members that are there, by name.
type Fields = BTreeMap<String, Box<RawValue>>;

/// `release.chart` and `release.chartRef` before the conversion: valid while they are still what it made of them.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ChartStash {
    was: Fields,
    gave: Fields,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
enum LabelStash {
    /// The sharding label is as it was: neither added here nor to be taken away on the way back.
    Untouched,
    /// `labels` was this (null or empty) before the sharding label came.
    Was(Box<RawValue>),
}

#[derive(Clone, Copy, PartialEq)]
enum Direction {
    ToNew,
    ToLegacy,
}

impl Direction {
    fn from(self) -> &'static str {
        match self {
            Direction::ToNew => LEGACY,
            Direction::ToLegacy => NEW,
        }
    }

    fn reverse(self) -> Direction {
        match self {
            Direction::ToNew => Direction::ToLegacy,
            Direction::ToLegacy => Direction::ToNew,
        }
    }
}

fn to_new(object: &mut Node<'_>) -> Result<(), ConvertError> {
    convert(object, Direction::ToNew)
}

fn to_legacy(object: &mut Node<'_>) -> Result<(), ConvertError> {
    convert(object, Direction::ToLegacy)
}

fn convert(object: &mut Node<'_>, direction: Direction) -> Result<(), ConvertError> {
    let name = object.text_at(&["metadata", "name"])?.unwrap_or_default();
    let mut stash = None;
    let mut memory = Stash {
        version: STASH_VERSION,
        from: direction.from().to_owned(),
        ..Stash::default()
    };
    if let Some(annotation) = take_annotation(object)? {
        match parse_stash(&annotation, direction) {
            Some(ours) => stash = Some(ours),
            // Somebody's own text, or of another conversion: carried along, given back on the way back.
            None => memory.annotation = Some(raw(&annotation)?),
        }
    }
    let mut came = stash.unwrap_or_default();
    let had_stash = !came.from.is_empty();

    if let Some(release) = object.at(&["spec", "release"])?
        && release.is_object()
    {
        memory.chart = convert_chart(release, direction, &name, came.chart.take())?;
        match direction {
            Direction::ToNew => {
                memory.in_place = new_only_fields(release)?;
                for (field, value) in std::mem::take(&mut came.release) {
                    if release.member(&field)?.is_none() {
                        release.set(&field, Node::Raw(Cow::Owned(value)))?;
                    }
                }
            }
            Direction::ToLegacy => {
                for field in new_only_fields(release)? {
                    if !came.in_place.contains(&field)
                        && let Some(value) = release.remove(&field)?
                    {
                        memory.release.insert(field, raw(&value)?);
                    }
                }
            }
        }
        memory.labels = convert_sharding(release, direction, came.labels.take())?;
    }
    if had_stash {
        restore_annotations(object, &mut came, &mut memory)?;
    }
    if memory.is_empty() {
        Ok(())
    } else {
        write_stash(object, memory)
    }
}

fn raw(node: &Node<'_>) -> Result<Box<RawValue>, Malformed> {
    Ok(RawValue::from_string(node.to_text()?)?)
}

fn owned<'a>(value: Box<RawValue>) -> Node<'a> {
    Node::Raw(Cow::Owned(value))
}

impl Stash {
    fn is_empty(&self) -> bool {
        self.chart.is_none()
            && self.release.is_empty()
            && self.in_place.is_empty()
            && self.labels.is_none()
            && self.annotation.is_none()
    }
}

fn take_annotation<'a>(object: &mut Node<'a>) -> Result<Option<Node<'a>>, Malformed> {
    match object.at(&["metadata", "annotations"])? {
        Some(annotations) => annotations.remove(STASH_ANNOTATION),
        None => Ok(None),
    }
}

/// The stash that the conversion in the other direction left, if the annotation holds one.
fn parse_stash(annotation: &Node<'_>, direction: Direction) -> Option<Stash> {
    let stash: Stash = serde_json::from_str(&annotation.text()?).ok()?;
    (stash.version == STASH_VERSION && stash.from == direction.reverse().from()).then_some(stash)
}

/// Once the stash is taken out, `annotations` becomes what it was before the stash came in.
fn restore_annotations(
    object: &mut Node<'_>,
    came: &mut Stash,
    memory: &mut Stash,
) -> Result<(), Malformed> {
    let Some(metadata) = object.member("metadata")? else {
        return Ok(());
    };
    if let Some(foreign) = came.annotation.take() {
        if !memory.is_empty() {
            memory.annotation = Some(foreign);
        } else if let Some(annotations) = metadata.member("annotations")? {
            annotations.set(STASH_ANNOTATION, owned(foreign))?;
        }
        return Ok(());
    }
    let is_empty = match metadata.member("annotations")? {
        Some(annotations) => annotations
            .members()?
            .is_some_and(|members| members.is_empty()),
        None => false,
    };
    if is_empty {
        match came.annotations.take() {
            Some(was) => metadata.set("annotations", owned(was))?,
            None => {
                metadata.remove("annotations")?;
            }
        }
    }
    Ok(())
}

fn write_stash(object: &mut Node<'_>, mut memory: Stash) -> Result<(), ConvertError> {
    let Some(metadata) = object
        .member("metadata")?
        .filter(|metadata| metadata.is_object())
    else {
        return Err(ConvertError::field(
            FieldPath::of(&["metadata"]),
            "must be an object",
        ));
    };
    let at = FieldPath::of(&["metadata", "annotations"]);
    let is_blank = match metadata.member("annotations")? {
        None => {
            metadata.set("annotations", Node::empty_object())?;
            false
        }
        Some(annotations) if annotations.is_null() => true,
        Some(annotations) => match annotations.members()? {
            Some(members) => members.is_empty(),
            None => return Err(ConvertError::field(at, "must be an object")),
        },
    };
    if let Some(annotations) = metadata.member("annotations")? {
        if is_blank && memory.annotation.is_none() {
            memory.annotations = Some(raw(annotations)?);
        }
        if annotations.is_null() {
            *annotations = Node::empty_object();
        }
        let text = serde_json::to_string(&memory).map_err(Malformed::from)?;
        if text.len() > STASH_MAX_BYTES {
            return Err(ConvertError::field(
                at.key(STASH_ANNOTATION),
                format!(
                    "what the other version cannot hold takes {} bytes, annotations may take {STASH_MAX_BYTES}",
                    text.len()
                ),
            ));
        }
        annotations.set(STASH_ANNOTATION, Node::of(&text)?)?;
    }
    Ok(())
}

fn new_only_fields(release: &mut Node<'_>) -> Result<Vec<String>, Malformed> {
    let mut found = Vec::new();
    for field in NEW_ONLY_FIELDS {
        if release.member(field)?.is_some() {
            found.push(field.to_owned());
        }
    }
    Ok(found)
}

/// Replaces the chart reference. The result says what the plain way back could not restore.
fn convert_chart(
    release: &mut Node<'_>,
    direction: Direction,
    name: &str,
    stash: Option<ChartStash>,
) -> Result<Option<ChartStash>, ConvertError> {
    let mut current = Fields::new();
    for field in CHART_FIELDS {
        if let Some(node) = release.member(field)? {
            current.insert(field.to_owned(), raw(node)?);
        }
    }
    // What the API server has filled in since is not the user's: after a stash that explains the object, equal up
    // to defaults is equal.
    let (result, same): (Fields, fn(&Fields, &Fields) -> bool) = match stash {
        Some(stash) if are_equal(&stash.gave, &current) => (stash.was, are_equal),
        _ => (plain(&current, direction, name)?, are_identical),
    };
    let way_back = plain(&result, direction.reverse(), name);
    let is_restorable = way_back.is_ok_and(|fields| same(&fields, &current));
    place_chart_fields(release, &result)?;
    Ok((!is_restorable).then_some(ChartStash {
        was: current,
        gave: result,
    }))
}

/// Writes the chart fields, the new one where the old one stood.
fn place_chart_fields(release: &mut Node<'_>, fields: &Fields) -> Result<(), Malformed> {
    let Some(members) = release.members()? else {
        return Ok(());
    };
    let is_chart_field = |name: &str| CHART_FIELDS.contains(&name);
    let position = members
        .iter()
        .position(|(name, _)| is_chart_field(name))
        .unwrap_or(members.len());
    members.retain(|(name, _)| !is_chart_field(name));
    for (offset, (field, value)) in fields.iter().enumerate() {
        members.insert(
            position + offset,
            (Cow::Owned(field.clone()), owned(value.clone())),
        );
    }
    Ok(())
}

fn value_of(fields: &Fields, field: &str) -> Option<Value> {
    serde_json::from_str(fields.get(field)?.get()).ok()
}

fn are_identical(one: &Fields, two: &Fields) -> bool {
    CHART_FIELDS.iter().all(|field| {
        one.contains_key(*field) == two.contains_key(*field)
            && value_of(one, field) == value_of(two, field)
    })
}

/// Equal once the defaults of the legacy CRD are filled in, as the API server does when it stores.
fn are_equal(one: &Fields, two: &Fields) -> bool {
    CHART_FIELDS.iter().all(|field| {
        one.contains_key(*field) == two.contains_key(*field)
            && value_of(one, field).map(with_defaults) == value_of(two, field).map(with_defaults)
    })
}

fn with_defaults(mut chart: Value) -> Value {
    if let Some(source) = chart.get_mut("sourceRef").and_then(Value::as_object_mut) {
        source
            .entry("kind")
            .or_insert_with(|| HELM_REPOSITORY.into());
        source
            .entry("namespace")
            .or_insert_with(|| LEGACY_NAMESPACE.into());
    }
    chart
}

/// The conversion of the chart fields by rule alone. What cannot be read gives no reference: in a conversion one
/// failed object hides the whole kind.
fn plain(current: &Fields, direction: Direction, name: &str) -> Result<Fields, ConvertError> {
    let (from, to) = match direction {
        Direction::ToNew => ("chart", "chartRef"),
        Direction::ToLegacy => ("chartRef", "chart"),
    };
    let Some(value) = value_of(current, from) else {
        return Ok(current
            .iter()
            .map(|(field, value)| (field.clone(), value.clone()))
            .collect());
    };
    let made = match direction {
        Direction::ToNew => chart_ref_of(&value, name)?,
        Direction::ToLegacy => legacy_chart_of(&value),
    };
    let mut fields = Fields::new();
    if let Some(made) = made {
        fields.insert(
            to.to_owned(),
            serde_json::value::to_raw_value(&made).map_err(Malformed::from)?,
        );
    }
    Ok(fields)
}

/// A string member; an absent or null one gives `default`, another type nothing.
fn text_or<'v>(value: &'v Value, member: &str, default: &'v str) -> Option<&'v str> {
    match value.get(member) {
        None | Some(Value::Null) => Some(default),
        Some(found) => found.as_str(),
    }
}

/// Kind, name and namespace of the repository that a legacy `chart` names, the CRD's defaults filled in.
#[must_use]
pub fn source_of(chart: &Value) -> Option<(&str, &str, &str)> {
    let source = chart.get("sourceRef").filter(|source| source.is_object())?;
    Some((
        text_or(source, "kind", HELM_REPOSITORY)?,
        source.get("name").and_then(Value::as_str)?,
        text_or(source, "namespace", LEGACY_NAMESPACE)?,
    ))
}

fn known_repository(kind: &str, name: &str, namespace: &str) -> Option<Repository> {
    let is_of_platform = kind == HELM_REPOSITORY && namespace == LEGACY_NAMESPACE;
    Repository::of(name).filter(|_| is_of_platform)
}

/// Name and repository of a legacy `chart` that comes from one of the two known repositories.
#[must_use]
pub fn known_chart(chart: &Value) -> Option<(&str, Repository)> {
    let (kind, name, namespace) = source_of(chart)?;
    Some((
        chart.get("name").and_then(Value::as_str)?,
        known_repository(kind, name, namespace)?,
    ))
}

fn chart_ref_of(chart: &Value, definition: &str) -> Result<Option<Value>, ConvertError> {
    let Some((kind, name, namespace)) = source_of(chart) else {
        return Ok(None);
    };
    if known_repository(kind, name, namespace).is_some() {
        return Ok(chart.get("name").and_then(Value::as_str).map(|chart| {
            json!({"kind": EXTERNAL_ARTIFACT, "name": artifact_of(chart), "namespace": ARTIFACT_NAMESPACE})
        }));
    }
    if CHART_REF_KINDS.contains(&kind) {
        return Ok(Some(
            json!({"kind": kind, "name": name, "namespace": namespace}),
        ));
    }
    if definition.is_empty() {
        return Err(ConvertError::field(
            FieldPath::of(&["metadata", "name"]),
            format!("must be set: the chart of {kind} {namespace}/{name} is found by it"),
        ));
    }
    Ok(Some(
        json!({"kind": "HelmChart", "name": format!("cozystack-{definition}"), "namespace": namespace}),
    ))
}

fn legacy_chart_of(chart_ref: &Value) -> Option<Value> {
    let kind = chart_ref.get("kind").and_then(Value::as_str)?;
    let name = chart_ref.get("name").and_then(Value::as_str)?;
    let namespace = chart_ref.get("namespace");
    if kind == EXTERNAL_ARTIFACT
        && namespace.and_then(Value::as_str) == Some(ARTIFACT_NAMESPACE)
        && let Some((chart, repository)) = chart_of(name)
    {
        return Some(json!({
            "name": chart,
            "sourceRef": {"kind": HELM_REPOSITORY, "name": repository.name(), "namespace": LEGACY_NAMESPACE},
        }));
    }
    let mut source = json!({"kind": kind, "name": name});
    if let (Some(members), Some(namespace)) = (source.as_object_mut(), namespace) {
        members.insert("namespace".to_owned(), namespace.clone());
    }
    Some(json!({"name": name, "sourceRef": source}))
}

/// Adds the sharding label, or takes it away. The result says what the plain way back could not restore.
fn convert_sharding(
    release: &mut Node<'_>,
    direction: Direction,
    stash: Option<LabelStash>,
) -> Result<Option<LabelStash>, Malformed> {
    let (is_object, is_null, count) = match release.member("labels")? {
        Some(labels) => (
            labels.is_object(),
            labels.is_null(),
            labels.members()?.map_or(0, |members| members.len()),
        ),
        None => (false, false, 0),
    };
    let has_other_type = !is_object && !is_null && release.member("labels")?.is_some();
    if has_other_type {
        return Ok(None);
    }
    let shard = release
        .at(&["labels", SHARDING_LABEL])?
        .map(|label| label.text());
    let is_tenants = shard
        .as_ref()
        .is_some_and(|text| text.as_deref() == Some(TENANTS_SHARD));
    match direction {
        Direction::ToNew => {
            if shard.is_some() {
                return Ok(is_tenants.then_some(LabelStash::Untouched));
            }
            if matches!(stash, Some(LabelStash::Untouched)) {
                return Ok(None);
            }
            let memory = match release.member("labels")? {
                Some(labels) if count == 0 => Some(LabelStash::Was(raw(labels)?)),
                _ => None,
            };
            if !is_object {
                release.set("labels", Node::empty_object())?;
            }
            if let Some(labels) = release.member("labels")? {
                labels.set(SHARDING_LABEL, Node::of(&TENANTS_SHARD)?)?;
            }
            Ok(memory)
        }
        Direction::ToLegacy => {
            if shard.is_none() {
                return Ok(Some(LabelStash::Untouched));
            }
            match stash {
                _ if !is_tenants => {}
                Some(LabelStash::Untouched) => {}
                Some(LabelStash::Was(was)) if count == 1 => release.set("labels", owned(was))?,
                _ if count == 1 => {
                    release.remove("labels")?;
                }
                _ => {
                    if let Some(labels) = release.member("labels")? {
                        labels.remove(SHARDING_LABEL)?;
                    }
                }
            }
            Ok(None)
        }
    }
}

#[cfg(test)]
mod tests;
