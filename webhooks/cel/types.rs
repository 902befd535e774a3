//! The types of expressions, as the checker knows them.

use std::fmt;
use std::sync::Arc;

/// Largest type of an expression, in parts.
const PARTS_MAX: usize = 100;

/// A type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Type {
    /// Anything: what comes from objects is not known before they come.
    Dyn,
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool,
    /// A whole number of 64 bits.
    Int,
    /// One without a sign.
    Uint,
    /// A floating-point number.
    Double,
    /// A text.
    String,
    /// Bytes.
    Bytes,
    /// A span of time.
    Duration,
    /// A moment.
    Timestamp,
    /// A list of such items.
    List(Arc<Type>),
    /// A map of such keys to such values.
    Map(Arc<(Type, Type)>),
    /// Something that may be absent.
    Optional(Arc<Type>),
    /// A type as a value.
    TypeOf(Arc<Type>),
    /// Whatever it is, it is the same at each place of one signature.
    Param(&'static str),
    /// Stands for what is not known yet.
    Var(usize),
    /// A type of a library, by its name in CEL.
    Opaque(&'static str),
    /// An object whose fields are declared.
    Object(Arc<ObjectType>),
    /// What is wrong already: fits everywhere, so that one mistake is said once.
    Wrong,
}

/// An object whose fields are declared: any other is a mistake that is found before anything runs.
#[derive(Debug, PartialEq, Eq)]
pub struct ObjectType {
    /// Its name in messages.
    pub name: String,
    /// Its fields.
    pub fields: Vec<(String, Type)>,
}

impl ObjectType {
    /// The type of a field.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&Type> {
        let mut fields = self.fields.iter();
        fields.find_map(|(field, field_type)| (field == name).then_some(field_type))
    }
}

impl Type {
    /// A list of it.
    #[must_use]
    pub fn list(item: Type) -> Type {
        Type::List(Arc::new(item))
    }

    /// A map.
    #[must_use]
    pub fn map(key: Type, value: Type) -> Type {
        Type::Map(Arc::new((key, value)))
    }

    /// It, or nothing.
    #[must_use]
    pub fn optional(inner: Type) -> Type {
        Type::Optional(Arc::new(inner))
    }

    /// The same, or `dyn` where it has too many parts.
    #[must_use]
    pub fn bounded(self) -> Type {
        fn count(of: &Type, left: &mut usize) {
            if *left == 0 {
                return;
            }
            *left -= 1;
            match of {
                Type::List(inner) | Type::Optional(inner) | Type::TypeOf(inner) => {
                    count(inner, left);
                }
                Type::Map(both) => {
                    count(&both.0, left);
                    count(&both.1, left);
                }
                _ => {}
            }
        }
        let mut left = PARTS_MAX;
        count(&self, &mut left);
        if left == 0 { Type::Dyn } else { self }
    }

    /// Its name where an expression gives it and something else is wanted.
    #[must_use]
    pub fn output_name(&self) -> String {
        match self {
            Type::Null => "null_type".to_owned(),
            other => other.to_string(),
        }
    }

    /// The type as a value.
    #[must_use]
    pub fn type_of(inner: Type) -> Type {
        Type::TypeOf(Arc::new(inner))
    }
}

impl fmt::Display for Type {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Type::Dyn => "dyn",
            Type::Null => "null",
            Type::Bool => "bool",
            Type::Int => "int",
            Type::Uint => "uint",
            Type::Double => "double",
            Type::String => "string",
            Type::Bytes => "bytes",
            Type::Duration => "duration",
            Type::Timestamp => "timestamp",
            Type::List(item) => return write!(formatter, "list({item})"),
            Type::Map(both) => return write!(formatter, "map({}, {})", both.0, both.1),
            Type::Optional(inner) => return write!(formatter, "optional_type({inner})"),
            Type::TypeOf(inner) => return write!(formatter, "type({inner})"),
            Type::Param(name) | Type::Opaque(name) => name,
            Type::Var(number) => return write!(formatter, "_var{number}"),
            Type::Object(object) => &object.name,
            Type::Wrong => "!error!",
        };
        formatter.write_str(name)
    }
}
