//! Package sources and Packages as their operator reads them: by name, first match, absent where the type is another.
//!
//! Source: `internal/operator/package_reconciler.go` and `packagesource_reconciler.go` of Cozystack v1.0.0-alpha.1.

use crate::contract::Object;
use serde::Deserialize;
use serde_json::{Map, Value};

/// The variant of a Package that names none.
pub const DEFAULT_VARIANT: &str = "default";

fn text<'a>(value: &'a Value, member: &str) -> &'a str {
    value
        .get(member)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

fn list<'a>(value: &'a Value, member: &str) -> &'a [Value] {
    value
        .get(member)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

/// The texts of a list; what is no text counts as empty, so that positions stay what they are.
fn texts<'a>(value: &'a Value, member: &str) -> impl Iterator<Item = &'a str> {
    list(value, member)
        .iter()
        .map(|item| item.as_str().unwrap_or_default())
}

/// The last segment of a path.
fn last_segment(path: &str) -> &str {
    path.trim_end_matches('/')
        .rsplit('/')
        .next()
        .unwrap_or_default()
}

/// What a rule builds of a PackageSource or Package; the rest stays text.
#[derive(Debug, Deserialize)]
pub struct Parts {
    #[serde(default)]
    metadata: Metadata,
    /// `spec`; null where there is none.
    #[serde(default)]
    pub spec: Value,
}

#[derive(Debug, Deserialize, Default)]
struct Metadata {
    name: Option<String>,
}

impl Parts {
    /// `metadata.name`
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.metadata.name.as_deref()
    }
}

/// The `spec` of a PackageSource.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a>(pub &'a Value);

impl<'a> Source<'a> {
    /// That of a cached object.
    #[must_use]
    pub fn of(object: &'a Object) -> Source<'a> {
        Source(object.value.get("spec").unwrap_or(&Value::Null))
    }

    /// `sourceRef`, if there is one.
    #[must_use]
    pub fn source_ref(self) -> Option<&'a Value> {
        self.0.get("sourceRef").filter(|found| found.is_object())
    }

    /// The variants, in their order.
    pub fn variants(self) -> impl Iterator<Item = Variant<'a>> {
        list(self.0, "variants").iter().map(Variant)
    }

    /// The variant of that name.
    #[must_use]
    pub fn variant(self, name: &str) -> Option<Variant<'a>> {
        self.variants().find(|variant| variant.name() == name)
    }
}

/// A variant of a PackageSource.
#[derive(Debug, Clone, Copy)]
pub struct Variant<'a>(&'a Value);

impl<'a> Variant<'a> {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'a str {
        text(self.0, "name")
    }

    /// The Packages that must be ready first.
    pub fn depends_on(self) -> impl Iterator<Item = &'a str> {
        texts(self.0, "dependsOn")
    }

    /// The libraries.
    pub fn libraries(self) -> impl Iterator<Item = Library<'a>> {
        list(self.0, "libraries").iter().map(Library)
    }

    /// The components.
    pub fn components(self) -> impl Iterator<Item = Component<'a>> {
        list(self.0, "components").iter().map(Component)
    }

    /// The component of that name.
    #[must_use]
    pub fn component(self, name: &str) -> Option<Component<'a>> {
        self.components().find(|component| component.name() == name)
    }
}

/// A library of a variant.
#[derive(Debug, Clone, Copy)]
pub struct Library<'a>(&'a Value);

impl<'a> Library<'a> {
    /// Whether it has a name of its own.
    #[must_use]
    pub fn is_named(self) -> bool {
        !text(self.0, "name").is_empty()
    }

    /// The name by which components include it: its own, else the last segment of its path.
    #[must_use]
    pub fn name(self) -> &'a str {
        if self.is_named() {
            text(self.0, "name")
        } else {
            last_segment(self.path())
        }
    }

    /// Its folder.
    #[must_use]
    pub fn path(self) -> &'a str {
        text(self.0, "path")
    }
}

/// A component of a variant.
#[derive(Debug, Clone, Copy)]
pub struct Component<'a>(&'a Value);

