//! What was there before: a List that kubectl can apply, in a file that is complete before anything is written.

use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
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

/// Annotation of the List: the objects that were made, for those who take them back.
const MADE: &str = "webhook.cozystack.io/made";

/// A backup file.
#[derive(Debug)]
pub struct Backup {
    path: PathBuf,
    items: Vec<Value>,
    made: BTreeSet<Reference>,
}

impl Backup {
    /// The backup in that file: what an earlier run has put there stays, for it saw the objects first.
    ///
    /// # Errors
    /// When the file is something else.
    pub fn open(path: &Path) -> Result<Backup, Error> {
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
                    made: BTreeSet::new(),
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
        let made = match annotations.and_then(|annotations| annotations.get(MADE)?.as_str()) {
            Some(made) => serde_json::from_str(made).map_err(|error| foreign(error.to_string()))?,
            None => BTreeSet::new(),
        };
        Ok(Backup {
            path: path.to_owned(),
            items: items.clone(),
            made,
        })
    }

    /// The objects that were made, or were about to be.
    #[must_use]
    pub fn made(&self) -> &BTreeSet<Reference> {
        &self.made
    }

    /// What was there before.
    #[must_use]
    pub fn items(&self) -> &[Value] {
        &self.items
    }

    /// Adds the objects that the changes touch and that are not there yet, and makes sure that they are on the disk.
    ///
    /// # Errors
    /// When they are not: then nothing may be written.
    pub fn add(&mut self, changes: &[Change]) -> Result<(), Error> {
        let made = changes.iter().filter(|change| change.before.is_none());
        let made: Vec<Reference> = made.map(|change| Reference::to(&change.after)).collect();
        let touched = changes.iter().filter_map(|change| change.before.as_ref());
        self.keep(touched, made)
    }

    /// Adds objects that are not there yet, and the names of those that will be made.
    ///
    /// # Errors
    /// When they are not on the disk: then nothing may be written.
    pub fn keep<'o>(
        &mut self,
        touched: impl IntoIterator<Item = &'o Value>,
        made: impl IntoIterator<Item = Reference>,
    ) -> Result<(), Error> {
        let mut known: BTreeSet<Reference> = self.items.iter().map(Reference::to).collect();
        let before = (self.items.len(), self.made.len());
        // What was made before is not what was there first.
        let made_before = self.made.clone();
        let is_first = |object: &&Value| {
            let reference = Reference::to(object);
            !made_before.contains(&reference) && known.insert(reference)
        };
        let fresh = touched.into_iter().filter(is_first).map(applicable);
        self.items.extend(fresh);
        let known: BTreeSet<Reference> = self.items.iter().map(Reference::to).collect();
        let made = made
            .into_iter()
            .filter(|reference| !known.contains(reference));
        self.made.extend(made);
        if (self.items.len(), self.made.len()) == before && self.path.exists() {
            return Ok(());
        }
        self.write().map_err(|error| Error::File {
            path: self.path.clone(),
            error,
        })
    }

    /// A new file in the place of the old one, all of it or nothing.
    fn write(&self) -> io::Result<()> {
        let list = json!({
            "apiVersion": "v1", "kind": "List", "metadata": {"annotations": {MADE: json!(self.made).to_string()}},
            "items": self.items,
        });
        let folder = match self.path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let mut fresh = self.path.clone().into_os_string();
        fresh.push(".new");
        // Only for the owner's eyes: releases hold passwords.
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&fresh)?;
        serde_json::to_writer_pretty(&mut file, &list)?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        std::fs::rename(&fresh, &self.path)?;
        File::open(folder)?.sync_all()
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
        let mut backup = Backup::open(&path).unwrap();
        backup.add(&[change("a", "first")]).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let mut again = Backup::open(&path).unwrap();
        again
            .add(&[change("a", "second"), change("b", "first")])
            .unwrap();
        let kept = Backup::open(&path).unwrap();
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
    }

    #[test]
    fn other_files_are_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        for text in ["", "text", "{}", r#"{"kind": "List"}"#, "[]"] {
            let path = folder.path().join("other");
            std::fs::write(&path, text).unwrap();
            assert!(Backup::open(&path).is_err(), "{text}");
        }
        assert!(Backup::open(folder.path()).is_err());
        let mut nowhere = Backup::open(&folder.path().join("missing/backup")).unwrap();
        assert!(nowhere.add(&[]).is_err());
    }
}
