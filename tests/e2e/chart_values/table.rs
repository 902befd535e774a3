//! Charts made for the purpose, and values for each; `===` separates several files.

use super::Made;

type Row = (&'static str, Made, Vec<&'static str>);

/// A chart that is its schema.
fn plain(schema: &str) -> Made {
    Made::new("plain").schema(schema)
}

fn in_draft(draft: &str, rest: &str) -> Made {
    plain(&format!(r#"{{"$schema": "{draft}", {rest}}}"#))
}

/// A parent with one declared child.
fn parent(dependency: &str, child: Made) -> Made {
    let name = child.name.clone();
    Made::new("parent")
        .metadata(&format!(
            "dependencies:\n- name: {name}\n  version: 1.0.0\n{dependency}"
        ))
        .with(child)
}

const STRICT: &str = r#"{"type": "object", "additionalProperties": false, "properties": {
    "replicas": {"type": "integer", "minimum": 1}, "name": {"type": "string"},
    "resources": {"type": "object"}, "global": {}, "enabled": {"type": "boolean"}}}"#;

pub fn charts() -> Vec<Row> {
    let mut rows = keywords();
    rows.extend(drafts());
    rows.extend(nulls());
    rows.extend(subcharts());
    rows.extend(dependencies());
    rows.extend(broken());
    rows
}

