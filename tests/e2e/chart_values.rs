//! Verdicts on values, and what templates would get, held against a real `helm template`: a table of charts made for
//! the purpose, and charts at random.

use cozystack_webhook::charts::archive;
use cozystack_webhook::manifest::yaml;
use flate2::{Compression, write::GzEncoder};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use webhooks::charts::{Compiled, Judgement};
use webhooks::contract::FieldPath;

mod random;
mod table;

/// A chart made for the purpose.
#[derive(Clone, Default)]
pub struct Made {
    name: String,
    /// More lines of Chart.yaml.
    metadata: String,
    values: String,
    schema: Option<String>,
    subcharts: Vec<Made>,
    /// Put into its parent as an archive, not as a folder.
    is_packed: bool,
}

impl Made {
    pub fn new(name: &str) -> Made {
        Made {
            name: name.to_owned(),
            ..Made::default()
        }
    }

    pub fn metadata(mut self, text: &str) -> Made {
        self.metadata = text.to_owned();
        self
    }

    pub fn values(mut self, text: &str) -> Made {
        self.values = text.to_owned();
        self
    }

    pub fn schema(mut self, text: &str) -> Made {
        self.schema = Some(text.to_owned());
        self
    }

    pub fn with(mut self, subchart: Made) -> Made {
        self.subcharts.push(subchart);
        self
    }

    pub fn packed(mut self) -> Made {
        self.is_packed = true;
        self
    }

