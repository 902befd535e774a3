//! Edits of an object, and the minimal JSON Patch (RFC 6902) that makes them.
//!
//! A mutating rule says what it wants as edits; here they become operations that always apply: missing parents are
//! made, pointers escaped, and what changes nothing makes no operation. Comparing whole documents costs two to four
//! times as much and is the oracle of the property test.

use super::document::{Malformed, Node};
use super::field::{FieldPath, Segment};
use super::json::Json;
use json_patch::jsonptr::PointerBuf;
use json_patch::{AddOperation, PatchOperation, RemoveOperation, ReplaceOperation};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// One edit.
#[derive(Debug, Clone, PartialEq)]
pub struct Edit {
    /// Where.
    pub at: FieldPath,
    /// What.
    pub change: Change,
}

/// What is done at a place.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// The value is this one afterwards; missing parents are made.
    Set(Value),
    /// Nothing is there afterwards.
    Remove,
    /// The list there has this item more at its end; a missing list is made.
    Append(Value),
}

impl Edit {
    /// Sets the value at a place.
    #[must_use]
    pub fn set(at: FieldPath, value: impl Into<Value>) -> Edit {
        Edit {
            at,
            change: Change::Set(value.into()),
        }
    }

    /// Removes what is at a place.
    #[must_use]
    pub fn remove(at: FieldPath) -> Edit {
        Edit {
            at,
            change: Change::Remove,
        }
    }

    /// Appends an item to the list at a place.
    #[must_use]
    pub fn append(at: FieldPath, value: impl Into<Value>) -> Edit {
        Edit {
            at,
            change: Change::Append(value.into()),
        }
    }
}

/// An edit that fits no object of this shape: a fault of the rule, not of the user.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    /// A parent or list is there, but of another type.
    #[error("{at}: the object holds something else than {expected} there")]
    Shape {
        /// The edit's place.
        at: FieldPath,
        /// What the edit needs there.
        expected: &'static str,
    },
    /// The object is not readable.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The place cannot be written as a JSON Pointer.
    #[error("{at}: no JSON pointer")]
    Pointer {
        /// The edit's place.
        at: FieldPath,
    },
}

/// An operation that later edits may still change.
struct Pending {
    at: Vec<Segment<'static>>,
    /// What stood there before; none when nothing did.
    before: Option<Value>,
    /// What stands there afterwards; none when it is removed.
    after: Option<Value>,
    kind: Kind,
}

#[derive(PartialEq)]
enum Kind {
    Put,
    AppendItem,
}

/// The operations that make `edits`, applied one after the other to `object`. Empty when nothing changes.
///
/// # Errors
/// When an edit does not fit the object's shape.
pub fn patch(object: Json<'_>, edits: &[Edit]) -> Result<Vec<PatchOperation>, EditError> {
    if let [edit] = edits
        && let Some(steps) = plan_alone(object, edit)
    {
        return steps
            .into_iter()
            .filter(|step| step.before != step.after)
            .map(operation)
            .collect();
    }
    patch_all(object, edits)
}

/// The operation (or none) of the one edit that sets or removes a member, found without opening the object; none where the
/// edit does not fit the object, or is of another kind.
fn plan_alone(object: Json<'_>, edit: &Edit) -> Option<Vec<Pending>> {
    let after = match &edit.change {
        Change::Set(value) => Some(value),
        Change::Remove => None,
        Change::Append(_) => return None,
    };
    let segments = edit.at.segments();
    // What lists hold is a matter of its own.
    if segments
        .iter()
        .any(|segment| matches!(segment, Segment::Index(_)))
    {
        return None;
    }
    let mut here = object;
    for (depth, segment) in segments.iter().enumerate() {
        let (Segment::Member(name) | Segment::Key(name)) = segment else {
            return None;
        };
        if !here.is_object() {
            return None;
        }
        let is_last = depth + 1 == segments.len();
        match here.at(&[name]) {
            Some(value) if is_last || !value.is_null() => here = value,
            // An absent parent, or a null one, which is as good as absent: all of it comes in one operation.
            found => {
                let Some(value) = after else {
                    return Some(Vec::new());
                };
                let below = segments.get(depth + 1..).unwrap_or_default();
                return Some(vec![Pending {
                    at: segments.get(..=depth).unwrap_or_default().to_vec(),
                    before: found.map(|_| Value::Null),
                    after: Some(nested(below, value.clone(), edit).ok()?),
                    kind: Kind::Put,
                }]);
            }
        }
    }
    Some(vec![Pending {
        at: segments.to_vec(),
        before: Some(here.read().ok()?),
        after: after.cloned(),
        kind: Kind::Put,
    }])
}

