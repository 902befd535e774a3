//! What is wrong with one source by itself.

use super::cycles;
use crate::contract::{Deadline, Fault, Path, Verdict, Violation, nearest, syntax};
use crate::cozystack_resource_definition::catalogue::artifact_name;
use crate::packages::{Component, Install, Library, Source, Variant};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap, HashSet};

/// Longest name of a Helm release, in bytes.
const RELEASE_NAME_MAX_BYTES: usize = 53;
/// Longest name of an artifact, in bytes (CRD of ArtifactGenerators).
const ARTIFACT_NAME_MAX_BYTES: usize = 253;
/// Most artifacts of one generator (the same CRD).
const ARTIFACTS_MAX: usize = 1_000;
/// How many names a message lists.
const LISTED_NAMES_MAX: usize = 20;

/// Where an artifact's name comes from: positions of the variant and the component.
type Makers = HashMap<String, (usize, usize)>;

/// Adds everything that is wrong with the source by itself.
pub fn check(
    name: &str,
    source: Source<'_>,
    deadline: Deadline,
    verdict: &mut Verdict,
) -> Result<(), Fault> {
    let spec = Path::ROOT.member("spec");
    if let Some(source_ref) = source.source_ref() {
        check_source_ref(source_ref, &spec.member("sourceRef"), verdict);
    }
    let variants = spec.member("variants");
    let mut known = HashMap::new();
    let mut makers = Makers::new();
    let mut artifacts = 0;
    for (position, variant) in source.variants().enumerate() {
        let path = variants.index(position);
        let name_path = path.member("name");
        let is_new = match known.get(variant.name()) {
            Some(first) => {
                verdict.refuse(Violation::duplicate(
                    &name_path,
                    variant.name(),
                    format!(
                        "is the name of {} already",
                        variants.index(*first).to_field()
                    ),
                ));
                false
            }
            None => {
                known.insert(variant.name(), position);
                true
            }
        };
        if variant.name().is_empty() {
            verdict.refuse(Violation::required(
                &name_path,
                "a Package could not choose it",
            ));
        }
        check_libraries(variant, &path, verdict);
        check_components(variant, &path, deadline, verdict)?;
        artifacts += variant
            .components()
            .filter(|component| !component.path().is_empty())
            .count();
        // Of a variant that is there twice every artifact is, too.
        if is_new && !name.is_empty() {
            check_artifacts(name, (position, variant), &path, &mut makers, verdict);
        }
    }
    if artifacts > ARTIFACTS_MAX {
        verdict.refuse(Violation::invalid(
            &variants,
            artifacts,
            format!(
                "makes that many artifacts; a source may make no more than {ARTIFACTS_MAX}: split it"
            ),
        ));
    }
    if artifacts > 0 && source.source_ref().is_none() {
        verdict.warn(format!(
            "{}: without one no artifact is made",
            spec.member("sourceRef").to_field()
        ));
    }
    Ok(())
}