fn keywords() -> Vec<Row> {
    vec![
        (
            "types",
            plain(
                r#"{"properties": {"s": {"type": "string"}, "i": {"type": "integer"}, "n": {"type": "number"},
                "b": {"type": "boolean"}, "o": {"type": "object"}, "a": {"type": "array"}, "z": {"type": "null"},
                "is": {"type": ["integer", "string"]}}}"#,
            ),
            vec![
                "",
                "{s: a, i: 1, n: 1.5, b: true, o: {}, a: [], z: null, is: x}",
                "{s: 1}",
                "{s: true}",
                "{s: null}",
                "{s: yes}",
                "{s: 'yes'}",
                "{s: 1e3}",
                "{s: 2001-01-01}",
                "{i: 1.0}",
                "{i: 1.5}",
                "{i: '1'}",
                "{i: 1e30}",
                "{i: 9223372036854775808}",
                "{i: 0x10}",
                "{i: 010}",
                "{n: a}",
                "{b: 'true'}",
                "{b: 1}",
                "{o: []}",
                "{o: a}",
                "{a: {}}",
                "{z: 1}",
                "{is: 1}",
                "{is: true}",
                "{s: 1, i: a, b: 2}",
            ],
        ),
        (
            "numbers",
            plain(
                r#"{"properties": {"r": {"minimum": 1, "maximum": 10}, "x": {"exclusiveMinimum": 0, "exclusiveMaximum": 1},
                "m": {"multipleOf": 0.1}, "k": {"multipleOf": 3}, "e": {"enum": [1, "a", null, {"b": 1}, 9007199254740993]}, "c": {"const": {"a": [1]}}}}"#,
            ),
            vec![
                "{r: 1, x: 0.5, m: 0.3, k: 9, e: a, c: {a: [1]}}",
                "{r: 0}",
                "{r: 11}",
                "{r: a}",
                "{x: 0}",
                "{x: 1}",
                "{m: 0.35}",
                "{m: 1.1}",
                "{k: 10}",
                "{e: 1.0}",
                "{e: 2}",
                "{e: {b: 1}}",
                "{e: {b: 2}}",
                "{c: {a: [2]}}",
                "{c: {a: [1.0]}}",
                "{e: 9007199254740993}",
                "{e: 9007199254740992}",
            ],
        ),
        (
            "strings",
            plain(
                r#"{"properties": {"l": {"minLength": 2, "maxLength": 4}, "p": {"pattern": "^[a-z]+$"}, "q": {"pattern": "^\\d+(\\.\\d+)?$"},
                "u": {"pattern": "^\\p{L}+$"}, "w": {"pattern": "^\\w\\s\\S$"}, "f": {"format": "hostname"}, "any": {"pattern": "b"},
                "quantity": {"pattern": "^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$"}}}"#,
            ),
            vec![
                "{l: ab, p: abc, q: '1.5', u: é, w: 'a b', f: '-x-', quantity: 100m}",
                "{l: a}",
                "{l: abcde}",
                "{l: éé}",
                "{l: ééééé}",
                "{p: A}",
                "{p: \"a\\n\"}",
                "{q: '١'}",
                "{q: 1}",
                "{u: '1'}",
                "{w: 'é b'}",
                "{any: abc}",
                "{any: ac}",
                "{quantity: 1 Gi}",
            ],
        ),
        (
            "objects",
            plain(
                r#"{"required": ["a"], "minProperties": 1, "maxProperties": 3, "properties": {"a": {}, "deep": {"type": "object",
                "required": ["x", "y"], "properties": {"x": {"type": "string"}}, "additionalProperties": {"type": "integer"}}},
                "patternProperties": {"^p-": {"type": "boolean"}}, "propertyNames": {"maxLength": 6}, "additionalProperties": false,
                "dependentRequired": {"p-a": ["p-b"]}}"#,
            ),
            vec![
                "{a: 1}",
                "",
                "{b: 1}",
                "{a: 1, p-a: true, p-b: false}",
                "{a: 1, p-a: true}",
                "{a: 1, p-b: x}",
                "{a: 1, p-toolong: true}",
                "{a: 1, deep: {x: s, y: 1}}",
                "{a: 1, deep: {}}",
                "{a: 1, deep: {x: 1, y: a, z: b}}",
                "{a: 1, p-a: true, p-b: true, p-c: true}",
                "{a: 1, 'x/y': 1, x.y: 2}",
                "{a: null}",
            ],
        ),
        (
            "lists",
            plain(
                r#"{"properties": {"l": {"type": "array", "minItems": 1, "maxItems": 3, "uniqueItems": true, "items": {"type": "string"}},
                "t": {"prefixItems": [{"type": "string"}, {"type": "integer"}], "items": false},
                "c": {"contains": {"const": 1}, "minContains": 2, "maxContains": 3},
                "o": {"items": {"type": "object", "required": ["name"], "properties": {"port": {"maximum": 65535}}}}}}"#,
            ),
            vec![
                "{l: [a], t: [a, 1], c: [1, 1], o: [{name: a}]}",
                "{l: []}",
                "{l: [a, b, c, d]}",
                "{l: [a, a]}",
                "{l: [a, 1]}",
                "{t: [a, b]}",
                "{t: [a, 1, 2]}",
                "{c: [1]}",
                "{c: [1, 1, 1, 1]}",
                "{o: [{name: a}, {port: 70000}]}",
                "{o: [a]}",
                "{l: {a: b}}",
            ],
        ),
        (
            "combinations",
            plain(
                r##"{"properties": {"any": {"anyOf": [{"type": "string"}, {"type": "object", "required": ["k"], "properties": {"k": {"type": "integer"}}}]},
                "one": {"oneOf": [{"type": "integer"}, {"minimum": 5}]}, "all": {"allOf": [{"required": ["x"]}, {"properties": {"y": {"type": "string"}}}]},
                "not": {"not": {"type": "string"}}, "never": false,
                "if": {"if": {"properties": {"kind": {"const": "a"}}, "required": ["kind"]}, "then": {"required": ["forA"]}, "else": {"required": ["other"]}},
                "ref": {"$ref": "#/$defs/port"}, "tree": {"$ref": "#/$defs/node"},
                "both": {"$ref": "#/$defs/port", "maximum": 10},
                "uneval": {"allOf": [{"properties": {"a": {}}}], "properties": {"b": {}}, "unevaluatedProperties": false}},
                "$defs": {"port": {"type": "integer", "minimum": 1}, "node": {"type": "object", "required": ["v"],
                "properties": {"v": {"type": "integer"}, "next": {"$ref": "#/$defs/node"}}}}}"##,
            ),
            vec![
                "{any: a, one: 1, all: {x: 1}, not: 1, if: {kind: a, forA: 1}, ref: 80, tree: {v: 1, next: {v: 2}}, both: 5, uneval: {a: 1, b: 2}}",
                "{any: 1}",
                "{any: {}}",
                "{any: {k: a}}",
                "{any: {k: 1}}",
                "{one: 7}",
                "{one: 5.5}",
                "{one: 1.5}",
                "{all: {}}",
                "{all: {x: 1, y: 1}}",
                "{not: a}",
                "{never: 1}",
                "{never: null}",
                "{if: {kind: a}}",
                "{if: {kind: b}}",
                "{if: {other: 1}}",
                "{ref: 0}",
                "{ref: a}",
                "{tree: {v: 1, next: {v: a}}}",
                "{tree: {v: 1, next: {next: {}}}}",
                "{both: 11}",
                "{both: 0}",
                "{uneval: {c: 1}}",
            ],
        ),
        (
            "formats do not count in the draft without a version",
            in_draft(
                "http://json-schema.org/schema#",
                r#""properties": {"m": {"format": "email"}, "u": {"format": "uri"}, "x": {"prefixItems": [{"type": "string"}]}}"#,
            ),
            vec!["{m: a, u: b}", "{x: [1]}", "{x: [a]}"],
        ),
    ]
}

