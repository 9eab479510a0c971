// SPDX-License-Identifier: Apache-2.0
//! Whether a tree is what the CRD says, strictly.
//!
//! An API server would drop an unknown field in silence; here, where no API server is, a typing mistake in `verify` must
//! not serve what was not verified. Enters as a [`Node`] and the schema that `wharf crds` prints, which is the only list
//! of fields there is; leaves as nothing, or as the first [`Fault`]. Patterns and enumerations are not checked here: the
//! parsed spec refuses them with better words.

use std::sync::OnceLock;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};

use super::yaml::{Entry, Fault, Node, Value};

/// The schema of `spec` in that version; `None` when the version is not served.
pub(super) fn of_spec(version: &str) -> Option<&'static JSONSchemaProps> {
    static SPECS: OnceLock<Vec<(String, JSONSchemaProps)>> = OnceLock::new();
    let specs = SPECS.get_or_init(specs);
    let found = specs.iter().find(|(name, _)| name == version)?;
    Some(&found.1)
}

fn specs() -> Vec<(String, JSONSchemaProps)> {
    let versions = wharf_api::crds()
        .into_iter()
        .flat_map(|crd| crd.spec.versions);
    versions
        .filter_map(|version| {
            let root = version.schema?.open_api_v3_schema?;
            Some((version.name, root.properties?.remove("spec")?))
        })
        .collect()
}

/// Checks a tree against a schema. `path` is what it is called in messages.
pub(super) fn check(node: &Node, schema: &JSONSchemaProps, path: &str) -> Result<(), Fault> {
    match (schema.type_.as_deref(), &node.value) {
        (Some("object"), Value::Map(entries)) => check_map(node, entries, schema, path),
        (Some("array"), Value::List(items)) => check_list(items, schema, path),
        (Some("string"), Value::Text(_)) | (Some("boolean"), Value::Bool(_)) | (None, _) => Ok(()),
        (Some("integer"), Value::Number(number)) if number.is_i64() => Ok(()),
        (Some(expected), value) => Err(wrong_type(node.line, path, expected, value)),
    }
}

/// Checks that only these keys are there.
pub(super) fn check_keys(node: &Node, known: &[&str], path: &str) -> Result<(), Fault> {
    let Value::Map(entries) = &node.value else {
        return Err(wrong_type(node.line, path, "object", &node.value));
    };
    let unknown = entries
        .iter()
        .find(|entry| !known.contains(&entry.key.as_str()));
    unknown.map_or(Ok(()), |entry| {
        Err(unknown_field(entry, path, known.iter().copied()))
    })
}

/// Checks that it is a map of texts, and calls `each` with its entries.
pub(super) fn each_text(
    node: &Node,
    path: &str,
    mut each: impl FnMut(&Entry, &str) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let Value::Map(entries) = &node.value else {
        return Err(wrong_type(node.line, path, "object", &node.value));
    };
    for entry in entries {
        let path = join(path, &entry.key);
        match &entry.node.value {
            Value::Text(text) => each(entry, text)?,
            Value::Null => each(entry, "")?,
            value => return Err(wrong_type(entry.line, &path, "string", value)),
        }
    }
    Ok(())
}

/// The fault of a value of the wrong type.
pub(super) fn wrong_type(line: u64, path: &str, expected: &str, found: &Value) -> Fault {
    let wanted = match expected {
        "object" => "a map",
        "array" => "a list",
        "string" => "text",
        "boolean" => "true or false",
        "integer" => "a whole number",
        other => other,
    };
    let is_bare = matches!(found, Value::Number(_) | Value::Bool(_)) && expected == "string";
    let advice = if is_bare { ", put it in quotes" } else { "" };
    Fault::at(
        line,
        format!("{path} must be {wanted}, not {}{advice}", found.kind()),
    )
}

fn check_map(
    node: &Node,
    entries: &[Entry],
    schema: &JSONSchemaProps,
    path: &str,
) -> Result<(), Fault> {
    let required = schema.required.iter().flatten();
    if let Some(missing) = required.clone().find(|key| node.field(key).is_none()) {
        return Err(Fault::at(
            node.line,
            format!("{} is missing", join(path, missing)),
        ));
    }
    for entry in entries {
        let below = join(path, &entry.key);
        let known = schema
            .properties
            .as_ref()
            .and_then(|properties| properties.get(&entry.key));
        match (known, &schema.additional_properties) {
            _ if matches!(entry.node.value, Value::Null) && known.is_some() => {}
            (Some(schema), _) => check(&entry.node, schema, &below)?,
            (None, Some(JSONSchemaPropsOrBool::Schema(schema))) => {
                check(&entry.node, schema, &below)?;
            }
            (None, Some(JSONSchemaPropsOrBool::Bool(true))) => {}
            (None, _) => {
                let known = schema
                    .properties
                    .iter()
                    .flat_map(|properties| properties.keys());
                return Err(unknown_field(entry, path, known.map(String::as_str)));
            }
        }
    }
    Ok(())
}

