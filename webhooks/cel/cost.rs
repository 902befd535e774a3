//! How much an expression may cost at worst, before it runs: what tells an operator that his policy is expensive.
//!
//! Nobody knows how large the objects will be. Lists and maps of objects are taken to have [`ITEMS`] members and texts
//! [`TEXT_STEPS`] steps' worth of bytes; what stands in the expression is counted. An object that is larger costs more
//! than the estimate, and is stopped by what may be used up while it runs: see [`super::run`].

use super::code::Code;

/// Members of a list or map whose size is not known.
pub const ITEMS: u64 = 100;
/// Steps of going through a text whose size is not known: half a KiB.
pub const TEXT_STEPS: u64 = 50;

/// What is right within a step.
fn inner(code: &Code) -> Vec<&Code> {
    match code {
        Code::Literal(_)
        | Code::Type(_)
        | Code::Variable(_)
        | Code::Local(_)
        | Code::Composed(_) => Vec::new(),
        Code::Select(operand, ..)
        | Code::Evaluates(operand)
        | Code::Has(operand, _)
        | Code::Not(operand)
        | Code::Negate(operand)
        | Code::TypeOf(operand) => vec![operand],
        Code::Index(operand, index, _) => vec![operand, index],
        Code::And(terms) | Code::Or(terms) => terms.iter().collect(),
        Code::Conditional(parts) => vec![&parts.0, &parts.1, &parts.2],
        Code::Equals(both, _)
        | Code::Compare(_, both)
        | Code::Arithmetic(_, both)
        | Code::In(both)
        | Code::OptionalOr(both, _)
        | Code::OptionalMap(both, _) => vec![&both.0, &both.1],
        Code::Call(call) => call.arguments.iter().collect(),
        Code::List(items) => items.iter().map(|(item, _)| item).collect(),
        Code::Map(entries) => {
            let entries = entries.iter();
            entries.flat_map(|(key, value, _)| [key, value]).collect()
        }
        Code::Quantifier(_, walk) | Code::Transform(_, walk) => {
            let filter = walk.filter.iter();
            [&walk.range, &walk.body]
                .into_iter()
                .chain(filter)
                .collect()
        }
    }
}

/// How deep evaluation goes at most. `composed` says it of the variables of the policy.
#[must_use]
pub fn height(code: &Code, composed: &dyn Fn(&str) -> usize) -> usize {
    let below = match code {
        Code::Composed(name) => composed(name),
        other => {
            let inner = inner(other).into_iter();
            inner.map(|code| height(code, composed)).max().unwrap_or(0)
        }
    };
    below + 1
}

/// The most steps that code may take. A variable of the policy is counted where it stands.
#[must_use]
pub fn estimate(code: &Code) -> u64 {
    let all = |codes: Vec<&Code>| {
        let codes = codes.into_iter().map(estimate);
        codes.fold(1_u64, u64::saturating_add)
    };
    match code {
        Code::Conditional(parts) => {
            let branch = estimate(&parts.1).max(estimate(&parts.2));
            estimate(&parts.0).saturating_add(branch).saturating_add(1)
        }
        Code::In(both) => all(inner(code)).saturating_add(items(&both.1)),
        Code::Call(call) => {
            let grows = call.overloads.iter().any(|overload| overload.grows);
            all(inner(code)).saturating_add(if grows { TEXT_STEPS } else { 1 })
        }
        Code::Quantifier(_, walk) | Code::Transform(_, walk) => {
            let filter = walk.filter.as_ref().map_or(0, estimate);
            let once = filter
                .saturating_add(estimate(&walk.body))
                .saturating_add(1);
            let once = once.saturating_mul(items(&walk.range));
            estimate(&walk.range).saturating_add(once).saturating_add(1)
        }
        other => all(inner(other)),
    }
}

/// How many members there are at most.
fn items(code: &Code) -> u64 {
    match code {
        Code::List(list) => super::run::as_steps(list.len()),
        Code::Map(entries) => super::run::as_steps(entries.len()),
        Code::Transform(_, walk) => items(&walk.range),
        Code::Conditional(parts) => items(&parts.1).max(items(&parts.2)),
        Code::Arithmetic(_, both) => items(&both.0).saturating_add(items(&both.1)),
        _ => ITEMS,
    }
}
