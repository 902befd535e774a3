//! A chart's archive, read as Helm 3.21 reads it, within limits: whoever can push an artifact must not be able to fill
//! the memory. Only what decides on values is kept.
//!
//! Reading an archive of the largest size takes up to a second: it has no place on the way to an answer.

use crate::manifest::yaml;
use flate2::read::MultiGzDecoder;
use serde_json::{Map, Value};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::io::Read;
use std::time::{Duration, Instant};
use tar::EntryType;
use webhooks::charts::{Chart, Component, Dependency, Import, is_version};

/// Largest archive, in bytes. The largest chart of a release has less than 2 MB.
pub const ARCHIVE_MAX_BYTES: usize = 20 << 20;
/// Most bytes that are unpacked, those of subcharts included; Helm's limit for the files of one archive.
pub const UNPACKED_MAX_BYTES: u64 = 100 << 20;
/// Largest file of an archive, in bytes; Helm's limit.
pub const FILE_MAX_BYTES: u64 = 5 << 20;
/// Most bytes of files that are kept, those of subcharts included.
pub const KEPT_MAX_BYTES: u64 = 32 << 20;
/// Most entries, those of subcharts included.
pub const ENTRIES_MAX: usize = 10_000;
/// Longest time of unpacking: the largest archive takes about a second.
pub const UNPACK_TIME: Duration = Duration::from_secs(10);
/// Deepest nesting of subcharts.
pub const DEPTH_MAX: usize = 8;
/// Longest name of an entry, in bytes.
pub const NAME_MAX_BYTES: u64 = 4 << 10;
/// Largest extended header of an entry, in bytes.
pub const EXTENSION_MAX_BYTES: u64 = 64 << 10;

/// Why an archive is no chart, or none that is read.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// More bytes than [`ARCHIVE_MAX_BYTES`].
    #[error("the archive has {found} bytes, more than {ARCHIVE_MAX_BYTES}")]
    ArchiveTooLarge {
        /// How many there are.
        found: usize,
    },
    /// More bytes than [`UNPACKED_MAX_BYTES`].
    #[error("the archive unpacks to more than {UNPACKED_MAX_BYTES} bytes")]
    UnpackedTooLarge,
    /// It takes longer than [`UNPACK_TIME`].
    #[error("the archive takes longer than {} s to unpack", UNPACK_TIME.as_secs())]
    TooSlow,
    /// More bytes to keep than [`KEPT_MAX_BYTES`].
    #[error("values and schemas have more than {KEPT_MAX_BYTES} bytes together")]
    KeptTooLarge,
    /// A file with more bytes than [`FILE_MAX_BYTES`].
    #[error("{name:?} has {found} bytes, more than {FILE_MAX_BYTES}")]
    FileTooLarge {
        /// The file.
        name: String,
        /// How many there are.
        found: u64,
    },
    /// More entries than [`ENTRIES_MAX`].
    #[error("the archive has more than {ENTRIES_MAX} entries")]
    TooManyEntries,
    /// Charts within charts, deeper than [`DEPTH_MAX`].
    #[error("{name:?} is nested more than {DEPTH_MAX} charts deep")]
    TooDeep {
        /// Where.
        name: String,
    },
    /// A name longer than [`NAME_MAX_BYTES`], or an extended header larger than [`EXTENSION_MAX_BYTES`].
    #[error("an entry has a name or a header that is too long")]
    NameTooLong,
    /// A name that is not UTF-8.
    #[error("an entry has a name that is not UTF-8: {0:?}")]
    NameNotUtf8(String),
    /// A name that leads out of the chart.
    #[error("{0:?} leads out of the chart: names are relative, without .., below one folder")]
    Outside(String),
    /// A link, a device or the like.
    #[error("{name:?} is {kind}: only files and folders may be in a chart")]
    NotAFile {
        /// The entry.
        name: String,
        /// What it is.
        kind: &'static str,
    },
    /// A file that is there twice.
    #[error("{0:?} is there twice")]
    Twice(String),
    /// No gzip, no tar, or not all of it.
    #[error("not an archive that can be read: {0}")]
    Broken(std::io::Error),
    /// No Chart.yaml where one must be.
    #[error("{0}Chart.yaml is missing")]
    NoChart(String),
    /// A file that is not what it should be.
    #[error("{name}: {detail}")]
    BadFile {
        /// The file, below the folder of the chart.
        name: String,
        /// What is wrong.
        detail: String,
    },
}

