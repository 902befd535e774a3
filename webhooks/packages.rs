//! Package sources and Packages as their operator reads them: by name, first match, absent where the type is another.
//!
//! Source: `internal/operator/package_reconciler.go` and `packagesource_reconciler.go` of Cozystack v1.0.0-alpha.1.

use crate::charts::{Text, Values};
use crate::contract::{Json, Object};
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use std::fmt;

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

/// What a rule builds of a PackageSource; the rest stays text.
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

/// What a rule builds of a Package; the rest stays text. Of the values of its components, which are most of it, no
/// string is copied: nearly all of them are right.
#[derive(Debug, Deserialize)]
pub struct PackageParts<'a> {
    #[serde(default)]
    metadata: Metadata,
    #[serde(default, borrow)]
    spec: SpecParts<'a>,
}

impl<'a> PackageParts<'a> {
    /// Reads an object of a request.
    ///
    /// # Errors
    /// A sentence that says what does not fit and where.
    pub fn read(object: Json<'a>) -> Result<PackageParts<'a>, serde_json::Error> {
        match known_parts(object) {
            Some(parts) => Ok(parts),
            None => object.read(),
        }
    }
}

/// The parts of an object whose members are noted; none where a closer look is due.
fn known_parts(object: Json<'_>) -> Option<PackageParts<'_>> {
    let name = match object.alone("metadata")? {
        Some(metadata) => match metadata.alone("name")? {
            Some(name) => Some(name.text()?.to_owned()),
            None => None,
        },
        None => None,
    };
    let spec = match object.alone("spec")? {
        Some(spec) => known_spec(spec)?,
        None => SpecParts::default(),
    };
    Some(PackageParts {
        metadata: Metadata { name },
        spec,
    })
}

fn known_spec(spec: Json<'_>) -> Option<SpecParts<'_>> {
    let mut values = Vec::new();
    let rest = if spec.is_object() {
        known_map(spec, |name, member| {
            if name == "components" && member.is_object() {
                known_components(member, &mut values).map(Some)
            } else {
                member.read().ok().map(Some)
            }
        })?
    } else {
        spec.read().ok()?
    };
    Some(SpecParts { rest, values })
}

fn known_components<'a>(
    components: Json<'a>,
    values: &mut Vec<(String, Held<'a>)>,
) -> Option<Value> {
    known_map(components, |component, said| {
        if !said.is_object() {
            return said.read().ok().map(Some);
        }
        let rest = known_map(said, |name, member| {
            if name == "values" {
                values.push((component.to_owned(), Held::Shared(member.values()?)));
                return Some(None);
            }
            member.read().ok().map(Some)
        });
        rest.map(Some)
    })
}

/// A map of what `make` makes of each member, but for those of which it makes nothing; none where a name stands there
/// twice: somebody else knows which counts.
fn known_map<'a>(
    map: Json<'a>,
    mut make: impl FnMut(&'a str, Json<'a>) -> Option<Option<Value>>,
) -> Option<Value> {
    let mut members = Map::new();
    for name in map.names()? {
        if let Some(value) = make(name, map.alone(name)??)? {
            members.insert(name.to_owned(), value);
        }
    }
    Some(Value::Object(members))
}

impl PackageParts<'_> {
    /// `metadata.name`
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.metadata.name.as_deref()
    }

    /// Its `spec`.
    #[must_use]
    pub fn package(&self) -> Package<'_> {
        Package {
            spec: &self.spec.rest,
            texts: &self.spec.values,
        }
    }
}

#[derive(Debug, Default)]
struct SpecParts<'a> {
    /// Everything but the values.
    rest: Value,
    /// `components.<name>.values`
    values: Vec<(String, Held<'a>)>,
}

/// Values, taken apart.
#[derive(Debug)]
enum Held<'a> {
    /// For all rules.
    Shared(&'a Text<'a>),
    /// For this one.
    Own(Text<'a>),
}

impl Held<'_> {
    fn text(&self) -> &Text<'_> {
        match self {
            Held::Shared(text) => text,
            Held::Own(text) => text,
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for SpecParts<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut values = Vec::new();
        let rest = Level {
            place: Place::Spec,
            values: &mut values,
        }
        .deserialize(deserializer)?;
        Ok(SpecParts { rest, values })
    }
}

/// Where in a spec a value stands.
enum Place {
    Spec,
    Components,
    Component(String),
}

/// Builds a value but for the values of components, which it puts aside.
struct Level<'v, 'a> {
    place: Place,
    values: &'v mut Vec<(String, Held<'a>)>,
}

impl<'de: 'a, 'a> DeserializeSeed<'de> for Level<'_, 'a> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de: 'a, 'a> Visitor<'de> for Level<'_, 'a> {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("any JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, is: bool) -> Result<Value, E> {
        Ok(is.into())
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(Number::from_f64(number).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element::<Value>()? {
            list.push(item);
        }
        Ok(list.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            let place = match (&self.place, name.as_str()) {
                (Place::Spec, "components") => Place::Components,
                (Place::Components, name) => Place::Component(name.to_owned()),
                (Place::Component(component), "values") => {
                    let text = members.next_value::<Text<'a>>()?;
                    // Of what is there twice the last counts.
                    self.values.retain(|(known, _)| known != component);
                    self.values.push((component.clone(), Held::Own(text)));
                    continue;
                }
                _ => {
                    map.insert(name, members.next_value()?);
                    continue;
                }
            };
            let level = Level {
                place,
                values: &mut *self.values,
            };
            map.insert(name, members.next_value_seed(level)?);
        }
        Ok(Value::Object(map))
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
pub struct Package<'a> {
    spec: &'a Value,
    /// The values of components, where these are not in the spec.
    texts: &'a [(String, Held<'a>)],
}

