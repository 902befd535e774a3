use super::matching::Labels;
use super::*;
use crate::contract::skim::Cursor;
use crate::contract::{
    Deadline, Fault, Json, Operation, Outline, Request, Settings, Verdict, Violation,
};
use crate::kinds::PACKAGES;
use crate::testing::Around;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

fn compiled(name: &str, spec: &Value) -> Arc<Policy> {
    let (policy, violations) = compile(name, spec);
    assert_eq!(violations, [""; 0], "{spec}");
    assert_eq!(policy.broken(), None);
    policy
}

fn compile(name: &str, spec: &Value) -> (Arc<Policy>, Vec<String>) {
    let object = json!({"metadata": {"name": name, "generation": 3}, "spec": spec});
    let (policy, violations) = Policy::compile(&object);
    let violations = violations.iter().map(crate::contract::Violation::message);
    (policy, violations.collect())
}

/// A policy with one validation.
fn with(expression: &str) -> Value {
    json!({"validations": [{"expression": expression, "message": "no"}]})
}

/// Asks about a Package as requests have it.
fn ask<T>(
    around: &Around,
    object: &Value,
    old: Option<&Value>,
    ask: impl FnOnce(&Facts<'_>) -> T,
) -> T {
    ask_by(
        around,
        object,
        old,
        Deadline::after(Duration::from_mins(1)),
        ask,
    )
}

fn ask_by<T>(
    around: &Around,
    object: &Value,
    old: Option<&Value>,
    deadline: Deadline,
    ask: impl FnOnce(&Facts<'_>) -> T,
) -> T {
    let settings = Settings::default();
    let (text, old) = (object.to_string(), old.map(ToString::to_string));
    let raw: &serde_json::value::RawValue = serde_json::from_str(&text).unwrap();
    // None of what is too deep.
    let outline = Outline::take(&mut Cursor::new(&text));
    let old = old.as_ref();
    let old = old.map(|old| Outline::take(&mut Cursor::new(old)).unwrap());
    let request = Request {
        operation: if old.is_some() {
            Operation::Update
        } else {
            Operation::Create
        },
        group: "cozystack.io",
        version: "v1alpha1",
        kind: "Package",
        namespace: "",
        name: "",
        object: Some(
            outline
                .as_ref()
                .map_or_else(|| Json::from(raw), Outline::json),
        ),
        old_object: old.as_ref().map(Outline::json),
        user_info: None::<Json<'_>>,
        dry_run: false,
        cluster: around,
        settings: settings.of(&crate::policies::WEBHOOK.declaration),
        deadline,
        explains: false,
    };
    ask(&Facts::of(&request))
}

fn package() -> Value {
    json!({"metadata": {"name": "cozystack.gizmo", "labels": {"tier": "data"}},
        "spec": {"components": {"gizmo": {"values": {"replicas": 1, "list": [1, 2.5, null, "x"]}}}}})
}

/// What is said of a Package by all that is asked.
fn said(policy: &Policy, object: &Value) -> Vec<String> {
    ask(&Around::default(), object, None, |facts| {
        let rulings = policy.judge(facts, None, None).unwrap();
        let refusals = rulings.iter().flat_map(|ruling| &ruling.refusals);
        refusals
            .map(|refusal| format!("{}: {}", refusal.rule, refusal.message))
            .collect()
    })
}

#[test]
fn a_policy_is_read() {
    let spec = json!({
        "match": {"components": ["gizmo"]}, "failurePolicy": "Ignore", "validationActions": ["Audit", "Warn"],
        "paramRef": {"name": "limits"},
        "variables": [{"name": "a", "expression": "values.replicas"}],
        "validations": [{"expression": "variables.a == params.x", "messageExpression": "component"}],
    });
    let policy = compiled("one", &spec);
    assert_eq!((policy.name.as_str(), policy.generation), ("one", 3));
    assert_eq!(policy.params(), Some("limits"));
    assert!(policy.is_about_components());
    assert_eq!(policy.failure_policy, FailurePolicy::Ignore);
    assert_eq!(
        policy.actions.names().collect::<Vec<_>>(),
        ["Warn", "Audit"]
    );
    let paths: Vec<String> = policy
        .expressions()
        .map(|expression| expression.path.to_string())
        .collect();
    assert_eq!(
        paths,
        [
            "spec.variables[0].expression",
            "spec.validations[0].expression",
            "spec.validations[0].messageExpression"
        ]
    );
    assert!(policy.cost() >= 3, "{}", policy.cost());
}

/// Files are not held to the CRD: what is not of its type counts as absent, and nothing of that is more than the CRD
/// lets in.
#[test]
fn whatever_stands_there_is_read() {
    for spec in [
        json!(null),
        json!("text"),
        json!({"validations": "x", "match": 5, "variables": {}, "paramRef": []}),
        json!({"validations": [5, null, {"expression": 5}]}),
        json!({"match": {"packages": {"selector": [], "names": [5]}, "components": "x"}}),
    ] {
        let (policy, violations) = compile("odd", &spec);
        assert!(!violations.is_empty(), "{spec}");
        assert!(policy.broken().is_some(), "{spec}");
    }
    let many: Vec<Value> = (0..=ITEMS_MAX)
        .map(|_| json!({"expression": "true"}))
        .collect();
    let (policy, violations) = compile("many", &json!({"validations": many}));
    assert_eq!(
        violations,
        ["spec.validations: Too long: may not be more than 64 items"]
    );
    assert_eq!(policy.expressions().count(), ITEMS_MAX);
}

#[test]
fn a_broken_policy_fails_in_one_line() {
    let (policy, violations) = compile(
        "broken",
        &json!({"validations": [{"expression": "a ==\n ", "message": "m"}, {"expression": "b"}]}),
    );
    assert!(violations.len() >= 2, "{violations:?}");
    let said = said(&policy, &package());
    assert_eq!(said.len(), 1);
    assert!(
        said[0].starts_with("spec: failed to configure policy: spec.validations[0].expression"),
        "{said:?}"
    );
    assert!(
        said[0].ends_with("more)") && !said[0].contains('\n'),
        "{said:?}"
    );
}

#[test]
fn messages_and_annotations_have_bounds() {
    let doubled = |times: usize| {
        let mut variables =
            vec![json!({"name": "v0", "expression": "'äääääääääääääääääääääääääääääääää'"})];
        variables.extend((1..=times).map(|at| {
            let expression = format!("variables.v{0} + variables.v{0}", at - 1);
            json!({"name": format!("v{at}"), "expression": expression})
        }));
        variables
    };
    // 66 bytes, doubled seven times, are more than 5 KiB; nine times more than 10.
    let spec = json!({
        "variables": doubled(9),
        "validations": [
            {"expression": "1 == 2", "message": "short", "messageExpression": "variables.v6"},
            {"expression": "1 == 2", "message": "short", "messageExpression": "variables.v7"},
        ],
        "auditAnnotations": [{"key": "k", "valueExpression": "variables.v9"}],
    });
    let policy = compiled("long", &spec);
    let said = said(&policy, &package());
    assert_eq!(said[0].chars().count(), "validations[0]: ".len() + 33 * 64);
    assert_eq!(said[1], "validations[1]: short");
    let annotation = ask(&Around::default(), &package(), None, |facts| {
        let mut rulings = policy.judge(facts, None, None).unwrap();
        rulings.remove(0).annotations.remove(0)
    });
    assert_eq!(annotation.0, "k");
    assert_eq!(annotation.1.len(), ANNOTATION_MAX_BYTES);
}

/// What is too much for one expression ends the policy: nothing more of it is asked.
#[test]
fn what_never_ends_is_stopped_and_said() {
    let list: Vec<u32> = (0..600).collect();
    let mut object = package();
    object["spec"]["list"] = json!(list);
    let spec = json!({"validations": [
        {"expression": "object.spec.list.all(a, object.spec.list.all(b, a + b >= 0))"},
        {"expression": "object.spec.list.all(a, object.spec.list.all(b, object.spec.list.all(c, a + b + c >= 0)))"},
        {"expression": "false"},
    ]});
    let policy = compiled("dear", &spec);
    let found = said(&policy, &object);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].contains("was stopped: it takes more than")
            || found[0].contains("resulted in error"),
        "{found:?}"
    );
    // Where failures do not count it is said all the same.
    let mut lenient = spec.clone();
    lenient["failurePolicy"] = "Ignore".into();
    let policy = compiled("dear", &lenient);
    assert_eq!(said(&policy, &object), [""; 0]);
    let ignored = ask(&Around::default(), &object, None, |facts| {
        policy.judge(facts, None, None).unwrap().remove(0).ignored
    });
    assert_eq!(ignored.len(), 1);
}

