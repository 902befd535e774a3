//! The checks of one definition, field by field: (value, path) in, violations out.

use super::{BY_KIND, BY_PLURAL, BY_PREFIX, DEFINITIONS, NAMED_OBJECTS_MAX, keys_order, selectors};
use crate::contract::{Cluster, Fault, Index, Path, Request, Verdict, Violation, syntax};
use crate::cozystack_resource_definition::LEGACY_DEFINITIONS;
use crate::cozystack_resource_definition::catalogue::{
    ARTIFACT_NAMESPACE, CHART_REF_KINDS, EXTERNAL_ARTIFACT, is_known_artifact,
};
use crate::kinds::{PACKAGE_SOURCES, PACKAGE_SOURCES_BY_ARTIFACT};
use crate::schema::{self, Checked, Schema};
use base64::Engine as _;
use serde_json::{Map, Value};

/// Longest prefix of a release, in bytes: Helm allows 53 for a release's name, and one is left for the application.
const PREFIX_MAX_BYTES: usize = 52;
/// Longest name of a chart's artifact, in bytes (ApplicationDefinition CRD).
const CHART_NAME_MAX_BYTES: usize = 253;

/// Tabs of the dashboard's details page (enum of the CRD).
const TABS: [&str; 5] = ["workloads", "ingresses", "services", "secrets", "yaml"];
/// Annotations that hold a duration; the platform's API does not start with a malformed one (v1.4.0 and later).
const DURATION_ANNOTATIONS: [&str; 2] = [
    "release.cozystack.io/helm-install-timeout",
    "release.cozystack.io/helm-upgrade-timeout",
];
/// Annotation that holds "true" or "false", in any letter case.
const DISABLE_WAIT_ANNOTATION: &str = "release.cozystack.io/helm-install-disable-wait";
/// Labels that the platform writes itself, whatever the definition says.
const OVERWRITTEN_LABELS: &str = "apps.cozystack.io/application.";

/// A definition in its new form, whatever kind it was written as.
pub struct Subject<'a> {
    /// `metadata.name`
    pub name: &'a str,
    /// `metadata.annotations`
    pub annotations: Option<&'a Value>,
    /// `spec`
    pub spec: Option<&'a Value>,
}

impl Subject<'_> {
    /// `spec.application.kind`, empty when it is not there.
    #[must_use]
    pub fn kind(&self) -> &str {
        self.spec
            .and_then(|spec| spec.pointer("/application/kind"))
            .and_then(Value::as_str)
            .unwrap_or_default()
    }
}

/// Adds everything that is wrong with a definition.
///
/// # Errors
/// When the deadline passes.
pub fn check(
    subject: &Subject<'_>,
    request: &Request<'_>,
    verdict: &mut Verdict,
) -> Result<(), Fault> {
    annotations(subject.annotations, verdict);
    let path = Path::ROOT.member("spec");
    let Some(spec) = object(subject.spec, &path, Need::Required, verdict) else {
        return Ok(());
    };
    let application_path = path.member("application");
    let mut schema = None;
    if let Some(application) = object(
        spec.get("application"),
        &application_path,
        Need::Required,
        verdict,
    ) {
        schema = check_application(application, &application_path, subject, request, verdict);
    }
    request.deadline.check()?;
    let release_path = path.member("release");
    if let Some(release) = object(spec.get("release"), &release_path, Need::Required, verdict) {
        check_release(release, &release_path, subject, request.cluster, verdict);
    }
    for block in ["secrets", "services", "ingresses"] {
        selectors::check(spec.get(block), &path.member(block), verdict);
        request.deadline.check()?;
    }
    let dashboard_path = path.member("dashboard");
    if let Some(dashboard) = object(
        spec.get("dashboard"),
        &dashboard_path,
        Need::Optional,
        verdict,
    ) {
        check_dashboard(dashboard, &dashboard_path, schema.as_deref(), verdict);
    }
    Ok(())
}

/// Whether a field must be there.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Need {
    Required,
    Optional,
}