fn check_list(items: &[Node], schema: &JSONSchemaProps, path: &str) -> Result<(), Fault> {
    let Some(JSONSchemaPropsOrArray::Schema(item)) = &schema.items else {
        return Ok(());
    };
    let mut indexed = items.iter().enumerate();
    indexed.try_for_each(|(index, node)| check(node, item, &format!("{path}[{index}]")))
}

fn unknown_field<'a>(entry: &Entry, path: &str, known: impl Iterator<Item = &'a str>) -> Fault {
    let field = join(path, &short(&entry.key));
    let known = known.collect::<Vec<_>>().join(", ");
    Fault::at(
        entry.line,
        format!("unknown field {field}, known are: {known}"),
    )
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}

/// A key may be as long as the file.
fn short(key: &str) -> String {
    key.chars().filter(|c| !c.is_control()).take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::standalone::yaml::parse;

    fn checked(version: &str, text: &str) -> Result<(), Fault> {
        check(&parse(text).unwrap()[0], of_spec(version).unwrap(), "spec")
    }

    #[test]
    fn both_versions_have_a_schema_and_no_other() {
        assert!(of_spec("v1").is_some() && of_spec("v1beta2").is_some());
        assert!(of_spec("v1beta1").is_none() && of_spec("").is_none());
    }

    #[test]
    fn what_the_crd_knows_passes() {
        let text = "url: oci://a/b\ninterval: 1m\nref: {tag: '1'}\nsuspend: true\nignore: null\n\
                    verify:\n  provider: cosign\n  matchOIDCIdentity:\n  - {issuer: a, subject: b}\n";
        assert_eq!(checked("v1", text), Ok(()));
        assert_eq!(checked("v1beta2", text), Ok(()));
    }

    #[test]
    fn an_unknown_field_is_named_with_line_and_path_at_every_depth() {
        let cases = [
            ("url: a\ninterval: b\nreff: {}\n", 3, "spec.reff"),
            ("url: a\ninterval: b\nref:\n  tagg: x\n", 4, "spec.ref.tagg"),
            (
                "url: a\ninterval: b\nverify:\n  provider: cosign\n  matchOIDCIdentity:\n  - issuer: a\n    subject: b\n    extra: c\n",
                8,
                "spec.verify.matchOIDCIdentity[0].extra",
            ),
        ];
        for (text, line, field) in cases {
            for version in ["v1", "v1beta2"] {
                let fault = checked(version, text).unwrap_err();
                assert_eq!(fault.line, line);
                assert!(
                    fault
                        .message
                        .starts_with(&format!("unknown field {field}, known are: ")),
                    "{fault:?}"
                );
            }
        }
    }

    #[test]
    fn a_missing_field_is_named() {
        let fault = checked("v1", "\ninterval: 1m\n").unwrap_err();
        assert_eq!(fault, Fault::at(2, "spec.url is missing"));
        let fault = checked("v1", "url: null\ninterval: 1m\n").unwrap_err();
        assert_eq!(fault, Fault::at(1, "spec.url is missing"));
    }

    #[test]
    fn a_value_of_the_wrong_type_is_named_and_bare_numbers_get_advice() {
        let fault = checked("v1", "url: a\ninterval: 1m\nref:\n  tag: 1.10\n").unwrap_err();
        assert_eq!(
            fault,
            Fault::at(
                4,
                "spec.ref.tag must be text, not a number, put it in quotes"
            )
        );
        let fault = checked("v1", "url: a\ninterval: 1m\nref: x\n").unwrap_err();
        assert_eq!(fault, Fault::at(3, "spec.ref must be a map, not text"));
        let fault = checked("v1", "url: a\ninterval: 1m\nsuspend: 'yes'\n").unwrap_err();
        assert_eq!(
            fault,
            Fault::at(3, "spec.suspend must be true or false, not text")
        );
        let fault = checked("v1", "[]").unwrap_err();
        assert_eq!(fault, Fault::at(1, "spec must be a map, not a list"));
    }

    #[test]
    fn a_key_as_long_as_the_file_does_not_fill_the_message() {
        let text = format!("url: a\ninterval: b\n\"{}\": x\n", "k".repeat(900));
        assert!(checked("v1", &text).unwrap_err().message.len() < 500);
    }
}