#[test]
fn every_expression_is_noted_where_somebody_asks() {
    let spec = json!({
        "match": {"components": ["*"]},
        "matchConditions": [{"name": "c", "expression": "component == 'gizmo'"}],
        "variables": [{"name": "list", "expression": "values.list"}, {"name": "bad", "expression": "values.nope"}],
        "validations": [{"expression": "variables.list == null", "messageExpression": "component"}],
    });
    let policy = compiled("noted", &spec);
    let steps = ask(&Around::default(), &package(), None, |facts| {
        let mut steps = Vec::new();
        policy.judge(facts, None, Some(&mut steps)).unwrap();
        steps
    });
    let shown: Vec<(&str, Result<&str, &str>)> = steps
        .iter()
        .map(|step| {
            let gives = step.gives.as_ref();
            let gives = gives.map(String::as_str).map_err(String::as_str);
            (step.path.as_str(), gives)
        })
        .collect();
    assert_eq!(
        shown,
        [
            ("spec.matchConditions[0].expression", Ok("true")),
            ("spec.variables[0].expression", Ok("[1, 2.5, null, \"x\"]")),
            ("spec.variables[1].expression", Err("no such key: nope")),
            ("spec.validations[0].expression", Ok("false")),
            ("spec.validations[0].messageExpression", Ok("\"gizmo\"")),
        ]
    );
    assert!(
        steps
            .iter()
            .all(|step| step.component == "gizmo" && step.steps > 0)
    );
}

