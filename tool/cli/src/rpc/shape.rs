//! What can be asked: services, methods and the shapes of their messages, as a `.proto` writes them.

use crate::report;
use anstream::println;
use anyhow::Result;
use prost_reflect::{EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor, ServiceDescriptor};
use serde_json::{Value, json};

pub(super) fn show(services: &[ServiceDescriptor], as_json: bool) -> Result<()> {
    let types = Types::of(services);
    if as_json {
        return report::json(&json!({
            "services": services.iter().map(service_json).collect::<Vec<_>>(),
            "messages": types.messages.iter().map(message_json).collect::<Vec<_>>(),
            "enums": types.enums.iter().map(enum_json).collect::<Vec<_>>(),
        }));
    }
    for service in services {
        println!("service {} {{", service.name());
        for method in service.methods() {
            let (name, input, output) = (method.name(), method.input(), method.output());
            println!("  rpc {name}({}) returns ({});", local(input.full_name()), local(output.full_name()));
        }
        println!("}}");
    }
    for message in &types.messages {
        println!("\nmessage {} {{", local(message.full_name()));
        for field in message.fields() {
            let choice =
                field.containing_oneof().filter(|_| !field.field_descriptor_proto().proto3_optional());
            let choice = choice.map(|oneof| format!(" // one of {}", oneof.name())).unwrap_or_default();
            println!("  {} {} = {};{choice}", type_of(&field), field.name(), field.number());
        }
        println!("}}");
    }
    for kind in &types.enums {
        println!("\nenum {} {{", local(kind.full_name()));
        kind.values().for_each(|value| println!("  {} = {};", value.name(), value.number()));
        println!("}}");
    }
    Ok(())
}

/// The type of a field, as a `.proto` writes it.
pub(super) fn type_of(field: &FieldDescriptor) -> String {
    match field.kind() {
        Kind::Message(entry) if field.is_map() => {
            let (key, value) = (entry.map_entry_key_field(), entry.map_entry_value_field());
            format!("map<{}, {}>", kind_name(&key.kind()), kind_name(&value.kind()))
        }
        kind if field.is_list() => format!("repeated {}", kind_name(&kind)),
        kind if field.field_descriptor_proto().proto3_optional() => format!("optional {}", kind_name(&kind)),
        kind => kind_name(&kind),
    }
}

fn kind_name(kind: &Kind) -> String {
    match kind {
        Kind::Message(message) => local(message.full_name()),
        Kind::Enum(kind) => local(kind.full_name()),
        Kind::Double => "double".into(),
        Kind::Float => "float".into(),
        Kind::Int32 => "int32".into(),
        Kind::Int64 => "int64".into(),
        Kind::Uint32 => "uint32".into(),
        Kind::Uint64 => "uint64".into(),
        Kind::Sint32 => "sint32".into(),
        Kind::Sint64 => "sint64".into(),
        Kind::Fixed32 => "fixed32".into(),
        Kind::Fixed64 => "fixed64".into(),
        Kind::Sfixed32 => "sfixed32".into(),
        Kind::Sfixed64 => "sfixed64".into(),
        Kind::Bool => "bool".into(),
        Kind::String => "string".into(),
        Kind::Bytes => "bytes".into(),
    }
}

/// A name without its package: packages begin with small letters, types with capitals.
fn local(full: &str) -> String {
    let parts = full.split('.').skip_while(|part| part.starts_with(|first: char| !first.is_uppercase()));
    let name = parts.collect::<Vec<_>>().join(".");
    if name.is_empty() { full.to_owned() } else { name }
}

/// The types that services lead to, each once, in the order in which they are met.
#[derive(Default)]
struct Types {
    messages: Vec<MessageDescriptor>,
    enums: Vec<EnumDescriptor>,
}

impl Types {
    fn of(services: &[ServiceDescriptor]) -> Self {
        let mut types = Self::default();
        let mut next = 0;
        for method in services.iter().flat_map(ServiceDescriptor::methods) {
            types.meet(method.input());
            types.meet(method.output());
        }
        while let Some(message) = types.messages.get(next).cloned() {
            message.fields().for_each(|field| types.meet_kind(field.kind()));
            next += 1;
        }
        types
    }

    fn meet(&mut self, message: MessageDescriptor) {
        if message.is_map_entry() {
            self.meet_kind(message.map_entry_value_field().kind());
        } else if !self.messages.contains(&message) {
            self.messages.push(message);
        }
    }

    fn meet_kind(&mut self, kind: Kind) {
        match kind {
            Kind::Message(message) => self.meet(message),
            Kind::Enum(kind) if !self.enums.contains(&kind) => self.enums.push(kind),
            _ => {}
        }
    }
}

fn service_json(service: &ServiceDescriptor) -> Value {
    let methods: Vec<_> = service.methods().map(|method| {
        json!({ "name": method.name(), "request": local(method.input().full_name()), "reply": local(method.output().full_name()) })
    }).collect();
    json!({ "name": service.name(), "methods": methods })
}

fn message_json(message: &MessageDescriptor) -> Value {
    let fields: Vec<_> = message
        .fields()
        .map(|field| json!({ "name": field.name(), "type": type_of(&field), "number": field.number() }))
        .collect();
    json!({ "name": local(message.full_name()), "fields": fields })
}

fn enum_json(kind: &EnumDescriptor) -> Value {
    let values: Vec<_> = kind.values().map(|value| value.name().to_owned()).collect();
    json!({ "name": local(kind.full_name()), "values": values })
}
