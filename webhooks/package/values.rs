//! The values of a Package's components against the charts' own schemas, and against those that operators have written.

use super::{STRICT, component_path, platform};
use crate::charts::{Judgement, OwnSchema, Values};
use crate::contract::{Chart, Fault, Path, Request, Verdict, Violation};
use crate::cozystack_resource_definition::catalogue::artifact_name;
use crate::packages::{Component, Package, Variant};
use std::sync::Arc;

/// Adds what Helm would refuse, with every wrong path, and what it would silently ignore. `variant` is the installed
/// one, or none as long as there is no source that has it.
pub fn check(
    name: &str,
    package: Package<'_>,
    variant: Option<Variant<'_>>,
    request: &Request<'_>,
    verdict: &mut Verdict,
) -> Result<(), Fault> {
    let spec = Path::ROOT.member("spec");
    let components = spec.member("components");
    // What is not installed has no HelmRelease to get values; without a source nobody knows what is.
    let keys: Vec<&str> = match variant {
        Some(variant) => variant
            .components()
            .filter(|component| component.install().is_some())
            .map(Component::name)
            .collect(),
        None => package.components().collect(),
    };
    let mut unchecked: Vec<Unchecked<'_>> = Vec::new();
    for key in keys {
        let values = package.values(key);
        // Values that are no object are refused already.
        if !(values.is_object() || values.is_null()) {
            continue;
        }
        request.deadline.check()?;
        let path = component_path(&components, key);
        let path = path.member("values");
        let artifact = variant.map(|variant| artifact_name(name, variant.name(), key));
        let own = request.cluster.own_schemas(name, key);
        let chart = match &artifact {
            Some(artifact) => request.cluster.chart(artifact),
            None => Chart::Unknown(NO_SOURCE.into()),
        };
        if request.explains {
            verdict.note(explained(key, &chart, &own));
        }
        let judgement = judge(&chart, &own, values, &path, request)?;
        // Of the platform's own values more is known than its chart could tell.
        let is_platform = name == platform::NAME && key == platform::COMPONENT;
        let is_known = matches!(chart, Chart::Known(_));
        let mut why = judgement.unjudged;
        if let (Chart::Unknown(unknown), false) = (chart, is_platform) {
            why.insert(0, unknown.to_string());
        }
        let is_enabled = package.is_enabled(key);
        if values.say_something() && is_enabled && !why.is_empty() {
            unchecked.push(Unchecked {
                component: key,
                values,
                why: why.join("; "),
                is_partial: is_known || own.iter().any(|schema| schema.check().is_ok()),
            });
        }
        for violation in judgement.violations {
            if is_enabled {
                // The chart may be about to change, too.
                verdict.refuse(violation.insistable());
            } else if values.say_something() {
                verdict.warn(violation.message());
            }
        }
        if !is_platform {
            for departure in judgement.departures {
                verdict.warn(departure.to_string());
            }
        }
    }
    report(&unchecked, variant.is_some(), request, verdict);
    Ok(())
}

const NO_SOURCE: &str = "no source has this variant yet";

/// Values that not everything could be held against.
struct Unchecked<'a> {
    component: &'a str,
    values: Values<'a>,
    why: String,
    /// Whether something could.
    is_partial: bool,
}

/// What is said of the values of one component.
fn judge(
    chart: &Chart,
    own: &[Arc<OwnSchema>],
    values: Values<'_>,
    path: &Path<'_>,
    request: &Request<'_>,
) -> Result<Judgement, Fault> {
    match chart {
        Chart::Known(chart) if own.is_empty() && chart.accepts(values) => Ok(Judgement::default()),
        Chart::Known(chart) => {
            // Charts with subcharts have thousands of defaults.
            request.deadline.check_long()?;
            Ok(chart.judge(&path.to_field(), values, own))
        }
        Chart::Unknown(_) if own.is_empty() => Ok(Judgement::default()),
        Chart::Unknown(_) => {
            request.deadline.check_long()?;
            let base = path.to_field();
            let mut all = Judgement::default();
            for schema in own {
                let judgement = schema.judge(&base, values);
                all.violations.extend(judgement.violations);
                all.unjudged.extend(judgement.unjudged);
            }
            Ok(all)
        }
    }
}

/// By what the values of a component are judged.
fn explained(key: &str, chart: &Chart, own: &[Arc<OwnSchema>]) -> String {
    let chart = match chart {
        Chart::Known(chart) => {
            let schemas = match chart.schemas() {
                0 => "its values.yaml (it has no schema)".to_owned(),
                1 => "1 schema".to_owned(),
                several => format!("{several} schemas"),
            };
            let digest = chart.digest();
            let space = if digest.is_empty() { "" } else { " " };
            format!("chart {}{space}{digest}, {schemas}", chart.title())
        }
        Chart::Unknown(why) => format!("no chart ({why})"),
    };
    let own = own.iter().map(|schema| match schema.check() {
        Ok(()) => schema.source().to_owned(),
        Err(why) => format!("not {}: {why}", schema.source()),
    });
    let all: Vec<String> = std::iter::once(chart).chain(own).collect();
    format!("{key}: {}", all.join("; "))
}

/// Values that not everything could be held against: a warning, or a refusal where the operator wants that.
fn report(
    unchecked: &[Unchecked<'_>],
    has_source: bool,
    request: &Request<'_>,
    verdict: &mut Verdict,
) {
    if unchecked.is_empty() {
        return;
    }
    let spec = Path::ROOT.member("spec");
    let components = spec.member("components");
    if request.settings.flag(STRICT) {
        for one in unchecked {
            let path = component_path(&components, one.component);
            let detail = format!("cannot be checked, and settings are strict: {}", one.why);
            // Other values that cannot be checked are no old sin.
            let violation = Violation::forbidden(&path.member("values"), detail);
            verdict.refuse(violation.about(&one.values.to_value()).insistable());
        }
        return;
    }
    match unchecked {
        // It is said already that there is no source.
        _ if !has_source => {}
        [one] => {
            let how = if one.is_partial {
                "are checked only in part"
            } else {
                "are not checked"
            };
            verdict.warn(format!("values of {} {how}: {}", one.component, one.why));
        }
        several => {
            let names: Vec<&str> = several.iter().map(|one| one.component).collect();
            verdict.warn_naming("values are not, or only in part, checked of ", &names, "");
        }
    }
}