#[test]
fn other_packages_are_found_one_by_one_and_all_together() {
    let mut around = Around::default();
    for at in 0..40 {
        around.put(
            &PACKAGES,
            json!({"metadata": {"name": format!("p{at:02}")}, "spec": {"variant": format!("v{at}"),
                "components": {"c": {"values": {"at": at}}, "d": {"enabled": false}}},
                "status": {"conditions": [{"type": "Ready", "status": if at % 2 == 0 { "True" } else { "False" }}]}}),
        );
    }
    let hold = |expression: &str| {
        let policy = compiled("others", &with(expression));
        ask(&around, &package(), None, |facts| {
            let rulings = policy.judge(facts, None, None).unwrap();
            assert_eq!(rulings[0].refusals, [], "{expression}");
        });
    };
    hold("packages['p02'].ready && !packages['p03'].ready && packages['p02'].variant == 'v2'");
    hold("packages['p05'].values.c.at == 5 && !('d' in packages['p05'].values)");
    hold("!('nope' in packages) && 'p39' in packages");
    hold("packages.all(name, packages[name].values.c.at >= 0)");
    hold(
        "packages.exists(name, packages[name].variant == 'v39') && packages['p00'].variant == 'v0'",
    );
    let each: Vec<String> = (0..40)
        .map(|at| format!("packages['p{at:02}'].values.c.at == {at}"))
        .collect();
    hold(&each.join(" && "));
}

