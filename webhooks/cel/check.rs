//! Finds what is wrong with an expression before it runs, in the words of the API server, and makes code of the rest.

use super::code::{Arithmetic, Call, Code, Comparison, Walk};
use super::functions::{format, regex};
use super::library::Library;
use super::parse::{Expr, Kind, Literal, Loop, Quantifier, Transform};
use super::program::{CompileError, Environment, position};
use super::run::{Fail, Run};
use super::types::Type;
use super::unify::{Known, most_general};
use super::value::Value;
use crate::contract::nearest;
use ::regex::Regex;
use std::sync::LazyLock;

/// What came of it.
pub struct Checked {
    /// The code.
    pub code: Code,
    /// The type of what it gives.
    pub result: Type,
    /// The variables of the environment that it uses, in the order of their places.
    pub roots: Vec<String>,
    /// What it reads of them, as far as it is written out: `object.spec.variant`.
    pub reads: Vec<String>,
    /// Regular expressions that stand in it.
    pub regexes: Vec<(Box<str>, Regex)>,
    /// What compiling them costs.
    pub regex_steps: u64,
}

/// How many errors of one expression are told.
const ERRORS_MAX: usize = 20;
/// What compiling the regular expressions of one expression may cost, in steps: they are kept, up to 8 MiB of them.
const REGEX_STEPS_MAX: u64 = 150_000;

/// Checks a tree.
///
/// # Errors
/// Everything that is wrong.
pub fn check(
    source: &str,
    expr: &Expr,
    environment: &Environment,
) -> Result<Checked, Vec<CompileError>> {
    let mut checker = Checker {
        source,
        environment,
        known: Known::default(),
        locals: Vec::new(),
        errors: Vec::new(),
        mixtures: Vec::new(),
        is_way: false,
        formats: 0,
        roots: Vec::new(),
        reads: Vec::new(),
        regexes: Vec::new(),
        regex_steps: 0,
        more_errors: 0,
        late: Vec::new(),
        formatted: Vec::new(),
        items: Vec::new(),
    };
    let (code, result) = checker.expr(expr);
    if checker.errors.is_empty() {
        for (at, message) in std::mem::take(&mut checker.late) {
            checker.wrong(at, message);
        }
        checker.check_formats();
        checker.check_mixtures();
    }
    if !checker.errors.is_empty() {
        let mut errors = checker.errors;
        errors.sort_by_key(|error| (error.line, error.column));
        if let (Some(last), true) = (errors.last_mut(), checker.more_errors > 0) {
            let more = format!("; and {} more", checker.more_errors);
            last.message.push_str(&more);
        }
        return Err(errors);
    }
    let mut reads = checker.reads;
    reads.sort();
    reads.dedup();
    Ok(Checked {
        code,
        result: checker.known.resolve(&result, true),
        roots: checker.roots,
        reads,
        regexes: checker.regexes,
        regex_steps: checker.regex_steps,
    })
}

/// The types that have names, as values: what `type(x)` may be compared with.
const TYPES: [(&str, Named); 17] = [
    ("bool", || Type::Bool),
    ("bytes", || Type::Bytes),
    ("double", || Type::Double),
    ("int", || Type::Int),
    ("list", || Type::list(Type::Dyn)),
    ("map", || Type::map(Type::Dyn, Type::Dyn)),
    ("null_type", || Type::Null),
    ("string", || Type::String),
    ("type", || Type::type_of(Type::Dyn)),
    ("uint", || Type::Uint),
    ("optional_type", || Type::optional(Type::Dyn)),
    ("google.protobuf.Duration", || Type::Duration),
    ("google.protobuf.Timestamp", || Type::Timestamp),
    ("kubernetes.URL", || Type::Opaque("kubernetes.URL")),
    ("kubernetes.NamedFormat", || {
        Type::Opaque("kubernetes.NamedFormat")
    }),
    ("net.IP", || Type::Opaque("net.IP")),
    ("net.CIDR", || Type::Opaque("net.CIDR")),
];

/// Places and types of what is in a list.
type Items = Vec<(usize, Type)>;

/// Makes the type that a name stands for.
type Named = fn() -> Type;

/// Types of what an operator takes, and of what it gives.
type Signature = (Vec<Type>, Type);

struct Operators {
    add: Vec<Signature>,
    subtract: Vec<Signature>,
    multiply: Vec<Signature>,
    divide: Vec<Signature>,
    modulo: Vec<Signature>,
    negate: Vec<Signature>,
    compare: Vec<Signature>,
    equals: Vec<Signature>,
    index: Vec<Signature>,
    optional_index: Vec<Signature>,
    contains: Vec<Signature>,
    not: Vec<Signature>,
    conditional: Vec<Signature>,
    type_of: Vec<Signature>,
    insert: Vec<Signature>,
    insert_all: Vec<Signature>,
}

