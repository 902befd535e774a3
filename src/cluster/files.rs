//! Caches filled from files: the cluster as offline commands, cases and `serve --objects` see it.

use super::Caches;
use crate::charts::own;
use crate::manifest::Manifest;
use crate::policies;
use std::sync::Arc;
use webhooks::contract::{Object, Webhook};

/// Caches that hold these manifests; kinds that no rule reads are left out.
#[must_use]
pub fn of(registry: &[&'static Webhook], manifests: Vec<Manifest>) -> Arc<Caches> {
    let caches = Caches::of(registry);
    add(&caches, manifests);
    caches.settle();
    Arc::new(caches)
}

/// Adds them to what the caches hold.
pub fn add(caches: &Caches, manifests: Vec<Manifest>) {
    for manifest in manifests {
        own::take(&caches.charts, &manifest.value);
        policies::take_params(&caches.policies, &manifest.value);
        let (group, kind) = (manifest.group().to_owned(), manifest.kind.clone());
        if let Some(object) = Object::of(manifest.value) {
            caches.put(&group, &kind, object);
        }
    }
}