#[test]
fn what_a_policy_does_not_read_may_change() {
    let old = package();
    let changed = |pointer: &str, value: Value| {
        let mut new = old.clone();
        if let Some((parent, member)) = pointer.rsplit_once('/') {
            new.pointer_mut(parent).unwrap()[member] = value;
        }
        new
    };
    let is_old_sin = |spec: &Value, new: &Value| {
        let policy = compiled("old", spec);
        ask(&Around::default(), new, Some(&old), |facts| {
            let part = facts.parts().first();
            let part = part.filter(|_| policy.is_about_components());
            facts.is_unchanged(&policy, part)
        })
    };
    let of_component = json!({"match": {"components": ["*"]}, "validations": [{"expression": "values.replicas > 1"}]});
    let of_object = json!({"match": {"components": ["*"]}, "validations": [{"expression": "object.spec.x == values.replicas"}]});
    let of_labels = with("object.metadata.labels.tier == 'x'");
    let of_metadata = with("object.metadata == oldObject.metadata");
    let of_whole = with("object == null");
    let selected = json!({"match": {"components": ["*"], "packages": {"selector": {"matchLabels": {"tier": "data"}}}},
        "validations": [{"expression": "values.replicas > 1"}]});
    let all = [
        &of_component,
        &of_object,
        &of_labels,
        &of_metadata,
        &of_whole,
        &selected,
    ];
    for (new, wanted) in [
        (old.clone(), [true; 6]),
        (
            changed("/metadata/finalizers", json!(["a/b"])),
            [true, true, true, false, false, true],
        ),
        (changed("/metadata/generation", json!(7)), [true; 6]),
        (
            changed("/spec/components/gizmo/values/replicas", json!(2)),
            [false; 6],
        ),
        (
            changed("/spec/components/gizmo/enabled", json!(false)),
            [false; 6],
        ),
        (changed("/spec/variant", json!("large")), [false; 6]),
        (
            changed("/spec/components/other", json!({})),
            [true, false, false, false, false, true],
        ),
        (
            changed("/metadata/labels/team", json!("x")),
            [true, true, false, false, false, false],
        ),
        (
            changed("/metadata/annotations", json!({"a": "b"})),
            [true, true, true, false, false, true],
        ),
        // The same number, written otherwise, is another text.
        (
            changed("/spec/components/gizmo/values/replicas", json!(1.0)),
            [false; 6],
        ),
    ] {
        let found = all.map(|spec| is_old_sin(spec, &new));
        assert_eq!(found, wanted, "{new}");
    }
}

#[test]
fn what_is_late_is_no_answer() {
    let policy = compiled("late", &with("object.spec.x == 1"));
    let past = Deadline::after(Duration::ZERO);
    ask_by(&Around::default(), &package(), None, past, |facts| {
        let judged = policy.judge(facts, None, None);
        assert!(matches!(judged, Err(Fault::DeadlineExceeded)));
    });
}

/// What is dear is not done where others wait; what is not, is.
#[test]
fn dear_policies_are_asked_elsewhere() {
    let judged = |expressions: &[&str]| {
        let policies = expressions.iter().enumerate();
        let policies = policies.map(|(at, one)| compiled(&format!("p{at}"), &with(one)));
        let mut around = Around::default();
        around.policies = Arc::new(Policies::of(policies, HashMap::new()));
        let brief = Deadline::after(Duration::from_mins(1)).brief();
        ask_by(&around, &package(), None, brief, |facts| {
            let mut verdict = Verdict::default();
            let rule = crate::policies::WEBHOOK.validate.unwrap();
            let done = rule.validate(&facts.request, &mut verdict);
            done.map(|()| verdict.violations.len())
        })
    };
    let ten = "[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]";
    let nested =
        format!("{ten}.all(a, {ten}.all(b, {ten}.all(c, {ten}.all(d, a + b + c + d >= 0))))");
    assert!(matches!(judged(&[&nested]), Err(Fault::TakesLong)));
    // What counts is what is taken, not what was feared.
    let feared = "!has(object.spec.none) || object.spec.none.all(a, a.all(b, b.all(c, c)))";
    assert!(matches!(judged(&[feared]), Ok(0)));
    let simple = "object.metadata.name == 'x'";
    assert!(matches!(judged(&[simple; 200]), Ok(200)));
    assert!(matches!(judged(&[]), Ok(0)));
}