impl<'a> Component<'a> {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'a str {
        text(self.0, "name")
    }

    /// Its folder. Without one no artifact is made.
    #[must_use]
    pub fn path(self) -> &'a str {
        text(self.0, "path")
    }

    /// The libraries that it includes.
    pub fn libraries(self) -> impl Iterator<Item = &'a str> {
        texts(self.0, "libraries")
    }

    /// Its values files.
    pub fn values_files(self) -> impl Iterator<Item = &'a str> {
        texts(self.0, "valuesFiles")
    }

    /// How it is installed; none when only its artifact is made.
    #[must_use]
    pub fn install(self) -> Option<Install<'a>> {
        self.0
            .get("install")
            .filter(|install| install.is_object())
            .map(|install| Install {
                install,
                component: self.name(),
            })
    }
}

/// `install` of a component.
#[derive(Debug, Clone, Copy)]
pub struct Install<'a> {
    install: &'a Value,
    component: &'a str,
}

impl<'a> Install<'a> {
    /// Namespace of the HelmRelease; empty when none is given.
    #[must_use]
    pub fn namespace(self) -> &'a str {
        text(self.install, "namespace")
    }

    /// Whether the HelmRelease has a name of its own.
    #[must_use]
    pub fn is_named(self) -> bool {
        !text(self.install, "releaseName").is_empty()
    }

    /// Name of the HelmRelease: its own, else the component's.
    #[must_use]
    pub fn release_name(self) -> &'a str {
        if self.is_named() {
            text(self.install, "releaseName")
        } else {
            self.component
        }
    }

    /// `namespace/name` of the HelmRelease; none without a namespace.
    #[must_use]
    pub fn release(self) -> Option<String> {
        (!self.namespace().is_empty())
            .then(|| format!("{}/{}", self.namespace(), self.release_name()))
    }

    /// The components of the variant that must be ready first.
    pub fn depends_on(self) -> impl Iterator<Item = &'a str> {
        texts(self.install, "dependsOn")
    }
}

/// The `spec` of a Package.
#[derive(Debug, Clone, Copy)]
pub struct Package<'a>(pub &'a Value);

impl<'a> Package<'a> {
    /// That of a cached object.
    #[must_use]
    pub fn of(object: &'a Object) -> Package<'a> {
        Package(object.value.get("spec").unwrap_or(&Value::Null))
    }

    /// The variant that it names.
    #[must_use]
    pub fn given_variant(self) -> Option<&'a str> {
        Some(text(self.0, "variant")).filter(|name| !name.is_empty())
    }

    /// The variant that is installed.
    #[must_use]
    pub fn variant(self) -> &'a str {
        self.given_variant().unwrap_or(DEFAULT_VARIANT)
    }

    /// The dependencies that it does not wait for.
    pub fn ignored(self) -> impl Iterator<Item = &'a str> {
        texts(self.0, "ignoreDependencies")
    }

    /// Whether it does not wait for that dependency.
    #[must_use]
    pub fn ignores(self, dependency: &str) -> bool {
        self.ignored().any(|ignored| ignored == dependency)
    }

    /// What it says of components, by name.
    pub fn components(self) -> impl Iterator<Item = (&'a str, &'a Value)> {
        self.0
            .get("components")
            .and_then(Value::as_object)
            .into_iter()
            .flat_map(Map::iter)
            .map(|(name, value)| (name.as_str(), value))
    }

    /// What it says of one component.
    #[must_use]
    pub fn component(self, name: &str) -> Option<&'a Value> {
        self.0.get("components")?.get(name)
    }

    /// Whether a component is installed, if its source says how.
    #[must_use]
    pub fn is_enabled(self, component: &str) -> bool {
        self.component(component)
            .and_then(|component| component.get("enabled"))
            != Some(&Value::Bool(false))
    }

    /// Whether it has values for a component.
    #[must_use]
    pub fn has_values(self, component: &str) -> bool {
        let values = self
            .component(component)
            .and_then(|component| component.get("values"));
        values.is_some_and(|values| !values.is_null() && *values != Value::Object(Map::new()))
    }

    /// What of a variant is installed.
    pub fn installed(
        self,
        variant: Variant<'a>,
    ) -> impl Iterator<Item = (Component<'a>, Install<'a>)> {
        variant
            .components()
            .filter(move |component| self.is_enabled(component.name()))
            .filter_map(|component| component.install().map(|install| (component, install)))
    }
}
