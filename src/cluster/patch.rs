// SPDX-License-Identifier: Apache-2.0
//! The JSON merge patch from one status to the next. Pure.
//!
//! In a merge patch what is absent stays, so what went away must be named with `null`; arrays are replaced whole. Source:
//! RFC 7396.

use serde_json::{Map, Value};

/// The patch that turns `before` into `after`; `None` when they are equal.
pub(super) fn between(before: &Value, after: &Value) -> Option<Value> {
    match (before, after) {
        (Value::Object(before), Value::Object(after)) => {
            let patch = objects(before, after);
            (!patch.is_empty()).then_some(Value::Object(patch))
        }
        _ => (before != after).then(|| after.clone()),
    }
}

fn objects(before: &Map<String, Value>, after: &Map<String, Value>) -> Map<String, Value> {
    let gone = before
        .keys()
        .filter(|key| !after.contains_key(*key))
        .map(|key| (key.clone(), Value::Null));
    let changed = after.iter().filter_map(|(key, value)| {
        let patch = before
            .get(key)
            .map_or_else(|| Some(value.clone()), |old| between(old, value));
        patch.map(|patch| (key.clone(), patch))
    });
    gone.chain(changed).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn equal_documents_need_no_patch() {
        let document = json!({"a": 1, "b": {"c": [1, 2]}});
        assert_eq!(between(&document, &document), None);
    }

    #[test]
    fn what_went_away_is_named_with_null_at_every_depth() {
        let before = json!({"artifact": {"metadata": {"x": "1", "y": "2"}, "size": 1}, "url": "u"});
        let after = json!({"artifact": {"metadata": {"x": "1"}, "size": 1}});
        assert_eq!(
            between(&before, &after),
            Some(json!({"artifact": {"metadata": {"y": null}}, "url": null}))
        );
    }

    #[test]
    fn lists_are_replaced_whole_and_new_fields_are_added() {
        let before = json!({"conditions": [1, 2]});
        let after = json!({"conditions": [1], "url": "u"});
        assert_eq!(
            between(&before, &after),
            Some(json!({"conditions": [1], "url": "u"}))
        );
    }

    #[test]
    fn a_first_status_is_written_whole() {
        assert_eq!(
            between(&json!({}), &json!({"a": {"b": 1}})),
            Some(json!({"a": {"b": 1}}))
        );
    }
}
