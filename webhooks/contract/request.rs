//! What a rule is asked: one change of one object, borrowed from the request's bytes.

use super::Fault;
use super::cluster::Cluster;
use super::declaration::Operation;
use super::json::Json;
use super::settings::RuleSettings;
use serde::Deserialize;
use std::time::{Duration, Instant};

/// When an answer is no longer wanted, and whether others wait for it meanwhile. Long loops check it.
#[derive(Debug, Clone, Copy)]
pub struct Deadline {
    at: Instant,
    is_brief: bool,
}

impl Deadline {
    /// `limit` from now.
    #[must_use]
    pub fn after(limit: Duration) -> Deadline {
        Deadline {
            at: Instant::now() + limit,
            is_brief: false,
        }
    }

    /// The same for a decision on a connection's own thread, where only what takes microseconds may be done.
    #[must_use]
    pub fn brief(self) -> Deadline {
        Deadline {
            is_brief: true,
            ..self
        }
    }

    /// Whether only what takes microseconds may be done.
    #[must_use]
    pub fn is_brief(&self) -> bool {
        self.is_brief
    }

    /// An error where others would be held up by what comes now: it is asked again where they are not.
    pub fn check_long(&self) -> Result<(), Fault> {
        if self.is_brief {
            Err(Fault::TakesLong)
        } else {
            self.check()
        }
    }

    /// An error once the time is over.
    pub fn check(&self) -> Result<(), Fault> {
        if Instant::now() < self.at {
            Ok(())
        } else {
            Err(Fault::DeadlineExceeded)
        }
    }

    /// What is left; zero once the time is over.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        self.at.saturating_duration_since(Instant::now())
    }
}

/// Who asks, as the API server has authenticated him.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct User {
    /// His name; that of a service account is `system:serviceaccount:<namespace>:<name>`.
    #[serde(default, rename = "username")]
    pub name: String,
    /// His groups.
    #[serde(default)]
    pub groups: Vec<String>,
}

impl User {
    /// Whether it is a service account. Kubernetes keeps the prefix for them.
    #[must_use]
    pub fn is_service_account(&self) -> bool {
        self.name.starts_with("system:serviceaccount:")
    }
}

/// One change of one object.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// What is done.
    pub operation: Operation,
    /// API group of the object; empty for the core group.
    pub group: &'a str,
    /// Version in which the object stands here.
    pub version: &'a str,
    /// Kind of the object.
    pub kind: &'a str,
    /// Namespace; empty for cluster-scoped kinds.
    pub namespace: &'a str,
    /// Name; empty on CREATE with `generateName`.
    pub name: &'a str,
    /// The object after the change; none on DELETE.
    pub object: Option<Json<'a>>,
    /// The object before the change; none on CREATE.
    pub old_object: Option<Json<'a>>,
    /// Who asks, as it came in; none where nobody knows, as offline. See [`Request::user`].
    pub user_info: Option<Json<'a>>,
    /// Whether nothing will be stored.
    pub dry_run: bool,
    /// What is around it.
    pub cluster: &'a dyn Cluster,
    /// The rule's own settings.
    pub settings: RuleSettings<'a>,
    /// When the answer is no longer wanted.
    pub deadline: Deadline,
    /// Whether somebody wants to know by what the rule judges: [`super::Verdict::note`].
    pub explains: bool,
}

impl<'a> Request<'a> {
    /// The object that the rule looks at: the new one, on DELETE the one that goes.
    #[must_use]
    pub fn subject(&self) -> Option<Json<'a>> {
        self.object.or(self.old_object)
    }

    /// Who asks: nobody in particular where that is not known or not readable.
    #[must_use]
    pub fn user(&self) -> User {
        let user = self.user_info.and_then(|user| user.read().ok());
        user.unwrap_or_default()
    }

    /// The same request about the object as it was before, to tell old sins from new ones: without an object
    /// before it, so that rules about transitions say nothing.
    #[must_use]
    pub fn about_the_old(&self) -> Option<Request<'a>> {
        self.old_object.map(|old| Request {
            object: Some(old),
            old_object: None,
            ..*self
        })
    }
}
