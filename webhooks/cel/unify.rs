//! Which types fit where: the rules of cel-go's checker, so that what it refuses is refused here and nothing else.

use super::types::Type;
use std::sync::Arc;

/// Largest type that is looked at, in parts: `x.optMap(y, {y: y})` doubles it.
const PARTS_MAX: usize = 1_000;

/// What is known of the types that were not known at first.
#[derive(Debug, Default)]
pub struct Known {
    vars: Vec<Option<Type>>,
    /// What was known before, to take back what was learnt on a wrong way.
    learnt: Vec<(usize, Option<Type>)>,
}

impl Known {
    /// A type that is not known yet.
    pub fn fresh(&mut self) -> Type {
        self.vars.push(None);
        Type::Var(self.vars.len() - 1)
    }

    fn find(&self, found: &Type) -> Option<&Type> {
        match found {
            Type::Var(number) => self.vars.get(*number)?.as_ref(),
            _ => None,
        }
    }

    fn learn(&mut self, var: &Type, known: Type) {
        if let Type::Var(number) = var
            && let Some(slot) = self.vars.get_mut(*number)
        {
            self.learnt.push((*number, slot.replace(known)));
        }
    }

    /// Keeps what was learnt, or takes it back.
    fn settle(&mut self, is_right: bool) -> bool {
        while let Some((number, before)) = self.learnt.pop() {
            if let (Some(slot), false) = (self.vars.get_mut(number), is_right) {
                *slot = before;
            }
        }
        is_right
    }

    /// The type with everything that is known of it; what is not becomes `dyn` where `is_final`. Of a type that is
    /// too large the rest becomes `dyn`, too.
    #[must_use]
    pub fn resolve(&self, of: &Type, is_final: bool) -> Type {
        self.resolve_within(of, is_final, &mut PARTS_MAX.clone())
    }

    fn resolve_within(&self, of: &Type, is_final: bool, parts: &mut usize) -> Type {
        match parts.checked_sub(1) {
            Some(left) => *parts = left,
            None => return Type::Dyn,
        }
        if let Some(known) = self.find(of) {
            return self.resolve_within(known, is_final, parts);
        }
        match of {
            Type::Var(_) if is_final => Type::Dyn,
            Type::List(item) => Type::list(self.resolve_within(item, is_final, parts)),
            Type::Optional(inner) => Type::optional(self.resolve_within(inner, is_final, parts)),
            Type::TypeOf(inner) => Type::type_of(self.resolve_within(inner, is_final, parts)),
            Type::Map(both) => {
                let key = self.resolve_within(&both.0, is_final, parts);
                Type::map(key, self.resolve_within(&both.1, is_final, parts))
            }
            other => other.clone(),
        }
    }

    /// Whether a value of the type `from` fits where `to` is wanted; what that tells of unknown types is kept then.
    pub fn fits(&mut self, to: &Type, from: &Type) -> bool {
        let is_right = self.assign(to, from);
        self.settle(is_right)
    }

    /// The same for several at once.
    pub fn fit_all<'t>(&mut self, mut both: impl Iterator<Item = (&'t Type, &'t Type)>) -> bool {
        let is_right = both.all(|(one, other)| self.assign(one, other));
        self.settle(is_right)
    }

    fn assign(&mut self, one: &Type, other: &Type) -> bool {
        if matches!(other, Type::Var(_)) {
            match self.substitute(one, other) {
                Substitution::Valid => return true,
                Substitution::Taken => return false,
                Substitution::Invalid => {}
            }
        }
        if matches!(one, Type::Var(_)) {
            return matches!(self.substitute(other, one), Substitution::Valid);
        }
        match (one, other) {
            (Type::Dyn | Type::Wrong, _)
            | (_, Type::Dyn | Type::Wrong)
            | (Type::TypeOf(_), Type::TypeOf(_)) => true,
            (Type::Null, other) | (other, Type::Null) => matches!(
                other,
                Type::Null
                    | Type::Opaque(_)
                    | Type::Optional(_)
                    | Type::Object(_)
                    | Type::Duration
                    | Type::Timestamp
            ),
            (Type::List(one), Type::List(other)) | (Type::Optional(one), Type::Optional(other)) => {
                self.assign(&one.clone(), &other.clone())
            }
            (Type::Map(one), Type::Map(other)) => {
                let (one, other) = (Arc::clone(one), Arc::clone(other));
                self.assign(&one.0, &other.0) && self.assign(&one.1, &other.1)
            }
            (Type::Object(one), Type::Object(other)) => one.name == other.name,
            (one, other) => one == other,
        }
    }

    /// Whether `known` may stand for the unknown type `var`.
    fn substitute(&mut self, known: &Type, var: &Type) -> Substitution {
        if known == var {
            return Substitution::Valid;
        }
        if let Some(current) = self.find(var).cloned() {
            if current == *known {
                return Substitution::Valid;
            }
            if !self.assign(known, &current) {
                return Substitution::Taken;
            }
            let general = most_general(known, &current).clone();
            if !self.refers(&general, var) {
                self.learn(var, general);
            }
            return Substitution::Valid;
        }
        if self.refers(known, var) {
            return Substitution::Invalid;
        }
        self.learn(var, known.clone());
        Substitution::Valid
    }

    /// Whether `var` occurs in `within`.
    fn refers(&self, within: &Type, var: &Type) -> bool {
        if within == var {
            return true;
        }
        match within {
            Type::Var(_) => self
                .find(within)
                .is_some_and(|known| self.refers(known, var)),
            Type::List(inner) | Type::Optional(inner) | Type::TypeOf(inner) => {
                self.refers(inner, var)
            }
            Type::Map(both) => self.refers(&both.0, var) || self.refers(&both.1, var),
            _ => false,
        }
    }
}

enum Substitution {
    Valid,
    /// Something else is known of it already.
    Taken,
    Invalid,
}

/// The more general of two types that fit.
#[must_use]
pub fn most_general<'t>(one: &'t Type, other: &'t Type) -> &'t Type {
    if is_as_general(one, other) {
        one
    } else {
        other
    }
}

/// Whether the first is equal to the second or says less.
fn is_as_general(one: &Type, other: &Type) -> bool {
    match (one, other) {
        (Type::Dyn | Type::Var(_), _) | (Type::TypeOf(_), Type::TypeOf(_)) => true,
        (_, Type::Dyn | Type::Var(_)) => false,
        (Type::List(one), Type::List(other)) | (Type::Optional(one), Type::Optional(other)) => {
            is_as_general(one, other)
        }
        (Type::Map(one), Type::Map(other)) => {
            is_as_general(&one.0, &other.0) && is_as_general(&one.1, &other.1)
        }
        (one, other) => one == other,
    }
}