    fn write(&self, folder: &Path, is_root: bool) {
        std::fs::create_dir_all(folder).unwrap();
        let put = |name: &str, text: &str| {
            let path = folder.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        let version = if self.metadata.contains("version: ") && self.metadata.starts_with("version")
        {
            ""
        } else {
            "version: 1.0.0\n"
        };
        put(
            "Chart.yaml",
            &format!(
                "apiVersion: v2\nname: {}\n{version}{}\n",
                self.name, self.metadata
            ),
        );
        put("values.yaml", &self.values);
        if let Some(schema) = &self.schema {
            put("values.schema.json", schema);
        }
        if is_root {
            put("templates/values.yaml", "values: {{ .Values | toJson }}\n");
        }
        for subchart in &self.subcharts {
            let place = folder.join("charts").join(&subchart.name);
            if subchart.is_packed {
                let apart = tempfile::tempdir().unwrap();
                subchart.write(&apart.path().join(&subchart.name), false);
                std::fs::create_dir_all(folder.join("charts")).unwrap();
                let bytes = packed(&apart.path().join(&subchart.name));
                std::fs::write(place.with_extension("tgz"), bytes).unwrap();
            } else {
                subchart.write(&place, false);
            }
        }
    }

    fn has_packed(&self) -> bool {
        self.is_packed || self.subcharts.iter().any(Made::has_packed)
    }
}

/// An archive of a folder, for what `helm package` would not pack or would unpack before.
fn packed(folder: &Path) -> Vec<u8> {
    let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    archive.follow_symlinks(false);
    archive
        .append_dir_all(folder.file_name().unwrap(), folder)
        .unwrap();
    archive.into_inner().unwrap().finish().unwrap()
}

/// What helm says.
struct Told {
    accepts: bool,
    merged: Option<Value>,
    message: String,
}

fn helm(assets: &Path, arguments: &[&str]) -> (bool, String, String) {
    let output = Command::new(assets.join("helm"))
        .args(arguments)
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.success(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

fn ask_helm(assets: &Path, chart: &Path, values: &[PathBuf]) -> Told {
    let chart = chart.display().to_string();
    let values: Vec<String> = values
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    let mut arguments = vec!["template", "release", &chart, "--kube-version", "1.34.0"];
    for file in &values {
        arguments.extend(["-f", file]);
    }
    let (accepts, stdout, message) = helm(assets, &arguments);
    let merged = stdout
        .lines()
        .find_map(|line| line.strip_prefix("values: "))
        .map(|text| serde_json::from_str(text).unwrap());
    Told {
        accepts,
        merged,
        message,
    }
}

/// A line of helm's tree of errors, and what stands below it.
#[derive(Debug)]
struct Line {
    pointer: String,
    text: String,
    below: Vec<Line>,
}

fn lines_of(message: &str) -> Vec<Line> {
    fn below<'a>(
        lines: &mut std::iter::Peekable<impl Iterator<Item = &'a str>>,
        depth: usize,
    ) -> Vec<Line> {
        let mut found = Vec::new();
        while let Some(line) = lines.peek() {
            let indent = line.len() - line.trim_start().len();
            if indent < depth {
                break;
            }
            let line = lines.next().unwrap().trim_start();
            let Some((pointer, text)) = line
                .strip_prefix("- at '")
                .and_then(|rest| rest.split_once("': "))
            else {
                continue;
            };
            found.push(Line {
                pointer: pointer.to_owned(),
                text: text.to_owned(),
                below: below(lines, indent + 1),
            });
        }
        found
    }
    below(&mut message.lines().peekable(), 0)
}

/// The paths that a line names for sure, and those that only an alternative names.
fn named(line: &Line, sure: &mut Vec<String>, alternative: &mut Vec<String>) {
    let quoted = |text: &str| -> Vec<String> {
        text.split('\'')
            .skip(1)
            .step_by(2)
            .map(str::to_owned)
            .collect()
    };
    let text = line.text.as_str();
    let below = |names: Vec<String>| -> Vec<String> {
        names
            .into_iter()
            .map(|name| {
                format!(
                    "{}/{}",
                    line.pointer,
                    name.replace('~', "~0").replace('/', "~1")
                )
            })
            .collect()
    };
    if text.starts_with("missing propert") || text.starts_with("additional propert") {
        sure.extend(below(quoted(text)));
    } else if text.starts_with("properties '") && text.contains(" required, if ") {
        let required = text.split(" required, if ").next().unwrap();
        sure.extend(below(quoted(required)));
    } else if text.starts_with("'allOf'") || text == "validation failed" {
        for child in &line.below {
            named(child, sure, alternative);
        }
    } else {
        sure.push(line.pointer.clone());
        if text.starts_with("no items match") || text.starts_with("min ") {
            return;
        }
        for child in &line.below {
            named(child, alternative, &mut Vec::new());
        }
    }
}

fn check_paths(what: &str, ours: &Judgement, message: &str) {
    // Then the paths are those of the schema.
    if message.contains("is not valid against metaschema") {
        return;
    }
    let pointers: Vec<String> = ours
        .violations
        .iter()
        .map(|violation| violation.field.to_pointer())
        .collect();
    let (mut sure, mut alternative) = (Vec::new(), Vec::new());
    for line in lines_of(message) {
        named(&line, &mut sure, &mut alternative);
    }
    // Helm names the chart, not where it stands: paths are compared from their ends. Of the items that follow a
    // prefix its library counts the first as 0.
    let is_index = |step: &str| step.parse::<usize>().is_ok();
    for pointer in sure {
        let around = pointer
            .rsplit_once('/')
            .filter(|(_, last)| is_index(last))
            .map(|(around, _)| around);
        assert!(
            pointers.iter().any(|ours| {
                ours.ends_with(&pointer)
                    || ours
                        .rsplit_once('/')
                        .is_some_and(|(ours, last)| is_index(last) && Some(ours) == around)
            }),
            "{what}: helm names {pointer:?}, we name {pointers:?}\n{message}"
        );
    }
    let sentences: Vec<String> = ours
        .violations
        .iter()
        .map(webhooks::contract::Violation::message)
        .collect();
    for pointer in alternative {
        let last = pointer.rsplit('/').next().unwrap();
        assert!(
            sentences.iter().any(|sentence| sentence.contains(last)),
            "{what}: helm's alternative names {pointer:?}, we say {sentences:?}\n{message}"
        );
    }
}

/// Numbers are compared as Go has them.
fn floats(value: &Value) -> Value {
    match value {
        Value::Number(number) => serde_json::json!(number.as_f64().unwrap()),
        Value::Array(items) => items.iter().map(floats).collect(),
        Value::Object(members) => Value::Object(
            members
                .iter()
                .map(|(key, value)| (key.clone(), floats(value)))
                .collect(),
        ),
        other => other.clone(),
    }
}

/// One question: a chart, and files of values.
struct Pair {
    what: String,
    chart: usize,
    values: Vec<String>,
}

struct Ready {
    archive: PathBuf,
    /// None where the reader refuses the archive.
    compiled: Result<Compiled, String>,
}

fn prepare(assets: &Path, folder: &Path, position: usize, made: &Made) -> Ready {
    let source = folder.join(format!("source-{position}")).join(&made.name);
    made.write(&source, true);
    let out = folder.join(format!("packed-{position}"));
    std::fs::create_dir_all(&out).unwrap();
    let archive = out.join(format!("{}-1.0.0.tgz", made.name));
    let (source_text, out_text) = (source.display().to_string(), out.display().to_string());
    let is_packed = !made.has_packed()
        && helm(assets, &["package", &source_text, "-d", &out_text]).0
        && archive.exists();
    if !is_packed {
        std::fs::write(&archive, packed(&source)).unwrap();
    }
    let bytes = std::fs::read(&archive).unwrap();
    Ready {
        archive,
        compiled: archive::read(&bytes, &[])
            .map(|unpacked| Compiled::new(&unpacked.chart))
            .map_err(|error| error.to_string()),
    }
}

fn check(assets: &Path, folder: &Path, position: usize, pair: &Pair, ready: &Ready) -> bool {
    let files: Vec<PathBuf> = pair
        .values
        .iter()
        .enumerate()
        .map(|(number, text)| {
            let path = folder.join(format!("values-{position}-{number}.yaml"));
            std::fs::write(&path, text).unwrap();
            path
        })
        .collect();
    let told = ask_helm(assets, &ready.archive, &files);
    let what = format!("{} with {:?}", pair.what, pair.values);
    let compiled = match &ready.compiled {
        Ok(compiled) => compiled,
        Err(why) => {
            assert!(!told.accepts, "{what}: helm takes it, we say {why}");
            return told.accepts;
        }
    };
    let values: Vec<Value> = pair
        .values
        .iter()
        .map(|text| yaml::first_document(text).unwrap())
        .collect();
    let values = match values.as_slice() {
        [one] => one.clone(),
        several => webhooks::charts::merged(several),
    };
    let ours = compiled.judge(&FieldPath::default(), &values);
    assert!(
        ours.unjudged.is_empty(),
        "{what}: {:?}\n{}",
        ours.unjudged,
        told.message
    );
    assert_eq!(
        ours.accepts(),
        told.accepts,
        "{what}\nwe: {ours:#?}\nhelm: {}",
        told.message
    );
    if told.accepts {
        assert_eq!(
            compiled.merged(&values).as_ref().map(floats),
            told.merged.as_ref().map(floats),
            "{what}: other values"
        );
    } else {
        check_paths(&what, &ours, &told.message);
    }
    told.accepts
}

/// The command says the same of an archive, to people and machines.
fn the_command_judges(assets: &Path) {
    let folder = tempfile::tempdir().unwrap();
    let chart = folder.path().join("gizmo");
    std::fs::create_dir(&chart).unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write(
        "gizmo/Chart.yaml",
        "apiVersion: v2\nname: gizmo\nversion: 1.0.0\n",
    );
    write("gizmo/values.yaml", "replicas: 1\n");
    write(
        "gizmo/values.schema.json",
        r#"{"type":"object","properties":{"replicas":{"type":"integer"}}}"#,
    );
    let packed = Command::new(assets.join("helm"))
        .args(["package", "gizmo"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert!(packed.status.success());
    write("good.yaml", "replicas: 2\n");
    write("bad.yaml", "replicas: two\n");
    let judge = |file: &str, format: &str| {
        let arguments = ["values", "gizmo-1.0.0.tgz", "-f", file, "-o", format];
        crate::support::service::run(&arguments, folder.path(), "")
    };
    assert_eq!(judge("good.yaml", "text").0, 0);
    let (code, stdout, _) = judge("bad.yaml", "text");
    assert!(code == 1 && stdout.starts_with("replicas: "), "{stdout}");
    let (code, stdout, _) = judge("bad.yaml", "json");
    let report: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(
        (code, &report["violations"][0]["field"]),
        (1, &"replicas".into())
    );
    assert_eq!(judge("missing.yaml", "text").0, 2);
}

pub fn as_helm(assets: &Path) {
    the_command_judges(assets);
    let started = std::time::Instant::now();
    let folder = tempfile::tempdir().unwrap();
    let mut charts: Vec<Made> = Vec::new();
    let mut pairs: Vec<Pair> = Vec::new();
    for (what, made, values) in table::charts() {
        for text in values {
            pairs.push(Pair {
                what: what.to_owned(),
                chart: charts.len(),
                values: text.split("\n===\n").map(str::to_owned).collect(),
            });
        }
        charts.push(made);
    }
    let from_table = pairs.len();
    for (what, made, values) in random::charts() {
        for text in values {
            pairs.push(Pair {
                what: what.clone(),
                chart: charts.len(),
                values: vec![text],
            });
        }
        charts.push(made);
    }
    let ready: Vec<Ready> = in_two_threads(charts.len(), |position| {
        prepare(assets, folder.path(), position, &charts[position])
    });
    let accepted = in_two_threads(pairs.len(), |position| {
        let pair = &pairs[position];
        check(assets, folder.path(), position, pair, &ready[pair.chart])
    });
    let accepted = accepted.into_iter().filter(|accepts| *accepts).count();
    println!(
        "{} pairs ({from_table} of the table), {} charts, {accepted} accepted, in {:?}",
        pairs.len(),
        charts.len(),
        started.elapsed()
    );
    assert!(from_table >= 150 && accepted >= 50 && pairs.len() - accepted >= 50);
}

/// Results in their order. All pairs are asked before the first that differs is told.
fn in_two_threads<T: Send>(count: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<(usize, T)>> = Mutex::new(Vec::new());
    let failed: Mutex<Vec<String>> = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let position = next.fetch_add(1, Ordering::Relaxed);
                    if position >= count {
                        return;
                    }
                    let result =
                        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| work(position)));
                    match result {
                        Ok(result) => done.lock().unwrap().push((position, result)),
                        Err(panic) => failed.lock().unwrap().push(
                            panic
                                .downcast_ref::<String>()
                                .cloned()
                                .unwrap_or_else(|| "panicked".to_owned()),
                        ),
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(
        failed.is_empty(),
        "{} of {count} differ:\n{}",
        failed.len(),
        failed.join("\n\n")
    );
    let mut done = done.into_inner().unwrap();
    done.sort_by_key(|(position, _)| *position);
    done.into_iter().map(|(_, result)| result).collect()
}