fn patch_all(object: Json<'_>, edits: &[Edit]) -> Result<Vec<PatchOperation>, EditError> {
    let mut document = Node::from(object.to_raw().map_err(Malformed::from)?);
    let mut pending: Vec<Pending> = Vec::new();
    // Once an item was taken out of a list, equal indexes no longer mean equal items.
    let mut has_shifted = false;
    for edit in edits {
        has_shifted |= matches!(edit.change, Change::Remove)
            && matches!(edit.at.segments().last(), Some(Segment::Index(_)));
        if !fold_into_earlier(&mut pending, edit, has_shifted)? {
            plan(&mut document, &mut pending, edit)?;
        }
        apply(&mut document, edit)?;
    }
    pending
        .into_iter()
        .filter(|step| step.kind == Kind::AppendItem || step.before != step.after)
        .map(operation)
        .collect()
}

fn operation(step: Pending) -> Result<PatchOperation, EditError> {
    let replaces_item = matches!(step.at.last(), Some(Segment::Index(_)));
    let at = FieldPath::default();
    let at = step.at.into_iter().fold(at, |path, segment| match segment {
        Segment::Member(name) => path.member(&name),
        Segment::Key(key) => path.key(&key),
        Segment::Index(index) => path.index(index),
    });
    let mut pointer = at.to_pointer();
    if step.kind == Kind::AppendItem {
        pointer.push_str("/-");
    }
    let path = PointerBuf::parse(pointer).map_err(|_| EditError::Pointer { at })?;
    Ok(match step.after {
        None => PatchOperation::Remove(RemoveOperation { path }),
        // `add` on a list item would insert before it; on a member it sets, there or not.
        Some(value) if replaces_item && step.kind == Kind::Put => {
            PatchOperation::Replace(ReplaceOperation { path, value })
        }
        Some(value) => PatchOperation::Add(AddOperation { path, value }),
    })
}

/// An edit below (or at) a place that an earlier operation already writes changes that operation.
fn fold_into_earlier(
    pending: &mut Vec<Pending>,
    edit: &Edit,
    has_shifted: bool,
) -> Result<bool, EditError> {
    let target = edit.at.segments();
    let Some(position) = pending.iter().rposition(|step| {
        step.kind == Kind::Put
            && target.starts_with(&step.at)
            && !(has_shifted
                && step
                    .at
                    .iter()
                    .any(|segment| matches!(segment, Segment::Index(_))))
    }) else {
        return Ok(false);
    };
    let Some(step) = pending.get_mut(position) else {
        return Ok(false);
    };
    // What was removed since is not what an operation before that wrote.
    if step.after.is_none() {
        return Ok(false);
    }
    let rest = target.get(step.at.len()..).unwrap_or_default();
    if rest.is_empty() && edit.change == Change::Remove {
        step.after = None;
        if step.before.is_none() {
            pending.remove(position);
        }
        return Ok(true);
    }
    if let Some(value) = &mut step.after {
        let mut inner = Node::of(value)?;
        apply_at(&mut inner, rest, edit)?;
        *value = inner.to_value()?;
    }
    Ok(true)
}

/// Finds out which operation makes `edit` in the document as it stands now.
fn plan(document: &mut Node<'_>, pending: &mut Vec<Pending>, edit: &Edit) -> Result<(), EditError> {
    let segments = edit.at.segments();
    let mut here = document;
    for (depth, segment) in segments.iter().enumerate() {
        let next = step_into(here, segment, edit)?;
        match next {
            Some(node) if depth + 1 == segments.len() || !node.is_null() => here = node,
            // An absent parent, or a null one, which is as good as absent: all of it comes in one operation.
            found => {
                let wanted = match &edit.change {
                    Change::Remove => return Ok(()),
                    Change::Set(value) => value.clone(),
                    Change::Append(value) => Value::Array(vec![value.clone()]),
                };
                let before = found.map(|node| node.to_value()).transpose()?;
                let below = segments.get(depth + 1..).unwrap_or_default();
                pending.push(Pending {
                    at: segments.get(..=depth).unwrap_or_default().to_vec(),
                    before,
                    after: Some(nested(below, wanted, edit)?),
                    kind: Kind::Put,
                });
                return Ok(());
            }
        }
    }
    let put = |after: Option<Value>, before: Value| Pending {
        at: segments.to_vec(),
        before: Some(before),
        after,
        kind: Kind::Put,
    };
    match &edit.change {
        Change::Set(value) => pending.push(put(Some(value.clone()), here.to_value()?)),
        Change::Remove => pending.push(put(None, here.to_value()?)),
        Change::Append(value) if here.is_null() => {
            pending.push(put(Some(Value::Array(vec![value.clone()])), Value::Null));
        }
        Change::Append(value) => {
            if !here.is_list() {
                return Err(shape(edit, "a list"));
            }
            pending.push(Pending {
                at: segments.to_vec(),
                before: None,
                after: Some(value.clone()),
                kind: Kind::AppendItem,
            });
        }
    }
    Ok(())
}

