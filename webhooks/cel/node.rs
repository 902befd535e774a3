//! What expressions see of objects, read no further than they look.

use super::value::{List, Map, Text, Value};
use crate::charts::{Piece, Shown, Texts, View};
use crate::contract::Json;
use serde_json::{Number, Value as Tree};
use std::borrow::Cow;
use std::fmt;

/// A place in an object.
#[derive(Clone, Copy)]
pub enum Node<'a> {
    /// In the text of a request.
    Json(Json<'a>, &'a dyn Texts),
    /// In a text that is taken apart.
    Piece(Piece<'a>),
    /// In a tree.
    Tree(&'a Tree),
    /// In values with a chart's defaults below them.
    View(View<'a>),
}

impl fmt::Debug for Node<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Node::Json(json, _) => formatter.write_str(json.get()),
            Node::Piece(piece) => write!(formatter, "{piece:?}"),
            Node::Tree(tree) => write!(formatter, "{tree}"),
            Node::View(view) => write!(formatter, "{view:?}"),
        }
    }
}

/// A number as Kubernetes reads it: whole where it is written as such and fits.
fn number<'a>(number: &Number) -> Value<'a> {
    match number.as_i64() {
        Some(whole) => Value::Int(whole),
        None => Value::Double(number.as_f64().unwrap_or(f64::NAN)),
    }
}

impl<'a> Value<'a> {
    /// What stands in a request.
    #[must_use]
    pub fn of_json(json: Json<'a>, texts: &'a dyn Texts) -> Value<'a> {
        let node = Node::Json(json, texts);
        match json.get().as_bytes().first() {
            Some(b'{') => Value::Map(Map::Node(node)),
            Some(b'[') => Value::List(List::Node(node)),
            Some(b'"') => match json.text() {
                Some(text) => Value::String(Text::Borrowed(text)),
                None => {
                    let text: Result<String, _> = json.read();
                    text.map_or(Value::Null, Value::text)
                }
            },
            Some(b't') => Value::Bool(true),
            Some(b'f') => Value::Bool(false),
            Some(b'n') | None => Value::Null,
            Some(_) => match json.get().parse::<i64>() {
                Ok(whole) => Value::Int(whole),
                Err(_) => Value::Double(json.get().parse().unwrap_or(f64::NAN)),
            },
        }
    }

    /// What stands in a text that is taken apart.
    #[must_use]
    pub fn of_piece(piece: Piece<'a>) -> Value<'a> {
        match piece.shown() {
            Shown::Null => Value::Null,
            Shown::Bool(is) => Value::Bool(is),
            Shown::Number(it) => number(it),
            Shown::String(text) => Value::String(Text::Borrowed(text)),
            Shown::List => Value::List(List::Node(Node::Piece(piece))),
            Shown::Map => Value::Map(Map::Node(Node::Piece(piece))),
        }
    }

    /// What stands in a tree.
    #[must_use]
    pub fn of_tree(tree: &'a Tree) -> Value<'a> {
        match tree {
            Tree::Null => Value::Null,
            Tree::Bool(is) => Value::Bool(*is),
            Tree::Number(it) => number(it),
            Tree::String(text) => Value::String(Text::Borrowed(text)),
            Tree::Array(_) => Value::List(List::Node(Node::Tree(tree))),
            Tree::Object(_) => Value::Map(Map::Node(Node::Tree(tree))),
        }
    }

    /// What stands in values.
    #[must_use]
    pub fn of_view(view: View<'a>) -> Value<'a> {
        match view.shown() {
            Shown::Null => Value::Null,
            Shown::Bool(is) => Value::Bool(is),
            Shown::Number(it) => number(it),
            Shown::String(text) => Value::String(Text::Borrowed(text)),
            Shown::List => Value::List(List::Node(Node::View(view))),
            Shown::Map => Value::Map(Map::Node(Node::View(view))),
        }
    }
}

impl<'a> Node<'a> {
    /// A place that can be counted.
    fn opened(self) -> Option<Node<'a>> {
        match self {
            Node::Json(json, texts) => texts.piece(json.get()).map(Node::Piece),
            other => Some(other),
        }
    }

    /// How many items or members it has.
    #[must_use]
    pub fn len(self) -> usize {
        match self.opened() {
            Some(Node::Piece(piece)) => piece.len(),
            Some(Node::Tree(Tree::Array(items))) => items.len(),
            Some(Node::Tree(Tree::Object(members))) => members.len(),
            Some(Node::View(view)) => view.len(),
            _ => 0,
        }
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// An item of a list.
    #[must_use]
    pub fn item(self, at: usize) -> Option<Value<'a>> {
        match self.opened()? {
            Node::Piece(piece) => piece.item(at).map(Value::of_piece),
            Node::Tree(tree) => tree.get(at).map(Value::of_tree),
            Node::View(view) => view.item(at).map(Value::of_view),
            Node::Json(..) => None,
        }
    }

    /// A member of a map.
    #[must_use]
    pub fn member(self, name: &str) -> Option<Value<'a>> {
        if let Node::Json(json, texts) = self
            && let Some(found) = json.alone(name)
        {
            return found.map(|json| Value::of_json(json, texts));
        }
        match self.opened()? {
            Node::Piece(piece) => piece.member(name).map(Value::of_piece),
            Node::Tree(tree) => tree.get(name).map(Value::of_tree),
            Node::View(view) => view.member(name).map(Value::of_view),
            Node::Json(..) => None,
        }
    }

    /// All members of a map, in the order of their names.
    #[must_use]
    pub fn members(self) -> Vec<(Cow<'a, str>, Value<'a>)> {
        match self.opened() {
            Some(Node::Piece(piece)) => {
                let members = piece.members();
                members
                    .map(|(name, piece)| (Cow::Borrowed(name), Value::of_piece(piece)))
                    .collect()
            }
            Some(Node::Tree(Tree::Object(members))) => {
                let members = members.iter();
                members
                    .map(|(name, tree)| (Cow::Borrowed(name.as_str()), Value::of_tree(tree)))
                    .collect()
            }
            Some(Node::View(view)) => {
                let members = view.members();
                members
                    .map(|(name, view)| (Cow::Borrowed(name), Value::of_view(view)))
                    .collect()
            }
            _ => Vec::new(),
        }
    }
}
