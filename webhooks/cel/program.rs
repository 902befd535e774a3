//! Expressions that are ready to run, and what they run on.

use super::code::Code;
use super::parse::Literal;
use super::run::{Fail, Run};
use super::types::{ObjectType, Type};
use super::value::Value;
use super::{check, cost, guard, parse};
use regex::Regex;
use std::cell::OnceCell;
use std::fmt;
use std::sync::Arc;

/// How deep an expression may go in all, with the variables that it uses: evaluation goes down with it, on a stack of
/// two MiB.
const HEIGHT_MAX: usize = 150;

/// Stack of a compilation. Only what is used of it is ever there.
const STACK_BYTES: usize = 64 << 20;

/// What is wrong with an expression, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompileError {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is wrong, in the API server's words, and what may have been meant.
    pub message: String,
}

impl fmt::Display for CompileError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let CompileError {
            line,
            column,
            message,
        } = self;
        write!(formatter, "line {line}, column {column}: {message}")
    }
}

/// Line and column of a place, from 1.
#[must_use]
pub fn position(source: &str, at: usize) -> (usize, usize) {
    let before = source
        .as_bytes()
        .get(..at.min(source.len()))
        .unwrap_or_default();
    let line = before.split(|byte| *byte == b'\n').count();
    let start = before
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |end| end + 1);
    let in_line = before.get(start..).unwrap_or_default();
    // Bytes that go on with a character are none of their own.
    let column = in_line.iter().filter(|byte| **byte & 0xc0 != 0x80).count() + 1;
    (line, column)
}

/// What is known of one of `variables`.
#[derive(Debug, Clone)]
pub(super) struct Known {
    name: String,
    pub(super) result: Type,
    height: usize,
}

/// Which variables an expression may use.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    variables: Vec<(String, Type)>,
    composed: Option<Vec<Known>>,
    advice: Vec<(String, String)>,
}

impl Environment {
    /// Of no variables.
    #[must_use]
    pub fn new() -> Environment {
        Environment::default()
    }

    /// Those of an admission policy of Kubernetes: `object`, `oldObject`, `request`, `params`.
    #[must_use]
    pub fn admission() -> Environment {
        Environment::new()
            .with("object", Type::Dyn)
            .with("oldObject", Type::Dyn)
            .with("request", request_type())
            .with("params", Type::Dyn)
    }

    /// With one more.
    #[must_use]
    pub fn with(mut self, name: &str, variable_type: Type) -> Environment {
        self.variables.push((name.to_owned(), variable_type));
        self
    }

    /// With `variables`, none of them yet.
    #[must_use]
    pub fn with_composed(mut self) -> Environment {
        self.composed.get_or_insert_default();
        self
    }

    /// With one more of `variables`; where it does not compile, nothing is known of it.
    pub fn compose(&mut self, name: &str, program: Option<&Program>) {
        let composed = self.composed.get_or_insert_default();
        composed.push(Known {
            name: name.to_owned(),
            result: program.map_or(Type::Dyn, |program| program.result.clone()),
            height: program.map_or(0, |program| program.height),
        });
    }

    /// What to say to those who use a name that is not there.
    #[must_use]
    pub fn advising(mut self, name: &str, advice: &str) -> Environment {
        self.advice.push((name.to_owned(), advice.to_owned()));
        self
    }

    pub(super) fn variable(&self, name: &str) -> Option<&Type> {
        typed(&self.variables, name)
    }

    pub(super) fn composes(&self, name: &str) -> bool {
        name == "variables" && self.composed.is_some()
    }

    /// One of `variables`; of two with one name the last.
    pub(super) fn composed(&self, name: &str) -> Option<&Known> {
        let mut composed = self.composed.iter().flatten().rev();
        composed.find(|known| known.name == name)
    }

    pub(super) fn composed_names(&self) -> impl Iterator<Item = &str> {
        let composed = self.composed.iter().flatten();
        composed.map(|known| known.name.as_str())
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        let variables = self.composed.iter().map(|_| "variables");
        let names = self.variables.iter().map(|(name, _)| name.as_str());
        names.chain(variables)
    }

