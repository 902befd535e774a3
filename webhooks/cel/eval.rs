//! Runs code. Every step is counted, and what is made as well; nothing goes deeper than the text it comes from.

use super::code::{Arithmetic, Call, Code, Comparison, Walk};
use super::functions::{show, time};
use super::parse::{Quantifier, Transform};
use super::program::Scope;
use super::run::{Fail, Run, as_steps};
use super::types::Type;
use super::value::{List, Map, Text, Value};
use std::cmp::Ordering;

/// How much of a key a message holds, in characters.
const SHOWN_MAX_CHARS: usize = 500;
/// Bytes of a value in a list.
const ITEM_BYTES: usize = size_of::<Value<'static>>();

/// Runs code on the variables that it uses, in the order of their places.
///
/// # Errors
/// As CEL knows them, or when it is stopped.
pub fn evaluate<'e>(
    code: &'e Code,
    roots: &[Value<'e>],
    scope: &Scope<'e>,
    run: &mut Run<'e>,
) -> Result<Value<'e>, Fail> {
    let mut machine = Machine {
        roots,
        scope,
        run,
        locals: Vec::new(),
    };
    machine.eval(code)
}

struct Machine<'m, 'e> {
    roots: &'m [Value<'e>],
    scope: &'m Scope<'e>,
    run: &'m mut Run<'e>,
    locals: Vec<Value<'e>>,
}

type Outcome<'e> = Result<Value<'e>, Fail>;