/// A chart, and the files of values that were asked for.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Unpacked {
    /// The chart.
    pub chart: Chart,
    /// Those of the files that are there, by name.
    pub values_files: BTreeMap<String, Value>,
}

impl Unpacked {
    /// Made ready to be asked. `values_files` are the names that were asked for, in the order that counts.
    #[must_use]
    pub fn component(self, values_files: &[&str], digest: impl Into<String>) -> Component {
        let files = values_files
            .iter()
            .filter_map(|name| self.values_files.get(*name));
        Component::new(self.chart, files, digest)
    }
}

/// Reads an archive; `values_files` are names, below the folder of the chart, of more files of values.
///
/// # Errors
/// When it is no chart, is broken, or breaks a limit.
pub fn read(bytes: &[u8], values_files: &[&str]) -> Result<Unpacked, ArchiveError> {
    if bytes.len() > ARCHIVE_MAX_BYTES {
        return Err(ArchiveError::ArchiveTooLarge { found: bytes.len() });
    }
    let budget = Budget {
        unpacked: Cell::new(UNPACKED_MAX_BYTES),
        is_spent: Cell::new(false),
        end: Instant::now() + UNPACK_TIME,
        kept: Cell::new(KEPT_MAX_BYTES),
        entries: Cell::new(ENTRIES_MAX),
    };
    let folder = unpack(bytes, values_files, 0, "", &budget)?;
    let mut read_files = BTreeMap::new();
    for name in values_files {
        if let Some(text) = folder.files.get(*name) {
            read_files.insert((*name).to_owned(), values_of(name, text)?);
        }
    }
    Ok(Unpacked {
        chart: chart_of(folder, 0, "", &budget)?,
        values_files: read_files,
    })
}

/// What is left of the limits.
struct Budget {
    unpacked: Cell<u64>,
    is_spent: Cell<bool>,
    end: Instant,
    kept: Cell<u64>,
    entries: Cell<usize>,
}

impl Budget {
    /// An error of reading, or the limit that caused it.
    fn failed(&self, error: std::io::Error) -> ArchiveError {
        if Instant::now() >= self.end {
            ArchiveError::TooSlow
        } else if self.is_spent.get() {
            ArchiveError::UnpackedTooLarge
        } else {
            ArchiveError::Broken(error)
        }
    }
}

/// Gives no more than what is left.
struct Bounded<'a, R> {
    inner: R,
    budget: &'a Budget,
}

impl<R: Read> Read for Bounded<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if Instant::now() >= self.budget.end {
            return Err(std::io::Error::other("unpacking takes too long"));
        }
        let count = self.inner.read(buffer)?;
        let left = self.budget.unpacked.get();
        let count_long = u64::try_from(count).unwrap_or(u64::MAX);
        if count_long > left {
            self.budget.is_spent.set(true);
            return Err(std::io::Error::other("too much is unpacked"));
        }
        self.budget.unpacked.set(left - count_long);
        Ok(count)
    }
}

/// A chart's files, those that are kept.
#[derive(Default)]
struct Folder {
    files: BTreeMap<String, Vec<u8>>,
    charts: BTreeMap<String, Subchart>,
}

enum Subchart {
    Folder(Folder),
    Packed(Vec<u8>),
}

const CHART_FILE: &str = "Chart.yaml";
const VALUES_FILE: &str = "values.yaml";
const SCHEMA_FILE: &str = "values.schema.json";
/// Where charts of the first API version declare their dependencies.
const REQUIREMENTS_FILE: &str = "requirements.yaml";
/// The files of a chart that decide on values.
pub const KEPT_FILES: [&str; 4] = [CHART_FILE, VALUES_FILE, SCHEMA_FILE, REQUIREMENTS_FILE];