fn present<'v>(
    value: Option<&'v Value>,
    path: &Path<'_>,
    need: Need,
    verdict: &mut Verdict,
) -> Option<&'v Value> {
    let found = value.filter(|value| !value.is_null());
    if found.is_none() && need == Need::Required {
        verdict.refuse(Violation::required(path, ""));
    }
    found
}

/// The object there; a violation when it is missing though required, or something else.
pub(super) fn object<'v>(
    value: Option<&'v Value>,
    path: &Path<'_>,
    need: Need,
    verdict: &mut Verdict,
) -> Option<&'v Map<String, Value>> {
    let found = present(value, path, need, verdict)?;
    if found.as_object().is_none() {
        verdict.refuse(Violation::wrong_type(path, found, "an object"));
    }
    found.as_object()
}

/// The string there; a violation when it is missing though required, or something else.
pub(super) fn text<'v>(
    value: Option<&'v Value>,
    path: &Path<'_>,
    need: Need,
    verdict: &mut Verdict,
) -> Option<&'v str> {
    let found = present(value, path, need, verdict)?;
    if found.as_str().is_none() {
        verdict.refuse(Violation::wrong_type(path, found, "a string"));
    }
    found.as_str()
}

/// The list there, empty when it is missing; a violation when it is something else.
pub(super) fn list<'v>(
    value: Option<&'v Value>,
    path: &Path<'_>,
    verdict: &mut Verdict,
) -> &'v [Value] {
    let Some(found) = value.filter(|value| !value.is_null()) else {
        return &[];
    };
    if found.as_array().is_none() {
        verdict.refuse(Violation::wrong_type(path, found, "a list"));
    }
    found.as_array().map_or(&[], Vec::as_slice)
}

fn annotations(annotations: Option<&Value>, verdict: &mut Verdict) {
    let metadata = Path::ROOT.member("metadata");
    let path = metadata.member("annotations");
    let Some(annotations) = annotations.and_then(Value::as_object) else {
        return;
    };
    let text_of = |key: &str| annotations.get(key).and_then(Value::as_str);
    for key in DURATION_ANNOTATIONS {
        if let Some(duration) = text_of(key)
            && !duration.is_empty()
            && !is_duration(duration)
        {
            verdict.refuse(Violation::invalid(
                &path.key(key),
                duration,
                "must be a duration of numbers with the units ms, s, m and h, such as 20m or 1h30m",
            ));
        }
    }
    if let Some(flag) = text_of(DISABLE_WAIT_ANNOTATION) {
        let trimmed = flag.trim();
        let is_right = ["", "true", "false"]
            .iter()
            .any(|right| trimmed.eq_ignore_ascii_case(right));
        if !is_right {
            verdict.refuse(Violation::not_supported(
                &path.key(DISABLE_WAIT_ANNOTATION),
                flag,
                &["true", "false"],
            ));
        }
    }
}

/// `^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`, as the platform's API checks it (pkg/config/config.go).
fn is_duration(text: &str) -> bool {
    let mut rest = text;
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    while !rest.is_empty() {
        let whole = digits(rest);
        if whole == 0 {
            return false;
        }
        rest = rest.get(whole..).unwrap_or_default();
        if let Some(fraction) = rest.strip_prefix('.') {
            let places = digits(fraction);
            if places == 0 {
                return false;
            }
            rest = fraction.get(places..).unwrap_or_default();
        }
        match ["ms", "s", "m", "h"]
            .iter()
            .find_map(|unit| rest.strip_prefix(unit))
        {
            Some(after) => rest = after,
            None => return false,
        }
    }
    !text.is_empty()
}

