//! Values of components: what `values-<release>` says, and what the old bundles put in by themselves.

use super::keys::{REDIRECT_URI, VALUES_PREFIX, ratio};
use super::legacy::{Bundle, Packages, Place, nearest_release};
use super::package::Outcome;
use super::{
    COZYSTACK, Old, Report, cut, is_same, named, package_reference, shown, shown_text, values_in,
};
use crate::contract::syntax;
use crate::migration::{Change, Step, Weight};
use crate::platform::Version;
use crate::yaml;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// The cluster domain for which the charts are made.
const USUAL_DOMAIN: &str = "cozy.local";
/// Most values that a finding about what is still to come lists.
const LISTED_MAX: usize = 8;
/// Most conflicts with what a Package says that are told one by one.
const CONFLICTS_MAX: usize = 20;

/// Values from one key.
struct Layer {
    key: String,
    values: Map<String, Value>,
}

/// What each component should have, from below.
#[derive(Default)]
struct Wanted {
    components: BTreeMap<String, Vec<Layer>>,
}

impl Wanted {
    fn put(&mut self, component: &str, key: &str, values: Value) {
        if let Value::Object(values) = values
            && !values.is_empty()
        {
            let layers = self.components.entry(component.to_owned()).or_default();
            layers.push(Layer {
                key: key.to_owned(),
                values,
            });
        }
    }
}

/// One Change for each Package that is there and lacks something.
pub(super) fn plan(
    old: &Old<'_>,
    packages: &Packages<'_>,
    outcome: &Outcome,
    target: Version,
    report: &mut Report,
) -> Vec<Change> {
    let mut wanted = Wanted::default();
    injected(old, target, &mut wanted);
    written(old, &mut wanted, report);
    for layers in wanted.components.values_mut() {
        drop_what_is_overwritten(layers);
    }
    let mut by_package: BTreeMap<&str, Vec<(&str, &[Layer])>> = BTreeMap::new();
    for (component, layers) in &wanted.components {
        if let Some(package) = package_of(component, layers, packages, report) {
            let components = by_package.entry(package).or_default();
            components.push((component, layers));
        }
    }
    let mut changes = Vec::new();
    for (package, components) in by_package {
        match packages.live(package) {
            Some(live) => {
                let add = Add {
                    package,
                    live,
                    packages,
                    outcome,
                };
                changes.extend(add.plan(&components, report));
            }
            None => {
                for (component, layers) in components {
                    pending(old, packages, package, component, layers, outcome, report);
                }
            }
        }
    }
    changes
}

/// What the old bundles put into the values of releases, and the new platform does not.
fn injected(old: &Old<'_>, target: Version, wanted: &mut Wanted) {
    let mut put = |release: &str, key: &str, values: Value| {
        if old.had(release) {
            wanted.put(release, key, values);
        }
    };
    let etcd = json!({"scrapeRules": {"etcd": {"enabled": true}}});
    put("monitoring-agents", "bundle-name", etcd);
    if old.bundle == Bundle::Hosted {
        let api = json!({"cozystackAPI": {"localK8sAPIEndpoint": {"enabled": false}}});
        put("cozystack-api", "bundle-name", api);
    }
    if old.text("telemetry-enabled") == Some("false") {
        let controller = json!({"cozystackController": {"disableTelemetry": true}});
        put("cozystack-controller", "telemetry-enabled", controller);
    }
    if let Some(number) = old.text("cpu-allocation-ratio").and_then(ratio) {
        let kubevirt = json!({"cpuAllocationRatio": number});
        put("kubevirt", "cpu-allocation-ratio", kubevirt);
    }
    // One that is wrong is reported where the platform would get it.
    let domain = old
        .text("cluster-domain")
        .filter(|domain| syntax::dns_name(domain).is_none());
    if let Some(domain) = domain.filter(|domain| *domain != USUAL_DOMAIN) {
        let address =
            format!("http://vmselect-shortterm.tenant-root.svc.{domain}:8481/select/0/prometheus/");
        for (release, values) in [
            (
                "mariadb-operator",
                json!({"mariadb-operator": {"clusterName": domain}}),
            ),
            (
                "kafka-operator",
                json!({"strimzi-kafka-operator": {"kubernetesServiceDnsDomain": domain}}),
            ),
            (
                "vertical-pod-autoscaler",
                json!({"vertical-pod-autoscaler": {"recommender": {"extraArgs": {"prometheus-address": address}}}}),
            ),
        ] {
            put(release, "cluster-domain", values);
        }
    }
    if let Some(uri) = old.text(REDIRECT_URI)
        && target < Version::V1_0
        && old.has_oidc()
    {
        // No value of the platform reaches it in that release.
        for release in ["dashboard", "keycloak-configure"] {
            put(
                release,
                REDIRECT_URI,
                json!({"_cluster": {REDIRECT_URI: uri}}),
            );
        }
    }
}