static OPERATORS: LazyLock<Operators> = LazyLock::new(|| {
    use Type::{Bool, Bytes, Double, Duration, Int, String, Timestamp, Uint};
    let param = || Type::Param("A");
    let other = || Type::Param("B");
    let list = || Type::list(param());
    let map = || Type::map(param(), other());
    let same = |types: &[Type]| -> Vec<Signature> {
        let all = types.iter();
        all.map(|one| (vec![one.clone(), one.clone()], one.clone()))
            .collect()
    };
    let mut add = same(&[Bytes, Double, Duration]);
    add.push((vec![Duration, Timestamp], Timestamp));
    add.push((vec![Timestamp, Duration], Timestamp));
    add.extend(same(&[Int, list(), String, Uint]));
    let mut subtract = same(&[Double, Duration, Int]);
    subtract.push((vec![Timestamp, Duration], Timestamp));
    subtract.push((vec![Timestamp, Timestamp], Duration));
    subtract.extend(same(&[Uint]));
    let comparable = [
        (Bool, Bool),
        (Int, Int),
        (Int, Double),
        (Int, Uint),
        (Uint, Uint),
        (Uint, Double),
        (Uint, Int),
        (Double, Double),
        (Double, Int),
        (Double, Uint),
        (String, String),
        (Bytes, Bytes),
        (Timestamp, Timestamp),
        (Duration, Duration),
    ];
    let index = vec![
        (vec![list(), Int], param()),
        (vec![map(), param()], other()),
        (vec![Type::optional(list()), Int], Type::optional(param())),
        (
            vec![Type::optional(map()), param()],
            Type::optional(other()),
        ),
    ];
    let optional = |result: &Type| match result {
        Type::Optional(_) => result.clone(),
        other => Type::optional(other.clone()),
    };
    Operators {
        add,
        subtract,
        multiply: same(&[Double, Int, Uint]),
        divide: same(&[Double, Int, Uint]),
        modulo: same(&[Int, Uint]),
        negate: vec![(vec![Double], Double), (vec![Int], Int)],
        compare: comparable
            .into_iter()
            .map(|(one, other)| (vec![one, other], Bool))
            .collect(),
        equals: vec![(vec![param(), param()], Bool)],
        optional_index: index
            .iter()
            .map(|(arguments, result)| (arguments.clone(), optional(result)))
            .collect(),
        index,
        contains: vec![(vec![param(), list()], Bool), (vec![param(), map()], Bool)],
        not: vec![(vec![Bool], Bool)],
        conditional: vec![(vec![Bool, param(), param()], param())],
        type_of: vec![(vec![param()], Type::type_of(param()))],
        insert: vec![(
            vec![
                Type::map(Type::Param("K"), Type::Param("V")),
                Type::Param("K"),
                Type::Param("V"),
            ],
            Type::map(Type::Param("K"), Type::Param("V")),
        )],
        insert_all: vec![(
            vec![
                Type::map(Type::Param("K"), Type::Param("V")),
                Type::map(Type::Param("K"), Type::Param("V")),
            ],
            Type::map(Type::Param("K"), Type::Param("V")),
        )],
    }
});

struct Checker<'c> {
    source: &'c str,
    environment: &'c Environment,
    known: Known,
    /// Variables of the macros around, the outermost first.
    locals: Vec<(String, Type)>,
    errors: Vec<CompileError>,
    /// How many more there are.
    more_errors: usize,
    /// What must be of one type in the end: items of a list, keys of a map, values of a map.
    mixtures: Vec<(Vec<(usize, Type)>, bool)>,
    /// Whether what comes is on the way to what is read.
    is_way: bool,
    /// How many calls of `format` are around.
    formats: usize,
    roots: Vec<String>,
    reads: Vec<String>,
    regexes: Vec<(Box<str>, Regex)>,
    /// What compiling them costs, which tells how large they are.
    regex_steps: u64,
    /// What is wrong with constants: said where nothing else is wrong.
    late: Vec<(usize, String)>,
    /// Formats that stand in the text, their places, and what is formatted.
    formatted: Vec<(Box<str>, usize, Items)>,
    /// Of the list that was looked at last.
    items: Items,
}