impl<'e> Machine<'_, 'e> {
    /// Goes down with the text, whose depth is bounded.
    fn eval(&mut self, code: &'e Code) -> Outcome<'e> {
        self.run.spend(1)?;
        match code {
            Code::Literal(literal) => Ok(Value::from(literal)),
            Code::Type(name) => Ok(Value::Type((*name).into())),
            Code::Variable(place) => Ok(self.roots.get(*place).cloned().unwrap_or(Value::Null)),
            Code::Composed(name) => self.scope.composed(name, self.run),
            Code::Evaluates(variable) => self.eval(variable).map(|_| Value::Bool(true)),
            Code::Local(place) => Ok(self.locals.get(*place).cloned().unwrap_or(Value::Null)),
            Code::Select(operand, field, is_optional) => {
                let operand = self.eval(operand)?;
                self.selected(operand, *is_optional, |_| {
                    Ok(Value::String(Text::Borrowed(field)))
                })
            }
            Code::Has(operand, field) => {
                let operand = match self.eval(operand)? {
                    Value::Optional(None) => return Ok(Value::Bool(false)),
                    Value::Optional(Some(inner)) => (*inner).clone(),
                    other => other,
                };
                let found = self.find(&operand, &Value::String(Text::Borrowed(field)), true)?;
                Ok(Value::Bool(found.is_some()))
            }
            Code::Index(operand, index, is_optional) => {
                let operand = self.eval(operand)?;
                self.selected(operand, *is_optional, |machine| machine.eval(index))
            }
            Code::And(terms) => self.logical(terms, false),
            Code::Or(terms) => self.logical(terms, true),
            Code::Not(operand) => match self.eval(operand)? {
                Value::Bool(is) => Ok(Value::Bool(!is)),
                _ => Err(Fail::no_such_overload()),
            },
            Code::Negate(operand) => negate(&self.eval(operand)?),
            Code::Conditional(parts) => match self.eval(&parts.0)? {
                Value::Bool(true) => self.eval(&parts.1),
                Value::Bool(false) => self.eval(&parts.2),
                _ => Err(Fail::no_such_overload()),
            },
            Code::Equals(both, is) => {
                let (one, other) = self.both(both)?;
                one.check_comparable(&other)?;
                Ok(Value::Bool(one.is_equal(&other, self.run)? == *is))
            }
            Code::Compare(comparison, both) => {
                let (one, other) = self.both(both)?;
                let order = compare(&one, &other, *comparison, self.run)?;
                Ok(Value::Bool(match comparison {
                    Comparison::Less => order.is_lt(),
                    Comparison::LessOrEqual => order.is_le(),
                    Comparison::Greater => order.is_gt(),
                    Comparison::GreaterOrEqual => order.is_ge(),
                }))
            }
            Code::Arithmetic(operator, both) => {
                let (one, other) = self.both(both)?;
                arithmetic(*operator, one, other, self.run)
            }
            Code::In(both) => self.contains(&both.0, &both.1),
            Code::TypeOf(operand) => Ok(Value::Type(self.eval(operand)?.type_name().into())),
            Code::Call(call) => self.call(call),
            Code::OptionalOr(both, is_value) => match self.eval(&both.0)? {
                Value::Optional(None) => self.eval(&both.1),
                Value::Optional(Some(inner)) if *is_value => Ok((*inner).clone()),
                // Whatever is no optional is there.
                other => Ok(other),
            },
            Code::List(items) => self.list(items),
            Code::Map(entries) => self.map(entries),
            Code::Quantifier(quantifier, walk) => self.quantifier(*quantifier, walk),
            Code::Transform(transform, walk) => self.transform(*transform, walk),
            Code::OptionalMap(both, is_flat) => {
                let inner = match self.eval(&both.0)? {
                    none @ Value::Optional(None) => return Ok(none),
                    Value::Optional(Some(inner)) => (*inner).clone(),
                    other => return Err(no_overload("hasValue", &[other])),
                };
                self.locals.push(inner);
                let result = self.eval(&both.1);
                self.locals.pop();
                if *is_flat {
                    result
                } else {
                    result.map(Value::some)
                }
            }
        }
    }

    /// What stands under a key of an operand; of an optional operand, or where an optional is asked for, as an optional.
    fn selected(
        &mut self,
        operand: Value<'e>,
        is_optional: bool,
        key: impl FnOnce(&mut Self) -> Outcome<'e>,
    ) -> Outcome<'e> {
        let (operand, is_optional) = match operand {
            none @ Value::Optional(None) => return Ok(none),
            Value::Optional(Some(inner)) => ((*inner).clone(), true),
            other => (other, is_optional),
        };
        let key = key(self)?;
        match self.find(&operand, &key, is_optional)? {
            Some(value) if is_optional => Ok(value.some()),
            Some(value) => Ok(value),
            // Without presence asked for, it is there or an error.
            None => Ok(Value::Optional(None)),
        }
    }

    /// What stands under a key; none where it is absent and that may be. Pays for the search, and for what is made of
    /// what is looked up.
    fn find(
        &mut self,
        operand: &Value<'e>,
        key: &Value<'e>,
        may_be_absent: bool,
    ) -> Result<Option<Value<'e>>, Fail> {
        if let Value::Map(map) = operand {
            self.run.spend(as_steps(map.search_steps()))?;
        }
        let found = qualify(operand, key, may_be_absent)?;
        if let (Value::Map(Map::Lookup(_)), Some(Value::Map(Map::Fields(fields)))) =
            (operand, &found)
        {
            for (_, field) in fields.iter() {
                if let Value::Map(members) = field {
                    self.run.allocate(2 * ITEM_BYTES * members.len())?;
                }
            }
        }
        Ok(found)
    }

    fn both(&mut self, both: &'e (Code, Code)) -> Result<(Value<'e>, Value<'e>), Fail> {
        let one = self.eval(&both.0)?;
        Ok((one, self.eval(&both.1)?))
    }

    /// `&&` ends with the first false, `||` with the first true; an error counts only where no other term decides.
    fn logical(&mut self, terms: &'e [Code], decisive: bool) -> Outcome<'e> {
        let mut error = None;
        for term in terms {
            match self.eval(term) {
                Ok(Value::Bool(is)) if is == decisive => return Ok(Value::Bool(decisive)),
                Ok(Value::Bool(_)) => {}
                Ok(_) => {
                    error.get_or_insert_with(Fail::no_such_overload);
                }
                Err(stopped @ Fail::Stopped(_)) => return Err(stopped),
                Err(fail) => {
                    error.get_or_insert(fail);
                }
            }
        }
        error.map_or(Ok(Value::Bool(!decisive)), Err)
    }

    fn contains(&mut self, item: &'e Code, container: &'e Code) -> Outcome<'e> {
        let item = self.eval(item)?;
        // The list stands there: it need not be made to be gone through.
        if let Code::List(items) = container
            && items.iter().all(|(_, is_optional)| !is_optional)
        {
            let mut is = false;
            for (code, _) in items {
                let other = self.eval(code)?;
                is = is || item.is_equal(&other, self.run)?;
            }
            return Ok(Value::Bool(is));
        }
        match self.eval(container)? {
            Value::List(list) => {
                for other in list.iter() {
                    if item.is_equal(&other, self.run)? {
                        return Ok(Value::Bool(true));
                    }
                }
                Ok(Value::Bool(false))
            }
            Value::Map(map) => {
                self.run.spend(as_steps(map.search_steps()))?;
                Ok(Value::Bool(map.get(&item).is_some()))
            }
            _ => Err(Fail::no_such_overload()),
        }
    }

    fn call(&mut self, call: &'e Call) -> Outcome<'e> {
        let mut arguments = Vec::with_capacity(call.arguments.len());
        for argument in &call.arguments {
            arguments.push(self.eval(argument)?);
        }
        dispatch(call, &arguments, self.run)
    }

    fn list(&mut self, items: &'e [(Code, bool)]) -> Outcome<'e> {
        let mut values = Vec::new();
        for (code, is_optional) in items {
            let value = self.eval(code)?;
            self.run.allocate(ITEM_BYTES)?;
            match (value, is_optional) {
                (Value::Optional(None), true) => {}
                (Value::Optional(Some(inner)), true) => values.push((*inner).clone()),
                (other, true) => {
                    return Err(Fail::error(format!(
                        "cannot initialize optional list element from non-optional value {}",
                        shown(&other)
                    )));
                }
                (value, false) => values.push(value),
            }
        }
        Ok(Value::list(values))
    }

    fn map(&mut self, entries: &'e [(Code, Code, bool)]) -> Outcome<'e> {
        let mut members: Vec<(Value<'e>, Value<'e>)> = Vec::new();
        for (key, value, is_optional) in entries {
            let key = self.eval(key)?;
            let value = self.eval(value)?;
            let value = match (value, is_optional) {
                (Value::Optional(None), true) => None,
                (Value::Optional(Some(inner)), true) => Some((*inner).clone()),
                (other, true) => {
                    return Err(Fail::error(format!(
                        "cannot initialize optional entry '{}' from non-optional value {}",
                        shown(&key),
                        shown(&other)
                    )));
                }
                (value, false) => Some(value),
            };
            let place = self.place_of(&members, &key)?;
            match (place, value) {
                (Some(place), Some(value)) => {
                    if let Some(member) = members.get_mut(place) {
                        member.1 = value;
                    }
                }
                (Some(place), None) => {
                    members.remove(place);
                }
                (None, Some(value)) => {
                    self.run.allocate(2 * ITEM_BYTES)?;
                    members.push((key, value));
                }
                (None, None) => {}
            }
        }
        Ok(Value::map(members))
    }

    /// Where a key of that type stands already.
    fn place_of(
        &mut self,
        members: &[(Value<'e>, Value<'e>)],
        key: &Value<'e>,
    ) -> Result<Option<usize>, Fail> {
        self.run.spend(as_steps(members.len() / 4 + 1))?;
        for (place, (own, _)) in members.iter().enumerate() {
            if own.type_name() == key.type_name() && own.is_equal(key, self.run)? {
                return Ok(Some(place));
            }
        }
        Ok(None)
    }

    /// Goes through a list or map: binds the variables, asks `step` and ends where that says so.
    fn walk(
        &mut self,
        walk: &'e Walk,
        mut step: impl FnMut(&mut Self) -> Result<bool, Fail>,
    ) -> Result<(), Fail> {
        let range = self.eval(&walk.range)?;
        let bound = self.locals.len();
        let mut each = |machine: &mut Self, key: Option<Value<'e>>, item: Option<Value<'e>>| {
            machine.run.spend(1)?;
            machine.locals.truncate(bound);
            machine.locals.extend(key);
            machine.locals.extend(item);
            step(machine)
        };
        let mut outcome = Ok(());
        match (&range, walk.has_two) {
            (Value::List(list), has_two) => {
                for (at, item) in list.iter().enumerate() {
                    let key = has_two.then(|| Value::Int(i64::try_from(at).unwrap_or(i64::MAX)));
                    match each(self, key, Some(item)) {
                        Ok(true) => {}
                        Ok(false) => break,
                        Err(fail) => {
                            outcome = Err(fail);
                            break;
                        }
                    }
                }
            }
            (Value::Map(map), has_two) => {
                self.run.spend(as_steps(map.walk_steps()))?;
                for (key, item) in map.members() {
                    match each(self, Some(key), has_two.then_some(item)) {
                        Ok(true) => {}
                        Ok(false) => break,
                        Err(fail) => {
                            outcome = Err(fail);
                            break;
                        }
                    }
                }
            }
            (other, false) => {
                outcome = Err(Fail::error(format!(
                    "got '{}', expected iterable type",
                    go_type(other)
                )));
            }
            (other, true) => {
                outcome = Err(Fail::error(format!(
                    "unsupported comprehension range type: {}",
                    go_type(other)
                )));
            }
        }
        self.locals.truncate(bound);
        outcome
    }

    fn quantifier(&mut self, quantifier: Quantifier, walk: &'e Walk) -> Outcome<'e> {
        let mut error: Option<Fail> = None;
        let mut found = 0_u64;
        let body = &walk.body;
        self.walk(walk, |machine| {
            let is = match machine.eval(body) {
                Ok(Value::Bool(is)) => Ok(is),
                Ok(_) => Err(Fail::no_such_overload()),
                Err(stopped @ Fail::Stopped(_)) => return Err(stopped),
                Err(fail) => Err(fail),
            };
            match (quantifier, is) {
                (Quantifier::All, Ok(false)) | (Quantifier::Exists, Ok(true)) => {
                    found += 1;
                    Ok(false)
                }
                (Quantifier::ExistsOne, Ok(true)) => {
                    found += 1;
                    Ok(true)
                }
                (_, Ok(_)) => Ok(true),
                // No other item makes up for it here, and the API server says the last one.
                (Quantifier::ExistsOne, Err(fail)) => {
                    error = Some(fail);
                    Ok(true)
                }
                (_, Err(fail)) => {
                    error.get_or_insert(fail);
                    Ok(true)
                }
            }
        })?;
        match (quantifier, error) {
            (Quantifier::All, _) if found > 0 => Ok(Value::Bool(false)),
            (Quantifier::Exists, _) if found > 0 => Ok(Value::Bool(true)),
            (_, Some(fail)) => Err(fail),
            (Quantifier::All, None) => Ok(Value::Bool(true)),
            (Quantifier::Exists, None) => Ok(Value::Bool(false)),
            (Quantifier::ExistsOne, None) => Ok(Value::Bool(found == 1)),
        }
    }

    fn transform(&mut self, transform: Transform, walk: &'e Walk) -> Outcome<'e> {
        let mut error: Option<Fail> = None;
        let mut items: Vec<Value<'e>> = Vec::new();
        let mut members: Vec<(Value<'e>, Value<'e>)> = Vec::new();
        self.walk(walk, |machine| {
            if let Some(filter) = &walk.filter {
                match machine.eval(filter) {
                    Ok(Value::Bool(true)) => {}
                    Ok(Value::Bool(false)) => return Ok(true),
                    // The API server says the last one.
                    Ok(_) => {
                        error = Some(Fail::no_such_overload());
                        return Ok(true);
                    }
                    Err(stopped @ Fail::Stopped(_)) => return Err(stopped),
                    Err(fail) => {
                        error = Some(fail);
                        return Ok(true);
                    }
                }
            }
            if error.is_some() {
                return Ok(true);
            }
            let made = match machine.eval(&walk.body) {
                Ok(value) => match transform {
                    Transform::List => machine.run.allocate(ITEM_BYTES).map(|()| items.push(value)),
                    Transform::Map => {
                        let at = machine.locals.len().saturating_sub(2);
                        let key = machine.locals.get(at).cloned().unwrap_or(Value::Null);
                        machine.insert(&mut members, key, value)
                    }
                    Transform::MapEntry => match value {
                        Value::Map(entries) => {
                            let mut entries = entries.members();
                            entries.try_for_each(|(key, value)| {
                                machine.insert(&mut members, key, value)
                            })
                        }
                        other => Err(no_overload(
                            "cel.@mapInsert",
                            &[Value::map(Vec::new()), other],
                        )),
                    },
                },
                Err(fail) => Err(fail),
            };
            match made {
                Ok(()) => {}
                Err(stopped @ Fail::Stopped(_)) => return Err(stopped),
                Err(fail) => error = Some(fail),
            }
            Ok(true)
        })?;
        match (error, transform) {
            (Some(fail), _) => Err(fail),
            (None, Transform::List) => Ok(Value::list(items)),
            (None, Transform::Map | Transform::MapEntry) => Ok(Value::map(members)),
        }
    }

    fn insert(
        &mut self,
        members: &mut Vec<(Value<'e>, Value<'e>)>,
        key: Value<'e>,
        value: Value<'e>,
    ) -> Result<(), Fail> {
        if self.place_of(members, &key)?.is_some() {
            let key = show::text(&key, self.run)?;
            return Err(Fail::error(format!(
                "insert failed: key {key} already exists"
            )));
        }
        self.run.allocate(2 * ITEM_BYTES)?;
        members.push((key, value));
        Ok(())
    }
}

/// Calls the overload that takes such values.
pub fn dispatch<'e>(call: &Call, arguments: &[Value<'e>], run: &mut Run<'_>) -> Outcome<'e> {
    let mut overloads = call.overloads.iter();
    let fitting = overloads.find(|overload| {
        let mut both = overload.arguments.iter().zip(arguments);
        overload.arguments.len() == arguments.len()
            && both.all(|(wanted, value)| fits(wanted, value))
    });
    match fitting {
        Some(overload) => (overload.call)(run, arguments),
        None => Err(no_overload(call.name, arguments)),
    }
}

/// What stands under a key; none where it is absent and that may be.
fn qualify<'e>(
    operand: &Value<'e>,
    key: &Value<'e>,
    may_be_absent: bool,
) -> Result<Option<Value<'e>>, Fail> {
    let is_key = matches!(
        key,
        Value::String(_) | Value::Int(_) | Value::Uint(_) | Value::Bool(_) | Value::Double(_)
    );
    if !is_key {
        let go_type = match key {
            Value::Null => "<nil>",
            other => go_type(other),
        };
        let message = format!("invalid qualifier type: {go_type}");
        return Err(Fail::error(message));
    }
    let missing = match operand {
        Value::Map(map) => match map.get(key) {
            Some(value) => return Ok(Some(value)),
            None => "no such key",
        },
        Value::List(list) => {
            let at = index(key)?;
            match usize::try_from(at).ok().and_then(|at| list.get(at)) {
                Some(value) => return Ok(Some(value)),
                None => "index out of bounds",
            }
        }
        _ => "no such key",
    };
    if may_be_absent {
        return Ok(None);
    }
    Err(Fail::error(format!("{missing}: {}", shown(key))))
}

/// A place in a list.
fn index(key: &Value<'_>) -> Result<i64, Fail> {
    let whole = match key {
        Value::Int(at) => Some(*at),
        Value::Uint(at) => i64::try_from(*at).ok(),
        Value::Double(at) => lossless(*at),
        other => {
            let message = format!("unsupported index type '{}' in list", other.type_name());
            return Err(Fail::error(message));
        }
    };
    whole.ok_or_else(|| Fail::error(format!("unsupported index value {} in list", shown(key))))
}

/// The whole number that a float is, if it is one.
fn lossless(number: f64) -> Option<i64> {
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    #[allow(clippy::float_cmp, clippy::cast_possible_truncation)]
    (number.trunc() == number && (-LIMIT..LIMIT).contains(&number)).then_some(number as i64)
}

/// Whether a value may be given where a type is declared: of lists and maps the first item tells.
pub fn fits(wanted: &Type, value: &Value<'_>) -> bool {
    match (wanted, value) {
        (Type::Dyn | Type::Param(_) | Type::Var(_), _)
        | (Type::Null, Value::Null)
        | (Type::Bool, Value::Bool(_))
        | (Type::Int, Value::Int(_))
        | (Type::Uint, Value::Uint(_))
        | (Type::Double, Value::Double(_))
        | (Type::String, Value::String(_))
        | (Type::Bytes, Value::Bytes(_))
        | (Type::Duration, Value::Duration(_))
        | (Type::Timestamp, Value::Timestamp(_))
        | (Type::TypeOf(_), Value::Type(_))
        | (Type::Optional(_), Value::Optional(_)) => true,
        (Type::List(item), Value::List(list)) => list.get(0).is_none_or(|first| fits(item, &first)),
        (Type::Map(both), Value::Map(map)) => {
            let is_any = |wanted: &Type| matches!(wanted, Type::Dyn | Type::Param(_));
            (is_any(&both.0) && is_any(&both.1))
                || map
                    .members()
                    .next()
                    .is_none_or(|(key, value)| fits(&both.0, &key) && fits(&both.1, &value))
        }
        (Type::Opaque(name), value) => value.type_name() == *name,
        _ => false,
    }
}

/// What the API server says where no overload takes the values.
fn no_overload(name: &str, arguments: &[Value<'_>]) -> Fail {
    // Bound to what values can do, not to their types.
    if matches!(
        name,
        "contains" | "endsWith" | "find" | "findAll" | "matches" | "startsWith"
    ) {
        return Fail::no_such_overload();
    }
    if name == "size" {
        return Fail::error("no such overload: size");
    }
    let types: Vec<&str> = arguments.iter().map(Value::type_name).collect();
    Fail::error(format!("no such overload: {name}({})", types.join(", ")))
}

/// The name of the type in the API server's own language: some of its messages hold it.
fn go_type(value: &Value<'_>) -> &'static str {
    match value {
        Value::Null => "types.Null",
        Value::Bool(_) => "types.Bool",
        Value::Int(_) => "types.Int",
        Value::Uint(_) => "types.Uint",
        Value::Double(_) => "types.Double",
        Value::String(_) => "types.String",
        Value::Bytes(_) => "types.Bytes",
        Value::Duration(_) => "types.Duration",
        Value::Timestamp(_) => "types.Timestamp",
        Value::Type(_) => "*types.Type",
        Value::Optional(_) => "*types.Optional",
        Value::List(List::Made(_) | List::Node(_)) => "*types.baseList",
        Value::Map(_) => "*types.baseMap",
        Value::Url(_) => "apiservercel.URL",
        Value::Ip(_) => "apiservercel.IP",
        Value::Cidr(_) => "apiservercel.CIDR",
        Value::Quantity(_) => "apiservercel.Quantity",
        Value::Semver(_) => "apiservercel.Semver",
        Value::Format(_) => "*apiservercel.Format",
    }
}

/// A value in a message, as Go prints it.
fn shown(value: &Value<'_>) -> String {
    match value {
        Value::String(text) => match text.char_indices().nth(SHOWN_MAX_CHARS) {
            Some((end, _)) => format!("{}...", text.get(..end).unwrap_or_default()),
            None => text.to_string(),
        },
        Value::Int(number) => number.to_string(),
        Value::Uint(number) => number.to_string(),
        Value::Bool(is) => is.to_string(),
        Value::Double(number) => super::functions::conversions::double_to_text(*number),
        other => other.type_name().to_owned(),
    }
}

fn negate<'e>(operand: &Value<'e>) -> Outcome<'e> {
    match operand {
        Value::Int(number) => match number.checked_neg() {
            Some(number) => Ok(Value::Int(number)),
            None => Err(Fail::error("integer overflow")),
        },
        Value::Double(number) => Ok(Value::Double(-number)),
        Value::Duration(span) => match span.checked_neg() {
            Some(span) => Ok(Value::Duration(span)),
            None => Err(Fail::error("integer overflow")),
        },
        one if is_receiver(one) => Err(Fail::no_such_overload()),
        Value::Bool(_) => Err(Fail::no_such_overload()),
        _ => Err(Fail::error("no such overload: -_")),
    }
}

/// Whether the API server asks the value itself for an operator that it has not: then the operator is not named.
fn is_receiver(value: &Value<'_>) -> bool {
    matches!(
        value,
        Value::String(_) | Value::Duration(_) | Value::Timestamp(_)
    )
}

fn compare(
    one: &Value<'_>,
    other: &Value<'_>,
    comparison: Comparison,
    run: &mut Run<'_>,
) -> Result<Ordering, Fail> {
    let is_nan = |value: &Value<'_>| matches!(value, Value::Double(number) if number.is_nan());
    match (one, other) {
        (Value::Bool(one), Value::Bool(other)) => Ok(one.cmp(other)),
        (Value::String(one), Value::String(other)) => {
            run.scan(one.len().min(other.len()))?;
            Ok((**one).cmp(&**other))
        }
        (Value::Bytes(one), Value::Bytes(other)) => {
            run.scan(one.len().min(other.len()))?;
            Ok(one.cmp(other))
        }
        (Value::Timestamp(one), Value::Timestamp(other)) => Ok(one.cmp(other)),
        (Value::Duration(one), Value::Duration(other)) => Ok(one.cmp(other)),
        (
            Value::Int(_) | Value::Uint(_) | Value::Double(_),
            Value::Int(_) | Value::Uint(_) | Value::Double(_),
        ) => {
            if is_nan(one) || is_nan(other) {
                return Err(Fail::error("NaN values cannot be ordered"));
            }
            one.compare_numbers(other)
                .ok_or_else(Fail::no_such_overload)
        }
        (
            Value::Bool(_)
            | Value::String(_)
            | Value::Bytes(_)
            | Value::Timestamp(_)
            | Value::Duration(_)
            | Value::Int(_)
            | Value::Uint(_)
            | Value::Double(_),
            _,
        ) => Err(Fail::no_such_overload()),
        _ => Err(Fail::error(format!(
            "no such overload: {}",
            comparison.name()
        ))),
    }
}

fn arithmetic<'e>(
    operator: Arithmetic,
    one: Value<'e>,
    other: Value<'e>,
    run: &mut Run<'e>,
) -> Outcome<'e> {
    match (operator, one, other) {
        (operator, Value::Int(one), Value::Int(other)) => whole(operator, one, other),
        (operator, Value::Uint(one), Value::Uint(other)) => natural(operator, one, other),
        (operator, Value::Double(one), Value::Double(other)) => match operator {
            Arithmetic::Add => Ok(Value::Double(one + other)),
            Arithmetic::Subtract => Ok(Value::Double(one - other)),
            Arithmetic::Multiply => Ok(Value::Double(one * other)),
            Arithmetic::Divide => Ok(Value::Double(one / other)),
            Arithmetic::Modulo => Err(Fail::error("no such overload: _%_")),
        },
        (Arithmetic::Add, Value::String(one), Value::String(other)) => {
            if other.is_empty() {
                return Ok(Value::String(one));
            }
            run.allocate(one.len() + other.len())?;
            Ok(Value::text([&*one, &*other].concat()))
        }
        (Arithmetic::Add, Value::Bytes(one), Value::Bytes(other)) => {
            run.allocate(one.len() + other.len())?;
            Ok(Value::Bytes([&*one, &*other].concat().into()))
        }
        (Arithmetic::Add, Value::List(one), Value::List(other)) => {
            if one.is_empty() {
                return Ok(Value::List(other));
            }
            if other.is_empty() {
                return Ok(Value::List(one));
            }
            run.allocate((one.len() + other.len()) * ITEM_BYTES)?;
            Ok(Value::list(one.iter().chain(other.iter()).collect()))
        }
        (operator, one, other) => moments(operator, &one, &other),
    }
}

