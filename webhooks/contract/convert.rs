//! The same object in another version or kind: a hub version and its spokes.

use super::declaration::Resource;
use super::document::{Malformed, Node};
use super::field::FieldPath;
use serde_json::value::RawValue;

/// Why one object has no form in the other version. The last resort: it hides the whole kind in that version.
#[derive(Debug, thiserror::Error)]
pub enum ConvertError {
    /// A field that the other form needs is not usable.
    #[error("{at}: {detail}")]
    Field {
        /// The field.
        at: FieldPath,
        /// What is wrong, and what would be right.
        detail: String,
    },
    /// The object is not readable.
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

impl ConvertError {
    /// A field that is not usable.
    #[must_use]
    pub fn field(at: FieldPath, detail: impl Into<String>) -> ConvertError {
        ConvertError::Field {
            at,
            detail: detail.into(),
        }
    }
}

/// One direction between the hub and a spoke. `apiVersion` and `kind` are the framework's business.
pub type Step = fn(&mut Node<'_>) -> Result<(), ConvertError>;

/// A version other than the hub.
#[derive(Debug)]
pub struct Spoke {
    /// The version.
    pub version: &'static str,
    /// From this version to the hub.
    pub to_hub: Step,
    /// From the hub to this version.
    pub from_hub: Step,
}

/// The same object under another kind. No CRD refers to a rename (the API server refuses another kind); tools do.
#[derive(Debug)]
pub struct Rename {
    /// The version of the old kind whose form the new kind has.
    pub form: &'static str,
    /// The new kind.
    pub to: &'static Resource,
}

/// How a kind is converted. The role of a folder whose kind has more than one version.
#[derive(Debug)]
pub struct Conversion {
    /// The kind, in its storage version, which is the hub.
    pub hub: &'static Resource,
    /// The other versions.
    pub spokes: &'static [Spoke],
    /// The kind's successor, where it has one.
    pub rename: Option<Rename>,
}

/// A converted object: as it came, or changed.
#[derive(Debug)]
pub enum Converted<'a> {
    /// It was in the wanted form already.
    Unchanged(&'a RawValue),
    /// It was taken apart and changed.
    Changed(Node<'a>),
}

impl serde::Serialize for Converted<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Converted::Unchanged(raw) => raw.serialize(serializer),
            Converted::Changed(node) => node.serialize(serializer),
        }
    }
}

impl Conversion {
    /// All versions, the hub first.
    pub fn versions(&self) -> impl Iterator<Item = &'static str> + use<> {
        std::iter::once(self.hub.version).chain(self.spokes.iter().map(|spoke| spoke.version))
    }

    /// Whether these are exactly the versions that the CRD serves; the error names both lists.
    ///
    /// # Errors
    /// When a served version has no spoke, or a spoke no version.
    pub fn check_complete(&self, served: &[&str]) -> Result<(), String> {
        let mut ours: Vec<&str> = self.versions().collect();
        let mut theirs = served.to_vec();
        ours.sort_unstable();
        theirs.sort_unstable();
        if ours == theirs {
            Ok(())
        } else {
            Err(format!(
                "{}: the conversion knows versions {ours:?}, the CRD serves {theirs:?}",
                self.hub.plural
            ))
        }
    }

    fn spoke(&self, version: &str) -> Option<&'static Spoke> {
        self.spokes.iter().find(|spoke| spoke.version == version)
    }

    /// `object` in the version that `api_version` names.
    ///
    /// # Errors
    /// For another kind, an unknown version, or an object that has no form there.
    pub fn convert<'a>(
        &self,
        object: &'a RawValue,
        api_version: &str,
    ) -> Result<Converted<'a>, ConvertError> {
        let wanted = self.version_of(
            api_version,
            &FieldPath::of(&["request", "desiredAPIVersion"]),
        )?;
        let mut node = Node::from(object);
        let current = self.check_kind(&mut node)?;
        if current == wanted {
            return Ok(Converted::Unchanged(object));
        }
        self.change_form(&mut node, current, wanted)?;
        node.set("apiVersion", Node::of(&api_version)?)?;
        Ok(Converted::Changed(node))
    }

    /// `object` as its successor kind. One that is of the new kind already comes back unchanged.
    ///
    /// # Errors
    /// As [`Conversion::convert`], or when the kind has no successor.
    pub fn rename<'a>(&self, object: &'a RawValue) -> Result<Converted<'a>, ConvertError> {
        let Some(rename) = &self.rename else {
            return Err(ConvertError::field(
                FieldPath::of(&["kind"]),
                format!("{} has no successor", self.hub.kind),
            ));
        };
        let mut node = Node::from(object);
        if node.text_at(&["kind"])?.as_deref() == Some(rename.to.kind)
            && node.text_at(&["apiVersion"])? == Some(rename.to.api_version())
        {
            return Ok(Converted::Unchanged(object));
        }
        let current = self.check_kind(&mut node)?;
        self.change_form(&mut node, current, rename.form)?;
        node.set("apiVersion", Node::of(&rename.to.api_version())?)?;
        node.set("kind", Node::of(&rename.to.kind)?)?;
        Ok(Converted::Changed(node))
    }

    fn change_form(
        &self,
        node: &mut Node<'_>,
        current: &str,
        wanted: &str,
    ) -> Result<(), ConvertError> {
        if current == wanted {
            return Ok(());
        }
        if let Some(spoke) = self.spoke(current) {
            (spoke.to_hub)(node)?;
        }
        if let Some(spoke) = self.spoke(wanted) {
            (spoke.from_hub)(node)?;
        }
        Ok(())
    }

    /// The version in which the object stands.
    fn check_kind(&self, node: &mut Node<'_>) -> Result<&'static str, ConvertError> {
        if !node.is_object() {
            return Err(ConvertError::field(FieldPath::default(), "is no object"));
        }
        let kind = node.text_at(&["kind"])?;
        if kind.as_deref() != Some(self.hub.kind) {
            return Err(ConvertError::field(
                FieldPath::of(&["kind"]),
                format!(
                    "is {}, must be {}",
                    kind.as_deref().unwrap_or("absent"),
                    self.hub.kind
                ),
            ));
        }
        let api_version = node.text_at(&["apiVersion"])?.unwrap_or_default();
        self.version_of(&api_version, &FieldPath::of(&["apiVersion"]))
    }

    fn version_of(&self, api_version: &str, at: &FieldPath) -> Result<&'static str, ConvertError> {
        api_version
            .strip_prefix(self.hub.group)
            .and_then(|rest| rest.strip_prefix('/'))
            .and_then(|version| self.versions().find(|known| *known == version))
            .ok_or_else(|| {
                let known: Vec<String> = self
                    .versions()
                    .map(|version| format!("{}/{version}", self.hub.group))
                    .collect();
                ConvertError::field(
                    at.clone(),
                    format!("is {api_version:?}, must be one of {}", known.join(", ")),
                )
            })
    }
}
