//! What is known of the charts of packages and of operators' schemas at this moment: looked up by name.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use webhooks::charts::{Component, OwnSchema};
use webhooks::contract::Chart;

/// What the lines of charts and of operators' schemas begin with.
pub const CHART: &str = "chart";
/// See [`CHART`].
pub const VALUES_SCHEMA: &str = "values-schema";

/// How far the chart of an artifact has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum State {
    /// Read and compiled.
    Ready,
    /// It is being fetched, or its artifact is not there yet.
    Pending,
    /// It cannot be had; it is tried again.
    Failed,
}

impl State {
    /// All states.
    pub const ALL: [State; 3] = [State::Ready, State::Pending, State::Failed];

    /// The word in metrics and `/readyz?verbose`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            State::Ready => "ready",
            State::Pending => "pending",
            State::Failed => "failed",
        }
    }
}

/// One artifact.
#[derive(Clone)]
struct Entry {
    state: State,
    chart: Chart,
}

/// The schemas of one ConfigMap, by package and component.
pub type OwnSchemas = Vec<((String, String), Arc<OwnSchema>)>;

#[derive(Default)]
struct Pages {
    charts: HashMap<String, Entry>,
    /// By the ConfigMap that holds them, so that one goes with its own.
    own: BTreeMap<(String, String), OwnSchemas>,
    /// Package, then component.
    own_by_component: HashMap<String, HashMap<String, Vec<Arc<OwnSchema>>>>,
}

/// All charts and schemas that are known.
#[derive(Default)]
pub struct Book {
    pages: RwLock<Pages>,
}

impl fmt::Debug for Book {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pages = self.read();
        formatter
            .debug_struct("Book")
            .field("charts", &pages.charts.len())
            .field("own", &pages.own.len())
            .finish()
    }
}

/// A line about one chart or schema.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Line {
    /// `chart/<artifact>` or `values-schema/<package>/<component>`.
    pub name: String,
    /// How far it has come.
    pub state: State,
    /// What it is, or why it is not known.
    pub detail: String,
}

impl Book {
    fn read(&self) -> RwLockReadGuard<'_, Pages> {
        self.pages.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Pages> {
        self.pages.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The chart in an artifact.
    #[must_use]
    pub fn chart(&self, artifact: &str) -> Chart {
        match self.read().charts.get(artifact) {
            Some(entry) => entry.chart.clone(),
            None => Chart::Unknown("its chart is not known here".into()),
        }
    }

    /// The schemas that operators have written for the values of a component.
    #[must_use]
    pub fn own_schemas(&self, package: &str, component: &str) -> Vec<Arc<OwnSchema>> {
        let pages = self.read();
        let found = pages
            .own_by_component
            .get(package)
            .and_then(|components| components.get(component));
        found.cloned().unwrap_or_default()
    }

    /// A chart is ready.
    pub fn put(&self, artifact: &str, chart: Arc<Component>) {
        let entry = Entry {
            state: State::Ready,
            chart: Chart::Known(chart),
        };
        self.write().charts.insert(artifact.to_owned(), entry);
    }

    /// A chart is not known (any more).
    pub fn miss(&self, artifact: &str, state: State, why: &str) {
        let entry = Entry {
            state,
            chart: Chart::Unknown(why.into()),
        };
        self.write().charts.insert(artifact.to_owned(), entry);
    }

    /// Keeps only the charts of these artifacts.
    pub fn keep(&self, is_wanted: impl Fn(&str) -> bool) {
        self.write()
            .charts
            .retain(|artifact, _| is_wanted(artifact));
    }

    /// How far a chart has come; none for an artifact that nobody has asked for.
    #[must_use]
    pub fn state(&self, artifact: &str) -> Option<State> {
        self.read().charts.get(artifact).map(|entry| entry.state)
    }

    /// Puts the schemas of a ConfigMap in the place of those that it had.
    pub fn put_own(&self, namespace: &str, name: &str, schemas: OwnSchemas) {
        let mut pages = self.write();
        let key = (namespace.to_owned(), name.to_owned());
        if schemas.is_empty() {
            pages.own.remove(&key);
        } else {
            pages.own.insert(key, schemas);
        }
        let mut by_component: HashMap<String, HashMap<String, Vec<Arc<OwnSchema>>>> =
            HashMap::new();
        for ((package, component), schema) in pages.own.values().flatten() {
            by_component
                .entry(package.clone())
                .or_default()
                .entry(component.clone())
                .or_default()
                .push(Arc::clone(schema));
        }
        pages.own_by_component = by_component;
    }

    /// The ConfigMaps whose schemas are known, by namespace and name.
    #[must_use]
    pub fn own_sources(&self) -> Vec<(String, String)> {
        self.read().own.keys().cloned().collect()
    }

    /// Everything, in order of names.
    #[must_use]
    pub fn lines(&self) -> Vec<Line> {
        let pages = self.read();
        let charts = pages.charts.iter().map(|(artifact, entry)| Line {
            name: format!("{CHART}/{artifact}"),
            state: entry.state,
            detail: match &entry.chart {
                Chart::Known(chart) => format!(
                    "{}, {} schemas, {}",
                    chart.title(),
                    chart.schemas(),
                    chart.digest()
                ),
                Chart::Unknown(why) => why.to_string(),
            },
        });
        let own = pages.own.values().flatten();
        let own = own.map(|((package, component), schema)| Line {
            name: format!("{VALUES_SCHEMA}/{package}/{component}"),
            state: match schema.check() {
                Ok(()) => State::Ready,
                Err(_) => State::Failed,
            },
            detail: match schema.check() {
                Ok(()) => schema.source().to_owned(),
                Err(why) => format!("{}: {why}", schema.source()),
            },
        });
        let mut lines: Vec<Line> = charts.chain(own).collect();
        lines.sort();
        lines
    }
}