/// `values-<release>`, read as Helm's `fromYaml` reads it.
fn written(old: &Old<'_>, wanted: &mut Wanted, report: &mut Report) {
    for (key, value) in old.config {
        let component = key
            .strip_prefix(VALUES_PREFIX)
            .filter(|name| !name.is_empty());
        let (Some(component), Some(text)) = (component, value.as_str()) else {
            continue;
        };
        let found = match yaml::first_document(text) {
            Ok(Value::Null) => continue,
            Ok(values @ Value::Object(_)) => {
                wanted.put(component, key, values);
                continue;
            }
            Ok(other) => format!("is {}, which is no YAML map", shown(&other)),
            Err(error) => format!("cannot be read as YAML ({})", cut(&error.to_string())),
        };
        let text = format!(
            "{found}: nothing of it is carried over (the old platform went on with a value named Error); put it right"
        );
        report.key(Weight::Decision, COZYSTACK, key, &text);
    }
}

fn package_of<'a>(
    component: &str,
    layers: &[Layer],
    packages: &Packages<'a>,
    report: &mut Report,
) -> Option<&'a str> {
    let text = match packages.place(component) {
        Place::In(package) => return Some(package),
        Place::Gone => format!(
            "has no target: no Package installs {} any more, and its values are not carried over",
            cut(component)
        ),
        Place::Several(found) => format!(
            "has no sure target: {} install a component of that name; write the values into the right one by hand",
            named(found)
        ),
        Place::Unknown => {
            let hint = nearest_release(component).map_or_else(String::new, |nearest| {
                format!("; did you mean {VALUES_PREFIX}{nearest}?")
            });
            format!(
                "has no target: no Package has a component {} that is installed{hint}",
                shown_text(component)
            )
        }
    };
    for layer in layers {
        report.key(Weight::Decision, COZYSTACK, &layer.key, &text);
    }
    None
}

/// Leaves to each layer what counts of it in the end, so that what is told of a key is what comes from it.
fn drop_what_is_overwritten(layers: &mut Vec<Layer>) {
    let mut above = Map::new();
    for layer in layers.iter_mut().rev() {
        let values = std::mem::take(&mut layer.values);
        layer.values = without(values, &above);
        overwrite(&mut above, &layer.values);
    }
    layers.retain(|layer| !layer.values.is_empty());
}

fn without(values: Map<String, Value>, above: &Map<String, Value>) -> Map<String, Value> {
    let values = values.into_iter().filter_map(|(key, value)| {
        let left = match (value, above.get(&key)) {
            (value, None) => value,
            (Value::Object(values), Some(Value::Object(above))) => {
                let left = without(values, above);
                (!left.is_empty()).then(|| left.into())?
            }
            (_, Some(_)) => return None,
        };
        Some((key, left))
    });
    values.collect()
}

/// All layers as one: maps merge, the later wins, lists are replaced.
fn together(layers: &[Layer]) -> Map<String, Value> {
    let mut all = Map::new();
    for layer in layers {
        overwrite(&mut all, &layer.values);
    }
    all
}

