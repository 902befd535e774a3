//! The table of functions: what each takes and gives, and what does it.

use super::functions;
use super::run::{Fail, Run};
use super::types::Type;
use super::value::Value;
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// What does it. The arguments are as many as are declared and of the declared types, those of `Dyn` or of a parameter
/// of any; of lists, maps and optionals only that they are such is known, not what they hold. For a member the first
/// one is what it is called on.
pub type Function = for<'a> fn(&mut Run<'_>, &[Value<'a>]) -> Result<Value<'a>, Fail>;

/// One way to call a function.
pub struct Overload {
    /// Whether it is called on its first argument.
    pub is_member: bool,
    /// Types of the arguments.
    pub arguments: Vec<Type>,
    /// Type of what it gives.
    pub result: Type,
    /// What does it.
    pub call: Function,
    /// Whether its cost grows with the size of what it is given: it then charges for that itself.
    pub grows: bool,
}

/// All functions.
#[derive(Default)]
pub struct Library {
    functions: BTreeMap<&'static str, Vec<Overload>>,
}

static LIBRARY: LazyLock<Library> = LazyLock::new(|| {
    let mut library = Library::default();
    functions::declare(&mut library);
    library
});

impl Library {
    /// That of Kubernetes.
    #[must_use]
    pub fn kubernetes() -> &'static Library {
        &LIBRARY
    }

    /// The overloads of a function.
    #[must_use]
    pub fn overloads(&self, name: &str) -> Option<&[Overload]> {
        self.functions.get(name).map(Vec::as_slice)
    }

    /// A function: its name, as it lasts, and its overloads.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<(&'static str, &[Overload])> {
        let (name, overloads) = self.functions.get_key_value(name)?;
        Some((name, overloads))
    }

    /// The names of all functions.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.functions.keys().copied()
    }

    fn add(&mut self, name: &'static str, overload: Overload) {
        self.functions.entry(name).or_default().push(overload);
    }

    /// Declares `name(arguments)` at a cost that does not depend on them.
    pub fn global(&mut self, name: &'static str, arguments: &[Type], result: Type, call: Function) {
        self.add(
            name,
            Overload {
                is_member: false,
                arguments: arguments.to_vec(),
                result,
                call,
                grows: false,
            },
        );
    }

    /// Declares `first.name(others)` at a cost that does not depend on them.
    pub fn member(&mut self, name: &'static str, arguments: &[Type], result: Type, call: Function) {
        self.add(
            name,
            Overload {
                is_member: true,
                arguments: arguments.to_vec(),
                result,
                call,
                grows: false,
            },
        );
    }

    /// The function that was declared last costs the more the larger its arguments are. It spends as it goes.
    pub fn growing(&mut self, name: &'static str) {
        let overload = self.functions.get_mut(name).and_then(|all| all.last_mut());
        if let Some(overload) = overload {
            overload.grows = true;
        }
    }
}
