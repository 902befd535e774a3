//! From text to a tree: the `cel` crate parses; macros are expanded here, because each of them is one step of ours
//! and not a program in itself, and because Kubernetes knows more of them.

use super::program::{CompileError, position};
use cel::common::ast::{EntryExpr, Expr as Raw, IdedExpr, LiteralValue, SourceInfo};

/// A constant.
#[derive(Debug, Clone, PartialEq)]
pub enum Literal {
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
    String(Box<str>),
    /// Bytes.
    Bytes(Box<[u8]>),
}

/// A place of the tree.
#[derive(Debug, Clone)]
pub struct Expr {
    /// Where it starts in the text, in bytes.
    pub at: usize,
    /// What stands there.
    pub kind: Kind,
}

/// What stands there.
#[derive(Debug, Clone)]
pub enum Kind {
    /// A constant.
    Literal(Literal),
    /// A name.
    Ident(String),
    /// `operand.field`.
    Select(Box<Expr>, String),
    /// `operand.?field`.
    OptionalSelect(Box<Expr>, Box<Expr>),
    /// `has(operand.field)`.
    Has(Box<Expr>, String),
    /// `function(arguments)`, operators as well.
    Call(String, Vec<Expr>),
    /// `target.function(arguments)`.
    Member(String, Box<Expr>, Vec<Expr>),
    /// `[items]`; whether each may be left out.
    List(Vec<(Expr, bool)>),
    /// `{keys: values}`; whether each may be left out.
    Map(Vec<(Expr, Expr, bool)>),
    /// `Name{..}`.
    Message(String),
    /// `range.all(variable, body)` and the like.
    Quantifier(Quantifier, Box<Loop>),
    /// `range.map(variable, body)` and the like.
    Transform(Transform, Box<Loop>),
    /// `target.optMap(variable, body)`; whether the body gives an optional itself.
    OptionalMap(Box<Expr>, String, Box<Expr>, bool),
}

/// What is asked of the items.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quantifier {
    /// All of them.
    All,
    /// At least one.
    Exists,
    /// Exactly one.
    ExistsOne,
}

/// What is made of the items.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transform {
    /// A list.
    List,
    /// A map of the same keys.
    Map,
    /// A map of entries.
    MapEntry,
}

/// A walk over a list or map.
#[derive(Debug, Clone)]
pub struct Loop {
    /// Over what.
    pub range: Expr,
    /// Names of an item, or of its key and itself.
    pub variables: (String, Option<String>),
    /// Which items count.
    pub filter: Option<Expr>,
    /// What is asked or made.
    pub body: Expr,
}

/// Parses a text that [`super::guard::check`] has let pass.
///
/// # Errors
/// Everything that the parser and the macros find wrong.
pub fn parse(source: &str) -> Result<Expr, Vec<CompileError>> {
    let parser = cel::Env::default().parser().enable_optional_syntax(true);
    let (raw, info) = match parser.parse_with_source_info(source) {
        Ok(parsed) => parsed,
        Err(errors) => {
            let errors = errors.errors.into_iter().map(|error| {
                let at = |part: isize| usize::try_from(part).unwrap_or_default();
                let (line, column) = (at(error.pos.0).max(1), at(error.pos.1).max(1));
                let message = as_the_api_server(&error.msg);
                let shift = shift_of(source, line, column, &error.msg);
                CompileError {
                    line,
                    column: column.saturating_add_signed(shift),
                    message,
                }
            });
            let mut errors: Vec<CompileError> = errors.collect();
            // What is said of an incomplete node is said of the text already.
            if errors
                .iter()
                .any(|error| error.message.starts_with("Syntax error"))
            {
                errors.retain(|error| !error.message.starts_with("Incomplete `"));
            }
            return Err(errors);
        }
    };
    let mut builder = Builder {
        source,
        info: &info,
        errors: Vec::new(),
    };
    let expr = builder.build(raw);
    if builder.errors.is_empty() {
        Ok(expr)
    } else {
        Err(builder.errors)
    }
}

/// What the parser says, as the API server's own says it.
fn as_the_api_server(message: &str) -> String {
    if message.contains("literal: InvalidUnicode") {
        return "invalid unicode code point".to_owned();
    }
    if message.contains("literal: InvalidEscape") {
        return "unable to unescape string".to_owned();
    }
    let viable = message.strip_prefix("Syntax error: no viable alternative at input '.");
    if let Some(found @ ("true'" | "false'" | "null'")) = viable {
        return format!("Syntax error: mismatched input '{found} expecting IDENTIFIER");
    }
    // Behind a whole operand every operator would do: what is missing is what ends it.
    let Some((found, wanted)) = message.split_once(" expecting {") else {
        return message.to_owned();
    };
    if !wanted.contains("'=='") {
        return message.to_owned();
    }
    let ends = ["<EOF>", "':'", "')'", "']'", "'}'"];
    match ends.into_iter().find(|end| wanted.contains(end)) {
        Some(end) => format!("{found} expecting {end}"),
        None => message.to_owned(),
    }
}