fn drafts() -> Vec<Row> {
    let formats = r#""properties": {"h": {"format": "hostname"}, "m": {"format": "email"}, "four": {"format": "ipv4"}, "six": {"format": "ipv6"},
        "u": {"format": "uri"}, "r": {"format": "uri-reference"}, "d": {"format": "date-time"}, "day": {"format": "date"}, "id": {"format": "uuid"}, "x": {"format": "nobody-knows"},
        "re": {"format": "regex"}, "dur": {"format": "duration"}, "sem": {"format": "semver"}, "idn": {"format": "idn-hostname"}, "i32": {"format": "int32"},
        "enc": {"contentEncoding": "base64"}, "media": {"contentMediaType": "application/json"}}"#;
    let good = "{h: a.b, m: a@b.c, four: 1.2.3.4, six: '::1', u: 'http://a/b', r: ../x, d: '2020-01-01T00:00:00Z', day: '2020-01-01', x: '?', re: a+, dur: P1D, sem: 1.2.3}";
    let bad = [
        good,
        "{h: -a}",
        "{h: a_b}",
        "{h: a.}",
        "{m: a}",
        "{m: 'a b@c.d'}",
        "{m: a@b_c}",
        "{four: 1.2.3}",
        "{four: 01.2.3.4}",
        "{six: 1.2.3.4}",
        "{six: ':::'}",
        "{u: a}",
        "{u: 'a b'}",
        "{u: 'mailto:x'}",
        "{u: 'http://a:b/'}",
        "{u: 'http://x/%zz'}",
        "{r: 'a\\b'}",
        "{d: today}",
        "{d: '2020-02-30T00:00:00Z'}",
        "{day: '2020-1-1'}",
        "{id: x}",
        "{id: 123e4567-e89b-12d3-a456-426614174000}",
        "{re: '('}",
        "{dur: x}",
        "{dur: PT1H30M}",
        "{sem: '1.2'}",
        "{sem: 1.2.3-rc.1}",
        "{idn: '!'}",
        "{i32: a}",
        "{enc: '!'}",
        "{media: '{'}",
        "{h: 1, m: [], u: {}}",
    ];
    vec![
        (
            "draft 4",
            in_draft(
                "http://json-schema.org/draft-04/schema#",
                r##""id": "http://example.com/root.json", "definitions": {"p": {"type": "integer", "minimum": 0, "exclusiveMinimum": true}},
                "properties": {"p": {"$ref": "#/definitions/p", "maximum": 1}, "c": {"const": 1}, "i": {"type": "integer"}, "e": {"enum": [1]},
                "l": {"items": [{"type": "string"}], "additionalItems": false}, "h": {"format": "hostname"}, "n": {"propertyNames": {"maxLength": 1}}},
                "dependencies": {"p": ["i"], "l": {"required": ["e"]}}"##,
            ),
            vec![
                "{p: 1, i: 2}",
                "{p: 0, i: 1}",
                "{p: 5, i: 1}",
                "{p: 5}",
                "{c: 2}",
                "{i: 1.0}",
                "{i: 1e20}",
                "{e: 2}",
                "{l: [a], e: 1}",
                "{l: [a]}",
                "{l: [1], e: 1}",
                "{l: [a, b], e: 1}",
                "{h: '-'}",
                "{n: {long: 1}}",
            ],
        ),
        (
            "draft 6",
            in_draft(
                "http://json-schema.org/draft-06/schema#",
                r#""properties": {"c": {"const": 1}, "x": {"exclusiveMinimum": 1}, "t": {"contains": {"type": "string"}}, "if": {"if": {"type": "string"}, "then": false}}"#,
            ),
            vec![
                "{c: 1, x: 2, t: [a]}",
                "{c: 2}",
                "{x: 1}",
                "{t: [1]}",
                "{if: a}",
            ],
        ),
        (
            "draft 7",
            in_draft(
                "http://json-schema.org/draft-07/schema#",
                r##""definitions": {"s": {"type": "string"}}, "properties": {"r": {"$ref": "#/definitions/s", "maxLength": 1}, "l": {"items": [{"type": "string"}]},
                "if": {"if": {"type": "string"}, "then": {"minLength": 2}}, "d": {"dependentRequired": {"a": ["b"]}}, "u": {"unevaluatedProperties": false},
                "p": {"$ref": "#/definitions/none-of-it/s"}}, "$comment": "x", "definitions": {"s": {"type": "string"}, "none-of-it": {"s": {"type": "boolean"}}}"##,
            ),
            vec![
                "{r: long}",
                "{r: 1}",
                "{l: [1]}",
                "{l: [a, 1]}",
                "{if: a}",
                "{if: ab}",
                "{d: {a: 1}}",
                "{u: {a: 1}}",
                "{p: true}",
                "{p: 1}",
            ],
        ),
        (
            "formats of draft 7",
            in_draft("http://json-schema.org/draft-07/schema", formats),
            bad.to_vec(),
        ),
        (
            "formats of draft 4",
            in_draft("http://json-schema.org/draft-04/schema#", formats),
            vec![
                good,
                "{h: a_b}",
                "{u: a}",
                "{dur: x}",
                "{id: x}",
                "{enc: '!'}",
            ],
        ),
        (
            "formats of draft 2019-09",
            in_draft("https://json-schema.org/draft/2019-09/schema", formats),
            vec![good, "{h: a_b}", "{u: a}", "{dur: x}"],
        ),
        (
            "formats of draft 2020-12",
            in_draft("https://json-schema.org/draft/2020-12/schema", formats),
            vec![good, "{h: a_b}", "{re: '('}"],
        ),
        (
            "draft 2019-09",
            in_draft(
                "https://json-schema.org/draft/2019-09/schema#",
                r##""$defs": {"a": {"$anchor": "here", "type": "string"}}, "properties": {"a": {"$ref": "#here"}, "l": {"items": [{"type": "string"}], "additionalItems": {"type": "integer"}},
                "d": {"dependentSchemas": {"x": {"required": ["y"]}}}, "old": {"dependencies": {"x": ["y"]}}}"##,
            ),
            vec![
                "{a: b, l: [a, 1]}",
                "{a: 1}",
                "{l: [1]}",
                "{l: [a, b]}",
                "{d: {x: 1}}",
                "{old: {x: 1}}",
            ],
        ),
        (
            "draft 2020-12",
            in_draft(
                "https://json-schema.org/draft/2020-12/schema",
                r##""$id": "https://example.com/chart", "$defs": {"a": {"type": "string"}}, "properties": {"a": {"$ref": "#/$defs/a"}, "b": {"$ref": "https://example.com/chart#/$defs/a"},
                "old": {"dependencies": {"x": ["y"]}}, "d": {"$dynamicRef": "#/$defs/a"}}"##,
            ),
            vec![
                "{a: x, b: y}",
                "{a: 1}",
                "{b: 1}",
                "{old: {x: 1}}",
                "{d: 1}",
            ],
        ),
        (
            "draft with TLS",
            in_draft(
                "https://json-schema.org/draft-07/schema#",
                r#""properties": {"m": {"format": "email"}}"#,
            ),
            vec!["{m: a}", "{m: a@b.c}"],
        ),
    ]
}