fn unpack(
    bytes: &[u8],
    values_files: &[&str],
    depth: usize,
    place: &str,
    budget: &Budget,
) -> Result<Folder, ArchiveError> {
    let mut archive = tar::Archive::new(Bounded {
        inner: MultiGzDecoder::new(bytes),
        budget,
    });
    // What stands in extended headers is read here: the library would take any size of it.
    let entries = archive.entries().map_err(ArchiveError::Broken)?.raw(true);
    let mut folder = Folder::default();
    let mut long_name: Option<Vec<u8>> = None;
    let mut is_empty = true;
    for entry in entries {
        let mut entry = entry.map_err(|error| budget.failed(error))?;
        match budget.entries.get().checked_sub(1) {
            Some(fewer) => budget.entries.set(fewer),
            None => return Err(ArchiveError::TooManyEntries),
        }
        let kind = entry.header().entry_type();
        let size = entry.size();
        match kind {
            EntryType::XGlobalHeader => continue,
            EntryType::GNULongName => {
                let name = contents(&mut entry, size, NAME_MAX_BYTES, budget)?;
                let end = name
                    .iter()
                    .position(|byte| *byte == 0)
                    .unwrap_or(name.len());
                long_name = name.get(..end).map(<[u8]>::to_vec);
                continue;
            }
            EntryType::XHeader => {
                let header = contents(&mut entry, size, EXTENSION_MAX_BYTES, budget)?;
                for extension in tar::PaxExtensions::new(&header) {
                    let extension = extension.map_err(ArchiveError::Broken)?;
                    match extension.key_bytes() {
                        b"path" => long_name = Some(extension.value_bytes().to_vec()),
                        // The next header would have another size than its data.
                        b"size" => {
                            return Err(ArchiveError::FileTooLarge {
                                name: place.to_owned(),
                                found: UNPACKED_MAX_BYTES,
                            });
                        }
                        _ => {}
                    }
                }
                continue;
            }
            _ => {}
        }
        let raw_name = long_name
            .take()
            .unwrap_or_else(|| entry.path_bytes().into_owned());
        if u64::try_from(raw_name.len()).unwrap_or(u64::MAX) > NAME_MAX_BYTES {
            return Err(ArchiveError::NameTooLong);
        }
        let name = String::from_utf8(raw_name).map_err(|error| {
            ArchiveError::NameNotUtf8(String::from_utf8_lossy(error.as_bytes()).into_owned())
        })?;
        if let Some(kind) = special(kind) {
            return Err(ArchiveError::NotAFile { name, kind });
        }
        if kind == EntryType::Directory || name.ends_with('/') {
            inside(&name)?;
            continue;
        }
        if size > FILE_MAX_BYTES {
            return Err(ArchiveError::FileTooLarge { name, found: size });
        }
        let steps = inside(&name)?;
        if steps.is_empty() {
            return Err(ArchiveError::Outside(name));
        }
        is_empty = false;
        let steps: Vec<&str> = steps.iter().map(String::as_str).collect();
        let Some(slot) = folder.slot(&steps, values_files, depth, &name)? else {
            continue;
        };
        let kept = budget.kept.get().checked_sub(size);
        budget.kept.set(kept.ok_or(ArchiveError::KeptTooLarge)?);
        let mut data = contents(&mut entry, size, FILE_MAX_BYTES, budget)?;
        if data.starts_with(b"\xef\xbb\xbf") {
            data.drain(..3);
        }
        *slot = data;
    }
    if is_empty {
        return Err(ArchiveError::NoChart(place.to_owned()));
    }
    Ok(folder)
}

fn contents(
    entry: &mut impl Read,
    size: u64,
    max: u64,
    budget: &Budget,
) -> Result<Vec<u8>, ArchiveError> {
    if size > max {
        return Err(ArchiveError::NameTooLong);
    }
    let mut data = Vec::new();
    entry
        .read_to_end(&mut data)
        .map_err(|error| budget.failed(error))?;
    if u64::try_from(data.len()).ok() != Some(size) {
        return Err(budget.failed(std::io::ErrorKind::UnexpectedEof.into()));
    }
    Ok(data)
}

/// What is neither a file nor a folder.
fn special(kind: EntryType) -> Option<&'static str> {
    match kind {
        EntryType::Regular | EntryType::Continuous | EntryType::Directory => None,
        EntryType::Symlink | EntryType::GNULongLink => Some("a symbolic link"),
        EntryType::Link => Some("a hard link"),
        EntryType::Char | EntryType::Block => Some("a device"),
        EntryType::Fifo => Some("a pipe"),
        EntryType::GNUSparse => Some("a file with holes"),
        _ => Some("of an unknown kind"),
    }
}