impl Checker<'_> {
    fn wrong(&mut self, at: usize, message: impl Into<String>) {
        self.hinted(at, message, None);
    }

    fn hinted(&mut self, at: usize, message: impl Into<String>, hint: Option<String>) {
        // All at once, but no more than somebody reads.
        if self.errors.len() == ERRORS_MAX {
            self.more_errors += 1;
            return;
        }
        let (line, column) = position(self.source, at);
        let mut message = message.into();
        if let Some(hint) = hint {
            message.push_str(&hint);
        }
        self.errors.push(CompileError {
            line,
            column,
            message,
        });
    }

    /// Code that stands for what is wrong; it never runs.
    fn nothing() -> (Code, Type) {
        (Code::Literal(Literal::Null), Type::Wrong)
    }

    fn undeclared(&mut self, at: usize, name: &str, others: &[&str]) -> (Code, Type) {
        let message = format!("undeclared reference to '{name}' (in container '')");
        let hint = match self.environment.advice(name) {
            Some(advice) => Some(format!("; {advice}")),
            None => nearest(name, others.iter().copied())
                .map(|near| format!("; did you mean '{near}'?")),
        };
        self.hinted(at, message, hint);
        Self::nothing()
    }

    /// Goes down with the text, whose depth is bounded.
    fn expr(&mut self, expr: &Expr) -> (Code, Type) {
        // Of a path its end is read, not the way there.
        if !std::mem::replace(&mut self.is_way, false) {
            self.note_read(expr);
        }
        let (code, found) = self.kind(expr);
        (code, found.bounded())
    }

    /// What a path goes through.
    fn way(&mut self, operand: &Expr) -> (Code, Type) {
        self.is_way = true;
        self.expr(operand)
    }

    fn kind(&mut self, expr: &Expr) -> (Code, Type) {
        match &expr.kind {
            Kind::Literal(literal) => {
                let literal_type = match literal {
                    Literal::Null => Type::Null,
                    Literal::Bool(_) => Type::Bool,
                    Literal::Int(_) => Type::Int,
                    Literal::Uint(_) => Type::Uint,
                    Literal::Double(_) => Type::Double,
                    Literal::String(_) => Type::String,
                    Literal::Bytes(_) => Type::Bytes,
                };
                (Code::Literal(literal.clone()), literal_type)
            }
            Kind::Ident(name) => self.ident(expr.at, name),
            Kind::Select(operand, field) => self.select(expr, operand, field),
            Kind::OptionalSelect(operand, field) => {
                let Kind::Literal(Literal::String(name)) = &field.kind else {
                    self.wrong(field.at, "unsupported optional field selection");
                    return Self::nothing();
                };
                let (code, operand_type) = self.way(operand);
                let field_type = self.field(expr.at, &operand_type, name, true);
                (Code::Select(Box::new(code), name.clone(), true), field_type)
            }
            Kind::Has(operand, field) => {
                if self.is_composed(operand) {
                    let (code, _) = self.composed(expr.at, field);
                    return (Code::Evaluates(Box::new(code)), Type::Bool);
                }
                let (code, operand_type) = self.way(operand);
                self.field(expr.at, &operand_type, field, false);
                (Code::Has(Box::new(code), field.as_str().into()), Type::Bool)
            }
            Kind::Call(name, arguments) => self.call(expr, name, arguments),
            Kind::Member(name, target, arguments) => self.member(expr, name, target, arguments),
            Kind::List(items) => self.list(items),
            Kind::Map(entries) => self.map(entries),
            Kind::Message(name) => self.undeclared(expr.at, name, &[]),
            Kind::Quantifier(quantifier, walk) => self.quantifier(expr.at, *quantifier, walk),
            Kind::Transform(transform, walk) => self.transform(expr.at, *transform, walk),
            Kind::OptionalMap(target, variable, body, is_flat) => {
                self.optional_map(expr, target, variable, body, *is_flat)
            }
        }
    }

    fn ident(&mut self, at: usize, name: &str) -> (Code, Type) {
        let (is_outer, bare) = match name.strip_prefix('.') {
            Some(bare) => (true, bare),
            None => (false, name),
        };
        if !is_outer {
            let mut locals = self.locals.iter().enumerate().rev();
            if let Some((place, (_, local))) = locals.find(|(_, (local, _))| local == bare) {
                return (Code::Local(place), local.clone());
            }
        }
        if let Some(variable) = self.environment.variable(bare) {
            let variable = variable.clone();
            return (Code::Variable(self.root(bare)), variable);
        }
        if let Some(found) = named_type(bare) {
            return found;
        }
        if self.environment.composes(bare) {
            self.wrong(
                at,
                "`variables` cannot be used as a whole: name one of them, `variables.<name>`",
            );
            return Self::nothing();
        }
        let mut others: Vec<&str> = self
            .locals
            .iter()
            .map(|(local, _)| local.as_str())
            .collect();
        others.extend(self.environment.names());
        let others: Vec<String> = others.into_iter().map(ToOwned::to_owned).collect();
        let others: Vec<&str> = others.iter().map(String::as_str).collect();
        self.undeclared(at, name, &others)
    }

    fn root(&mut self, name: &str) -> usize {
        let found = self.roots.iter().position(|root| root == name);
        found.unwrap_or_else(|| {
            self.roots.push(name.to_owned());
            self.roots.len() - 1
        })
    }

    /// Notes a path that starts at a variable of the environment, as far as it is written out.
    fn note_read(&mut self, expr: &Expr) {
        let mut path = Vec::new();
        let mut here = expr;
        loop {
            here = match &here.kind {
                Kind::Select(operand, field) | Kind::Has(operand, field) => {
                    path.push(field.as_str());
                    operand
                }
                Kind::OptionalSelect(operand, field) => {
                    match &field.kind {
                        Kind::Literal(Literal::String(field)) => path.push(field),
                        _ => path.clear(),
                    }
                    operand
                }
                Kind::Call(name, arguments) if name == "_[_]" || name == "_[?_]" => {
                    let [operand, index] = arguments.as_slice() else {
                        return;
                    };
                    match &index.kind {
                        Kind::Literal(Literal::String(key)) => path.push(key),
                        _ => path.clear(),
                    }
                    operand
                }
                Kind::Ident(name) => {
                    let is_local = self.locals.iter().any(|(local, _)| local == name);
                    let is_root = self.environment.variable(name).is_some()
                        || self.environment.composes(name);
                    if !is_local && is_root {
                        path.push(name);
                        path.reverse();
                        self.reads.push(path.join("."));
                    }
                    return;
                }
                _ => return,
            };
        }
    }

    fn select(&mut self, expr: &Expr, operand: &Expr, field: &str) -> (Code, Type) {
        if let Some(name) = qualified(expr)
            && self.is_free(&name)
            && let Some(found) = named_type(&name)
        {
            return found;
        }
        if self.is_composed(operand) {
            return self.composed(expr.at, field);
        }
        let (code, operand_type) = self.way(operand);
        let field_type = self.field(expr.at, &operand_type, field, false);
        (
            Code::Select(Box::new(code), field.into(), false),
            field_type,
        )
    }

    /// Whether it is `variables`.
    fn is_composed(&self, operand: &Expr) -> bool {
        matches!(&operand.kind, Kind::Ident(root) if self.is_free(root) && self.environment.composes(root))
    }

    /// `variables.name`
    fn composed(&mut self, at: usize, name: &str) -> (Code, Type) {
        if let Some(variable) = self.environment.composed(name) {
            return (Code::Composed(name.into()), variable.result.clone());
        }
        let near = nearest(name, self.environment.composed_names());
        let hint = near.map(|near| format!("; did you mean '{near}'?"));
        self.hinted(at, format!("undefined field '{name}'"), hint);
        Self::nothing()
    }

    /// Whether the first part of a name is not one of a macro around.
    fn is_free(&self, name: &str) -> bool {
        let first = name.split('.').next().unwrap_or_default();
        self.locals.iter().all(|(local, _)| local != first)
    }

    /// The type of a field.
    fn field(&mut self, at: usize, operand: &Type, field: &str, is_optional: bool) -> Type {
        let operand = self.known.resolve(operand, false);
        let (target, was_optional) = match &operand {
            Type::Optional(inner) => ((**inner).clone(), true),
            other => (other.clone(), false),
        };
        let result = match &target {
            Type::Map(both) => both.1.clone(),
            Type::Object(object) => match object.field(field) {
                Some(found) => found.clone(),
                None => {
                    let names = object.fields.iter().map(|(name, _)| name.as_str());
                    let hint =
                        nearest(field, names).map(|near| format!("; did you mean '{near}'?"));
                    self.hinted(at, format!("undefined field '{field}'"), hint);
                    Type::Wrong
                }
            },
            Type::Var(_) => {
                self.known.fits(&Type::Dyn, &target);
                Type::Dyn
            }
            Type::Dyn | Type::Wrong => Type::Dyn,
            other => {
                let message = format!("type '{other}' does not support field selection");
                self.wrong(at, message);
                Type::Dyn
            }
        };
        if was_optional || is_optional {
            Type::optional(result)
        } else {
            result
        }
    }

    /// The type of what comes of it, by the signatures that fit; none, and an error, where none does.
    fn resolve(
        &mut self,
        at: usize,
        name: &str,
        is_member: bool,
        arguments: &[Type],
        signatures: &[Signature],
    ) -> Option<Type> {
        let mut result: Option<Type> = None;
        for (wanted, given) in signatures {
            if let Some(given) = self.instance(wanted, given, arguments) {
                result = Some(joined(result, given));
            }
        }
        if result.is_none() {
            self.no_overload(at, name, is_member, arguments);
        }
        result
    }

    /// What one signature gives for the arguments; none where they do not fit it.
    fn instance(&mut self, wanted: &[Type], given: &Type, arguments: &[Type]) -> Option<Type> {
        if wanted.len() != arguments.len() {
            return None;
        }
        let mut named: Vec<(&'static str, Type)> = Vec::new();
        let wanted: Vec<Type> = wanted
            .iter()
            .map(|wanted| instantiate(wanted, &mut named, &mut self.known))
            .collect();
        let given = instantiate(given, &mut named, &mut self.known);
        let both = arguments.iter().zip(&wanted);
        self.known
            .fit_all(both)
            .then(|| self.known.resolve(&given, false))
    }

    fn no_overload(&mut self, at: usize, name: &str, is_member: bool, arguments: &[Type]) {
        if arguments.contains(&Type::Wrong) {
            return;
        }
        let arguments = arguments.iter();
        let mut shown: Vec<String> = arguments
            .map(|one| self.known.resolve(one, true).to_string())
            .collect();
        let target = if is_member && !shown.is_empty() {
            format!("{}.", shown.remove(0))
        } else {
            String::new()
        };
        let message = format!(
            "found no matching overload for '{name}' applied to '{target}({})'",
            shown.join(", ")
        );
        self.wrong(at, message);
    }

    fn all(&mut self, exprs: &[Expr]) -> (Vec<Code>, Vec<Type>) {
        exprs.iter().map(|expr| self.expr(expr)).unzip()
    }

    fn call(&mut self, expr: &Expr, name: &str, arguments: &[Expr]) -> (Code, Type) {
        if name == "_&&_" || name == "_||_" {
            let mut terms = Vec::new();
            self.terms(name, arguments, &mut terms);
            let code = if name == "_&&_" {
                Code::And(terms)
            } else {
                Code::Or(terms)
            };
            return (code, Type::Bool);
        }
        self.is_way = name == "_[_]" || name == "_[?_]";
        let (codes, types) = self.all(arguments);
        let mut codes = codes.into_iter();
        let at = expr.at;
        let operators = &*OPERATORS;
        let arithmetic = |operator: Arithmetic| match operator {
            Arithmetic::Add => &operators.add,
            Arithmetic::Subtract => &operators.subtract,
            Arithmetic::Multiply => &operators.multiply,
            Arithmetic::Divide => &operators.divide,
            Arithmetic::Modulo => &operators.modulo,
        };
        let Some(operator) = Operator::named(name) else {
            return self.function(at, name, false, codes.collect(), &types, arguments);
        };
        let signatures = match operator {
            Operator::Arithmetic(operator) => arithmetic(operator),
            Operator::Compare(_) => &operators.compare,
            Operator::Equals(_) => &operators.equals,
            Operator::Index(false) => &operators.index,
            Operator::Index(true) => &operators.optional_index,
            Operator::In => &operators.contains,
            Operator::Not => &operators.not,
            Operator::Negate => &operators.negate,
            Operator::Conditional => &operators.conditional,
            Operator::TypeOf => &operators.type_of,
        };
        let Some(result) = self.resolve(at, name, false, &types, signatures) else {
            return Self::nothing();
        };
        if let (Operator::Index(_), [_, index]) = (&operator, arguments) {
            let go_type = match &index.kind {
                Kind::Literal(Literal::Null) => "types.Null",
                Kind::List(items) if items.iter().all(|(item, _)| is_literal(item)) => {
                    "*types.baseList"
                }
                _ => "",
            };
            if !go_type.is_empty() {
                let message =
                    format!("program instantiation failed: invalid qualifier type: {go_type}");
                self.wrong(index.at, message);
            }
        }
        let (Some(first), second, third) = (codes.next(), codes.next(), codes.next()) else {
            return Self::nothing();
        };
        let code = match (operator, second, third) {
            (Operator::Not, ..) => Code::Not(Box::new(first)),
            (Operator::Negate, ..) => Code::Negate(Box::new(first)),
            (Operator::TypeOf, ..) => Code::TypeOf(Box::new(first)),
            (Operator::Conditional, Some(second), Some(third)) => {
                Code::Conditional(Box::new((first, second, third)))
            }
            (Operator::Arithmetic(operator), Some(second), _) => {
                Code::Arithmetic(operator, Box::new((first, second)))
            }
            (Operator::Compare(comparison), Some(second), _) => {
                Code::Compare(comparison, Box::new((first, second)))
            }
            (Operator::Equals(is), Some(second), _) => Code::Equals(Box::new((first, second)), is),
            (Operator::Index(is_optional), Some(second), _) => {
                Code::Index(Box::new(first), Box::new(second), is_optional)
            }
            (Operator::In, Some(second), _) => Code::In(Box::new((first, second))),
            _ => return Self::nothing(),
        };
        (code, result)
    }

    /// All terms of `a && (b && c)`, as one list.
    fn terms(&mut self, name: &str, arguments: &[Expr], terms: &mut Vec<Code>) {
        for argument in arguments {
            if let Kind::Call(inner, arguments) = &argument.kind
                && inner == name
            {
                self.terms(name, arguments, terms);
                continue;
            }
            let (code, found) = self.expr(argument);
            if !self.known.fits(&found, &Type::Bool) {
                let found = self.known.resolve(&found, true);
                let message = format!("expected type 'bool' but found '{found}'");
                self.wrong(argument.at, message);
            }
            terms.push(code);
        }
    }

    fn member(
        &mut self,
        expr: &Expr,
        name: &str,
        target: &Expr,
        arguments: &[Expr],
    ) -> (Code, Type) {
        // `sets.contains(..)` is a function with a dot in its name.
        if let Some(prefix) = qualified(target)
            && self.is_free(&prefix)
        {
            let full = format!("{prefix}.{name}");
            if Library::kubernetes().overloads(&full).is_some() {
                let (codes, types) = self.all(arguments);
                return self.function(expr.at, &full, false, codes, &types, arguments);
            }
        }
        let is_format = name == "format";
        self.formats += usize::from(is_format);
        // What is not declared is said first of the arguments, as the API server does it.
        let (mut codes, mut types) = self.all(arguments);
        let (code, target_type) = self.expr(target);
        self.formats -= usize::from(is_format);
        if let (true, Kind::Literal(Literal::String(text)), [argument]) =
            (is_format, &target.kind, arguments)
            && matches!(argument.kind, Kind::List(_))
        {
            let items = std::mem::take(&mut self.items);
            self.formatted.push((text.clone(), expr.at, items));
        }
        codes.insert(0, code);
        types.insert(0, target_type);
        if name == "or" || name == "orValue" {
            let is_value = name == "orValue";
            let param = Type::Param("V");
            let optional = Type::optional(param.clone());
            let signature = if is_value {
                (vec![optional, param.clone()], param)
            } else {
                (vec![optional.clone(), optional.clone()], optional)
            };
            let Some(result) = self.resolve(expr.at, name, true, &types, &[signature]) else {
                return Self::nothing();
            };
            let mut codes = codes.into_iter();
            return match (codes.next(), codes.next()) {
                (Some(first), Some(other)) => {
                    (Code::OptionalOr(Box::new((first, other)), is_value), result)
                }
                _ => Self::nothing(),
            };
        }
        self.function(expr.at, name, true, codes, &types, arguments)
    }

    /// A function of the library. `exprs` are the arguments as they stand behind its name.
    fn function(
        &mut self,
        at: usize,
        name: &str,
        is_member: bool,
        codes: Vec<Code>,
        types: &[Type],
        exprs: &[Expr],
    ) -> (Code, Type) {
        let library = Library::kubernetes();
        let Some((name, overloads)) = library.find(name) else {
            let names: Vec<&str> = library.names().chain(MACROS).collect();
            return self.undeclared(at, name, &names);
        };
        let mut result: Option<Type> = None;
        let mut chosen = Vec::new();
        for overload in overloads {
            if overload.is_member != is_member {
                continue;
            }
            if let Some(given) = self.instance(&overload.arguments, &overload.result, types) {
                result = Some(joined(result, given));
                chosen.push(overload);
            }
        }
        let Some(result) = result else {
            self.no_overload(at, name, is_member, types);
            return Self::nothing();
        };
        if matches!(name, "matches" | "find" | "findAll") {
            self.know_regex(name, exprs, is_member);
        }
        let call = Call {
            name,
            overloads: chosen,
            arguments: codes,
        };
        let code = Code::Call(call);
        if let Some(first) = exprs.first()
            && let Some(Err(fail)) = constant(&code)
        {
            let message = match name {
                "duration" | "timestamp" => format!("invalid {name} argument"),
                _ => format!("program instantiation failed: {fail}"),
            };
            self.late.push((first.at, message));
        }
        (code, result)
    }

    /// Compiles a regular expression that stands in the text.
    fn know_regex(&mut self, name: &str, exprs: &[Expr], is_member: bool) {
        let Some(pattern) = exprs.get(usize::from(!is_member)) else {
            return;
        };
        let Kind::Literal(Literal::String(text)) = &pattern.kind else {
            return;
        };
        // Of too many the first that is too much is told.
        if self.regex_steps > REGEX_STEPS_MAX || self.regexes.iter().any(|(known, _)| known == text)
        {
            return;
        }
        self.regex_steps = self.regex_steps.saturating_add(regex::compile_steps(text));
        if self.regex_steps > REGEX_STEPS_MAX {
            self.wrong(
                pattern.at,
                "the regular expressions up to here are too large together: they are kept compiled",
            );
            return;
        }
        match regex::compile(text) {
            Ok(regex) => self.regexes.push((text.clone(), regex)),
            Err(_) if name == "matches" => {
                self.late
                    .push((pattern.at, "invalid matches argument".to_owned()));
            }
            Err(error) => {
                let message = format!("program instantiation failed: {error}");
                self.late.push((pattern.at, message));
            }
        }
    }

    /// What stands in a format, against the types of what is formatted.
    fn check_formats(&mut self) {
        for (text, at, items) in std::mem::take(&mut self.formatted) {
            let mut place = at;
            let known = &self.known;
            let taken = format::parts(&text, items.len(), |part| match part {
                format::Part::Clause(clause, argument) => match items.get(argument) {
                    Some((at, item)) => {
                        clause.check(&known.resolve(item, true)).inspect_err(|_| {
                            place = *at;
                        })
                    }
                    None => Ok(()),
                },
                format::Part::Text(_) => Ok(()),
            });
            match taken {
                Ok(taken) if taken < items.len() => {
                    let message = format!(
                        "too many arguments supplied to string.format (expected {taken}, got {})",
                        items.len()
                    );
                    self.wrong(at, message);
                }
                Ok(_) => {}
                Err(fail) => self.wrong(place, fail.to_string()),
            }
        }
    }

    /// Lists and maps that stand in the text hold values of one type.
    fn check_mixtures(&mut self) {
        for (types, is_list) in std::mem::take(&mut self.mixtures) {
            let mut types = types.into_iter();
            let Some((_, first)) = types.next() else {
                continue;
            };
            let first = self.known.resolve(&first, true);
            for (at, other) in types {
                let other = self.known.resolve(&other, true);
                if other != first {
                    self.wrong(at, format!("expected type '{first}' but found '{other}'"));
                    if is_list {
                        break;
                    }
                }
            }
        }
    }

    /// Notes what must be of one type. What is formatted may be of any.
    fn unmixed(&mut self, types: Vec<(usize, Type)>, is_list: bool) {
        if self.formats == 0 {
            self.mixtures.push((types, is_list));
        }
    }

    /// The type of what holds both. Whether they may be mixed is asked later.
    fn join(&mut self, previous: Option<Type>, current: Type) -> Type {
        let Some(previous) = previous else {
            return current;
        };
        if self.known.fits(&previous, &current) {
            return most_general(&previous, &current).clone();
        }
        Type::Dyn
    }

    /// The type within, where the value may be left out.
    fn unwrapped(&mut self, at: usize, found: Type, is_optional: bool) -> Type {
        if !is_optional {
            return found;
        }
        match self.known.resolve(&found, false) {
            Type::Optional(inner) => (*inner).clone(),
            Type::Dyn => Type::Dyn,
            other => {
                let wanted = Type::optional(other.clone());
                self.wrong(at, format!("expected type '{wanted}' but found '{other}'"));
                other
            }
        }
    }

    fn list(&mut self, items: &[(Expr, bool)]) -> (Code, Type) {
        let mut codes = Vec::with_capacity(items.len());
        let mut types = Vec::with_capacity(items.len());
        let mut all = None;
        for (item, is_optional) in items {
            let (code, found) = self.expr(item);
            let found = self.unwrapped(item.at, found, *is_optional);
            types.push((item.at, found.clone()));
            all = Some(self.join(all, found));
            codes.push((code, *is_optional));
        }
        self.items.clone_from(&types);
        self.unmixed(types, true);
        let all = all.unwrap_or_else(|| self.known.fresh());
        (Code::List(codes), Type::list(all))
    }

    fn map(&mut self, entries: &[(Expr, Expr, bool)]) -> (Code, Type) {
        let mut codes = Vec::with_capacity(entries.len());
        let (mut keys, mut values) = (Vec::new(), Vec::new());
        let (mut all_keys, mut all_values) = (None, None);
        for (key, value, is_optional) in entries {
            let (key_code, key_type) = self.expr(key);
            keys.push((key.at, key_type.clone()));
            all_keys = Some(self.join(all_keys, key_type));
            let (code, found) = self.expr(value);
            let found = self.unwrapped(value.at, found, *is_optional);
            values.push((value.at, found.clone()));
            all_values = Some(self.join(all_values, found));
            codes.push((key_code, code, *is_optional));
        }
        self.unmixed(keys, false);
        self.unmixed(values, false);
        let all_keys = all_keys.unwrap_or_else(|| self.known.fresh());
        let all_values = all_values.unwrap_or_else(|| self.known.fresh());
        (Code::Map(codes), Type::map(all_keys, all_values))
    }

    /// Checks what is walked over, and binds the variables; [`Self::leave`] unbinds them.
    fn enter(&mut self, walk: &Loop) -> Code {
        let (range, range_type) = self.expr(&walk.range);
        let has_two = walk.variables.1.is_some();
        let (first, second) = match self.known.resolve(&range_type, false) {
            Type::List(item) if has_two => (Type::Int, (*item).clone()),
            Type::List(item) => ((*item).clone(), Type::Dyn),
            Type::Map(both) => both.as_ref().clone(),
            Type::Dyn | Type::Wrong => (Type::Dyn, Type::Dyn),
            var @ Type::Var(_) => {
                self.known.fits(&Type::Dyn, &var);
                (Type::Dyn, Type::Dyn)
            }
            other => {
                let message = format!(
                    "expression of type '{other}' cannot be range of a comprehension (must be list, map, or dynamic)"
                );
                self.wrong(walk.range.at, message);
                (Type::Wrong, Type::Wrong)
            }
        };
        self.locals.push((walk.variables.0.clone(), first));
        if let Some(name) = &walk.variables.1 {
            self.locals.push((name.clone(), second));
        }
        range
    }

    fn leave(&mut self, walk: &Loop) {
        self.locals.pop();
        if walk.variables.1.is_some() {
            self.locals.pop();
        }
    }

    fn quantifier(&mut self, at: usize, quantifier: Quantifier, walk: &Loop) -> (Code, Type) {
        let range = self.enter(walk);
        let (body, found) = self.expr(&walk.body);
        if !self.known.fits(&found, &Type::Bool) {
            let found = self.known.resolve(&found, true);
            if quantifier == Quantifier::ExistsOne {
                let arguments = [found, Type::Int, Type::Int];
                self.no_overload(at, "_?_:_", false, &arguments);
            } else {
                self.wrong(
                    walk.body.at,
                    format!("expected type 'bool' but found '{found}'"),
                );
            }
        }
        self.leave(walk);
        let walk = Walk {
            range,
            has_two: walk.variables.1.is_some(),
            filter: None,
            body,
        };
        (Code::Quantifier(quantifier, Box::new(walk)), Type::Bool)
    }

    fn transform(&mut self, at: usize, transform: Transform, walk: &Loop) -> (Code, Type) {
        let range = self.enter(walk);
        let key_type = self.locals.get(self.locals.len().saturating_sub(2));
        let key_type = key_type.map_or(Type::Dyn, |(_, key_type)| key_type.clone());
        let filter = walk.filter.as_ref().map(|filter| {
            let (code, found) = self.expr(filter);
            if !self.known.fits(&found, &Type::Bool) {
                let found = self.known.resolve(&found, true);
                let list = Type::list(Type::Dyn);
                self.no_overload(at, "_?_:_", false, &[found, list.clone(), list]);
            }
            code
        });
        let (body, found) = self.expr(&walk.body);
        let result = match transform {
            Transform::List => Type::list(found),
            Transform::Map => {
                let empty = Type::map(self.known.fresh(), self.known.fresh());
                let arguments = [empty, key_type, found];
                let insert = &OPERATORS.insert;
                self.resolve(at, "cel.@mapInsert", false, &arguments, insert)
                    .unwrap_or(Type::Wrong)
            }
            Transform::MapEntry => {
                let empty = Type::map(self.known.fresh(), self.known.fresh());
                let insert = &OPERATORS.insert_all;
                self.resolve(at, "cel.@mapInsert", false, &[empty, found], insert)
                    .unwrap_or(Type::Wrong)
            }
        };
        self.leave(walk);
        let walk = Walk {
            range,
            has_two: walk.variables.1.is_some(),
            filter,
            body,
        };
        (Code::Transform(transform, Box::new(walk)), result)
    }

    fn optional_map(
        &mut self,
        expr: &Expr,
        target: &Expr,
        variable: &str,
        body: &Expr,
        is_flat: bool,
    ) -> (Code, Type) {
        let (target, target_type) = self.expr(target);
        let param = Type::Param("V");
        let signature = (vec![Type::optional(param.clone())], param);
        let Some(inner) = self.resolve(expr.at, "hasValue", true, &[target_type], &[signature])
        else {
            return Self::nothing();
        };
        self.locals.push((variable.to_owned(), inner));
        let (body_code, found) = self.expr(body);
        self.locals.pop();
        let found = if is_flat {
            let wanted = Type::optional(self.known.fresh());
            if !self.known.fits(&found, &wanted) {
                let found = self.known.resolve(&found, true);
                let none = Type::optional(Type::Dyn);
                self.no_overload(expr.at, "_?_:_", false, &[Type::Bool, found, none]);
            }
            self.known.resolve(&found, false)
        } else {
            Type::optional(found)
        };
        let code = Code::OptionalMap(Box::new((target, body_code)), is_flat);
        (code, found)
    }
}

