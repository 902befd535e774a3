//! Charts from files, for the offline commands: archives by the name of their artifact, or a checkout of the platform's
//! packages, from which an archive is made as the platform makes it.

use super::archive::{self, ArchiveError};
use super::book::{Book, State};
use crate::cluster::Caches;
use flate2::Compression;
use flate2::write::GzEncoder;
use std::path::{Path, PathBuf};
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
    /// at the component's path.
    ///
    /// # Errors
    /// When one that is there is no chart.
    pub fn take(&self, name: &str, source: Source<'_>, book: &Book) -> Result<(), FolderError> {
        for variant in source.variants() {
            for (artifact, component) in super::installable_of(name, variant) {
                match self.chart(&artifact, variant, component)? {
                    Some(chart) => book.put(&artifact, Arc::new(chart)),
                    None => book.miss(
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
        Ok(())
    }

    /// The same for every source that is known.
    ///
    /// # Errors
    /// When one that is there is no chart.
    pub fn take_all(&self, caches: &Caches) -> Result<(), FolderError> {
        let sources = caches.cache(&PACKAGE_SOURCES.resource);
        for source in sources.map(|cache| cache.objects()).unwrap_or_default() {
            self.take(&source.name, Source::of(&source), &caches.charts)?;
        }
        Ok(())
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
        let path = self.0.join(component.path());
        if !path.join("Chart.yaml").is_file() {
            return Ok(None);
        }
        let libraries = variant.libraries().filter(|library| {
            let mut included = component.libraries();
            // A checkout has the same library there already, for those who work on the chart.
            included.any(|name| name == library.name())
                && !path.join("charts").join(library.name()).exists()
        });
        let libraries = libraries.map(|library| (library.name(), self.0.join(library.path())));
        compiled(&path, &packed(&path, libraries)?, &names).map(Some)
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

/// The archive of a chart's folder, with libraries in its `charts/`. Links are followed, as a checkout has them.
///
/// # Errors
/// When something cannot be read.
pub fn packed<'a>(
    path: &Path,
    libraries: impl Iterator<Item = (&'a str, PathBuf)>,
) -> Result<Vec<u8>, FolderError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |error| FolderError::Read { path, error }
    };
    let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    builder
        .append_dir_all("chart", path)
        .map_err(failed(path))?;
    for (name, library) in libraries {
        builder
            .append_dir_all(format!("chart/charts/{name}"), &library)
            .map_err(failed(&library))?;
    }
    builder
        .into_inner()
        .and_then(GzEncoder::finish)
        .map_err(failed(path))
}