#[test]
fn two_hundred_policies_are_found_by_what_they_are_about() {
    let about = |given: Value| json!({"match": given, "validations": [{"expression": "true"}]});
    let mut all = Vec::new();
    for at in 0..65 {
        all.push(compiled(
            &format!("n{at}"),
            &about(json!({"packages": {"names": [format!("other.{at}"), format!("o{at}.*")]}})),
        ));
        all.push(compiled(
            &format!("l{at}"),
            &about(json!({"packages": {"selector": {"matchLabels": {"tier": format!("t{at}")}}}})),
        ));
        all.push(compiled(
            &format!("p{at}"),
            &about(json!({"packages": {"names": [format!("cozystack.gizmo-{at}*")]}})),
        ));
    }
    for (name, given) in [
        ("z1", json!({"packages": {"names": ["cozystack.gizmo"]}})),
        (
            "a2",
            json!({"packages": {"names": ["cozy*", "cozystack.*"]}}),
        ),
        (
            "z3",
            json!({"packages": {"selector": {"matchLabels": {"tier": "data"}}}}),
        ),
        ("z4", json!({})),
        (
            "z5",
            json!({"packages": {"selector": {"matchExpressions": [{"key": "tier", "operator": "Exists"}]}}}),
        ),
    ] {
        all.push(compiled(name, &about(given)));
    }
    let policies = Policies::of(all, HashMap::new());
    assert_eq!(policies.len(), 200);
    let labels = Labels::from([
        ("tier".to_owned(), "data".to_owned()),
        ("a".to_owned(), "b".to_owned()),
    ]);
    let found = policies.about("cozystack.gizmo", &[&labels]);
    let names: Vec<&str> = found.iter().map(|policy| policy.name.as_str()).collect();
    assert_eq!(names, ["a2", "z1", "z3", "z4", "z5"]);
    assert!(policies.ask_for_labels());
}

fn any_match() -> impl Strategy<Value = Value> {
    let names = prop::collection::vec("[ab]{1,3}\\*?|\\*", 0..3);
    let labels = prop::collection::btree_map("[ab]", "[xy]", 0..2);
    let expressions = prop::collection::vec(
        (
            "[ab]",
            prop::sample::select(vec!["In", "NotIn", "Exists", "DoesNotExist"]),
        ),
        0..2,
    );
    let variants = prop::collection::vec("default|large", 0..2);
    (names, labels, expressions, variants).prop_map(|(names, labels, expressions, variants)| {
        let expressions: Vec<Value> = expressions
            .into_iter()
            .map(|(key, operator)| {
                let mut expression = json!({"key": key, "operator": operator});
                if operator.ends_with("In") {
                    expression["values"] = json!(["x"]);
                }
                expression
            })
            .collect();
        json!({"packages": {"names": names, "selector": {"matchLabels": labels, "matchExpressions": expressions}},
            "variants": variants})
    })
}

proptest! {
    /// The index leaves out only what would not match.
    #[test]
    fn nothing_that_matches_is_left_out(
        matches in prop::collection::vec(any_match(), 1..8),
        name in "[ab]{1,4}",
        labels in prop::collection::btree_map("[ab]", "[xy]", 0..3),
        old in prop::option::of(prop::collection::btree_map("[ab]", "[xy]", 0..3)),
        is_large: bool,
    ) {
        let all: Vec<Arc<Policy>> = matches
            .iter()
            .enumerate()
            .map(|(at, given)| {
                compiled(&format!("p{at}"), &json!({"match": given, "validations": [{"expression": "true"}]}))
            })
            .collect();
        let policies = Policies::of(all.clone(), HashMap::new());
        let spec = if is_large { json!({"variant": "large"}) } else { json!({}) };
        let object = json!({"metadata": {"name": name, "labels": labels}, "spec": spec});
        let old = old.map(|labels| json!({"metadata": {"name": name, "labels": labels}, "spec": {}}));
        ask(&Around::default(), &object, old.as_ref(), |facts| {
            let labels = facts.labels();
            let wanted: Vec<&str> = all
                .iter()
                .filter(|policy| facts.are_matched_by(policy, &labels))
                .map(|policy| policy.name.as_str())
                .collect();
            let mut found = policies.about(facts.name(), &labels);
            found.retain(|policy| facts.are_matched_by(policy, &labels));
            let found: Vec<&str> = found.iter().map(|policy| policy.name.as_str()).collect();
            prop_assert_eq!(found, wanted);
            Ok(())
        })?;
    }
}

