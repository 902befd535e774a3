//! Values while an expression runs: what comes from objects is borrowed from their text, what is made is shared.

use super::functions::ip::Cidr;
use super::functions::named_format::NamedFormat;
use super::functions::quantity::Quantity;
use super::functions::semver::Version;
use super::functions::url::Url;
use super::node::Node;
use super::run::{Fail, Run, as_steps};
use core::net::IpAddr;
use std::borrow::Cow;
use std::cmp::Ordering;
use std::ops::Deref;
use std::rc::Rc;

/// Steps of a look-up.
const LOOKUP_STEPS: usize = 100;

/// A text: part of what came in or of the expression, or made.
#[derive(Debug, Clone)]
pub enum Text<'a> {
    /// Part of something that outlives the evaluation.
    Borrowed(&'a str),
    /// Made.
    Made(Rc<str>),
}

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Text::Borrowed(text) => text,
            Text::Made(text) => text,
        }
    }
}

impl<'a> From<Cow<'a, str>> for Text<'a> {
    fn from(text: Cow<'a, str>) -> Text<'a> {
        match text {
            Cow::Borrowed(text) => Text::Borrowed(text),
            Cow::Owned(text) => Text::Made(text.into()),
        }
    }
}

/// A moment: seconds since 1970 and nanoseconds of that second, in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp {
    /// Seconds since 1970-01-01T00:00:00Z.
    pub seconds: i64,
    /// Nanoseconds of the second.
    pub nanoseconds: u32,
}

