//! Which other objects must exist because one does.

use super::Fault;
use super::cluster::{Cluster, Object};
use serde_json::Value;
use std::time::Duration;

/// What a parent needs. "Cannot know" is an error, never an empty list: only a clean answer may prune.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Desired {
    /// The children, each complete enough for server-side apply.
    pub children: Vec<Value>,
    /// The parent's status, where it has one.
    pub status: Option<Value>,
    /// When to look again without a change.
    pub requeue_after: Option<Duration>,
}

/// The role of a folder whose objects bring others with them.
pub trait Companions: Sync {
    /// What must exist because `parent` does.
    ///
    /// # Errors
    /// When it cannot be known now.
    fn companions(&self, parent: &Object, cluster: &dyn Cluster) -> Result<Desired, Fault>;
}
