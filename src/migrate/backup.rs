//! What was there before: a List that kubectl can apply, in a file that is complete before anything is written.

use super::{MANAGER, merge_patch};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use webhooks::contract::FIELD_MANAGER;
use webhooks::migration::{Change, Reference};

/// A backup that cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read or written.
    #[error("backup {}: {error}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// The file is there, and is something else.
    #[error("backup {}: the file is there and is no backup of a migration: {why}", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What it is not.
        why: String,
    },
}

/// Annotation of the List: what a rollback must know besides.
const JOURNAL: &str = "webhook.cozystack.io/journal";

/// What was done to which cluster.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Journal {
    /// uid of namespace `kube-system`.
    cluster: String,
    /// Objects that were made, or were about to be.
    made: BTreeSet<Reference>,
    /// What was changed, or was about to be.
    #[serde(with = "changed")]
    changed: BTreeMap<Reference, Value>,
}

/// As a list: JSON has no other keys than texts.
mod changed {
    use super::{BTreeMap, Changed, Reference, Value};
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer>(
        changed: &BTreeMap<Reference, Value>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let list: Vec<Changed> = changed
            .iter()
            .map(|(object, patch)| Changed {
                object: object.clone(),
                patch: patch.clone(),
            })
            .collect();
        list.serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<Reference, Value>, D::Error> {
        let list = Vec::<Changed>::deserialize(deserializer)?.into_iter();
        Ok(list
            .map(|changed| (changed.object, changed.patch))
            .collect())
    }
}

/// A merge patch (RFC 7386) for an object that was there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Changed {
    object: Reference,
    patch: Value,
}

/// A backup file.
#[derive(Debug)]
pub struct Backup {
    path: PathBuf,
    items: Vec<Value>,
    /// What the items are.
    known: BTreeSet<Reference>,
    journal: Journal,
}

impl Backup {
    /// The backup of that cluster in that file: what an earlier run has put there stays, for it saw the objects first.
    ///
    /// # Errors
    /// When the file is something else, or of another cluster.
    pub fn open(path: &Path, cluster: &str) -> Result<Backup, Error> {
        let foreign = |why: String| Error::Foreign {
            path: path.to_owned(),
            why,
        };
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Backup {
                    path: path.to_owned(),
                    items: Vec::new(),
                    known: BTreeSet::new(),
                    journal: Journal {
                        cluster: cluster.to_owned(),
                        ..Journal::default()
                    },
                });
            }
            Err(error) => {
                return Err(Error::File {
                    path: path.to_owned(),
                    error,
                });
            }
        };
        let list: Value =
            serde_json::from_str(&text).map_err(|error| foreign(error.to_string()))?;
        let items = list
            .get("items")
            .filter(|_| list.get("kind").and_then(Value::as_str) == Some("List"))
            .and_then(Value::as_array)
            .ok_or_else(|| foreign("no List".to_owned()))?;
        let annotations = list
            .get("metadata")
            .and_then(|metadata| metadata.get("annotations"));
        let journal = annotations
            .and_then(|annotations| annotations.get(JOURNAL)?.as_str())
            .ok_or_else(|| foreign(format!("no annotation {JOURNAL}")))?;
        let journal: Journal =
            serde_json::from_str(journal).map_err(|error| foreign(error.to_string()))?;
        if journal.cluster != cluster {
            return Err(foreign("it is of another cluster".to_owned()));
        }
        Ok(Backup {
            path: path.to_owned(),
            items: items.clone(),
            known: items.iter().map(Reference::to).collect(),
            journal,
        })
    }

    /// The objects that were made, or were about to be.
    #[must_use]
    pub fn made(&self) -> &BTreeSet<Reference> {
        &self.journal.made
    }

    /// What was there before.
    #[must_use]
    pub fn items(&self) -> &[Value] {
        &self.items
    }

    /// What was changed of an object.
    #[must_use]
    pub fn change(&self, object: &Reference) -> Option<&Value> {
        self.journal.changed.get(object)
    }

    /// Everything has been taken back: the file gets another name, so that nothing is put back a second time.
    ///
    /// # Errors
    /// When it cannot have one.
    pub fn close(&self) -> Result<PathBuf, Error> {
        let mut name = self.path.clone().into_os_string();
        name.push(".rolled-back");
        let name = PathBuf::from(name);
        std::fs::rename(&self.path, &name).map_err(|error| self.failed(error))?;
        Ok(name)
    }

    fn failed(&self, error: io::Error) -> Error {
        Error::File {
            path: self.path.clone(),
            error,
        }
    }

    /// Adds the objects that the changes touch and that are not there yet, and what is done to them, and makes sure that
    /// it is on the disk.
    ///
    /// # Errors
    /// When it is not: then nothing may be written.
    pub fn add(&mut self, changes: &[Change]) -> Result<(), Error> {
        for change in changes {
            let reference = Reference::to(&change.after);
            let Some(before) = &change.before else {
                if !self.known.contains(&reference) {
                    self.journal.made.insert(reference);
                }
                continue;
            };
            // What others have made since is not ours to take away.
            if self.journal.made.contains(&reference) && !is_ours(before) {
                self.journal.made.remove(&reference);
            }
            if self.journal.made.contains(&reference) {
                continue;
            }
            self.put(before);
            let patch = merge_patch(before, &change.after);
            if !patch.is_null() {
                let known = self.journal.changed.entry(reference);
                overlay(known.or_insert_with(|| json!({})), &patch);
            }
        }
        self.write().map_err(|error| self.failed(error))
    }

    /// Adds objects that nothing is done to here, but that others may take away.
    ///
    /// # Errors
    /// When they are not on the disk.
    pub fn keep<'o>(&mut self, objects: impl IntoIterator<Item = &'o Value>) -> Result<(), Error> {
        for object in objects {
            self.put(object);
        }
        self.write().map_err(|error| self.failed(error))
    }

    fn put(&mut self, object: &Value) {
        if self.known.insert(Reference::to(object)) {
            self.items.push(applicable(object));
        }
    }

    /// A new file in the place of the old one, all of it or nothing.
    fn write(&self) -> io::Result<()> {
        let list = json!({
            "apiVersion": "v1", "kind": "List",
            "metadata": {"annotations": {JOURNAL: json!(self.journal).to_string()}},
            "items": self.items,
        });
        let folder = match self.path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let mut fresh = self.path.clone().into_os_string();
        fresh.push(".new");
        match std::fs::remove_file(&fresh) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        // Only for the owner's eyes: releases hold passwords.
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&fresh)?;
        let mut file = io::BufWriter::new(file);
        serde_json::to_writer_pretty(&mut file, &list)?;
        file.write_all(b"\n")?;
        file.into_inner()?.sync_all()?;
        std::fs::rename(&fresh, &self.path)?;
        File::open(folder)?.sync_all()
    }
}