fn overwrite(base: &mut Map<String, Value>, over: &Map<String, Value>) {
    for (key, value) in over {
        match (base.get_mut(key), value) {
            (Some(Value::Object(base)), Value::Object(over)) => overwrite(base, over),
            _ => {
                base.insert(key.clone(), value.clone());
            }
        }
    }
}

/// The Package is not there: says what is to be written, and whether it will ever come.
fn pending(
    old: &Old<'_>,
    packages: &Packages<'_>,
    package: &str,
    component: &str,
    layers: &[Layer],
    outcome: &Outcome,
    report: &mut Report,
) {
    let had_effect = old.had(component);
    let variant = outcome.emitted.get(package);
    let will_come = variant.is_some_and(|variant| !packages.lacks(package, variant, component));
    let why_not = match variant {
        None => "which the platform as planned does not bring".to_owned(),
        Some(variant) => format!(
            "which the platform as planned brings in variant {variant}, without that component"
        ),
    };
    for layer in layers {
        let what = listed(&layer.values);
        let place = format!(
            "spec.components.{}.values of Package {package}",
            cut(component)
        );
        let (weight, text) = if will_come {
            (
                Weight::Pending,
                format!(
                    "goes into {place}, which the platform has not made yet; a later run writes there: {what}"
                ),
            )
        } else if had_effect {
            (
                Weight::Decision,
                format!(
                    "belongs into {place}, {why_not}, so nothing reads it: {what}; if it is wanted, make that Package, \
                     and run this again"
                ),
            )
        } else {
            (
                Weight::Note,
                format!(
                    "belongs into {place}, {why_not}; the old one did not install that release either, so nothing \
                     changes: {what}"
                ),
            )
        };
        report.key(weight, COZYSTACK, &layer.key, &text);
    }
}

/// The first values, each with its path.
fn listed(values: &Map<String, Value>) -> String {
    let mut leaves = Vec::new();
    let mut total = 0;
    collect("", values, &mut leaves, &mut total);
    let more = total - leaves.len();
    let list = leaves.join(", ");
    if more == 0 {
        list
    } else {
        format!("{list} and {more} more")
    }
}

fn collect(prefix: &str, values: &Map<String, Value>, leaves: &mut Vec<String>, total: &mut usize) {
    for (key, value) in values {
        let path = if prefix.is_empty() {
            cut(key)
        } else {
            format!("{prefix}.{}", cut(key))
        };
        match value {
            Value::Object(values) if !values.is_empty() => collect(&path, values, leaves, total),
            value => {
                *total += 1;
                if leaves.len() < LISTED_MAX {
                    leaves.push(format!("{}: {}", tail(&path), shown(value)));
                }
            }
        }
    }
}

/// Of a long path the end says most.
fn tail(path: &str) -> String {
    let total = path.chars().count();
    if total <= 2 * super::SHOWN_MAX_CHARS {
        return path.to_owned();
    }
    let end: String = path
        .chars()
        .skip(total - 2 * super::SHOWN_MAX_CHARS)
        .collect();
    format!("...{end}")
}

/// What is added to a Package that is there.
struct Add<'s> {
    package: &'s str,
    live: &'s Value,
    packages: &'s Packages<'s>,
    outcome: &'s Outcome,
}

