//! What is known of the values of one component of a package: its chart, and schemas that operators have written.

use super::schema::{Said, Schema};
use super::text::{Piece, Text};
use super::view::View;
use super::{Chart, Compiled, Judgement, Prepared, as_go, is_known, merged};
use crate::contract::{FieldPath, Violation};
use serde_json::Value;
use std::borrow::Cow;

/// Values as they come: taken apart with their strings where they are, or a tree that is there anyway.
#[derive(Debug, Clone, Copy)]
pub enum Values<'a> {
    /// Of a request.
    Text(&'a Text<'a>),
    /// Of a cached object, or of files.
    Built(&'a Value),
}

impl<'a> Values<'a> {
    /// Whether there are none.
    #[must_use]
    pub fn is_null(self) -> bool {
        match self {
            Values::Text(text) => text.root().is_null(),
            Values::Built(value) => value.is_null(),
        }
    }

    /// Whether they are a map, as they must be.
    #[must_use]
    pub fn is_object(self) -> bool {
        match self {
            Values::Text(text) => text.root().is_map(),
            Values::Built(value) => value.is_object(),
        }
    }

    /// Whether they say anything: no null, no empty map.
    #[must_use]
    pub fn say_something(self) -> bool {
        match self {
            Values::Text(text) if text.root().is_map() => text.parts() > 1,
            Values::Built(Value::Object(members)) => !members.is_empty(),
            other => !other.is_null(),
        }
    }

    /// The tree.
    #[must_use]
    pub fn to_value(self) -> Cow<'a, Value> {
        match self {
            Values::Text(text) => Cow::Owned(text.root().to_value()),
            Values::Built(value) => Cow::Borrowed(value),
        }
    }
}

/// A component's chart, ready to be asked.
pub struct Component {
    chart: Compiled,
    name: String,
    version: String,
    digest: String,
    schemas: usize,
    accepts_defaults: bool,
}

impl Component {
    /// Compiles a chart. `values_files` are those that the variant names and the archive has, in their order: the
    /// platform puts the first in the place of `values.yaml` and merges the others into it, so that in most archives
    /// they say nothing new. `digest` is that of the archive.
    ///
    /// Source: `internal/operator/packagesource_reconciler.go` of Cozystack v1.0.0-alpha.1, copy operations.
    #[must_use]
    pub fn new<'a>(
        mut chart: Chart,
        values_files: impl IntoIterator<Item = &'a Value>,
        digest: impl Into<String>,
    ) -> Component {
        let mut files = values_files.into_iter().peekable();
        if files.peek().is_some() {
            chart.values = merged(files);
        }
        let compiled = Compiled::new(&chart);
        let judgement = compiled.judge(&FieldPath::default(), &Value::Null);
        Component {
            schemas: schemas(&compiled.root),
            accepts_defaults: judgement == Judgement::default(),
            chart: compiled,
            name: chart.name,
            version: chart.version,
            digest: digest.into(),
        }
    }

    /// Name and version of the chart.
    #[must_use]
    pub fn title(&self) -> String {
        format!("{} {}", self.name, self.version)
    }

    /// The digest of its archive, with the algorithm; empty where there is no archive.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// How many schemas the chart and its subcharts have.
    #[must_use]
    pub fn schemas(&self) -> usize {
        self.schemas
    }

    /// What Helm would say of the values of a Package, which stand at `base`, and what the operators' own schemas say
    /// of the same values with the chart's defaults around them. `values` is an object, or null where there are none.
    #[must_use]
    pub fn judge(
        &self,
        base: &FieldPath,
        values: Values<'_>,
        own: &[impl AsRef<OwnSchema>],
    ) -> Judgement {
        let has_values = values.say_something();
        if own.is_empty() && self.accepts(values) {
            return Judgement::default();
        }
        let values = &*values.to_value();
        let mut judgement = self.chart.judge(base, values);
        if has_values {
            judgement.departures = self.chart.departures(base, values);
        }
        if !own.is_empty()
            && let Some(merged) = self.chart.merged(values)
        {
            let known = |field: &FieldPath| is_known(base, field, values);
            for schema in own {
                schema.as_ref().ask(base, &merged, &known, &mut judgement);
            }
        }
        judgement
    }
}

impl Component {
    /// The values that templates get, without building them; none where subcharts have a say in them: then only
    /// [`Component::merged`] knows.
    #[must_use]
    pub fn over<'a>(&'a self, values: Piece<'a>) -> Option<View<'a>> {
        let root = &self.chart.root;
        root.is_alone().then(|| View::over(values, &root.values))
    }

    /// The values that templates get, those of subcharts among them, unless Helm stops before it has them.
    #[must_use]
    pub fn merged(&self, values: &Value) -> Option<Value> {
        self.chart.merged(values)
    }

    /// Whether there is certainly nothing to be said of the values: found in microseconds, without building anything.
    /// When not, [`Component::judge`] knows more.
    #[must_use]
    pub fn accepts(&self, values: Values<'_>) -> bool {
        let root = &self.chart.root;
        match values {
            none if !none.say_something() => self.accepts_defaults,
            Values::Text(text) if text.root().is_map() && root.is_alone() && !root.is_library => {
                root.schema.accepts(text, &root.values)
            }
            Values::Text(_) | Values::Built(_) => false,
        }
    }
}

fn schemas(chart: &Prepared) -> usize {
    let own = usize::from(chart.schema.is_some());
    own + chart.subcharts.iter().map(schemas).sum::<usize>()
}

/// A schema that an operator has written for the values of a component.
pub struct OwnSchema {
    schema: Schema,
    source: String,
}

impl OwnSchema {
    /// Compiles it; `source` names where it stands.
    #[must_use]
    pub fn new(source: String, text: &str) -> OwnSchema {
        OwnSchema {
            schema: Schema::new(text),
            source,
        }
    }

    /// Where it stands.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Why it cannot be used.
    ///
    /// # Errors
    /// A sentence.
    pub fn check(&self) -> Result<(), &str> {
        match &self.schema {
            Schema::None | Schema::Ready(_) => Ok(()),
            Schema::Broken(why) | Schema::Unjudged(why) => Err(why),
        }
    }

    /// What it says of the values as they are written, where the chart is not known: what is missing may be among its
    /// defaults, so only what is written is judged.
    #[must_use]
    pub fn judge(&self, base: &FieldPath, values: Values<'_>) -> Judgement {
        let values = as_go(values.to_value().into_owned());
        let offset = base.to_pointer().len();
        let known = |field: &FieldPath| {
            let pointer = field.to_pointer();
            pointer
                .get(offset..)
                .is_some_and(|pointer| values.pointer(pointer).is_some())
        };
        let mut judgement = Judgement::default();
        if values.is_object() {
            self.ask(base, &values, &known, &mut judgement);
        }
        judgement
    }

    fn ask(
        &self,
        base: &FieldPath,
        values: &Value,
        is_known: &impl Fn(&FieldPath) -> bool,
        judgement: &mut Judgement,
    ) {
        match self.schema.judge(base, values) {
            Said::Nothing => {}
            // Nobody but its author can tell what it should have said.
            Said::Broken(why) | Said::Unjudged(why) => {
                judgement.unjudged.push(format!("{}: {why}", self.source));
            }
            Said::Wrong(found) => {
                let known = found
                    .into_iter()
                    .filter_map(|finding| finding.known(is_known));
                judgement
                    .violations
                    .extend(known.map(|violation| Violation {
                        detail: format!("{} ({})", violation.detail, self.source),
                        ..violation
                    }));
            }
        }
    }
}
