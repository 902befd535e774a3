//! Manifests from files, folders and standard input, read as kubectl reads them.

pub use webhooks::yaml;

use serde_json::Value;
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// One object and where it stands.
#[derive(Debug, Clone)]
pub struct Manifest {
    /// File and line, or `-` for standard input.
    pub source: String,
    /// `apiVersion`
    pub api_version: String,
    /// `kind`
    pub kind: String,
    /// The object.
    pub value: Value,
}

impl Manifest {
    /// The API group; empty for the core group.
    #[must_use]
    pub fn group(&self) -> &str {
        self.api_version
            .split_once('/')
            .map_or("", |(group, _)| group)
    }

    /// The version without the group.
    #[must_use]
    pub fn version(&self) -> &str {
        self.api_version
            .split_once('/')
            .map_or(self.api_version.as_str(), |(_, version)| version)
    }

    /// The text of a member of `metadata`, empty when it is not there.
    #[must_use]
    pub fn metadata(&self, member: &str) -> &str {
        self.value
            .pointer(&format!("/metadata/{member}"))
            .and_then(Value::as_str)
            .unwrap_or_default()
    }
}

/// Input that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or folder cannot be read.
    #[error("{path}: {error}")]
    Read {
        /// The file.
        path: String,
        /// Why.
        error: std::io::Error,
    },
    /// A file is no YAML or JSON.
    #[error("{path}: {error}")]
    Syntax {
        /// The file.
        path: String,
        /// Where and why.
        error: yaml::Error,
    },
    /// A document is no Kubernetes object.
    #[error("{source_line}: {detail}")]
    Object {
        /// File and line.
        source_line: String,
        /// What is missing.
        detail: &'static str,
    },
    /// A folder has no manifest.
    #[error("{path}: no .yaml, .yml or .json file in this folder")]
    Empty {
        /// The folder.
        path: String,
    },
}

/// The objects in files and folders (`.yaml`, `.yml`, `.json`, with sub-folders, in order of their names) and, for
/// `-`, in standard input. A List counts as its items.
///
/// # Errors
/// When anything cannot be read: nothing is left out silently.
pub fn read(paths: &[PathBuf]) -> Result<Vec<Manifest>, Error> {
    let mut manifests = Vec::new();
    for text in texts(paths)? {
        manifests.append(&mut text.read()?);
    }
    Ok(manifests)
}

/// Something that holds manifests, read when it is wanted: who looks at one after the other need not hold them all.
#[derive(Debug)]
pub enum Text {
    /// A file.
    File(PathBuf),
    /// What standard input held; it can be read only once.
    Input(String),
}

impl Text {
    /// The objects in it.
    ///
    /// # Errors
    /// When it cannot be read, or is no YAML of objects.
    pub fn read(&self) -> Result<Vec<Manifest>, Error> {
        match self {
            Text::Input(text) => parse("-", text),
            Text::File(file) => {
                let name = file.display().to_string();
                let text = std::fs::read_to_string(file).map_err(|error| Error::Read {
                    path: name.clone(),
                    error,
                })?;
                parse(&name, &text)
            }
        }
    }
}

/// What [`read`] reads, in its order.
///
/// # Errors
/// When a folder or standard input cannot be read.
pub fn texts(paths: &[PathBuf]) -> Result<Vec<Text>, Error> {
    let mut texts = Vec::new();
    for path in paths {
        if path.as_os_str() == "-" {
            let mut text = String::new();
            std::io::stdin()
                .read_to_string(&mut text)
                .map_err(|error| Error::Read {
                    path: "-".to_owned(),
                    error,
                })?;
            texts.push(Text::Input(text));
        } else {
            texts.extend(files_below(path)?.into_iter().map(Text::File));
        }
    }
    Ok(texts)
}

fn files_below(path: &Path) -> Result<Vec<PathBuf>, Error> {
    let failed = |error| Error::Read {
        path: path.display().to_string(),
        error,
    };
    if !std::fs::metadata(path).map_err(failed)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut folders = vec![path.to_owned()];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let found = entry.path();
            // A link to a folder is not followed: it may lead back here.
            if entry.file_type().map_err(failed)?.is_dir() {
                folders.push(found);
            } else if found
                .extension()
                .is_some_and(|end| ["yaml", "yml", "json"].iter().any(|known| end == *known))
            {
                files.push(found);
            }
        }
    }
    if files.is_empty() {
        return Err(Error::Empty {
            path: path.display().to_string(),
        });
    }
    files.sort();
    Ok(files)
}

/// The objects in a text.
///
/// # Errors
/// When it is no YAML, or a document no object.
pub fn parse(source: &str, text: &str) -> Result<Vec<Manifest>, Error> {
    let documents = yaml::documents(text).map_err(|error| Error::Syntax {
        path: source.to_owned(),
        error,
    })?;
    let mut manifests = Vec::new();
    for document in documents {
        add(
            &mut manifests,
            &format!("{source}:{}", document.line),
            document.value,
        )?;
    }
    Ok(manifests)
}

fn add(manifests: &mut Vec<Manifest>, source_line: &str, mut value: Value) -> Result<(), Error> {
    let text = |value: &Value, member: &str| {
        value
            .get(member)
            .and_then(Value::as_str)
            .map(ToOwned::to_owned)
    };
    let missing = |detail| Error::Object {
        source_line: source_line.to_owned(),
        detail,
    };
    if !value.is_object() {
        return Err(missing("is no object"));
    }
    let kind = text(&value, "kind").ok_or_else(|| missing("has no kind"))?;
    let api_version = text(&value, "apiVersion").ok_or_else(|| missing("has no apiVersion"))?;
    if kind.ends_with("List")
        && let Some(Value::Array(items)) = value.get_mut("items").map(Value::take)
    {
        for (index, item) in items.into_iter().enumerate() {
            add(manifests, &format!("{source_line}[{index}]"), item)?;
        }
        return Ok(());
    }
    manifests.push(Manifest {
        source: source_line.to_owned(),
        api_version,
        kind,
        value,
    });
    Ok(())
}

/// Documents as YAML, each after a `---`, so that kubectl reads back the same values.
///
/// # Errors
/// When a value cannot be written.
pub fn write(documents: &[Value]) -> Result<String, String> {
    let mut text = String::new();
    for document in documents {
        let mut yaml = serde_saphyr::to_string(document).map_err(|error| error.to_string())?;
        if yaml.starts_with("---") || yaml.contains("\n---") {
            // kubectl would take that line for the end of the document; JSON is YAML too.
            yaml = document.to_string();
        }
        text.push_str("---\n");
        text.push_str(&yaml);
        if !text.ends_with('\n') {
            text.push('\n');
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests;