/// The schema as JSON, when it is one.
fn check_application(
    application: &Map<String, Value>,
    path: &Path<'_>,
    subject: &Subject<'_>,
    request: &Request<'_>,
    verdict: &mut Verdict,
) -> Option<Checked> {
    for (member, syntax, unique) in [
        (
            "kind",
            syntax::kind as fn(&str) -> Option<String>,
            Some(&BY_KIND),
        ),
        ("plural", syntax::dns_1035_label, Some(&BY_PLURAL)),
        ("singular", syntax::dns_1035_label, None),
    ] {
        let path = path.member(member);
        let Some(name) = text(application.get(member), &path, Need::Required, verdict) else {
            continue;
        };
        if let Some(detail) = syntax(name) {
            verdict.refuse(Violation::invalid(&path, name, detail));
        } else if let Some(index) = unique
            && let Some(others) = others(index, name, subject.name, request.cluster)
        {
            verdict.refuse(Violation::duplicate(
                &path,
                name,
                format!("already defined by {others}"),
            ));
        }
    }
    let path = path.member("openAPISchema");
    let source = text(
        application.get("openAPISchema"),
        &path,
        Need::Required,
        verdict,
    )?;
    let checked = schema::check(source);
    if let Err(detail) = &*checked {
        verdict.refuse(Violation::invalid(&path, source, detail.as_str()));
    }
    Some(checked)
}

/// The other definitions, of either form, that an index knows under `key`. A legacy definition and the
/// ApplicationDefinition of the same name are one definition.
fn others(index: &'static Index, key: &str, name: &str, cluster: &dyn Cluster) -> Option<String> {
    let mut names = Vec::new();
    for read in [&DEFINITIONS, &LEGACY_DEFINITIONS] {
        // One more than is named: this definition itself may be among them.
        for other in cluster.find(read, index, key, NAMED_OBJECTS_MAX + 1).first {
            if other.name != name && names.len() < NAMED_OBJECTS_MAX {
                names.push(format!("{} {}", read.resource.kind, other.name));
            }
        }
    }
    (!names.is_empty()).then(|| names.join(", "))
}

fn check_release(
    release: &Map<String, Value>,
    path: &Path<'_>,
    subject: &Subject<'_>,
    cluster: &dyn Cluster,
    verdict: &mut Verdict,
) {
    let prefix_path = path.member("prefix");
    if let Some(prefix) = text(release.get("prefix"), &prefix_path, Need::Required, verdict)
        && !prefix.is_empty()
    {
        if !is_prefix(prefix) {
            verdict.refuse(Violation::invalid(
                &prefix_path,
                prefix,
                format!(
                    "must be empty, or lower-case letters, digits, '-' and '.' that start with a letter or digit, \
                     at most {PREFIX_MAX_BYTES} bytes"
                ),
            ));
        } else if let Some(others) = others(&BY_PREFIX, prefix, subject.name, cluster) {
            verdict.warn(format!(
                "{}: {prefix:?} is also used by {others}",
                prefix_path.to_field()
            ));
        }
    }
    let labels_path = path.member("labels");
    if let Some(labels) = object(release.get("labels"), &labels_path, Need::Optional, verdict) {
        for (key, value) in labels {
            let path = labels_path.key(key);
            if let Some(detail) = syntax::label_key(key) {
                verdict.refuse(Violation::invalid(&path, key.as_str(), detail));
            }
            if let Some(label) = text(Some(value), &path, Need::Optional, verdict)
                && let Some(detail) = syntax::label_value(label)
            {
                verdict.refuse(Violation::invalid(&path, label, detail));
            }
            if key.starts_with(OVERWRITTEN_LABELS) {
                verdict.warn(format!(
                    "{}: the platform overwrites this label",
                    path.to_field()
                ));
            }
        }
    }
    let chart_path = path.member("chartRef");
    if let Some(chart) = object(
        release.get("chartRef"),
        &chart_path,
        Need::Required,
        verdict,
    ) {
        check_chart_ref(chart, &chart_path, cluster, verdict);
    }
}

fn is_prefix(prefix: &str) -> bool {
    let bytes = prefix.as_bytes();
    let is_alphanumeric = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    bytes.len() <= PREFIX_MAX_BYTES
        && bytes.first().is_some_and(is_alphanumeric)
        && bytes
            .iter()
            .all(|byte| is_alphanumeric(byte) || matches!(byte, b'-' | b'.'))
        && !prefix.contains("..")
        && !prefix.contains(".-")
        && !prefix.contains("-.")
}