/// How far from where the parser sees an error the API server sees it, in columns.
fn shift_of(source: &str, line: usize, column: usize, message: &str) -> isize {
    if message.starts_with("unsupported syntax") {
        return 1;
    }
    let before = column.checked_sub(2).and_then(|before| {
        let line = source.lines().nth(line - 1)?;
        line.chars().nth(before)
    });
    // The sign is part of the number.
    if message.starts_with("invalid int literal") && before == Some('-') {
        return -1;
    }
    0
}

struct Builder<'s> {
    source: &'s str,
    info: &'s SourceInfo,
    errors: Vec<CompileError>,
}

/// Stands where something is wrong.
const NULL: Kind = Kind::Literal(Literal::Null);

impl Builder<'_> {
    fn place(&self, id: u64) -> usize {
        let start = self.info.offset_for(id).map_or(0, |(start, _)| start);
        usize::try_from(start).unwrap_or_default()
    }

    fn wrong(&mut self, at: usize, message: impl Into<String>) -> Kind {
        let (line, column) = position(self.source, at);
        self.errors.push(CompileError {
            line,
            column,
            message: message.into(),
        });
        NULL
    }

    fn boxed(&mut self, raw: IdedExpr) -> Box<Expr> {
        Box::new(self.build(raw))
    }

    fn all(&mut self, raw: Vec<IdedExpr>) -> Vec<Expr> {
        raw.into_iter().map(|raw| self.build(raw)).collect()
    }

    /// Goes down with the text, whose depth is bounded.
    fn build(&mut self, raw: IdedExpr) -> Expr {
        let at = self.place(raw.id);
        let kind = match raw.expr {
            Raw::Literal(literal) => {
                let literal = constant(literal);
                let is_negative = match &literal {
                    Literal::Int(number) => *number < 0,
                    Literal::Double(number) => number.is_sign_negative(),
                    _ => false,
                };
                let before = at
                    .checked_sub(1)
                    .and_then(|before| self.source.as_bytes().get(before));
                // The sign is part of the number.
                let at = if is_negative && before == Some(&b'-') {
                    at - 1
                } else {
                    at
                };
                return Expr {
                    at,
                    kind: Kind::Literal(literal),
                };
            }
            Raw::Ident(name) => Kind::Ident(name),
            Raw::Select(select) if select.test => {
                Kind::Has(self.boxed(*select.operand), select.field)
            }
            Raw::Select(select) => Kind::Select(self.boxed(*select.operand), select.field),
            Raw::List(list) => {
                let optional = list.optional_indices;
                let items = list.elements.into_iter().enumerate();
                Kind::List(
                    items
                        .map(|(at, item)| (self.build(item), optional.contains(&at)))
                        .collect(),
                )
            }
            Raw::Map(map) => {
                let mut entries = Vec::with_capacity(map.entries.len());
                for entry in map.entries {
                    if let EntryExpr::MapEntry(entry) = entry.expr {
                        let key = self.build(entry.key);
                        entries.push((key, self.build(entry.value), entry.optional));
                    }
                }
                Kind::Map(entries)
            }
            Raw::Struct(message) => Kind::Message(message.type_name),
            Raw::Call(call) => match call.target {
                Some(target) => self.member(at, call.func_name, *target, call.args),
                None => self.call(at, call.func_name, call.args),
            },
            // The parser has no macros that make them.
            Raw::Comprehension(_) | Raw::Unspecified => {
                self.wrong(at, "the expression is not complete")
            }
        };
        Expr { at, kind }
    }

    fn call(&mut self, at: usize, name: String, arguments: Vec<IdedExpr>) -> Kind {
        if name == "has" && arguments.len() == 1 {
            let mut arguments = arguments.into_iter();
            return match arguments
                .next()
                .map(|argument| (argument.id, argument.expr))
            {
                Some((_, Raw::Select(select))) if !select.test => {
                    Kind::Has(self.boxed(*select.operand), select.field)
                }
                Some((id, _)) => {
                    let at = self.place(id);
                    self.wrong(at, "invalid argument to has() macro")
                }
                None => NULL,
            };
        }
        if name == "_?._" {
            let mut arguments = self.all(arguments).into_iter();
            return match (arguments.next(), arguments.next()) {
                (Some(operand), Some(field)) => {
                    Kind::OptionalSelect(Box::new(operand), Box::new(field))
                }
                _ => self.wrong(at, "unsupported optional field selection"),
            };
        }
        Kind::Call(name, self.all(arguments))
    }

    fn member(
        &mut self,
        at: usize,
        name: String,
        target: IdedExpr,
        arguments: Vec<IdedExpr>,
    ) -> Kind {
        let (many, one) = (arguments.len(), Variables::One);
        let two = Variables::Two;
        let quantifier = |quantifier| Shape::Quantifier(quantifier);
        let expectation = match name.as_str() {
            "map" | "filter" => "argument is not an identifier",
            _ => "argument must be a simple name",
        };
        let (shape, variables) = match (name.as_str(), many) {
            ("all", 2) => (quantifier(Quantifier::All), one),
            ("exists", 2) => (quantifier(Quantifier::Exists), one),
            ("exists_one", 2) => (quantifier(Quantifier::ExistsOne), one),
            ("all", 3) => (quantifier(Quantifier::All), two),
            ("exists", 3) => (quantifier(Quantifier::Exists), two),
            ("exists_one" | "existsOne", 3) => (quantifier(Quantifier::ExistsOne), two),
            ("map", 2 | 3) => (Shape::Transform(Transform::List), one),
            ("filter", 2) => (Shape::Filter, one),
            ("transformList", 3 | 4) => (Shape::Transform(Transform::List), two),
            ("transformMap", 3 | 4) => (Shape::Transform(Transform::Map), two),
            ("transformMapEntry", 3 | 4) => (Shape::Transform(Transform::MapEntry), two),
            ("optMap" | "optFlatMap", 2) => {
                return self.optional_map(name == "optFlatMap", target, arguments);
            }
            _ => {
                let target = self.boxed(target);
                return Kind::Member(name, target, self.all(arguments));
            }
        };
        let range = self.build(target);
        let mut arguments = arguments.into_iter();
        let Some(names) = self.variables(variables, expectation, &mut arguments) else {
            return NULL;
        };
        let mut rest = self.all(arguments.collect()).into_iter();
        let (first, second) = (rest.next(), rest.next());
        let (filter, body) = match (shape, first, second) {
            (Shape::Filter, Some(filter), _) => {
                let item = Expr {
                    at: filter.at,
                    kind: Kind::Ident(names.0.clone()),
                };
                (Some(filter), item)
            }
            (_, filter, Some(body)) => (filter, body),
            (_, Some(body), None) => (None, body),
            (_, None, None) => return self.wrong(at, "the expression is not complete"),
        };
        let walk = Box::new(Loop {
            range,
            variables: names,
            filter,
            body,
        });
        match shape {
            Shape::Quantifier(quantifier) => Kind::Quantifier(quantifier, walk),
            Shape::Transform(transform) => Kind::Transform(transform, walk),
            Shape::Filter => Kind::Transform(Transform::List, walk),
        }
    }

    /// The names that a macro binds.
    fn variables(
        &mut self,
        variables: Variables,
        expectation: &str,
        arguments: &mut impl Iterator<Item = IdedExpr>,
    ) -> Option<(String, Option<String>)> {
        let first = arguments.next()?;
        let first_at = self.place(first.id);
        let first = self.name(first, expectation);
        let (second, second_at) = match variables {
            Variables::One => (None, 0),
            Variables::Two => {
                let second = arguments.next()?;
                let at = self.place(second.id);
                (Some(self.name(second, expectation)?), at)
            }
        };
        let first = first?;
        if second.as_ref() == Some(&first) {
            self.wrong(second_at, format!("duplicate variable name: {first}"));
            return None;
        }
        let is_taken = |name: &str| name == "__result__";
        if is_taken(&first) || second.as_deref().is_some_and(is_taken) {
            let at = if is_taken(&first) {
                first_at
            } else {
                second_at
            };
            self.wrong(at, "iteration variable overwrites accumulator variable");
            return None;
        }
        Some((first, second))
    }

    fn name(&mut self, raw: IdedExpr, expectation: &str) -> Option<String> {
        let at = self.place(raw.id);
        match raw.expr {
            // A leading dot names what is declared outside.
            Raw::Ident(name) if !name.starts_with('.') => Some(name),
            _ => {
                self.wrong(at, expectation);
                None
            }
        }
    }

    fn optional_map(&mut self, is_flat: bool, target: IdedExpr, arguments: Vec<IdedExpr>) -> Kind {
        let target = self.boxed(target);
        let mut arguments = arguments.into_iter();
        let (Some(variable), Some(body)) = (arguments.next(), arguments.next()) else {
            return NULL;
        };
        let macro_name = if is_flat { "optFlatMap" } else { "optMap" };
        let expectation = format!("{macro_name}() variable name must be a simple identifier");
        let variable = self.name(variable, &expectation);
        let body = self.boxed(body);
        match variable {
            Some(variable) => Kind::OptionalMap(target, variable, body, is_flat),
            None => NULL,
        }
    }
}

#[derive(Clone, Copy)]
enum Variables {
    One,
    Two,
}

#[derive(Clone, Copy)]
enum Shape {
    Quantifier(Quantifier),
    Transform(Transform),
    Filter,
}

fn constant(literal: LiteralValue) -> Literal {
    match literal {
        LiteralValue::Null => Literal::Null,
        LiteralValue::Boolean(is) => Literal::Bool(*is.inner()),
        LiteralValue::Int(number) => Literal::Int(*number.inner()),
        LiteralValue::UInt(number) => Literal::Uint(*number.inner()),
        LiteralValue::Double(number) => Literal::Double(*number.inner()),
        LiteralValue::String(text) => Literal::String(text.inner().into()),
        LiteralValue::Bytes(bytes) => Literal::Bytes(bytes.inner().into()),
    }
}