    pub(super) fn advice(&self, name: &str) -> Option<&str> {
        let mut advice = self.advice.iter();
        advice.find_map(|(own, advice)| (own == name).then_some(advice.as_str()))
    }
}

fn typed<'t>(all: &'t [(String, Type)], name: &str) -> Option<&'t Type> {
    let mut all = all.iter();
    all.find_map(|(own, found)| (own == name).then_some(found))
}

/// The type of `request`, as admission policies of Kubernetes know it.
#[must_use]
pub fn request_type() -> Type {
    let object = |name: &str, fields: Vec<(&str, Type)>| {
        Type::Object(Arc::new(ObjectType {
            name: format!("kubernetes.{name}"),
            fields: fields
                .into_iter()
                .map(|(name, field)| (name.to_owned(), field))
                .collect(),
        }))
    };
    let kind = object(
        "GroupVersionKind",
        vec![
            ("group", Type::String),
            ("version", Type::String),
            ("kind", Type::String),
        ],
    );
    let resource = object(
        "GroupVersionResource",
        vec![
            ("group", Type::String),
            ("version", Type::String),
            ("resource", Type::String),
        ],
    );
    let strings = Type::list(Type::String);
    let user = object(
        "UserInfo",
        vec![
            ("username", Type::String),
            ("uid", Type::String),
            ("groups", strings.clone()),
            ("extra", Type::map(Type::String, strings)),
        ],
    );
    object(
        "AdmissionRequest",
        vec![
            ("kind", kind.clone()),
            ("resource", resource.clone()),
            ("subResource", Type::String),
            ("requestKind", kind),
            ("requestResource", resource),
            ("requestSubResource", Type::String),
            ("name", Type::String),
            ("namespace", Type::String),
            ("operation", Type::String),
            ("userInfo", user),
            ("dryRun", Type::Bool),
            ("options", Type::Dyn),
        ],
    )
}

/// An expression that is ready.
pub struct Program {
    code: Code,
    result: Type,
    roots: Vec<String>,
    reads: Vec<String>,
    regexes: Vec<(Box<str>, Regex)>,
    regex_steps: u64,
    cost: u64,
    height: usize,
}

impl fmt::Debug for Program {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Program")
            .field("result", &self.result)
            .field("reads", &self.reads)
            .field("cost", &self.cost)
            .finish_non_exhaustive()
    }
}

impl Program {
    /// Reads, checks and compiles an expression.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn compile(source: &str, environment: &Environment) -> Result<Program, Vec<CompileError>> {
        guard::check(source).map_err(|error| vec![error])?;
        let checked = on_a_stack_of_its_own(|| {
            let expr = parse::parse(source)?;
            check::check(source, &expr, environment)
        })?;
        let height = cost::height(&checked.code, &|name| {
            environment.composed(name).map_or(0, |known| known.height)
        });
        if height > HEIGHT_MAX {
            return Err(vec![CompileError {
                line: 1,
                column: 1,
                message: format!(
                    "the expression and the variables that it uses are {height} steps deep: they may be {HEIGHT_MAX}"
                ),
            }]);
        }
        Ok(Program {
            height,
            cost: cost::estimate(&checked.code),
            code: checked.code,
            result: checked.result,
            roots: checked.roots,
            reads: checked.reads,
            regexes: checked.regexes,
            regex_steps: checked.regex_steps,
        })
    }

    /// The type of what it gives, as far as it is known before it runs.
    #[must_use]
    pub fn result(&self) -> &Type {
        &self.result
    }

    /// Whether it uses a variable of the environment.
    #[must_use]
    pub fn uses(&self, variable: &str) -> bool {
        self.roots.iter().any(|root| root == variable)
    }

    /// What it reads, in order: `object.spec.variant`, `variables.replicas`.
    #[must_use]
    pub fn reads(&self) -> &[String] {
        &self.reads
    }

    /// How many steps it may take on objects of the usual size: see [`super::cost`].
    #[must_use]
    pub fn cost(&self) -> u64 {
        self.cost
    }

    /// What compiling its regular expressions costs, in steps: it tells how large those are that it keeps.
    #[must_use]
    pub fn regex_steps(&self) -> u64 {
        self.regex_steps
    }

    /// Runs it. What is used up counts in `run`.
    ///
    /// # Errors
    /// As CEL knows them, or when it is stopped.
    pub fn evaluate<'e>(&'e self, scope: &Scope<'e>, run: &mut Run<'e>) -> Result<Value<'e>, Fail> {
        let around = run.enter(&self.regexes);
        let mut roots = Vec::with_capacity(self.roots.len());
        for root in &self.roots {
            roots.push(scope.value(root)?);
        }
        let result = super::eval::evaluate(&self.code, &roots, scope, run);
        run.leave(around);
        result
    }
}