/// Whether nobody but us has written the object.
fn is_ours(object: &Value) -> bool {
    let entries = object.pointer("/metadata/managedFields");
    let mut entries = entries.and_then(Value::as_array).into_iter().flatten();
    entries.all(|entry| {
        let manager = entry.get("manager").and_then(Value::as_str);
        manager == Some(MANAGER) || manager == Some(FIELD_MANAGER)
    })
}

/// One patch after the other, as one.
fn overlay(patch: &mut Value, later: &Value) {
    match (patch, later) {
        (Value::Object(patch), Value::Object(later)) => {
            for (name, value) in later {
                overlay(patch.entry(name.clone()).or_insert(Value::Null), value);
            }
        }
        (patch, later) => *patch = later.clone(),
    }
}

/// The object without what the API server fills in: what it had is what anybody may apply again.
#[must_use]
pub fn applicable(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(members) = object.as_object_mut() {
        members.remove("status");
    }
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        for member in [
            "managedFields",
            "resourceVersion",
            "uid",
            "generation",
            "creationTimestamp",
            "selfLink",
        ] {
            metadata.remove(member);
        }
    }
    object
}

#[cfg(test)]
mod tests {
    #![allow(clippy::pedantic, clippy::unwrap_used)]

    use super::*;
    use std::os::unix::fs::PermissionsExt as _;
    use webhooks::migration::Step;

    fn change(name: &str, value: &str) -> Change {
        let before = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "status": {"a": 1},
            "metadata": {"name": name, "namespace": "a", "uid": "1", "resourceVersion": "5", "managedFields": []},
            "data": {"key": value},
        });
        Change {
            step: Step::Values,
            after: before.clone(),
            before: Some(before),
            why: String::new(),
        }
    }

    #[test]
    fn the_first_look_counts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("backup.json");
        let mut backup = Backup::open(&path, "one").unwrap();
        backup.add(&[change("a", "first")]).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let mut again = Backup::open(&path, "one").unwrap();
        again
            .add(&[change("a", "second"), change("b", "first")])
            .unwrap();
        let kept = Backup::open(&path, "one").unwrap();
        let kept: Vec<_> = kept
            .items()
            .iter()
            .map(|item| (item["metadata"].clone(), item["data"]["key"].clone()))
            .collect();
        assert_eq!(
            kept,
            [
                (json!({"name": "a", "namespace": "a"}), json!("first")),
                (json!({"name": "b", "namespace": "a"}), json!("first")),
            ]
        );
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        assert!(Backup::open(&path, "another").is_err());
        again.close().unwrap();
        assert_eq!(Backup::open(&path, "another").unwrap().items().len(), 0);
    }

    #[test]
    fn other_files_are_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        for text in ["", "text", "{}", r#"{"kind": "List"}"#, "[]"] {
            let path = folder.path().join("other");
            std::fs::write(&path, text).unwrap();
            assert!(Backup::open(&path, "one").is_err(), "{text}");
        }
        assert!(Backup::open(folder.path(), "one").is_err());
        let mut nowhere = Backup::open(&folder.path().join("missing/backup"), "one").unwrap();
        assert!(nowhere.add(&[]).is_err());
    }
}
