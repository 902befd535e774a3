//! Prometheus metrics. Labels have few values: rules, operations, outcomes and codes, never names of objects.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use std::sync::Mutex;
use std::time::Duration;

/// What became of one rule in one review.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ReviewLabels {
    /// The rule's id.
    pub rule: &'static str,
    /// CREATE, UPDATE or DELETE.
    pub operation: &'static str,
    /// allowed, mutated, warned, insisted, denied or fault.
    pub outcome: &'static str,
    /// Code of the answer's status; 200 when it is allowed.
    pub code: u16,
}

/// What became of one conversion review.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ConversionLabels {
    /// Plural name of the kind.
    pub resource: &'static str,
    /// success or failure.
    pub outcome: &'static str,
}

/// What was answered without asking a rule.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RefusalLabels {
    /// HTTP code.
    pub code: u16,
}

/// A kind that is cached.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct CacheLabels {
    /// Plural name of the kind.
    pub resource: &'static str,
}

/// The charts and operators' schemas against which values are judged.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct SchemaLabels {
    /// chart or values-schema.
    pub source: &'static str,
    /// ready, pending or failed.
    pub state: &'static str,
}

/// Operators' policies.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct PolicyLabels {
    /// compiled or broken.
    pub state: &'static str,
}

/// Denials by operators' policies.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct DenialLabels {
    /// true for dry runs.
    pub dry_run: &'static str,
}

/// Which port.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct KindLabels {
    /// admission or conversion.
    pub kind: &'static str,
}

/// All metrics of the process.
pub struct Metrics {
    registry: Mutex<Registry>,
    /// Reviews by rule.
    pub reviews: Family<ReviewLabels, Counter>,
    /// Conversion reviews.
    pub conversions: Family<ConversionLabels, Counter>,
    /// Converted objects.
    pub converted_objects: Counter,
    /// Answers that are no review.
    pub refusals: Family<RefusalLabels, Counter>,
    duration: Family<KindLabels, Histogram>,
    /// Requests that are being answered.
    pub in_flight: Gauge,
    /// Objects in the caches.
    pub cached_objects: Family<CacheLabels, Gauge>,
    /// Charts and operators' schemas by how far they have come.
    pub values_schemas: Family<SchemaLabels, Gauge>,
    /// Operators' policies.
    pub policies: Family<PolicyLabels, Gauge>,
    /// Denials by them: one for each policy that denies a request.
    pub policy_denials: Family<DenialLabels, Counter>,
    /// 1 for a kind whose CRD is not installed: rules take it for empty, and nothing of it is made.
    pub kind_absent: Family<CacheLabels, Gauge>,
    /// Seconds until the served certificate expires.
    pub certificate_expiry_seconds: Gauge,
    /// 1 while the settings in the cluster cannot be understood.
    pub settings_invalid: Gauge,
    /// 1 on the replica that keeps companions in step.
    pub leader: Gauge,
    /// Companions by what became of them, on the leader.
    pub companions: Family<CompanionLabels, Gauge>,
    /// Reconciles of parents.
    pub reconciles: Family<ReconcileLabels, Counter>,
}

/// What became of companions.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct CompanionLabels {
    /// The rule's id.
    pub rule: &'static str,
    /// in_step, released, name_taken or failed.
    pub state: &'static str,
}

/// What became of a reconcile.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ReconcileLabels {
    /// The rule's id.
    pub rule: &'static str,
    /// done or failed.
    pub outcome: &'static str,
}

fn buckets() -> Histogram {
    // Microseconds matter: most answers take less than one millisecond.
    Histogram::new([
        0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.0, 10.0,
    ])
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("cozystack_webhook");
        let metrics = Metrics {
            registry: Mutex::default(),
            reviews: Family::default(),
            conversions: Family::default(),
            converted_objects: Counter::default(),
            refusals: Family::default(),
            duration: Family::new_with_constructor(buckets),
            in_flight: Gauge::default(),
            cached_objects: Family::default(),
            values_schemas: Family::default(),
            policies: Family::default(),
            policy_denials: Family::default(),
            kind_absent: Family::default(),
            certificate_expiry_seconds: Gauge::default(),
            settings_invalid: Gauge::default(),
            leader: Gauge::default(),
            companions: Family::default(),
            reconciles: Family::default(),
        };
        registry.register(
            "reviews",
            "Admission reviews, by rule",
            metrics.reviews.clone(),
        );
        registry.register(
            "conversions",
            "Conversion reviews",
            metrics.conversions.clone(),
        );
        registry.register(
            "converted_objects",
            "Converted objects",
            metrics.converted_objects.clone(),
        );
        registry.register(
            "refusals",
            "Requests that were answered without asking a rule",
            metrics.refusals.clone(),
        );
        registry.register(
            "request_duration_seconds",
            "Time from the end of the body to the answer",
            metrics.duration.clone(),
        );
        registry.register(
            "requests_in_flight",
            "Requests that are being answered",
            metrics.in_flight.clone(),
        );
        registry.register(
            "cached_objects",
            "Objects in the caches",
            metrics.cached_objects.clone(),
        );
        registry.register(
            "values_schemas",
            "Charts and schemas of operators that values are held against",
            metrics.values_schemas.clone(),
        );
        metrics.register_policies(&mut registry);
        registry.register(
            "kind_absent",
            "1 for a kind whose CRD is not installed",
            metrics.kind_absent.clone(),
        );
        registry.register(
            "certificate_expiry_seconds",
            "Time until the served certificate expires",
            metrics.certificate_expiry_seconds.clone(),
        );
        registry.register(
            "settings_invalid",
            "1 while the settings in the cluster cannot be understood",
            metrics.settings_invalid.clone(),
        );
        registry.register(
            "leader",
            "1 on the replica that keeps companions in step",
            metrics.leader.clone(),
        );
        registry.register(
            "companions",
            "Companions by what became of them, on the leader",
            metrics.companions.clone(),
        );
        registry.register(
            "reconciles",
            "Reconciles of parents of companions",
            metrics.reconciles.clone(),
        );
        *metrics
            .registry
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner) = registry;
        metrics
    }
}

impl Metrics {
    fn register_policies(&self, registry: &mut Registry) {
        registry.register("policies", "Operators' policies", self.policies.clone());
        registry.register(
            "policy_denials",
            "Requests that operators' policies have denied, by policy and request",
            self.policy_denials.clone(),
        );
    }

    /// Notes how long an answer took.
    pub fn observe(&self, kind: &'static str, duration: Duration) {
        self.duration
            .get_or_create(&KindLabels { kind })
            .observe(duration.as_secs_f64());
    }

    /// All metrics, OpenMetrics text.
    #[must_use]
    pub fn text(&self) -> String {
        let registry = self
            .registry
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = encode(&mut text, &registry);
        text
    }
}
