//! The values of a Package's components against the charts' own schemas, and against those that operators have written.

use super::{STRICT, component_path, platform};
use crate::charts::{Judgement, Values};
use crate::contract::{Chart, Fault, Path, Request, Verdict, Violation};
use crate::cozystack_resource_definition::catalogue::artifact_name;
use crate::packages::{Component, Package, Variant};

/// Adds what Helm would refuse, with every wrong path, and what it would silently ignore.
pub fn check(
    name: &str,
    package: Package<'_>,
    variant: Variant<'_>,
    request: &Request<'_>,
    verdict: &mut Verdict,
) -> Result<(), Fault> {
    let spec = Path::ROOT.member("spec");
    let components = spec.member("components");
    let mut unchecked: Vec<(&str, String)> = Vec::new();
    for component in variant.components() {
        let key = component.name();
        let values = package.values(key);
        // Values that are no object are refused already, and what is not installed has no HelmRelease to get them.
        if component.install().is_none() || !(values.is_object() || values.is_null()) {
            continue;
        }
        request.deadline.check()?;
        let path = component_path(&components, key);
        let path = path.member("values");
        let (judgement, unknown) = judge(name, variant, component, values, &path, request)?;
        if request.explains {
            verdict.note(explained(name, variant, component, request));
        }
        // Of the platform's own values more is known than its chart could tell.
        let is_platform = name == platform::NAME && key == platform::COMPONENT;
        let unknown = unknown.filter(|_| !is_platform);
        let why: Vec<String> = unknown.into_iter().chain(judgement.unjudged).collect();
        if values.say_something() && !why.is_empty() {
            unchecked.push((key, why.join("; ")));
        }
        for violation in judgement.violations {
            if package.is_enabled(key) {
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
    report(&unchecked, request, verdict);
    Ok(())
}

/// What is said of the values of one component, and why its chart is not known.
fn judge(
    name: &str,
    variant: Variant<'_>,
    component: Component<'_>,
    values: Values<'_>,
    path: &Path<'_>,
    request: &Request<'_>,
) -> Result<(Judgement, Option<String>), Fault> {
    let key = component.name();
    let own = request.cluster.own_schemas(name, key);
    let base = path.to_field();
    let said = match request
        .cluster
        .chart(&artifact_name(name, variant.name(), key))
    {
        Chart::Known(chart) if own.is_empty() && chart.accepts(values) => {
            (Judgement::default(), None)
        }
        Chart::Known(chart) => {
            // Charts with subcharts have thousands of defaults.
            request.deadline.check_long()?;
            (chart.judge(&base, values, &own), None)
        }
        Chart::Unknown(why) => {
            let mut all = Judgement::default();
            for schema in own {
                let judgement = schema.judge(&base, values);
                all.violations.extend(judgement.violations);
                all.unjudged.extend(judgement.unjudged);
            }
            (all, Some(why.to_string()))
        }
    };
    Ok(said)
}

/// By what the values of a component are judged.
fn explained(
    name: &str,
    variant: Variant<'_>,
    component: Component<'_>,
    request: &Request<'_>,
) -> String {
    let key = component.name();
    let chart = match request
        .cluster
        .chart(&artifact_name(name, variant.name(), key))
    {
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
    let own = request.cluster.own_schemas(name, key);
    let own = own.iter().map(|schema| match schema.check() {
        Ok(()) => schema.source().to_owned(),
        Err(why) => format!("not {}: {why}", schema.source()),
    });
    let all: Vec<String> = std::iter::once(chart).chain(own).collect();
    format!("{key}: {}", all.join("; "))
}

/// Values that nothing was held against: a warning, or a refusal where the operator wants that.
fn report(unchecked: &[(&str, String)], request: &Request<'_>, verdict: &mut Verdict) {
    if unchecked.is_empty() {
        return;
    }
    let spec = Path::ROOT.member("spec");
    let components = spec.member("components");
    if request.settings.flag(STRICT) {
        for (key, why) in unchecked {
            let path = component_path(&components, key);
            let detail = format!("cannot be checked, and settings are strict: {why}");
            verdict.refuse(Violation::forbidden(&path.member("values"), detail).insistable());
        }
        return;
    }
    match unchecked {
        [(key, why)] => verdict.warn(format!("values of {key} are not checked: {why}")),
        several => {
            let names: Vec<&str> = several.iter().map(|(key, _)| *key).collect();
            verdict.warn_naming("values are not checked of ", &names, "");
        }
    }
}
