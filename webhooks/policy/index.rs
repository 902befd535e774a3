//! All policies, found by what they are about: those that are not about a Package cost a request next to nothing.

use super::Policy;
use super::matching::{Labels, Pattern};
use serde_json::Value;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// All policies, in the order of their names, and the ConfigMaps that they name.
#[derive(Debug, Default)]
pub struct Policies {
    all: Vec<Arc<Policy>>,
    params: HashMap<String, Arc<Value>>,
    by_name: HashMap<String, Vec<usize>>,
    by_prefix: HashMap<String, Vec<usize>>,
    /// The lengths of the prefixes, each once.
    prefix_lengths: BTreeSet<usize>,
    /// Key of a label that a Package must have, then its value.
    by_label: HashMap<String, HashMap<String, Vec<usize>>>,
    /// What has to be looked at for every Package.
    others: Vec<usize>,
    has_selectors: bool,
}

impl Policies {
    /// Puts them in order. `params` are ConfigMaps of the installation's namespace by name.
    #[must_use]
    pub fn of(
        policies: impl IntoIterator<Item = Arc<Policy>>,
        params: HashMap<String, Arc<Value>>,
    ) -> Policies {
        let mut all: Vec<Arc<Policy>> = policies.into_iter().collect();
        all.sort_by(|one, other| one.name.cmp(&other.name));
        let mut index = Policies {
            params,
            ..Policies::default()
        };
        for (at, policy) in all.iter().enumerate() {
            index.add(at, policy);
        }
        index.all = all;
        index
    }

    fn add(&mut self, at: usize, policy: &Policy) {
        let matching = &policy.matching;
        self.has_selectors |= !matching.selector.is_empty();
        for name in &matching.names {
            let places = match name {
                Pattern::Exact(name) => self.by_name.entry(name.clone()),
                Pattern::Prefix(prefix) => {
                    self.prefix_lengths.insert(prefix.len());
                    self.by_prefix.entry(prefix.clone())
                }
            };
            places.or_default().push(at);
        }
        if !matching.names.is_empty() {
            return;
        }
        match matching.selector.required_pair() {
            Some((key, value)) => {
                let values = self.by_label.entry(key.to_owned()).or_default();
                values.entry(value.to_owned()).or_default().push(at);
            }
            None => self.others.push(at),
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// All of them, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Policy>> {
        self.all.iter()
    }

    /// Whether the labels of a Package make a difference.
    #[must_use]
    pub fn ask_for_labels(&self) -> bool {
        self.has_selectors
    }

    /// Those that may be about a Package of that name which has, or had, such labels; in the order of their names.
    #[must_use]
    pub fn about(&self, name: &str, labels: &[&Labels]) -> Vec<&Policy> {
        let mut found = self.others.clone();
        found.extend(self.by_name.get(name).into_iter().flatten());
        for length in &self.prefix_lengths {
            let prefix = name.get(..*length);
            let places = prefix.and_then(|prefix| self.by_prefix.get(prefix));
            found.extend(places.into_iter().flatten());
        }
        if !self.by_label.is_empty() {
            for (key, value) in labels.iter().copied().flatten() {
                let places = self.by_label.get(key).and_then(|values| values.get(value));
                found.extend(places.into_iter().flatten());
            }
        }
        found.sort_unstable();
        found.dedup();
        let found = found.into_iter().filter_map(|at| self.all.get(at));
        found.map(Arc::as_ref).collect()
    }

    /// A ConfigMap of the installation's namespace.
    #[must_use]
    pub fn params(&self, name: &str) -> Option<&Value> {
        self.params.get(name).map(Arc::as_ref)
    }
}