/// The steps of a name below the folder of the chart.
fn inside(name: &str) -> Result<Vec<String>, ArchiveError> {
    let outside = || ArchiveError::Outside(name.to_owned());
    // Archives that were made on Windows.
    let delimiter = if name.contains('\\') { '\\' } else { '/' };
    let is_drive = |text: &str| {
        let mut bytes = text.bytes();
        bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic()) && bytes.next() == Some(b':')
    };
    let (folder, rest) = name.split_once(delimiter).unwrap_or((name, ""));
    let rest = rest.replace(delimiter, "/");
    let is_outside = name.starts_with(['/', '\\'])
        || rest.starts_with('/')
        || name.contains('\0')
        || name.split(['/', '\\']).any(|step| step == "..")
        || is_drive(name)
        || is_drive(&rest)
        || folder == CHART_FILE;
    if is_outside {
        return Err(outside());
    }
    Ok(rest
        .split('/')
        .filter(|step| !step.is_empty() && *step != ".")
        .map(str::to_owned)
        .collect())
}

/// What stands behind the last dot.
fn extension(name: &str) -> &str {
    name.rsplit_once('.').map_or("", |(_, extension)| extension)
}

impl Folder {
    /// Where the file is kept; none when it is not. Charts that come to light are noted.
    fn slot(
        &mut self,
        steps: &[&str],
        values_files: &[&str],
        depth: usize,
        name: &str,
    ) -> Result<Option<&mut Vec<u8>>, ArchiveError> {
        if let ["charts", chart, rest @ ..] = steps {
            let is_signature = steps.last().is_some_and(|last| extension(last) == "prov");
            if is_signature || chart.starts_with(['_', '.']) {
                return Ok(None);
            }
            if depth >= DEPTH_MAX {
                return Err(ArchiveError::TooDeep {
                    name: name.to_owned(),
                });
            }
            let twice = || ArchiveError::Twice(name.to_owned());
            if extension(chart) == "tgz" {
                if !rest.is_empty() {
                    return Err(ArchiveError::BadFile {
                        name: name.to_owned(),
                        detail: "a packed chart is a file, not a folder".to_owned(),
                    });
                }
                if self.charts.contains_key(*chart) {
                    return Err(twice());
                }
                let packed = self
                    .charts
                    .entry((*chart).to_owned())
                    .or_insert(Subchart::Packed(Vec::new()));
                return match packed {
                    Subchart::Packed(bytes) => Ok(Some(bytes)),
                    Subchart::Folder(_) => Err(twice()),
                };
            }
            let below = self
                .charts
                .entry((*chart).to_owned())
                .or_insert_with(|| Subchart::Folder(Folder::default()));
            return match below {
                Subchart::Folder(_) if rest.is_empty() => Ok(None),
                Subchart::Folder(folder) => folder.slot(rest, &[], depth + 1, name),
                Subchart::Packed(_) => Err(twice()),
            };
        }
        let path = steps.join("/");
        let is_kept = KEPT_FILES.contains(&path.as_str()) || values_files.contains(&path.as_str());
        if !is_kept {
            return Ok(None);
        }
        if self.files.contains_key(&path) {
            return Err(ArchiveError::Twice(name.to_owned()));
        }
        Ok(Some(self.files.entry(path).or_default()))
    }
}

fn chart_of(
    mut folder: Folder,
    depth: usize,
    place: &str,
    budget: &Budget,
) -> Result<Chart, ArchiveError> {
    let named = |file: &str| format!("{place}{file}");
    let Some(text) = folder.files.remove(CHART_FILE) else {
        return Err(ArchiveError::NoChart(place.to_owned()));
    };
    let file = named(CHART_FILE);
    let metadata = values_of(&file, &text)?;
    let mut chart = metadata_of(&metadata).map_err(|detail| ArchiveError::BadFile {
        name: file.clone(),
        detail,
    })?;
    if let Some(text) = folder.files.remove(REQUIREMENTS_FILE) {
        let file = named(REQUIREMENTS_FILE);
        let requirements = values_of(&file, &text)?;
        let declared = dependencies_of(&requirements)
            .map_err(|detail| ArchiveError::BadFile { name: file, detail })?;
        chart.dependencies = declared.or(chart.dependencies);
    }
    if let Some(text) = folder.files.remove(VALUES_FILE) {
        chart.values = values_of(&named(VALUES_FILE), &text)?;
    }
    // Go's JSON takes any bytes within strings.
    chart.schema = folder
        .files
        .remove(SCHEMA_FILE)
        .map(|text| String::from_utf8_lossy(&text).into_owned());
    for (name, subchart) in folder.charts {
        let place = format!("{place}charts/{name}/");
        chart.subcharts.push(match subchart {
            Subchart::Folder(folder) => chart_of(folder, depth + 1, &place, budget)?,
            Subchart::Packed(bytes) => {
                let folder = unpack(&bytes, &[], depth + 1, &place, budget)?;
                chart_of(folder, depth + 1, &place, budget)?
            }
        });
    }
    Ok(chart)
}