fn shape(edit: &Edit, expected: &'static str) -> EditError {
    EditError::Shape {
        at: edit.at.clone(),
        expected,
    }
}

fn step_into<'n, 'a>(
    node: &'n mut Node<'a>,
    segment: &Segment<'static>,
    edit: &Edit,
) -> Result<Option<&'n mut Node<'a>>, EditError> {
    match segment {
        Segment::Member(name) | Segment::Key(name) => {
            if !node.is_object() {
                return Err(shape(edit, "an object"));
            }
            Ok(node.member(name)?)
        }
        Segment::Index(index) => {
            let items = node.items()?.ok_or_else(|| shape(edit, "a list"))?;
            match items.get_mut(*index) {
                None if edit.change != Change::Remove => Err(shape(edit, "that many items")),
                item => Ok(item),
            }
        }
    }
}

/// `value` inside the objects that `below` names.
fn nested(below: &[Segment<'static>], value: Value, edit: &Edit) -> Result<Value, EditError> {
    below
        .iter()
        .rev()
        .try_fold(value, |value, segment| match segment {
            Segment::Member(name) | Segment::Key(name) => {
                Ok(Value::Object(Map::from_iter([(name.to_string(), value)])))
            }
            Segment::Index(_) => Err(shape(edit, "that many items")),
        })
}

fn apply(document: &mut Node<'_>, edit: &Edit) -> Result<(), EditError> {
    apply_at(document, edit.at.segments(), edit)
}

/// Makes the edit in `node`, which stands above the remaining `segments`.
fn apply_at(
    node: &mut Node<'_>,
    segments: &[Segment<'static>],
    edit: &Edit,
) -> Result<(), EditError> {
    let Some((segment, rest)) = segments.split_first() else {
        match &edit.change {
            Change::Set(value) => *node = Node::of(value)?,
            Change::Append(value) => {
                if node.is_null() {
                    *node = Node::List(Vec::new());
                }
                node.items()?
                    .ok_or_else(|| shape(edit, "a list"))?
                    .push(Node::of(value)?);
            }
            Change::Remove => {}
        }
        return Ok(());
    };
    let is_removal = edit.change == Change::Remove;
    match segment {
        Segment::Member(name) | Segment::Key(name) => {
            if node.is_null() && !is_removal {
                *node = Node::empty_object();
            }
            if is_removal && rest.is_empty() {
                node.remove(name)?;
                return Ok(());
            }
            if node.member(name)?.is_none() {
                if is_removal {
                    return Ok(());
                }
                node.set(name, Node::Raw(std::borrow::Cow::Borrowed(RawValue::NULL)))?;
            }
            match node.member(name)? {
                Some(next) => apply_at(next, rest, edit),
                None => Err(shape(edit, "an object")),
            }
        }
        Segment::Index(index) => {
            let items = node.items()?.ok_or_else(|| shape(edit, "a list"))?;
            if is_removal && rest.is_empty() {
                if *index < items.len() {
                    items.remove(*index);
                }
                return Ok(());
            }
            match items.get_mut(*index) {
                Some(item) => apply_at(item, rest, edit),
                None if is_removal => Ok(()),
                None => Err(shape(edit, "that many items")),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn patched(object: &Value, edits: &[Edit]) -> (Vec<PatchOperation>, Value) {
        let raw = serde_json::value::to_raw_value(object).unwrap();
        let operations = patch((&*raw).into(), edits).unwrap();
        let mut after = object.clone();
        json_patch::patch(&mut after, &operations).unwrap();
        (operations, after)
    }

    fn ops(object: &Value, edits: &[Edit]) -> Value {
        serde_json::to_value(patched(object, edits).0).unwrap()
    }

    #[test]
    fn missing_parents_come_in_one_operation() {
        let object = json!({"metadata": {"name": "x"}});
        let label = FieldPath::of(&["metadata", "labels"]).key("a/b~c");
        assert_eq!(
            ops(
                &object,
                &[
                    Edit::set(label.clone(), "v"),
                    Edit::set(FieldPath::of(&["metadata", "labels", "d"]), 1)
                ]
            ),
            json!([{"op": "add", "path": "/metadata/labels", "value": {"a/b~c": "v", "d": 1}}])
        );
        let object = json!({"metadata": {"labels": {"x": "y"}}});
        assert_eq!(
            ops(&object, &[Edit::set(label, "v")]),
            json!([{"op": "add", "path": "/metadata/labels/a~1b~0c", "value": "v"}])
        );
    }

    #[test]
    fn one_edit_is_made_as_many_are() {
        for object in [
            json!({}),
            json!({"a": null}),
            json!({"a": {"b": null, "x": 1}}),
            json!({"a": {"b": {"c": 1}, "x": [1]}}),
            json!({"a": {"b": {"c": 2, "d": 1}}, "z": {}}),
            json!({"a": {"b": "text"}}),
            json!({"a": [1]}),
            json!(null),
            json!("text"),
        ] {
            let raw = serde_json::value::to_raw_value(&object).unwrap();
            for path in [&["a"][..], &["a", "b"], &["a", "b", "c"], &["q", "r"]] {
                for value in [json!(1), json!(null), json!({"c": 1})] {
                    let edits = [Edit::set(FieldPath::of(path), value)];
                    let shown = |result: Result<Vec<PatchOperation>, EditError>| {
                        result.map_err(|error| error.to_string())
                    };
                    assert_eq!(
                        shown(patch((&*raw).into(), &edits)),
                        shown(patch_all((&*raw).into(), &edits)),
                        "{object} {edits:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn nothing_changes_nothing() {
        let object = json!({"a": {"b": [1, 2]}, "n": null});
        for edits in [
            vec![Edit::set(FieldPath::of(&["a", "b"]), json!([1, 2]))],
            vec![
                Edit::remove(FieldPath::of(&["a", "c"])),
                Edit::remove(FieldPath::of(&["x", "y", "z"])),
            ],
            vec![
                Edit::set(FieldPath::of(&["a", "b"]), 1),
                Edit::set(FieldPath::of(&["a", "b"]), json!([1, 2])),
            ],
            vec![
                Edit::set(FieldPath::of(&["q"]), 1),
                Edit::remove(FieldPath::of(&["q"])),
            ],
            vec![],
        ] {
            assert_eq!(ops(&object, &edits), json!([]), "{edits:?}");
        }
    }

    #[test]
    fn lists_grow_at_their_end() {
        let list = FieldPath::of(&["spec", "list"]);
        assert_eq!(
            ops(
                &json!({"spec": {"list": [1]}}),
                &[Edit::append(list.clone(), 2), Edit::append(list.clone(), 3)]
            ),
            json!([
                {"op": "add", "path": "/spec/list/-", "value": 2},
                {"op": "add", "path": "/spec/list/-", "value": 3}
            ])
        );
        for object in [
            json!({}),
            json!({"spec": null}),
            json!({"spec": {"list": null}}),
        ] {
            let (operations, after) = patched(
                &object,
                &[Edit::append(list.clone(), 2), Edit::append(list.clone(), 3)],
            );
            assert_eq!(operations.len(), 1, "{object}");
            assert_eq!(after, json!({"spec": {"list": [2, 3]}}));
        }
    }

    #[test]
    fn what_comes_after_a_removal_comes_back() {
        let (outer, inner) = (FieldPath::of(&["a"]), FieldPath::of(&["a", "b", "c"]));
        let edits = [
            Edit::set(inner.clone(), 1),
            Edit::remove(outer),
            Edit::append(inner, 2),
        ];
        let (_, after) = patched(&json!({"a": {}}), &edits);
        assert_eq!(after, json!({"a": {"b": {"c": [2]}}}));
    }

    #[test]
    fn an_edit_that_cannot_fit_is_an_error_not_a_patch() {
        let raw = serde_json::value::to_raw_value(&json!({"a": "text"})).unwrap();
        let error = patch((&*raw).into(), &[Edit::set(FieldPath::of(&["a", "b"]), 1)]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "a.b: the object holds something else than an object there"
        );
        assert!(patch((&*raw).into(), &[Edit::append(FieldPath::of(&["a"]), 1)]).is_err());
    }

    /// The plain meaning of an edit, written down a second time over whole documents.
    fn expected(value: &mut Value, segments: &[Segment<'static>], change: &Change) {
        let Some((segment, rest)) = segments.split_first() else {
            match change {
                Change::Set(new) => *value = new.clone(),
                Change::Append(new) => match value {
                    Value::Array(items) => items.push(new.clone()),
                    other => *other = json!([new]),
                },
                Change::Remove => {}
            }
            return;
        };
        if value.is_null() && *change != Change::Remove {
            *value = json!({});
        }
        match (segment, value) {
            (Segment::Index(index), Value::Array(items)) => {
                if *change == Change::Remove && *index >= items.len() {
                } else if rest.is_empty() && *change == Change::Remove {
                    items.remove(*index);
                } else {
                    expected(&mut items[*index], rest, change);
                }
            }
            (Segment::Member(name) | Segment::Key(name), Value::Object(members)) => {
                if rest.is_empty() && *change == Change::Remove {
                    members.remove(name.as_ref());
                } else if members.contains_key(name.as_ref()) || *change != Change::Remove {
                    expected(
                        members.entry(name.to_string()).or_insert(Value::Null),
                        rest,
                        change,
                    );
                }
            }
            _ => {}
        }
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            (0..3).prop_map(Value::from)
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::Array),
                prop::collection::btree_map("[ab/~]", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    fn any_object() -> impl Strategy<Value = Value> {
        prop::collection::btree_map("[ab/~]", any_value(), 0..4)
            .prop_map(|map| Value::Object(map.into_iter().collect()))
    }

    fn any_edit() -> impl Strategy<Value = Edit> {
        let segment = prop_oneof![
            4 => "[ab/~]".prop_map(|name| Segment::Member(name.into())),
            1 => (0usize..3).prop_map(Segment::Index)
        ];
        let change = prop_oneof![
            any_value().prop_map(Change::Set),
            Just(Change::Remove),
            any_value().prop_map(Change::Append)
        ];
        (prop::collection::vec(segment, 1..4), change).prop_map(|(segments, change)| {
            let at =
                segments
                    .into_iter()
                    .fold(FieldPath::default(), |path, segment| match segment {
                        Segment::Index(index) => path.index(index),
                        Segment::Member(name) | Segment::Key(name) => path.member(&name),
                    });
            Edit { at, change }
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]

        #[test]
        fn a_patch_makes_what_the_edits_say(object in any_object(), edits in prop::collection::vec(any_edit(), 0..5)) {
            let raw = serde_json::value::to_raw_value(&object).unwrap();
            // What does not fit the shape is refused; everything else must come out as plainly applied.
            if let Ok(operations) = patch((&*raw).into(), &edits) {
                let mut wanted = object.clone();
                for edit in &edits {
                    expected(&mut wanted, edit.at.segments(), &edit.change);
                }
                let mut after = object.clone();
                json_patch::patch(&mut after, &operations).unwrap();
                prop_assert_eq!(&after, &wanted);
                prop_assert!(operations.len() <= edits.len());
                let difference = json_patch::diff(&object, &wanted);
                if edits.len() == 1 {
                    prop_assert_eq!(operations.is_empty(), difference.0.is_empty());
                }
            }
        }

        #[test]
        fn one_edit_alone_is_the_same(object in any_object(), edit in any_edit(), is_pretty: bool) {
            let text = if is_pretty { serde_json::to_string_pretty(&object) } else { serde_json::to_string(&object) };
            let raw = RawValue::from_string(text.unwrap()).unwrap();
            let edits = [edit];
            let text = |patch: Result<Vec<PatchOperation>, EditError>| match patch {
                Ok(operations) => serde_json::to_string(&operations).unwrap(),
                Err(error) => error.to_string(),
            };
            prop_assert_eq!(text(patch((&*raw).into(), &edits)), text(patch_all((&*raw).into(), &edits)));
        }
    }
}