/// Functions that the API server runs on constants before an expression runs.
const CONVERSIONS: [&str; 8] = [
    "bool",
    "bytes",
    "double",
    "duration",
    "int",
    "string",
    "timestamp",
    "uint",
];

/// Macros, for those who misspell them.
const MACROS: [&str; 13] = [
    "has",
    "all",
    "exists",
    "exists_one",
    "existsOne",
    "map",
    "filter",
    "transformList",
    "transformMap",
    "transformMapEntry",
    "optMap",
    "optFlatMap",
    "type",
];

enum Operator {
    Arithmetic(Arithmetic),
    Compare(Comparison),
    Equals(bool),
    Index(bool),
    In,
    Not,
    Negate,
    Conditional,
    TypeOf,
}

impl Operator {
    fn named(name: &str) -> Option<Operator> {
        Some(match name {
            "_+_" => Operator::Arithmetic(Arithmetic::Add),
            "_-_" => Operator::Arithmetic(Arithmetic::Subtract),
            "_*_" => Operator::Arithmetic(Arithmetic::Multiply),
            "_/_" => Operator::Arithmetic(Arithmetic::Divide),
            "_%_" => Operator::Arithmetic(Arithmetic::Modulo),
            "_<_" => Operator::Compare(Comparison::Less),
            "_<=_" => Operator::Compare(Comparison::LessOrEqual),
            "_>_" => Operator::Compare(Comparison::Greater),
            "_>=_" => Operator::Compare(Comparison::GreaterOrEqual),
            "_==_" => Operator::Equals(true),
            "_!=_" => Operator::Equals(false),
            "_[_]" => Operator::Index(false),
            "_[?_]" => Operator::Index(true),
            "@in" => Operator::In,
            "!_" => Operator::Not,
            "-_" => Operator::Negate,
            "_?_:_" => Operator::Conditional,
            "type" => Operator::TypeOf,
            _ => return None,
        })
    }
}

