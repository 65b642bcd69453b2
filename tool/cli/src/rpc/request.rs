//! From JSON to a message, by the proto3 JSON mapping; an error names the field.

use super::near::near;
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value};
use sigmaos::{Code, Error};

/// The message that `json` writes.
///
/// # Errors
/// `Invalid`, naming the field that does not fit, and what was perhaps meant.
pub(super) fn parse(of: MessageDescriptor, json: &str) -> Result<DynamicMessage, Error> {
    let invalid = |text: String| Error::new(Code::Invalid, text);
    let value: Value =
        serde_json::from_str(json).map_err(|error| invalid(format!("the request is not JSON: {error}")))?;
    let message = DynamicMessage::deserialize(of.clone(), &value);
    message.map_err(|error| invalid(blame(&of, &value, "", &error.to_string())))
}

/// Says which part of a value is not what its message wants.
fn blame(of: &MessageDescriptor, value: &Value, path: &str, why: &str) -> String {
    let here = if path.is_empty() { "the request" } else { path };
    // Those have a JSON form of their own.
    if of.package_name() == "google.protobuf" {
        return format!("{here}: {why}");
    }
    let Value::Object(fields) = value else {
        let name = of.name();
        return format!("{here}: {name} is an object with fields, such as {{}}, not {}", noun(value));
    };
    for (key, value) in fields {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        let Some(field) = of.get_field_by_json_name(key).or_else(|| of.get_field_by_name(key)) else {
            return unknown_field(of, &path, key);
        };
        let alone = Value::Object(Map::from_iter([(key.clone(), value.clone())]));
        if let Err(error) = DynamicMessage::deserialize(of.clone(), &alone) {
            return blame_field(&field, value, &path, &error.to_string());
        }
    }
    format!("{here}: {why}")
}

fn blame_field(field: &FieldDescriptor, value: &Value, path: &str, why: &str) -> String {
    let kind = field.kind();
    match (kind, value) {
        (Kind::Message(of), Value::Array(values)) if field.is_list() => {
            let wrong = values.iter().enumerate().find_map(|(at, value)| {
                let error = DynamicMessage::deserialize(of.clone(), value).err()?;
                Some(blame(&of, value, &format!("{path}[{at}]"), &error.to_string()))
            });
            wrong.unwrap_or_else(|| format!("{path}: {why}"))
        }
        (Kind::Message(of), value) if !field.is_list() && !field.is_map() => blame(&of, value, path, why),
        (Kind::Enum(of), Value::String(given)) if !field.is_list() => {
            let names: Vec<_> = of.values().map(|value| value.name().to_owned()).collect();
            let meant = match near(given, &names) {
                Some(meant) => format!("did you mean {meant:?}?"),
                None => format!("it has {}", names.join(", ")),
            };
            format!("{path}: {} has no value {given:?}: {meant}", of.name())
        }
        _ => format!("{path}: it is {}, not {}", super::shape::type_of(field), noun(value)),
    }
}

fn unknown_field(of: &MessageDescriptor, path: &str, key: &str) -> String {
    let names: Vec<_> = of.fields().map(|field| field.name().to_owned()).collect();
    let meant = match near(key, &names) {
        Some(meant) => format!("did you mean {meant:?}?"),
        None if names.is_empty() => "it has none at all".to_owned(),
        None => format!("it has {}", names.join(", ")),
    };
    format!("{path}: {} has no such field: {meant}", of.name())
}

/// A value as people call it.
fn noun(value: &Value) -> String {
    match value {
        Value::Array(_) => "an array".to_owned(),
        Value::Object(_) => "an object".to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost_reflect::DescriptorPool;

    fn message(name: &str) -> MessageDescriptor {
        let pool = DescriptorPool::decode(sigmaos::stub::DESCRIPTORS).unwrap();
        pool.get_message_by_name(&format!("sigma.{name}")).unwrap()
    }

    #[test]
    fn json_that_does_not_fit_names_the_field_and_suggests() {
        for (name, json, expect) in [
            ("PathRequest", "{", "the request is not JSON: EOF while parsing an object at line 1 column 1"),
            ("PathRequest", "5", "the request: PathRequest is an object with fields, such as {}, not 5"),
            ("PathRequest", r#"{"pth": "/"}"#, r#"pth: PathRequest has no such field: did you mean "path"?"#),
            ("PathRequest", r#"{"zzzzzz": 1}"#, "zzzzzz: PathRequest has no such field: it has path"),
            ("Empty", r#"{"x": 1}"#, "x: Empty has no such field: it has none at all"),
            ("PathRequest", r#"{"path": 5}"#, "path: it is string, not 5"),
            ("PutRequest", r#"{"perm": "rw"}"#, r#"perm: it is uint32, not "rw""#),
            ("PutRequest", r#"{"perm": -1}"#, "perm: it is uint32, not -1"),
            (
                "SpawnRequest",
                r#"{"spec": {"clas": "LC"}}"#,
                r#"spec.clas: ProcSpec has no such field: did you mean "class"?"#,
            ),
            (
                "SpawnRequest",
                r#"{"spec": {"class": "LS"}}"#,
                r#"spec.class: Class has no value "LS": did you mean "LC"?"#,
            ),
            ("SpawnRequest", r#"{"spec": {"args": "x"}}"#, r#"spec.args: it is repeated string, not "x""#),
            ("SpawnRequest", r#"{"spec": {"env": []}}"#, "spec.env: it is map<string, string>, not an array"),
            (
                "PutRequest",
                r#"{"fences": [{"path": "/"}, {"epoch": {}}]}"#,
                "fences[1].epoch: it is uint64, not an object",
            ),
        ] {
            assert_eq!(parse(message(name), json).unwrap_err().message, expect);
        }
    }

    #[test]
    fn names_of_both_spellings_are_fields() {
        let of = message("SpawnRequest");
        let spellings = |json: &str| parse(of.clone(), json).unwrap();
        let proto = spellings(r#"{"spec": {"memory_bytes": 5, "grace_ms": 7}}"#);
        assert_eq!(proto, spellings(r#"{"spec": {"memoryBytes": "5", "graceMs": 7}}"#));
    }
}