fn check_source_ref(source_ref: &Value, path: &Path<'_>, verdict: &mut Verdict) {
    let text = |member: &str| {
        source_ref
            .get(member)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let name = text("name");
    if let Some(detail) = syntax::dns_label(name) {
        verdict.refuse(Violation::invalid(
            &path.member("name"),
            name,
            format!("is the source's alias in its generator too, and {detail}"),
        ));
    }
    let folder = text("path");
    if folder.split('/').any(|segment| segment == "..") {
        verdict.refuse(Violation::invalid(
            &path.member("path"),
            folder,
            "must not have \"..\"",
        ));
    }
}

fn check_path(found: &str, path: &Path<'_>, verdict: &mut Verdict) {
    let is_wrong = found.starts_with('/')
        || found.ends_with('/')
        || found.split('/').any(|segment| segment == "..");
    if is_wrong {
        verdict.refuse(Violation::invalid(
            path,
            found,
            "must be a relative path without \"..\" that does not end in \"/\"",
        ));
    }
}

fn check_libraries(variant: Variant<'_>, path: &Path<'_>, verdict: &mut Verdict) {
    let libraries = path.member("libraries");
    let mut known = HashMap::new();
    for (position, library) in variant.libraries().enumerate() {
        let path = libraries.index(position);
        if library.path().is_empty() {
            verdict.refuse(Violation::required(
                &path.member("path"),
                "a library is a folder",
            ));
        }
        check_path(library.path(), &path.member("path"), verdict);
        // Its name is the last part of its path when it has none.
        let name = library.name();
        if library.is_named() && (name.contains('/') || name == "." || name == "..") {
            verdict.refuse(Violation::invalid(
                &path.member("name"),
                name,
                "must be the name of one folder, without \"/\"",
            ));
        }
        match known.get(name) {
            Some(first) if !name.is_empty() => verdict.refuse(Violation::duplicate(
                &path.member("name"),
                name,
                format!(
                    "is the name of {} already",
                    libraries.index(*first).to_field()
                ),
            )),
            Some(_) => {}
            None => {
                known.insert(name, position);
            }
        }
    }
}

fn check_components(
    variant: Variant<'_>,
    path: &Path<'_>,
    deadline: Deadline,
    verdict: &mut Verdict,
) -> Result<(), Fault> {
    let components = path.member("components");
    let mut known: HashMap<&str, usize> = HashMap::new();
    let mut releases: HashMap<String, usize> = HashMap::new();
    let mut edges: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (position, component) in variant.components().enumerate() {
        deadline.check()?;
        let path = components.index(position);
        let name_path = path.member("name");
        let name = component.name();
        if name.is_empty() {
            verdict.refuse(Violation::required(&name_path, "a component needs a name"));
        } else if let Some(first) = known.get(name) {
            verdict.refuse(Violation::duplicate(
                &name_path,
                name,
                format!(
                    "is the name of {} already",
                    components.index(*first).to_field()
                ),
            ));
        } else {
            known.insert(name, position);
            edges.insert(
                name,
                component
                    .install()
                    .into_iter()
                    .flat_map(Install::depends_on)
                    .filter(|dependency| *dependency != name)
                    .collect(),
            );
        }
        check_files(variant, component, &path, verdict);
        if let Some(install) = component.install() {
            check_install(install, &path, verdict);
            if let Some(release) = install.release() {
                match releases.get(&release) {
                    // Of a component that is there twice its release is, too.
                    Some(first) if known.get(name) == Some(&position) => {
                        let path = path.member("install");
                        verdict.refuse(Violation::duplicate(
                            &path.member("releaseName"),
                            install.release_name(),
                            format!(
                                "{} makes HelmRelease {release} already",
                                components.index(*first).to_field()
                            ),
                        ));
                    }
                    Some(_) => {}
                    None => {
                        releases.insert(release, position);
                    }
                }
            }
        }
    }
    check_order(variant, &components, &edges, deadline, verdict)
}

/// Where a release's name is given: by its own member, or by the component's name.
fn release_path<'p>(install: Install<'_>, own: &'p Path<'p>, name: &Path<'p>) -> Path<'p> {
    if install.is_named() {
        own.member("releaseName")
    } else {
        name.clone()
    }
}

fn check_files(
    variant: Variant<'_>,
    component: Component<'_>,
    path: &Path<'_>,
    verdict: &mut Verdict,
) {
    let folder_path = path.member("path");
    if component.path().is_empty() {
        if component.install().is_some() {
            verdict.refuse(Violation::required(
                &folder_path,
                "without it there is no artifact, and the HelmRelease would wait for one for ever",
            ));
        } else {
            verdict.warn(format!("{}: no artifact is made", folder_path.to_field()));
        }
    }
    check_path(component.path(), &folder_path, verdict);
    let files = path.member("valuesFiles");
    for (index, file) in component.values_files().enumerate() {
        check_path(file, &files.index(index), verdict);
    }
    let libraries = path.member("libraries");
    for (index, name) in component.libraries().enumerate() {
        if !variant.libraries().any(|library| library.name() == name) {
            let known: Vec<&str> = variant.libraries().map(Library::name).collect();
            verdict.refuse(Violation::invalid(
                &libraries.index(index),
                name,
                format!("names no library of the variant{}", hint(name, &known)),
            ));
        }
    }
}

/// The nearest name and what there is, as far as a message holds it.
fn hint(name: &str, known: &[&str]) -> String {
    if known.is_empty() {
        return ", which has none".to_owned();
    }
    let more = known.len().saturating_sub(LISTED_NAMES_MAX);
    let listed: Vec<&str> = known.iter().copied().take(LISTED_NAMES_MAX).collect();
    let more = match more {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let nearest = nearest(name, known.iter().copied())
        .map(|nearest| format!("; did you mean {nearest:?}?"))
        .unwrap_or_default();
    format!(" ({}{more}){nearest}", listed.join(", "))
}

fn check_install(install: Install<'_>, path: &Path<'_>, verdict: &mut Verdict) {
    let install_path = path.member("install");
    let namespace_path = install_path.member("namespace");
    let namespace = install.namespace();
    if namespace.is_empty() {
        verdict.refuse(Violation::required(
            &namespace_path,
            "a HelmRelease is in a namespace; without it the whole Package fails",
        ));
    } else if let Some(detail) = syntax::dns_label(namespace) {
        verdict.refuse(Violation::invalid(&namespace_path, namespace, detail));
    }
    let name_path = path.member("name");
    let release_path = release_path(install, &install_path, &name_path);
    let release = install.release_name();
    if release.len() > RELEASE_NAME_MAX_BYTES {
        verdict.refuse(Violation::invalid(
            &release_path,
            release,
            format!(
                "is the name of a Helm release, which may not be more than {RELEASE_NAME_MAX_BYTES} bytes"
            ),
        ));
    }
    // A component's name that is wrong as a release's is wrong as an artifact's too, which is said there.
    let is_said_there = !install.is_named() && !is_in_artifact_names(release);
    if !is_said_there
        && !release.is_empty()
        && let Some(detail) = syntax::dns_name(release)
    {
        verdict.refuse(Violation::invalid(&release_path, release, detail));
    }
}

/// `install.dependsOn`: each entry another component of the variant that is installed, and no cycle.
fn check_order(
    variant: Variant<'_>,
    components: &Path<'_>,
    edges: &BTreeMap<&str, Vec<&str>>,
    deadline: Deadline,
    verdict: &mut Verdict,
) -> Result<(), Fault> {
    let cycles = cycles::within(edges, deadline)?;
    let installed: HashSet<&str> = variant
        .components()
        .filter(|component| component.install().is_some())
        .map(Component::name)
        .collect();
    for (position, component) in variant.components().enumerate() {
        let Some(install) = component.install() else {
            continue;
        };
        let path = components.index(position);
        let path = path.member("install");
        let path = path.member("dependsOn");
        let name = component.name();
        for (index, dependency) in install.depends_on().enumerate() {
            deadline.check()?;
            let path = path.index(index);
            let detail = if dependency == name {
                "is the component itself".to_owned()
            } else if !edges.contains_key(dependency) {
                let names: Vec<&str> = variant
                    .components()
                    .filter(|other| other.install().is_some() && other.name() != name)
                    .map(Component::name)
                    .collect();
                format!(
                    "names no component of the variant{}",
                    hint(dependency, &names)
                )
            } else if !installed.contains(dependency) {
                "names a component without install: there is no HelmRelease to wait for".to_owned()
            } else if let Some(way) = cycles.get(&(name, dependency)) {
                format!("makes a cycle: {}", way.join(" -> "))
            } else {
                continue;
            };
            verdict.refuse(Violation::invalid(&path, dependency, detail));
        }
    }
    Ok(())
}

fn is_in_artifact_names(part: &str) -> bool {
    part.bytes().all(|byte| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.')
    })
}

/// Names of artifacts: of the generator's pattern and length, and each made once.
fn check_artifacts(
    source: &str,
    (position, variant): (usize, Variant<'_>),
    path: &Path<'_>,
    makers: &mut Makers,
    verdict: &mut Verdict,
) {
    const RIGHT: &str =
        "must be lower-case letters, digits and '-', and end with a letter or digit";
    let is_right_variant = is_in_artifact_names(variant.name());
    if !is_right_variant {
        verdict.refuse(Violation::invalid(
            &path.member("name"),
            variant.name(),
            "is part of artifacts' names and must be lower-case letters, digits, '-' and '.'",
        ));
    }
    let components = path.member("components");
    let mut known = HashSet::new();
    for (index, component) in variant.components().enumerate() {
        let name = component.name();
        // Duplicates and empty names are said as such.
        if component.path().is_empty() || name.is_empty() || !known.insert(name) {
            continue;
        }
        let path = components.index(index);
        let name_path = path.member("name");
        let artifact = artifact_name(source, variant.name(), name);
        if artifact.len() > ARTIFACT_NAME_MAX_BYTES {
            verdict.refuse(Violation::invalid(
                &name_path,
                name,
                format!(
                    "makes an artifact's name of {} bytes, which may not be more than {ARTIFACT_NAME_MAX_BYTES}",
                    artifact.len()
                ),
            ));
        } else if !is_in_artifact_names(name) || artifact.ends_with('-') {
            verdict.refuse(Violation::invalid(
                &name_path,
                name,
                format!("makes the artifact's name {artifact:?}, which {RIGHT}"),
            ));
        } else if let Some((variant, component)) = makers.get(&artifact) {
            let spec = Path::ROOT.member("spec");
            let variants = spec.member("variants");
            let variant = variants.index(*variant);
            let components = variant.member("components");
            // The artifact is what is there twice: whichever of the two comes first, the sin is the same.
            verdict.refuse(Violation::duplicate(
                &name_path,
                artifact,
                format!(
                    "{} makes that artifact already",
                    components.index(*component).to_field()
                ),
            ));
        } else {
            makers.insert(artifact, (position, index));
        }
    }
}
