//! From path and bytes to a reply, without HTTP: what the server, the offline commands and the cases share.

use super::limits;
use super::metrics::{ConversionLabels, DenialLabels, Metrics, RefusalLabels, ReviewLabels};
use crate::cluster::Caches;
use crate::dispatch::{Decision, Dispatcher, Entry, Outcome, RuleFault};
use crate::policies;
use crate::review::conversion::{self, Target};
use crate::review::{Reply, admission};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};
use webhooks::contract::{Conversion, Deadline, Fault, Operation, Weight};

/// What answers: rules, caches, metrics.
pub struct Service {
    /// Finds and runs rules.
    pub dispatcher: Dispatcher,
    /// What the rules read.
    pub caches: Arc<Caches>,
    /// What is counted.
    pub metrics: Metrics,
    /// Whether the settings are known; no rule is asked before.
    pub has_settings: AtomicBool,
    /// Whether the charts of the Packages that are there have been looked at, or long enough waited for.
    pub has_charts: AtomicBool,
    /// Whether this replica keeps companions in step.
    pub leads: AtomicBool,
    /// Counts how often other settings came into force.
    pub settings_changed: tokio::sync::watch::Sender<u64>,
}

/// What a path leads to.
#[derive(Clone)]
pub enum Route {
    /// Rules.
    Admission(Arc<Entry>),
    /// A conversion.
    Conversion(&'static Conversion, Target),
}

impl Route {
    /// Whether a body of that size is answered on the bounded pool.
    #[must_use]
    pub fn is_heavy(&self, body_bytes: usize) -> bool {
        body_bytes > limits::INLINE_BODY_MAX_BYTES
            || matches!(self, Route::Admission(entry) if entry.weight() == Weight::Heavy)
    }

    fn kind(&self) -> &'static str {
        match self {
            Route::Admission(_) => "admission",
            Route::Conversion(..) => "conversion",
        }
    }
}

/// The time that is left for an answer when the caller waits for `timeout` (the value of `?timeout=`, such as `10s`).
#[must_use]
pub fn time_for(timeout: Option<&str>) -> Duration {
    let asked = timeout.and_then(|text| {
        let (digits, factor) = match text.strip_suffix("ms") {
            Some(digits) => (digits, 1),
            None => (text.strip_suffix('s')?, 1_000),
        };
        Some(Duration::from_millis(
            digits.parse::<u64>().ok()?.checked_mul(factor)?,
        ))
    });
    match asked {
        Some(asked) => asked.min(limits::TIME_MAX) * limits::TIME_USED_PERCENT / 100,
        None => limits::DEFAULT_TIME,
    }
}

impl Service {
    /// A service over a registry's dispatcher and caches, with the dispatcher's settings.
    #[must_use]
    pub fn new(dispatcher: Dispatcher, caches: Arc<Caches>) -> Service {
        Service {
            dispatcher,
            caches,
            metrics: Metrics::default(),
            has_settings: AtomicBool::new(true),
            has_charts: AtomicBool::new(true),
            leads: AtomicBool::new(false),
            settings_changed: tokio::sync::watch::Sender::new(0),
        }
    }

    /// Whether this replica leads: what only one may write, it writes.
    #[must_use]
    pub fn is_leading(&self) -> bool {
        self.leads.load(Ordering::Acquire)
    }

    /// What the path leads to.
    #[must_use]
    pub fn route(&self, path: &str) -> Option<Route> {
        if let Some(entry) = self.dispatcher.entry(path) {
            return Some(Route::Admission(Arc::clone(entry)));
        }
        self.dispatcher
            .conversion(path)
            .map(|(conversion, target)| Route::Conversion(conversion, target))
    }

    /// Answers one request where others wait for the thread; none when it takes long, and must be answered elsewhere.
    #[must_use]
    pub fn answer_briefly(&self, route: &Route, body: &[u8], deadline: Deadline) -> Option<Reply> {
        self.try_answer(route, body, deadline.brief())
    }

    /// Answers one request.
    #[must_use]
    pub fn answer(&self, route: &Route, body: &[u8], deadline: Deadline) -> Reply {
        let reply = self.try_answer(route, body, deadline);
        reply.unwrap_or_else(|| Reply::refusal(500, Fault::TakesLong.to_string()))
    }

    fn try_answer(&self, route: &Route, body: &[u8], deadline: Deadline) -> Option<Reply> {
        let started = Instant::now();
        let reply = match route {
            Route::Admission(entry) => self.admission(entry, body, deadline, started)?,
            Route::Conversion(conversion, target) => {
                self.conversion(conversion, *target, body, deadline, started)
            }
        };
        self.metrics.observe(route.kind(), started.elapsed());
        if reply.status != 200 {
            self.count_refusal(reply.status);
        }
        Some(reply)
    }

    /// Counts an answer that is no review.
    pub fn count_refusal(&self, code: u16) {
        self.metrics
            .refusals
            .get_or_create(&RefusalLabels { code })
            .inc();
    }

