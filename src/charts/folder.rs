//! Charts from files, for the offline commands: archives by the name of their artifact, or a checkout of the platform's
//! packages, from which an archive is made as the platform makes it.

use super::archive::{self, ArchiveError};
use super::book::{Book, State};
use crate::cluster::Caches;
use flate2::Compression;
use flate2::write::GzEncoder;
use std::collections::BTreeSet;
use std::path::{Component as PathStep, Path, PathBuf};
use std::sync::Arc;
use webhooks::charts::Component;
use webhooks::kinds::PACKAGE_SOURCES;
use webhooks::packages::{self, Source, Variant};

/// Why a chart of a folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// A file or folder cannot be read.
    #[error("{}: {error}", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// It is no chart.
    #[error("{}: {error}", path.display())]
    Chart {
        /// The archive or folder.
        path: PathBuf,
        /// Why.
        error: ArchiveError,
    },
}

/// A folder of charts.
#[derive(Debug, Clone)]
pub struct Folder(PathBuf);

impl Folder {
    /// That folder.
    ///
    /// # Errors
    /// When it is none.
    pub fn open(path: &Path) -> Result<Folder, FolderError> {
        std::fs::read_dir(path)
            .map(|_| Folder(path.to_owned()))
            .map_err(|error| FolderError::Read {
                path: path.to_owned(),
                error,
            })
    }

    /// Puts the charts of a source's components into the book: `<artifact>.tgz` or `<artifact>.tar.gz`, else the folder
    /// at the component's path. One that is no chart is not known, as in a cluster.
    pub fn take(&self, name: &str, source: Source<'_>, book: &Book) {
        for variant in source.variants() {
            for (artifact, component) in super::installable_of(name, variant) {
                match self.chart(&artifact, variant, component) {
                    Ok(Some(chart)) => book.put(&artifact, Arc::new(chart)),
                    Err(error) => book.miss(&artifact, State::Failed, &error.to_string()),
                    Ok(None) => book.miss(
                        &artifact,
                        State::Failed,
                        &format!(
                            "no {artifact}.tgz and no {} among the charts given",
                            component.path()
                        ),
                    ),
                }
            }
        }
    }

    /// The same for every source that is known.
    pub fn take_all(&self, caches: &Caches) {
        let sources = caches.cache(&PACKAGE_SOURCES.resource);
        for source in sources.map(|cache| cache.objects()).unwrap_or_default() {
            self.take(&source.name, Source::of(&source), &caches.charts);
        }
    }

    fn chart(
        &self,
        artifact: &str,
        variant: Variant<'_>,
        component: packages::Component<'_>,
    ) -> Result<Option<Component>, FolderError> {
        let names: Vec<&str> = component.values_files().collect();
        for end in ["tgz", "tar.gz"] {
            let path = self.0.join(format!("{artifact}.{end}"));
            if path.is_file() {
                let bytes = std::fs::read(&path).map_err(|error| FolderError::Read {
                    path: path.clone(),
                    error,
                })?;
                return compiled(&path, &bytes, &names).map(Some);
            }
        }
        let libraries = || {
            let all = variant.libraries();
            all.filter(|library| component.libraries().any(|name| name == library.name()))
        };
        if !is_below(component.path()) || !libraries().all(|library| is_below(library.path())) {
            return Ok(None);
        }
        let path = self.0.join(component.path());
        if !path.join("Chart.yaml").is_file() {
            return Ok(None);
        }
        // A checkout has the same library there already, for those who work on the chart.
        let libraries: Vec<(&str, PathBuf)> = libraries()
            .filter(|library| !path.join("charts").join(library.name()).exists())
            .map(|library| (library.name(), self.0.join(library.path())))
            .collect();
        compiled(&path, &packed(&path, &names, &libraries)?, &names).map(Some)
    }
}

fn compiled(path: &Path, bytes: &[u8], names: &[&str]) -> Result<Component, FolderError> {
    archive::read(bytes, names)
        .map(|unpacked| unpacked.component(names, ""))
        .map_err(|error| FolderError::Chart {
            path: path.to_owned(),
            error,
        })
}

/// The archive of a chart's folder, with libraries in its `charts/`: what [`archive::read`] keeps of it. Links are
/// followed, as a checkout has them.
fn packed(
    path: &Path,
    values_files: &[&str],
    libraries: &[(&str, PathBuf)],
) -> Result<Vec<u8>, FolderError> {
    let mut pack = Pack {
        builder: tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast())),
        left: archive::UNPACKED_MAX_BYTES,
    };
    pack.chart(path, "chart", values_files, 0)?;
    for (name, library) in libraries {
        pack.chart(library, &format!("chart/charts/{name}"), &[], 1)?;
    }
    let failed = |error| FolderError::Read {
        path: path.to_owned(),
        error,
    };
    pack.builder
        .into_inner()
        .and_then(GzEncoder::finish)
        .map_err(failed)
}

struct Pack {
    builder: tar::Builder<GzEncoder<Vec<u8>>>,
    /// Bytes that may still be packed.
    left: u64,
}

impl Pack {
    /// The files of a chart that decide on values, and the charts in it.
    fn chart(
        &mut self,
        path: &Path,
        name: &str,
        values_files: &[&str],
        depth: usize,
    ) -> Result<(), FolderError> {
        let files: BTreeSet<&&str> = archive::KEPT_FILES.iter().chain(values_files).collect();
        for file in files {
            self.file(&path.join(file), &format!("{name}/{file}"))?;
        }
        let charts = path.join("charts");
        if !charts.is_dir() || depth > archive::DEPTH_MAX {
            return Ok(());
        }
        let failed = |error| FolderError::Read {
            path: charts.clone(),
            error,
        };
        for entry in std::fs::read_dir(&charts).map_err(failed)? {
            let below = entry.map_err(failed)?;
            let file_name = below.file_name();
            let inner = format!("{name}/charts/{}", file_name.to_string_lossy());
            if below.path().is_dir() {
                self.chart(&below.path(), &inner, &[], depth + 1)?;
            } else if below.path().extension().is_some_and(|end| end == "tgz") {
                self.file(&below.path(), &inner)?;
            }
        }
        Ok(())
    }

    /// One file, if it is there.
    fn file(&mut self, path: &Path, name: &str) -> Result<(), FolderError> {
        let Ok(found) = std::fs::metadata(path) else {
            return Ok(());
        };
        if !found.is_file() {
            return Ok(());
        }
        let Some(left) = self.left.checked_sub(found.len()) else {
            return Err(FolderError::Chart {
                path: path.to_owned(),
                error: ArchiveError::UnpackedTooLarge,
            });
        };
        self.left = left;
        self.builder
            .append_path_with_name(path, name)
            .map_err(|error| FolderError::Read {
                path: path.to_owned(),
                error,
            })
    }
}

/// Whether a path of a source stays below the folder.
fn is_below(path: &str) -> bool {
    let mut steps = Path::new(path).components();
    steps.all(|step| matches!(step, PathStep::Normal(_) | PathStep::CurDir))
}