/// A value.
#[derive(Debug, Clone)]
pub enum Value<'a> {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// One without a sign.
    Uint(u64),
    /// A floating-point number.
    Double(f64),
    /// A text.
    String(Text<'a>),
    /// Bytes.
    Bytes(Rc<[u8]>),
    /// A list.
    List(List<'a>),
    /// A map.
    Map(Map<'a>),
    /// A span of time in nanoseconds, as Go holds it.
    Duration(i64),
    /// A moment.
    Timestamp(Timestamp),
    /// A type, by its name.
    Type(Cow<'static, str>),
    /// Something that may be absent.
    Optional(Option<Rc<Value<'a>>>),
    /// A URL.
    Url(Rc<Url>),
    /// An IP address.
    Ip(IpAddr),
    /// A range of them.
    Cidr(Cidr),
    /// A Kubernetes quantity.
    Quantity(Rc<Quantity>),
    /// A semantic version.
    Semver(Rc<Version>),
    /// A format that has a name.
    Format(&'static NamedFormat),
}

/// A list.
#[derive(Debug, Clone)]
pub enum List<'a> {
    /// Made.
    Made(Rc<Vec<Value<'a>>>),
    /// Of an object.
    Node(Node<'a>),
}

impl<'a> List<'a> {
    /// How many items there are.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            List::Made(items) => items.len(),
            List::Node(node) => node.len(),
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The item at that place.
    #[must_use]
    pub fn get(&self, at: usize) -> Option<Value<'a>> {
        match self {
            List::Made(items) => items.get(at).cloned(),
            List::Node(node) => node.item(at),
        }
    }

    /// All items.
    pub fn iter(&self) -> impl Iterator<Item = Value<'a>> + '_ {
        (0..self.len()).map_while(|at| self.get(at))
    }
}

/// A map.
#[derive(Debug, Clone)]
pub enum Map<'a> {
    /// Made, in the order in which it was made; no two keys are equal.
    Made(Rc<Vec<(Value<'a>, Value<'a>)>>),
    /// Of an object.
    Node(Node<'a>),
    /// The fields of a declared object: known by name alone.
    Fields(Rc<Vec<(&'a str, Value<'a>)>>),
    /// Looked up elsewhere when somebody asks.
    Lookup(&'a dyn Lookup),
}

/// A map whose members are found when somebody asks.
pub trait Lookup {
    /// The value of a member.
    fn member(&self, name: &str) -> Option<Value<'_>>;
    /// The names of all members, in order: asked for only where an expression goes through all of them.
    fn names(&self) -> &[String];
}

impl std::fmt::Debug for dyn Lookup + '_ {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("looked up")
    }
}

impl<'a> Map<'a> {
    /// How many members there are.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Map::Made(members) => members.len(),
            Map::Node(node) => node.len(),
            Map::Fields(fields) => fields.len(),
            Map::Lookup(lookup) => lookup.names().len(),
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The value of a member.
    #[must_use]
    pub fn member(&self, name: &str) -> Option<Value<'a>> {
        match self {
            Map::Made(members) => members.iter().find_map(|(key, value)| match key {
                Value::String(key) if **key == *name => Some(value.clone()),
                _ => None,
            }),
            Map::Node(node) => node.member(name),
            Map::Fields(fields) => {
                let mut fields = fields.iter();
                fields.find_map(|(field, value)| (*field == name).then(|| value.clone()))
            }
            Map::Lookup(lookup) => lookup.member(name),
        }
    }

    /// The value under any key. Numbers are found by what they count.
    #[must_use]
    pub fn get(&self, key: &Value<'_>) -> Option<Value<'a>> {
        match (self, key) {
            (_, Value::String(name)) => self.member(name),
            (Map::Made(members), key) => members
                .iter()
                .find_map(|(own, value)| own.is_same_scalar(key).then(|| value.clone())),
            _ => None,
        }
    }

    /// All members; those of an object in the order of their names, as the API server may do it in any.
    #[must_use]
    pub fn members(&self) -> Box<dyn Iterator<Item = (Value<'a>, Value<'a>)> + '_> {
        match self {
            Map::Made(members) => Box::new(members.iter().cloned()),
            Map::Node(node) => Box::new(
                node.members()
                    .into_iter()
                    .map(|(name, value)| (Value::String(Text::from(name)), value)),
            ),
            Map::Fields(fields) => Box::new(
                fields
                    .iter()
                    .map(|(name, value)| (Value::String(Text::Borrowed(name)), value.clone())),
            ),
            Map::Lookup(lookup) => Box::new(lookup.names().iter().filter_map(|name| {
                let value = lookup.member(name)?;
                Some((Value::String(Text::Borrowed(name)), value))
            })),
        }
    }
}

impl<'a> Value<'a> {
    /// A text that was made.
    #[must_use]
    pub fn text(text: impl Into<Rc<str>>) -> Value<'a> {
        Value::String(Text::Made(text.into()))
    }

    /// A list that was made.
    #[must_use]
    pub fn list(items: Vec<Value<'a>>) -> Value<'a> {
        Value::List(List::Made(Rc::new(items)))
    }

    /// A map that was made, of keys no two of which are equal.
    #[must_use]
    pub fn map(members: Vec<(Value<'a>, Value<'a>)>) -> Value<'a> {
        Value::Map(Map::Made(Rc::new(members)))
    }

    /// Something that is there, as an optional.
    #[must_use]
    pub fn some(self) -> Value<'a> {
        Value::Optional(Some(Rc::new(self)))
    }

    /// The name of its type, as CEL knows it at run time.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        match self {
            Value::Null => "null_type",
            Value::Bool(_) => "bool",
            Value::Int(_) => "int",
            Value::Uint(_) => "uint",
            Value::Double(_) => "double",
            Value::String(_) => "string",
            Value::Bytes(_) => "bytes",
            Value::List(_) => "list",
            Value::Map(_) => "map",
            Value::Duration(_) => "google.protobuf.Duration",
            Value::Timestamp(_) => "google.protobuf.Timestamp",
            Value::Type(_) => "type",
            Value::Optional(_) => "optional_type",
            Value::Url(_) => "kubernetes.URL",
            Value::Ip(_) => "net.IP",
            Value::Cidr(_) => "net.CIDR",
            Value::Quantity(_) => "kubernetes.Quantity",
            Value::Semver(_) => "kubernetes.Semver",
            Value::Format(_) => "kubernetes.NamedFormat",
        }
    }

    /// Whether it holds no others and is the same; numbers of different types are when they count the same.
    fn is_same_scalar(&self, other: &Value<'_>) -> bool {
        match (self, other) {
            (Value::Null, Value::Null) => true,
            (Value::Bool(one), Value::Bool(other)) => one == other,
            (Value::String(one), Value::String(other)) => **one == **other,
            (Value::Bytes(one), Value::Bytes(other)) => one == other,
            (Value::Duration(one), Value::Duration(other)) => one == other,
            (Value::Timestamp(one), Value::Timestamp(other)) => one == other,
            (Value::Type(one), Value::Type(other)) => one == other,
            (Value::Url(one), Value::Url(other)) => one == other,
            (Value::Ip(one), Value::Ip(other)) => one == other,
            (Value::Cidr(one), Value::Cidr(other)) => one == other,
            (Value::Quantity(one), Value::Quantity(other)) => one.cmp(other).is_eq(),
            (Value::Semver(one), Value::Semver(other)) => one.is_equal(other),
            (Value::Format(one), Value::Format(other)) => std::ptr::eq(*one, *other),
            _ => self.compare_numbers(other) == Some(Ordering::Equal),
        }
    }

    /// How two numbers of any types compare; none where one of them is no number or not a number.
    #[must_use]
    pub fn compare_numbers(&self, other: &Value<'_>) -> Option<Ordering> {
        match (self, other) {
            (Value::Int(one), Value::Int(other)) => Some(one.cmp(other)),
            (Value::Uint(one), Value::Uint(other)) => Some(one.cmp(other)),
            (Value::Double(one), Value::Double(other)) => one.partial_cmp(other),
            (Value::Int(one), Value::Uint(other)) => {
                Some(i128::from(*one).cmp(&i128::from(*other)))
            }
            (Value::Uint(one), Value::Int(other)) => {
                Some(i128::from(*one).cmp(&i128::from(*other)))
            }
            (Value::Double(one), Value::Int(other)) => double_to_int(*one, *other),
            (Value::Double(one), Value::Uint(other)) => double_to_uint(*one, *other),
            (Value::Int(one), Value::Double(other)) => {
                double_to_int(*other, *one).map(Ordering::reverse)
            }
            (Value::Uint(one), Value::Double(other)) => {
                double_to_uint(*other, *one).map(Ordering::reverse)
            }
            _ => None,
        }
    }

    /// An error where the API server has one: a value of a library is compared with its like or with null alone.
    pub fn check_comparable(&self, other: &Value<'_>) -> Result<(), Fail> {
        let is_of_library = matches!(
            self,
            Value::Url(_)
                | Value::Ip(_)
                | Value::Cidr(_)
                | Value::Quantity(_)
                | Value::Semver(_)
                | Value::Format(_)
        );
        let is_like = matches!(other, Value::Null) || self.type_name() == other.type_name();
        if is_of_library && !is_like {
            return Err(Fail::no_such_overload());
        }
        Ok(())
    }

    /// Whether they are equal: `==` of CEL, which is never an error. Spends as it goes.
    pub fn is_equal(&self, other: &Value<'_>, run: &mut Run<'_>) -> Result<bool, Fail> {
        run.spend(1)?;
        match (self, other) {
            (Value::List(one), Value::List(other)) => {
                if one.len() != other.len() {
                    return Ok(false);
                }
                for (one, other) in one.iter().zip(other.iter()) {
                    if !one.is_equal(&other, run)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            (Value::Map(one), Value::Map(other)) => {
                if one.len() != other.len() {
                    return Ok(false);
                }
                run.spend(as_steps(one.walk_steps()))?;
                for (key, value) in one.members() {
                    run.spend(as_steps(other.search_steps()))?;
                    match other.get(&key) {
                        Some(other) if value.is_equal(&other, run)? => {}
                        _ => return Ok(false),
                    }
                }
                Ok(true)
            }
            (Value::Optional(one), Value::Optional(other)) => match (one, other) {
                (Some(one), Some(other)) => one.is_equal(other, run),
                (None, None) => Ok(true),
                _ => Ok(false),
            },
            (Value::String(one), Value::String(other)) => {
                run.scan(one.len().min(other.len()))?;
                Ok(**one == **other)
            }
            (Value::Bytes(one), Value::Bytes(other)) => {
                run.scan(one.len().min(other.len()))?;
                Ok(one == other)
            }
            _ => Ok(self.is_same_scalar(other)),
        }
    }
}

impl Map<'_> {
    /// Steps of going through all members, beyond those that are taken with each.
    #[must_use]
    pub fn walk_steps(&self) -> usize {
        match self {
            // Each of them is looked up, and taken apart.
            Map::Lookup(_) => self.len().saturating_mul(LOOKUP_STEPS),
            _ => self.len(),
        }
    }

    /// Steps of finding one member.
    #[must_use]
    pub fn search_steps(&self) -> usize {
        match self {
            Map::Made(members) => members.len() / 4 + 1,
            Map::Node(_) | Map::Fields(_) => 1,
            Map::Lookup(_) => LOOKUP_STEPS,
        }
    }
}

/// How a float compares with a whole number: as floats, as cel-go does it.
#[allow(clippy::cast_precision_loss)]
fn double_to_int(double: f64, whole: i64) -> Option<Ordering> {
    double.partial_cmp(&(whole as f64))
}

/// The same for one without a sign.
#[allow(clippy::cast_precision_loss)]
fn double_to_uint(double: f64, whole: u64) -> Option<Ordering> {
    double.partial_cmp(&(whole as f64))
}
