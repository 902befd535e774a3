//! Where in an object something is: a cheap path while walking, an owned one once an error needs it.

use std::borrow::Cow;
use std::fmt;

/// One step of a path.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Segment<'a> {
    /// A member that the kind's schema names, such as `spec`.
    Member(Cow<'a, str>),
    /// A key that a user chose, such as a label.
    Key(Cow<'a, str>),
    /// A list item.
    Index(usize),
}

impl Segment<'_> {
    fn into_owned(self) -> Segment<'static> {
        match self {
            Segment::Member(name) => Segment::Member(Cow::Owned(name.into_owned())),
            Segment::Key(key) => Segment::Key(Cow::Owned(key.into_owned())),
            Segment::Index(index) => Segment::Index(index),
        }
    }
}

/// A path that borrows its parent: walking an object builds no text, only an error does.
#[derive(Debug, Clone)]
pub struct Path<'a> {
    parent: Option<&'a Path<'a>>,
    segment: Option<Segment<'a>>,
}

impl<'a> Path<'a> {
    /// The object itself.
    pub const ROOT: Path<'static> = Path {
        parent: None,
        segment: None,
    };

    /// The member `name` below this path.
    #[must_use]
    pub fn member(&'a self, name: &'a str) -> Path<'a> {
        self.below(Segment::Member(Cow::Borrowed(name)))
    }

    /// The user-chosen key `key` below this path.
    #[must_use]
    pub fn key(&'a self, key: &'a str) -> Path<'a> {
        self.below(Segment::Key(Cow::Borrowed(key)))
    }

    /// The list item `index` below this path.
    #[must_use]
    pub fn index(&'a self, index: usize) -> Path<'a> {
        self.below(Segment::Index(index))
    }

    fn below(&'a self, segment: Segment<'a>) -> Path<'a> {
        Path {
            parent: Some(self),
            segment: Some(segment),
        }
    }

    /// An owned copy, for an error or an edit.
    #[must_use]
    pub fn to_field(&self) -> FieldPath {
        let mut segments = Vec::new();
        let mut here = Some(self);
        while let Some(path) = here {
            if let Some(segment) = &path.segment {
                segments.push(segment.clone().into_owned());
            }
            here = path.parent;
        }
        segments.reverse();
        FieldPath { segments }
    }
}

/// An owned path. Displayed as the API server displays field errors: `spec.a[0].b`, `metadata.labels[x/y]`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct FieldPath {
    segments: Vec<Segment<'static>>,
}

impl FieldPath {
    /// A path of plain members, from the root.
    #[must_use]
    pub fn of(members: &[&str]) -> FieldPath {
        FieldPath {
            segments: members
                .iter()
                .map(|name| Segment::Member(Cow::Owned((*name).to_owned())))
                .collect(),
        }
    }

    /// This path with a user-chosen key below it.
    #[must_use]
    pub fn key(mut self, key: &str) -> FieldPath {
        self.segments.push(Segment::Key(Cow::Owned(key.to_owned())));
        self
    }

    /// This path with a member below it.
    #[must_use]
    pub fn member(mut self, name: &str) -> FieldPath {
        self.segments
            .push(Segment::Member(Cow::Owned(name.to_owned())));
        self
    }

    /// This path with a list item below it.
    #[must_use]
    pub fn index(mut self, index: usize) -> FieldPath {
        self.segments.push(Segment::Index(index));
        self
    }

    /// The steps from the root.
    #[must_use]
    pub fn segments(&self) -> &[Segment<'static>] {
        &self.segments
    }

    /// Whether this is the object itself.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.segments.is_empty()
    }

    /// Whether both are the same place when list items are matched by what they hold, not by where they stand.
    #[must_use]
    pub fn is_same_but_for_indexes(&self, other: &FieldPath) -> bool {
        self.segments.len() == other.segments.len()
            && self
                .segments
                .iter()
                .zip(&other.segments)
                .all(|pair| match pair {
                    (Segment::Index(_), Segment::Index(_)) => true,
                    (one, two) => one == two,
                })
    }

    /// The same place as a JSON Pointer (RFC 6901), `~` and `/` escaped.
    #[must_use]
    pub fn to_pointer(&self) -> String {
        let mut pointer = String::new();
        for segment in &self.segments {
            pointer.push('/');
            match segment {
                Segment::Member(name) | Segment::Key(name) => {
                    pointer.push_str(&name.replace('~', "~0").replace('/', "~1"));
                }
                Segment::Index(index) => pointer.push_str(&index.to_string()),
            }
        }
        pointer
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, segment) in self.segments.iter().enumerate() {
            match segment {
                Segment::Member(name) if position == 0 => formatter.write_str(name)?,
                Segment::Member(name) => write!(formatter, ".{name}")?,
                Segment::Key(key) => write!(formatter, "[{key}]")?,
                Segment::Index(index) => write!(formatter, "[{index}]")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_shown_as_the_api_server_shows_it() {
        let spec = Path::ROOT.member("spec");
        let secrets = spec.member("secrets");
        let include = secrets.member("include");
        let item = include.index(0);
        let names = item.member("resourceNames");
        assert_eq!(
            names.index(1).to_field().to_string(),
            "spec.secrets.include[0].resourceNames[1]"
        );
        let labels = FieldPath::of(&["metadata", "labels"]).key("cozystack.io/ui");
        assert_eq!(labels.to_string(), "metadata.labels[cozystack.io/ui]");
        assert_eq!(labels.to_pointer(), "/metadata/labels/cozystack.io~1ui");
        assert_eq!(FieldPath::default().to_string(), "");
    }

    #[test]
    fn list_items_are_the_same_wherever_they_stand() {
        let first = FieldPath::of(&["spec"]).index(0).member("a");
        let second = FieldPath::of(&["spec"]).index(7).member("a");
        assert!(first.is_same_but_for_indexes(&second));
        assert!(!first.is_same_but_for_indexes(&FieldPath::of(&["spec"]).index(0).member("b")));
        assert!(!first.is_same_but_for_indexes(&FieldPath::of(&["spec"])));
    }
}