fn nulls() -> Vec<Row> {
    vec![
        (
            "null takes a default away",
            Made::new("plain")
                .values("a: 1\nb: {c: 1, d: {e: 1}}\nn: null\nm: {n: null}\nl: [1, null]\n")
                .schema(r#"{"required": ["a"], "properties": {"b": {"required": ["c"], "properties": {"d": {"type": "object"}}}, "n": {"type": "string"}}}"#),
            vec![
                "", "{a: null}", "{b: null}", "{b: {c: null}}", "{b: {d: null}}", "{b: {d: {e: null}}}", "{b: {x: null}}", "{x: null}",
                "{n: a}", "{n: 1}", "{m: {n: null}}", "{m: {n: 1}}", "{m: null}", "{b: 1}", "{a: {x: 1}}", "{l: null}", "{l: []}", "{b: []}",
                "{a: null}\n===\n{a: 2}", "{a: 2}\n===\n{a: null}", "{b: {c: 2}}\n===\n{b: {d: null}}", "{b: 1}\n===\n{b: {c: 3}}", "{b: {c: 1}}\n===\n{b: null}\n===\n{b: {x: 1}}",
            ],
        ),
        (
            "null in a subchart's values",
            parent("", Made::new("child").values("a: 1\nb: {c: 1}\nd: null\n").schema(r#"{"required": ["a", "b"], "properties": {"b": {"required": ["c"]}, "d": {"type": "integer"}}}"#))
                .values("child: {d: 1, e: 2}\n"),
            vec![
                "", "{child: {a: null}}", "{child: {b: null}}", "{child: {b: {c: null}}}", "{child: null}", "{child: {d: null}}", "{child: {e: null}}",
                "{child: 1}", "{child: []}", "{child: {b: 1}}", "{child: {x: null}}",
            ],
        ),
        (
            "null in the parent's defaults for a subchart",
            parent("", Made::new("child").values("a: 1\nb: {c: 1, d: 1}\n").schema(r#"{"required": ["a"], "properties": {"b": {"required": ["c"]}}}"#))
                .values("child: {a: null, b: {c: null}}\n"),
            vec!["", "{child: {a: 2, b: {c: 1}}}", "{child: {a: 2}}", "{child: {b: {c: 1}}}", "{child: {a: null}}"],
        ),
        (
            "null where only the subchart has a default, without declarations",
            Made::new("parent").with(Made::new("child").values("a: {b: 1}\n").schema(r#"{"required": ["a"]}"#)).values("other: 1\n"),
            vec!["", "{child: {a: null}}", "{child: {a: {b: null}}}", "{child: null}", "{other: null}"],
        ),
    ]
}

fn subcharts() -> Vec<Row> {
    let child = || Made::new("child").values("replicas: 1\n").schema(STRICT);
    vec![
        (
            "a subchart's own schema",
            parent("", child()),
            vec!["", "{child: {replicas: 0}}", "{child: {replcas: 1}}", "{child: {replicas: 2, name: x}}", "{other: 1}", "{child: {resources: a}}", "{child: {global: 1}}", "{global: {a: 1}}"],
        ),
        ("a schema without room for global", parent("", Made::new("child").schema(r#"{"additionalProperties": false, "properties": {"a": {}}}"#)), vec!["", "{child: {a: 1}}"]),
        (
            "three levels, each with a schema",
            parent("", parent("", Made::new("leaf").values("v: 1\n").schema(r#"{"properties": {"v": {"type": "integer"}}}"#)).schema(r#"{"properties": {"leaf": {"properties": {"v": {"maximum": 5}}}}}"#))
                .schema(r#"{"properties": {"parent": {"properties": {"leaf": {"properties": {"v": {"minimum": 2}}}}}}}"#),
            vec!["", "{parent: {leaf: {v: 3}}}", "{parent: {leaf: {v: 6}}}", "{parent: {leaf: {v: a}}}", "{parent: {leaf: {v: 1}}}", "{parent: {leaf: 1}}", "{parent: 1}"],
        ),
        (
            "packed within packed",
            Made::new("parent").with(Made::new("middle").packed().with(child().packed())).metadata("dependencies:\n- {name: middle, version: 1.0.0}"),
            vec!["", "{middle: {child: {replicas: 2}}}", "{middle: {child: {replicas: a}}}", "{middle: {child: {nope: 1}}}"],
        ),
        (
            "globals reach every chart",
            parent("", Made::new("child").values("global: {own: 1, map: {deep: {b: 2}}}\n").schema(
                r#"{"properties": {"global": {"required": ["own"], "properties": {"registry": {"type": "string"}, "map": {"type": "object", "properties": {"deep": {"required": ["a", "b"]}}}}}}}"#))
                .values("global: {registry: r, map: {deep: {a: 1}}}\n"),
            vec![
                "", "{global: {registry: 1}}", "{global: {own: null}}", "{child: {global: {registry: 1}}}", "{child: {global: {own: null}}}", "{global: 1}", "{global: null}",
                "{child: {global: 1}}", "{child: {global: null}}", "{global: {map: null}}", "{global: {map: 1}}", "{child: {global: {map: 1}}}", "{global: {map: {deep: {a: null}}}}", "{child: {global: {map: {deep: {a: 3, c: 4}}}}}",
            ],
        ),
        (
            "globals of one child are seen by the next",
            Made::new("parent")
                .metadata("dependencies:\n- {name: first, version: 1.0.0}\n- {name: second, version: 1.0.0}")
                .values("global: {map: {deep: {a: 1}}}\n")
                .with(Made::new("first").values("global: {map: {deep: {b: 1}, flat: 1}}\n"))
                .with(Made::new("second").schema(r#"{"properties": {"global": {"properties": {"map": {"properties": {"deep": {"additionalProperties": false, "properties": {"a": {}}}}}}}}}"#)),
            vec!["", "{global: {map: {deep: {a: 2}}}}", "{first: {global: {map: {deep: {c: 1}}}}}", "{global: {map: null}}"],
        ),
        ("values with a dot and a slash", parent("", Made::new("child").schema(r#"{"additionalProperties": {"type": "string"}, "properties": {"global": {}}}"#)), vec!["{child: {'a.b/c': x, 'd~e': y}}", "{child: {'a.b/c': 1, 'd~e': 2}}"]),
    ]
}

fn dependencies() -> Vec<Row> {
    let child = || Made::new("child").values("replicas: 1\n").schema(STRICT);
    let bad = "{child: {replicas: 0}}";
    vec![
        (
            "condition",
            parent("  condition: child.enabled\n", child()),
            vec![bad, "{child: {enabled: false, replicas: 0}}", "{child: {enabled: true, replicas: 0}}", "{child: {enabled: 'false', replicas: 0}}", "{child: {enabled: null, replicas: 0}}", "{child: {enabled: {}, replicas: 0}}", "{child: 1}"],
        ),
        (
            "conditions in their order",
            parent("  condition: global.child,child.enabled\n", child()).values("child: {enabled: true}\n"),
            vec![bad, "{global: {child: false}, child: {replicas: 0}}", "{global: {child: true}, child: {replicas: 0, enabled: false}}", "{child: {enabled: false, replicas: 0}}"],
        ),
        ("condition with blanks", parent("  condition: ' a.b, child.enabled '\n", child()), vec!["{child: {enabled: false, replicas: 0}}", "{a: {b: false}, child: {replicas: 0}}"]),
        (
            "tags",
            parent("  tags: [one, two]\n", child()),
            vec![bad, "{tags: {one: false}, child: {replicas: 0}}", "{tags: {one: false, two: true}, child: {replicas: 0}}", "{tags: {one: a}, child: {replicas: 0}}", "{tags: 1, child: {replicas: 0}}", "{tags: {three: false}, child: {replicas: 0}}"],
        ),
        ("condition over tags", parent("  tags: [one]\n  condition: on\n", child()), vec!["{tags: {one: false}, on: true, child: {replicas: 0}}", "{tags: {one: true}, on: false, child: {replicas: 0}}"]),
        (
            "alias",
            parent("  alias: other\n  condition: other.enabled\n", child()),
            vec![bad, "{other: {replicas: 0}}", "{other: {replicas: 0, enabled: false}}", "{other: {replicas: 3}, child: {anything: 1}}", "{other: 1}", "{child: 1}"],
        ),
        (
            "one chart under two names",
            Made::new("parent").metadata("dependencies:\n- {name: child, version: 1.0.0}\n- {name: child, version: 1.0.0, alias: other, condition: on}").with(child()),
            vec!["{child: {replicas: 0}, other: {replicas: 1}}", "{child: {replicas: 1}, other: {replicas: 0}}", "{child: {replicas: 0}, other: {name: 1}}", "{on: false, other: {replicas: 0}}"],
        ),
        (
            "two names for a chart that has an alias itself",
            Made::new("parent").metadata("dependencies:\n- {name: middle, version: 1.0.0, alias: one}\n- {name: middle, version: 1.0.0, alias: two}").with(
                Made::new("middle").metadata("dependencies:\n- {name: child, version: 1.0.0, alias: inner, import-values: [exported]}").with(child().values("exports: {exported: {from: child}}\nreplicas: 1\n").schema(r#"{"properties": {"replicas": {"type": "integer"}}}"#)),
            ),
            vec!["", "{one: {inner: {replicas: a}}}", "{two: {inner: {replicas: a}}}", "{two: {child: {replicas: a}}}", "{one: {child: {replicas: a}}}"],
        ),
        ("a version that does not fit", Made::new("parent").metadata("dependencies:\n- {name: child, version: 2.x, alias: other, condition: child.enabled}").with(child()), vec![bad, "{other: {replicas: 0}}", "{child: {enabled: false, replicas: 0}}"]),
        ("no version", Made::new("parent").metadata("dependencies:\n- {name: child, condition: child.enabled}").with(child()), vec![bad, "{child: {enabled: false, replicas: 0}}"]),
        ("a prerelease", Made::new("parent").metadata("dependencies:\n- {name: child, version: '>=1', alias: other}").with(child().metadata("version: 1.5.0-rc.1")), vec![bad, "{other: {replicas: 0}}"]),
        ("a prerelease that is asked for", Made::new("parent").metadata("dependencies:\n- {name: child, version: '>=1-0', alias: other}").with(child().metadata("version: 1.5.0-rc.1")), vec![bad, "{other: {replicas: 0}}"]),
        ("charts that nobody declares", Made::new("parent").with(child()), vec!["", bad, "{child: 1}", "{child: {enabled: false, replicas: 0}}"]),
        ("one is declared, one is not", Made::new("parent").metadata("dependencies:\n- {name: child, version: 1.0.0, condition: on}").with(child()).with(Made::new("more").schema(STRICT)), vec!["{more: {x: 1}}", "{on: false, child: {x: 1}}", "{on: false, more: {x: 1}}"]),
        ("an empty list of dependencies", Made::new("parent").metadata("dependencies: []").with(child()), vec!["", bad]),
        (
            "conditions below a child",
            parent("", Made::new("middle").metadata("dependencies:\n- {name: child, version: 1.0.0, condition: 'child.enabled,global.on'}").values("child: {enabled: true}\n").with(child())),
            vec!["{middle: {child: {replicas: 0}}}", "{middle: {child: {replicas: 0, enabled: false}}}", "{middle: {child: {enabled: null, replicas: 0}}}", "{child: {enabled: false}, middle: {child: {replicas: 0}}}", "{child: 1}"],
        ),
        (
            "imports",
            parent("  import-values: [data, {child: default, parent: mine}, nothing]\n", Made::new("child").values("exports: {data: {a: 1}}\ndefault: {x: 1, y: {z: 2}}\n"))
                .values("mine: {x: 5}\n").schema(r#"{"required": ["a", "mine"], "properties": {"a": {"type": "integer"}, "mine": {"required": ["x", "y"]}}}"#),
            vec!["", "{a: null}", "{a: b}", "{mine: null}", "{mine: {y: null}}", "{mine: {x: null}}", "{child: {default: {x: 9}}}", "{child: {exports: {data: {a: b}}}}"],
        ),
        (
            "imports of a child that is not enabled",
            parent("  condition: on\n  import-values: [data]\n", Made::new("child").values("exports: {data: {a: 1}}\n")).schema(r#"{"required": ["a"]}"#),
            vec!["", "{on: false}", "{on: false, a: 1}"],
        ),
        ("a library as a child", parent("", child().metadata("type: library")), vec!["", bad]),
        ("a library", Made::new("library").metadata("type: library"), vec![""]),
        ("a child that is missing", Made::new("parent").metadata("dependencies:\n- {name: child, version: 1.0.0, condition: on}"), vec!["", "{on: false}"]),
        ("what comes from the Secret", Made::new("plain").schema(r#"{"properties": {"_cluster": {"properties": {"host": {"type": "string"}}}}}"#), vec!["", "{_cluster: {host: a}}", "{_cluster: {host: 1}}", "{_cluster: 1}"]),
    ]
}

fn broken() -> Vec<Row> {
    let each = |what, schema: &str| -> Row { (what, plain(schema), vec!["{a: 1}"]) };
    vec![
        each("no JSON", "{"),
        each("no schema", r#"{"type": "strng"}"#),
        each("a list", "[]"),
        each("a schema that takes all", "true"),
        each("a schema that takes nothing", "false"),
        each("an empty schema", "{}"),
        each("an empty file", ""),
        each("a number", "1"),
        each(
            "a pattern that is open",
            r#"{"properties": {"b": {"pattern": "("}}}"#,
        ),
        each(
            "a pattern that looks ahead",
            r#"{"properties": {"b": {"pattern": "^(?!x)"}}}"#,
        ),
        each(
            "a pattern that looks back at a group",
            r#"{"properties": {"b": {"pattern": "(a)\\1"}}}"#,
        ),
        each("required is no list", r#"{"required": "a"}"#),
        each(
            "draft 4 in 2020-12",
            r#"{"properties": {"a": {"minimum": 1, "exclusiveMinimum": true}}}"#,
        ),
        each(
            "items of draft 7 in 2020-12",
            r#"{"properties": {"a": {"items": [{}]}}}"#,
        ),
        each(
            "a reference to nothing",
            r##"{"properties": {"a": {"$ref": "#/$defs/none"}}}"##,
        ),
        each(
            "a reference to nothing that is not used",
            r##"{"properties": {"b": {"$ref": "#/$defs/none"}}}"##,
        ),
        each(
            "a number of draft 4 that is negative",
            r#"{"minProperties": -1}"#,
        ),
        each("a key twice", r#"{"required": ["b"], "required": ["a"]}"#),
        each("more after its end", r#"{"type": "object"} {}"#),
        each(
            "a draft within a draft",
            r##"{"properties": {"a": {"$schema": "http://json-schema.org/draft-04/schema#", "exclusiveMinimum": 1}}}"##,
        ),
        each(
            "an address that is relative",
            r##"{"$id": "x.json", "properties": {"a": {"$ref": "x.json#/$defs/x"}}, "$defs": {"x": {"type": "string"}}}"##,
        ),
        each("an address that is no text", r##"{"$id": 1}"##),
        each(
            "a schema that names no draft",
            r##"{"$schema": 1, "properties": {"a": {"type": "string"}}}"##,
        ),
        each(
            "unknown words",
            r#"{"x-anything": 1, "nullable": true, "properties": {"a": {"type": "integer", "x-y": {}}}}"#,
        ),
        each(
            "Go's classes",
            r#"{"properties": {"b": {"pattern": "^[[:alpha:]]+$"}}}"#,
        ),
        (
            "a broken schema of a child that is not enabled",
            parent(
                "  condition: on\n",
                Made::new("child").schema(r#"{"type": 1}"#),
            ),
            vec!["", "{on: false}"],
        ),
        (
            "values of the user that are no map",
            plain("{}"),
            vec!["[1]", "text", "1", "false", "null", "~", "# nothing"],
        ),
        (
            "values that are a list",
            Made::new("plain").values("[1]"),
            vec![""],
        ),
        (
            "values that are no YAML",
            Made::new("plain").values("a: [\n"),
            vec![""],
        ),
        (
            "keys twice",
            Made::new("plain")
                .values("a: 1\nb: 2\na: {c: 3}\n")
                .schema(r#"{"properties": {"a": {"type": "object"}}}"#),
            vec!["", "{b: 1}"],
        ),
        (
            "several documents",
            Made::new("plain")
                .values("# first\n---\na: 1\n---\na: {b: 1}\n")
                .schema(r#"{"properties": {"a": {"type": "integer"}}}"#),
            vec![""],
        ),
        (
            "a mark of byte order",
            Made::new("plain")
                .values("\u{feff}a: 1\r\nb: x\r\n")
                .schema(r#"{"required": ["a"]}"#),
            vec!["", "\u{feff}a: 2\r\n"],
        ),
        (
            "a schema with a mark of byte order",
            plain("\u{feff}{}"),
            vec![""],
        ),
        ("tabs", Made::new("plain").values("a:\t1\n"), vec![""]),
        (
            "anchors",
            Made::new("plain").values("a: &x {b: 1}\nc: *x\nd: {<<: *x, e: 1}\n"),
            vec!["", "{a: {b: 2}}"],
        ),
        (
            "a version that is none",
            Made::new("plain").metadata("version: nope"),
            vec![""],
        ),
        (
            "a version that is a number",
            Made::new("plain").metadata("version: 2"),
            vec![""],
        ),
        (
            "an alias that is none",
            Made::new("plain")
                .metadata("dependencies:\n- {name: a, version: 1.0.0, alias: 'a b'}")
                .with(Made::new("a")),
            vec![""],
        ),
        (
            "a name twice",
            Made::new("plain")
                .metadata("dependencies:\n- {name: a, version: 1.0.0}\n- {name: a, version: 1.0.0}")
                .with(Made::new("a")),
            vec![""],
        ),
        (
            "an unknown type",
            Made::new("plain").metadata("type: thing"),
            vec![""],
        ),
    ]
}
