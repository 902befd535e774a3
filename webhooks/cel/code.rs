//! What an expression becomes: a checked tree in which every name is a place and every function is known.

use super::library::Overload;
use super::parse::{Literal, Quantifier, Transform};

/// One step.
pub enum Code {
    /// A constant.
    Literal(Literal),
    /// A type, by its name.
    Type(&'static str),
    /// A variable of the environment, by its place among those that are used.
    Variable(usize),
    /// A variable of the policy: evaluated when it is first needed.
    Composed(Box<str>),
    /// Whether a variable of the policy can be evaluated: true, or its error.
    Evaluates(Box<Code>),
    /// A variable of a macro, counted from the outermost.
    Local(usize),
    /// `operand.field`; whether the result is an optional.
    Select(Box<Code>, Box<str>, bool),
    /// `has(operand.field)`.
    Has(Box<Code>, Box<str>),
    /// `operand[index]`; whether the result is an optional.
    Index(Box<Code>, Box<Code>, bool),
    /// `a && b && ...`
    And(Vec<Code>),
    /// `a || b || ...`
    Or(Vec<Code>),
    /// `!operand`
    Not(Box<Code>),
    /// `-operand`
    Negate(Box<Code>),
    /// `condition ? one : other`
    Conditional(Box<(Code, Code, Code)>),
    /// `==`, or `!=` where the flag is false.
    Equals(Box<(Code, Code)>, bool),
    /// `<` and the like.
    Compare(Comparison, Box<(Code, Code)>),
    /// `+` and the like.
    Arithmetic(Arithmetic, Box<(Code, Code)>),
    /// `item in container`
    In(Box<(Code, Code)>),
    /// `type(operand)`
    TypeOf(Box<Code>),
    /// A function of the library.
    Call(Call),
    /// `optional.or(other)`; or `orValue`, where the flag is set.
    OptionalOr(Box<(Code, Code)>, bool),
    /// `[items]`; whether each may be left out.
    List(Vec<(Code, bool)>),
    /// `{keys: values}`; whether each may be left out.
    Map(Vec<(Code, Code, bool)>),
    /// `range.all(..)` and the like.
    Quantifier(Quantifier, Box<Walk>),
    /// `range.map(..)` and the like.
    Transform(Transform, Box<Walk>),
    /// `target.optMap(..)`; whether the body gives an optional itself.
    OptionalMap(Box<(Code, Code)>, bool),
}

/// A call of a function.
pub struct Call {
    /// Its name in messages.
    pub name: &'static str,
    /// The overloads that may be meant, as far as that is known before values come.
    pub overloads: Vec<&'static Overload>,
    /// The arguments, what it is called on among them.
    pub arguments: Vec<Code>,
}

/// A walk over a list or map.
pub struct Walk {
    /// Over what.
    pub range: Code,
    /// Whether keys and items are looked at, and not items or keys alone.
    pub has_two: bool,
    /// Which items count.
    pub filter: Option<Code>,
    /// What is asked or made.
    pub body: Code,
}

/// How two values are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
}

impl Comparison {
    /// As CEL names the operator.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Comparison::Less => "_<_",
            Comparison::LessOrEqual => "_<=_",
            Comparison::Greater => "_>_",
            Comparison::GreaterOrEqual => "_>=_",
        }
    }
}

/// What is made of two values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arithmetic {
    /// `+`
    Add,
    /// `-`
    Subtract,
    /// `*`
    Multiply,
    /// `/`
    Divide,
    /// `%`
    Modulo,
}

impl Arithmetic {
    /// As CEL names the operator.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Arithmetic::Add => "_+_",
            Arithmetic::Subtract => "_-_",
            Arithmetic::Multiply => "_*_",
            Arithmetic::Divide => "_/_",
            Arithmetic::Modulo => "_%_",
        }
    }
}
