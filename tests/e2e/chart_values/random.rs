//! Charts at random, the same ones every time: nested subcharts, aliases, conditions, tags, imports, globals, nulls.

use super::Made;
use std::fmt::Write as _;

struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (word ^ (word >> 31)) % sides
    }

    fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[usize::try_from(self.roll(of.len() as u64)).unwrap()]
    }

    /// A value in YAML's flow style.
    fn value(&mut self, depth: u64) -> String {
        match self.roll(if depth == 0 { 7 } else { 11 }) {
            0 => "null".to_owned(),
            1 => "true".to_owned(),
            2 => "false".to_owned(),
            3 => self.roll(5).to_string(),
            4 => "text".to_owned(),
            5 => "[1, {x: null}]".to_owned(),
            6 => "{}".to_owned(),
            _ => self.map(depth - 1),
        }
    }

    fn map(&mut self, depth: u64) -> String {
        let mut text = String::from("{");
        for key in ["x", "w", "z"] {
            if self.roll(2) == 0 {
                let value = self.value(depth);
                let _ = write!(text, "{key}: {value}, ");
            }
        }
        text.push('}');
        text
    }

    /// Values for a chart with those children.
    fn values(&mut self, children: &[&str], depth: u64) -> String {
        let mut text = String::from("{");
        for key in ["x", "w", "exports"] {
            if self.roll(2) == 0 {
                let value = self.value(2);
                let _ = write!(text, "{key}: {value}, ");
            }
        }
        if self.roll(2) == 0 {
            let global = if self.roll(12) == 0 {
                self.value(0)
            } else {
                self.map(2)
            };
            let _ = write!(text, "global: {global}, ");
        }
        if self.roll(4) == 0 {
            let _ = write!(
                text,
                "tags: {{one: {}, two: {}}}, ",
                self.roll(2) == 0,
                self.roll(2) == 0
            );
        }
        for child in children {
            if self.roll(2) == 0 {
                let value = if self.roll(14) == 0 {
                    self.value(0)
                } else if depth > 0 {
                    let mut inner = self.values(&["leaf", "twig"], depth - 1);
                    if self.roll(2) == 0 {
                        inner.pop();
                        let _ = write!(inner, "on: {}}}", self.roll(2) == 0);
                    }
                    inner
                } else {
                    self.map(1)
                };
                let _ = write!(text, "{child}: {value}, ");
            }
        }
        text.push('}');
        text
    }

    fn dependency(&mut self, name: &str, alias: Option<&str>) -> String {
        let mut text = format!("- name: {name}\n");
        // Two charts that are not declared come in any order, and that can be seen: only aliases miss their chart.
        let versions = ["1.0.0", "~1.0", "^1", ">=0.5, <2", "*", "2.x"];
        let version = self.pick(&versions[..if alias.is_some() { 6 } else { 5 }]);
        let _ = writeln!(text, "  version: {version:?}");
        if let Some(alias) = alias {
            let _ = writeln!(text, "  alias: {alias}");
        }
        let key = alias.unwrap_or(name);
        match self.roll(4) {
            0 => {
                let _ = writeln!(text, "  condition: {key}.on");
            }
            1 => {
                let _ = writeln!(text, "  condition: x.w,{key}.on,global.x");
            }
            _ => {}
        }
        if self.roll(3) == 0 {
            let _ = writeln!(text, "  tags: [{}]", self.pick(&["one", "two", "one, two"]));
        }
        match self.roll(4) {
            0 => text.push_str("  import-values: [x]\n"),
            1 => {
                text.push_str("  import-values: [{child: x, parent: w}, {child: w, parent: x.z}]\n")
            }
            2 => text.push_str("  import-values: [w, {child: exports, parent: .}]\n"),
            _ => {}
        }
        text
    }

    fn schema(&mut self) -> Option<String> {
        if self.roll(2) == 0 {
            return None;
        }
        let mut properties = Vec::new();
        for key in ["x", "w", "global", "leaf"] {
            if self.roll(3) == 0 {
                let kind = self.pick(&[
                    r#"{"type": ["object", "boolean", "null"]}"#,
                    r#"{"not": {"type": "integer"}}"#,
                    r#"{"anyOf": [{"type": "string"}, {"minProperties": 1}]}"#,
                    r#"{"properties": {"x": {"type": "object"}, "z": {"enum": [null, true, "text"]}}}"#,
                    r##"{"$ref": "#/$defs/open"}"##,
                ]);
                properties.push(format!("{key:?}: {kind}"));
            }
        }
        let required = self.pick(&["", "", r#""x""#, r#""x", "w""#]);
        Some(format!(
            r#"{{"properties": {{{}}}, "required": [{required}], "$defs": {{"open": {{"propertyNames": {{"pattern": "^[xz]"}}}}}}}}"#,
            properties.join(", ")
        ))
    }

    fn child(&mut self, name: &str) -> Made {
        let mut metadata = String::new();
        let mut made = Made::new(name).values(&self.values(&["leaf", "twig"], 0));
        if self.roll(2) == 0 {
            let mut leaf = Made::new("leaf").values(&self.values(&[], 0));
            leaf.schema = self.schema();
            made = made.with(leaf);
            if self.roll(2) == 0 {
                metadata.push_str("dependencies:\n");
                metadata.push_str(&self.dependency("leaf", None));
                if self.roll(2) == 0 {
                    metadata.push_str(&self.dependency("leaf", Some("twig")));
                }
            }
        }
        made.schema = self.schema();
        made.metadata(&metadata)
    }
}

const CHARTS: u64 = 50;
const VALUES: u64 = 3;

pub fn charts() -> Vec<(String, Made, Vec<String>)> {
    (0..CHARTS)
        .map(|seed| {
            let mut dice = Dice(seed);
            let children = ["one", "two", "other"];
            let mut metadata = String::from("dependencies:\n");
            metadata.push_str(&dice.dependency("one", None));
            if dice.roll(2) == 0 {
                metadata.push_str(&dice.dependency("two", None));
            }
            if dice.roll(2) == 0 {
                let of = dice.pick(&["one", "two"]);
                metadata.push_str(&dice.dependency(of, Some("other")));
            }
            let made = Made::new("root")
                .metadata(&metadata)
                .values(&dice.values(&children, 1))
                .with(dice.child("one"))
                .with(dice.child("two"));
            let values = (0..VALUES).map(|_| dice.values(&children, 1)).collect();
            (format!("random chart {seed}"), made, values)
        })
        .collect()
}
