//! The charts behind packages: from the bytes of an archive to what decides on values, and what of them is known now.
//! Nothing is written to a disk, nothing happens on the way to an answer.
//!
//! ```text
//! ExternalArtifacts --follow--> fetch (allowed hosts, bounds, digest) --> archive --> Book <--ask-- rules
//! ConfigMaps -------own-------------------------------------------------------------^
//! folder of charts (offline) --folder-----------------------------------------------^
//! ```

pub mod archive;
pub mod book;
pub mod fetch;
pub mod folder;
pub mod follow;
pub mod own;

pub use book::Book;

use webhooks::cozystack_resource_definition::catalogue::artifact_name;
use webhooks::packages::{Component, Source, Variant};

/// The components of a source that a Package may install and that have an artifact, by the artifact's name.
pub fn installable<'a>(
    name: &'a str,
    source: Source<'a>,
) -> impl Iterator<Item = (String, Component<'a>)> {
    source
        .variants()
        .flat_map(move |variant| installable_of(name, variant))
}

/// The same for one variant.
fn installable_of<'a>(
    name: &'a str,
    variant: Variant<'a>,
) -> impl Iterator<Item = (String, Component<'a>)> {
    variant
        .components()
        .filter(|component| component.install().is_some() && !component.path().is_empty())
        .map(move |component| {
            let artifact = artifact_name(name, variant.name(), component.name());
            (artifact, component)
        })
}

#[cfg(test)]
mod tests;
