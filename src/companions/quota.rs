//! Namespaces whose quota is used up. One attempt finds out, one attempt at a time finds out that there is room again:
//! a thousand parents that wait for it ask nothing.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use webhooks::contract::Resource;

/// Pause after the first refusal; doubled by each that follows.
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_mins(5);

/// A kind in a namespace.
type Place = (&'static str, &'static str, String);

fn place(resource: &Resource, namespace: &str) -> Place {
    (resource.group, resource.plural, namespace.to_owned())
}

#[derive(Debug, Default)]
struct State {
    closed: HashMap<Place, Closed>,
    hopeful: BTreeSet<String>,
}

#[derive(Debug)]
struct Closed {
    until: Instant,
    pause: Duration,
    /// Who tries, for all that wait.
    scout: Option<String>,
    waiting: BTreeSet<String>,
}

/// Where nothing more can be made for now.
#[derive(Debug, Default)]
pub struct Quotas(Mutex<State>);

impl Quotas {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the parent waits. Whoever comes when a pause is over tries for all.
    pub fn is_closed(
        &self,
        resource: &Resource,
        namespace: &str,
        parent: &str,
        now: Instant,
    ) -> bool {
        let mut state = self.state();
        let Some(closed) = state.closed.get_mut(&place(resource, namespace)) else {
            return false;
        };
        if closed.until <= now {
            closed.until = now + closed.pause;
            closed.scout = Some(parent.to_owned());
            return false;
        }
        closed.waiting.insert(parent.to_owned());
        true
    }

    /// What the parent wanted was refused: there is no room.
    pub fn close(&self, resource: &Resource, namespace: &str, parent: &str, now: Instant) {
        let mut state = self.state();
        let closed = state
            .closed
            .entry(place(resource, namespace))
            .or_insert_with(|| {
                tracing::warn!(
                    namespace,
                    kind = resource.plural,
                    "the quota is used up: companions wait for room"
                );
                Closed {
                    until: now + PAUSE_MIN,
                    pause: PAUSE_MIN,
                    scout: None,
                    waiting: BTreeSet::new(),
                }
            });
        // Those who were on their way when it closed learn nothing new.
        if closed.scout.as_deref() == Some(parent) {
            closed.scout = None;
            closed.pause = (closed.pause * 2).min(PAUSE_MAX);
            closed.until = now + closed.pause;
        }
        closed.waiting.insert(parent.to_owned());
    }

    /// There is room, or may be.
    pub fn open(&self, resource: &Resource, namespace: &str) {
        let mut state = self.state();
        if let Some(closed) = state.closed.remove(&place(resource, namespace)) {
            state.hopeful.extend(closed.waiting);
        }
    }

    /// The parents that have waited and may hope.
    pub fn take_hopeful(&self) -> BTreeSet<String> {
        std::mem::take(&mut self.state().hopeful)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use webhooks::kinds::HELM_CHARTS;

    #[test]
    fn one_tries_for_all_and_later_and_later() {
        let (quotas, mut now) = (Quotas::default(), Instant::now());
        let kind = &HELM_CHARTS.resource;
        let waits = |parent: &str, now| quotas.is_closed(kind, "a", parent, now);
        // Eight were on their way.
        for parent in ["1", "2", "3"] {
            assert!(!waits(parent, now));
        }
        for parent in ["1", "2", "3"] {
            quotas.close(kind, "a", parent, now);
        }
        assert!(!quotas.is_closed(kind, "b", "1", now), "another namespace");
        for seconds in [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300] {
            let nearly = Duration::from_millis(seconds * 1_000 - 1);
            assert!(waits("1", now + nearly));
            now += Duration::from_secs(seconds);
            assert!(!waits("2", now), "its turn after {seconds} s");
            assert!(waits("3", now), "one is enough");
            quotas.close(kind, "a", "2", now);
        }
        quotas.open(kind, "a");
        assert_eq!(quotas.take_hopeful().len(), 3);
        assert!(quotas.take_hopeful().is_empty());
        assert!(!waits("3", now));
    }
}