    /// None when a rule says that it takes long.
    fn admission(
        &self,
        entry: &Entry,
        body: &[u8],
        deadline: Deadline,
        started: Instant,
    ) -> Option<Reply> {
        let request = match admission::parse(body) {
            Ok(request) => request,
            Err(reply) => {
                tracing::info!(
                    path = entry.path,
                    code = reply.status,
                    "request not readable"
                );
                return Some(reply);
            }
        };
        let reads = entry
            .declarations()
            .flat_map(|declaration| declaration.reads.iter().copied());
        if !self.has_settings.load(Ordering::Acquire) {
            return Some(Reply::come_again("the settings are not known yet"));
        }
        if let Some(kind) = self.caches.missing(reads) {
            return Some(Reply::come_again(format!("{kind} are not synced yet")));
        }
        let decided = self
            .dispatcher
            .admit(entry, &request, &*self.caches, deadline);
        let duration_us = started.elapsed().as_micros();
        // Only what the API server's own vocabulary has becomes a label.
        let operation = Operation::from_wire(&request.operation).map_or("other", Operation::as_str);
        let count = |rule, outcome: Outcome, code| {
            let labels = ReviewLabels {
                rule,
                operation,
                outcome: outcome.as_str(),
                code,
            };
            self.metrics.reviews.get_or_create(&labels).inc();
        };
        match decided {
            Ok(decision) => {
                let code = decision.denial.as_ref().map_or(200, |denial| denial.code);
                self.count_denials(&request, &decision);
                for (rule, outcome) in &decision.rules {
                    count(rule, *outcome, code);
                }
                log(entry, &request, &decision, code, duration_us);
                Some(admission::respond(&request.uid, &decision))
            }
            Err(RuleFault {
                fault: Fault::TakesLong,
                ..
            }) => None,
            Err(failed) => {
                let reply = match &failed.fault {
                    Fault::DeadlineExceeded => Reply::refusal(504, failed.to_string()),
                    _ => Reply::refusal(500, failed.to_string()),
                };
                count(failed.rule, Outcome::Fault, reply.status);
                tracing::error!(
                    path = entry.path,
                    uid = &*request.uid,
                    operation,
                    name = request.name.as_deref().unwrap_or_default(),
                    namespace = request.namespace.as_deref().unwrap_or_default(),
                    rule = failed.rule,
                    fault = %failed.fault,
                    code = reply.status,
                    duration_us,
                    "review not decided"
                );
                Some(reply)
            }
        }
    }

    /// Counts what policies have denied. A dry run is counted, but leaves no trace in their status.
    fn count_denials(&self, request: &admission::Request<'_>, decision: &Decision) {
        let policies = policies::denying(decision);
        if policies.is_empty() {
            return;
        }
        let is_dry_run = request.dry_run.unwrap_or_default();
        let dry_run = if is_dry_run { "true" } else { "false" };
        self.metrics
            .policy_denials
            .get_or_create(&DenialLabels { dry_run })
            .inc_by(policies.len() as u64);
        if !is_dry_run {
            self.caches.policies.count(&policies, SystemTime::now());
        }
    }

    fn conversion(
        &self,
        conversion: &'static Conversion,
        target: Target,
        body: &[u8],
        deadline: Deadline,
        started: Instant,
    ) -> Reply {
        let resource = conversion.hub.plural;
        let count = |outcome| {
            self.metrics
                .conversions
                .get_or_create(&ConversionLabels { resource, outcome })
                .inc()
        };
        let answered = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            conversion::answer(body, conversion, target, deadline)
        }))
        .unwrap_or_else(|_| Err(Fault::Internal("the conversion panicked".to_owned())));
        match answered {
            Ok((reply, outcome)) => {
                let duration_us = started.elapsed().as_micros();
                match outcome.failure {
                    None => {
                        count("success");
                        self.metrics
                            .converted_objects
                            .inc_by(outcome.objects as u64);
                        tracing::debug!(
                            resource,
                            objects = outcome.objects,
                            duration_us,
                            "converted"
                        );
                    }
                    Some(failure) => {
                        count("failure");
                        tracing::error!(
                            resource,
                            objects = outcome.objects,
                            failure,
                            duration_us,
                            "not converted"
                        );
                    }
                }
                reply
            }
            Err(fault) => {
                count("failure");
                tracing::error!(resource, %fault, "not converted");
                let code = if matches!(fault, Fault::DeadlineExceeded) {
                    504
                } else {
                    500
                };
                Reply::refusal(code, fault.to_string())
            }
        }
    }
}

/// One line a review; never bodies.
fn log(
    entry: &Entry,
    request: &admission::Request<'_>,
    decision: &Decision,
    code: u16,
    duration_us: u128,
) {
    let name = request.name.as_deref().unwrap_or_default();
    let namespace = request.namespace.as_deref().unwrap_or_default();
    tracing::info!(
        path = entry.path,
        uid = &*request.uid,
        operation = &*request.operation,
        namespace,
        name,
        dry_run = request.dry_run.unwrap_or_default(),
        allowed = decision.is_allowed(),
        code,
        violations = decision.violations.len(),
        warnings = decision.warnings.len(),
        patched = !decision.patch.is_empty(),
        duration_us,
        "review"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_callers_time_is_never_used_up() {
        let millis = |timeout| time_for(timeout).as_millis();
        assert_eq!(millis(None), 2_000);
        assert_eq!(millis(Some("1s")), 850);
        assert_eq!(millis(Some("500ms")), 425);
        assert_eq!(millis(Some("10s")), 8_500);
        assert_eq!(millis(Some("9999999999999999999s")), 2_000);
        assert_eq!(millis(Some("3000s")), 25_500);
        for odd in ["", "s", "-1s", "1m", "1.5s", "x"] {
            assert_eq!(millis(Some(odd)), 2_000, "{odd}");
        }
    }
}