impl<'a> Package<'a> {
    /// That of a cached object.
    #[must_use]
    pub fn of(object: &'a Object) -> Package<'a> {
        Package::of_spec(object.value.get("spec").unwrap_or(&Value::Null))
    }

    /// One that is built in whole.
    #[must_use]
    pub fn of_spec(spec: &'a Value) -> Package<'a> {
        Package { spec, texts: &[] }
    }

    /// The variant that it names.
    #[must_use]
    pub fn given_variant(self) -> Option<&'a str> {
        Some(text(self.spec, "variant")).filter(|name| !name.is_empty())
    }

    /// The variant that is installed.
    #[must_use]
    pub fn variant(self) -> &'a str {
        self.given_variant().unwrap_or(DEFAULT_VARIANT)
    }

    /// The dependencies that it does not wait for.
    pub fn ignored(self) -> impl Iterator<Item = &'a str> {
        texts(self.spec, "ignoreDependencies")
    }

    /// Whether it does not wait for that dependency.
    #[must_use]
    pub fn ignores(self, dependency: &str) -> bool {
        self.ignored().any(|ignored| ignored == dependency)
    }

    /// The components of which it says something.
    pub fn components(self) -> impl Iterator<Item = &'a str> {
        self.spec
            .get("components")
            .and_then(Value::as_object)
            .into_iter()
            .flat_map(Map::keys)
            .map(String::as_str)
    }

    /// What it says of one component, beside values.
    fn component(self, name: &str) -> Option<&'a Value> {
        self.spec.get("components")?.get(name)
    }

    /// Whether it says something of a component.
    #[must_use]
    pub fn names(self, component: &str) -> bool {
        self.component(component).is_some()
    }

    /// Its values for a component; null where it has none.
    #[must_use]
    pub fn values(self, component: &str) -> Values<'a> {
        let mut texts = self.texts.iter();
        match texts.find(|(known, _)| known == component) {
            Some((_, held)) => Values::Text(held.text()),
            None => {
                let built = self.component(component);
                Values::Built(
                    built
                        .and_then(|built| built.get("values"))
                        .unwrap_or(&Value::Null),
                )
            }
        }
    }

    /// Whether a component is installed, if its source says how.
    #[must_use]
    pub fn is_enabled(self, component: &str) -> bool {
        self.component(component)
            .and_then(|component| component.get("enabled"))
            != Some(&Value::Bool(false))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::Outline;
    use crate::contract::skim::Cursor;
    use proptest::prelude::*;
    use serde_json::json;

    /// Name, the rest of the spec, and the values of components by name.
    type Shown = (Option<String>, Value, Vec<(String, Value)>);

    fn shown(parts: &PackageParts<'_>) -> Shown {
        let values = parts.spec.values.iter();
        let mut values: Vec<_> = values
            .map(|(name, text)| (name.clone(), text.text().root().to_value()))
            .collect();
        values.sort_by(|one, two| one.0.cmp(&two.0));
        (parts.metadata.name.clone(), parts.spec.rest.clone(), values)
    }

    /// What is read of a text as requests have it.
    fn read(text: &str) -> Result<Shown, String> {
        let raw: &serde_json::value::RawValue = serde_json::from_str(text).unwrap();
        let outline = Outline::take(&mut Cursor::new(text));
        let json = outline.as_ref().map_or(Json::from(raw), Outline::json);
        let parts = PackageParts::read(json);
        parts
            .map(|parts| shown(&parts))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn both_ways_of_reading_are_the_same() {
        for text in [
            r#"{"metadata": {"name": "a", "managedFields": [{"x": "}"}]}, "spec": {"variant": "v", "components":
                {"x": {"enabled": true, "values": {"a": [1, "b"]}}, "y": {"values": null}, "z": null}}}"#,
            r#"{"spec": {"components": []}}"#,
            r#"{"spec": {"components": {"x": {"values": "text"}, "y": []}}, "metadata": {}}"#,
            r#"{"spec": "text"}"#,
            r#"{"spec": null, "metadata": {"name": null}}"#,
            "{}",
            r#"{"spec": {"components": {"x": {"values": {"a": 1}}, "x": {"values": {"a": 2}}}}}"#,
            r#"{"spec": {"components": {"x": {"values": {"a": 1}, "values": {"a": 2}}}}}"#,
            r#"{"spec": {"components": {"\u0078": {"values": {"\u0061": "\n"}}}}}"#,
            r#"{"spec": {"components": {"x": {"values": {"a": 1}}}, "components": {}}}"#,
        ] {
            let slow: PackageParts<'_> = serde_json::from_str(text).unwrap();
            assert_eq!(read(text).unwrap(), shown(&slow), "{text}");
        }
        for text in [
            r#"{"spec": {}, "spec": {}}"#,
            r#"{"spec": {"components": {"x": {"values": {"a": 1e400}}}}}"#,
            r#"{"metadata": 5}"#,
            "[1]",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_object_is_read_the_same_both_ways(
            components in prop::collection::btree_map("[a-c\\\\\"]{1,2}", "[a-z]{0,3}", 0..4),
            is_pretty: bool,
        ) {
            let components: Map<String, Value> = components
                .into_iter()
                .map(|(name, text)| (name, json!({"values": {"t": text, "n": [1.5, -0.0, null]}, "enabled": true})))
                .collect();
            let object = json!({"metadata": {"name": "x"}, "spec": {"components": components}});
            let text = if is_pretty { format!("{object:#}") } else { object.to_string() };
            let slow: PackageParts<'_> = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(read(&text).unwrap(), shown(&slow));
        }
    }
}