/// What cannot be read must not look empty.
#[test]
fn what_is_too_deep_is_no_pass() {
    let deep = (0..200).fold(json!(1), |deep, _| json!([deep]));
    let mut object = package();
    object["spec"]["x"] = json!({"deep": deep});
    let policy = compiled("p", &with("!has(object.spec.x.deep[0].y) || true"));
    assert_eq!(
        said(&policy, &object),
        ["match: the Package is nested too deeply, or holds a number that is out of range"]
    );
    // Nor does anybody get out of a policy by what hides that it matches.
    let matched = json!({"match": {"packages": {"selector": {"matchLabels": {"tier": "data"}}}, "variants": ["v"], "components": ["c"]},
        "validations": [{"expression": "false", "message": "no"}]});
    let mut around = Around::default();
    around.policies = Arc::new(Policies::of([compiled("p", &matched)], HashMap::new()));
    let violations = ask(&around, &object, None, |facts| {
        let mut verdict = Verdict::default();
        let rule = crate::policies::WEBHOOK.validate.unwrap();
        rule.validate(&facts.request, &mut verdict).unwrap();
        verdict
            .violations
            .iter()
            .map(Violation::message)
            .collect::<Vec<_>>()
    });
    assert_eq!(
        violations,
        [
            "the Package is nested too deeply, or holds a number that is out of range (PackagePolicy p, match)"
        ]
    );
    let other = compiled("p", &with("has(object.spec.x)"));
    assert_eq!(said(&other, &package()), ["validations[0]: no"]);
}

/// Limits hold for a policy as a whole, not only for each expression of it.
#[test]
fn a_policy_makes_no_more_than_it_may() {
    let mut object = package();
    object["spec"]["text"] = json!("a".repeat(1 << 20));
    // Two MiB each, kept to the end: each is within what one expression may make.
    let each: Vec<usize> = (0..14).collect();
    let variables: Vec<Value> = each
        .iter()
        .map(|at| json!({"name": format!("v{at}"), "expression": "object.spec.text + object.spec.text"}))
        .collect();
    let validations: Vec<Value> = each
        .iter()
        .map(|at| json!({"expression": format!("variables.v{at} != ''"), "message": "no"}))
        .collect();
    let spec = json!({"variables": variables, "validations": validations});
    let said = said(&compiled("p", &spec), &object);
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(
        said[0].starts_with("validations[12]: ") && said[0].contains("was stopped"),
        "{said:?}"
    );
}

/// What is made of another Package at each look-up is paid for.
#[test]
fn other_packages_are_not_made_without_end() {
    let mut around = Around::default();
    let components: serde_json::Map<String, Value> = (0..300)
        .map(|at| (format!("c{at}"), json!({"values": {"at": at}})))
        .collect();
    around.put(
        &PACKAGES,
        json!({"metadata": {"name": "big"}, "spec": {"components": components}}),
    );
    let many = format!("{:?}", (0..40).collect::<Vec<_>>());
    let policy = compiled(
        "p",
        &with(&format!(
            "{many}.map(i, {many}.map(j, packages['big'])).size() > 0"
        )),
    );
    let said = ask(&around, &package(), None, |facts| {
        let rulings = policy.judge(facts, None, None).unwrap();
        rulings[0].refusals[0].message.clone()
    });
    assert!(said.contains("was stopped"), "{said}");
}

/// However many components there are, an audit annotation holds what the API server lets it.
#[test]
fn annotations_of_many_components_have_bounds() {
    let mut object = package();
    for at in 0..20 {
        object["spec"]["components"][format!("c{at}")] = json!({"values": {}});
    }
    let spec = json!({"match": {"components": ["*"]}, "auditAnnotations": [
        {"key": "k", "valueExpression": format!("component + '{}'", "x".repeat(2_000))}]});
    let mut around = Around::default();
    around.policies = Arc::new(Policies::of([compiled("p", &spec)], HashMap::new()));
    let audit = ask(&around, &object, None, |facts| {
        let mut verdict = Verdict::default();
        let rule = crate::policies::WEBHOOK.validate.unwrap();
        rule.validate(&facts.request, &mut verdict).unwrap();
        verdict.audit
    });
    let [(key, value)] = audit.as_slice() else {
        panic!("{audit:?}");
    };
    assert_eq!((key.as_str(), value.len()), ("p_k", ANNOTATION_MAX_BYTES));
}
