//! Go templates of `resourceNames`: what Go's `text/template` would say of them, without running Go.
//!
//! The platform executes them with the builtin functions over `{name, kind, namespace}`. One that does not parse or
//! execute is skipped with a log line, and a key that is not there renders `<no value>`, which no name can equal.
//! The tests hold a table of sources against the answers of Go itself.

mod lex;
mod parse;
mod run;

pub use parse::ParseError;
pub use run::ExecError;

use crate::contract::syntax;

/// The keys that a template may use.
const KEYS: [&str; 3] = ["name", "kind", "namespace"];

/// Values that stand for all others: what fails for each of them fails always.
const SAMPLES: [[&str; 3]; 3] = [
    ["logs", "bucket", "tenant-acme"],
    ["a", "etcd", "tenant-root"],
    ["my-long-database-1", "postgres", "tenant-u1-dev"],
];

/// A template that parses.
#[derive(Debug)]
pub struct Template {
    nodes: Vec<parse::Node>,
}

impl Template {
    /// Parses as `text/template` does.
    ///
    /// # Errors
    /// What Go would say, in its own terms.
    pub fn parse(source: &str) -> Result<Template, ParseError> {
        Ok(Template {
            nodes: parse::parse(source)?,
        })
    }

    /// Why the template can never match a name although it parses; empty when it can.
    #[must_use]
    pub fn doubts(&self) -> Vec<String> {
        let mut doubts: Vec<String> = Vec::new();
        for key in parse::data_keys(&self.nodes) {
            if !KEYS.contains(&key.as_str()) {
                let nearest = KEYS.iter().find(|known| known.eq_ignore_ascii_case(&key));
                let hint = match nearest {
                    Some(known) => format!("; .{known} is meant?"),
                    None => "; there are .name, .kind and .namespace".to_owned(),
                };
                doubts.push(format!("there is no .{key}, it renders <no value>{hint}"));
            }
        }
        if !doubts.is_empty() {
            return doubts;
        }
        let mut reason = None;
        for [name, kind, namespace] in SAMPLES {
            match self.render(name, kind, namespace) {
                Ok(text) => match syntax::dns_name(&text) {
                    None => return Vec::new(),
                    Some(_) => reason = Some(format!("renders {text:?}, which is no name")),
                },
                Err(ExecError::Go(error)) => {
                    reason = Some(format!("the platform skips it: {error}"));
                }
                // What cannot be evaluated here is not called wrong.
                Err(ExecError::Unsupported(_)) => return Vec::new(),
            }
        }
        doubts.extend(reason);
        doubts
    }

    /// The text for one application.
    ///
    /// # Errors
    /// What Go would say at execution, or that this port cannot tell.
    pub fn render(&self, name: &str, kind: &str, namespace: &str) -> Result<String, ExecError> {
        run::run(&self.nodes, [name, kind, namespace])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    /// Sources and what Go 1.26 answered for name logs, kind bucket, namespace tenant-acme.
    #[test]
    fn go_says_the_same() {
        let table: Vec<Value> = serde_json::from_str(include_str!("table.json")).unwrap();
        assert!(table.len() >= 120, "{} rows", table.len());
        let mut differences = Vec::new();
        let mut unsupported = 0;
        for row in &table {
            let source = row["source"].as_str().unwrap();
            let found = match Template::parse(source) {
                Err(_) => "parse error".to_owned(),
                Ok(template) => match template.render("logs", "bucket", "tenant-acme") {
                    Ok(text) => format!("text {text}"),
                    Err(ExecError::Go(_)) => "exec error".to_owned(),
                    Err(ExecError::Unsupported(_)) => {
                        unsupported += 1;
                        continue;
                    }
                },
            };
            let wanted = match (&row["parse"], &row["exec"]) {
                (Value::String(_), _) => "parse error".to_owned(),
                (_, Value::String(_)) => "exec error".to_owned(),
                _ => format!("text {}", row["text"].as_str().unwrap()),
            };
            if found != wanted {
                differences.push(format!(
                    "{source:?}: found {found:?}, Go {wanted:?} {}{}",
                    row["parse"], row["exec"]
                ));
            }
        }
        assert_eq!(
            differences,
            Vec::<String>::new(),
            "{}",
            differences.join("\n")
        );
        assert!(
            unsupported <= table.len() / 10,
            "{unsupported} rows cannot be evaluated"
        );
    }

    #[test]
    fn doubts_name_the_reason() {
        let doubts = |source: &str| Template::parse(source).unwrap().doubts();
        assert_eq!(
            doubts("{{ .Name }}-x"),
            ["there is no .Name, it renders <no value>; .name is meant?"]
        );
        assert_eq!(
            doubts("x-{{ .release }}"),
            ["there is no .release, it renders <no value>; there are .name, .kind and .namespace"]
        );
        assert!(doubts("{{ slice .namespace 99 }}")[0].starts_with("the platform skips it: "));
        assert_eq!(
            doubts("Not A Name"),
            ["renders \"Not A Name\", which is no name"]
        );
        for fine in [
            "x",
            "{{ .name }}",
            "{{ slice .namespace 7 }}-ingress",
            "{{ if .name }}a{{ end }}",
            "{{ slice .name 0 2 }}x",
        ] {
            assert_eq!(doubts(fine), Vec::<String>::new(), "{fine}");
        }
    }

    #[test]
    fn depth_is_bounded() {
        assert!(Template::parse(&"{{if .name}}".repeat(50_000)).is_err());
        assert!(Template::parse(&format!("{{{{{}", "(".repeat(50_000))).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn no_text_breaks_it(parts in prop::collection::vec(prop::sample::select(vec![
            "{{", "}}", " ", "-", ".", ".name", "$", "$x", ":=", "=", "|", "(", ")", "\"a\"", "`b`", "'c'", "1", "0x", "if", "else",
            "end", "range", "with", "define", "template", "block", "break", "slice", "printf", "eq", "nil", "true", "/*", "*/", ",", "é", "\n",
        ]), 0..12)) {
            if let Ok(template) = Template::parse(&parts.concat()) {
                let _ = template.doubts();
            }
        }
    }
}