/// A file that holds a map, or nothing.
fn values_of(name: &str, text: &[u8]) -> Result<Value, ArchiveError> {
    let bad = |detail: String| ArchiveError::BadFile {
        name: name.to_owned(),
        detail,
    };
    let text = std::str::from_utf8(text).map_err(|error| bad(error.to_string()))?;
    match yaml::first_document(text).map_err(|error| bad(error.to_string()))? {
        value @ (Value::Object(_) | Value::Null) => Ok(value),
        _ => Err(bad("must be a map".to_owned())),
    }
}

/// What Helm checks of Chart.yaml when it loads it (`chart.Metadata.Validate`).
fn metadata_of(metadata: &Value) -> Result<Chart, String> {
    let members = metadata.as_object().ok_or("must be a map")?;
    let name = text(members, "name")?;
    if name.is_empty() || matches!(name.as_str(), "." | "..") || name.contains('/') {
        return Err(format!("name {name:?} is not allowed"));
    }
    let version = text(members, "version")?;
    if !is_version(&version) {
        return Err(format!("version {version:?} is not a semantic version"));
    }
    let kind = text(members, "type")?;
    if !matches!(kind.as_str(), "" | "application" | "library") {
        return Err(format!(
            "type must be application or library, found {kind:?}"
        ));
    }
    Ok(Chart {
        name,
        version,
        is_library: kind == "library",
        dependencies: dependencies_of(metadata)?,
        ..Chart::default()
    })
}

fn dependencies_of(metadata: &Value) -> Result<Option<Vec<Dependency>>, String> {
    let list = match metadata.get("dependencies") {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Array(list)) => list,
        Some(_) => return Err("dependencies must be a list".to_owned()),
    };
    let mut dependencies: Vec<Dependency> = Vec::new();
    for entry in list {
        let members = entry
            .as_object()
            .ok_or("dependencies must be a list of maps")?;
        let alias = text(members, "alias")?;
        let is_alias = alias
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
        if !is_alias {
            return Err(format!("alias {alias:?} is not allowed"));
        }
        let mut tags = Vec::new();
        match members.get("tags") {
            None | Some(Value::Null) => {}
            Some(Value::Array(list)) => {
                for tag in list {
                    tags.push(scalar(tag).ok_or("tags must be a list of strings")?);
                }
            }
            Some(_) => return Err("tags must be a list".to_owned()),
        }
        let import_values = match members.get("import-values") {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Array(list)) => list.iter().filter_map(import).collect(),
            Some(_) => return Err("import-values must be a list".to_owned()),
        };
        let dependency = Dependency {
            name: text(members, "name")?,
            version: text(members, "version")?,
            alias: (!alias.is_empty()).then_some(alias),
            condition: text(members, "condition")?,
            tags,
            import_values,
        };
        let key = |one: &Dependency| one.alias.clone().unwrap_or_else(|| one.name.clone());
        if dependencies.iter().any(|one| key(one) == key(&dependency)) {
            return Err(format!(
                "more than one dependency with name or alias {:?}",
                key(&dependency)
            ));
        }
        dependencies.push(dependency);
    }
    Ok(Some(dependencies))
}

fn import(entry: &Value) -> Option<Import> {
    match entry {
        Value::String(name) => Some(Import::Exported(name.clone())),
        Value::Object(members) => {
            let part = |key: &str| match members.get(key) {
                None | Some(Value::Null) => "<nil>".to_owned(),
                Some(Value::String(text)) => text.clone(),
                Some(other) => other.to_string(),
            };
            Some(Import::At {
                child: part("child"),
                parent: part("parent"),
            })
        }
        _ => None,
    }
}

/// A member that is a string; a number or a boolean is read as one.
fn text(members: &Map<String, Value>, key: &str) -> Result<String, String> {
    match members.get(key) {
        None | Some(Value::Null) => Ok(String::new()),
        Some(value) => scalar(value).ok_or_else(|| format!("{key} must be a string")),
    }
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}