fn check_chart_ref(
    chart: &Map<String, Value>,
    path: &Path<'_>,
    cluster: &dyn Cluster,
    verdict: &mut Verdict,
) {
    let kind_path = path.member("kind");
    let kind = text(chart.get("kind"), &kind_path, Need::Required, verdict);
    if let Some(kind) = kind
        && !CHART_REF_KINDS.contains(&kind)
    {
        verdict.refuse(Violation::not_supported(&kind_path, kind, &CHART_REF_KINDS));
    }
    let name_path = path.member("name");
    let mut name = text(chart.get("name"), &name_path, Need::Required, verdict);
    if let Some(found) = name {
        let violation = if found.len() > CHART_NAME_MAX_BYTES {
            Some(Violation::too_long(
                &name_path,
                found,
                CHART_NAME_MAX_BYTES,
                "bytes",
            ))
        } else {
            syntax::dns_name(found).map(|detail| Violation::invalid(&name_path, found, detail))
        };
        if let Some(violation) = violation {
            verdict.refuse(violation);
            // Whether something makes it is no longer the question.
            name = None;
        }
    }
    let namespace_path = path.member("namespace");
    // The CRD does not ask for a namespace; the platform silently skips a reference without one.
    let Some(namespace) = text(
        chart.get("namespace"),
        &namespace_path,
        Need::Required,
        verdict,
    ) else {
        return;
    };
    if let Some(detail) = syntax::dns_label(namespace) {
        verdict.refuse(Violation::invalid(&namespace_path, namespace, detail));
    }
    if let (Some(EXTERNAL_ARTIFACT), Some(name)) = (kind, name) {
        let is_known = namespace == ARTIFACT_NAMESPACE
            && (is_known_artifact(name)
                || cluster
                    .find(&PACKAGE_SOURCES, &PACKAGE_SOURCES_BY_ARTIFACT, name, 0)
                    .total
                    > 0);
        if !is_known {
            verdict.warn(format!(
                "{}: no PackageSource makes {namespace}/{name} yet",
                path.to_field()
            ));
        }
    }
}

fn check_dashboard(
    dashboard: &Map<String, Value>,
    path: &Path<'_>,
    schema: Option<&Result<Option<Schema>, String>>,
    verdict: &mut Verdict,
) {
    let tabs_path = path.member("tabs");
    for (index, tab) in list(dashboard.get("tabs"), &tabs_path, verdict)
        .iter()
        .enumerate()
    {
        let path = tabs_path.index(index);
        if let Some(tab) = text(Some(tab), &path, Need::Required, verdict)
            && !TABS.contains(&tab)
        {
            verdict.refuse(Violation::not_supported(&path, tab, &TABS));
        }
    }
    let icon_path = path.member("icon");
    if let Some(icon) = text(dashboard.get("icon"), &icon_path, Need::Optional, verdict)
        && let Err(error) = base64::engine::general_purpose::STANDARD.decode(icon)
    {
        verdict.refuse(Violation::invalid(
            &icon_path,
            icon,
            format!("must be base64: {error}"),
        ));
    }
    let keys_path = path.member("keysOrder");
    let order = list(dashboard.get("keysOrder"), &keys_path, verdict);
    if let Some(Ok(Some(schema))) = schema {
        keys_order::check(order, &keys_path, &schema.document, verdict);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_those_of_the_platform() {
        for right in ["20m", "1h30m", "1.5s", "10ms", "0s"] {
            assert!(is_duration(right), "{right}");
        }
        for wrong in ["", "20", "m", "1.m", ".5s", "5 m", "1d", "-1s", "1h30"] {
            assert!(!is_duration(wrong), "{wrong}");
        }
    }

    #[test]
    fn prefixes_make_release_names() {
        for right in ["a", "virtual-machine-", "0", "a.b-"] {
            assert!(is_prefix(right), "{right}");
        }
        for wrong in ["-a", "A", "a_", "a..", "a.-", &"a".repeat(53)] {
            assert!(!is_prefix(wrong), "{wrong}");
        }
    }
}