/// What a conversion of constants gives: the API server knows it before anything runs. Of conversions within each other
/// the one that fails says so.
fn constant(code: &Code) -> Option<Result<Value<'_>, Fail>> {
    match code {
        Code::Literal(literal) => Some(Ok(Value::from(literal))),
        Code::Call(call) if CONVERSIONS.contains(&call.name) => match call.arguments.as_slice() {
            [argument] => match constant(argument)? {
                Ok(value) => Some(super::eval::dispatch(
                    call,
                    &[value],
                    &mut Run::new(None, &[]),
                )),
                Err(_) => None,
            },
            _ => None,
        },
        _ => None,
    }
}

fn is_literal(expr: &Expr) -> bool {
    matches!(expr.kind, Kind::Literal(_))
}

/// `a.b.c`, where it is such a name.
fn qualified(expr: &Expr) -> Option<String> {
    match &expr.kind {
        Kind::Ident(name) => Some(name.trim_start_matches('.').to_owned()),
        Kind::Select(operand, field) => Some(format!("{}.{field}", qualified(operand)?)),
        _ => None,
    }
}

fn named_type(name: &str) -> Option<(Code, Type)> {
    let (name, named) = TYPES.iter().find(|(own, _)| *own == name)?;
    Some((Code::Type(name), Type::type_of(named())))
}

/// The type with fresh unknowns for its parameters.
fn instantiate(of: &Type, named: &mut Vec<(&'static str, Type)>, known: &mut Known) -> Type {
    match of {
        Type::Param(name) => match named.iter().find(|(own, _)| own == name) {
            Some((_, var)) => var.clone(),
            None => {
                let var = known.fresh();
                named.push((name, var.clone()));
                var
            }
        },
        Type::List(inner) => Type::list(instantiate(inner, named, known)),
        Type::Optional(inner) => Type::optional(instantiate(inner, named, known)),
        Type::TypeOf(inner) => Type::type_of(instantiate(inner, named, known)),
        Type::Map(both) => {
            let key = instantiate(&both.0, named, known);
            Type::map(key, instantiate(&both.1, named, known))
        }
        other => other.clone(),
    }
}

/// The type of what several overloads may give.
fn joined(previous: Option<Type>, given: Type) -> Type {
    match previous {
        None => given,
        Some(previous) if previous == given => previous,
        Some(_) => Type::Dyn,
    }
}