/// Does it on a thread with a large stack: the parser takes up to 100 KiB of it for each bracket that is open, and a
/// stack that is too small ends the process.
fn on_a_stack_of_its_own<T: Send>(
    compile: impl FnOnce() -> Result<T, Vec<CompileError>> + Send,
) -> Result<T, Vec<CompileError>> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK_BYTES);
        let thread = thread.spawn_scoped(scope, compile);
        let compiled = thread.map(std::thread::ScopedJoinHandle::join);
        let why = match compiled {
            Ok(Ok(compiled)) => return compiled,
            Ok(Err(_)) => "the parser has failed on it".to_owned(),
            Err(error) => format!("no thread can be started to compile it: {error}"),
        };
        Err(vec![CompileError {
            line: 1,
            column: 1,
            message: why,
        }])
    })
}

/// What the variables stand for.
#[derive(Default)]
pub struct Scope<'e> {
    values: Vec<(&'e str, Value<'e>)>,
    composed: Vec<Composed<'e>>,
}

/// One of `variables`: evaluated when it is first needed, and once.
struct Composed<'e> {
    name: &'e str,
    program: &'e Program,
    value: OnceCell<Result<Value<'e>, Fail>>,
}

impl<'e> Scope<'e> {
    /// Of no variables.
    #[must_use]
    pub fn new() -> Scope<'e> {
        Scope::default()
    }

    /// Binds a variable of the environment.
    pub fn bind(&mut self, name: &'e str, value: Value<'e>) {
        self.values.push((name, value));
    }

    /// Adds one of `variables`, which may use those before it.
    pub fn compose(&mut self, name: &'e str, program: &'e Program) {
        self.composed.push(Composed {
            name,
            program,
            value: OnceCell::new(),
        });
    }

    fn value(&self, name: &str) -> Result<Value<'e>, Fail> {
        let mut values = self.values.iter();
        let found = values.find_map(|(own, value)| (*own == name).then(|| value.clone()));
        found.ok_or_else(|| Fail::error(format!("no such attribute(s): {name}")))
    }

    /// The value of one of `variables`.
    ///
    /// # Errors
    /// When it cannot be evaluated; says which.
    pub fn composed(&self, name: &str, run: &mut Run<'e>) -> Result<Value<'e>, Fail> {
        let mut all = self.composed.iter();
        let Some(composed) = all.find(|composed| composed.name == name) else {
            return Err(Fail::error(format!("no such key: {name}")));
        };
        if let Some(value) = composed.value.get() {
            return value.clone();
        }
        let value = composed.program.evaluate(self, run);
        let value = value.map_err(|fail| match fail {
            Fail::Error(error) => Fail::error(format!(
                "composited variable \"{name}\" fails to evaluate: {error}"
            )),
            stopped @ Fail::Stopped(_) => stopped,
        });
        composed.value.get_or_init(|| value).clone()
    }
}

impl<'a> From<&'a Literal> for Value<'a> {
    fn from(literal: &'a Literal) -> Value<'a> {
        match literal {
            Literal::Null => Value::Null,
            Literal::Bool(is) => Value::Bool(*is),
            Literal::Int(number) => Value::Int(*number),
            Literal::Uint(number) => Value::Uint(*number),
            Literal::Double(number) => Value::Double(*number),
            Literal::String(text) => Value::String(super::value::Text::Borrowed(text)),
            Literal::Bytes(bytes) => Value::Bytes(bytes.as_ref().into()),
        }
    }
}
