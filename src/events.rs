//! Kubernetes Events: what the service tells the owner of an object when no request of his can be answered.

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use kube::api::{Api, PostParams};
use std::hash::{DefaultHasher, Hash, Hasher};
use webhooks::contract::{FIELD_MANAGER, Object, Resource};

/// Where Events about cluster-scoped objects are found (`kubectl get events` in the default namespace).
const CLUSTER_SCOPED_NAMESPACE: &str = "default";
/// Longest note that the API takes, in bytes (`events.k8s.io/v1`).
const NOTE_MAX_BYTES: usize = 1_024;
/// Longest part of an Event's name that is the object's, in bytes; a dot and 16 hex digits follow.
const NAME_MAX_BYTES: usize = 230;

/// Why an Event is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// An object that somebody else made has the name of a companion.
    CompanionNameTaken,
    /// Somebody else has taken a companion over.
    CompanionReleased,
    /// A companion cannot be made or kept in step.
    CompanionFailed,
    /// Settings got in that cannot be understood.
    SettingsInvalid,
}

impl Reason {
    /// All reasons.
    pub const ALL: [Reason; 4] = [
        Reason::CompanionNameTaken,
        Reason::CompanionReleased,
        Reason::CompanionFailed,
        Reason::SettingsInvalid,
    ];

    /// The word in the Event.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::CompanionNameTaken => "CompanionNameTaken",
            Reason::CompanionReleased => "CompanionReleased",
            Reason::CompanionFailed => "CompanionFailed",
            Reason::SettingsInvalid => "SettingsInvalid",
        }
    }

    /// What it means, for the docs.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        match self {
            Reason::CompanionNameTaken => {
                "an object that somebody else made has the name of a companion; it is left alone"
            }
            Reason::CompanionReleased => {
                "Helm or another field manager has taken a companion over; it is left alone for good"
            }
            Reason::CompanionFailed => {
                "a companion cannot be made or kept as it should be; it is tried again, later and later"
            }
            Reason::SettingsInvalid => {
                "settings that cannot be understood got in; the last good ones stay in force"
            }
        }
    }

    fn is_normal(self) -> bool {
        self == Reason::CompanionReleased
    }
}

/// An object that an Event is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Reference {
    /// `apiVersion`
    pub api_version: String,
    /// Kind.
    pub kind: String,
    /// Namespace; empty for cluster-scoped kinds.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// uid; empty when it is not known.
    pub uid: String,
}

impl Reference {
    /// The reference to an object of that kind.
    #[must_use]
    pub fn to(resource: &Resource, object: &Object) -> Reference {
        Reference {
            api_version: resource.api_version(),
            kind: resource.kind.to_owned(),
            namespace: object.namespace.clone(),
            name: object.name.clone(),
            uid: object
                .text(&["metadata", "uid"])
                .unwrap_or_default()
                .to_owned(),
        }
    }

    fn to_reference(&self) -> ObjectReference {
        let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        ObjectReference {
            api_version: given(&self.api_version),
            kind: given(&self.kind),
            namespace: given(&self.namespace),
            name: given(&self.name),
            uid: given(&self.uid),
            ..ObjectReference::default()
        }
    }
}

/// What an Event says.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Note {
    /// Why.
    pub reason: Reason,
    /// The object whose owner should know.
    pub regarding: Reference,
    /// Another object that has to do with it.
    pub related: Option<Reference>,
    /// A sentence.
    pub text: String,
}

impl Note {
    /// The Event. Its name follows from what it says, so that the same news is told once, also after a restart and by
    /// another replica.
    fn to_event(&self, identity: &str) -> Event {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        let regarding = &self.regarding;
        let namespace = if regarding.namespace.is_empty() {
            CLUSTER_SCOPED_NAMESPACE
        } else {
            &regarding.namespace
        };
        Event {
            metadata: ObjectMeta {
                name: Some(format!(
                    "{}.{:016x}",
                    cut(&regarding.name, NAME_MAX_BYTES).trim_end_matches(['.', '-']),
                    hasher.finish()
                )),
                namespace: Some(namespace.to_owned()),
                ..ObjectMeta::default()
            },
            action: Some("Reconcile".to_owned()),
            event_time: Some(MicroTime(Timestamp::now())),
            note: Some(cut(&self.text, NOTE_MAX_BYTES).to_owned()),
            reason: Some(self.reason.as_str().to_owned()),
            regarding: Some(regarding.to_reference()),
            related: self.related.as_ref().map(Reference::to_reference),
            reporting_controller: Some(FIELD_MANAGER.to_owned()),
            reporting_instance: Some(cut(identity, 128).to_owned()),
            type_: Some(
                if self.reason.is_normal() {
                    "Normal"
                } else {
                    "Warning"
                }
                .to_owned(),
            ),
            ..Event::default()
        }
    }
}

fn cut(text: &str, max_bytes: usize) -> &str {
    let mut end = max_bytes.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or(text)
}

/// Writes the Event; the same one that is there already is no error. `identity` is this replica's name.
///
/// # Errors
/// When the API server does not take it.
pub async fn publish(client: &Client, identity: &str, note: &Note) -> Result<(), kube::Error> {
    let event = note.to_event(identity);
    let namespace = event.metadata.namespace.clone().unwrap_or_default();
    let api: Api<Event> = Api::namespaced(client.clone(), &namespace);
    match api.create(&PostParams::default(), &event).await {
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
        done => done.map(|_| ()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_news_has_the_same_name() {
        let note = |text: &str| Note {
            reason: Reason::CompanionFailed,
            regarding: Reference {
                api_version: "cozystack.io/v1alpha1".into(),
                kind: "X".into(),
                namespace: String::new(),
                name: "é".repeat(200),
                uid: "u".into(),
            },
            related: None,
            text: text.to_owned(),
        };
        let name = |note: Note| note.to_event("me").metadata.name.unwrap();
        assert_eq!(name(note("a")), name(note("a")));
        assert_ne!(name(note("a")), name(note("b")));
        assert!(name(note("a")).len() <= 253);
        let event = note(&"ä".repeat(2_000)).to_event("me");
        assert!(event.note.unwrap().len() <= NOTE_MAX_BYTES);
        assert_eq!(event.metadata.namespace.as_deref(), Some("default"));
    }
}