impl Add<'_> {
    fn plan(&self, components: &[(&str, &[Layer])], report: &mut Report) -> Option<Change> {
        let mut after = self.live.clone();
        let mut written = Vec::new();
        for (component, layers) in components {
            if self.is_without(component, layers, report) {
                continue;
            }
            let mut trial = after.clone();
            let Some(values) = values_in(&mut trial, component) else {
                let field = format!("spec.components.{}.values", cut(component));
                let text = format!(
                    "has something else than a map on the way there: nothing of {} is carried over; put it right",
                    keys(layers)
                );
                report.add(
                    Weight::Decision,
                    package_reference(self.package),
                    &field,
                    &text,
                );
                continue;
            };
            let mut missing = Missing::default();
            missing.add(values, &together(layers), &mut Vec::new());
            self.report_conflicts(component, layers, &missing, report);
            if missing.added > 0 {
                after = trial;
                written.push(*component);
            }
        }
        (!written.is_empty()).then(|| Change {
            step: Step::Values,
            before: Some(self.live.clone()),
            after,
            why: format!(
                "the old platform gave values to {}, which this Package installs now",
                named(written)
            ),
        })
    }

    /// A variant that does not have the component: what a Package says of it is ignored.
    fn is_without(&self, component: &str, layers: &[Layer], report: &mut Report) -> bool {
        let variant = self.packages.live_variant(self.package).unwrap_or_default();
        if !self.packages.lacks(self.package, variant, component) {
            return false;
        }
        let is_to_change = self
            .outcome
            .emitted
            .get(self.package)
            .is_some_and(|emitted| {
                *emitted != variant && !self.packages.lacks(self.package, emitted, component)
            });
        for layer in layers {
            let head = format!(
                "belongs into spec.components.{}.values of Package {}, whose variant {} has no such component",
                cut(component),
                self.package,
                shown_text(variant)
            );
            let what = listed(&layer.values);
            let (weight, text) = if is_to_change {
                (
                    Weight::Pending,
                    format!("{head} yet; a later run writes there: {what}"),
                )
            } else {
                (
                    Weight::Decision,
                    format!("{head}, so nothing reads it: {what}"),
                )
            };
            report.key(weight, COZYSTACK, &layer.key, &text);
        }
        true
    }

    fn report_conflicts(
        &self,
        component: &str,
        layers: &[Layer],
        missing: &Missing,
        report: &mut Report,
    ) {
        for (path, found, value) in missing.conflicts.iter().take(CONFLICTS_MAX) {
            let has = |layer: &&Layer| {
                let mut path = path.iter();
                let first = path.next().and_then(|name| layer.values.get(name));
                first.is_some_and(|first| {
                    path.try_fold(first, |value, name| value.get(name))
                        .is_some()
                })
            };
            let layer = layers.iter().rev().find(has).or(layers.last());
            let Some(layer) = layer else { continue };
            let text = format!(
                "means {value} at spec.components.{}.values.{} of Package {}, and {found} is there: that stays; put \
                 right which of the two is wrong",
                cut(component),
                tail(&path.join(".")),
                self.package
            );
            report.key(Weight::Decision, COZYSTACK, &layer.key, &text);
        }
        let more = missing.conflicts.len().saturating_sub(CONFLICTS_MAX);
        if more > 0 {
            let field = format!("spec.components.{}.values", cut(component));
            let text = format!(
                "says something else than {} in {more} more places: that stays; put right what is wrong",
                keys(layers)
            );
            report.add(
                Weight::Decision,
                package_reference(self.package),
                &field,
                &text,
            );
        }
    }
}

fn keys(layers: &[Layer]) -> String {
    named(layers.iter().map(|layer| &layer.key))
}

/// What is laid below values that are there.
#[derive(Default)]
struct Missing {
    added: usize,
    /// Where, what is there, and what was meant.
    conflicts: Vec<(Vec<String>, String, String)>,
}

impl Missing {
    fn add(
        &mut self,
        values: &mut Map<String, Value>,
        wanted: &Map<String, Value>,
        path: &mut Vec<String>,
    ) {
        for (key, value) in wanted {
            path.push(key.clone());
            match (values.get_mut(key), value) {
                (None, value) => {
                    values.insert(key.clone(), value.clone());
                    self.added += 1;
                }
                (Some(Value::Object(values)), Value::Object(wanted)) => {
                    self.add(values, wanted, path);
                }
                (Some(found), value) if is_same(found, value) => {}
                (Some(found), value) => {
                    self.conflicts
                        .push((path.clone(), shown(found), shown(value)));
                }
            }
            path.pop();
        }
    }
}
