//! Who is to be looked at, and when: each key once, never two looks at the same time, later and later after failures.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

/// Pause after the first failure; doubled by each that follows.
const BACKOFF_MIN: Duration = Duration::from_secs(1);
/// The longest pause.
const BACKOFF_MAX: Duration = Duration::from_mins(5);

/// The queue.
#[derive(Debug, Default)]
pub struct Queue {
    due: BTreeSet<(Instant, String)>,
    entries: HashMap<String, Entry>,
}

#[derive(Debug, Default)]
struct Entry {
    due: Option<Instant>,
    is_running: bool,
    failures: u32,
}

impl Queue {
    /// The key is to be looked at when that time has come; an earlier time stands.
    pub fn add(&mut self, key: String, due: Instant) {
        let entry = self.entries.entry(key.clone()).or_default();
        if let Some(earlier) = entry.due {
            if earlier <= due {
                return;
            }
            self.due.remove(&(earlier, key.clone()));
        }
        entry.due = Some(due);
        // A key that is being looked at comes back when that look has ended: what it saw may be old.
        if !entry.is_running {
            self.due.insert((due, key));
        }
    }

    /// A key whose time has come. It is being looked at until it is `done` or has `failed`.
    pub fn take(&mut self, now: Instant) -> Option<String> {
        let (due, _) = self.due.first()?;
        if *due > now {
            return None;
        }
        let (_, key) = self.due.pop_first()?;
        let entry = self.entries.entry(key.clone()).or_default();
        entry.due = None;
        entry.is_running = true;
        Some(key)
    }

    /// When the next key is due.
    pub fn next_due(&self) -> Option<Instant> {
        self.due.first().map(|(due, _)| *due)
    }

    /// The look at the key has ended well.
    pub fn done(&mut self, key: &str) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.failures = 0;
            entry.is_running = false;
            match entry.due {
                Some(due) => {
                    self.due.insert((due, key.to_owned()));
                }
                None => {
                    self.entries.remove(key);
                }
            }
        }
    }

    /// The look at the key has failed: again after a pause, or when something about it has changed since.
    pub fn failed(&mut self, key: String, now: Instant) {
        let entry = self.entries.entry(key.clone()).or_default();
        let pause = BACKOFF_MIN
            .saturating_mul(2_u32.saturating_pow(entry.failures))
            .min(BACKOFF_MAX);
        entry.failures = entry.failures.saturating_add(1);
        entry.is_running = false;
        match entry.due {
            Some(due) => {
                self.due.insert((due, key));
            }
            None => self.add(key, now + pause),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(queue: &mut Queue, key: &str, due: Instant) {
        queue.add(key.to_owned(), due);
    }

    #[test]
    fn each_key_once_and_the_earliest_time_stands() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        let later = now + Duration::from_secs(9);
        add(&mut queue, "a", later);
        add(&mut queue, "a", now);
        add(&mut queue, "a", later);
        add(&mut queue, "b", later);
        assert_eq!(queue.take(now).as_deref(), Some("a"));
        assert_eq!(queue.take(now), None);
        assert_eq!(queue.next_due(), Some(later));
        queue.done("a");
        assert_eq!(queue.take(later).as_deref(), Some("b"));
        assert_eq!(queue.take(later), None);
    }

    #[test]
    fn a_change_during_a_look_brings_another() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        add(&mut queue, "a", now);
        assert!(queue.take(now).is_some());
        add(&mut queue, "a", now);
        assert_eq!(queue.take(now), None, "never two looks at a time");
        queue.done("a");
        assert_eq!(queue.take(now).as_deref(), Some("a"));
        queue.done("a");
        assert!(queue.entries.is_empty(), "nothing is kept of what is done");
    }

    #[test]
    fn failures_come_back_later_and_later() {
        let (mut queue, mut now) = (Queue::default(), Instant::now());
        add(&mut queue, "a", now);
        for seconds in [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300] {
            assert!(queue.take(now).is_some());
            queue.failed("a".to_owned(), now);
            let due = now + Duration::from_secs(seconds);
            assert_eq!(queue.next_due(), Some(due));
            now = due;
        }
        assert!(queue.take(now).is_some());
        add(&mut queue, "a", now);
        queue.failed("a".to_owned(), now);
        assert_eq!(queue.next_due(), Some(now), "a change does not wait");
        assert!(queue.take(now).is_some());
        queue.done("a");
        add(&mut queue, "a", now);
        assert!(queue.take(now).is_some());
        queue.failed("a".to_owned(), now);
        assert_eq!(
            queue.next_due(),
            Some(now + BACKOFF_MIN),
            "success forgets failures"
        );
    }
}
