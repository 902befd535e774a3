//! `migrate`: a v0.38/v0.39 cluster carried over to the package-based platform.
//!
//! ```text
//! cluster or files --read--> Snapshot --plan--> Plan --apply--> cluster, and again until nothing is left
//!                                                \--backup--> file, before the first write
//! ```
//!
//! A plan follows from what the cluster holds, and from the configuration as it was first found, which is recorded in
//! the cluster: a run that was killed is resumed by running again.

pub mod apply;
pub mod backup;
mod definitions;
pub mod plan;
pub mod read;
pub mod rollback;
pub mod verify;

use serde_json::{Map, Value};

/// Field manager of what is written here; definitions are written under the bridge's.
pub const MANAGER: &str = "cozystack-webhook-migrate";

/// The merge patch (RFC 7386) that makes one object of another; null where they are equal.
#[must_use]
pub fn merge_patch(before: &Value, after: &Value) -> Value {
    let (Value::Object(before), Value::Object(after)) = (before, after) else {
        return if before == after {
            Value::Null
        } else {
            after.clone()
        };
    };
    let mut patch = Map::new();
    for (name, value) in after {
        match before.get(name) {
            None => {
                patch.insert(name.clone(), value.clone());
            }
            Some(known) if known == value => {}
            Some(known) => {
                patch.insert(name.clone(), merge_patch(known, value));
            }
        }
    }
    for name in before.keys().filter(|name| !after.contains_key(*name)) {
        patch.insert(name.clone(), Value::Null);
    }
    if patch.is_empty() {
        Value::Null
    } else {
        Value::Object(patch)
    }
}

/// Whether the patch would have to set a null, which a merge patch cannot: there a null removes.
#[must_use]
pub fn sets_null(patch: &Value, after: &Value) -> bool {
    let Value::Object(patch) = patch else {
        return false;
    };
    patch.iter().any(|(name, value)| match after.get(name) {
        Some(Value::Null) => value.is_null(),
        Some(after) => sets_null(value, after),
        None => false,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::pedantic, clippy::unwrap_used)]

    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn any_object() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(json!("x")),
            any::<bool>().prop_map(Value::from),
            Just(Value::Null),
            Just(json!([1, {"a": 2}]))
        ];
        let value = leaf.prop_recursive(3, 20, 4, |inner| {
            prop::collection::btree_map("[abc]", inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect()))
        });
        prop::collection::btree_map("[abc]", value, 0..4)
            .prop_map(|members| Value::Object(members.into_iter().collect()))
    }

    proptest! {
        #[test]
        fn a_patch_makes_one_of_the_other(before in any_object(), after in any_object()) {
            let patch = merge_patch(&before, &after);
            let mut patched = before.clone();
            if !patch.is_null() {
                json_patch::merge(&mut patched, &patch);
            }
            prop_assert!(patched == after || sets_null(&patch, &after), "{}", patch);
            prop_assert_eq!(patch.is_null(), before == after);
        }
    }
}