/// Times, and what is no number at all.
fn moments<'e>(operator: Arithmetic, one: &Value<'e>, other: &Value<'e>) -> Outcome<'e> {
    let overflow = || Fail::error("integer overflow");
    match (operator, one, other) {
        (Arithmetic::Add, Value::Duration(one), Value::Duration(other)) => one
            .checked_add(*other)
            .map(Value::Duration)
            .ok_or_else(overflow),
        (Arithmetic::Subtract, Value::Duration(one), Value::Duration(other)) => one
            .checked_sub(*other)
            .map(Value::Duration)
            .ok_or_else(overflow),
        (Arithmetic::Add, Value::Duration(span), Value::Timestamp(moment))
        | (Arithmetic::Add, Value::Timestamp(moment), Value::Duration(span)) => {
            time::add(*moment, *span).map(Value::Timestamp)
        }
        (Arithmetic::Subtract, Value::Timestamp(moment), Value::Duration(span)) => {
            let span = span.checked_neg().ok_or_else(overflow)?;
            time::add(*moment, span).map(Value::Timestamp)
        }
        (Arithmetic::Subtract, Value::Timestamp(one), Value::Timestamp(other)) => {
            time::subtract(*one, *other).map(Value::Duration)
        }
        _ => {
            let takes_any = match operator {
                Arithmetic::Add => matches!(
                    one,
                    Value::Bytes(_)
                        | Value::Double(_)
                        | Value::Duration(_)
                        | Value::Int(_)
                        | Value::List(_)
                        | Value::String(_)
                        | Value::Timestamp(_)
                        | Value::Uint(_)
                ),
                Arithmetic::Subtract => matches!(
                    one,
                    Value::Double(_)
                        | Value::Duration(_)
                        | Value::Int(_)
                        | Value::Timestamp(_)
                        | Value::Uint(_)
                ),
                Arithmetic::Multiply | Arithmetic::Divide => {
                    matches!(one, Value::Double(_) | Value::Int(_) | Value::Uint(_))
                }
                Arithmetic::Modulo => matches!(one, Value::Int(_) | Value::Uint(_)),
            };
            if takes_any || is_receiver(one) {
                Err(Fail::no_such_overload())
            } else {
                Err(Fail::error(format!(
                    "no such overload: {}",
                    operator.name()
                )))
            }
        }
    }
}

