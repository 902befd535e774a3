//! The Common Expression Language as Kubernetes knows it: compiled once, checked before it runs, and counted while it
//! runs, so that no expression can stall or end the process.
//!
//! ```text
//! text --guard--> capped --parse--> Expr --check--> Code --eval(Scope, Run)--> Value
//!                  (the cel crate)     types, names        steps, bytes, time
//! ```
//!
//! The `cel` crate parses. Its evaluator is not used: it has no budget, compiles regular expressions on every call, goes
//! down without a bound and copies what it reads; and it has no checker, without which a misspelt name is found by the
//! first object that meets it. What is right here is what the API server says: testcases/cel holds its answers.

mod check;
mod code;
pub mod cost;
mod eval;
pub mod functions;
mod guard;
pub mod library;
pub mod node;
mod parse;
mod program;
pub mod run;
#[cfg(test)]
mod tests;
pub mod types;
mod unify;
pub mod value;

pub use crate::charts::Document;
pub use guard::SOURCE_MAX_BYTES;
pub use node::Node;
pub use program::{CompileError, Environment, Program, Scope, request_type};
pub use run::{Fail, Limit, Run};
pub use types::Type;
pub use value::{List, Map, Text, Value};