fn whole<'e>(operator: Arithmetic, one: i64, other: i64) -> Outcome<'e> {
    let result = match (operator, other) {
        (Arithmetic::Divide, 0) => return Err(Fail::error("division by zero")),
        (Arithmetic::Modulo, 0) => return Err(Fail::error("modulus by zero")),
        (Arithmetic::Add, _) => one.checked_add(other),
        (Arithmetic::Subtract, _) => one.checked_sub(other),
        (Arithmetic::Multiply, _) => one.checked_mul(other),
        (Arithmetic::Divide, _) => one.checked_div(other),
        (Arithmetic::Modulo, _) => one.checked_rem(other),
    };
    result
        .map(Value::Int)
        .ok_or_else(|| Fail::error("integer overflow"))
}

fn natural<'e>(operator: Arithmetic, one: u64, other: u64) -> Outcome<'e> {
    let result = match (operator, other) {
        (Arithmetic::Divide, 0) => return Err(Fail::error("division by zero")),
        (Arithmetic::Modulo, 0) => return Err(Fail::error("modulus by zero")),
        (Arithmetic::Add, _) => one.checked_add(other),
        (Arithmetic::Subtract, _) => one.checked_sub(other),
        (Arithmetic::Multiply, _) => one.checked_mul(other),
        (Arithmetic::Divide, _) => one.checked_div(other),
        (Arithmetic::Modulo, _) => one.checked_rem(other),
    };
    result
        .map(Value::Uint)
        .ok_or_else(|| Fail::error("unsigned integer overflow"))
}
